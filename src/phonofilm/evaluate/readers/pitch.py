"""The pitch of a voice, by normalised autocorrelation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

LOWEST, HIGHEST = 60.0, 450.0
"""Hz; the range that is searched."""
HIGH = 150.0
"""Hz between low and high voices: over all emotions the puppets' men speak at 72 to 130 Hz, the women from 176 Hz."""
WINDOW, HOP = 0.04, 0.01
CUTOFF = 1000.0
"""Hz; what is higher is left out, since a vocoder is noisy there even where the voice is not."""
VOICED = 0.6
"""Frames whose best normalised autocorrelation is below this are not voiced."""
QUIET_DB = -30.0
"""Frames this far below the loudest are not used."""
NEAR_BEST = 0.9
"""The shortest lag whose peak reaches this share of the best wins: a whole multiple of the period is no period."""
MIN_FRAMES = 10


def track(wave: Float[Tensor, "K N"], sample_rate: int) -> np.ndarray:
    """Return the fundamental frequency in Hz of every voiced frame."""
    mono = wave.mean(0).double().numpy()
    size, hop = round(WINDOW * sample_rate), round(HOP * sample_rate)
    longest = int(sample_rate / LOWEST)
    if len(mono) < size + longest:
        return np.zeros(0)
    mono = _low(mono, sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(mono, size + longest)[::hop]
    head = frames[:, :size]
    power = (head**2).sum(1)
    head = head[power > power.max() * 10 ** (QUIET_DB / 10) + 1e-9]
    frames = frames[power > power.max() * 10 ** (QUIET_DB / 10) + 1e-9]
    if not len(frames):
        return np.zeros(0)
    found = [_frequency(r, sample_rate) for r in _correlation(frames, head)]
    return np.array([f for f in found if f > 0])


def _low(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    """Take away what lies above the cut-off, without moving anything in time."""
    gain = 1 / (1 + (np.fft.rfftfreq(len(mono), 1 / sample_rate) / CUTOFF) ** 8)
    return np.fft.irfft(np.fft.rfft(mono) * gain, len(mono))


def _correlation(frames: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation of each frame's head with the frame, at every lag from 0."""
    length = 2 ** int(np.ceil(np.log2(frames.shape[1] * 2)))
    spectrum = np.fft.rfft(frames, length) * np.fft.rfft(head, length).conj()
    lags = frames.shape[1] - head.shape[1]
    product = np.fft.irfft(spectrum, length)[:, :lags]
    squares = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, 1)], 1)
    energy = squares[:, head.shape[1] :][:, :lags] - squares[:, :lags]
    return product / np.sqrt(energy * energy[:, :1] + 1e-12)


def _frequency(correlation: np.ndarray, sample_rate: int) -> float:
    """Return the frequency of one frame, 0 where it is not voiced."""
    shortest = int(sample_rate / HIGHEST)
    middle = correlation[shortest:-1]
    is_peak = (middle >= correlation[shortest - 1 : -2]) & (middle > correlation[shortest + 1 :])
    lags = np.flatnonzero(is_peak) + shortest
    if not len(lags) or correlation[lags].max() < VOICED:
        return 0.0
    lag = lags[correlation[lags] >= NEAR_BEST * correlation[lags].max()][0]
    left, top, right = correlation[lag - 1 : lag + 2]
    bend = left - 2 * top + right
    return sample_rate / (lag + (0.5 * (left - right) / bend if bend else 0.0))


def median_pitch(wave: Float[Tensor, "K N"], sample_rate: int) -> float | None:
    """Return the median pitch in Hz, None where fewer than 10 frames (0.1 s) are voiced."""
    return median(track(wave, sample_rate))


def median(voiced: Float[np.ndarray, " V"]) -> float | None:
    """Return the median of what ``track`` found, None where fewer than 10 frames (0.1 s) are voiced."""
    return float(np.median(voiced)) if len(voiced) >= MIN_FRAMES else None
