"""Sets of prompts as others publish them, turned into the lines that ``generate`` and ``evaluate --prompts`` read.

The sets themselves are the user's own downloads. Their formats were read in Dorniwang/Verse-Bench 5645a09
(calculate_metrics.py), Dorniwang/UniVerse-1-code 2b9bb02 (assets/prompts, sample_universe.py), OpenMOSS/MOVA 595a976
(evaluation/verse_bench_prompts.json) and BytedanceSpeech/seed-tts-eval 752f429 (README, get_wav_res_ref_text.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing, sweep
from phonofilm.files.plain import check_name
from phonofilm.files.text import numbered_lines, read_text
from phonofilm.generation.prompts import line_of

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
SILENT = ("no ambient", "none")
"""What UniVerse-1's sampler takes for the absence of an ambient sound, anywhere in its description."""
Row = dict[str, Any]
"""A prompt by the flags of ``generate``, and "name", which is that of its clip."""


def verse_bench(source: Path, *, pictures: bool = True) -> list[Row]:
    """Verse-Bench: the downloaded folder (a JSON and a picture for each item), or the one JSON of MOVA's copy.

    The scene is ``video_prompt``, the sound the parts of ``audio_prompt`` joined by commas, as UniVerse-1 joins them;
    the speaker's description is left out, as there. MOVA's copy has no pictures. Raises ``UserError`` with the file
    or the item that is wrong.
    """
    check_name(source)
    if source.is_dir():
        files = sorted(source.rglob("*.json"))
        found = [(path.stem, str(path), _json(path), _picture(path) if pictures else None) for path in files]
        if not found:
            raise UserError(f"{source}: holds no JSON of an item; name the folder that holds set1, set2 and set3")
    else:
        sets = _object(_json(source), str(source))
        found = [
            (name, f"{source}, {group}, {name}", item, None)
            for group, items in sets.items()
            for name, item in _object(items, f"{source}, {group}").items()
        ]
    if not found:
        raise UserError(f"{source}: holds no prompt")
    return [_verse_bench_row(name, place, item, picture) for name, place, item, picture in found]


def _verse_bench_row(name: str, place: str, item: Any, picture: Path | None) -> Row:
    item = _object(item, place)
    speech = _object(item.get("speech_prompt"), f"{place}, speech_prompt")
    sounds = item.get("audio_prompt") or []
    if not isinstance(sounds, list) or not all(isinstance(sound, str) for sound in sounds):
        raise UserError(f"{place}: audio_prompt is {sounds!r}; a list of texts is wanted")
    sound = ", ".join(part.strip() for part in sounds if part.strip())
    quiet = any(words in sound.lower() for words in SILENT)
    said = _text(speech, "text", f"{place}, speech_prompt")
    return _row(name, scene=_text(item, "video_prompt", place), sound="" if quiet else sound, say=said, image=picture)


def seed_tts(meta: Path) -> list[Row]:
    """Seed-TTS-eval: a meta.lst, its fields parted by bars; the recordings lie where it says, seen from its folder.

    Five or four fields are name, words of the recording, recording, words to say and perhaps the true recording;
    three are name, words to say and recording; two are name and words to say. The words of the recording and the true
    recording have no place in a prompt of ours. Raises ``UserError`` with the line that is wrong.
    """
    rows = []
    for place, line in _lines(meta):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) not in (2, 3, 4, 5):
            raise UserError(f"{place}: {len(parts)} fields between bars; 2 to 5 are wanted")
        name, words = parts[0].removesuffix(".wav"), parts[3 if len(parts) > 3 else 1]
        if not name or not words:
            raise UserError(f"{place}: a name and words to say are wanted")
        voice = None if len(parts) == 2 else meta.parent / parts[2]
        if voice is not None and not voice.is_file():
            raise UserError(f"{place}: there is no recording {voice}")
        rows.append(_row(name, say=words, voice=voice))
    if not rows:
        raise UserError(f"{meta}: holds no prompt; name a meta.lst")
    return rows


def portraits(source: Path) -> list[Row]:
    """Portraits with three fields, scene, sound and speech: a folder of NAME.json beside NAME.png, or JSON lines.

    JSON lines name the picture in ``portrait``, seen from the folder of their file, and perhaps the clip in ``name``.
    The shape is ours: JoVA's UniAvatar-Bench, which it is made for, is not published. Raises ``UserError`` with the
    file or line that is wrong.
    """
    check_name(source)
    if source.is_dir():
        files = sorted(source.glob("*.json"))
        found = [(path.stem, str(path), _json(path), _picture(path)) for path in files]
    else:
        found = []
        for place, line in _lines(source):
            item = _object(_parsed(line, place), place)
            picture = source.parent / _text(item, "portrait", place)
            if not picture.is_file():
                raise UserError(f"{place}: there is no portrait {picture}")
            found.append((str(item.get("name") or picture.stem), place, item, picture))
    if not found:
        raise UserError(f"{source}: holds no prompt; a folder of NAME.json beside NAME.png, or JSON lines are wanted")
    rows = []
    for name, place, item, picture in found:
        item = _object(item, place)
        scene, sound, speech = (_text(item, key, place) for key in ("scene", "sound", "speech"))
        rows.append(_row(name, scene=scene, sound=sound, say=speech, image=picture))
    return rows


def write_rows(rows: Sequence[Row], out: Path) -> None:
    """Write prompts as JSON lines. Raises ``UserError`` for two of one name: their clips would be one file."""
    names = [row["name"] for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two prompts are named {twice[0]}; their clips would be one file: take the sets one by one")
    sweep(out.parent)
    with replacing(out) as part:
        part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _row(
    name: str, *, scene: str = "", sound: str = "", say: str = "", image: Path | None = None, voice: Path | None = None
) -> Row:
    """The fields that say something; files by their whole paths, so that the lines may lie anywhere."""
    said = line_of(say)
    paths = {key: str(path.resolve()) for key, path in (("image", image), ("voice", voice)) if path is not None}
    row = {"name": name, "scene": " ".join(scene.split()), "sound": " ".join(sound.split()), "say": said, **paths}
    return {key: value for key, value in row.items() if value}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not empty, each with where it stands."""
    for number, line in numbered_lines(path):
        yield f"{path}, line {number}", line


def _json(path: Path) -> Any:
    return _parsed(read_text(path), str(path))


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error})") from error


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{place}: a JSON object is wanted, not {str(value)[:60]!r}")
    return value


def _text(item: Mapping[str, Any], key: str, place: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise UserError(f"{place}: {key} is {value!r}; a text is wanted, which may be empty")
    return value


def _picture(record: Path) -> Path:
    """The picture beside a record."""
    for suffix in PICTURES:
        if record.with_suffix(suffix).is_file():
            return record.with_suffix(suffix)
    raise UserError(f"{record}: no picture {record.stem}{PICTURES[0]} (or {', '.join(PICTURES[1:])}) beside it")
