"""From phonemes to the mouth: how far it opens and how wide it is, as smooth curves of time."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from phonofilm.puppets.voice import Phoneme

REST = (0.0, 0.5)
"""Opening and width of a silent mouth."""
SMOOTH = 0.05
"""Half the length of the smoothing kernel, a raised cosine: it is as long at half height, in seconds."""
CLOSURE = 0.03
"""The same for lips that close: they are quicker."""
CLOSES = {"p": 0.045, "b": 0.03, "m": 0.0}
"""Lips shut in these, already so many seconds before espeak-ng's mark, which stands at the release of a stop."""
SHORTEST_CLOSURE = 0.06

SHAPES: dict[str, tuple[float, float]] = {
    **dict.fromkeys("ɑaæ", (1.0, 0.55)),
    **dict.fromkeys("ɐʌ", (0.75, 0.5)),
    **dict.fromkeys("ɒɔ", (0.8, 0.3)),
    **dict.fromkeys("ɛe", (0.65, 0.75)),
    **dict.fromkeys("əᵻ", (0.45, 0.5)),
    **dict.fromkeys("ɜɚ", (0.45, 0.35)),
    **dict.fromkeys("ɪi", (0.35, 0.9)),
    **dict.fromkeys("ʊ", (0.4, 0.2)),
    **dict.fromkeys("o", (0.6, 0.15)),
    **dict.fromkeys("u", (0.3, 0.05)),
    **dict.fromkeys("w", (0.2, 0.0)),
    **dict.fromkeys("j", (0.3, 0.85)),
    **dict.fromkeys("ɹr", (0.3, 0.25)),
    **dict.fromkeys("lɫ", (0.4, 0.55)),
    **dict.fromkeys("pbm", (0.0, 0.5)),
    **dict.fromkeys("fv", (0.08, 0.6)),
    **dict.fromkeys("θð", (0.25, 0.6)),
    **dict.fromkeys("szdtnɾʔ", (0.2, 0.7)),
    **dict.fromkeys("ʃʒ", (0.2, 0.25)),
    **dict.fromkeys("kɡgŋxh", (0.35, 0.55)),
}
"""IPA character -> (opening, width). Affricates and diphthongs are their characters one after the other."""


def parts(phoneme: Phoneme) -> list[tuple[str, float, float]]:
    """The characters of a phoneme with equal shares of its time; a long mark doubles the share before it.

    Raises ValueError for a character without a shape.
    """
    letters: list[list] = []
    for letter in phoneme.ipa:
        if letter == "ː" and letters:
            letters[-1][1] = 2
        elif letter in SHAPES:
            letters.append([letter, 1])
        elif not unicodedata.combining(letter) and letter not in "ːˈˌʲ":
            raise ValueError(f"no mouth shape for {letter!r} in phoneme {phoneme.ipa!r}: add it to mouth.SHAPES")
    total = sum(weight for _, weight in letters)
    spans, start = [], phoneme.start
    for letter, weight in letters:
        end = start + (phoneme.end - phoneme.start) * weight / total
        spans.append((letter, start, end))
        start = end
    return spans


def _covered(starts: Tensor, ends: Tensor, times: Tensor, half: float) -> Float[Tensor, "T S"]:
    """How much of a raised-cosine kernel around each time lies in each span: closed form, from 0 to 1."""

    def integral(x: Tensor) -> Tensor:
        x = (x / half).clamp(-1, 1)
        return 0.5 * (1 + x + torch.sin(torch.pi * x) / torch.pi)

    return integral(times[:, None] - starts) - integral(times[:, None] - ends)


def _columns(spans: list[tuple[str, float, float]]) -> tuple[Tensor, Tensor, Tensor]:
    shapes = torch.tensor([SHAPES[letter] for letter, _, _ in spans], dtype=torch.float64).reshape(-1, 2)
    times = torch.tensor([span[1:] for span in spans], dtype=torch.float64).reshape(-1, 2)
    return shapes, times[:, 0], times[:, 1]


def opening_curve(phonemes: Sequence[Phoneme], times: Tensor) -> Float[Tensor, " T"]:
    """Height of the mouth, 0 closed to 1 wide open, at any ``times`` in seconds; it knows the sounds to come."""
    times = times.double()
    shapes, starts, ends = _columns([part for phoneme in phonemes for part in parts(phoneme)])
    opening = _covered(starts, ends, times, SMOOTH) @ shapes[:, 0]
    shut = [(p.start - CLOSES[p.ipa], p.end) for p in phonemes if p.ipa in CLOSES]
    spans = torch.tensor(shut, dtype=torch.float64).reshape(-1, 2)
    longest = torch.maximum(spans[:, 1], spans[:, 0] + SHORTEST_CLOSURE)
    closed = _covered(spans[:, 0], longest, times, CLOSURE).sum(1)
    return (opening * (1 - closed.clamp(max=1))).clamp(0, 1).float()


def width_curve(phonemes: Sequence[Phoneme], times: Tensor) -> Float[Tensor, " T"]:
    """Width of the mouth, 0 rounded and narrow, 0.5 at rest, 1 spread, at any ``times`` in seconds."""
    shapes, starts, ends = _columns([part for phoneme in phonemes for part in parts(phoneme)])
    pull = shapes[:, 1] - REST[1]
    return (REST[1] + _covered(starts, ends, times.double(), SMOOTH) @ pull).clamp(0, 1).float()
