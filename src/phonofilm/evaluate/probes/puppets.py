"""Lips, looks and voices of single puppets, and balls: of held-out prompts and of any clip whose truth is known."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.probes.probe import AUDIO, VIDEO, Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.readers import events, lips, pitch
from phonofilm.evaluate.readers.speech import SAMPLE_RATE

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


def _attributes_known(entry: Entry) -> float:
    return float(sum(name in entry.truth.looks[0] for name in ATTRIBUTES)) if entry.truth else 1.0


def events_known(entry: Entry) -> float:
    """Contacts or notes that a clip without any of them misses; one where the truth does not say how many."""
    return float(len(entry.truth.events) if entry.truth and entry.truth.events else 1)


LOOKS = Measure(
    name="exact.looks",
    title="looks as in the truth",
    better="up",
    unit="share of attributes",
    how="ratio",
    worst=0.0,
    weight=_attributes_known,
    reads=VIDEO,
)
EACH_LOOK = {
    name: Measure(
        name=f"exact.looks_{name}",
        title=f"looks: {name} as in the truth",
        better="up",
        unit="share",
        worst=0.0,
        reads=VIDEO,
    )
    for name in ATTRIBUTES
}
VOICE = Measure(
    name="exact.voice_class",
    title="voice high or low as in the truth",
    better="up",
    unit="share",
    worst=0.0,
    preparation=SOUND,
    reads=AUDIO,
)
BALL = tuple(
    Measure(
        name=f"exact.event_f1@{tolerance}ms",
        title=f"ball: sound within {tolerance} ms of the contact seen",
        better="up",
        unit="F1",
        how="ratio",
        worst=0.0,
        weight=events_known,
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
    from phonofilm.files.loudness import PEAK
    from phonofilm.puppets.mouth import opening_curve
    from phonofilm.puppets.sounds import level
    from phonofilm.puppets.voice import Phoneme, speak

    if wave.shape[-1] < SAMPLE_RATE // 4:
        raise Unmeasured("less than 0.25 s of sound")
    said = speak(truth.said[0], truth.voices[0], rate=truth.rates[0], emotion=truth.emotion or "neutral")
    place = round((truth.turns[0][0] if truth.turns else 0.0) * SAMPLE_RATE)
    start = place / SAMPLE_RATE
    reference = torch.zeros(1, wave.shape[-1])
    own = level(said.wave)[: max(0, wave.shape[-1] - place)]
    reference[0, place : place + len(own)] = own
    reference = (reference.clamp(-PEAK, PEAK) * 32767).round() / 32767  # on the grid of the true clip's sound
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
            LIP_OFFSET.name: (1000 * float(score.offset), 1.0),
            LIP_WITHIN.name: (within, 1.0),
        }
    )


def _looks(entry: Entry, clip: Examined) -> Found:
    assert entry.truth is not None
    look, asked = clip.look, entry.truth.looks[0]
    right = {name: float(look[name] == asked[name]) for name in ATTRIBUTES if name in asked}
    values = {LOOKS.name: (sum(right.values()), float(len(right)))}
    return Found(values=values | {EACH_LOOK[name].name: (value, 1.0) for name, value in right.items()}, observed=look)


def _voice(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets.voice import VOICES

    assert entry.truth is not None
    found = pitch.median(clip.pitches)
    if found is None:
        raise Unmeasured("less than 0.1 s is voiced")
    asked = VOICES[entry.truth.voices[0]].height == "high"
    return Found(values={VOICE.name: (float((found > pitch.HIGH) == asked), 1.0)}, observed={"pitch": round(found, 1)})


def _ball(entry: Entry, clip: Examined) -> Found:
    del entry
    from phonofilm.puppets import bounces

    # A muted ball has no onsets: it scores 0, which is a measurement.
    heard = () if clip.silent else events.hear_onsets(clip.mono, SAMPLE_RATE)
    seen = bounces.read_contacts(clip.video, clip.fps)
    values = event_values(seen, heard, BALL, BALL_OFFSET)
    return Found(values=values, observed={"contacts": len(seen), "onsets": len(heard)})


def event_values(
    seen: tuple[float, ...], heard: tuple[float, ...], scores: tuple[Measure, ...], offset: Measure
) -> dict[str, tuple[float, float]]:
    """F1 at each tolerance named by a measure ("...@80ms"), and the median offset of pairs up to 300 ms apart."""
    values = {}
    for measure in scores:
        tolerance = float(measure.name.split("@")[1].removesuffix("ms")) / 1000
        # Nothing seen and nothing heard although something should be: one missed event.
        pairs = events.match(seen, heard, tolerance).pairs
        values[measure.name] = (2.0 * pairs, float(len(seen) + len(heard) or 2))
    apart = events.match(seen, heard, events.REACH).offsets
    if apart:
        values[offset.name] = (1000 * float(np.median(apart)), 1.0)
    return values


def _single(entry: Entry) -> bool:
    return entry.truth is not None and len(entry.truth.looks) == 1


def _bounces(entry: Entry) -> bool:
    return entry.truth is not None and entry.truth.stage == "ball"


LIPS = Probe("lips", (LIP_CORR, LIP_OFFSET, LIP_WITHIN), _speaks, _lips, MODULES, ESPEAK)
LOOK = Probe("looks", (LOOKS, *EACH_LOOK.values()), _single, _looks)
VOICES_HEARD = Probe("voice", (VOICE,), _speaks, _voice, ("espeakng_loader",), ESPEAK)
BALLS = Probe("ball", (*BALL, BALL_OFFSET), _bounces, _ball, ("scipy",), ESPEAK)
