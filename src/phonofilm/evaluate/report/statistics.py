"""Arithmetic shared by the metrics: pooled ratios, medians and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REDUCTIONS = ("ratio", "mean", "median")
RESAMPLES = 2000


def reduce_parts(parts: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    """Reduce per-clip parts (..., N, 2), a value and its weight each, over N.

    "ratio" divides the summed values by the summed weights (a pooled error rate or F1), "mean" averages the
    values and "median" takes their median; the last two ignore the weights. A clip whose value is NaN is left out.
    """
    value, weight = parts[..., 0], parts[..., 1]
    known = ~np.isnan(value)
    if how == "ratio":
        return _quotient(np.where(known, value, 0.0), np.where(known, weight, 0.0))
    if how == "mean":
        return mean_known(value)
    if how == "median":
        return _median_known(value, known)
    raise ValueError(f"no reduction named {how!r}: one of {', '.join(REDUCTIONS)}")


def mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is not NaN, NaN where nothing is."""
    known = ~np.isnan(values)
    return _quotient(np.where(known, values, 0.0), known.astype(np.float64))


def _quotient(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total, weight = np.asarray(values.sum(-1)), np.asarray(weights.sum(-1))
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def _median_known(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    count = known.sum(-1, keepdims=True)
    ordered = np.sort(values, axis=-1)  # NaN comes last
    low, high = (np.take_along_axis(ordered, np.maximum(k, 0), axis=-1) for k in ((count - 1) // 2, count // 2))
    return np.asarray(((low + high) / 2)[..., 0])


def bootstrap(parts: NDArray[np.float64], how: str, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a reduced figure, by resampling clips with replacement (percentiles).

    ``parts`` is (N, 2) as in ``reduce_parts``; NaN at both ends where there is no clip.
    """
    if not len(parts):
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(parts), size=(RESAMPLES, len(parts)))
    return interval(reduce_parts(parts[draws], how))


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of resampled figures; NaN where there is none."""
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)


def resample_seeds(parts: NDArray[np.float64], how: str, *, seed: int = 0) -> NDArray[np.float64]:
    """Return figures (R, S) of resampled training seeds, each over resampled clips.

    ``parts`` is (S, N, 2): the same N clips, asked for by the same prompts, of models trained from S seeds. A resample
    draws S seeds, then N clips which all of its seeds share: an easy prompt is easy for all of them, so that clips
    drawn seed by seed would count prompts S times and make intervals too narrow. Two arrays of one shape are
    resampled alike, which pairs them clip by clip.
    """
    num_seeds, num_clips = parts.shape[:2]
    rng = np.random.default_rng(seed)
    seeds = rng.integers(num_seeds, size=(RESAMPLES, num_seeds))
    clips = rng.integers(num_clips, size=(RESAMPLES, num_clips))
    return reduce_parts(parts[seeds[:, :, None], clips[:, None, :]], how)
