"""UniVerse-1 (arXiv 2509.06155; github.com/Dorniwang/UniVerse-1-code): two unlike experts, stitched block by block.

The picture's tower is Wan's, the sound's is ACE-Step's, with linear attention and gated convolutions. In each block a
latent frame reads the sound of its own time beside its self-attention and all of the sound beside its text; the sound
reads the mean of each latent frame beside its texts. No gradient passes from one tower into the other. See
docs/systems/universe1.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.ace import AceLayer, ReleasedAceLayer, Seen
from phonofilm.network.ace_time import AceTime
from phonofilm.network.alignment import WindowGroup, WindowRule, group_by_length
from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Hidden, State, WanLayer, Width, join_masks, with_tokens
from phonofilm.network.context import ByteText
from phonofilm.network.layers import (
    ATTENTION,
    Rope,
    RotaryCrossAttention,
    Rotation,
    attend,
    init_linear,
    modulate,
    rope,
    rotate,
)
from phonofilm.network.lyrics import CaptionsAndLyrics
from phonofilm.network.ports import Port, StreamConfig, WanTime, check_time
from phonofilm.types import Grid


@dataclass(frozen=True, kw_only=True)
class Stitched:
    """Configuration of two towers, stitched block by block."""

    video: StreamConfig
    audio: StreamConfig
    num_blocks: int
    window: WindowRule
    """The sound that a latent frame reads beside its self-attention."""
    time: Rope
    """How the picture's heads turn by time alone, where pictures read sound and text."""

    def __post_init__(self) -> None:
        check_time(WanTime, self.video)
        check_time(AceTime, self.audio)
        if sum(self.time.sizes) != self.video.width // self.video.heads:
            raise ValueError(f"RoPE sizes {self.time.sizes} must add up to the channels of a head of the picture's")

    def backbone(self, context: nn.Module, layer: type[AceLayer]) -> Backbone:
        """The network with fresh weights."""
        blocks = nn.ModuleList(StitchedBlock(self, layer) for _ in range(self.num_blocks))
        blocks.apply(init_linear)
        return Backbone(Port(self.video), Port(self.audio), context, blocks)


@dataclass(frozen=True, kw_only=True)
class UniVerse1(Stitched):
    """UniVerse-1 as published: two captions from frozen encoders, and what is said as tokens of lyrics."""

    text: CaptionsAndLyrics

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights."""
        text = self.text.build(self.video.width, self.audio.width, self.time, self.audio.rope)
        return self.backbone(text, ReleasedAceLayer)


@dataclass(frozen=True, kw_only=True)
class ByteUniVerse1(Stitched):
    """Configuration of a UniVerse-1 both of whose towers read one small text encoder, trained with them."""

    text: ByteText

    def __post_init__(self) -> None:
        super().__post_init__()
        video, audio = (self.video.width, self.time), (self.audio.width, self.audio.rope)
        if video != audio:
            raise ValueError(f"towers that read one text need equal widths and RoPE: video {video}, audio {audio}")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def build(self) -> Backbone:
        """The network with fresh weights."""
        return self.backbone(self.text.build(self.video.width, self.time), AceLayer)


class Heard(NamedTuple):
    """Sound as the picture's tower reads it."""

    x: Float[Tensor, "B L D"]
    given: Bool[Tensor, "B L"]
    rotation: Rotation
    grid: Grid


class AddedKeys(nn.Module):
    """Keys and values of the other stream, for queries that a Wan layer has made for something else."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.norm_k = nn.RMSNorm(width, eps=1e-6)

    def forward(
        self, x: Float[Tensor, "B L D"], rotation: Rotation
    ) -> tuple[Float[Tensor, "B L H E"], Float[Tensor, "B L H E"]]:
        """Keys, turned, and values of all heads."""
        k, v = (part.unflatten(-1, (self.heads, -1)) for part in (self.norm_k(self.k(x).float()), self.v(x)))
        return rotate(k, rotation).to(v.dtype), v


class PictureLayer(WanLayer):
    """A Wan layer that hears: the sound of a frame's own time, then all of it."""

    def __init__(self, numbers: Width, window: WindowRule) -> None:
        super().__init__(numbers, RotaryCrossAttention)
        self.window = window
        self.near = AddedKeys(numbers.width, numbers.heads)
        self.far = AddedKeys(numbers.width, numbers.heads)

    def attend_and_hear(self, hidden: Hidden, heard: Heard | None, time: Rotation) -> Hidden:
        """Self-attention; the same queries read what sounds while their frame is shown, into the same output."""
        shift, scale, gate = self.modulation(hidden.time, hidden.given, only=ATTENTION)
        x = modulate(hidden.x, shift, scale)
        taken = attend(*self.projection(x, hidden.rotation))
        if heard is not None:
            shift, scale, _ = self.modulation(hidden.time, heard.given, only=ATTENTION)
            k, v = self.near(modulate(heard.x, shift, scale), heard.rotation)
            q = rotate(self.projection.queries(x), time).to(v.dtype)
            taken = taken + self._near(q, k, v, known_windows(self.window, hidden.grid, heard.grid, x.device))
        return with_tokens(hidden, hidden.x + gate * self.out(taken))

    def _near(self, q: Tensor, k: Tensor, v: Tensor, windows: Windows) -> Float[Tensor, "B S D"]:
        q, parts = q.unflatten(1, (len(windows.order), -1)), []
        for frames, tokens, _ in windows.groups:
            found = attend(*(part.flatten(0, 1) for part in (q[:, frames], k[:, tokens], v[:, tokens])))
            parts.append(found.unflatten(0, (len(q), -1)))
        return torch.cat(parts, dim=1)[:, windows.order].flatten(1, 2)

    def normed(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """What reads the text and what the sound sees."""
        return self.norm_text(x.float()).to(x.dtype)

    def read_text_and_hear(self, hidden: Hidden, heard: Heard | None, time: Rotation) -> Hidden:
        """Cross-attention to the text and, in the same softmax, to all of the sound."""
        ctx, text = hidden.ctx, self.text
        v = text.projection.values(ctx.x)
        k = rotate(text.projection.keys(ctx.x), ctx.rotation).to(v.dtype)
        mask = ctx.mask
        if heard is not None:
            sound_k, sound_v = self.far(self.normed(heard.x), heard.rotation)
            k, v = torch.cat((k, sound_k), dim=1), torch.cat((v, sound_v), dim=1)
            mask = join_masks([(ctx.mask, ctx.x), (None, heard.x)])
        q = rotate(text.projection.queries(self.normed(hidden.x)), time).to(v.dtype)
        return with_tokens(hidden, hidden.x + text.out(attend(q, k, v, mask)))


class StitchedBlock(nn.Module):
    """A block of each tower and what carries one into the other; a closed link leaves the tower alone."""

    def __init__(self, numbers: Stitched, layer: type[AceLayer]) -> None:
        super().__init__()
        video, audio = numbers.video, numbers.audio
        self.time, self.place = numbers.time, audio.rope
        self.video = PictureLayer(video, numbers.window)
        self.audio = layer(audio)
        self.a2v = connector(audio.width, video.width)
        self.v2a = connector(video.width, audio.width)

    def forward(self, state: State) -> State:
        """Sound first; pictures hear it after its self-attention, and it sees them after theirs."""
        for stream in (state.video, state.audio):
            check_whole(stream)
        time = rope(by_time(state.video.seconds), self.time)
        audio = self.audio.self_attention(state.audio)
        heard = self.heard(audio) if state.links.a2v else None
        video = self.video.attend_and_hear(state.video, heard, time)
        seen = self.seen(video) if state.links.v2a else None
        video = self.video.read_text_and_hear(video, heard, time)
        audio = self.audio.read_text_and_see(audio, seen)
        return dataclasses.replace(state, video=self.video.feed_forward(video), audio=self.audio.feed_forward(audio))

    def heard(self, audio: Hidden) -> Heard:
        """The sound for the picture's tower. Its own tower learns nothing from what is made of it."""
        return Heard(self.a2v(audio.x.detach()), audio.given, rope(by_time(audio.seconds), self.time), audio.grid)

    def seen(self, video: Hidden) -> Seen:
        """One vector for each latent frame, the mean over its tokens, for the sound's tower."""
        frames = self.video.normed(video.x).detach().unflatten(1, (video.grid.frames, -1)).mean(dim=2)
        first = slice(None, None, video.grid.rows * video.grid.columns)
        return Seen(self.v2a(frames), rope(by_time(video.seconds[:, first]), self.place))


def connector(source: int, width: int) -> nn.Sequential:
    """From one tower's width to the other's."""
    return nn.Sequential(nn.Linear(source, source + width), nn.SiLU(), nn.Linear(source + width, width))


def by_time(seconds: Float[Tensor, "B S"]) -> Float[Tensor, "B S 3"]:
    """Positions that differ in time alone."""
    return F.pad(seconds.unsqueeze(-1), (0, 2))


def check_whole(hidden: Hidden) -> None:
    """Raise ``ValueError`` where references follow a stream's grid, for which this system has no place."""
    if hidden.x.shape[1] != hidden.grid.tokens:
        raise ValueError(f"UniVerse-1 reads no references: {hidden.x.shape[1]} tokens, the grid is {hidden.grid}")


class Windows(NamedTuple):
    """What each latent frame hears, in groups of equally many tokens, and where each frame stands among the groups'."""

    groups: tuple[WindowGroup, ...]
    order: Int[Tensor, " T"]


@torch.compiler.assume_constant_result  # a compiled block holds the windows of its grids: one graph a clip length
def known_windows(rule: WindowRule, video: Grid, audio: Grid, device: torch.device) -> Windows:
    """Made once for a length of clips."""
    return _known_windows(rule, video, audio, device)


@lru_cache(maxsize=64)
def _known_windows(rule: WindowRule, video: Grid, audio: Grid, device: torch.device) -> Windows:
    with torch.inference_mode(False):
        return Windows(*group_by_length(rule(video, audio), device))
