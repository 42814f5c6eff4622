"""What trains the vocoder: pitch by correlation, spectra at several resolutions, and small discriminators."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.harmonic_noise import LOWEST, STEPS, HarmonicNoiseVocoder
from phonofilm.codecs.mel import stft_magnitude
from phonofilm.train.codecs.discriminators import Discriminators, features_apart, taken_for_true, told_apart
from phonofilm.train.codecs.fit import CodecJob
from phonofilm.train.codecs.jobs import held_waves
from phonofilm.train.codecs.pool import Pool, segments

WINDOW, LONGEST = 512, 300
"""Samples that are compared, and the longest period, at 16 kHz."""
VOICED = 0.7
"""Least normalised correlation of a period with the next."""
NEAR_BEST = 0.92
"""The shortest lag whose peak reaches this share of the best wins: a whole multiple of the period is no period."""
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""Windows and hops of the spectra that sounds are compared in."""
HEARD = 4096
"""Samples of each segment that the discriminators hear."""
LATENT_NOISE = 0.2
"""Largest deviation of noise on latents of unit scale: what a transformer makes is not exact."""


def pitch_track(wave: Float[Tensor, "B N"], hop: int) -> tuple[Float[Tensor, "B n"], Bool[Tensor, "B n"]]:
    """Pitch in Hz at the middle of each hop of sound at 16 kHz, and where there is one, by normalised correlation."""
    size = WINDOW + LONGEST
    side = (size - hop) // 2
    frames = F.pad(wave, (side, size - hop - side)).unfold(1, size, hop).double()
    head, length = frames[..., :WINDOW], 2048
    product = torch.fft.irfft(torch.fft.rfft(frames, length) * torch.fft.rfft(head, length).conj(), length)
    squares = F.pad(frames.square().cumsum(-1), (1, 0))
    energy = squares[..., WINDOW:] - squares[..., : LONGEST + 1]
    found = product[..., : LONGEST + 1] / (energy * energy[..., :1] + 1e-9).sqrt()
    shortest = 29  # 552 Hz
    left, middle, right = found[..., shortest - 1 : -2], found[..., shortest:-1], found[..., shortest + 1 :]
    peaks = torch.where((middle >= left) & (middle > right), middle, -1.0)
    best = peaks.amax(-1, keepdim=True)
    first = (peaks >= NEAR_BEST * best).int().argmax(-1, keepdim=True)
    a, b, c = (part.gather(-1, first)[..., 0] for part in (left, middle, right))
    bend = (a - 2 * b + c).clamp(max=-1e-9)
    lag = shortest + first[..., 0] + (0.5 * (a - c) / bend).clamp(-0.5, 0.5)
    voiced = (best[..., 0] > VOICED) & (energy[..., 0] > 1e-4 * energy[..., 0].amax(1, keepdim=True) + 1e-6)
    return (16000 / lag).float(), voiced


def hear(
    codec: AudioCodec, pool: Pool, rng: np.random.Generator, *, batch: int, columns: int
) -> tuple[Float[Tensor, "B bins m"], Float[Tensor, "B N"]]:
    """Mels and their sound: half of the mels the sound's own, half through the autoencoder with noise on latents.

    Columns at the ends of a segment see its reflection, so a margin is heard and cut off.
    """
    step = codec.hop // 2
    edge = codec.mel.n_fft // step
    wave = segments(pool, rng, samples=(columns + 2 * edge) * step, batch=batch)
    half = batch // 2
    mel = codec.listen(wave)
    raw = codec.posterior(mel[half:])[0]
    raw = raw + codec.std * torch.randn_like(raw) * torch.rand(len(raw), 1, 1) * LATENT_NOISE
    mel = torch.cat([mel[:half], codec.spectrum(raw)])
    return mel[..., edge:-edge], wave[:, 0, edge * step : -edge * step]


def pitch_job(codec: AudioCodec, pool: Pool, *, batch: int, columns: int, scored: int) -> CodecJob:
    """Train the vocoder's estimator of pitch against correlation of the sound, where it has one."""
    vocoder = codec.vocoder
    assert isinstance(vocoder, HarmonicNoiseVocoder)
    codec.requires_grad_(False)
    vocoder.pitch_estimator.requires_grad_(True)

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        assert isinstance(network, HarmonicNoiseVocoder)
        with torch.no_grad():
            mel, wave = hear(codec, pool, rng, batch=batch, columns=columns)
            pitch, voiced = pitch_track(wave, codec.hop // 2)
        logits = network.pitch_estimator.logits(mel)
        wanted = STEPS * torch.log2(pitch / LOWEST)
        near = torch.exp(-0.5 * (network.pitch_estimator.steps - wanted[..., None]).square())
        target = near / near.sum(-1, keepdim=True).clamp(min=1e-6)
        return {"pitch": -(target * logits.log_softmax(-1)).sum(-1)[voiced].mean()}

    @torch.no_grad()
    def score(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, HarmonicNoiseVocoder)
        wave = held_waves(pool, scored, codec.hop)
        mel = codec.listen(wave)
        mel = torch.cat([mel, codec.spectrum(codec.posterior(mel)[0])])
        pitch, voiced = pitch_track(wave[:, 0], codec.hop // 2)
        wrong = (network.pitch_estimator(mel) - torch.log2(pitch / LOWEST).repeat(2, 1)).abs()[voiced.repeat(2, 1)] * 12
        return {"semitone": (wrong < 1).float().mean().item(), "median": wrong.median().item()}

    return CodecJob(network=vocoder, losses=losses, score=score)


def spectral_losses(made: Float[Tensor, "B N"], true: Float[Tensor, "B N"]) -> Float[Tensor, ""]:
    """Spectral convergence and log-magnitude distance, averaged over several resolutions."""
    total = made.new_zeros(())
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size)
        sides = (size // 2, size // 2)
        a, b = (stft_magnitude(F.pad(wave, sides), window, hop) for wave in (made, true))
        convergence = ((a - b).square().sum((1, 2)) / b.square().sum((1, 2)).clamp_min(1.0)).sqrt().mean()
        floor = 1e-3
        total = total + 0.5 * convergence + (a.clamp_min(floor).log() - b.clamp_min(floor).log()).abs().mean()
    return total / len(RESOLUTIONS)


def spectral_job(codec: AudioCodec, pool: Pool, *, batch: int, columns: int, scored: int) -> CodecJob:
    """Train the vocoder by spectra alone; the pitch is final."""
    vocoder = codec.vocoder
    assert isinstance(vocoder, HarmonicNoiseVocoder)
    codec.requires_grad_(False)
    vocoder.requires_grad_(True).pitch_estimator.requires_grad_(False)

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        assert isinstance(network, HarmonicNoiseVocoder)
        with torch.no_grad():
            mel, wave = hear(codec, pool, rng, batch=batch, columns=columns)
        made = network.synthesise(mel)
        return {
            "stft": spectral_losses(made, wave),
            "mel": 4 * (codec.mel(made) - codec.mel(wave)).abs().mean(),
        }

    @torch.no_grad()
    def score(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, HarmonicNoiseVocoder)
        wave = held_waves(pool, scored, codec.hop)
        mel = codec.listen(wave)
        figures = {}
        for name, given in (("through", codec.spectrum(codec.posterior(mel)[0])), ("own", mel)):
            made = network.synthesise(given)
            figures[name] = -(codec.mel(made) - mel).abs().mean().item()
            figures[f"{name}_stft"] = spectral_losses(made, wave[:, 0]).item()
        return figures

    return CodecJob(network=vocoder, losses=losses, score=score)


class Adversaries(nn.Module):
    """A vocoder and its discriminators as one network, so that one loop trains, averages and resumes both."""

    def __init__(self, vocoder: HarmonicNoiseVocoder, discriminators: Discriminators) -> None:
        super().__init__()
        self.vocoder, self.discriminators = vocoder, discriminators


def adversarial_job(codec: AudioCodec, pool: Pool, *, batch: int, columns: int, scored: int) -> CodecJob:
    """Train the vocoder by spectra and against discriminators, both in every step; the pitch is final."""
    spectral = spectral_job(codec, pool, batch=batch, columns=columns, scored=scored)
    vocoder = codec.vocoder
    assert isinstance(vocoder, HarmonicNoiseVocoder)

    def losses(network: nn.Module, done: float, rng: np.random.Generator) -> dict[str, Tensor]:
        assert isinstance(network, Adversaries)
        judge = network.discriminators
        with torch.no_grad():
            mel, wave = hear(codec, pool, rng, batch=batch, columns=columns)
        made = network.vocoder.synthesise(mel)
        start = int(rng.integers(max(wave.shape[1] - HEARD, 0) + 1))
        part = slice(start, start + HEARD)
        true, seen = judge(wave[:, part])
        apart = told_apart(true, judge(made[:, part].detach())[0])
        judge.requires_grad_(False)  # the vocoder's losses teach the discriminators nothing
        verdicts, found = judge(made[:, part])
        judge.requires_grad_(True)
        ramp = min(1.0, 10 * done)
        return {
            "stft": spectral_losses(made, wave),
            "mel": 4 * (codec.mel(made) - codec.mel(wave)).abs().mean(),
            "true": 0.1 * ramp * taken_for_true(verdicts),
            "seen": 0.5 * ramp * features_apart([s.detach() for s in seen], found),
            "apart": apart,
        }

    def score(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Adversaries)
        return spectral.score(network.vocoder)

    return CodecJob(network=Adversaries(vocoder, Discriminators()), losses=losses, score=score)
