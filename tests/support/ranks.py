"""Two-rank trainings of every system at a tiny width, all in one process group. Run as a program it is both ranks."""

import multiprocessing
import os
import sys
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from training import CODES, GEOMETRY, Noise, tiny

from phonofilm.network.ports import Pooled
from phonofilm.recipes.experiment import Experiment, MuonOptim, Optim, Train
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.train import parallel
from phonofilm.train.ema import whole
from phonofilm.train.loop import Origin, advance, start, train

RECIPES = [name for name in recipe_names() if name.endswith("_study")]
WAYS = ["shard", "replicate"]
OPTIMISERS = {"adamw": Optim(lr=1e-2, warmup=2), "muon": MuonOptim(lr=2e-3, warmup=2)}
PATIENCE = timedelta(minutes=5)
"""A rank that has waited so long for the other one gives up."""


def thin(numbers, width):
    """A record of a network's numbers with one head a stream, short MLPs, and text as wide as the video."""
    if isinstance(numbers, Pooled):
        return Pooled(channels=width)
    if not is_dataclass(numbers) or isinstance(numbers, type):
        return numbers
    sizes = {"heads": 1, "mlp": 32, "inner": width}
    own = {name: getattr(numbers, name) for name in (field.name for field in fields(numbers))}
    new = {name: sizes.get(name, thin(value, width)) for name, value in own.items()}
    return replace(numbers, **new | ({"width": own["width"] // own["heads"]} if "heads" in own else {}))


def small(name, way) -> Experiment:
    """A system that trains each of its tasks as often, with one block of each kind, or two."""
    study = find_recipe(name)
    shallow = {name: 1 for name in ("num_dual", "num_single", "num_align", "num_fuse") if hasattr(study.model, name)}
    shallow |= {"num_blocks": 2} if hasattr(study.model, "num_blocks") else {}
    shallow |= {"layers": study.model.layers[:2]} if hasattr(study.model, "layers") else {}
    video = study.model.video
    return replace(
        study,
        model=replace(thin(study.model, video.width // video.heads), **shallow),
        tasks=tuple((task, 1.0) for task, _ in study.tasks),
        geometry=GEOMETRY,
        optim=Optim(lr=1e-2, warmup=2),
        train=Train(steps=4, batch=4, seed=8, arithmetic="float32", parallel=way),
    )


def clips(experiment):
    """Random latents with all that the system reads."""
    codes = replace(CODES, video_channels=64)
    voice = (
        {"speaker": experiment.speaker_encoder.name, "voice": experiment.speaker_encoder.channels}
        if experiment.speaker_encoder
        else {}
    )
    return Noise(codes=codes, regions=experiment.regions, **voice)


def weights(experiment):
    """Random weights, so that nothing hides behind gates and outputs that start at zero."""
    generator = torch.Generator().manual_seed(0)
    fresh = experiment.model.build().state_dict()
    return {name: 0.08 * torch.randn(tensor.shape, generator=generator) for name, tensor in fresh.items()}


def stepped(name, way, world):
    """A system's mean weights after some steps, and the losses and the norm of the gradient of each step."""
    experiment = small(name, way)
    learner = start(experiment, world, Origin(device="cpu", weights=weights(experiment)))
    figures = []
    for step in range(experiment.train.steps):
        losses, norm = advance(experiment, learner, clips(experiment), step, world)
        figures.append([*losses.values(), norm])
    return whole(learner.average.weights) | {"figures": torch.tensor(figures)}


def run_of(optimiser, way):
    """A run of one JoVA of one layer."""
    seed = 5  # with 3, one gradient of the video MLP is so small that Adam makes a step out of its rounding
    return replace(tiny(steps=3, seed=seed, parallel=way), optim=OPTIMISERS[optimiser])


def begun(optimiser):
    """The weights that such a run begins with."""
    with parallel.world("cpu") as world:
        backbone = start(run_of(optimiser, "replicate"), world, Origin(device="cpu")).backbone
    return {name: parameter.detach().clone() for name, parameter in backbone.named_parameters()}


def trained(optimiser, way, folder):
    """A whole run with its checkpoints."""
    return train(run_of(optimiser, way), Noise(), folder / f"{optimiser}-{way}", origin=Origin(device="cpu"))


def take_part(rank, port, folder):
    """All that is trained, as one rank of two."""
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": str(rank)}
    torch.set_num_threads(1)
    with parallel.world("cpu", patience=PATIENCE) as world:
        for way in WAYS:
            for optimiser in OPTIMISERS:
                save_file(trained(optimiser, way, folder), folder / f"{optimiser}-{way}-{rank}.safetensors")
            for name in RECIPES:
                save_file(stepped(name, way, world), folder / f"{name}-{way}-{rank}.safetensors")


if __name__ == "__main__":
    folder, port = sys.argv[1:]
    fork = multiprocessing.get_context("fork")  # torch is imported once for both ranks
    ranks = [fork.Process(target=take_part, args=(rank, port, Path(folder))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    sys.exit(any(rank.exitcode for rank in ranks))
