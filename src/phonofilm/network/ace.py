"""ACE-Step's layer (arXiv 2506.00045; github.com/ace-step/ACE-Step): a transformer for sound of one token a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.blocks import Hidden, Width, join_masks, with_tokens
from phonofilm.network.layers import ATTENTION, FEED_FORWARD, Rotation, TableModulation, attend, rotate
from phonofilm.types import Grid

NOTHING = 1e-15
"""Added to the sum of weights in linear attention, so that a query which finds no key gets zeros."""


class Seen(NamedTuple):
    """What a layer reads beside its text, of its own width."""

    x: Float[Tensor, "B L D"]
    rotation: Rotation


class AceProjection(nn.Module):
    """Queries, keys and values of all heads, without a norm (ACE-Step)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def split(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L H E"]:
        """Channels of each head."""
        return x.unflatten(-1, (self.heads, -1))


class GatedConvMLP(nn.Module):
    """The MLP of ACE-Step: tokens see their two neighbours before the gate; zeros stand at both ends."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden)
        self.conv = nn.Conv1d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """One run of neighbouring tokens."""
        if not x.shape[1]:  # a convolution refuses what is shorter than its kernel
            return x
        x, gate = self.conv(F.silu(self.up(x)).mT).mT.chunk(2, dim=-1)
        return self.down(x * F.silu(gate))


class AceLayer(nn.Module):
    """A layer of ACE-Step that also sees: linear self-attention, cross-attention to text and picture, gated MLP."""

    def __init__(self, numbers: Width) -> None:
        super().__init__()
        self.modulation = TableModulation(numbers.width)
        self.projection = AceProjection(numbers.width, numbers.heads)
        self.out = nn.Linear(numbers.width, numbers.width)
        self.text = AceProjection(numbers.width, numbers.heads)
        self.text_out = nn.Linear(numbers.width, numbers.width)
        self.seen_k = nn.Linear(numbers.width, numbers.width)
        self.seen_v = nn.Linear(numbers.width, numbers.width)
        self.mlp = GatedConvMLP(numbers.width, numbers.mlp)

    def turned(self, x: Float[Tensor, "B S H E"], rotation: Rotation) -> Float[Tensor, "B S H E"]:
        """Queries or keys with their positions."""
        return rotate(x, rotation)

    def self_attention(self, hidden: Hidden) -> Hidden:
        """Self-attention without a softmax: weights are products of what is positive of queries and of keys."""
        shift, scale, gate = self.modulation(hidden.time, hidden.given, only=ATTENTION)
        x, p = modulate_rms(hidden.x, shift, scale), self.projection
        q, k = (self.turned(p.split(layer(x)), hidden.rotation).float().relu() for layer in (p.q, p.k))
        return with_tokens(hidden, hidden.x + gate * self.out(linear_attention(q, k, p.split(p.v(x)))))

    def read_text_and_see(self, hidden: Hidden, seen: Seen | None) -> Hidden:
        """Cross-attention to the texts and, in the same softmax, to the frames; queries are not normed."""
        ctx, p = hidden.ctx, self.text
        k, v = self.turned(p.split(p.k(ctx.x)), ctx.rotation), p.split(p.v(ctx.x))
        mask = ctx.mask
        if seen is not None:
            k = torch.cat((k, self.turned(p.split(self.seen_k(seen.x)), seen.rotation)), dim=1)
            v = torch.cat((v, p.split(self.seen_v(seen.x))), dim=1)
            mask = join_masks([(ctx.mask, ctx.x), (None, seen.x)])
        q = self.turned(p.split(p.q(hidden.x)), hidden.rotation)
        return with_tokens(hidden, hidden.x + self.text_out(attend(q, k, v, mask)))

    def feed_forward(self, hidden: Hidden) -> Hidden:
        """The MLP, whose tokens see their two neighbours."""
        shift, scale, gate = self.modulation(hidden.time, hidden.given, only=FEED_FORWARD)
        return with_tokens(hidden, hidden.x + gate * self.mlp(modulate_rms(hidden.x, shift, scale)))


class ReleasedAceLayer(AceLayer):
    """The same with the angles of the release, of which the two channels of a pair get different ones."""

    def turned(self, x: Float[Tensor, "B S H E"], rotation: Rotation) -> Float[Tensor, "B S H E"]:
        """Queries or keys with their positions as ACE-Step's weights learned them."""
        return turn_unpaired(x, rotation)


def linear_attention(
    q: Float[Tensor, "B S H E"], k: Float[Tensor, "B S H E"], v: Float[Tensor, "B S H E"]
) -> Float[Tensor, "B S H*E"]:
    """Means of the values, weighted by ``q . k``, neither of which may be negative; summed in float32 (ACE-Step)."""
    with torch.autocast(v.device.type, enabled=False):
        told = torch.einsum("blhe,blhd->bhed", k.float(), v.float())
        taken = torch.einsum("bshe,bhed->bshd", q.float(), told)
        weight = torch.einsum("bshe,bhe->bsh", q.float(), k.float().sum(dim=1)).unsqueeze(-1)
    return (taken / (weight + NOTHING)).to(v.dtype).flatten(2)


def modulate_rms(
    x: Float[Tensor, "B S D"], shift: Float[Tensor, "B S D"], scale: Float[Tensor, "B S D"]
) -> Float[Tensor, "B S D"]:
    """RMS norm without weights, which leaves the mean as it is, then scale (1 leaves it) and shift."""
    return F.rms_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype) * scale + shift


def turn_unpaired(x: Float[Tensor, "B S H E"], rotation: Rotation) -> Float[Tensor, "B S H E"]:
    """Positions as in ACE-Step's weights: channel c turns by the angle of frequency c modulo half a head's channels.

    Its table of angles is made for halves of a head, and used on neighbouring pairs: the two channels of a pair have
    different angles, so that lengths change and products do not depend on distance alone.
    """
    cos, sin = rotation.repeat(1, 1, 2, 1).unsqueeze(2).unbind(-1)
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return (x.float() * cos + torch.stack((-odd, even), dim=-1).flatten(-2) * sin).to(x.dtype)


class GroupNormEmbedding(nn.Module):
    """Tokens to the width: linear, norm of groups of channels over the whole clip, linear (ACE-Step)."""

    def __init__(self, channels: int, width: int, inner: int, groups: int) -> None:
        super().__init__()
        self.up = nn.Linear(channels, inner)
        self.norm = nn.GroupNorm(groups, inner, eps=1e-6)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "B S C"]) -> Float[Tensor, "B S D"]:
        """One run of neighbouring tokens."""
        if not x.shape[1]:  # a norm over nothing
            return x.new_zeros(*x.shape[:2], self.down.out_features)
        return self.down(self.norm(self.up(x).mT).mT)


@dataclass(frozen=True, kw_only=True)
class GroupNormEmbed:
    """Tokens to the width by linear, group norm over channels and time, linear (ACE-Step). For one token a frame."""

    inner: int
    """Channels between the linear layers."""
    groups: int = 32
    """Groups of these channels; each is normed over the whole clip."""

    def __post_init__(self) -> None:
        if self.groups < 1 or self.inner % self.groups:
            raise ValueError(f"{self.inner} channels do not divide into {self.groups} groups")

    def build(self, channels: int, width: int) -> GroupNormEmbedding:
        """The layers with fresh weights."""
        return GroupNormEmbedding(channels, width, self.inner, self.groups)

    def apply(self, layer: nn.Module, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """The grid's tokens, then those of references: neither run is normed with the other."""
        if grid.rows * grid.columns != 1:
            raise ValueError(f"GroupNormEmbed reads one token a frame, got {grid.rows} x {grid.columns}")
        return torch.cat([layer(run) for run in (x[:, : grid.tokens], x[:, grid.tokens :])], dim=1)
