"""The records that cross boundaries: frozen, made of tensors and plain numbers, registered as pytrees.

Letters in shapes: B batch, S tokens of a stream, C channels of a token, L condition tokens, K channels of sound
or of a region, T pixel frames, N samples, D model width.

Two conventions hold everywhere. Noise: ``x = (1 - sigma) * data + sigma * noise`` and velocity is
``noise - data``, so sigma 1 is pure noise. Time: seconds are the only clock; pixel frame k is shown during
[k / fps, (k + 1) / fps).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar, dataclass_transform

import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import pad
from torch.utils import _pytree as pytree

T = TypeVar("T")
RECORDED_AS = "recorded_as"
"""In a field's metadata: its name in the record of a recipe (``recipes.record``), where that is not its own."""
NOT_RECORDED = {RECORDED_AS: ""}
"""Metadata of a field that says where something lies rather than what it is."""


def recorded_as(name: str) -> Callable[[T], T]:
    """Keep a class or function under a name in all records of recipes, whatever it is called in code.

    For what is renamed, whose old name stands in saved folders, and for two that have one name in two modules.
    """

    def keep(thing: T) -> T:
        setattr(thing, RECORDED_AS, name)
        return thing

    return keep


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass and a pytree, so that ``tree_map`` and FSDP2 look inside it."""
    cls = dataclass(frozen=True, kw_only=True)(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
    dynamic = [n for n in names if n not in getattr(cls, "_static", ())]
    static = [n for n in names if n not in dynamic]
    pytree.register_pytree_node(
        cls,
        lambda r: ([getattr(r, n) for n in dynamic], tuple(getattr(r, n) for n in static)),
        lambda values, context: cls(**dict(zip(dynamic, values)), **dict(zip(static, context))),
        serialized_type_name=f"phonofilm.{cls.__name__}",
    )
    return cls


class Grid(NamedTuple):
    """What the tokens of a stream cover, without references: ``frames * rows * columns`` tokens."""

    frames: int
    rows: int
    columns: int
    first: float
    """Seconds covered by frame 0 (a causal video codec packs one pixel frame into it)."""
    step: float
    """Seconds covered by each later frame."""

    @property
    def tokens(self) -> int:
        """Number of tokens that the grid covers."""
        return self.frames * self.rows * self.columns

    @property
    def seconds(self) -> float:
        """Seconds from the start of frame 0 to the end of the last frame."""
        return self.first + self.step * (self.frames - 1) if self.frames else 0.0


@dataclass(frozen=True)
class CentreClock:
    """Seconds of the middle of what a token covers, the same clock for picture and sound."""

    def seconds(self, grid: Grid, num_frames: int) -> Float[Tensor, " F"]:
        """Middle of each frame."""
        start = torch.cat((torch.zeros(1), grid.first + grid.step * torch.arange(max(num_frames - 1, 0))))
        length = torch.tensor([grid.first] + [grid.step] * max(num_frames - 1, 0))
        return (start + length / 2)[:num_frames]

    def before(self, grid: Grid, num_frames: int) -> Float[Tensor, " F"]:
        """The same for frames that stand before the clip: negative, a step apart."""
        return torch.arange(-num_frames, 0) * grid.step


@dataclass(frozen=True)
class IndexClock:
    """Frame index times a factor: what published weights were trained with (Wan 1; NAVA 0.24; Ovi 0.19676)."""

    factor: float = 1.0

    def seconds(self, grid: Grid, num_frames: int) -> Float[Tensor, " F"]:
        """Index of each frame, times the factor."""
        return torch.arange(num_frames, dtype=torch.float32) * self.factor

    def before(self, grid: Grid, num_frames: int) -> Float[Tensor, " F"]:
        """The same for frames that stand before the clip: negative."""
        return torch.arange(-num_frames, 0, dtype=torch.float32) * self.factor


Clock = CentreClock | IndexClock
CENTRE = CentreClock()


class Layout(NamedTuple):
    """The grids of both streams, how many reference tokens follow each, and the clock of their positions."""

    video: Grid
    audio: Grid
    video_refs: int = 0
    audio_refs: int = 0
    clock: Clock = CENTRE


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Pixels and samples that belong together.

    ``audio`` is in [-1, 1]; a clip without sound has zero samples, one without picture zero pixel frames.
    """

    video: UInt8[Tensor, "T 3 H W"]
    audio: Float[Tensor, "K N"]
    fps: float
    sample_rate: int
    times: Float[Tensor, " F"] | None = None
    """Seconds at which each pixel frame appears and, last, at which the last one ends; None where frame k appears at
    k / fps. Then fps is a rate at which all of them are seen."""

    @property
    def seconds(self) -> float:
        """Length of the picture, or of the sound where there is no picture."""
        if self.times is not None:
            return float(self.times[-1])
        return len(self.video) / self.fps if len(self.video) else self.audio.shape[-1] / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What to show, what to hear and who says what.

    ``speech`` is a tuple of (speaker, words); the speaker is "" where there is only one.
    """

    scene: str = ""
    sound: str = ""
    speech: tuple[tuple[str, str], ...] = ()
    negative: str = ""


class Span(NamedTuple):
    """From ``start`` to ``end`` seconds of a clip."""

    start: float
    end: float


class Audio(NamedTuple):
    """Samples in [-1, 1] and how many there are a second: ``Audio(*read_wave(path))``."""

    samples: Float[Tensor, "K N"]
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that ``generate`` needs to know about one clip; what is None or empty is not given.

    Pictures and sound may have any size and rate; they are fitted to the model's (docs/how-it-works/tasks.md).
    """

    prompt: Prompt
    seconds: float | None = None
    """Length of the clip; None takes that of ``video``, ``audio`` or a retaken ``clip``, else the model's default."""
    seed: int = 0
    image: UInt8[Tensor, "3 H W"] | None = None
    """A portrait to bring to life."""
    video: Clip | None = None
    """Pictures that sound is made for; a sound of its own is not read."""
    audio: Audio | None = None
    """Sound that pictures are made for."""
    clip: Clip | None = None
    """A clip to go on from or, with ``retake``, to make a part of anew."""
    retake: tuple[float, float] | None = None
    """Start and end, in seconds, of the part of ``clip`` that is made anew."""
    voice: tuple[tuple[str, Audio], ...] = ()
    """(speaker, how that voice sounds); the speaker may be "" where there is only one."""
    only: str = ""
    """"video" for a clip without sound, "audio" for sound without pictures, empty for both."""


@record
class Stream:
    """One modality as the network sees it."""

    _static: ClassVar = ("grid",)

    x: Float[Tensor, "B S C"]
    """Noisy where generated, clean where given; what the sampler moves."""
    sigma: Float[Tensor, " B"]
    """Noise level of the generated tokens: 1 noise, 0 data."""
    given: Bool[Tensor, "B S"]
    """Clean tokens: level 0, no loss, never moved by a sampler."""
    pos: Float[Tensor, "B S 3"]
    """Seconds, row, column; float32 for ever."""
    beside: Float[Tensor, "B S X"]
    """Conditioning channels concatenated to each token; only the Port reads them; X = 0 where there are none."""
    grid: Grid
    """What the tokens cover; reference tokens follow the grid's."""


@record
class Tokens:
    """One condition: text bytes, features, speaker vectors. Only tokens with a true mask count."""

    x: Shaped[Tensor, "B L *E"]
    mask: Bool[Tensor, "B L"]

    def padded(self, length: int) -> Tokens:
        """The same with so many tokens; what is added does not count."""
        missing = length - self.mask.shape[1]
        tail = (0, 0) * (self.x.ndim - 2)
        return Tokens(x=pad(self.x, (*tail, 0, missing)), mask=pad(self.mask, (0, missing)))


class Links(NamedTuple):
    """Who may read whom. ``a2v``: video reads audio; ``v2a``: audio reads video."""

    a2v: bool = True
    v2a: bool = True


CLOSED = Links(a2v=False, v2a=False)


@record
class AVInput:
    """What a model gets."""

    _static: ClassVar = ("links", "skip")

    video: Stream
    audio: Stream
    cond: dict[str, Tokens]
    """Conditions; the keys are declared by the architecture. May hold spares that only guidance reads."""
    links: Links = Links()
    skip: frozenset[int] = frozenset()
    """Indices of blocks to leave out."""


@record
class AVOutput:
    """What a model returns: the velocity (noise minus data) of every token."""

    video: Float[Tensor, "B V Cv"]
    audio: Float[Tensor, "B A Ca"]
    aux: dict[str, Tensor] = field(default_factory=dict)
    """By-products for losses, keyed per layer ("face.0"); absent where the exchange did not run."""


@record
class Batch:
    """Clean tokens for training, with what losses need to know."""

    video: Float[Tensor, "B V Cv"]
    audio: Float[Tensor, "B A Ca"]
    regions: dict[str, Float[Tensor, "B S K"]]
    """Per token shares of a region (mouth, face); they went through the same patchify as the latents."""


Model = Callable[[AVInput], AVOutput]
Loss = Callable[[AVInput, AVOutput, Batch, int], dict[str, Tensor]]
Sampler = Callable[[Model, AVInput, torch.Tensor], AVInput]
