"""The one evaluation: clips measured under conditions, in worker processes; what is measured is kept, to go on from.

A job is a clip and the conditions it is measured under: as it is, or damaged in a known way. The clip comes from a
file, or is drawn from a held-out prompt's script (the ground truth, perhaps through a model's codecs). Each probe
that wants the clip gives values for its measures, or says why it has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from phonofilm.errors import UserError
from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.digests import digest
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.heldout import script_named, true_clip
from phonofilm.evaluate.probes.families import probe_named
from phonofilm.evaluate.probes.probe import AUDIO, LIMITS, VIDEO, Examined, Found, Parts, Probe, Unmeasured
from phonofilm.evaluate.workers import spread
from phonofilm.files.clock import read_times
from phonofilm.files.media import read_clip, replacing
from phonofilm.types import Clip

EDITION = 7
"""Counts up when a measure changes, so that no outcome of another edition is used again."""
SILENCE = 1e-3
DAMAGED = {
    "late": controls.delay_audio,
    "silent": controls.silence,
    "frozen": controls.freeze,
    "noisy": controls.add_noise,
}
"""Conditions that are made of the clip itself."""
SHUFFLED = "shuffled"
"""The picture of a clip beside the sound of another one, and each against the prompt of the other."""
DIED = "the process that read it died twice (out of memory, or a decoder that crashed)"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A clip to measure, under one or more conditions."""

    entry: Entry
    probes: tuple[str, ...]
    source: str = "clips"
    """What the clip as it is is called as a condition."""
    conditions: tuple[str, ...] = ("clips",)
    """``source``, names of ``DAMAGED``, or ``SHUFFLED``."""
    partner: Entry | None = None
    """Whose sound a shuffled clip gets."""
    drawn: bool = False
    """Whether the clip is drawn from the script behind the entry's name; else it is read from the entry's file."""
    codecs: Path | None = None
    """A model's folder through whose codecs a drawn clip goes."""

    def key(self) -> str:
        """A digest of everything that the outcomes depend on."""
        told = [_told(entry) for entry in (self.entry, self.partner) if entry is not None]
        files = [] if self.drawn else [_content(self.entry.path)]
        files += [_content(self.partner.path)] if self.partner is not None else []
        script = script_named(self.entry.name) if self.drawn else ""
        codecs = "" if self.codecs is None else [_content(f) for f in controls.codec_files(self.codecs)]
        text = f"{EDITION} {self.source} {self.probes} {told} {files} {script} {codecs}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(entry: Entry) -> tuple[object, ...]:
    """What is known about a clip and may change what is measured."""
    files = [*([entry.reference] if entry.reference else []), *entry.voices, *entry.weights.values()]
    known = (entry.name, entry.lines, entry.others, entry.sound, entry.speaker, entry.truth)
    return (*known, [_content(file) for file in files])


def _content(path: Path) -> str:
    return digest(path) if path.is_file() or path.is_dir() else ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured on one clip under one condition."""

    name: str
    condition: str
    key: str = ""
    problem: str = ""
    """Why nothing could be measured: the clip cannot be read."""
    notes: tuple[str, ...] = ()
    """What is odd about the clip: no sound, silence, only its beginning read."""
    about: dict[str, float] = field(default_factory=dict)
    values: dict[str, Parts] = field(default_factory=dict)
    vectors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)
    """What was seen and heard, for people."""
    missed: dict[str, str] = field(default_factory=dict)
    """By the probe's name, why it could not measure this clip."""
    failed: dict[str, str] = field(default_factory=dict)
    """By the probe's name, what went wrong in the evaluator: no word about the clip."""


def measure(job: Job) -> list[Outcome]:
    """Measure a job's clip under its conditions; a file that cannot be read gives outcomes with a problem."""
    try:
        clip, other = _opened(job)
    except Exception as error:  # noqa: BLE001  a broken clip is counted and named, the run goes on
        return unread(job, _line(error))
    return measure_clip(job, clip, other)


def unread(job: Job, problem: str) -> list[Outcome]:
    """The outcomes of a job whose clip cannot be read; one that cannot be drawn says nothing of a clip."""
    failed = dict.fromkeys(job.probes, problem) if job.drawn else {}
    problem = "" if job.drawn else problem
    return [
        Outcome(name=job.entry.name, condition=condition, problem=problem, failed=failed)
        for condition in job.conditions
    ]


def _opened(job: Job) -> tuple[Clip, Clip | None]:
    """A job's clip, and the one whose sound it gets."""
    if job.drawn:
        script = script_named(job.entry.name)
        if script is None:
            raise UserError(f"{job.entry.name}: no held-out prompt's name, so its clip cannot be drawn")
        clip = true_clip(script)
        return (clip if job.codecs is None else controls.through_codecs(clip, job.codecs)), None
    clip = read_clip(job.entry.path, limits=LIMITS)
    other = job.partner and read_clip(job.partner.path, sample_rate=clip.sample_rate, limits=LIMITS)
    return clip, other


def measure_clip(job: Job, clip: Clip, other: Clip | None = None) -> list[Outcome]:
    """Measure a clip at hand under a job's conditions; ``other`` is the one whose sound it gets when shuffled."""
    known: dict[tuple[str, ...], Answer] = {}
    return [_measured(job, condition, clip, other, known) for condition in job.conditions]


def _under(condition: str, clip: Clip, other: Clip | None) -> Clip:
    if condition == SHUFFLED:
        assert other is not None
        return controls.swap_audio(clip, other)
    return DAMAGED[condition](clip) if condition in DAMAGED else clip


def _measured(
    job: Job, condition: str, whole: Clip, other: Clip | None, known: dict[tuple[str, ...], Answer]
) -> Outcome:
    """One outcome; ``known`` are answers of probes, found again where damage left what they read as it was."""
    clip = Examined.of(_under(condition, whole, other))
    harm = {part: "" if getattr(clip, part) is getattr(whole, part) else condition for part in (*VIDEO, *AUDIO)}
    found, missed, failed = Found(), {}, {}
    for probe in map(probe_named, job.probes):
        for entry, names in _asked(probe, job, condition):
            place = (probe.name, entry.name, *(harm[part] for part in probe.reads))
            if place not in known:
                known[place] = _answer(probe, entry, clip)
            answer = known[place]
            if isinstance(answer.found, Found):
                found = _joined(found, answer.found, names)
            else:
                (failed if answer.failed else missed)[probe.name] = answer.found
    height, width = clip.video.shape[-2:]
    about = {"seconds": clip.seconds, "fps": clip.fps, "sample_rate": clip.sample_rate, "width": width}
    return Outcome(
        name=job.entry.name,
        condition=condition,
        notes=_notes(clip, job.entry.path if job.entry.path.is_file() and not job.drawn else None),
        about={name: round(float(value), 4) for name, value in (about | {"height": height}).items()},
        values=dict(found.values),
        vectors=dict(found.vectors),
        observed=dict(found.observed),
        missed=missed,
        failed=failed,
    )


def _asked(probe: Probe, job: Job, condition: str) -> list[tuple[Entry, set[str]]]:
    """Whose prompts a probe's measures are compared with, and which of its measures those are.

    A shuffled clip meets prompts that are not its own: what is seen in it that of the sound, what is heard in it that
    of the picture. So no measure is without a control.
    """
    names = {measure.name for measure in probe.measures}
    if condition != SHUFFLED or job.partner is None or not probe.wants(job.partner):
        return [(job.entry, names)]
    seen = {measure.name for measure in probe.measures if "video" in measure.reads}
    split = [(job.partner, seen), (job.entry, names - seen)]
    return [(entry, some) for entry, some in split if some] or [(job.entry, names)]


class Answer(NamedTuple):
    """What a probe said of a clip: what it found, or why it found nothing."""

    found: Found | str
    failed: bool = False
    """Whether the reason is no word about the clip."""


def _answer(probe: Probe, entry: Entry, clip: Examined) -> Answer:
    try:
        return Answer(probe.read(entry, clip))
    except Unmeasured as reason:
        return Answer(str(reason))
    except Exception as error:  # noqa: BLE001  one evaluator that fails leaves the others their clip
        return Answer(_line(error), failed=True)


def _joined(found: Found, answer: Found, names: set[str]) -> Found:
    values = {name: value for name, value in answer.values.items() if name in names}
    return Found(
        values={**found.values, **values},
        vectors={**found.vectors, **answer.vectors},
        observed={**found.observed, **answer.observed},
    )


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _notes(clip: Clip, path: Path | None) -> tuple[str, ...]:
    """What a reader of the report should know of a clip; ``path`` is None for one that was not read from a file."""
    notes = []
    if clip.audio.shape[-1] == 0:
        notes.append("no sound")
    elif clip.audio.abs().amax() < SILENCE:
        notes.append(f"silent: no sample reaches {SILENCE:g}")
    track = None if path is None else read_times(path, LIMITS).video
    if track is not None and track.end - track.start > LIMITS.seconds + 0.5 / clip.fps:
        notes.append(f"only the first {LIMITS.seconds:g} s were read")
    return tuple(notes)


def measure_all(jobs: Sequence[Job], store: Path, *, workers: int = 2) -> list[Outcome]:
    """Measure clips in worker processes and keep every outcome in ``store``; what is there is not measured again.

    A clip that cannot be read, or on which an evaluator failed, is tried again by the next run. Shows progress on a
    terminal.
    """
    kept = {(o.name, o.condition, o.key): o for o in load(store)}
    store.parent.mkdir(parents=True, exist_ok=True)
    with replacing(store) as part:  # without the line that a killed run left unfinished
        part.write_text("".join(dump(outcome) + "\n" for outcome in kept.values()))
    outcomes: dict[int, list[Outcome]] = {}
    keys = [job.key() for job in jobs]
    for place, job in enumerate(jobs):
        found = [kept.get((job.entry.name, condition, keys[place])) for condition in job.conditions]
        if all(found):
            outcomes[place] = [outcome for outcome in found if outcome is not None]
    todo = [place for place in range(len(jobs)) if place not in outcomes]
    with store.open("a") as file, tqdm(total=len(todo), desc="clips", disable=None) as bar:
        for number, fresh in spread(measure, [jobs[place] for place in todo], workers):
            place = todo[number]
            made = unread(jobs[place], DIED) if fresh is None else fresh
            lines = [dump(replace(outcome, key=keys[place])) for outcome in made]
            outcomes[place] = [parse(line) for line in lines]  # rounded, as a later run will find it
            file.writelines(
                f"{line}\n"
                for line, outcome in zip(lines, made, strict=True)
                if not (outcome.problem or outcome.failed)
            )
            file.flush()
            bar.update()
    return [outcome for place in range(len(jobs)) for outcome in outcomes[place]]


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


def load(store: Path) -> list[Outcome]:
    """Return the outcomes of a file, none where there is none; a line that a killed run left unfinished is skipped."""
    outcomes = []
    for line in store.read_text().split("\n") if store.exists() else ():
        with contextlib.suppress(json.JSONDecodeError, TypeError, KeyError):
            outcomes.append(parse(line))
    return outcomes


def faults(outcomes: Iterable[Outcome]) -> Mapping[str, tuple[str, int]]:
    """By the name of each probe that failed anywhere: what went wrong first, and on how many clips."""
    found: dict[str, tuple[str, int]] = {}
    for outcome in outcomes:
        for probe, why in outcome.failed.items():
            first, count = found.get(probe, (why, 0))
            found[probe] = (first, count + 1)
    return found
