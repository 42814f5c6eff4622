"""A vocoder without weights: pitch, loudness and time must come back."""

import math

import pytest
import torch

from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.codecs.mel import LogMel

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def vocoder():
    return GriffinLimVocoder().eval()


def again(vocoder, wave):
    with torch.no_grad():
        return vocoder(LogMel()(wave)).sample[:, 0]


def test_a_tone_keeps_its_pitch_and_loudness(vocoder):
    wave = 0.4 * torch.sin(2 * math.pi * 440 * torch.arange(16384) / 16000)[None]
    made = again(vocoder, wave)
    assert made.shape == wave.shape
    spectrum = torch.fft.rfft(made[0, 4096:12288] * torch.hann_window(8192)).abs()
    # Mels are about 37 Hz wide here.
    assert float(spectrum.argmax()) * 16000 / 8192 == pytest.approx(440, abs=20)
    assert float(made[0, 4096:12288].square().mean().sqrt()) == pytest.approx(0.4 / math.sqrt(2), rel=0.2)


@pytest.mark.parametrize("second", [0.05, 0.5, 0.95])
def test_a_click_stays_where_it_was(vocoder, second):
    wave = torch.zeros(1, 16384)
    at = round(second * 16000)
    wave[0, at : at + 32] = torch.randn(32, generator=torch.Generator().manual_seed(0)) * 0.5
    made = again(vocoder, wave)[0].square()
    middle = float((made * torch.arange(len(made))).sum() / made.sum())
    assert middle == pytest.approx(at + 16, abs=0.005 * 16000)


def test_silence_is_silent_and_noise_is_repeatable(vocoder):
    assert float(again(vocoder, torch.zeros(1, 8192)).abs().max()) < 1e-4
    noise = torch.randn(1, 8192, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.equal(again(vocoder, noise), again(vocoder, noise))
