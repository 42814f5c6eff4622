"""``phonofilm generate``: words, and perhaps given pictures or sound, to a clip; or a file of them to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from phonofilm.cli.arguments import Command, check_number
from phonofilm.cli.clip_options import KEYS, ClipOptions, check_apart, options_of, request_of
from phonofilm.errors import UserError

if TYPE_CHECKING:
    from phonofilm.types import Request


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
        requests = self._requests()
        from phonofilm.generation.jobs import finished, make, resolved
        from phonofilm.generation.pipeline import load

        pipeline = load(self.model, device=self.device, recipe=self.recipe)
        pipeline = pipeline.adjusted(steps=self.steps, guidance=self.guidance)
        jobs = resolved(pipeline, requests)
        done = {job.out: finished(pipeline, job) for job in jobs} if self.prompts is not None else {}
        for manifest in filter(None, done.values()):
            self._tell(manifest, None)
        todo = [job for job in jobs if not done.get(job.out)]
        with bar_over(len(todo)) as progress:
            for job, manifest in make(pipeline, todo, progress):
                self._tell(manifest, job.out)

    def _tell(self, manifest: dict, out: Path | None) -> None:
        """Print what was asked for; ``out`` is None for a clip that was there already."""
        from tqdm import tqdm

        if out is not None:
            for line in (*manifest["notes"], "; ".join(manifest["warnings"])):
                if line:
                    tqdm.write(f"phonofilm: {out.name}: {line}", file=sys.stderr)
        if self.json:
            tqdm.write(json.dumps(manifest))
        elif out is not None and self.prompts is None:
            tqdm.write(str(out))

    def _requests(self) -> list[tuple[Request, Path]]:
        if self.prompts is None:
            out = self.out or Path("clip").with_suffix(self.suffix)
            if out.suffix.lower() != self.suffix:
                what = "sound alone is" if self.only == "audio" else "clips are"
                raise UserError(f"--out {out}: {what} written as {self.suffix[1:]}; end the name in {self.suffix}")
            place = check_place(out)
            check_apart(self, place)
            return [(request_of(self), place)]
        for name, field in KEYS.items():
            if getattr(self, field.name) != field.default:
                raise UserError(f"--{name} belongs into the lines of {self.prompts} when --prompts is given")
        folder = check_place(self.out or Path("clips"))
        if folder.is_file():
            raise UserError(f"--out {folder}: with --prompts it is a folder, this is a file")
        return read_requests(self.prompts, folder)


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


def read_requests(file: Path, folder: Path) -> list[tuple[Request, Path]]:
    """The requests of a prompts file, each with the file to write; raises ``UserError`` with the line that is wrong."""
    from phonofilm.files.text import numbered_lines

    requests = []
    for number, line in numbered_lines(file):
        try:
            requests.append(read_request(line, folder, f"{number:05d}"))
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
    if not requests:
        raise UserError(f"--prompts {file}: holds no prompt; one JSON object a line is wanted")
    names = [out.name for _, out in requests]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--prompts {file}: two lines are named {name}")
    return requests


def read_request(line: str, folder: Path, name: str) -> tuple[Request, Path]:
    """The request of one line, and the file to write."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f'a JSON object is wanted, such as {{"scene": "...", "say": "..."}}, not {row!r}')
    row = dict(row)
    name = str(row.pop("name", name))
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"the name {name!r} is no plain file name")
    options = options_of(row)
    out = folder / f"{name.removesuffix(options.suffix)}{options.suffix}"
    check_apart(options, out)
    return request_of(options), out
