"""``phonofilm puppets make``, ``show`` and ``prompts``: the synthetic corpus on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from phonofilm.cli.arguments import check_number, needs
from phonofilm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Make:
    """Draw and speak clips, and write what is true about them into truth.parquet.

    phonofilm puppets make data/puppets --clips 100 --seed 1. A broken run is repeated with the same arguments.
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Where the clips go."""
    clips: int
    """How many clips the folder is to hold."""
    seed: int = 0
    """Clip i is decided by this seed plus i: the same on any machine."""
    split: str = "train"
    """Sentences and looks: train, val or test."""
    stage: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """One stage alone: speaker, dialogue, ball, keyboard or rain; the shipped model's mix if not given."""
    size: int = 128
    """Pixels of the square picture's side."""
    frames: int = 49
    """Pixel frames of a clip."""
    fps: float = 24.0
    """Pixel frames per second."""

    def run(self) -> None:
        """Make what is missing."""
        for name, low, high in (("clips", 1, 1e7), ("seed", 0, 2**31), ("size", 32, 2048), ("frames", 1, 2000)):
            check_number(name, getattr(self, name), low=low, high=high)
        check_number("fps", self.fps, low=1, high=240)
        with needs("puppets"):
            from phonofilm.puppets.corpus import Corpus, make

        corpus = Corpus(
            clips=self.clips,
            seed=self.seed,
            split=self.split,
            stages=None if self.stage is None else {self.stage: 1.0},
            size=self.size,
            num_frames=self.frames,
            fps=self.fps,
        )
        made = make(self.folder, corpus)
        print(f"{self.folder}: {made} clips made, {self.clips} there")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Show pixel frames of a corpus in one picture, over what is said.

    phonofilm puppets show data/puppets -o sheet.png
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """A folder that `phonofilm puppets make` filled."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("sheet.png")
    """The PNG to write."""
    clips: int = 12
    """How many clips are in it."""
    frames: int = 4
    """Pixel frames of each."""
    columns: int = 2
    """Clips side by side."""

    def run(self) -> None:
        if self.out.suffix.lower() != ".png":
            raise UserError(f"--out {self.out}: the sheet is written as png; end the name in .png")
        for name in ("clips", "frames", "columns"):
            check_number(name, getattr(self, name), low=1, high=1000)
        with needs("puppets"):
            from phonofilm.puppets.corpus import contact_sheet
        from phonofilm.files.media import replacing

        sheet = contact_sheet(self.folder, clips=self.clips, frames=self.frames, columns=self.columns)
        with replacing(self.out) as part:
            sheet.save(part, "PNG")
        print(self.out)


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Write a prompt for each spoken clip of a corpus, with a recording of each speaker's voice.

    phonofilm puppets prompts data/two writes data/two/prompts.jsonl for `phonofilm generate --prompts`; the clips then
    are scored by `phonofilm evaluate clips --truth data/two/truth.parquet`.
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """A folder that `phonofilm puppets make` filled."""

    def run(self) -> None:
        """Write prompts and voices."""
        with needs("puppets"):
            from phonofilm.puppets.prompt_file import PROMPTS, write_prompts

        made = write_prompts(self.folder)
        print(f"{self.folder / PROMPTS}: {made} prompts with voices")


@dataclass(frozen=True, kw_only=True)
class Puppets:
    """Make or show the synthetic corpus of talking puppets, or prompts with voices after it."""

    command: Annotated[
        Annotated[Make, tyro.conf.subcommand("make")]
        | Annotated[Sheet, tyro.conf.subcommand("show")]
        | Annotated[Prompts, tyro.conf.subcommand("prompts")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        """Run what was chosen."""
        self.command.run()
