"""Which tokens of one stream belong to which of the other, from what their grids cover in seconds (UniAVGen)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, compress
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from phonofilm.types import Grid

SLACK = 1e-6
"""Of a token or frame: so that rounding of seconds moves no border."""


class Window(NamedTuple):
    """The audio tokens that each latent frame hears, all windows of one length W; lists are T x W."""

    tokens: list[list[int]]
    places: list[list[float]]
    """Where in the window each token stands: what its rotation is made of."""
    mask: list[list[bool]] | None
    """Tokens that count; None if all do."""


class FrameBlend(NamedTuple):
    """What an audio token sees of the picture: a weighted sum of two latent frames."""

    frames: tuple[int, int]
    weights: tuple[float, float]


@dataclass(frozen=True)
class MaskedWindow:
    """What sounds while a latent frame is shown and ``around`` seconds before and after; at the clip's ends, less.

    Places are seconds from the start of the window. The paper says that the first window is shorter than the others.
    """

    around: float

    def __call__(self, video: Grid, audio: Grid) -> Window:
        """Windows in seconds, whatever the rates are."""
        starts = [0.0] + [video.first + i * video.step for i in range(video.frames - 1)]
        lengths = [video.first] + [video.step] * (video.frames - 1)
        opened = [start - self.around for start in starts]
        closed = [start + length + self.around for start, length in zip(starts, lengths)]
        last = audio.frames - 1
        low = [min(max(math.floor(s / audio.step + SLACK), 0), last) for s in opened]
        high = [min(math.ceil(s / audio.step - SLACK), last + 1) for s in closed]
        width = max(b - a for a, b in zip(low, high))
        tokens = [[min(a + k, last) for k in range(width)] for a in low]
        return Window(
            tokens=tokens,
            places=[[(j + 0.5) * audio.step - s for j in row] for row, s in zip(tokens, opened)],
            mask=[[a + k < max(b, a + 1) for k in range(width)] for a, b in zip(low, high)],
        )


@dataclass(frozen=True)
class ReplicatedWindow:
    """The release's windows (wan/modules/model.py, align_audio_to_video): all of one length, ends repeated.

    Places count tokens of the window. Audio tokens are spread over the video's pixel frames, whatever they last, and
    frame 0 ends one token after it begins rather than one pixel frame.
    """

    around: int
    """Pixel frames before and after a latent frame."""

    def __call__(self, video: Grid, audio: Grid) -> Window:
        """Windows in audio tokens."""
        stride = pixel_frames(video)
        rate = audio.frames / (1 + stride * (video.frames - 1))
        before, after = math.floor(self.around * rate), math.ceil(self.around * rate)
        spans = [(-before, 1 + after)]
        for start in range(1, 1 + stride * (video.frames - 1), stride):
            spans.append((math.floor(start * rate) - before, math.ceil((start + stride) * rate) + after))
        width = max((b - a for a, b in spans[1:]), default=1 + before + after)
        rows = []
        for a, b in spans:
            short = width - (b - a)
            a -= short if a < 0 else 0 if b >= audio.frames else short // 2
            rows.append([min(max(a + k, 0), audio.frames - 1) for k in range(width)])
        return Window(tokens=rows, places=[[float(k) for k in range(width)]] * len(rows), mask=None)


@dataclass(frozen=True)
class SameFrame:
    """The one audio token of a latent frame's own number, in codecs of equal rates (UniVerse-1)."""

    def __call__(self, video: Grid, audio: Grid) -> Window:
        """``ValueError`` where the streams have not equally many frames."""
        if video.frames != audio.frames:
            raise ValueError(f"{video.frames} latent frames and {audio.frames} audio tokens; they must be as many")
        return Window(tokens=[[i] for i in range(video.frames)], places=[[0.0]] * video.frames, mask=None)


@dataclass(frozen=True)
class Ramp:
    """The picture at an audio token's middle, blended from the nearest two pixel frames.

    A latent frame stands for its pixel frames, each at its middle: so most tokens see one latent frame as it is.
    """

    def __call__(self, video: Grid, audio: Grid) -> list[FrameBlend]:
        """One entry per audio token; weights sum to 1."""
        last = pixel_frames(video) * (video.frames - 1)
        seen = []
        for token in range(audio.frames):
            place = min(max((token + 0.5) * audio.step / video.first - 0.5, 0.0), float(last))
            down = min(math.floor(place + SLACK), last)
            share = max(place - down, 0.0)
            seen.append(blend(latent_of(down, video), 1 - share, latent_of(min(down + 1, last), video), share))
        return seen


@dataclass(frozen=True)
class NearestFrame:
    """The latent frame that is shown at an audio token's middle, and no other (the paper's same-interval reading)."""

    def __call__(self, video: Grid, audio: Grid) -> list[FrameBlend]:
        """One entry per audio token."""
        seen = []
        for token in range(audio.frames):
            since = (token + 0.5) * audio.step - video.first
            frame = min(max(math.floor(since / video.step + SLACK) + 1, 0), video.frames - 1)
            seen.append(FrameBlend((frame, frame), (1.0, 0.0)))
        return seen


@dataclass(frozen=True)
class ReleasedRamp:
    """The release's blend (wan/modules/model.py, forward_video_to_audio): its last tokens have weights of sum 2.

    Token and pixel frame count from their starts, audio tokens are spread over the video's pixel frames, and places
    are computed in the network's ``precision``: in bfloat16 they are up to 0.4 pixel frames off.
    """

    precision: torch.dtype

    def __call__(self, video: Grid, audio: Grid) -> list[FrameBlend]:
        """One entry per audio token."""
        count = 1 + pixel_frames(video) * (video.frames - 1)
        place = torch.arange(audio.frames).to(self.precision) / (audio.frames / count)
        down = place.floor().clamp(0, count - 1)
        up = (down + 1).clamp(0, count - 1)
        weights = torch.stack((1 - (place - down), 1 - (up - place)), dim=1).tolist()
        pairs = torch.stack((down, up), dim=1).long().tolist()
        return [
            blend(latent_of(a, video), one, latent_of(b, video), other) for (a, b), (one, other) in zip(pairs, weights)
        ]


def blend(frame: int, weight: float, other: int, share: float) -> FrameBlend:
    """Two latent frames with their weights; one frame alone is the same whatever pixel frames it was made of."""
    if frame == other or not share:
        return FrameBlend((frame, frame), (round(weight + share, 6), 0.0))
    return FrameBlend((frame, other), (weight, share))


def pixel_frames(video: Grid) -> int:
    """Pixel frames of every latent frame but the first, which has one."""
    return round(video.step / video.first)


def latent_of(pixel_frame: int, video: Grid) -> int:
    """The latent frame that covers a pixel frame."""
    return -(-pixel_frame // pixel_frames(video))


class WindowGroup(NamedTuple):
    """G latent frames whose windows hold equally many tokens that count."""

    frames: Int[Tensor, " G"]
    tokens: Int[Tensor, "G W"]
    places: Float[Tensor, "G W"]


def group_by_length(window: Window, device: torch.device) -> tuple[tuple[WindowGroup, ...], Int[Tensor, " T"]]:
    """Windows in groups of one length, which need no mask, and where each frame stands among all groups' frames."""
    mask = window.mask or [[True] * len(row) for row in window.tokens]
    groups: dict[int, list[int]] = {}
    for frame, row in enumerate(mask):
        groups.setdefault(sum(row), []).append(frame)

    def counted(rows: list[list], frames: list[int]) -> Tensor:
        return torch.tensor([list(compress(rows[frame], mask[frame])) for frame in frames], device=device)

    made = [
        WindowGroup(torch.tensor(frames, device=device), counted(window.tokens, frames), counted(window.places, frames))
        for frames in groups.values()
    ]
    return tuple(made), _places(list(groups.values()), device)


class FrameGroups(NamedTuple):
    """The P distinct pictures that audio tokens see, and who sees which."""

    frames: Int[Tensor, "P 2"]
    weights: Float[Tensor, "P 2"]
    tokens: tuple[Int[Tensor, "G Q"], ...]
    """Audio tokens of each picture in groups of pictures; the first is repeated where there are fewer than Q."""
    back: Int[Tensor, " N"]
    """Where each audio token stands among those of all groups, end to end."""

    def blended(self, frames: Float[Tensor, "B T N D"]) -> Float[Tensor, "B P N D"]:
        """Weighted sums of latent frames."""
        weight = self.weights.to(frames.dtype)[..., None, None]
        return frames[:, self.frames[:, 0]] * weight[:, 0] + frames[:, self.frames[:, 1]] * weight[:, 1]


def group_by_frame(seen: list[FrameBlend], device: torch.device) -> FrameGroups:
    """Most audio tokens see a latent frame as it is and share its keys; only few see a blend of their own.

    Pictures that 1, 2, 3 to 4, 5 to 8 ... tokens see make a group each, so that few queries are asked twice.
    """
    pictures: dict[FrameBlend, list[int]] = {}
    for token, picture in enumerate(seen):
        pictures.setdefault(picture, []).append(token)
    groups: dict[int, list[FrameBlend]] = {}
    for picture, tokens in pictures.items():
        groups.setdefault((len(tokens) - 1).bit_length(), []).append(picture)
    order = [picture for group in groups.values() for picture in group]
    filled = []
    for group in groups.values():
        most = max(len(pictures[picture]) for picture in group)
        rows = [pictures[picture] for picture in group]
        filled.append([row + row[:1] * (most - len(row)) for row in rows])
    return FrameGroups(
        frames=torch.tensor([blend.frames for blend in order], device=device),
        weights=torch.tensor([blend.weights for blend in order], device=device),
        tokens=tuple(torch.tensor(rows, device=device) for rows in filled),
        back=_places([token for rows in filled for token in rows], device),
    )


def _places(groups: list[list[int]], device: torch.device) -> Int[Tensor, " N"]:
    """Where each of 0, 1, 2 ... first stands among the numbers of all groups, end to end."""
    places: dict[int, int] = {}
    for place, number in enumerate(chain.from_iterable(groups)):
        places.setdefault(number, place)
    return torch.tensor([places[number] for number in range(len(places))], device=device)


class Tables(NamedTuple):
    """Who meets whom, for streams of certain grids."""

    space: Float[Tensor, "1 N R 2"]
    """Rotations of the tokens of a latent frame, by row and column."""
    heard: tuple[WindowGroup, ...]
    rotations: tuple[Float[Tensor, "G W R 2"], ...]
    """Those of the audio tokens in the windows of ``heard``, by their places."""
    frames: Int[Tensor, " T"]
    """Where each latent frame stands among those of ``heard``, end to end."""
    seen: FrameGroups


WindowRule = Callable[[Grid, Grid], Window]
FrameRule = Callable[[Grid, Grid], list[FrameBlend]]
