"""UniVerse-1's recipes: ``universe1_pocket`` (puppets), ``_study`` (minutes), ``_paper`` (published size)."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.architectures.universe1 import ByteUniVerse1, UniVerse1
from phonofilm.diffusion.flow import LogitNormal
from phonofilm.diffusion.guidance import Both, Guidance, Swap, unlinked
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import I2AV, T2AV
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import text
from phonofilm.encoders.lyrics import LyricEncoder
from phonofilm.network.ace import GroupNormEmbed
from phonofilm.network.ace_time import AceTime, LevelTime
from phonofilm.network.alignment import MaskedWindow, SameFrame
from phonofilm.network.layers import Rope
from phonofilm.network.lyrics import CaptionsAndLyrics
from phonofilm.network.ports import Data, Pooled, StreamConfig, Velocity, WanTime
from phonofilm.recipes import pocket, published
from phonofilm.recipes import wan_names as wan
from phonofilm.recipes.experiment import Dropout, Experiment, LinkDropout, Optim, Train
from phonofilm.types import CLOSED, IndexClock, Prompt

RECIPES = ("universe1_pocket", "universe1_study", "universe1_paper")

TASKS = ((T2AV, 0.75), (I2AV, 0.25))
"""The first frame stands clean in the stream; the shares are [inferred]. The release always has a picture."""
NEGATIVE = Swap(tuple((name, f"{name}.negative") for name in ("scene", "sound", "speech")))
APART = (LinkDropout(links=CLOSED, share=0.1),)
"""Guidance moves away from what the towers make alone, so they are trained alone as well [inferred]."""

RENAMES: wan.Rules = (
    (r"\.mel_scale_shift_table$", ".audio.modulation.table"),
    (r"\.mel_attn\.to_out\.0\.", ".audio.out."),
    (r"\.mel_attn\.to_([qkv])\.", r".audio.projection.\1."),
    (r"\.mel_cross_attn\.to_out\.0\.", ".audio.text_out."),
    (r"\.mel_cross_attn\.to_([qkv])\.", r".audio.text.\1."),
    (r"\.mel_cross_attn\.add_([kv])_proj\.", r".audio.seen_\1."),
    (r"\.mel_ff\.inverted_conv\.conv\.", ".audio.mlp.up."),
    (r"\.mel_ff\.depth_conv\.conv\.", ".audio.mlp.conv."),
    (r"\.mel_ff\.point_conv\.conv\.", ".audio.mlp.down."),
    (r"\.mel_to_vid\.", ".a2v."),
    (r"\.vid_to_mel\.", ".v2a."),
    (r"\.attn1\.add_([kv])_proj\.", r".video.near.\1."),
    (r"\.attn1\.norm_added_k\.", ".video.near.norm_k."),
    (r"\.attn2\.add_([kv])_proj\.", r".video.far.\1."),
    (r"\.attn2\.norm_added_k\.", ".video.far.norm_k."),
    (r"^(blocks\.\d+)\.(scale_shift_table$|attn1\.|attn2\.|norm2\.|ffn\.)", r"\1.video.\2"),
    (r"^proj_in\.early_conv_layers\.0\.", "audio.enter_x.up."),
    (r"^proj_in\.early_conv_layers\.1\.", "audio.enter_x.norm."),
    (r"^proj_in\.early_conv_layers\.2\.", "audio.enter_x.down."),
    (r"^timestep_embedder\.linear_1\.", "audio.time.embedding.mlp.0."),
    (r"^timestep_embedder\.linear_2\.", "audio.time.embedding.mlp.2."),
    (r"^t_block\.1\.", "audio.time.projection."),
    (r"^final_layer\.scale_shift_table$", "audio.modulation.table"),
    (r"^final_layer\.linear\.", "audio.leave_x."),
    (r"^genre_embedder\.", "context.sound."),
    (r"^lyric_proj\.", "context.speech."),
    (r"^lyric_embs\.", "context.lyrics.embed."),
    (r"^lyric_encoder\.embed\.out\.", "context.lyrics.enter."),
    (r"^lyric_encoder\.after_norm\.", "context.lyrics.norm."),
    (r"^lyric_encoder\.encoders\.(\d+)\.", r"context.lyrics.layers.\1."),
    (r"\.self_attn\.pos_bias_u$", ".content_bias"),
    (r"\.self_attn\.pos_bias_v$", ".distance_bias"),
    (r"\.self_attn\.linear_pos\.", ".distance."),
    (r"\.self_attn\.linear_(q|k|v|out)\.", r".\1."),
    (r"\.norm_mha\.", ".norm."),
    (r"\.norm_ff\.", ".mlp.0."),
    (r"\.feed_forward\.w_1\.", ".mlp.1."),
    (r"\.feed_forward\.w_2\.", ".mlp.3."),
    *wan.DIFFUSERS,
    *wan.TOWER,
    (r"^text_embedding\.", "context.scene."),
    (r"^(enter_x|time|modulation|leave_x)\.", r"video.\1."),
)
"""The release's names (fastvideo/models/wan/modeling_universe.py) to ours."""
UNUSED = (r"^projectors\.", r"^speaker_embedder\.", r"\.mel_attn\.add_[kv]_proj\.")
"""What ACE-Step was trained with beside its own task, its speaker's voice, and keys that no attention reads."""


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


def said(prompt: Prompt) -> str:
    """What is said, whoever says it: the release reads the words alone."""
    return " ".join(words for _, words in prompt.speech)


def paper_model() -> UniVerse1:
    """The published network; positions are its integers. Depth, widths and heads are Wan2.1-T2V-1.3B's and ACE-Step's.

    ACE-Step has 24 layers; the paper fills its tower up to Wan's 30 with means of neighbours.
    """
    return UniVerse1(
        video=StreamConfig(
            channels=16 * pocket.CELLS,
            width=1536,
            heads=12,
            mlp=8960,
            rope=Rope(sizes=(44, 42, 42)),
            time=LevelTime(),
        ),
        audio=StreamConfig(
            channels=128,
            width=2560,
            heads=20,
            mlp=6400,
            rope=Rope(sizes=(128, 0, 0), theta=1e6),
            embed=GroupNormEmbed(inner=2048),
            time=AceTime(),
        ),
        text=CaptionsAndLyrics(
            scene=("scene", 4096),
            sound=("sound", 768),
            speech="speech",
            vocabulary=6693,
            inner=1024,
            heads=16,
            mlp=4096,
            depth=6,
        ),
        num_blocks=30,
        window=SameFrame(),
        time=Rope(sizes=(128, 0, 0)),
    )


def universe1_paper() -> Experiment:
    """The release: towers of 30 layers, 6.30 B parameters without what it never reads.

    Geometry, steps, shift and guidance scales are those of the release's script; batch, steps of training and learning
    rate the paper's. Tasks, noise levels, dropout and warm-up are [inferred].
    """
    return Experiment(
        name="universe1_paper",
        model=paper_model(),
        video_codec=published.wan21_video,
        audio_codec=published.ace_audio,
        encoders={
            "scene": published.umt5_xxl(text.scene),
            "scene.negative": published.umt5_xxl(text.negative),
            "sound": published.umt5_base(text.sound),
            "sound.negative": published.umt5_base(text.nothing),
            "speech": LyricEncoder(said),
            "speech.negative": LyricEncoder(text.nothing),
        },
        tasks=((I2AV, 1.0),),
        density=LogitNormal(shift=5.0),
        losses=(FlowLoss(),),
        dropout=(Dropout(edit=NEGATIVE, share=0.1),),
        link_dropout=APART,
        guidance=(Guidance(contrast=Both((NEGATIVE, unlinked)), video_scale=1.2, audio_scale=5.0),),
        sampling=Sampling(steps=35, shift=15.0),
        geometry=Geometry(num_frames=125, height=480, width=768, fps=25.0),
        clock=IndexClock(),
        optim=Optim(lr=5e-6, warmup=1000, ema=0.9999),
        train=Train(steps=50_000, batch=128, checkpointing=True, compile=True, save_every=1000),
        names=wan.WeightNames(release=RENAMES, unused=UNUSED),
    )
