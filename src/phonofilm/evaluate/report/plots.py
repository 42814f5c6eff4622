"""Small plots as SVG text, for pages that need nothing beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH = 520
LINE = 20
LEFT = 90
INK, SOFT, MARK = "#333", "#ccc", "#2a6fb0"
COLOURS = (MARK, "#c8553d", "#3a8f5c", "#8a5fb0", "#b08a2a", "#4fa3b5", "#a04070", "#777")


class Interval(NamedTuple):
    """A figure with its interval, and what it belongs to."""

    label: str
    value: float
    low: float
    high: float


def intervals(rows: Sequence[Interval], unit: str) -> str:
    """Dots with bars on one axis, one line each; "" where there is nothing to draw."""
    if not rows:
        return ""
    left = max(LEFT, 20 + 6 * max(len(r.label) for r in rows))
    axis = _Axis.over([v for r in rows for v in (r.low, r.value, r.high)], left, WIDTH - 20)
    height = LINE * len(rows) + 40
    parts = [axis.draw(height - 34, unit)]
    if axis.low < 0 < axis.high:
        parts.append(_line(axis.at(0.0), 0, axis.at(0.0), height - 34, INK, dash="3 3"))
    for k, row in enumerate(rows):
        y = LINE * k + 14
        parts.append(_text(left - 8, y + 4, row.label, "end"))
        parts.append(_line(axis.at(row.low), y, axis.at(row.high), y, MARK))
        parts.append(f"<circle cx='{axis.at(row.value):.1f}' cy='{y}' r='4' fill='{MARK}'/>")
    return _svg(height, parts)


def histogram(values: Sequence[float], unit: str, *, num_bins: int = 25) -> str:
    """How often values occur; "" where there are none."""
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return ""
    axis = _Axis.over([*known, 0.0], 30, WIDTH - 20)
    counts, edges = np.histogram(known, bins=num_bins, range=(axis.low, axis.high))
    floor, tall = 130, 110
    parts = [axis.draw(floor, unit)]
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rise = tall * count / max(counts.max(), 1)
        x, wide = axis.at(left), axis.at(right) - axis.at(left)
        box = f"x='{x + 0.5:.1f}' y='{floor - rise:.1f}' width='{wide - 1:.1f}' height='{rise:.1f}'"
        parts.append(f"<rect {box} fill='{MARK}'><title>{count}</title></rect>")
    parts.append(_line(axis.at(0.0), floor - tall, axis.at(0.0), floor, INK, dash="3 3"))
    return _svg(floor + 36, parts)


class Point(NamedTuple):
    """A clip in a scatter plot."""

    name: str
    x: float
    y: float


def scatter(points: Sequence[Point], across: str, up: str) -> str:
    """One dot per clip with its name as a tooltip; "" where there are none."""
    known = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]
    if not known:
        return ""
    floor, top = 250, 24
    axis = _Axis.over([p.x for p in known], 60, WIDTH - 20)
    side = _Axis.over([p.y for p in known], floor, top)
    parts = [axis.draw(floor, across), _line(60, top, 60, floor, SOFT)]
    for value in (side.low, side.high):
        parts.append(_text(54, side.at(value) + 4, f"{value:.3g}", "end"))
    parts.append(_text(60, 14, up, "start"))
    for p in known:
        dot = f"cx='{axis.at(p.x):.1f}' cy='{side.at(p.y):.1f}' r='3.5' fill='{MARK}' fill-opacity='.6'"
        parts.append(f"<circle {dot}><title>{escape(p.name)}: {p.x:.3g}, {p.y:.3g}</title></circle>")
    return _svg(floor + 36, parts)


class Curve(NamedTuple):
    """A line through points; curves of one label share a colour."""

    label: str
    points: Sequence[tuple[float, float]]


def curves(lines: Sequence[Curve], across: str, up: str) -> str:
    """Lines over one axis with their labels above; "" where there is nothing to draw."""
    known = [Curve(c.label, [p for p in c.points if all(map(math.isfinite, p))]) for c in lines]
    known = [c for c in known if c.points]
    if not known:
        return ""
    labels = list(dict.fromkeys(c.label for c in known))
    top = 34 + LINE * len(labels)
    floor = top + 220
    axis = _Axis.over([x for c in known for x, _ in c.points], 60, WIDTH - 20)
    side = _Axis.over([y for c in known for _, y in c.points], floor, top)
    parts = [axis.draw(floor, across), _line(60, top, 60, floor, SOFT), _text(60, top - 10, up, "start")]
    for value in np.linspace(side.low, side.high, 5).tolist():
        parts.append(_text(54, side.at(value) + 4, f"{value:.3g}", "end"))
    for k, label in enumerate(labels):
        parts.append(_line(60, LINE * k + 10, 84, LINE * k + 10, COLOURS[k % len(COLOURS)]))
        parts.append(_text(90, LINE * k + 14, label, "start"))
    for curve in known:
        colour = COLOURS[labels.index(curve.label) % len(COLOURS)]
        path = " ".join(f"{axis.at(x):.1f},{side.at(y):.1f}" for x, y in curve.points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.5'/>")
        x, y = curve.points[-1]
        parts.append(f"<circle cx='{axis.at(x):.1f}' cy='{side.at(y):.1f}' r='2.5' fill='{colour}'/>")
    return _svg(floor + 36, parts)


class _Axis(NamedTuple):
    """A straight map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    @staticmethod
    def over(values: Sequence[float], start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
        return _Axis(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def draw(self, y: float, unit: str) -> str:
        ticks = np.linspace(self.low, self.high, 5).tolist()
        parts = [_line(self.start, y, self.end, y, SOFT)]
        parts += [_text(self.at(t), y + 15, f"{t:.3g}", "middle") for t in ticks]
        parts.append(_text((self.start + self.end) / 2, y + 30, unit, "middle"))
        return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{INK}'>{escape(text)}</text>"


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, *, dash: str = "") -> str:
    ends = f"x1='{x0:.1f}' y1='{y0:.1f}' x2='{x1:.1f}' y2='{y1:.1f}'"
    return f"<line {ends} stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}'/>"


def _svg(height: float, parts: Sequence[str]) -> str:
    size = f"width='{WIDTH}' height='{height:.0f}' viewBox='0 0 {WIDTH} {height:.0f}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-size='11'>{''.join(parts)}</svg>"
