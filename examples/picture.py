"""Frames of clips over their sound, as one PNG: python examples/picture.py OUT.png CLIP.mp4 [CLIP.mp4 ...]."""

import sys
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from phonofilm.files.media import read_clip
from phonofilm.types import Clip

FRAMES, HEIGHT = 8, 48
BLUE = torch.tensor([40, 80, 160], dtype=torch.uint8).view(3, 1, 1)


def strip(clip: Clip) -> UInt8[Tensor, "3 H W"]:
    """Evenly spaced pixel frames side by side over the waveform."""
    indices = torch.linspace(0, len(clip.video) - 1, FRAMES).round().long()
    frames = torch.cat(list(clip.video[indices]), dim=-1)
    return torch.cat((frames, waveform(clip.audio, frames.shape[-1])), dim=1)


def waveform(audio: Float[Tensor, "K N"], width: int) -> UInt8[Tensor, "3 h W"]:
    """Peaks of the sound, one column per pixel."""
    mono = audio.mean(dim=0)
    peaks = mono[: len(mono) // width * width].view(width, -1).abs().amax(dim=1)
    away = (torch.arange(HEIGHT) - HEIGHT / 2).abs()[:, None] / (HEIGHT / 2)
    return torch.where(away <= peaks.clamp(min=0.02), BLUE, torch.full_like(BLUE, 255))


if __name__ == "__main__":
    out, *paths = sys.argv[1:]
    picture = torch.cat([strip(read_clip(Path(path))) for path in paths], dim=1)
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(out)
