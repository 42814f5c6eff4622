"""JoVA (arXiv 2512.13677): one self-attention over video, audio and both copies of the text in every layer.

Dual-stream layers keep four weight sets (video, its text, audio, its text), single-stream layers two (video with
its text, audio with its text). There is no module for fusion: the softmax is shared, nothing else. The layer
itself follows the Waver backbone's published counts (6-way modulation per weight set, MLP ratio 4); norms of
queries and keys, and text at its own branch's noise level, are [inferred]. See docs/systems/jova.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import nn

from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Before, Hidden, Sequence, Side, State, join, joint_attention, text_of, tokens_of
from phonofilm.network.context import ByteText, EmbeddedText
from phonofilm.network.layers import init_linear
from phonofilm.network.ports import DiTTime, Port, StreamConfig, check_time


@dataclass(frozen=True, kw_only=True)
class JoVA:
    """Configuration of a JoVA network."""

    video: StreamConfig
    audio: StreamConfig
    text: ByteText | EmbeddedText
    num_dual: int
    num_single: int

    def __post_init__(self) -> None:
        check_time(DiTTime, self.video, self.audio)
        video, audio = ((s.width, s.heads, s.rope) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"one attention needs equal widths, heads and RoPE: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return tuple(field if isinstance(field, str) else field[0] for field in self.text.fields)

    def build(self) -> Backbone:
        """The network with fresh weights; gates and outputs start at zero."""
        backbone = Backbone(
            video=Port(self.video),
            audio=Port(self.audio),
            context=self.text.build(self.video.width, self.video.rope),
            blocks=nn.ModuleList(
                [Dual(self.video, self.audio) for _ in range(self.num_dual)]
                + [Single(self.video, self.audio) for _ in range(self.num_single)]
            ),
        )
        backbone.blocks.apply(_init)
        return backbone


def _init(module: nn.Module) -> None:
    if isinstance(module, Side):
        for part in (module.projection, module.out, module.mlp):
            part.apply(init_linear)


class Dual(nn.Module):
    """A layer with four weight sets: each stream's tokens and each stream's copy of the text have their own."""

    def __init__(self, video: StreamConfig, audio: StreamConfig) -> None:
        super().__init__()
        self.video, self.video_text = (Side(video, video.time_channels) for _ in range(2))
        self.audio, self.audio_text = (Side(audio, audio.time_channels) for _ in range(2))

    def forward(self, state: State) -> State:
        """One joint attention; every weight set then goes on with its own tokens."""
        video, audio = tokens_of(state.video), tokens_of(state.audio)
        video_text, audio_text = text_of(state.video), text_of(state.audio)
        v, vt = self.video.before(video), self.video_text.before(video_text)
        a, at = self.audio.before(audio), self.audio_text.before(audio_text)
        (ov, ovt), (oa, oat) = joint_attention([v.qkv, vt.qkv], [a.qkv, at.qkv], state.links)
        return dataclasses.replace(
            state,
            video=_moved(state.video, self.video.after(video.x, ov, v), self.video_text.after(video_text.x, ovt, vt)),
            audio=_moved(state.audio, self.audio.after(audio.x, oa, a), self.audio_text.after(audio_text.x, oat, at)),
        )


class Single(nn.Module):
    """A layer with two weight sets: one serves video and its text, one audio and its text."""

    def __init__(self, video: StreamConfig, audio: StreamConfig) -> None:
        super().__init__()
        self.video, self.audio = (Side(stream, stream.time_channels) for stream in (video, audio))

    def forward(self, state: State) -> State:
        """One joint attention over both joined runs of tokens."""
        video, audio = (join(tokens_of(hidden), text_of(hidden)) for hidden in (state.video, state.audio))
        v, a = self.video.before(video), self.audio.before(audio)
        (ov,), (oa,) = joint_attention([v.qkv], [a.qkv], state.links)
        return dataclasses.replace(
            state,
            video=_parted(state.video, self.video, video, ov, v),
            audio=_parted(state.audio, self.audio, audio, oa, a),
        )


def _moved(hidden: Hidden, x: torch.Tensor, text: torch.Tensor) -> Hidden:
    return dataclasses.replace(hidden, x=x, ctx=dataclasses.replace(hidden.ctx, x=text))


def _parted(hidden: Hidden, side: Side, tokens: Sequence, attended: torch.Tensor, before: Before) -> Hidden:
    x = side.after(tokens.x, attended, before)
    return _moved(hidden, *x.split([hidden.x.shape[1], hidden.ctx.x.shape[1]], dim=1))


def start_audio_from_video(backbone: Backbone) -> None:
    """Copy every video weight set of the blocks to its audio twin, in place; ports keep their own weights.

    JoVA initialises its audio branch with the video backbone's parameters [secondary summary].
    """
    for block in backbone.blocks:
        for name, video in list(block.named_children()):
            if name.startswith("video"):
                block.get_submodule(name.replace("video", "audio")).load_state_dict(video.state_dict())
