"""A sixth design: one trunk that both streams share, with experts of each modality before and behind it.

Nobody published it; it is here to be read. docs/guides/own-architecture.md walks through it, the conformance tests run
it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import nn

from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Hidden, Side, State, join, joint_attention, text_of, tokens_of
from phonofilm.network.context import ByteText
from phonofilm.network.layers import init_linear
from phonofilm.network.ports import DiTTime, Port, StreamConfig, check_time
from phonofilm.types import CLOSED, Links


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Numbers of the network."""

    video: StreamConfig
    audio: StreamConfig
    text: ByteText
    num_experts: int
    """Layers with weights of their own for each stream, at either end."""
    num_trunk: int
    """Layers in the middle, one set of weights for both streams."""

    def __post_init__(self) -> None:
        check_time(DiTTime, self.video, self.audio)
        video, audio = ((s.width, s.heads, s.mlp, s.time, s.rope) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"one trunk needs streams of equal numbers: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights; gates and outputs start at zero."""
        ends = [[Expert(self.video, self.audio) for _ in range(self.num_experts)] for _ in range(2)]
        trunk = [Trunk(self.video) for _ in range(self.num_trunk)]
        backbone = Backbone(
            video=Port(self.video),
            audio=Port(self.audio),
            context=self.text.build(self.video.width, self.video.rope),
            blocks=nn.ModuleList([*ends[0], *trunk, *ends[1]]),
        )
        for module in backbone.blocks.modules():
            if isinstance(module, Side):
                for part in (module.projection, module.out, module.mlp):
                    part.apply(init_linear)
        return backbone


class Expert(nn.Module):
    """A layer in which each stream has its own weights and sees itself and its text."""

    def __init__(self, video: StreamConfig, audio: StreamConfig) -> None:
        super().__init__()
        self.video, self.audio = (Side(stream, stream.time_channels) for stream in (video, audio))

    def forward(self, state: State) -> State:
        """Both streams go their own way."""
        return layer(state, self.video, self.audio, CLOSED)


class Trunk(nn.Module):
    """A layer with one set of weights, in which the streams see each other as far as links are open."""

    def __init__(self, numbers: StreamConfig) -> None:
        super().__init__()
        self.both = Side(numbers, numbers.time_channels)

    def forward(self, state: State) -> State:
        """Both streams in one attention."""
        return layer(state, self.both, self.both, state.links)


def layer(state: State, video: Side, audio: Side, links: Links) -> State:
    """Attention, then an MLP, over each stream's tokens and text."""
    seen, heard = (join(tokens_of(hidden), text_of(hidden)) for hidden in (state.video, state.audio))
    v, a = video.before(seen), audio.before(heard)
    (ov,), (oa,) = joint_attention([v.qkv], [a.qkv], links)
    return dataclasses.replace(
        state,
        video=parted(state.video, video.after(seen.x, ov, v)),
        audio=parted(state.audio, audio.after(heard.x, oa, a)),
    )


def parted(hidden: Hidden, x: torch.Tensor) -> Hidden:
    """A stream whose tokens and text are the two parts of ``x``."""
    tokens, text = x.split([hidden.x.shape[1], hidden.ctx.x.shape[1]], dim=1)
    return dataclasses.replace(hidden, x=tokens, ctx=dataclasses.replace(hidden.ctx, x=text))
