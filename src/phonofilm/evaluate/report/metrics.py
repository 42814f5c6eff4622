"""What is reported: a measure of a probe, over which clips, and the bar that a model of the puppets should reach."""

from __future__ import annotations

from dataclasses import dataclass

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.probes import families, puppets, voices, wording
from phonofilm.evaluate.probes.probe import Measure, Parts, Pool, Probe

SPEAKERS = ("grid", "talk", "voice")
"""Groups of held-out prompts in which somebody speaks and the words of the prompt say how he looks."""
PIXEL_FRAME_MS = 1000 / 24


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure over clips: what a measure gives for all that it is about, or for some groups of held-out prompts."""

    measure: Measure
    name: str
    title: str
    groups: tuple[str, ...] = ()
    """Of held-out prompts; () for every clip that the measure is about."""
    bar: float | None = None
    above_truth: float | None = None
    """How far the figure may be above the ground truth's."""
    pool: Pool | None = None
    """What makes a figure of a whole set of clips; None where each clip has a value of its own."""

    @property
    def unit(self) -> str:
        return self.measure.unit

    @property
    def better(self) -> str:
        return self.measure.better

    @property
    def how(self) -> str:
        return self.measure.how

    @property
    def tier(self) -> str:
        return self.measure.tier

    @property
    def probe(self) -> Probe:
        """The probe that takes the measure, or the vectors of its pool."""
        return _PROBE_OF[self.measure.name]

    def about(self, entry: Entry) -> bool:
        """Whether a clip is one that the figure is over."""
        return (not self.groups or entry.group in self.groups) and self.probe.wants(entry)

    def parts(self, outcome: Outcome) -> Parts | None:
        """Value and weight of a clip; None where it could not be measured."""
        return outcome.values.get(self.measure.name)

    def worst(self, entry: Entry, typical: float = 1.0) -> Parts | None:
        """What a clip that could not be measured counts as; None leaves it out of the figure.

        ``typical`` is what it weighs where the measure does not say.
        """
        if self.measure.worst is None:
            return None
        weight = typical if self.measure.weight is None else self.measure.weight(entry)
        return self.measure.worst * weight, weight

    def charged(self, entry: Entry, outcome: Outcome) -> Parts | None:
        """What a clip counts as in a figure that charges failures: what was measured, or else the worst.

        None where it is left out: nothing is worst, or the evaluator failed, which is not the clip's fault.
        """
        if self.failed(outcome):
            return None
        parts = self.parts(outcome)
        return self.worst(entry) if parts is None else parts

    def failed(self, outcome: Outcome) -> bool:
        """Whether the evaluator failed on a clip."""
        return self.probe.name in outcome.failed


_PROBE_OF: dict[str, Probe] = {
    **{measure.name: probe for probe in families.PROBES for measure in probe.measures},
    **{pool.measure.name: families.probe_named(pool.probe) for pool in families.POOLS},
}


def _whole(measure: Measure, pool: Pool | None = None) -> Metric:
    return Metric(measure=measure, name=measure.name, title=measure.title, pool=pool)


ALL: dict[str, Metric] = {
    **{measure.name: _whole(measure) for probe in families.PROBES for measure in probe.measures},
    **{pool.measure.name: _whole(pool.measure, pool) for pool in families.POOLS},
}
"""Every measure over all clips that it is about, by name: what is said of any folder."""


def _of_prompts(
    measure: Measure,
    title: str,
    groups: tuple[str, ...],
    bar: float | None = None,
    *,
    name: str = "",
    above_truth: float | None = None,
) -> Metric:
    return Metric(
        measure=measure,
        name=name or measure.name,
        title=title,
        groups=groups,
        bar=bar,
        above_truth=above_truth,
    )


def _words(group: str, bar: float | None = None, above_truth: float | None = None) -> Metric:
    title, name = f"closed-grammar WER, {group} sentences", f"offline.wer_{group}"
    return _of_prompts(wording.WER, title, (group,), bar, name=name, above_truth=above_truth)


METRICS: tuple[Metric, ...] = (
    _words("grid", 0.15, 0.06),
    _words("talk", 0.20),
    _words("portrait"),
    _words("voice"),
    _of_prompts(puppets.BALL[1], "ball: sound at the contact", ("ball",), 0.8),
    _of_prompts(puppets.BALL_OFFSET, "ball: offset", ("ball",)),
    _of_prompts(puppets.LIP_CORR, puppets.LIP_CORR.title, SPEAKERS, 0.85),
    _of_prompts(puppets.LIP_OFFSET, "lips: offset", SPEAKERS, PIXEL_FRAME_MS / 2),
    _of_prompts(puppets.LIP_WITHIN, "lips: offset within 1 pixel frame", SPEAKERS, 0.95),
    _of_prompts(puppets.LOOKS, "looks follow the prompt", SPEAKERS, 0.95),
    *(_of_prompts(measure, f"looks: {name}", SPEAKERS) for name, measure in puppets.EACH_LOOK.items()),
    _of_prompts(puppets.LOOKS, "looks follow the portrait", ("portrait",), 0.95, name="exact.portrait_looks"),
    _of_prompts(puppets.VOICE, "voice asked for, high or low", SPEAKERS, 0.95),
    _of_prompts(voices.ONE, "the reference's voice, nearest of ten", ("voice",)),
)
"""What is said of held-out prompts, by group, with the bars that the shipped model is held to."""


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
