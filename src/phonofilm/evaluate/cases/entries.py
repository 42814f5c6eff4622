"""The clips of any folder, and what is known about each: the words asked for, the truth of a puppet, a reference."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.digests import digest
from phonofilm.evaluate.cases.heldout import Case, script_named
from phonofilm.evaluate.cases.truth import Truth, truth_of, truth_of_script
from phonofilm.files.text import read_json_lines
from phonofilm.generation.prompts import prompt_of_line, speech_of, straight, voice_of

NUM_OTHERS = 19
SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".flv", ".f4v", ".wmv", ".asf", ".ogv", ".3gp", ".mxf", ".nut"),
)
"""What counts as a clip in a folder."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One clip to be scored and what is known about it."""

    name: str
    path: Path
    group: str = ""
    """Of a held-out prompt; "" for any other clip."""
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
    or JSON lines with its columns; ``prompts`` is JSON lines as ``generate`` reads them, or with ``file`` for ``name``
    and ``lines`` for ``say``; ``reference`` is a folder with clips of the same names. Clips of phonofilm's own prompts
    ("test-grid-100012") need no table. Rows that no clip has become entries whose file is missing. Raises
    ``UserError`` for what is not there.
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
    script = script_named(entry.name)
    truth = truth or (truth_of_script(script) if script else None)
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


def _asked(path: Path, names: Container[str]) -> dict[str, dict[str, Any]]:
    """Words, sound, speaker and recordings of voices asked for, by the clip's name."""
    found = {}
    for number, row in read_json_lines(path):
        name = _of_row(row, number, names)
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
    """Words of ``lines`` as they stand, or of ``say`` or ``prompt`` as ``generate`` takes them out of these."""
    as_they_stand, lines = bool(row.get("lines")), row.get("lines") or row.get("say") or []
    lines = [lines] if isinstance(lines, str) else list(lines)
    if as_they_stand:
        return [line for line in lines if line]
    try:
        speech = speech_of(lines) if lines else prompt_of_line(str(row.get("prompt") or "")).speech
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    return [words for _, words in speech]


def _truths(path: Path, names: Container[str]) -> dict[str, Truth]:
    """Truth by the clip's name."""
    if not path.is_file():
        raise UserError(f"--truth {path}: no such file; name a truth.parquet or JSON lines")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = list(enumerate(pq.read_table(path).to_pylist(), start=1))
    else:
        rows = read_json_lines(path)
    found = {}
    for number, row in rows:
        name = _of_row(row, number, names)
        try:
            found[name] = truth_of(row)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: the truth about {name} cannot be understood ({error!r})") from error
    return found


def _of_row(row: Mapping[str, Any], number: int, names: Container[str]) -> str:
    """The clip that a row is about, as ``generate`` names it: by the row's name, or by the number of its line.

    A suffix is no part of the name, nor are folders above where the folder itself was named.
    """
    name = str(row.get("name") or row.get("file") or f"{number:05d}")
    if name not in names and name.lower().endswith(SUFFIXES):
        name = _name(Path(name))
    last = name.rsplit("/", 1)[-1]
    return last if name not in names and last in names else name


def entry_of(case: Case, folder: Path) -> Entry:
    """A held-out prompt as an entry: its clip in a folder, and its script's truth."""
    truth, path = truth_of_script(case.script), folder / f"{case.id}.mp4"
    return Entry(name=case.id, path=path, group=case.group, lines=truth.said, truth=truth)


def data_digest(entries: Sequence[Entry]) -> str:
    """One digest of all clips' names and contents."""
    whole = hashlib.sha256()
    for entry in entries:
        whole.update(f"{entry.name} {digest(entry.path) if entry.path.is_file() else 'missing'}\n".encode())
    return f"sha256 {whole.hexdigest()[:16]}"
