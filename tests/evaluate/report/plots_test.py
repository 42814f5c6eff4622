import math
import re
from xml.etree import ElementTree

import pytest

from phonofilm.evaluate.report.plots import Curve, Interval, Point, curves, histogram, intervals, scatter

DRAWN = {
    "intervals": intervals([Interval("a < b", 0.5, 0.25, 0.75), Interval("c", 1.0, 1.0, 1.0)], "share"),
    "histogram": histogram([-10.0, 0.0, 0.0, 200.0, math.nan], "ms"),
    "scatter": scatter([Point("clip & co", 0.0, 1.0), Point("b", 10.0, 3.0), Point("no", math.nan, 1.0)], "x", "y"),
    "curves": curves([Curve("a", [(0, 3.0), (9, math.nan), (10, 1.0)]), Curve("b & c", [(5, 2.0)])], "x", "y"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_plots_are_well_formed(name):
    assert ElementTree.fromstring(DRAWN[name]).tag.endswith("svg")
    assert "nan" not in DRAWN[name]


def test_dots_stand_where_their_values_are():
    dots = [float(x) for x in re.findall(r"<circle cx='([\d.]+)'", DRAWN["intervals"])]
    bars = re.findall(r"<line x1='([\d.]+)' y1='14.0' x2='([\d.]+)'", DRAWN["intervals"])
    left, right = map(float, bars[0])
    assert dots[0] == pytest.approx((left + right) / 2, abs=0.1)
    assert dots[1] - dots[0] == pytest.approx(right - left, abs=0.2)  # half a share, as the bar is long


def test_bars_are_as_tall_as_clips_are_many():
    counts = re.findall(r"height='([\d.]+)' fill='[^']+'><title>(\d+)</title>", DRAWN["histogram"])
    assert sum(int(count) for _, count in counts) == 4  # NaN is left out
    assert {count: float(tall) for tall, count in counts} == {"0": 0, "1": 55, "2": 110}


def test_higher_is_higher_and_names_are_tooltips():
    dots = [float(y) for y in re.findall(r"cy='([\d.]+)'", DRAWN["scatter"])]
    assert dots[1] < dots[0]
    assert "<title>clip &amp; co: 0, 1</title>" in DRAWN["scatter"]


def test_curves_fall_and_share_a_colour_by_label():
    falling = re.search(r"<polyline points='([\d.]+),([\d.]+) ([\d.]+),([\d.]+)'", DRAWN["curves"])
    left, top, right, bottom = map(float, falling.groups())  # NaN is left out
    assert left < right
    assert top < bottom
    twice = curves([Curve("a", [(0, 1.0), (1, 2.0)]), Curve("a", [(0, 2.0), (1, 3.0)])], "x", "y")
    assert len(set(re.findall(r"stroke='(#\w+)' stroke-width='1.5'", twice))) == 1


def test_nothing_gives_nothing():
    assert (intervals([], "x"), histogram([math.nan], "x"), scatter([], "x", "y")) == ("", "", "")
    assert curves([Curve("a", [(0, math.nan)])], "x", "y") == ""
