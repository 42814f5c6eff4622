"""UniVerse-1's recipes: ``universe1_pocket`` (puppets), ``universe1_study`` (minutes)."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.architectures.universe1 import ByteUniVerse1
from phonofilm.diffusion.guidance import Both, Guidance, unlinked
from phonofilm.diffusion.tasks import I2AV, T2AV
from phonofilm.network.alignment import MaskedWindow
from phonofilm.network.ports import AceTime, Data, GroupNormEmbed, Pooled, StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket
from phonofilm.recipes.experiment import Experiment, LinkDropout
from phonofilm.types import CLOSED

RECIPES = ("universe1_pocket", "universe1_study")

TASKS = ((T2AV, 0.75), (I2AV, 0.25))
"""The first frame stands clean in the stream; the shares are [inferred]. The release always has a picture."""
APART = (LinkDropout(links=CLOSED, share=0.1),)
"""Guidance moves away from what the towers make alone, so they are trained alone as well [inferred]."""


def model(*, width: int, heads: int, mlp: tuple[int, int], num_blocks: int) -> ByteUniVerse1:
    """A small UniVerse-1 for the pocket codecs; ``mlp`` of picture and sound."""
    rope = pocket.rope(width // heads)
    time = replace(rope, sizes=(width // heads, 0, 0))
    pooled = Pooled(channels=width)
    return ByteUniVerse1(
        video=StreamConfig(
            channels=64 * pocket.CELLS,
            width=width,
            heads=heads,
            mlp=mlp[0],
            rope=rope,
            time=WanTime(),
            predict=Data(),
            pooled=pooled,
        ),
        audio=StreamConfig(
            channels=20,
            width=width,
            heads=heads,
            mlp=mlp[1],
            rope=time,
            embed=GroupNormEmbed(inner=width),
            time=AceTime(),
            predict=Velocity(),
            pooled=pooled,
        ),
        text=pocket.words(width),
        num_blocks=num_blocks,
        window=MaskedWindow(around=0.0),
        time=time,
    )


def universe1_pocket() -> Experiment:
    """Puppets at 128 x 128 as in ``jova_pocket``: the same data, budget, codecs and text; 16.3 M parameters."""
    return replace(
        pocket.puppets("universe1_pocket", model(width=256, heads=4, mlp=(1600, 640), num_blocks=4), TASKS),
        link_dropout=APART,
        guidance=(Guidance(contrast=Both((pocket.NEGATIVE, unlinked)), video_scale=2.5, audio_scale=2.5),),
    )


def universe1_study() -> Experiment:
    """4.6 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    return replace(
        pocket.brief(universe1_pocket()),
        name="universe1_study",
        model=model(width=128, heads=2, mlp=(480, 320), num_blocks=5),
    )
