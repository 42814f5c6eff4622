"""The report of an evaluation: tables for people, JSON for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from phonofilm.evaluate import plots
from phonofilm.evaluate.metrics import METRICS, Figure, Metric, Observation, meets
from phonofilm.evaluate.plots import Interval, Point
from phonofilm.files.media import replacing
from phonofilm.version import __version__

CONDITIONS = {
    "generated": "the clips that are scored",
    "truth": "the true clips of the same scripts, through the same evaluators",
    "codecs": "the true clips through the model's codecs",
    "shuffled": "each picture beside the sound of another clip of its group, both against prompts not their own",
    "late": "true clips, sound 200 ms late",
    "silent": "true clips, muted",
    "frozen": "true clips, first pixel frame throughout",
    "untrained": "clips of the same network with fresh weights, every fifth prompt",
}
"""Columns of the controls' table, in order, and what they are."""
PACKAGES = ("pocketsphinx", "jiwer", "librosa", "scipy", "numpy", "torch", "espeakng-loader")
PREPARATION = {
    "offline": "16 kHz mono, 0.3 s of zeros at both ends, then seeded white noise 60 dB below the peak",
    "exact": "pixels as decoded, sound at 16 kHz mono",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures with everything they come from."""

    observations: tuple[Observation, ...]
    figures: tuple[Figure, ...]
    about: dict[str, str] = field(default_factory=dict)
    """Where the clips and prompts are, and digests of them."""

    def figure(self, metric: str, condition: str, voice: str = "") -> Figure | None:
        """Return one figure, None where it was not asked for."""
        found = (f for f in self.figures if (f.metric, f.condition, f.voice) == (metric, condition, voice))
        return next(found, None)


def number(value: float | None, unit: str = "") -> str:
    """Write a figure as a table does: three decimals, or none for milliseconds."""
    if value is None:
        return "-"
    text = f"{value:.0f}" if unit.startswith("ms") else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def cell(figure: Figure | None, metric: Metric) -> str:
    """Write value, interval, and coverage where it is not whole."""
    if figure is None:
        return ""
    if figure.value is None:
        return f"- ({figure.used}/{figure.total})"
    low, high = number(figure.low, metric.unit), number(figure.high, metric.unit)
    return f"{number(figure.value, metric.unit)} [{low}, {high}] ({figure.used}/{figure.total})"


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


def _bar(metric: Metric) -> str:
    if metric.bar is None:
        return ""
    if metric.better == "up":
        return f">= {metric.bar:g}"
    if metric.better == "zero":
        return f"within {metric.bar:.0f}"
    return f"<= {metric.bar:g}" + (f", truth + {metric.above_truth:g}" if metric.above_truth is not None else "")


def main_table(report: Report) -> Table:
    """The clips' figures beside the ground truth's and the bars."""
    rows = []
    for metric in METRICS:
        ours, truth = report.figure(metric.name, "generated"), report.figure(metric.name, "truth")
        if ours is not None or truth is not None:
            met = meets(metric, ours.value if ours else None, truth.value if truth else None) if ours else None
            verdict = {True: "yes", False: "no", None: ""}[met]
            rows.append((metric.name, metric.title, cell(ours, metric), cell(truth, metric), _bar(metric), verdict))
    return Table("Held-out clips", ("metric", "what", "clips", "ground truth", "bar", "met"), tuple(rows))


def controls_table(report: Report) -> Table:
    """Every metric under every condition."""
    columns = conditions(report)
    rows = tuple(
        (metric.name, *(cell(report.figure(metric.name, name), metric) for name in columns))
        for metric in METRICS
        if any(report.figure(metric.name, name) for name in columns)
    )
    return Table("Controls", ("metric", *columns), rows)


def conditions(report: Report) -> tuple[str, ...]:
    """The conditions that the report has figures for, in the order of ``CONDITIONS``."""
    present = {f.condition for f in report.figures}
    return tuple(name for name in CONDITIONS if name in present)


def voices_table(report: Report, condition: str, title: str) -> Table:
    """One condition's figures for each voice of the true clips; single attributes of looks are left to the JSON."""
    voices = list(dict.fromkeys(f.voice for f in report.figures if f.voice and f.condition == condition))
    whole = [m for m in METRICS if not m.name.startswith("exact.looks_")]
    metrics = [m for m in whole if any(report.figure(m.name, condition, voice) for voice in voices)]
    rows = tuple((v, *(_short(report.figure(m.name, condition, v), m) for m in metrics)) for v in voices)
    return Table(title, ("voice", *(m.name for m in metrics)), rows)


def _short(figure: Figure | None, metric: Metric) -> str:
    return "" if figure is None else f"{number(figure.value, metric.unit)} ({figure.used}/{figure.total})"


def tables(report: Report) -> tuple[Table, ...]:
    """All tables of a report that have rows."""
    made = (
        main_table(report),
        controls_table(report),
        voices_table(report, "generated", "Per voice"),
        voices_table(report, "truth", "Per voice, ground truth"),
    )
    return tuple(table for table in made if table.rows)


def text(report: Report) -> str:
    """Write the whole report in markdown."""
    parts = [f"# {table.title}\n\n{markdown(table)}" for table in tables(report)]
    parts += ["Each cell: figure [95 % interval] (clips used / asked for)."]
    parts += ["\n".join(f"- {name}: {CONDITIONS[name]}" for name in conditions(report))]
    problems = [f"- {o.id} ({o.condition}): {o.problem}" for o in report.observations if o.problem]
    if problems:
        parts += [f"# {len(problems)} clips could not be read", "\n".join(problems)]
    parts += ["\n".join(f"{name}: {value}" for name, value in report.about.items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def records(report: Report) -> list[dict[str, object]]:
    """Return one record per figure, with all that it takes to read it."""
    about = {metric.name: provenance(metric) for metric in METRICS}
    interval = {"interval": "95 %, bootstrap over clips, 2000 resamples, seed 0"}
    return [figure._asdict() | about[figure.metric] | interval for figure in report.figures]


def provenance(metric: Metric) -> dict[str, object]:
    """Return what it takes to read a metric's figures, but for how their intervals were made."""
    return {
        "title": metric.title,
        "better": metric.better,
        "unit": metric.unit,
        "evaluator": metric.evaluator,
        "versions": {name: _version(name) for name in PACKAGES},
        "preparation": PREPARATION[metric.name.split(".")[0]],
        "comparable_to_papers": False,
        "phonofilm": __version__,
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; max-width: 110em; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { padding: .2em .7em; text-align: left;
border-bottom: 1px solid #ddd; white-space: nowrap } figure { display: inline-block; width: 15em; margin: .5em;
vertical-align: top }
video { width: 100% } figcaption { font-size: 13px }"""
SHOWN = 4
"""Clips in each row of the page's gallery."""


def page(report: Report, clips: Path) -> str:
    """Write the report as one HTML page that needs nothing beside it: tables, and best, middle and worst clips."""
    parts = [f"<h2>{escape(table.title)}</h2>{hypertext(table)}" for table in tables(report)]
    listed = "".join(f"<li><b>{name}</b>: {escape(CONDITIONS[name])}</li>" for name in conditions(report))
    parts.append(f"<p>Each cell: figure [95 % interval] (clips used / asked for).</p><ul>{listed}</ul>")
    ranked = sorted(
        (o for o in report.observations if o.condition == "generated" and o.correlation is not None),
        key=lambda o: -(o.correlation or 0.0),
    )
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    rows = {"best": ranked[:SHOWN], "middle": ranked[middle : middle + SHOWN], "worst": ranked[-SHOWN:]}
    for name, some in rows.items():
        if some:
            figures = "".join(shown(o, clips / f"{o.id}.mp4") for o in some)
            parts.append(f"<h2>By the lips: {name}</h2>{figures}")
    parts.append(_plots(report))
    parts += [f"<p>{escape(name)}: {escape(value)}</p>" for name, value in report.about.items()]
    return whole_page("phonofilm evaluate", parts)


def whole_page(title: str, parts: Sequence[str]) -> str:
    """Put parts of HTML into a page that needs nothing beside it."""
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _plots(report: Report) -> str:
    """Figures with their intervals under every condition, offsets clip by clip, and lips against their offset."""
    drawn = []
    for metric in METRICS:
        found = [f for name in conditions(report) if (f := report.figure(metric.name, name)) and f.value is not None]
        rows = [Interval(f.condition, f.value, f.low, f.high) for f in found if f.low is not None]  # pyright: ignore
        drawn.append((metric.name, plots.intervals(rows, metric.unit)))
    own = [o for o in report.observations if o.condition == "generated"]
    for name, values in (
        ("exact.lip_offset_ms", [1000 * o.offset for o in own if o.offset is not None]),
        ("exact.event_offset_ms", [1000 * o.event_offset for o in own if o.event_offset is not None]),
    ):
        drawn.append((f"{name}, clip by clip", plots.histogram(values, "ms, positive: sound late")))
    points = [
        Point(o.id, 1000 * o.offset, o.correlation) for o in own if o.offset is not None and o.correlation is not None
    ]
    drawn.append(("lips, clip by clip", plots.scatter(points, "offset, ms", "correlation")))
    boxes = (f"<div style='display:inline-block'><h3>{escape(t)}</h3>{svg}</div>" for t, svg in drawn if svg)
    return f"<h2>Plots</h2>{''.join(boxes)}"


def hypertext(table: Table) -> str:
    """Lay out a table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def shown(seen: Observation, clip: Path) -> str:
    """Write a clip and what was seen and heard in it as HTML that needs nothing beside it; "" where it is missing."""
    if not clip.is_file():
        return ""
    data = base64.b64encode(clip.read_bytes()).decode()
    said = f"{escape(seen.id)}<br>said: {escape(seen.said)}<br>heard: {escape(seen.heard or '')}"
    lips = f"correlation {number(seen.correlation)}, sound late by {1000 * (seen.offset or 0):.0f} ms"
    video = f"<video controls src='data:video/mp4;base64,{data}'></video>"
    return f"<figure>{video}<figcaption>{said}<br>{lips}</figcaption></figure>"


def write_report(report: Report, folder: Path, clips: Path) -> None:
    """Write ``report.json`` (figures), ``clips.jsonl`` (every observation), ``report.md`` and ``report.html``.

    The page holds some of the clips that lie in ``clips``, and needs nothing beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": report.about, "figures": records(report)}
    files = {
        "report.json": json.dumps(content, indent=1),
        "clips.jsonl": "\n".join(json.dumps(asdict(o)) for o in report.observations),
        "report.md": text(report),
        "report.html": page(report, clips),
    }
    for name, body in files.items():
        with replacing(folder / name) as part:
            part.write_text(body + "\n", encoding="utf-8")
