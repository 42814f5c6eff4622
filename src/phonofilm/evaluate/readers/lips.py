"""Does the mouth seen move as the words heard imply?

The words are known, their times in a generated sound are not: dynamic time warping of its mel spectrogram onto
espeak-ng's rendering of the same sentence carries the phonemes' times over. From the phonemes at those times follows
the opening that a puppet's mouth should have, and that is compared with the opening read from the pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

HOP = 0.01
"""Seconds between two columns of the mel spectrogram."""
BANDS = 40
DYNAMIC_DB = 50.0
"""Levels below the loudest are cut here."""
SILENCE = 1e-3
MAX_LAG = 6
"""Pixel frames to either side that are searched for the offset (200 ms are 4.8 at 24 fps)."""
LEAST_LIKENESS = 0.15
"""Below this a sound has no words to follow, and warping leaves the reference's times as they are: a picture in time
with them would be right beside any hiss. White noise, rain, a tone and a hum get up to 0.06, other words from 0.27."""
MIN_RANGE = 0.02
"""An opening whose standard deviation is below this does not move: it has no correlation with anything."""


class LipScore(NamedTuple):
    """How well a mouth follows the words."""

    correlation: float
    """Pearson, at no offset."""
    offset: float
    """Seconds by which the sound is late against the picture, at the best correlation."""


@lru_cache(maxsize=1)
def _librosa() -> Any:
    """librosa with what is used of it; where its compiled code cannot be kept, the error says what to do."""
    try:
        import librosa.feature
        import librosa.sequence
    except RuntimeError as error:  # numba's; a folder that is read-only, and no home
        raise RuntimeError(f"{error}; set NUMBA_CACHE_DIR to a folder that can be written") from error
    return librosa


def mel(wave: Float[Tensor, "K N"], sample_rate: int) -> Float[np.ndarray, "F bands"]:
    """Return the log mel spectrogram in bels from the loudest, one row per 10 ms, without the mean over time."""
    librosa = _librosa()
    power = librosa.feature.melspectrogram(
        y=wave.mean(0).numpy(),
        sr=sample_rate,
        n_fft=512,
        hop_length=round(HOP * sample_rate),
        n_mels=BANDS,
        fmin=60.0,
    )
    return librosa.power_to_db(power, ref=np.max, top_db=DYNAMIC_DB).T / 10


def _features(wave: Float[Tensor, "K N"], sample_rate: int) -> np.ndarray:
    """What frames are compared by: the spectrum, and how it changes, which places the borders of phonemes."""
    librosa = _librosa()
    level = mel(wave, sample_rate)
    level = level - level.mean(0)
    change = librosa.feature.delta(level, width=5, axis=0, mode="nearest")
    return np.concatenate([level, change * 5], 1)


class Alignment(NamedTuple):
    """A monotone map from seconds of a reference to seconds of another sound."""

    reference: np.ndarray
    sound: np.ndarray
    likeness: float
    """Pearson correlation of both spectra along the path: 1 for one and the same, 0 where nothing is followed."""

    def to_sound(self, seconds: float) -> float:
        """Return where in the sound the reference's instant is heard."""
        return float(np.interp(seconds, self.reference, self.sound))


def align(reference: Float[Tensor, "K N"], sound: Float[Tensor, "K2 M"], sample_rate: int) -> Alignment:
    """Warp a reference onto a sound by dynamic time warping of normalised log mel spectra."""
    librosa = _librosa()
    left, right = _features(reference, sample_rate), _features(sound, sample_rate)
    _, path = librosa.sequence.dtw(left.T, right.T, metric="euclidean", backtrack=True)
    path = path[::-1]
    rows = np.unique(path[:, 0])
    # Several columns may meet one row: their middle.
    first = np.searchsorted(path[:, 0], rows, side="left")
    last = np.searchsorted(path[:, 0], rows, side="right") - 1
    columns = (path[first, 1] + path[last, 1]) / 2
    one, two = left[path[:, 0]], right[path[:, 1]]
    scale = np.sqrt((one**2).sum() * (two**2).sum())
    likeness = float((one * two).sum() / scale) if scale > 1e-9 else 0.0
    return Alignment(rows * HOP, columns * HOP, likeness)


def compare(seen: np.ndarray, expected: np.ndarray, fps: float) -> LipScore | None:
    """Compare the opening seen per pixel frame with the opening expected; None where the mouth does not move."""
    if min(seen.std(), expected.std()) < MIN_RANGE:
        return None
    scores = np.array([_shifted(seen, expected, lag) for lag in range(-MAX_LAG, MAX_LAG + 1)])
    best = int(scores.argmax())
    shift = 0.0
    if 0 < best < len(scores) - 1:
        left, top, right = scores[best - 1 : best + 2]
        bend = left - 2 * top + right
        shift = 0.5 * (left - right) / bend if bend else 0.0
    return LipScore(float(scores[MAX_LAG]), (best - MAX_LAG + shift) / fps)


def _shifted(seen: np.ndarray, expected: np.ndarray, lag: int) -> float:
    """Correlation of the frames that overlap when what is heard comes ``lag`` pixel frames later than what is seen."""
    left = seen[: len(seen) - lag] if lag >= 0 else seen[-lag:]
    right = expected[lag:] if lag >= 0 else expected[: len(expected) + lag]
    left, right = left - left.mean(), right - right.mean()
    scale = np.sqrt((left**2).sum() * (right**2).sum())
    return float((left * right).sum() / scale) if scale > 1e-9 else 0.0
