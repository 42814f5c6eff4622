"""A context of two captions and of what is said, as tokens of lyrics that a small transformer reads (ACE-Step)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from phonofilm.network.blocks import Context
from phonofilm.network.context import text_mlp
from phonofilm.network.layers import Rope, needed, rope
from phonofilm.types import AVInput


@dataclass(frozen=True, kw_only=True)
class CaptionsAndLyrics:
    """Configuration of a context over features of frozen encoders for picture and sound, and ids of what is said.

    The picture reads its caption alone. The sound reads its own caption and then the lyrics, one place after the other.
    """

    scene: tuple[str, int]
    """Name of the condition that the picture reads, and its channels."""
    sound: tuple[str, int]
    """Name of the condition that the sound reads, and its channels."""
    speech: str
    """Name of the condition that holds ids of lyrics."""
    vocabulary: int
    inner: int
    """Channels of the lyrics' transformer."""
    heads: int
    mlp: int
    depth: int

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the conditions that an input must bring."""
        return (self.scene[0], self.sound[0], self.speech)

    def build(self, video: int, audio: int, time: Rope, place: Rope) -> CaptionsAndLyricsContext:
        """The context of towers of these widths; the picture's keys turn by ``time``, the sound's by ``place``."""
        return CaptionsAndLyricsContext(self, (video, audio), time, place)


class CaptionsAndLyricsContext(nn.Module):
    """A caption through linear, GELU, linear for the picture; one through a linear layer, and lyrics, for the sound."""

    def __init__(self, numbers: CaptionsAndLyrics, widths: tuple[int, int], time: Rope, place: Rope) -> None:
        super().__init__()
        self.numbers, self.time, self.place = numbers, time, place
        self.scene = text_mlp(numbers.scene[1], widths[0])
        self.sound = nn.Linear(numbers.sound[1], widths[1])
        self.lyrics = LyricEncoder(numbers)
        self.speech = nn.Linear(numbers.inner, widths[1])

    def forward(self, input: AVInput) -> tuple[Context, Context]:
        """The context of the video stream and that of the audio stream."""
        scene, sound, speech = (input.cond[name] for name in self.numbers.fields)
        said = self.speech(self.lyrics(speech.x, speech.mask))
        mask = torch.cat((sound.mask, speech.mask), dim=1)
        place = (mask.cumsum(dim=1) - 1).clamp(min=0).float()  # what does not count has no place
        nowhere, read = torch.zeros_like(scene.mask).float(), torch.cat((self.sound(sound.x), said), dim=1)
        return (
            Context(x=self.scene(scene.x), mask=needed(scene.mask), rotation=standing(nowhere, self.time)),
            Context(x=read, mask=needed(mask), rotation=standing(place, self.place)),
        )


def standing(places: Float[Tensor, "B L"], spec: Rope) -> Float[Tensor, "B L R 2"]:
    """Rotations by places in a row."""
    return rope(F.pad(places.unsqueeze(-1), (0, 2)), spec)


class LyricEncoder(nn.Module):
    """Ids to features: a transformer with relative positions (Dai et al. 2019, arXiv 1901.02860) and pre-norms."""

    def __init__(self, numbers: CaptionsAndLyrics) -> None:
        super().__init__()
        width = numbers.inner
        self.embed = nn.Embedding(numbers.vocabulary, width)
        self.enter = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.layers = nn.ModuleList(LyricLayer(width, numbers.heads, numbers.mlp) for _ in range(numbers.depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """Every token looks at all that count."""
        x = self.enter(self.embed(ids)) * math.sqrt(self.embed.embedding_dim)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class LyricLayer(nn.Module):
    """Self-attention by content and by distance, then linear, SiLU, linear."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.distance = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.empty(heads, width // heads))
        self.distance_bias = nn.Parameter(torch.empty(heads, width // heads))
        for bias in (self.content_bias, self.distance_bias):
            nn.init.xavier_uniform_(bias)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, mlp), nn.SiLU(), nn.Linear(mlp, width))

    def forward(self, x: Float[Tensor, "B L E"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """The tokens after the layer."""
        x = x + self.attention(self.norm(x), mask)
        return x + self.mlp(x)

    def attention(self, x: Float[Tensor, "B L E"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L E"]:
        """Weights are the softmax of ``(q + u) k + (q + v) r``, with r from how far a key stands behind its query."""
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.q, self.k, self.v))
        r = self.distance(distances(x)).unflatten(-1, (self.heads, -1))
        near = torch.einsum("bihe,bjhe->bhij", q + self.content_bias, k)
        far = torch.einsum("bihe,ijhe->bhij", q + self.distance_bias, r)
        score = ((near + far) / math.sqrt(q.shape[-1])).masked_fill(~mask[:, None, None], -torch.inf)
        weight = score.softmax(dim=-1).masked_fill(~mask.any(dim=1)[:, None, None, None], 0.0)
        return self.out(torch.einsum("bhij,bjhe->bihe", weight, v).flatten(2))


def distances(x: Float[Tensor, "B L E"]) -> Float[Tensor, "L L E"]:
    """Sines and cosines, in turns, of how many places each token (rows) stands behind each other (columns)."""
    place = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
    speed = 10000.0 ** -(torch.arange(0, x.shape[2], 2, device=x.device, dtype=torch.float32) / x.shape[2])
    angle = (place[:, None] - place).unsqueeze(-1) * speed
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).to(x.dtype)
