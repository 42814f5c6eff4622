"""What is said as tokens of lyrics: ACE-Step's tokenizer, for English."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from phonofilm.errors import UserError
from phonofilm.types import NOT_RECORDED, Prompt, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "vocab.json"
"""Inside a checkpoint folder."""
START, END = 261, 2
"""Ids before and behind all lyrics (sample_universe.py in UniVerse-1-code)."""
NOTHING = (0,) * 32
"""Ids where nothing is said (the same file); they are read like others."""


@dataclass(frozen=True)
class LyricEncoder:
    """One field of the prompt as ids of lyrics, in English.

    ``path`` is the tokenizer's file, ``vocab.json`` of github.com/Dorniwang/UniVerse-1-code, read at the first call.
    The release also reads other languages, and writes out numbers and abbreviations; here they are to be written out.
    """

    field: Callable[[Prompt], str]
    length: int = 128
    """Most tokens; a longer text is a ``UserError`` (the release cuts it off)."""
    path: str = dataclasses.field(default=FILE, metadata=NOT_RECORDED)

    def at(self, folder: Path) -> LyricEncoder:
        """The same with the tokenizer of a checkpoint folder, where it has one."""
        return replace(self, path=str(folder / FILE)) if (folder / FILE).is_file() else self

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Ids (B L), with a mask of those that are not padding."""
        rows = [torch.tensor(self.ids(self.field(prompt))) for prompt in prompts]
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
        return Tokens(x=pad_sequence(rows, batch_first=True), mask=mask)

    def ids(self, text: str) -> list[int]:
        """Ids of a text. Raises ``UserError`` for digits and for a text that is too long."""
        text = " ".join(text.lower().replace('"', "").split())
        if not text:
            return list(NOTHING)
        if any(character.isdigit() for character in text):
            raise UserError(f"{text!r} has digits; write numbers as words")
        ids = [START, *tokenizer(self.path).encode(f"[en]{text}".replace(" ", "[SPACE]")).ids, END]
        if len(ids) > self.length:
            raise UserError(f"what is said has {len(ids)} tokens, at most {self.length} are read: shorten it")
        return ids


@lru_cache(maxsize=2)
def tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a file. Raises ``UserError`` where there is none."""
    from tokenizers import Tokenizer

    if not Path(path).is_file():
        raise UserError(f"no tokenizer at {path}: take {FILE} from github.com/Dorniwang/UniVerse-1-code for the folder")
    return Tokenizer.from_file(path)
