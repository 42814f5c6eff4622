"""The pocket codecs: pictures and 16 kHz sound of the puppets; the mel autoencoder takes 12 minutes on one CPU core.

``phonofilm codecs train --out FOLDER`` draws a pool of clips, trains and writes ``vae``,
``audio_vae`` and ``vocoder``; started again it goes on where it stopped.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.recipes.pocket import pocket_audio
from phonofilm.train.codecs import pocket_video
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.jobs import audio_statistics, initialise, mel_job, mel_statistics, vocoder_job
from phonofilm.train.codecs.pool import Pool, write_pool

if TYPE_CHECKING:
    from phonofilm.puppets.script import Script

MEL_SCHEDULES = (Schedule(steps=2106, lr=2e-3), Schedule(steps=1681, lr=5e-4, muon=0.01, seed=1))
"""AdamW first; Muon after it brought the error of held-out log10 mels from 0.104 to 0.064."""
VOCODER_SCHEDULE = Schedule(steps=3600, lr=1e-3, muon=0.01)
KL = 1e-3
HELD = 48


def pool_scripts(count: int, held: int) -> list[Script]:
    """Mostly speakers, some bouncing balls, a few of the other stages; the last ``held`` are validation clips."""
    from phonofilm.puppets.script import write_script  # here: recipes are read to generate, which needs no puppets

    scripts = []
    for seed in range(count):
        rng, split = random.Random(seed), "train" if seed < count - held else "val"
        share = rng.random()
        other = rng.choice(("dialogue", "keyboard", "rain"))
        stage = "speaker" if share < 0.78 else "ball" if share < 0.92 else other
        scripts.append(write_script(seed, split=split, stage=stage))
    return scripts


def train_mel(pool: Pool, folder: Path) -> AudioCodec:
    """Train the mel autoencoder and adopt the statistics of its latents, which are final then."""
    torch.manual_seed(0)
    codec = pocket_audio()
    initialise(codec)
    codec.normalise(*mel_statistics(codec, pool, 400))
    for i, schedule in enumerate(MEL_SCHEDULES):
        job = mel_job(codec, pool, batch=16, samples=16384, kl=KL, scored=HELD)
        codec = fit(job, schedule, folder / f"mel{i}")
        assert isinstance(codec, AudioCodec)
    codec.standardise(*audio_statistics(codec, pool, 400))
    return codec


def train_vocoder(codec: AudioCodec, pool: Pool, folder: Path) -> AudioCodec:
    """Train the vocoder of a codec whose mel autoencoder is final."""
    trained = fit(vocoder_job(codec, pool, batch=4, columns=32, scored=16), VOCODER_SCHEDULE, folder / "vocoder_run")
    assert isinstance(trained, AudioCodec)
    return trained


def without_vocoder(codec: AudioCodec) -> AudioCodec:
    """The codec with Griffin and Lim's search in the vocoder's place: what pocket ships."""
    searching = AudioCodec(codec.vae, GriffinLimVocoder().eval())
    searching.standardise(codec.mean.flatten(), codec.std.flatten())
    return searching


def main(folder: Path, clips: int = 2048, *, vocoder: bool = False) -> None:
    """Draw the pool where there is none, train all parts, and write the codecs into ``folder``.

    With ``vocoder`` a vocoder is trained too (an hour or more on one core) instead of Griffin and Lim's search.
    """
    if not (folder / "pool" / "frames.npy").is_file():
        write_pool(folder / "pool", pool_scripts(clips, HELD), size=128)
    pool = Pool.open(folder / "pool", HELD)
    pocket_video.train_video(pool, folder / "video_run").save(folder, dtype=torch.bfloat16)
    audio = train_mel(pool, folder)
    audio = train_vocoder(audio, pool, folder) if vocoder else without_vocoder(audio)
    audio.save(folder, dtype=torch.bfloat16)
