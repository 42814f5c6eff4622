"""Arithmetic shared by the metrics: pooled ratios, medians and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REDUCTIONS = ("ratio", "mean", "median")
RESAMPLES = 2000


def reduce_parts(parts: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    """Reduce per-clip parts (..., N, 2), a value and its weight each, over N.

    "ratio" divides the summed values by the summed weights (a pooled error rate or F1), "mean" averages the
    values and "median" takes their median; the last two ignore the weights.
    """
    value, weight = parts[..., 0], parts[..., 1]
    if how == "ratio":
        total = weight.sum(-1)
        return np.divide(value.sum(-1), total, out=np.full_like(total, np.nan), where=total > 0)
    if how == "mean":
        return np.asarray(value.mean(-1))
    if how == "median":
        return np.asarray(np.median(value, axis=-1))
    raise ValueError(f"no reduction named {how!r}: one of {', '.join(REDUCTIONS)}")


def bootstrap(parts: NDArray[np.float64], how: str, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a reduced figure, by resampling clips with replacement (percentiles).

    ``parts`` is (N, 2) as in ``reduce_parts``; NaN at both ends where there is no clip.
    """
    if not len(parts):
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(parts), size=(RESAMPLES, len(parts)))
    values = reduce_parts(parts[draws], how)
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)
