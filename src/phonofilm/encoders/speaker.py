"""A speaker encoder without learned weights: pitch, and mean and spread of the cepstrum while a voice sounds.

It tells the puppets' voices apart (docs/how-it-works/tasks.md says how well). For people's
voices take a trained encoder, as NAVA does with ReDimNet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.types import Audio

WINDOW, HOP = 0.04, 0.01
LOWEST, HIGHEST, STEPS = 60.0, 450.0, 48
"""Hz between which a pitch is searched, and steps of an octave."""
LOW_PASS = 1000.0
"""Hz; what is higher plays no part in the pitch: a vocoder is noisy there even where a voice is not."""
OCTAVE_COST = 0.01
"""By how much the autocorrelation at a doubled period must be larger to be taken."""
VOICED = 0.6
"""A frame whose best normalised autocorrelation is below this is not voiced."""
QUIET = 1e-3
"""A frame with less than this share of the loudest one's power is left out (30 dB)."""
ENOUGH = 10
"""Voiced frames that a vector needs: 0.1 s."""
SLOWEST_RATE = 16000
"""Samples a second that hold the highest band."""
BANDS, BOTTOM, TOP = 32, 60.0, 8000.0
FLOOR = 1e-5
"""Share of the loudest band's power below which a band is silent (50 dB)."""
COEFFICIENTS = 20
"""Of the cepstrum, from the first on: the zeroth is loudness."""
QUANTILES = (0.1, 0.5, 0.9)
MEAN = (
    *(6.985, 7.23, 7.663),
    *(4.125, 0.994, 1.847, -0.415, -0.401, -0.51, -0.906, 0.032, -0.28, 0.096),
    *(-0.15, -0.375, 0.07, -0.258, -0.309, -0.147, -0.262, -0.273, -0.108, -0.157),
    *(2.326, 1.366, 1.827, 1.251, 1.095, 1.079, 0.952, 0.836, 0.695, 0.567),
    *(0.621, 0.606, 0.505, 0.513, 0.476, 0.411, 0.443, 0.37, 0.407, 0.41),
)
DEVIATION = (
    *(0.593, 0.603, 0.557),
    *(1.235, 0.448, 0.745, 0.857, 0.341, 0.489, 0.39, 0.371, 0.324, 0.199),
    *(0.454, 0.197, 0.249, 0.491, 0.227, 0.304, 0.41, 0.271, 0.279, 0.307),
    *(0.605, 0.189, 0.366, 0.246, 0.196, 0.247, 0.219, 0.165, 0.16, 0.137),
    *(0.146, 0.135, 0.111, 0.133, 0.115, 0.103, 0.151, 0.155, 0.17, 0.169),
)
"""Over 400 sentences of the puppets' train split, 40 a voice: of the pitch, of twenty means, of twenty deviations."""


class _Tables(NamedTuple):
    """What analysis at one sample rate needs."""

    size: int
    """Samples of a Fourier transform: a window and the longest period, so that nothing wraps around."""
    window: Float[Tensor, " W"]
    low: Float[Tensor, " F"]
    """Gain of the low-pass filter."""
    pitches: Float[Tensor, " P"]
    """Candidates, in octaves above 1 Hz."""
    waves: Float[Tensor, "F P"]
    """From a power spectrum to its autocorrelation at each candidate's period."""
    own: Float[Tensor, " P"]
    """The normalised autocorrelation of the window itself."""
    bands: Float[Tensor, "F bands"]
    cosines: Float[Tensor, "bands K"]


@lru_cache(maxsize=4)
def _tables(sample_rate: int) -> _Tables:
    from transformers.audio_utils import mel_filter_bank

    window = torch.hann_window(round(WINDOW * sample_rate), dtype=torch.float64)
    size = 2 ** math.ceil(math.log2(len(window) + sample_rate / LOWEST))
    hz = torch.fft.rfftfreq(size, 1 / sample_rate, dtype=torch.float64)
    count = math.ceil(STEPS * math.log2(HIGHEST / LOWEST))
    pitches = math.log2(LOWEST) + torch.arange(count, dtype=torch.float64) / STEPS
    waves = torch.cos(2 * math.pi * hz[:, None] / 2**pitches)
    power = torch.fft.rfft(window, size).abs().square()
    bands = mel_filter_bank(len(hz), BANDS, BOTTOM, TOP, sample_rate, norm="slaney")
    places = (torch.arange(BANDS, dtype=torch.float64) + 0.5) * math.pi / BANDS
    return _Tables(
        size=size,
        window=window,
        low=1 / (1 + (hz / LOW_PASS) ** 8),
        pitches=pitches,
        waves=waves,
        own=power @ waves / power.sum(),
        bands=torch.from_numpy(bands).double(),
        cosines=torch.cos(places[:, None] * torch.arange(1, COEFFICIENTS + 1)) * math.sqrt(2 / BANDS),
    )


def _pitch(power: Float[Tensor, "N F"], tables: _Tables) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """Pitch of each frame in octaves above 1 Hz, and which frames are voiced.

    The autocorrelation over that of the window (Boersma 1993, eq. 9), with his preference for short periods (eq. 24).
    """
    low = power * tables.low
    correlation = low @ tables.waves / low.sum(1, keepdim=True).clamp_min(1e-30) / tables.own
    best = (correlation + OCTAVE_COST * tables.pitches).argmax(1)
    loud = power.sum(1)
    sure = correlation.gather(1, best[:, None])[:, 0] > VOICED
    return tables.pitches[best], sure & (loud > QUIET * loud.max())


def measure(audio: Audio) -> Float[Tensor, " E"]:
    """Quantiles of the pitch in octaves, then mean and deviation of each cepstral coefficient over voiced frames.

    Of all channels' mean. Raises ``UserError`` where less than 0.1 s is voiced, or the sample rate is below 16 kHz.
    """
    if audio.sample_rate < SLOWEST_RATE:
        raise UserError(f"a voice at {audio.sample_rate} Hz: the speaker encoder needs at least {SLOWEST_RATE} Hz")
    tables = _tables(audio.sample_rate)
    wave = audio.samples.double().mean(0)
    short = max(0, len(tables.window) - len(wave))
    frames = torch.nn.functional.pad(wave, (0, short)).unfold(0, len(tables.window), round(HOP * audio.sample_rate))
    power = torch.fft.rfft(frames * tables.window, tables.size).abs().square()
    heights, voiced = _pitch(power, tables)
    if voiced.sum() < ENOUGH:
        raise UserError(f"less than {ENOUGH * HOP:g} s of the voice is voiced: give a recording of somebody speaking")
    bands = power[voiced] @ tables.bands
    cepstrum = torch.log10(bands + FLOOR * bands.max()) @ tables.cosines
    shares = torch.tensor(QUANTILES, dtype=torch.float64)
    return torch.cat((torch.quantile(heights[voiced], shares), cepstrum.mean(0), cepstrum.std(0))).float()


@dataclass(frozen=True)
class PitchAndCepstrum:
    """A voice as a vector: what ``measure`` finds, less the mean over puppets' sentences, over their deviation."""

    name: str = "pitch-cepstrum-1"
    """Of this set of features and constants: a cache of vectors remembers it."""

    @property
    def channels(self) -> int:
        """Length of the vector."""
        return len(MEAN)

    def __call__(self, audio: Audio) -> Float[Tensor, " E"]:
        """The vector of a recording; loudness and sample rate (from 16 kHz) play no part."""
        return (measure(audio) - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
