"""Whose voice is heard: which of the puppets' ten voices, saying the same words, is nearest by the speaker vector."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.probes.probe import AUDIO, Examined, Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.probes.puppets import ESPEAK, SOUND
from phonofilm.evaluate.probes.turns import hear_turns
from phonofilm.evaluate.readers.nearest import nearest

ONE = Measure(
    name="exact.voice_of_ten",
    title="the truth's voice is the nearest of ten that say the same words (chance 0.1)",
    better="up",
    unit="share",
    how="ratio",
    worst=0.0,
    preparation=SOUND,
    reads=AUDIO,
)
TWO = Measure(
    name="exact.turn_voice_of_ten",
    title="two puppets: each turn in its speaker's voice, the nearest of ten (chance 0.1)",
    better="up",
    unit="share of turns",
    how="ratio",
    worst=0.0,
    weight=lambda entry: 2.0,
    preparation=SOUND,
    reads=AUDIO,
)


def _is_right(truth: Truth, line: int, wave: Float[Tensor, "1 N"]) -> bool:
    """Whether a line is heard in the voice that it has."""
    try:
        found = nearest(truth.said[line], wave, rate=truth.rates[line], emotion=truth.emotion or "neutral")
    except UserError as error:
        raise Unmeasured(str(error)) from error
    return found == truth.voices[line]


def _read_one(entry: Entry, clip: Examined) -> Found:
    assert entry.truth is not None
    right = _is_right(entry.truth, 0, clip.wave)
    return Found(values={ONE.name: (float(right), 1.0)})


def _read_two(entry: Entry, clip: Examined) -> Found:
    from phonofilm.puppets.voice import SAMPLE_RATE

    truth, wave = entry.truth, clip.wave
    assert truth is not None
    turns = hear_turns(wave, SAMPLE_RATE)
    if turns is None:
        raise Unmeasured("no pause parts the sound into two turns")
    spans = ((turns.start, turns.end_of_first), (turns.start_of_second, turns.end))
    parts = [wave[:, round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for start, end in spans]
    right = [_is_right(truth, line, part) for line, part in enumerate(parts)]
    return Found(values={TWO.name: (float(sum(right)), 2.0)})


def _known(entry: Entry, stage: str, lines: int) -> bool:
    truth = entry.truth
    return (
        truth is not None and truth.stage == stage and len(truth.said) == len(truth.voices) == len(truth.rates) == lines
    )


VOICE_OF_TEN = Probe(
    "voice_of_ten",
    (ONE,),
    lambda entry: _known(entry, "speaker", 1),
    _read_one,
    ("espeakng_loader",),
    ESPEAK,
)
TURN_VOICES = Probe(
    "turn_voices",
    (TWO,),
    lambda entry: _known(entry, "dialogue", 2),
    _read_two,
    ("espeakng_loader",),
    ESPEAK,
)
