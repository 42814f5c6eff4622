"""The training loop of the codecs: one process, one network at a time, everything a function of the step."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from phonofilm.files.atomic import replacing
from phonofilm.train.codecs.muon import Muon


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast; training ends with the steps or with the minutes, whichever come first."""

    steps: int
    minutes: float = math.inf
    lr: float = 2e-3
    """AdamW's: of all parameters, or with Muon of biases and scales alone."""
    muon: float = 0.0
    """Muon's learning rate for matrices and kernels; 0 trains everything with AdamW."""
    rows: int = 128
    """Output channels that Muon treats at once; fewer cost less."""
    warmup: int = 50
    ema: float = 0.995
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    minutes_between_scores: float = 3.0


@dataclass(frozen=True, kw_only=True)
class CodecJob:
    """What is trained: a network, its losses and its score."""

    network: nn.Module
    losses: Callable[[nn.Module, float, np.random.Generator], dict[str, Tensor]]
    """From the network, the share of training done and the step's own randomness; the sum is minimised."""
    score: Callable[[nn.Module], dict[str, float]]
    """Figures on held-out clips; the first is the one that decides which weights are best (larger is better)."""


@dataclass
class _Run:
    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf


def fit(job: CodecJob, schedule: Schedule, folder: Path, say: Callable[[str], None] = print) -> nn.Module:
    """Train, resuming from ``folder`` where there is a checkpoint; returns the averaged network.

    Writes ``last.pt`` (everything, atomically), ``best.pt`` (averaged weights of the best score) and ``log.jsonl``.
    Raises FloatingPointError with the step and seed when the loss is not a number; the last checkpoint stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = _optimizers(job.network, schedule)
    average = copy.deepcopy(job.network).eval().requires_grad_(False)
    run = _resume(folder / "last.pt", job.network, average, optimizers)
    due = run.seconds + 60 * schedule.minutes_between_scores
    while (done := _share(run, schedule)) < 1:
        begun = time.perf_counter()
        parts = _step(job, optimizers, schedule, run.step, done)
        run.step += 1
        _update(average, job.network, min(schedule.ema, (1 + run.step) / (10 + run.step)))
        run.seconds += time.perf_counter() - begun
        if run.seconds > due or _share(run, schedule) >= 1:
            due = run.seconds + 60 * schedule.minutes_between_scores
            figures = job.score(average)
            say(_line(run, schedule, parts, figures))
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": run.step, "seconds": run.seconds, **parts, **figures}) + "\n")
            first = next(iter(figures.values()))
            if first > run.best:
                run.best = first
                write_atomically(average.state_dict(), folder / "best.pt")
            _checkpoint(folder / "last.pt", run, job.network, average, optimizers)
        elif run.step % 20 == 0:
            say(_line(run, schedule, parts, {}))
    return average


def _optimizers(network: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for whatever has more than one dimension where the schedule says so; each keeps its peak rate."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    kernels = [p for p in parameters if p.ndim > 1] if schedule.muon else []
    rest = [p for p in parameters if p.ndim <= 1] if schedule.muon else parameters
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=schedule.lr, betas=(0.9, 0.95), weight_decay=1e-4)
    ]
    if kernels:
        optimizers.append(Muon(kernels, lr=schedule.muon, rows=schedule.rows))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def write_atomically(content: object, path: Path) -> None:
    """``torch.save`` that leaves either the old file or the new one."""
    with replacing(path) as part:
        torch.save(content, part)


def _share(run: _Run, schedule: Schedule) -> float:
    return max(run.step / schedule.steps, run.seconds / (60 * schedule.minutes))


def _step(
    job: CodecJob, optimizers: list[torch.optim.Optimizer], schedule: Schedule, step: int, done: float
) -> dict[str, float]:
    share = max(0.02, min(1.0, (step + 1) / schedule.warmup) * (0.5 + 0.5 * math.cos(math.pi * done)))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = share * group["peak"]
    torch.manual_seed(schedule.seed * 1_000_003 + step)
    losses = job.losses(job.network, done, np.random.default_rng((schedule.seed, step)))
    total = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(total):
        raise FloatingPointError(f"the loss is {total.item()} at step {step}, seed {schedule.seed}")
    job.network.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], schedule.clip)
    if torch.isfinite(norm):
        for optimizer in optimizers:
            optimizer.step()
    return {name: value.item() for name, value in losses.items()} | {"norm": norm.item()}


@torch.no_grad()
def _update(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)


def _line(run: _Run, schedule: Schedule, parts: dict[str, float], figures: dict[str, float]) -> str:
    both = {**parts, **{name.upper(): value for name, value in figures.items()}}
    words = " ".join(f"{name} {value:.4g}" for name, value in both.items())
    rate = run.step / max(run.seconds, 1e-9)
    return f"{_share(run, schedule):4.0%} step {run.step} {run.seconds / 60:.1f} min {rate:.2f}/s {words}"


def _checkpoint(
    path: Path, run: _Run, network: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    content = {"run": vars(run), "network": network.state_dict(), "average": average.state_dict()}
    write_atomically(content | {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}, path)


def _resume(path: Path, network: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]) -> _Run:
    if not path.is_file():
        return _Run()
    content = torch.load(path, weights_only=True)
    network.load_state_dict(content["network"])
    average.load_state_dict(content["average"])
    for optimizer, state in zip(optimizers, content["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return _Run(**content["run"])
