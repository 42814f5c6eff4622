"""The report on a folder of clips: JSON for programs, markdown for a terminal, a page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from phonofilm.errors import UserError
from phonofilm.evaluate import plots
from phonofilm.evaluate.families import PROBES
from phonofilm.evaluate.plots import Interval, Point
from phonofilm.evaluate.report import STYLE, Table, markdown, number
from phonofilm.evaluate.summary import Record, row
from phonofilm.evaluate.survey import Outcome, dump
from phonofilm.files.media import Limits, read_clip, replacing

WHAT = {
    "clips": "the clips that are scored",
    "late": "the same, sound 200 ms late",
    "silent": "the same, muted",
    "frozen": "the same, first pixel frame throughout",
    "noisy": "the same, noise over picture (24 grey levels) and sound (10 dB below its RMS)",
    "shuffled": "each picture with the sound of another clip",
}
RANKED = ("exact.lip_corr", "exact.event_f1@80ms", "exact.key_f1@80ms", "exact.flicker")
"""What the gallery is sorted by: the first that the clips have."""
SHOWN = 3
SHEET = (4, 128)
"""Pixel frames of a contact sheet, and their height."""


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """Figures of a folder with everything they come from."""

    records: tuple[Record, ...]
    outcomes: tuple[Outcome, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Measures that were asked for and could not run, and why."""
    about: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    """A digest of all clips."""
    seed: int = 0

    def record(self, metric: str, condition: str = "clips") -> Record | None:
        """Return one figure, None where no clip asks for it."""
        found = (r for r in self.records if (r.measure.name, r.condition) == (metric, condition))
        return next(found, None)


def cell(record: Record | None) -> str:
    """Figure, interval and coverage; the pessimistic figure too where clips are missing from the first."""
    if record is None:
        return ""
    unit = record.measure.unit
    cover = f"({record.used}/{record.total})"
    if record.value is None:
        return f"- {cover}"
    worst = ""
    if record.pessimistic is not None and record.used < record.total:
        worst = f"; with failures as worst {number(record.pessimistic, unit)}"
    return f"{number(record.value, unit)} [{number(record.low, unit)}, {number(record.high, unit)}] {cover}{worst}"


def tables(report: FolderReport) -> list[Table]:
    """One table per tier, so that no table mixes them: the clips, then the controls made of some of them."""
    made = []
    conditions = list(dict.fromkeys(r.condition for r in report.records))
    for tier in dict.fromkeys(r.measure.tier for r in report.records):
        measures = list(dict.fromkeys(r.measure for r in report.records if r.measure.tier == tier))
        arrow = {"up": "higher", "down": "lower", "zero": "nearest 0", "": "-"}
        rows = tuple((m.name, m.title, m.unit, arrow[m.better], cell(report.record(m.name))) for m in measures)
        made.append(Table(f"Tier {tier}", ("metric", "what", "unit", "better", "clips"), rows))
        if len(conditions) > 1:
            head = ("metric", *(c for c in conditions if c != "clips"))
            lines = tuple((m.name, *(cell(report.record(m.name, c)) for c in head[1:])) for m in measures)
            made.append(Table(f"Tier {tier}: controls", head, lines))
    return made


def troubles(report: FolderReport) -> list[str]:
    """What is wrong with which clip, and which probes could not measure which, one line each."""
    own = [o for o in report.outcomes if o.condition == "clips"]
    lines = [f"{o.name}: {o.problem}" for o in own if o.problem]
    lines += [f"{o.name}: {note}" for o in own for note in o.notes]
    reasons: dict[tuple[str, str], list[str]] = {}
    for o in own:
        for probe, reason in o.missed.items():
            reasons.setdefault((probe, reason), []).append(o.name)
    for (probe, reason), names in sorted(reasons.items()):
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        lines.append(f"{probe} could not measure {some}: {reason}")
    return lines


def text(report: FolderReport) -> str:
    """Write the whole report in markdown."""
    parts = [f"# {table.title}\n\n{markdown(table)}" for table in tables(report)]
    parts.append("Each cell: figure [95 % interval] (clips used / clips that it is about).")
    conditions = list(dict.fromkeys(r.condition for r in report.records))
    parts.append("\n".join(f"- {name}: {WHAT[name]}" for name in conditions))
    wrong = troubles(report)
    if wrong:
        broken = sum(bool(o.problem) for o in report.outcomes if o.condition == "clips")
        parts.append(f"# What could not be measured ({broken} clips cannot be read)")
        parts.append("\n".join(f"- {line}" for line in wrong))
    if report.missing:
        parts.append("# What did not run\n\n" + "\n".join(f"- {name}: {why}" for name, why in report.missing.items()))
    parts.append("\n".join(f"{name}: {value}" for name, value in report.about.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def page(report: FolderReport, clips: Mapping[str, Path]) -> str:
    """Write the report as one HTML page: tables, plots, and contact sheets of best, middle and worst clips."""
    parts = [f"<h2>{escape(table.title)}</h2>{html_table(table)}" for table in tables(report)]
    parts.append("<p>Each cell: figure [95 % interval] (clips used / clips that it is about).</p>")
    parts.append(_list([f"{name}: {WHAT[name]}" for name in dict.fromkeys(r.condition for r in report.records)]))
    for title, lines in (
        ("What could not be measured", troubles(report)),
        ("What did not run", [f"{name}: {why}" for name, why in report.missing.items()]),
    ):
        parts += [f"<h2>{title}</h2>{_list(lines)}"] if lines else []
    parts += [_interval_plots(report), _offsets(report), _scatter(report), _gallery(report, clips)]
    parts += [f"<p>{escape(name)}: {escape(value)}</p>" for name, value in report.about.items()]
    head = f"<meta charset='utf-8'><title>phonofilm evaluate</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def html_table(table: Table) -> str:
    """A table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure(title: str, drawing: str) -> str:
    """A drawing under its title, "" where there is no drawing."""
    return f"<div style='display:inline-block'><h3>{escape(title)}</h3>{drawing}</div>" if drawing else ""


def _interval_plots(report: FolderReport) -> str:
    drawn = []
    for measure in dict.fromkeys(r.measure for r in report.records):
        rows = [
            Interval(r.condition, r.value, r.low, r.high)
            for r in report.records
            if r.measure == measure and r.value is not None and r.low is not None and r.high is not None
        ]
        drawn.append(figure(measure.name, plots.intervals(rows, measure.unit)))
    return f"<h2>Figures with 95 % intervals</h2>{''.join(drawn)}" if any(drawn) else ""


def _values(report: FolderReport, metric: str) -> dict[str, float]:
    """A measure's value for each clip: parts that are summed are divided by their weight."""
    own = [o for o in report.outcomes if o.condition == "clips" and metric in o.values]
    by_ratio = any(r.measure.name == metric and r.measure.how == "ratio" for r in report.records)
    return {o.name: o.values[metric][0] / (max(o.values[metric][1], 1e-9) if by_ratio else 1.0) for o in own}


def _offsets(report: FolderReport) -> str:
    measures = [m for m in dict.fromkeys(r.measure for r in report.records) if m.better == "zero"]
    drawn = [figure(m.name, plots.histogram(list(_values(report, m.name).values()), m.unit)) for m in measures]
    return f"<h2>Offsets, clip by clip</h2>{''.join(drawn)}" if any(drawn) else ""


def _scatter(report: FolderReport) -> str:
    """Each clip's score against its offset, or against its steadiness where it has none."""
    pairs = (
        ("exact.lip_offset_ms", "exact.lip_corr"),
        ("exact.event_offset_ms", "exact.event_f1@80ms"),
        ("exact.key_offset_ms", "exact.key_f1@80ms"),
        ("paper.sync_offset@lrs", "paper.lse_c@lrs"),
        ("exact.still", "exact.flicker"),
    )
    drawn = []
    for across, up in pairs:
        xs, ys = _values(report, across), _values(report, up)
        points = [Point(name, xs[name], ys[name]) for name in xs if name in ys]
        drawn.append(figure(f"{up} against {across}", plots.scatter(points, across, up)))
    return f"<h2>Clip by clip</h2>{''.join(drawn)}" if any(drawn) else ""


def _gallery(report: FolderReport, clips: Mapping[str, Path]) -> str:
    metric = next((name for name in RANKED if _values(report, name)), None)
    if metric is None:
        return ""
    ranked = sorted(_values(report, metric).items(), key=lambda item: -item[1])
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    groups = {"best": ranked[:SHOWN], "middle": ranked[middle : middle + SHOWN], "worst": ranked[-SHOWN:]}
    parts, shown = [], set()
    for title, some in groups.items():
        fresh = [(name, value) for name, value in some if name not in shown]
        shown |= {name for name, _ in fresh}
        sheets = "".join(_sheet(name, f"{metric} {value:.3f}", clips[name]) for name, value in fresh)
        parts += [f"<h2>By {escape(metric)}: {title}</h2>{sheets}"] if fresh else []
    return "".join(parts)


def _sheet(name: str, caption: str, path: Path) -> str:
    """A few pixel frames of a clip side by side, as a small JPEG inside the page."""
    from PIL import Image

    frames, height = SHEET
    try:
        video = read_clip(path, limits=Limits(seconds=20.0, pixels=height * height * 2)).video
    except UserError as error:  # the file went away since it was measured
        return f"<p>{escape(name)}: {escape(str(error))}</p>"
    picks = [round((k + 0.5) * len(video) / frames - 0.5) for k in range(frames)]
    strip = Image.fromarray(video[picks].permute(2, 0, 3, 1).flatten(1, 2).contiguous().numpy())
    held = io.BytesIO()
    strip.resize((strip.width * height // strip.height, height)).save(held, "JPEG", quality=80)
    data = base64.b64encode(held.getvalue()).decode()
    picture = f"<img src='data:image/jpeg;base64,{data}' alt='{escape(name)}'>"
    return f"<p>{picture}<br>{escape(name)}: {escape(caption)}</p>"


def _row(report: FolderReport, record: Record) -> dict[str, object]:
    used = next((probe.weights for probe in PROBES if record.measure in probe.measures), "")
    return row(record, data=report.data, seed=report.seed, weights=report.about.get(f"weights of {used}", ""))


def write_report(report: FolderReport, folder: Path, clips: Mapping[str, Path]) -> None:
    """Write ``report.json``, ``clips.jsonl`` (every outcome), ``report.md`` and ``report.html`` into a folder."""
    content = {
        "about": dict(report.about),
        "metrics": [_row(report, record) for record in report.records],
        "missing": dict(report.missing),
        "troubles": troubles(report),
    }
    files = {
        "report.json": json.dumps(content, indent=1),
        "clips.jsonl": "\n".join(dump(o) for o in report.outcomes),
        "report.md": text(report),
        "report.html": page(report, clips),
    }
    for name, body in files.items():
        with replacing(folder / name) as part:
            part.write_text(body + "\n", encoding="utf-8")
