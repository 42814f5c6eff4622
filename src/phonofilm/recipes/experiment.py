"""An Experiment: everything that makes a model, trains it and samples from it, as one value that a recipe returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from phonofilm.codecs.protocols import AudioCodec, VideoCodec
from phonofilm.diffusion.flow import Density
from phonofilm.diffusion.guidance import Finish, Guidance, Swap
from phonofilm.diffusion.sampling import Sampling
from phonofilm.diffusion.tasks import Kind, Reference, Task, name_of
from phonofilm.diffusion.tokens import Geometry, Patch, layout_of
from phonofilm.encoders.text import Encoder, FromFolder, Frozen
from phonofilm.encoders.trained_speaker import FOLDER, SCRIPT, TrainedSpeaker
from phonofilm.encoders.voice import SpeakerEncoder, SpeakerVectors, VoiceEncoder, Voices
from phonofilm.errors import UserError
from phonofilm.network.backbone import Backbone
from phonofilm.network.ports import StreamConfig
from phonofilm.recipes.wan_names import WeightNames
from phonofilm.types import CENTRE, NOT_RECORDED, Clock, Layout, Links, Loss, Prompt, Span, Tokens

if TYPE_CHECKING:
    from phonofilm.data.samples import Dataset


@runtime_checkable
class Architecture(Protocol):
    """Configuration of a network."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that its inputs must bring."""
        ...

    @property
    def video(self) -> StreamConfig:
        """Configuration of the video stream."""
        ...

    @property
    def audio(self) -> StreamConfig:
        """Configuration of the audio stream."""
        ...

    def build(self) -> Backbone:
        """The network with fresh weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Condition dropout: the swap that takes conditions away, and on what share of the training samples."""

    edit: Swap
    share: float


@dataclass(frozen=True, kw_only=True)
class LinkDropout:
    """Fraction of training steps on which only these links stay open, whatever the task.

    So that what a stream makes without the other is trained, which guidance moves away from. Drawn per step, not per
    sample: all ranks then run the same layers. Several are drawn independently of each other.
    """

    links: Links
    """Links that may stay open."""
    share: float

    def __post_init__(self) -> None:
        if self.links == Links():
            raise ValueError("a link dropout that leaves both links open has no effect")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """AdamW with linear warm-up and cosine decay; weights are averaged (EMA)."""

    lr: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup: int = 200
    final: float = 0.05
    """Learning rate at the end, as a share of ``lr``."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999


@dataclass(frozen=True, kw_only=True)
class MuonOptim(Optim):
    """Muon for the matrices inside the blocks, AdamW for all else (Jordan et al. 2024).

    Muon's steps are scaled to AdamW's usual size, so that rate and weight decay mean the same for both (Liu et al.
    2025, arXiv 2502.16982, section 2.2).
    """

    momentum: float = 0.95


@dataclass(frozen=True, kw_only=True)
class PartsOptim(Optim):
    """AdamW at the full rate for some parts of a network, and at a share of it for all others: for trained towers."""

    parts: tuple[str, ...]
    """Names of modules, as they stand in the paths of their weights."""
    elsewhere: float
    """Share of the rate for all other weights."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long and in what portions."""

    steps: int
    batch: int
    """Samples of one step over all processes and accumulation rounds."""
    accumulate: int = 1
    seed: int = 0
    checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, a third more time."""
    compile: bool = False
    arithmetic: str = "auto"
    """Of matrix products: "bfloat16", "float32", or "auto" for bfloat16 where the device has units for it. Weights,
    gradients and the optimiser's moments are float32 always."""
    parallel: str = "shard"
    """Over several processes: "shard" the weights (FSDP2), or "replicate" them (for small models and slow links)."""
    save_every: int = 500
    sample_every: int = 2000


def as_it_is(dataset: Dataset) -> Dataset:
    """Train on the clips of a dataset and nothing else."""
    return dataset


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A recipe's whole content. Numbers and functions only; building it costs nothing."""

    name: str
    model: Architecture
    video_codec: Callable[[], VideoCodec]
    """Builds the untrained codec; trained weights come with a checkpoint folder."""
    audio_codec: Callable[[], AudioCodec]
    encoders: dict[str, Encoder]
    """One per condition, and spares ("scene.negative") that only guidance and dropout read."""
    voices: dict[str, VoiceEncoder] = field(default_factory=dict)
    """Conditions that reference voices are read for (speaker vectors), with their spares."""
    speaker_encoder: SpeakerEncoder | None = None
    """Turns a reference voice into the vector that ``voices`` read and training data hold; None: no voices."""
    stages: dict[str, float] = field(default_factory=dict)
    """Stages of the puppets that ``prepare`` makes, with their shares; empty for those of the shipped model."""
    tasks: tuple[tuple[Kind, float], ...]
    """What it is trained for, with shares in training; generation takes the first one that fits a request."""
    data: Callable[[Dataset], Dataset] = as_it_is
    """What training makes of a dataset; ``data.stills.Stills`` adds stills."""
    density: Density
    losses: tuple[Loss, ...]
    dropout: tuple[Dropout, ...] = ()
    link_dropout: tuple[LinkDropout, ...] = ()
    guidance: tuple[Guidance, ...] = ()
    finish: Finish | None = None
    sampling: Sampling = Sampling()
    geometry: Geometry
    """Clips that it is trained on, and the default in generation."""
    patch: Patch = (2, 2)
    clock: Clock = CENTRE
    regions: tuple[str, ...] = ()
    """Regions that losses read; the data must bring them."""
    optim: Optim = Optim()
    train: Train
    names: WeightNames = field(default=WeightNames(), metadata=NOT_RECORDED)
    """What published weights of this network are called here; none where none fit."""

    def __post_init__(self) -> None:
        known = {*self.encoders, *self.voices}
        missing = [name for name in self.model.conditions if name not in known]
        if missing:
            raise ValueError(f"recipe {self.name!r} has no encoder for {', '.join(missing)}")
        spares = {pair for drop in self.dropout for pair in drop.edit.pairs}
        strange = sorted({name for pair in spares for name in pair} - known)
        if strange:
            raise ValueError(f"recipe {self.name!r} drops to conditions without an encoder: {', '.join(strange)}")
        problems = _problems(self)
        if problems:
            raise ValueError(f"recipe {self.name!r} lists what its network cannot do: {'; '.join(problems)}")

    def encode(
        self,
        prompts: Sequence[Prompt],
        device: str | torch.device = "cpu",
        *,
        voices: Sequence[SpeakerVectors] | None = None,
    ) -> dict[str, Tokens]:
        """Every condition and spare of a batch of prompts; ``voices`` are their speaker vectors, None for none."""
        made = {name: encoder(prompts) for name, encoder in self.encoders.items()}
        heard = [()] * len(prompts) if voices is None else voices
        made |= {name: encoder(prompts, heard) for name, encoder in self.voices.items()}
        return {name: Tokens(x=t.x.to(device), mask=t.mask.to(device)) for name, t in made.items()}

    def at(self, folder: Path) -> Experiment:
        """The same with the text and speaker encoders of a checkpoint folder, where it has some."""
        encoders = {name: e.at(folder) if isinstance(e, FromFolder) else e for name, e in self.encoders.items()}
        speaker = self.speaker_encoder
        if isinstance(speaker, FromFolder):
            speaker = speaker.at(folder)
        return replace(self, encoders=encoders, speaker_encoder=speaker)

    def trusting(self, folder: Path) -> Experiment:
        """The same, allowed to run the code of a checkpoint folder: a speaker encoder in TorchScript.

        Raises ``UserError`` where the folder holds none that this recipe would run.
        """
        speaker = self.speaker_encoder
        if not isinstance(speaker, TrainedSpeaker) or not (folder / FOLDER / SCRIPT).is_file():
            raise UserError(f"--trust {folder}: {self.name} runs no code from there; leave it out")
        return replace(self, speaker_encoder=replace(speaker, path=str(folder / FOLDER), trusted=True))

    def on(self, device: str, kept: str = "") -> Experiment:
        """The same with its frozen text encoders on a device, their features in a folder where one is named."""
        encoders = {name: e.on(device, kept) if isinstance(e, Frozen) else e for name, e in self.encoders.items()}
        return replace(self, encoders=encoders)

    def speaker_vectors(self, voices: Voices) -> SpeakerVectors:
        """The speaker vectors of reference voices; none where nothing reads them."""
        if self.speaker_encoder is None:
            return ()
        return tuple((who, self.speaker_encoder(audio)) for who, audio in voices)

    @property
    def reference(self) -> Reference | None:
        """How training reads a reference voice as tokens; None where no task with a share does."""
        return next(iter(_references(self)), None)

    def layout(self, geometry: Geometry, video: VideoCodec, audio: AudioCodec) -> Layout:
        """Where the tokens of a clip stand."""
        return layout_of(geometry, video, audio, self.patch, self.clock)

    def task_for(
        self, given: frozenset[str], *, absent: frozenset[str] = frozenset(), span: Span | None = None
    ) -> Task:
        """The trained task that needs exactly what a request brings and leaves out what it does not want.

        ``span`` is what continuing and retaking make anew. Raises ``UserError`` with what there is otherwise.
        """
        for kind, _ in self.tasks:
            if (kind.needs, kind.absent) == (given, absent):
                return kind.at(span)
        name, brings = name_of(given, absent), _brings(given, absent)
        wanted = f"was not trained for {name} ({brings})" if name else f"has no task {brings}"
        can = ", ".join(f"{kind.name} ({_brings(kind.needs, kind.absent)})" for kind, _ in self.tasks)
        raise UserError(f"{self.name} {wanted}; it can make {can}")


def _brings(needs: frozenset[str], absent: frozenset[str]) -> str:
    source = f"from {' and '.join(sorted(needs))}" if needs else "from a prompt alone"
    return f"{source}, without {' and '.join(sorted(absent))}" if absent else source


def _references(experiment: Experiment) -> set[Reference]:
    """The reference tokens of all tasks with a share."""
    found = {kind.at(Span(0.0, 0.0)).reference for kind, share in experiment.tasks if share}
    return {reference for reference in found if reference is not None}


def _problems(experiment: Experiment) -> list[str]:
    """Which of its tasks a recipe cannot do, and why."""
    stream, found = experiment.model.video, []
    if experiment.speaker_encoder is not None and not experiment.voices:
        found.append("it has a speaker encoder and no condition in voices that reads it")
    if len(_references(experiment)) > 1:
        found.append("it trains reference tokens of several lengths, and clips hold those of one")
    for kind, _ in experiment.tasks:
        task = kind.at(Span(0.0, 0.0))
        width = task.place.width(stream.channels)
        if width != stream.beside:
            found.append(f"{kind.name} lays {width} channels beside a video token, the network takes {stream.beside}")
        if "voice" in task.needs and task.reference is None and experiment.speaker_encoder is None:
            found.append(f"{kind.name} needs a voice, which neither reference tokens nor a speaker encoder would read")
        if "audio" in task.absent and task.reference is not None:
            found.append(f"{kind.name} has reference tokens of a voice but no sound")
    return found
