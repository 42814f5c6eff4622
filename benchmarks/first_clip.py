"""Import, load and first clip, against another checkout: python benchmarks/first_clip.py OTHER [--rounds N].

OTHER is the root of a checkout of phonofilm, such as a git worktree of an older commit. Both are run in turns, each in
a fresh process with its files in memory; printed are medians of time passed and processor time, and their ratios.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).parents[1]
PROGRAM = """
import json, os, time
begun = time.perf_counter()
import phonofilm
from phonofilm import Prompt, Request
model = phonofilm.load("pocket")
loaded = time.perf_counter()
model.generate(Request(prompt=Prompt(scene="a woman with red hair", speech=(("", "set white with p two soon"),))))
done = time.perf_counter()
processor = sum(os.times()[:2])
print(json.dumps({"load": loaded - begun, "first clip": done - loaded, "all": done - begun, "processor": processor}))
"""


def run(root):
    env = os.environ | {"PYTHONPATH": str(Path(root) / "src")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for root in (options.other, HERE):
        run(root)  # files into memory, bytecode onto disk
    rows = [(run(options.other), run(HERE)) for _ in range(options.rounds)]
    print("| seconds | other | here | here / other |")
    print("|---|---|---|---|")
    for name in rows[0][0]:
        other, here = (median(row[k][name] for row in rows) for k in (0, 1))
        print(f"| {name} | {other:.2f} | {here:.2f} | {median(b[name] / a[name] for a, b in rows):.3f} |")


if __name__ == "__main__":
    main()
