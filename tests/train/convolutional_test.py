"""Training the learned pocket video codec on tiny pools, and what it is measured by."""

import numpy as np
import pytest
import torch
from PIL import Image

from phonofilm.codecs.blocks import BlockCodec
from phonofilm.codecs.convolutional import ConvCodec, ConvConfig
from phonofilm.train.codecs.blocks import BlockLoss, Stage, fit_components
from phonofilm.train.codecs.convolutional import ConvLoss, adopt_scale, conv_job, conv_losses, draw_crops
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.footage import cut_film, draw_leaves, pan_layers, read_folder, write_footage
from phonofilm.train.codecs.jobs import seam
from phonofilm.train.codecs.pool import Pool, to_video

TINY = ConvConfig(channels=8, encoder=(8, 8, 12), decoder=(12, 24, 50, 14), encoder_depths=(1, 1, 1))


def discs(count, *, mouths=True):
    """Discs of random colours that drift over plain grounds: more than eight components can hold."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    frames = np.zeros((count, 9, 3, 64, 64), np.uint8)
    boxes = np.zeros((count, 9, 4), np.float32)
    for clip in range(count):
        ground, disc = rng.integers(0, 256, (2, 3, 1, 1))
        start, speed = rng.uniform(8, 56, 2), rng.uniform(-2, 2, 2)
        for k in range(9):
            y, x = start + speed * k
            frames[clip, k] = np.where((rows - y) ** 2 + (columns - x) ** 2 < 60, disc, ground)
            boxes[clip, k] = (x - 5, y - 5, x + 5, y + 5) if mouths else 0
    return Pool(frames, boxes, np.zeros((count, 100), np.float32), held=2)


@pytest.fixture
def pools():
    return discs(8), discs(6, mouths=False)


def test_ten_steps_lower_the_loss(pools, tmp_path):
    torch.manual_seed(0)
    codec = ConvCodec(TINY)
    linear = BlockCodec(channels=8, width=8, depth=1, fine=4, fine_depth=1)
    fit_components(linear, pools[0], BlockLoss())
    codec.start_from(linear)
    basis = codec.basis.clone()

    def loss(network):
        torch.manual_seed(1)
        video, mask = draw_crops(pools, np.random.default_rng(5), stages[0], 0.3)
        return sum(conv_losses(network, video, mask, ConvLoss()).values()).item()

    stages = (Stage(until=1.0, frames=5, size=32, batch=4),)
    before = loss(codec)
    job = conv_job(codec, pools, stages, ConvLoss(), [6, 7])
    trained = fit(job, Schedule(steps=10, muon=1e-2, warmup=2, ema=0.5), tmp_path, say=lambda line: None)
    assert isinstance(trained, ConvCodec)
    assert loss(trained) < 0.97 * before
    assert trained.encoder.leave.weight.abs().max() > 0  # the encoder learns too
    assert torch.equal(trained.basis, basis)
    assert (tmp_path / "best.pt").is_file()


def test_crops_lie_on_the_grid_of_tokens(pools):
    stage = Stage(until=1.0, frames=5, size=32, batch=3)
    video, mask = draw_crops(pools, np.random.default_rng(0), stage, 0.0)
    assert (video.shape, mask.shape) == ((3, 3, 5, 32, 32), (3, 1, 5, 32, 32))
    clips = [to_video(clip) for clip in pools[0].frames[:6]]
    cuts = [
        clip[:, t : t + 5, y : y + 32, x : x + 32]
        for clip in clips
        for t in range(5)
        for y in (0, 16, 32)
        for x in (0, 16, 32)
    ]
    assert all(any(torch.equal(one, cut) for cut in cuts) for one in video)
    _, without = draw_crops(pools, np.random.default_rng(0), stage, 1.0)
    assert not without.any()


def test_mouths_and_what_moves_weigh_more():
    torch.manual_seed(0)
    codec = ConvCodec(TINY)
    still = torch.rand(1, 3, 1, 32, 32).expand(-1, -1, 5, -1, -1) * 2 - 1
    mask = torch.zeros(1, 1, 5, 32, 32)
    loss = ConvLoss(noise=0.0)
    plain, mouth = conv_losses(codec, still, mask, loss), conv_losses(codec, still, mask + 1, loss)
    assert (mouth["l1"] / plain["l1"]).item() == pytest.approx(1 + loss.mouth, rel=1e-3)
    flicker = still * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])[:, None, None]
    moving = conv_losses(codec, flicker, mask, loss)["l1"]
    calm = conv_losses(codec, flicker, mask, ConvLoss(noise=0.0, moving=0.0))["l1"]
    assert (moving / calm).item() == pytest.approx(1 + 0.8 * loss.moving, rel=0.1)  # all pixel frames but the first


def test_scale_brings_latents_to_unit_mean_square(pools):
    torch.manual_seed(0)
    codec = ConvCodec(TINY)
    codec.basis.normal_()
    video = to_video(pools[0].frames[0])[None]
    before = codec.render(codec.encode(video))
    adopt_scale(codec, pools[0], [0])
    latents = codec.encode(video)
    assert latents.square().mean().item() == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(codec.render(latents), before, rtol=1e-3, atol=1e-4)


def test_seam_of_a_ramp_is_one_and_of_a_board_counts_its_edges():
    ramp = (torch.arange(32.0)[:, None] + torch.arange(32.0))[None, None, None].expand(1, 3, 1, -1, -1)
    assert seam(ramp, 8) == pytest.approx(1.0)
    assert seam(3 * ramp + 5, 8) == pytest.approx(1.0)
    stairs = ramp + 2 * (torch.arange(32.0)[:, None] // 8 + torch.arange(32.0) // 8)
    assert seam(stairs, 8) == pytest.approx(3.0)  # steps of 3 across, of 1 inside
    columns = torch.arange(32.0).expand(1, 3, 1, 32, -1)
    assert seam(columns + 2 * (columns // 8), 8) == pytest.approx(3.0)  # the other direction has no steps at all


def test_footage_is_drawn_from_its_seed(tmp_path):
    leaves = draw_leaves(np.random.default_rng(3), 96)
    assert leaves.shape == (3, 96, 96)
    assert torch.equal(leaves, draw_leaves(np.random.default_rng(3), 96))
    assert leaves.float().std() > 5
    clip = pan_layers([leaves], np.random.default_rng(1), frames=5, size=32)
    assert (clip.shape, clip.dtype) == ((5, 3, 32, 32), torch.uint8)
    ways = [pan_layers([leaves], np.random.default_rng(seed), frames=5, size=32) for seed in range(8)]
    assert any(not torch.equal(way[0], way[4]) for way in ways)


def test_short_films_run_there_and_back():
    film = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(-1, 3, 8, 8)
    cut = cut_film(film, np.random.default_rng(0), frames=9, size=8)
    assert cut[:, 0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]


def test_a_folder_of_pictures_becomes_a_pool(tmp_path):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    Image.new("RGB", (2000, 1600), (255, 0, 0)).save(tmp_path / "in" / "deeper" / "red.png")
    stills, films = read_folder(tmp_path / "in")
    assert [tuple(still.shape) for still in stills] == [(3, 768, 960)]
    assert not films
    write_footage(tmp_path / "out", tmp_path / "in", 3, frames=5, size=32, say=lambda line: None)
    pool = Pool.open(tmp_path / "out", 1)
    assert pool.frames.shape == (3, 5, 3, 32, 32)
    assert (pool.frames[1, :, 0] == 255).all()  # the second clip shows the photograph
    assert not pool.boxes.any()
