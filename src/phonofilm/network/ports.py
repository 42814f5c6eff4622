"""Ports: how tokens of one stream come into the network, and how its output becomes velocities.

A ``StreamConfig`` says by its leaves what a port does: how tokens are embedded, what becomes of the noise level, what
the output layer predicts, and whether pooled text comes in. ``Port`` is the layers that follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phonofilm.network.ace import GroupNormEmbed
from phonofilm.network.blocks import Context, Hidden, Width
from phonofilm.network.layers import (
    MLP,
    ConvEmbedding,
    Modulation,
    OutputModulation,
    PooledTowerTime,
    Rope,
    TimeEmbedding,
    TowerTime,
    modulate,
    rope,
)
from phonofilm.types import Grid, Stream


@dataclass(frozen=True)
class LinearEmbed:
    """Tokens to the width by one linear layer: patch embedding."""

    def build(self, channels: int, width: int) -> nn.Linear:
        """The layer with fresh weights."""
        return nn.Linear(channels, width)

    def apply(self, layer: nn.Module, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """Each token by itself."""
        return layer(x)


@dataclass(frozen=True)
class MLPEmbed:
    """Tokens to the width by linear, GELU (tanh form), linear: log-mel frames (UniAVGen)."""

    def build(self, channels: int, width: int) -> MLP:
        """The layers with fresh weights."""
        return MLP(width, width, source=channels)

    def apply(self, layer: nn.Module, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """Each token by itself."""
        return layer(x)


@dataclass(frozen=True, kw_only=True)
class ConvEmbed:
    """Tokens with their neighbours in time to the width, by gated convolutions (MMAudio, Ovi, NAVA).

    For streams of one token a frame.
    """

    kernel: int
    """Tokens that a convolution sees; an odd number."""
    inner: int
    """Channels of the gated MLP."""

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 != 1:
            raise ValueError(f"kernel {self.kernel}: an odd number is wanted, so that a token is the middle of it")

    def build(self, channels: int, width: int) -> ConvEmbedding:
        """The layers with fresh weights."""
        return ConvEmbedding(channels, width, self.inner, self.kernel)

    def apply(self, layer: nn.Module, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """The grid's tokens, then those of references: neither run sees the other."""
        if grid.rows * grid.columns != 1:
            raise ValueError(f"ConvEmbed reads one token a frame, got {grid.rows} x {grid.columns}: take LinearEmbed")
        return torch.cat([layer(run) for run in (x[:, : grid.tokens], x[:, grid.tokens :])], dim=1)


@dataclass(frozen=True, kw_only=True)
class DiTTime:
    """One time vector; every block makes its modulation from it by a layer of its own (adaLN; Peebles and Xie 2023)."""

    width: int
    """Channels of the time vector; the published models use the stream's width."""
    freq_dim: int = 256
    """Channels of the sinusoid of a noise level, an even number."""

    def __post_init__(self) -> None:
        check_freq_dim(self.freq_dim)

    def channels(self, width: int) -> int:
        """Channels of what the blocks of a stream of this width get."""
        return self.width

    def build(self, width: int, text: int) -> TimeEmbedding:
        """The layers that read the noise level. Pooled text, if any, is the port's to add to their result."""
        return TimeEmbedding(self.width, self.freq_dim)

    def output(self, width: int) -> Modulation:
        """The modulation before the output layer."""
        return Modulation(self.width, width, 2)

    modulate = staticmethod(modulate)
    """The norm before the output layer, with that modulation."""

    def given(self, stream: Stream) -> Bool[Tensor, "B S"]:
        """Which tokens are modulated as clean ones: all that are given."""
        return stream.given


@dataclass(frozen=True, kw_only=True)
class WanTime:
    """Wan's time vectors: projected once for all blocks of ``blocks.WanLayer``, each of which adds a table of its own.

    They have the stream's width, so that no width can be named here.
    """

    freq_dim: int = 256
    """Channels of the sinusoid of a noise level, an even number."""
    clean_references: bool = True
    """Whether reference tokens are modulated as the clean tokens that they are; UniAVGen's release modulates them at
    the clip's noise level (wan/modules/model.py, ``ta``)."""

    def __post_init__(self) -> None:
        check_freq_dim(self.freq_dim)

    def channels(self, width: int) -> int:
        """Channels of what the blocks of a stream of this width get: six vectors, and one for the output."""
        return 7 * width

    def build(self, width: int, text: int) -> TowerTime | PooledTowerTime:
        """The layers that read the noise level, and pooled text of so many channels before they project."""
        return PooledTowerTime(width, text, self.freq_dim) if text else TowerTime(width, self.freq_dim)

    def output(self, width: int) -> OutputModulation:
        """The modulation before the output layer."""
        return OutputModulation(width)

    modulate = staticmethod(modulate)
    """The norm before the output layer, with that modulation."""

    def given(self, stream: Stream) -> Bool[Tensor, "B S"]:
        """Which tokens are modulated as clean ones."""
        if self.clean_references:
            return stream.given
        return stream.given & (torch.arange(stream.x.shape[1], device=stream.x.device) < stream.grid.tokens)


@dataclass(frozen=True)
class Velocity:
    """The output layer predicts the velocity."""

    def velocity(self, output: Float[Tensor, "B S C"], stream: Stream) -> Float[Tensor, "B S C"]:
        return output


@dataclass(frozen=True, kw_only=True)
class Data:
    """The output layer predicts the data, from which the velocity follows: ``(x - data) / sigma``.

    A velocity contains all of the noise, so a network that predicts it must carry every channel of a token through
    its width. Data lies on fewer dimensions; where a token has about as many channels as the network, predicting
    it is easier (Li and He 2025, arXiv 2511.13720, whose smallest divisor this is too).
    """

    smallest: float = 0.05
    """Noise levels below this divide as this one does."""

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= 1:
            raise ValueError(f"the smallest divisor must be above 0 and at most 1, got {self.smallest}")

    def velocity(self, output: Float[Tensor, "B S C"], stream: Stream) -> Float[Tensor, "B S C"]:
        """Velocity of every token; of given tokens at level 1, since nothing moves them."""
        level = torch.where(stream.given, 1.0, stream.sigma[:, None].clamp(min=self.smallest))
        return (stream.x - output) / level.unsqueeze(-1)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The context's pooled text joins the time vector (Esser et al. 2024) and every token, at first nothing of it.

    What holds everywhere (colours, whose voice) reaches every token at once; attention has to find it token by token.
    Through the time vector alone reading took twice as many samples (docs/log.md).
    """

    channels: int
    """Channels of the pooled text."""

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"pooled text of {self.channels} channels: at least 1, or no Pooled at all")


@dataclass(frozen=True, kw_only=True)
class StreamConfig(Width):
    """Configuration of one stream: its tokens, its blocks and its positions, and the parts of its port."""

    channels: int
    """Channels of a token that the network predicts."""
    beside: int = 0
    """Conditioning channels concatenated to each token; only the port reads them."""
    rope: Rope
    embed: LinearEmbed | ConvEmbed | MLPEmbed | GroupNormEmbed = LinearEmbed()
    """How tokens, with what lies beside them, come to the width."""
    time: DiTTime | WanTime
    """What becomes of the noise level; the blocks must be of the same kind."""
    predict: Velocity | Data = Velocity()
    """What the output layer predicts."""
    pooled: Pooled | None = None
    """The context's pooled text, where the port reads it."""

    def __post_init__(self) -> None:
        if sum(self.rope.sizes) != self.width // self.heads:
            raise ValueError(
                f"RoPE sizes {self.rope.sizes} must add up to a head's {self.width // self.heads} channels"
            )

    @property
    def time_channels(self) -> int:
        """Channels of the time vectors that the blocks read."""
        return self.time.channels(self.width)


class Port(nn.Module):
    """Tokens to hidden states and back to velocities.

    ``time`` are the time layers of another port, where two streams share them (NAVA); without it the port has its own.
    """

    def __init__(self, config: StreamConfig, time: nn.Module | None = None) -> None:
        super().__init__()
        width, text = config.width, config.pooled.channels if config.pooled else 0
        self.config = config
        self.enter_x = config.embed.build(config.channels + config.beside, width)
        self.time = config.time.build(width, text) if time is None else time
        self.modulation = config.time.output(width)
        self.leave_x = zeroed(nn.Linear(width, config.channels))
        self.pooled_x = zeroed(nn.Linear(text, width, bias=False)) if text else None
        self.pooled = None
        if text and isinstance(config.time, DiTTime):  # Wan's time layers read the text themselves
            self.pooled = zeroed(nn.Linear(text, config.time.width, bias=False))
        if isinstance(config.embed, MLPEmbed):
            # Stands behind clips that are shorter than the rest of a batch in UniAVGen's training. Batches here hold
            # clips of one length, so nothing reads it; it is there for published weights to come and go whole.
            self.padding = nn.Parameter(torch.randn(width))

    def enter(self, stream: Stream, ctx: Context) -> Hidden:
        """Embed tokens with what lies beside them; turn sigma and positions into what blocks read."""
        self._check(stream, ctx)
        config = self.config
        x = self.embed(torch.cat((stream.x, stream.beside), dim=-1), stream.grid)
        return Hidden(
            x=x if self.pooled_x is None else x + self.pooled_x(ctx.pooled).unsqueeze(1),
            time=self.times(stream, ctx),
            given=config.time.given(stream),
            rotation=rope(stream.pos, config.rope),
            seconds=stream.pos[..., 0],
            grid=stream.grid,
            ctx=ctx,
        )

    def embed(self, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """Tokens, with what lies beside them, to the width; the grid says which of them are references."""
        return self.config.embed.apply(self.enter_x, x, grid)

    def times(self, stream: Stream, ctx: Context) -> Float[Tensor, "B 2 E"]:
        """What modulation reads, for generated tokens and for given ones."""
        if self.config.pooled is None:
            return self.time(stream.sigma)
        if self.pooled is None:
            return self.time(stream.sigma, ctx.pooled)
        return self.time(stream.sigma) + self.pooled(ctx.pooled).unsqueeze(1)

    def leave(self, hidden: Hidden, stream: Stream) -> Float[Tensor, "B S C"]:
        """Velocity of every token of the stream that entered."""
        with torch.autocast(hidden.x.device.type, enabled=False):  # what a sampler divides by sigma keeps its digits
            shift, scale = self.modulation(hidden.time.float(), hidden.given)
            output = self.leave_x(self.config.time.modulate(hidden.x.float(), shift, scale))
            return self.config.predict.velocity(output, stream)

    def _check(self, stream: Stream, ctx: Context) -> None:
        config = self.config
        got = (stream.x.shape[-1], stream.beside.shape[-1])
        if got != (config.channels, config.beside):
            raise ValueError(
                f"stream has {got} channels and channels beside, {(config.channels, config.beside)} wanted"
            )
        made = None if ctx.pooled is None else Pooled(channels=ctx.pooled.shape[-1])
        if made != config.pooled:
            raise ValueError(f"the context's pooled text is {made}, the stream reads {config.pooled}: make them equal")


def check_time(kind: type[DiTTime] | type[WanTime], *streams: StreamConfig) -> None:
    """Raise ``ValueError`` for a stream whose time vectors are not of the kind that the blocks read."""
    for stream in streams:
        if not isinstance(stream.time, kind):
            raise ValueError(f"these blocks read {kind.__name__}, the stream has {stream.time}")


def check_freq_dim(freq_dim: int) -> None:
    """Raise ``ValueError`` for a sinusoid whose sines and cosines are not as many."""
    if freq_dim < 2 or freq_dim % 2:
        raise ValueError(f"freq_dim is {freq_dim}: an even number of 2 or more is wanted, half sines, half cosines")


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with all weights zero, so that it begins without effect."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
