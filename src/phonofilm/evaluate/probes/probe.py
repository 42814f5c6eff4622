"""What an evaluation is made of: measures, and the probes that take them from one clip.

A probe looks at one clip and returns a value and its weight for each of its measures; those of all clips are then
reduced to figures. What a probe cannot measure it refuses with ``Unmeasured``, which says something of the clip. Any
other exception says that the evaluator does not work, and is never charged to the clip.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.readers import lips, pitch
from phonofilm.evaluate.readers.speech import SAMPLE_RATE
from phonofilm.files.media import Limits
from phonofilm.files.resample import resample
from phonofilm.types import Clip

TIERS = ("exact", "offline", "paper")
LIMITS = Limits(seconds=20.0, pixels=640 * 360, memory=2.0**30)
"""What is read of a clip: at most 20 s, and pictures of at most 230,400 pixels."""
VIDEO, AUDIO = ("video",), ("audio",)
"""Fields of a clip that a measure of one sense reads."""
Parts = tuple[float, float]
"""A clip's value and its weight."""


class Unmeasured(Exception):  # noqa: N818  it is an answer, no error
    """Why a clip has no value for a measure."""


@dataclass(frozen=True, kw_only=True)
class Examined(Clip):
    """A clip with what several probes read from it: read when the first of them asks, and kept for the others."""

    @classmethod
    def of(cls, clip: Clip) -> Examined:
        """The clip, nothing read from it yet."""
        return cls(video=clip.video, audio=clip.audio, fps=clip.fps, sample_rate=clip.sample_rate)

    @cached_property
    def mono(self) -> Float[Tensor, "1 N"]:
        """The sound at 16 kHz mono, be it silent; raises ``Unmeasured`` where there is none."""
        if self.audio.shape[-1] == 0:
            raise Unmeasured("no sound")
        return resample(self.audio.mean(0, keepdim=True), self.sample_rate, SAMPLE_RATE)

    @property
    def silent(self) -> bool:
        """Whether there is a sound and it is silence; raises ``Unmeasured`` where there is none."""
        return bool(self.mono.abs().amax() < lips.SILENCE)

    @property
    def wave(self) -> Float[Tensor, "1 N"]:
        """The sound at 16 kHz mono; raises ``Unmeasured`` where there is none or it is silent."""
        if self.silent:
            raise Unmeasured("silent")
        return self.mono

    @cached_property
    def pitches(self) -> Float[np.ndarray, " V"]:
        """Pitch in Hz of every voiced frame (``pitch.track``); raises ``Unmeasured`` as ``wave`` does."""
        return pitch.track(self.wave, SAMPLE_RATE)

    @cached_property
    def look(self) -> dict[str, str | bool]:
        """What one puppet looks like, over the whole clip (``readback.read_look``)."""
        from phonofilm.puppets.readback import read_look

        return read_look(self.video)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure over clips; its name begins with its tier."""

    name: str
    title: str
    better: str
    """"up", "down", "zero" where the nearest to 0 is best, "" where neither is."""
    unit: str
    how: str = "mean"
    """How clips are reduced: "mean", "median" or "ratio" (summed values over summed weights)."""
    worst: float | None = None
    """What a clip that could not be measured is worth in the pessimistic figure; None where there is no such value."""
    weight: Callable[[Entry], float] | None = None
    """What such a clip weighs, by what it was asked for; None for as much as the others do on average."""
    reads: tuple[str, ...] = ("video", "audio")
    """The fields of a clip that it is about: damage to another leaves it as it was."""
    evaluator: str = "none"
    package: str = ""
    """The installed package whose version belongs to the figure."""
    preparation: str = "pixels as decoded, at most 230,400 a frame; sound as decoded"

    @property
    def tier(self) -> str:
        """ "exact", "offline" or "paper"."""
        return self.name.split(".")[0]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a probe saw in one clip."""

    values: Mapping[str, Parts] = field(default_factory=dict)
    """By the measure's name."""
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What figures over a whole set of clips are made of."""
    observed: Mapping[str, str | bool | float] = field(default_factory=dict)
    """What people want to read beside the values: the words heard, the looks seen, the pitch."""


class Probe(NamedTuple):
    """A way to measure clips."""

    name: str
    measures: tuple[Measure, ...]
    wants: Callable[[Entry], bool]
    """Whether a clip is one that the measures are about."""
    read: Callable[[Entry, Examined], Found]
    modules: tuple[str, ...] = ()
    """What must be importable."""
    install: str = ""
    """How to get that."""
    weights: str = ""
    """The checkpoint that the user must name, "" for none."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of a clip that any of its measures is about; both where it leaves vectors alone."""
        return tuple(dict.fromkeys(name for measure in self.measures for name in measure.reads)) or (*VIDEO, *AUDIO)

    def missing(self, weights: Container[str] = ()) -> str:
        """Why the probe cannot run here with these checkpoints, "" where it can."""
        lacking = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if lacking:
            return f"{', '.join(lacking)} not installed: {self.install}"
        if self.weights and self.weights not in weights:
            return f"needs --weights {self.weights}=PATH, a checkpoint of your own; nothing is downloaded"
        return ""


class Pool(NamedTuple):
    """A figure of a whole set of clips, from the vectors that probes left."""

    measure: Measure
    vectors: tuple[str, ...]
    """What a clip must have to count."""
    prepare: Callable[[Sequence[str], Mapping[str, Sequence[tuple[float, ...]]]], Callable[[Sequence[int]], float]]
    """From names and vectors of all clips, the function that gives the figure of some of them, by index."""

    @property
    def probe(self) -> str:
        """Name of the probe that leaves its vectors."""
        return self.vectors[0].split(".")[0]
