"""The small parts that every architecture is made of: attention, rotary positions, modulation, projections.

Modules here keep no state beyond their weights. Positions, sigma and modulation stay in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Rope:
    """How a head's channels are shared out between seconds, rows and columns, and how fast they turn.

    ``scale`` multiplies each axis before rotation: with seconds times the latent rate a network trained on
    integer frame indices keeps its own units. ``theta`` is the slowest period in those units, over 2 pi.
    """

    sizes: tuple[int, int, int]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    theta: float = 10000.0

    def __post_init__(self) -> None:
        if any(size % 2 for size in self.sizes):
            raise ValueError(f"RoPE turns pairs of channels: sizes must be even, got {self.sizes}")


Rotation = Float[Tensor, "#B S R 2"]
"""Cosine and sine of every token's angles, shared by all heads; side by side, so that they are complex numbers too."""


def rope(pos: Float[Tensor, "B S 3"], spec: Rope) -> Rotation:
    """Angles of every token in float32 (Su et al. 2021, per axis). R is half a head's channels."""
    angles = []
    for axis, (size, scale) in enumerate(zip(spec.sizes, spec.scale)):
        exponents = torch.arange(0, size, 2, device=pos.device, dtype=torch.float32) / max(size, 1)
        angles.append(pos[..., axis : axis + 1].float() * scale * spec.theta**-exponents)
    angle = torch.cat(angles, dim=-1)
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def rotate(x: Float[Tensor, "B S H E"], rotation: Rotation) -> Float[Tensor, "B S H E"]:
    """Turn neighbouring pairs of channels by the tokens' angles; computed in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # inductor writes no kernels for complex numbers, but fuses this into one
        (even, odd), (cos, sin) = pairs.unbind(-1), rotation.unsqueeze(2).unbind(-1)
        turned = (torch.addcmul(even * cos, odd, sin, value=-1), torch.addcmul(odd * cos, even, sin))
        return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)
    turned = torch.view_as_complex(pairs) * torch.view_as_complex(rotation).unsqueeze(2)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


class QKV(NamedTuple):
    """Queries, keys and values of one set of tokens, and which of the keys count; None where all do."""

    q: Float[Tensor, "B S H E"]
    k: Float[Tensor, "B S H E"]
    v: Float[Tensor, "B S H E"]
    mask: Bool[Tensor, "B S"] | None


class Keys(NamedTuple):
    """What a reader must know of the tokens that it reads: which count (None: all), and where they stand."""

    mask: Bool[Tensor, "B L"] | None
    rotation: Rotation


def attend(
    q: Float[Tensor, "B S H E"],
    k: Float[Tensor, "B L H E"],
    v: Float[Tensor, "B L H E"],
    mask: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B S H*E"]:
    """Softmax attention over the keys whose mask is true, through diffusers' dispatch (SDPA by default).

    Give None where all keys count: flash kernels take no mask, and the others are slower with one.
    """
    if not q.shape[1]:  # an absent stream asks nothing
        return q.flatten(2)
    attn_mask = None if mask is None else mask[:, None, None, :]
    return dispatch_attention_fn(q, k, v, attn_mask=attn_mask).flatten(2)


def needed(mask: Bool[Tensor, "B L"] | None) -> Bool[Tensor, "B L"] | None:
    """The mask, or None where all tokens count, as ``attend`` wants it.

    This waits for a GPU: a context asks once a pass, before the blocks, whose attention then takes no mask.
    """
    return None if mask is None or mask.all() else mask


def sinusoid(sigma: Float[Tensor, " B"], width: int) -> Float[Tensor, "B E"]:
    """Sinusoidal features of a noise level, counted in thousandths as diffusion models do."""
    exponents = torch.arange(width // 2, device=sigma.device, dtype=torch.float32) / (width // 2)
    angle = sigma.float()[:, None] * 1000.0 * 10000.0**-exponents
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class TimeEmbedding(nn.Module):
    """Noise level to the vector that modulation reads: row 0 for generated tokens, row 1 for given ones."""

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: Float[Tensor, " B"]) -> Float[Tensor, "B 2 E"]:
        """Given tokens are clean, so their row is that of level 0 whatever the sigma."""
        levels = torch.stack((sigma, torch.zeros_like(sigma)), dim=1)
        return self.mlp(sinusoid(levels.flatten(), self.features)).unflatten(0, levels.shape)


SHIFT_SCALE_GATE = 3
"""Vectors of one residual step: shift, scale, gate; a block has two such steps, an output no gate."""
ATTENTION, FEED_FORWARD = slice(0, 3), slice(3, 6)
"""The vectors of a block's first and of its second residual step."""


class Modulation(nn.Module):
    """Shifts, scales and gates of one block from the time vector (DiT's adaLN, nothing changes at the start)."""

    def __init__(self, time: int, width: int, num: int) -> None:
        super().__init__()
        self.num = num
        self.linear = nn.Linear(time, num * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def rows(self, time: Float[Tensor, "B 2 E"]) -> Float[Tensor, "B 2 N D"]:
        """The ``num`` vectors of generated and of given tokens."""
        return self.linear(F.silu(time)).unflatten(-1, (self.num, -1))

    def forward(
        self, time: Float[Tensor, "B 2 E"], given: Bool[Tensor, "B S"], *, only: slice = slice(None)
    ) -> tuple[Float[Tensor, "B S D"], ...]:
        """One row per token, whose own level decides which, of each of the ``num`` vectors or ``only`` some of them.

        Scales are factors: 1 is added here, to two rows, rather than to every token.
        """
        rows, pick = self.rows(time), given.unsqueeze(-1)
        vectors = [rows[:, :, n] + 1 if n % SHIFT_SCALE_GATE == 1 else rows[:, :, n] for n in range(self.num)[only]]
        return tuple(torch.where(pick, vector[:, 1:], vector[:, :1]) for vector in vectors)


class TowerTime(nn.Module):
    """Noise level to what the blocks (6 D) and the output (D) of a Wan tower read, one after the other.

    Wan projects the time vector once for all blocks; each block then adds a table of its own (``TableModulation``).
    """

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.embedding = TimeEmbedding(width, features)
        self.projection = nn.Linear(width, 6 * width)

    def forward(self, sigma: Float[Tensor, " B"]) -> Float[Tensor, "B 2 E"]:
        """Row 0 for generated tokens, row 1 for given ones."""
        return self.project(self.embedding(sigma))

    def project(self, time: Float[Tensor, "B 2 D"]) -> Float[Tensor, "B 2 E"]:
        """One vector to the seven that blocks and output read."""
        return torch.cat((self.projection(F.silu(time)), time), dim=-1)


class PooledTowerTime(nn.Module):
    """Noise level and pooled text to what a Wan tower reads; the text is added before both, starting at nothing."""

    def __init__(self, width: int, pooled: int, features: int = 256) -> None:
        super().__init__()
        self.level = TowerTime(width, features)
        self.pooled = nn.Linear(pooled, width, bias=False)
        nn.init.zeros_(self.pooled.weight)

    def forward(self, sigma: Float[Tensor, " B"], text: Float[Tensor, "B P"]) -> Float[Tensor, "B 2 E"]:
        """Row 0 for generated tokens, row 1 for given ones."""
        return self.level.project(self.level.embedding(sigma) + self.pooled(text).unsqueeze(1))


class TableModulation(Modulation):
    """Shifts, scales and gates as a table of the block's own plus what all blocks share (Wan)."""

    def __init__(self, width: int) -> None:
        nn.Module.__init__(self)
        self.num = 6
        self.table = nn.Parameter(torch.randn(6, width) / width**0.5)

    def rows(self, time: Float[Tensor, "B 2 E"]) -> Float[Tensor, "B 2 6 D"]:
        """The six vectors of generated and of given tokens: shift, scale, gate of attention, then of the MLP."""
        return self.table + time.unflatten(-1, (7, -1))[:, :, :6]


class OutputModulation(TableModulation):
    """Shift and scale before a Wan tower's output."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.num = 2
        self.table = nn.Parameter(torch.randn(2, width) / width**0.5)

    def rows(self, time: Float[Tensor, "B 2 E"]) -> Float[Tensor, "B 2 2 D"]:
        """The two vectors of generated and of given tokens."""
        return self.table + time.unflatten(-1, (7, -1))[:, :, 6:]


def modulate(
    x: Float[Tensor, "B S D"], shift: Float[Tensor, "B S D"], scale: Float[Tensor, "B S D"]
) -> Float[Tensor, "B S D"]:
    """Layer norm without weights, then scale (1 leaves it) and shift, as ``Modulation`` makes them (adaLN)."""
    return F.layer_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype) * scale + shift


class Projection(nn.Module):
    """Queries, keys and values of all heads, with RMS norm of queries and keys before rotation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.RMSNorm(width // heads, eps=1e-6)
        self.norm_k = nn.RMSNorm(width // heads, eps=1e-6)

    def forward(self, x: Float[Tensor, "B S D"], rotation: Rotation, mask: Bool[Tensor, "B S"] | None = None) -> QKV:
        """Rotated queries and keys, plain values; norms and rotation in float32."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = (rotate(norm(part.float()), rotation).to(v.dtype) for norm, part in ((self.norm_q, q), (self.norm_k, k)))
        return QKV(q, k, v, mask)


class TowerProjection(nn.Module):
    """Queries, keys and values as Wan makes them: RMS norm of queries and keys over the full width, before heads."""

    def __init__(self, width: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(source or width, width)
        self.v = nn.Linear(source or width, width)
        self.norm_q = nn.RMSNorm(width, eps=1e-6)
        self.norm_k = nn.RMSNorm(width, eps=1e-6)

    def queries(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S H E"]:
        """Queries, not rotated, in float32 until they are."""
        return self._heads(self.norm_q(self.q(x).float()))

    def keys(self, x: Float[Tensor, "B L Ds"]) -> Float[Tensor, "B L H E"]:
        """Keys, not rotated, in float32 until they are."""
        return self._heads(self.norm_k(self.k(x).float()))

    def values(self, x: Float[Tensor, "B L Ds"]) -> Float[Tensor, "B L H E"]:
        return self._heads(self.v(x))

    def forward(self, x: Float[Tensor, "B S D"], rotation: Rotation) -> QKV:
        """Self-attention's: rotated queries and keys, plain values; all tokens count."""
        v = self.values(x)
        return QKV(rotate(self.queries(x), rotation).to(v.dtype), rotate(self.keys(x), rotation).to(v.dtype), v, None)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))


class CrossAttention(nn.Module):
    """Cross-attention: every token of one sequence reads another, whose tokens have no positions (Wan's text)."""

    def __init__(self, width: int, heads: int, source: int | None = None) -> None:
        super().__init__()
        self.projection = TowerProjection(width, heads, source)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "B S D"], rotation: Rotation, read: Float[Tensor, "B L Ds"], keys: Keys
    ) -> Float[Tensor, "B S D"]:
        """What each token of ``x`` takes from ``read``; rotations are for readers that know positions."""
        return self.out(self.attended(self.projection.queries(x), rotation, read, keys))

    def attended(
        self, q: Float[Tensor, "B S H E"], rotation: Rotation, read: Float[Tensor, "B L Ds"], keys: Keys
    ) -> Float[Tensor, "B S D"]:
        """What queries take from ``read``, before the output projection, for those whose queries serve twice (Ovi)."""
        v = self.projection.values(read)
        return attend(q.to(v.dtype), self.projection.keys(read).to(v.dtype), v, keys.mask)


class RotaryCrossAttention(CrossAttention):
    """Cross-attention in which reader and read have seconds, as characters spread over a clip do."""

    def attended(
        self, q: Float[Tensor, "B S H E"], rotation: Rotation, read: Float[Tensor, "B L Ds"], keys: Keys
    ) -> Float[Tensor, "B S D"]:
        """What queries take from ``read``, by content and by distance in time."""
        v = self.projection.values(read)
        k = rotate(self.projection.keys(read), keys.rotation)
        return attend(rotate(q, rotation).to(v.dtype), k.to(v.dtype), v, keys.mask)


class ConvEmbedding(nn.Module):
    """Tokens and their neighbours to the width: convolution, SiLU, gated convolutional MLP (MMAudio, Ovi, NAVA)."""

    def __init__(self, channels: int, width: int, inner: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, width, kernel, padding=kernel // 2)
        self.gate = nn.Conv1d(width, inner, kernel, padding=kernel // 2, bias=False)
        self.up = nn.Conv1d(width, inner, kernel, padding=kernel // 2, bias=False)
        self.down = nn.Conv1d(inner, width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Float[Tensor, "B S C"]) -> Float[Tensor, "B S D"]:
        """One run of neighbouring tokens; zeros stand at both ends."""
        if not x.shape[1]:  # a convolution refuses what is shorter than its kernel
            return x.new_zeros(*x.shape[:2], self.conv.out_channels)
        x = F.silu(self.conv(x.mT))
        return self.down(F.silu(self.gate(x)) * self.up(x)).mT


class MLP(nn.Sequential):
    """Linear, GELU (tanh form), linear; ``source`` is the width of what comes in, where it is another."""

    def __init__(self, width: int, hidden: int, source: int | None = None) -> None:
        super().__init__(nn.Linear(source or width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


def init_linear(module: nn.Module) -> None:
    """Xavier weights and zero biases for linear layers, small normals for embeddings (DiT's choice)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=1 / math.sqrt(module.embedding_dim))
