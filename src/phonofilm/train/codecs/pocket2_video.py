"""The second pocket video codec: numbers of its training, an hour and a half on one CPU core.

``python -m phonofilm.train.codecs.pocket2_video --folder FOLDER --footage PICTURES`` draws both pools of clips, trains
from the shipped linear transform and writes ``vae`` into FOLDER; started again it goes on where it stopped, with more
``--minutes`` or ``--steps`` for longer.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from phonofilm.codecs.blocks import BlockCodec
from phonofilm.codecs.convolutional import ConvCodec
from phonofilm.recipes import pocket
from phonofilm.train.codecs.blocks import Stage
from phonofilm.train.codecs.convolutional import ConvLoss, adopt_scale, conv_job
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.footage import write_footage
from phonofilm.train.codecs.pocket import HELD, pool_scripts
from phonofilm.train.codecs.pool import Pool, write_pool

STAGES = (
    Stage(until=0.35, frames=9, size=64, batch=5),
    Stage(until=0.8, frames=17, size=64, batch=4),
    Stage(until=0.93, frames=17, size=128, batch=2),
    Stage(until=1.0, frames=49, size=128, batch=1),
)
LOSS = ConvLoss()
SCHEDULE = Schedule(steps=20000, lr=1e-3, muon=0.01, rows=64, ema=0.998, minutes_between_scores=5)
LINEAR = Path(__file__).parents[2] / "models" / "pocket"
"""Whose transform the training starts from."""


def first_network(start: Path | None) -> ConvCodec:
    """What training starts from: the codec in a folder, or the shipped linear transform."""
    torch.manual_seed(0)
    codec = ConvCodec.load(start).train().requires_grad_(True) if start else pocket.pocket2_video()
    if not start:
        codec.start_from(BlockCodec.load(LINEAR))
    return codec.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def main(
    folder: Path,
    footage: Path | None = None,
    start: Path | None = None,
    clips: int = 1024,
    steps: int = SCHEDULE.steps,
    minutes: float = math.inf,
) -> None:
    """Draw the pools where there are none, train, and write the codec into ``folder``.

    Args:
        folder: Where pools, checkpoints and the finished ``vae`` are kept.
        footage: A folder of photographs and films of anything; without one the footage is drawn shapes alone.
        start: A folder whose ``vae`` to go on from, instead of the shipped linear transform.
        clips: How many puppets to draw.
        steps: Where training ends,
        minutes: or when, whichever comes first; the learning rate falls towards it.
    """
    if not (folder / "pool" / "frames.npy").is_file():
        write_pool(folder / "pool", pool_scripts(clips, HELD), size=128)
    if not (folder / "footage" / "frames.npy").is_file():
        write_footage(folder / "footage", footage, 360, frames=49, size=128)
    pools = (Pool.open(folder / "pool", HELD), Pool.open(folder / "footage", 12))
    job = conv_job(first_network(start), pools, STAGES, LOSS, pools[0].heldout[:12])
    trained = fit(job, replace(SCHEDULE, steps=steps, minutes=minutes), folder / "video_run")
    assert isinstance(trained, ConvCodec)
    adopt_scale(trained, pools[0], range(0, pools[0].training, 16))
    trained.save(folder, dtype=torch.float16)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
