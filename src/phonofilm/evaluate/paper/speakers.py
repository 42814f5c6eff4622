"""Who said what: errors of words or characters under the best assignment of speakers (cpWER, cpCER)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Errors(NamedTuple):
    """Edits and what they are a share of; sums of both give the pooled rate."""

    edits: int
    length: int

    @property
    def rate(self) -> float:
        """Edits over the reference's length: 0 best, may pass 1. NaN where there is no reference."""
        return self.edits / self.length if self.length else float("nan")


def edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Fewest substitutions, deletions and insertions that turn one sequence into the other (Levenshtein)."""
    row = list(range(len(hypothesis) + 1))
    for i, one in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, two in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != two))
    return row[-1]


def cp_errors(reference: Mapping[str, Sequence[str]], hypothesis: Mapping[str, Sequence[str]]) -> Errors:
    """Errors under the assignment of speakers that gives the fewest; a speaker without a partner faces silence.

    Values are each speaker's words (cpWER, Watanabe et al. 2020) or characters (cpCER, as MOVA computes it), all his
    turns joined in order.
    """
    from scipy.optimize import linear_sum_assignment

    left, right = list(reference.values()), list(hypothesis.values())
    count = max(len(left), len(right))
    left += [()] * (count - len(left))
    right += [()] * (count - len(right))
    cost = np.array([[edit_distance(a, b) for b in right] for a in left]).reshape(count, count)
    rows, columns = linear_sum_assignment(cost)
    return Errors(int(cost[rows, columns].sum()), sum(len(a) for a in left))


def words_by_speaker(turns: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Lower-case words without punctuation (apostrophes kept) of each speaker, from (speaker, text)."""
    found: dict[str, list[str]] = {}
    for speaker, text in turns:
        found.setdefault(speaker, []).extend(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower()))
    return found


def characters_by_speaker(turns: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Lower-case characters without punctuation and blanks of each speaker, from (speaker, text)."""
    found: dict[str, list[str]] = {}
    for speaker, text in turns:
        kept = [c for c in text.lower() if not c.isspace() and not unicodedata.category(c).startswith("P")]
        found.setdefault(speaker, []).extend(kept)
    return found
