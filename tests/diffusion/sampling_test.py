"""Samplers on velocity fields with a known answer."""

import pytest
import torch

from phonofilm.diffusion.sampling import Sampling, counted, euler, from_scheduler, heun, sigmas
from phonofilm.diffusion.tasks import I2AV, Pair, compose
from phonofilm.types import AVOutput, Grid, Layout

pytestmark = pytest.mark.quick

LAYOUT = Layout(Grid(2, 1, 1, 1 / 24, 4 / 24), Grid(3, 1, 1, 0.032, 0.032))


@pytest.fixture
def start():
    clean = Pair(torch.full((1, 2, 4), 5.0), torch.zeros(1, 3, 4))
    noise = Pair(torch.ones(1, 2, 4), torch.ones(1, 3, 4))
    return compose(I2AV, LAYOUT, clean, noise, Pair(torch.ones(1), torch.ones(1)), {})


def growing(input):
    """dx / dsigma = x: the answer at 0 is x(1) / e."""
    return AVOutput(video=input.video.x, audio=input.audio.x)


def test_noise_levels_run_from_one_to_zero():
    assert sigmas(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    shifted = sigmas(8, 3.0)
    assert shifted[0] == 1
    assert shifted[-1] == 0
    assert (shifted >= sigmas(8)).all()
    with pytest.raises(ValueError, match="at least 1"):
        sigmas(0)


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_the_error_falls_with_the_samplers_order(start, sampler, order):
    errors = []
    for steps in (8, 16):
        done = sampler(growing, start, sigmas(steps))
        errors.append(abs(done.audio.x.mean().item() - torch.tensor(-1.0).exp().item()))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.25)


@pytest.mark.parametrize("sampler", [euler, heun])
def test_given_tokens_stay_and_levels_end_at_zero(start, sampler):
    done = sampler(growing, start, sigmas(5, 3.0))
    assert torch.equal(done.video.x[:, 0], torch.full((1, 4), 5.0))
    assert not torch.equal(done.video.x[:, 1], start.video.x[:, 1])
    assert done.video.sigma.tolist() == done.audio.sigma.tolist() == [0.0]


def test_diffusers_euler_is_ours(start):
    from diffusers import FlowMatchEulerDiscreteScheduler

    levels = sigmas(6)
    ours = euler(growing, start, levels)
    theirs = from_scheduler(FlowMatchEulerDiscreteScheduler())(growing, start, levels)
    torch.testing.assert_close(theirs.audio.x, ours.audio.x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(theirs.video.x, ours.video.x, rtol=1e-5, atol=1e-6)


def test_progress_counts_calls(start):
    ticks = []
    Sampling(steps=7).run(counted(growing, lambda: ticks.append(1)), start)
    assert len(ticks) == 7
