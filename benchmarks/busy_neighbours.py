"""What busy programs beside it cost a clip and a training: python benchmarks/busy_neighbours.py [--plain].

Each neighbour is an endless loop in a session of its own, as another program on a desktop is. For 0, 1, 2 and 4 of them
the whole ``generate`` command (Python's start and the model's load included) and some steps of a training on random
latents are timed; a row's last column is its time over that without neighbours. ``--plain`` times the same with
OpenMP's own way of waiting beside it, and shows that clips are the same. Nothing else may run meanwhile.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

CLIP = ["-m", "phonofilm", "generate", "--scene", "a woman with red hair", "--say", "set white with p two soon"]
NEIGHBOURS = (0, 1, 2, 4)
OWN = "300000"
"""How often GNU's OpenMP looks when nobody tells it anything."""
TRAIN = """
import sys
from phonofilm.cli.threads import share_cores
share_cores()
sys.argv = ["train_speed.py", "-", "jova_study", "12"]
sys.path.insert(0, "benchmarks")
import runpy
runpy.run_path("benchmarks/train_speed.py", run_name="__main__")
"""


@contextmanager
def busy(count):
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def timed(arguments, settings):
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=os.environ | settings)
    return time.perf_counter() - begun


def row(name, arguments, settings, repeats):
    idle, cells = 0.0, []
    for count in NEIGHBOURS:
        with busy(count):
            seconds = median(timed(arguments, settings) for _ in range(repeats))
        idle = idle or seconds
        cells.append(f"{seconds:.1f} s ({seconds / idle:.2f})")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="time OpenMP's own way of waiting, too")
    options = parser.parse_args()
    ways = {"phonofilm": {}} | ({"OpenMP's own": {"GOMP_SPINCOUNT": OWN}} if options.plain else {})
    print(f"| seconds (over idle) | {' | '.join(f'{n} neighbours' for n in NEIGHBOURS)} |")
    print("|---|" + "---|" * len(NEIGHBOURS))
    hashes = set()
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "clip.mp4")
        timed([*CLIP, "-o", out], {})  # torch's files into memory
        for name, settings in ways.items():
            row(f"clip, {name}", [*CLIP, "-o", out], settings, options.repeats)
            hashes.add(hashlib.sha256(Path(out).read_bytes()).hexdigest())
            row(f"training, {name}", ["-c", TRAIN], settings, max(1, options.repeats // 2))
    print(f"clips: {'the same' if len(hashes) == 1 else 'DIFFERENT'} in all rows")


if __name__ == "__main__":
    main()
