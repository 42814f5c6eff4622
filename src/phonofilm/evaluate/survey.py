"""Any folder of clips, measured clip by clip in worker processes; what is measured is kept, so that a run resumes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from phonofilm.evaluate import controls
from phonofilm.evaluate.entries import Entry
from phonofilm.evaluate.families import PROBES
from phonofilm.evaluate.probe import LIMITS, Examined, Found, Parts, Probe, Unmeasured
from phonofilm.files.clock import read_times
from phonofilm.files.media import read_clip, replacing
from phonofilm.types import Clip

SURVEY_EDITION = 4
"""Counts up when a measure changes, so that no outcome of another edition is used again."""
SILENCE = 1e-3
DAMAGED = {
    "late": controls.delay_audio,
    "silent": controls.silence,
    "frozen": controls.freeze,
    "noisy": controls.add_noise,
}
"""Controls made of the clips themselves; "shuffled" takes the sound of another one."""
CONDITIONS = ("clips", *DAMAGED, "shuffled")


@dataclass(frozen=True, kw_only=True)
class ProbeJob:
    """A clip to measure, as it is ("clips") or damaged in a known way."""

    entry: Entry
    condition: str
    probes: tuple[str, ...]
    partner: Path | None = None
    """Whose sound a shuffled clip gets."""

    def key(self) -> str:
        """A digest of everything that the outcome depends on."""
        files = [f for f in (self.entry.path, self.entry.reference, self.partner, *self.entry.voices) if f is not None]
        content = [digest(f) if f.is_file() or f.is_dir() else "" for f in [*files, *self.entry.weights.values()]]
        told = (self.entry.lines, self.entry.others, self.entry.sound, self.entry.speaker, self.entry.truth)
        text = f"{SURVEY_EDITION} {self.condition} {self.probes} {told} {content}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured on one clip under one condition."""

    name: str
    condition: str
    key: str = ""
    problem: str = ""
    """Why nothing could be measured."""
    notes: tuple[str, ...] = ()
    """What is odd about the clip: no sound, silence, only its beginning read."""
    about: dict[str, float] = field(default_factory=dict)
    values: dict[str, Parts] = field(default_factory=dict)
    vectors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)
    """By the probe's name, why it could not measure."""


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder, read in pieces; again only after a file has changed."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = "".join(f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files)
        return hashlib.sha256(told.encode()).hexdigest()
    found = path.stat()
    return _digest(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=100_000)
def _digest(path: Path, changed: int, size: int) -> str:
    del changed, size
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure_clip(job: ProbeJob) -> Outcome:
    """Measure one clip; a file that cannot be read gives an outcome with a problem, never an exception."""
    try:
        return _measured(job)
    except Exception as error:  # noqa: BLE001  a broken clip is counted and named, the run goes on
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(name=job.entry.name, condition=job.condition, problem=problem)


def _measured(job: ProbeJob) -> Outcome:
    clip = read_clip(job.entry.path, limits=LIMITS)
    notes = _notes(clip, job.entry.path)
    if job.partner is not None:
        clip = controls.swap_audio(clip, read_clip(job.partner, sample_rate=clip.sample_rate, limits=LIMITS))
    elif job.condition in DAMAGED:
        clip = DAMAGED[job.condition](clip)
    values: dict[str, Parts] = {}
    vectors: dict[str, tuple[float, ...]] = {}
    missed: dict[str, str] = {}
    examined = Examined.of(clip)
    for probe in PROBES:
        if probe.name in job.probes:
            found = _probed(probe, job.entry, examined)
            if isinstance(found, str):
                missed[probe.name] = found
            else:
                values |= found.values
                vectors |= found.vectors
    height, width = clip.video.shape[-2:]
    about = {"seconds": clip.seconds, "fps": clip.fps, "sample_rate": clip.sample_rate, "width": width}
    return Outcome(
        name=job.entry.name,
        condition=job.condition,
        notes=notes,
        about={name: round(float(value), 4) for name, value in (about | {"height": height}).items()},
        values=values,
        vectors=vectors,
        missed=missed,
    )


def _probed(probe: Probe, entry: Entry, clip: Examined) -> Found | str:
    try:
        return probe.read(entry, clip)
    except Unmeasured as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001  one evaluator that fails leaves the others their clip
        return " ".join(f"{type(error).__name__}: {error}".split())


def _notes(clip: Clip, path: Path) -> tuple[str, ...]:
    notes = []
    if clip.audio.shape[-1] == 0:
        notes.append("no sound")
    elif clip.audio.abs().amax() < SILENCE:
        notes.append(f"silent: no sample reaches {SILENCE:g}")
    track = read_times(path, LIMITS).video
    if track is not None and track.end - track.start > LIMITS.seconds + 0.5 / clip.fps:
        notes.append(f"only the first {LIMITS.seconds:g} s were read")
    return tuple(notes)


def measure_all(jobs: Sequence[ProbeJob], store: Path, *, workers: int = 2) -> list[Outcome]:
    """Measure clips in worker processes and keep every outcome in ``store``; what is there is not measured again.

    Clips with a problem are tried again by the next run. Shows progress on a terminal.
    """
    kept = {(o.name, o.condition, o.key): o for o in load_outcomes(store)}
    with replacing(store) as part:  # without the line that a killed run left unfinished
        part.write_text("".join(dump(outcome) + "\n" for outcome in kept.values()))
    outcomes: dict[int, Outcome] = {}
    todo: list[int] = []
    keys = [job.key() for job in jobs]
    for index, job in enumerate(jobs):
        found = kept.get((job.entry.name, job.condition, keys[index]))
        if found is None:
            todo.append(index)
        else:
            outcomes[index] = found
    with store.open("a") as file, tqdm(total=len(todo), desc="clips", disable=None) as bar:
        for place, fresh in run_jobs([jobs[i] for i in todo], workers):
            line = dump(replace(fresh, key=keys[todo[place]]))
            outcomes[todo[place]] = parse(line)  # rounded, as a later run will find it
            if not fresh.problem:
                file.write(line + "\n")
                file.flush()
            bar.update()
    return [outcomes[index] for index in range(len(jobs))]


def run_jobs(jobs: Sequence[ProbeJob], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Outcomes with the places of their jobs, as they come; few jobs are under way at a time.

    A job whose process dies has an outcome with that problem, and the others go on in fresh processes.
    """
    if workers <= 1 or len(jobs) <= 1:
        yield from ((place, measure_clip(job)) for place, job in enumerate(jobs))
        return
    left = list(range(len(jobs)))
    while left:
        try:
            for place, outcome in _pooled(jobs, left, workers):
                left.remove(place)
                yield place, outcome
        except BrokenProcessPool:
            # One of those under way ended its process, and which one is not known: each of them alone.
            suspects, left = left[: 2 * workers], left[2 * workers :]
            for place in suspects:
                yield place, _alone(jobs[place])


def _alone(job: ProbeJob) -> Outcome:
    try:
        ((_, outcome),) = _pooled([job], [0], 1)
    except BrokenProcessPool:
        problem = "the process that read it died (out of memory, or a decoder that crashed)"
        return Outcome(name=job.entry.name, condition=job.condition, problem=problem)
    return outcome


def _pooled(jobs: Sequence[ProbeJob], places: list[int], workers: int) -> Iterator[tuple[int, Outcome]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: dict[Future[Outcome], int] = {}
        left = list(reversed(places))
        while left or waiting:
            while left and len(waiting) < 2 * workers:
                place = left.pop()
                waiting[pool.submit(measure_clip, jobs[place])] = place
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()


def dump(outcome: Outcome) -> str:
    """Return an outcome as one line of JSON."""
    row = asdict(outcome)
    for kind in ("values", "vectors"):
        row[kind] = {name: [float(f"{v:.6g}") for v in vector] for name, vector in row[kind].items()}
    return json.dumps(row)


def parse(line: str) -> Outcome:
    """Return the outcome that ``dump`` wrote."""
    row: dict[str, Any] = json.loads(line)
    row["notes"] = tuple(row["notes"])
    for kind in ("values", "vectors"):
        row[kind] = {name: tuple(vector) for name, vector in row[kind].items()}
    return Outcome(**row)


def load_outcomes(store: Path) -> list[Outcome]:
    """Return the outcomes of a file, none where there is none; a line that a killed run left unfinished is skipped."""
    outcomes = []
    for line in store.read_text().splitlines() if store.exists() else ():
        with contextlib.suppress(json.JSONDecodeError, TypeError, KeyError):
            outcomes.append(parse(line))
    return outcomes
