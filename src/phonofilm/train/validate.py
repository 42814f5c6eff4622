"""The loss on held-out clips: always the same clips, noise and levels, so that checkpoints can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from phonofilm.data.samples import Dataset
from phonofilm.diffusion.losses import total
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Experiment
from phonofilm.train import draw, parallel
from phonofilm.train.loop import Hook

LOSS = "val/loss"
CLIPS = 96
"""Clips that the loss is averaged over."""
SEED = 1


def validation(experiment: Experiment, dataset: Dataset, *, clips: int = CLIPS) -> Hook:
    """A hook that returns each loss on held-out clips and their sum, ``LOSS``. Nothing is dropped."""
    batch = min(clips, experiment.train.batch)
    train = replace(experiment.train, batch=batch, compile=False)
    held = replace(experiment, dropout=(), link_dropout=(), train=train)

    @torch.no_grad()
    def hook(step: int, backbone: Backbone) -> Mapping[str, float]:
        device = next(backbone.parameters()).device
        sums: dict[str, Tensor] = {}
        turns = max(1, clips // batch)
        for turn in range(turns):
            plan = draw.plan(held, dataset.buckets, SEED, turn)
            input, clean = draw.assemble(held, dataset, plan, range(batch), device)
            with parallel.arithmetic(experiment.train, device):
                output = backbone(input)
            terms: dict[str, Tensor] = {}
            for loss in held.losses:
                terms |= loss(input, output, clean, step)
            sums = {name: sums.get(name, 0) + term / turns for name, term in terms.items()}
        return {LOSS: float(total(sums))} | {f"val/{name}": float(value) for name, value in sums.items()}

    return hook
