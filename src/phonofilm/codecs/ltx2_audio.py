"""LTX-2's stereo audio VAE and vocoders, through diffusers' classes: the sound of NAVA's release.

What is known of them here: the signatures of diffusers' classes, their published configurations (config.json of
Lightricks/LTX-2: 16 kHz, hop 160, 64 mels, 8 latent channels), shapes that calling them shows, and what NAVA's release
says of its sound (n_fft 1024, 8 channels times 16 rows a token).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.folders import load_part, save_part
from phonofilm.codecs.mel import LogMel

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTX2Audio
    from diffusers.pipelines.ltx2 import LTX2Vocoder, LTX2VocoderWithBWE

N_FFT = 1024
"""Samples of a spectrum at the VAE's own rate (NAVA's release)."""
FLOOR = 1e-5
"""Magnitudes below this are silence [inferred]."""


class LTX2AudioCodec(nn.Module):
    """Stereo sound as latents of unit scale, 25 a second, whose channels are the VAE's times its mel rows.

    Sound comes and goes at the vocoder's rate (LTX-2.3: 48 kHz, LTX-2: 24 kHz), the VAE hears it up to half its own
    (16 kHz). The scale of mels, the logarithm and where columns begin are [inferred]; they matter where sound is given,
    not where it is made.
    """

    def __init__(self, vae: AutoencoderKLLTX2Audio, vocoder: LTX2Vocoder | LTX2VocoderWithBWE) -> None:
        super().__init__()
        config = vae.config
        self.vae, self.vocoder = vae, vocoder
        self.sample_rate: int = vocoder.config["output_sampling_rate"]
        ratio = self.sample_rate / config["sample_rate"]
        column = round(config["mel_hop_length"] * ratio)
        self.stride: int = vae.temporal_compression_ratio
        self.hop = self.stride * column
        self.rows: int = config["mel_bins"] // vae.mel_compression_ratio
        self.channels: int = config["latent_channels"] * self.rows
        if len(vae.latents_mean) != self.channels:  # pyright: ignore[reportArgumentType]
            raise ValueError(f"the VAE's latents have {self.channels} channels, its statistics another number")
        # A spectrum three times as long at three times the rate has the VAE's own frequencies, and more above them:
        # nothing needs resampling. Its magnitudes are as many times larger as it sums more samples.
        self.louder = math.log10(ratio)
        self.mel = LogMel(
            sample_rate=self.sample_rate,
            n_fft=round(N_FFT * ratio),
            hop=column,
            bins=config["mel_bins"],
            top=config["sample_rate"] / 2,
        )

    @classmethod
    def build(cls, vae: dict[str, object], name: str, vocoder: dict[str, object]) -> LTX2AudioCodec:
        """An untrained codec from the configurations of both networks and the name of the vocoder's class."""
        vae_class, vocoders = _classes()
        known = {vocoder_class.__name__: vocoder_class for vocoder_class in vocoders}
        if name not in known:
            raise ValueError(f"unknown vocoder {name!r}; accepted: {', '.join(known)}")
        both = vae_class.from_config(vae), known[name].from_config(vocoder)  # pyright: ignore[reportAttributeAccessIssue]
        return cls(*both)

    @classmethod
    def load(cls, folder: str | Path) -> LTX2AudioCodec:
        """Load ``audio_vae`` and ``vocoder`` from a checkpoint folder; missing or surplus weights are an error."""
        vae_class, vocoders = _classes()
        vae, vocoder = load_part(Path(folder) / "audio_vae", [vae_class]), load_part(Path(folder) / "vocoder", vocoders)
        return cls(vae, vocoder).eval()  # pyright: ignore[reportArgumentType]

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write ``audio_vae`` and ``vocoder`` inside a checkpoint folder, weights optionally in a shorter type."""
        save_part(self.vae, Path(folder) / "audio_vae", dtype=dtype)
        save_part(self.vocoder, Path(folder) / "vocoder", dtype=dtype)

    def listen(self, wave: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B 2 m bins"]:
        """Natural log mels, a column for each ``hop / 4`` samples; N is whole latents."""
        decadic = self.mel(wave.flatten(0, 1)) - self.louder
        mel = decadic.clamp_min(math.log10(FLOOR)) * math.log(10)
        return mel.unflatten(0, wave.shape[:2]).mT

    def encode(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B C n"]:
        """Latents of unit scale (the posterior's mean) of two channels, or of one twice; N is rounded up to latents."""
        if wave.shape[-1] <= self.hop:
            raise ValueError(f"{wave.shape[-1]} samples; the audio codec needs more than {self.hop}")
        whole = F.pad(wave, (0, -wave.shape[-1] % self.hop)).expand(-1, 2, -1)
        latents = self.vae.encode(self.listen(whole)).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
        mean, std = self._statistics()
        return (latents.transpose(2, 3).flatten(1, 2) - mean) / std

    def decode(self, latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B 2 N"]:
        """Stereo sound in [-1, 1] of exactly ``n * hop`` samples.

        The VAE is causal: its first latent is one mel column and each later one four. So the last latent is given
        twice, which leaves what stands before as it is, and the columns that are too many are cut off.
        """
        mean, std = self._statistics()
        columns = self.stride * latents.shape[-1]
        raw = F.pad(latents * std + mean, (0, 1), mode="replicate").unflatten(1, (-1, self.rows)).transpose(2, 3)
        mel = self.vae.decode(raw).sample[:, :, :columns]  # pyright: ignore[reportAttributeAccessIssue]
        return self.vocoder(mel).clamp(-1, 1)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = self.vae.latents_mean, self.vae.latents_std
        return mean.view(1, -1, 1), std.view(1, -1, 1)  # pyright: ignore[reportCallIssue]


def _classes() -> tuple[type[nn.Module], tuple[type[nn.Module], ...]]:
    """Of diffusers, imported when they are wanted."""
    from diffusers import AutoencoderKLLTX2Audio
    from diffusers.pipelines.ltx2 import LTX2Vocoder, LTX2VocoderWithBWE

    return AutoencoderKLLTX2Audio, (LTX2Vocoder, LTX2VocoderWithBWE)
