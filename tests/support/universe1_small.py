"""A UniVerse-1 of the size of tests/golden/universe1_official.safetensors, as a recipe with the published table."""

from dataclasses import replace

from phonofilm.architectures.universe1 import UniVerse1
from phonofilm.network.ace import GroupNormEmbed
from phonofilm.network.ace_time import AceTime, LevelTime
from phonofilm.network.alignment import SameFrame
from phonofilm.network.layers import Rope
from phonofilm.network.lyrics import CaptionsAndLyrics
from phonofilm.network.ports import StreamConfig
from phonofilm.recipes.universe1 import universe1_paper


def network(*, rows=16, vocabulary=20, sound=10):
    """Two blocks of widths 24 and 36; tokens of 3 channels times 4 cells, and of 2 channels times so many rows."""
    return UniVerse1(
        video=StreamConfig(channels=12, width=24, heads=2, mlp=32, rope=Rope(sizes=(4, 4, 4)), time=LevelTime()),
        audio=StreamConfig(
            channels=2 * rows,
            width=36,
            heads=3,
            mlp=54,
            rope=Rope(sizes=(12, 0, 0), theta=1e6),
            embed=GroupNormEmbed(inner=512),
            time=AceTime(),
        ),
        text=CaptionsAndLyrics(
            scene=("scene", 12),
            sound=("sound", sound),
            speech="speech",
            vocabulary=vocabulary,
            inner=16,
            heads=2,
            mlp=24,
            depth=2,
        ),
        num_blocks=2,
        window=SameFrame(),
        time=Rope(sizes=(12, 0, 0)),
    )


def small():
    """The published recipe with this network."""
    return replace(universe1_paper(), name="universe1_small:small", model=network())
