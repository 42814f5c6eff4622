"""Studies across systems, and what all studies share: the same data, budget, noise levels, losses and text.

A study's first arm is the one that its claim says is best. Each arm is a recipe of its own, named ``study/arm``:
``phonofilm train --recipe jova_mouth/5``. docs/results/claims.md lists all studies and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from phonofilm.compare.study import Recipe, Study
from phonofilm.recipes import ccl, jova, nava, ovi, uniavgen, universe1
from phonofilm.recipes.experiment import Experiment

STUDIES = ("systems",)

LIPS = "exact.lip_corr"
"""What papers measure by LSE-C or Sync-C: whether the lips say what is heard."""
SAMPLING = "The arms share each seed's training and differ in how it is sampled."


def arms(study: str, experiments: Mapping[str, Experiment]) -> dict[str, Recipe]:
    """The recipes of a study's arms; their names say where they stand, so that a folder of weights names its recipe."""
    return {label: partial(replace, made, name=f"{study}/{label}") for label, made in experiments.items()}


def ccl_joint() -> Experiment:
    """CCL's network trained for what the others are: three quarters prompts alone, one quarter portraits."""
    return replace(ccl.ccl_study(), tasks=uniavgen.JOINT)


def systems() -> Study:
    """All six, side by side."""
    return Study(
        name="systems",
        claim="One self-attention over video, sound and text in every layer keeps lips and words together at least as "
        "well as towers that read each other.",
        source="JoVA (arXiv 2512.13677), abstract and results on UniAvatar-Bench",
        arms=arms(
            "systems",
            {
                "jova": jova.jova_study(),
                "ovi": ovi.ovi_study(),
                "uniavgen": uniavgen.uniavgen_study(),
                "nava": nava.nava_study_joint(),
                "ccl": ccl_joint(),
                "universe1": universe1.universe1_study(),
            },
        ),
        figure=LIPS,
        note="The paper compares trained systems of 3 to 25 B parameters, each with its own data. Here equal: clips, "
        "shares of prompts and portraits, batch, steps, optimiser, mean weights, noise levels, mouth weight 5, text "
        "(characters, words, pooled text in the time vectors), sampler, parameters within 1 %. Each system's own: its "
        "network, where the portrait enters, the passes with closed links in training, guidance, and for UniAVGen the "
        "face loss, which needs clips prepared with the region face and is supervision that the others lack. Fresh "
        "weights: what pre-trained towers bring to Ovi, NAVA, CCL, UniAVGen and UniVerse-1 is not tested.",
    )
