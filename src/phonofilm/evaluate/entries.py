"""The clips of any folder, and what is known about each: the words asked for, the truth of a puppet, a reference."""

from __future__ import annotations

import random
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.evaluate.heldout import NAME, STAGE_OF
from phonofilm.files.text import read_json_lines
from phonofilm.generation.prompts import prompt_of_line, speech_of, straight, voice_of

NUM_OTHERS = 19
SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".flv", ".f4v", ".wmv", ".asf", ".ogv", ".3gp", ".mxf", ".nut"),
)
"""What counts as a clip in a folder."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is true about a clip of the puppets, as ``puppets make`` writes it down; what is empty is not known."""

    stage: str = ""
    grammar: str = ""
    emotion: str = ""
    looks: tuple[dict[str, Any], ...] = ()
    """Per puppet, left to right: the words of ``puppets.looks``."""
    voices: tuple[str, ...] = ()
    rates: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    """Words of each line, in the order of time."""
    turns: tuple[tuple[float, float, int], ...] = ()
    """Start, end and speaker of each line."""
    words: tuple[tuple[str, float, float], ...] = ()
    """Text, start and end."""
    events: tuple[tuple[float, int], ...] = ()
    """Seconds, and key or number of the bounce."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One clip to be scored and what is known about it."""

    name: str
    path: Path
    lines: tuple[str, ...] = ()
    """What was to be said."""
    others: tuple[str, ...] = ()
    """Lines of some other clips, to tell these from."""
    sound: str = ""
    """What was to be heard beside the words."""
    speaker: str = ""
    """Whose voice it is meant to be, for speaker figures."""
    voices: tuple[Path, ...] = ()
    """Recordings of the voices to speak with, that the prompt brought."""
    truth: Truth | None = None
    reference: Path | None = None
    """The clip that this one is a reconstruction of."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Checkpoints of the user's own that evaluators may use."""


def find_entries(
    clips: Path, *, truth: Path | None = None, prompts: Path | None = None, reference: Path | None = None
) -> tuple[Entry, ...]:
    """Find the clips in a folder and below it, by name, and look up what the tables say about them.

    A clip is called by its path in the folder without the suffix. ``truth`` is a truth.parquet of ``puppets make``
    or JSON lines with its columns; ``prompts`` is JSON lines with ``name`` (or ``file``) and ``say`` (or ``lines``);
    ``reference`` is a folder with clips of the same names. Clips of phonofilm's own prompts ("test-grid-100012") need
    no table. Rows that no clip has become entries whose file is missing. Raises ``UserError`` for what is not there.
    """
    if not clips.is_dir():
        raise UserError(f"{clips}: no such folder; name the folder that holds the clips")
    found = (f for f in clips.rglob("*") if f.suffix.lower() in SUFFIXES and not f.is_dir())
    files = sorted(f for f in found if not _hidden(f.relative_to(clips)))
    entries = {_name(f.relative_to(clips)): Entry(name=_name(f.relative_to(clips)), path=f) for f in files}
    if len(entries) != len(files):
        raise UserError(f"{clips} holds clips whose names differ in the suffix alone: rename one of them")
    truths = _truths(truth, entries) if truth is not None else {}
    asked = _asked(prompts, entries) if prompts is not None else {}
    if not entries:
        raise UserError(f"{clips} holds no clip: files ending in {', '.join(SUFFIXES)} are looked for")
    for name in [*truths, *asked]:
        entries.setdefault(name, Entry(name=name, path=clips / f"{name}.mp4"))
    if reference is not None and not reference.is_dir():
        raise UserError(f"--reference {reference}: no such folder; name one with clips of the same names")
    known = [_known(entries[n], truths.get(n), asked.get(n), reference, clips) for n in sorted(entries)]
    lines = sorted({text for entry in known if (text := _plain(entry.lines))})
    return tuple(replace(entry, others=_others(entry, lines)) for entry in known)


def _plain(lines: tuple[str, ...]) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", straight(" ".join(lines)).lower()))


def _others(entry: Entry, lines: list[str]) -> tuple[str, ...]:
    """Up to 19 lines of other clips, the same for the same clip and folder."""
    own = _plain(entry.lines)
    rest = [line for line in lines if line != own]
    if not entry.lines or len(rest) < NUM_OTHERS:
        return tuple(rest) if entry.lines else ()
    return tuple(random.Random(f"phonofilm lines {entry.name}").sample(rest, NUM_OTHERS))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _name(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _known(
    entry: Entry, truth: Truth | None, row: Mapping[str, Any] | None, reference: Path | None, clips: Path
) -> Entry:
    truth = truth or _own(entry.name)
    lines = tuple((row or {}).get("lines") or ()) or (truth.said if truth else ())
    speaker = (row or {}).get("speaker", "") or (truth.voices[0] if truth and len(truth.voices) == 1 else "")
    twin = None
    if reference is not None:
        twin = _twin(reference / entry.path.relative_to(clips))
    sound, voices = (row or {}).get("sound", ""), (row or {}).get("voices", ())
    return replace(entry, lines=lines, sound=sound, speaker=speaker, voices=voices, truth=truth, reference=twin)


def _twin(path: Path) -> Path:
    """The file there, or the one of the same name in another container."""
    others = (path.with_suffix(suffix) for suffix in SUFFIXES)
    return path if path.is_file() else next((other for other in others if other.is_file()), path)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = [row for _, row in read_json_lines(path)]
    if not all(row.get("name") or row.get("file") for row in rows):
        raise UserError(f'{path}: every line is to be an object with a "name" (or "file") of a clip')
    return rows


def _asked(path: Path, names: Container[str]) -> dict[str, dict[str, Any]]:
    """Words, sound, speaker and recordings of voices asked for, by the clip's name."""
    found = {}
    for row in _rows(path):
        name = _of_row(row, names)
        found[name] = {
            "lines": _said(row, f"{path}, {name}"),
            "sound": str(row.get("sound") or ""),
            "speaker": str(row.get("speaker") or ""),
            "voices": _voices(row),
        }
    return found


def _voices(row: Mapping[str, Any]) -> tuple[Path, ...]:
    """Files of ``voice``, a text or several, without the names of who speaks with them."""
    voices = row.get("voice") or []
    return tuple(Path(voice_of(str(text))[1]) for text in ([voices] if isinstance(voices, str) else voices))


def _said(row: Mapping[str, Any], place: str) -> list[str]:
    """Words of ``lines`` as they stand, of ``say`` without the names of who says them, or quoted in ``prompt``."""
    as_they_stand, lines = bool(row.get("lines")), row.get("lines") or row.get("say") or []
    lines = [lines] if isinstance(lines, str) else list(lines)
    if as_they_stand:
        return [line for line in lines if line]
    try:
        if not lines and row.get("prompt"):
            return [words for _, words in prompt_of_line(str(row["prompt"])).speech]
        return [words for _, words in speech_of(lines)]
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _truths(path: Path, names: Container[str]) -> dict[str, Truth]:
    """Truth by the clip's name."""
    if not path.is_file():
        raise UserError(f"--truth {path}: no such file; name a truth.parquet or JSON lines")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(path).to_pylist()
    else:
        rows = _rows(path)
    found = {}
    for row in rows:
        name = _of_row(row, names)
        try:
            found[name] = truth_of(row)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: the truth about {name} cannot be understood ({error!r})") from error
    return found


def _of_row(row: Mapping[str, Any], names: Container[str]) -> str:
    """The clip that a row is about: by its whole name, or by the last part where the folder itself was named."""
    name = str(row["name"]) if row.get("name") else _name(Path(row["file"]))
    last = name.rsplit("/", 1)[-1]
    return last if name not in names and last in names else name


def truth_of(row: Mapping[str, Any]) -> Truth:
    """The truth in one row of a table with the columns of ``puppets.corpus.SCHEMA``; any may be missing."""
    turns = [(float(t["start"]), float(t["end"]), int(t["speaker"])) for t in row.get("turns") or ()]
    words = [(str(w["text"]), float(w["start"]), float(w["end"])) for w in row.get("words") or ()]
    events = [(float(e["seconds"]), int(e["index"])) for e in row.get("events") or ()]
    return Truth(
        stage=row.get("stage") or "",
        grammar=row.get("grammar") or "",
        emotion=row.get("emotion") or "",
        looks=tuple(dict(look) for look in row.get("looks") or ()),
        voices=tuple(row.get("voices") or ()),
        rates=tuple(row.get("rates") or ()),
        said=tuple(turn["words"] for turn in row.get("speech") or ()),
        turns=tuple(turns),
        words=tuple(words),
        events=tuple(events),
    )


def _own(name: str) -> Truth | None:
    """The truth behind a name of phonofilm's own prompts, None for any other name."""
    found = NAME.fullmatch(name.rsplit("/", 1)[-1])
    if not found:
        return None
    from phonofilm.puppets.script import write_script

    script = write_script(int(found[3]), split=found[1], stage=STAGE_OF[found[2]])
    return Truth(
        stage=script.stage,
        grammar=script.grammar,
        emotion=script.emotion,
        looks=tuple(look._asdict() for look in script.looks),
        voices=tuple(line.voice for line in script.lines),
        rates=tuple(line.rate for line in script.lines),
        said=tuple(line.words for line in script.lines),
        turns=tuple((line.start, script.seconds, line.speaker) for line in script.lines),
        events=tuple((event.seconds, event.index) for event in script.events),
    )
