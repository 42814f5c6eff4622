"""The tables of held-out prompts: figures beside the ground truth and the bars, the controls, and each voice."""

from __future__ import annotations

from phonofilm.evaluate.report.metrics import Metric, meets
from phonofilm.evaluate.report.tables import Report, Table, cell, controls_table, number


def tables(report: Report) -> list[Table]:
    """All tables that have rows."""
    columns = tuple(report.conditions)
    made = [
        main_table(report),
        controls_table(report, "Controls", report.metrics, columns),
        voices_table(report, "generated", "Per voice"),
        voices_table(report, "truth", "Per voice, ground truth"),
    ]
    return [table for table in made if table.rows]


def main_table(report: Report) -> Table:
    """The clips' figures beside the ground truth's and the bars."""
    rows = []
    for metric in report.metrics:
        ours, truth = report.figure(metric.name, "generated"), report.figure(metric.name, "truth")
        if ours is not None or truth is not None:
            met = meets(metric, ours.value if ours else None, truth.value if truth else None) if ours else None
            verdict = {True: "yes", False: "no", None: ""}[met]
            cells = (cell(report, metric, "generated"), cell(report, metric, "truth"))
            rows.append((metric.name, metric.title, *cells, _bar(metric), verdict))
    return Table("Held-out clips", ("metric", "what", "clips", "ground truth", "bar", "met"), tuple(rows))


def _bar(metric: Metric) -> str:
    if metric.bar is None:
        return ""
    if metric.better == "up":
        return f">= {metric.bar:g}"
    if metric.better == "zero":
        return f"within {metric.bar:.0f}"
    return f"<= {metric.bar:g}" + (f", truth + {metric.above_truth:g}" if metric.above_truth is not None else "")


def voices_table(report: Report, condition: str, title: str) -> Table:
    """One condition's figures for each voice of the true clips; single attributes of looks are left to the JSON."""
    voices = list(dict.fromkeys(f.voice for f in report.figures if f.voice and f.condition == condition))
    whole = [m for m in report.metrics if not m.name.startswith("exact.looks_")]
    metrics = [m for m in whole if any(report.figure(m.name, condition, voice) for voice in voices)]
    rows = tuple((v, *(_short(report, m, condition, v) for m in metrics)) for v in voices)
    return Table(title, ("voice", *(m.name for m in metrics)), rows)


def _short(report: Report, metric: Metric, condition: str, voice: str) -> str:
    found = report.figure(metric.name, condition, voice)
    return "" if found is None else f"{number(found.value, metric.unit)} ({found.used}/{found.total})"
