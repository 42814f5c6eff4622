"""What a run says while it goes on: a bar or lines for people, JSON lines and TensorBoard for later."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from phonofilm.files.atomic import told, write_text
from phonofilm.train.checkpoint import Position

FIGURES = "log.jsonl"
RECENT = 20
"""Steps over which speed and losses are averaged for people to read."""
LOOK = "look"
"""True in the line of a look: of what was seen of a checkpoint, rather than of the steps before it."""


class Log:
    """Scalars of a run, per step. Only the first process has one that speaks.

    A run that goes on takes up what was logged until its checkpoint, and the losses that its next means are of.
    """

    def __init__(self, folder: Path, position: Position, *, steps: int, batch: int, speaks: bool) -> None:
        self.path, self.speaks, self.batch, self.steps = folder / FIGURES, speaks, batch, steps
        self.seconds = 0.0
        self.times: deque[float] = deque([time.monotonic()], maxlen=RECENT + 1)
        self.losses: deque[Mapping[str, float]] = deque(position.losses, maxlen=RECENT)
        self.looks = settled(self.path, position.step) if speaks else {}
        self.live = speaks and sys.stderr.isatty()
        self.bar = tqdm(total=steps, initial=position.step, unit="step", disable=not self.live, dynamic_ncols=True)
        with told(self.path):
            self.file = self.path.open("a", encoding="utf-8") if speaks else None
            self.board = _board(folder, position.step) if speaks else None

    def step(self, step: int, losses: Mapping[str, float], extra: Mapping[str, float]) -> None:
        """Record a step that is done; every ``RECENT`` steps in full, the bar every time."""
        self.times.append(time.monotonic())
        self.seconds += self.times[-1] - self.times[-2]
        self.losses.append(losses)
        if not self.speaks:
            return
        mean = {name: sum(some[name] for some in self.losses) / len(self.losses) for name in losses}
        shown = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
        self.bar.set_postfix_str(f"{shown}, {self.speed:.1f} samples/s", refresh=False)
        self.bar.update()
        if (step + 1) % RECENT == 0 or step + 1 == self.steps:
            self.figures(
                step + 1, {f"loss/{n}": v for n, v in mean.items()} | dict(extra) | {"samples_per_s": self.speed}
            )
            if not self.live:
                print(f"step {step + 1}/{self.steps} {shown} {self.speed:.1f} samples/s, {self.left(step)} left")

    @property
    def speed(self) -> float:
        """Samples per second over the recent steps."""
        return (len(self.times) - 1) * self.batch / max(self.times[-1] - self.times[0], 1e-9)

    def left(self, step: int) -> str:
        """Time left at the present speed, as h:mm:ss."""
        return tqdm.format_interval((self.steps - step - 1) * self.batch / max(self.speed, 1e-9))

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures of a step to the JSON lines and to TensorBoard."""
        self._write(step, {"step": step, **figures}, figures)

    def look(self, step: int, figures: Mapping[str, float]) -> None:
        """Write what was seen of the checkpoint of a step."""
        self._write(step, {"step": step, LOOK: True, **figures}, figures)
        self.looks[step] = dict(figures)

    def _write(self, step: int, row: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        with told(self.path):
            if self.file is not None:
                self.file.write(json.dumps(row, allow_nan=False) + "\n")
                self.file.flush()
            if self.board is not None:
                for name, value in figures.items():
                    self.board.add_scalar(name, value, step)
                self.board.flush()

    def say(self, text: str) -> None:
        """A line for people that leaves the bar whole."""
        if self.speaks:
            tqdm.write(text, file=sys.stdout)

    def resume_clock(self) -> None:
        """Leave what was done since the last step (saving, sampling) out of the speed."""
        self.times.clear()
        self.times.append(time.monotonic())

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        for part in (self.file, self.board):
            if part is not None:
                part.close()


def settled(path: Path, step: int) -> dict[int, dict[str, float]]:
    """Cut a log back to what was logged until a step, and return the looks in it by their steps.

    What follows is made again by a run that goes on from there, and a last line may not be whole.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    rows = [(line, row) for line in lines if (row := _row(line)) is not None and row["step"] <= step]
    kept = "".join(line + "\n" for line, _ in rows)
    if kept != "\n".join(lines):
        write_text(path, kept)
    return {row.pop("step"): row for _, row in rows if row.pop(LOOK, False)}


def _row(line: str) -> dict[str, Any] | None:
    """The figures of a line; None where it is not whole."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _board(folder: Path, step: int):  # noqa: ANN202
    """TensorBoard's writer, which hides what was written of later steps; None, with one line that names the extra,
    where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("no TensorBoard scalars: pip install 'phonofilm[train]' brings them", file=sys.stderr)
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
