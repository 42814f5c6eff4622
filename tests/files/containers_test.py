"""One clip in many containers and codecs is one clip: frames, length, sine, and click and flash together."""

import pytest
import torch
from containers import FLASH, FPS, FRAMES, KINDS, levels, signal_to_noise, write

from phonofilm.files.media import read_clip


@pytest.mark.parametrize("name", KINDS)
def test_one_clip_in_any_container(name, tmp_path):
    kind = KINDS[name]
    write(tmp_path / name, kind)
    clip = read_clip(tmp_path / name)
    assert clip.fps == FPS
    assert len(clip.video) == FRAMES
    means = clip.video.float().mean((1, 2, 3))
    assert (means - torch.tensor(levels()).float()).abs().max() < 5
    assert read_clip(tmp_path / name, even=False).video.shape == clip.video.shape
    if kind.audio:
        wave, rate = clip.audio.mean(0), clip.sample_rate
        assert abs(len(wave) / rate - FRAMES / FPS) <= 1 / FPS
        assert signal_to_noise(wave, rate, 0.2, 1.1) > kind.snr
        power = torch.nn.functional.avg_pool1d(wave.square()[None, None], rate // 500, 1)[0, 0]
        click = (power.argmax().item() + rate / 1000) / rate
        assert abs(click - (FLASH + 0.5) / FPS) < 0.5 / FPS
