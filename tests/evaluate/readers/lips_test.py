import numpy as np
import pytest
import torch
from extras import needed

needed("librosa")

from phonofilm.evaluate.readers.lips import LEAST_LIKENESS, align, compare

RATE = 16000


def babble(stretch=1.0, *, shift=0.0):
    """Ten steady tones of different pitch; ``stretch`` makes the second half last longer."""
    clock = np.arange(round((1.0 + stretch + abs(shift)) * RATE)) / RATE
    place = clock - shift
    note = np.where(place < 1, place * 5, 5 + (place - 1) / stretch * 5).clip(0, 9).astype(int)
    pitch = np.array([200, 900, 350, 1400, 250, 700, 1800, 300, 1100, 500])[note]
    wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (place >= 0) * 0.5
    wave += np.random.default_rng(0).standard_normal(len(clock)) * 1e-3
    return torch.from_numpy(wave).float()[None]


def test_a_stretched_sound_is_followed():
    times = align(babble(), babble(1.3), RATE)
    for reference, sound in ((0.4, 0.4), (0.8, 0.8), (1.2, 1.26), (1.6, 1.78)):
        assert times.to_sound(reference) == pytest.approx(sound, abs=0.02)


def test_a_delayed_sound_is_followed_and_its_own_is_alike():
    assert align(babble(), babble(shift=0.2), RATE).to_sound(0.6) == pytest.approx(0.8, abs=0.02)
    assert align(babble(), babble(), RATE).likeness == pytest.approx(1)


def test_a_hiss_or_a_hum_is_not_like_the_words():
    hiss = torch.randn(babble().shape, generator=torch.Generator().manual_seed(0))
    hum = torch.sin(torch.arange(babble().shape[-1]) * 0.08)[None]
    times = align(babble(), hiss, RATE)
    assert times.to_sound(1.2) == pytest.approx(1.2, abs=0.1)  # which is why they have to be told apart
    assert max(times.likeness, align(babble(), hum, RATE).likeness) < LEAST_LIKENESS


def mouth(frames=49, *, late=0.0):
    clock = np.arange(frames) - late
    return np.clip(0.4 + 0.4 * np.sin(clock * 0.9) + 0.2 * np.sin(clock * 0.37 + 1), 0, 1)


@pytest.mark.parametrize("late", [-4.8, -2.0, 0.0, 1.0, 2.5, 4.8])
def test_offset_is_how_late_the_sound_is(late):
    score = compare(mouth(), mouth(late=late), 24.0)
    assert score.offset * 24 == pytest.approx(late, abs=0.3)


def test_correlation_falls_with_a_delay():
    scores = [compare(mouth(), mouth(late=late), 24.0).correlation for late in (0.0, 1.0, 2.0)]
    assert scores[0] == pytest.approx(1.0)
    assert scores[0] > scores[1] + 0.1 > scores[2] + 0.2


def test_scale_does_not_matter_but_standing_still_does():
    assert compare(mouth() * 0.5 + 0.1, mouth(), 24.0).correlation == pytest.approx(1.0)
    assert compare(np.full(49, 0.5), mouth(), 24.0) is None
    assert compare(mouth(), np.zeros(49), 24.0) is None
