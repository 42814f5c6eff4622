"""Ovi's recipes: ``ovi_pocket`` (puppets), ``ovi_study`` (minutes), ``ovi_paper`` and its sisters (published size)."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.architectures.ovi import ByteOvi, Ovi
from phonofilm.diffusion.flow import LogitNormal
from phonofilm.diffusion.guidance import Both, Guidance, Skipping, Swap
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import I2AV, T2AV
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import tags
from phonofilm.encoders.features import Constant, NegativeOr
from phonofilm.network.context import TowerText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import ConvEmbed, StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket, published
from phonofilm.recipes import wan_names as wan
from phonofilm.recipes.experiment import Dropout, Experiment, Optim, Train
from phonofilm.recipes.pocket import CELLS
from phonofilm.types import CENTRE, IndexClock

RECIPES = ("ovi_pocket", "ovi_study", "ovi_paper", "ovi_paper_10s", "ovi_paper_720", "ovi_seconds")

TASKS = ((T2AV, 0.75), (I2AV, 0.25))
"""The first frame stands clean in the stream; the shares are [inferred]."""
SLOW = 0.19676
"""Latent frames of the picture for each latent of sound, in the release: about 31 / 157 (ovi/configs/model/dit)."""
VIDEO_NEGATIVE = "jitter, bad hands, blur, distortion"
AUDIO_NEGATIVE = "robotic, muffled, echo, distorted"
NEGATIVE = Swap((("video_text", "video_text.negative"), ("audio_text", "audio_text.negative")))

RENAMES: wan.Rules = (
    (r"^(video|audio)_model\.blocks\.(\d+)\.", r"blocks.\2.\1."),
    (r"^(video|audio)_model\.text_embedding\.", r"context.\1."),
    (r"^(video|audio)_model\.", r"\1."),
    (r"\.cross_attn\.(k|v|norm_k)_fusion\.", r".other.\1."),
    (r"\.cross_attn\.pre_attn_norm_fusion\.", ".other.norm."),
    (r"\.modulation\.modulation$", ".modulation"),
    *wan.conv_embedding("audio.patch_embedding"),
    *wan.TOWER,
)
"""The release's names (ovi/modules/fusion.py) to ours."""
WAN: wan.Rules = ((r"^", "video_model."), *RENAMES)
"""Names of Wan2.2-TI2V-5B, whose copy the picture's tower was at first, to ours."""
FRESH = (r"^audio\.", r"^context\.audio\.", r"^blocks\.\d+\.audio\.", r"^blocks\.\d+\.video\.other\.")
"""What Wan has not: the tower of sound, and what reads the other stream."""


def model(*, width: int, heads: int, mlp: int, num_blocks: int) -> ByteOvi:
    """A small Ovi for the pocket codecs, with JoVA's text layers and positions and a narrower audio port."""
    video = pocket.wan_tower(width=width, heads=heads, mlp=mlp)
    return ByteOvi(
        video=video,
        audio=replace(video, channels=20, embed=ConvEmbed(kernel=7, inner=width), predict=Velocity()),
        text=pocket.words(width),
        num_blocks=num_blocks,
    )


def ovi_pocket() -> Experiment:
    """Puppets at 128 x 128 as in ``jova_pocket``: the same data, budget, codecs and text; 16.3 M parameters."""
    return replace(
        pocket.puppets("ovi_pocket", model(width=256, heads=4, mlp=1024, num_blocks=5), TASKS),
        guidance=(
            Guidance(contrast=Both((pocket.NEGATIVE, Skipping(frozenset({2})))), video_scale=2.5, audio_scale=2.5),
        ),
    )


def ovi_study() -> Experiment:
    """4.6 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    return replace(
        pocket.brief(ovi_pocket()),
        name="ovi_study",
        model=model(width=128, heads=2, mlp=448, num_blocks=6),
    )


def paper_model(*, video: float, audio: float) -> Ovi:
    """The published network; ``video`` and ``audio`` turn a clock's numbers into latent frames of the picture."""
    rope = Rope(sizes=(44, 42, 42), scale=(video, 1.0, 1.0))
    stream = StreamConfig(channels=48 * CELLS, width=3072, heads=24, mlp=14336, rope=rope, time=WanTime())
    return Ovi(
        video=stream,
        audio=replace(
            stream,
            channels=20,
            rope=replace(rope, scale=(audio, 1.0, 1.0)),
            embed=ConvEmbed(kernel=7, inner=8192),
        ),
        text=TowerText(video=("video_text", 4096), audio=("audio_text", 4096)),
        num_blocks=30,
    )


def ovi_paper() -> Experiment:
    """The release's 960 x 960, 5 s model: two towers of 30 layers, 11.66 B parameters; positions are its integers.

    Numbers, tags, negative prompts, steps, shift and guidance are those of the release (ovi/configs/inference). Its
    training is not published: tasks, density, dropout, learning rate and batch are [inferred].
    """
    return Experiment(
        name="ovi_paper",
        model=paper_model(video=1.0, audio=SLOW),
        video_codec=published.wan22_video,
        audio_codec=published.mmaudio_16k,
        encoders={
            "video_text": published.umt5_xxl(tags.audio),
            "audio_text": published.umt5_xxl(tags.audio),
            "video_text.negative": published.umt5_xxl(NegativeOr(VIDEO_NEGATIVE)),
            "audio_text.negative": published.umt5_xxl(Constant(AUDIO_NEGATIVE)),
        },
        tasks=TASKS,
        density=LogitNormal(shift=5.0),
        losses=(FlowLoss(),),
        dropout=(Dropout(edit=NEGATIVE, share=0.1),),
        guidance=(Guidance(contrast=Both((NEGATIVE, Skipping(frozenset({11})))), video_scale=4.0, audio_scale=3.0),),
        sampling=Sampling(steps=50, shift=5.0),
        geometry=Geometry(num_frames=121, height=960, width=960, fps=24.0),
        clock=IndexClock(),
        optim=Optim(lr=2e-5, warmup=1000, ema=0.9999),
        train=Train(steps=100_000, batch=64, checkpointing=True, compile=True, save_every=1000),
        names=wan.WeightNames(release=RENAMES, wan=WAN, fresh=FRESH),
    )


def ovi_paper_10s() -> Experiment:
    """The release's 960 x 960, 10 s model: the same network on longer clips."""
    paper = ovi_paper()
    return replace(paper, name="ovi_paper_10s", geometry=replace(paper.geometry, num_frames=241))


def ovi_paper_720() -> Experiment:
    """The release's 720 x 720, 5 s model, whose prompts have the sound between tags."""
    paper = ovi_paper()
    positive = published.umt5_xxl(tags.audcap)
    return replace(
        paper,
        name="ovi_paper_720",
        encoders=paper.encoders | {"video_text": positive, "audio_text": positive},
        geometry=replace(paper.geometry, height=704, width=704),
    )


def ovi_seconds() -> Experiment:
    """The published network with exact seconds instead of the release's integers, for new training.

    Six latent frames of the picture a second at 24 fps; the release's factor lets sound and picture drift apart by
    0.12 s in 5 s.
    """
    return replace(ovi_paper(), name="ovi_seconds", model=paper_model(video=6.0, audio=6.0), clock=CENTRE)
