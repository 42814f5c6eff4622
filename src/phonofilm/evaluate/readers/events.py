"""Onsets heard in a sound, and their one-to-one matching with contacts seen in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

HOP = 0.004
"""Seconds between two energies."""
WINDOW = 0.008
RISE = 0.02
"""An onset is a rise of the level within these seconds."""
THRESHOLD_DB = 10.0
FLOOR_DB = -35.0
"""Levels below the loudest are cut here, so that noise and codec hiss are no events."""
GAP = 0.1
"""Two onsets closer than these seconds are one."""
REACH = 0.3
"""Seconds between a contact and an onset that may still count for the offset, so that a delay shows as what it is."""
SILENCE = 1e-3
"""A peak below this is silence."""


class Match(NamedTuple):
    """How contacts seen and onsets heard pair up."""

    pairs: int
    seen: int
    heard: int
    offsets: tuple[float, ...]
    """Seconds per pair; positive where the sound is late."""


def hear_onsets(wave: Float[Tensor, "K N"], sample_rate: int) -> tuple[float, ...]:
    """Return the seconds at which the level rises steeply, in the order of time."""
    mono = wave.mean(0).double().numpy()
    if len(mono) == 0 or np.abs(mono).max() < SILENCE:
        return ()
    hop, window = round(HOP * sample_rate), round(WINDOW * sample_rate)
    squares = np.concatenate([[0.0], np.cumsum(mono**2)])
    ends = np.arange(hop, len(mono) + 1, hop)
    # Each energy looks back only, so that a level never rises before its sound.
    energy = squares[ends] - squares[np.maximum(ends - window, 0)]
    level = np.maximum(10 * np.log10(energy / energy.max() + 1e-12), FLOOR_DB)
    before = round(RISE / HOP)
    padded = np.concatenate([np.full(before, FLOOR_DB), level])
    rise = level - np.lib.stride_tricks.sliding_window_view(padded, before)[: len(level)].min(1)
    onsets: list[float] = []
    for k in _peaks(rise, round(GAP / HOP)):
        # The instant at which half of the rise is done, interpolated between the two energies around it.
        start = max(0, k - before)
        half = level[k] - rise[k] / 2
        first = start + int(np.argmax(level[start : k + 1] >= half))
        onsets.append(max(0.0, ends[first] / sample_rate - HOP))
    return tuple(onsets)


def _peaks(rise: np.ndarray, gap: int) -> list[int]:
    """Indices above the threshold that no larger value within ``gap`` outdoes, in order."""
    kept: list[int] = []
    for k in sorted(np.flatnonzero(rise >= THRESHOLD_DB), key=lambda k: (-rise[k], k)):
        if all(abs(k - other) > gap for other in kept):
            kept.append(int(k))
    return sorted(kept)


def match(seen: Sequence[float], heard: Sequence[float], tolerance: float = 0.08) -> Match:
    """Pair contacts with onsets one to one: as many as possible within the tolerance, then as close as possible."""
    from scipy.optimize import linear_sum_assignment

    if not seen or not heard:
        return Match(0, len(seen), len(heard), ())
    offsets = np.subtract.outer(np.asarray(heard), np.asarray(seen)).T
    close = np.abs(offsets) <= tolerance + 1e-9
    # A pair out of reach costs more than all pairs within it together.
    cost = np.where(close, np.abs(offsets), (len(seen) + len(heard) + 1) * tolerance)
    rows, columns = linear_sum_assignment(cost)
    found = [float(offsets[i, j]) for i, j in zip(rows, columns, strict=True) if close[i, j]]
    return Match(len(found), len(seen), len(heard), tuple(found))
