import math

import numpy as np
import pytest
import torch
from models import THIN_VAE, THIN_VOCODER
from torch import nn

from phonofilm.codecs.audio import AudioCodec
from phonofilm.train.codecs.fit import CodecJob, Schedule, fit
from phonofilm.train.codecs.jobs import decibels, mel_job
from phonofilm.train.codecs.muon import Muon, orthogonal
from phonofilm.train.codecs.pool import Pool, box_mask, crops, segments


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, 9, 3, 32, 32), dtype=np.uint8)
    boxes = np.zeros((5, 9, 4), np.float32)
    boxes[1:] = [8, 20, 24, 28]
    waves = 0.1 * rng.standard_normal((5, 16000)).astype(np.float32)
    return Pool(frames, boxes, waves, held=2)


def test_pool_keeps_held_out_clips_apart(pool, tmp_path):
    assert (pool.training, list(pool.heldout)) == (3, [3, 4])
    for name in ("frames", "boxes", "waves"):
        np.save(tmp_path / f"{name}.npy", getattr(pool, name))
    assert Pool.open(tmp_path, 1).training == 4
    with pytest.raises(ValueError, match="5 clips; with 5 held out"):
        Pool.open(tmp_path, 5)


def test_crops_are_cut_out_of_the_clips_with_their_boxes(pool):
    video, mask = crops(pool, np.random.default_rng(1), frames=5, size=16, batch=4)
    assert video.shape == (4, 3, 5, 16, 16)
    assert mask.shape == (4, 1, 5, 16, 16)
    assert video.abs().max() <= 1
    whole, _ = crops(pool, np.random.default_rng(2), frames=9, size=32, batch=1)
    clips = [torch.from_numpy(clip.astype(np.float32) / 127.5 - 1).transpose(0, 1) for clip in pool.frames]
    assert any(torch.equal(whole[0], clip) for clip in clips[:3])


def test_box_mask_counts_its_pixels():
    mask = box_mask(np.array([[2.0, 3.0, 6.0, 5.0], [0, 0, 0, 0], [-4, -4, 2, 1]]), 8)
    assert mask.sum(dim=(0, 2, 3)).tolist() == [8, 0, 2]
    assert mask[0, 0, 3:5, 2:6].all()


def test_segments_follow_the_generator(pool):
    first, again = (segments(pool, np.random.default_rng(3), samples=4000, batch=2) for _ in range(2))
    assert first.shape == (2, 1, 4000)
    assert torch.equal(first, again)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_orthogonal_brings_singular_values_near_one(shape, generator):
    matrix = torch.randn(shape, generator=generator)
    result = orthogonal(matrix)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    # Same singular vectors: the product with the true orthogonal factor is symmetric and positive.
    product = result.T @ (u @ v) if shape[0] >= shape[1] else result @ (u @ v).T
    torch.testing.assert_close(product, product.T, atol=1e-3, rtol=1e-3)
    assert torch.linalg.eigvalsh(product).min() > 0.5


def test_muon_descends_and_is_blind_to_the_gradient_scale(generator):
    target = torch.randn(6, 3, 3, generator=generator)
    ends = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(torch.zeros(6, 3, 3))
        optimizer = Muon([weight], lr=0.02, rows=4)
        for _ in range(200):
            optimizer.zero_grad()
            (scale * (weight - target).square().sum()).backward()
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(ends[0], ends[1], atol=1e-3, rtol=1e-3)
    assert (ends[0] - target).norm() < 0.3 * target.norm()


def line(losses):
    torch.manual_seed(0)
    return CodecJob(
        network=nn.Linear(3, 2), losses=losses, score=lambda network: {"weight": -network.weight.norm().item()}
    )


def regression(network, done, rng):
    x = torch.from_numpy(rng.standard_normal((4, 3), dtype=np.float32))
    return {"square": (network(x) - x[:, :2]).square().mean(), "noise": 0.01 * torch.rand(()) * network.weight.norm()}


def test_fit_resumes_bit_by_bit(tmp_path):
    schedule = Schedule(steps=8, warmup=2, muon=0.02, minutes_between_scores=0.0)
    whole = fit(line(regression), schedule, tmp_path / "whole", say=lambda text: None)

    class Stop(Exception):
        pass

    def interrupted(network, done, rng):
        if done > 0.4:
            raise Stop
        return regression(network, done, rng)

    with pytest.raises(Stop):
        fit(line(interrupted), schedule, tmp_path / "parts", say=lambda text: None)
    resumed = fit(line(regression), schedule, tmp_path / "parts", say=lambda text: None)
    assert torch.equal(whole.weight, resumed.weight)
    assert (tmp_path / "parts" / "best.pt").is_file()


def test_fit_stops_at_a_loss_that_is_no_number(tmp_path):
    def bad(network, done, rng):
        return {"bad": network.weight.sum() * (math.nan if done >= 0.5 else 1.0)}

    with pytest.raises(FloatingPointError, match="nan at step 2, seed 0"):
        fit(line(bad), Schedule(steps=4, minutes_between_scores=0.0), tmp_path, say=lambda text: None)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["run"]["step"] == 2


def test_decibels_of_known_errors():
    assert decibels(4.0) == 0
    assert decibels(0.04) == pytest.approx(20)


def test_the_job_trains_the_autoencoder_alone(pool):
    torch.manual_seed(0)
    codec = AudioCodec.build(THIN_VAE, THIN_VOCODER)
    job = mel_job(codec, pool, batch=2, samples=4096, kl=1e-3, scored=1)
    torch.stack(list(job.losses(codec, 0.5, np.random.default_rng(0)).values())).sum().backward()
    moved = {name for name, p in codec.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in codec.named_parameters() if name.startswith("vae.vae.")}
    assert next(iter(job.score(codec).values())) < 0
