"""``phonofilm evaluate`` on any folder of clips, ours or anybody's: measure, reduce, report."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from phonofilm.errors import UserError, unknown
from phonofilm.evaluate.cases.controls import shuffled_within
from phonofilm.evaluate.cases.digests import digest
from phonofilm.evaluate.cases.entries import Entry, data_digest, find_entries
from phonofilm.evaluate.engine import DAMAGED, SHUFFLED, Job, measure_all
from phonofilm.evaluate.paper.probes import REFUSED
from phonofilm.evaluate.probes.families import PROBES, probe_named
from phonofilm.evaluate.probes.probe import TIERS
from phonofilm.evaluate.probes.puppets import ESPEAK
from phonofilm.evaluate.report.figures import figures
from phonofilm.evaluate.report.folder import tables
from phonofilm.evaluate.report.metrics import ALL
from phonofilm.evaluate.report.page import as_sheet, write_report
from phonofilm.evaluate.report.tables import Report, text


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where clips lie and what is known about them; what is None is not given."""

    clips: Path
    truth: Path | None = None
    """truth.parquet of ``puppets make``, or JSON lines with its columns."""
    prompts: Path | None = None
    """JSON lines with ``name`` or ``file``, and ``say`` or ``lines``."""
    reference: Path | None = None
    """A folder with clips of the same names that these are reconstructions of."""
    weights: Mapping[str, Path] = field(default_factory=dict)
    """Checkpoints by name: "syncnet" and "speaker", files; "whisper" and "clap", folders; "audiobox", either."""


def evaluate_folder(
    sources: Sources,
    output: Path,
    *,
    tiers: Sequence[str] = ("exact", "offline"),
    num_controls: int = 8,
    workers: int = 2,
    seed: int = 0,
) -> Report:
    """Measure every clip of a folder, print the tables and write the report; a broken run goes on where it stopped.

    Args:
        sources: The clips and the tables about them.
        output: Folder for the report and for what a later run resumes from.
        tiers: "exact", "offline", "paper", or single metrics by name.
        num_controls: How many of the clips are also measured with known damage; 0 for no controls.
        workers: Processes that measure clips; each holds one clip at a time.
        seed: Of the bootstrap.

    Raises ``UserError`` for unknown tiers, for a metric named alone that cannot run, and for what is not there.
    """
    if workers < 1 or num_controls < 0:
        raise UserError(f"{workers} workers and {num_controls} controls: at least 1 process and 0 controls")
    strange = sorted(set(sources.weights) - {probe.weights for probe in PROBES if probe.weights})
    if strange:
        raise unknown("checkpoint", strange[0], {probe.weights for probe in PROBES if probe.weights})
    for name, path in sources.weights.items():
        if not path.exists():
            raise UserError(f"--weights {name}={path}: no such file or folder")
    probes, missing = choose(tiers, sources.weights)
    entries = find_entries(sources.clips, truth=sources.truth, prompts=sources.prompts, reference=sources.reference)
    entries = tuple(replace(entry, weights=sources.weights) for entry in entries)
    store = output / "outcomes.jsonl"
    outcomes = measure_all([_job(entry, probes) for entry in entries], store, workers=workers)
    sound = [entry for entry, outcome in zip(entries, outcomes, strict=True) if not (outcome.problem or outcome.notes)]
    outcomes += measure_all(_controls(sound, probes, num_controls), store, workers=workers)
    about = {
        "clips": f"{sources.clips} ({len(entries)})",
        "truth": str(sources.truth or "none but that of names"),
        "prompts": str(sources.prompts or "none"),
        "controls": f"{num_controls} of the clips at most",
    }
    about |= {f"weights of {name}": f"{path} (sha256 {digest(path)})" for name, path in sources.weights.items()}
    metrics = tuple(metric for metric in ALL.values() if metric.probe.name in probes)
    by_name = {entry.name: entry for entry in entries}
    report = Report(
        metrics=metrics,
        figures=tuple(figures(metrics, by_name, outcomes, charged=False, seed=seed)),
        outcomes=tuple(outcomes),
        entries=by_name,
        scored="clips",
        missing=missing,
        about=about,
        data=data_digest(entries),
        seed=seed,
    )
    made = tables(report)
    write_report(report, made, output, as_sheet)
    print(text(report, made))
    return report


def choose(tiers: Sequence[str], weights: Container[str] = ()) -> tuple[tuple[str, ...], dict[str, str]]:
    """The probes that tiers or single metrics ask for, and the metrics that cannot run, with the reason.

    Raises ``UserError`` for an unknown name, and for a metric named alone that cannot run.
    """
    known = {name: metric.probe for name, metric in ALL.items()}
    chosen, missing = set(), {}
    for asked in tiers:
        if asked in REFUSED:
            raise UserError(f"{asked} {REFUSED[asked]}")
        if asked not in TIERS and asked not in known:
            raise unknown("tier or metric", asked, [*TIERS, *known, *REFUSED])
        for name, probe in known.items():
            if asked in (name, name.split(".")[0]):
                why = probe.missing(weights)
                if why and (asked == name or (why.endswith(ESPEAK) and not probe.weights)):
                    raise UserError(f"{name} cannot run: {why}")
                if why:
                    missing[name] = why
                else:
                    chosen.add(probe.name)
        missing |= {name: why for name, why in REFUSED.items() if name.split(".")[0] == asked}
    return tuple(probe.name for probe in PROBES if probe.name in chosen), missing


def _job(entry: Entry, probes: Sequence[str]) -> Job:
    return Job(entry=entry, probes=tuple(name for name in probes if probe_named(name).wants(entry)))


def _controls(entries: Sequence[Entry], probes: Sequence[str], count: int) -> list[Job]:
    """Some clips, evenly spread over the names, with each kind of damage."""
    count = min(count, len(entries))
    some = [entries[k * len(entries) // count] for k in range(count)]
    harmed = [replace(_job(entry, probes), conditions=tuple(DAMAGED)) for entry in some]
    partner = shuffled_within([entry.truth.stage if entry.truth else "" for entry in some])
    pairs = [(job, some[k]) for job, k in zip(harmed, partner, strict=True)]
    return harmed + [
        replace(job, conditions=(SHUFFLED,), partner=other) for job, other in pairs if other is not job.entry
    ]
