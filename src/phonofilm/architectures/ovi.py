"""Ovi (arXiv 2510.01284; github.com/character-ai/Ovi): two equal Wan towers that read each other with the text.

Every block has one layer for each stream. After self-attention the queries that read the text also read the other
stream, as it is after its own self-attention; both results are summed before the output projection. There is no
gate and no modulation. See docs/systems/ovi.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Hidden, State, WanLayer, Width, with_tokens
from phonofilm.network.context import ByteText, TowerText
from phonofilm.network.layers import CrossAttention, Keys, RotaryCrossAttention, Rotation, attend, init_linear, rotate
from phonofilm.network.ports import Port, StreamConfig, WanTime, check_time

FUSION_SCALE = 0.1
"""What the first weights of the keys and values of the other stream are multiplied with (ovi/modules/fusion.py)."""


@dataclass(frozen=True, kw_only=True)
class Ovi:
    """Configuration of an Ovi network whose text comes from a frozen encoder and has no positions."""

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
        return backbone(
            self.video, self.audio, context, blocks(self.video, self.audio, self.num_blocks, CrossAttention)
        )


@dataclass(frozen=True, kw_only=True)
class ByteOvi:
    """Configuration of an Ovi network that learns to read characters; these have seconds, as the tokens have."""

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
        return backbone(
            self.video, self.audio, context, blocks(self.video, self.audio, self.num_blocks, RotaryCrossAttention)
        )


def check_streams(video: StreamConfig, audio: StreamConfig) -> None:
    """Raise ``ValueError`` for streams that cannot read each other. The release's are equal in all but their ports."""
    check_time(WanTime, video, audio)
    if video.rope.sizes != audio.rope.sizes:
        raise ValueError(f"queries meet keys of equal RoPE sizes: video {video.rope.sizes}, audio {audio.rope.sizes}")


def blocks(video: Width, audio: Width, count: int, text_attention: type[CrossAttention]) -> nn.ModuleList:
    """So many blocks with fresh weights."""
    made = nn.ModuleList(OviBlock(video, audio, text_attention) for _ in range(count))
    made.apply(init_linear)
    made.apply(shrink_fusion)
    return made


def backbone(video: StreamConfig, audio: StreamConfig, context: nn.Module, blocks: nn.ModuleList) -> Backbone:
    """The skeleton around the blocks."""
    return Backbone(video=Port(video), audio=Port(audio), context=context, blocks=blocks)


def shrink_fusion(module: nn.Module) -> None:
    """Ovi's start: what comes from the other stream is small beside what comes from the text.

    The release does so in the video tower alone, since its loop leaves out the audio tower; here in both.
    """
    if isinstance(module, FusionAttention):
        with torch.no_grad():
            module.k.weight.mul_(FUSION_SCALE)
            module.v.weight.mul_(FUSION_SCALE)


class FusionAttention(nn.Module):
    """Fusion attention: keys and values of the other stream, for queries that a tower has made for its text."""

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


class OviLayer(WanLayer):
    """A Wan layer whose cross-attention reads the other stream beside the text."""

    def __init__(self, numbers: Width, source: int, text_attention: type[CrossAttention]) -> None:
        super().__init__(numbers, text_attention)
        self.other = FusionAttention(numbers.width, numbers.heads, source)

    def fused_cross_attention(self, hidden: Hidden, other: Hidden) -> Hidden:
        """Cross-attention to text and other stream: the same queries, the sum through one output projection."""
        ctx = hidden.ctx
        q = self.text.projection.queries(self.norm_text(hidden.x.float()).to(hidden.x.dtype))
        taken = self.text.attended(q, hidden.rotation, ctx.x, Keys(ctx.mask, ctx.rotation))
        return with_tokens(hidden, hidden.x + self.text.out(taken + self.other(q, hidden.rotation, other)))


class OviBlock(nn.Module):
    """A block: one layer of each tower. A closed link leaves a layer that reads its text alone."""

    def __init__(self, video: Width, audio: Width, text_attention: type[CrossAttention]) -> None:
        super().__init__()
        self.video = OviLayer(video, audio.width, text_attention)
        self.audio = OviLayer(audio, video.width, text_attention)

    def forward(self, state: State) -> State:
        """Both streams look at themselves first; each then reads the other as it is at that point."""
        video, audio = self.video.self_attention(state.video), self.audio.self_attention(state.audio)
        links = state.links
        read_video = self.video.fused_cross_attention(video, audio) if links.a2v else self.video.cross_attention(video)
        read_audio = self.audio.fused_cross_attention(audio, video) if links.v2a else self.audio.cross_attention(audio)
        return dataclasses.replace(
            state, video=self.video.feed_forward(read_video), audio=self.audio.feed_forward(read_audio)
        )
