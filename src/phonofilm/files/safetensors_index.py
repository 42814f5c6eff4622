"""Safetensors files by their headers: what is in them, and whether all of it is, without reading a tensor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.stored_json import entry, read_json

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1}
"""Stored types that are read, and their bytes."""
INDEX = ".index.json"
"""Behind the name of a file that is stored in shards."""
LONGEST_HEADER, MOST_AXES = 100_000_000, 16
"""Bytes and axes; safetensors' own limit, and more axes than any tensor has."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a file."""

    path: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes that the tensor takes in its file."""
        return prod(self.shape) * BYTES[self.dtype]


def entries(path: Path) -> dict[str, Stored]:
    """Every tensor of a safetensors file, in the file's order.

    Raises ``UserError`` that names the tensor for a truncated file, a type that is not read, a wrong length or place.
    """
    rows, data = _header(path)
    found, reached = {}, 0
    for name, ((start, end), shape, dtype) in sorted(rows.items(), key=lambda row: row[1][0]):
        if dtype not in BYTES:
            raise UserError(f"{path}: {name!r} is stored as {dtype}; accepted are {', '.join(BYTES)}")
        if end > data:
            raise UserError(f"{path} is truncated: {name!r} is not whole; fetch the file again")
        found[name] = Stored(path, shape, dtype)
        if end - start != found[name].size:
            raise UserError(f"{path}: {name!r} has {end - start} bytes, its shape {shape} wants {found[name].size}")
        if start != reached:
            raise UserError(f"{path} is damaged: {name!r} begins at {start}, what is before it ends at {reached}")
        reached = end
    if reached != data:
        raise UserError(f"{path} is damaged: its tensors end at {reached}, the file holds {data} bytes of them")
    return found


def _header(path: Path) -> tuple[dict[str, tuple[tuple[int, int], tuple[int, ...], str]], int]:
    """Place, shape and type of each tensor as the header says, and how many bytes of tensors follow it."""
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if total < 8 or length > min(total - 8, LONGEST_HEADER):
                raise UserError(f"{path} is no safetensors file or is cut off before its first tensor; fetch it again")
            text = file.read(length)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    try:
        header = json.loads(text)
        rows = {name: _row(row) for name, row in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no safetensors file: its header cannot be read; fetch it again") from error
    return rows, total - 8 - length


def _row(row: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, ...], str]:
    """Place, shape and type of a tensor; ValueError where they are none."""
    (start, end), shape, dtype = row["data_offsets"], tuple(row["shape"]), row["dtype"]
    numbers = (start, end, *shape)
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers) or len(shape) > MOST_AXES:
        raise ValueError("no whole numbers")
    if not isinstance(dtype, str) or start > end:
        raise ValueError("no type, or no place")
    return (start, end), shape, dtype


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; ``UserError`` where it is not whole."""
    entries(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def shards(path: Path) -> list[Path]:
    """The file, or those that its index names where it is stored in shards; empty where there is neither.

    Raises ``UserError`` that names a tensor for a shard that is not there.
    """
    if path.is_file():
        return [path]
    index = path.with_name(path.name + INDEX)
    if not index.is_file():
        return []
    places = entry(read_json(index), "weight_map", dict[str, str], index)
    for name, place in places.items():
        if Path(place).name != place or "\0" in place or not (path.parent / place).is_file():
            raise UserError(f"{path.parent} has no {place!r}, which holds {name!r}")
    held = {place: entries(path.parent / place) for place in dict.fromkeys(places.values())}
    for name, place in places.items():
        if name not in held[place]:
            raise UserError(f"{path.parent / place} lacks {name!r}, which {index.name} says it holds")
    return [path.parent / place for place in held]
