"""A report as one HTML page that needs nothing beside it, and all its files."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from phonofilm.errors import UserError
from phonofilm.evaluate.engine import Outcome, dump
from phonofilm.evaluate.report import plots
from phonofilm.evaluate.report.metrics import ALL
from phonofilm.evaluate.report.plots import Interval, Point
from phonofilm.evaluate.report.tables import Report, Table, hypertext, not_run, number, records, text, troubles
from phonofilm.files.media import Limits, read_clip, replacing

STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; max-width: 110em; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { padding: .2em .7em; text-align: left;
border-bottom: 1px solid #ddd; white-space: nowrap } figure { display: inline-block; width: 15em; margin: .5em;
vertical-align: top }
video { width: 100% } figcaption { font-size: 13px }"""
RANKED = ("exact.lip_corr", "exact.event_f1@80ms", "exact.key_f1@80ms", "exact.flicker")
"""What the gallery is sorted by: the first that the clips have."""
SHOWN = 4
"""Clips in each row of the gallery."""
SHEET = (4, 128)
"""Pixel frames of a contact sheet, and their height."""
PAIRS = (
    ("exact.lip_offset_ms", "exact.lip_corr"),
    ("exact.event_offset_ms", "exact.event_f1@80ms"),
    ("exact.key_offset_ms", "exact.key_f1@80ms"),
    ("paper.sync_offset@lrs", "paper.lse_c@lrs"),
    ("exact.still", "exact.flicker"),
)
"""Each clip's offset, or its steadiness where it has none, and the score that is drawn against it."""
Show = Callable[[Outcome, Path], str]


def page(report: Report, tables: Sequence[Table], show: Show) -> str:
    """The page: tables, what went wrong, plots, and best, middle and worst clips as ``show`` puts them into it."""
    parts = [f"<h2>{escape(table.title)}</h2>{hypertext(table)}" for table in tables]
    parts.append("<p>Each cell: figure [95 % interval] (clips used / asked for).</p>")
    parts.append(_list([f"{name}: {what}" for name, what in report.conditions.items()]))
    for title, lines in (("What could not be measured", troubles(report)), ("What did not run", not_run(report))):
        parts += [f"<h2>{title}</h2>{_list(lines)}"] if lines else []
    parts += [_interval_plots(report), _offsets(report), _scatter(report), _gallery(report, show)]
    parts += [f"<p>{escape(name)}: {escape(value)}</p>" for name, value in report.about.items()]
    return whole_page("phonofilm evaluate", parts)


def whole_page(title: str, parts: Sequence[str]) -> str:
    """Put parts of HTML into a page that needs nothing beside it."""
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _drawing(title: str, drawing: str) -> str:
    """A drawing under its title, "" where there is no drawing."""
    return f"<div style='display:inline-block'><h3>{escape(title)}</h3>{drawing}</div>" if drawing else ""


def _interval_plots(report: Report) -> str:
    drawn = []
    for metric in report.metrics:
        rows = [
            Interval(f.condition, f.value, f.low, f.high)
            for name in report.conditions
            if (f := report.figure(metric.name, name))
            and f.value is not None
            and f.low is not None
            and f.high is not None
        ]
        drawn.append(_drawing(metric.name, plots.intervals(rows, metric.unit)))
    return f"<h2>Figures with 95 % intervals</h2>{''.join(drawn)}" if any(drawn) else ""


def values(report: Report, measure: str) -> dict[str, float]:
    """A measure's value for each clip that is scored: parts that are summed are divided by their weight."""
    own = [o for o in report.outcomes if o.condition == report.scored and measure in o.values]
    by_ratio = measure in ALL and ALL[measure].how == "ratio"
    return {o.name: o.values[measure][0] / (max(o.values[measure][1], 1e-9) if by_ratio else 1.0) for o in own}


def _offsets(report: Report) -> str:
    metrics = [metric for metric in report.metrics if metric.better == "zero"]
    drawn = [_drawing(m.name, plots.histogram(list(values(report, m.measure.name).values()), m.unit)) for m in metrics]
    return f"<h2>Offsets, clip by clip</h2>{''.join(drawn)}" if any(drawn) else ""


def _scatter(report: Report) -> str:
    """Each clip's score against its offset, or against its steadiness where it has none."""
    drawn = []
    for across, up in PAIRS:
        xs, ys = values(report, across), values(report, up)
        points = [Point(name, xs[name], ys[name]) for name in xs if name in ys]
        drawn.append(_drawing(f"{up} against {across}", plots.scatter(points, across, up)))
    return f"<h2>Clip by clip</h2>{''.join(drawn)}" if any(drawn) else ""


def _gallery(report: Report, show: Show) -> str:
    measure = next((name for name in RANKED if values(report, name)), None)
    if measure is None:
        return ""
    own = {o.name: o for o in report.outcomes if o.condition == report.scored}
    ranked = [name for name, _ in sorted(values(report, measure).items(), key=lambda item: -item[1])]
    middle = max(0, len(ranked) // 2 - SHOWN // 2)
    rows = {"best": ranked[:SHOWN], "middle": ranked[middle : middle + SHOWN], "worst": ranked[-SHOWN:]}
    parts, seen = [], set()
    for title, some in rows.items():
        fresh = [name for name in some if name not in seen]
        seen |= set(fresh)
        shown = "".join(show(own[name], report.entries[name].path) for name in fresh)
        parts += [f"<h2>By {escape(measure)}: {title}</h2>{shown}"] if fresh else []
    return "".join(parts)


def caption(seen: Outcome) -> str:
    """What was asked for, seen and heard in a clip, as HTML."""
    lines = [seen.name]
    lines += [f"{name}: {seen.observed[name]}" for name in ("said", "heard") if name in seen.observed]
    correlation, offset = seen.values.get("exact.lip_corr"), seen.values.get("exact.lip_offset_ms")
    if correlation and offset:
        lines.append(f"lips: correlation {number(correlation[0])}, sound late by {offset[0]:.0f} ms")
    for measure in RANKED[1:]:
        lines += (
            [f"{measure} {number(seen.values[measure][0] / seen.values[measure][1])}"] if measure in seen.values else []
        )
    return "<br>".join(escape(line) for line in lines)


def as_video(seen: Outcome, clip: Path) -> str:
    """A clip whole, over what was seen and heard in it; "" where it is missing."""
    if not clip.is_file():
        return ""
    data = base64.b64encode(clip.read_bytes()).decode()
    video = f"<video controls src='data:video/mp4;base64,{data}'></video>"
    return f"<figure>{video}<figcaption>{caption(seen)}</figcaption></figure>"


def as_sheet(seen: Outcome, clip: Path) -> str:
    """A few pixel frames of a clip side by side, as a small JPEG, over what was seen and heard in it."""
    from PIL import Image

    frames, height = SHEET
    try:
        video = read_clip(clip, limits=Limits(seconds=20.0, pixels=height * height * 2)).video
    except UserError as error:  # the file went away since it was measured
        return f"<p>{escape(seen.name)}: {escape(str(error))}</p>"
    picks = [round((k + 0.5) * len(video) / frames - 0.5) for k in range(frames)]
    strip = Image.fromarray(video[picks].permute(2, 0, 3, 1).flatten(1, 2).contiguous().numpy())
    held = io.BytesIO()
    strip.resize((strip.width * height // strip.height, height)).save(held, "JPEG", quality=80)
    data = base64.b64encode(held.getvalue()).decode()
    picture = f"<img src='data:image/jpeg;base64,{data}' alt='{escape(seen.name)}'>"
    return f"<p>{picture}<br>{caption(seen)}</p>"


def write_report(report: Report, tables: list[Table], folder: Path, show: Show) -> None:
    """Write ``report.json`` (figures), ``clips.jsonl`` (every outcome), ``report.md`` and ``report.html``."""
    content = {
        "about": dict(report.about),
        "figures": records(report),
        "missing": dict(report.missing),
        "troubles": troubles(report) + not_run(report),
    }
    files = {
        "report.json": json.dumps(content, indent=1),
        "clips.jsonl": "\n".join(dump(outcome) for outcome in report.outcomes),
        "report.md": text(report, tables),
        "report.html": page(report, tables, show),
    }
    for name, body in files.items():
        with replacing(folder / name) as part:
            part.write_text(body + "\n", encoding="utf-8")
