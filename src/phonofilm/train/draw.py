"""What chance decides about a training step, as a function of (seed, step) alone.

So a resumed run goes on bit by bit, all ranks agree on the task and its links, and a step of two ranks is the step
of one: every sample has its own noise, whichever rank it lands on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map_only

from phonofilm.data.samples import Dataset, Sample
from phonofilm.diffusion.tasks import Pair, Reference, Task, compose
from phonofilm.diffusion.tokens import audio_tokens, patchify
from phonofilm.errors import UserError
from phonofilm.recipes.experiment import Experiment
from phonofilm.types import AVInput, Batch, Layout, Links, Tokens

R = TypeVar("R", AVInput, Batch)
PAD = 24
"""Conditions are padded to multiples of this where blocks are compiled, so that nearly all sentences share a graph."""


def seed_of(*keys: str | int) -> int:
    """A seed of 63 bits out of names and numbers."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, keys)).encode()).digest()[:8], "big") >> 1


def generator(*keys: str | int) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(seed_of(*keys))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is drawn for the global batch of a step."""

    seed: int
    step: int
    num_frames: int
    """Length of its clips: the bucket."""
    indices: tuple[int, ...]
    task: Task
    links: Links
    """The task's, less what a link dropout of the experiment closes."""
    sigma: Float[Tensor, " B"]
    dropped: tuple[Bool[Tensor, " B"], ...]
    """Per dropout of the experiment, the samples that lose their conditions."""


def plan(experiment: Experiment, buckets: Mapping[int, int], seed: int, step: int) -> Plan:
    """Draw a step: which clips, which task, how much noise, who goes without conditions.

    Within a bucket clips come in shuffled rounds: each once before any comes again, as long as the bucket does not
    grow. Buckets are drawn by their sizes.
    """
    count = experiment.train.batch
    lengths = sorted(buckets)
    sizes = torch.tensor([float(buckets[length]) for length in lengths])
    num_frames = lengths[_choose(sizes, seed, step, "bucket")]
    shares = torch.tensor([share for _, share in experiment.tasks])
    kind = experiment.tasks[_choose(shares, seed, step, "task")][0]
    task = kind.drawn(num_frames / experiment.geometry.fps, generator(seed, step, "span"))
    dropped = tuple(
        torch.rand(count, generator=generator(seed, step, "dropout", i)) < dropout.share
        for i, dropout in enumerate(experiment.dropout)
    )
    return Plan(
        seed=seed,
        step=step,
        num_frames=num_frames,
        indices=tuple(_index(seed, num_frames, buckets[num_frames], step * count + row) for row in range(count)),
        task=task,
        links=_links(experiment, task, seed, step),
        sigma=experiment.density(count, generator(seed, step, "sigma")),
        dropped=dropped,
    )


def _links(experiment: Experiment, task: Task, seed: int, step: int) -> Links:
    links = task.links
    for i, dropout in enumerate(experiment.link_dropout):
        if float(torch.rand(1, generator=generator(seed, step, "links", i))) < dropout.share:
            links = Links(*(one and other for one, other in zip(links, dropout.links)))
    return links


def _choose(weights: Float[Tensor, " N"], seed: int, step: int, what: str) -> int:
    return int(torch.multinomial(weights, 1, generator=generator(seed, step, what)))


def _index(seed: int, num_frames: int, size: int, position: int) -> int:
    turn, place = divmod(position, size)
    return int(_order(seed, num_frames, size, turn)[place])


@lru_cache(maxsize=16)
def _order(seed: int, num_frames: int, size: int, turn: int) -> Int[Tensor, " N"]:
    """The order of a bucket's clips in one round through them."""
    return torch.randperm(size, generator=generator(seed, "order", num_frames, turn))


def rows_of(batch: int, rank: int, size: int, accumulate: int) -> list[range]:
    """The rows of the global batch that a rank computes, one range per accumulation round.

    Raises ValueError where the batch does not divide into equal parts.
    """
    each, rest = divmod(batch, size * accumulate)
    if rest or not each:
        raise ValueError(
            f"a batch of {batch} does not divide into {size} processes times {accumulate} rounds: change one of them"
        )
    starts = [(turn * size + rank) * each for turn in range(accumulate)]
    return [range(start, start + each) for start in starts]


def assemble(
    experiment: Experiment, dataset: Dataset, plan: Plan, rows: range, device: str | torch.device = "cpu"
) -> tuple[AVInput, Batch]:
    """The network's input and the clean batch for some rows of a plan.

    Raises ``UserError`` for clips that lack what the recipe's tasks and losses read.
    """
    samples = dataset.read(plan.num_frames, [plan.indices[row] for row in rows])
    geometry = replace(dataset.geometry, num_frames=plan.num_frames)
    layout = dataset.codes.layout(geometry, experiment.patch, experiment.clock)
    clean = clean_tokens(experiment, samples, layout)
    _check_voices(experiment, dataset)
    _check_reference(experiment, dataset)
    known = with_reference(clean, samples, plan.task)
    noise = Pair(*(_noise(plan, rows, tokens, name) for tokens, name in zip(known, Pair._fields)))
    sigma = plan.sigma[rows.start : rows.stop]
    voices = [sample.voices for sample in samples] if "voice" in plan.task.needs else None
    cond = experiment.encode([sample.prompt for sample in samples], voices=voices)
    input = replace(compose(plan.task, layout, known, noise, Pair(sigma, sigma), cond), links=plan.links)
    for dropout, dropped in zip(experiment.dropout, plan.dropped):
        input = dropout.edit.rows(input, dropped[rows.start : rows.stop])
    multiple = PAD if experiment.train.compile else 1
    read = {name: padded(input.cond[name], multiple) for name in experiment.model.conditions}
    batch = Batch(video=clean.video, audio=clean.audio, regions=_regions(experiment, samples))
    return moved(replace(input, cond=read), device), moved(batch, device)


def clean_tokens(experiment: Experiment, samples: Sequence[Sample], layout: Layout) -> Pair:
    """The tokens of some clips of one length. Raises ValueError where latents do not fit the layout."""
    video = patchify(torch.stack([sample.video for sample in samples]), experiment.patch)
    audio = audio_tokens(torch.stack([sample.audio for sample in samples]))
    for name, tokens, grid in (("video", video, layout.video), ("audio", audio, layout.audio)):
        if tokens.shape[1] != grid.tokens:
            raise ValueError(f"the latents of clip {samples[0].seed} make {tokens.shape[1]} {name} tokens, not {grid}")
    return Pair(video, audio)


def with_reference(clean: Pair, samples: Sequence[Sample], task: Task) -> Pair:
    """The tokens of some clips, behind those of the sound the voice that a task refers to, if it does."""
    if task.reference is None:
        return clean
    heard = torch.stack([sample.reference for sample in samples])  # pyright: ignore[reportArgumentType]
    return clean._replace(audio=torch.cat((clean.audio, audio_tokens(heard)), dim=1))


def _voiced(experiment: Experiment) -> str:
    return ", ".join(kind.name for kind, share in experiment.tasks if share and "voice" in kind.needs)


def _check_reference(experiment: Experiment, dataset: Dataset) -> None:
    """Raise ``UserError`` where a recipe trains reference tokens and the clips have none, or of another length."""
    wanted = experiment.reference
    if wanted is not None and dataset.reference != wanted:
        raise UserError(
            f"{experiment.name} trains {_voiced(experiment)} with {_length(wanted)}, the clips hold "
            f"{_length(dataset.reference)}: make them anew with phonofilm prepare --recipe {experiment.name}, or train "
            "a recipe without such tasks"
        )


def _length(reference: Reference | None) -> str:
    if reference is None:
        return "no sound of a reference voice"
    voice = f"{reference.seconds:g} s of a reference voice at level {reference.loud:g}"
    return f"{voice} and {reference.silence:g} s of silence"


def _check_voices(experiment: Experiment, dataset: Dataset) -> None:
    """Raise ``UserError`` where a recipe trains a task with a voice and the clips have none, or another encoder's."""
    wanted = experiment.speaker_encoder.name if experiment.speaker_encoder is not None else ""
    voiced = _voiced(experiment) if wanted else ""
    if voiced and dataset.speaker != wanted:
        held = f"those of {dataset.speaker!r}" if dataset.speaker else "none"
        raise UserError(
            f"{experiment.name} trains {voiced} with reference voices of {wanted!r}, the clips hold {held}: "
            f"make them anew with phonofilm prepare --recipe {experiment.name}, or train a recipe without such tasks"
        )


def _regions(experiment: Experiment, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """The regions that the losses read, as shares of each token's cells; ``UserError`` where the clips lack one."""
    for name in experiment.regions:
        if any(name not in sample.regions for sample in samples):
            held = ", ".join(samples[0].regions) or "none"
            raise UserError(
                f"{experiment.name} needs the region {name!r}, the clips hold {held}: make them anew with "
                f"phonofilm prepare --recipe {experiment.name}"
            )
    stacked = {name: torch.stack([sample.regions[name] for sample in samples]) for name in experiment.regions}
    return {name: patchify(region, experiment.patch) for name, region in stacked.items()}


def _noise(plan: Plan, rows: range, like: Float[Tensor, "B S C"], name: str) -> Float[Tensor, "B S C"]:
    return torch.stack(
        [torch.randn(like.shape[1:], generator=generator(plan.seed, plan.step, name, row)) for row in rows]
    )


def padded(tokens: Tokens, multiple: int) -> Tokens:
    """Tokens with a length that is a multiple of a number; what is added does not count."""
    length = tokens.mask.shape[1]
    return tokens.padded(length + -length % multiple)


def moved(record: R, device: str | torch.device) -> R:
    """A record with its tensors on a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device, non_blocking=True), record)
