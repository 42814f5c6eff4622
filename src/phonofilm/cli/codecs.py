"""``phonofilm codecs``: the codecs between clips and latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from phonofilm.cli.arguments import Command, check_number, needs
from phonofilm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Codecs(Command):
    """Train the pocket codecs on puppets: a video codec, a mel autoencoder and what turns mels into sound.

    phonofilm codecs train --out runs/codecs

    Started again it goes on where it stopped. `phonofilm prepare --codecs` and `phonofilm train --codecs` take the
    folder that it fills.
    """

    what: tyro.conf.Positional[Annotated[Literal["train"], tyro.conf.arg(metavar="train")]]
    """What to do with them."""
    out: Path
    """The folder for vae, audio_vae and vocoder, and for what a broken run goes on from."""
    clips: int = 2048
    """Puppets to draw and train on; the last 48 are never trained on, they measure."""
    vocoder: bool = False
    """Train a vocoder, too (an hour or more on one core), instead of Griffin and Lim's search."""

    def run(self) -> None:
        """Draw clips where there are none, train what is not trained yet, write the folder."""
        check_number("clips", self.clips, low=64, high=10_000_000)
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out}: a folder is wanted, this is a file")
        with needs("puppets"):
            from phonofilm.train.codecs.pocket import main

        main(self.out, self.clips, vocoder=self.vocoder)
        print(self.out)
