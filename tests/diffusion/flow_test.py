"""Closed forms of the path and the densities."""

import math

import pytest
import torch

from phonofilm.diffusion.flow import SIGMA_MIN, LogitNormal, Mode, Uniform, interpolate, shift, velocity

pytestmark = pytest.mark.quick


def test_the_path_runs_from_data_to_noise():
    data, noise = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    x = interpolate(data, noise, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(x[0], data[0])
    torch.testing.assert_close(x[1], 0.75 * data[1] + 0.25 * noise[1])
    torch.testing.assert_close(x[2], noise[2])


@pytest.mark.parametrize("sigma", [SIGMA_MIN, 0.1, 0.5, 1.0])
def test_velocity_is_noise_minus_data(sigma):
    data, noise = torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    level = torch.full((2,), sigma)
    found = velocity(interpolate(data, noise, level), data, level)
    torch.testing.assert_close(found, noise - data, rtol=1e-3, atol=1e-3)


def test_clean_data_does_not_move():
    data = torch.randn(2, 4, 5)
    assert torch.equal(velocity(data, data, torch.zeros(2)), torch.zeros_like(data))


def test_shift_keeps_the_ends_and_moves_the_middle_towards_noise():
    sigma = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(shift(sigma, 3.0), torch.tensor([0.0, 0.75, 1.0]))
    torch.testing.assert_close(shift(sigma, 1.0), sigma)


@pytest.mark.parametrize("density", [Uniform(), LogitNormal(), Mode(), Uniform(shift=3.0)])
def test_densities_stay_between_their_ends_and_repeat(density):
    drawn = density(4000, torch.Generator().manual_seed(1))
    assert drawn.min() >= SIGMA_MIN
    assert drawn.max() <= 1
    assert torch.equal(drawn, density(4000, torch.Generator().manual_seed(1)))


def test_means_of_the_densities(generator):
    assert Uniform()(40000, generator).mean() == pytest.approx(0.5, abs=0.01)
    assert LogitNormal()(40000, generator).mean() == pytest.approx(0.5, abs=0.01)
    logits = LogitNormal(mean=0.5, std=1.0)(40000, generator).logit(1e-6)
    assert logits.mean() == pytest.approx(0.5, abs=0.03)
    assert logits.std() == pytest.approx(1.0, abs=0.03)


def test_mode_sampling_follows_its_formula():
    """Waver's density at shift 3 peaks near 0.75, where 1 - u - s (cos^2(pi u / 2) - 1 + u) is flattest."""
    drawn = Mode(scale=1.29, shift=3.0)(200_000, torch.Generator().manual_seed(0))
    counts = torch.histc(drawn, bins=40, min=0, max=1)
    peak = (int(counts.argmax()) + 0.5) / 40
    assert peak == pytest.approx(0.75, abs=0.05)
    assert math.isclose(float(Mode(scale=0.0)(40000, torch.Generator().manual_seed(0)).mean()), 0.5, abs_tol=0.01)
