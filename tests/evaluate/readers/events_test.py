import numpy as np
import pytest
import torch
from extras import needed

needed("scipy")

from phonofilm.evaluate.readers.events import hear_onsets, match

pytestmark = pytest.mark.quick

RATE = 16000


def thuds(times, *, noise=1e-3, seconds=2.0, decay=0.06, pitch=180.0):
    clock = np.arange(round(seconds * RATE)) / RATE
    wave = np.random.default_rng(0).standard_normal(len(clock)) * noise
    for at in times:
        age = np.clip(clock - at, 0, None)
        wave += (clock >= at) * np.exp(-age / decay) * np.sin(2 * np.pi * pitch * age) * 0.5
    return torch.from_numpy(wave).float()[None]


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-2])
@pytest.mark.parametrize("pitch", [120.0, 600.0])
def test_onsets_are_heard_where_they_are(noise, pitch):
    times = (0.3, 0.85, 1.1, 1.62)
    heard = hear_onsets(thuds(times, noise=noise, pitch=pitch), RATE)
    assert len(heard) == 4
    np.testing.assert_allclose(heard, times, atol=0.006)


def test_a_later_sound_is_heard_later():
    first = np.array(hear_onsets(thuds((0.3, 0.9)), RATE))
    second = np.array(hear_onsets(thuds((0.35, 0.95)), RATE))
    np.testing.assert_allclose(second - first, 0.05, atol=0.002)


@pytest.mark.parametrize("wave", [torch.zeros(1, RATE), torch.zeros(1, 0), torch.full((1, RATE), 1e-4)])
def test_silence_has_no_onsets(wave):
    assert hear_onsets(wave, RATE) == ()


def test_steady_noise_has_no_onsets_but_its_start():
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal(2 * RATE)).float()[None] * 0.1
    assert len(hear_onsets(wave, RATE)) <= 1


def test_matching_is_one_to_one():
    # Both onsets are near the one contact: only one of them may count.
    found = match((0.5,), (0.48, 0.52))
    assert found.pairs == 1
    assert found.heard == 2


def test_matching_pairs_as_many_as_possible():
    # Greedy by distance would pair 0.55 with 0.5 (nearest) and leave 0.47 alone.
    found = match((0.50, 0.61), (0.44, 0.55))
    assert found.pairs == 2
    assert found.offsets == pytest.approx((-0.06, -0.06))


@pytest.mark.parametrize(("delay", "pairs"), [(0.0, 3), (0.079, 3), (0.081, 0), (0.2, 0), (-0.079, 3)])
def test_tolerance_and_sign(delay, pairs):
    seen = (0.3, 0.9, 1.5)
    found = match(seen, [at + delay for at in seen])
    assert found.pairs == pairs
    assert found.offsets == pytest.approx([delay] * pairs)
