"""The pocket vocoder: numbers of the network and of its training, which takes an hour of one CPU core.

``python -m phonofilm.train.codecs.pocket_vocoder --codecs CODECS --folder FOLDER`` speaks and sounds a pool of clips,
trains against the mels and the ``audio_vae`` of CODECS, and writes FOLDER/vocoder; started again it goes on where it
stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from phonofilm.codecs.audio import AudioCodec
from phonofilm.codecs.folders import save_part
from phonofilm.codecs.harmonic_noise import HarmonicNoiseVocoder
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.pool import Pool, pool_scripts
from phonofilm.train.codecs.vocoders import Adversaries, adversarial_job, pitch_job, spectral_job

if TYPE_CHECKING:
    from phonofilm.puppets.script import Script

PITCH_SCHEDULE = Schedule(steps=480, lr=2e-3, muon=0.01)
SPECTRAL_SCHEDULE = Schedule(steps=1000, lr=1e-3, muon=0.01)
ADVERSARIAL_SCHEDULE = Schedule(steps=3000, lr=3e-4, muon=0.004, warmup=10, seed=2)
HELD = 64


def with_vocoder(codec: AudioCodec) -> AudioCodec:
    """The codec of a mel autoencoder with an untrained vocoder."""
    torch.manual_seed(0)
    changed = AudioCodec(codec.vae, HarmonicNoiseVocoder())
    changed.standardise(codec.mean.flatten(), codec.std.flatten())
    return changed


def train_vocoder(codec: AudioCodec, pool: Pool, folder: Path) -> AudioCodec:
    """Train the vocoder of a codec whose mel autoencoder is final: its pitch, then the rest by spectra."""
    codec = with_vocoder(codec)
    pitch = pitch_job(codec, pool, batch=16, columns=64, scored=48)
    _keep(codec, fit(pitch, PITCH_SCHEDULE, folder / "pitch"))
    spectral = spectral_job(codec, pool, batch=8, columns=64, scored=24)
    _keep(codec, fit(spectral, SPECTRAL_SCHEDULE, folder / "spectral"))
    return codec.eval()


def go_on_adversarially(codec: AudioCodec, pool: Pool, folder: Path) -> AudioCodec:
    """Train the vocoder of a codec further, against discriminators."""
    adversarial = adversarial_job(codec, pool, batch=8, columns=64, scored=24)
    trained = fit(adversarial, ADVERSARIAL_SCHEDULE, folder / "adversarial")
    assert isinstance(trained, Adversaries)
    _keep(codec, trained.vocoder)
    return codec.eval()


def _keep(codec: AudioCodec, averaged: nn.Module) -> None:
    codec.vocoder.load_state_dict(averaged.state_dict())


def sound_pool(scripts: Sequence[Script], folder: Path) -> Pool:
    """The sound of scripts alone, without pictures; ``waves.npy`` in the folder is made where there is none."""
    from phonofilm.puppets.performance import perform  # here: training reads what was spoken, without puppets

    path = folder / "waves.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "waves.part.npy"
        np.save(part, np.stack([perform(script).wave[0].numpy() for script in scripts]))
        part.replace(path)
    waves = np.load(path, mmap_mode="r")
    return Pool(np.zeros((len(waves), 0)), np.zeros((len(waves), 0, 4)), waves, HELD)


def main(codecs: Path, folder: Path, clips: int = 4096, *, adversarial: bool = False) -> None:
    """Train a vocoder for the mel autoencoder in the folder CODECS and write it into FOLDER/vocoder.

    With ``adversarial`` it goes on against discriminators, which the shipped weights did not.
    """
    pool = sound_pool(pool_scripts(clips, HELD), folder / "pool")
    codec = train_vocoder(AudioCodec.load(codecs), pool, folder)
    if adversarial:
        codec = go_on_adversarially(codec, pool, folder)
    save_part(codec.vocoder, folder / "vocoder", dtype=torch.float16)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
