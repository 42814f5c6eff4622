"""A named study: one claim of a paper, and the recipes whose comparison tests it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from phonofilm.recipes.experiment import Experiment

Recipe = Callable[[], Experiment]
PROMPTS = {"grid": 24, "talk": 16, "ball": 12}
"""Held-out clips per group that every model of a comparison makes, where nothing else is asked for."""
SENTENCES = {"grid": 24}
"""The same for studies: claims about lips and words, tried on what is learned in minutes."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a paper says, and how it is tried at equal budget."""

    name: str
    claim: str
    """One sentence, in our words."""
    source: str
    """Paper, section or table."""
    arms: Mapping[str, Recipe]
    """Labels and recipes; the first is what the claim says is best."""
    figure: str
    """Name of the metric that the claim is about, for example ``exact.lip_corr``."""
    prompts: Mapping[str, int] = field(default_factory=lambda: dict(SENTENCES))
    """Held-out clips per group (``evaluate.heldout``) that the models make: what the claim is about."""
    note: str = ""
    """What differs from the paper's own experiment."""
