"""A NAVA of the size of tests/golden/nava_official.safetensors, as a recipe with a table of names for its depth."""

from dataclasses import replace

from phonofilm.architectures.nava import NAVA, TimbreInContext, TimbreOverSentinel
from phonofilm.network.context import VoicedFeatures
from phonofilm.network.layers import Rope
from phonofilm.network.ports import ConvEmbed, StreamConfig, WanTime
from phonofilm.recipes.nava import nava_release, renames
from phonofilm.recipes.wan_names import WeightNames

RENAMES = renames(2, 2)


def network(voice: type[TimbreInContext]) -> NAVA:
    """Two layers of both kinds, width 24; tokens of 3 channels times 4 cells, and of 4 channels."""
    rope = Rope(sizes=(4, 4, 4))
    video = StreamConfig(channels=12, width=24, heads=2, mlp=32, rope=rope, time=WanTime())
    return NAVA(
        video=video,
        audio=replace(
            video, channels=4, embed=ConvEmbed(kernel=7, inner=64), rope=replace(rope, scale=(0.24, 1.0, 1.0))
        ),
        text=VoicedFeatures(text=("text", 12), marks="sentinels"),
        voice=voice(channels=8),
        num_align=2,
        num_fuse=2,
    )


def small():
    """The release's choices at this size."""
    names = WeightNames(release=RENAMES)
    return replace(nava_release(), name="nava_small:small", model=network(TimbreOverSentinel), names=names)
