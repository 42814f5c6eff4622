"""What the picture of any clip shows without knowing what it should: flicker, standing still, drifting colours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.probes.probe import VIDEO, Found, Measure, Probe, Unmeasured
from phonofilm.types import Clip

CHUNK = 32
"""Pixel frames compared at a time."""
STILL = 0.05
"""Grey levels: two frames that differ by less on average are one and the same."""

FLICKER = Measure(
    name="exact.flicker",
    title="steadiness from one pixel frame to the next: (255 - mean |difference|) / 255, VBench's formula",
    better="up",
    unit="share",
    worst=0.0,
    reads=VIDEO,
)
STILLNESS = Measure(
    name="exact.still",
    title="pixel frames that repeat the one before (best for a still picture, so read it beside exact.flicker)",
    better="",
    unit="share",
    reads=VIDEO,
)


def differences(video: UInt8[Tensor, "T 3 H W"]) -> Float[np.ndarray, " T-1"]:
    """Mean absolute difference of neighbouring pixel frames, in grey levels of 0 to 255."""
    found = []
    for start in range(0, len(video) - 1, CHUNK):
        some = video[start : start + CHUNK + 1].float()
        found.append((some[1:] - some[:-1]).abs().mean((1, 2, 3)).numpy())
    return np.concatenate(found) if found else np.zeros(0)


def flicker(video: UInt8[Tensor, "T 3 H W"]) -> float:
    """Temporal flickering of VBench: 1 for a still picture; about 0.67 for white noise. NaN for a single frame."""
    steps = differences(video)
    return float((255 - steps.mean()) / 255) if len(steps) else float("nan")


def _read(entry: Entry, clip: Clip) -> Found:
    del entry
    steps = differences(clip.video)
    if not len(steps):
        raise Unmeasured("a single pixel frame does not move")
    steady = float((255 - steps.mean()) / 255)
    return Found(values={FLICKER.name: (steady, 1.0), STILLNESS.name: (float((steps < STILL).mean()), 1.0)})


PICTURE = Probe("picture", (FLICKER, STILLNESS), lambda entry: True, _read)
