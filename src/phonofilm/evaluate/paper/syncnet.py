"""SyncNet v2 (Chung and Zisserman 2016): 0.2 s of a mouth and 0.2 s of speech as vectors of one space.

The checkpoint is the user's own file (``syncnet_v2.model`` of the authors); nothing is downloaded. Parameters carry the
checkpoint's names, so that it loads as it is. Shown to give the vectors of joonson/syncnet_python for the same random
weights (``tests/evaluate_syncnet_test.py``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from phonofilm.errors import UserError
from phonofilm.evaluate.paper.mfcc import SAMPLE_RATE, mfcc
from phonofilm.evaluate.paper.sync import SyncScore, distances, sync_score

FPS, SIZE = 25, 224
PIXEL_FRAMES, COLUMNS = 5, 20
"""What a vector covers: 5 pixel frames, 20 columns of cepstra."""
WIDTH = 1024
BATCH = 8


def _stage(conv: nn.Module, *after: nn.Module) -> list[nn.Module]:
    channels = conv.out_channels
    norm = nn.BatchNorm3d(channels) if isinstance(conv, nn.Conv3d) else nn.BatchNorm2d(channels)  # pyright: ignore
    return [conv, norm, nn.ReLU(inplace=True), *after]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, WIDTH))


class SyncNet(nn.Module):
    """Two towers of convolutions; the vectors are not normalised."""

    def __init__(self) -> None:
        super().__init__()
        speech = [
            *_stage(nn.Conv2d(1, 64, 3, padding=1), nn.MaxPool2d(1)),
            *_stage(nn.Conv2d(64, 192, 3, padding=1), nn.MaxPool2d(3, (1, 2))),
            *_stage(nn.Conv2d(192, 384, 3, padding=1)),
            *_stage(nn.Conv2d(384, 256, 3, padding=1)),
            *_stage(nn.Conv2d(256, 256, 3, padding=1), nn.MaxPool2d(3, 2)),
            *_stage(nn.Conv2d(256, 512, (5, 4))),
        ]
        mouths = [
            *_stage(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2)), nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            *_stage(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            *_stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
            *_stage(nn.Conv3d(256, 512, (1, 6, 6))),
        ]
        self.netcnnaud, self.netfcaud = nn.Sequential(*speech), _head()
        self.netcnnlip, self.netfclip = nn.Sequential(*mouths), _head()

    def mouth_vectors(self, pixels: Float[Tensor, "B 3 5 224 224"]) -> Float[Tensor, "B 1024"]:
        """Vectors of mouths; colours are blue, green, red from 0 to 255."""
        return self.netfclip(self.netcnnlip(pixels).flatten(1))

    def speech_vectors(self, cepstra: Float[Tensor, "B 1 13 20"]) -> Float[Tensor, "B 1024"]:
        """Vectors of speech from ``mfcc``."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))


@lru_cache(maxsize=1)
def load_syncnet(path: Path) -> SyncNet:
    """Load the authors' checkpoint. Raises ``UserError`` for a file that is none, or another network's."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net = SyncNet()
        net.load_state_dict(state)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name the authors' syncnet_v2.model") from error
    except Exception as error:  # torch raises a dozen kinds for what is no checkpoint
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a checkpoint of SyncNet v2 ({reason}); name syncnet_v2.model") from error
    return net.eval().requires_grad_(False)


def score_crop(net: SyncNet, crop: UInt8[Tensor, "T 3 224 224"], wave: Float[Tensor, " N"]) -> SyncScore:
    """Score a face crop (RGB, 25 per second) with its sound (16 kHz, in [-1, 1]), as syncnet_python does.

    Raises ValueError where less than 6 pixel frames (0.24 s) are there of both.
    """
    samples = (wave.double() * 32768).round().clamp(-32768, 32767).numpy()
    count = min(len(crop), len(samples) // (SAMPLE_RATE // FPS)) - PIXEL_FRAMES
    if count < 1:
        raise ValueError(f"{len(crop)} pixel frames and {len(samples)} samples: at least 6 frames of both are needed")
    cepstra = torch.from_numpy(mfcc(samples)).float().T  # (13, columns)
    mouths, speech = [], []
    with torch.no_grad():
        for first in range(0, count, BATCH):
            places = range(first, min(first + BATCH, count))
            seen = torch.stack([crop[i : i + PIXEL_FRAMES].flip(1).transpose(0, 1) for i in places]).float()
            heard = torch.stack([cepstra[None, :, 4 * i : 4 * i + COLUMNS] for i in places])
            mouths.append(net.mouth_vectors(seen))
            speech.append(net.speech_vectors(heard))
    return sync_score(distances(torch.cat(mouths), torch.cat(speech)))


def as_crop(video: UInt8[Tensor, "T 3 H W"], fps: float) -> UInt8[Tensor, "S 3 224 224"]:
    """A whole picture taken as the face crop: 25 pixel frames per second, 224 x 224."""
    count = max(1, round(len(video) / fps * FPS))
    picks = np.minimum(((np.arange(count) + 0.5) / FPS * fps).astype(int), len(video) - 1)
    crops = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    for k, pick in enumerate(picks.tolist()):  # one at a time: floats take four times the memory
        small = torch.nn.functional.interpolate(
            video[pick][None].float(), (SIZE, SIZE), mode="bilinear", antialias=True
        )
        crops[k] = small[0].round().clamp(0, 255).to(torch.uint8)
    return crops
