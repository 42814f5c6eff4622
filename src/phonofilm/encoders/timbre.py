"""What places voices in a text: sentinels of a tokenizer, speaker vectors, and what stands for none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from phonofilm.encoders.features import FeatureEncoder, load_text_encoder
from phonofilm.encoders.voice import SpeakerVectors
from phonofilm.types import Prompt, Tokens


@dataclass(frozen=True)
class Voiceless:
    """Zero vectors for every line of speech: no voice is known.

    With ``placed`` a network puts its learned null vector there, as in training without a reference; otherwise the
    sentinels keep what the text says.
    """

    channels: int
    placed: bool = True

    def __call__(self, prompts: Sequence[Prompt], voices: Sequence[SpeakerVectors]) -> Tokens:
        """Zeros (B lines E)."""
        lines = max([1, *(len(prompt.speech) for prompt in prompts)])
        mask = torch.tensor([[self.placed and line < len(p.speech) for line in range(lines)] for p in prompts])
        return Tokens(x=torch.zeros(len(prompts), lines, self.channels), mask=mask)


@dataclass(frozen=True)
class Timbres:
    """The speaker vector of every line of speech whose speaker has a reference voice; zero vectors for the others."""

    channels: int

    def __call__(self, prompts: Sequence[Prompt], voices: Sequence[SpeakerVectors]) -> Tokens:
        """Vectors (B lines E)."""
        tokens = Voiceless(self.channels)(prompts, voices)
        for row, (prompt, known) in enumerate(zip(prompts, voices, strict=True)):
            vectors = dict(known)
            for line, (who, _) in enumerate(prompt.speech):
                if who in vectors:
                    tokens.x[row, line] = vectors[who]
        return tokens


@dataclass(frozen=True)
class Sentinels:
    """Where a text encoder's tokenizer puts a sentinel, as long as the texts that the encoder fills up."""

    encoder: FeatureEncoder
    sentinel: str = "<extra_id_2>"

    def at(self, folder: Path) -> Sentinels:
        """The same with the tokenizer of a checkpoint folder, where it has one."""
        return replace(self, encoder=self.encoder.at(folder))

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """1 at each sentinel, 0 elsewhere (B L)."""
        tokenizer, _ = load_text_encoder(self.encoder.source)
        wanted = tokenizer.convert_tokens_to_ids(self.sentinel)
        ids = tokenizer([self.encoder.field(p) for p in prompts], padding="max_length", max_length=self.encoder.length)
        x = (torch.tensor(ids["input_ids"]) == wanted).long()
        return Tokens(x=x, mask=torch.ones_like(x, dtype=torch.bool))


@dataclass(frozen=True)
class Blank:
    """No text at all: zeros in place of a text encoder's features, as NAVA's release drops captions."""

    channels: int
    length: int = 512

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Zeros (B L E), which count."""
        mask = torch.ones(len(prompts), self.length, dtype=torch.bool)
        return Tokens(x=torch.zeros(*mask.shape, self.channels), mask=mask)
