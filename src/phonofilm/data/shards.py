"""Shards of a cache: up to 64 clips in one file of tensors, their prompts beside it, and checksums of both.

``f00049-000012.safetensors`` holds the latents and regions of clips 768 to 831 of the bucket of 49 pixel frames, the
``.jsonl`` of the same name their prompts and the ``.sha256`` the checksums. A shard is there completely or not at all,
whatever happens to the process that writes it: the tensors come last.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from phonofilm.data.samples import Dataset, Sample, prompt_to_json, speakers_of
from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing, write_text
from phonofilm.files.checksums import check_sums, digest, write_sums
from phonofilm.files.safetensors_index import entries
from phonofilm.files.stored_json import entry, shown

SHARD = 64
"""Clips of a full shard."""
PORTION = 4
"""Clips that are drawn and encoded together."""
NAME = re.compile(r"f([0-9]{5})-([0-9]{6})\.safetensors")
LINES, SUMS = ".jsonl", ".sha256"
LINE = {
    "scene": str,
    "sound": str,
    "speech": tuple[tuple[str, str], ...],
    "negative": str,
    "seed": int,
    "stage": str,
}
"""What a line of prompts holds."""


def shard_path(folder: Path, num_frames: int, number: int) -> Path:
    """Where a shard stands."""
    return folder / f"f{num_frames:05d}-{number:06d}.safetensors"


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder; files of other names are none."""
    return sorted(path for path in folder.glob("f*.safetensors") if NAME.fullmatch(path.name))


def length_of(path: Path) -> int:
    """Pixel frames of the clips of a shard; ``UserError`` for a name that no shard has."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise UserError(f"{path} has not the name of a shard, which is such as f00049-000012.safetensors")
    return int(match[1])


def pack(samples: Sequence[Sample]) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """A shard's tensors, latents in half precision, and the lines of its prompts."""
    tensors = {
        "video": torch.stack([sample.video for sample in samples]).half(),
        "audio": torch.stack([sample.audio for sample in samples]).half(),
    }
    for name in samples[0].regions:
        tensors[f"region.{name}"] = torch.stack([sample.regions[name] for sample in samples]).half()
    if any(sample.voices for sample in samples):
        tensors["voice"] = _vectors(samples).half()
    if samples[0].reference is not None:
        heard = [sample.reference for sample in samples]
        tensors["reference"] = torch.stack(heard).half()  # pyright: ignore[reportArgumentType]
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} of clips {samples[0].seed} ... has values that half precision cannot hold")
    lines = [prompt_to_json(sample.prompt) | {"seed": sample.seed, "stage": sample.stage} for sample in samples]
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, lines


def _vectors(samples: Sequence[Sample]) -> Float[Tensor, "n speakers E"]:
    """The speaker vectors of some clips, in the order in which their prompts name the speakers; zeros for none."""
    known = [dict(sample.voices) for sample in samples]
    channels = next(len(vector) for some in known for vector in some.values())
    speakers = [speakers_of(sample.prompt) for sample in samples]
    vectors = torch.zeros(len(samples), max(map(len, speakers)), channels)
    for row, (some, names) in enumerate(zip(known, speakers)):
        for place, name in enumerate(names):
            if name in some:
                vectors[row, place] = some[name]
    return vectors


def write_shard(source: Dataset, folder: Path, num_frames: int, number: int) -> int:
    """Make the clips of one shard and write it; returns how many there are. The tensors' file comes last."""
    total = source.buckets[num_frames]
    indices = range(number * SHARD, min((number + 1) * SHARD, total))
    samples = [s for k in range(0, len(indices), PORTION) for s in source.read(num_frames, indices[k : k + PORTION])]
    tensors, lines = pack(samples)
    path = shard_path(folder, num_frames, number)
    with replacing(path) as part:
        part.write_bytes(save(tensors))
        write_text(path.with_suffix(LINES), "".join(json.dumps(line) + "\n" for line in lines))
        beside = path.with_suffix(LINES)
        write_sums(path.with_suffix(SUMS), {path.name: digest(part), beside.name: digest(beside)})
    return len(samples)


def missing_shards(folder: Path, num_frames: int, clips: int, part: tuple[int, int] = (0, 1)) -> list[int]:
    """Numbers of the shards that are still to be written; a damaged one, which is said, or a short one is among them.

    ``part`` (i, n) takes every n-th shard from i, for several machines that write one cache.
    """
    index, count = part
    if not 0 <= index < count:
        raise UserError(f"part {index}/{count}: the first number counts from 0 and is below the second")
    found = []
    for number in range(index, -(-clips // SHARD), count):
        path = shard_path(folder, num_frames, number)
        try:
            if not path.exists() or clips_of(path) < min(SHARD, clips - number * SHARD):
                found.append(number)
            else:
                check_shard(path, always=False)
        except UserError as error:
            print(f"{error}; its shard is made anew", file=sys.stderr)
            found.append(number)
    return found


def clips_of(path: Path) -> int:
    """How many clips a shard holds.

    Raises ``UserError`` that names the file where tensors and prompts are not of equally many clips, or of none.
    """
    stored, lines = entries(path), read_lines(path)
    counts = {"prompts": len(lines)} | {name: tensor.shape[0] if tensor.shape else 0 for name, tensor in stored.items()}
    if lacks := {"video", "audio"} - counts.keys():
        raise UserError(f"{path} is damaged: it lacks {', '.join(sorted(lacks))}")
    if len(set(counts.values())) > 1 or not lines:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(f"{path} is damaged: it does not hold equally many of everything ({told})")
    return len(lines)


def check_shard(path: Path, *, always: bool = True) -> None:
    """Raise ``UserError`` that names the file of a shard which is not what was written.

    ``always`` wants checksums to be there, which caches of phonofilm 0.1.0 do not have.
    """
    if always or path.with_suffix(SUMS).exists():
        check_sums(path.with_suffix(SUMS))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The prompts of a shard, as plain values; ``UserError`` that names the file and the line which is none."""
    file = path.with_suffix(LINES)
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error})") from error
    if lines.pop():
        raise UserError(f"{file} is damaged: its last line is not whole")
    return [_line(line, Path(f"{file}, line {number}")) for number, line in enumerate(lines, 1)]


def _line(line: str, place: Path) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{place} is {shown(content)}, wanted is an object in braces")
    return content | {name: entry(content, name, form, place) for name, form in LINE.items()}


def opened(path: Path, *, always: bool) -> tuple[Any, list[dict[str, Any]]]:
    """A shard's file, mapped, and its prompts, as they are now; checksums are compared once in a process."""
    return _opened(path, path.stat().st_mtime_ns, always=always)


@lru_cache(maxsize=256)
def _opened(path: Path, changed: int, *, always: bool) -> tuple[Any, list[dict[str, Any]]]:
    _checked(path, changed, always=always)
    return safe_open(path, framework="pt"), read_lines(path)


@cache
def _checked(path: Path, changed: int, *, always: bool) -> None:
    check_shard(path, always=always)
