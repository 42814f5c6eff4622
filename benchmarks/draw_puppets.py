"""Clips of 49 pixel frames at 128x128 drawn per second: ``python benchmarks/draw_puppets.py --device cuda``."""

import argparse
import time

import torch

from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import STAGES, write_script
from phonofilm.puppets.stage import draw


def measure(performances, device, rounds):
    """Clips per second of time on the clock and of processor time; the best of some rounds."""
    draw(performances[:2], device=device)
    best = [0.0, 0.0]
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        draw(performances, device=device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        best = [max(b, len(performances) / s) for b, s in zip(best, spent)]
    return best


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options.add_argument("--clips", type=int, default=24)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    device = torch.device(args.device)
    for stage in STAGES:
        performances = [perform(write_script(seed, stage=stage)) for seed in range(args.clips)]
        for threads in args.threads if device.type == "cpu" else [1]:
            torch.set_num_threads(threads)
            wall, cpu = measure(performances, device, args.rounds)
            where = f"{threads} threads" if device.type == "cpu" else torch.cuda.get_device_name()
            print(f"{stage:9s} {where}: {wall:7.1f} clips/s ({cpu:.1f} per second of processor time)", flush=True)


if __name__ == "__main__":
    main()
