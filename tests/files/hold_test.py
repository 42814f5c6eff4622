"""Folders that one process works in: who is told what, and what an end of any kind leaves."""

import os
import signal
import subprocess
import sys

import pytest

from phonofilm.errors import UserError
from phonofilm.files.atomic import PARTIAL
from phonofilm.files.hold import held


def test_the_second_is_told_who_is_there(tmp_path):
    folder = tmp_path / "run"
    with held(folder, "phonofilm train"):
        with (
            pytest.raises(UserError, match=rf"run is held by phonofilm train \(process {os.getpid()} on"),
            held(folder, "phonofilm train"),
        ):
            pass
        with held(folder, "phonofilm prepare", "-other"):
            pass
    with held(folder, "phonofilm train"):
        pass
    assert list(folder.iterdir()) == []


def test_a_hold_ends_with_its_process_and_what_it_left_is_swept(tmp_path):
    code = "import sys, time, phonofilm.files.hold as h, phonofilm.files.atomic as a\n"
    code += "with h.held(h.Path(sys.argv[1]), 'it'), a.replacing(sys.argv[1] + '/file'):\n print('in', flush=True)\n"
    code += " time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    with pytest.raises(UserError, match=rf"is held by it \(process {process.pid} on"), held(tmp_path, "me"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [path for path in tmp_path.iterdir() if PARTIAL in path.name]
    with held(tmp_path, "me"):
        pass
    assert list(tmp_path.iterdir()) == []
