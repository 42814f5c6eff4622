"""What of a puppet moves: where its head is, eyes, brows and mouth.

Lengths are in units of 1/128 of the picture's height, in the head's own upright frame (see head.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets import sdf
from phonofilm.puppets.head import EYE, MIDDLE, MOUTH_Y
from phonofilm.puppets.paint import MOUTH, TEETH, TONGUE, Paint

PIVOT = (64.0, 112.0)
"""Heads tilt around the top of the breastbone."""
GAPE = 14.0
"""Height of the inside of a mouth that is wide open."""
LIP = (2.6, 3.3)
"""Thickness of the upper and the lower lip."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """The curves of one puppet per clip, as performance.py defines them."""

    opening: Float[Tensor, "B T"]
    width: Float[Tensor, "B T"]
    blink: Float[Tensor, "B T"]
    head: Float[Tensor, "B T 3"]
    brow_raise: Float[Tensor, "B T"]
    brow_tilt: Float[Tensor, "B T"]
    smile: Float[Tensor, "B T"]


class Place(NamedTuple):
    """Where a puppet stands: picture = scale * own + offset, all in 1/128 of the picture's height."""

    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0


class Window(NamedTuple):
    """A rectangle of pixels: from (left, top) to before (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def index(self) -> tuple[slice, slice]:
        """Rows and columns, to index pictures with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class Pose(NamedTuple):
    """Where heads are in each pixel frame, and how large a pixel is."""

    head: Float[Tensor, "B T 3"]
    place: Place
    pixels: float
    """Pixels of the picture per unit of the head's frame."""


def pose(motion: Motion, place: Place, size: int) -> Pose:
    """The pose of heads that stand at ``place`` in a picture of ``size`` pixels."""
    return Pose(motion.head, place, place.scale * size / 128)


def window(place: Place, size: int, box: tuple[float, float, float, float]) -> Window:
    """The pixels around a box (left, top, right, bottom) of the head's frame, clipped to the picture."""
    left, top, right, bottom = box
    k, scale = size / 128, place.scale
    x0, x1 = int((scale * left + place.x) * k), -int(-(scale * right + place.x) * k // 1)
    y0, y1 = int((scale * top + place.y) * k), -int(-(scale * bottom + place.y) * k // 1)
    return Window(max(x0, 0), max(y0, 0), min(x1, size), min(y1, size))


def own_points(pose: Pose, window: Window) -> tuple[Float[Tensor, "B T h w"], Float[Tensor, "B T h w"]]:
    """Each pixel of a window in the upright frame of the head, pixel frame by pixel frame."""
    head, device = pose.head, pose.head.device
    unit = 1 / pose.pixels
    ox, oy = pose.place.x / pose.place.scale, pose.place.y / pose.place.scale
    x = (torch.arange(window.left, window.right, device=device) + 0.5) * unit - ox - PIVOT[0]
    y = (torch.arange(window.top, window.bottom, device=device) + 0.5) * unit - oy - PIVOT[1]
    dx, dy, tilt = (v[..., None, None] for v in (128 * head[..., 0], 128 * head[..., 1], head[..., 2]))
    x, y = x - dx, y[:, None] - dy
    cos, sin = torch.cos(tilt), torch.sin(tilt)
    return cos * x + (sin * y + PIVOT[0]), (cos * y + PIVOT[1]) - sin * x


def picture_points(pose: Pose, own: Float[Tensor, "B T N 2"]) -> Float[Tensor, "B T N 2"]:
    """Where points of the upright head are in the picture, in pixels; the inverse of ``own_points``."""
    dx, dy, tilt = (v[..., None] for v in (128 * pose.head[..., 0], 128 * pose.head[..., 1], pose.head[..., 2]))
    x, y = own[..., 0] - PIVOT[0], own[..., 1] - PIVOT[1]
    cos, sin = torch.cos(tilt), torch.sin(tilt)
    right = cos * x - sin * y + PIVOT[0] + dx + pose.place.x / pose.place.scale
    down = sin * x + cos * y + PIVOT[1] + dy + pose.place.y / pose.place.scale
    return torch.stack([right, down], dim=-1) * pose.pixels


def mix_in(canvas: Tensor, coverage: Tensor, colour: Tensor | tuple[int, int, int]) -> Tensor:
    """Lay a colour, (B, 3) or the same for all, over pictures (B, 3, T, h, w) where coverage (B, T, h, w) says."""
    if isinstance(colour, tuple):
        colour = canvas.new_tensor([colour])
    return torch.lerp(canvas, colour[..., None, None, None], coverage[:, None])


MOUTH_BOX = (39.0, 70.0, 89.0, 111.0)
"""Mouths stay inside this however the head moves."""


def draw_mouth(canvas: Float[Tensor, "B 3 T h w"], own: tuple[Tensor, Tensor], motion: Motion, paint: Paint,
               pixels: float) -> Float[Tensor, "B 3 T h w"]:  # fmt: skip
    """Lips, the dark between them as high as ``opening`` says and as broad as ``width``, teeth and tongue."""
    opening, width, smile = (v[..., None, None] for v in (motion.opening, motion.width, motion.smile))
    inner, gape = 6 + 5 * width, GAPE * opening
    x, y = own[0] - MIDDLE, own[1] - MOUTH_Y
    s = x / inner
    s = s * s
    y = y + smile * (3.4 * s.clamp(max=2) - 1.2)
    arc = torch.sqrt((1 - s).clamp(min=0))
    t = x / (inner + 2.9)
    rim = torch.sqrt((1 - t * t).clamp(min=0))
    upper, lower = -0.4 * gape * arc, 0.6 * gape * arc
    bow = 1 - 0.3 * (1 - (x.abs() - 0.5).clamp(0, 3) / 3)
    lips = sdf.band(y, upper - LIP[0] * rim * bow, lower + LIP[1] * rim, pixels)
    canvas = mix_in(canvas, lips, paint.lips)
    line = sdf.band(y, -0.45 * arc, 0.45 * arc, pixels) * (1 - 4 * opening).clamp(min=0)
    canvas = mix_in(canvas, 0.75 * line, paint.lips * 0.55)
    canvas = mix_in(canvas, sdf.band(y, upper, lower, pixels), MOUTH)
    teeth = torch.minimum(upper + 0.2 * gape * arc, -0.12 * gape * torch.ones_like(arc))
    canvas = mix_in(canvas, sdf.band(y, upper, teeth, pixels) * (s < 0.72), TEETH)
    hump = lower - (0.22 * gape * (1 - 1.6 * s)).clamp(min=0)
    return mix_in(canvas, sdf.band(y, hump, lower, pixels), TONGUE)


def mouth_corners(motion: Motion) -> Float[Tensor, "B T 4 2"]:
    """Corners of the upright box around the lips, with a margin."""
    half = 6 + 5 * motion.width + 2.9 + 1.0
    gape = GAPE * motion.opening
    rise = (motion.smile * 2.6).abs()
    top, bottom = MOUTH_Y - 0.4 * gape - LIP[0] - 1.0 - rise, MOUTH_Y + 0.6 * gape + LIP[1] + 1.0 + rise
    left, right = MIDDLE - half, MIDDLE + half
    x = torch.stack([left, right, left, right], dim=-1)
    return torch.stack([x, torch.stack([top, top, bottom, bottom], dim=-1)], dim=-1)


EYES_BOX = (26.0, 33.0, 102.0, 74.0)
"""Eyes and brows stay inside this however the head moves."""


def draw_eyes(canvas: Float[Tensor, "B 3 T h w"], own: tuple[Tensor, Tensor], motion: Motion, paint: Paint,
              pixels: float) -> Float[Tensor, "B 3 T h w"]:  # fmt: skip
    """Eyes that blink, with iris, pupil and a light in them, upper lids with lashes, and brows."""
    blink, raised = motion.blink[..., None, None], motion.brow_raise[..., None, None]
    man = paint.man[:, None, None, None]
    side = own[0] - MIDDLE
    across, y = side.abs() - EYE[0], own[1] - EYE[1]
    arc = torch.sqrt((1 - (across / 7.6) ** 2).clamp(min=0))
    high = 6.0 + 0.9 * raised
    upper, lower = (2.0 * blink - high * (1 - blink)) * arc, (5.2 - 3.2 * blink) * arc
    white = sdf.band(y, upper, lower, pixels) * (1 - blink).clamp(min=0).sqrt()
    canvas = mix_in(canvas, white, (252, 252, 252))
    centre = torch.sqrt(across * across + y * y)
    canvas = mix_in(canvas, white * sdf.cover(centre - 4.3, pixels), paint.eyes)
    canvas = mix_in(canvas, white * sdf.cover(centre - 2.2, pixels), (16, 16, 20))
    spark = sdf.circle(side - EYE[0] * torch.sign(side) + 1.5, y + 1.7, 1.2)
    canvas = mix_in(canvas, white * sdf.cover(spark, pixels), (255, 255, 255))
    outer = torch.sqrt((1 - ((across - 0.4) / 8.6) ** 2).clamp(min=0))
    lid = (2.0 * blink - high * (1 - blink)) * outer
    lashes = sdf.band(y, lid - (2.0 - 0.8 * man) * outer, lid + 0.4 * outer, pixels)
    canvas = mix_in(canvas, lashes, (34, 26, 30))
    e = across / 8.5
    middle = -14.5 - 3.4 * raised + 3.2 * motion.brow_tilt[..., None, None] * e + 1.6 * e * e
    thick = (1.3 + 0.8 * man) * (1.15 - 0.45 * e) * ((1 - e * e) * 3.2).clamp(0, 1)
    return mix_in(canvas, sdf.band(y, middle - thick, middle + thick, pixels), paint.hair * 0.62)
