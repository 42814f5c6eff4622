"""``phonofilm evaluate`` on held-out prompts: generate what is missing, measure it beside the controls, report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from phonofilm.errors import UserError
from phonofilm.evaluate.cases.controls import shuffled_within
from phonofilm.evaluate.cases.entries import Entry, data_digest, entry_of
from phonofilm.evaluate.cases.heldout import Case, held_out, read_cases, write_prompts
from phonofilm.evaluate.engine import SHUFFLED, Job, Outcome, measure_all
from phonofilm.evaluate.report.figures import Figure, about, figure, figures, voice_of
from phonofilm.evaluate.report.heldout import tables
from phonofilm.evaluate.report.metrics import METRICS
from phonofilm.evaluate.report.page import as_video, write_report
from phonofilm.evaluate.report.tables import Report, text

UNTRAINED_EVERY = 5
"""Every fifth prompt is also given to the untrained model."""
TRUTH = ("truth", "late", "silent", "frozen")
"""Conditions of the true clip."""


def evaluate(
    clips: Path,
    *,
    prompts: Path | None = None,
    model: str = "",
    output: Path | None = None,
    workers: int = 2,
) -> Report:
    """Score clips of held-out prompts beside the controls, print the tables and write the report.

    Args:
        clips: Folder with ``NAME.mp4`` for each prompt, as ``phonofilm generate --prompts`` writes them.
        prompts: The prompts; ``prompts.jsonl`` in ``clips`` if not given, which is written if it is not there: 200
            of the test split.
        model: Generates the clips that are missing, and those of an untrained model of the same recipe; its codecs
            make the control "codecs". Without it nothing is generated.
        output: Folder for the report; ``report`` in ``clips`` if not given.
        workers: Processes that measure clips.

    Raises ``UserError`` for prompts that are not held-out ones of this version, where a package is missing, or if
    there is no clip at all. An evaluator that fails leaves its figure out and is named in the report (``failures``).
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least 1 process has to read clips")
    check_packages()
    prompts, output = prompts or clips / "prompts.jsonl", output or clips / "report"
    if not prompts.exists():
        write_prompts(prompts, held_out("test", progress=True))
    cases = read_cases(prompts)
    entries = [entry_of(case, clips) for case in cases]
    jobs = list(_truth(entries))
    if model:
        jobs += _by_model(model, cases, entries, clips)
    if not any(entry.path.exists() for entry in entries):
        raise UserError(
            f"{clips} has none of the {len(cases)} clips: make them with phonofilm generate --prompts {prompts} "
            f"-o {clips}, or name the model with --model"
        )
    outcomes = measure_all([*jobs, *generated(entries)], output / "outcomes.jsonl", workers=workers)
    digest = hashlib.sha256(prompts.read_bytes()).hexdigest()[:16]
    where = {
        "clips": str(clips),
        "prompts": f"{prompts} ({len(cases)}, sha256 {digest})",
        "model": model or "not named",
    }
    report = replace(scored(entries, outcomes), about=where, data=data_digest(entries))
    made = tables(report)
    write_report(report, made, output, as_video)
    print(text(report, made))
    return report


def check_packages() -> None:
    """Raise ``UserError`` where a package is missing that a figure of held-out prompts needs."""
    for metric in METRICS:
        if why := metric.probe.missing():
            raise UserError(f"{metric.name} cannot run: {why}")


def probes_of(entry: Entry) -> tuple[str, ...]:
    """The probes that the figures of held-out prompts need of a clip."""
    return tuple(dict.fromkeys(metric.probe.name for metric in METRICS if metric.about(entry)))


def _truth(entries: Sequence[Entry]) -> Iterator[Job]:
    for entry in entries:
        yield Job(entry=entry, probes=probes_of(entry), source="truth", conditions=TRUTH, drawn=True)


def through_codecs(entries: Sequence[Entry], folder: Path) -> Iterator[Job]:
    """The true clips, through the codecs of a model's folder."""
    for entry in entries:
        probes = probes_of(entry)
        yield Job(entry=entry, probes=probes, source="codecs", conditions=("codecs",), drawn=True, codecs=folder)


def controls_of(entries: Sequence[Entry], codecs: Path) -> list[Job]:
    """The true clips as they are, damaged, and through the codecs of a folder."""
    return [*_truth(entries), *through_codecs(entries, codecs)]


def generated(entries: Sequence[Entry]) -> list[Job]:
    """The clips of the prompts, and each picture with the sound of another clip of its group."""
    own = [
        Job(entry=entry, probes=probes_of(entry), source="generated", conditions=("generated",)) for entry in entries
    ]
    partner = shuffled_within([entry.group for entry in entries])
    return own + [
        replace(job, conditions=(SHUFFLED,), partner=entries[place])
        for job, place in zip(own, partner, strict=True)
        if entries[place] is not job.entry
    ]


def _by_model(model: str, cases: Sequence[Case], entries: Sequence[Entry], clips: Path) -> list[Job]:
    """Generate what is missing; the controls that a model makes: true clips through its codecs, untrained clips."""
    from phonofilm.evaluate.cases.clips import make_clips, untrained
    from phonofilm.generation.pipeline import find_model, load

    pipeline = load(model)
    make_clips(pipeline, cases, clips)
    make_clips(untrained(pipeline), cases[::UNTRAINED_EVERY], clips / "untrained")
    some = [replace(entry, path=clips / "untrained" / entry.path.name) for entry in entries[::UNTRAINED_EVERY]]
    return [
        *through_codecs(entries, find_model(model)[1]),
        *(Job(entry=e, probes=probes_of(e), source="untrained", conditions=("untrained",)) for e in some),
    ]


def scored(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> Report:
    """Reduce outcomes to figures, over all voices and for each; a clip that could not be measured counts as worst."""
    by_name = {entry.name: entry for entry in entries}
    found = figures(METRICS, by_name, outcomes, charged=True)
    return Report(
        metrics=METRICS,
        figures=(*found, *_by_voice(by_name, outcomes)),
        outcomes=tuple(outcomes),
        entries=by_name,
        scored="generated",
        charged=True,
    )


def _by_voice(entries: dict[str, Entry], outcomes: Sequence[Outcome]) -> list[Figure]:
    voices = sorted({voice_of(entry) for entry in entries.values()} - {""})
    made = [
        figure(metric, condition, about(metric, entries, outcomes, condition, voice), charged=True, voice=voice)
        for metric in METRICS
        for condition in ("generated", "truth")
        for voice in voices
    ]
    return [one for one in made if one is not None]
