"""``phonofilm train``: a recipe on a cache of latents, with one process or under torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phonofilm.cli.arguments import Command, check_number, needs, say
from phonofilm.errors import UserError

if TYPE_CHECKING:
    from phonofilm.data.samples import Dataset
    from phonofilm.recipes.experiment import Experiment
    from phonofilm.train.loop import Watch


SHOWN = 4
"""Clips that are made to look at."""


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Command):
    """Train a recipe from scratch, or go on where the folder's last checkpoint stands.

    phonofilm train --recipe jova_pocket --data data/train --val data/val --codecs runs/codecs --out runs/jova
    """

    out: Path
    """Folder of the run: checkpoints, figures, and in the end the model in out/model."""
    recipe: str = "jova_pocket"
    """A recipe's name, or package.module:function."""
    data: Path | None = None
    """A cache that `phonofilm prepare` made; without it puppets are drawn on the fly."""
    val: Path | None = None
    """A cache of the val split: its loss is logged, and the checkpoint with the lowest is kept."""
    codecs: Path | None = None
    """A folder with vae, audio_vae and vocoder; they go into the finished model, and on-the-fly data needs them."""
    accept: tuple[str, ...] = ()
    """Licences of restricted codecs that you accept, such as CC-BY-NC-4.0."""
    trust: Path | None = None
    """The folder of --codecs once more, where it holds code (speaker.pt) that may run; loading runs none otherwise."""
    eval_clips: int = 0
    """Clips of the val split to generate and score at every look, always the same ones; the best checkpoint is kept
    by them. 16 take about half a minute on two cores. Needs phonofilm[evaluate]."""
    init: Path | None = None
    """A model's folder whose weights the run starts from, to fine-tune it; fresh weights if not given."""
    steps: int | None = None
    """Steps; the recipe's if not given. A run may go on with another number."""
    batch: int | None = None
    """Samples of one step over all processes; the recipe's if not given."""
    accumulate: int | None = None
    """Rounds in which a step's samples are computed: more need less memory."""
    seed: int | None = None
    """Of the weights and of everything that is drawn."""
    save_every: int | None = None
    """Steps between checkpoints."""
    sample_every: int | None = None
    """Steps between looks at samples and held-out clips."""
    arithmetic: str | None = None
    """Of matrix products: bfloat16, float32, or auto for what the device is fast at."""
    parallel: str | None = None
    """Over several processes: shard or replicate."""
    compile: bool | None = None
    """Compile the blocks."""
    checkpointing: bool | None = None
    """Recompute blocks in the backward pass."""
    device: str = ""
    """cpu or cuda; a GPU if there is one."""

    def run(self) -> None:
        """Train, then write the model's folder."""
        check_number("eval-clips", self.eval_clips, low=0, high=1000)
        experiment = self.experiment()
        dataset = self.dataset(experiment)
        from phonofilm.checkpoints.folder import read_weights
        from phonofilm.data.cache import Cache
        from phonofilm.train.export import describe, export
        from phonofilm.train.loop import Origin, train

        origin = Origin(weights=read_weights(self.init) if self.init else None, device=self.device)
        weights = train(experiment, dataset, self.out, watch=self.watch(experiment, dataset), origin=origin)
        if self.codecs is not None and isinstance(dataset, Cache) and os.environ.get("RANK", "0") == "0":
            notes = {"steps": experiment.train.steps, "samples": experiment.train.steps * experiment.train.batch}
            export(experiment, weights, self.codecs, self.out / "model", describe(dataset.refreshed(), notes, {}))
            say(str(self.out / "model"))

    def watch(self, experiment: Experiment, dataset: Dataset) -> Watch:
        """What is looked at every ``sample_every`` steps: the held-out loss, clips, and how good they are."""
        from phonofilm.data.cache import Cache
        from phonofilm.train.loop import Watch
        from phonofilm.train.validate import LOSS, validation

        hooks, best, shown = [], "", dataset
        if self.val is not None:
            shown = Cache.open(self.val)
            hooks, best = [validation(experiment, shown)], LOSS
        if self.codecs is not None:
            from phonofilm.train.samples import sampling

            samples = shown.read(experiment.geometry.num_frames, range(SHOWN))
            prompts = [sample.prompt for sample in samples]
            hooks.append(sampling(experiment, self.codecs, self.out / "samples", prompts))
        if self.eval_clips:
            if self.codecs is None:
                raise UserError(
                    f"--eval-clips {self.eval_clips} makes clips and scores them: name the codecs with --codecs"
                )
            with needs("evaluate"):
                from phonofilm.evaluate.quick import WRONG, clip_scoring, counts_of

            hooks.append(clip_scoring(experiment, self.codecs, counts=counts_of(self.eval_clips)))
            best = WRONG
        return Watch(every=tuple(hooks), best=best)

    def experiment(self) -> Experiment:
        """The recipe with the settings that were given."""
        from phonofilm.codecs.licences import check_licences
        from phonofilm.recipes.lookup import find_recipe

        experiment = find_recipe(self.recipe)
        if self.codecs is not None:  # which may hold text encoders beside the codecs
            check_licences((experiment.video_codec, experiment.audio_codec), self.accept)
            experiment = experiment.at(self.codecs)
        if self.trust is not None:
            if self.codecs is None or self.trust.resolve() != self.codecs.resolve():
                raise UserError(f"--trust {self.trust}: code runs from the folder of --codecs only; name that")
            experiment = experiment.trusting(self.codecs)
        names = ("steps", "batch", "accumulate", "seed", "save_every", "sample_every")
        names = (*names, "arithmetic", "parallel", "compile", "checkpointing")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for name, value in given.items():
            if not isinstance(value, bool | str) and value < (0 if name == "seed" else 1):
                raise UserError(f"--{name.replace('_', '-')} {value}: a positive number is wanted")
        return replace(experiment, train=replace(experiment.train, **given))

    def dataset(self, experiment: Experiment) -> Dataset:
        """The cache, or puppets on the fly."""
        if self.data is not None:
            from phonofilm.data.cache import Cache

            return Cache.open(self.data)
        if self.codecs is None:
            raise UserError("nothing to train on: name a cache with --data, or --codecs to draw puppets on the fly")
        from phonofilm.data.prepare import Wanted, puppets

        return puppets(experiment, self.codecs, Wanted(clips=1_000_000))
