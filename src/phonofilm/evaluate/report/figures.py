"""From outcomes of single clips to one record per measure and condition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.probes.families import POOLS, PROBES
from phonofilm.evaluate.probes.probe import Measure, Pool, Probe, package_version
from phonofilm.evaluate.report.statistics import bootstrap, reduce_parts
from phonofilm.version import __version__

POOL_RESAMPLES = 200
"""Bootstrap resamples of figures that compare whole sets of clips."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A measure's figure under one condition."""

    measure: Measure
    condition: str
    value: float | None
    """Over the clips that could be measured; None where there is none."""
    low: float | None
    high: float | None
    pessimistic: float | None
    """With the worst value for every clip that could not be measured; None where the measure has no worst value."""
    used: int
    total: int
    """Clips that the measure is about."""


def summarise(outcomes: Sequence[Outcome], entries: Iterable[Entry], probes: Iterable[str], seed: int) -> list[Record]:
    """Reduce what was measured; a measure that no clip asks for is left out."""
    asked = {entry.name: entry for entry in entries}
    chosen = [probe for probe in PROBES if probe.name in set(probes)]
    conditions = list(dict.fromkeys(o.condition for o in outcomes))
    records = []
    for probe in chosen:
        for condition in conditions:
            some = [o for o in outcomes if o.condition == condition and probe.wants(asked[o.name])]
            records += [_single(measure, condition, some, seed) for measure in probe.measures if some]
    for pool in POOLS:
        if pool_probe(pool) in {probe.name for probe in chosen}:
            for condition in conditions:
                some = [o for o in outcomes if o.condition == condition and _about(pool, chosen, asked[o.name])]
                records += [_pooled(pool, condition, some, seed)] if some else []
    return records


def pool_probe(pool: Pool) -> str:
    """The probe whose vectors a pool needs."""
    return pool.vectors[0].split(".")[0]


def _about(pool: Pool, probes: Iterable[Probe], entry: Entry) -> bool:
    return any(probe.name == pool_probe(pool) and probe.wants(entry) for probe in probes)


def _single(measure: Measure, condition: str, outcomes: Sequence[Outcome], seed: int) -> Record:
    found = [o.values.get(measure.name) for o in outcomes]
    kept = [p for p in found if p is not None and all(map(math.isfinite, p))]
    parts = np.array(kept, dtype=np.float64).reshape(-1, 2)
    lost = len(found) - len(kept)
    pessimistic = None
    if measure.worst is not None:
        # One that is missing weighs as much as the others do on average.
        weight = float(parts[:, 1].mean()) if len(parts) else 1.0
        worst = np.array([[measure.worst * weight, weight]] * lost).reshape(-1, 2)
        pessimistic = finite(float(reduce_parts(np.concatenate([parts, worst]), measure.how)))
    value = float(reduce_parts(parts, measure.how)) if len(parts) else math.nan
    low, high = bootstrap(parts, measure.how, seed=seed)
    return Record(
        measure=measure,
        condition=condition,
        value=finite(value),
        low=finite(low),
        high=finite(high),
        pessimistic=pessimistic,
        used=len(kept),
        total=len(found),
    )


def _pooled(pool: Pool, condition: str, outcomes: Sequence[Outcome], seed: int) -> Record:
    full = [o for o in outcomes if all(o.vectors.get(name) for name in pool.vectors)]
    low = high = value = math.nan
    if len(full) > 1:
        figure = pool.prepare([o.name for o in full], {v: [o.vectors[v] for o in full] for v in pool.vectors})
        value = figure(range(len(full)))
        rng = np.random.default_rng(seed)
        drawn = [figure(rng.integers(len(full), size=len(full)).tolist()) for _ in range(POOL_RESAMPLES)]
        known = [v for v in drawn if math.isfinite(v)]
        low, high = np.percentile(known, [2.5, 97.5]) if known else (math.nan, math.nan)
    return Record(
        measure=pool.measure,
        condition=condition,
        value=finite(value),
        low=finite(float(low)),
        high=finite(float(high)),
        pessimistic=None,
        used=len(full),
        total=len(outcomes),
    )


def finite(value: float) -> float | None:
    """The value, None where it is none."""
    return value if math.isfinite(value) else None


def row(record: Record, *, data: str, seed: int, weights: str = "") -> dict[str, object]:
    """A record as JSON, with everything that it takes to read it."""
    measure = record.measure
    told = asdict(record)
    del told["measure"]
    return {
        "metric": measure.name,
        "title": measure.title,
        "direction": measure.better,
        "unit": measure.unit,
        "reduction": measure.how,
        **told,
        "interval": "95 %, bootstrap over clips, percentiles",
        "evaluator": measure.evaluator,
        "evaluator_version": package_version(measure),
        "weights": weights or "none",
        "preprocessing": measure.preparation,
        "data": data,
        "seed": seed,
        "comparable_to_papers": False,
        "phonofilm": __version__,
    }
