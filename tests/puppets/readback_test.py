"""What is read from pixels is what was drawn, before and after a lossy codec."""

import random

import pytest
import torch
from drawing import blurred, play

from phonofilm.files.media import read_clip, write_clip
from phonofilm.puppets import looks, readback, stage
from phonofilm.puppets.looks import Look
from phonofilm.types import Clip

pytestmark = pytest.mark.quick


def some_look(seed):
    rng = random.Random(seed)
    person = looks.PERSONS[seed % 2]
    return Look(
        person=person,
        skin=looks.SKINS[seed % 3],
        hair=looks.HAIRS[seed % 6],
        cut=rng.choice(looks.CUTS),
        glasses=rng.random() < 0.5,
        beard=person == "man" and rng.random() < 0.5,
        eyes=rng.choice(looks.EYES),
        clothing=rng.choice(looks.CLOTHES),
        background=looks.BACKGROUNDS[(seed * 5 + seed // 6) % 6],
    )


def moving(seed, num_frames=25):
    """A mouth that opens and shuts at random, smoothly, on a head that sways."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.nn.functional.avg_pool1d(torch.rand(1, num_frames + 4, generator=g), 5, 1)
    seconds = torch.arange(num_frames) / 24
    sway = torch.stack([torch.sin(2 * seconds + seed + k) for k in range(3)], dim=-1)
    curves = {
        "opening": ((noise - 0.3) * 2).clamp(0, 1),
        "width": torch.nn.functional.avg_pool1d(torch.rand(1, num_frames + 4, generator=g), 5, 1),
        "head": (sway * torch.tensor([0.02, 0.012, 0.06]))[None],
        "blink": torch.zeros(1, num_frames),
    }
    curves["blink"][0, 3:5] = 1.0
    return play(some_look(seed), num_frames=num_frames, **curves)


def correlation(a, b):
    return torch.corrcoef(torch.stack([a, b]))[0, 1]


@pytest.fixture(scope="module")
def clips():
    performances = [moving(seed) for seed in range(12)]
    return performances, stage.draw(performances).video


@pytest.mark.parametrize("spoil", [lambda video: video, blurred], ids=["drawn", "blurred"])
def test_every_look_is_read_back(clips, spoil):
    for performance, video in zip(*clips):
        look = performance.script.looks[0]
        seen = readback.read_look(spoil(video))
        assert seen == {name: getattr(look, name) for name in seen}
    assert set(seen) == {"hair", "skin", "background", "glasses", "beard", "cut"}


def test_opening_is_read_back_to_scale(clips):
    for performance, video in zip(*clips):
        seen, true = readback.read_opening(video), performance.opening[0]
        assert correlation(seen, true) > 0.98
        assert (seen - true).abs().mean() < 0.07


def test_opening_survives_blur(clips):
    scores = [correlation(readback.read_opening(blurred(v)), p.opening[0]) for p, v in zip(*clips)]
    assert torch.stack(scores).median() > 0.97
    assert min(scores) > 0.93


def test_opening_and_looks_survive_an_mp4(clips, tmp_path):
    performance, video = clips[0][4], clips[1][4]
    write_clip(tmp_path / "a.mp4", Clip(video=video, audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000))
    seen = read_clip(tmp_path / "a.mp4").video
    assert correlation(readback.read_opening(seen), performance.opening[0]) > 0.98
    assert readback.read_look(seen)["hair"] == performance.script.looks[0].hair


def test_opening_knows_nothing_where_there_is_no_mouth():
    wall = torch.full((3, 3, 64, 64), 200, dtype=torch.uint8)
    assert readback.read_opening(wall).tolist() == [0, 0, 0]


def test_what_is_no_clip_is_refused():
    with pytest.raises(ValueError, match="shape"):
        readback.read_opening(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))
