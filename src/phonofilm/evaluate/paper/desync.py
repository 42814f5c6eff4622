"""DeSync and AV-A: offsets that Synchformer predicts, and how each harness averages them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

CLASSES = np.round(np.arange(-2.0, 2.01, 0.2), 1)
"""Seconds of the 21 classes of Synchformer's checkpoint 24-01-04T16-39-21, a grid of 0.2 s."""
SEGMENTS = 14
"""Segments of 16 frames (hop 8, at 25 per second) that the transformer sees: 4.8 s."""


def offsets(logits: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """Seconds of the most likely class of each window."""
    if logits.shape[-1] != len(CLASSES):
        raise ValueError(f"got {logits.shape[-1]} classes: the checkpoint has {len(CLASSES)}")
    return CLASSES[logits.argmax(-1)]


def windows(num_segments: int) -> tuple[slice, slice]:
    """The first and the last 14 segments of a clip, which av-benchmark and MOVA score.

    Raises ValueError for shorter clips (4.8 s): JavisBench repeats features there, which is another figure.
    """
    if num_segments < SEGMENTS:
        raise ValueError(f"{num_segments} segments: DeSync needs {SEGMENTS}, that is 4.8 s")
    return slice(0, SEGMENTS), slice(num_segments - SEGMENTS, num_segments)


def desync(first: Float[np.ndarray, "N C"], last: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """DeSync of each clip in seconds, 0 best: mean |offset| of its first and last window (av-benchmark, MOVA)."""
    return (np.abs(offsets(first)) + np.abs(offsets(last))) / 2


def verse_bench_av_a(logits: Float[np.ndarray, "N C"]) -> float:
    """Verse-Bench's AV-A: the mean of signed offsets, in which errors of opposite sign cancel."""
    return float(offsets(logits).mean())
