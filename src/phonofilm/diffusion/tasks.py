"""What is given and what is generated: tasks as values, and ``compose``, where clean and noisy tokens meet.

Training and generation both build their inputs here, so they cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from phonofilm.diffusion.flow import interpolate
from phonofilm.diffusion.tokens import positions
from phonofilm.files.loudness import LEVEL, PEAK, level
from phonofilm.types import CLOSED, AVInput, Grid, Layout, Links, Span, Stream, Tokens, recorded_as


@runtime_checkable
class Known(Protocol):
    """Which frames of a stream a task knows beforehand."""

    def __call__(self, grid: Grid) -> Bool[Tensor, " F"]:
        """True for each known frame."""
        ...


@recorded_as("nothing_known")
def nothing(grid: Grid) -> Bool[Tensor, " F"]:
    """No frame: all of them are generated."""
    return torch.zeros(grid.frames, dtype=torch.bool)


def first(grid: Grid) -> Bool[Tensor, " F"]:
    """The first frame: an image."""
    return torch.arange(grid.frames) == 0


def whole(grid: Grid) -> Bool[Tensor, " F"]:
    """Every frame: the whole stream is given."""
    return torch.ones(grid.frames, dtype=torch.bool)


@dataclass(frozen=True)
class Outside:
    """The frames that do not touch the span from ``start`` to ``end`` seconds (infinity: to the end of the clip)."""

    start: float
    end: float = math.inf

    def __call__(self, grid: Grid) -> Bool[Tensor, " F"]:
        """True for each frame wholly before or behind the span."""
        ends = _ends(grid)
        starts = torch.cat((torch.zeros(min(grid.frames, 1)), ends[:-1]))
        return (ends <= self.start + 1e-6) | (starts >= self.end - 1e-6)


def _ends(grid: Grid) -> Float[Tensor, " F"]:
    return grid.first + grid.step * torch.arange(grid.frames, dtype=torch.float64)  # exact in long clips too


@runtime_checkable
class Place(Protocol):
    """Where the known tokens of the video stream go."""

    def given(self, known: Bool[Tensor, "*B S"]) -> Bool[Tensor, "*B S"]:
        """Tokens that stand clean in the stream."""
        ...

    def beside(self, known: Bool[Tensor, "B S"], clean: Float[Tensor, "B S C"]) -> Float[Tensor, "B S X"]:
        """Conditioning channels concatenated to each token."""
        ...

    def width(self, channels: int) -> int:
        """How many channels lie beside tokens of so many channels."""
        ...


@dataclass(frozen=True)
class InStream:
    """Known tokens stand clean in the stream (NAVA, Ovi)."""

    empty: int = 0
    """Channels beside the tokens that stay zero, for a network that has such channels all the same."""

    def given(self, known: Bool[Tensor, "*B S"]) -> Bool[Tensor, "*B S"]:
        """All known tokens: they stand clean in the stream."""
        return known

    def beside(self, known: Bool[Tensor, "B S"], clean: Float[Tensor, "B S C"]) -> Float[Tensor, "B S X"]:
        return clean.new_zeros(*known.shape, self.empty)

    def width(self, channels: int) -> int:
        """The channels that stay zero."""
        return self.empty


@dataclass(frozen=True)
class Beside:
    """Known tokens lie beside the noisy ones with a mask; the stream itself is all noisy (Waver, so JoVA).

    Waver fills the unknown frames with the latent of a black picture; here they are zero, which the mask makes
    as clear and which needs no encoder.
    """

    masks: int
    """Mask channels of a token: the backbone's mask channels (Waver 4) times the cells of a patch."""

    def given(self, known: Bool[Tensor, "*B S"]) -> Bool[Tensor, "*B S"]:
        """No token: the stream is noisy throughout."""
        return torch.zeros_like(known)

    def beside(self, known: Bool[Tensor, "B S"], clean: Float[Tensor, "B S C"]) -> Float[Tensor, "B S X"]:
        """The known tokens, zeros elsewhere, and the mask."""
        mask = known.unsqueeze(-1)
        return torch.cat((torch.where(mask, clean, 0.0), mask.expand(-1, -1, self.masks).to(clean.dtype)), dim=-1)

    def width(self, channels: int) -> int:
        """A token's channels and the mask."""
        return channels + self.masks


@dataclass(frozen=True)
class Reference:
    """A voice as clean tokens behind the sound's own, at negative seconds (UniAVGen: 2 s, then 0.3 s of silence)."""

    seconds: float = 2.0
    """How much of the voice is read; a longer recording is cut."""
    silence: float = 0.3
    """Silence behind it, so that it does not run into the clip."""
    loud: float = LEVEL
    """Root mean square to which the loud parts of what is read are brought; 1 for the peak alone."""
    peak: float = PEAK
    """What its peaks may not go beyond then."""

    def tokens(self, grid: Grid) -> int:
        """How many tokens follow those of the stream; none where there is no sound."""
        return self._count(grid.step) if grid.frames else 0

    def wave(self, recording: Float[Tensor, "1 N"], sample_rate: int, hop: int) -> Float[Tensor, "1 M"]:
        """The samples that the tokens are made of: the beginning of a recording, levelled, and the silence behind it.

        What is not read has no say in how loud the rest becomes. Training and requests both come through here.
        """
        voice = level(recording[0, : round(self.seconds * sample_rate)], sample_rate, loud=self.loud, peak=self.peak)
        return F.pad(voice, (0, self._count(hop / sample_rate) * hop - len(voice)))[None]

    def _count(self, step: float) -> int:
        return max(1, round((self.seconds + self.silence) / step))


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a request brings, where it goes, which streams exist and who may read whom."""

    name: str
    needs: frozenset[str] = frozenset()
    """Fields of the request that it must bring besides the prompt: "image", "video", "audio", "clip", "retake",
    "voice"."""
    video: Known = nothing
    audio: Known = nothing
    place: Place = InStream()
    links: Links = Links()
    absent: frozenset[str] = frozenset()
    """Streams of zero tokens: "video" or "audio"."""
    reference: Reference | None = None
    """The request's voice as tokens behind the sound's; None where no voice is read, or an encoder reads it."""
    portrait: bool = False
    """The picture's first latent frame stands behind the others once more, as reference tokens (UniAVGen)."""

    def at(self, span: Span | None) -> Task:
        """The task itself: nothing in it depends on the seconds that a request names."""
        return self

    def drawn(self, seconds: float, generator: torch.Generator) -> Task:
        """The task itself: nothing in it is left to chance in training."""
        return self

    def layout(self, layout: Layout) -> Layout:
        """The layout with absent streams emptied, and with the tokens of the reference voice."""
        layout = layout._replace(**{name: getattr(layout, name)._replace(frames=0) for name in self.absent})
        if self.portrait and layout.video.frames:
            layout = layout._replace(video_refs=layout.video.rows * layout.video.columns)
        return layout if self.reference is None else layout._replace(audio_refs=self.reference.tokens(layout.audio))

    def known(self, layout: Layout) -> tuple[Bool[Tensor, " V"], Bool[Tensor, " A"]]:
        """Tokens known beforehand, wherever they are put."""
        layout = self.layout(layout)
        return tuple(  # pyright: ignore[reportReturnType]
            torch.cat((rule(grid).repeat_interleave(grid.rows * grid.columns), torch.ones(refs, dtype=torch.bool)))
            for rule, grid, refs in (
                (self.video, layout.video, layout.video_refs),
                (self.audio, layout.audio, layout.audio_refs),
            )
        )

    def given(self, layout: Layout) -> tuple[Bool[Tensor, " V"], Bool[Tensor, " A"]]:
        """Tokens that stand clean in the streams."""
        video, audio = self.known(layout)
        return self.place.given(video), audio


Draw = Callable[[float, torch.Generator], Span]
"""The span to be made anew in a training step, from the seconds of its clips."""


@recorded_as("UniformSpan")
@dataclass(frozen=True)
class Uniform:
    """A span of a clip whose start and length are drawn evenly, as shares of the clip; ``length`` 1 is to its end."""

    start: tuple[float, float]
    length: tuple[float, float]

    def __call__(self, seconds: float, generator: torch.Generator) -> Span:
        """A span in seconds; one that would leave the clip ends with it."""
        start, length = (
            low + (high - low) * float(torch.rand((), generator=generator)) for low, high in (self.start, self.length)
        )
        end = start + length
        return Span(start * seconds, end * seconds if end < 1 else math.inf)


@dataclass(frozen=True, kw_only=True)
class Spanned:
    """A task for every span of seconds that is to be made anew: a request names the span, in training chance does."""

    task: Task
    """What holds for all spans."""
    draw: Draw

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name

    @property
    def needs(self) -> frozenset[str]:
        """Fields of the request that it must bring."""
        return self.task.needs

    @property
    def absent(self) -> frozenset[str]:
        """Streams of zero tokens."""
        return self.task.absent

    def at(self, span: Span | None) -> Task:
        """The task for one span: what lies outside is known in both streams, by whole latent frames."""
        if span is None:
            raise ValueError(f"task {self.name} needs a span of seconds")
        known = Outside(*span)
        return replace(self.task, video=known, audio=known)

    def drawn(self, seconds: float, generator: torch.Generator) -> Task:
        """The task for a span that is left to chance."""
        return self.at(self.draw(seconds, generator))


Kind = Task | Spanned
"""What a recipe lists: a task, or one for every span."""
K = TypeVar("K", Task, Spanned)

T2AV = Task(name="t2av")
I2AV = Task(name="i2av", needs=frozenset({"image"}), video=first)
A2V = Task(name="a2v", needs=frozenset({"audio"}), audio=whole)
V2A = Task(name="v2a", needs=frozenset({"video"}), video=whole)
T2V = Task(name="t2v", absent=frozenset({"audio"}), links=CLOSED)
T2A = Task(name="t2a", absent=frozenset({"video"}), links=CLOSED)
CONTINUE = Spanned(
    task=Task(name="continue", needs=frozenset({"clip"})), draw=Uniform(start=(0.2, 0.8), length=(1.0, 1.0))
)
"""Go on where a clip ends. In training a fifth to four fifths of a clip are given [inferred]."""
RETAKE = Spanned(
    task=Task(name="retake", needs=frozenset({"clip", "retake"})), draw=Uniform(start=(0.0, 0.8), length=(0.2, 0.6))
)
"""Make a span of a clip anew. In training a fifth to three fifths of a clip are missing [inferred]."""
NAMED: tuple[Kind, ...] = (T2AV, I2AV, A2V, V2A, T2V, T2A, CONTINUE, RETAKE)
"""The tasks that the command line has words for; a recipe may list others."""
VOICE = "+voice"
"""Behind the name of a task that needs a reference voice too."""


def continue_after(seconds: float) -> Task:
    """Go on where a clip of so many seconds ends."""
    return CONTINUE.at(Span(seconds, math.inf))


def retake(start: float, end: float) -> Task:
    """Make the span from ``start`` to ``end`` seconds anew."""
    return RETAKE.at(Span(start, end))


def placed(task: K, place: Place) -> K:
    """The same task with its known video tokens put elsewhere."""
    if isinstance(task, Spanned):
        return replace(task, task=replace(task.task, place=place))
    return replace(task, place=place)


def voiced(task: K, reference: Reference | None = None) -> K:
    """The same task for a request that brings a voice to speak with.

    With a ``reference`` the voice becomes tokens behind the sound's (UniAVGen). Without one an encoder in the
    recipe's ``voices`` reads it (NAVA's speaker vectors).
    """
    if isinstance(task, Spanned):
        return replace(task, task=voiced(task.task, reference))
    return replace(task, name=task.name + VOICE, needs=task.needs | {"voice"}, reference=reference)


def name_of(given: frozenset[str], absent: frozenset[str]) -> str:
    """What the task is called that needs exactly this of a request; "" where it has no name."""
    plain = given - {"voice"}
    names = [kind.name for kind in NAMED if (kind.needs, kind.absent) == (plain, absent)]
    return names[0] + (VOICE if plain != given else "") if names else ""


class Pair(NamedTuple):
    """One tensor per stream."""

    video: Tensor
    audio: Tensor


def compose(task: Task, layout: Layout, clean: Pair, noise: Pair, sigma: Pair, cond: dict[str, Tokens]) -> AVInput:
    """The input of a model: clean tokens where given, a point between data and noise elsewhere.

    ``clean`` and ``noise`` cover the whole layout (B S C); what a task leaves absent is cut off here. ``sigma``
    (B for each stream) becomes 0 for a stream in which nothing is generated. A portrait is taken from the first frame.
    """
    layout = task.layout(layout)
    if task.portrait:
        clean, noise = (pair._replace(video=with_portrait(pair.video, layout)) for pair in (clean, noise))
    video, audio = task.known(layout)
    return AVInput(
        video=_stream(video, layout.video, (clean.video, noise.video, sigma.video), layout, task.place),
        audio=_stream(audio, layout.audio, (clean.audio, noise.audio, sigma.audio), layout, InStream()),
        cond=cond,
        links=task.links,
    )


def with_portrait(tokens: Float[Tensor, "B S C"], layout: Layout) -> Float[Tensor, "B N C"]:
    """Tokens of the picture with those of its first latent frames behind them, as many as the layout has references."""
    return torch.cat((tokens[:, : layout.video.tokens], tokens[:, : layout.video_refs]), dim=1)


def _stream(
    known: Bool[Tensor, " S"],
    grid: Grid,
    tensors: tuple[Tensor, Tensor, Tensor],
    layout: Layout,
    place: Place,
) -> Stream:
    clean, noise, sigma = tensors
    clean, noise = clean[:, : len(known)], noise[:, : len(known)]
    if clean.shape != noise.shape or clean.shape[1] != len(known):
        raise ValueError(f"clean {tuple(clean.shape)} and noise {tuple(noise.shape)} must cover {len(known)} tokens")
    known = known.to(clean.device).expand(len(clean), -1)
    given = place.given(known)
    sigma = sigma * (~given).any(dim=1)
    pos = positions(grid, layout.clock, refs=len(known[0]) - grid.tokens).to(clean.device)
    return Stream(
        x=torch.where(given.unsqueeze(-1), clean, interpolate(clean, noise, sigma)),
        sigma=sigma,
        given=given,
        pos=pos.expand(len(clean), -1, -1),
        beside=place.beside(known, clean),
        grid=grid,
    )
