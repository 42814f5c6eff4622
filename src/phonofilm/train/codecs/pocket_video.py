"""The pocket video codec: numbers of the network, of its fit and of its training."""

from __future__ import annotations

from pathlib import Path

import torch

from phonofilm.codecs.blocks import BlockCodec
from phonofilm.recipes import pocket
from phonofilm.train.codecs.blocks import BlockLoss, Stage, block_job, fit_components
from phonofilm.train.codecs.fit import Schedule, fit
from phonofilm.train.codecs.pool import Pool

STAGES = (
    Stage(until=0.45, frames=5, size=64, batch=10),
    Stage(until=0.85, frames=17, size=64, batch=4),
    Stage(until=1.0, frames=33, size=128, batch=1),
)
LOSS = BlockLoss()
SCHEDULE = Schedule(steps=4000, lr=1e-3, ema=0.99)


def train_video(pool: Pool, folder: Path) -> BlockCodec:
    """Fit the components (seconds), then train the decoder; resumes where it stopped."""
    torch.manual_seed(0)
    codec = pocket.pocket_video()
    fit_components(codec, pool, LOSS)
    trained = fit(block_job(codec, pool, STAGES, LOSS, scored=6), SCHEDULE, folder)
    assert isinstance(trained, BlockCodec)
    return trained
