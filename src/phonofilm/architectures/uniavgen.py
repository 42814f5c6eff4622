"""UniAVGen (arXiv 2511.03334; code: MCG-NJU/Sora2-mini): two Wan towers that meet after every second layer.

Each latent frame reads the sound around it, each audio token the picture at its own time; both read what was there
before the exchange, and both results are added without a gate. A head per exchange predicts where the face is: it
limits what pictures take from sound and what sound sees of pictures. References are neither read nor changed, given
tokens are read and not changed. See docs/systems/uniavgen.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.alignment import FrameRule, Tables, WindowRule, group_by_frame, group_by_length
from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Hidden, State, WanLayer, Width, with_tokens
from phonofilm.network.context import ByteText, CharacterText
from phonofilm.network.layers import (
    CrossAttention,
    OutputModulation,
    Rope,
    RotaryCrossAttention,
    Rotation,
    TowerProjection,
    attend,
    init_linear,
    modulate,
    rope,
    rotate,
)
from phonofilm.network.ports import Port, StreamConfig, WanTime, check_time
from phonofilm.types import Grid


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How the streams find each other in time and space."""

    window: WindowRule
    """The sound that a latent frame hears."""
    seen: FrameRule
    """The picture that an audio token sees."""
    space: Rope
    """Rows and columns of a frame, in both directions; its seconds stay 0."""
    place: Rope
    """Places in a window, on the first axis."""


@dataclass(frozen=True, kw_only=True)
class DualBranch:
    """Configuration of two towers that meet where their layers say so."""

    video: StreamConfig
    audio: StreamConfig
    layers: tuple[type[PairedLayer], ...]
    """One class for each layer; the paper's are (InteractionLayer, PairedLayer) in turns."""
    interaction: Interaction

    def __post_init__(self) -> None:
        check_time(WanTime, self.video, self.audio)
        heads = {s.width // s.heads for s in (self.video, self.audio)}
        heads |= {sum(r.sizes) for r in (self.interaction.space, self.interaction.place)}
        if len(heads) != 1:
            raise ValueError(f"heads of both towers and of the exchange must have one size, got {sorted(heads)}")

    def backbone(self, context: nn.Module, text_attention: type[CrossAttention]) -> Backbone:
        """The network with fresh weights; what is exchanged starts at zero. ``text_attention`` is for video."""
        met = [sum(issubclass(kind, InteractionLayer) for kind in self.layers[:i]) for i in range(len(self.layers))]
        layers = [kind(self, text_attention, index) for kind, index in zip(self.layers, met)]
        backbone = Backbone(Port(self.video), Port(self.audio), context, nn.ModuleList(layers))
        backbone.blocks.apply(_init)
        return backbone


@dataclass(frozen=True, kw_only=True)
class UniAVGen(DualBranch):
    """Configuration of a UniAVGen network as published: a caption for the picture, characters for the sound."""

    text: CharacterText

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights."""
        return self.backbone(self.text.build(self.video.width, self.audio.width, self.audio.rope), CrossAttention)


@dataclass(frozen=True, kw_only=True)
class ByteUniAVGen(DualBranch):
    """Configuration of a UniAVGen network both of whose towers read one small text encoder, trained with them."""

    text: ByteText

    def __post_init__(self) -> None:
        super().__post_init__()
        video, audio = ((s.width, s.rope) for s in (self.video, self.audio))
        if video != audio:
            raise ValueError(f"towers that read one text need equal widths and RoPE: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights."""
        return self.backbone(self.text.build(self.video.width, self.video.rope), RotaryCrossAttention)


class PairedLayer(nn.Module):
    """A layer of both towers, side by side."""

    def __init__(self, numbers: DualBranch, text_attention: type[CrossAttention], index: int) -> None:
        super().__init__()
        self.video = WanLayer(numbers.video, text_attention)
        self.audio = WanLayer(numbers.audio, RotaryCrossAttention)

    def forward(self, state: State) -> State:
        """Neither stream sees the other."""
        return dataclasses.replace(state, video=self.video(state.video), audio=self.audio(state.audio))


class InteractionLayer(PairedLayer):
    """A layer of both towers, then the asymmetric cross-modal interaction."""

    def __init__(self, numbers: DualBranch, text_attention: type[CrossAttention], index: int) -> None:
        super().__init__(numbers, text_attention, index)
        self.name = f"face.{index}"
        self.face = FaceAwareModulation(numbers.video.width)
        self.a2v = A2VAligner(numbers.video, numbers.audio.width, numbers.interaction)
        self.v2a = V2AAligner(numbers.audio, numbers.video.width, numbers.interaction)

    def forward(self, state: State) -> State:
        """The exchange reads what the towers left."""
        return self.exchange(super().forward(state))

    def exchange(self, state: State) -> State:
        """Both directions read the same state; a closed link costs nothing."""
        if not any(state.links):
            return state
        face = self.face(state.video)
        return dataclasses.replace(
            state,
            video=self.a2v(state.video, state.audio, face) if state.links.a2v else state.video,
            audio=self.v2a(state.audio, state.video, face) if state.links.v2a else state.audio,
            aux=state.aux | {self.name: face},
        )


class FaceAwareModulation(nn.Module):
    """Face-aware modulation (FAM): where the face is, in (0, 1) for every token of the grid (paper, section 3.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = OutputModulation(width)
        self.out = nn.Linear(width, 1)

    def forward(self, video: Hidden) -> Float[Tensor, "B V"]:
        """In float32; the scale and shift follow the noise level, as in the release."""
        count = video.grid.tokens
        with torch.autocast(video.x.device.type, enabled=False):
            shift, scale = self.modulation(video.time.float(), video.given[:, :count])
            return self.out(modulate(own(video).float(), shift, scale)).squeeze(-1).sigmoid()


class A2VAligner(nn.Module):
    """Audio-to-video aligner: tokens of each latent frame read the audio tokens of its window (paper, eq. 3)."""

    def __init__(self, numbers: Width, source: int, interaction: Interaction) -> None:
        super().__init__()
        self.interaction = interaction
        self.projection = TowerProjection(numbers.width, numbers.heads, source)
        self.out = nn.Linear(numbers.width, numbers.width)

    def forward(self, video: Hidden, audio: Hidden, face: Float[Tensor, "B V"]) -> Hidden:
        """The video stream with what it heard; where there is no face it hears nothing."""
        p, batch = self.projection, len(video.x)
        known = tables(self.interaction, video.grid, audio.grid, video.x.device)
        q, k, v = p.queries(own(video)), p.keys(own(audio)), p.values(own(audio))
        q = rotate(q.unflatten(1, (video.grid.frames, -1)).flatten(0, 1), known.space)
        q, parts = q.to(v.dtype).unflatten(0, (batch, -1)), []
        for (frames, tokens, _), rotation in zip(known.heard, known.rotations):
            read = rotate(k[:, tokens].flatten(0, 1), rotation.repeat(batch, 1, 1, 1)).to(v.dtype)
            parts.append(attend(q[:, frames].flatten(0, 1), read, v[:, tokens].flatten(0, 1)).unflatten(0, (batch, -1)))
        brought = torch.cat(parts, dim=1)[:, known.frames].flatten(1, 2)
        return added(video, self.out(brought * face.unsqueeze(-1).to(brought.dtype)))


class V2AAligner(nn.Module):
    """Video-to-audio aligner: each audio token reads the video tokens at its own time (paper, eq. 5).

    Frames are projected once and blended afterwards, which gives the same as blending first (the projection is linear)
    and costs a frame's projection instead of an audio token's.
    """

    def __init__(self, numbers: Width, source: int, interaction: Interaction) -> None:
        super().__init__()
        self.interaction = interaction
        self.projection = TowerProjection(numbers.width, numbers.heads, source)
        self.out = nn.Linear(numbers.width, numbers.width)

    def forward(self, audio: Hidden, video: Hidden, face: Float[Tensor, "B V"]) -> Hidden:
        """The audio stream with what it saw of the face."""
        p, x, known = self.projection, own(video), tables(self.interaction, video.grid, audio.grid, video.x.device)
        frames, seen = (x * face.unsqueeze(-1).to(x.dtype)).unflatten(1, (video.grid.frames, -1)), known.seen
        k, v = (seen.blended(F.linear(frames, part.weight)) + part.bias for part in (p.k, p.v))  # (B, P, N, D)
        k, v = (part.flatten(0, 1).unflatten(-1, (p.heads, -1)) for part in (p.norm_k(k.float()), v))
        k, q = rotate(k, known.space).to(v.dtype), p.queries(own(audio)).to(v.dtype)
        k, v = (part.unflatten(0, (len(x), -1)).split([len(g) for g in seen.tokens], dim=1) for part in (k, v))
        groups = zip((q[:, tokens] for tokens in seen.tokens), k, v)
        saw = [attend(*(part.flatten(0, 1) for part in group)) for group in groups]
        saw = torch.cat([part.unflatten(0, (len(x), -1)).flatten(1, 2) for part in saw], dim=1)
        return added(audio, self.out(saw[:, seen.back]))


def own(hidden: Hidden) -> Float[Tensor, "B S D"]:
    """The grid's tokens of a stream, without references: what the other stream may read."""
    return hidden.x[:, : hidden.grid.tokens]


def added(hidden: Hidden, brought: Float[Tensor, "B S D"]) -> Hidden:
    """The stream with what the exchange brought to its generated tokens; all others stay bit by bit."""
    count = hidden.grid.tokens
    fresh = torch.where(hidden.given[:, :count, None], own(hidden), own(hidden) + brought)
    return with_tokens(hidden, torch.cat((fresh, hidden.x[:, count:]), dim=1))


@torch.compiler.assume_constant_result  # a compiled layer holds the tables of its grids: one graph a clip length
def tables(interaction: Interaction, video: Grid, audio: Grid, device: torch.device) -> Tables:
    """What all layers share, made once for a length of clips."""
    return _tables(interaction, video, audio, device)


@lru_cache(maxsize=64)
def _tables(interaction: Interaction, video: Grid, audio: Grid, device: torch.device) -> Tables:
    with torch.inference_mode(False):
        groups, frames = group_by_length(interaction.window(video, audio), device)
        turned = tuple(rope(F.pad(group.places.unsqueeze(-1), (0, 2)), interaction.place) for group in groups)
        seen = group_by_frame(interaction.seen(video, audio), device)
        return Tables(in_space(video, interaction.space, device), groups, turned, frames, seen)


def in_space(grid: Grid, spec: Rope, device: torch.device) -> Rotation:
    """Rotations of the tokens of one frame by row and column."""
    rows, columns = (torch.arange(float(count), device=device) for count in (grid.rows, grid.columns))
    return rope(F.pad(torch.cartesian_prod(rows, columns), (1, 0)).unsqueeze(0), spec)


def _init(module: nn.Module) -> None:
    if isinstance(module, WanLayer | TowerProjection | FaceAwareModulation):
        module.apply(init_linear)
    if isinstance(module, A2VAligner | V2AAligner):
        nn.init.zeros_(module.out.weight)
        nn.init.zeros_(module.out.bias)
