"""A pool of drawn and spoken clips on disk, read by memory map, so that drawing costs nothing in a training step."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from phonofilm.puppets.script import Script


@dataclass(frozen=True)
class Pool:
    """N clips; the last ``held`` of them are for scores, never for training."""

    frames: np.ndarray
    """Bytes "N T 3 H W"."""
    boxes: np.ndarray
    """Mouth boxes "N T 4" in pixels, left, top, right, bottom; zeros without a mouth."""
    waves: np.ndarray
    """Samples "N samples" at 16 kHz, float32."""
    held: int

    @classmethod
    def open(cls, folder: Path, held: int) -> Pool:
        """Map the files ``frames.npy``, ``boxes.npy`` and ``waves.npy`` that a recipe wrote."""
        parts = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("frames", "boxes", "waves")]
        if not len(parts[0]) > held:
            raise ValueError(f"{folder} holds {len(parts[0])} clips; with {held} held out none is left to train on")
        return cls(*parts, held=held)

    @property
    def training(self) -> int:
        """Number of clips to train on; they come first."""
        return len(self.boxes) - self.held

    @property
    def heldout(self) -> range:
        """Indices of the clips to score on."""
        return range(self.training, len(self.boxes))


def to_video(frames: np.ndarray) -> Float[Tensor, "3 T H W"]:
    """Bytes "T 3 H W" to a video in [-1, 1]."""
    return torch.from_numpy(frames.astype(np.float32) / 127.5 - 1.0).transpose(0, 1)


def crops(
    pool: Pool, rng: np.random.Generator, *, frames: int, size: int, batch: int
) -> tuple[Float[Tensor, "B 3 T S S"], Float[Tensor, "B 1 T S S"]]:
    """Random crops in time and space, half of them near the mouth, and the share of mouth at every pixel."""
    videos, masks = [], []
    for _ in range(batch):
        clip = int(rng.integers(pool.training))
        start = int(rng.integers(pool.frames.shape[1] - frames + 1))
        boxes = pool.boxes[clip, start : start + frames]
        left, top = _corner(boxes[0], pool.frames.shape[-1], size, rng)
        part = pool.frames[clip, start : start + frames, :, top : top + size, left : left + size]
        videos.append(to_video(part))
        masks.append(box_mask(boxes - np.array([left, top, left, top]), size))
    return torch.stack(videos), torch.stack(masks)


def box_mask(boxes: np.ndarray, size: int) -> Float[Tensor, "1 T S S"]:
    """1 inside the box of each pixel frame, 0 outside; a box of zeros is empty."""
    edges = np.clip(np.round(boxes), 0, size).astype(int)
    mask = torch.zeros(1, len(boxes), size, size)
    for k, (left, top, right, bottom) in enumerate(edges):
        mask[:, k, top:bottom, left:right] = 1.0
    return mask


def segments(pool: Pool, rng: np.random.Generator, *, samples: int, batch: int) -> Float[Tensor, "B 1 N"]:
    """Random stretches of sound, each at a random loudness down to a third."""
    waves = []
    for _ in range(batch):
        clip = int(rng.integers(pool.training))
        start = int(rng.integers(pool.waves.shape[1] - samples + 1))
        waves.append(torch.from_numpy(np.array(pool.waves[clip, start : start + samples])) * rng.uniform(0.33, 1.0))
    return torch.stack(waves)[:, None].float()


def _corner(box: np.ndarray, side: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a crop."""
    free = side - size
    left, top = rng.integers(free + 1), rng.integers(free + 1)
    if box.any() and rng.random() < 0.5:
        middle = (box[:2] + box[2:] - size) / 2 + rng.integers(-size // 4, size // 4 + 1, 2)
        left, top = np.clip(middle, 0, free)
    return int(left), int(top)


def pool_scripts(count: int, held: int) -> list[Script]:
    """Mostly speakers, some bouncing balls, a few of the other stages; the last ``held`` are validation clips."""
    from phonofilm.puppets.script import write_script  # here: training reads what was drawn, without puppets

    scripts = []
    for seed in range(count):
        rng, split = random.Random(seed), "train" if seed < count - held else "val"
        share = rng.random()
        other = rng.choice(("dialogue", "keyboard", "rain"))
        stage = "speaker" if share < 0.78 else "ball" if share < 0.92 else other
        scripts.append(write_script(seed, split=split, stage=stage))
    return scripts


def write_pool(folder: Path, scripts: Sequence[Script], *, size: int, say: Callable[[str], None] = print) -> None:
    """Perform and draw scripts into the three files of a pool, atomically; progress is said every 50 clips."""
    from phonofilm.puppets.performance import perform  # here: recipes are read to generate, which needs no puppets
    from phonofilm.puppets.stage import draw

    folder.mkdir(parents=True, exist_ok=True)
    count, frames = len(scripts), scripts[0].num_frames
    part = folder / "frames.part"
    pixels = np.lib.format.open_memmap(part, "w+", np.uint8, (count, frames, 3, size, size))
    boxes, waves = np.zeros((count, frames, 4), np.float32), []
    for first in range(0, count, 2):
        played = [perform(script) for script in scripts[first : first + 2]]
        drawing = draw(played, size=size)
        pixels[first : first + 2] = drawing.video.numpy()
        boxes[first : first + 2] = drawing.mouth.numpy()
        waves += [p.wave[0].numpy() for p in played]
        if first % 50 == 0:
            say(f"{first}/{count} clips")
    pixels.flush()
    np.save(folder / "boxes.npy", boxes)
    np.save(folder / "waves.npy", np.stack(waves))
    part.rename(folder / "frames.npy")
