"""Scenes and sounds in words: templated English whose every word stands in a closed table."""

from __future__ import annotations

import random

from phonofilm.puppets import looks
from phonofilm.puppets.looks import Look, Scenery
from phonofilm.types import Prompt

FACES = {
    "neutral": (),
    "happy": ("smiling", "happy"),
    "sad": ("sad", "frowning"),
    "angry": ("angry",),
    "surprised": ("surprised",),
}
SIDES = ("left", "right")
HEIGHTS = {"woman": "high", "man": "low"}


def vocabulary() -> dict[str, tuple[str, ...]]:
    """The words that scenes and sounds understand, by what they say."""
    return {
        "person": looks.PERSONS,
        "skin": looks.SKINS,
        "hair colour": looks.HAIRS,
        "hair shape": looks.CUTS,
        "background": looks.BACKGROUNDS,
        "shirt": looks.CLOTHES,
        "worn": ("glasses", "beard"),
        "expression": tuple(word for face in FACES.values() for word in face),
        "side": SIDES,
        "voice": tuple(HEIGHTS.values()),
        "emotion in the voice": tuple(name for name in FACES if name != "neutral"),
        "ball": looks.BALLS,
        "floor": looks.FLOORS,
        "rain": looks.STRENGTHS,
        "stage": ("bounces", "keyboard", "rain"),
    }


def describe(look: Look, face: str, rng: random.Random, *, background: bool = True) -> str:
    """One puppet in words; ``face`` is a word for the expression or "".

    Hair, skin, background, and glasses and beard where present are always named, cut and shirt often.
    """
    hair = f"{look.cut} {look.hair} hair" if rng.random() < 0.7 else f"{look.hair} hair"
    shirt = [f"{look.clothing} shirt"] if rng.random() < 0.6 else []
    extras = (["glasses"] if look.glasses else []) + (["beard"] if look.beard else [])
    behind = [f"{look.background} background"] if background else []
    order = rng.randrange(4)
    if order == 0:  # a woman with long red hair, pale skin, glasses, green shirt, smiling, blue background
        parts = [f"a {look.person} with {hair}", f"{look.skin} skin", *extras, *shirt, face, *behind]
    elif order == 1:  # blue background, a pale woman with red hair and glasses, green shirt, smiling
        parts = [*behind, f"a {look.skin} {look.person} with {' and '.join([hair, *extras])}", *shirt, face]
    elif order == 2:  # a smiling pale woman, red hair, glasses, green shirt, blue background
        parts = [" ".join(filter(None, ("a", face, look.skin, look.person))), hair, *extras, *shirt, *behind]
    else:  # a woman with pale skin, green shirt, red hair, glasses, blue background
        parts = [f"a {look.person} with {look.skin} skin", *shirt, hair, *extras, face, *behind]
    text = ", ".join(filter(None, parts))
    return text.replace("a angry", "an angry")


def _face(emotion: str, rng: random.Random) -> str:
    words = FACES[emotion]
    return rng.choice(words) if words and rng.random() < 0.8 else ""


def _voice(person: str, emotion: str, rng: random.Random) -> str:
    feeling = f" {emotion}" if emotion != "neutral" and rng.random() < 0.5 else ""
    return f"a {HEIGHTS[person]}{feeling} voice"


def speaking(
    people: tuple[Look, ...], lines: tuple[str, ...], emotion: str, rng: random.Random, *, sound_share: float
) -> Prompt:
    """The prompt of one speaker or of two, left then right; the sound is left out of ``1 - sound_share`` of them."""
    if len(people) == 1:
        scene = describe(people[0], _face(emotion, rng), rng)
        speech = (("", lines[0]),)
    else:
        halves = [
            f"on the {side} {describe(look, _face(emotion, rng), rng, background=False)}"
            for side, look in zip(SIDES, people)
        ]
        scene = "; ".join([*halves, f"{people[0].background} background"])
        speech = tuple(zip(SIDES, lines))
    sound = " and ".join(_voice(look.person, emotion, rng) for look in people)
    return Prompt(scene=scene, sound=sound if rng.random() < sound_share else "", speech=speech)


def showing(stage: str, scenery: Scenery, rng: random.Random, *, sound_share: float) -> Prompt:
    """The prompt of a stage without speech: ball, keyboard or rain."""
    behind = f"{scenery.background} background"
    scenes = {
        "ball": (
            f"a {scenery.colour} ball bounces on a {scenery.floor} floor, {behind}",
            f"{behind}, a {scenery.colour} ball bounces on a {scenery.floor} floor",
            f"a bouncing {scenery.colour} ball, {scenery.floor} floor, {behind}",
        ),
        "keyboard": (f"a keyboard with lit keys, {behind}", f"{behind}, a keyboard lights up"),
        "rain": (f"{scenery.strength} rain, {behind}", f"{scenery.strength} rain falls, {behind}"),
    }
    sounds = {"ball": "a bouncing ball", "keyboard": "notes", "rain": f"{scenery.strength} rain"}
    scene = rng.choice(scenes[stage]).replace("a orange", "an orange")
    return Prompt(scene=scene, sound=sounds[stage] if rng.random() < sound_share else "")
