"""Latents to tokens and back, and where tokens stand in time and space: pure functions of a Layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from phonofilm.types import CENTRE, Clock, Grid, Layout, Tokens

Patch = tuple[int, int]


@runtime_checkable
class VideoStrides(Protocol):
    """What a layout needs to know of a video codec."""

    temporal_stride: int
    spatial_stride: int


@runtime_checkable
class AudioStrides(Protocol):
    """What a layout needs to know of an audio codec."""

    sample_rate: int
    hop: int


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Pixels of a clip: how many pixel frames, how large, how fast."""

    num_frames: int
    height: int
    width: int
    fps: float

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.num_frames / self.fps

    def num_samples(self, sample_rate: int) -> int:
        """Samples of sound that last as long as the pictures."""
        return round(self.num_frames / self.fps * sample_rate)


def layout_of(
    geometry: Geometry, video: VideoStrides, audio: AudioStrides, patch: Patch, clock: Clock = CENTRE
) -> Layout:
    """The grids of a clip's tokens. Latent frame 0 covers one pixel frame, each later one ``temporal_stride``.

    Raises ValueError where the clip's size or length does not fit the codec.
    """
    stride = video.temporal_stride
    if geometry.num_frames < 1 or (geometry.num_frames - 1) % stride:
        near = max(0, round((geometry.num_frames - 1) / stride)) * stride + 1
        raise ValueError(
            f"{geometry.num_frames} pixel frames do not fit the codec: 1 + a multiple of {stride}, say {near}"
        )
    cells = []
    for side, size, part in zip(("height", "width"), (geometry.height, geometry.width), patch):
        cell = video.spatial_stride * part
        if size < cell or size % cell:
            raise ValueError(f"{side} {size} does not fit the codec: it must be a multiple of {cell}")
        cells.append(size // cell)
    frames = 1 + (geometry.num_frames - 1) // stride
    hops = -(-geometry.num_samples(audio.sample_rate) // audio.hop)
    return Layout(
        video=Grid(frames, cells[0], cells[1], first=1 / geometry.fps, step=stride / geometry.fps),
        audio=Grid(hops, 1, 1, first=audio.hop / audio.sample_rate, step=audio.hop / audio.sample_rate),
        clock=clock,
    )


def patchify(latents: Float[Tensor, "B C t h w"], patch: Patch) -> Float[Tensor, "B S CK"]:
    """Tokens in the order frame, row, column; a token's channels in the order latent channel, cell of the patch."""
    x = latents.unflatten(4, (-1, patch[1])).unflatten(3, (-1, patch[0]))  # (B, C, t, rows, p, columns, q)
    return x.permute(0, 2, 3, 5, 1, 4, 6).flatten(4, 6).flatten(1, 3)


def unpatchify(tokens: Float[Tensor, "B S CK"], grid: Grid, patch: Patch) -> Float[Tensor, "B C t h w"]:
    """The inverse of ``patchify``; tokens behind the grid's (references) are left out."""
    x = tokens[:, : grid.tokens].unflatten(1, (grid.frames, grid.rows, grid.columns)).unflatten(-1, (-1, *patch))
    return x.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)


def audio_tokens(latents: Float[Tensor, "B C n"]) -> Float[Tensor, "B n C"]:
    """One token per latent of sound."""
    return latents.mT


def audio_latents(tokens: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B C n"]:
    """The inverse of ``audio_tokens``; references are left out."""
    return tokens[:, : grid.tokens].mT


def latent_region(
    region: Float[Tensor, "B T H W"], temporal_stride: int, spatial_stride: int
) -> Float[Tensor, "B 1 t h w"]:
    """A region of the pixels on the grid of the latents: 1 wherever a latent covers any of it.

    Latent frame 0 covers pixel frame 0, latent i >= 1 the pixel frames of its stride (union over them).
    """
    x = region.unsqueeze(1)
    tail = (
        F.max_pool3d(x[:, :, 1:], (temporal_stride, spatial_stride, spatial_stride)) if x.shape[2] > 1 else x[:, :, :0]
    )
    head = F.max_pool3d(x[:, :, :1], (1, spatial_stride, spatial_stride))
    return torch.cat((head, tail.reshape(*head.shape[:2], -1, *head.shape[3:])), dim=2)


def positions(grid: Grid, clock: Clock = CENTRE, *, refs: int = 0) -> Float[Tensor, "S 3"]:
    """Seconds, row and column of every token of a grid in float32.

    References follow the grid's tokens, in whole frames before the clip: at negative seconds, with rows and columns of
    their own. Raises ValueError where ``refs`` is no whole number of frames.
    """
    cells = grid.rows * grid.columns
    if refs % cells:
        raise ValueError(f"{refs} reference tokens are not whole frames of {grid.rows} x {grid.columns}")
    rows = torch.arange(grid.rows, dtype=torch.float32)
    columns = torch.arange(grid.columns, dtype=torch.float32)
    seconds = torch.cat((clock.seconds(grid, grid.frames), clock.before(grid, refs // cells))).float()
    return torch.cartesian_prod(seconds, rows, columns).reshape(-1, 3)


def stack_conditions(conditions: Sequence[Mapping[str, Tokens]], device: str | torch.device) -> dict[str, Tokens]:
    """The conditions of several samples as one batch on a device, each padded to its longest."""
    return {name: _stacked([one[name] for one in conditions], device) for name in conditions[0]}


def _stacked(rows: Sequence[Tokens], device: str | torch.device) -> Tokens:
    rows = [row.padded(max(row.mask.shape[1] for row in rows)) for row in rows]
    x, mask = torch.cat([row.x for row in rows]), torch.cat([row.mask for row in rows])
    return Tokens(x=x.to(device), mask=mask.to(device))
