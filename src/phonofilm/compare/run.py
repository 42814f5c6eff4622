"""``phonofilm compare``: do the jobs that are still to be done, and write the page when none is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from phonofilm.compare import work
from phonofilm.compare.page import Result, write_page, write_result
from phonofilm.compare.plan import ArmJob, Comparison
from phonofilm.compare.work import Machine
from phonofilm.evaluate.cases.entries import entry_of
from phonofilm.evaluate.cases.heldout import Case, held_out, read_cases, write_prompts
from phonofilm.evaluate.engine import Outcome, load, measure_all
from phonofilm.evaluate.heldout import check_packages, controls_of
from phonofilm.evaluate.report.figures import Asked
from phonofilm.train.log import FIGURES
from phonofilm.train.parallel import World

PROMPTS, LOCK = "prompts.jsonl", "lock"
PATIENCE = timedelta(days=1)
"""How long the other processes wait while the first one makes and reads clips."""


def compare(comparison: Comparison, machine: Machine, world: World, *, page: Path | None = None) -> bool:
    """Do this machine's share of the jobs; write the page where all jobs of all machines are done.

    ``page`` is a markdown file that the page is copied to. Returns whether the page was written.
    """
    check_packages()
    cases = cases_of(comparison, world)
    for job in comparison.part(*machine.part):
        if world.broadcast(work.is_done(comparison, job)):
            continue
        with alone(job.training, world) as free:
            if free:
                tell(comparison, job, world)
                work.run_job(comparison, job, cases, machine, world)
    if not world.first:
        return False
    left = [job for job in comparison.jobs if not work.is_done(comparison, job)]
    with alone(comparison.folder, world) as free:
        if left or not free:
            told = f"{len(left)} of {len(comparison.jobs)} jobs are still to be done" if left else "all jobs are done"
            print(f"{told}; the page comes with the last process")
            return False
        result = gather(comparison, cases, machine)
        write_result(result, comparison.folder)
        if page is not None:
            write_page(result, page)
    print(page or comparison.folder / "report.html")
    return True


@contextlib.contextmanager
def alone(folder: Path, world: World) -> Iterator[bool]:
    """Whether these processes may work in a folder; False where others do. The lock ends with them, in any way."""
    folder.mkdir(parents=True, exist_ok=True)
    lock, free = FileLock(folder / LOCK, blocking=False), True
    if world.first:
        try:
            lock.acquire()
        except Timeout:
            free = False
    try:
        yield world.broadcast(free)
    finally:
        lock.release()


def tell(comparison: Comparison, job: ArmJob, world: World) -> None:
    """Say which job begins."""
    if world.first:
        number = comparison.jobs.index(job) + 1
        print(f"job {number} of {len(comparison.jobs)}: {job.arm}, seed {job.seed}", flush=True)


def cases_of(comparison: Comparison, world: World) -> tuple[Case, ...]:
    """The held-out prompts that all models are given, from the folder."""
    path = comparison.folder / PROMPTS
    if world.first and not path.exists():
        write_prompts(path, held_out("test", comparison.terms.prompts))
    world.wait()
    return read_cases(path)


def gather(comparison: Comparison, cases: tuple[Case, ...], machine: Machine) -> Result:
    """All that the page tells: what was measured, what it cost, and how the losses fell."""
    entries = {case.id: entry_of(case, comparison.folder) for case in cases}
    controls = controls_of(list(entries.values()), comparison.codecs)
    found = work.checked(measure_all(controls, comparison.folder / "controls.jsonl", workers=machine.workers))
    jobs = comparison.jobs

    def paired(outcomes: Sequence[Outcome]) -> Asked:
        return tuple((entries[outcome.name], outcome) for outcome in outcomes)

    return Result(
        comparison=comparison,
        cases=cases,
        seen={
            (arm, guidance): tuple(paired(load(work.outcomes_of(job, guidance))) for job in _of(jobs, arm))
            for arm in comparison.arms
            for guidance in comparison.guidances
        },
        controls=paired(found),
        costs={
            arm: tuple(json.loads((j.training / work.COST).read_text()) for j in _of(jobs, arm))
            for arm in comparison.arms
        },
        losses={arm: tuple(losses_of(job.training / FIGURES) for job in _of(jobs, arm)) for arm in comparison.arms},
    )


def _of(jobs: Sequence[ArmJob], arm: str) -> list[ArmJob]:
    return [job for job in jobs if job.arm == arm]


def losses_of(log: Path) -> dict[str, list[tuple[int, float]]]:
    """Each training loss by step. What was logged before a stop and done again counts as it was the second time."""
    found: dict[str, dict[int, float]] = {}
    for line in log.read_text().splitlines():
        row = {}
        with contextlib.suppress(json.JSONDecodeError):  # a line that a killed run left unfinished
            row = json.loads(line)
        for name, value in row.items():
            if name.startswith("loss/"):
                found.setdefault(name.removeprefix("loss/"), {})[row["step"]] = value
    return {name: sorted(points.items()) for name, points in found.items()}
