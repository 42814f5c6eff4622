"""How much faster a forward pass is than an older commit's: every system, the same weights and inputs, one run.

    git worktree add /tmp/old COMMIT
    python benchmarks/forward_cost.py /tmp/old [--size study] [--size pocket] [--size paper] [--rounds 15]

Each checkout gets a process of its own; they take turns, one short round each, so that whatever else the machine does
meets both alike. A round is timed by the processor's clock on one thread; printed are the median of the paired ratios
(old time over new time), the quarter and three-quarter points between which half of them lie, the ratio of the shortest
rounds, and the largest difference of outputs over the largest output. Paper sizes are the published widths with few
layers and few tokens. Both checkouts must know the names that this file imports; for commits before the layout of
2026-11-28 take this file as it is at df6e6f3.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

SYSTEMS = ("jova", "uniavgen", "nava", "ccl", "ovi")
PAPER = {"jova": "jova_paper", "uniavgen": "uniavgen_paper_stage2", "nava": "nava_paper"}
WORDS, LENGTH = 64, 49
"""Text tokens at paper width, and pixel frames of a clip at 24 a second."""


def layers(name, model):
    """A network of the published widths with few layers: two where layers are of two kinds."""
    if name == "jova":
        return replace(model, num_dual=1, num_single=1)
    if name == "uniavgen":
        return replace(model, layers=model.layers[:2])
    if name == "nava":
        return replace(model, num_align=1, num_fuse=1)
    return replace(model, num_blocks=1)


def conditions(experiment, size):
    """A prompt as the small models read it; features drawn at random at paper width, all of which count."""
    from phonofilm.types import Prompt, Tokens

    if size != "paper":
        said = Prompt(
            scene="a woman with long red hair, blue background", sound="a high voice", speech=(("", "set white now"),)
        )
        return experiment.encode([said])
    generator = torch.Generator().manual_seed(3)
    every = torch.ones(1, WORDS, dtype=torch.bool)
    ids = {"sentinels": torch.arange(WORDS)[None] == 3, "speech": torch.arange(WORDS)[None] % 20}
    drawn = {name: torch.randn(1, WORDS, 4096, generator=generator) for name in experiment.model.conditions}
    drawn |= {name: x.long() for name, x in ids.items()}
    cond = {name: Tokens(x=drawn[name], mask=every) for name in experiment.model.conditions}
    if "voice" in cond:
        cond["voice"] = Tokens(x=torch.randn(1, 1, 192, generator=generator), mask=every[:, :1])
    return cond


def prepared(name, size):
    """A network with random weights, and an input of one clip."""
    from phonofilm.diffusion.tasks import T2AV, InStream, Pair, compose, placed
    from phonofilm.recipes.lookup import find_recipe
    from phonofilm.types import Grid, Layout

    experiment = find_recipe(PAPER.get(name, f"{name}_paper") if size == "paper" else f"{name}_{size}")
    model = layers(name, experiment.model) if size == "paper" else experiment.model
    torch.manual_seed(0)
    backbone = model.build().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5 / max(parameter.shape[-1], 16) ** 0.5)
    frames, side = (1 + (LENGTH - 1) // 4, 4) if size != "paper" else (5, 5)
    step = 4 / 24
    rate = 0.01 if size == "paper" and name == "uniavgen" else 0.032
    layout = Layout(
        Grid(frames, side, side, 1 / 24, step),
        Grid(round((1 / 24 + (frames - 1) * step) / rate), 1, 1, rate, rate),
        clock=experiment.clock,
    )
    generator = torch.Generator().manual_seed(1)
    clean, noise = (
        Pair(
            torch.randn(1, layout.video.tokens, model.video.channels, generator=generator),
            torch.randn(1, layout.audio.tokens, model.audio.channels, generator=generator),
        )
        for _ in range(2)
    )
    level = torch.tensor([0.6])
    task = placed(T2AV, InStream(empty=model.video.beside))
    return backbone, compose(task, layout, clean, noise, Pair(level, level), conditions(experiment, size))


@torch.inference_mode()
def work() -> None:
    """Answer orders from standard input: load a network, or time some forward passes."""
    torch.set_num_threads(1)
    backbone = input = None
    for line in sys.stdin:
        order = json.loads(line)
        if "load" in order:
            backbone, input = prepared(*order["load"])
            output = backbone(input)
            torch.save((output.video, output.audio), order["save"])
            answer = 0.0
        else:
            start = time.process_time()
            for _ in range(order["times"]):
                backbone(input)
            answer = time.process_time() - start
        print(json.dumps(answer), flush=True)


class Checkout:
    """A process that runs one checkout's code."""

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).resolve()), "--work"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)

    def asked(self, **order) -> float:
        """Seconds that an order took."""
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of a checkout ended with code {self.process.wait()}")
        return json.loads(line)


def gap(files) -> float:
    """The largest difference of outputs, over the largest output."""
    old, new = (torch.load(file) for file in files)
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(old, new))


def compared(checkouts, name, size, rounds) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{number}" for number in range(2)]
        for checkout, file in zip(checkouts, files):
            checkout.asked(load=(name, size), save=file)
        apart = gap(files)
    once = min(checkouts[0].asked(times=1) for _ in range(3))
    times = max(1, round(0.2 / once))
    spent = []
    for turn in range(rounds):
        order = checkouts if turn % 2 else checkouts[::-1]
        found = [checkout.asked(times=times) / times for checkout in order]
        spent.append(found if turn % 2 else found[::-1])
    ratios = [old / new for old, new in spent]
    low, middle, high = statistics.quantiles(ratios, n=4)
    old, new = (min(column) for column in zip(*spent))
    return (
        f"| {name} {size} | {1e3 * old:.1f} | {1e3 * new:.1f} | {middle:.3f} ({low:.3f} to {high:.3f}) "
        f"| {old / new:.3f} | {apart:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?", type=Path, help="the older checkout")
    parser.add_argument("--size", action="append", choices=("study", "pocket", "paper"), help="all if not given")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="all if not given")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work()
        return
    if given.old is None or not (given.old / "src" / "phonofilm").is_dir():
        parser.error("name the older checkout: a folder with src/phonofilm (git worktree add FOLDER COMMIT)")
    checkouts = [Checkout(given.old), Checkout(Path(__file__).resolve().parents[1])]
    print("| forward | old, ms | new, ms | old / new, median (half of all) | of the shortest | outputs differ by |")
    print("|---|---|---|---|---|---|")
    for size in given.size or ("study", "pocket", "paper"):
        for name in given.system or SYSTEMS:
            print(compared(checkouts, name, size, given.rounds), flush=True)


if __name__ == "__main__":
    main()
