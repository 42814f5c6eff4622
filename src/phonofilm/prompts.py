"""A prompt out of one line of text, in which quoted words are the speech."""

from __future__ import annotations

import re

from phonofilm.errors import UserError
from phonofilm.types import Prompt

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
