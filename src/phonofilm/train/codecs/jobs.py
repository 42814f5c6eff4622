"""What makes a codec good: losses and scores of the mel autoencoder; decibels of a picture."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.codecs.audio import AudioCodec
from phonofilm.train.codecs.fit import CodecJob
from phonofilm.train.codecs.pool import Pool, segments


def decibels(square: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of pixels in [-1, 1]."""
    return -10 * math.log10(max(square, 1e-12) / 4)


def edges(video: Float[Tensor, "B 3 T H W"]) -> tuple[Tensor, Tensor]:
    """Differences between horizontal and vertical neighbours."""
    return video.diff(dim=-1), video.diff(dim=-2)


def divergence(mean: Tensor, logvar: Tensor) -> Float[Tensor, ""]:
    """Mean divergence of a Gaussian posterior from a unit Gaussian, per latent value."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


@torch.no_grad()
def initialise(codec: AudioCodec, gain: float = 1.0) -> None:
    """Unit-gain weights for MMAudio's magnitude-preserving convolutions, which are applied as they are."""
    for module in codec.vae.modules():
        if isinstance(module, nn.Conv1d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=gain / math.sqrt(fan_in))
    codec.vae.vae.encoder.conv_out.weight[codec.channels :] *= 0.1


def mel_job(codec: AudioCodec, pool: Pool, *, batch: int, samples: int, kl: float, scored: int) -> CodecJob:
    """Train the mel autoencoder: absolute and squared error of log mels, small divergence of the latents."""
    codec.requires_grad_(False).vae.vae.requires_grad_(True)

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        assert isinstance(network, AudioCodec)
        mel = network.listen(segments(pool, rng, samples=samples, batch=batch))
        mean, logvar = network.posterior(mel)
        raw = mean + (0.5 * logvar).exp() * torch.randn_like(mean) * min(1.0, 5 * done)
        error = network.spectrum(raw) - mel
        return {
            "l1": error.abs().mean(),
            "l2": error.square().mean(),
            "kl": kl * min(1.0, 5 * done) * divergence(mean, logvar),
        }

    @torch.no_grad()
    def score(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, AudioCodec)
        mel = network.listen(held_waves(pool, scored, network.hop))
        mean, logvar = network.posterior(mel)
        error = (network.spectrum(mean) - mel).abs().mean().item()
        return {"close": -error, "deviation": mean.std().item(), "noise": (0.5 * logvar).exp().mean().item()}

    return CodecJob(network=codec, losses=losses, score=score)


def held_waves(pool: Pool, count: int, hop: int) -> Float[Tensor, "B 1 N"]:
    """The sound of the first held-out clips, cut to whole latents."""
    samples = pool.waves.shape[1] // hop * hop
    return torch.from_numpy(np.array(pool.waves[pool.heldout[:count], :samples]))[:, None].float()


@torch.no_grad()
def mel_statistics(codec: AudioCodec, pool: Pool, clips: int) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"]]:
    """Mean and deviation of every mel bin over the first clips, before training."""
    samples = pool.waves.shape[1] // codec.hop * codec.hop
    mel = codec.listen(torch.from_numpy(np.array(pool.waves[:clips, :samples]))[:, None].float())
    return mel.mean(dim=(0, 2)), mel.std(dim=(0, 2)).clamp_min(0.1)


@torch.no_grad()
def audio_statistics(codec: AudioCodec, pool: Pool, clips: int) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and deviation of every raw latent channel over the first clips, after training."""
    samples = pool.waves.shape[1] // codec.hop * codec.hop
    waves = torch.from_numpy(np.array(pool.waves[:clips, :samples]))[:, None].float()
    raw = torch.cat([codec.posterior(codec.listen(wave))[0] for wave in waves.split(50)])
    return raw.mean(dim=(0, 2)), raw.std(dim=(0, 2))
