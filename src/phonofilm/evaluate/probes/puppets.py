"""Lips, words and looks of single puppets, and balls, in clips whose truth is in a table.

The same figures as of the 200 held-out prompts, by the same functions; only where the truth comes from differs.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry, Truth
from phonofilm.evaluate.probes.probe import Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.readers import events, lips, pitch

ATTRIBUTES = ("hair", "skin", "background", "glasses", "beard")
ESPEAK = "pip install 'phonofilm[evaluate]'"
SOUND = "sound at 16 kHz mono; pixels as decoded"
PIXEL_FRAME = 1 / 24
MODULES = ("espeakng_loader", "librosa", "scipy")

LIP_CORR = Measure(
    name="exact.lip_corr",
    title="lips: correlation with the opening that the words heard imply",
    better="up",
    unit="Pearson, median over clips",
    how="median",
    worst=0.0,
    preparation=SOUND,
)
LIP_OFFSET = Measure(
    name="exact.lip_offset_ms",
    title="lips: offset",
    better="zero",
    unit="ms, positive: sound late",
    how="median",
    preparation=SOUND,
)
LIP_WITHIN = Measure(
    name="exact.lip_offset_within_42ms",
    title="lips: offset within 42 ms",
    better="up",
    unit="share",
    worst=0.0,
    preparation=SOUND,
)
LOOKS = Measure(
    name="exact.looks", title="looks as in the truth", better="up", unit="share of attributes", how="ratio", worst=0.0
)
VOICE = Measure(
    name="exact.voice_class",
    title="voice high or low as in the truth",
    better="up",
    unit="share",
    worst=0.0,
    preparation=SOUND,
)
BALL = tuple(
    Measure(
        name=f"exact.event_f1@{tolerance}ms",
        title=f"ball: sound within {tolerance} ms of the contact seen",
        better="up",
        unit="F1",
        how="ratio",
        worst=0.0,
        preparation=SOUND,
    )
    for tolerance in (40, 80)
)
BALL_OFFSET = Measure(
    name="exact.event_offset_ms",
    title="ball: offset",
    better="zero",
    unit="ms, positive: sound late",
    how="median",
    preparation=SOUND,
)


def opening_heard(truth: Truth, wave: Float[Tensor, "1 N"], num_frames: int, fps: float) -> np.ndarray:
    """The opening of a puppet's mouth that says the truth's first line when its words are heard in the sound."""
    from phonofilm.puppets.mouth import opening_curve
    from phonofilm.puppets.voice import SAMPLE_RATE, Phoneme, speak

    if wave.shape[-1] < SAMPLE_RATE // 4:
        raise Unmeasured("less than 0.25 s of sound")
    said = speak(truth.said[0], truth.voices[0], rate=truth.rates[0], emotion=truth.emotion or "neutral")
    start = truth.turns[0][0] if truth.turns else 0.0
    reference = torch.zeros(1, wave.shape[-1])
    place = round(start * SAMPLE_RATE)
    room = max(0, min(len(said.wave), reference.shape[-1] - place))
    reference[0, place : place + room] = said.wave[:room]
    times = lips.align(reference, wave, SAMPLE_RATE)
    if times.likeness < lips.LEAST_LIKENESS:
        raise Unmeasured("nothing in the sound is like the words")
    moved = [Phoneme(p.ipa, times.to_sound(p.start + start), times.to_sound(p.end + start)) for p in said.phonemes]
    middles = (torch.arange(num_frames, dtype=torch.float64) + 0.5) / fps
    return opening_curve(moved, middles).numpy()


def _speaks(entry: Entry) -> bool:
    truth = entry.truth
    return truth is not None and truth.stage == "speaker" and len(truth.said) == len(truth.voices) == 1


def _lips(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets import readback

    assert entry.truth is not None
    expected = opening_heard(entry.truth, clip.wave, len(clip.video), clip.fps)
    seen = readback.read_opening(clip.video).numpy()
    score = lips.compare(seen, expected, clip.fps)
    if score is None:
        raise Unmeasured("the mouth does not move")
    within = float(abs(score.offset) <= PIXEL_FRAME + 1e-6)
    return Found(
        values={
            LIP_CORR.name: (score.correlation, 1.0),
            LIP_OFFSET.name: (1000 * score.offset, 1.0),
            LIP_WITHIN.name: (within, 1.0),
        }
    )


def _looks(entry: Entry, clip: Examined) -> Found:
    assert entry.truth is not None
    look, asked = clip.look, entry.truth.looks[0]
    right = [look[name] == asked[name] for name in ATTRIBUTES if name in asked]
    return Found(values={LOOKS.name: (float(sum(right)), float(len(right)))})


def _voice(entry: Entry, clip: Examined) -> Found:
    from phonofilm.evaluate.observe import HIGH
    from phonofilm.puppets.voice import VOICES

    assert entry.truth is not None
    found = pitch.median(clip.pitches)
    if found is None:
        raise Unmeasured("less than 0.1 s is voiced")
    asked = VOICES[entry.truth.voices[0]].height == "high"
    return Found(values={VOICE.name: (float((found > HIGH) == asked), 1.0)})


def _ball(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets import bounces
    from phonofilm.puppets.voice import SAMPLE_RATE

    assert entry.truth is not None
    seen = bounces.read_contacts(clip.video, clip.fps)
    if clip.audio.shape[-1] == 0:
        raise Unmeasured("no sound")
    # A muted ball has no onsets: it scores 0, which is a measurement.
    heard = () if clip.audio.abs().amax() < lips.SILENCE else events.hear_onsets(clip.wave, SAMPLE_RATE)
    return Found(values=event_values(seen, heard, BALL, BALL_OFFSET))


def event_values(
    seen: tuple[float, ...], heard: tuple[float, ...], scores: tuple[Measure, ...], offset: Measure
) -> dict[str, tuple[float, float]]:
    """F1 at each tolerance named by a measure ("...@80ms"), and the median offset of pairs up to 300 ms apart."""
    from phonofilm.evaluate.observe import REACH

    values = {}
    for measure in scores:
        tolerance = float(measure.name.split("@")[1].removesuffix("ms")) / 1000
        # Nothing seen and nothing heard although something should be: one missed event.
        pairs = events.match(seen, heard, tolerance).pairs
        values[measure.name] = (2.0 * pairs, float(len(seen) + len(heard) or 2))
    apart = events.match(seen, heard, REACH).offsets
    if apart:
        values[offset.name] = (1000 * float(np.median(apart)), 1.0)
    return values


def _single(entry: Entry) -> bool:
    return entry.truth is not None and len(entry.truth.looks) == 1


def _bounces(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.stage == "ball"


LIPS = Probe("lips", (LIP_CORR, LIP_OFFSET, LIP_WITHIN), _speaks, _lips, MODULES, ESPEAK)
LOOK = Probe("looks", (LOOKS,), _single, _looks)
VOICES_HEARD = Probe("voice", (VOICE,), _speaks, _voice, ("espeakng_loader",), ESPEAK)
BALLS = Probe("ball", (*BALL, BALL_OFFSET), _bounces, _ball, ("scipy",), ESPEAK)
