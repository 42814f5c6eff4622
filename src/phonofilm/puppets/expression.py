"""Expressions read from pixels alone: how brows stand and mouths bend, and which emotion's face that is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.puppets.head import EYE, LENS, MOUTH_Y
from phonofilm.puppets.paint import HAIR, SKIN
from phonofilm.puppets.performance import EMOTION_FACES
from phonofilm.puppets.readback import find_mouth, read_look, units

LOOKED_AT = 12
"""Pixel frames, evenly spread: an expression does not change within a clip."""
BROW_Y, RAISE, TILT, BEND = -14.5, 3.4, 3.2, 1.6
"""Height of a brow over the eye, and what raising, tilting and its own arc add; face.draw_eyes."""
HALF = 8.5
"""Half the length of a brow."""
BROW_SHADE = 0.62
"""A brow's colour is this share of the hair's."""
CALIBRATION = ((0.19, 0.756), (0.038, 0.883), (0.308, 1.215))
"""What raise, tilt and smile read where nothing is raised, and per unit; fitted to 58 true clips of the train split."""
LEAST_CONTRAST = 40.0
"""Brows whose colour is nearer to the skin's than this cannot be read."""


class Expression(NamedTuple):
    """What a face shows, as performance.py defines it."""

    brow_raise: float
    """-1 lowered to 1 raised."""
    brow_tilt: float
    """-1 inner ends down to 1 inner ends up."""
    smile: float
    """Mouth corners, -1 down to 1 up."""

    @property
    def emotion(self) -> str:
        """The emotion whose face is nearest."""
        return min(EMOTION_FACES, key=lambda e: sum((a - b) ** 2 for a, b in zip(self, EMOTION_FACES[e], strict=True)))


def read_expression(video: UInt8[Tensor, "T 3 H W"]) -> Expression | None:
    """Read the expression of one puppet in close-up; None where brows have the skin's colour or no mouth is seen.

    Medians over pixel frames. Raises ValueError for what is not a picture sequence.
    """
    some = video[:: max(1, len(video) // LOOKED_AT)]
    look = read_look(some)
    pixels, x, y = units(some)
    sure, cx, cy = find_mouth(pixels, x, y)
    seen = ~cx.isnan()
    skin = pixels.new_tensor(SKIN[str(look["skin"])])
    brow = BROW_SHADE * pixels.new_tensor(HAIR[str(look["hair"])])
    if not seen.any() or (brow - skin).norm() < LEAST_CONTRAST:
        return None
    pixels, sure, cx, cy = pixels[seen], sure[seen], cx[seen], cy[seen]
    smile = _smile(sure, x, y, cx)
    way = (brow - skin)[:, None, None]
    share = (((pixels - skin[:, None, None]) * way).sum(1) / way.square().sum()).clamp(0, 1)
    # The mouth's middle of mass rises with a smile and sinks with an opening, by less than a brow moves.
    box = (-0.8, 0.2 if look["cut"] == "curly" else 0.6, 0.5 - LENS - 2.6 if look["glasses"] else BROW_Y + 6.0)
    height, slope = _brow(share, (x, y), (cx, cy - 0.4), box)
    known = ~height.isnan()
    if not known.any():
        return None
    read = ((BROW_Y - height[known].median()) / RAISE, slope[known].median() / TILT, smile.median())
    return Expression(*(float((r - shift) / gain) for r, (shift, gain) in zip(read, CALIBRATION, strict=True)))


def _brow(
    share: Float[Tensor, "T H W"],
    xy: tuple[Float[Tensor, " W"], Float[Tensor, " H"]],
    mouth: tuple[Float[Tensor, " T"], Float[Tensor, " T"]],
    box: tuple[float, float, float],
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Height of a brow's middle over the eye, and how much its outer end is lower than its middle.

    It is the brow at the right, since hair is swept over the left one; ``box`` is where along it (-1 the inner end,
    1 the outer) and down to where it is looked for.
    """
    across = (xy[0] - mouth[0][:, None] - EYE[0]) / HALF
    down = xy[1] - mouth[1][:, None] + MOUTH_Y - EYE[1]
    inside = ((down > BROW_Y - 6.5) & (down < box[2]))[:, :, None] & ((across > box[0]) & (across < box[1]))[:, None]
    weight = (share * inside).square()
    mass = weight.sum(1)  # (T, W)
    level = (weight * down[:, :, None]).sum(1) / mass.clamp(min=1e-6) - BEND * across.square()
    mass = torch.where(mass > 0.05, mass, 0.0)
    total = mass.sum(1)
    mean_e, mean_y = (mass * across).sum(1) / total, (mass * level).sum(1) / total
    apart = across - mean_e[:, None]
    slope = (mass * apart * (level - mean_y[:, None])).sum(1) / (mass * apart.square()).sum(1)
    return mean_y - slope * mean_e, slope


def _smile(
    sure: Float[Tensor, "T H W"], x: Float[Tensor, " W"], y: Float[Tensor, " H"], cx: Float[Tensor, " T"]
) -> Float[Tensor, " T"]:
    """How far the mouth's ends are above its middle, as a share of the widest smile."""
    mass = sure.sum(1)
    level = (sure * y[:, None]).sum(1) / mass.clamp(min=1e-6)
    across = (x - cx[:, None]).abs() * (mass > 0.6 * float(1 / (x[1] - x[0])))
    half = across.amax(1, keepdim=True)
    ends, middle = (across > 0.7 * half) & (mass > 0.6), (x - cx[:, None]).abs() < 0.3 * half
    height = [(level * mass * part).sum(1) / (mass * part).sum(1).clamp(min=1e-6) for part in (ends, middle)]
    return (height[1] - height[0]) / 3.0
