"""What of a puppet does not move inside its head: hair, face, ears, nose, neck, glasses, beard; drawn once a clip.

Lengths are in units of 1/128 of the picture's height. A head is drawn upright around (64, 64) into a texture that
covers ``DOMAIN``; stage.py lays it into each pixel frame where the head happens to be.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets import sdf
from phonofilm.puppets.paint import GLASSES, Paint

DOMAIN = (-6.0, 0.0, 140.0)
"""Left, top and side of the square that a head texture covers."""
MIDDLE = 64.0
EYE = (16.0, 60.0)
"""An eye's distance from the middle, and its height."""
MOUTH_Y = 89.0
LENS = 10.4


class Layers:
    """Pictures laid over each other: premultiplied colour and alpha, from the back to the front."""

    def __init__(self, like: Float[Tensor, "B H W"]) -> None:
        self.alpha = torch.zeros_like(like)
        self.colour = torch.zeros_like(like)[:, None].repeat(1, 3, 1, 1)

    def lay(self, coverage: Float[Tensor, "B H W"], colour: Tensor) -> None:
        """Put a colour, (B, 3) or (B, 3, H, W), in front of everything so far."""
        colour = colour[..., None, None] if colour.ndim == 2 else colour
        self.colour = torch.lerp(self.colour, colour, coverage[:, None])
        self.alpha = self.alpha + (1 - self.alpha) * coverage


def points(side: int, device: torch.device) -> tuple[Float[Tensor, "1 1 W"], Float[Tensor, "1 H 1"]]:
    """x and y of a texture's samples."""
    left, top, length = DOMAIN
    steps = (torch.arange(side, device=device) + 0.5) * (length / side)
    return (left + steps)[None, None, :], (top + steps)[None, :, None]


def skull(x: Tensor, y: Tensor, man: Tensor) -> Tensor:
    """Distance to the outline of the face; men have broader jaws."""
    cranium = sdf.ellipse(x - MIDDLE, y - 58, 34.5, 41)
    jaw = sdf.ellipse(x - MIDDLE, y - 84, 27 + 3.5 * man, 26.5)
    return sdf.blend(cranium, jaw, 9.0)


def cap(x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline of short hair."""
    return sdf.ellipse(x - MIDDLE, y - 52, 39.5, 42)


def cloud(x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline of curly hair: a ring of locks."""
    across = (x - MIDDLE).abs()
    locks = [sdf.ellipse(across, y - 46, 40, 34)]
    for degrees in (0.0, 33.0, 64.0, 94.0, 121.0):
        angle = math.radians(degrees)
        locks.append(sdf.circle(across - 38 * math.sin(angle), y - 47 + 31 * math.cos(angle), 12.0))
    return sdf.union(*locks)


def mane(x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline of long hair: a cap and a lock on each side, over the shoulders."""
    locks = sdf.box((x - MIDDLE).abs() - 33.5, y - 88, 9.5, 44, 9.0)
    return sdf.blend(cap(x, y), locks, 12.0)


def hair_outline(x: Tensor, y: Tensor, paint: Paint) -> Tensor:
    """Distance to the whole hair of each clip's cut."""
    long, curly = paint.long[:, None, None], paint.curly[:, None, None]
    short = (1 - long - curly).clamp(min=0)
    return short * cap(x, y) + long * mane(x, y) + curly * cloud(x, y)


def forehead(x: Tensor, y: Tensor, paint: Paint) -> Tensor:
    """Distance to the opening that hair leaves for the face: swept to the side, straight or scalloped."""
    long, curly = paint.long[:, None, None], paint.curly[:, None, None]
    sweep = 7 * (1 - curly) - 3 * long
    opening = sdf.ellipse(x - MIDDLE - sweep, y - 78, 31.5 + 0.6 * sweep, 46 - 2 * long)
    across = (x - MIDDLE).abs()
    scallops = sdf.union(*(sdf.circle(across - dx, y - 32 - 0.012 * dx * dx, 6.5) for dx in (0.0, 12.5, 24.0)))
    return opening * (1 - curly) + sdf.without(opening, scallops) * curly


def beard_outline(x: Tensor, y: Tensor, face: Tensor) -> Tensor:
    """Distance to a beard: jaw and whiskers, with bare skin left around the mouth so that lips stay legible."""
    across = (x - MIDDLE).abs()
    cheeks = sdf.ellipse(across, y - 62, 27.5, 18.5)
    bare = sdf.ellipse(across, y - MOUTH_Y - 0.5, 18.5, 12.5)
    return torch.maximum(sdf.without(60 - y, sdf.union(cheeks, bare)), face - 1.6)


def lay_glasses(layers: Layers, xy: tuple[Tensor, Tensor], glasses: Tensor, pixels: float) -> None:
    """Two thick rings, a bridge and the arms, with lenses that tint the skin a little."""
    across, y = (xy[0] - MIDDLE).abs(), xy[1] - EYE[1]
    ring = sdf.box(across - EYE[0], y - 0.5, LENS + 1, LENS, 7.0)
    frame = ring.abs() - 1.5
    bridge = sdf.box(across, y + 3, 6.0, 1.4, 1.0)
    arms = sdf.box(across - 32, y + 3, 5.0, 1.5, 1.0)
    layers.lay(0.22 * sdf.cover(ring, pixels) * glasses, across.new_tensor([[214.0, 232.0, 246.0]]))
    shape = sdf.cover(sdf.union(frame, bridge, sdf.without(arms, ring)), pixels)
    layers.lay(shape * glasses, across.new_tensor([GLASSES]))


def lay_face(layers: Layers, xy: tuple[Tensor, Tensor], face: Tensor, paint: Paint, pixels: float) -> None:
    """Neck, ears, face with soft cheeks, and nose."""
    x, y = xy
    across, man = (x - MIDDLE).abs(), paint.man[:, None, None]
    shade = paint.skin * torch.tensor([0.86, 0.80, 0.78], device=paint.skin.device)
    neck = sdf.box(across, y - 106, 11.5 + 3.5 * man, 15, 7.0)
    layers.lay(sdf.cover(neck, pixels), shade)
    ears = sdf.ellipse(across - 34.5, y - 66, 5.0, 7.5)
    layers.lay(sdf.cover(ears, pixels), paint.skin)
    layers.lay(sdf.cover(sdf.ellipse(across - 35.5, y - 66, 2.2, 4.2), pixels), shade)
    layers.lay(sdf.cover(face, pixels), paint.skin)
    blush = (0.5 - sdf.ellipse(across - 23, y - 77, 7.0, 4.5) / 6).clamp(0, 0.42) * (1 - 0.6 * man)
    layers.lay(blush, paint.skin * torch.tensor([1.0, 0.80, 0.80], device=paint.skin.device))
    nose = sdf.ellipse(across, y - 74, 4.6 + 1.4 * man, 3.4)
    layers.lay(0.8 * sdf.cover(torch.maximum(nose, 74.5 - y), pixels), shade)


def paint_hair(x: Tensor, y: Tensor, paint: Paint) -> Float[Tensor, "B 3 H W"]:
    """Hair colour with a soft light across the crown of straight hair."""
    shine = (1 - ((y - 20 - 0.009 * (x - MIDDLE) ** 2) / 5.5) ** 2).clamp(min=0)
    shine = (shine * (1 - paint.curly)[:, None, None])[:, None]
    return (paint.hair[..., None, None] * (1 + 0.12 * shine) + 7 * shine).clamp(max=255)


def draw_head(paint: Paint, side: int, pixels: float) -> Float[Tensor, "B 5 R R"]:
    """Heads without eyes, brows and mouths: premultiplied colour (0 to 255), alpha and face mask.

    ``side`` is the number of samples along the texture, ``pixels`` the number of pixels of the final picture per
    unit of length, which decides how soft edges are.
    """
    x, y = points(side, paint.skin.device)
    man = paint.man[:, None, None]
    face = skull(x, y, man)
    outline = hair_outline(x, y, paint)
    colour = paint_hair(x, y, paint)
    layers = Layers(face)
    layers.lay(sdf.cover(outline, pixels), colour * 0.82)
    lay_face(layers, (x, y), face, paint, pixels)
    beard = beard_outline(x, y, face)
    layers.lay(sdf.cover(beard, pixels) * paint.beard[:, None, None], paint.hair)
    low = 70 + 90 * paint.long[:, None, None]
    front = torch.maximum(sdf.without(outline, forehead(x, y, paint)), y - low)
    layers.lay(sdf.cover(front, pixels), colour)
    lay_glasses(layers, (x, y), paint.glasses[:, None, None], pixels)
    mask = sdf.cover(face, pixels)
    return torch.cat([layers.colour, layers.alpha[:, None], mask[:, None]], dim=1)
