"""Seconds of one core per clip for each part of evaluation: ``python benchmarks/evaluate_clips.py --clips 20``."""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from phonofilm.evaluate.cases.entries import entry_of, find_entries
from phonofilm.evaluate.cases.heldout import held_out, true_clip
from phonofilm.evaluate.engine import DAMAGED, Job, measure, measure_clip
from phonofilm.evaluate.folder import choose
from phonofilm.evaluate.heldout import probes_of
from phonofilm.evaluate.probes.families import PROBES
from phonofilm.files.media import write_clip


def measure_cases(cases):
    """Processor time of drawing the truth and of its figures, as it is and damaged, summed over the cases."""
    spent = defaultdict(float)
    for case in cases:
        entry = entry_of(case, Path())
        start = time.process_time()
        clip = true_clip(case.script)
        spent["draw the truth"] += time.process_time() - start
        for name, conditions in (("measure", ("clips",)), ("with late, silent, frozen", ("clips", *list(DAMAGED)[:3]))):
            start = time.process_time()
            measure_clip(Job(entry=entry, probes=probes_of(entry), conditions=conditions), clip)
            spent[name] += time.process_time() - start
    return spent


def measure_files(cases):
    """Processor time and seconds played of the cases' files in the exact tier of any folder, summed over them."""
    probes, _ = choose(("exact",))
    with TemporaryDirectory() as folder:
        for case in cases:
            write_clip(Path(folder) / f"{case.id}.mp4", true_clip(case.script))
        jobs = [
            Job(entry=e, probes=tuple(p.name for p in PROBES if p.name in probes and p.wants(e)))
            for e in find_entries(Path(folder))
        ]
        start = time.process_time()
        outcomes = [outcome for job in jobs for outcome in measure(job)]
        return time.process_time() - start, sum(outcome.about["seconds"] for outcome in outcomes)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clips", type=int, default=20)
    args = options.parse_args()
    torch.set_num_threads(1)
    for group in ("grid", "talk", "ball"):
        start = time.process_time()
        first, *cases = held_out("val", {group: args.clips + 1})
        prompts = (time.process_time() - start) / (args.clips + 1)
        measure_cases([first])  # what is loaded and compiled once
        spent = {"prompt": prompts, **{name: s / args.clips for name, s in measure_cases(cases).items()}}
        print(group, ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in spent.items()))
        measure_files([first])
        whole, played = measure_files(cases)
        print(f"{group}, as files: {1000 * whole / args.clips:.0f} ms, {played / whole:.1f} times as fast as they play")


if __name__ == "__main__":
    main()
