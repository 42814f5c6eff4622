"""The pocket codecs: pictures and 16 kHz sound of the puppets; the mel autoencoder takes 12 minutes on one CPU core.

``phonofilm codecs train --out FOLDER`` draws a pool of clips, trains and writes ``vae``,
``audio_vae`` and ``vocoder``; started again it goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

import torch

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.folders import save_part
from phonofilm.codecs.griffin_lim import GriffinLimVocoder
from phonofilm.recipes.pocket import pocket_audio
from phonofilm.train.codecs import pocket_video, pocket_vocoder
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.jobs import audio_statistics, initialise, mel_job, mel_statistics
from phonofilm.train.codecs.pool import Pool, pool_scripts, write_pool

MEL_SCHEDULES = (Schedule(steps=2106, lr=2e-3), Schedule(steps=1681, lr=5e-4, muon=0.01, seed=1))
"""AdamW first; Muon after it brought the error of held-out log10 mels from 0.104 to 0.064."""
KL = 1e-3
HELD = 48


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


def without_vocoder(codec: AudioCodec) -> AudioCodec:
    """The codec with Griffin and Lim's search in the vocoder's place."""
    searching = AudioCodec(codec.vae, GriffinLimVocoder().eval())
    searching.standardise(codec.mean.flatten(), codec.std.flatten())
    return searching


def main(folder: Path, clips: int = 2048, *, vocoder: bool = True) -> None:
    """Draw the pool where there is none, train all parts, and write the codecs into ``folder``.

    Without ``vocoder`` none is trained (an hour or more on one core), and Griffin and Lim's search speaks.
    """
    if not (folder / "pool" / "frames.npy").is_file():
        write_pool(folder / "pool", pool_scripts(clips, HELD), size=128)
    pool = Pool.open(folder / "pool", HELD)
    pocket_video.train_video(pool, folder / "video_run").save(folder, dtype=torch.bfloat16)
    audio = train_mel(pool, folder)
    audio = without_vocoder(audio)
    audio.save(folder, dtype=torch.bfloat16)
    if vocoder:
        trained = pocket_vocoder.train_vocoder(audio, pool, folder / "vocoder_run")
        save_part(trained.vocoder, folder / "vocoder", dtype=torch.float16)
