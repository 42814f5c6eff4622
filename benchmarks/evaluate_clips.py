"""Seconds of one core per clip for each part of evaluation: ``python benchmarks/evaluate_clips.py --clips 20``."""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from phonofilm.evaluate.entries import find_entries
from phonofilm.evaluate.families import PROBES
from phonofilm.evaluate.folder import choose
from phonofilm.evaluate.heldout import held_out
from phonofilm.evaluate.observe import hear, judge, see, true_clip
from phonofilm.evaluate.survey import ProbeJob, measure_clip
from phonofilm.files.media import write_clip


def measure(cases):
    """Processor time of each part, summed over the cases."""
    spent = defaultdict(float)
    for case in cases:
        start = time.process_time()
        clip = true_clip(case)
        drawn = time.process_time()
        picture = see(case, clip.video, clip.fps)
        seen = time.process_time()
        sound = hear(case, clip)
        heard = time.process_time()
        judge(case, picture, sound, condition="truth", fps=clip.fps)
        ends = (drawn - start, seen - drawn, heard - seen, time.process_time() - heard)
        for name, seconds in zip(("draw the truth", "see", "hear", "judge"), ends, strict=True):
            spent[name] += seconds
    return spent


def measure_files(cases):
    """Processor time and seconds played of the cases' files in the exact tier of any folder, summed over them."""
    probes, _ = choose(("exact",))
    with TemporaryDirectory() as folder:
        for case in cases:
            write_clip(Path(folder) / f"{case.id}.mp4", true_clip(case))
        jobs = [
            ProbeJob(
                entry=e, condition="clips", probes=tuple(p.name for p in PROBES if p.name in probes and p.wants(e))
            )
            for e in find_entries(Path(folder))
        ]
        start = time.process_time()
        outcomes = [measure_clip(job) for job in jobs]
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
        measure([first])  # what is loaded and compiled once
        spent = {"prompt": prompts, **{name: s / args.clips for name, s in measure(cases).items()}}
        print(group, ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in spent.items()))
        measure_files([first])
        whole, played = measure_files(cases)
        print(f"{group}, as files: {1000 * whole / args.clips:.0f} ms, {played / whole:.1f} times as fast as they play")


if __name__ == "__main__":
    main()
