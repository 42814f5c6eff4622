"""Checkpoints of a run, to go on from: torch's distributed checkpoints with checksums, there whole or not at all.

They hold pickles inside, which are read as plain values only; what is passed on is a folder that ``save_checkpoint``
(checkpoints/folder.py) writes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import Optimizer

from phonofilm.errors import UserError
from phonofilm.files.atomic import appearing, told, write_text
from phonofilm.files.checksums import SUMS, check_sums, digest, read_sums, write_sums
from phonofilm.files.stored_json import entry, read_json, typed
from phonofilm.train.ema import Average
from phonofilm.train.parallel import World
from phonofilm.train.plain_pickles import load_plainly

POSITION = "position.json"
BEST = "best.json"
FORMAT = 2
"""Of checkpoints; those of phonofilm 0.1.0 have none, no checksums, and do not say whether they owe a look."""
NAME = re.compile(r"step-([0-9]{8,})")


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run is."""

    step: int
    """Steps done; the next one has this number."""
    shards: tuple[str, ...] = ()
    """Files of the cache that the steps to come draw from."""
    seconds: float = 0.0
    """Spent in the steps so far; saving and sampling do not count."""
    look: bool = False
    """Whether the checkpoint is to be looked at, which happens after it was written."""
    losses: tuple[Mapping[str, float], ...] = ()
    """Of the last steps: what is logged is their mean."""


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
    """Steps of the checkpoints of a run, in order; folders of other names are none."""
    found = [NAME.fullmatch(path.name) for path in folder.glob("step-*") if path.is_dir()]
    return sorted(int(match[1]) for match in found if match)


def save(folder: Path, learner: Learner, position: Position, world: World, *, keep: int = 2) -> Path:
    """Write a checkpoint so that it is there completely or not at all; keeps the last ``keep`` and the best.

    Raises ``UserError`` where it cannot be written; the last one stays.
    """
    path = path_of(folder, position.step)
    with ExitStack() as stack:
        partial = path
        if world.first:
            shutil.rmtree(path, ignore_errors=True)
            partial = stack.enter_context(appearing(path))
        partial = world.broadcast(partial)
        with told(path), _unwrapped():
            dcp.save(learner.state(), checkpoint_id=partial)
        written = world.gather({own.name: digest(own) for own in _written_by(partial, world.rank)})
        if world.first:
            write_text(partial / POSITION, json.dumps({"format": FORMAT, **asdict(position)}))
            digests = {name: value for part in written for name, value in part.items()}
            write_sums(partial / SUMS, digests | {POSITION: digest(partial / POSITION)})
    if world.first:
        kept = {position.step, *steps_of(folder)[-keep:], best_of(folder)[0]}
        for step in set(steps_of(folder)) - kept:
            shutil.rmtree(path_of(folder, step))
    world.wait()
    return path


def _written_by(partial: Path, rank: int) -> list[Path]:
    """A process's own files of a checkpoint, and with the first one what is there for all."""
    return [
        path for path in partial.iterdir() if path.name.startswith(f"__{rank}_") or (not rank and path.name[0] == ".")
    ]


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Torch hides in an exception of its own what went wrong on each process: the first one comes out."""
    try:
        yield
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from error


def go_on(folder: Path, learner: Learner, world: World) -> Position | None:
    """Put the last whole checkpoint of a run into a learner; returns how far it was, None where a run has none.

    Damaged ones after it are said and set aside: the run makes them again. Raises ``UserError`` where none is whole.
    """
    damaged: dict[Path, str] = {}
    for step in reversed(steps_of(folder)):
        path = path_of(folder, step)
        try:
            if problem := problem_of(path, world):
                raise UserError(problem)
            position = restore(path, learner)
        except UserError as error:
            damaged[path] = str(error)
            if world.first:
                print(f"{error}; looking for an earlier checkpoint", file=sys.stderr)
            continue
        for other in damaged if world.first else ():
            aside = other.with_name(f"damaged-{other.name}")
            shutil.rmtree(aside, ignore_errors=True)
            other.rename(aside)
            print(f"{other} is now {aside.name}; the run goes on from step {step}", file=sys.stderr)
        world.wait()
        return position
    if damaged:
        last = next(iter(damaged.values()))
        raise UserError(
            f"none of the {len(damaged)} checkpoints in {folder} is whole ({last}): remove them to begin anew, or "
            "choose another folder"
        )
    return None


def problem_of(path: Path, world: World) -> str:
    """What is wrong with a checkpoint, "" where it is whole; the processes share the reading. All must call it."""
    try:
        if position_of(path).step != int(path.name.removeprefix("step-")):
            raise UserError(f"{path / POSITION} is of another step")
        if "format" in read_json(path / POSITION) or (path / SUMS).exists():
            check_sums(path / SUMS, sorted(read_sums(path / SUMS))[world.rank :: world.size])
        found = ""
    except UserError as error:
        found = str(error)
    return next(filter(None, world.gather(found)), "")


def restore(path: Path, learner: Learner) -> Position:
    """Put a checkpoint's content into the parts of a learner; returns how far it was.

    Raises ``UserError`` where it cannot be read.
    """
    state, position = learner.state(), position_of(path)
    try:
        with _unwrapped():
            load_plainly(state, path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}, {' '.join(str(error).split())}") from error
    set_optimizer_state_dict(learner.backbone, learner.optimisers, state["optimiser"])
    return position


def position_of(path: Path) -> Position:
    """How far the run of a checkpoint was; ``UserError`` where it does not say so."""
    file = path / POSITION
    content = read_json(file)
    if content.get("format", FORMAT) != FORMAT:
        raise UserError(f"{file} has format {content['format']!r}, this phonofilm reads {FORMAT}: update phonofilm")
    own = {"seconds": 0.0, "look": False, "losses": []} | content  # checkpoints of earlier versions do not hold them
    losses = own["losses"] if isinstance(own["losses"], list) else [own["losses"]]
    return Position(
        step=entry(own, "step", int, file),
        shards=entry(own, "shards", tuple[str, ...], file),
        seconds=entry(own, "seconds", float, file),
        look=entry(own, "look", bool, file),
        losses=tuple(typed(some, dict[str, float], f"losses.{k}", file) for k, some in enumerate(losses)),
    )


def best_of(folder: Path) -> tuple[int, float]:
    """Step and figure of the best checkpoint; (-1, inf) before there is one."""
    path = folder / BEST
    if not path.exists():
        return -1, float("inf")
    content = read_json(path)
    return entry(content, "step", int, path), entry(content, "figure", float, path)


def note_best(folder: Path, step: int, figure: float) -> None:
    """Remember which checkpoint is the best."""
    write_text(folder / BEST, json.dumps({"step": step, "figure": figure}))
