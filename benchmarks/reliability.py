"""What faults do to long commands: kills at any file operation, signals, and damaged files of our own kinds.

    python benchmarks/reliability.py kills --commands train,prepare,puppets,compare --moments 30
    python benchmarks/reliability.py damage --files 1000
    python benchmarks/reliability.py signals --moments 20

Prints a JSON line for each command or kind of file: what was tried, and what did not end as it should, by its seed.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS / "support"), str(TESTS)]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from breaking import content, damage, in_child
from long_commands import RUNS, train_run, write_inputs

LONGEST = 60
"""Seconds after which a file that is being read counts as a hang."""


def kills(place, name, moments):
    """Kill a command before ``moments`` of its file operations, let it go on, and compare what is there."""
    whole, run = place / "whole", RUNS[name]
    _, code, operations = in_child(lambda: run(place, whole), whole)
    expected, wrong = content(whole), {}
    for seed in range(moments):
        out = place / f"{name}-{seed}"
        moment = random.Random(seed).randrange(1, operations)
        killed, _, _ = in_child(lambda out=out: run(place, out), out, kill_at=moment)
        ended = in_child(lambda out=out: run(place, out), out)[:2]
        found = content(out)
        differing = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
        if not killed or ended != (0, 0) or differing:
            wrong[moment] = {"killed": killed, "ended": ended, "differing": differing[:4]}
        shutil.rmtree(out)
    return {"command": name, "code": code, "operations": operations, "moments": moments, "wrong": wrong}


def readers(place):
    """Kinds of files that we write, each with a whole folder and what reads all of it."""
    import training

    from phonofilm.checkpoints.folder import load_checkpoint
    from phonofilm.data.cache import Cache
    from phonofilm.puppets.corpus import read_truth
    from phonofilm.train import checkpoint
    from phonofilm.train.loop import start
    from phonofilm.train.parallel import world

    train_run(place, place / "run")
    RUNS["puppets"](place, place / "corpus")
    RUNS["prepare"](place, place / "cache")

    def resume(folder):
        with world("cpu") as alone:
            learner = start(training.tiny(), alone)
            if checkpoint.go_on(folder, learner, alone) is None:
                raise AssertionError("there is no checkpoint")

    def read_cache(folder):
        cache = Cache.open(folder)
        for length, count in cache.buckets.items():
            cache.read(length, range(count))

    shutil.copytree(checkpoint.path_of(place / "run", 9), place / "checkpoint/step-00000009")
    return {
        "cache": (place / "cache", read_cache),
        "checkpoint": (place / "checkpoint", resume),
        "model": (place / "run/model", lambda folder: load_checkpoint(folder, recipe="training:tiny")),
        "truth": (place / "corpus", read_truth),
    }


def damaged(place, files):
    """Damage one file of a folder, read the folder, and count what happens."""
    from phonofilm.puppets.corpus import read_truth

    whole = readers(place)
    plain = {kind: _outcome(folder, read) for kind, (folder, read) in whole.items()}
    rows = read_truth(place / "corpus")
    counts, wrong = Counter(), []
    for seed in range(files):
        kind = list(whole)[seed % len(whole)]
        folder, read = whole[kind]
        copy = place / f"copy-{seed}"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("clips", "corpus.json"))
        some = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        broken = some[random.Random(seed).randrange(len(some))]
        way, began = damage(broken, seed), time.monotonic()
        outcome = _outcome(copy, read)
        if outcome == "taken" and kind == "truth" and read_truth(copy) == rows:
            outcome = "harmless"  # what nothing reads, such as statistics of a column: all rows are as they were
        if time.monotonic() - began > LONGEST:
            outcome = "hang"
        counts[kind, outcome if outcome in ("refused", "harmless", "taken", "hang") else "traceback"] += 1
        shutil.rmtree(copy)
        if outcome not in ("refused", "harmless"):
            wrong.append([seed, kind, broken.relative_to(copy).as_posix(), way, outcome])
    return {
        "plain": plain,
        "counts": {" ".join(key): count for key, count in sorted(counts.items())},
        "wrong": wrong,
    }


def _outcome(folder, read):
    from phonofilm.errors import UserError

    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            read(folder)
    except UserError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "taken"


def signals(place, moments):
    """Send signals at seeded moments of ``train`` and ``prepare``: how long each takes to end, and what it leaves."""
    from signals_test import begun, group, prepare_command, train_command

    rows = []
    for seed in range(moments):
        rng, out = random.Random(seed), place / f"out-{seed}"
        name = rng.choice(["train", "prepare"])
        command, sign = {"train": (train_command, "log.jsonl"), "prepare": (prepare_command, "meta.json")}[name]
        how, whom = rng.choice([(signal.SIGINT, os.kill), (signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)])
        process = begun(command(place, out), out, sign)
        time.sleep(rng.random() * 10)
        began = time.monotonic()
        whom(process.pid, how)
        _, said = process.communicate()
        took = round(time.monotonic() - began, 2)
        rows.append([seed, name, how.name, whom.__name__, process.returncode, took, said, len(group(process.pid))])
        shutil.rmtree(out, ignore_errors=True)
    slow = [row for row in rows if row[5] > 2]
    bad = [row for row in rows if row[4] not in (130, 143) or row[6] != "phonofilm: stopped\n" or row[7]]
    return {"moments": moments, "seconds": sorted(row[5] for row in rows), "slow": slow, "wrong": bad}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kills", "damage", "signals"])
    parser.add_argument("--commands", default="train,prepare,puppets,compare")
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    for name in given.commands.split(",") if given.what == "kills" else [given.what]:
        with tempfile.TemporaryDirectory() as folder:
            place = write_inputs(Path(folder))
            if given.what == "kills":
                print(json.dumps(kills(place, name, given.moments)), flush=True)
            elif given.what == "damage":
                print(json.dumps(damaged(place, given.files)), flush=True)
            else:
                print(json.dumps(signals(place, given.moments)), flush=True)


if __name__ == "__main__":
    main()
