"""The audio codec: log mels, diffusers' MMAudioVAE over them, and its BigVGAN-like vocoder back to samples."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import MMAudioVAE, MMAudioVocoder
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.bigvgan import BigVGANVocoder
from phonofilm.codecs.folders import load_part, save_part
from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.codecs.harmonic_noise import HarmonicNoiseVocoder
from phonofilm.codecs.mel import LogMel
from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries

STATISTICS = "latents.safetensors"
"""Beside the weights of the VAE: mean and deviation of its latents, for which MMAudioVAE has no place."""


VOCODERS = (MMAudioVocoder, BigVGANVocoder, GriffinLimVocoder, HarmonicNoiseVocoder)


class AudioCodec(nn.Module):
    """Mono sound as latents with zero mean and unit deviation in every channel, two mel columns per latent."""

    mean: Tensor
    std: Tensor

    def __init__(self, vae: MMAudioVAE, vocoder: MMAudioVocoder | GriffinLimVocoder | HarmonicNoiseVocoder) -> None:
        super().__init__()
        config = vae.config
        factor = 1
        for rate in vocoder.config["upsample_rates"]:
            factor *= rate
        if factor != config["hop_length"]:
            raise ValueError(f"the vocoder makes {factor} samples per mel column, the VAE takes {config['hop_length']}")
        self.vae, self.vocoder = vae, vocoder
        self.sample_rate: int = config["sample_rate"]
        self.hop: int = 2 * config["hop_length"]
        self.channels: int = config["latent_channels"]
        self.mel = LogMel(
            sample_rate=self.sample_rate, n_fft=config["n_fft"], hop=config["hop_length"], bins=config["mel_bins"]
        )
        self.register_buffer("mean", torch.zeros(1, self.channels, 1), persistent=False)
        self.register_buffer("std", torch.ones(1, self.channels, 1), persistent=False)

    @classmethod
    def build(cls, vae: dict[str, object], vocoder: dict[str, object]) -> AudioCodec:
        """An untrained codec from the configurations of both networks."""
        return cls(MMAudioVAE.from_config(vae), MMAudioVocoder.from_config(vocoder))  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, folder: str | Path) -> AudioCodec:
        """Load ``audio_vae`` and ``vocoder`` from a checkpoint folder; missing or surplus weights are an error."""
        folder = Path(folder)
        vae, vocoder = load_part(folder / "audio_vae", [MMAudioVAE]), load_part(folder / "vocoder", VOCODERS)
        codec = cls(vae, vocoder)  # pyright: ignore[reportArgumentType]
        path = folder / "audio_vae" / STATISTICS
        if not path.is_file():
            raise UserError(f"no {path}: without the statistics of its latents an audio codec cannot be used")
        if lacks := {"mean", "std"} - entries(path).keys():
            raise UserError(f"{path} has no {sorted(lacks)[0]!r}: it holds mean and std of the latents' channels")
        statistics = load_file(path)
        if any(tensor.shape != (codec.channels,) for tensor in statistics.values()):
            raise UserError(f"{path}: mean and std have one number for each of {codec.channels} channels")
        codec.standardise(statistics["mean"], statistics["std"])
        return codec.eval()

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write ``audio_vae`` and ``vocoder`` inside a checkpoint folder, weights optionally in a shorter type."""
        folder = Path(folder)
        save_part(self.vae, folder / "audio_vae", dtype=dtype)
        save_part(self.vocoder, folder / "vocoder", dtype=dtype)
        statistics = {"mean": self.mean.flatten().clone(), "std": self.std.flatten().clone()}
        save_file(statistics, folder / "audio_vae" / STATISTICS)

    def posterior(self, mel: Float[Tensor, "B bins m"]) -> tuple[Float[Tensor, "B C n"], Float[Tensor, "B C n"]]:
        """Mean and log variance of the raw latents of a log mel with an even number of columns."""
        mean, logvar = self.vae.vae.encode(mel).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def spectrum(self, raw: Float[Tensor, "B C n"]) -> Float[Tensor, "B bins m"]:
        """Log mel from raw latents."""
        return self.vae.vae.decode(raw)

    def listen(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B bins m"]:
        """Log mel of the mean of all channels, padded with silence to whole latents."""
        missing = -wave.shape[-1] % self.hop
        return self.mel(F.pad(wave.mean(dim=1), (0, missing)))

    def encode(self, wave: Float[Tensor, "B K N"]) -> Float[Tensor, "B C n"]:
        """Latents of unit scale (the posterior's mean); N is rounded up to whole latents of ``hop`` samples."""
        if wave.shape[-1] <= self.hop:
            raise ValueError(f"{wave.shape[-1]} samples; the audio codec needs more than {self.hop}")
        return (self.posterior(self.listen(wave))[0] - self.mean) / self.std

    def decode(self, latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B 1 N"]:
        """Mono sound in [-1, 1] of exactly ``n * hop`` samples; mels one by one, as a batch's differ by rounding."""
        mels = [self.spectrum(one) for one in (latents * self.std + self.mean).split(1)]
        return self.vocoder(torch.cat(mels)).sample

    @torch.no_grad()
    def standardise(self, mean: Float[Tensor, " C"], std: Float[Tensor, " C"]) -> None:
        """Adopt the statistics of raw latents, measured after training; they are saved with the VAE."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std))

    @torch.no_grad()
    def normalise(self, mean: Float[Tensor, " bins"], std: Float[Tensor, " bins"]) -> None:
        """Adopt the statistics of log mels, measured before training; they are part of the VAE's weights."""
        for kept, new in ((self.vae.vae.data_mean, mean), (self.vae.vae.data_std, std)):
            assert isinstance(kept, Tensor)
            kept.copy_(new.view_as(kept))
