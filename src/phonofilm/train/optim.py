"""The optimisers of a recipe, each over the right parameters; the learning rate of a step, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from phonofilm.network.layers import Modulation
from phonofilm.recipes.experiment import MuonOptim, Optim, PartsOptim

SHARE = "share"
"""Of the learning rate, in groups that have one of their own."""


def parameter_groups(network: nn.Module, weight_decay: float, *, without: Iterable[Tensor] = ()) -> list[dict]:
    """Two groups: matrices and kernels, which decay, and biases, norms and embeddings, which do not."""
    embedded = {p for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    decayed, free, left_out = [], [], set(without)
    for parameter in (p for p in network.parameters() if p not in left_out):
        (free if parameter.ndim < 2 or parameter in embedded else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def hidden_matrices(network: nn.Module) -> list[Tensor]:
    """The linear layers' matrices of all blocks, but for those that read the time vector."""
    timed = {p for m in network.modules() if isinstance(m, Modulation) for p in m.parameters()}
    linear = [m.weight for m in network.get_submodule("blocks").modules() if isinstance(m, nn.Linear)]
    return [weight for weight in linear if weight not in timed]


@singledispatch
def optimisers(optim: Optim, network: nn.Module) -> tuple[Optimizer, ...]:
    """What moves the weights of a network; kinds of ``Optim`` register their own. By default AdamW, fused."""
    return (_adamw(parameter_groups(network, optim.weight_decay), optim),)


@optimisers.register
def _muon(optim: MuonOptim, network: nn.Module) -> tuple[Optimizer, ...]:
    hidden = hidden_matrices(network)
    rest = parameter_groups(network, optim.weight_decay, without=hidden)
    scaled = {"weight_decay": optim.weight_decay, "momentum": optim.momentum, "adjust_lr_fn": "match_rms_adamw"}
    return torch.optim.Muon(hidden, lr=optim.lr, **scaled), _adamw(rest, optim)


@optimisers.register
def _parts(optim: PartsOptim, network: nn.Module) -> tuple[Optimizer, ...]:
    paths = {name: set(name.split(".")) for name, _ in network.named_parameters()}
    if missing := [part for part in optim.parts if not any(part in path for path in paths.values())]:
        raise ValueError(f"the network has no weights in {', '.join(missing)}: their rate would have no effect")
    inside = [p for name, p in network.named_parameters() if paths[name] & set(optim.parts)]
    own = parameter_groups(network, optim.weight_decay, without=set(network.parameters()) - set(inside))
    others = parameter_groups(network, optim.weight_decay, without=inside)
    return (_adamw([*own, *({**group, SHARE: optim.elsewhere} for group in others)], optim),)


def _adamw(groups: list[dict], optim: Optim) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, fused=True)


def rate(optim: Optim, step: int, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to ``final``."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    done = min(1.0, (step - optim.warmup) / max(1, steps - optim.warmup))
    return optim.lr * (optim.final + (1 - optim.final) * (1 + math.cos(math.pi * done)) / 2)


def move(optimisers: Sequence[Optimizer], rate: float) -> None:
    """Take one step at a learning rate and forget the gradients."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get(SHARE, 1.0)
        optimiser.step()
        optimiser.zero_grad()


def clip(network: nn.Module, limit: float) -> float:
    """Scale all gradients in place so that their joint norm is at most ``limit``; returns the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
