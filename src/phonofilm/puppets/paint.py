"""One colour for each word of the tables in looks.py, far enough apart to be told after a lossy codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets.looks import Look

Colour = tuple[int, int, int]
SKIN: dict[str, Colour] = {"pale": (255, 222, 198), "tan": (222, 162, 110), "dark": (142, 90, 60)}
HAIR: dict[str, Colour] = {
    "black": (32, 30, 36),
    "brown": (98, 56, 26),
    "blonde": (236, 186, 60),
    "red": (206, 70, 28),
    "grey": (196, 201, 210),
    "blue": (32, 72, 196),
}
BACKGROUND: dict[str, Colour] = {
    "blue": (96, 158, 240),
    "green": (112, 192, 122),
    "yellow": (250, 222, 110),
    "purple": (166, 116, 216),
    "grey": (126, 130, 138),
    "white": (244, 245, 248),
}
EYES: dict[str, Colour] = {"brown": (104, 62, 34), "blue": (58, 128, 220), "green": (58, 150, 92)}
CLOTHING: dict[str, Colour] = {
    "red": (200, 46, 50),
    "green": (44, 132, 78),
    "blue": (48, 84, 178),
    "orange": (240, 138, 40),
    "black": (46, 46, 54),
    "white": (236, 236, 238),
}
BALL: dict[str, Colour] = {
    "red": (222, 48, 48),
    "blue": (40, 80, 210),
    "yellow": (250, 206, 40),
    "white": (250, 250, 250),
    "black": (34, 34, 40),
    "orange": (246, 136, 30),
}
FLOOR: dict[str, Colour] = {
    "green": (84, 146, 88),
    "grey": (104, 106, 112),
    "brown": (134, 94, 62),
    "blue": (64, 106, 168),
}
LIPS: dict[str, Colour] = {"woman": (226, 78, 96), "man": (206, 80, 102)}
MOUTH: Colour = (92, 0, 26)
"""The dark inside of a mouth: nothing else has this colour."""
TONGUE: Colour = (166, 36, 60)
TEETH: Colour = (252, 250, 244)
GLASSES: Colour = (26, 26, 32)
CASE: Colour = (52, 50, 62)
IVORY: Colour = (240, 238, 230)
LIGHTS: tuple[Colour, ...] = (
    (236, 56, 64),
    (248, 140, 36),
    (246, 212, 40),
    (88, 196, 80),
    (40, 190, 190),
    (56, 120, 236),
    (130, 84, 220),
    (226, 84, 176),
)
"""Of the keys of a keyboard when struck, from the left."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Looks as numbers: colours from 0 to 255, and shares from 0 to 1."""

    skin: Float[Tensor, "B 3"]
    hair: Float[Tensor, "B 3"]
    eyes: Float[Tensor, "B 3"]
    lips: Float[Tensor, "B 3"]
    clothing: Float[Tensor, "B 3"]
    man: Float[Tensor, " B"]
    long: Float[Tensor, " B"]
    curly: Float[Tensor, " B"]
    glasses: Float[Tensor, " B"]
    beard: Float[Tensor, " B"]


def colours(table: dict[str, Colour], words: Sequence[str], device: torch.device) -> Float[Tensor, "B 3"]:
    """Look up words in one of this file's tables; raises ValueError for a word that is not there."""
    for word in words:
        if word not in table:
            raise ValueError(f"unknown colour {word!r}: choose one of {', '.join(table)}")
    return torch.tensor([table[word] for word in words], dtype=torch.float32, device=device)


def mix(looks: Sequence[Look], device: torch.device) -> Paint:
    """The numbers behind one look per clip."""

    def flag(values: list[bool]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return Paint(
        skin=colours(SKIN, [k.skin for k in looks], device),
        hair=colours(HAIR, [k.hair for k in looks], device),
        eyes=colours(EYES, [k.eyes for k in looks], device),
        lips=colours(LIPS, [k.person for k in looks], device),
        clothing=colours(CLOTHING, [k.clothing for k in looks], device),
        man=flag([k.person == "man" for k in looks]),
        long=flag([k.cut == "long" for k in looks]),
        curly=flag([k.cut == "curly" for k in looks]),
        glasses=flag([k.glasses for k in looks]),
        beard=flag([k.beard for k in looks]),
    )
