"""An Ovi of the size of tests/golden/ovi_official.safetensors, as a recipe with the tables of the published one."""

from dataclasses import replace

from phonofilm.architectures.ovi import Ovi
from phonofilm.network.context import TowerText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import ConvEmbed, StreamConfig, WanTime
from phonofilm.recipes.ovi import SLOW, ovi_paper


def small():
    """Two blocks of width 24; tokens of 3 channels times 4 cells, and of 4 channels."""
    rope = Rope(sizes=(4, 4, 4))
    video = StreamConfig(channels=12, width=24, heads=2, mlp=32, rope=rope, time=WanTime())
    model = Ovi(
        video=video,
        audio=replace(
            video, channels=4, embed=ConvEmbed(kernel=7, inner=64), rope=replace(rope, scale=(SLOW, 1.0, 1.0))
        ),
        text=TowerText(video=("video_text", 12), audio=("audio_text", 12)),
        num_blocks=2,
    )
    return replace(ovi_paper(), name="ovi_small:small", model=model)
