"""Features of frozen text encoders through transformers: T5 and umT5, by hub id or path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.nn import functional as F

from phonofilm.types import Prompt, Tokens


@dataclass(frozen=True)
class FeatureEncoder:
    """Last hidden states of a T5-like encoder for one text of each prompt.

    The network is loaded from ``path`` (a folder or a hub id) at the first call and shared by all encoders of that
    path.
    """

    path: str
    field: Callable[[Prompt], str]
    length: int = 512
    """Longest text in tokens; a longer one is a ValueError."""

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Features (B L E) and the mask of real tokens."""
        tokenizer, network = load(self.path)
        read = tokenizer([self.field(prompt) for prompt in prompts], return_tensors="pt", padding=True)
        if read["input_ids"].shape[1] > self.length:
            raise ValueError(
                f"a prompt has {read['input_ids'].shape[1]} tokens, {self.path} takes {self.length}: shorten it"
            )
        with torch.no_grad():
            features = network(**read).last_hidden_state
        return Tokens(x=features, mask=read["attention_mask"].bool())


@dataclass(frozen=True)
class Filled:
    """An encoder whose texts are filled with zeros to one length; the zeros count.

    Wan's towers, and what was trained from them, read the padding of a text as they read its words.
    """

    encoder: FeatureEncoder

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Features (B L E), L the encoder's length, and a mask of true values."""
        tokens = self.encoder(prompts)
        x = torch.where(tokens.mask.unsqueeze(-1), tokens.x, 0.0)
        x = F.pad(x, (0, 0, 0, self.encoder.length - x.shape[1]))
        return Tokens(x=x, mask=torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


@dataclass(frozen=True)
class Constant:
    """One text whatever the prompt says: a negative prompt that a release always uses."""

    text: str

    def __call__(self, prompt: Prompt) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True)
class NegativeOr:
    """The prompt's negative, or a release's where a prompt has none."""

    text: str

    def __call__(self, prompt: Prompt) -> str:
        """The text."""
        return prompt.negative or self.text


@lru_cache(maxsize=2)
def load(path: str) -> tuple:
    """Tokenizer and encoder of a path, in evaluation mode."""
    from transformers import AutoConfig, AutoTokenizer, T5EncoderModel, UMT5EncoderModel

    kind = AutoConfig.from_pretrained(path).model_type
    network = {"t5": T5EncoderModel, "umt5": UMT5EncoderModel}.get(kind)
    if network is None:
        raise ValueError(f"{path} is a {kind!r} model; text encoders here are t5 or umt5")
    return AutoTokenizer.from_pretrained(path), network.from_pretrained(path).eval().requires_grad_(False)
