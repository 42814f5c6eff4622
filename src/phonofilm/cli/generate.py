"""``phonofilm generate``: words, and perhaps given pictures or sound, to a clip; or a file of them to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from phonofilm.cli.arguments import Command, check_number
from phonofilm.cli.clip_options import KEYS, ClipOptions, check_apart, options_of, request_of
from phonofilm.errors import UserError, printable

if TYPE_CHECKING:
    from phonofilm.generation.jobs import ClipJob
    from phonofilm.generation.pipeline import Pipeline
    from phonofilm.types import Request

AT_ONCE = 32
"""Lines of a prompts file whose pictures and sound are in memory together."""
LONGEST_NAME = 200
"""Bytes of a clip's name; file systems take 255 with what is put around it."""


@dataclass(frozen=True, kw_only=True)
class Generate(ClipOptions, Command):
    """Make a clip with sound out of words, or of words and a portrait, pictures, sound or another clip.

    phonofilm generate --scene "a man with black hair, dark skin, green background" --say "bin blue at f two now"
    """

    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Sampling steps: more are slower and often better; the recipe's if not given."""
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """How closely to follow the words: 1 is no guidance; the recipe's if not given."""
    model: str = "pocket"
    """A shipped model's name, a checkpoint folder or a hub id."""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """A recipe, also package.module:function, instead of the one that the model's folder names."""
    device: str = "cpu"
    """Where to compute: "cpu", "cuda", "cuda:1", "mps"."""
    trust: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The model's folder once more, where it holds code (speaker.pt) that may run; loading runs none otherwise."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PATH")] = None
    """The mp4 to write (clip.mp4 if not given; a wav with --only audio); with --prompts the folder for them (clips
    if not given)."""
    json: bool = False
    """Print the manifest of each clip, one JSON object a line."""
    prompts: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """A file with one JSON object a line, its keys named like the flags above this one up to seed, and perhaps
    "name" for the file; clips that are there already are kept, so a broken run can be repeated."""

    def run(self) -> None:
        """Check everything that can be checked beforehand, load the model, write the clips."""
        check_number("steps", self.steps, low=1, high=1000)
        check_number("guidance", self.guidance, low=0, high=100)
        lines = self._lines()
        from phonofilm.generation.jobs import make
        from phonofilm.generation.pipeline import load

        pipeline = load(self.model, device=self.device, recipe=self.recipe, trust=self.trust)
        pipeline = pipeline.adjusted(steps=self.steps, guidance=self.guidance)
        todo = self._todo(pipeline, lines)
        with bar_over(len(todo)) as progress:
            for k in range(0, len(todo), AT_ONCE):
                jobs = [job or line.job(pipeline) for line, job in todo[k : k + AT_ONCE]]
                for job, manifest in make(pipeline, jobs, lambda done, k=k: progress(k + done)):
                    self._tell(manifest, job.out)

    def _todo(self, pipeline: Pipeline, lines: Sequence[Line]) -> list[tuple[Line, ClipJob | None]]:
        """The clips that are still to be made, those of one length and task beside each other.

        Every refusal comes here, before the first clip is made. Where there are many, what they bring is read again
        when they are made: only a few prompts' pictures and sound are ever in memory.
        """
        from phonofilm.generation.jobs import finished

        kinds: dict[object, list[tuple[Line, ClipJob | None]]] = {}
        for line in lines:
            job = line.job(pipeline)
            manifest = finished(pipeline, job) if self.prompts is not None else None
            if manifest is not None:
                self._tell(manifest, None)
            else:
                kinds.setdefault(job.shot.kind, []).append((line, job if len(lines) <= AT_ONCE else None))
        return [one for some in kinds.values() for one in some]

    def _tell(self, manifest: dict, out: Path | None) -> None:
        """Print what was asked for; ``out`` is None for a clip that was there already."""
        from tqdm import tqdm

        if out is not None:
            for line in (*manifest["notes"], "; ".join(manifest["warnings"])):
                if line:
                    tqdm.write(printable(f"phonofilm: {out.name}: {line}"), file=sys.stderr)
        if self.json:
            tqdm.write(json.dumps(manifest))
        elif out is not None and self.prompts is None:
            tqdm.write(printable(str(out)))

    def _lines(self) -> list[Line]:
        if self.prompts is None:
            out = self.out or Path("clip").with_suffix(self.suffix)
            if out.suffix.lower() != self.suffix:
                what = "sound alone is" if self.only == "audio" else "clips are"
                raise UserError(f"--out {out}: {what} written as {self.suffix[1:]}; end the name in {self.suffix}")
            place = check_place(out)
            check_apart(self, place)
            return [Line("", self, place, request_of(self))]
        for name, field in KEYS.items():
            if getattr(self, field.name) != field.default:
                raise UserError(f"--{name} belongs into the lines of {self.prompts} when --prompts is given")
        folder = check_place(self.out or Path("clips"))
        if folder.is_file():
            raise UserError(f"--out {folder}: with --prompts it is a folder, this is a file")
        return read_lines(self.prompts, folder)


@contextmanager
def bar_over(clips: int) -> Iterator[Callable[[float], object]]:
    """A progress bar, drawn only when somebody watches; yields what moves it to so many clips."""
    from tqdm import tqdm

    form = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=clips, disable=not sys.stderr.isatty(), leave=False, bar_format=form, delay=0.5) as bar:
        yield lambda done: bar.update(done - bar.n)


def check_place(path: Path) -> Path:
    """Refuse a place that nothing can be written to, before any work is done for it."""
    import os

    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--out {path}: cannot write in {folder}; choose another place")
    return path


@dataclass(frozen=True)
class Line:
    """One clip that is asked for: a line of a prompts file, or the flags."""

    place: str
    """Where it stands, for errors: "prompts.jsonl, line 3"; "" for the flags."""
    options: ClipOptions
    out: Path
    read: Request | None = None
    """What it asks for, where that is read already."""

    def request(self) -> Request:
        """What it asks for, with the pictures and sound that it names; ``UserError`` says in which line it is wrong."""
        with placed(self.place):
            return self.read or request_of(self.options)

    def job(self, pipeline: Pipeline) -> ClipJob:
        """The same, resolved by a model."""
        from phonofilm.generation.jobs import ClipJob

        request = self.request()
        with placed(self.place):
            return ClipJob(pipeline.resolve(request), self.out)


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Put the place before the message of an error for people."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{place}: {error}" if place else str(error)) from error


def read_requests(file: Path, folder: Path) -> Iterator[tuple[Request, Path]]:
    """The requests of a prompts file, each with the file to write; raises ``UserError`` with the line that is wrong."""
    for line in read_lines(file, folder):
        yield line.request(), line.out


def read_lines(file: Path, folder: Path) -> list[Line]:
    """The lines of a prompts file; what they name is not read yet. Raises ``UserError`` with the line that is wrong."""
    from phonofilm.files.text import numbered_lines

    lines: dict[str, Line] = {}
    for number, text in numbered_lines(file):
        place = f"{file}, line {number}"
        with placed(place):
            options, out = read_line(text, folder, f"{number:05d}")
        if out.name in lines:
            raise UserError(f"--prompts {file}: two lines are named {out.name}")
        lines[out.name] = Line(place, options, out)
    if not lines:
        raise UserError(f"--prompts {file}: holds no prompt; one JSON object a line is wanted")
    return list(lines.values())


def read_line(text: str, folder: Path, name: str) -> tuple[ClipOptions, Path]:
    """What one line asks for, and the file to write, which is called ``name`` where the line says no other."""
    try:
        row = json.loads(text, object_pairs_hook=once)
    except RecursionError as error:
        raise UserError("not JSON that can be read: its values are nested too deeply") from error
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f'a JSON object is wanted, such as {{"scene": "...", "say": "..."}}, not {text.strip()[:60]}')
    row = dict(row)
    name = row.pop("name", name)
    options = options_of(row)
    out = folder / f"{plain_name(name, options.suffix)}{options.suffix}"
    check_apart(options, out)
    return options, out


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The pairs of a JSON object; ``UserError`` where two have one key, of which JSON would drop the first."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"the key {twice!r} stands there twice")
    return row


def plain_name(name: object, suffix: str) -> str:
    """A name of a clip without the suffix of its file, which it may have; ``UserError`` for what can name no file."""
    if not isinstance(name, str):
        raise UserError(f"the name {name!r}: a text is wanted")
    stem = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    if not stem.strip() or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise UserError(f"the name {name!r} is no plain file name")
    if len(name.encode()) > LONGEST_NAME:
        raise UserError(f"the name {name[:40]!r}... is too long: {LONGEST_NAME} bytes are the most")
    return stem
