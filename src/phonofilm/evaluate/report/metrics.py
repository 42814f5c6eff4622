"""What is reported: each metric as data, from the observations of single clips to a figure with its interval.

Names carry their tier. ``exact.*`` needs no learned evaluator, since the truth is known; ``offline.*`` needs one that
is shipped in a wheel. Neither compares with a published WER or LSE-C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phonofilm.evaluate.readers.speech import words
from phonofilm.evaluate.report.statistics import bootstrap, reduce_parts

SPEAKERS = ("grid", "talk", "voice")
"""Groups of cases in which somebody speaks and the prompt names the looks."""
ATTRIBUTES = ("hair", "skin", "background", "glasses", "beard")
TOLERANCE = 0.08
"""Seconds between a contact and its sound."""
Parts = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was measured on one clip; None where it could not be, or where the case does not ask for it."""

    id: str
    group: str
    voice: str = ""
    condition: str
    problem: str = ""
    """Why the clip, its picture or its sound could not be measured."""
    said: str = ""
    """The words asked for."""
    heard: str | None = None
    """The words that the recogniser returned."""
    errors: int | None = None
    """Wrong words."""
    correlation: float | None = None
    offset: float | None = None
    """Seconds by which the sound is late against the lips."""
    events: tuple[int, int, int] | None = None
    """Pairs matched, contacts seen, onsets heard."""
    event_offset: float | None = None
    """Median over the pairs, in seconds; positive where the sound is late."""
    look: dict[str, str | bool] | None = None
    """Attributes read from the pixels."""
    right: dict[str, bool] | None = None
    """Whether each attribute is the one asked for."""
    pitch: float | None = None
    """Median in Hz."""
    voice_right: bool | None = None
    """Whether the voice heard is high where a high one was asked for, low where a low one was."""
    voice_of_ten: bool | None = None
    """Whether the voice heard is nearest to the true clip's."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure over the clips of some groups."""

    name: str
    title: str
    better: str
    """"up", "down", or "zero" where the nearest to 0 is best."""
    unit: str
    groups: tuple[str, ...]
    parts: Callable[[Observation], Parts | None]
    """Value and weight of a clip; None where it could not be measured."""
    worst: Callable[[Observation], Parts] | None
    """What a clip that could not be measured counts as; None leaves it out of the figure."""
    how: str
    evaluator: str = "none"
    bar: float | None = None
    above_truth: float | None = None
    """How far the figure may be above the ground truth's."""


class Figure(NamedTuple):
    """A metric's value under one condition, with its 95 % interval and coverage."""

    metric: str
    condition: str
    value: float | None
    low: float | None
    high: float | None
    used: int
    total: int
    voice: str = ""
    """The voice whose clips these are, "" for all."""


def measure(metric: Metric, condition: str, observations: Iterable[Observation], voice: str = "") -> Figure | None:
    """Reduce the observations of one condition (and one voice) to a figure; None where no case asks for it."""
    asked = [
        f for f in observations if f.condition == condition and f.group in metric.groups and voice in ("", f.voice)
    ]
    if not asked:
        return None
    used = sum(metric.parts(f) is not None for f in asked)
    counted = [counts_as(metric, f) for f in asked]
    parts = np.array([p for p in counted if p is not None], dtype=np.float64).reshape(-1, 2)
    if not len(parts):
        return Figure(metric.name, condition, None, None, None, used, len(asked), voice)
    value = float(reduce_parts(parts, metric.how))
    low, high = bootstrap(parts, metric.how)
    known = (_finite(value), _finite(low), _finite(high))
    return Figure(metric.name, condition, known[0], known[1], known[2], used, len(asked), voice)


def counts_as(metric: Metric, found: Observation) -> Parts | None:
    """Return what a clip counts as in a figure: what was measured or the worst; None where it is left out."""
    parts = metric.parts(found)
    return metric.worst(found) if parts is None and metric.worst is not None else parts


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def meets(metric: Metric, value: float | None, truth: float | None) -> bool | None:
    """Tell whether a figure meets the metric's bar; None where there is no bar."""
    if metric.bar is None:
        return None
    if value is None:
        return False
    if metric.better == "up":
        return value >= metric.bar
    if metric.better == "zero":
        return abs(value) <= metric.bar
    near = metric.above_truth is None or (truth is not None and value <= truth + metric.above_truth)
    return value <= metric.bar and near


def _errors(found: Observation) -> Parts | None:
    return None if found.errors is None else (float(found.errors), float(len(words(found.said))))


def _all_wrong(found: Observation) -> Parts:
    count = float(len(words(found.said)))
    return count, count


def _f1(found: Observation) -> Parts | None:
    if found.events is None:
        return None
    pairs, seen, heard = found.events
    # Nothing seen and nothing heard although something should be: one missed contact.
    return 2.0 * pairs, float(seen + heard or 2)


def _single(name: str, scale: float = 1.0) -> Callable[[Observation], Parts | None]:
    def parts(found: Observation) -> Parts | None:
        value = getattr(found, name)
        return None if value is None else (float(value) * scale, 1.0)

    return parts


def _within(seconds: float) -> Callable[[Observation], Parts | None]:
    return lambda f: None if f.offset is None else (float(abs(f.offset) <= seconds), 1.0)


def _look(attributes: Sequence[str]) -> Callable[[Observation], Parts | None]:
    def parts(found: Observation) -> Parts | None:
        if found.right is None:
            return None
        asked = [found.right[a] for a in attributes if a in found.right]
        return float(sum(asked)), float(len(asked))

    return parts


def _wer(group: str, bar: float | None, above_truth: float | None) -> Metric:
    return Metric(
        name=f"offline.wer_{group}",
        title=f"closed-grammar WER, {group} sentences",
        better="down",
        unit="wrong words per word said",
        groups=(group,),
        parts=_errors,
        worst=_all_wrong,
        how="ratio",
        evaluator="pocketsphinx with the group's JSGF grammar, jiwer",
        bar=bar,
        above_truth=above_truth,
    )


def _share(
    name: str,
    title: str,
    groups: tuple[str, ...],
    parts: Callable[[Observation], Parts | None],
    bar: float | None,
    weight: float = 1.0,
) -> Metric:
    return Metric(
        name=name,
        title=title,
        better="up",
        unit="share",
        groups=groups,
        parts=parts,
        worst=lambda found: (0.0, weight),
        how="ratio",
        bar=bar,
    )


def _offset(name: str, title: str, groups: tuple[str, ...], field: str, bar: float | None) -> Metric:
    return Metric(
        name=name,
        title=title,
        better="zero",
        unit="ms, positive: sound late",
        groups=groups,
        parts=_single(field, 1000.0),
        worst=None,
        how="median",
        bar=bar,
    )


PIXEL_FRAME = 1 / 24
LIP_CORRELATION = Metric(
    name="exact.lip_corr",
    title="lips: correlation with the opening that the words heard imply",
    better="up",
    unit="Pearson, median over clips",
    groups=SPEAKERS,
    parts=_single("correlation"),
    worst=lambda found: (0.0, 1.0),
    how="median",
    bar=0.85,
)
METRICS: tuple[Metric, ...] = (
    _wer("grid", 0.15, 0.06),
    _wer("talk", 0.20, None),
    _wer("portrait", None, None),
    _wer("voice", None, None),
    _share("exact.event_f1@80ms", "ball: sound at the contact", ("ball",), _f1, 0.8, 2.0),
    _offset("exact.event_offset_ms", "ball: offset", ("ball",), "event_offset", None),
    LIP_CORRELATION,
    _offset("exact.lip_offset_ms", "lips: offset", SPEAKERS, "offset", 1000 * PIXEL_FRAME / 2),
    _share(
        "exact.lip_offset_within_42ms",
        "lips: offset within 1 pixel frame",
        SPEAKERS,
        _within(PIXEL_FRAME + 1e-6),
        0.95,
    ),
    _share("exact.looks", "looks follow the prompt", SPEAKERS, _look(ATTRIBUTES), 0.95, len(ATTRIBUTES)),
    *(_share(f"exact.looks_{name}", f"looks: {name}", SPEAKERS, _look((name,)), None) for name in ATTRIBUTES),
    _share(
        "exact.portrait_looks", "looks follow the portrait", ("portrait",), _look(ATTRIBUTES), 0.95, len(ATTRIBUTES)
    ),
    _share("exact.voice_class", "voice asked for, high or low", SPEAKERS, _single("voice_right"), 0.95),
    _share("exact.voice_of_ten", "the reference's voice, nearest of ten", ("voice",), _single("voice_of_ten"), None),
)
