"""``phonofilm evaluate``: generate the held-out prompts, score them beside the controls, and write the report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from phonofilm.errors import UserError
from phonofilm.evaluate.controls import shuffled_within
from phonofilm.evaluate.heldout import Case, held_out, read_cases, write_prompts
from phonofilm.evaluate.metrics import METRICS, Observation, measure
from phonofilm.evaluate.observe import judge, right
from phonofilm.evaluate.readings import Reading, ReadingJob, read_all
from phonofilm.evaluate.report import Report, text, write_report

UNTRAINED_EVERY = 5
"""Every fifth prompt is also given to the untrained model."""


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
        workers: Processes that read clips.

    Raises ``UserError`` for prompts that are not held-out ones of this version, or if there is no clip at all.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least 1 process has to read clips")
    prompts, output = prompts or clips / "prompts.jsonl", output or clips / "report"
    if not prompts.exists():
        write_prompts(prompts, held_out("test", progress=True))
    cases = read_cases(prompts)
    jobs = [ReadingJob(case=case, source="truth") for case in cases]
    if model:
        jobs += _generated_by(model, cases, clips)
    jobs += [ReadingJob(case=case, source="generated", path=clips / f"{case.id}.mp4") for case in cases]
    if not any(job.path.exists() for job in jobs if job.source == "generated" and job.path):
        raise UserError(
            f"{clips} has none of the {len(cases)} clips: make them with phonofilm generate --prompts {prompts} "
            f"-o {clips}, or name the model with --model"
        )
    readings = read_all(jobs, output / "readings.jsonl", workers=workers)
    digest = hashlib.sha256(prompts.read_bytes()).hexdigest()[:16]
    about = {
        "clips": str(clips),
        "prompts": f"{prompts} ({len(cases)}, sha256 {digest})",
        "model": model or "not named",
    }
    report = replace(score(cases, readings), about=about)
    write_report(report, output, clips)
    print(text(report))
    return report


def _generated_by(model: str, cases: Sequence[Case], clips: Path) -> list[ReadingJob]:
    from phonofilm.evaluate.clips import make_clips, untrained
    from phonofilm.generation.pipeline import find_model, load

    pipeline = load(model)
    make_clips(pipeline, cases, clips)
    some = cases[::UNTRAINED_EVERY]
    make_clips(untrained(pipeline), some, clips / "untrained")
    folder = find_model(model)[1]
    return [
        *(ReadingJob(case=case, source="codecs", path=folder) for case in cases),
        *(ReadingJob(case=case, source="untrained", path=clips / "untrained" / f"{case.id}.mp4") for case in some),
    ]


def score(cases: Sequence[Case], readings: Iterable[Reading]) -> Report:
    """Judge all readings and reduce them to figures, over all voices and for each."""
    observations = judge_all(cases, readings)
    conditions = list(dict.fromkeys(o.condition for o in observations))
    voices = ["", *sorted({case.voice for case in cases if case.voice})]
    figures = [
        figure
        for metric in METRICS
        for condition in conditions
        for voice in (voices if condition in ("generated", "truth") else [""])
        if (figure := measure(metric, condition, observations, voice))
    ]
    return Report(observations=tuple(observations), figures=tuple(figures))


def judge_all(cases: Sequence[Case], readings: Iterable[Reading]) -> list[Observation]:
    """Judge readings, and the generated ones once more with the sound of each beside another's picture."""
    by_case = {case.id: case for case in cases}
    readings = list(readings)
    observations = [
        replace(judge(by_case[r.id], r.picture, r.sound, condition=r.source, fps=r.fps), problem=r.problem)
        for r in readings
    ]
    return observations + _shuffled(cases, {r.id: r for r in readings if r.source == "generated"})


def _shuffled(cases: Sequence[Case], readings: dict[str, Reading]) -> list[Observation]:
    """Compare each generated clip with what belongs to another of its group.

    The picture is judged beside the other clip's sound, and both against prompts that are not their own: the looks
    against the prompt of the sound, the words heard against the prompt of the picture.
    """
    present = [case for case in cases if case.id in readings]
    partner = shuffled_within([case.group for case in present])
    observations = []
    for case, place in zip(present, partner, strict=True):
        other, seen = present[place], readings[case.id]
        if other is not case:
            heard = readings[other.id]
            own = judge(case, seen.picture, heard.sound, condition="shuffled", fps=seen.fps)
            wrong = right(other, seen.picture.look)
            observations.append(replace(own, right=wrong, problem=seen.problem or heard.problem))
    return observations
