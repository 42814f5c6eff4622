"""The running mean of the weights (EMA), which is what is kept and sampled from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class Average:
    """Means of a network's weights in float32, sharded like the weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().float().clone() for name, parameter in network.named_parameters()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights after a step; early steps count more, so that the start is soon forgotten."""
        keep = min(self.decay, (1 + step) / (10 + step))
        current = dict(network.named_parameters())
        means = [local(mean) for mean in self.weights.values()]
        torch._foreach_lerp_(means, [local(current[name]).float() for name in self.weights], 1 - keep)

    @contextmanager
    def inside(self, network: nn.Module) -> Iterator[nn.Module]:
        """The network with its mean weights while the context lasts."""
        self._swap(network)
        try:
            yield network
        finally:
            self._swap(network)

    @torch.no_grad()
    def _swap(self, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            mine, own = local(self.weights[name]), local(parameter)
            kept = own.clone()
            own.copy_(mine)
            mine.copy_(kept)


def whole(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor in full on the CPU; all ranks must call it together."""
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()
        for name, tensor in weights.items()
    }
