"""Contexts: trained layers that turn the conditions of an input into what both streams' blocks read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.blocks import Context
from phonofilm.network.layers import MLP, CrossAttention, Rope, RotaryCrossAttention, needed, rope
from phonofilm.types import AVInput, Tokens

ROUND = 4


@dataclass(frozen=True, kw_only=True)
class ByteText:
    """Configuration of a small text encoder over characters, trained with the model.

    Each field of the prompt is one condition of character ids. ``spoken`` fields keep a token per character and
    get seconds spread evenly over the clip (less ``margin`` at both ends): in joint attention characters without
    positions are a bag of letters, and a spoken sentence fills its clip. The other fields say what holds all the
    time: the characters of a word share a token at second 0.
    """

    fields: tuple[str, ...] = ("scene", "sound", "speech")
    spoken: tuple[str, ...] = ("speech",)
    characters: int
    """Size of the id table."""
    inner: int
    """Channels of the convolutions."""
    dilations: tuple[int, ...] = (1, 2, 4)
    space: int
    """Id of the character between words."""
    margin: float = 0.1
    """Seconds at both ends of the clip without speech."""

    def build(self, width: int, spec: Rope) -> ByteContext:
        """The context of a model of this width and these positions."""
        return ByteContext(self, width, spec)


class Residual(nn.Module):
    """A dilated convolution over characters with a residual path; padding stays zero."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)

    def forward(self, x: Float[Tensor, "B L E"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """Each character looks at its neighbours, never at padding."""
        inner = F.silu(self.norm(x)) * mask.unsqueeze(-1)
        return x + self.conv(inner.mT).mT


class ByteContext(nn.Module):
    """Character ids to context tokens, the same for both streams (JoVA sends one text to both branches)."""

    def __init__(self, numbers: ByteText, width: int, spec: Rope) -> None:
        super().__init__()
        self.numbers = numbers
        self.rope = spec
        self.embed = nn.Embedding(numbers.characters, numbers.inner)
        self.field = nn.Embedding(len(numbers.fields), numbers.inner)
        self.layers = nn.ModuleList(Residual(numbers.inner, dilation) for dilation in numbers.dilations)
        self.out = nn.Sequential(nn.LayerNorm(numbers.inner), nn.Linear(numbers.inner, width))
        self.words = Words(numbers.inner, width)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        seconds = max(input.video.grid.seconds, input.audio.grid.seconds)
        parts = [self._field(index, input.cond[name], seconds) for index, name in enumerate(self.numbers.fields)]
        x, mask, pos = (torch.cat(part, dim=1) for part in zip(*parts))
        ctx = Context(x=x, mask=needed(mask), rotation=rope(pos, self.rope), pooled=self.pooled(parts))
        return ctx, ctx

    def pooled(self, parts: list[tuple[Tensor, Tensor, Tensor]]) -> Float[Tensor, "B P"] | None:
        """What holds all the time, in one vector; nothing here."""
        return None

    def _field(self, index: int, tokens: Tokens, seconds: float) -> tuple[Tensor, Tensor, Tensor]:
        x, field = self.embed(tokens.x), self.field.weight[index]
        if self.numbers.fields[index] not in self.numbers.spoken:
            x, mask = self.words(x, field, tokens.mask, tokens.x == self.numbers.space)
            return x, mask, torch.zeros(*mask.shape, 3, device=x.device)
        x = x + field
        for layer in self.layers:
            x = layer(x, tokens.mask)
        return self.out(x), tokens.mask, evenly_spaced(tokens.mask, seconds, self.numbers.margin)


@dataclass(frozen=True, kw_only=True)
class PooledText(ByteText):
    """The same with what holds all the time in one vector besides, for streams with ``ports.Pooled``."""

    def build(self, width: int, spec: Rope) -> PooledContext:
        """The context of a model of this width and these positions."""
        return PooledContext(self, width, spec)


class PooledContext(ByteContext):
    """Tokens of characters and words, and the pooled words of scene and sound."""

    def __init__(self, numbers: ByteText, width: int, spec: Rope) -> None:
        super().__init__(numbers, width, spec)
        self.pool = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())

    def pooled(self, parts: list[tuple[Tensor, Tensor, Tensor]]) -> Float[Tensor, "B P"]:
        """Sum over words, each after a nonlinear layer of its own: a plain sum would forget which colour is whose."""
        held = [part for part, name in zip(parts, self.numbers.fields) if name not in self.numbers.spoken]
        x, mask = (torch.cat(part, dim=1) for part in list(zip(*held))[:2])
        return (self.pool(x) * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1).sqrt()


def evenly_spaced(mask: Bool[Tensor, "B L"], seconds: float, margin: float) -> Float[Tensor, "B L 3"]:
    """Positions of characters spread evenly over a clip of so many seconds, less a margin at both ends."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    share = (mask.cumsum(dim=1) - 0.5) / count
    when = margin + share * (seconds - 2 * margin)
    return F.pad(when.float().unsqueeze(-1), (0, 2))


class Words(nn.Module):
    """Words as sums of their characters, each turned by its place in the word; then each word looks at those beside it.

    A mean over characters that have seen each other leaves all words nearly the same vector: a model trained with it
    never learned to read them (docs/log.md). Bound to places, different words are far apart from the start.
    """

    longest = 16
    """Places in a word; characters behind share the last."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(self.longest, inner))
        self.layer = Residual(inner, 1)
        self.out = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, width))

    def forward(
        self,
        x: Float[Tensor, "B L E"],
        field: Float[Tensor, " E"],
        mask: Bool[Tensor, "B L"],
        space: Bool[Tensor, "B L"],
    ) -> tuple[Float[Tensor, "B M D"], Bool[Tensor, "B M"]]:
        """A token per word, from characters."""
        member = words(mask, space)
        place = (member.cumsum(dim=2) * member).sum(dim=1).clamp(1, self.longest) - 1
        count = member.sum(dim=2, keepdim=True)
        x = member.to(x.dtype) @ (x * self.places[place]) / count.clamp(min=1).sqrt()
        counted = count.squeeze(-1) > 0
        return self.out(self.layer(x + field, counted)), counted


def words(mask: Bool[Tensor, "B L"], space: Bool[Tensor, "B L"]) -> Bool[Tensor, "B M L"]:
    """Which characters belong to each word; a space belongs to the word before it.

    M is the most words of a text, rounded up to a multiple of 4 so that compiled blocks meet few lengths.
    """
    number = space.cumsum(dim=1) - space.int()
    most = -(-(int(number.max()) + 1) // ROUND) * ROUND
    return (number.unsqueeze(1) == torch.arange(most, device=mask.device)[:, None]) & mask.unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class VoicedBytes(ByteText):
    """Characters in which a sentinel stands before the words of each line of speech; the last field is spoken."""

    sentinel: int
    """Id of the sentinel character."""

    text_attention: ClassVar[type[CrossAttention]] = RotaryCrossAttention

    def __post_init__(self) -> None:
        if self.fields[-1] not in self.spoken:
            raise ValueError(f"the last of the fields {self.fields} must be one of the spoken ones {self.spoken}")

    def sentinels(self, input: AVInput) -> Bool[Tensor, "B L"]:
        """Where the sentinels are among the last tokens of the context."""
        return input.cond[self.fields[-1]].x == self.sentinel


@dataclass(frozen=True, kw_only=True)
class PooledVoicedBytes(VoicedBytes, PooledText):
    """The same with what holds all the time in one vector besides."""


@dataclass(frozen=True, kw_only=True)
class VoicedFeatures:
    """Features of a frozen text encoder, and beside them a condition that is 1 at every sentinel and 0 elsewhere."""

    text: tuple[str, int]
    """Name of the condition and its channels."""
    marks: str
    """Name of the condition that marks sentinels, as long as the text."""

    text_attention: ClassVar[type[CrossAttention]] = CrossAttention

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return (self.text[0], self.marks)

    def build(self, width: int, spec: Rope) -> SharedContext:
        """The context of a model of this width; features have no positions."""
        return SharedContext(self.text, width)

    def sentinels(self, input: AVInput) -> Bool[Tensor, "B L"]:
        """Where the sentinels are among the tokens of the context."""
        return input.cond[self.marks].x > 0


class SharedContext(nn.Module):
    """Text features through one MLP (Wan's) for both streams."""

    def __init__(self, text: tuple[str, int], width: int) -> None:
        super().__init__()
        self.name = text[0]
        self.layers = text_mlp(text[1], width)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream, which are one."""
        tokens = input.cond[self.name]
        ctx = without_positions(self.layers(tokens.x), tokens.mask)
        return ctx, ctx


@dataclass(frozen=True, kw_only=True)
class EmbeddedText:
    """Configuration of a context over features of frozen text encoders, one condition each.

    Each encoder has its own linear layer and the results follow each other (how JoVA's backbone merges its two
    encoders is not published: [inferred]). Text has no position: second 0 for all.
    """

    fields: tuple[tuple[str, int], ...]
    """Names of the conditions and their channels."""

    def build(self, width: int, spec: Rope) -> EmbeddedContext:
        """The context of a model of this width and these positions."""
        return EmbeddedContext(self, width, spec)


class EmbeddedContext(nn.Module):
    """Features of frozen text encoders, projected and put in a row, the same for both streams."""

    def __init__(self, numbers: EmbeddedText, width: int, spec: Rope) -> None:
        super().__init__()
        self.rope = spec
        self.layers = nn.ModuleDict({name: nn.Linear(channels, width) for name, channels in numbers.fields})

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        x = torch.cat([layer(input.cond[name].x) for name, layer in self.layers.items()], dim=1)
        mask = torch.cat([input.cond[name].mask for name in self.layers], dim=1)
        ctx = Context(x=x, mask=needed(mask), rotation=rope(torch.zeros(*mask.shape, 3, device=x.device), self.rope))
        return ctx, ctx


@dataclass(frozen=True, kw_only=True)
class CharacterText:
    """Configuration of a context with a caption for the picture and characters for the sound (UniAVGen).

    The caption comes from a frozen encoder and has no position. Characters are ids, trained through ConvNeXt-V2
    layers as in F5-TTS (arXiv 2410.06885), and stand one sound token apart from the first token of the sound on.
    Id 0 is the filler: its features are zero and it counts like a character.
    """

    caption: tuple[str, int]
    """Name of the condition that the video stream reads, and its channels."""
    speech: str
    """Name of the condition that holds character ids."""
    characters: int
    """Size of the id table, with the filler."""
    inner: int
    """Channels of the convolutions."""
    depth: int

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return (self.caption[0], self.speech)

    def build(self, video: int, audio: int, spec: Rope) -> CharacterContext:
        """The context of streams of these widths; ``spec`` is the sound's."""
        return CharacterContext(self, video, audio, spec)


class CharacterContext(nn.Module):
    """A caption through linear, GELU, linear; characters through convolutions and a linear layer without bias."""

    def __init__(self, numbers: CharacterText, video: int, audio: int, spec: Rope) -> None:
        super().__init__()
        self.numbers = numbers
        self.rope = spec
        self.caption = text_mlp(numbers.caption[1], video)
        self.embed = nn.Embedding(numbers.characters, numbers.inner)
        self.layers = nn.ModuleList(ConvNeXt(numbers.inner) for _ in range(numbers.depth))
        self.out = nn.Linear(numbers.inner, audio, bias=False)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        caption, speech = input.cond[self.numbers.caption[0]], input.cond[self.numbers.speech]
        real = (speech.x > 0).unsqueeze(-1)
        x = (self.embed(speech.x) + sinusoidal_positions(speech.x.shape[1], self.numbers.inner, speech.x.device)) * real
        for layer in self.layers:
            x = layer(x, speech.mask) * real
        seconds = speech_positions(input.audio.pos[..., 0], speech.x.shape[1])
        rotation = rope(F.pad(seconds.unsqueeze(-1), (0, 2)), self.rope)
        audio = Context(x=self.out(x), mask=needed(speech.mask), rotation=rotation)
        return without_positions(self.caption(caption.x), caption.mask), audio


class ConvNeXt(nn.Module):
    """ConvNeXt-V2 over characters (Woo et al. 2023): depthwise convolution, MLP with global response norm, residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, 2 * width)
        self.gamma = nn.Parameter(torch.zeros(1, 1, 2 * width))
        self.beta = nn.Parameter(torch.zeros(1, 1, 2 * width))
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Float[Tensor, "B L E"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """Padding (false in the mask) must come in as zeros; it has no part in the norm over characters."""
        y = F.gelu(self.up(self.norm(self.conv(x.mT).mT))) * mask.unsqueeze(-1)
        response = y.norm(dim=1, keepdim=True)
        y = y + self.gamma * (y * response / (response.mean(dim=-1, keepdim=True) + 1e-6)) + self.beta
        return x + self.down(y)


def sinusoidal_positions(length: int, channels: int, device: torch.device) -> Float[Tensor, "L E"]:
    """Sinusoidal features of the places 0, 1, 2 ..."""
    exponents = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * 10000.0**-exponents
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def speech_positions(seconds: Float[Tensor, "B S"], length: int) -> Float[Tensor, "B L"]:
    """Seconds that begin where a stream begins (references included) and go on at the pace of its grid's tokens."""
    if not seconds.shape[1]:  # nobody reads the text of an absent stream
        return seconds.new_zeros(len(seconds), length)
    pace = seconds[:, 1:2] - seconds[:, :1] if seconds.shape[1] > 1 else torch.ones_like(seconds)
    return seconds.amin(dim=1, keepdim=True) + pace * torch.arange(length, device=seconds.device)


@dataclass(frozen=True, kw_only=True)
class TowerText:
    """Configuration of a context over frozen features, with a Wan MLP for each stream. Text has no position."""

    video: tuple[str, int]
    """Name of the condition that the video stream reads, and its channels."""
    audio: tuple[str, int]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return tuple(dict.fromkeys((self.video[0], self.audio[0])))

    def build(self, video: int, audio: int) -> TowerContext:
        """The context of streams of these widths."""
        return TowerContext(self, video, audio)


class TowerContext(nn.Module):
    """Features of frozen text encoders through linear, GELU (tanh form), linear; each stream has its own."""

    def __init__(self, numbers: TowerText, video: int, audio: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.video = text_mlp(numbers.video[1], video)
        self.audio = text_mlp(numbers.audio[1], audio)

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        video, audio = input.cond[self.numbers.video[0]], input.cond[self.numbers.audio[0]]
        return without_positions(self.video(video.x), video.mask), without_positions(self.audio(audio.x), audio.mask)


def text_mlp(channels: int, width: int) -> MLP:
    """Text features to a tower's width (Wan)."""
    return MLP(width, width, source=channels)


def without_positions(x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Context:
    """A context whose tokens have no positions: they must not be rotated."""
    return Context(x=x, mask=needed(mask), rotation=x.new_zeros(*x.shape[:2], 0, 2))
