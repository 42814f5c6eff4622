"""Published weights to a checkpoint folder, tensor by tensor: names by the recipe's rules, all checked beforehand.

A recipe says in ``names`` how they change: ``release``, from the published checkpoint to ours, complete; and where the
network can start from Wan's weights ``wan``, from the names of Wan's own code, with ``fresh``, the patterns of our
names that Wan has not. Rules are (regex, replacement) pairs, applied one after the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from phonofilm.checkpoints.folder import WEIGHTS, Training, copy_beside, describe_checkpoint, load_codecs
from phonofilm.codecs.licences import check_licences
from phonofilm.encoders.features import NETWORK
from phonofilm.errors import UserError
from phonofilm.files.atomic import appearing
from phonofilm.files.plain import check_name
from phonofilm.files.safetensors_index import INDEX, Stored, entries, shards
from phonofilm.recipes.experiment import Experiment
from phonofilm.recipes.lookup import find_recipe
from phonofilm.recipes.record import record
from phonofilm.recipes.wan_names import DIFFUSERS, Rules

SHARD_NUMBER = re.compile(r"-\d+-of-(\d+)(?=\.safetensors$)")
"""In the name of one file of several."""
WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DataParallel or DistributedDataParallel"}
"""What puts a prefix before the names of a network's tensors; after it, what stood there."""
SHARD = 4 * 1024**3
"""Bytes of tensors in a file that is written, and so in memory."""


@dataclass(frozen=True)
class Codecs:
    """Trained codecs, text and speaker encoders that go into the folder."""

    folders: tuple[Path, ...]
    """Each part is taken from the first of them that has it."""
    accepted: frozenset[str] = frozenset()
    """Licences of restricted weights that the user accepts."""

    def check(self, experiment: Experiment) -> None:
        """``UserError`` for a restricted licence that is not accepted."""
        check_licences((experiment.video_codec, experiment.audio_codec), self.accepted)

    def copy(self, experiment: Experiment, folder: Path) -> None:
        """Put them into a folder, and load the codecs from there once.

        Raises ``UserError`` for a part that is not there, for weights that are missing, surplus, misshapen, truncated
        or not finite, and for a codec that is not the recipe's.
        """
        copy_beside(self.folders, folder)
        for file in sorted((folder / NETWORK).glob("*.safetensors")):
            entries(file)
        load_codecs(folder, experiment)


@dataclass(frozen=True)
class Part:
    """One tensor of the network: where it comes from, and its shape here."""

    name: str
    source: str
    stored: Stored
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What will be written."""

    experiment: Experiment
    parts: tuple[Part, ...]
    fresh: tuple[str, ...]
    """Names that the source has not, which keep the network's own first values."""


def import_weights(
    source: str | Path,
    recipe: str,
    folder: str | Path,
    *,
    init: bool = False,
    codecs: Codecs | None = None,
    shard: int = SHARD,
) -> Plan:
    """Write a published checkpoint as a folder of this library; nothing is written where anything is wrong.

    ``init`` takes Wan's weights, in diffusers' names or its own, for those parts of the network that stem from it; the
    others get fresh values, for which the whole network is made in memory. Otherwise about ``shard`` bytes are.
    Raises ``UserError`` that names the tensor which is missing, surplus, misshapen, truncated or not finite.
    """
    source, folder = Path(source), Path(folder)
    for path in (source, folder):
        check_name(path)
    if folder.exists():
        raise UserError(f"{folder} is there already; name a folder that is not")
    plan = planned(source, recipe, init=init)
    if codecs:
        codecs.check(plan.experiment)
    record(plan.experiment)  # refuses what no folder can describe, before gigabytes are written
    with appearing(folder) as unfinished:
        (unfinished / WEIGHTS).parent.mkdir()
        if codecs:
            codecs.copy(plan.experiment, unfinished)
        write(plan, unfinished, shard)
        notes: dict[str, str | int | float] = {"imported": source.name, "tensors": len(plan.parts)}
        if plan.fresh:
            notes["fresh"] = len(plan.fresh)
        describe_checkpoint(unfinished, plan.experiment, Training(notes=notes))
    return plan


def planned(source: Path, recipe: str, *, init: bool = False) -> Plan:
    """Every tensor of the network with its source; ``UserError`` where the two do not fit each other."""
    experiment = find_recipe(recipe)
    names = experiment.names
    rules = names.wan if init else names.release
    if not rules:
        raise UserError(f"recipe {recipe!r} has no table of names for {'an initialisation' if init else 'an import'}")
    found = {name: entry for path in files(source) for name, entry in entries(path).items()}
    found = {name: entry for name, entry in found.items() if not any(re.search(rule, name) for rule in names.unused)}
    if init and any(name.startswith("condition_embedder.") for name in found):
        rules = DIFFUSERS + rules
    _check_unwrapped(source, found)
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in experiment.model.build().state_dict().items()}
    parts = tuple(_parts(source, found, rules, own, cells(experiment)))
    here = {part.name for part in parts}
    fresh = tuple(name for name in own if init and any(re.search(rule, name) for rule in names.fresh))
    for problem, which in (
        ("missing", sorted(own.keys() - here - set(fresh))),
        ("both given and declared fresh", sorted(here & set(fresh))),
    ):
        if which:
            raise UserError(f"{source}: {len(which)} tensors of {recipe} {problem}, the first is {which[0]!r}")
    return Plan(experiment, parts, fresh)


def _check_unwrapped(source: Path, found: Iterable[str]) -> None:
    """``UserError`` where a wrapper's prefix stands in all names, which then are those of no network."""
    names = list(found)
    for prefix, wrapper in WRAPPERS.items():
        if names and all(prefix in name for name in names):
            raise UserError(
                f"{source}: {prefix!r}, which {wrapper} puts there, stands in the names of all {len(names)} tensors, "
                f"such as {names[0]!r}: save the weights of the network inside it, or take the prefix away"
            )


def _parts(
    source: Path, found: Mapping[str, Stored], rules: Rules, own: Mapping[str, tuple[int, ...]], cells: int
) -> Iterable[Part]:
    names = {name: renamed(name, rules) for name in found}
    surplus = sorted(name for name, ours in names.items() if ours not in own)
    if surplus:
        raise UserError(f"{source}: {len(surplus)} surplus tensors, the first is {surplus[0]!r}")
    taken: dict[str, str] = {}
    for name, entry in found.items():
        ours = names[name]
        if ours in taken:
            raise UserError(f"{source}: {name!r} and {taken[ours]!r} are both {ours!r} here")
        taken[ours] = name
        try:
            shape = tuple(changed(ours, torch.empty(entry.shape, device="meta"), cells).shape)
        except (RuntimeError, IndexError):
            shape = entry.shape
        if shape != own[ours]:
            raise UserError(f"{source}: {name!r} has the shape {list(entry.shape)}, {ours!r} wants {list(own[ours])}")
        yield Part(ours, name, entry, shape)


def files(source: Path) -> list[Path]:
    """The safetensors files of a checkpoint: the file itself, or those of a folder or its ``transformer`` folder.

    Raises ``UserError`` where a folder holds none, and where it holds more than one checkpoint.
    """
    if source.is_file():
        return [source]
    found = {folder: _checkpoints(folder) for folder in (source / "transformer", source)}
    several = [name for folder, some in found.items() for name in sorted(str(folder / name) for name in some)]
    if len(several) > 1:
        raise UserError(f"{source} holds {len(several)} checkpoints: name one of {', '.join(several)}")
    for some in found.values():
        for paths in some.values():
            return paths
    raise UserError(f"no weights in {source}: a .safetensors file is wanted, or a folder that holds some")


def _checkpoints(folder: Path) -> dict[str, list[Path]]:
    """The checkpoints of a folder, each by the name of its file or index, or by what its shards have in common."""
    found: dict[str, list[Path]] = {}
    for index in sorted(folder.glob(f"*.safetensors{INDEX}")):
        found[index.name] = shards(index.with_name(index.name.removesuffix(INDEX)))
    indexed = {path for paths in found.values() for path in paths}
    for path in sorted(folder.glob("*.safetensors")):
        if path not in indexed and not path.name.startswith("."):
            found.setdefault(SHARD_NUMBER.sub("-*-of-\\1", path.name), []).append(path)
    return found


def renamed(name: str, rules: Rules) -> str:
    """A name after all rules."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def cells(experiment: Experiment) -> int:
    """Latent cells of a token of the picture."""
    return experiment.patch[0] * experiment.patch[1]


def changed(name: str, tensor: Tensor, cells: int) -> Tensor:
    """A tensor of Wan's or ACE-Step's code in the shape and order that it has here; ``name`` is ours.

    Wan embeds patches by a convolution, where we have a linear layer; it keeps tables with an axis for the batch; and
    its last layer counts a patch's channels fastest, where ours counts its cells fastest, as the first layer does.
    ACE-Step has convolutions of one token where we have linear layers, and counts the rows of a latent fastest in its
    first layer and the channels in its last, where ours counts channels fastest in both.
    """
    if re.search(r"(^audio\.enter_x|\.audio\.mlp)\.(up|down)\.weight$", name) and tensor.shape[-1] == 1:
        return (tensor.transpose(1, 2) if tensor.ndim == 4 else tensor).flatten(1)
    if name.endswith("enter_x.weight"):
        return tensor.flatten(1)
    if name.endswith("modulation.table"):
        return tensor.flatten(0, -2)
    if re.search(r"^video\.leave_x\.(weight|bias)$", name):
        return tensor.unflatten(0, (cells, -1)).transpose(0, 1).flatten(0, 1)
    return tensor


def write(plan: Plan, folder: Path, shard: int) -> None:
    """Files of at most ``shard`` bytes and their index; one plain file where all fits into it."""
    own = fresh_values(plan.experiment) if plan.fresh else {}
    jobs: list[tuple[str, int, Callable[[], Tensor]]] = []
    for part in sorted(plan.parts, key=lambda part: str(part.stored.path)):
        jobs.append((part.name, part.stored.size, lambda part=part: read(part, cells(plan.experiment))))
    for name in plan.fresh:
        jobs.append((name, own[name].numel() * 4, lambda name=name: own[name].clone()))
    groups, filled = [[]], 0
    for job in jobs:
        if filled and filled + job[1] > shard:
            groups.append([])
            filled = 0
        groups[-1].append(job)
        filled += job[1]
    _write(groups, folder / WEIGHTS)


def fresh_values(experiment: Experiment) -> dict[str, Tensor]:
    """The network's first values, the same at every import."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return experiment.model.build().state_dict()


def _write(groups: list[list[tuple[str, int, Callable[[], Tensor]]]], path: Path) -> None:
    places, total = {}, sum(size for group in groups for _, size, _ in group)
    with tqdm(total=total, desc="import", unit="B", unit_scale=True, disable=None) as bar:
        for number, group in enumerate(groups, 1):
            name = path.name if len(groups) == 1 else f"{path.stem}-{number:05}-of-{len(groups):05}{path.suffix}"
            tensors = {}
            for ours, size, load in group:
                tensors[ours] = load()
                places[ours] = name
                bar.update(size)
            save_file(tensors, path.with_name(name), metadata={"format": "pt"})
    if len(groups) > 1:
        content = {"metadata": {"total_size": total}, "weight_map": places}
        path.with_name(path.name + INDEX).write_text(json.dumps(content, indent=1) + "\n")


def read(part: Part, cells: int) -> Tensor:
    """One tensor as it is here, in the type in which it is stored; ``UserError`` where it is not finite."""
    with safe_open(part.stored.path, framework="pt") as file:
        tensor = file.get_tensor(part.source)
    if not bool(tensor.isfinite().all()):
        raise UserError(f"{part.stored.path}: {part.source!r} has values that are not finite; fetch the file again")
    return changed(part.name, tensor, cells).contiguous()
