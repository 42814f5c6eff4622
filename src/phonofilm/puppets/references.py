"""Reference voices: what a puppet sounds like when it says something else."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets import grammars
from phonofilm.puppets.script import GRID_SHARE, draw_emotion, split_of
from phonofilm.puppets.sounds import level
from phonofilm.puppets.voice import RATES, SAMPLE_RATE, speak


def references(
    voices: Mapping[str, str], said: Sequence[str], *, seed: int, split: str, shortest: float = 0.0
) -> dict[str, Float[Tensor, "1 N"]]:
    """For each speaker (name to voice) of a clip a sentence of the split that is none of those said, at 16 kHz.

    Sentence, rate and emotion are drawn as in clips of one speaker, from the clip's seed, the split and the name.
    Where one lasts less than ``shortest`` seconds, more follow.
    """
    found = {}
    for who, voice in voices.items():
        rng = random.Random(f"phonofilm reference {split} {seed} {who}")
        heard = [_sentence(voice, said, split, rng)]
        while sum(map(len, heard)) < shortest * SAMPLE_RATE:
            heard.append(_sentence(voice, said, split, rng))
        found[who] = torch.cat(heard)[None]
    return found


def _sentence(voice: str, said: Sequence[str], split: str, rng: random.Random) -> Float[Tensor, " N"]:
    words = _other_words(said, split, rng)
    return level(speak(words, voice, rate=rng.randint(*RATES), emotion=draw_emotion(rng)).wave)


def _other_words(said: Sequence[str], split: str, rng: random.Random) -> str:
    while True:
        grammar = grammars.GRID if rng.random() < GRID_SHARE else grammars.TALK
        words = grammars.sentence(grammar, rng)
        if split_of(words) == split and words not in said:
            return words
