"""The skeleton that all architectures share: two ports in, a list of blocks, two ports out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.network.blocks import Context, Hidden, State, Width, with_tokens
from phonofilm.network.layers import (
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
from phonofilm.types import AVInput, AVOutput, Grid, Stream


@dataclass(frozen=True, kw_only=True)
class StreamConfig(Width):
    """Numbers of one stream: its tokens, its blocks and its positions."""

    channels: int
    """Channels of a token that the network predicts."""
    beside: int = 0
    """Channels laid beside the tokens (conditions that only the port reads)."""
    rope: Rope

    def __post_init__(self) -> None:
        if sum(self.rope.sizes) != self.width // self.heads:
            raise ValueError(
                f"RoPE sizes {self.rope.sizes} must add up to a head's {self.width // self.heads} channels"
            )

    def port(self) -> Port:
        """The stream's way into and out of the network."""
        return Port(self)


@dataclass(frozen=True, kw_only=True)
class DataStreamConfig(StreamConfig):
    """A stream whose port predicts the data; see ``DataPort``."""

    def port(self) -> DataPort:
        """The stream's way into and out of the network."""
        return DataPort(self)


@dataclass(frozen=True, kw_only=True)
class PooledStreamConfig(StreamConfig):
    """A stream whose time vector also carries the context's pooled text; see ``PooledPort``."""

    pooled: int
    """Channels of the pooled text."""

    def port(self) -> PooledPort:
        """The stream's way into and out of the network."""
        return PooledPort(self)


@dataclass(frozen=True, kw_only=True)
class PooledDataStreamConfig(PooledStreamConfig):
    """The same with a port that predicts the data; see ``DataPort``."""

    def port(self) -> PooledDataPort:
        """The stream's way into and out of the network."""
        return PooledDataPort(self)


class Port(nn.Module):
    """Tokens to hidden states and back to velocities, by linear layers."""

    def __init__(self, config: StreamConfig) -> None:
        super().__init__()
        self.config = config
        self.enter_x: nn.Module = nn.Linear(config.channels + config.beside, config.width)
        self.time, self.modulation = self.levels(config)
        self.leave_x = nn.Linear(config.width, config.channels)
        nn.init.zeros_(self.leave_x.weight)
        nn.init.zeros_(self.leave_x.bias)

    def levels(self, config: StreamConfig) -> tuple[nn.Module, Modulation]:
        """The layers that turn a noise level into the time vector, and that into the output's shift and scale."""
        return TimeEmbedding(config.time), Modulation(config.time, config.width, 2)

    def times(self, stream: Stream, ctx: Context) -> Float[Tensor, "B 2 E"]:
        """What modulation reads, for generated tokens and for given ones."""
        return self.time(stream.sigma)

    def enter(self, stream: Stream, ctx: Context) -> Hidden:
        """Embed tokens with what lies beside them; turn sigma and positions into what blocks read."""
        config = self.config
        got = (stream.x.shape[-1], stream.beside.shape[-1])
        if got != (config.channels, config.beside):
            raise ValueError(
                f"stream has {got} channels and channels beside, {(config.channels, config.beside)} wanted"
            )
        return Hidden(
            x=self.embed(torch.cat((stream.x, stream.beside), dim=-1), stream.grid),
            time=self.times(stream, ctx),
            given=stream.given,
            rotation=rope(stream.pos, config.rope),
            seconds=stream.pos[..., 0],
            grid=stream.grid,
            ctx=ctx,
        )

    def embed(self, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """Tokens, with what lies beside them, to the width; the grid says which of them are neighbours."""
        return self.enter_x(x)

    def leave(self, hidden: Hidden, stream: Stream) -> Float[Tensor, "B S C"]:
        """Velocity of every token of the stream that entered."""
        with torch.autocast(hidden.x.device.type, enabled=False):  # what a sampler divides by sigma keeps its digits
            shift, scale = self.modulation(hidden.time.float(), hidden.given)
            return self.leave_x(modulate(hidden.x.float(), shift, scale))


class ReadingPort(Port):
    """A port that adds the context's pooled text to every token, at first nothing of it.

    What holds everywhere (colours, whose voice) reaches every token at once; attention has to find it token by token.
    Through the time vector alone reading took twice as many samples (docs/log.md).
    """

    def __init__(self, config: PooledStreamConfig | PooledTowerConfig) -> None:
        super().__init__(config)
        self.pooled_x = nn.Linear(config.pooled, config.width, bias=False)
        nn.init.zeros_(self.pooled_x.weight)

    def enter(self, stream: Stream, ctx: Context) -> Hidden:
        """Tokens that know the text."""
        hidden = super().enter(stream, ctx)
        return with_tokens(hidden, hidden.x + self.pooled_x(ctx.pooled).unsqueeze(1))


class PooledPort(ReadingPort):
    """A port that adds the context's pooled text to the time vector, too (Esser et al. 2024), at first nothing."""

    def __init__(self, config: PooledStreamConfig) -> None:
        super().__init__(config)
        self.pooled = nn.Linear(config.pooled, config.time, bias=False)
        nn.init.zeros_(self.pooled.weight)

    def times(self, stream: Stream, ctx: Context) -> Float[Tensor, "B 2 E"]:
        """Noise level and text in one vector, for generated tokens and for given ones."""
        return super().times(stream, ctx) + self.pooled(ctx.pooled).unsqueeze(1)


class DataPort(Port):
    """A port whose linear layer predicts the data, from which the velocity follows: ``(x - data) / sigma``.

    A velocity contains all of the noise, so a network that predicts it must carry every channel of a token through
    its width. Data lies on fewer dimensions; where a token has about as many channels as the network, predicting
    it is easier (Li and He 2025, arXiv 2511.13720, whose smallest divisor this is too).
    """

    smallest = 0.05

    def leave(self, hidden: Hidden, stream: Stream) -> Float[Tensor, "B S C"]:
        """Velocity of every token of the stream that entered; of given tokens at level 1, since nothing moves them."""
        data = super().leave(hidden, stream)
        level = torch.where(stream.given, 1.0, stream.sigma[:, None].clamp(min=self.smallest))
        return (stream.x - data) / level.unsqueeze(-1)


class PooledDataPort(DataPort, PooledPort):
    """A port that predicts the data and whose time vector carries the pooled text."""


class TowerPort(Port):
    """A port of a Wan tower: one time projection for all blocks, tables beside it."""

    def levels(self, config: StreamConfig) -> tuple[nn.Module, Modulation]:
        """The layers that turn a noise level into the time vector, and that into the output's shift and scale."""
        return TowerTime(config.width), OutputModulation(config.width)


class DataTowerPort(DataPort, TowerPort):
    """A port of a Wan tower whose linear layer predicts the data."""


@dataclass(frozen=True, kw_only=True)
class TowerConfig(StreamConfig):
    """A stream of Wan layers (``blocks.WanLayer``); ``time`` is not used, Wan's time vectors have the width."""

    time: int = 0

    def port(self) -> TowerPort:
        """The stream's way into and out of the network."""
        return TowerPort(self)


@dataclass(frozen=True, kw_only=True)
class DataTowerConfig(TowerConfig):
    """A stream of Wan layers whose port predicts the data; see ``DataPort``."""

    def port(self) -> DataTowerPort:
        """The stream's way into and out of the network."""
        return DataTowerPort(self)


class PooledTowerPort(ReadingPort, TowerPort):
    """A port of a Wan tower whose tokens and time vectors also carry the context's pooled text; see ``PooledPort``."""

    def __init__(self, config: PooledTowerConfig) -> None:
        super().__init__(config)
        self.time = PooledTowerTime(config.width, config.pooled)

    def times(self, stream: Stream, ctx: Context) -> Float[Tensor, "B 2 E"]:
        """Noise level and text together, for generated tokens and for given ones."""
        return self.time(stream.sigma, ctx.pooled)


class PooledDataTowerPort(DataTowerPort, PooledTowerPort):
    """The same with a linear layer that predicts the data."""


@dataclass(frozen=True, kw_only=True)
class PooledTowerConfig(TowerConfig):
    """A stream of Wan layers whose time vectors also carry the context's pooled text."""

    pooled: int
    """Channels of the pooled text."""

    def port(self) -> PooledTowerPort:
        """The stream's way into and out of the network."""
        return PooledTowerPort(self)


@dataclass(frozen=True, kw_only=True)
class PooledDataTowerConfig(PooledTowerConfig):
    """The same with a port that predicts the data; see ``DataPort``."""

    def port(self) -> PooledDataTowerPort:
        """The stream's way into and out of the network."""
        return PooledDataTowerPort(self)


class ConvTowerPort(TowerPort):
    """A port of a Wan tower that sees each token with its neighbours in time; references are a run of their own."""

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__(config)
        self.enter_x = ConvEmbedding(config.channels + config.beside, config.width, config.inner, config.kernel)

    def embed(self, x: Float[Tensor, "B S C"], grid: Grid) -> Float[Tensor, "B S D"]:
        """The grid's tokens never see a reference, nor a reference the grid's."""
        runs = (x[:, : grid.tokens], x[:, grid.tokens :])
        return torch.cat([self.enter_x(run) for run in runs], dim=1)


@dataclass(frozen=True, kw_only=True)
class ConvTowerConfig(TowerConfig):
    """A stream of Wan layers, one token a frame, that enters by convolutions (``layers.ConvEmbedding``)."""

    kernel: int
    """Tokens that a convolution sees; an odd number."""
    inner: int
    """Channels of the gated MLP."""

    def port(self) -> ConvTowerPort:
        """The stream's way into and out of the network."""
        return ConvTowerPort(self)


class PooledConvTowerPort(PooledTowerPort, ConvTowerPort):
    """The same with time vectors that also carry the context's pooled text."""


@dataclass(frozen=True, kw_only=True)
class PooledConvTowerConfig(PooledTowerConfig, ConvTowerConfig):
    """A stream that enters by convolutions and whose time vectors also carry the context's pooled text."""

    def port(self) -> PooledConvTowerPort:
        """The stream's way into and out of the network."""
        return PooledConvTowerPort(self)


class Backbone(nn.Module):
    """Everything between an ``AVInput`` and an ``AVOutput``.

    Sharding, checkpointing, compilation, layer skipping and caching iterate over ``blocks``.
    """

    def __init__(self, video: Port, audio: Port, context: nn.Module, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.video = video
        self.audio = audio
        self.context = context
        self.blocks = blocks

    def forward(self, input: AVInput) -> AVOutput:
        """The velocity of every token of both streams."""
        video_ctx, audio_ctx = self.context(input)
        state = State(
            video=self.video.enter(input.video, video_ctx),
            audio=self.audio.enter(input.audio, audio_ctx),
            links=input.links,
        )
        for index, block in enumerate(self.blocks):
            if index not in input.skip:
                state = block(state)
        return AVOutput(
            video=self.video.leave(state.video, input.video),
            audio=self.audio.leave(state.audio, input.audio),
            aux=state.aux,
        )
