"""The training loop: one for one process or many, for every recipe.

Everything random of a step is drawn in ``train/draw.py`` from (seed, step); how a backbone is spread over processes
stands in ``train/parallel.py``. What is left is here, in the order in which it happens.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phonofilm.checkpoints.folder import numbers
from phonofilm.codecs.folders import load_strictly
from phonofilm.data.cache import Cache
from phonofilm.data.samples import Dataset
from phonofilm.diffusion.losses import total
from phonofilm.errors import UserError
from phonofilm.files.atomic import write_text
from phonofilm.files.hold import held
from phonofilm.files.stored_json import entry, read_json
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.record import difference, record, without
from phonofilm.train import checkpoint, draw, ema, optim, parallel
from phonofilm.train.checkpoint import Learner, Position
from phonofilm.train.log import Log
from phonofilm.train.parallel import World

RUN = "run.json"
FEATURES = "features"
"""Inside a cache of latents: what frozen text encoders make of its prompts, each text once."""
FORMAT = 2
"""Of ``run.json``. Runs that phonofilm 0.1.0 began have none: numbers of network, batch and optimiser, no more."""
AT = "data at"
"""Where the clips were when a run began: they may be moved."""
FREE = (
    *("guidance", "finish", "sampling"),  # which training does not read
    *("train.steps", "train.save_every", "train.sample_every"),
    *("train.accumulate", "train.checkpointing", "train.compile", "train.arithmetic", "train.parallel"),
)
"""What of a recipe may change when a run goes on: how long, how often and on what machine; anything else would make it
another run. The number of steps is among it although the learning rate falls towards the last one: a run may be
lengthened, and its rate then follows the new length."""

Hook = Callable[[int, Backbone], Mapping[str, float]]
"""Called with the number of steps done and the backbone holding its mean weights; returns figures to log. All
processes call it together."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run begins."""

    weights: Mapping[str, Tensor] | None = None
    """A trained network's weights, to fine-tune it; fresh ones if None."""
    name: str = ""
    """Of these weights, such as their hash: a run goes on with the same."""
    device: str = ""
    """cpu or cuda; a GPU if there is one."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is looked at while a model is trained."""

    every: tuple[Hook, ...] = ()
    """Called every ``sample_every`` steps and at the end."""
    best: str = ""
    """Name of the figure whose lowest value marks the checkpoint to keep; it must come from the validation split."""
    held_out: Mapping[str, Any] = field(default_factory=dict)
    """What is held out for the figures, as plain values: a run goes on with the same."""


def train(
    experiment: Experiment, dataset: Dataset, folder: str | Path, *, watch: Watch = Watch(), origin: Origin = Origin()
) -> dict[str, Tensor]:
    """Train a recipe on a dataset, or go on where the folder's last checkpoint stands.

    Returns the mean weights, those of the best checkpoint if the watch names a figure for it.

    Raises ``UserError`` if a loss is no number any more (the last good checkpoint stays), or if the folder belongs
    to another run.
    """
    folder = Path(folder)
    # Falling back would halve the speed; links, tasks and lengths each want a graph of their own.
    strict = torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=64)
    with parallel.world(origin.device) as world, strict, _folder_of_its_own(folder, world):
        if world.first:
            claim(folder, experiment, given_to(dataset, watch, origin))
        world.wait()
        kept = str(dataset.folder / FEATURES) if isinstance(dataset, Cache) else ""
        experiment = experiment.on(str(world.device), kept)
        learner = start(experiment, world, origin)
        position = checkpoint.go_on(folder, learner, world) or Position(step=0, shards=_shards(dataset))
        dataset = _as_seen(dataset, position)
        steps, spent = experiment.train.steps, position.seconds
        speaks = {"steps": steps, "batch": experiment.train.batch, "speaks": world.first}
        with Log(folder, position, **speaks) as log:
            settle_looks(learner, watch, folder, position, log, world)
            for step in range(position.step, steps):
                losses, norm = advance(experiment, learner, experiment.data(dataset), step, world)
                log.step(step, losses, {"gradient": norm, "rate": optim.rate(experiment.optim, step, steps)})
                due = _due(step, experiment.train.sample_every, steps)
                if due or _due(step, experiment.train.save_every, steps):
                    dataset = _shared_refresh(dataset, world)
                    spans = {"seconds": spent + log.seconds, "losses": tuple(log.losses)}
                    position = Position(step=step + 1, shards=_shards(dataset), look=due, **spans)
                    checkpoint.save(folder, learner, position, world)
                    if due:
                        look(learner, watch, folder, step + 1, log)
                    log.resume_clock()
        world.wait()
        best, _ = checkpoint.best_of(folder)
        if watch.best and best >= 0:
            checkpoint.restore(checkpoint.path_of(folder, best), learner)
        return ema.whole(learner.average.weights)


@contextmanager
def _folder_of_its_own(folder: Path, world: World) -> Iterator[None]:
    """One training at a time works in a folder; ``UserError`` says which one does."""
    with held(folder, "phonofilm train") if world.first else nullcontext():
        yield


def start(experiment: Experiment, world: World, origin: Origin = Origin()) -> Learner:
    """Fresh or given weights, the same on all ranks, spread as the recipe says, with optimiser and means.

    Raises ``UserError`` where given weights do not fit the network.
    """
    torch.manual_seed(draw.seed_of(experiment.train.seed, "weights"))
    backbone = experiment.model.build()
    if origin.weights is not None:
        load_strictly(backbone, origin.weights, where="the weights to start from")
    backbone.to(world.device)
    parallel.parallelize(backbone, experiment.train, world)
    return Learner(
        backbone=backbone,
        optimisers=optim.optimisers(experiment.optim, backbone),
        average=ema.Average(backbone, experiment.optim.ema),
    )


def advance(
    experiment: Experiment, learner: Learner, dataset: Dataset, step: int, world: World
) -> tuple[dict[str, float], float]:
    """One step of the optimiser. Returns each loss, mean over the global batch, and the norm of the gradient."""
    settings = experiment.train
    plan = draw.plan(experiment, dataset.buckets, settings.seed, step)
    rounds = draw.rows_of(settings.batch, world.rank, world.size, settings.accumulate)
    sums: dict[str, Tensor] = {}
    for turn, rows in enumerate(rounds):
        input, batch = draw.assemble(experiment, dataset, plan, rows, world.device)
        parallel.exchange(learner.backbone, now=turn + 1 == len(rounds))
        with parallel.arithmetic(settings, world.device):
            output = learner.backbone(input)
        terms: dict[str, Tensor] = {}
        for loss in experiment.losses:
            terms |= loss(input, output, batch, step)
        (total(terms) / len(rounds)).backward()
        sums = {name: sums.get(name, 0) + term.detach() / len(rounds) for name, term in terms.items()}
    losses = dict(zip(sums, world.mean(torch.stack(list(sums.values()))).tolist()))
    _check(losses, plan, learner)
    parallel.share_gradients(learner.backbone, world)
    norm = optim.clip(learner.backbone, experiment.optim.clip)
    _check({"gradient": norm}, plan, learner)
    optim.move(learner.optimisers, optim.rate(experiment.optim, step, settings.steps))
    learner.average.update(learner.backbone, step)
    return losses, norm


def _check(figures: Mapping[str, float], plan: draw.Plan, learner: Learner) -> None:
    """Stop before a step spoils the weights."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise UserError(
                f"{name} is {value} at step {plan.step}; the batch is that of seed {plan.seed} and step {plan.step}: "
                f"clips {', '.join(map(str, plan.indices[:4]))} ... of {plan.num_frames} pixel frames, task "
                f"{plan.task.name}. Earlier checkpoints are good: lower the rate or change the clips"
            )


def look(learner: Learner, watch: Watch, folder: Path, step: int, log: Log) -> None:
    """Call the hooks with the mean weights in place; remember the checkpoint if it is the best so far."""
    figures: dict[str, float] = {}
    assert isinstance(learner.backbone, Backbone)
    with learner.average.inside(learner.backbone) as backbone, torch.compiler.set_stance("force_eager"):
        assert isinstance(backbone, Backbone)
        backbone.eval()
        for hook in watch.every:
            figures |= hook(step, backbone)
        backbone.train()
    for name, value in figures.items():
        if not math.isfinite(value):
            raise UserError(
                f"{name} is {value} at step {step}, of which the checkpoint is kept: mend the held-out clips and go "
                "on, or begin anew at a lower rate if it is the weights"
            )
    if watch.best and watch.best not in figures:
        raise UserError(f"no figure {watch.best!r} to keep the best by; there are {', '.join(figures) or 'none'}")
    log.look(step, figures)
    if watch.best:
        best = log.speaks and _note_best(watch, folder, log)
        log.say(f"step {step}: {watch.best} {figures[watch.best]:.4f}{', the best so far' if best == step else ''}")


def settle_looks(learner: Learner, watch: Watch, folder: Path, position: Position, log: Log, world: World) -> None:
    """Make what a run that goes on owes: the look at its checkpoint, and the choice of the best by all looks."""
    if world.broadcast(position.look and position.step not in log.looks):
        look(learner, watch, folder, position.step, log)
        log.resume_clock()
    elif world.first:
        _note_best(watch, folder, log)


def _note_best(watch: Watch, folder: Path, log: Log) -> int:
    """Remember the checkpoint with the lowest figure of all looks, the first one of equal ones; returns its step."""
    figures = {step: seen[watch.best] for step, seen in log.looks.items() if watch.best in seen}
    if not figures:
        return -1
    best = min(figures, key=lambda step: (figures[step], step))
    checkpoint.note_best(folder, best, figures[best])
    return best


def given_to(dataset: Dataset, watch: Watch, origin: Origin) -> dict[str, Any]:
    """What a run is given beside its recipe, as plain values: it goes on with the same."""
    return {
        "data": dict(dataset.source),
        AT: str(dataset.folder.resolve()) if isinstance(dataset, Cache) else "",
        "held out": {"best by": watch.best} | dict(watch.held_out),
        "weights to start from": origin.name,
    }


def claim(folder: Path, experiment: Experiment, given: Mapping[str, Any] | None = None) -> None:
    """Make the folder of a run, or check that it is one of the same recipe, except for what is ``FREE``.

    ``given`` is what ``given_to`` says; None compares nothing of it. Raises ``UserError`` with the name of the first
    thing that differs and both of its values.
    """
    path, given = folder / RUN, record(given or {})
    own = {"format": FORMAT, "recipe": experiment.name, "experiment": record(experiment), "given": given}
    if not path.exists():
        write_text(path, json.dumps(own, indent=1) + "\n")
    there = read_json(path)
    if "format" not in there:
        found = difference(there, without(_unformatted(experiment), FREE))
    elif there["format"] != FORMAT:
        raise UserError(f"{path} has format {there['format']!r}, this phonofilm reads {FORMAT}: update phonofilm")
    else:
        began = entry(there, "experiment", dict, path)
        found = difference(without(began, FREE), without(own["experiment"], FREE))
        if given and "given" in there and not found:
            found = difference(without(there["given"], [AT]), without(given, [AT]))
            if found and found.name.startswith("data"):
                raise UserError(
                    f"{folder} holds a run on the clips of {there['given'].get(AT, 'other data')}, these are others "
                    f"({found}): name those with --data, or choose another folder"
                )
    if found:
        raise UserError(f"{folder} holds a run with {found}: choose another folder, or train it as it was begun")


def _unformatted(experiment: Experiment) -> dict:
    settings = {"train": dataclasses.asdict(experiment.train), "optim": dataclasses.asdict(experiment.optim)}
    return {"recipe": experiment.name, "model": numbers(experiment)} | json.loads(json.dumps(settings))


def _due(step: int, every: int, steps: int) -> bool:
    return (step + 1) % every == 0 or step + 1 == steps


def _shards(dataset: Dataset) -> tuple[str, ...]:
    return tuple(dataset.names) if isinstance(dataset, Cache) else ()


def _as_seen(dataset: Dataset, position: Position) -> Dataset:
    return Cache.open(dataset.folder, position.shards) if isinstance(dataset, Cache) else dataset


def _shared_refresh(dataset: Dataset, world: World) -> Dataset:
    """What has been added since, as the first process sees it: all must draw from the same."""
    seen = world.broadcast(_shards(dataset.refreshed()) if world.first else ())
    return _as_seen(dataset, Position(step=0, shards=seen))
