"""Mel cepstra as SyncNet hears them: the defaults of python_speech_features 0.6 at 16 kHz."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

SAMPLE_RATE = 16000
WINDOW, STEP, FFT = 400, 160, 512
NUM_FILTERS, NUM_CEPSTRA, LIFTER = 26, 13, 22
PRE_EMPHASIS = 0.97
TINY = np.finfo(float).eps


def mfcc(samples: Float[np.ndarray, " N"]) -> Float[np.ndarray, "F 13"]:
    """Mel cepstra every 10 ms, the first replaced by the log energy.

    ``samples`` are at 16 kHz and as large as 16-bit integers, not in [-1, 1]: the log energy depends on it.
    """
    sharp = np.append(samples[:1], samples[1:] - PRE_EMPHASIS * samples[:-1])
    count = 1 if len(sharp) <= WINDOW else 1 + -(-(len(sharp) - WINDOW) // STEP)
    padded = np.append(sharp, np.zeros(max(0, (count - 1) * STEP + WINDOW - len(sharp))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP][:count]
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2 / FFT
    energy, bands = power.sum(1), power @ _filters().T
    logs = np.log(np.where(bands == 0, TINY, bands))
    cepstra = logs @ _cosines() * (1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / LIFTER))
    cepstra[:, 0] = np.log(np.where(energy == 0, TINY, energy))
    return cepstra


@lru_cache(maxsize=1)
def _filters() -> Float[np.ndarray, "26 257"]:
    """Triangles on a mel scale from 0 to 8000 Hz, whose corners are rounded down to bins of the spectrum."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), NUM_FILTERS + 2)
    corners = np.floor((FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(FFT // 2 + 1)
    left, middle, right = (corners[k : k + NUM_FILTERS, None] for k in range(3))
    rise = np.where((bins >= left) & (bins < middle), (bins - left) / np.maximum(middle - left, 1), 0.0)
    fall = np.where((bins >= middle) & (bins < right), (right - bins) / np.maximum(right - middle, 1), 0.0)
    return rise + fall


@lru_cache(maxsize=1)
def _cosines() -> Float[np.ndarray, "26 13"]:
    """The orthonormal cosine transform of type 2, its first 13 rows, transposed."""
    k, n = np.arange(NUM_CEPSTRA), np.arange(NUM_FILTERS)[:, None]
    table = np.sqrt(2 / NUM_FILTERS) * np.cos(np.pi * k * (2 * n + 1) / (2 * NUM_FILTERS))
    table[:, 0] /= np.sqrt(2)
    return table
