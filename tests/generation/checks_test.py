"""Every fault is found, and a good clip has none."""

import math

import pytest
import torch

from phonofilm.generation.checks import audio_findings
from phonofilm.types import Clip

pytestmark = pytest.mark.quick

RATE = 16000


def clip(audio, frames=24):
    video = torch.zeros(frames, 3, 16, 16, dtype=torch.uint8)
    return Clip(video=video, audio=audio, fps=24.0, sample_rate=RATE)


def tone(gain=0.5, seconds=1.0):
    return (gain * torch.sin(2 * math.pi * 440 * torch.arange(round(seconds * RATE)) / RATE))[None]


def names(audio, frames=24):
    return [finding.name for finding in audio_findings(clip(audio, frames))]


def test_a_good_clip_has_no_findings():
    assert names(tone()) == []
    assert names(tone(), frames=0) == []  # sound alone has no picture to differ from


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number(value):
    audio = tone()
    audio[0, 7] = value
    (finding,) = audio_findings(clip(audio))
    assert finding.name == "nan"
    assert "1 samples" in finding.message


def test_silence_clipping_and_length():
    assert names(tone(1e-4)) == ["silence"]
    assert names(tone(3.0).clamp(-1, 1)) == ["clipping"]
    assert names(tone(seconds=0.95)) == ["length"]
    assert names(tone(seconds=0.97)) == []  # less than one pixel frame
    assert names(torch.zeros(1, 0)) == ["silence", "length"]
