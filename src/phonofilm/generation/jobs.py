"""Clips to make and where they go: many at a time, resumable, each with its manifest and its sound checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from phonofilm.errors import UserError
from phonofilm.files.atomic import sweep
from phonofilm.files.media import read_manifest, write_clip, write_wave
from phonofilm.files.whole import is_whole
from phonofilm.generation.checks import audio_findings
from phonofilm.generation.pipeline import Pipeline
from phonofilm.generation.shot import Shot
from phonofilm.types import Clip, Request

BATCH = 4
"""Clips that an accelerator samples together. A CPU takes them one by one: four at a time are 5 % faster there
(docs/log.md, 2026-11-28), but the last bits of a product of matrices depend on how many rows it has, and so would clips
on which others were made in the same run."""


class ClipJob(NamedTuple):
    """A clip to make and where it goes: an mp4, or a wav for sound without pictures."""

    shot: Shot
    out: Path


class Made(NamedTuple):
    """A clip that was written."""

    job: ClipJob
    manifest: dict


def resolved(pipeline: Pipeline, requests: Iterable[tuple[Request, Path]]) -> list[ClipJob]:
    """Requests and their places as jobs; ``UserError`` for one that the model was not made for."""
    return [ClipJob(pipeline.resolve(request), out) for request, out in requests]


def make(
    pipeline: Pipeline, jobs: Sequence[ClipJob], progress: Callable[[float], object] | None = None
) -> Iterator[Made]:
    """Make and write clips, a batch at a time; ``progress`` is called with the number of clips done so far.

    What killed runs left in the folders of the clips is swept first.
    """
    for folder in {job.out.parent for job in jobs}:
        sweep(folder)
    kinds: dict[object, list[ClipJob]] = {}
    for job in jobs:
        kinds.setdefault(job.shot.kind, []).append(job)
    size = 1 if pipeline.device == "cpu" else BATCH
    batches = [same[i : i + size] for same in kinds.values() for i in range(0, len(same), size)]
    done = 0
    for batch in batches:
        share = None if progress is None else _part(progress, done, len(batch))
        clips = pipeline.draw([job.shot for job in batch], progress=share)
        done += len(batch)
        for job, clip in zip(batch, clips, strict=True):
            yield Made(job, _write(pipeline, job, clip))


def _part(progress: Callable[[float], object], start: int, size: int) -> Callable[[float], object]:
    return lambda share: progress(start + share * size)


def _write(pipeline: Pipeline, job: ClipJob, clip: Clip) -> dict:
    silent = "audio" in job.shot.task.absent
    found = [] if silent else [finding.message for finding in audio_findings(clip)]
    manifest = pipeline.manifest(job.shot) | {"warnings": [*job.shot.warnings, *found]}
    manifest["notes"] = list(job.shot.notes)
    if len(clip.video):
        write_clip(job.out, clip, manifest=manifest)
    else:
        write_wave(job.out, clip.audio, clip.sample_rate, manifest=manifest)
    return manifest


def finished(pipeline: Pipeline, job: ClipJob) -> dict | None:
    """The manifest of a job whose clip is there already, whole, made by this model from this very request."""
    if not job.out.is_file() or not is_whole(job.out):
        return None
    try:
        manifest = read_manifest(job.out)
    except UserError:  # no clip of ours: to be made anew
        return None
    wanted = json.loads(json.dumps(pipeline.manifest(job.shot)))
    return manifest if {name: manifest.get(name) for name in wanted} == wanted else None
