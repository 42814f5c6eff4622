"""Ovi (arXiv 2510.01284; github.com/character-ai/Ovi): two equal Wan towers that read each other with the text.

Every block has one layer for each stream. After self-attention the queries that read the text also read the other
stream, as it is after its own self-attention; both results are summed before the output projection. There is no
gate and no modulation. See docs/ovi.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.backbone import Backbone
from phonofilm.blocks import Hidden, State, Tower, Width, moved
from phonofilm.context import ByteText, TowerText
from phonofilm.layers import Keys, Reader, Rotation, TimedReader, attend, init_linear, rotate
from phonofilm.ports import Port, StreamConfig, WanTime, check_time

FAINT = 0.1
"""What the first weights of the keys and values of the other stream are multiplied with (ovi/modules/fusion.py)."""


@dataclass(frozen=True, kw_only=True)
class Ovi:
    """Numbers of an Ovi network whose text comes from a frozen encoder and has no positions."""

    video: StreamConfig
    audio: StreamConfig
    text: TowerText
    num_blocks: int

    def __post_init__(self) -> None:
        check_streams(self.video, self.audio)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights; outputs start at zero."""
        context = self.text.build(self.video.width, self.audio.width)
        return backbone(self.video, self.audio, context, blocks(self.video, self.audio, self.num_blocks, Reader))


@dataclass(frozen=True, kw_only=True)
class ByteOvi:
    """Numbers of an Ovi network that learns to read characters; these have seconds, as the tokens have."""

    video: StreamConfig
    audio: StreamConfig
    text: ByteText
    num_blocks: int

    def __post_init__(self) -> None:
        check_streams(self.video, self.audio)
        video, audio = ((s.width, s.rope) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"streams that read one text need equal width and RoPE: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights; outputs start at zero."""
        context = self.text.build(self.video.width, self.video.rope)
        return backbone(self.video, self.audio, context, blocks(self.video, self.audio, self.num_blocks, TimedReader))


def check_streams(video: StreamConfig, audio: StreamConfig) -> None:
    """Raise ``ValueError`` for streams that cannot read each other. The release's are equal in all but their ports."""
    check_time(WanTime, video, audio)
    if video.rope.sizes != audio.rope.sizes:
        raise ValueError(f"queries meet keys of equal RoPE sizes: video {video.rope.sizes}, audio {audio.rope.sizes}")


def blocks(video: Width, audio: Width, count: int, reading: type[Reader]) -> nn.ModuleList:
    """So many blocks with fresh weights."""
    made = nn.ModuleList(Twin(video, audio, reading) for _ in range(count))
    made.apply(init_linear)
    made.apply(faint)
    return made


def backbone(video: StreamConfig, audio: StreamConfig, context: nn.Module, blocks: nn.ModuleList) -> Backbone:
    """The skeleton around the blocks."""
    return Backbone(video=Port(video), audio=Port(audio), context=context, blocks=blocks)


def faint(module: nn.Module) -> None:
    """Ovi's start: what comes from the other stream is small beside what comes from the text.

    The release does so in the video tower alone, since its loop leaves out the audio tower; here in both.
    """
    if isinstance(module, Other):
        with torch.no_grad():
            module.k.weight.mul_(FAINT)
            module.v.weight.mul_(FAINT)


class Other(nn.Module):
    """Keys and values of the other stream, for queries that a tower has made for its text."""

    def __init__(self, width: int, heads: int, source: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(source, eps=1e-6)
        self.k = nn.Linear(source, width)
        self.v = nn.Linear(source, width)
        self.norm_k = nn.RMSNorm(width, eps=1e-6)

    def forward(self, q: Float[Tensor, "B S H E"], rotation: Rotation, other: Hidden) -> Float[Tensor, "B S D"]:
        """What each query takes from the other stream, by content and by distance in time and space."""
        read = self.norm(other.x.float()).to(other.x.dtype)
        k, v = self.norm_k(self.k(read).float()), self.v(read)
        k, v = (part.unflatten(-1, (self.heads, -1)) for part in (k, v))
        return attend(rotate(q, rotation).to(v.dtype), rotate(k, other.rotation).to(v.dtype), v)


class Layer(Tower):
    """A Wan layer whose cross-attention reads the other stream beside the text."""

    def __init__(self, numbers: Width, source: int, reading: type[Reader]) -> None:
        super().__init__(numbers, reading)
        self.other = Other(numbers.width, numbers.heads, source)

    def meet(self, hidden: Hidden, other: Hidden) -> Hidden:
        """Cross-attention to text and other stream: the same queries, the sum through one output projection."""
        ctx = hidden.ctx
        q = self.text.projection.queries(self.norm_text(hidden.x.float()).to(hidden.x.dtype))
        taken = self.text.attended(q, hidden.rotation, ctx.x, Keys(ctx.mask, ctx.rotation))
        return moved(hidden, hidden.x + self.text.out(taken + self.other(q, hidden.rotation, other)))


class Twin(nn.Module):
    """A block: one layer of each tower. A closed link leaves a layer that reads its text alone."""

    def __init__(self, video: Width, audio: Width, reading: type[Reader]) -> None:
        super().__init__()
        self.video = Layer(video, audio.width, reading)
        self.audio = Layer(audio, video.width, reading)

    def forward(self, state: State) -> State:
        """Both streams look at themselves first; each then reads the other as it is at that point."""
        video, audio = self.video.look(state.video), self.audio.look(state.audio)
        links = state.links
        read_video = self.video.meet(video, audio) if links.a2v else self.video.read(video)
        read_audio = self.audio.meet(audio, video) if links.v2a else self.audio.read(audio)
        return dataclasses.replace(state, video=self.video.think(read_video), audio=self.audio.think(read_audio))
