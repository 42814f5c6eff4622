"""Studies of JoVA's claims: the mouth's weight and the common clock."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.compare.studies.systems import LIPS, arms
from phonofilm.compare.study import Study
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.recipes import jova
from phonofilm.recipes.experiment import Experiment
from phonofilm.types import IndexClock

STUDIES = ("jova_mouth", "jova_rope")

PACE = 512 / 16000
"""Seconds of a sound token: what a token of either stream counts where clocks are apart."""


def weighing(weight: float) -> Experiment:
    """JoVA with another weight of the mouth's area."""
    return replace(jova.jova_study(), losses=(FlowLoss(region="sounding", weight=weight),))


def jova_mouth() -> Study:
    """The weight of the mouth's area."""
    return Study(
        name="jova_mouth",
        claim="Lips follow the speech only if the loss weighs the mouth's area more.",
        source="JoVA (arXiv 2512.13677), ablation of lambda: LSE-C 1.39 at 0, 6.70 at 5 [secondary summary]",
        arms=arms(
            "jova_mouth",
            {
                "5": jova.jova_study(),
                "0": replace(jova.jova_study(), losses=(FlowLoss(),), regions=()),
                "1": weighing(1.0),
                "10": weighing(10.0),
            },
        ),
        figure=LIPS,
        note="The paper names 0 and 5; 1 and 10 are ours. A puppet's mouth covers a larger share of the picture than a "
        "speaker's in footage, so less weight may do.",
    )


def jova_rope() -> Study:
    """Positions in seconds against positions that each stream counts for itself."""
    return Study(
        name="jova_rope",
        claim="Rotary positions on one clock for both streams improve the lips' timing.",
        source="JoVA (arXiv 2512.13677), ablation of the temporal-aligned RoPE: direction alone [secondary summary]",
        arms=arms(
            "jova_rope",
            {
                "seconds": jova.jova_study(),
                "counted": replace(jova.jova_study(), clock=IndexClock(factor=PACE)),
            },
        ),
        figure=LIPS,
        note="The paper's formula and what it replaced are not public. Here both streams count their tokens from 0 in "
        "steps of a sound token, so that sound and spoken characters stay on the clock (to half a token) and the "
        "picture's frames, of which 5.2 sound tokens each should pass, do not. The picture loses the clock of the "
        "spoken characters with that of the sound.",
    )
