"""The tables of a comparison: set-up, arms in rows, differences, guidance on and off, cost, and a study's verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from phonofilm.compare.figures import REPORTED, Estimate, Seeds, Verdict, better, difference, estimate, judge, outcome
from phonofilm.compare.plan import OFF, ON, Comparison
from phonofilm.evaluate.cases.heldout import Case
from phonofilm.evaluate.report.figures import Asked
from phonofilm.evaluate.report.metrics import METRICS, Metric
from phonofilm.evaluate.report.tables import Table, number
from phonofilm.version import __version__

GUIDANCE = {ON: "guidance as in the recipe", OFF: "no guidance"}
Points = Sequence[tuple[int, float]]
"""Steps and values."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that a finished comparison found."""

    comparison: Comparison
    cases: tuple[Case, ...]
    seen: Mapping[tuple[str, str], Seeds]
    """(arm, guidance) to what was measured, for each seed."""
    controls: Asked
    """Of the true clips."""
    costs: Mapping[str, Sequence[Mapping]]
    """For each seed."""
    losses: Mapping[str, Sequence[Mapping[str, Points]]]
    """For each seed each loss by step."""

    @property
    def first(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.comparison.arms))

    def clips(self, arm: str, guidance: str = ON, condition: str = "generated") -> Seeds:
        """Clips of one arm and what was measured of them, for each seed."""
        return [[(e, o) for e, o in some if o.condition == condition] for some in self.seen[arm, guidance]]

    @cached_property
    def rows(self) -> dict[str, Seeds]:
        """Rows of the main table: arms, then what bounds them from above and from below."""
        arms = list(self.comparison.arms)
        true = {"ground truth": "truth", "ground truth through the codecs": "codecs"}
        return (
            {arm: self.clips(arm) for arm in arms}
            | {title: [[(e, o) for e, o in self.controls if o.condition == name]] for title, name in true.items()}
            | {f"{arm}, shuffled": self.clips(arm, condition="shuffled") for arm in arms}
        )

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that any clip asks for."""
        groups = {case.group for case in self.cases}
        return tuple(metric for metric in REPORTED if groups & set(metric.groups))

    @cached_property
    def figures(self) -> dict[tuple[str, str], Estimate]:
        """(row, metric) to its figure."""
        found = {(row, m.name): estimate(m, seeds) for row, seeds in self.rows.items() for m in self.metrics}
        return {key: value for key, value in found.items() if value is not None}

    @cached_property
    def differences(self) -> dict[tuple[str, str], Estimate]:
        """(arm, metric) to its difference from the first arm."""
        others = [arm for arm in self.comparison.arms if arm != self.first]
        found = {(a, m.name): difference(m, self.rows[a], self.rows[self.first]) for a in others for m in self.metrics}
        return {key: value for key, value in found.items() if value is not None}

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What a study's figure says; empty where there is no study."""
        study = self.comparison.study
        arms = {arm: self.rows[arm] for arm in self.comparison.arms}
        return [v for m in METRICS if study is not None and m.name == study.figure for v in judge(m, arms)]


def cell(found: Estimate | None, metric: Metric) -> str:
    """Value, interval, and coverage where it is not whole."""
    if found is None:
        return ""
    cover = f" ({found.used}/{found.total})" if found.used < found.total else ""
    if found.value is None:
        return f"-{cover}"
    return f"{number(found.value, metric.unit)} {_between(found, metric)}{cover}"


def change(found: Estimate | None, metric: Metric) -> str:
    """A difference with its sign and interval, and the word for it where the interval excludes 0."""
    if found is None or found.value is None:
        return "" if found is None else "-"
    word = {True: " **better**", False: " **worse**", None: ""}[better(metric, found)]
    sign = "+" if found.value > 0 else ""
    return f"{sign}{number(found.value, metric.unit)} {_between(found, metric)}{word}"


def _between(found: Estimate, metric: Metric) -> str:
    return f"[{number(found.low, metric.unit)}, {number(found.high, metric.unit)}]"


def main_table(result: Result) -> Table:
    """Arms, then controls, in rows; metrics in columns."""
    rows = tuple(
        (row, *(cell(result.figures.get((row, m.name)), m) for m in result.metrics))
        for row in result.rows
        if any((row, m.name) in result.figures for m in result.metrics)
    )
    return Table("Figures", ("system", *map(_head, result.metrics)), rows)


def _head(metric: Metric) -> str:
    return f"{metric.name} ({ {'up': 'higher', 'down': 'lower', 'zero': 'nearest 0'}[metric.better] } is better)"


def differences_table(result: Result) -> Table:
    """Every other arm minus the first, on the same prompts."""
    rows = tuple(
        (arm, *(change(result.differences.get((arm, m.name)), m) for m in result.metrics))
        for arm in result.comparison.arms
        if arm != result.first
    )
    return Table(
        f"Differences from {result.first}, paired by seed and clip", ("system", *map(_head, result.metrics)), rows
    )


def guidance_tables(result: Result) -> list[Table]:
    """For each arm its figures with and without guidance, where both were made."""
    if OFF not in result.comparison.guidances:
        return []
    made = []
    for arm in result.comparison.arms:
        on, off = result.clips(arm, ON), result.clips(arm, OFF)
        rows = tuple(
            (m.name, cell(estimate(m, on), m), cell(estimate(m, off), m), change(difference(m, off, on), m))
            for m in result.metrics
        )
        made.append(Table(f"{arm}: guidance on and off", ("metric", GUIDANCE[ON], GUIDANCE[OFF], "off minus on"), rows))
    return made


def cost_table(result: Result) -> Table:
    """What each arm's training took, mean over seeds, and its last losses; which arms share one is said."""
    names = loss_names(result)
    measured = ("parameters", "steps", "samples", "minutes", "samples/s")
    head = ("system", "training", *measured, *(f"last loss, {n}" for n in names))
    rows = []
    for arm, costs in result.costs.items():
        steps = sorted({cost["steps"] for cost in costs})
        told = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        means = {name: _mean([cost[name] for cost in costs]) for name in ("samples", "seconds", "samples_per_s")}
        ends = [[some[name][-1][1] for some in result.losses[arm] if some.get(name)] for name in names]
        last = [f"{_mean(end):.4f}" if end else "" for end in ends]
        size = f"{costs[0]['parameters'] / 1e6:.3f} M"
        time = (f"{means['samples']:.0f}", f"{means['seconds'] / 60:.2f}", f"{means['samples_per_s']:.2f}")
        first = result.comparison.trained_as[arm]
        whose = "its own" if first == arm else f"shared: that of {first}"
        rows.append((arm, whose, size, told, *time, *last))
    return Table("Cost", head, tuple(rows))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def loss_names(result: Result) -> list[str]:
    """Names of all training losses of all arms."""
    return list(dict.fromkeys(name for seeds in result.losses.values() for some in seeds for name in some))


def setup_table(result: Result) -> Table:
    """What was equal for all arms."""
    terms, comparison = result.comparison.terms, result.comparison
    cache = comparison.data.cache
    counts = ", ".join(f"{count} {group}" for group, count in terms.prompts.items())
    machines = dict.fromkeys(
        f"{c['processes']} x {c['machine']}, torch {c['torch']}" for s in result.costs.values() for c in s
    )
    facts = {
        "budget": f"{terms.amount:g} {terms.budget} of training for each model, {terms.batch} samples a step",
        "data": f"{sum(cache.buckets.values())} clips of the {cache.meta.source.get('split', '')} split, digest "
        f"{comparison.digests['data']}; each seed draws the same clips in the same order for all systems",
        "codecs": comparison.digests["codecs"],
        "seeds": f"{', '.join(map(str, range(terms.seeds)))}, of weights, order and noise",
        "clips": f"{counts} of the test split, sampled once with the same noise for all systems and seeds of training",
        "weights": "mean weights (EMA) of the last step; no checkpoint is chosen",
        "machine": "; ".join(machines),
        "phonofilm": __version__,
    }
    return Table("Set-up", ("what", "value"), tuple(facts.items()))


def sentences(result: Result) -> list[str]:
    """How to read the tables, and which differences are sure."""
    seeds = result.comparison.terms.seeds
    spread = f"{seeds} seeds, few for a spread" if seeds > 1 else "one seed tells no spread of training: of clips alone"
    sure = [f"{arm} in {name}" for (arm, name), found in result.differences.items() if found.excludes_zero]
    return [
        "Each cell: mean over seeds [95 % interval] (clips measured / asked for, where some could not be: most metrics "
        f"count those as worst). Intervals: bootstrap over seeds and clips ({spread}), not widened for many "
        "comparisons. Of metrics that are best near 0, differences are of the distances from 0. Definitions: "
        "docs/guides/evaluate.md. No figure compares with a published one.",
        f"Differences from {result.first} whose interval excludes 0: {'; '.join(sure) or 'none'}.",
    ]


def study_table(result: Result) -> Table | None:
    """A claim and whether it held; None where no study is compared."""
    study = result.comparison.study
    if study is None:
        return None
    metric = next(m for m in METRICS if m.name == study.figure)
    rows = [
        ("claim", study.claim),
        ("source", study.source),
        ("figure", f"{study.figure}: {metric.title}"),
        *((f"against {v.against}", f"{change(v.difference, metric)}: {v.outcome}") for v in result.verdicts),
        ("outcome", outcome(result.verdicts)),
    ]
    return Table(f"Study: {study.name}", ("what", "value"), tuple(rows + [("note", study.note)] * bool(study.note)))


def tables(result: Result) -> list[Table]:
    """All tables, in the order of the page."""
    study = study_table(result)
    own = [setup_table(result), main_table(result), differences_table(result), *guidance_tables(result)]
    return [*([study] if study else []), *own, cost_table(result)]
