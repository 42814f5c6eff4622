"""Stages without people: a ball that bounces on a floor, keys that light up, rain."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets import sdf
from phonofilm.puppets.face import mix_in
from phonofilm.puppets.looks import NUM_KEYS
from phonofilm.puppets.paint import BALL, CASE, FLOOR, IVORY, LIGHTS, colours
from phonofilm.puppets.performance import Performance

GROUND = 0.86
"""Height of the floor's contact line, from the top, in heights of the picture."""
RADIUS = 0.105
"""Of the ball, in heights of the picture."""
RAIN = {"light": 26, "heavy": 90}
"""Streaks of rain in a picture."""


def axes(like: Tensor) -> tuple[Float[Tensor, " W"], Float[Tensor, "H 1"]]:
    """x and y of each pixel's middle, 0 to 1."""
    size = like.shape[-1]
    steps = (torch.arange(size, device=like.device) + 0.5) / size
    return steps, steps[:, None]


def draw_ball(performances: Sequence[Performance], plate: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 T H W"]:
    """A floor, and a ball with its shadow that flattens where it touches the floor."""
    device, size = plate.device, plate.shape[-1]
    scripts = [p.script for p in performances]
    x, y = axes(plate)
    floor = colours(FLOOR, [s.scenery.floor for s in scripts], device)
    tone = 1 + 0.16 * (y - 0.72) / 0.28
    edge = sdf.cover(0.72 - y, size)
    plate = torch.lerp(plate, floor[..., None, None] * tone, edge)
    canvas = plate[:, :, None].repeat(1, 1, scripts[0].num_frames, 1, 1)
    path = torch.stack([p.ball for p in performances]).to(device, torch.float32)
    across, height = path[..., 0, None, None], path[..., 1, None, None]
    near = (1 - height / 0.035).clamp(0, 1)
    rx, ry = RADIUS * (1 + 0.22 * near), RADIUS * (1 - 0.26 * near)
    shadow = sdf.ellipse(x - across, y - GROUND, RADIUS * (1.05 - 0.5 * height), 0.026)
    strength = 0.5 * (1 - height).clamp(0.2, 1)
    canvas = mix_in(canvas, sdf.cover(shadow, size / 3) * strength, (24, 24, 30))
    ball = colours(BALL, [s.scenery.colour for s in scripts], device)
    middle = GROUND - height - ry
    canvas = mix_in(canvas, sdf.cover(sdf.ellipse(x - across, y - middle, rx, ry), size), ball)
    shine = sdf.circle(x - across + 0.035, y - middle + 0.038, 0.02)
    return mix_in(canvas, 0.55 * sdf.cover(shine, size / 2), (255, 255, 255))


def ball_boxes(performances: Sequence[Performance], size: int) -> Float[Tensor, "B T 4"]:
    """Left, top, right and bottom of the ball in each pixel frame, in pixels; zeros in clips without a ball."""
    path = torch.stack([p.ball for p in performances]).float()
    across, lowest = path[..., 0], GROUND - path[..., 1]
    boxes = torch.stack((across - RADIUS, lowest - 2 * RADIUS, across + RADIUS, lowest), dim=-1)
    there = torch.tensor([p.script.ball is not None for p in performances])
    return (size * boxes).clamp(0, size) * there[:, None, None]


def key_shapes(size: int, device: torch.device) -> tuple[Float[Tensor, "K H W"], Float[Tensor, "H W"]]:
    """Distance to each key, left to right, and to the case around them, in heights of the picture."""
    steps = (torch.arange(size, device=device) + 0.5) / size
    x, y = steps, steps[:, None]
    pitch = 0.88 / NUM_KEYS
    middles = 0.06 + pitch * (torch.arange(NUM_KEYS, device=device) + 0.5)
    keys = sdf.box(x - middles[:, None, None], y - 0.60, pitch / 2 - 0.006, 0.24, 0.016)
    return keys, sdf.box(x - 0.5, y - 0.60, 0.47, 0.29, 0.03)


def draw_keyboard(performances: Sequence[Performance], plate: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 T H W"]:
    """Eight white keys in a dark case; struck keys light up, each in a colour of its own."""
    size, device = plate.shape[-1], plate.device
    keys, case = key_shapes(size, device)
    plate = torch.lerp(plate, plate.new_tensor(CASE)[:, None, None], sdf.cover(case, size))
    shares = sdf.cover(keys, size)
    slope = 1 - 0.10 * (axes(plate)[1] - 0.36) / 0.48
    dark = torch.lerp(plate, plate.new_tensor(IVORY)[:, None, None] * slope, shares.sum(0))
    light = torch.tensor(LIGHTS, dtype=torch.float32, device=device)
    lit = torch.lerp(dark, torch.einsum("kc,khw->chw", light, shares), shares.sum(0))
    glow = (1 - keys / 0.05).clamp(0, 1) ** 2 * 0.6 * (1 - shares.sum(0))
    struck = torch.stack([p.keys for p in performances]).to(device, torch.float32)
    on = torch.einsum("btk,khw->bthw", struck, shares)[:, None]
    canvas = torch.lerp(dark[:, :, None], lit[:, :, None], on)
    halo = torch.einsum("btk,khw->bthw", struck, glow).clamp(0, 1)
    tint = torch.einsum("btk,kc,khw->bcthw", struck, light, glow) / halo.clamp(min=1e-4)[:, None]
    return torch.lerp(canvas, tint.clamp(0, 255), halo[:, None])


def streaks(seed: int, count: int, size: int) -> Float[Tensor, "H W"]:
    """How much of each pixel streaks of rain cover, in a picture that repeats downwards."""
    rng = random.Random(seed)
    rows = torch.arange(size) + 0.5
    sheet = torch.zeros(size, size)
    long = 0.055 * size
    for _ in range(count):
        column, row = rng.randrange(size), rng.random() * size
        gap = ((rows - row + size / 2) % size - size / 2).abs()
        sheet[:, column] = torch.maximum(sheet[:, column], (long - gap + 0.5).clamp(0, 1))
    return sheet


def draw_rain(performances: Sequence[Performance], plate: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 T H W"]:
    """A cloud, and rain that falls from it onto a wet ground."""
    size, device = plate.shape[-1], plate.device
    scripts = [p.script for p in performances]
    frames, fps = scripts[0].num_frames, scripts[0].fps
    x, y = axes(plate)
    puffs = ((0.26, 0.20, 0.11), (0.40, 0.14, 0.13), (0.57, 0.13, 0.14), (0.73, 0.19, 0.12), (0.5, 0.22, 0.12))
    cloud = sdf.union(
        *(sdf.circle(x - a, y - b, r) for a, b, r in puffs), sdf.box(x - 0.5, y - 0.25, 0.34, 0.065, 0.06)
    )
    ground = torch.lerp(plate, plate * 0.62, sdf.cover(GROUND - y, size))
    fall = round(2.2 * size / fps)
    when = torch.arange(frames)[:, None] * fall
    rows = (torch.arange(size) - when) % size
    sheets = [streaks(s.seed, RAIN[s.scenery.strength], size)[rows] for s in scripts]
    inside = sdf.cover(sdf.box(x - 0.5, y - 0.58, 0.32, 0.30), size)
    shares = torch.stack(sheets).to(device) * inside
    canvas = mix_in(ground[:, :, None].expand(-1, -1, frames, -1, -1), 0.75 * shares, (226, 238, 255))
    return mix_in(canvas, sdf.cover(cloud, size).expand(len(scripts), frames, -1, -1), (86, 92, 108))


DRAW: dict[str, Callable[[Sequence[Performance], Tensor], Tensor]] = {
    "ball": draw_ball,
    "keyboard": draw_keyboard,
    "rain": draw_rain,
}
"""Drawing functions of the stages without people: they get walls and return all pixel frames, 0 to 255."""
