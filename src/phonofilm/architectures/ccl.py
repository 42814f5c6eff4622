"""CCL (arXiv 2603.18600), a RECONSTRUCTION: its equations are not public beyond the abstract. See docs/systems/ccl.md.

Two Wan towers. After self-attention each stream reads the other by attention without a gate, in windows that belong to
the same time (TARP), beside learnable context tokens (LCT) that are always there (CCA). What must read nothing of the
other stream reads the context tokens alone: a stream whose link is closed, and clean reference tokens (DCR). That state
is trained, so guidance can move away from it (UCG).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.backbone import Backbone
from phonofilm.network.blocks import Context, Hidden, State, WanLayer, with_tokens
from phonofilm.network.context import ByteContext, ByteText, TowerText
from phonofilm.network.layers import CrossAttention, Rope, Rotation, TowerProjection, attend, init_linear, rope, rotate
from phonofilm.network.ports import Port, StreamConfig, WanTime, check_time
from phonofilm.types import AVInput, Grid


@dataclass(frozen=True, kw_only=True)
class TARPWindows:
    """Temporally aligned windows (TARP), in seconds: right for causal codecs, whose first frame is short."""

    num_frames: float = 3.0
    """Length of a window in video frames."""

    def centres(self, video: Grid, audio: Grid) -> Float[Tensor, " F"]:
        """Middle of each video frame's window, in audio tokens: 7 is the middle of token 7. Kept inside the sound."""
        index = torch.arange(video.frames, dtype=torch.float64)
        middle = torch.where(index == 0, video.first / 2, video.first + (index - 0.5) * video.step)
        return ((middle - audio.first) / audio.step + 0.5).clamp(0, audio.frames - 1)

    def width(self, video: Grid, audio: Grid) -> int:
        """Audio tokens of a window: so many that it covers its video frames."""
        return math.ceil(self.num_frames * video.step / audio.step - 1e-6)

    def frames(self, video: Grid, audio: Grid) -> Int[Tensor, " N"]:
        """The video frame that each audio token reads: the one shown at its middle."""
        middle = audio.first + (torch.arange(audio.frames, dtype=torch.float64) - 0.5) * audio.step
        frame = torch.floor((middle - video.first) / video.step + 1e-9) + 1
        return frame.clamp(0, video.frames - 1).long()


@dataclass(frozen=True, kw_only=True)
class WholeTokenWindows:
    """Windows by whole numbers of tokens, as a third-party trainer reads the paper (musubi-tuner, branch ltx-2).

    Centres drift from the clock where the number of audio tokens is no multiple of the video frames: 0.34 s at the end
    of a clip with 21 frames and 158 tokens, whose last 4 tokens no frame reads.
    """

    num_frames: int = 3

    def centres(self, video: Grid, audio: Grid) -> Float[Tensor, " F"]:
        """Half a frame's tokens, then a whole number of tokens per frame."""
        each = self._each(video, audio)
        return (each // 2 + each * torch.arange(video.frames)).double()

    def width(self, video: Grid, audio: Grid) -> int:
        """A whole number of tokens per frame."""
        return self.num_frames * self._each(video, audio)

    def frames(self, video: Grid, audio: Grid) -> Int[Tensor, " N"]:
        """The frame at the same share of the clip."""
        return (torch.arange(audio.frames) * video.frames // audio.frames).clamp(max=video.frames - 1)

    def _each(self, video: Grid, audio: Grid) -> int:
        if audio.frames < video.frames:
            raise ValueError(f"{audio.frames} audio tokens for {video.frames} video frames: take TARPWindows")
        return audio.frames // video.frames


Partition = TARPWindows | WholeTokenWindows


class Group(NamedTuple):
    """Windows of one size, G of them: the queries of each, and the keys that these share."""

    queries: Int[Tensor, "G Q"]
    keys: Int[Tensor, "G K"]


class QueryGroups(NamedTuple):
    """Queries and the keys each attends to, in groups of one size: attention then needs no mask (flash takes none)."""

    groups: tuple[Group, ...]
    back: Int[Tensor, " N"]
    """Where each query stands among those of all groups, end to end."""


def a2v_groups(partition: Partition, video: Grid, audio: Grid, device: torch.device) -> QueryGroups:
    """For video that reads audio: tokens of a frame share a window of sound, cut off at both ends of the clip."""
    with torch.inference_mode(False):
        width, own = partition.width(video, audio), torch.arange(video.tokens).view(video.frames, -1)
        start = torch.ceil(partition.centres(video, audio) - width / 2 - 1e-6).long()
        first, end = start.clamp(min=0), (start + width).clamp(max=audio.frames)
        sizes, groups = (end - first).clamp(min=0), []
        for size in sizes.unique().tolist():
            rows = sizes == size
            groups.append(Group(own[rows].to(device), (first[rows, None] + torch.arange(size)).to(device)))
        return QueryGroups(tuple(groups), torch.cat([group.queries.flatten() for group in groups]).argsort())


def v2a_groups(partition: Partition, video: Grid, audio: Grid, device: torch.device) -> QueryGroups:
    """For audio that reads video: the tokens that read the same frame share its picture."""
    with torch.inference_mode(False):
        frames = partition.frames(video, audio)
        counts = torch.bincount(frames, minlength=video.frames)
        first, most = counts.cumsum(0) - counts, int(counts.max())
        queries = (first[:, None] + torch.arange(most)).clamp(max=audio.frames - 1)  # short groups ask again, unheard
        back = frames * most + torch.arange(audio.frames) - first[frames]
        pictures = torch.arange(video.tokens).view(video.frames, -1)
        return QueryGroups((Group(queries.to(device), pictures.to(device)),), back.to(device))


@torch.compiler.assume_constant_result  # a compiled block holds the tables of its grids: one graph a clip length
def groups_of(partition: Partition, video: Grid, audio: Grid, device: torch.device) -> tuple[QueryGroups, QueryGroups]:
    """``a2v_groups`` and ``v2a_groups``, which all layers share."""
    return _cached(partition, video, audio, device)


@lru_cache(maxsize=64)
def _cached(partition: Partition, video: Grid, audio: Grid, device: torch.device) -> tuple[QueryGroups, QueryGroups]:
    return a2v_groups(partition, video, audio, device), v2a_groups(partition, video, audio, device)


class CrossModalContextAttention(nn.Module):
    """Cross-modal context attention (CCA): a stream reads the other and learnable context tokens (LCT) in one softmax.

    ``out`` has no bias: without context tokens a closed link adds nothing at all, which is attention times zero, the
    state that the paper argues against; with some it adds what the network has learnt to say of an absent partner.
    """

    def __init__(self, own: StreamConfig, other: StreamConfig, num_context: int, positions: Rope) -> None:
        super().__init__()
        self.rope = positions
        self.norm_own = nn.LayerNorm(own.width, eps=1e-6)
        self.norm_other = nn.LayerNorm(other.width, eps=1e-6)
        self.projection = TowerProjection(own.width, own.heads, other.width)
        self.context = nn.Parameter(0.02 * torch.randn(2, num_context, own.width))
        self.out = nn.Linear(own.width, own.width, bias=False)

    def forward(self, own: Hidden, other: Hidden, windows: QueryGroups | None) -> Hidden:
        """The stream after reading; ``windows`` is None where the link is closed. Given tokens read as if it were."""
        p = self.projection
        q = rotate(p.queries(_normed(self.norm_own, own.x)), self._rotation(own.seconds))
        k, v = p.norm_k(self.context[0].float()).to(self.context.dtype), self.context[1]
        k, v = (part.unflatten(-1, (p.heads, -1)).unsqueeze(0) for part in (k, v))
        attended = self._alone(q.to(v.dtype), k, v)
        if windows is not None:
            met, count = self._attend_windows(q, (k, v), other, windows), own.grid.tokens
            kept = own.given[:, :count].unsqueeze(-1)
            met = torch.where(kept, attended[:, :count].to(met.dtype), met)
            attended = torch.cat((met, attended[:, count:].to(met.dtype)), dim=1)
        return with_tokens(own, own.x + self.out(attended))

    def _alone(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "B S D"]:
        """The context tokens alone; zeros if there are none."""
        if not k.shape[1]:
            return torch.zeros_like(q).flatten(2)
        return attend(q, k.expand(len(q), -1, -1, -1), v.expand(len(q), -1, -1, -1))

    def _attend_windows(self, q: Tensor, context: tuple[Tensor, Tensor], other: Hidden, windows: QueryGroups) -> Tensor:
        """The context tokens and the window, for the tokens of the grid; references of the other are not read."""
        p, count = self.projection, other.grid.tokens
        # What is given must not be changed for its reader's sake: no gradient into a clean stream.
        x = torch.where(other.given.unsqueeze(-1), other.x.detach(), other.x)[:, :count]
        x = _normed(self.norm_other, x)
        v = p.values(x)
        k = rotate(p.keys(x), self._rotation(other.seconds[:, :count])).to(v.dtype)
        q, always = q.to(v.dtype), [part.to(v.dtype) for part in context]
        done = []
        for queries, keys in windows.groups:
            pairs = zip(always, (_picked(k, keys), _picked(v, keys)))
            read = [torch.cat((part.expand(len(one), -1, -1, -1), one), dim=1) for part, one in pairs]
            done.append(attend(_picked(q, queries), *read).unflatten(0, (len(q), len(keys))).flatten(1, 2))
        return torch.cat(done, dim=1).index_select(1, windows.back)

    def _rotation(self, seconds: Float[Tensor, "B S"]) -> Rotation:
        return rope(F.pad(seconds.unsqueeze(-1), (0, 2)), self.rope)


def _normed(norm: nn.LayerNorm, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
    return norm(x.float()).to(x.dtype)


def _picked(x: Float[Tensor, "B S H E"], index: Int[Tensor, "G K"]) -> Float[Tensor, "BG K H E"]:
    """Tokens in groups, the groups of all samples as one batch."""
    return x.index_select(1, index.flatten()).unflatten(1, index.shape).flatten(0, 1)


class CCLBlock(nn.Module):
    """A layer of both towers; the streams meet between self-attention and text."""

    attention: ClassVar[type[CrossModalContextAttention]] = CrossModalContextAttention

    def __init__(self, numbers: CCL) -> None:
        super().__init__()
        video, audio = numbers.video, numbers.audio
        self.partition = numbers.partition
        self.video = WanLayer(video, numbers.text_attention)
        self.audio = WanLayer(audio, numbers.text_attention)
        self.video_context = self.attention(video, audio, numbers.num_context, numbers.shared(video))
        self.audio_context = self.attention(audio, video, numbers.num_context, numbers.shared(audio))
        self.start()

    def start(self) -> None:
        """Fresh weights; what is taken from the other stream starts at zero, so that towers start as they were."""
        self.apply(init_linear)
        for part in (self.video_context, self.audio_context):
            nn.init.zeros_(part.out.weight)

    def windows(self, video: Grid, audio: Grid, device: torch.device) -> tuple[QueryGroups, QueryGroups]:
        """Queries and their keys where links are open: A2V and V2A."""
        return groups_of(self.partition, video, audio, device)

    def forward(self, state: State) -> State:
        """Both read what the other was before it read."""
        video, audio = self.video.self_attention(state.video), self.audio.self_attention(state.audio)
        a2v = v2a = None
        if video.grid.tokens and audio.grid.tokens:
            a2v, v2a = self.windows(video.grid, audio.grid, video.x.device)
        heard = self.video_context(video, audio, a2v if state.links.a2v else None)
        seen = self.audio_context(audio, video, v2a if state.links.v2a else None)
        return dataclasses.replace(
            state,
            video=self.video.feed_forward(self.video.cross_attention(heard)),
            audio=self.audio.feed_forward(self.audio.cross_attention(seen)),
        )


class SharedText(nn.Module):
    """One text encoder for both streams; the audio stream's copy comes to its own width by a linear layer."""

    def __init__(self, text: ByteContext, video: int, audio: int) -> None:
        super().__init__()
        self.text = text
        self.audio = nn.Linear(video, audio)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        ctx, _ = self.text(input)
        return ctx, dataclasses.replace(ctx, x=self.audio(ctx.x))


@dataclass(frozen=True, kw_only=True)
class CCL:
    """Configuration of a CCL network."""

    video: StreamConfig
    audio: StreamConfig
    text: ByteText | TowerText
    text_attention: type[CrossAttention]
    """The text's attention: ``RotaryCrossAttention`` where it has seconds (``ByteText``), else ``CrossAttention``."""
    num_blocks: int
    num_context: int = 16
    """Learnable context tokens per layer and direction. With 0 a closed link adds nothing."""
    partition: Partition = TARPWindows()
    rate: float
    """Latent video frames per second: seconds times this is the coordinate both streams share when they meet."""
    block: type[CCLBlock] = CCLBlock

    def __post_init__(self) -> None:
        check_time(WanTime, self.video, self.audio)
        if isinstance(self.text, ByteText) and self.video.rope != self.audio.rope:
            raise ValueError(
                f"text with seconds needs equal RoPE: video {self.video.rope}, audio {self.audio.rope}; "
                "make heads of equal size, or take TowerText"
            )
        if self.num_context < 0:
            raise ValueError(f"{self.num_context} context tokens: 0 or more")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return self.text.fields

    def shared(self, stream: StreamConfig) -> Rope:
        """Positions where the streams meet: a stream's band for time turns, those for rows and columns stand still."""
        return dataclasses.replace(stream.rope, scale=(self.rate, 0.0, 0.0))

    def build(self) -> Backbone:
        """The network with fresh weights."""
        if isinstance(self.text, ByteText):
            context = SharedText(self.text.build(self.video.width, self.video.rope), self.video.width, self.audio.width)
        else:
            context = self.text.build(self.video.width, self.audio.width)
        blocks = nn.ModuleList(self.block(self) for _ in range(self.num_blocks))
        return Backbone(Port(self.video), Port(self.audio), context, blocks)
