"""Fitting the pocket video codec on a tiny pool: components first, then a decoder that gets better."""

import numpy as np
import pytest
import torch

from phonofilm.codecs.blocks import BlockCodec
from phonofilm.train.codecs.blocks import BlockLoss, Stage, block_job, block_scores, fit_components
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.pool import Pool


@pytest.fixture
def pool():
    """Discs of random colours that drift over plain grounds: more than eight components can hold."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    frames = np.zeros((12, 9, 3, 32, 32), np.uint8)
    boxes = np.zeros((12, 9, 4), np.float32)
    for clip in range(12):
        ground, disc = rng.integers(0, 256, (2, 3, 1, 1))
        start, speed = rng.uniform(8, 24, 2), rng.uniform(-1, 1, 2)
        for k in range(9):
            y, x = start + speed * k
            inside = (rows - y) ** 2 + (columns - x) ** 2 < 30
            frames[clip, k] = np.where(inside, disc, ground)
            boxes[clip, k] = (x - 5, y - 5, x + 5, y + 5)
    return Pool(frames, boxes, np.zeros((12, 100), np.float32), held=2)


def test_the_decoder_beats_the_transform_alone(pool, tmp_path):
    torch.manual_seed(0)
    codec = BlockCodec(channels=8, width=16, depth=1, fine=8, fine_depth=1)
    fit_components(codec, pool, BlockLoss())
    basis = codec.basis.clone()
    linear = block_scores(codec, pool, range(4))
    stages = (Stage(until=1.0, frames=5, size=32, batch=4),)
    job = block_job(codec, pool, stages, BlockLoss(), scored=2)
    trained = fit(job, Schedule(steps=60, lr=5e-3, ema=0.8, warmup=5), tmp_path, say=lambda line: None)
    assert isinstance(trained, BlockCodec)
    # What the latents are does not change while the decoder is trained.
    assert torch.equal(trained.basis, basis)
    after = block_scores(trained, pool, range(4))
    assert after["psnr"] > linear["psnr"] + 0.2
    assert set(after) == {"psnr", "mouth"}


def test_blocks_with_some_mouth_weigh_more(pool):
    light = BlockCodec(channels=4, width=8, depth=1, fine=4, fine_depth=1)
    heavy = BlockCodec(channels=4, width=8, depth=1, fine=4, fine_depth=1)
    fit_components(light, pool, BlockLoss(components=0.0))
    fit_components(heavy, pool, BlockLoss(components=50.0))
    plain, weighted = (block_scores(codec, pool, range(10)) for codec in (light, heavy))
    assert weighted["mouth"] > plain["mouth"]
