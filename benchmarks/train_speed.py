"""Samples per second of training from a cache of latents: python benchmarks/train_speed.py CACHE [RECIPE] [STEPS].

One process takes as many threads as OMP_NUM_THREADS says; under torchrun every rank does. Without a cache
(CACHE is "-") random latents of the recipe's size stand in for one: the arithmetic is the same.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import torch

from phonofilm.data.cache import Cache
from phonofilm.data.samples import Codes, Dataset, Sample
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_recipe
from phonofilm.train import draw, loop, parallel
from phonofilm.types import Prompt

WARM = 8
"""Steps before the clock starts: clips and stills, prompts and portraits have each come by then, as a rule."""
SAID = Prompt(
    scene="a woman with long red hair, pale skin, blue background",
    sound="a high voice",
    speech=(("", "set white with p two soon"),),
)


@dataclass(frozen=True)
class Random:
    """Random latents of a recipe's size; every clip has the same prompt."""

    experiment: Experiment
    codes: Codes

    @property
    def geometry(self):
        return self.experiment.geometry

    @property
    def buckets(self):
        return {self.geometry.num_frames: 64}

    @property
    def speaker(self):
        return self.experiment.speaker_encoder.name if self.experiment.speaker_encoder else ""

    @property
    def reference(self):
        return self.experiment.reference

    def read(self, num_frames, indices):
        layout = self.codes.layout(self.geometry, self.experiment.patch)
        grid, (down, across) = layout.video, self.experiment.patch
        heard = self.reference
        shape = (grid.frames, grid.rows * down, grid.columns * across)
        sample = Sample(
            video=torch.randn(self.codes.video_channels, *shape),
            audio=torch.randn(self.codes.audio_channels, layout.audio.frames),
            regions={name: torch.rand(1, *shape) for name in self.experiment.regions},
            prompt=SAID,
            seed=0,
            voices=(("", torch.randn(self.experiment.speaker_encoder.channels)),)
            if self.experiment.speaker_encoder
            else (),
            reference=torch.randn(self.codes.audio_channels, heard.tokens(layout.audio)) if heard else None,
        )
        return [sample] * len(indices)

    def refreshed(self):
        return self


def share_of_clips(experiment: Experiment, dataset: Dataset, steps: range) -> float:
    """How many of the steps see whole clips; the others see stills."""
    longest = max(dataset.buckets)
    seed = experiment.train.seed
    return sum(draw.plan(experiment, dataset.buckets, seed, step).num_frames == longest for step in steps) / len(steps)


def measure(experiment: Experiment, dataset: Dataset, steps: int) -> None:
    dataset = experiment.data(dataset)
    whole = share_of_clips(experiment, dataset, range(WARM, WARM + steps))
    with parallel.world() as world, torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        learner = loop.start(experiment, world)
        for step in range(WARM + steps):
            if step == WARM:
                world.wait()
                began, spent = time.monotonic(), time.process_time()
            loop.advance(experiment, learner, dataset, step, world)
        world.wait()
        wall, cpu = time.monotonic() - began, time.process_time() - spent
        if world.first:
            parameters = sum(p.numel() for p in experiment.model.build().parameters()) / 1e6
            print(
                f"{experiment.name}: {parameters:.1f} M parameters, batch {experiment.train.batch}, {world.size} "
                f"processes with {torch.get_num_threads()} threads on {world.device}: "
                f"{steps * experiment.train.batch / wall:.1f} samples/s, {whole:.0%} of them whole clips "
                f"({cpu / wall:.2f} cores busy per process)"
            )


def main(place: str, recipe: str = "jova_pocket", steps: str = "40", way: str = "shard", compiled: str = "") -> None:
    experiment = find_recipe(recipe)
    train = replace(experiment.train, parallel=way, compile=bool(compiled))
    experiment = replace(experiment, train=train)
    if place == "-":
        dataset = Random(experiment, Codes.of(experiment.video_codec(), experiment.audio_codec()))
    else:
        dataset = Cache.open(place)
    measure(experiment, dataset, int(steps))


if __name__ == "__main__":
    main(*sys.argv[1:])
