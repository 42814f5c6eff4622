"""Guidance: a model that calls a model. Every linear guidance of the papers is a value of ``Guidance``.

``guided(model, *terms)`` has the model's own signature: ``v + sum of w * (v - v_edited)``, where ``v_edited`` is
the same model on an edited input. Edits are shared with condition dropout in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map, tree_map_only

from phonofilm.types import CLOSED, AVInput, AVOutput, Model, Tokens

Edit = Callable[[AVInput], AVInput]
Finish = Callable[[AVInput, AVOutput, AVOutput], AVOutput]
Passes = Callable[[Model, list[AVInput]], list[AVOutput]]
"""How the passes of guidance are run: ``one_by_one`` (least memory) or ``together`` (fewest calls)."""


@dataclass(frozen=True)
class Swap:
    """Put spare conditions in the place of others: (("text", "text.negative"), ...)."""

    pairs: tuple[tuple[str, str], ...]

    def __call__(self, input: AVInput) -> AVInput:
        """The input with each first name holding what the second holds; the input itself where it does already."""
        if all(_equal(input.cond[name], input.cond[spare]) for name, spare in self.pairs):
            return input
        return replace(input, cond=input.cond | {name: input.cond[spare] for name, spare in self.pairs})

    def rows(self, input: AVInput, rows: Bool[Tensor, " B"]) -> AVInput:
        """The swap for some samples of a batch alone: condition dropout."""
        changed = {name: _mix(input.cond[name], input.cond[spare], rows) for name, spare in self.pairs}
        return replace(input, cond=input.cond | changed)


def _equal(one: Tokens, other: Tokens) -> bool:
    return torch.equal(one.mask, other.mask) and torch.equal(one.x, other.x)


def _mix(kept: Tokens, spare: Tokens, rows: Bool[Tensor, " B"]) -> Tokens:
    length = max(kept.mask.shape[1], spare.mask.shape[1])
    kept, spare = _padded(kept, length), _padded(spare, length)
    pick = rows.reshape(-1, *(1 for _ in kept.x.shape[1:]))
    return Tokens(x=torch.where(pick, spare.x, kept.x), mask=torch.where(rows[:, None], spare.mask, kept.mask))


def _padded(tokens: Tokens, length: int) -> Tokens:
    short = length - tokens.mask.shape[1]
    tail = (0, 0) * (tokens.x.ndim - 2)
    return Tokens(x=F.pad(tokens.x, (*tail, 0, short)), mask=F.pad(tokens.mask, (0, short)))


def unlinked(input: AVInput) -> AVInput:
    """Neither stream reads the other."""
    return replace(input, links=CLOSED)


@dataclass(frozen=True)
class Skipping:
    """Leave blocks out (skip-layer guidance)."""

    blocks: frozenset[int]

    def __call__(self, input: AVInput) -> AVInput:
        """The input with these blocks left out as well."""
        return replace(input, skip=input.skip | self.blocks)


@dataclass(frozen=True)
class Both:
    """One edit after the other."""

    edits: tuple[Edit, ...]

    def __call__(self, input: AVInput) -> AVInput:
        """The input edited by all."""
        for edit in self.edits:
            input = edit(input)
        return input


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Move away from what the model says of an edited input: ``(scale - 1) * (v - v_edited)``.

    The weight is ``scale - 1``: a scale of 1 leaves a stream as it is. Applies where sigma is in (low, high].
    """

    contrast: Edit
    """What the model is moved away from: the edit that makes its input (no text, no links, blocks left out)."""
    video_scale: float
    audio_scale: float
    sigmas: tuple[float, float] = (0.0, 1.0)

    def applies(self, sigma: float) -> bool:
        """Whether the term counts at this noise level."""
        low, high = self.sigmas
        return low < sigma <= high and (self.video_scale, self.audio_scale) != (1, 1)


def guided(model: Model, *terms: Guidance, finish: Finish | None = None, passes: Passes | None = None) -> Model:
    """The model moved away from each term's edited input; ``finish`` is for what is not linear (rescale, APG).

    ``passes`` runs the plain and the edited inputs; ``one_by_one`` if None.
    """
    passes = passes or one_by_one

    def call(input: AVInput) -> AVOutput:
        edits = [(term, term.contrast(input)) for term in terms if term.applies(level(input))]
        # An edit that changes nothing, as of a voice where none is given, leaves nothing to move away from.
        active = [(term, edit) for term, edit in edits if edit is not input]
        plain, *edited = passes(model, [input, *(edit for _, edit in active)])
        video, audio = plain.video, plain.audio
        for (term, _), contrast in zip(active, edited):
            video = video + (term.video_scale - 1) * (plain.video - contrast.video)
            audio = audio + (term.audio_scale - 1) * (plain.audio - contrast.audio)
        moved = AVOutput(video=video, audio=audio, aux=plain.aux)
        return moved if finish is None else finish(input, plain, moved)

    return call


def one_by_one(model: Model, inputs: list[AVInput]) -> list[AVOutput]:
    """A model's outputs for several inputs, one call each: the least memory."""
    return [model(input) for input in inputs]


def together(model: Model, inputs: list[AVInput]) -> list[AVOutput]:
    """A model's outputs for several inputs; those with equal links and skips share one call.

    The same as one call each, up to rounding. Small models on a CPU gain most: half the calls, larger matrices.
    """
    outputs: dict[int, AVOutput] = {}
    kinds = [(input.links, input.skip) for input in inputs]
    for kind in dict.fromkeys(kinds):
        places = [place for place, other in enumerate(kinds) if other == kind]
        joined = model(_stacked([inputs[place] for place in places]))
        count = len(inputs[places[0]].video.x)
        for turn, place in enumerate(places):
            rows = slice(turn * count, (turn + 1) * count)
            outputs[place] = tree_map_only(Tensor, lambda part, rows=rows: part[rows], joined)
    return [outputs[place] for place in range(len(inputs))]


def _stacked(inputs: list[AVInput]) -> AVInput:
    """Inputs of one kind as one batch. Conditions that only guidance reads (spares) are padded like all others."""
    if len(inputs) == 1:
        return inputs[0]
    first = inputs[0]
    cond = {}
    for name in first.cond:
        length = max(input.cond[name].mask.shape[1] for input in inputs)
        parts = [_padded(input.cond[name], length) for input in inputs]
        cond[name] = Tokens(x=torch.cat([p.x for p in parts]), mask=torch.cat([p.mask for p in parts]))
    streams = {
        name: tree_map(lambda *parts: torch.cat(parts), *(getattr(input, name) for input in inputs))
        for name in ("video", "audio")
    }
    return replace(first, cond=cond, **streams)


def level(input: AVInput) -> float:
    """The noise level of an input in sampling: the same for all samples and for every generated stream."""
    return float(torch.cat((input.video.sigma, input.audio.sigma)).max())
