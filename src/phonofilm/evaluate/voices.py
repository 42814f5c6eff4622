"""Whose voice is heard: which of the puppets' ten voices, saying the same words, is nearest by the speaker vector."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.encoders.speaker import PitchAndCepstrum
from phonofilm.errors import UserError
from phonofilm.evaluate.entries import Entry, Truth
from phonofilm.evaluate.probe import Found, Measure, Probe, Unmeasured
from phonofilm.evaluate.puppet_lips import ESPEAK, SOUND, mono
from phonofilm.evaluate.turns import hear_turns
from phonofilm.types import Clip, Sound

ONE = Measure(
    name="exact.voice_of_ten",
    title="the truth's voice is the nearest of ten that say the same words (chance 0.1)",
    better="up",
    unit="share",
    how="ratio",
    worst=0.0,
    preparation=SOUND,
)
TWO = Measure(
    name="exact.turn_voice_of_ten",
    title="two puppets: each turn in its speaker's voice, the nearest of ten (chance 0.1)",
    better="up",
    unit="share of turns",
    how="ratio",
    worst=0.0,
    preparation=SOUND,
)


def nearest(truth: Truth, line: int, wave: Float[Tensor, "1 N"]) -> str:
    """The name of the voice whose rendering of a line, in the clip's emotion and rate, is nearest to a sound."""
    from phonofilm.puppets.sounds import level
    from phonofilm.puppets.voice import SAMPLE_RATE, VOICES, speak

    encoder = PitchAndCepstrum()
    try:
        heard = encoder(Sound(wave, SAMPLE_RATE))
    except UserError as error:
        raise Unmeasured(str(error)) from error
    said = [
        speak(truth.said[line], voice, rate=truth.rates[line], emotion=truth.emotion or "neutral") for voice in VOICES
    ]
    vectors = torch.stack([encoder(Sound(level(one.wave)[None], SAMPLE_RATE)) for one in said])
    return list(VOICES)[int((vectors - heard).norm(dim=1).argmin())]


def _read_one(entry: Entry, clip: Clip) -> Found:
    assert entry.truth is not None
    right = nearest(entry.truth, 0, mono(clip)) == entry.truth.voices[0]
    return Found(values={ONE.name: (float(right), 1.0)})


def _read_two(entry: Entry, clip: Clip) -> Found:
    from phonofilm.puppets.voice import SAMPLE_RATE

    truth, wave = entry.truth, mono(clip)
    assert truth is not None
    turns = hear_turns(wave, SAMPLE_RATE)
    if turns is None:
        raise Unmeasured("no pause parts the sound into two turns")
    spans = ((turns.start, turns.end_of_first), (turns.start_of_second, turns.end))
    parts = [wave[:, round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for start, end in spans]
    right = [nearest(truth, line, part) == truth.voices[line] for line, part in enumerate(parts)]
    return Found(values={TWO.name: (float(sum(right)), 2.0)})


def _known(entry: Entry, stage: str, lines: int) -> bool:
    truth = entry.truth
    return (
        truth is not None and truth.stage == stage and len(truth.said) == len(truth.voices) == len(truth.rates) == lines
    )


VOICE_OF_TEN = Probe(
    "voice_of_ten", (ONE,), lambda entry: _known(entry, "speaker", 1), _read_one, ("espeakng_loader",), ESPEAK
)
TURN_VOICES = Probe(
    "turn_voices", (TWO,), lambda entry: _known(entry, "dialogue", 2), _read_two, ("espeakng_loader",), ESPEAK
)
