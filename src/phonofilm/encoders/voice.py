"""Reference voices to conditions: what a recipe's speaker encoder and its voice encoders must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from phonofilm.types import Audio, Prompt, Tokens

Voices = tuple[tuple[str, Audio], ...]
"""Speakers of one prompt and how each sounds; speakers without a voice are left out."""
SpeakerVectors = tuple[tuple[str, Float[Tensor, " E"]], ...]
"""The same after a speaker encoder: what training data hold, and what voice encoders read."""


@runtime_checkable
class SpeakerEncoder(Protocol):
    """Turns a recording into a vector that says whose voice it is; zeros mean that there is none."""

    @property
    def name(self) -> str:
        """Tells its vectors from those of any other: caches remember it."""
        ...

    @property
    def channels(self) -> int:
        """Length of the vector."""
        ...

    def __call__(self, audio: Audio) -> Float[Tensor, " E"]:
        """The vector of a recording; ``UserError`` for one that cannot be used."""
        ...


@runtime_checkable
class VoiceEncoder(Protocol):
    """Turns the speaker vectors of a batch into one condition."""

    def __call__(self, prompts: Sequence[Prompt], voices: Sequence[SpeakerVectors]) -> Tokens:
        """Tokens of every sample, padded to the longest.

        A speaker is found in the prompt by name. Lines of speech without a voice, and all of them where ``voices`` is
        empty, get what the model was trained with for "no voice" (NAVA: the zero vector).
        """
        ...
