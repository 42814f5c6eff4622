"""Clips of the held-out prompts, made by a model as ``phonofilm generate --prompts`` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from phonofilm.evaluate.cases.heldout import Case, portrait, reference
from phonofilm.generation.jobs import finished, make, resolved
from phonofilm.generation.pipeline import Pipeline
from phonofilm.types import Request


def request_of(case: Case) -> Request:
    """Return what the model is asked for: the prompt, its seed, and the picture or the voice that the case brings."""
    image = torch.from_numpy(portrait(case.script)).permute(2, 0, 1) if case.group == "portrait" else None
    voice = (("", reference(case)),) if case.group == "voice" else ()
    return Request(prompt=case.prompt, seconds=case.script.seconds, seed=case.script.seed, image=image, voice=voice)


def untrained(pipeline: Pipeline) -> Pipeline:
    """Return the same system with fresh weights in its network and the same codecs: a control."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = pipeline.checkpoint.experiment.model.build()
    fresh = replace(
        pipeline.checkpoint, backbone=backbone.eval().requires_grad_(False).to(pipeline.device), hash="untrained"
    )
    return replace(pipeline, name="untrained", checkpoint=fresh)


def make_clips(pipeline: Pipeline, cases: Sequence[Case], folder: Path) -> None:
    """Generate the clips that are not there yet, with a progress bar; a clip of another model is made anew."""
    jobs = resolved(pipeline, [(request_of(case), folder / f"{case.id}.mp4") for case in cases])
    todo = [job for job in jobs if finished(pipeline, job) is None]
    with tqdm(total=len(todo), desc=f"generate ({pipeline.name})", disable=None) as bar:
        for _ in make(pipeline, todo):
            bar.update()
