"""Sounds of the puppets' stages that are not speech, at the loudness that all stages share."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.files import loudness
from phonofilm.puppets.voice import SAMPLE_RATE


def level(wave: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """A sound of the puppets at the level that all stages share."""
    return loudness.level(wave, SAMPLE_RATE)


def noise(count: int, seed: int) -> Float[Tensor, " N"]:
    """White noise between -1 and 1, the same for a seed on any machine."""
    data = random.Random(f"phonofilm noise {seed}").randbytes(2 * count)
    return torch.frombuffer(bytearray(data), dtype=torch.int16).float() / 32768


def _place(wave: Tensor, sound: Tensor, seconds: float) -> Tensor:
    """Add a sound that starts at ``seconds``, cut at the end of the wave."""
    start = round(seconds * SAMPLE_RATE)
    count = min(len(sound), len(wave) - start)
    shifted = torch.zeros_like(wave)
    shifted[start : start + count] = sound[:count]
    return wave + shifted


def bounces(contacts: Sequence[float], strengths: Sequence[float], seed: int, count: int) -> Float[Tensor, " N"]:
    """A knock and a short falling tone at each contact, as loud as it was strong; silence between."""
    times = torch.arange(round(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 150 + 60 * random.Random(f"phonofilm ball {seed}").random()
    cycles = pitch * (times + 0.02 * (1 - torch.exp(-times / 0.02)))
    boing = torch.sin(2 * math.pi * cycles) * torch.exp(-times / 0.05)
    knock = noise(len(times), seed) * torch.exp(-times / 0.006)
    sound = (boing + 0.7 * knock) * (1 - torch.exp(-times / 0.0005))
    wave = torch.zeros(count)
    for seconds, strength in zip(contacts, strengths):
        wave = _place(wave, strength * sound, seconds)
    return wave


SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
"""Semitones above the keyboard's lowest note, C4: one octave of white keys."""


def notes(keys: Sequence[tuple[float, int]], count: int) -> Float[Tensor, " N"]:
    """Struck notes, given by seconds and key: four harmonics, the higher the sooner gone."""
    times = torch.arange(round(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    wave = torch.zeros(count)
    for seconds, key in keys:
        pitch = 261.63 * 2 ** (SCALE[key] / 12)
        tones = [torch.sin(2 * math.pi * pitch * k * times) / k * torch.exp(-times * k / 0.2) for k in range(1, 5)]
        attack = (times / 0.003).clamp(max=1) * ((0.6 - times) / 0.02).clamp(max=1)
        wave = _place(wave, sum(tones[1:], tones[0]) * attack, seconds)
    return wave


def rain(seed: int, count: int, *, heavy: bool) -> Float[Tensor, " N"]:
    """A steady hiss with drops in it, more of them in heavy rain."""
    rng = random.Random(f"phonofilm rain {seed}")
    hiss = noise(count + 8, seed)
    hiss = torch.nn.functional.avg_pool1d(hiss[None, None], 3 if heavy else 2, 1)[0, 0, :count]
    times = torch.arange(320) / SAMPLE_RATE
    wave = (0.5 if heavy else 0.2) * hiss
    for _ in range((60 if heavy else 15) * count // SAMPLE_RATE):
        pitch = rng.uniform(1500, 4000)
        drop = torch.sin(2 * math.pi * pitch * times) * torch.exp(-times / 0.004) * rng.uniform(0.2, 1.0)
        wave = _place(wave, drop, rng.uniform(0, count / SAMPLE_RATE - 0.001))
    return wave
