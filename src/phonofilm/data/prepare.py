"""Puppets into a cache of latents, by several processes, resumable."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from phonofilm.codecs.loading import load_audio_codec, load_video_codec
from phonofilm.data.cache import SHARD, Meta, codec_hash, missing_shards, shard_path, write_shard
from phonofilm.data.puppets import Puppets
from phonofilm.puppets.script import MIX

if TYPE_CHECKING:
    from phonofilm.recipes.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which clips a cache is to hold."""

    clips: int
    seed: int = 0
    split: str = "train"
    stages: Mapping[str, float] | None = None
    """Stages of the puppets and their shares; the recipe's if not given."""
    num_frames: int | None = None
    """Length of the clips in pixel frames; the recipe's if not given."""
    part: tuple[int, int] = (0, 1)
    """(i, n): only every n-th shard from i, for several machines that fill one folder."""


def puppets(experiment: Experiment, codecs: str | Path, wanted: Wanted) -> Puppets:
    """The clips of a recipe with the trained codecs of a folder."""
    geometry = experiment.geometry
    if wanted.num_frames is not None:
        geometry = replace(geometry, num_frames=wanted.num_frames)
    return Puppets(
        video_codec=load_video_codec(codecs),
        audio_codec=load_audio_codec(codecs),
        geometry=geometry,
        clips=wanted.clips,
        seed=wanted.seed,
        split=wanted.split,
        stages=dict(wanted.stages or experiment.stages or MIX),
        regions=experiment.regions,
        speaker_encoder=experiment.speaker_encoder,
        reference=experiment.reference,
    )


def prepare(
    experiment: Experiment, codecs: str | Path, out: str | Path, wanted: Wanted, *, workers: int | None = None
) -> int:
    """Fill a cache folder with puppets as latents; what is there already stays. Returns how many clips were made.

    ``workers`` processes with one thread each share the work (as many as cores if None, 0 for none but this one).
    Training may start while this goes on: it takes up new shards whenever it saves a checkpoint.
    """
    source, out = puppets(experiment, codecs, wanted), Path(out)
    num_frames = source.geometry.num_frames
    meta = Meta(
        geometry=source.geometry,
        codes=source.codes,
        codec=codec_hash(codecs),
        recipe=experiment.name,
        regions=source.regions,
        source={"split": wanted.split, "seed": wanted.seed, "stages": dict(source.stages)},
        speaker=source.speaker,
        reference=source.reference,
    )
    meta.write(out)
    missing = missing_shards(out, num_frames, wanted.clips, wanted.part)
    clips = {number: min(SHARD, wanted.clips - number * SHARD) for number in missing}
    with tqdm(total=sum(clips.values()), unit="clip", disable=not (missing and sys.stderr.isatty())) as bar:
        if workers == 0:
            for number in missing:
                bar.update(write_shard(source, out, num_frames, number))
        elif missing:
            load = partial(puppets, experiment, codecs, wanted)
            for number in _shared(load, out, num_frames, missing, workers or os.cpu_count() or 1):
                bar.update(clips[number])
    return sum(clips.values())


def _fill(load: Callable[[], Puppets], out: Path, num_frames: int, numbers: list[int]) -> None:
    """A worker's share of the shards."""
    torch.set_num_threads(1)
    source = load()
    for number in numbers:
        write_shard(source, out, num_frames, number)


def _shared(load: Callable[[], Puppets], out: Path, num_frames: int, missing: list[int], workers: int) -> Iterator[int]:
    """Spread shards over processes; yields the number of each when its file is there."""
    workers = min(workers, len(missing))
    pending = set(missing)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_fill, load, out, num_frames, missing[i::workers]) for i in range(workers)]
        while futures:
            done, running = wait(futures, timeout=1.0, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            finished = {number for number in pending if shard_path(out, num_frames, number).exists()}
            yield from sorted(finished)
            pending -= finished
            futures = list(running)
