"""Clips that are no puppets, for codecs: drawn leaves, photographs and films of a folder, under a moving camera.

Overlapping shapes of all sizes have the edges and the spectrum of photographs (the dead leaves model: Matheron 1968;
Lee, Mumford and Huang 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor
from torch.nn import functional as F

PHOTOGRAPHS = (".jpg", ".jpeg", ".png")
FILMS = (".mp4", ".avi", ".webm", ".mov")
SIDE = 384
"""Pixels, each way, of a drawn picture; photographs are shrunk until their shorter side is at most twice that."""


def read_folder(folder: Path) -> tuple[list[UInt8[Tensor, "3 H W"]], list[UInt8[Tensor, "T 3 H W"]]]:
    """Photographs and films in a folder and the folders in it, in the order of their paths."""
    from phonofilm.files.media import read_clip  # here: training needs no av

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    stills = [_read_photograph(path) for path in paths if path.suffix.lower() in PHOTOGRAPHS]
    films = [read_clip(path).video for path in paths if path.suffix.lower() in FILMS]
    return stills, films


def _read_photograph(path: Path) -> UInt8[Tensor, "3 H W"]:
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    shrink = max(1.0, min(picture.size) / (2 * SIDE))
    picture = picture.resize((round(picture.width / shrink), round(picture.height / shrink)), Image.Resampling.BOX)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def draw_leaves(rng: np.random.Generator, side: int = SIDE) -> UInt8[Tensor, "3 S S"]:
    """Overlapping ellipses, boxes, polygons and lines in a few colours, some shaded, some under grain."""
    picture = _gradient(rng, 2 * side)  # twice the size, shrunk in the end: smooth edges
    colours = rng.integers(0, 256, (int(rng.integers(3, 12)), 3))
    least = float(rng.choice((8, 16, 40)))
    for _ in range(int(rng.choice((6, 30, 150)))):
        radius = min(least / rng.random() ** 0.5, side)
        middle, wide = rng.random(2) * 2 * side, radius * rng.uniform(0.4, 1.6, 2)
        mask = Image.new("L", picture.size)
        _draw_shape(ImageDraw.Draw(mask), middle, wide, rng)
        colour = tuple(int(c) for c in colours[rng.integers(len(colours))])
        fill = Image.new("RGB", picture.size, colour) if rng.random() < 0.8 else _gradient(rng, 2 * side)
        picture.paste(fill, mask=mask)
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32)
    if rng.random() < 0.5:
        pixels = pixels + rng.uniform(4, 40) * _grain(rng, side)
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()


def _draw_shape(pen: ImageDraw.ImageDraw, middle: np.ndarray, wide: np.ndarray, rng: np.random.Generator) -> None:
    box = [*(middle - wide), *(middle + wide)]
    kind = rng.random()
    if kind < 0.4:
        pen.ellipse(box, fill=255)
    elif kind < 0.6:
        pen.rectangle(box, fill=255)
    elif kind < 0.8:
        angles = np.sort(rng.random(int(rng.integers(3, 7)))) * 2 * np.pi
        corners = middle + wide * np.stack((np.cos(angles), np.sin(angles)), 1)
        pen.polygon([tuple(corner) for corner in corners], fill=255)
    else:
        ends = middle + wide.max() * 4 * rng.normal(size=(2, 2))
        pen.line([tuple(end) for end in ends], fill=255, width=int(rng.integers(2, 16)))


def _gradient(rng: np.random.Generator, side: int) -> Image.Image:
    corners = torch.from_numpy(rng.integers(0, 256, (1, 3, 2, 2)).astype(np.float32))
    if rng.random() < 0.5:
        corners = corners.lerp(corners.mean(dim=(2, 3), keepdim=True), 0.8)
    shade = F.interpolate(corners, (side, side), mode="bilinear", align_corners=True)[0]
    return Image.fromarray(shade.permute(1, 2, 0).byte().numpy())


def _grain(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise of unit deviation whose spectrum falls with frequency, as of clouds, walls and cloth, "S S 1"."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    white = np.fft.rfft2(rng.normal(size=(side, side)))
    grain = np.fft.irfft2(white / np.maximum(frequency, 1 / side) ** rng.uniform(0.5, 2.0), (side, side))
    return ((grain - grain.mean()) / grain.std())[..., None].astype(np.float32)


def pan(
    picture: UInt8[Tensor, "3 H W"], rng: np.random.Generator, *, frames: int, size: int
) -> Float[Tensor, "T 3 S S"]:
    """What a camera sees that moves, turns and zooms over a picture, in bytes' range; a third of them stand still."""
    short = min(picture.shape[1:])
    view = rng.uniform(min(1.0, 0.8 * size / short), 1.0) * short  # pixels of the picture across the first frame
    shrink = max(1.0, view / size)
    small = F.interpolate(picture[None].float(), scale_factor=1 / shrink, mode="area" if shrink > 1 else "nearest")
    moving = rng.random() > 1 / 3
    time = np.linspace(0, 1, frames) if rng.random() < 0.7 else 0.5 + 0.5 * np.sin(np.linspace(0, 9, frames))
    speed = rng.exponential(0.35) if moving else 0.0  # of the view's width in the whole clip
    turn = rng.normal() * 0.2 * moving
    zoom = np.exp(rng.normal() * 0.2 * moving * time)
    height, width = small.shape[2:]
    centre, way = rng.uniform(-0.3, 0.3, 2), rng.normal(size=2)
    centres = centre + time[:, None] * speed * way / np.hypot(*way)
    cosine, sine = np.cos(turn * time) * zoom, np.sin(turn * time) * zoom
    scale = view / shrink / np.array([width, height])
    rows = (cosine * scale[0], -sine * scale[0], centres[:, 0], sine * scale[1], cosine * scale[1], centres[:, 1])
    affine = torch.from_numpy(np.stack(rows, 1).reshape(frames, 2, 3)).float()
    grid = F.affine_grid(affine, [frames, 3, size, size], align_corners=False)
    return F.grid_sample(small.expand(frames, -1, -1, -1), grid, padding_mode="reflection", align_corners=False)


def pan_layers(
    pictures: Sequence[UInt8[Tensor, "3 H W"]], rng: np.random.Generator, *, frames: int, size: int
) -> UInt8[Tensor, "T 3 S S"]:
    """A picture under a camera, in two of three clips behind up to three pieces of others that move on their own."""
    seen = pan(pictures[int(rng.integers(len(pictures)))], rng, frames=frames, size=size)
    grid = torch.from_numpy(np.mgrid[:size, :size].astype(np.float32) / size)
    for _ in range(int(rng.choice((0, 1, 3)))):
        piece = pan(pictures[int(rng.integers(len(pictures)))], rng, frames=frames, size=size)
        time = torch.linspace(0, 1, frames)[:, None, None]
        start, way, wide = rng.random(2), rng.normal(size=2) * rng.choice((0.0, 0.3, 1.5)), rng.uniform(0.05, 0.3, 2)
        away = [(grid[i] - start[i] - way[i] * time) / wide[i] for i in range(2)]
        inside = ((1 - torch.hypot(away[0], away[1])) * float(wide.min()) * size).clamp(0, 1)[:, None]
        seen = seen.lerp(piece, inside)
    return seen.clamp(0, 255).round().byte()


def cut_film(
    film: UInt8[Tensor, "N 3 H W"], rng: np.random.Generator, *, frames: int, size: int
) -> UInt8[Tensor, "T 3 S S"]:
    """A square of random place and size out of a film, half of the time mirrored; short films run there and back."""
    count, height, width = len(film), film.shape[2], film.shape[3]
    start = int(rng.integers(max(1, count - frames + 1)))
    order = np.abs((np.arange(start, start + frames) + count - 1) % max(1, 2 * count - 2) - (count - 1))
    side = int(rng.integers(min(size, height, width), min(height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    part = film[order, :, top : top + side, left : left + side].float()
    part = F.interpolate(part, (size, size), mode="area" if side > size else "bilinear")
    return (part.flip(-1) if rng.random() < 0.5 else part).round().byte()


def write_footage(
    target: Path, source: Path | None, count: int, *, frames: int, size: int, say: Callable[[str], None] = print
) -> None:
    """Write a pool of clips without mouths and sound: a third leaves, the rest from ``source`` where there is one."""
    stills, films = read_folder(source) if source else ([], [])
    target.mkdir(parents=True, exist_ok=True)
    part = target / "frames.part"
    pixels = np.lib.format.open_memmap(part, "w+", np.uint8, (count, frames, 3, size, size))
    for clip in range(count):
        rng = np.random.default_rng((7, clip))
        kind = clip % 3
        if kind == 2 and films:
            pixels[clip] = cut_film(films[rng.integers(len(films))], rng, frames=frames, size=size).numpy()
        else:
            pictures = stills if kind == 1 and stills else [draw_leaves(rng) for _ in range(2)]
            pixels[clip] = pan_layers(pictures, rng, frames=frames, size=size).numpy()
        if clip % 50 == 0:
            say(f"{clip}/{count} clips of footage")
    pixels.flush()
    np.save(target / "boxes.npy", np.zeros((count, frames, 4), np.float32))
    np.save(target / "waves.npy", np.zeros((count, 1), np.float32))
    part.rename(target / "frames.npy")
