"""Signed distances of simple shapes, and how much of a pixel they cover.

Points are two tensors x and y that broadcast against the shape's numbers (plain numbers or tensors), in any unit
of length; y grows downwards. Distances are negative inside. Everything works batched, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor


def circle(x: Tensor, y: Tensor, radius: Number) -> Tensor:
    """Distance to a circle around the origin."""
    return torch.sqrt(x * x + y * y) - radius


def ellipse(x: Tensor, y: Tensor, rx: Number, ry: Number) -> Tensor:
    """Distance to an ellipse around the origin, exact on the outline and to first order beside it."""
    u, v = x / rx, y / ry
    near = torch.sqrt(u * u + v * v)
    u, v = u / rx, v / ry
    return near * (near - 1) / torch.sqrt(u * u + v * v + 1e-12)


def box(x: Tensor, y: Tensor, half_width: Number, half_height: Number, radius: Number = 0.0) -> Tensor:
    """Distance to a box around the origin with rounded corners."""
    dx = x.abs() - half_width + radius
    dy = y.abs() - half_height + radius
    outside = torch.sqrt(dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2)
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def union(*distances: Tensor) -> Tensor:
    """Distance to what lies in any of the shapes."""
    nearest = distances[0]
    for other in distances[1:]:
        nearest = torch.minimum(nearest, other)
    return nearest


def blend(a: Tensor, b: Tensor, reach: float) -> Tensor:
    """Union with its inner corners rounded over ``reach`` (polynomial smooth minimum)."""
    share = (reach - (a - b).abs()).clamp(min=0) / reach
    return torch.minimum(a, b) - share * share * (reach / 4)


def without(a: Tensor, b: Tensor) -> Tensor:
    """Distance to what lies in ``a`` but not in ``b``."""
    return torch.maximum(a, -b)


def cover(distance: Tensor, pixels: float) -> Tensor:
    """Share of a pixel that a shape covers; ``pixels`` is the number of pixels per unit of length."""
    return (0.5 - distance * pixels).clamp(0, 1)


def band(y: Tensor, top: Tensor, bottom: Tensor, pixels: float) -> Tensor:
    """Share of a pixel's height that lies between two curves: exact for bands thinner than a pixel too.

    0 where ``bottom`` is above ``top``.
    """
    half = 0.5 / pixels
    return ((torch.minimum(y + half, bottom) - torch.maximum(y - half, top)) * pixels).clamp(0, 1)
