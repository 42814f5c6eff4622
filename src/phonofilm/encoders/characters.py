"""Character ids from a published list of characters, one a line: F5-TTS's for UniAVGen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from phonofilm.errors import UserError
from phonofilm.types import NOT_RECORDED, Prompt, Tokens

LIST = "vocab.txt"
"""Inside a checkpoint folder."""
FILLER = 0
SHORTEST = 10
"""A shorter text is filled up to this many characters (Sora2-mini, inference.py); the fillers count."""
PLAIN = str.maketrans({";": ",", "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})


@dataclass(frozen=True)
class CharacterEncoder:
    """One field of the prompt as ids: 0 the filler, then the lines of a list of characters.

    ``path`` is that list, ``vocab.txt`` of github.com/MCG-NJU/Sora2-mini, which is read at the first call. English
    only: a character that is not in the list is a ``UserError``.
    """

    field: Callable[[Prompt], str]
    path: str = dataclasses.field(default=LIST, metadata=NOT_RECORDED)

    def at(self, folder: Path) -> CharacterEncoder:
        """The same with the list of a checkpoint folder, where it has one."""
        return replace(self, path=str(folder / LIST)) if (folder / LIST).is_file() else self

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Ids (B L); fillers up to ``SHORTEST`` count, what pads a batch does not."""
        rows = [self.ids(self.field(prompt)) for prompt in prompts]
        lengths = [max(len(row), SHORTEST) for row in rows]
        most = max(lengths)
        x = torch.tensor([row + [FILLER] * (most - len(row)) for row in rows])
        return Tokens(x=x, mask=torch.arange(most) < torch.tensor(lengths)[:, None])

    def ids(self, text: str) -> list[int]:
        """Ids of a text."""
        known = read(self.path)
        text = " ".join(text.translate(PLAIN).split())
        strange = sorted(set(text) - known.keys())
        if strange:
            raise UserError(f"{' '.join(map(repr, strange))} in {text!r} is not in {self.path}: write it in English")
        return [known[character] for character in text]


@lru_cache(maxsize=4)
def read(path: str) -> Mapping[str, int]:
    """The ids of a list of characters. Raises ``UserError`` where there is none."""
    if not Path(path).is_file():
        raise UserError(
            f"no list of characters at {path}: take vocab.txt from github.com/MCG-NJU/Sora2-mini for the folder"
        )
    with Path(path).open(encoding="utf-8") as lines:
        return {line.removesuffix("\n"): number for number, line in enumerate(lines, 1)}
