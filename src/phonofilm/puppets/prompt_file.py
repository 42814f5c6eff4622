"""Prompts after the clips of a corpus, with a reference voice for each speaker."""

from __future__ import annotations

import json
from pathlib import Path

from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing, sweep
from phonofilm.files.media import write_wave
from phonofilm.files.plain import check_name
from phonofilm.puppets.corpus import read_truth
from phonofilm.puppets.references import references
from phonofilm.puppets.voice import SAMPLE_RATE

PROMPTS, VOICES = "prompts.jsonl", "voices"


def write_prompts(folder: Path | str) -> int:
    """Write ``prompts.jsonl`` for ``phonofilm generate`` into a corpus, and the voices as wav; returns how many.

    One line for each clip in which somebody speaks, named like the clip. Raises ``UserError`` where nobody does.
    """
    check_name(Path(folder))
    folder, lines = Path(folder).resolve(), []
    for place in (folder, folder / VOICES):
        sweep(place)
    for row in read_truth(folder).to_pylist():
        if row["speech"]:
            lines.append(json.dumps(_row(folder, row)))
    if not lines:
        raise UserError(f"{folder}: nobody speaks in these clips; make some with --stage speaker or --stage dialogue")
    with replacing(folder / PROMPTS) as part:
        part.write_text("\n".join(lines) + "\n")
    return len(lines)


def _row(folder: Path, row: dict) -> dict[str, object]:
    name, said = Path(row["file"]).stem, [(turn["speaker"], turn["words"]) for turn in row["speech"]]
    voices = {who: voice for (who, _), voice in zip(said, row["voices"], strict=True)}
    places = []
    for who, wave in references(voices, [words for _, words in said], seed=row["seed"], split=row["split"]).items():
        path = folder / VOICES / f"{name}{who and '-'}{who}.wav"
        write_wave(path, wave, SAMPLE_RATE)
        places.append(f"{who}={path}" if who else str(path))
    return {
        "name": name,
        "scene": row["scene"],
        "sound": row["sound"],
        "say": [f"{who}: {words}" if who else words for who, words in said],
        "voice": places,
        "seed": row["seed"],
        "seconds": row["num_frames"] / row["fps"],
    }
