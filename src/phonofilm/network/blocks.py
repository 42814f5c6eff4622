"""Halves of blocks: a ``Side`` is one weight set before and after attention.

What flows between blocks is a ``State``: two ``Hidden`` streams, each with its context (text and other
conditions), the links that are open in this pass, and by-products for losses.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from phonofilm.network.layers import (
    ATTENTION,
    FEED_FORWARD,
    MLP,
    QKV,
    CrossAttention,
    Keys,
    Modulation,
    Projection,
    Rotation,
    TableModulation,
    TowerProjection,
    attend,
    modulate,
)
from phonofilm.types import Grid, Links, record


@dataclass(frozen=True, kw_only=True)
class Width:
    """Configuration of one stream's blocks."""

    width: int
    heads: int
    mlp: int
    """Hidden channels of the MLP."""


@record
class Context:
    """Conditions as a stream's blocks see them: text and whatever else comes beside the tokens."""

    x: Float[Tensor, "B L D"]
    mask: Bool[Tensor, "B L"] | None
    """Tokens that count; None where all do."""
    rotation: Rotation
    pooled: Float[Tensor, "B P"] | None = None
    """What holds all the time, in one vector, from contexts that make it for ports that read it."""


@record
class Hidden:
    """One stream between two blocks. Blocks derive their own modulation from ``time``."""

    _static: ClassVar = ("grid",)

    x: Float[Tensor, "B S D"]
    time: Float[Tensor, "B 2 E"]
    given: Bool[Tensor, "B S"]
    rotation: Rotation
    seconds: Float[Tensor, "B S"]
    grid: Grid
    ctx: Context


@record
class State:
    """What a block gets and returns."""

    _static: ClassVar = ("links",)

    video: Hidden
    audio: Hidden
    links: Links
    aux: dict[str, Tensor] = dataclasses.field(default_factory=dict)


class Sequence(NamedTuple):
    """A run of tokens that one weight set serves: stream tokens, text, or both."""

    x: Float[Tensor, "B S D"]
    time: Float[Tensor, "B 2 E"]
    given: Bool[Tensor, "B S"]
    mask: Bool[Tensor, "B S"] | None
    rotation: Rotation


def tokens_of(hidden: Hidden) -> Sequence:
    """The stream's own tokens; all of them count."""
    return Sequence(hidden.x, hidden.time, hidden.given, None, hidden.rotation)


def text_of(hidden: Hidden) -> Sequence:
    """The stream's context tokens, at the stream's own noise level."""
    ctx = hidden.ctx
    given = torch.zeros(ctx.x.shape[:2], dtype=torch.bool, device=ctx.x.device)
    return Sequence(ctx.x, hidden.time, given, ctx.mask, ctx.rotation)


def join(one: Sequence, other: Sequence) -> Sequence:
    """Two runs of tokens, one after the other, for one weight set."""
    return Sequence(
        torch.cat((one.x, other.x), dim=1),
        one.time,
        torch.cat((one.given, other.given), dim=1),
        join_masks([(one.mask, one.given), (other.mask, other.given)]),
        torch.cat((one.rotation, other.rotation), dim=1),
    )


def join_masks(parts: list[tuple[Bool[Tensor, "B _"] | None, Shaped[Tensor, "B _ *_"]]]) -> Bool[Tensor, "B L"] | None:
    """Masks of runs of tokens in a row, each with its tokens; None where all tokens of all runs count."""
    if all(mask is None for mask, _ in parts):
        return None
    every = (torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask for mask, x in parts)
    return torch.cat(list(every), dim=1)


class Before(NamedTuple):
    """What the first half of a block leaves: projections for attention and what the second half needs."""

    qkv: QKV
    gate: Float[Tensor, "B S D"]
    mlp: tuple[Float[Tensor, "B S D"], ...]


class Side(nn.Module):
    """One weight set of a block: all that happens before attention and all that happens after it.

    ``time`` is the number of channels of the time vector that modulation reads.
    """

    def __init__(self, numbers: Width, time: int) -> None:
        super().__init__()
        self.modulation = Modulation(time, numbers.width, 6)
        self.projection = Projection(numbers.width, numbers.heads)
        self.out = nn.Linear(numbers.width, numbers.width)
        self.mlp = MLP(numbers.width, numbers.mlp)

    def before(self, tokens: Sequence) -> Before:
        """Queries, keys and values of the modulated tokens, and what follows the attention."""
        shift, scale, gate, *mlp = self.modulation(tokens.time, tokens.given)
        return Before(self.projection(modulate(tokens.x, shift, scale), tokens.rotation, tokens.mask), gate, tuple(mlp))

    def after(
        self, x: Float[Tensor, "B S D"], attended: Float[Tensor, "B S D"], before: Before
    ) -> Float[Tensor, "B S D"]:
        """Two residual steps: what attention brought, then the MLP."""
        shift, scale, gate = before.mlp
        x = x + before.gate * self.out(attended)
        return x + gate * self.mlp(modulate(x, shift, scale))


def joint_attention(video: list[QKV], audio: list[QKV], links: Links) -> tuple[list[Tensor], list[Tensor]]:
    """One softmax over everything that a query may read; results (B S D) come back in the order of the parts.

    With both links open all parts share one attention call. A closed link leaves the other stream's keys out.
    """
    if links.a2v and links.v2a:
        done = _split(_attend(video + audio, video + audio), video + audio)
        return done[: len(video)], done[len(video) :]
    return (
        _split(_attend(video, video + audio if links.a2v else video), video),
        _split(_attend(audio, audio + video if links.v2a else audio), audio),
    )


def _attend(queries: list[QKV], keys: list[QKV]) -> Tensor:
    q = torch.cat([part.q for part in queries], dim=1)
    k, v = torch.cat([part.k for part in keys], dim=1), torch.cat([part.v for part in keys], dim=1)
    return attend(q, k, v, join_masks([(part.mask, part.k) for part in keys]))


def _split(x: Tensor, parts: list[QKV]) -> list[Tensor]:
    return list(x.split([part.q.shape[1] for part in parts], dim=1))


class WanLayer(nn.Module):
    """A Wan transformer layer of one stream: self-attention, cross-attention to the text, MLP.

    The three steps are methods of their own, so that an architecture can let the streams meet between them.
    ``text_attention`` is the class that reads the text: ``CrossAttention``, or ``RotaryCrossAttention`` with seconds.
    """

    def __init__(self, numbers: Width, text_attention: type[CrossAttention] = CrossAttention) -> None:
        super().__init__()
        self.modulation = TableModulation(numbers.width)
        self.projection = TowerProjection(numbers.width, numbers.heads)
        self.out = nn.Linear(numbers.width, numbers.width)
        self.norm_text = nn.LayerNorm(numbers.width, eps=1e-6)
        self.text = text_attention(numbers.width, numbers.heads)
        self.mlp = MLP(numbers.width, numbers.mlp)

    def forward(self, hidden: Hidden) -> Hidden:
        """The stream after the layer; it reads nothing but itself and its context."""
        return self.feed_forward(self.cross_attention(self.self_attention(hidden)))

    def self_attention(self, hidden: Hidden) -> Hidden:
        """Self-attention between the tokens of the stream, modulated and gated."""
        shift, scale, gate = self.modulation(hidden.time, hidden.given, only=ATTENTION)
        qkv = self.projection(modulate(hidden.x, shift, scale), hidden.rotation)
        return with_tokens(hidden, hidden.x + gate * self.out(attend(*qkv)))

    def cross_attention(self, hidden: Hidden) -> Hidden:
        """Cross-attention to the text; no gate, no modulation."""
        ctx = hidden.ctx
        x = self.norm_text(hidden.x.float()).to(hidden.x.dtype)
        return with_tokens(hidden, hidden.x + self.text(x, hidden.rotation, ctx.x, Keys(ctx.mask, ctx.rotation)))

    def feed_forward(self, hidden: Hidden) -> Hidden:
        """The MLP for each token, modulated and gated."""
        shift, scale, gate = self.modulation(hidden.time, hidden.given, only=FEED_FORWARD)
        return with_tokens(hidden, hidden.x + gate * self.mlp(modulate(hidden.x, shift, scale)))


def with_tokens(hidden: Hidden, x: Float[Tensor, "B S D"]) -> Hidden:
    """The same stream with other tokens."""
    return dataclasses.replace(hidden, x=x)
