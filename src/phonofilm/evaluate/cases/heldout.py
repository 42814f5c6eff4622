"""Held-out prompts as JSON lines, as ``generate --prompts`` reads them.

Each is from a script of the puppets, and its name says which: ``test-grid-100012`` is script 100012 of the test split
in the group "grid". So a folder of clips and the names in it are enough to make every true clip again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from phonofilm.errors import UserError
from phonofilm.files.media import replacing, write_wave
from phonofilm.files.text import read_json_lines
from phonofilm.puppets.performance import perform
from phonofilm.puppets.references import references
from phonofilm.puppets.script import Script, write_script
from phonofilm.puppets.stage import draw
from phonofilm.puppets.voice import SAMPLE_RATE, VOICES
from phonofilm.types import Audio, Clip, Prompt

COUNTS = {"grid": 70, "talk": 60, "portrait": 30, "ball": 40}
"""Clips per group, 200 together; where somebody speaks, equally many for each voice."""
STAGE_OF = {"grid": "speaker", "talk": "speaker", "portrait": "speaker", "voice": "speaker", "ball": "ball"}
BROUGHT = {"portrait": frozenset({"image"}), "voice": frozenset({"voice"})}
"""What the requests of a group bring besides words; the other groups' bring nothing."""
FILES = ("image", "voice")
"""Fields of a row that name files."""
SIZE = 128
NAME = re.compile(r"(train|val|test)-(grid|talk|portrait|voice|ball)-(\d+)")


def script_named(name: str) -> Script | None:
    """The script behind the name of a held-out prompt, in whatever folder; None for any other name."""
    found = NAME.fullmatch(name.rsplit("/", 1)[-1])
    return write_script(int(found[3]), split=found[1], stage=STAGE_OF[found[2]]) if found else None


@lru_cache(maxsize=4)  # a clip is asked for by several controls in a row
def true_clip(script: Script, *, size: int = 128) -> Clip:
    """The clip that a script describes: the ground truth."""
    performance = perform(script)
    video = draw([performance], size=size).video[0]
    return Clip(video=video, audio=performance.wave, fps=script.fps, sample_rate=SAMPLE_RATE)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one generated clip was asked for, and the script of the true clip."""

    id: str
    group: str
    """"grid" or "talk" (somebody says a sentence of that grammar), "portrait" (the looks come from a picture alone),
    "voice" (a recording of the voice comes with the words) or "ball"."""
    prompt: Prompt
    script: Script

    @property
    def voice(self) -> str:
        """The voice of the true clip, "" where nobody speaks."""
        return self.script.lines[0].voice if self.script.lines else ""

    @property
    def words(self) -> str:
        """What is to be said."""
        return self.script.lines[0].words if self.script.lines else ""


def _draw_scripts(split: str, group: str, seed: int) -> Iterator[Script]:
    """Scripts that suit a group, without end; each group and seed has scripts of its own."""
    number = seed
    while True:
        script = write_script(number, split=split, stage=STAGE_OF[group])
        number += 1
        if group not in ("grid", "talk") or script.grammar == group:
            yield script


def _pick(split: str, group: str, count: int, seed: int, taken: set[str]) -> list[Script]:
    """Choose scripts with sentences that are not taken yet, equally many for each voice where somebody speaks."""
    quota = -(-count // len(VOICES)) if STAGE_OF[group] == "speaker" else count
    chosen: dict[str, list[Script]] = {}
    left = count
    for script in _draw_scripts(split, group, seed):
        voice = script.lines[0].voice if script.lines else ""
        said = script.lines[0].words if script.lines else str(script.seed)
        own = chosen.setdefault(voice, [])
        if left and len(own) < quota and said not in taken:
            own.append(script)
            taken.add(said)
            left -= 1
        if not left:
            break
    return [script for voice in sorted(chosen) for script in chosen[voice]]


def held_out(
    split: str = "test", counts: Mapping[str, int] = COUNTS, *, seed: int = 0, progress: bool = False
) -> tuple[Case, ...]:
    """Make the cases of a split: the same arguments give the same ones on any machine.

    Raises ValueError for an unknown split or group.
    """
    strange = sorted(set(counts) - set(STAGE_OF))
    if strange:
        raise ValueError(f"no group of prompts named {', '.join(strange)}: the groups are {', '.join(STAGE_OF)}")
    cases: list[Case] = []
    taken: set[str] = set()
    for place, (group, count) in enumerate(tqdm(counts.items(), "prompts", disable=not progress)):
        first = seed * 1_000_003 + 100_000 * place
        cases += [_case(split, group, script) for script in _pick(split, group, count, first, taken)]
    return tuple(cases)


def _case(split: str, group: str, script: Script) -> Case:
    prompt, name = script.prompt, f"{split}-{group}-{script.seed}"
    if group == "portrait":
        # Nothing but the picture says how the puppet looks.
        prompt = Prompt(sound=prompt.sound, speech=prompt.speech)
    return Case(id=name, group=group, prompt=prompt, script=script)


def portrait(script: Script) -> np.ndarray:
    """Draw the picture that a portrait case starts from: the first pixel frame of the true clip, (H, W, 3) bytes."""
    return draw([perform(script)], size=SIZE).video[0, 0].permute(1, 2, 0).numpy()


def reference(case: Case) -> Audio:
    """Speak the reference voice of a voice case: another sentence of the split in the true clip's voice, at 16 kHz."""
    split = case.id.partition("-")[0]
    return Audio(references({"": case.voice}, [case.words], seed=case.script.seed, split=split)[""], SAMPLE_RATE)


def write_prompts(path: Path, cases: Sequence[Case]) -> None:
    """Write cases as JSON lines, and the portraits and reference voices into folders beside the file."""
    lines = [json.dumps(_row(case) | _written(case, path.parent.resolve())) for case in cases]
    with replacing(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _written(case: Case, folder: Path) -> dict[str, object]:
    """Write what a case brings besides words into a file, and say where it is."""
    if case.group == "portrait":
        image = folder / "portraits" / f"{case.id}.png"
        with replacing(image) as part:
            Image.fromarray(portrait(case.script)).save(part)
        return {"image": str(image)}
    if case.group == "voice":
        voice = folder / "voices" / f"{case.id}.wav"
        write_wave(voice, *reference(case))
        return {"voice": [str(voice)]}
    return {}


def _row(case: Case) -> dict[str, object]:
    return {
        "name": case.id,
        "scene": case.prompt.scene,
        "say": case.words,
        "sound": case.prompt.sound,
        "seed": case.script.seed,
        "seconds": case.script.seconds,
    }


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read a file that ``write_prompts`` wrote.

    Raises ``UserError`` for rows that no script of this version of the puppets gives.
    """
    cases = []
    for number, row in read_json_lines(path):
        found = NAME.fullmatch(str(row.get("name", "")))
        if not found:
            raise UserError(
                f"{path}, line {number}: the name {row.get('name')!r} is not like 'test-grid-100012'; evaluate scores "
                "the held-out prompts that it writes itself"
            )
        split, group, script = found[1], found[2], int(found[3])
        case = _case(split, group, write_script(script, split=split, stage=STAGE_OF[group]))
        if _row(case) != {key: value for key, value in row.items() if key not in FILES}:
            raise UserError(f"{path}, line {number}: another version of the puppets wrote it; remove it and start anew")
        cases.append(case)
    return tuple(cases)


def are_held_out(clips: Path, prompts: Path | None = None) -> bool:
    """Tell whether a folder is for held-out prompts: by its prompts, or by the clips' names, or as it is empty yet."""
    table = prompts or clips / "prompts.jsonl"
    if table.is_file():
        return any(NAME.fullmatch(str(row.get("name", ""))) for _, row in read_json_lines(table)[:1])
    names = [path.stem for path in clips.rglob("*.mp4")] if clips.is_dir() else []
    return any(map(NAME.fullmatch, names)) or not (names or clips.is_dir() and any(clips.iterdir()))
