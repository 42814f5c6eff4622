"""What a comparison is: its arms, what is equal for all of them, and the folder that remembers it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from phonofilm.compare.settings import claim
from phonofilm.compare.study import PROMPTS, Study
from phonofilm.data.cache import Cache, codec_hash
from phonofilm.data.samples import Codes, Sample
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.heldout import BROUGHT, STAGE_OF
from phonofilm.evaluate.report.metrics import METRICS
from phonofilm.files.stored_json import entry, read_json
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_function, find_recipe
from phonofilm.recipes.record import name_of, record, without

SETTINGS = "comparison.json"
ON, OFF = "on", "off"
"""Guidance as the recipe has it, and none."""
FREE = ("tolerance", "seeds")
"""Terms that may change between two runs of a comparison: what bars, no more, and how many seeds are done and shown."""
GUIDANCES = {ON: (ON,), "both": (ON, OFF)}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is equal for all arms, and stays while a comparison goes on."""

    seeds: int = 3
    """Trainings of each arm; seed 0 draws the same clips in the same order for all, and so on."""
    budget: str = "samples"
    """"samples" or "minutes" of training."""
    amount: float | None = None
    """How many of them; None takes the samples that the first arm's recipe names."""
    batch: int | None = None
    """Samples of a step; None takes the recipes', which must then be equal."""
    prompts: Mapping[str, int] = field(default_factory=lambda: dict(PROMPTS))
    """Held-out clips of the test split per group."""
    guidance: str = ON
    """"on", or "both" to sample without guidance too."""
    tolerance: float = 0.05
    """By what share the largest arm may be larger than the smallest."""


@dataclass(frozen=True, kw_only=True)
class ArmJob:
    """One model of one arm, and its clips."""

    arm: str
    seed: int
    folder: Path
    """Of its clips and their readings."""
    trained_as: str
    """The arm whose training makes its weights: its own, or an earlier one that differs in sampling alone."""
    training: Path
    """Folder of that training: the same for all jobs that share it, of this comparison or of others."""


@dataclass(frozen=True)
class Pinned:
    """A cache as it is now, whatever is added to it later: all arms must see the same clips."""

    cache: Cache

    @property
    def codes(self) -> Codes:
        """Strides, rates and channels of the codecs that made the latents."""
        return self.cache.codes

    @property
    def geometry(self) -> Geometry:
        """Size, rate and (first) length of the clips."""
        return self.cache.geometry

    @property
    def speaker(self) -> str:
        """Name of the speaker encoder behind the clips' voices; "" where they have none."""
        return self.cache.speaker

    @property
    def reference(self) -> Reference | None:
        """How long the clips' latents of a reference voice are; None where they have none."""
        return self.cache.reference

    @property
    def source(self) -> Mapping[str, Any]:
        """What decides the clips."""
        return self.cache.source

    @property
    def buckets(self) -> dict[int, int]:
        """Length in pixel frames to number of clips."""
        return self.cache.buckets

    def read(self, num_frames: int, indices: Sequence[int]) -> list[Sample]:
        """Clips of one bucket by their numbers."""
        return self.cache.read(num_frames, indices)

    def refreshed(self) -> Pinned:
        return self


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms on equal terms, in a folder of their own."""

    folder: Path
    arms: Mapping[str, Experiment]
    """Labels and recipes, with the same batch; the first is what the others are compared with."""
    sizes: Mapping[str, int]
    """Parameters."""
    terms: Terms
    data: Pinned
    codecs: Path
    digests: Mapping[str, str]
    """Of the data and of the codecs."""
    study: Study | None = None
    trainings: Path | None = None
    """Where trainings are kept by what they are, for other comparisons to share; None keeps them beside the clips."""

    @property
    def trained_as(self) -> dict[str, str]:
        """Each arm, and the first one that trains the same: arms that differ in sampling alone share its weights."""
        return trained_as(self.arms)

    @property
    def jobs(self) -> list[ArmJob]:
        """Every arm's first seed, then every arm's second: a comparison cut short is still one of all arms."""
        return [
            ArmJob(
                arm=arm,
                seed=seed,
                folder=self.folder / folder_name(arm) / f"seed-{seed}",
                trained_as=first,
                training=self.training_of(first) / f"seed-{seed}",
            )
            for seed in range(self.terms.seeds)
            for arm, first in self.trained_as.items()
        ]

    def training_of(self, arm: str) -> Path:
        """The folder of an arm's trainings: two arms have the same one if they are trained alike on the same clips."""
        if self.trainings is None:
            return self.folder / folder_name(arm)
        experiment, terms = self.arms[arm], self.terms
        settings = [describe(as_trained(experiment)), dict(self.digests), terms.budget, terms.amount, terms.batch]
        found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        return self.trainings / f"{name_of(type(experiment.model))}-{found.hexdigest()[:12]}"

    def part(self, index: int, count: int) -> list[ArmJob]:
        """The jobs of every ``count``-th training from ``index`` on: no two parts ever train the same weights."""
        trainings = list(dict.fromkeys(job.training for job in self.jobs))[index::count]
        return [job for job in self.jobs if job.training in trainings]

    @property
    def guidances(self) -> tuple[str, ...]:
        """Ways of sampling that are scored."""
        return GUIDANCES[self.terms.guidance]


def trained_as(arms: Mapping[str, Experiment]) -> dict[str, str]:
    """The label of each arm, and of the first arm whose training is the same."""
    read = {label: as_trained(experiment) for label, experiment in arms.items()}
    return {label: next(first for first, other in read.items() if other == own) for label, own in read.items()}


def as_trained(experiment: Experiment) -> Experiment:
    """What a training reads of a recipe: all but its name, and how it is sampled."""
    return replace(experiment, name="", guidance=(), finish=None, sampling=Sampling())


def folder_name(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", label).strip("-.")


def find_study(name: str) -> Study:
    """The study of a name inside phonofilm, or of ``package.module:function``; ``UserError`` for an unknown one."""
    return find_function("study", name)()


def find_arms(recipes: str, study: Study | None) -> dict[str, Experiment]:
    """The arms of a study, or recipes by name with commas between them.

    Raises ``UserError`` for fewer than two, for one that is named twice, and for a study of an unknown figure.
    """
    names = [name.strip() for name in recipes.split(",") if name.strip()]
    if bool(names) == (study is not None):
        raise UserError("name either --recipes a,b or a --study: those are what is compared")
    arms = {label: recipe() for label, recipe in study.arms.items()} if study else {n: find_recipe(n) for n in names}
    folders = [folder_name(label) for label in arms]
    if len(arms) < max(2, len(names)) or len(set(folders)) < len(folders):
        raise UserError(f"{', '.join(names or arms)}: at least two arms with different names are compared")
    if study is not None and study.figure not in (known := [metric.name for metric in METRICS]):
        raise UserError(f"study {study.name!r} is about the figure {study.figure!r}; known are {', '.join(known)}")
    return arms


def open_comparison(
    folder: Path, arms: Mapping[str, Experiment], terms: Terms, *, data: Path, codecs: Path, study: Study | None = None
) -> Comparison:
    """Put arms on equal terms and make their folder, or find that it was made with the same terms.

    Raises ``UserError`` for arms of unequal size or batch, for prompts that do not suit them or the study, for clips of
    other codecs, and for a folder that was made otherwise, with the setting that differs.
    """
    arms, terms = on_equal_terms(arms, terms)
    check_prompts(arms, terms.prompts, study)
    sizes = {label: count_parameters(experiment) for label, experiment in arms.items()}
    check_sizes(sizes, terms.tolerance)
    path = folder / SETTINGS
    shards = entry(read_json(path), "data.shards", tuple[str, ...], path) if path.exists() else None
    cache = Cache.open(data, shards)
    digests = {"data": digest(cache), "codecs": codec_hash(codecs)}
    if digests["codecs"] != cache.meta.codec:
        raise UserError(
            f"{data} was made by the codecs {cache.meta.codec}, {codecs} holds {digests['codecs']}: name the former"
        )
    settings = {
        "arms": {label: describe(experiment) for label, experiment in arms.items()},
        "trained_as": trained_as(arms),
        "terms": without(record(terms), FREE),
        "data": {"digest": digests["data"], "shards": cache.names},
        "codecs": digests["codecs"],
        "study": study.name if study else "",
    }
    claim(path, settings)
    return Comparison(
        folder=folder,
        arms=arms,
        sizes=sizes,
        terms=terms,
        data=Pinned(cache),
        codecs=codecs,
        digests=digests,
        study=study,
    )


def on_equal_terms(arms: Mapping[str, Experiment], terms: Terms) -> tuple[dict[str, Experiment], Terms]:
    """Arms with the same batch, and terms with every number decided.

    Raises ``UserError`` for terms that do not fit all arms.
    """
    first = next(iter(arms.values())).train
    batches = {label: experiment.train.batch for label, experiment in arms.items()}
    if terms.batch is None and len(set(batches.values())) > 1:
        told = ", ".join(f"{label} {batch}" for label, batch in batches.items())
        raise UserError(f"the recipes' batches differ ({told}): give all the same with --batch")
    batch = terms.batch or first.batch
    amount = terms.amount
    if amount is None and terms.budget == "samples":
        amount = first.steps * first.batch // batch * batch
    if amount is None or amount <= 0:
        raise UserError(f"--amount {amount}: how many {terms.budget} each model is trained for is wanted")
    if terms.budget == "samples" and amount % batch:
        near = max(1, round(amount / batch)) * batch
        raise UserError(f"--amount {amount:g} is no whole number of steps of {batch} samples; {near} is")
    strange = sorted(set(terms.prompts) - set(STAGE_OF))
    if strange or not sum(terms.prompts.values()):
        raise UserError(f"--prompts: clips of the groups {', '.join(STAGE_OF)} are wanted, not {strange or 'none'}")
    equal = {n: replace(e, train=replace(e.train, batch=batch)) for n, e in arms.items()}
    return equal, replace(terms, amount=amount, batch=batch)


def check_prompts(arms: Mapping[str, Experiment], prompts: Mapping[str, int], study: Study | None) -> None:
    """Raise ``UserError`` for prompts that an arm was not made for, and where none is what the study's figure is of."""
    for experiment in arms.values():
        for group in prompts:
            experiment.task_for(BROUGHT.get(group, frozenset()))
    for metric in METRICS:
        if study is not None and metric.name == study.figure and not set(metric.groups) & set(prompts):
            wanted = " or ".join(metric.groups)
            raise UserError(f"study {study.name!r} is about {metric.name}, of the group {wanted}: name it in --prompts")


def count_parameters(experiment: Experiment) -> int:
    """Parameters of a recipe's network, without making them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in experiment.model.build().parameters())


def check_sizes(sizes: Mapping[str, int], tolerance: float) -> None:
    """Raise ``UserError`` that says how large each arm is where the largest is too much larger than the smallest."""
    excess = max(sizes.values()) / min(sizes.values()) - 1
    if excess > tolerance:
        told = ", ".join(f"{label} {size / 1e6:.3f} M" for label, size in sizes.items())
        raise UserError(
            f"the arms are not equally large: {told} parameters; {excess:.1%} apart, {tolerance:.1%} is allowed: "
            "change their widths, or --tolerance"
        )


def describe(experiment: Experiment) -> dict:
    """A recipe as plain values, without what a comparison decides itself."""
    return without(record(experiment), ["train"])


def digest(cache: Cache) -> str:
    """SHA-256 of a cache's meta, prompts and sizes of shards, the first 16 digits; latents are not read."""
    found = hashlib.sha256(json.dumps(cache.meta.to_json(), sort_keys=True).encode())
    for name in cache.names:
        path = cache.folder / name
        found.update(f"{name} {path.stat().st_size}".encode() + path.with_suffix(".jsonl").read_bytes())
    return found.hexdigest()[:16]
