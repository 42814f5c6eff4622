"""What is true about a clip of the puppets: from the table that ``puppets make`` writes, or from a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonofilm.puppets.script import Script


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


def truth_of_script(script: Script) -> Truth:
    """The truth about the clip that a script describes."""
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
