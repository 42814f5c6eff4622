"""What the small recipes share: the pocket codecs by their numbers, texts, positions, data, budget and sampling.

Training the codecs is ``phonofilm.train.codecs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.blocks import BlockCodec
from phonofilm.data.stills import Stills
from phonofilm.diffusion.flow import LogitNormal
from phonofilm.diffusion.guidance import Guidance, Swap, together
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import Kind
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import text
from phonofilm.encoders.voice import VoiceEncoder
from phonofilm.network.context import PooledText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import Data, Pooled, StreamConfig, WanTime
from phonofilm.recipes.experiment import Architecture, Dropout, Experiment, Optim, Train, as_it_is

LAMBDA = 5.0
"""Weight of the mouth's area; the value of the paper's ablation [secondary summary]. Puppets' clips have balls, too, so
there the area is that of whatever sounds."""
CELLS = 4
"""Latent cells of a token: patches of 2 x 2."""

FIELDS = ("scene", "sound", "speech")
NEGATIVE = Swap((("scene", "scene.negative"), ("sound", "nothing"), ("speech", "nothing")))
"""Guidance moves away from a clip without sound and speech, and from what the negative prompt shows."""
EMPTY = Swap(tuple((field, "nothing") for field in FIELDS))
NO_SCENE = Swap((("scene", "nothing"),))
"""So that a portrait alone can say how somebody looks."""

AUDIO_VAE: dict[str, object] = {
    "mel_bins": 80,
    "latent_channels": 20,
    "hidden_channels": 96,
    "channel_multipliers": (1, 2),
    "layers_per_block": 1,
    "sample_rate": 16000,
    "n_fft": 1024,
    "hop_length": 256,
}
VOCODER: dict[str, object] = {
    "num_mels": 80,
    "upsample_initial_channel": 384,
    "upsample_rates": (4, 4, 4, 4),
    "upsample_kernel_sizes": (8, 8, 8, 8),
    "resblock_kernel_sizes": (3,),
    "resblock_dilation_sizes": ((1, 3),),
}


def pocket_video() -> BlockCodec:
    """The puppets' video codec, untrained: 64 components of blocks."""
    return BlockCodec(channels=64, width=192, depth=2, fine=48, fine_depth=3)


def pocket_audio() -> AudioCodec:
    """The puppets' audio codec, untrained."""
    return AudioCodec.build(AUDIO_VAE, VOCODER)


def rope(head: int) -> Rope:
    """Positions for heads of so many channels: half of them for time, a quarter each for rows and columns.

    A turn of one radian per audio token: neighbouring letters and sounds must be told apart, and clips are short.
    """
    spatial = head // 4
    return Rope(sizes=(head - 2 * spatial, spatial, spatial), scale=(32.0, 1.0, 1.0), theta=100.0)


def words(inner: int) -> PooledText:
    """The three texts of a prompt as bytes, in layers of so many channels."""
    return PooledText(fields=FIELDS, characters=text.NUM_IDS, space=text.SPACE, inner=inner)


def wan_tower(*, width: int, heads: int, mlp: int) -> StreamConfig:
    """A small tower of Wan's layers for the video codec's latents; its output is the clean ones."""
    return StreamConfig(
        channels=64 * CELLS,
        width=width,
        heads=heads,
        mlp=mlp,
        rope=rope(width // heads),
        time=WanTime(),
        predict=Data(),
        pooled=Pooled(channels=width),
    )


def puppets(
    name: str,
    model: Architecture,
    tasks: tuple[tuple[Kind, float], ...],
    *,
    voices: Mapping[str, VoiceEncoder] = MappingProxyType({}),
) -> Experiment:
    """Two seconds of puppets at 128 x 128: what is equal in all recipes of this size, for one network and its tasks."""
    return Experiment(
        name=name,
        model=model,
        video_codec=pocket_video,
        audio_codec=pocket_audio,
        encoders={
            "scene": text.ByteEncoder(text.scene),
            "sound": text.ByteEncoder(text.sound),
            "speech": text.ByteEncoder(text.speech),
            "scene.negative": text.ByteEncoder(text.negative),
            "nothing": text.ByteEncoder(text.nothing),
        },
        voices=dict(voices),
        tasks=tasks,
        data=Stills,
        density=LogitNormal(std=1.8, shift=7.0),
        losses=(FlowLoss(region="sounding", weight=LAMBDA),),
        regions=("sounding",),
        dropout=(Dropout(edit=EMPTY, share=0.1), Dropout(edit=NO_SCENE, share=0.15)),
        guidance=(Guidance(contrast=NEGATIVE, video_scale=2.5, audio_scale=2.5),),
        sampling=Sampling(steps=16, shift=3.0, passes=together),
        geometry=Geometry(num_frames=49, height=128, width=128, fps=24.0),
        optim=Optim(lr=1e-3, warmup=100, ema=0.998),
        train=Train(steps=2900, batch=24, parallel="replicate", save_every=100, sample_every=500),
    )


def brief(experiment: Experiment) -> Experiment:
    """A pocket recipe in minutes, for studies of lips and words: many small steps at twice the rate, and no stills.

    On GRID sentences 10,800 samples, half of them stills, left word error rates of 0.85 in batches of 12 at 2e-3 and
    0.65 in batches of 6 at 3e-3; 5,600 samples of clips alone in batches of 8 at 2e-3 one of 0.53 (docs/log.md).
    """
    optim, train = replace(experiment.optim, lr=2e-3, warmup=50), replace(experiment.train, steps=900, batch=6)
    return replace(experiment, data=as_it_is, optim=optim, train=train)
