"""The straight path between data and noise, and how often training visits each noise level.

Sigma 1 is noise, 0 is data; ``x = (1 - sigma) * data + sigma * noise``; velocity is ``noise - data``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SIGMA_MIN = 1e-3
"""Training draws no smaller sigma: there the velocity could not be told from x in float32."""

Density = Callable[[int, torch.Generator], Float[Tensor, " B"]]


def interpolate(
    data: Float[Tensor, "B S C"], noise: Float[Tensor, "B S C"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B S C"]:
    """A point on the path (rectified flow, Liu et al. 2022)."""
    level = sigma[:, None, None]
    return (1 - level) * data + level * noise


def velocity(
    x: Float[Tensor, "B S C"], data: Float[Tensor, "B S C"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B S C"]:
    """The velocity that leads from noise through x to the data: ``noise - data = (x - data) / sigma``.

    Zero where sigma is 0: clean data does not move.
    """
    level = sigma[:, None, None].float()
    return torch.where(level > 0, (x.float() - data.float()) / level.clamp(min=SIGMA_MIN), 0.0)


def shift(sigma: Float[Tensor, "*N"], factor: float) -> Float[Tensor, "*N"]:
    """Move noise levels towards noise (Esser et al. 2024, eq. 23): 1 leaves them, 3 to 7 suit more pixels."""
    return factor * sigma / (1 + (factor - 1) * sigma)


@dataclass(frozen=True)
class Uniform:
    """Every noise level equally often."""

    shift: float = 1.0

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
        """Noise levels in [SIGMA_MIN, 1]."""
        return shift(torch.rand(count, generator=generator), self.shift).clamp(SIGMA_MIN, 1.0)


@dataclass(frozen=True)
class LogitNormal:
    """Noise levels whose logit is normal (Esser et al. 2024): most in the middle."""

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
        """Noise levels in [SIGMA_MIN, 1]."""
        normal = torch.randn(count, generator=generator) * self.std + self.mean
        return shift(normal.sigmoid(), self.shift).clamp(SIGMA_MIN, 1.0)


@dataclass(frozen=True)
class Mode:
    """Mode sampling (Esser et al. 2024, eq. 20), which Waver uses for video with scale 1.29."""

    scale: float = 1.29
    shift: float = 1.0

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
        """Noise levels in [SIGMA_MIN, 1]."""
        u = torch.rand(count, generator=generator)
        level = 1 - u - self.scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
        return shift(level, self.shift).clamp(SIGMA_MIN, 1.0)


@dataclass(frozen=True)
class Indexed:
    """One of ``num`` noise levels with equal chance: a straight row from 1 to ``lowest``, then shifted (NAVA)."""

    num: int = 1000
    lowest: float = 0.003 / 1.002
    shift: float = 5.0

    def levels(self) -> Float[Tensor, " N"]:
        """All noise levels, from 1 down."""
        return shift(torch.linspace(1.0, self.lowest, self.num), self.shift)

    def __call__(self, count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
        """Noise levels out of the table."""
        return self.levels()[torch.randint(self.num, (count,), generator=generator)]


Weight = Callable[[Float[Tensor, " B"]], Float[Tensor, " B"]]
"""How much a noise level counts in a loss."""


def even(sigma: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Every noise level counts the same."""
    return torch.ones_like(sigma)


@dataclass(frozen=True)
class Bell:
    """Levels in the middle count most: exp(-2 (sigma - 1/2)^2) less its smallest value over the table, mean 1 there.

    As in ernie-research/NAVA (flow_match.py, commit 786c373), where training also draws from ``table``.
    """

    table: Indexed = Indexed()

    def __call__(self, sigma: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Weights of noise levels: none at pure noise, 2 in the middle."""
        bells = _bell(self.table.levels())
        return (_bell(sigma) - bells.min()).clamp(min=0.0) / (bells - bells.min()).mean()


def _bell(sigma: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    return torch.exp(-2 * (sigma - 0.5).square())
