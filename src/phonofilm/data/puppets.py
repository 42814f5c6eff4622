"""Puppets as training data: scripts are written, spoken, drawn and encoded on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.codecs.protocols import AudioCodec, VideoCodec
from phonofilm.data.samples import Codes, Sample
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry, latent_region
from phonofilm.encoders.voice import SpeakerEncoder, SpeakerVectors
from phonofilm.errors import UserError
from phonofilm.puppets.performance import Performance, perform
from phonofilm.puppets.props import ball_boxes
from phonofilm.puppets.references import references
from phonofilm.puppets.script import MIX, Script, write_script
from phonofilm.puppets.stage import Drawing, draw
from phonofilm.puppets.voice import SAMPLE_RATE
from phonofilm.types import Audio

REGIONS = ("mouth", "face", "sounding")
"""Of a picture; what sounds is a mouth or a ball."""


@dataclass(frozen=True, kw_only=True)
class Puppets:
    """Clip i of a split is the script of seed ``seed + i``: the same clips on any machine."""

    video_codec: VideoCodec
    audio_codec: AudioCodec
    geometry: Geometry
    clips: int
    """How many clips the set has."""
    seed: int = 0
    split: str = "train"
    stages: Mapping[str, float] = field(default_factory=lambda: dict(MIX))
    regions: tuple[str, ...] = ()
    speaker_encoder: SpeakerEncoder | None = None
    """What turns another sentence of each speaker into a vector; None for clips without voices."""
    reference: Reference | None = None
    """How much of another sentence of the first speaker goes through the audio codec; None for clips without it."""
    codec: str = ""
    """Hash of the codecs' weights."""

    def __post_init__(self) -> None:
        strange = sorted(set(self.regions) - set(REGIONS))
        if strange:
            raise UserError(f"puppets have no region {', '.join(strange)}; they have {', '.join(REGIONS)}")
        if self.geometry.height != self.geometry.width:
            raise UserError(f"puppets are square; {self.geometry.height} x {self.geometry.width} pixels are not")
        if self.audio_codec.sample_rate != 16000:
            raise UserError(f"puppets speak at 16000 Hz, the audio codec takes {self.audio_codec.sample_rate}")
        if self.clips < 1 or self.seed < 0:
            raise UserError(f"{self.clips} clips from seed {self.seed}: at least one clip and a seed from 0 are needed")

    @property
    def codes(self) -> Codes:
        """Strides, rates and channels of both codecs."""
        return Codes.of(self.video_codec, self.audio_codec)

    @property
    def source(self) -> dict[str, Any]:
        """What decides the clips, apart from how many and how long they are."""
        return {"split": self.split, "seed": self.seed, "stages": dict(self.stages), "codec": self.codec}

    @property
    def buckets(self) -> dict[int, int]:
        """One bucket, of the geometry's length."""
        return {self.geometry.num_frames: self.clips}

    @property
    def speaker(self) -> str:
        """Name of the speaker encoder behind the clips' voices; "" where they have none."""
        return "" if self.speaker_encoder is None else self.speaker_encoder.name

    def read(self, num_frames: int, indices: Sequence[int]) -> list[Sample]:
        """Write, speak, draw and encode; about a third of a second a clip on one core at pocket size."""
        scripts = [
            write_script(
                self.seed + index,
                split=self.split,
                stages=self.stages,
                num_frames=num_frames,
                fps=self.geometry.fps,
            )
            for index in indices
        ]
        performances = [perform(script) for script in scripts]
        return [self._sample(*parts) for parts in zip(scripts, *self._encoded(performances))]

    def refreshed(self) -> Puppets:
        """Itself: all clips are there from the start."""
        return self

    @torch.inference_mode()
    def _encoded(self, performances: Sequence[Performance]) -> tuple[Tensor, Tensor, list[dict]]:
        drawing = draw(performances, size=self.geometry.height)
        waves = torch.stack([performance.wave for performance in performances])
        video = self.video_codec.encode(drawing.video.transpose(1, 2).float() / 127.5 - 1)
        audio = self.audio_codec.encode(waves)
        masks = {name: self._mask(name, performances, drawing) for name in self.regions}
        regions = {
            name: latent_region(mask, self.video_codec.temporal_stride, self.video_codec.spatial_stride)
            for name, mask in masks.items()
        }
        return video, audio, [{name: region[i] for name, region in regions.items()} for i in range(len(waves))]

    def _mask(self, name: str, performances: Sequence[Performance], drawing: Drawing) -> Float[Tensor, "B T H W"]:
        if name == "face":
            return drawing.face
        size = self.geometry.height
        mouth = box_region(drawing.mouth, size)
        return mouth if name == "mouth" else mouth.maximum(box_region(ball_boxes(performances, size), size))

    def _sample(self, script: Script, video: Tensor, audio: Tensor, regions: dict[str, Tensor]) -> Sample:
        others = self._others(script)
        return Sample(
            video=video,
            audio=audio,
            regions=regions,
            prompt=script.prompt,
            seed=script.seed,
            stage=script.stage,
            voices=self._voices(others),
            reference=self._reference(others),
        )

    def _others(self, script: Script) -> dict[str, Float[Tensor, "1 N"]]:
        """For each speaker another sentence, where anything reads it."""
        if self.speaker_encoder is None and self.reference is None:
            return {}
        voices = {who: line.voice for line, (who, _) in zip(script.lines, script.prompt.speech, strict=True)}
        said = [line.words for line in script.lines]
        shortest = 0.0 if self.reference is None else self.reference.seconds
        return references(voices, said, seed=script.seed, split=self.split, shortest=shortest)

    def _voices(self, others: Mapping[str, Float[Tensor, "1 N"]]) -> SpeakerVectors:
        if self.speaker_encoder is None:
            return ()
        return tuple((who, self.speaker_encoder(Audio(wave, SAMPLE_RATE))) for who, wave in others.items())

    @torch.inference_mode()
    def _reference(self, others: Mapping[str, Float[Tensor, "1 N"]]) -> Float[Tensor, "K r"] | None:
        """The first speaker's sentence as latents; where nobody speaks, an empty recording and the silence behind."""
        if self.reference is None:
            return None
        recording = next(iter(others.values()), torch.zeros(1, 0))
        wave = self.reference.wave(recording, SAMPLE_RATE, self.audio_codec.hop)
        return self.audio_codec.encode(wave[None])[0]


def box_region(boxes: Float[Tensor, "B T 4"], size: int) -> Float[Tensor, "B T H W"]:
    """1 for every pixel that a box (left, top, right, bottom in pixels) touches; a box of zeros touches none."""
    start = torch.arange(size, dtype=boxes.dtype, device=boxes.device)
    left, top, right, bottom = boxes.unbind(-1)
    across = (start + 1 > left[..., None]) & (start < right[..., None])
    down = (start + 1 > top[..., None]) & (start < bottom[..., None])
    return (down[..., :, None] & across[..., None, :]).float()
