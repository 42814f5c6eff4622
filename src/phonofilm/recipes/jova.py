"""JoVA's recipes: ``jova_pocket`` (puppets, shipped), ``jova_study`` (minutes) and ``jova_paper`` (published size)."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.architectures.jova import JoVA
from phonofilm.diffusion.flow import LogitNormal, Mode
from phonofilm.diffusion.guidance import Guidance, Swap
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import I2AV, T2AV, Beside, placed
from phonofilm.diffusion.tokens import Geometry
from phonofilm.network.context import EmbeddedText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import Data, DiTTime, Pooled, StreamConfig
from phonofilm.recipes import pocket, published
from phonofilm.recipes.experiment import Dropout, Experiment, MuonOptim, Optim, Train, as_it_is
from phonofilm.recipes.pocket import CELLS, LAMBDA

RECIPES = (
    "jova_pocket",
    "jova_pocket_stage2",
    "jova_pocket_stage3",
    "jova_pocket_stage4",
    "jova_study",
    "jova_paper",
    "jova_paper_44k",
)

MASKS = 4
"""Mask channels beside a latent, as in the Waver backbone; a token has them once per cell of its patch."""


def model(*, width: int, heads: int, num_dual: int, num_single: int) -> JoVA:
    """A small JoVA for the pocket codecs: time vectors and text layers are narrower than the published ones."""
    audio = StreamConfig(
        channels=20,
        width=width,
        heads=heads,
        mlp=4 * width,
        rope=pocket.rope(width // heads),
        time=DiTTime(width=64),
        pooled=Pooled(channels=width),
    )
    return JoVA(
        video=replace(audio, channels=64 * CELLS, beside=(64 + MASKS) * CELLS, predict=Data()),
        audio=audio,
        text=pocket.words(width),
        num_dual=num_dual,
        num_single=num_single,
    )


def jova_pocket() -> Experiment:
    """The shipped model: 128 x 128 puppets at 24 fps that speak for two seconds."""
    tasks = ((placed(T2AV, Beside(MASKS * CELLS)), 0.75), (placed(I2AV, Beside(MASKS * CELLS)), 0.25))
    return pocket.puppets("jova_pocket", model(width=256, heads=4, num_dual=2, num_single=4), tasks)


def jova_pocket_stage2() -> Experiment:
    """Going on from weights that already speak, at half the rate: at the full one their losses rise."""
    begun = jova_pocket()
    return replace(
        begun,
        name="jova_pocket_stage2",
        optim=replace(begun.optim, lr=5e-4, warmup=20),
        train=replace(begun.train, steps=7000),
    )


def jova_pocket_stage3() -> Experiment:
    """Going on in small steps of Muon, on clips alone: for what moves, once looks are learned.

    1,800 clips of balls took 5, 9 and 8 % off the loss of their picture at noise levels 0.75, 0.5 and 0.25 with Muon
    in batches of 12, and 3, 4 and 3 % with AdamW in batches of 8 (docs/log.md).
    """
    stage2 = jova_pocket_stage2()
    return replace(
        stage2,
        name="jova_pocket_stage3",
        data=as_it_is,
        optim=MuonOptim(lr=7e-4, warmup=50, ema=stage2.optim.ema),
        train=replace(stage2.train, batch=12, steps=2800),
    )


def jova_pocket_stage4() -> Experiment:
    """The same with twice the clips in a step, and two thirds of the noise levels between 0.6 and 0.95, not half.

    There a ball's path is decided; reading a scene, which wants levels near 1, is learned by now.
    """
    stage3 = jova_pocket_stage3()
    return replace(
        stage3,
        name="jova_pocket_stage4",
        density=LogitNormal(std=1.4, shift=6.0),
        optim=replace(stage3.optim, lr=8e-4),
        train=replace(stage3.train, batch=24, steps=5000),
    )


def jova_study() -> Experiment:
    """About 4 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    return replace(
        pocket.brief(jova_pocket()), name="jova_study", model=model(width=128, heads=2, num_dual=2, num_single=4)
    )


def jova_paper() -> Experiment:
    """The published size: 16 dual and 40 single layers, 24 heads of 128, two towers of 12.2 B.

    Depth, heads and channels are Waver's [paper: Waver]; codecs are the Wan2.1 VAE and MMAudio's 16 kHz one; steps,
    learning rate, density and guidance scales are [inferred]. Neither Waver's nor JoVA's weights are public.
    """
    rope = Rope(sizes=(44, 42, 42), scale=(6.0, 1.0, 1.0))  # seconds to latent frames at 24 fps
    audio = StreamConfig(channels=20, width=3072, heads=24, mlp=4 * 3072, rope=rope, time=DiTTime(width=3072))
    return replace(
        jova_pocket(),
        name="jova_paper",
        model=JoVA(
            video=replace(audio, channels=16 * CELLS, beside=(16 + MASKS) * CELLS),
            audio=audio,
            text=EmbeddedText(fields=(("t5", 4096),)),
            num_dual=16,
            num_single=40,
        ),
        video_codec=published.wan21_video,
        audio_codec=published.mmaudio_16k,
        encoders={"t5": published.flan_t5_xxl(), "t5.negative": published.flan_t5_xxl_negative()},
        data=as_it_is,
        density=Mode(scale=1.29, shift=3.0),
        losses=(FlowLoss(region="mouth", weight=LAMBDA),),
        regions=("mouth",),
        dropout=(Dropout(edit=Swap((("t5", "t5.negative"),)), share=0.1),),
        guidance=(Guidance(contrast=Swap((("t5", "t5.negative"),)), video_scale=4.0, audio_scale=3.0),),
        sampling=Sampling(steps=50, shift=7.0),
        geometry=Geometry(num_frames=121, height=480, width=832, fps=24.0),
        optim=Optim(lr=2e-5, warmup=1000, ema=0.9999),
        train=Train(steps=100_000, batch=64, checkpointing=True, compile=True, save_every=1000),
    )


def jova_paper_44k() -> Experiment:
    """The same with MMAudio's 44.1 kHz codec: the paper does not say which of the two it has."""
    paper = jova_paper()
    audio = replace(paper.model.audio, channels=40)
    model = replace(paper.model, audio=audio)  # pyright: ignore[reportArgumentType,reportCallIssue]
    return replace(paper, name="jova_paper_44k", model=model, audio_codec=published.mmaudio_44k)
