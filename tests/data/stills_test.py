"""Stills: a clip's first pixel frame as a clip of its own."""

import pytest
import torch
from training import Noise

from phonofilm.data.stills import LENGTH, Stills

pytestmark = pytest.mark.quick


def test_every_clip_gives_a_still():
    clips = Noise()
    stills = Stills(clips)
    assert stills.buckets == {LENGTH: 18, 5: 12, 9: 6}
    (still,) = stills.read(LENGTH, [13])
    (clip,) = clips.read(9, [1])  # behind the twelve shorter ones
    assert torch.equal(still.video, clip.video[:, :1])
    assert torch.equal(still.regions["sounding"], clip.regions["sounding"][:, :1])
    assert still.prompt.scene == clip.prompt.scene
    assert still.prompt.speech == ()
    with pytest.raises(IndexError, match="no still 18: 18 clips give 1 each"):
        stills.read(LENGTH, [18])


def test_a_still_sounds_as_long_as_it_is_seen():
    stills = Stills(Noise())
    (still,) = stills.read(LENGTH, [0])
    assert still.audio.shape[-1] == 2  # 1/24 s is 667 samples, more than one hop of 512
    assert torch.equal(still.audio, Noise().read(5, [0])[0].audio[:, :2])


def test_clips_stay_as_they_are():
    assert torch.equal(Stills(Noise()).read(5, [3])[0].video, Noise().read(5, [3])[0].video)
    assert Stills(Noise()).refreshed() == Stills(Noise())
