"""Prompts in Ovi's two formats: speech between ``<S>`` and ``<E>``, then what else is to be heard, at the end.

The release's 720 x 720 weights were trained with ``<AUDCAP>sound<ENDAUDCAP>``, its 960 x 960 weights with
``Audio: sound`` (ovi/ovi_fusion_engine.py). A scene that holds tags already may hold either form; it is rewritten.
"""

from __future__ import annotations

import re

from phonofilm.errors import UserError
from phonofilm.types import Prompt

AUDCAP = re.compile(r"<AUDCAP>\s*(.*?)\s*<ENDAUDCAP>", re.DOTALL)
AUDIO = re.compile(r"\bAudio:\s*(.*)", re.DOTALL)
TAGS = re.compile(r"<S>|<E>|<AUDCAP>|<ENDAUDCAP>")
CLOSES = {"<S>": "<E>", "<AUDCAP>": "<ENDAUDCAP>"}


def audcap(prompt: Prompt) -> str:
    """The prompt as Ovi's 720 x 720 weights read it."""
    scene, sound = _parts(prompt)
    return f"{scene} <AUDCAP>{sound}<ENDAUDCAP>".strip() if sound else scene


def audio(prompt: Prompt) -> str:
    """The prompt as Ovi's 960 x 960 weights read it."""
    scene, sound = _parts(prompt)
    return f"{scene} Audio: {sound}".strip() if sound else scene


def _parts(prompt: Prompt) -> tuple[str, str]:
    """The scene with its speech, and everything that is to be heard besides words."""
    check(prompt.scene)
    sounds = [*AUDCAP.findall(prompt.scene)]
    scene = AUDCAP.sub("", prompt.scene)
    sounds += AUDIO.findall(scene)
    said = [f"{who} says, <S>{words}<E>." if who else f"<S>{words}<E>." for who, words in prompt.speech]
    scene = " ".join([AUDIO.sub("", scene), *said])
    return " ".join(scene.split()), " ".join(" ".join([*sounds, prompt.sound]).split())


def check(text: str) -> None:
    """A tag that is opened and not closed, or the other way round, is a ``UserError``."""
    waiting = ""
    for tag in TAGS.findall(text):
        if waiting and tag != waiting or not waiting and tag not in CLOSES:
            raise UserError(
                f"{tag} stands in the wrong place in {text!r}; tags are <S>words<E>, <AUDCAP>...<ENDAUDCAP>"
            )
        waiting = "" if waiting else CLOSES[tag]
    if waiting:
        raise UserError(f"{waiting} is missing in {text!r}")
