"""AdamW over the right parameters, the learning rate of a step, and clipping."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from phonofilm.experiment import Optim


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices and kernels, which decay, and biases, norms and embeddings, which do not."""
    embedded = {p for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    decayed, free = [], []
    for parameter in network.parameters():
        (free if parameter.ndim < 2 or parameter in embedded else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def adamw(network: nn.Module, optim: Optim) -> torch.optim.AdamW:
    """The optimiser of an experiment, in its fused form."""
    return torch.optim.AdamW(parameter_groups(network, optim.weight_decay), lr=optim.lr, betas=optim.betas, fused=True)


def rate(optim: Optim, step: int, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to ``final``."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    done = min(1.0, (step - optim.warmup) / max(1, steps - optim.warmup))
    return optim.lr * (optim.final + (1 - optim.final) * (1 + math.cos(math.pi * done)) / 2)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip(network: nn.Module, limit: float) -> float:
    """Scale all gradients in place so that their joint norm is at most ``limit``; returns the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
