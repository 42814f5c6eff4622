"""Safetensors files by their headers: what is in them, and whether all of it is, without reading a tensor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from phonofilm.errors import UserError

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1}
"""Stored types that are read, and their bytes."""
INDEX = ".index.json"
"""Behind the name of a file that is stored in shards."""


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

    Raises ``UserError`` that names the tensor for a truncated file, a type that is not read or a wrong length.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or length > total - 8:
            raise UserError(f"{path} is no safetensors file or is cut off before its first tensor; fetch it again")
        try:
            header = json.loads(file.read(length))
            rows = {n: (e["data_offsets"], tuple(e["shape"]), e["dtype"]) for n, e in header.items() if n[0] != "_"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no safetensors file: its header cannot be read; fetch it again") from error
    found = {}
    for name, ((start, end), shape, dtype) in sorted(rows.items(), key=lambda row: row[1][0]):
        if dtype not in BYTES:
            raise UserError(f"{path}: {name!r} is stored as {dtype}; accepted are {', '.join(BYTES)}")
        if end > total - 8 - length:
            raise UserError(f"{path} is truncated: {name!r} is not whole; fetch the file again")
        found[name] = Stored(path, shape, dtype)
        if end - start != found[name].size:
            raise UserError(f"{path}: {name!r} has {end - start} bytes, its shape {shape} wants {found[name].size}")
    return found


def shards(path: Path) -> list[Path]:
    """The file, or those that its index names where it is stored in shards; empty where there is neither.

    Raises ``UserError`` that names a tensor for a shard that is not there.
    """
    if path.is_file():
        return [path]
    index = path.with_name(path.name + INDEX)
    if not index.is_file():
        return []
    try:
        places = json.loads(index.read_text())["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index} cannot be read as an index of shards; fetch it again") from error
    for name, place in places.items():
        if Path(place).name != place or not (path.parent / place).is_file():
            raise UserError(f"{path.parent} has no {place}, which holds {name!r}")
    held = {place: entries(path.parent / place) for place in dict.fromkeys(places.values())}
    for name, place in places.items():
        if name not in held[place]:
            raise UserError(f"{path.parent / place} lacks {name!r}, which {index.name} says it holds")
    return [path.parent / place for place in held]
