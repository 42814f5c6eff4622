"""A cache of latents on disk: what training reads when clips were encoded beforehand.

A cache is a folder with ``meta.json`` and shards of up to 64 clips: ``f00049-000012.safetensors`` holds the latents
and regions of clips 768 to 831 of the bucket of 49 pixel frames, ``f00049-000012.jsonl`` their prompts. A shard is
there completely or not at all, whatever happens to the process that writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from phonofilm.data.samples import Codes, Dataset, Sample, prompt_from_json, prompt_to_json, speakers_of
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing, write_text

FORMAT = 1
SHARD = 64
"""Clips of a full shard."""
PORTION = 4
"""Clips that are drawn and encoded together."""
META = "meta.json"


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a cache holds; shards of different kinds never share a folder."""

    geometry: Geometry
    codes: Codes
    codec: str
    """Hash of the codecs' weights."""
    recipe: str
    regions: tuple[str, ...]
    source: dict[str, Any]
    """Where the clips came from: split, seed, stages."""
    speaker: str = ""
    """Name of the encoder of the speaker vectors; "" where clips have none."""
    reference: Reference | None = None
    """How long the latents of a reference voice are; None where clips have none."""

    def to_json(self) -> dict:
        """Plain values; without voices those of a cache that was made before there were any."""
        content = {"format": FORMAT} | json.loads(json.dumps(asdict(self)))
        return {name: part for name, part in content.items() if part or name not in ("speaker", "reference")}

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """The meta of a folder; ``UserError`` where it holds no cache or one of a newer format."""
        try:
            content = json.loads((folder / META).read_text())
        except FileNotFoundError as error:
            raise UserError(f"no cache in {folder}: make one with phonofilm prepare") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{folder / META} is not JSON: {error}") from error
        if content.get("format") != FORMAT:
            raise UserError(f"{folder} has format {content.get('format')!r}, this phonofilm reads {FORMAT}")
        return cls(
            geometry=Geometry(**content["geometry"]),
            codes=Codes(**content["codes"]),
            codec=content["codec"],
            recipe=content["recipe"],
            regions=tuple(content["regions"]),
            source=content["source"],
            speaker=content.get("speaker", ""),
            # Caches that do not say how loud references are were made before they were levelled.
            reference=Reference(**({"loud": 1.0} | content["reference"])) if "reference" in content else None,
        )

    def write(self, folder: Path) -> None:
        """Write it, or make sure that the folder holds the same kind already; the length may differ."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / META).exists():
            write_text(folder / META, json.dumps(self.to_json(), indent=1) + "\n")
            return
        mine, there = self.to_json(), Meta.read(folder).to_json()
        for content in (mine, there):
            del content["geometry"]["num_frames"], content["recipe"]
        differing = [name for name in mine | there if mine.get(name) != there.get(name)]
        if differing:
            raise UserError(
                f"{folder} holds clips with another {', '.join(differing)} "
                f"({there.get(differing[0], 'none')}, now {mine.get(differing[0], 'none')}): choose another folder"
            )


def shard_path(folder: Path, num_frames: int, number: int) -> Path:
    """Where a shard stands."""
    return folder / f"f{num_frames:05d}-{number:06d}.safetensors"


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
    write_text(path.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
    with replacing(path) as part:
        part.write_bytes(save(tensors))
    return len(samples)


def missing_shards(folder: Path, num_frames: int, clips: int, part: tuple[int, int] = (0, 1)) -> list[int]:
    """Numbers of the shards that are still to be written; a shard shorter than wanted is written anew.

    ``part`` (i, n) takes every n-th shard from i, for several machines that write one cache.
    """
    index, count = part
    if not 0 <= index < count:
        raise UserError(f"part {index}/{count}: the first number counts from 0 and is below the second")
    found = []
    for number in range(index, -(-clips // SHARD), count):
        path = shard_path(folder, num_frames, number)
        if not path.exists() or len(read_lines(path)) < min(SHARD, clips - number * SHARD):
            found.append(number)
    return found


def read_lines(path: Path) -> list[dict]:
    """The prompts of a shard, as plain values."""
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


@lru_cache(maxsize=256)
def _opened(path: Path) -> tuple[Any, list[dict]]:
    """A shard's file, mapped, and its prompts."""
    return safe_open(path, framework="pt"), read_lines(path)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Samples from a folder of shards."""

    folder: Path
    meta: Meta
    shards: Mapping[int, tuple[tuple[Path, int], ...]] = field(repr=False)
    """Length in pixel frames to shards and the number of clips in each."""

    @classmethod
    def open(cls, folder: str | Path, names: Sequence[str] | None = None) -> Cache:
        """A folder as it is now, or as it was with the shards ``names``: what a resumed run had seen."""
        folder = Path(folder)
        meta = Meta.read(folder)
        paths = sorted(folder.glob("f*.safetensors")) if names is None else [folder / name for name in names]
        gone = [path.name for path in paths if not path.exists()]
        if gone:
            raise UserError(f"{folder} has lost {len(gone)} shards, the first is {gone[0]}: prepare them again")
        shards: dict[int, list[tuple[Path, int]]] = {}
        for path in paths:
            shards.setdefault(int(path.name[1:6]), []).append((path, len(read_lines(path))))
        if not shards:
            raise UserError(f"{folder} holds no clip yet: wait for the first shard of phonofilm prepare")
        return cls(folder=folder, meta=meta, shards={frames: tuple(some) for frames, some in sorted(shards.items())})

    @property
    def codes(self) -> Codes:
        """Numbers of the codecs that made the latents."""
        return self.meta.codes

    @property
    def geometry(self) -> Geometry:
        """Size, rate and (first) length of the clips."""
        return self.meta.geometry

    @property
    def speaker(self) -> str:
        """Name of the speaker encoder behind the clips' voices; "" where they have none."""
        return self.meta.speaker

    @property
    def reference(self) -> Reference | None:
        """How long the clips' latents of a reference voice are; None where they have none."""
        return self.meta.reference

    @property
    def buckets(self) -> dict[int, int]:
        """Length in pixel frames to number of clips."""
        return {frames: sum(count for _, count in some) for frames, some in self.shards.items()}

    @property
    def names(self) -> list[str]:
        """Files of its shards: what a checkpoint remembers."""
        return [path.name for some in self.shards.values() for path, _ in some]

    def read(self, num_frames: int, indices: Sequence[int]) -> list[Sample]:
        """Clips of one bucket, in float32."""
        return [self._sample(*self._place(num_frames, index)) for index in indices]

    def refreshed(self) -> Cache:
        """With the shards that have been written since."""
        return Cache.open(self.folder)

    def prompts(self) -> Iterator[tuple[int, list[dict]]]:
        """Shard by shard the length in pixel frames, and each clip's prompt, seed and stage as plain values."""
        for num_frames, some in self.shards.items():
            for path, _ in some:
                yield num_frames, read_lines(path)

    def _place(self, num_frames: int, index: int) -> tuple[Path, int]:
        for path, count in self.shards[num_frames]:
            if index < count:
                return path, index
            index -= count
        raise IndexError(f"bucket {num_frames} has no clip {index + self.buckets[num_frames]}")

    def _sample(self, path: Path, row: int) -> Sample:
        tensors, lines = _opened(path)
        values = {name: tensors.get_slice(name)[row].float() for name in tensors.keys()}  # noqa: SIM118
        prompt = prompt_from_json(lines[row])
        vectors = zip(speakers_of(prompt), values.get("voice", ()))
        return Sample(
            video=values["video"],
            audio=values["audio"],
            regions={name.removeprefix("region."): v for name, v in values.items() if name.startswith("region.")},
            prompt=prompt,
            seed=lines[row]["seed"],
            stage=lines[row]["stage"],
            voices=tuple((who, vector) for who, vector in vectors if vector.any()),
            reference=values.get("reference"),
        )


def codec_hash(folder: str | Path) -> str:
    """SHA-256 of the files that turn clips into latents, the first 16 digits."""
    digest = hashlib.sha256()
    for part in ("vae", "audio_vae"):
        for path in sorted((Path(folder) / part).glob("*.safetensors")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
