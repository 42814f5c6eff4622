"""``phonofilm evaluate`` on any folder of clips, ours or anybody's: measure, reduce, report."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from phonofilm.errors import UserError, unknown
from phonofilm.evaluate.controls import shuffled_within
from phonofilm.evaluate.entries import Entry, find_entries
from phonofilm.evaluate.families import POOLS, PROBES
from phonofilm.evaluate.folder_report import FolderReport, text, write_report
from phonofilm.evaluate.paper.probes import REFUSED
from phonofilm.evaluate.probe import TIERS, Probe
from phonofilm.evaluate.summary import pool_probe, summarise
from phonofilm.evaluate.survey import DAMAGED, ProbeJob, digest, measure_all


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
) -> FolderReport:
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
    output.mkdir(parents=True, exist_ok=True)
    store = output / "outcomes.jsonl"
    outcomes = measure_all([_job(entry, "clips", probes) for entry in entries], store, workers=workers)
    sound = [entry for entry, outcome in zip(entries, outcomes, strict=True) if not (outcome.problem or outcome.notes)]
    outcomes += measure_all(_controls(sound, probes, num_controls), store, workers=workers)
    about = {
        "clips": f"{sources.clips} ({len(entries)})",
        "truth": str(sources.truth or "none but that of names"),
        "prompts": str(sources.prompts or "none"),
        "controls": f"{num_controls} of the clips at most",
    }
    about |= {f"weights of {name}": f"{path} (sha256 {digest(path)})" for name, path in sources.weights.items()}
    report = FolderReport(
        records=tuple(summarise(outcomes, entries, probes, seed)),
        outcomes=tuple(outcomes),
        missing=missing,
        about=about,
        data=_data(entries),
        seed=seed,
    )
    write_report(report, output, {entry.name: entry.path for entry in entries})
    print(text(report))
    return report


def choose(tiers: Sequence[str], weights: Container[str] = ()) -> tuple[tuple[str, ...], dict[str, str]]:
    """The probes that tiers or single metrics ask for, and the metrics that cannot run, with the reason.

    Raises ``UserError`` for an unknown name, and for a metric named alone that cannot run.
    """
    known = {
        **{m.name: p for p in PROBES for m in p.measures},
        **{p.measure.name: _probe(pool_probe(p)) for p in POOLS},
    }
    chosen, missing = set(), {}
    for asked in tiers:
        if asked in REFUSED:
            raise UserError(f"{asked} {REFUSED[asked]}")
        if asked not in TIERS and asked not in known:
            raise unknown("tier or metric", asked, [*TIERS, *known, *REFUSED])
        for name, probe in known.items():
            if asked in (name, name.split(".")[0]):
                why = probe.missing(weights)
                if why and asked == name:
                    raise UserError(f"{name} cannot run: {why}")
                if why:
                    missing[name] = why
                else:
                    chosen.add(probe.name)
        missing |= {name: why for name, why in REFUSED.items() if name.split(".")[0] == asked}
    return tuple(probe.name for probe in PROBES if probe.name in chosen), missing


def _probe(name: str) -> Probe:
    return next(probe for probe in PROBES if probe.name == name)


def _job(entry: Entry, condition: str, probes: Sequence[str], partner: Path | None = None) -> ProbeJob:
    wanted = tuple(probe.name for probe in PROBES if probe.name in probes and probe.wants(entry))
    return ProbeJob(entry=entry, condition=condition, probes=wanted, partner=partner)


def _controls(entries: Sequence[Entry], probes: Sequence[str], count: int) -> list[ProbeJob]:
    """Some clips, evenly spread over the names, with each kind of damage."""
    count = min(count, len(entries))
    some = [entries[k * len(entries) // count] for k in range(count)]
    jobs = [_job(entry, condition, probes) for condition in DAMAGED for entry in some]
    partner = shuffled_within([entry.truth.stage if entry.truth else "" for entry in some])
    pairs = [(entry, some[k]) for entry, k in zip(some, partner, strict=True)]
    return jobs + [_job(entry, "shuffled", probes, other.path) for entry, other in pairs if other is not entry]


def _data(entries: Sequence[Entry]) -> str:
    """One digest of all clips' names and contents."""
    whole = hashlib.sha256()
    for entry in entries:
        whole.update(f"{entry.name} {digest(entry.path) if entry.path.is_file() else 'missing'}\n".encode())
    return f"sha256 {whole.hexdigest()[:16]}"
