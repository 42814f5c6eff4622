"""From what was seen and heard in every clip to figures of arms, their differences, and whether a claim held."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonofilm.evaluate.report.figures import Asked
from phonofilm.evaluate.report.metrics import METRICS, Metric
from phonofilm.evaluate.report.statistics import interval, mean_known, reduce_parts, resample_seeds

HELD, FAILED, OPEN = "held", "did not hold", "not decided at this budget"
Seeds = Sequence[Asked]
"""The clips of one arm and what was measured of them, for each seed."""
REPORTED = tuple(metric for metric in METRICS if not metric.name.startswith("exact.looks_"))
"""What has a column; single attributes of looks are left out."""


class Estimate(NamedTuple):
    """A figure, mean over seeds, with its 95 % interval and coverage; None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    used: int
    total: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study's figure says of the first arm against another one."""

    against: str
    difference: Estimate
    """The other arm minus the first."""
    outcome: str


def table_of(metric: Metric, seeds: Seeds) -> NDArray[np.float64]:
    """Parts (S, N, 2) of the clips that a metric is about, the same clips for every seed; NaN where one is left out."""
    names = list(dict.fromkeys(entry.name for some in seeds for entry, _ in some if metric.about(entry)))
    parts = np.full((len(seeds), len(names), 2), (np.nan, 0.0))
    for row, some in enumerate(seeds):
        for entry, found in some:
            counted = metric.charged(entry, found) if metric.about(entry) else None
            if counted is not None:
                parts[row, names.index(entry.name)] = counted
    return parts


def estimate(metric: Metric, seeds: Seeds) -> Estimate | None:
    """A figure of one arm: mean over seeds, interval over resampled seeds and clips; None where no clip asks for it."""
    parts = table_of(metric, seeds)
    if not parts.size:
        return None
    value = float(mean_known(reduce_parts(parts, metric.how)))
    return _estimate(value, mean_known(resample_seeds(parts, metric.how)), metric, seeds)


def difference(metric: Metric, arm: Seeds, first: Seeds) -> Estimate | None:
    """How much higher one arm's figure is than the first's, seed by seed and clip by clip on the same prompts.

    Of metrics that are best near 0 it is the distances from 0 that are compared.
    """
    own, base = table_of(metric, arm), table_of(metric, first)
    if not own.size or own.shape != base.shape:
        return None
    levels = [_level(metric, reduce_parts(parts, metric.how)) for parts in (own, base)]
    drawn = [_level(metric, resample_seeds(parts, metric.how)) for parts in (own, base)]
    return _estimate(float(levels[0] - levels[1]), drawn[0] - drawn[1], metric, [*arm, *first])


def _level(metric: Metric, per_seed: NDArray[np.float64]) -> NDArray[np.float64]:
    return mean_known(np.abs(per_seed) if metric.better == "zero" else per_seed)


def _estimate(value: float, drawn: NDArray[np.float64], metric: Metric, seeds: Seeds) -> Estimate:
    asked = [found for some in seeds for entry, found in some if metric.about(entry)]
    used = sum(metric.parts(o) is not None for o in asked)
    known = [number if math.isfinite(number) else None for number in (value, *interval(drawn))]
    return Estimate(known[0], known[1], known[2], used, len(asked))


def better(metric: Metric, change: Estimate) -> bool | None:
    """Whether a difference is for the better (True) or for the worse (False); None where its interval holds 0."""
    if not change.excludes_zero:
        return None
    assert change.low is not None
    return (change.low > 0) == (metric.better == "up")


def judge(metric: Metric, arms: Mapping[str, Seeds]) -> list[Verdict]:
    """Whether the first arm is better than each other one, by the interval of their paired difference."""
    first, *others = arms
    verdicts = []
    for label in others:
        change = difference(metric, arms[label], arms[first])
        if change is None:
            raise ValueError(f"no clip of {first} and {label} asks for {metric.name}")
        outcome = {False: HELD, True: FAILED, None: OPEN}[better(metric, change)]
        verdicts.append(Verdict(against=label, difference=change, outcome=outcome))
    return verdicts


def outcome(verdicts: Sequence[Verdict]) -> str:
    """A claim holds if its arm is better than all others; it does not if any of them is better."""
    found = {verdict.outcome for verdict in verdicts}
    if FAILED in found:
        return FAILED
    return HELD if found == {HELD} else OPEN
