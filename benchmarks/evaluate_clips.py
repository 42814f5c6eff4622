"""Seconds of one core per clip for each part of evaluation: ``python benchmarks/evaluate_clips.py --clips 20``."""

import argparse
import time
from collections import defaultdict

import torch

from phonofilm.evaluate.observe import hear, judge, see, true_clip
from phonofilm.evaluate.prompts import held_out


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


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clips", type=int, default=20)
    args = options.parse_args()
    torch.set_num_threads(1)
    for group in ("grid", "talk", "ball"):
        start = time.process_time()
        cases = held_out("val", {group: args.clips})
        prompts = (time.process_time() - start) / args.clips
        measure(cases[:1])  # what is loaded and compiled once
        spent = {"prompt": prompts, **{name: s / args.clips for name, s in measure(cases).items()}}
        print(group, ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in spent.items()))


if __name__ == "__main__":
    main()
