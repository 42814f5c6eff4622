"""Stills: the first pixel frame of clips as clips of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phonofilm.data.samples import Codes, Dataset, Sample
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry

LENGTH = 1
"""Pixel frames of a still."""


@dataclass(frozen=True)
class Stills:
    """A dataset with one bucket more: every clip's first latent frame, which a causal codec makes of one pixel frame.

    Few tokens, and everything that a scene's words say is in them: a model learns to read on stills at a fraction of a
    clip's cost, as video models are trained on pictures too (Wan, arXiv 2503.20314, section 4.2). Nobody speaks in one.
    """

    clips: Dataset
    often: int = 1
    """How many stills come for each clip."""

    @property
    def codes(self) -> Codes:
        """Strides, rates and channels of the codecs that made the latents."""
        return self.clips.codes

    @property
    def geometry(self) -> Geometry:
        """Size and rate of the clips; ``num_frames`` is that of the first bucket."""
        return self.clips.geometry

    @property
    def speaker(self) -> str:
        """Name of the speaker encoder behind the clips' voices; "" where they have none."""
        return self.clips.speaker

    @property
    def reference(self) -> Reference | None:
        """How long the clips' latents of a reference voice are; None where they have none."""
        return self.clips.reference

    @property
    def source(self) -> Mapping[str, Any]:
        """What decides the clips, and how many stills come for each."""
        return {**self.clips.source, "stills": self.often}

    @property
    def buckets(self) -> dict[int, int]:
        """Length in pixel frames to number of clips; buckets are drawn by these numbers."""
        return {LENGTH: self.often * self._count, **self.clips.buckets}

    def read(self, num_frames: int, indices: Sequence[int]) -> list[Sample]:
        """Clips of one bucket."""
        if num_frames != LENGTH:
            return self.clips.read(num_frames, indices)
        return [self._still(index) for index in indices]

    def refreshed(self) -> Stills:
        """With the clips that have been added since."""
        return dataclasses.replace(self, clips=self.clips.refreshed())

    @property
    def _count(self) -> int:
        return sum(self.clips.buckets.values())

    def _still(self, number: int) -> Sample:
        if not 0 <= number < self.often * self._count:
            raise IndexError(f"there is no still {number}: {self._count} clips give {self.often} each")
        index = number % self._count
        for length, count in self.clips.buckets.items():
            if index < count:
                return self._first_of(self.clips.read(length, [index])[0])
            index -= count
        raise AssertionError("unreachable: the index is below the sum of all counts")

    def _first_of(self, sample: Sample) -> Sample:
        audio = self.codes.layout(dataclasses.replace(self.geometry, num_frames=LENGTH), (1, 1)).audio.frames
        return dataclasses.replace(
            sample,
            video=sample.video[:, :1],
            audio=sample.audio[:, :audio],
            regions={name: region[:, :1] for name, region in sample.regions.items()},
            prompt=dataclasses.replace(sample.prompt, speech=()),
            voices=(),
        )
