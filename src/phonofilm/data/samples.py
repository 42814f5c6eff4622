"""What training reads: clips as latents with their prompts, from a cache or made on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from phonofilm.codecs.protocols import AudioCodec, VideoCodec
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry, Patch, layout_of
from phonofilm.encoders.voice import SpeakerVectors
from phonofilm.types import CENTRE, Clock, Layout, Prompt


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Strides, rates and channels of the codecs behind a set of latents: enough for a layout."""

    temporal_stride: int
    spatial_stride: int
    video_channels: int
    sample_rate: int
    hop: int
    audio_channels: int

    @classmethod
    def of(cls, video: VideoCodec, audio: AudioCodec) -> Codes:
        """The numbers of two codecs."""
        return cls(
            temporal_stride=video.temporal_stride,
            spatial_stride=video.spatial_stride,
            video_channels=video.channels,
            sample_rate=audio.sample_rate,
            hop=audio.hop,
            audio_channels=audio.channels,
        )

    def layout(self, geometry: Geometry, patch: Patch, clock: Clock = CENTRE) -> Layout:
        """Where the tokens of a clip stand."""
        return layout_of(geometry, self, self, patch, clock)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip as a trainer sees it."""

    video: Float[Tensor, "C t h w"]
    audio: Float[Tensor, "K n"]
    regions: Mapping[str, Float[Tensor, "1 t h w"]]
    """Share of each latent cell that belongs to a region (mouth, face)."""
    prompt: Prompt
    seed: int
    """Of the script, or the number of the clip in a corpus of real footage."""
    stage: str = ""
    voices: SpeakerVectors = ()
    """What another sentence of each speaker sounds like, as a speaker vector."""
    reference: Float[Tensor, "K r"] | None = None
    """The latents of another sentence by whom the clip's first words are; of silence where nobody speaks."""


@runtime_checkable
class Dataset(Protocol):
    """Samples in buckets: clips of one length, so that a batch is made of one bucket."""

    @property
    def codes(self) -> Codes:
        """Strides, rates and channels of the codecs that made the latents."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Size and rate of the clips; ``num_frames`` is that of the first bucket."""
        ...

    @property
    def source(self) -> Mapping[str, Any]:
        """What decides the clips, as plain values: a run goes on with clips of the same source alone."""
        ...

    @property
    def buckets(self) -> Mapping[int, int]:
        """Length in pixel frames to number of clips."""
        ...

    @property
    def speaker(self) -> str:
        """Name of the speaker encoder behind the samples' voices; "" where they have none."""
        ...

    @property
    def reference(self) -> Reference | None:
        """How long the samples' latents of a reference voice are; None where they have none."""
        ...

    def read(self, num_frames: int, indices: Sequence[int]) -> list[Sample]:
        """Clips of one bucket by their numbers."""
        ...

    def refreshed(self) -> Dataset:
        """The same with what has been added to it since it was opened."""
        ...


def prompt_to_json(prompt: Prompt) -> dict:
    """A prompt as plain values."""
    return asdict(prompt)


def prompt_from_json(content: Mapping) -> Prompt:
    """The inverse of ``prompt_to_json``."""
    speech = tuple((speaker, words) for speaker, words in content["speech"])
    return Prompt(scene=content["scene"], sound=content["sound"], speech=speech, negative=content["negative"])


def speakers_of(prompt: Prompt) -> tuple[str, ...]:
    """Who says something in a prompt, each once, in the order of their first lines."""
    return tuple(dict.fromkeys(who for who, _ in prompt.speech))
