"""Reference voices to conditions: what a recipe's speaker encoder must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from phonofilm.types import Prompt, Sound, Tokens

Voices = tuple[tuple[str, Sound], ...]
"""Speakers of one prompt and how each sounds; speakers without a voice are left out."""


@runtime_checkable
class VoiceEncoder(Protocol):
    """Turns the reference voices of a batch into one condition."""

    def __call__(self, prompts: Sequence[Prompt], voices: Sequence[Voices]) -> Tokens:
        """Tokens of every sample, padded to the longest.

        A speaker is found in the prompt by name. Lines of speech without a voice, and all of them where ``voices`` is
        empty, get what the model was trained with for "no voice" (NAVA: the zero vector).
        """
        ...
