"""From outcomes of single clips to figures with intervals, for each metric under each condition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.probes.probe import Parts, Pool
from phonofilm.evaluate.report.metrics import Metric
from phonofilm.evaluate.report.statistics import bootstrap, reduce_parts

POOL_RESAMPLES = 200
"""Bootstrap resamples of figures that compare whole sets of clips."""


class Figure(NamedTuple):
    """A metric's value under one condition, with its 95 % interval and coverage."""

    metric: str
    condition: str
    value: float | None
    """None where there is none."""
    low: float | None
    high: float | None
    pessimistic: float | None
    """With the worst value for every clip that could not be measured; None where nothing is worst."""
    used: int
    """Clips that could be measured."""
    total: int
    """Clips that the metric is about."""
    voice: str = ""
    """The voice of the clips' truths, "" for all."""


Asked = Sequence[tuple[Entry, Outcome]]
"""Clips that a metric is about, with what was measured."""


def figure(
    metric: Metric, condition: str, asked: Asked, *, charged: bool, seed: int = 0, voice: str = ""
) -> Figure | None:
    """Reduce the clips of one condition that a metric is about; None where there are none.

    ``charged`` counts a clip that could not be measured as the worst there is, in value and interval. Else both are
    of the clips that could be measured, and only ``pessimistic`` counts the others.
    """
    if not asked:
        return None
    if metric.pool is not None:
        return _pooled(metric, metric.pool, condition, [outcome for _, outcome in asked], seed)
    kept = [_known(metric.parts(outcome)) for _, outcome in asked]
    measured = _table(kept)
    whole = _table(_charged(metric, asked, kept, measured))
    parts = whole if charged and metric.measure.worst is not None else measured
    low, high = bootstrap(parts, metric.how, seed=seed)
    return Figure(
        metric=metric.name,
        condition=condition,
        value=_value(metric, parts),
        low=finite(low),
        high=finite(high),
        pessimistic=_value(metric, whole) if metric.measure.worst is not None else None,
        used=len(measured),
        total=len(asked),
        voice=voice,
    )


def _known(parts: Parts | None) -> Parts | None:
    return parts if parts is not None and all(map(math.isfinite, parts)) else None


def _charged(
    metric: Metric, asked: Asked, kept: list[Parts | None], measured: NDArray[np.float64]
) -> list[Parts | None]:
    typical = float(measured[:, 1].mean()) if len(measured) else 1.0
    return [
        metric.worst(entry, typical) if own is None and not metric.failed(outcome) else own
        for (entry, outcome), own in zip(asked, kept, strict=True)
    ]


def _table(parts: Iterable[Parts | None]) -> NDArray[np.float64]:
    return np.array([own for own in parts if own is not None], dtype=np.float64).reshape(-1, 2)


def _value(metric: Metric, parts: NDArray[np.float64]) -> float | None:
    return finite(float(reduce_parts(parts, metric.how))) if len(parts) else None


def _pooled(metric: Metric, pool: Pool, condition: str, outcomes: Sequence[Outcome], seed: int) -> Figure:
    full = [o for o in outcomes if all(o.vectors.get(name) for name in pool.vectors)]
    low = high = value = math.nan
    if len(full) > 1:
        of_some = pool.prepare([o.name for o in full], {v: [o.vectors[v] for o in full] for v in pool.vectors})
        value = of_some(range(len(full)))
        rng = np.random.default_rng(seed)
        drawn = [of_some(rng.integers(len(full), size=len(full)).tolist()) for _ in range(POOL_RESAMPLES)]
        known = [v for v in drawn if math.isfinite(v)]
        low, high = np.percentile(known, [2.5, 97.5]) if known else (math.nan, math.nan)
    return Figure(metric.name, condition, finite(value), finite(low), finite(high), None, len(full), len(outcomes))


def figures(
    metrics: Iterable[Metric],
    entries: Mapping[str, Entry],
    outcomes: Sequence[Outcome],
    *,
    charged: bool,
    seed: int = 0,
) -> list[Figure]:
    """Every metric under every condition; a metric that no clip asks for is left out."""
    conditions = list(dict.fromkeys(outcome.condition for outcome in outcomes))
    found = [
        figure(metric, condition, about(metric, entries, outcomes, condition), charged=charged, seed=seed)
        for metric in metrics
        for condition in conditions
    ]
    return [one for one in found if one is not None]


def about(
    metric: Metric, entries: Mapping[str, Entry], outcomes: Iterable[Outcome], condition: str, voice: str = ""
) -> Asked:
    """The clips of one condition, and perhaps of one voice, that a metric is about."""
    some = [(entries[o.name], o) for o in outcomes if o.condition == condition]
    return [(entry, o) for entry, o in some if metric.about(entry) and voice in ("", voice_of(entry))]


def voice_of(entry: Entry) -> str:
    """Who speaks in the true clip; "" where nobody or more than one does."""
    return entry.truth.voices[0] if entry.truth and len(entry.truth.voices) == 1 else ""


def finite(value: float) -> float | None:
    """The value, None where it is none."""
    return float(value) if math.isfinite(value) else None
