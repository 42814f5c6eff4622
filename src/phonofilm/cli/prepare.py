"""``phonofilm prepare``: puppets as latents, for training to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phonofilm.cli.arguments import Command, read_pairs, read_part
from phonofilm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Prepare(Command):
    """Draw and speak puppets, encode them with trained codecs and keep the latents in a folder.

    What is there already stays, so that a broken run can be repeated; training may start meanwhile.
    phonofilm prepare --codecs runs/codecs --clips 6000 --out data/train
    """

    codecs: Path
    """A folder with vae, audio_vae and vocoder: a checkpoint folder, or what `phonofilm codecs train` made."""
    out: Path
    """The cache folder."""
    clips: int
    """How many clips it is to hold."""
    recipe: str = "jova_pocket"
    """A recipe's name, or package.module:function."""
    split: str = "train"
    """Sentences and looks: train, val or test."""
    seed: int = 0
    """Clip i is the script of this seed plus i."""
    stages: str = ""
    """Shares of the stages (speaker, dialogue, ball, keyboard, rain; grid, talk: a speaker who says nothing else), such
    as speaker=0.5,ball=0.5; the recipe's if not given."""
    frames: int | None = None
    """Length of the clips in pixel frames; the recipe's if not given. Several lengths may share a folder."""
    workers: int | None = None
    """Processes of one thread each; as many as cores if not given."""
    accept: tuple[str, ...] = ()
    """Licences of restricted codecs that you accept, such as CC-BY-NC-4.0."""
    part: str = "0/1"
    """i/n: only every n-th shard from i, where several machines fill one folder."""

    def run(self) -> None:
        part = read_part(self.part)
        if self.workers is not None and self.workers < 0:
            raise UserError(f"--workers {self.workers}: a number from 0 is wanted")
        from phonofilm.codecs.licences import check_licences
        from phonofilm.data.prepare import Wanted, prepare
        from phonofilm.recipes.lookup import find_recipe

        wanted = Wanted(
            clips=self.clips,
            seed=self.seed,
            split=self.split,
            stages=read_stages(self.stages) if self.stages else None,
            num_frames=self.frames,
            part=part,
        )
        experiment = find_recipe(self.recipe)
        check_licences((experiment.video_codec, experiment.audio_codec), self.accept)
        made = prepare(experiment, self.codecs, self.out, wanted, workers=self.workers)
        print(f"{self.out}: {made} clips made, {self.clips} wanted of split {self.split}")


def read_stages(text: str) -> dict[str, float]:
    """The shares in ``--stages speaker=0.5,ball=0.5``."""
    from phonofilm.puppets.script import CHOICES

    wanted = f"shares as speaker=0.5,ball=0.5; stages are {', '.join(CHOICES)}"
    pairs = read_pairs("stages", text, number=r"\d*\.?\d+", wanted=wanted)
    if not pairs.keys() <= set(CHOICES):
        raise UserError(f"--stages {text}: wanted are {wanted}")
    shares = {name: float(share) for name, share in pairs.items()}
    if not sum(shares.values()):
        raise UserError(f"--stages {text}: at least one share must be above 0")
    return shares
