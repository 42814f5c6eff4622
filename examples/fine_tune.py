"""Fine-tune the shipped model on a cache of puppets of your choice: python examples/fine_tune.py OUT [CLIPS [STEPS]].

The command line does the same with ``phonofilm prepare`` and ``phonofilm train --init``. The defaults show how it is
done and nothing more: sixteen clips and three steps teach nothing.
"""

import sys
from dataclasses import replace
from pathlib import Path

import phonofilm
from phonofilm import Prompt, Request
from phonofilm.checkpoints.folder import read_weights
from phonofilm.data.cache import Cache
from phonofilm.data.prepare import Wanted, prepare
from phonofilm.generation.pipeline import SHIPPED
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_recipe
from phonofilm.train.export import describe, export
from phonofilm.train.loop import Origin, Watch, train
from phonofilm.train.validate import validation

POCKET = SHIPPED / "pocket"
"""The shipped model's folder: the weights to start from, and the codecs that made the latents they know."""
STAGES = {"grid": 1.0}
"""One puppet that says a sentence of the GRID grammar; see docs/how-it-works/puppets.md for the others."""


def recipe(steps: int) -> Experiment:
    """The shipped model's last recipe with a small rate and few clips a step."""
    stage = find_recipe("jova_pocket_stage4")
    return replace(
        stage,
        optim=replace(stage.optim, lr=1e-4, warmup=min(50, steps)),
        train=replace(stage.train, steps=steps, batch=4, save_every=steps, sample_every=steps),
    )


def main(out: Path, clips: int = 16, steps: int = 3) -> None:
    experiment = recipe(steps)
    prepare(experiment, POCKET, out / "train", Wanted(clips=clips, stages=STAGES), workers=0)
    prepare(experiment, POCKET, out / "val", Wanted(clips=4, stages=STAGES, split="val"), workers=0)
    data, val = Cache.open(out / "train"), Cache.open(out / "val")

    watch = Watch(every=(validation(experiment, val, clips=4),))
    origin = Origin(weights=read_weights(POCKET), device="cpu")
    weights = train(experiment, data, out / "run", watch=watch, origin=origin)

    export(experiment, weights, POCKET, out / "model", describe(data, {"steps": steps}, {}))
    pipeline = phonofilm.load(str(out / "model"))
    prompt = Prompt(scene="a man with black hair, dark skin", speech=(("", "bin blue at f two now"),))
    phonofilm.write_clip(out / "clip.mp4", pipeline.generate(Request(prompt=prompt)))
    print(f"{out / 'model'}: {steps} steps of 4 clips; {out / 'clip.mp4'} is a clip of it")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["runs/fine_tuned"]), *map(int, sys.argv[2:4]))
