"""What trains the vocoder: pitch in closed form, losses that fall, discriminators that learn apart from the vocoder."""

import math

import numpy as np
import pytest
import torch
from paper_small import MMAUDIO, VOCODER
from torch import nn

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.harmonic_noise import HarmonicNoiseVocoder
from phonofilm.train.codecs.discriminators import Discriminators, features_apart, taken_for_true, told_apart
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.pool import Pool
from phonofilm.train.codecs.vocoders import (
    Adversaries,
    adversarial_job,
    hear,
    pitch_job,
    pitch_track,
    spectral_job,
    spectral_losses,
)

SMALL = {"batch": 2, "columns": 16, "scored": 1}


@pytest.fixture
def codec():
    torch.manual_seed(0)
    built = AudioCodec.build(MMAUDIO, VOCODER)
    return AudioCodec(built.vae, HarmonicNoiseVocoder(width=16, depth=1, pitch_width=16, pitch_depth=1))


@pytest.fixture
def pool():
    time = np.arange(16000) / 16000
    waves = [0.02 * sum(np.sin(2 * np.pi * k * pitch * time) for k in range(1, 12)) for pitch in (110, 160, 220, 330)]
    return Pool(np.zeros((4, 0)), np.zeros((4, 0, 4)), np.stack(waves).astype(np.float32), held=1)


@pytest.mark.parametrize("frequency", [70.0, 123.4, 250.0, 500.0])
def test_pitch_of_a_harmonic_tone(frequency):
    time = torch.arange(8192) / 16000
    wave = sum(torch.sin(2 * math.pi * k * frequency * time) / k for k in range(1, 10))[None]
    pitch, voiced = pitch_track(wave, 256)
    assert pitch.shape == voiced.shape == (1, 32)
    inner = slice(2, -2)  # frames at the ends see silence
    assert voiced[:, inner].all()
    assert (pitch[:, inner] / frequency).log2().abs().max() < 0.01


def test_noise_and_silence_have_no_pitch(generator):
    wave = torch.cat([torch.randn(1, 8192, generator=generator), torch.zeros(1, 8192)], dim=1)
    assert pitch_track(wave, 256)[1].float().mean() < 0.05


def test_mels_heard_belong_to_their_sound(codec, pool):
    mel, wave = hear(codec, pool, np.random.default_rng(0), batch=4, columns=16)
    assert mel.shape == (4, 80, 16)
    assert wave.shape == (4, 4096)
    inner = slice(2, -2)  # the segment's mel knows what lies beyond its ends
    own = codec.mel(wave)[:2, :, inner]
    torch.testing.assert_close(mel[:2, :, inner], own, atol=0.05, rtol=0)
    assert not torch.allclose(mel[2:, :, inner], codec.mel(wave)[2:, :, inner], atol=0.05)  # through the autoencoder


@pytest.mark.parametrize("make", [pitch_job, spectral_job])
def test_ten_steps_lower_the_loss(codec, pool, tmp_path, make):
    job = make(codec, pool, **SMALL)

    def total():
        torch.manual_seed(0)
        with torch.no_grad():
            return sum(job.losses(codec.vocoder, 1.0, np.random.default_rng(5)).values()).item()

    before, frozen = total(), [p.clone() for p in codec.vae.parameters()]
    fit(job, Schedule(steps=10, lr=3e-3, muon=0.02, warmup=1), tmp_path, say=lambda text: None)
    assert total() < 0.95 * before
    assert all(torch.equal(a, b) for a, b in zip(frozen, codec.vae.parameters(), strict=True))


@pytest.mark.parametrize("make", [pitch_job, spectral_job, adversarial_job])
def test_jobs_train_their_own_part_alone(codec, pool, make):
    job = make(codec, pool, **SMALL)
    sum(job.losses(job.network, 0.5, np.random.default_rng(0)).values()).backward()
    moved = {name for name, p in codec.vocoder.named_parameters() if p.grad is not None}
    pitch = {name for name, _ in codec.vocoder.named_parameters() if name.startswith("pitch_estimator")}
    own = {name for name, _ in codec.vocoder.named_parameters()} - pitch
    assert moved == (pitch if make is pitch_job else own)
    assert not any(p.grad is not None for p in codec.vae.parameters())
    assert all(math.isfinite(value) for value in job.score(job.network).values())


def test_discriminators_learn_from_their_own_loss_alone(codec, pool):
    job = adversarial_job(codec, pool, **SMALL)
    assert isinstance(job.network, Adversaries)
    parts = job.losses(job.network, 0.5, np.random.default_rng(0))
    sum(value for name, value in parts.items() if name != "apart").backward(retain_graph=True)
    judge = job.network.discriminators
    assert not any(p.grad is not None for p in judge.parameters())
    head = codec.vocoder.head.weight
    before = head.grad.clone()
    parts["apart"].backward()
    assert torch.equal(head.grad, before)
    assert all(p.grad is not None for p in judge.parameters())


def test_spectral_losses_are_zero_for_the_same_sound_and_blind_to_its_sign(generator):
    wave = torch.randn(2, 4096, generator=generator)
    assert spectral_losses(wave, wave).item() == 0
    assert spectral_losses(-wave, wave).item() == pytest.approx(0, abs=1e-6)
    assert spectral_losses(0.5 * wave, wave).item() > 0.5


def test_losses_of_known_verdicts():
    true, made = [torch.tensor([2.0, 0.0])], [torch.tensor([-2.0, 1.0])]
    assert told_apart(true, made).item() == pytest.approx(0.5 + 1.0)
    assert taken_for_true(made).item() == pytest.approx(0.5)
    assert features_apart(true, true).item() == 0


def test_discriminators_tell_noise_from_a_tone(generator):
    torch.manual_seed(0)
    judge = Discriminators(width=4)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-2)
    tone = 0.3 * torch.sin(torch.arange(4096) * 0.2)[None].repeat(2, 1)
    for _ in range(15):
        loss = told_apart(judge(tone)[0], judge(0.3 * torch.randn(2, 4096, generator=generator))[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.0
    assert isinstance(judge, nn.Module)
