"""NAVA's recipes: ``nava_pocket`` (puppets), ``nava_study`` (minutes), ``nava_paper`` (published size, for training)
and ``nava_release`` (what the published weights were trained with)."""

from __future__ import annotations

from dataclasses import replace

from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor

from phonofilm.architectures.nava import NAVA, TimbreInContext, TimbreOverSentinel
from phonofilm.diffusion.flow import Bell, Indexed
from phonofilm.diffusion.guidance import Both, Guidance, Swap, together, unlinked
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling, from_scheduler
from phonofilm.diffusion.tasks import I2AV, T2A, T2AV, Kind, voiced
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import text
from phonofilm.encoders.features import NegativeOr
from phonofilm.encoders.speaker import PitchAndCepstrum
from phonofilm.encoders.timbre import Blank, Sentinels, Timbres, Voiceless
from phonofilm.encoders.trained_speaker import TrainedSpeaker
from phonofilm.network.context import PooledVoicedBytes, VoicedFeatures
from phonofilm.network.layers import Rope
from phonofilm.network.ports import ConvEmbed, StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket, published
from phonofilm.recipes import wan_names as wan
from phonofilm.recipes.experiment import Dropout, Experiment, LinkDropout, Optim, Train
from phonofilm.recipes.pocket import CELLS
from phonofilm.types import CLOSED, AVInput, IndexClock, Model, Prompt

RECIPES = ("nava_pocket", "nava_pocket_joint", "nava_study", "nava_study_joint", "nava_paper", "nava_release")

SPEAKER = 192
"""Channels of a speaker vector, as ReDimNet makes it."""
APART = LinkDropout(links=CLOSED, share=0.2)
"""The alignment mask in training; guidance moves away from such passes."""
BLURRED = (
    "static picture, overexposed, blurred details, subtitles, low quality, deformed hands and faces, "
    "robotic, muffled or distorted sound, echo, noise"
)
"""What guidance moves away from where a prompt has no negative. The release has a longer list in Chinese."""
NO_VOICE = Swap((("voice", "voice.none"),))
NEGATIVE = Swap((("text", "text.negative"), *NO_VOICE.pairs))
"""The negative text has no sentinels, so it has no voices."""
BLANK = Swap((("text", "text.blank"), *NO_VOICE.pairs))
NULL_VOICE = Swap((("voice", "voice.null"),))
PUPPET = PitchAndCepstrum()
"""The pocket size's speaker encoder."""
STAGES = {"speaker": 0.65, "dialogue": 0.2, "ball": 0.15}
"""The shipped model's mix with two speakers in a fifth of the clips [inferred]."""


VOICED: tuple[tuple[Kind, float], ...] = tuple((voiced(task), 0.0) for task in (T2A, T2AV, I2AV))
"""What a voice can be asked for; training data has no speaker vectors yet."""


def renames(num_align: int, num_fuse: int) -> wan.Rules:
    """The release's names (model_mm.py) to ours, for so many layers of both kinds."""
    fuse = tuple((rf"^single_blocks\.{n}\.", f"blocks.{num_align + n}.both.") for n in range(num_fuse))
    return (
        (r"^double_blocks\.(\d+)\.", r"blocks.\1.video."),
        *fuse,
        (r"\.video\.(self_attn|cross_attn)\.(\w+)_audio\.", r".audio.\1.\2."),
        (r"\.video\.modulation_audio\.", ".audio.modulation."),
        (r"\.(video|both)\.(norm3|ffn)\.", r".\2."),
        (r"\.modulation\.modulation$", ".modulation"),
        *wan.conv_embedding("patch_embedding_audio"),
        (r"^text_embedding\.", "context.text.layers."),
        (r"^speaker_embedding\.net\.", "context.voice.layers."),
        (r"^speaker_embedding\.out_norm\.", "context.voice.layers.4."),
        (r"^speaker_embedding\.null_token$", "context.voice.null"),
        (r"^head_audio\.", "audio.head."),
        (r"^(head|patch_embedding|time_embedding|time_projection)\.", r"video.\1."),
        *wan.TOWER,
    )


RENAMES = renames(10, 20)
"""The release's names to ours."""
WAN: wan.Rules = (
    (r"^blocks\.(\d)\.", r"double_blocks.\1."),
    *((rf"^blocks\.{n}\.", f"single_blocks.{n - 10}.") for n in range(10, 30)),
    *RENAMES,
)
"""Names of Wan2.2-TI2V-5B to ours: its first ten layers become video's part of the align layers [inferred]."""
FRESH = (r"^audio\.", r"^blocks\.\d+\.audio\.", r"^context\.voice\.")
"""What Wan has not."""


def model(*, width: int, heads: int, mlp: int, inner: int, num_align: int, num_fuse: int) -> NAVA:
    """A small NAVA for the pocket codecs; ``inner`` is that of the sound port's convolutions."""
    video = pocket.wan_tower(width=width, heads=heads, mlp=mlp)
    return NAVA(
        video=video,
        audio=replace(video, channels=20, embed=ConvEmbed(kernel=7, inner=inner), predict=Velocity()),
        text=PooledVoicedBytes(
            fields=pocket.FIELDS, characters=text.NUM_IDS, space=text.SPACE, inner=width, sentinel=text.SENTINEL
        ),
        voice=TimbreInContext(channels=PUPPET.channels),
        num_align=num_align,
        num_fuse=num_fuse,
    )


def nava_pocket() -> Experiment:
    """Puppets at 128 x 128 as in ``jova_pocket``: the same budget, codecs and text, about as many parameters.

    Half of the steps bring reference voices, and a fifth of the clips have two speakers [inferred].
    Noise levels are drawn and weighed as in ``jova_pocket``: the even table of the paper visits low ones so often that
    a port which divides by them gets noise, and its bell gives no weight to pure noise, the level that teaches to read
    a scene. Sound weighs as much as video, since the paper's 0.2 suits Wan's latents.
    """
    shared = pocket.puppets(
        "nava_pocket",
        model(width=320, heads=5, mlp=1232, inner=160, num_align=2, num_fuse=4),
        ((T2AV, 0.375), (I2AV, 0.125)),
        voices={"voice": Timbres(PUPPET.channels), "voice.null": Voiceless(PUPPET.channels)},
    )
    return replace(
        shared,
        encoders=shared.encoders | {"speech": text.ByteEncoder(text.voiced_speech, text.PRINTABLE | {text.MARK})},
        speaker_encoder=PUPPET,
        stages=STAGES,
        tasks=((T2AV, 0.375), (voiced(T2AV), 0.375), (I2AV, 0.125), (voiced(I2AV), 0.125)),
        dropout=(*shared.dropout, Dropout(edit=NULL_VOICE, share=0.2)),
        link_dropout=(APART,),
        guidance=(
            Guidance(contrast=pocket.NEGATIVE, video_scale=2.5, audio_scale=2.5),
            Guidance(contrast=unlinked, video_scale=2.5, audio_scale=2.0),
            Guidance(contrast=NULL_VOICE, video_scale=1.0, audio_scale=2.5),
        ),
        sampling=Sampling(steps=16, shift=3.0, passes=together),
    )


def nava_study() -> Experiment:
    """4.6 M parameters: the same seam in minutes, for comparisons and tests of claims."""
    return replace(
        pocket.brief(nava_pocket()),
        name="nava_study",
        model=model(width=160, heads=2, mlp=688, inner=160, num_align=2, num_fuse=4),
    )


def joint(experiment: Experiment) -> Experiment:
    """The same on the clips and tasks of the other systems: no reference voices, no two speakers."""
    return replace(
        experiment,
        name=f"{experiment.name}_joint",
        speaker_encoder=None,
        stages={},
        tasks=((T2AV, 0.75), (I2AV, 0.25)),
        dropout=tuple(dropout for dropout in experiment.dropout if dropout.edit is not NULL_VOICE),
        guidance=tuple(term for term in experiment.guidance if term.contrast is not NULL_VOICE),
    )


def nava_pocket_joint() -> Experiment:
    """``nava_pocket`` without voices, on caches that hold none: for comparisons with the other systems."""
    return joint(nava_pocket())


def nava_study_joint() -> Experiment:
    """``nava_study`` without voices, on caches that hold none: for comparisons with the other systems."""
    return joint(nava_study())


def caption(prompt: Prompt) -> str:
    """A prompt as NAVA reads it: one paragraph with speech between marks, a sentinel before each line's words."""
    lines = [f"{who} <S><extra_id_2>{words}<E>".strip() for who, words in prompt.speech]
    return " ".join(part for part in (prompt.scene, prompt.sound, *lines) if part)


def unipc(model: Model, input: AVInput, sigmas: Float[Tensor, " N"]) -> AVInput:
    """The release's sampler, UniPC of second order, as diffusers has it."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return from_scheduler(scheduler)(model, input, sigmas)


def paper_model(voice: TimbreInContext, *, video: float, audio: float) -> NAVA:
    """The published network; ``video`` and ``audio`` turn a clock's numbers into latent frames of the picture."""
    rope = Rope(sizes=(44, 42, 42), scale=(video, 1.0, 1.0))
    stream = StreamConfig(channels=48 * CELLS, width=3072, heads=24, mlp=14336, rope=rope, time=WanTime())
    return NAVA(
        video=stream,
        audio=replace(
            stream,
            channels=128,
            rope=replace(rope, scale=(audio, 1.0, 1.0)),
            embed=ConvEmbed(kernel=7, inner=8192),
        ),
        text=VoicedFeatures(text=("text", 4096), marks="sentinels"),
        voice=voice,
        num_align=10,
        num_fuse=20,
    )


def nava_paper() -> Experiment:
    """The published size, 6.297 B parameters, with exact seconds and voices that keep their order: for new training.

    Steps, batch, learning rate, weights and guidance are the paper's and its release's; warm-up, betas, weight decay
    and EMA are [inferred], as are the shares of tasks within its second stage.
    """
    encoder = published.umt5_xxl(caption)
    return Experiment(
        name="nava_paper",
        model=paper_model(TimbreInContext(channels=SPEAKER), video=6.0, audio=6.0),
        video_codec=published.wan22_video,
        audio_codec=published.ltx2_audio,
        encoders={
            "text": encoder,
            "sentinels": Sentinels(encoder.encoder),
            "text.negative": published.umt5_xxl(NegativeOr(BLURRED)),
            "text.blank": Blank(4096),
        },
        voices={
            "voice": Timbres(SPEAKER),
            "voice.null": Voiceless(SPEAKER),
            "voice.none": Voiceless(SPEAKER, placed=False),
        },
        speaker_encoder=TrainedSpeaker(SPEAKER),
        tasks=((T2A, 1 / 3), (T2AV, 1 / 3), (I2AV, 1 / 3), *VOICED),
        density=Indexed(shift=5.0),
        losses=(FlowLoss(audio=0.2, levels=Bell(Indexed(shift=5.0))),),
        dropout=(Dropout(edit=BLANK, share=0.1), Dropout(edit=NULL_VOICE, share=0.2)),
        link_dropout=(APART,),
        guidance=(
            Guidance(contrast=NEGATIVE, video_scale=4.0, audio_scale=3.0),
            Guidance(contrast=unlinked, video_scale=4.0, audio_scale=3.0),
            Guidance(contrast=NO_VOICE, video_scale=1.0, audio_scale=4.0),
        ),
        sampling=Sampling(sampler=unipc, steps=50, shift=5.0),
        geometry=Geometry(num_frames=121, height=704, width=1280, fps=24.0),
        optim=Optim(lr=5e-5, betas=(0.9, 0.999), warmup=1000, final=1.0, ema=0.9999),
        train=Train(steps=70_000, batch=512, checkpointing=True, compile=True, save_every=1000),
        names=wan.WeightNames(release=RENAMES, wan=WAN, fresh=FRESH),
    )


def nava_release() -> Experiment:
    """What ernie-research/NAVA's weights were trained with: voices in place of sentinels, integer positions.

    The pass without links has no voices either, as in the release (pipeline_nava.py, commit 5af8e72).
    """
    paper = nava_paper()
    text_term, _, voice_term = paper.guidance
    return replace(
        paper,
        name="nava_release",
        model=paper_model(TimbreOverSentinel(channels=SPEAKER), video=1.0, audio=0.24),
        clock=IndexClock(),
        guidance=(
            text_term,
            Guidance(contrast=Both((unlinked, NO_VOICE)), video_scale=4.0, audio_scale=3.0),
            voice_term,
        ),
    )
