"""Model folders for tests: recipes with fresh weights, written as the trainer writes them."""

from dataclasses import dataclass, replace

import torch

from phonofilm.checkpoints.folder import Training, save_checkpoint
from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.blocks import BlockCodec
from phonofilm.diffusion.tasks import NAMED, Beside, Reference, placed, voiced
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders import text
from phonofilm.network.context import PooledText
from phonofilm.network.layers import Rope
from phonofilm.network.ports import DiTTime, Pooled
from phonofilm.recipes import nava, uniavgen
from phonofilm.recipes import pocket as pocket_codecs
from phonofilm.recipes.lookup import find_recipe

TRAINING = Training(
    num_frames=(49,),
    letters_per_second=(5.0, 9.0, 12.0),
    words=("blue", "now", "set", "soon", "white", "with"),
    scene_words=("a", "blue", "background", "hair", "man", "red", "with", "woman"),
)
GEOMETRY = Geometry(num_frames=17, height=32, width=64, fps=24.0)
"""Of ``every_task``: 0.708 s, latent frames end at 1/24, 5/24, ... and sound latents every 32 ms."""
PLACE = Beside(16)
THIN_VAE = pocket_codecs.AUDIO_VAE | {"hidden_channels": 8}
THIN_VOCODER = pocket_codecs.VOCODER | {
    "upsample_initial_channel": 8,
    "upsample_rates": (16, 16),
    "upsample_kernel_sizes": (32, 32),
    "resblock_dilation_sizes": ((1,),),
}


def small_video():
    """An untrained block codec."""
    torch.manual_seed(1)
    return BlockCodec(channels=4, width=8, depth=1, fine=4, fine_depth=1)


def small_audio():
    """An untrained mel autoencoder and vocoder, thin."""
    torch.manual_seed(2)
    vae = pocket_codecs.AUDIO_VAE | {"hidden_channels": 16}
    vocoder = pocket_codecs.VOCODER | {"upsample_initial_channel": 32}
    return AudioCodec.build(vae, vocoder)


@dataclass(frozen=True)
class Loudness:
    """A speaker encoder in miniature: the power of a voice."""

    name: str = "loudness"
    channels: int = 1

    def __call__(self, sound):
        return sound.samples.square().mean().reshape(1)


def thin(model):
    """A JoVA of one layer of each kind and width 32, for video latents of 4 channels."""
    sizes = {"width": 32, "heads": 2, "mlp": 64, "rope": Rope(sizes=(8, 4, 4))}
    stream = {**sizes, "time": DiTTime(width=16), "pooled": Pooled(channels=32)}
    return replace(
        model,
        video=replace(model.video, channels=4 * 4, beside=(4 + 4) * 4, **stream),
        audio=replace(model.audio, **stream),
        text=PooledText(characters=text.NUM_IDS, space=text.SPACE, inner=16, dilations=(1,)),
        num_dual=1,
        num_single=1,
    )


def every_task():
    """A JoVA of one layer of each kind, "trained" for every task that has a name, and for a reference voice."""
    study = find_recipe("jova_study")
    kinds = (*NAMED, voiced(NAMED[0], Reference(seconds=0.2, silence=0.05)))
    return replace(
        study,
        name="models:every_task",
        model=thin(study.model),
        video_codec=small_video,
        audio_codec=small_audio,
        tasks=tuple((placed(kind, PLACE), 1.0) for kind in kinds),
        sampling=replace(study.sampling, steps=2),
        geometry=GEOMETRY,
    )


def speaking():
    """A NAVA of two layers that reads reference voices, "trained" for what ``nava_study`` is."""
    study = find_recipe("nava_study")
    network = nava.model(width=32, heads=2, mlp=64, inner=16, num_align=1, num_fuse=1)
    return replace(
        study,
        name="models:speaking",
        model=replace(network, video=replace(network.video, channels=4 * 4)),
        video_codec=small_video,
        audio_codec=small_audio,
        sampling=replace(study.sampling, steps=2),
        geometry=GEOMETRY,
    )


def listening():
    """A UniAVGen of two layers that reads a voice as tokens, "trained" for what ``uniavgen_study_tasks`` is."""
    study = find_recipe("uniavgen_study_tasks")
    network = uniavgen.model(width=32, heads=2, mlp=64)
    return replace(
        study,
        name="models:listening",
        model=replace(network, video=replace(network.video, channels=4 * 4), layers=network.layers[:2]),
        video_codec=small_video,
        audio_codec=small_audio,
        sampling=replace(study.sampling, steps=2),
        geometry=Geometry(num_frames=49, height=32, width=32, fps=24.0),
    )


def write_model(folder, recipe="jova_study", training=TRAINING):
    """A network whose output is not zero, and untrained codecs."""
    torch.manual_seed(0)
    experiment = find_recipe(recipe)
    backbone = experiment.model.build()
    weights = {
        name: torch.randn_like(tensor) * 0.02 if not tensor.any() else tensor
        for name, tensor in backbone.state_dict().items()
    }
    save_checkpoint(folder, experiment, weights, training, bits=8)
    experiment.video_codec().save(folder)
    experiment.audio_codec().save(folder)
