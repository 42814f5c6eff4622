"""One part of a checkpoint folder: diffusers' config.json beside one safetensors file, loaded strictly."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS = "diffusion_pytorch_model.safetensors"


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

    Raises ValueError if the folder is not there, names another class, or has missing or surplus weights.
    """
    known = {cls.__name__: cls for cls in classes}
    config = read_config(folder)
    name = str(config.get("_class_name", ""))
    if name not in known:
        raise ValueError(f"{folder}/config.json names the class {name!r}; accepted here: {', '.join(known)}")
    cls = known[name]
    network = cls.from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    load_strictly(network, load_file(folder / WEIGHTS), where=str(folder / WEIGHTS))
    return network.float().eval().requires_grad_(False)


def read_config(folder: Path) -> dict[str, object]:
    """The content of a folder's config.json; ValueError with the path where there is none."""
    path = folder / "config.json"
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise ValueError(f"no codec in {folder}: it needs config.json and {WEIGHTS}")
    return json.loads(path.read_text())


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load tensors into a network; a missing, surplus or misshapen one is a ValueError that names it."""
    own = network.state_dict()
    missing, surplus = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = sorted(n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape)
    for problem, names in (("missing", missing), ("surplus", surplus), ("misshapen", wrong)):
        if names:
            raise ValueError(f"{where}: {len(names)} {problem} weights, the first is {names[0]}")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
