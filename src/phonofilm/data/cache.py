"""A cache of latents on disk: what training reads when clips were encoded beforehand.

A cache is a folder with ``meta.json`` and shards (``data/shards.py``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from phonofilm.data.samples import Codes, Sample, prompt_from_json, speakers_of
from phonofilm.data.shards import clips_of, length_of, opened, read_lines, shard_paths
from phonofilm.diffusion.tasks import Reference
from phonofilm.diffusion.tokens import Geometry
from phonofilm.errors import UserError
from phonofilm.files.atomic import write_text
from phonofilm.files.checksums import check_seal, sealed
from phonofilm.files.safetensors_index import entries
from phonofilm.files.stored_json import entry, read_json

Numbers = TypeVar("Numbers", Geometry, Codes, Reference)
FORMAT, UNCHECKED = 2, 1
"""Of caches; those of phonofilm 0.1.0 have no checksums."""
META = "meta.json"
PATIENCE = 1.0
"""Seconds in which a shard that is being replaced is whole again."""
LARGEST = 1e7
"""No number of pixels, pixel frames, channels or samples in a second that a cache is made of is larger."""


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

    format: int = FORMAT

    def to_json(self) -> dict:
        """Plain values; without voices those of a cache that was made before there were any."""
        content = json.loads(json.dumps(asdict(self)))
        return {name: part for name, part in content.items() if part or name not in ("speaker", "reference")}

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """The meta of a folder; ``UserError`` where it holds no cache, a damaged one or one of a newer format."""
        path = folder / META
        if not path.is_file():
            raise UserError(f"no cache in {folder}: make one with phonofilm prepare")
        content = read_json(path)
        if content.get("format") not in (FORMAT, UNCHECKED):
            raise UserError(
                f"{folder} has format {content.get('format')!r}, this phonofilm reads {UNCHECKED} and {FORMAT}"
            )
        if content["format"] == FORMAT:
            check_seal(content, path)
        # Caches that do not say how loud references are were made before they were levelled.
        heard = {"loud": 1.0} | entry(content, "reference", dict, path) if "reference" in content else None
        return cls(
            geometry=_numbers(Geometry, entry(content, "geometry", dict, path), path),
            codes=_numbers(Codes, entry(content, "codes", dict, path), path),
            codec=entry(content, "codec", str, path),
            recipe=entry(content, "recipe", str, path),
            regions=entry(content, "regions", tuple[str, ...], path),
            source=entry(content, "source", dict, path),
            speaker=entry({"speaker": ""} | content, "speaker", str, path),
            reference=None if heard is None else _numbers(Reference, heard, path),
            format=content["format"],
        )

    def write(self, folder: Path) -> None:
        """Write it, or make sure that the folder holds the same kind already; the length may differ."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / META).exists():
            write_text(folder / META, json.dumps(sealed(self.to_json()), indent=1) + "\n")
            return
        mine, there = self.to_json(), Meta.read(folder).to_json()
        for content in (mine, there):
            del content["geometry"]["num_frames"], content["recipe"], content["format"]
        differing = [name for name in mine | there if mine.get(name) != there.get(name)]
        if differing:
            raise UserError(
                f"{folder} holds clips with another {', '.join(differing)} "
                f"({there.get(differing[0], 'none')}, now {mine.get(differing[0], 'none')}): choose another folder"
            )


def _numbers(form: type[Numbers], content: Mapping[str, Any], path: Path) -> Numbers:
    """A record of numbers out of a file; ``UserError`` that names one which is missing, strange or out of range."""
    hints = {
        name: hint for name, hint in get_type_hints(form).items() if name in {f.name for f in dataclasses.fields(form)}
    }
    if strange := content.keys() - hints.keys():
        raise UserError(f"{path} has an unknown number {sorted(strange)[0]!r}; known are {', '.join(hints)}")
    needed = {f.name for f in dataclasses.fields(form) if f.default is dataclasses.MISSING} | content.keys()
    found = {name: entry(content, name, hints[name], path) for name in hints if name in needed}
    for name, value in found.items():
        low = 0 if form is Reference else 1e-3
        if not low <= value <= LARGEST:
            raise UserError(f"{path}: {name} is {value}; accepted is from {low:g} to {LARGEST:g}")
    return form(**found)


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
        paths = shard_paths(folder) if names is None else [folder / name for name in names]
        gone = [path.name for path in paths if not path.exists()]
        if gone:
            raise UserError(f"{folder} has lost {len(gone)} shards, the first is {gone[0]}: prepare them again")
        shards: dict[int, list[tuple[Path, int]]] = {}
        for path in paths:
            shards.setdefault(length_of(path), []).append((path, _fitting_clips_of(path, meta)))
        if not shards:
            raise UserError(f"{folder} holds no clip yet: wait for the first shard of phonofilm prepare")
        return cls(folder=folder, meta=meta, shards={frames: tuple(some) for frames, some in sorted(shards.items())})

    @property
    def source(self) -> dict[str, Any]:
        """What decides the clips, apart from how many and how long they are."""
        return {**self.meta.source, "codec": self.meta.codec}

    @property
    def codes(self) -> Codes:
        """Strides, rates and channels of the codecs that made the latents."""
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
        try:
            return Cache.open(self.folder)
        except UserError:  # perhaps a shard is being replaced by a longer one: its files are renamed one by one
            time.sleep(PATIENCE)
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
        tensors, lines = opened(path, always=self.meta.format == FORMAT)
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


def _fitting_clips_of(path: Path, meta: Meta) -> int:
    """Clips of a shard; ``UserError`` that names it where its latents are not what the cache says of them."""
    count, stored, codes = clips_of(path), entries(path), meta.codes
    layout = codes.layout(dataclasses.replace(meta.geometry, num_frames=length_of(path)), (1, 1))
    cells = (layout.video.frames, layout.video.rows, layout.video.columns)
    wanted = {
        "video": (count, codes.video_channels, *cells),
        "audio": (count, codes.audio_channels, layout.audio.frames),
    }
    wanted |= {f"region.{name}": (count, 1, *cells) for name in meta.regions}
    for name, shape in wanted.items():
        if name not in stored or stored[name].shape != shape:
            found = stored[name].shape if name in stored else "nothing"
            raise UserError(f"{path} is damaged or of another cache: {name} is {found}, {META} wants {shape}")
    return count


def codec_hash(folder: str | Path) -> str:
    """SHA-256 of the files that turn clips into latents, the first 16 digits."""
    digest = hashlib.sha256()
    for part in ("vae", "audio_vae"):
        for path in sorted((Path(folder) / part).glob("*.safetensors")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
