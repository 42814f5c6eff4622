"""What was seen and heard in each clip, clip by clip in worker processes, kept on disk so that a run can resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from phonofilm.codecs.loading import PARTS, StoredAudio, StoredVideo, load_audio_codec, load_video_codec
from phonofilm.evaluate import controls
from phonofilm.evaluate.heldout import Case
from phonofilm.evaluate.observe import AudioObservation, VideoObservation, hear, see, true_clip
from phonofilm.files.media import read_clip, replacing
from phonofilm.types import Clip

EDITION = 5
"""Counts up when an evaluator changes, so that no reading of another edition is used again."""
TRUTH = ("truth", "late", "silent", "frozen")
"""Sources that come from one true clip: as it is, sound 200 ms late, muted, first pixel frame throughout."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One clip, seen and heard on behalf of a case."""

    id: str
    """The case's."""
    source: str
    fps: float = 24.0
    picture: VideoObservation = VideoObservation()
    sound: AudioObservation = AudioObservation()
    problem: str = ""
    """Why there is nothing seen or heard; "" where all went well."""
    key: str = ""
    """What the reading is of: a digest of the file or of the script."""


@dataclass(frozen=True, kw_only=True)
class ReadingJob:
    """Clips to read for a case: a file ("generated", "untrained"), or the true clip ("truth") as it is, damaged, or
    through the codecs of a checkpoint folder ("codecs")."""

    case: Case
    source: str
    path: Path | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The readings that come out of the job."""
        return TRUTH if self.source == "truth" else (self.source,)

    def key(self) -> str:
        """A digest of everything that the readings depend on."""
        content = _digest(self.path) if self.path is not None else ""
        return hashlib.sha256(f"{EDITION} {self.source} {self.case} {content}".encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _digest(path: Path) -> str:
    """Content of a clip, or of the codecs in a checkpoint folder."""
    files = [path] if path.is_file() else sorted(f for name in PARTS for f in path.glob(f"{name}/*"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def through_codecs(clip: Clip, folder: Path) -> Clip:
    """Encode and decode a clip with the codecs of a checkpoint folder."""
    video_codec, audio_codec = _codecs(folder)
    with torch.no_grad():
        pixels = clip.video.transpose(0, 1)[None].float() / 127.5 - 1
        video = video_codec.decode(video_codec.encode(pixels))[0].transpose(0, 1)
        audio = audio_codec.decode(audio_codec.encode(clip.audio[None]))[0, :, : clip.audio.shape[-1]]
    return replace(clip, video=((video + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), audio=audio.clamp(-1, 1))


@lru_cache(maxsize=1)
def _codecs(folder: Path) -> tuple[StoredVideo, StoredAudio]:
    return load_video_codec(folder).eval(), load_audio_codec(folder).eval()


def read(job: ReadingJob) -> list[Reading]:
    """See and hear the clips of a job; what cannot be read is a reading with a problem, never an exception."""
    try:
        return [replace(reading, key=job.key()) for reading in _read(job)]
    except Exception as error:  # noqa: BLE001  a broken clip is counted and named, the run goes on
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [Reading(id=job.case.id, source=source, problem=problem) for source in job.sources]


def _read(job: ReadingJob) -> Iterator[Reading]:
    case = job.case
    if job.source == "truth":
        yield from _read_truth(case)
        return
    if job.path is None:
        raise ValueError(f"clips of {job.source!r} come from a path")
    clip = through_codecs(true_clip(case), job.path) if job.source == "codecs" else read_clip(job.path)
    if clip.audio.shape[-1] == 0:
        raise ValueError("the clip has no sound")
    yield Reading(
        id=case.id, source=job.source, fps=clip.fps, picture=see(case, clip.video, clip.fps), sound=hear(case, clip)
    )


def _read_truth(case: Case) -> Iterator[Reading]:
    clip = true_clip(case)
    whole = Reading(
        id=case.id, source="truth", fps=clip.fps, picture=see(case, clip.video, clip.fps), sound=hear(case, clip)
    )
    yield whole
    yield replace(whole, source="late", sound=hear(case, controls.delay_audio(clip)))
    yield replace(whole, source="silent", sound=hear(case, controls.silence(clip)))
    yield replace(whole, source="frozen", picture=see(case, controls.freeze(clip).video, clip.fps))


def read_all(jobs: Iterable[ReadingJob], store: Path, *, workers: int = 2) -> list[Reading]:
    """Run jobs in worker processes and keep every reading in ``store``; what is there already is not read again.

    Shows progress on a terminal. A job whose process dies raises; a clip that cannot be read does not.
    """
    jobs = list(jobs)
    kept = {(r.id, r.source, r.key): r for r in load_readings(store)}
    store.parent.mkdir(parents=True, exist_ok=True)
    with replacing(store) as part:  # without the line that a killed run left unfinished
        part.write_text("".join(dump(reading) + "\n" for reading in kept.values()))
    results, todo = [], []
    for job in jobs:
        found = [kept.get((job.case.id, source, job.key())) for source in job.sources]
        results += [r for r in found if r is not None]
        if any(r is None for r in found):
            todo.append(job)
    with store.open("a") as file, tqdm(total=len(todo), desc="clips", disable=None) as bar:
        for readings in _run(todo, workers):
            for line in map(dump, readings):
                reading = parse(line)  # rounded, as a later run will find it
                results.append(reading)
                if not reading.problem:
                    file.write(line + "\n")
            file.flush()
            bar.update()
    order = {(job.case.id, source): n for n, job in enumerate(jobs) for source in job.sources}
    return sorted({(r.id, r.source): r for r in results}.values(), key=lambda r: (order[r.id, r.source], r.source))


def _run(jobs: list[ReadingJob], workers: int) -> Iterator[list[Reading]]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(read, jobs)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: list[Future[list[Reading]]] = [pool.submit(read, job) for job in jobs]
        for done in as_completed(waiting):
            yield done.result()


def dump(reading: Reading) -> str:
    """Return a reading as one line of JSON."""
    return json.dumps(_plain(asdict(reading)))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.round(value.astype(float), 5).tolist()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def parse(line: str) -> Reading:
    """Return the reading that ``dump`` wrote."""
    row = json.loads(line)
    picture, sound = row.pop("picture"), row.pop("sound")
    for part, curve, times in ((picture, "opening", "contacts"), (sound, "opening", "onsets")):
        part[curve] = None if part[curve] is None else np.asarray(part[curve])
        part[times] = None if part[times] is None else tuple(part[times])
    return Reading(**row, picture=VideoObservation(**picture), sound=AudioObservation(**sound))


def load_readings(store: Path) -> list[Reading]:
    """Return the readings of a file, none where there is none; a line that a killed run left unfinished is skipped."""
    readings = []
    for line in store.read_text().splitlines() if store.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            readings.append(parse(line))
    return readings
