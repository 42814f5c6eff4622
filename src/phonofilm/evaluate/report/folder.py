"""The tables of any folder: one per tier, so that no table mixes them, and the controls made of some of the clips."""

from __future__ import annotations

from phonofilm.evaluate.report.tables import Report, Table, cell, controls_table

ARROW = {"up": "higher", "down": "lower", "zero": "nearest 0", "": "-"}


def tables(report: Report) -> list[Table]:
    """For each tier the clips, then their controls."""
    made = []
    columns = tuple(name for name in report.conditions if name != report.scored)
    present = {figure.metric for figure in report.figures}
    metrics = [metric for metric in report.metrics if metric.name in present]
    for tier in dict.fromkeys(metric.tier for metric in metrics):
        some = tuple(metric for metric in metrics if metric.tier == tier)
        rows = tuple((m.name, m.title, m.unit, ARROW[m.better], cell(report, m)) for m in some)
        made.append(Table(f"Tier {tier}", ("metric", "what", "unit", "better", "clips"), rows))
        if columns:
            made.append(controls_table(report, f"Tier {tier}: controls", some, columns))
    return made
