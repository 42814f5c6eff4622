"""From a run to a model: mean weights, codecs and a record of what was learnt, in one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from phonofilm.checkpoints.folder import Training, copy_beside, save_checkpoint
from phonofilm.data.cache import Cache
from phonofilm.recipes.experiment import Experiment

WORD = re.compile(r"[a-z0-9']+")


def describe(cache: Cache, notes: Mapping[str, str | int | float], metrics: Mapping[str, float]) -> Training:
    """What a model that was trained on a cache knows: lengths, words, how fast it has heard people speak."""
    words, scene_words, rates = set[str](), set[str](), []
    for num_frames, lines in cache.prompts():
        for line in lines:
            said = " ".join(text for _, text in line["speech"]).lower()
            words |= set(WORD.findall(said))
            scene_words |= set(WORD.findall(f"{line['scene']} {line['sound']}".lower()))
            if said:
                rates.append(sum(character.isalnum() for character in said) * cache.geometry.fps / num_frames)
    shares = torch.tensor([0.01, 0.5, 0.99])
    letters = torch.quantile(torch.tensor(rates), shares).tolist() if rates else [0.0, 0.0, 0.0]
    return Training(
        num_frames=tuple(cache.buckets),
        letters_per_second=(letters[0], letters[1], letters[2]),
        words=tuple(sorted(words)),
        scene_words=tuple(sorted(scene_words)),
        notes=dict(notes),
        metrics=dict(metrics),
    )


def export(
    experiment: Experiment,
    weights: Mapping[str, Tensor],
    codecs: str | Path,
    out: str | Path,
    training: Training,
    *,
    bits: int = 32,
) -> None:
    """Write a folder that ``phonofilm.load`` reads: the network, the codecs it was trained with, and the record."""
    codecs, out = Path(codecs), Path(out)
    copy_beside((codecs,), out)
    save_checkpoint(out, experiment, weights, training, bits=bits)
