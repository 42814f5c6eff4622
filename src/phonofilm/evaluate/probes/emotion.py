"""Emotion seen (brows and mouth corners) against emotion heard (pitch and how far it ranges).

A voice's emotion is only told against the same voice: the sentence is rendered by the truth's voice in all five
emotions, and the one whose pitch is nearest is what is heard. Where a model speaks with another voice, what is heard
means little, and the picture's figure stands alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.probes.probe import AUDIO, VIDEO, Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ESPEAK
from phonofilm.evaluate.readers import pitch

FEWEST = 10
"""Voiced frames of 10 ms."""
MIDDLE, SPREAD = 1.0, 0.7
"""Semitones of the median pitch, and of its spread, that count as much as each other."""
SEEN = Measure(
    name="exact.emotion_seen",
    title="emotion of the face as in the truth",
    better="up",
    unit="share",
    worst=0.0,
    reads=VIDEO,
)
HEARD = Measure(
    name="exact.emotion_heard",
    title="emotion of the voice as in the truth, told against the same voice",
    better="up",
    unit="share",
    worst=0.0,
    preparation="sound at 16 kHz mono",
    reads=AUDIO,
)
MATCH = Measure(
    name="exact.emotion_match",
    title="emotion of the face is the emotion of the voice, whatever was asked for",
    better="up",
    unit="share",
    worst=0.0,
    preparation="sound at 16 kHz mono; pixels as decoded",
)


def _contour(voiced: Float[np.ndarray, " V"]) -> tuple[float, float] | None:
    """Median pitch and its spread (10 to 90 %) in semitones; None where too little is voiced."""
    if len(voiced) < FEWEST:
        return None
    tones = 12 * np.log2(voiced)
    low, middle, high = np.percentile(tones, [10, 50, 90])
    return float(middle), float(high - low)


@lru_cache(maxsize=256)
def _rendered(words: str, voice: str, rate: int, emotion: str) -> tuple[float, float]:
    from phonofilm.puppets.voice import SAMPLE_RATE, speak

    found = _contour(pitch.track(speak(words, voice, rate=rate, emotion=emotion).wave[None], SAMPLE_RATE))
    return found or (math.inf, math.inf)


def hear_emotion(truth: Truth, voiced: Float[np.ndarray, " V"]) -> str:
    """The emotion in which the truth's voice says its words most alike, by the pitch in Hz of every voiced frame."""
    from phonofilm.puppets.voice import EMOTION_SHIFTS

    found = _contour(voiced)
    if found is None:
        raise Unmeasured("less than 0.1 s is voiced")
    words, voice, rate = truth.said[0], truth.voices[0], truth.rates[0]

    def apart(emotion: str) -> float:
        middle, spread = _rendered(words, voice, rate, emotion)
        return ((found[0] - middle) / MIDDLE) ** 2 + ((found[1] - spread) / SPREAD) ** 2

    return min(EMOTION_SHIFTS, key=apart)


def _read(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets.expression import read_expression

    truth = entry.truth
    assert truth is not None
    values = {}
    face = read_expression(clip.video)
    if face is not None:
        values[SEEN.name] = (float(face.emotion == truth.emotion), 1.0)
    try:
        heard = hear_emotion(truth, clip.pitches)
    except Unmeasured:
        if not values:
            raise
        return Found(values=values)
    values[HEARD.name] = (float(heard == truth.emotion), 1.0)
    if face is not None:
        values[MATCH.name] = (float(heard == face.emotion), 1.0)
    return Found(values=values)


def _wants(entry: Entry) -> bool:
    truth = entry.truth
    return truth is not None and truth.stage == "speaker" and bool(truth.emotion) and len(truth.said) == 1


EMOTION = Probe("emotion", (SEEN, HEARD, MATCH), _wants, _read, ("espeakng_loader",), ESPEAK)
