"""One job of a comparison: a training, its clips, and what is measured of them; each part is done once.

Jobs whose arms differ in sampling alone share one training: the first of them trains, the others find its weights.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from phonofilm.checkpoints.folder import WEIGHTS, Checkpoint, Training, hash_of, load_shards, save_checkpoint
from phonofilm.codecs.loading import load_audio_codec, load_video_codec
from phonofilm.codecs.protocols import AudioCodec, VideoCodec
from phonofilm.compare.plan import OFF, ArmJob, Comparison
from phonofilm.data.cache import write_atomically
from phonofilm.data.samples import Dataset
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.clips import make_clips
from phonofilm.evaluate.cases.entries import entry_of
from phonofilm.evaluate.cases.heldout import Case
from phonofilm.evaluate.engine import Outcome, dump, faults, measure_all
from phonofilm.evaluate.heldout import generated
from phonofilm.files.safetensors_index import shards
from phonofilm.files.stored_json import entry, read_json
from phonofilm.generation.pipeline import Pipeline
from phonofilm.recipes.experiment import Experiment
from phonofilm.train import checkpoint
from phonofilm.train.loop import RUN, Origin, advance, start, train
from phonofilm.train.parallel import World

MODEL, COST, PACE = "model", "cost.json", "pace.json"
COLD, WARM = 2, 8
"""Steps before and while a recipe is timed."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How one machine does its share; nothing of it changes a result."""

    part: tuple[int, int] = (0, 1)
    """Which of how many shares of the trainings and their jobs."""
    workers: int = 2
    """Processes that read clips."""
    device: str = ""
    """cpu or cuda; a GPU if there is one."""
    save_every: int | None = None
    """Steps between checkpoints; the recipe's if None."""
    compile: bool | None = None
    """Compile the blocks; as the recipe says if None."""


def outcomes_of(job: ArmJob, guidance: str) -> Path:
    """Where what was measured of a job's clips stands, when all of it is there."""
    return job.folder / f"guidance-{guidance}-outcomes.jsonl"


def is_done(comparison: Comparison, job: ArmJob) -> bool:
    """Whether a job is trained and all its clips are scored."""
    return all(outcomes_of(job, guidance).exists() for guidance in comparison.guidances)


def run_job(comparison: Comparison, job: ArmJob, cases: tuple[Case, ...], machine: Machine, world: World) -> None:
    """Do what a job still lacks. All processes train, the first one makes and reads the clips."""
    if world.broadcast(not (job.training / MODEL / "experiment.json").exists()):
        learn(comparison, job, machine, world)
    experiment = comparison.arms[job.arm]
    for guidance in comparison.guidances if world.first else ():
        if not outcomes_of(job, guidance).exists():
            pipeline = pipeline_of(comparison, job, experiment, str(world.device))
            score(job, pipeline if guidance != OFF else unguided(pipeline), cases, guidance, machine)
    world.wait()


def learn(comparison: Comparison, job: ArmJob, machine: Machine, world: World) -> None:
    """Train a job's weights, under the name of the arm that they belong to."""
    experiment = as_begun(job.training, on_machine(comparison.arms[job.trained_as], job, machine))
    steps = decide_steps(comparison, job, experiment, world)
    experiment = replace(experiment, train=replace(experiment.train, steps=steps, sample_every=steps))
    weights = train(experiment, comparison.data, job.training, origin=Origin(device=machine.device))
    if world.first:
        keep(comparison, job, experiment, weights, world)


def as_begun(training: Path, experiment: Experiment) -> Experiment:
    """A recipe under the name that its training has, which another comparison may have begun."""
    path = training / RUN
    return replace(experiment, name=entry(read_json(path), "recipe", str, path)) if path.exists() else experiment


def on_machine(experiment: Experiment, job: ArmJob, machine: Machine) -> Experiment:
    """A recipe with a job's seed and what the machine says."""
    given = {"save_every": machine.save_every, "compile": machine.compile}
    known = {name: value for name, value in given.items() if value is not None}
    return replace(experiment, train=replace(experiment.train, seed=job.seed, **known))


def decide_steps(comparison: Comparison, job: ArmJob, experiment: Experiment, world: World) -> int:
    """Steps of a job. A budget in minutes is timed once and the decision kept: the learning rate follows from it."""
    terms, path = comparison.terms, job.training / PACE
    assert terms.amount is not None
    if terms.budget == "samples":
        return round(terms.amount) // experiment.train.batch
    if world.broadcast(not path.exists()):
        seconds = pace(experiment, comparison.data, world)
        if world.first:
            job.training.mkdir(parents=True, exist_ok=True)
            steps = max(1, round(60 * terms.amount / seconds))
            write_atomically(path, json.dumps({"seconds_per_step": seconds, "steps": steps}) + "\n")
    return world.broadcast(json.loads(path.read_text())["steps"] if world.first else 0)


def pace(experiment: Experiment, dataset: Dataset, world: World) -> float:
    """Seconds of a warm step, with weights that are thrown away."""
    learner, began = start(experiment, world), 0.0
    for step in range(COLD + WARM):
        if step == COLD:
            began = time.monotonic()
        advance(experiment, learner, dataset, step, world)
    return (time.monotonic() - began) / WARM


def keep(
    comparison: Comparison, job: ArmJob, experiment: Experiment, weights: Mapping[str, Tensor], world: World
) -> None:
    """Write what a training cost, then its mean weights: those say that it is finished."""
    steps = experiment.train.steps
    seconds = checkpoint.position_of(checkpoint.path_of(job.training, steps)).seconds
    samples = steps * experiment.train.batch
    cost = {
        "parameters": comparison.sizes[job.arm],
        "steps": steps,
        "samples": samples,
        "seconds": round(seconds, 3),
        "samples_per_s": round(samples / seconds, 3),
        "machine": machine_name(world.device),
        "processes": world.size,
        "torch": torch.__version__,
    }
    write_atomically(job.training / COST, json.dumps(cost, indent=1) + "\n")
    save_checkpoint(job.training / MODEL, experiment, weights, Training(notes=cost))


def machine_name(device: torch.device) -> str:
    """The GPU, or the CPU with the number of threads of this process."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    table = Path("/proc/cpuinfo")
    named = [row for row in table.read_text().splitlines() if row.startswith("model name")] if table.exists() else []
    name = named[0].partition(":")[2].strip() if named else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads a process"


@lru_cache(maxsize=1)
def _codecs(folder: Path, device: str) -> tuple[VideoCodec, AudioCodec]:
    return load_video_codec(folder).to(device), load_audio_codec(folder).to(device)


def pipeline_of(comparison: Comparison, job: ArmJob, experiment: Experiment, device: str) -> Pipeline:
    """A job's mean weights, ready to generate as its own arm does."""
    paths = shards(job.training / MODEL / WEIGHTS)
    backbone = experiment.model.build()
    load_shards(backbone, paths)
    video_codec, audio_codec = _codecs(comparison.codecs, device)
    loaded = Checkpoint(
        experiment=experiment,
        backbone=backbone.eval().requires_grad_(False).to(device),
        video_codec=video_codec,
        audio_codec=audio_codec,
        training=Training(),
        hash=hash_of(paths),
    )
    return Pipeline(name=f"{job.arm}, seed {job.seed}", checkpoint=loaded, device=device)


def unguided(pipeline: Pipeline) -> Pipeline:
    """The same model without guidance, and without what finishes it."""
    experiment = replace(pipeline.checkpoint.experiment, guidance=(), finish=None)
    return replace(pipeline, checkpoint=replace(pipeline.checkpoint, experiment=experiment))


def score(job: ArmJob, pipeline: Pipeline, cases: tuple[Case, ...], guidance: str, machine: Machine) -> None:
    """Make the clips that are missing, measure them, and write all outcomes at once when the last is there."""
    clips = clips_of(job, guidance)
    make_clips(pipeline, cases, clips)
    wanted = generated([entry_of(case, clips) for case in cases])
    found = checked(measure_all(wanted, clips / "outcomes.jsonl", workers=machine.workers))
    write_atomically(outcomes_of(job, guidance), "".join(dump(outcome) + "\n" for outcome in found))


def checked(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcomes; raises ``UserError`` where an evaluator failed, since no arm is to be told apart by that."""
    for probe, (why, count) in faults(outcomes).items():
        raise UserError(f"the evaluator {probe} failed on {count} clips: {why}; mend that and run the command again")
    return outcomes


def clips_of(job: ArmJob, guidance: str) -> Path:
    """Where a job's clips stand."""
    return job.folder / f"guidance-{guidance}"
