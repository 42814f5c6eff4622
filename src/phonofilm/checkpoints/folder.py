"""Checkpoint folders: a network beside its codecs, laid out like a diffusers repository, and how they load.

``model_index.json``, ``transformer/``, ``vae/``, ``audio_vae/``, ``vocoder/`` and ``experiment.json``: the record of
the recipe (``recipes.record``), what the model was trained on, its figures and the library's version. Only safetensors
are read, and strictly: a missing or surplus tensor is an error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch
from jaxtyping import Float, Int8
from safetensors.torch import save_file
from torch import Tensor

from phonofilm.checkpoints.format1 import format1_numbers
from phonofilm.codecs import loading as codecs
from phonofilm.codecs import protocols
from phonofilm.codecs.folders import check_fit
from phonofilm.encoders import characters, features, lyrics, trained_speaker
from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing, write_text
from phonofilm.files.checksums import SUMS, check_sums, digest, write_sums
from phonofilm.files.plain import check_name
from phonofilm.files.safetensors_index import entries, read_tensors, shards
from phonofilm.files.stored_json import entry, read_json, shown, typed
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_recipe
from phonofilm.recipes.record import difference, name_of, record, without
from phonofilm.version import __version__

FORMAT, NUMBERS_ONLY = 2, 1
"""Of ``experiment.json``; that of phonofilm 0.1.0 has the network's numbers alone, without the names of classes."""
UNREAD = (
    "name",
    *("video_codec", "audio_codec"),  # a folder brings its own
    *("stages", "data", "density", "losses", "dropout", "link_dropout", "regions", "optim", "train"),
)
"""Fields of a recipe that generation does not read: a folder whose record differs in them loads all the same."""
RECORD = "experiment.json"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
NEEDED = ("vae", "vocoder")
"""Parts without which no clip can be made."""
BESIDE = (
    *codecs.PARTS,
    features.NETWORK,
    features.TOKENIZER,
    features.SOUND,
    trained_speaker.FOLDER,
    characters.LIST,
    lyrics.FILE,
)
"""What a folder may hold beside the network, in the order in which it is copied."""
MOST_FRAMES, MOST_LETTERS = 1_000_000, 1000
"""No clip that anybody trains on has more pixel frames, and nobody says more letters in a second."""
SCALE = ".scale"
"""Behind the name of a tensor: the scales of its rows, where it is stored in 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a model was trained on, for those who use it: requests outside are refused or warned about."""

    num_frames: tuple[int, ...] = ()
    """Lengths of the clips in pixel frames."""
    letters_per_second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Letters of speech per second of clip: 1st, 50th and 99th percentile."""
    words: tuple[str, ...] = ()
    """Spoken words, in alphabetical order."""
    scene_words: tuple[str, ...] = ()
    """Words of scenes and sounds."""
    notes: dict[str, str | int | float] = field(default_factory=dict)
    """Steps, samples, minutes, hardware, data."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Figures on held-out prompts."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded folder: all that generation needs."""

    experiment: Experiment
    backbone: Backbone
    video_codec: protocols.VideoCodec
    audio_codec: protocols.AudioCodec
    training: Training
    hash: str
    """SHA-256 of the network's file or files, the first 16 digits."""


def save_checkpoint(
    folder: str | Path, experiment: Experiment, weights: Mapping[str, Tensor], training: Training, *, bits: int = 32
) -> None:
    """Write the network's part of a folder and ``experiment.json``; codecs write themselves into the same folder.

    ``weights`` is the network's state (EMA). ``bits`` is 32, 16 (bfloat16) or 8 (matrices in 8 bits with one scale a
    row, the rest in bfloat16).
    """
    folder = Path(folder)
    stored = pack(weights, bits)
    with replacing(folder / WEIGHTS) as part:
        save_file(stored, part, metadata={"format": "pt"})
    describe_checkpoint(folder, experiment, training)


def describe_checkpoint(folder: Path, experiment: Experiment, training: Training) -> None:
    """Write what stands beside the weights: ``experiment.json``, ``model_index.json`` and the network's numbers."""
    _write_json(
        folder / "transformer/config.json",
        {"_class_name": name_of(type(experiment.model))} | without(record(experiment.model), ["is"]),
    )
    _write_json(folder / "model_index.json", _index(experiment))
    content = {
        "format": FORMAT,
        "version": __version__,
        "recipe": experiment.name,
        "experiment": record(experiment),
        "training": dataclasses.asdict(training),
    }
    _write_json(folder / RECORD, content)


def write_checksums(folder: Path) -> None:
    """List the files of a folder, when the last of them is written, so that damage to any of them is seen."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    write_sums(folder / SUMS, {path.relative_to(folder).as_posix(): digest(path) for path in files})


def check_checksums(folder: Path) -> None:
    """Raise ``UserError`` that names a file which is not what was written, where a folder has checksums."""
    if (folder / SUMS).is_file():
        try:
            check_sums(folder / SUMS)
        except UserError as error:
            raise UserError(f"{error}; fetch it again, or remove {SUMS} if it was changed on purpose") from error


def copy_beside(folders: Sequence[Path], out: Path) -> None:
    """Copy codecs, text encoders and what else stands beside a network, each from the first folder that has it.

    Raises ``UserError`` where no folder has a codec that every clip needs.
    """
    found = {part: next((f / part for f in folders if (f / part).exists()), None) for part in BESIDE}
    missing = [part for part in NEEDED if found[part] is None]
    if missing:
        raise UserError(f"no {' and no '.join(missing)} in {', '.join(map(str, folders))}: name the codecs' folders")
    out.mkdir(parents=True, exist_ok=True)
    for part, source in found.items():
        if source is not None and source.is_dir():
            shutil.copytree(source, out / part, dirs_exist_ok=True)
        elif source is not None:
            shutil.copyfile(source, out / part)


def load_checkpoint(folder: str | Path, *, recipe: str | None = None, device: str = "cpu") -> Checkpoint:
    """Load a folder for generation, in float32.

    The recipe is the one that ``experiment.json`` names, which must be inside phonofilm; ``recipe`` names another,
    which may be foreign code. Raises ``UserError`` for a folder that is none, an unknown format, or a record that
    differs from the recipe's in what generation reads.
    """
    folder = Path(folder)
    check_checksums(folder)
    content = read_experiment(folder)
    experiment = find_recipe(recipe) if recipe else find_recipe(content["recipe"], foreign=False)
    check_recipe(folder, content, experiment)
    video, audio = load_codecs(folder, experiment)
    backbone = experiment.model.build()
    load_shards(backbone, shards(folder / WEIGHTS))
    return Checkpoint(
        experiment=experiment.at(folder).on(device),
        backbone=backbone.eval().requires_grad_(False).to(device),
        video_codec=video.to(device),
        audio_codec=audio.to(device),
        training=_training(content["training"], folder / RECORD),
        hash=hash_of(shards(folder / WEIGHTS)),
    )


def load_codecs(folder: Path, experiment: Experiment) -> tuple[codecs.StoredVideo, codecs.StoredAudio]:
    """The codecs of a folder; ``UserError`` where the recipe's network wants tokens of other widths."""
    video, audio = codecs.load_video_codec(folder), codecs.load_audio_codec(folder)
    model, cells = experiment.model, experiment.patch[0] * experiment.patch[1]
    for part, made, wanted in (
        ("vae", video.channels, model.video.channels // cells),
        ("vocoder", audio.channels, model.audio.channels),
    ):
        if made != wanted:
            raise UserError(f"{folder / part}: its latents have {made} channels, {experiment.name} wants {wanted}")
    return video, audio


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """The network's weights of a folder in float32; ``UserError`` for a folder that is none."""
    check_name(Path(folder))
    check_checksums(Path(folder))
    read_experiment(Path(folder))
    return {n: t for path in shards(Path(folder) / WEIGHTS) for n, t in unpack(read_tensors(path)).items()}


def hash_of(paths: Sequence[Path]) -> str:
    """SHA-256 of files one after the other, the first 16 digits."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                found.update(part)
    return found.hexdigest()[:16]


def read_experiment(folder: Path) -> dict:
    """The content of ``experiment.json``; ``UserError`` where there is none, or that names what is wrong."""
    path = folder / RECORD
    if not path.is_file() or not shards(folder / WEIGHTS):
        raise UserError(f"no model in {folder}: it needs {RECORD} and {WEIGHTS}")
    content = read_json(path)
    if entry(content, "format", int, path) not in (FORMAT, NUMBERS_ONLY):
        raise UserError(
            f"{path} has format {content['format']}, this phonofilm reads {NUMBERS_ONLY} and {FORMAT}: update phonofilm"
        )
    for name in ("recipe", "version"):
        entry(content, name, str, path)
    entry(content, "experiment" if content["format"] == FORMAT else "model", dict, path)
    _training(entry(content, "training", dict, path), path)
    return content


def check_recipe(folder: Path, content: Mapping[str, Any], experiment: Experiment) -> None:
    """Raise ``UserError`` that names the first thing in which a folder's record differs from a recipe.

    A folder of format 1 is held against the network's numbers alone: it says nothing more.
    """
    if content["format"] == NUMBERS_ONLY:
        found = difference(content["model"], numbers(experiment), "model")
    else:
        found = difference(without(content["experiment"], UNREAD), without(record(experiment), UNREAD))
    if found:
        raise UserError(
            f"{folder} was made with another recipe than {experiment.name!r} is: {found}; name its own with --recipe"
        )


@torch.no_grad()
def load_shards(backbone: torch.nn.Module, paths: Sequence[Path]) -> None:
    """Load weights file by file, as strictly: beside the network one file is in memory."""
    own = backbone.state_dict()
    found = {name: entry.shape for path in paths for name, entry in entries(path).items()}
    found = {name: shape for name, shape in found.items() if not _is_scale(name, found)}
    check_fit(own, found, where=str(paths[0]))
    for path in paths:
        for name, tensor in unpack(read_tensors(path)).items():
            own[name].copy_(tensor)


def _is_scale(name: str, names: Container[str]) -> bool:
    return name.endswith(SCALE) and name.removesuffix(SCALE) in names


def pack(weights: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Weights as they are stored: see ``save_checkpoint``."""
    if bits not in (8, 16, 32):
        raise ValueError(f"weights can be stored in 8, 16 or 32 bits, not {bits}")
    stored = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().float().contiguous()
        if bits == 8 and tensor.ndim >= 2 and tensor.numel():
            stored[name], stored[name + SCALE] = quantise(tensor)
        else:
            stored[name] = tensor if bits == 32 else tensor.bfloat16()
    return stored


def unpack(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored weights in float32."""
    names = [name for name in stored if not _is_scale(name, stored)]
    return {
        name: stored[name].float() * _rows(stored[name + SCALE], stored[name])
        if name + SCALE in stored
        else stored[name].float()
        for name in names
    }


def quantise(tensor: Float[Tensor, "R *N"]) -> tuple[Int8[Tensor, "R *N"], Float[Tensor, " R"]]:
    """8-bit values and one scale a row: the largest value of a row becomes 127."""
    scale = (tensor.flatten(1).abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (tensor / _rows(scale, tensor)).round().to(torch.int8), scale


def _rows(scale: Tensor, like: Tensor) -> Tensor:
    return scale.float().view(-1, *(1 for _ in like.shape[1:]))


def numbers(experiment: Experiment) -> dict[str, Any]:
    """A network's numbers as format 1 has them: without the names of their classes."""
    return json.loads(json.dumps(format1_numbers(experiment.model), default=str))


def _index(experiment: Experiment) -> dict[str, str | list[str]]:
    return {
        "_class_name": "phonofilm",
        "transformer": ["phonofilm", name_of(type(experiment.model))],
        "vae": ["diffusers", "see vae/config.json"],
        "audio_vae": ["diffusers", "see audio_vae/config.json"],
        "vocoder": ["diffusers", "see vocoder/config.json"],
    }


def _training(content: Mapping[str, Any], path: Path) -> Training:
    forms = get_type_hints(Training)
    if strange := sorted(content.keys() - forms.keys()):
        raise UserError(f"{path} has unknown entries under training: {', '.join(strange)}")
    training = Training(**{n: typed(value, forms[n], f"training.{n}", path) for n, value in content.items()})
    for name, values, low, high in (
        ("num_frames", training.num_frames, 1, MOST_FRAMES),
        ("letters_per_second", training.letters_per_second, 0, MOST_LETTERS),
    ):
        if any(not low <= value <= high for value in values):
            raise UserError(f"{path}: training.{name} is {shown(values)}; accepted is from {low} to {high}")
    return training


def _write_json(path: Path, content: Mapping) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
