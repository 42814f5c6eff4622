"""One part of a checkpoint folder: config.json beside one safetensors file, loaded strictly."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries

WEIGHTS = "diffusion_pytorch_model.safetensors"
"""diffusers' name of a network's weights."""
MODEL = "model.safetensors"
"""transformers' name of them."""


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
    network = known[name].from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    load_file_strictly(network, folder / WEIGHTS)
    return network.float().eval().requires_grad_(False)


def read_config(folder: Path, weights: str = WEIGHTS) -> dict[str, object]:
    """The content of a folder's config.json; ``UserError`` with the path where there is none, or no weights."""
    path = folder / "config.json"
    if not path.is_file() or not (folder / weights).is_file():
        raise UserError(f"no codec in {folder}: it needs config.json and {weights}")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error


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
    entries(path)
    load_strictly(network, load_file(path), where=str(path))


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load tensors into a network; ``UserError`` names one that is missing, surplus, misshapen or not finite."""
    own = network.state_dict()
    missing, surplus = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = sorted(n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape)
    odd = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    for problem, names in (("missing", missing), ("surplus", surplus), ("misshapen", wrong), ("not finite", odd)):
        if names:
            raise UserError(f"{where}: {len(names)} {problem} weights, the first is {names[0]}")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
