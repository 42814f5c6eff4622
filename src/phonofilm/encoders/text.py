"""Prompts to character ids: nothing is learned here; the trained layers live in the model's context."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch.nn.utils.rnn import pad_sequence

from phonofilm.errors import UserError
from phonofilm.types import Prompt, Tokens

END = 1
"""The id behind the last character; a text of no characters is this id alone."""
FIRST = 2
"""Ids of bytes start here; 0 is padding."""
NUM_IDS = FIRST + 256
SPACE = FIRST + ord(" ")
MARK = "\x02"
"""A character that no prompt contains: a sentinel before the words of a line of speech, where a voice can be placed."""
SENTINEL = FIRST + ord(MARK)
PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")


@runtime_checkable
class Encoder(Protocol):
    """Turns the prompts of a batch into one condition."""

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Tokens of every prompt, padded to the longest."""
        ...


@runtime_checkable
class FromFolder(Protocol):
    """Something that reads files which a checkpoint folder may hold: a text encoder, a list of characters."""

    def at(self, folder: Path) -> Any:
        """The same reading the folder's files, where it has them."""
        ...


@runtime_checkable
class Frozen(Protocol):
    """Something that runs a frozen network: a text encoder whose features training keeps."""

    def on(self, device: str, kept: str = "") -> Any:
        """The same on a device; ``kept`` is a folder that keeps the features of every text."""
        ...


@dataclass(frozen=True)
class ByteEncoder:
    """One field of the prompt as lower-case bytes.

    ``accepted`` are the characters that a model may have seen; any other is a UserError, since a model cannot
    say what it never read.
    """

    field: Callable[[Prompt], str]
    accepted: frozenset[str] = PRINTABLE

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Ids (B L): 0 padding, 1 end, byte + 2."""
        rows = [torch.tensor([*(byte + FIRST for byte in self.text(prompt).encode()), END]) for prompt in prompts]
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
        return Tokens(x=pad_sequence(rows, batch_first=True), mask=mask)

    def text(self, prompt: Prompt) -> str:
        """What the model reads of a prompt."""
        text = " ".join(self.field(prompt).lower().split())
        strange = sorted(set(text) - self.accepted)
        if strange:
            raise UserError(
                f"the model cannot read {' '.join(map(repr, strange))} in {text!r}: write it with plain English letters"
            )
        return text


def scene(prompt: Prompt) -> str:
    """What is to be seen."""
    return prompt.scene


def sound(prompt: Prompt) -> str:
    """What is to be heard besides words."""
    return prompt.sound


def speech(prompt: Prompt) -> str:
    """Who says what; one nameless speaker's words stand alone."""
    return "; ".join(f"{who}: {words}" if who else words for who, words in prompt.speech)


def voiced_speech(prompt: Prompt) -> str:
    """Who says what, with a sentinel before each line's words."""
    return "; ".join(f"{who}: {MARK}{words}" if who else f"{MARK}{words}" for who, words in prompt.speech)


def negative(prompt: Prompt) -> str:
    """What is not wanted."""
    return prompt.negative


def nothing(prompt: Prompt) -> str:
    """The empty text that guidance and condition dropout put in a field's place."""
    return ""


def render(prompt: Prompt) -> str:
    """One prompt with three labelled fields, as JoVA's figure shows it, for encoders that read one text."""
    return f"Video: {prompt.scene}\nAudio: {prompt.sound}\nSpeech: {speech(prompt)}"
