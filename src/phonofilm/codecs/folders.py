"""One part of a checkpoint folder: config.json beside one safetensors file, loaded strictly."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries, read_tensors
from phonofilm.files.stored_json import read_json, shown, typed

WEIGHTS = "diffusion_pytorch_model.safetensors"
"""diffusers' name of a network's weights."""
MODEL = "model.safetensors"
"""transformers' name of them."""
HIGHEST = 1_000_000
"""No number of a codec, such as a sample rate, is higher."""
SPARE = 4
"""How many times the parameters that are stored a network may make while it is built: some make one from two."""
N = TypeVar("N", bound=nn.Module)


def save_part(network: nn.Module, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write ``config.json`` and the weights of a diffusers network.

    With ``dtype`` parameters are stored in that type; buffers (statistics, filterbanks) stay in float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.save_config(folder)  # pyright: ignore[reportCallIssue]
    parameters = {name for name, _ in network.named_parameters()}
    tensors = {
        name: (tensor.to(dtype) if dtype and name in parameters else tensor).detach().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def load_part(folder: Path, classes: Collection[type[nn.Module]]) -> nn.Module:
    """Build the network that ``config.json`` describes, one of ``classes``, and load its weights in float32.

    Raises ``UserError`` if the folder is not there, names another class, or has missing or surplus weights.
    """
    known = {cls.__name__: cls for cls in classes}
    config, name = read_config(folder), class_of(folder)
    if name not in known:
        raise UserError(f"{folder}/config.json names the class {name!r}; accepted here: {', '.join(known)}")
    check_kinds(config, known[name], folder / "config.json")
    network = built(lambda: known[name].from_config(config), folder, WEIGHTS)  # pyright: ignore[reportAttributeAccessIssue]
    load_file_strictly(network, folder / WEIGHTS)
    return network.float().eval().requires_grad_(False)


def check_kinds(config: Mapping[str, Any], cls: type[nn.Module], path: Path) -> None:
    """Raise ``UserError`` that names a value of another kind than the default that the network's class has for it."""
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        form = type(parameter.default)
        if name not in config or form not in (bool, int, float, str, tuple, list):
            continue
        if isinstance(config[name], list) and re.search(r"tuple|list", str(parameter.annotation), re.IGNORECASE):
            continue  # one value for all stages by default, or a list of one for each
        if form in (tuple, list):
            if not isinstance(config[name], list):
                raise UserError(f"{path}: {name} is {shown(config[name])}, wanted is a list")
        else:
            typed(config[name], form, name, path)


def built(make: Callable[[], N], folder: Path, weights: str) -> N:
    """The network of a folder's config.json, as ``make`` builds it.

    Raises ``UserError`` where it cannot be built, or would have more parameters than the file of weights holds: before
    their memory is used, and before a depth of a billion layers takes for ever.
    """
    stored = sum(math.prod(entry.shape) for entry in entries(folder / weights).values())
    with faults_named(folder / "config.json"), _at_most(SPARE * stored, folder / weights):
        return make()


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Whatever a library says of a damaged file or folder, as a ``UserError`` that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{path} cannot be used ({type(error).__name__}: {reason}); fetch it again") from error


@contextmanager
def _at_most(parameters: int, path: Path) -> Iterator[None]:
    made = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += parameter.numel() if parameter is not None else 0
        if made > parameters:
            raise UserError(
                f"{path.parent}/config.json describes a larger network than {path.name} holds the weights of"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def read_config(folder: Path, weights: str = WEIGHTS) -> dict[str, object]:
    """The content of a folder's config.json; ``UserError`` with the path where there is none, or no weights."""
    path = folder / "config.json"
    if not path.is_file() or not (folder / weights).is_file():
        raise UserError(f"no codec in {folder}: it needs config.json and {weights}")
    config = read_json(path)
    for name, value in config.items():
        for number in _numbers(value):
            if not abs(number) <= HIGHEST:
                raise UserError(f"{path}: {name} has the number {number:g}, accepted is at most {HIGHEST}")
    return config


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def class_of(folder: Path) -> str:
    """The class that a folder's config.json names, in diffusers' way or in transformers'; "" where it names none."""
    weights = MODEL if (folder / MODEL).is_file() else WEIGHTS
    config = read_config(folder, weights)
    names = config.get("architectures")
    return str(config.get("_class_name") or (names[0] if isinstance(names, list) and names else ""))


def load_file_strictly(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network.

    Raises ``UserError`` that names the tensor which is truncated, missing, surplus, misshapen or not finite.
    """
    load_strictly(network, read_tensors(path), where=str(path))


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load tensors into a network; ``UserError`` names one that is missing, surplus, misshapen or not finite."""
    check_fit(network.state_dict(), {name: tuple(tensor.shape) for name, tensor in tensors.items()}, where=where)
    _refuse({"not finite": [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]}, where)
    network.load_state_dict(tensors)


def check_fit(own: Mapping[str, Tensor], found: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Raise ``UserError`` that names a tensor which a network has and a file has not, or the other way about."""
    shared = own.keys() & found.keys()
    problems = {
        "missing": own.keys() - found.keys(),
        "surplus": found.keys() - own.keys(),
        "misshapen": {name for name in shared if own[name].shape != found[name]},
    }
    _refuse(problems, where)


def _refuse(problems: Mapping[str, Iterable[str]], where: str) -> None:
    for problem, names in problems.items():
        if ordered := sorted(names):
            raise UserError(f"{where}: {len(ordered)} {problem} weights, the first is {ordered[0]}")
