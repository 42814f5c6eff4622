"""NAVA (arXiv 2605.30073): Wan layers in which both streams share one self-attention and, above, every weight.

Align layers give each stream attention projections and a modulation table of its own; norms and MLP are shared. Fuse
layers share everything: one Wan layer over both streams. Text and voices come in by cross-attention alone. Sound is as
wide as video, enters through gated convolutions and turns with the seconds only. See docs/systems/nava.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Before, Context, Hidden, State, Width, joint_attention, with_tokens
from phonofilm.network.context import VoicedBytes, VoicedFeatures
from phonofilm.network.layers import (
    MLP,
    CrossAttention,
    Keys,
    Rope,
    TableModulation,
    TowerProjection,
    init_linear,
    modulate,
)
from phonofilm.network.ports import Port, StreamConfig, WanTime, check_time
from phonofilm.types import AVInput, Tokens

NO_VOICE = 1e-6
"""A speaker vector whose sum of squares is not above this is no voice."""


@dataclass(frozen=True, kw_only=True)
class TimbreInContext:
    """Timbre in context: a projected speaker vector is added to the sentinel's own vector (paper, eq. 7 to 9).

    Cross-attention knows no order of keys. A sentinel's own vector tells which line it stands in; kept, it binds the
    voice to the line.
    """

    channels: int
    """Channels of a speaker vector."""

    def build(self, width: int) -> TimbreEmbedding:
        """The layers that place voices in a context of this width."""
        return TimbreEmbedding(self.channels, width)


@dataclass(frozen=True, kw_only=True)
class TimbreOverSentinel(TimbreInContext):
    """As in ernie-research/NAVA (model_mm.py, commit a45a5c1): the voice takes the place of the sentinel's vector.

    Nothing then tells two sentinels apart, so that the network cannot see which voice is whose.
    """

    def build(self, width: int) -> TimbreReplacement:
        """The layers that place voices in a context of this width."""
        return TimbreReplacement(self.channels, width)


class TimbreEmbedding(nn.Module):
    """Speaker vectors into the context: the voice of line k goes to the k-th sentinel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )
        self.null = nn.Parameter(torch.zeros(1, width))

    def forward(
        self, x: Float[Tensor, "B L D"], sentinels: Bool[Tensor, "B L"], voice: Tokens
    ) -> Float[Tensor, "B L D"]:
        """The context with voices in it. A zero vector puts the learned null vector, a masked one nothing."""
        silent = voice.x.float().square().sum(dim=-1, keepdim=True) <= NO_VOICE
        vectors = torch.where(silent, self.null, self.layers(voice.x))
        line = sentinels.cumsum(dim=1).unsqueeze(-1) - 1 == torch.arange(voice.x.shape[1], device=x.device)
        whose = line & sentinels.unsqueeze(-1) & voice.mask.unsqueeze(1)  # (B, L, lines)
        return self.place(x, whose.any(dim=-1, keepdim=True), whose.to(vectors.dtype) @ vectors)

    def place(
        self, x: Float[Tensor, "B L D"], here: Bool[Tensor, "B L 1"], voice: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B L D"]:
        """Tokens with the voice at the sentinels; ``voice`` is zero elsewhere."""
        return x + voice


class TimbreReplacement(TimbreEmbedding):
    """The same with the sentinels' own vectors thrown away."""

    def place(
        self, x: Float[Tensor, "B L D"], here: Bool[Tensor, "B L 1"], voice: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B L D"]:
        """Tokens with the voice in place of the sentinels."""
        return torch.where(here, voice.to(x.dtype), x)


class VoicedContext(nn.Module):
    """One context for both streams: text with voices at its sentinels."""

    def __init__(self, text: VoicedBytes | VoicedFeatures, voice: TimbreInContext, width: int, spec: Rope) -> None:
        super().__init__()
        self.numbers = text
        self.text = text.build(width, spec)
        self.voice = voice.build(width)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream, which are one."""
        ctx, _ = self.text(input)
        sentinels = self.numbers.sentinels(input)
        words, spoken = ctx.x.split([ctx.x.shape[1] - sentinels.shape[1], sentinels.shape[1]], dim=1)
        spoken = self.voice(spoken, sentinels, input.cond["voice"])
        ctx = dataclasses.replace(ctx, x=torch.cat((words, spoken), dim=1))
        return ctx, ctx


class SharedTimeEmbedding(nn.Module):
    """The time embedding of another port: NAVA has one time MLP for both streams.

    A tuple hides the owner from PyTorch, so that its weights are listed, saved and sharded once, where they live.
    """

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        self.owner = (owner,)

    def forward(self, *inputs: Tensor) -> Float[Tensor, "B 2 E"]:
        """What the owner makes of the noise levels, and of the text where it reads one."""
        return self.owner[0](*inputs)


class StreamAttention(nn.Module):
    """What an align layer has once per stream: modulation table, self-attention and the reading of text."""

    def __init__(self, numbers: Width, text_attention: type[CrossAttention]) -> None:
        super().__init__()
        self.modulation = TableModulation(numbers.width)
        self.projection = TowerProjection(numbers.width, numbers.heads)
        self.out = nn.Linear(numbers.width, numbers.width)
        self.text = text_attention(numbers.width, numbers.heads)

    def before(self, hidden: Hidden) -> Before:
        """Queries, keys and values of the modulated tokens, and what follows the attention."""
        shift, scale, gate, *mlp = self.modulation(hidden.time, hidden.given)
        return Before(self.projection(modulate(hidden.x, shift, scale), hidden.rotation), gate, tuple(mlp))


class JointLayer(nn.Module):
    """Joint self-attention, text by cross-attention, MLP; the norm before the text and the MLP serve both streams."""

    def __init__(self, numbers: Width) -> None:
        super().__init__()
        self.norm_text = nn.LayerNorm(numbers.width, eps=1e-6)
        self.mlp = MLP(numbers.width, numbers.mlp)

    def sides(self) -> tuple[StreamAttention, StreamAttention]:
        """Whose attention serves video, and whose serves sound."""
        raise NotImplementedError

    def forward(self, state: State) -> State:
        """One softmax over both streams where links are open; what follows is each token's own."""
        video, audio = self.sides()
        v, a = video.before(state.video), audio.before(state.audio)
        (from_video,), (from_audio,) = joint_attention([v.qkv], [a.qkv], state.links)
        return dataclasses.replace(
            state,
            video=self.after(video, state.video, from_video, v),
            audio=self.after(audio, state.audio, from_audio, a),
        )

    def after(self, side: StreamAttention, hidden: Hidden, attended: Float[Tensor, "B S D"], before: Before) -> Hidden:
        """Three residual steps: what attention brought, the text, the MLP."""
        shift, scale, gate = before.mlp
        ctx = hidden.ctx
        x = hidden.x + before.gate * side.out(attended)
        query = self.norm_text(x.float()).to(x.dtype)
        x = x + side.text(query, hidden.rotation, ctx.x, Keys(ctx.mask, ctx.rotation))
        return with_tokens(hidden, x + gate * self.mlp(modulate(x, shift, scale)))


class HierarchicalAlignmentLayer(JointLayer):
    """Hierarchical alignment layer (HAL): each stream has attention of its own."""

    def __init__(self, numbers: Width, text_attention: type[CrossAttention]) -> None:
        super().__init__(numbers)
        self.video, self.audio = StreamAttention(numbers, text_attention), StreamAttention(numbers, text_attention)

    def sides(self) -> tuple[StreamAttention, StreamAttention]:
        """Video's and sound's own."""
        return self.video, self.audio


class UnifiedFusionLayer(JointLayer):
    """Unified fusion layer (UFL): one weight set, Wan's layer over video and audio tokens in a row."""

    def __init__(self, numbers: Width, text_attention: type[CrossAttention]) -> None:
        super().__init__(numbers)
        self.both = StreamAttention(numbers, text_attention)

    def sides(self) -> tuple[StreamAttention, StreamAttention]:
        """The same for both."""
        return self.both, self.both


@dataclass(frozen=True, kw_only=True)
class NAVA:
    """Configuration of a NAVA network."""

    video: StreamConfig
    audio: StreamConfig
    text: VoicedBytes | VoicedFeatures
    voice: TimbreInContext
    num_align: int
    num_fuse: int

    def __post_init__(self) -> None:
        check_time(WanTime, self.video, self.audio)
        video, audio = ((s.width, s.heads, s.mlp, s.rope.sizes, s.rope.theta) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"shared layers need equal width, heads, MLP and RoPE: video {video}, audio {audio}")
        video, audio = ((s.time, s.pooled) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"shared time layers need equal time and pooled text: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return (*self.text.fields, "voice")

    def build(self) -> Backbone:
        """The network with fresh weights; outputs start at zero."""
        video = Port(self.video)
        backbone = Backbone(
            video=video,
            audio=Port(self.audio, time=SharedTimeEmbedding(video.time)),
            context=VoicedContext(self.text, self.voice, self.video.width, self.video.rope),
            blocks=nn.ModuleList(
                [HierarchicalAlignmentLayer(self.video, self.text.text_attention) for _ in range(self.num_align)]
                + [UnifiedFusionLayer(self.video, self.text.text_attention) for _ in range(self.num_fuse)]
            ),
        )
        backbone.blocks.apply(init_linear)
        return backbone
