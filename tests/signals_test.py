"""Ctrl-C and SIGTERM while a long command works: the right code soon, one line, and no process left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from long_commands import write_inputs

pytest.importorskip("espeakng_loader")
pytest.importorskip("pyarrow")

SOON = 6.0
"""Seconds; two on a machine that does nothing else, as ``benchmarks/reliability.py`` measures."""
SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("place"))


def begun(command, folder, sign):
    """A command in a group of its own, when the first file that is a sign of work is there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "phonofilm", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 180
    while not list(folder.glob(sign)) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    return process


def group(leader):
    """The living processes of a group, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def train_command(place, out):
    return ["train", "--recipe", "training:tiny", "--data", place / "data", "--out", out, "--steps", "100000"]


def prepare_command(place, out):
    return ["prepare", "--recipe", "long_commands:pocket", "--codecs", place / "codecs", "--out", out, "--clips", "640"]


@pytest.mark.parametrize(
    ("name", "how", "whom", "code"),
    [
        ("train", signal.SIGTERM, os.kill, 143),
        ("train", signal.SIGINT, os.killpg, 130),
        ("prepare", signal.SIGINT, os.kill, 130),
        ("prepare", signal.SIGTERM, os.kill, 143),
    ],
)
def test_a_signal_ends_a_command_and_all_its_processes(place, tmp_path, name, how, whom, code):
    out = tmp_path / "out"
    command, sign = {
        "train": (train_command, ".step-*"),  # a checkpoint is being written
        "prepare": (prepare_command, "meta.json"),
    }[name]
    process = begun(command(place, out), out, sign)
    assert process.poll() is None, process.communicate()[1]
    began = time.monotonic()
    whom(process.pid, how)
    _, said = process.communicate(timeout=30)
    took = time.monotonic() - began
    assert (process.returncode, said) == (code, "phonofilm: stopped\n")
    assert took < SOON
    end = time.monotonic() + 5
    while group(process.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert group(process.pid) == []
