"""Checkpoints of a run, to go on from: torch's distributed checkpoints, written aside and renamed.

They hold pickles inside, which are read as plain values only; what is passed on is a folder that ``save_checkpoint``
(checkpoints/folder.py) writes.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from phonofilm.files.atomic import write_text
from phonofilm.train.ema import Average
from phonofilm.train.parallel import World
from phonofilm.train.plain_pickles import load_plainly

POSITION = "position.json"
BEST = "best.json"


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run is."""

    step: int
    """Steps done; the next one has this number."""
    shards: tuple[str, ...] = ()
    """Files of the cache that the steps to come draw from."""
    seconds: float = 0.0
    """Spent in the steps so far; saving and sampling do not count."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What changes while a model is trained. The parts are changed in place by the loop and by ``restore``."""

    backbone: nn.Module
    optimisers: tuple[Optimizer, ...]
    average: Average

    def state(self) -> dict:
        """Everything as tensors and plain numbers, by name."""
        return {
            "model": dict(self.backbone.named_parameters()) | dict(self.backbone.named_buffers()),
            "ema": self.average.weights,
            "optimiser": get_optimizer_state_dict(self.backbone, self.optimisers),
        }


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint after so many steps stands."""
    return folder / f"step-{step:08d}"


def steps_of(folder: Path) -> list[int]:
    """Steps of the complete checkpoints of a run, in order."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*") if path.is_dir())


def save(folder: Path, learner: Learner, position: Position, world: World, *, keep: int = 2) -> Path:
    """Write a checkpoint so that it is there completely or not at all; keeps the last ``keep`` and the best."""
    path = path_of(folder, position.step)
    partial = folder / f".{path.name}.partial"
    if world.first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    world.wait()
    dcp.save(learner.state(), checkpoint_id=partial)
    world.wait()
    if world.first:
        (partial / POSITION).write_text(json.dumps(asdict(position)))
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
        kept = {position.step, *steps_of(folder)[-keep:], best_of(folder)[0]}
        for step in set(steps_of(folder)) - kept:
            shutil.rmtree(path_of(folder, step))
    world.wait()
    return path


def restore(path: Path, learner: Learner) -> Position:
    """Put a checkpoint's content into the parts of a learner; returns how far it was."""
    state = learner.state()
    load_plainly(state, path)
    set_optimizer_state_dict(learner.backbone, learner.optimisers, state["optimiser"])
    return position_of(path)


def position_of(path: Path) -> Position:
    """How far the run of a checkpoint was."""
    content = json.loads((path / POSITION).read_text())
    seconds = content.get("seconds", 0.0)  # checkpoints of earlier versions do not hold it
    return Position(step=content["step"], shards=tuple(content["shards"]), seconds=seconds)


def best_of(folder: Path) -> tuple[int, float]:
    """Step and figure of the best checkpoint; (-1, inf) before there is one."""
    path = folder / BEST
    content = json.loads(path.read_text()) if path.exists() else {"step": -1, "figure": float("inf")}
    return content["step"], content["figure"]


def note_best(folder: Path, step: int, figure: float) -> bool:
    """Remember a checkpoint as the best if its figure is the lowest so far; returns whether it is."""
    better = figure < best_of(folder)[1]
    if better:
        write_text(folder / BEST, json.dumps({"step": step, "figure": figure}))
    return better
