import numpy as np
import pytest
import torch

from phonofilm.evaluate.readers.pitch import median_pitch

pytestmark = pytest.mark.quick

RATE = 16000


def voice(pitch, *, seconds=1.0, noise=0.0):
    clock = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * clock + k) / k for k in range(1, 12)) * 0.2
    return torch.from_numpy(wave + np.random.default_rng(0).standard_normal(len(clock)) * noise).float()[None]


@pytest.mark.parametrize("pitch", [75.0, 110.0, 160.0, 220.0, 330.0])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_pitch_of_a_harmonic_tone(pitch, noise):
    assert median_pitch(voice(pitch, noise=noise), RATE) == pytest.approx(pitch, rel=0.01)


def test_silence_and_noise_have_no_pitch():
    assert median_pitch(torch.zeros(1, RATE), RATE) is None
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(RATE)).float()[None]
    assert median_pitch(noise, RATE) is None
    assert median_pitch(torch.zeros(1, 10), RATE) is None


def test_a_slower_tape_is_lower():
    assert median_pitch(voice(220.0), RATE) == pytest.approx(2 * median_pitch(voice(220.0), RATE // 2), rel=0.02)
