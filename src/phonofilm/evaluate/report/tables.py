"""Tables of figures: what a report holds, as texts for people and as records for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.engine import SHUFFLED, Outcome, faults
from phonofilm.evaluate.report.figures import Figure
from phonofilm.evaluate.report.metrics import Metric
from phonofilm.version import __version__

PACKAGES = ("pocketsphinx", "jiwer", "librosa", "scipy", "numpy", "torch", "espeakng-loader")
WHAT = {
    "generated": "the clips that are scored",
    "clips": "the clips that are scored",
    "truth": "the true clips of the same scripts, through the same evaluators",
    "codecs": "the true clips through the model's codecs",
    SHUFFLED: "each picture beside the sound of another clip of its group, both against prompts not their own",
    "late": "{whole}, sound 200 ms late",
    "silent": "{whole}, muted",
    "frozen": "{whole}, first pixel frame throughout",
    "noisy": "{whole}, noise over picture (24 grey levels) and sound (10 dB below its RMS)",
    "untrained": "clips of the same network with fresh weights, every fifth prompt",
}
"""Conditions in the order of the tables, and what they are."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures with everything they come from."""

    metrics: tuple[Metric, ...]
    figures: tuple[Figure, ...]
    outcomes: tuple[Outcome, ...]
    entries: Mapping[str, Entry]
    """By the clip's name."""
    scored: str
    """The condition of the clips that are scored: "generated" for held-out prompts, "clips" in any folder."""
    charged: bool = False
    """Whether a clip that could not be measured counts as the worst in its figures."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Metrics that were asked for and could not run, and why."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Where clips, prompts and weights are, and digests of them."""
    data: str = ""
    """A digest of all clips."""
    seed: int = 0

    def figure(self, metric: str, condition: str = "", voice: str = "") -> Figure | None:
        """Return one figure, of the clips that are scored if no condition is named; None where no clip asks for it."""
        wanted = (metric, condition or self.scored, voice)
        return next((f for f in self.figures if (f.metric, f.condition, f.voice) == wanted), None)

    @property
    def conditions(self) -> dict[str, str]:
        """The conditions that there are figures for, in the order of ``WHAT``, and what they are."""
        present = {figure.condition for figure in self.figures}
        whole = "true clips" if "truth" in present else "the same"
        return {name: what.format(whole=whole) for name, what in WHAT.items() if name in present}


def number(value: float | None, unit: str = "") -> str:
    """Write a figure as a table does: three decimals, or none for milliseconds."""
    if value is None:
        return "-"
    text = f"{value:.0f}" if unit.startswith("ms") else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def cell(report: Report, metric: Metric, condition: str = "") -> str:
    """Value, interval and coverage; where clips are left out, also the figure with them as the worst there is."""
    found = report.figure(metric.name, condition)
    if found is None:
        return ""
    cover = f"({found.used}/{found.total})"
    if found.value is None:
        return f"- {cover}"
    whole = f"{number(found.value, metric.unit)} [{number(found.low, metric.unit)}, {number(found.high, metric.unit)}]"
    left_out = found.pessimistic is not None and found.used < found.total and not report.charged
    worst = f"; with failures as worst {number(found.pessimistic, metric.unit)}" if left_out else ""
    return f"{whole} {cover}{worst}"


class Table(NamedTuple):
    """A table of texts, before it is laid out."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(table: Table) -> str:
    """Lay out a table so that it reads well as plain text, too."""
    whole = [table.head, *table.rows]
    widths = [max(len(row[k]) for row in whole) for k in range(len(table.head))]
    lines = [" | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in whole]
    lines.insert(1, " | ".join("-" * w for w in widths))
    return "\n".join(f"| {line} |" for line in lines)


def hypertext(table: Table) -> str:
    """Lay out a table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def controls_table(report: Report, title: str, metrics: tuple[Metric, ...], columns: tuple[str, ...]) -> Table:
    """Metrics in rows, conditions in columns."""
    rows = tuple(
        (metric.name, *(cell(report, metric, name) for name in columns))
        for metric in metrics
        if any(report.figure(metric.name, name) for name in columns)
    )
    return Table(title, ("metric", *columns), rows)


def troubles(report: Report) -> list[str]:
    """What is wrong with which clip, and which probes could not measure which, one line each."""
    lines: dict[str, None] = {}
    for o in report.outcomes:
        if o.problem and o.condition != SHUFFLED:
            lines[f"{o.name}{'' if o.condition == report.scored else f' ({o.condition})'}: {o.problem}"] = None
    own = [o for o in report.outcomes if o.condition == report.scored]
    lines |= {f"{o.name}: {note}": None for o in own for note in o.notes}
    reasons: dict[tuple[str, str], list[str]] = {}
    for o in own:
        for probe, reason in o.missed.items():
            reasons.setdefault((probe, reason), []).append(o.name)
    for (probe, reason), names in sorted(reasons.items()):
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        lines[f"{probe} could not measure {some}: {reason}"] = None
    return list(lines)


def not_run(report: Report) -> list[str]:
    """Metrics that could not run, and evaluators that failed, with the reasons; none of it says anything of a clip."""
    return [f"{name}: {why}" for name, why in report.missing.items()] + failures(report)


def failures(report: Report) -> list[str]:
    """Evaluators that failed, on how many clips, and what went wrong first."""
    lines = []
    for probe, (why, count) in faults(report.outcomes).items():
        names = ", ".join(metric.name for metric in report.metrics if metric.probe.name == probe)
        lines.append(f"the evaluator {probe} ({names}) failed on {count} clips and controls, which are left out: {why}")
    return lines


def text(report: Report, tables: list[Table]) -> str:
    """Write the whole report in markdown."""
    parts = [f"# {table.title}\n\n{markdown(table)}" for table in tables]
    parts.append("Each cell: figure [95 % interval] (clips used / asked for).")
    parts.append("\n".join(f"- {name}: {what}" for name, what in report.conditions.items()))
    if wrong := troubles(report):
        broken = sum(bool(o.problem) for o in report.outcomes if o.condition == report.scored)
        parts.append(f"# What could not be measured ({broken} clips cannot be read)")
        parts.append("\n".join(f"- {line}" for line in wrong))
    if lacking := not_run(report):
        parts.append("# What did not run\n\n" + "\n".join(f"- {line}" for line in lacking))
    parts.append("\n".join(f"{name}: {value}" for name, value in report.about.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def records(report: Report) -> list[dict[str, object]]:
    """Return one record per figure, with all that it takes to read it."""
    by_name = {metric.name: metric for metric in report.metrics}
    made = []
    for figure in report.figures:
        metric = by_name[figure.metric]
        weights = report.about.get(f"weights of {metric.probe.weights}", "none")
        more = {"weights": weights, "data": report.data, "seed": report.seed}
        interval = {"interval": "95 %, bootstrap over clips, 2000 resamples, percentiles"}
        made.append(figure._asdict() | provenance(metric) | interval | more)
    return made


def provenance(metric: Metric) -> dict[str, object]:
    """Return what it takes to read a metric's figures, but for how their intervals were made."""
    measure = metric.measure
    return {
        "title": metric.title,
        "better": measure.better,
        "unit": measure.unit,
        "reduction": measure.how,
        "evaluator": measure.evaluator,
        "evaluator_version": _version(measure.package),
        "versions": {name: _version(name) for name in PACKAGES},
        "preparation": measure.preparation,
        "comparable_to_papers": False,
        "phonofilm": __version__,
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return ""
