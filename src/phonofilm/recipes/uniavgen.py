"""UniAVGen's recipes: study and pocket (puppets), the published weights, and the paper's three stages of training."""

from __future__ import annotations

from dataclasses import replace

import torch

from phonofilm.architectures.uniavgen import (
    ByteUniAVGen,
    Interaction,
    InteractionLayer,
    PairedLayer,
    UniAVGen,
)
from phonofilm.diffusion.flow import Uniform
from phonofilm.diffusion.guidance import Both, Edit, Guidance, Skipping, Swap, unlinked
from phonofilm.diffusion.losses import FaceLoss, FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import A2V, CONTINUE, I2AV, T2A, T2AV, V2A, Kind, Reference, voiced
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import characters, text
from phonofilm.network.alignment import MaskedWindow, Ramp, ReleasedRamp, ReplicatedWindow
from phonofilm.network.context import CharacterText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import MLPEmbed, StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket, published
from phonofilm.recipes import wan_names as wan
from phonofilm.recipes.experiment import Dropout, Experiment, LinkDropout, Optim, Train
from phonofilm.types import CLOSED, IndexClock, Links

RECIPES = (
    "uniavgen_pocket",
    "uniavgen_pocket_tasks",
    "uniavgen_study",
    "uniavgen_study_tasks",
    "uniavgen_paper",
    "uniavgen_paper_stage1",
    "uniavgen_paper_stage2",
    "uniavgen_paper_stage3",
)

RENAMES: wan.Rules = (
    *((rf"^(a2v|v2a)_blocks\.{k}\.", rf"blocks.{2 * k}.\1.") for k in range(15)),
    (r"\.a2v\.mask_head\.modulation$", ".face.modulation"),
    (r"\.a2v\.mask_head\.head\.", ".face.out."),
    (r"\.(a2v|v2a)\.(q|k|v|norm_q|norm_k)\.", r".\1.projection.\2."),
    (r"\.(a2v|v2a)\.o\.", r".\1.out."),
    (r"^blocks\.(\d+)\.(?!a2v|v2a|face)", r"blocks.\1.video."),
    (r"^audio_blocks\.(\d+)\.", r"blocks.\1.audio."),
    (r"^text_embedding_video\.", "context.caption."),
    (r"^text_embedding\.text_embed\.", "context.embed."),
    (r"^text_embedding\.text_blocks\.(\d+)\.", r"context.layers.\1."),
    (r"^(context\.layers\.\d+)\.dwconv\.", r"\1.conv."),
    (r"^(context\.layers\.\d+)\.pwconv1\.", r"\1.up."),
    (r"^(context\.layers\.\d+)\.pwconv2\.", r"\1.down."),
    (r"^(context\.layers\.\d+)\.grn\.", r"\1."),
    (r"^text_proj\.", "context.out."),
    (r"^audio_embedding\.", "audio.enter_x."),
    (r"^audio_padding$", "audio.padding"),
    (r"^(time_embedding|time_projection|head)_audio\.", r"audio.\1."),
    (r"^(patch_embedding|time_embedding|time_projection|head)\.", r"video.\1."),
    *wan.TOWER,
)
"""The release's names (Sora2-mini, wan/modules/model.py) to ours."""
WAN: wan.Rules = (
    (r"^text_embedding\.", "context.caption."),
    (r"^blocks\.(\d+)\.", r"blocks.\1.video."),
    (r"^(patch_embedding|time_embedding|time_projection|head)\.", r"video.\1."),
    *wan.TOWER,
)
"""Names of Wan2.2-TI2V-5B, whose copy the picture's tower is at first, to ours."""
FRESH = (r"^audio\.", r"^context\.(embed|layers|out)\.", r"^blocks\.\d+\.(audio|face|a2v|v2a)\.")
"""What Wan has not: the tower of sound, its text, and the exchange."""

Tasks = tuple[tuple[Kind, float], ...]

AROUND = 0.125
"""Seconds of sound that a latent frame hears before and after itself: two pixel frames at 16 fps [code]."""
FACE = 0.1
"""First weight of the face loss [paper]; it falls to 0 over the steps of joint training [inferred]."""
APART = (LinkDropout(links=CLOSED, share=0.1),)
"""Guidance moves away from what the towers make alone, so they are trained alone as well [inferred]."""
JOINT: Tasks = ((T2AV, 0.75), (I2AV, 0.25))
"""What the small models learn first: JoVA's shares, so that only the network differs."""
DUBBING = replace(V2A, links=Links(a2v=False))
DRIVEN = replace(A2V, links=Links(v2a=False))
"""The given stream does not read the other [code]."""
PORTRAYED = replace(I2AV, portrait=True)
"""The release shows the portrait twice: as the first latent frame and as a reference [code]."""
SECOND = Reference(seconds=1.0)
"""A puppet's sentence lasts a second at least; with the silence behind it, two thirds of a clip [inferred]."""
FIVE: Tasks = (
    (T2AV, 2.0),
    (I2AV, 2.0),
    (voiced(T2AV, SECOND), 0.5),
    (voiced(I2AV, SECOND), 0.5),
    (CONTINUE, 1.0),
    (DUBBING, 2.0),
    (DRIVEN, 2.0),
)
"""The paper's mix, 4 : 1 : 1 : 2 : 2 of joint, joint with a voice, going on, dubbing, driven by sound. Both joint ones
are divided between prompts and portraits [inferred]."""
PAPER: Tasks = (
    (PORTRAYED, 4.0),
    (voiced(PORTRAYED, Reference(loud=1.0, peak=0.999146)), 1.0),
    (replace(CONTINUE, task=replace(CONTINUE.task, portrait=True)), 1.0),
    (replace(DUBBING, portrait=True), 2.0),
    (replace(DRIVEN, needs=DRIVEN.needs | PORTRAYED.needs, video=PORTRAYED.video, portrait=True), 2.0),
)
"""The same where every clip has a portrait, a dubbed or continued clip its own, and voices have one peak [code]."""


def early(shift: float) -> float:
    """The noise level above which the first half of the sampling steps lies."""
    return shift * 0.5 / (1 + (shift - 1) * 0.5) + 1e-3


def modality_aware(edit: Edit, shift: float, video: float, audio: float) -> tuple[Guidance, ...]:
    """Early, away from towers that are alone and know no text; later, away from no text (paper, section 3.4)."""
    middle = early(shift)
    return (
        Guidance(contrast=Both((edit, unlinked)), video_scale=video, audio_scale=audio, sigmas=(middle, 1.0)),
        Guidance(contrast=edit, video_scale=video, audio_scale=audio, sigmas=(0.0, middle)),
    )


def model(*, width: int, heads: int, mlp: int) -> ByteUniAVGen:
    """A small UniAVGen for the pocket codecs, with JoVA's text layers and positions and towers of one width."""
    video = pocket.wan_tower(width=width, heads=heads, mlp=mlp)
    return ByteUniAVGen(
        video=video,
        audio=replace(video, channels=20, predict=Velocity()),
        text=pocket.words(width),
        layers=(InteractionLayer, PairedLayer) * 3,
        interaction=Interaction(window=MaskedWindow(AROUND), seen=Ramp(), space=video.rope, place=video.rope),
    )


def uniavgen_pocket() -> Experiment:
    """Puppets at 128 x 128 as in ``jova_pocket``: the same data, budget, codecs and text; 16.3 M parameters."""
    shared = pocket.puppets("uniavgen_pocket", model(width=256, heads=4, mlp=864), JOINT)
    return replace(
        shared,
        link_dropout=APART,
        losses=(*shared.losses, FaceLoss(weight=FACE, horizon=shared.train.steps)),
        regions=("face", *shared.regions),
        guidance=modality_aware(pocket.NEGATIVE, shared.sampling.shift, video=2.5, audio=2.5),
    )


def five(joint: Experiment) -> Experiment:
    """The third stage in small: from the weights of a recipe (``--init``) to all tasks, without the face loss.

    It keeps the face among its regions, so that a cache prepared for it serves both stages.
    """
    return replace(
        joint,
        name=f"{joint.name}_tasks",
        tasks=FIVE,
        losses=joint.losses[:1],
        optim=replace(joint.optim, lr=joint.optim.lr / 4),
        train=replace(joint.train, steps=joint.train.steps // 3),
    )


def uniavgen_pocket_tasks() -> Experiment:
    """``uniavgen_pocket``'s third stage: all five tasks, reference voices among them."""
    return five(uniavgen_pocket())


def uniavgen_study() -> Experiment:
    """4.6 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    brief = pocket.brief(uniavgen_pocket())
    return replace(
        brief,
        name="uniavgen_study",
        model=model(width=128, heads=2, mlp=576),
        losses=(*brief.losses[:1], FaceLoss(weight=FACE, horizon=brief.train.steps)),
    )


def uniavgen_study_tasks() -> Experiment:
    """``uniavgen_study``'s third stage: all five tasks, reference voices among them."""
    return five(uniavgen_study())


SIZES = (44, 42, 42)
EMPTY = Swap((("caption", "caption.negative"), ("speech", "speech.negative")))
"""The negative prompt is the empty text, for the sound filler alone [code]."""


def released_interaction(precision: torch.dtype) -> Interaction:
    """The release's alignment; the places of its windows turn as the first channels of the sound's own do."""
    return Interaction(
        window=ReplicatedWindow(2),
        seen=ReleasedRamp(precision),
        space=Rope(sizes=SIZES),
        place=Rope(sizes=SIZES, theta=10000 ** (SIZES[0] / 128)),
    )


def seconds_interaction() -> Interaction:
    """The same layers aligned by true seconds; places are counted in mel frames."""
    return replace(
        released_interaction(torch.float32),
        window=MaskedWindow(AROUND),
        seen=Ramp(),
        place=Rope(sizes=SIZES, scale=(100.0, 1.0, 1.0), theta=10000 ** (SIZES[0] / 128)),
    )


def paper_model(audio_time: WanTime, interaction: Interaction, *, rates: tuple[float, float]) -> UniAVGen:
    """The published network; ``rates`` turn a clock's numbers into latent frames and mel frames."""
    return UniAVGen(
        video=StreamConfig(
            channels=48 * pocket.CELLS,
            width=3072,
            heads=24,
            mlp=14336,
            rope=Rope(sizes=SIZES, scale=(rates[0], 1.0, 1.0)),
            time=WanTime(),
        ),
        audio=StreamConfig(
            channels=80,
            width=1536,
            heads=12,
            mlp=8960,
            rope=Rope(sizes=(128, 0, 0), scale=(rates[1], 1.0, 1.0)),
            embed=MLPEmbed(),
            time=audio_time,
        ),
        text=CharacterText(caption=("caption", 4096), speech="speech", characters=2546, inner=512, depth=4),
        layers=(InteractionLayer, PairedLayer) * 15,
        interaction=interaction,
    )


def uniavgen_paper() -> Experiment:
    """The release: 7.06 B parameters, its integers as positions, its windows and its blend in bfloat16.

    Numbers, steps, shift and guidance are those of the release (configs/inference.yaml); ``phonofilm import`` brings
    its weights in. To train anew take the three stages, which have none of its quirks.
    """
    stage3 = uniavgen_paper_stage3()
    edit = Both((EMPTY, Skipping(frozenset({11}))))
    return replace(
        stage3,
        name="uniavgen_paper",
        model=paper_model(WanTime(clean_references=False), released_interaction(torch.bfloat16), rates=(1.0, 1.0)),
        guidance=modality_aware(edit, stage3.sampling.shift, video=3.0, audio=2.0),
        clock=IndexClock(),
    )


def uniavgen_paper_stage1() -> Experiment:
    """Sound alone, on speech (Emilia, English) [paper]; the tower of pictures rests."""
    stage2 = uniavgen_paper_stage2()
    return replace(
        stage2,
        name="uniavgen_paper_stage1",
        tasks=((T2A, 1.0),),
        losses=(FlowLoss(),),
        regions=(),
        link_dropout=(),
        optim=replace(stage2.optim, lr=2e-5),
        train=replace(stage2.train, steps=160_000, batch=256),
    )


def uniavgen_paper_stage2() -> Experiment:
    """Both towers and their exchange, end to end, from stage 1 and Wan2.2-TI2V-5B [paper].

    The paper names batch, rate, steps and optimiser. Noise levels, dropout, weight decay, warm-up, means and clipping
    are [inferred], as is that a portrait is the first frame and the reference of every clip.
    """
    return Experiment(
        name="uniavgen_paper_stage2",
        model=paper_model(WanTime(), seconds_interaction(), rates=(4.0, 100.0)),
        video_codec=published.wan22_video,
        audio_codec=published.qwen_mel,
        encoders={
            "caption": published.umt5_xxl(text.scene),
            "caption.negative": published.umt5_xxl(text.negative),
            "speech": characters.CharacterEncoder(text.speech),
            "speech.negative": characters.CharacterEncoder(text.nothing),
        },
        tasks=((PORTRAYED, 1.0),),
        density=Uniform(shift=5.0),
        losses=(FlowLoss(), FaceLoss(weight=FACE, horizon=30_000)),
        dropout=(Dropout(edit=EMPTY, share=0.1),),
        link_dropout=APART,
        regions=("face",),
        guidance=modality_aware(EMPTY, 5.0, video=3.0, audio=2.0),
        sampling=Sampling(steps=50, shift=5.0),
        geometry=Geometry(num_frames=81, height=736, width=736, fps=16.0),
        optim=Optim(lr=5e-6, betas=(0.9, 0.999), warmup=1000, final=1.0, ema=0.999),
        train=Train(steps=30_000, batch=32, checkpointing=True, compile=True, save_every=1000),
        names=wan.WeightNames(release=RENAMES, wan=WAN, fresh=FRESH),
    )


def uniavgen_paper_stage3() -> Experiment:
    """All tasks, from stage 2, without the face loss, whose weight has fallen to 0 [inferred]."""
    stage2 = uniavgen_paper_stage2()
    return replace(
        stage2,
        name="uniavgen_paper_stage3",
        tasks=PAPER,
        losses=(FlowLoss(),),
        regions=(),
        train=replace(stage2.train, steps=10_000),
    )
