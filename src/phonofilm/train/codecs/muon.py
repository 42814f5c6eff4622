"""Muon: momentum whose direction is made orthogonal, for matrices and convolution kernels.

torch's own, which ``train.optim`` takes for networks, refuses kernels, knows no blocks of rows and rounds to bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Newton-Schulz coefficients of Jordan's Muon: singular values land near 1 in five rounds, without exactness."""


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Nearly the orthogonal factor of a matrix: its singular values become about 1.

    Newton-Schulz on the Gram matrix: X' = p(XX^T) X, so a wide matrix is touched twice and not twice a round.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    a, b, c = QUINTIC
    gram = wide @ wide.T
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    total = eye
    for _ in range(rounds):
        step = a * eye + b * gram + c * (gram @ gram)
        total = step @ total
        gram = step @ gram @ step
    result = total @ wide
    return result if matrix.shape[0] <= matrix.shape[1] else result.T


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, with Nesterov momentum; a kernel counts as a matrix of one row per output channel.

    With ``rows`` a kernel of more output channels is treated in blocks of rows of at most that many.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, rows: int = 128) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "rows": rows})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Move every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure: compute the gradients before the step")
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                direction = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                for block, part in zip(direction.split(group["rows"]), parameter.split(group["rows"]), strict=True):
                    stretch = max(1.0, block.shape[0] / block.shape[1]) ** 0.5
                    part.add_(orthogonal(block).view(part.shape), alpha=-group["lr"] * stretch)
