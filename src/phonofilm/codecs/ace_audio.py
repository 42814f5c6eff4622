"""ACE-Step's autoencoder of stereo mels, as UniVerse-1 slows it down: 6.25 latents a second of 16 kHz sound.

The autoencoder is diffusers' AutoencoderDC. ACE-Step's own vocoder is not built here; Griffin and Lim's search stands
in its place, so that sound is rougher than the release's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderDC
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.folders import load_part, save_part
from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.codecs.mel import LogMel, filterbank
from phonofilm.files.resample import resample

HEARD = 25600
"""Samples a second of what the autoencoder hears and makes; sound comes and goes at 16 kHz (sample_universe.py)."""
LOW, HIGH = -11.0, 3.0
"""Natural log mels that the autoencoder has at -1 and 1 (music_dcae_pipeline.py in UniVerse-1-code)."""
SHIFT, SCALE = -1.9091, 0.1786
"""Latents of unit scale are (latent - SHIFT) * SCALE (the same file)."""
BANDS: dict[str, float] = {"bottom": 40.0, "top": 16000.0}
"""Of the mels in Hz, for sound at the autoencoder's own 44.1 kHz (config.json of ACE-Step's music_vocoder)."""


class BandedGriffinLimVocoder(GriffinLimVocoder):
    """The same for mels that begin and end at other frequencies than 0 Hz and half the sample rate."""

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 44100,
        n_fft: int = 2048,
        num_mels: int = 128,
        upsample_rates: Sequence[int] = (512,),
        iterations: int = 48,
    ) -> None:
        super().__init__(sample_rate, n_fft, num_mels, upsample_rates, iterations)
        self.register_buffer("basis", filterbank(sample_rate, n_fft, num_mels, **BANDS))


class AceAudioCodec(nn.Module):
    """Stereo sound as latents of unit scale: the autoencoder's 16 rows times its 8 channels, channels fastest.

    Sound goes in at 25.6 kHz as if that were 44.1 kHz: latents are then as long as four pixel frames at 25 fps.
    """

    sample_rate = 16000

    def __init__(self, vae: AutoencoderDC, vocoder: BandedGriffinLimVocoder) -> None:
        super().__init__()
        self.vae, self.vocoder = vae, vocoder
        self.stride: int = vae.spatial_compression_ratio
        mels, column = vocoder.config["num_mels"], vocoder.config["upsample_rates"][0]
        self.rows = mels // self.stride
        self.channels: int = self.rows * vae.config["latent_channels"]
        self.hop: int = self.stride * column * self.sample_rate // HEARD
        self.mel = LogMel(
            sample_rate=vocoder.config["sample_rate"], n_fft=vocoder.config["n_fft"], hop=column, bins=mels, **BANDS
        )

    @classmethod
    def build(cls, vae: dict[str, object], vocoder: dict[str, object]) -> AceAudioCodec:
        """An untrained codec from the configurations of the autoencoder and of the vocoder."""
        return cls(AutoencoderDC.from_config(vae), BandedGriffinLimVocoder.from_config(vocoder))  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, folder: str | Path) -> AceAudioCodec:
        """Load ``audio_vae`` and ``vocoder`` from a checkpoint folder; missing or surplus weights are an error."""
        vae = load_part(Path(folder) / "audio_vae", [AutoencoderDC])
        return cls(vae, load_part(Path(folder) / "vocoder", [BandedGriffinLimVocoder])).eval()  # pyright: ignore[reportArgumentType]

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write ``audio_vae`` and ``vocoder`` inside a checkpoint folder, weights optionally in a shorter type."""
        save_part(self.vae, Path(folder) / "audio_vae", dtype=dtype)
        save_part(self.vocoder, Path(folder) / "vocoder", dtype=dtype)

    def encode(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B C n"]:
        """Latents of unit scale of two channels, or of one twice; N is rounded up to whole latents."""
        if wave.shape[-1] <= self.hop:
            raise ValueError(f"{wave.shape[-1]} samples; the audio codec needs more than {self.hop}")
        whole = resample(F.pad(wave, (0, -wave.shape[-1] % self.hop)), self.sample_rate, HEARD).expand(-1, 2, -1)
        mel = self.mel(whole.flatten(0, 1)).unflatten(0, whole.shape[:2]) * math.log(10)
        latents = self.vae.encode((mel - LOW) / (HIGH - LOW) * 2 - 1).latent  # pyright: ignore[reportAttributeAccessIssue]
        return ((latents - SHIFT) * SCALE).transpose(1, 2).flatten(1, 2)

    def decode(self, latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B 2 N"]:
        """Stereo sound in [-1, 1] of exactly ``n * hop`` samples."""
        raw = latents.unflatten(1, (self.rows, -1)).transpose(1, 2) / SCALE + SHIFT
        mel = (self.vae.decode(raw).sample + 1) / 2 * (HIGH - LOW) + LOW  # pyright: ignore[reportAttributeAccessIssue]
        sound = self.vocoder(mel.flatten(0, 1) / math.log(10)).sample
        return resample(sound.unflatten(0, mel.shape[:2]).squeeze(2), HEARD, self.sample_rate).clamp(-1, 1)
