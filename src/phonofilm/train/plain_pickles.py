"""Torch's distributed checkpoints, which hold pickles, read without letting a pickle run anything.

A pickle is a program. Those of a checkpoint are looked through first: what names anything but the few classes that
torch writes into them is refused before any of it runs.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import ReadItem

from phonofilm.errors import UserError

ALLOWED = {
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
            *("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
        )
    ),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath")),
}
"""Classes that the description of a checkpoint is made of, none of which does anything but hold values."""


def load_plainly(state: dict[str, Any], path: Path) -> None:
    """Read a checkpoint into the tensors and numbers of ``state``; ``UserError`` where a pickle would run code."""
    for description in sorted(path.glob("*.metadata")):
        _check(description)
    try:
        dcp.load(state, checkpoint_id=path, planner=PlainPlanner())
    except CheckpointException as error:  # torch's own around what went wrong on each process
        reason = next(iter(error.failures.values()))[0]
        if isinstance(reason, pickle.UnpicklingError):
            raise UserError(f"{path} holds a value that would run code; a run of this library has none") from error
        raise


def _check(path: Path) -> None:
    with path.open("rb") as file:
        try:
            PlainUnpickler(file).load()
        except pickle.UnpicklingError as error:
            raise UserError(f"{path}: {error}; a checkpoint of this library holds nothing of the kind") from error


class PlainUnpickler(pickle.Unpickler):
    """Reads what names only the classes that are ``ALLOWED``, and torch's types of numbers."""

    def find_class(self, module: str, name: str) -> Any:
        """A class by its name; ``UnpicklingError`` for any that is not allowed."""
        found = None
        if (module, name) in ALLOWED or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            found = super().find_class(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return found


class PlainPlanner(DefaultLoadPlanner):
    """Reads plain values that are no tensors (steps, rates) only where they are plain."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Put one value into its place; ``UnpicklingError`` for one that would run code."""
        torch.load(value, weights_only=True)
        value.seek(0)
        super().load_bytes(read_item, value)
