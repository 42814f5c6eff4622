"""CCL's recipes: ``ccl_pocket`` (puppets), ``ccl_study`` (minutes) and ``ccl_paper`` (published size).

A reconstruction: see docs/systems/ccl.md for what is known and what is guessed.
"""

from __future__ import annotations

from dataclasses import replace

from phonofilm.architectures.ccl import CCL
from phonofilm.diffusion import tasks
from phonofilm.diffusion.flow import LogitNormal
from phonofilm.diffusion.guidance import Both, Edit, Guidance, Swap, unlinked
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import text
from phonofilm.network.context import TowerText
from phonofilm.network.layers import CrossAttention, Rope, RotaryCrossAttention
from phonofilm.network.ports import StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket, published
from phonofilm.recipes import wan_names as wan
from phonofilm.recipes.experiment import Dropout, Experiment, LinkDropout, PartsOptim, Train
from phonofilm.recipes.pocket import CELLS
from phonofilm.types import Links

RECIPES = ("ccl_pocket", "ccl_study", "ccl_paper")


WAN: wan.Rules = (
    (r"^text_embedding\.", "context.video."),
    (r"^blocks\.(\d+)\.", r"blocks.\1.video."),
    (r"^(patch_embedding|time_embedding|time_projection|head)\.", r"video.\1."),
    *wan.TOWER,
)
"""Names of Wan2.1-14B, where the picture's tower starts, to ours."""
FRESH = (r"^audio\.", r"^context\.audio\.", r"^blocks\.\d+\.(audio|video_context|audio_context)\.")
"""What Wan has not: the tower of sound, and all by which the streams meet."""

# A clean stream reads its context tokens alone. The network does this for every given token anyway; where a task gives
# a whole stream, the closed link saves computing what no token takes.
A2V = replace(tasks.A2V, links=Links(v2a=False))
V2A = replace(tasks.V2A, links=Links(a2v=False))
I2V = replace(tasks.I2AV, name="i2v", absent=tasks.T2V.absent, links=tasks.T2V.links)

TASKS = (
    (tasks.T2AV, 0.375),
    (tasks.I2AV, 0.125),
    (A2V, 0.15),
    (V2A, 0.15),
    (tasks.T2A, 0.1),
    (tasks.T2V, 0.075),
    (I2V, 0.025),
)
"""Joint 0.5, audio to video 0.15, video to audio 0.15, sound alone 0.1, picture alone 0.1.

The quoted shares [secondary summary] have joint 0.6 and add up to 1.1; 0.5 is [inferred], and so is the portrait in a
quarter of what makes pictures from text.
"""
CLOSING = (LinkDropout(links=Links(a2v=False), share=0.1), LinkDropout(links=Links(v2a=False), share=0.1))
"""Each direction closed on a tenth of the steps by itself, so that half-conditional states are trained [inferred]."""

Scales = tuple[float, float]
"""How strong guidance is for video and for audio; 1 is none."""


def joint_guidance(drop: Edit, scale: Scales) -> tuple[Guidance, ...]:
    """U1: away from neither text nor partner. Two passes."""
    return (_guidance(Both((drop, unlinked)), scale, (1.0, 1.0)),)


def text_guidance(drop: Edit, scale: Scales) -> tuple[Guidance, ...]:
    """U2: away from no text; the partner is heard and seen in both passes."""
    return (_guidance(drop, scale, (1.0, 1.0)),)


def partner_guidance(scale: Scales) -> tuple[Guidance, ...]:
    """U3: away from no partner; the text is read in both passes."""
    return (_guidance(unlinked, scale, (1.0, 1.0)),)


def nested_guidance(drop: Edit, by_text: Scales, by_partner: Scales) -> tuple[Guidance, ...]:
    """U4: text away from nothing, then the partner away from text alone. Three passes.

    ``v(0, 0) + t (v(c, 0) - v(0, 0)) + m (v(c, 1) - v(c, 0))`` is ``v + (t - 1) (v - v(0, 0)) + (m - t) (v - v(c, 0))``
    with ``v = v(c, 1)``; the second weight is negative where text counts more.
    """
    return (_guidance(Both((drop, unlinked)), by_text, (1.0, 1.0)), _guidance(unlinked, by_partner, by_text))


def _guidance(edit: Edit, scale: Scales, less: Scales) -> Guidance:
    return Guidance(contrast=edit, video_scale=1 + scale[0] - less[0], audio_scale=1 + scale[1] - less[1])


U1 = joint_guidance(pocket.NEGATIVE, (2.5, 2.5))
U2 = text_guidance(pocket.NEGATIVE, (2.5, 2.5))
U3 = partner_guidance((2.0, 2.0))
U4 = nested_guidance(pocket.NEGATIVE, (2.5, 2.5), (2.0, 2.0))
"""The four forms for puppets, each a value of ``Experiment.guidance``; the scales are [inferred] and untuned."""


def model(*, heads: tuple[int, int], head: int, mlp: int, num_blocks: int) -> CCL:
    """A small CCL for the pocket codecs, with JoVA's text layers; the audio tower is the narrower one.

    ``head`` is the width of a head, ``mlp`` the channels that a tower's MLP has for each of its heads.
    """
    video, audio = (pocket.wan_tower(width=head * n, heads=n, mlp=mlp * n) for n in heads)
    return CCL(
        video=video,
        audio=replace(audio, channels=20, predict=Velocity(), pooled=video.pooled),
        text=pocket.words(video.width),
        text_attention=RotaryCrossAttention,
        num_blocks=num_blocks,
        rate=6.0,
    )


def ccl_pocket() -> Experiment:
    """Puppets at 128 x 128 as in ``jova_pocket``: the same data, budget, codecs and text; 16.3 M parameters."""
    return replace(
        pocket.puppets("ccl_pocket", model(heads=(4, 3), head=64, mlp=308, num_blocks=6), TASKS),
        link_dropout=CLOSING,
        guidance=U4,
    )


def ccl_study() -> Experiment:
    """4.6 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    return replace(
        pocket.brief(ccl_pocket()),
        name="ccl_study",
        model=model(heads=(4, 3), head=32, mlp=140, num_blocks=7),
    )


def ccl_paper() -> Experiment:
    """The published size: Wan2.1-14B for the picture, for the sound as many layers of Wan2.1-1.3B's width.

    Base model, 352 x 640, 12,000 steps of 320, learning rate and task mix are [secondary summary]; the sound's codec,
    width and depth, text, density, guidance and sampling are [inferred]. All but the new layers are trained at a tenth
    of the rate. No weights are public.
    """
    drop = Swap((("text", "text.negative"),))
    return Experiment(
        name="ccl_paper",
        model=CCL(
            video=StreamConfig(
                channels=16 * CELLS,
                width=5120,
                heads=40,
                mlp=13824,
                rope=Rope(sizes=(44, 42, 42), scale=(4.0, 1.0, 1.0)),  # Wan's latent frames, four a second at 16 fps
                time=WanTime(),
            ),
            audio=StreamConfig(
                channels=20,
                width=1536,
                heads=12,
                mlp=8960,
                rope=Rope(sizes=(128, 0, 0), scale=(31.25, 1.0, 1.0)),
                time=WanTime(),
            ),
            text=TowerText(video=("text", 4096), audio=("text", 4096)),
            text_attention=CrossAttention,
            num_blocks=40,
            rate=4.0,
        ),
        video_codec=published.wan21_video,
        audio_codec=published.mmaudio_16k,
        encoders={
            "text": published.umt5_xxl(text.render),
            "text.negative": published.umt5_xxl(text.negative),
        },
        tasks=TASKS,
        density=LogitNormal(shift=5.0),
        losses=(FlowLoss(),),
        dropout=(Dropout(edit=drop, share=0.1),),
        link_dropout=CLOSING,
        guidance=nested_guidance(drop, (5.0, 4.0), (2.5, 2.5)),
        sampling=Sampling(steps=50, shift=5.0),
        geometry=Geometry(num_frames=81, height=352, width=640, fps=16.0),
        optim=PartsOptim(lr=1e-4, warmup=500, ema=0.9999, parts=("video_context", "audio_context"), elsewhere=0.1),
        train=Train(steps=12_000, batch=320, checkpointing=True, compile=True, save_every=500),
        names=wan.WeightNames(wan=WAN, fresh=FRESH),
    )
