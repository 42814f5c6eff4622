"""Prompts out of text: one line in which quoted words are the speech, or lines that say who speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from phonofilm.errors import UserError
from phonofilm.types import Prompt

SPEAKER = re.compile(r"([A-Za-z][\w-]*)?\s*:\s+(.*)")
QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”')
TELLING = re.compile(r"(?:[\s,;:]|\b(?:and|who|she|he|it|they|then|says?|saying|said|speaks?|speaking)\b)+$")
"""The words before a quotation that introduce it; they are no part of the scene."""


def prompt_of_line(line: str, *, sound: str = "", negative: str = "") -> Prompt:
    """Quoted words become speech, one entry per quotation; what is left is the scene.

    ``a man with a beard says "hello you"`` is the scene "a man with a beard". Raises ``UserError`` for an open quote.
    """
    speech = tuple(("", " ".join((a or b).split())) for a, b in QUOTED.findall(line))
    rest = QUOTED.sub("\n", line)
    if any(mark in rest for mark in '"“”'):
        raise UserError(f"a quote is not closed in {line!r}; put the spoken words between two quotes")
    *before, last = rest.split("\n")
    parts = [TELLING.sub("", part) for part in before] + [last]
    scene = re.sub(r" +(?=[,;:.])", "", " ".join(" ".join(parts).split())).strip(" ,;:.")
    return Prompt(scene=scene, sound=sound, speech=tuple(s for s in speech if s[1]), negative=negative)


def speech_of(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Who says what: "left: set white now" is said by left, a line without a name by the only speaker.

    A sentence that itself begins with a word and a colon is written behind one more colon: ": Note: the sea is calm".
    Raises ``UserError`` for a name without words, and where only some of the lines have names.
    """
    speech = []
    for line in filter(None, (" ".join(line.split()) for line in lines)):
        match = SPEAKER.fullmatch(line + " " if line.endswith(":") else line)
        who, words = (part.strip() for part in match.groups(default="")) if match else ("", line)
        if not words:
            raise UserError(f"--say {line!r}: {who or 'nobody'} says nothing; put the words behind the name")
        speech.append((who, words))
    named = sum(bool(who) for who, _ in speech)
    if named not in (0, len(speech)):
        nameless = next(words for who, words in speech if not who)
        raise UserError(
            f"--say {nameless!r}: who says it? with several speakers every line begins with a name of one word"
        )
    return tuple(speech)


def line_of(words: str) -> str:
    """A line that ``speech_of`` reads as these very words of the only speaker."""
    words = " ".join(words.split())
    return f": {words}" if SPEAKER.fullmatch(words + " ") else words
