"""Puppets on disk: mp4 files beside a table of everything that is true about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm import tqdm

from phonofilm.errors import UserError
from phonofilm.files.atomic import replacing
from phonofilm.files.media import read_clip, write_clip
from phonofilm.files.plain import check_name
from phonofilm.puppets.performance import Performance, perform
from phonofilm.puppets.script import MIX, write_script
from phonofilm.puppets.stage import draw
from phonofilm.types import Clip
from phonofilm.version import __version__

SAMPLE_RATE = 16000
SHARD = 32
"""Clips between two writings of truth: what a killed run loses at most."""
TRUTH, PARTS, SETTINGS = "truth.parquet", "parts", "corpus.json"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What decides a corpus; clip i is the script of ``seed + i``, the same on any machine."""

    clips: int
    seed: int = 0
    split: str = "train"
    stages: Mapping[str, float] | None = None
    """Stages and their weights; None takes those that the shipped model was trained on."""
    size: int = 128
    """Pixels of the square picture's side."""
    num_frames: int = 49
    fps: float = 24.0

    def __post_init__(self) -> None:
        if self.clips < 1 or self.seed < 0:
            raise UserError(f"{self.clips} clips from seed {self.seed}: at least one clip and a seed from 0 are needed")
        if self.size < 32 or self.size % 2:
            raise UserError(f"pictures of {self.size} pixels: an even number from 32 is needed")

    @property
    def identity(self) -> dict[str, object]:
        """All but the number of clips: two corpora of one identity are one corpus, longer or shorter."""
        stages = dict(self.stages or MIX)
        named = {name: getattr(self, name) for name in ("seed", "split", "size", "num_frames", "fps")}
        return {**named, "stages": stages}


_SPAN = [("start", pa.float64()), ("end", pa.float64()), ("speaker", pa.int8())]
_CURVES = pa.list_(pa.list_(pa.float32()))
_LOOK = [(name, pa.string()) for name in ("person", "skin", "hair", "cut", "eyes", "clothing", "background")]
SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("file", pa.string()),
        ("seed", pa.int64()),
        ("split", pa.string()),
        ("stage", pa.string()),
        ("grammar", pa.string()),
        ("emotion", pa.string()),
        ("scene", pa.string()),
        ("sound", pa.string()),
        ("speech", pa.list_(pa.struct([("speaker", pa.string()), ("words", pa.string())]))),
        ("looks", pa.list_(pa.struct([*_LOOK, ("glasses", pa.bool_()), ("beard", pa.bool_())]))),
        ("scenery", pa.struct([(name, pa.string()) for name in ("background", "colour", "floor", "strength")])),
        ("voices", pa.list_(pa.string())),
        ("rates", pa.list_(pa.int16())),
        ("words", pa.list_(pa.struct([("text", pa.string()), *_SPAN]))),
        ("phonemes", pa.list_(pa.struct([("ipa", pa.string()), *_SPAN]))),
        ("turns", pa.list_(pa.struct(_SPAN))),
        ("events", pa.list_(pa.struct([("kind", pa.string()), ("seconds", pa.float64()), ("index", pa.int16())]))),
        ("num_frames", pa.int32()),
        ("fps", pa.float64()),
        ("size", pa.int32()),
        ("opening", _CURVES),
        ("mouth", _CURVES),
        ("ball", _CURVES),
    ]
)
"""One row of truth per clip. ``opening`` has a row per puppet and ``mouth`` (left, top, right, bottom of the lips in
pixels) and ``ball`` one per pixel frame; spans and events are in seconds of the clip."""


def file_name(index: int) -> str:
    """Where clip ``index`` of a corpus lies, relative to its folder."""
    return f"clips/{index:07d}.mp4"


def make(folder: Path | str, corpus: Corpus) -> int:
    """Write the clips of a corpus that ``folder`` lacks, and its truth table; returns how many were written.

    A broken run, however it ended, is repeated with the same arguments and goes on where it stopped; more clips may
    be asked for later. Raises ``UserError`` if the folder holds another corpus.
    """
    folder = Path(folder)
    check_name(folder)
    _claim(folder, corpus)
    there = {row["index"] for row in _rows(folder) if (folder / row["file"]).is_file()}
    missing = [index for index in range(corpus.clips) if index not in there]
    with tqdm(total=corpus.clips, initial=corpus.clips - len(missing), unit="clip", disable=None) as bar:
        for k in range(0, len(missing), SHARD):
            shard = missing[k : k + SHARD]
            rows = []
            for index in shard:
                rows.append(_write(folder, corpus, index))
                bar.update()
            _save(folder / PARTS / f"{shard[0]:07d}-{shard[-1]:07d}.parquet", rows)
    _merge(folder)
    return len(missing)


def read_truth(folder: Path | str) -> pa.Table:
    """The truth about every clip of a corpus, in the order of clips; the columns are ``SCHEMA``.

    Works while ``make`` still runs. Raises ``UserError`` if the folder holds no corpus.
    """
    rows = _rows(Path(folder))
    if not rows:
        raise UserError(f"{folder}: no puppets in it; make some with `phonofilm puppets make {folder} --clips 100`")
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _claim(folder: Path, corpus: Corpus) -> None:
    """Write down what the folder holds, or check that it holds the same."""
    path = folder / SETTINGS
    if not path.exists():
        with replacing(path) as part:
            part.write_text(json.dumps(corpus.identity, indent=1, sort_keys=True))
        return
    held = json.loads(path.read_text())
    strange = [name for name, value in corpus.identity.items() if held.get(name) != value]
    if strange:
        told = ", ".join(f"{name} {held.get(name)!r} and not {corpus.identity[name]!r}" for name in strange)
        raise UserError(f"{folder} holds puppets with {told}: choose another folder or the same settings")


def _write(folder: Path, corpus: Corpus, index: int) -> dict:
    """Perform, draw and write one clip; returns its truth.

    One at a time, because the last bits of a drawing depend on what it is drawn with, and the file should not.
    """
    shape = {"num_frames": corpus.num_frames, "fps": corpus.fps, "stages": corpus.stages or MIX}
    performance = perform(write_script(corpus.seed + index, split=corpus.split, **shape))
    drawing = draw([performance], size=corpus.size)
    clip = Clip(video=drawing.video[0], audio=performance.wave, fps=corpus.fps, sample_rate=SAMPLE_RATE)
    manifest = {"puppets": __version__, "seed": corpus.seed + index, "split": corpus.split}
    write_clip(folder / file_name(index), clip, manifest=manifest)
    own = {"index": index, "file": file_name(index), "split": corpus.split, "size": corpus.size}
    return own | truth(performance, drawing.mouth[0])


def truth(performance: Performance, mouth: Tensor) -> dict:
    """What is true about a clip, in the columns of ``SCHEMA`` that are the clip's own."""
    script = performance.script
    spoken = [p._asdict() | {"speaker": i} for i, own in enumerate(performance.phonemes) for p in own]
    turns = []
    for speaker, words in groupby(performance.words, key=lambda word: word.speaker):
        said = list(words)
        turns.append({"start": said[0].start, "end": said[-1].end, "speaker": speaker})
    return {
        "seed": script.seed,
        "stage": script.stage,
        "grammar": script.grammar,
        "emotion": script.emotion,
        "scene": script.prompt.scene,
        "sound": script.prompt.sound,
        "speech": [{"speaker": who, "words": words} for who, words in script.prompt.speech],
        "looks": [look._asdict() for look in script.looks],
        "scenery": script.scenery._asdict(),
        "voices": [line.voice for line in script.lines],
        "rates": [line.rate for line in script.lines],
        "words": [word._asdict() for word in performance.words],
        "phonemes": sorted(spoken, key=lambda phoneme: phoneme["start"]),
        "turns": turns,
        "events": [event._asdict() for event in script.events],
        "num_frames": script.num_frames,
        "fps": script.fps,
        "opening": _rounded(performance.opening, 4),
        "mouth": _rounded(mouth, 2),
        "ball": _rounded(performance.ball, 4) if script.ball else [],
    }


def _rounded(rows: Tensor, digits: int) -> list[list[float]]:
    """Rounded, so that the last bits of another machine's arithmetic do not show."""
    return [[round(value, digits) for value in row] for row in rows.tolist()]


def _rows(folder: Path) -> list[dict]:
    """Truth so far: the table, and what was not merged into it yet."""
    check_name(folder)
    files = [path for path in (folder / TRUTH, *sorted((folder / PARTS).glob("[0-9]*.parquet"))) if path.is_file()]
    rows = {row["index"]: row for path in files for row in _read(path)}
    return [rows[index] for index in sorted(rows)]


def _read(path: Path) -> list[dict]:
    try:
        return pq.read_table(path, schema=SCHEMA).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as truth about clips ({reason}); make the puppets anew") from error


def _save(path: Path, rows: list[dict]) -> None:
    with replacing(path) as part:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), part)


def _merge(folder: Path) -> None:
    """One table of all parts, which then go."""
    parts = sorted((folder / PARTS).glob("[0-9]*.parquet"))
    if parts:
        _save(folder / TRUTH, _rows(folder))
    for part in parts:
        part.unlink()


def contact_sheet(folder: Path | str, *, clips: int = 12, frames: int = 4, columns: int = 2) -> Image.Image:
    """A picture of the first ``clips`` clips of a corpus: a few pixel frames of each over what is said or shown."""
    folder = Path(folder)
    rows = read_truth(folder).slice(0, clips).to_pylist()
    strips = [strip(read_clip(folder / row["file"]).video, frames) for row in rows]
    captions = [_caption(row) for row in rows]
    return arrange(strips, captions, columns)


def _caption(row: dict) -> str:
    said = "   ".join(f"{turn['speaker']}: {turn['words']}".removeprefix(": ") for turn in row["speech"])
    return f"{row['stage']}  {said or row['scene']}"


def strip(video: UInt8[Tensor, "T 3 H W"], frames: int) -> Image.Image:
    """A few pixel frames, spread evenly over a clip, side by side."""
    picks = [round((k + 0.5) * len(video) / frames - 0.5) for k in range(frames)]
    return Image.fromarray(video[picks].permute(2, 0, 3, 1).flatten(1, 2).contiguous().numpy())


def arrange(pictures: Sequence[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Pictures in columns with a caption below each, cut to the picture's width."""
    if not pictures or columns < 1:
        raise UserError(f"{len(pictures)} pictures in {columns} columns make no sheet: at least one of each is needed")
    font, gap, line = ImageFont.load_default(), 6, 16
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in pictures)))
    rows = -(-len(pictures) // columns)
    cell = (width + gap, height + line + gap)
    sheet = Image.new("RGB", (columns * cell[0] + gap, rows * cell[1] + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (picture, caption) in enumerate(zip(pictures, captions)):
        x, y = gap + k % columns * cell[0], gap + k // columns * cell[1]
        sheet.paste(picture, (x, y))
        while caption and pen.textlength(caption, font=font) > width:
            caption = caption[:-1]
        pen.text((x, y + height + 1), caption, fill=(40, 40, 46), font=font)
    return sheet
