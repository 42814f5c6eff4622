"""How threads wait is chosen before torch is loaded, by the environment where it says so, and told when asked for."""

import os
import subprocess
import sys

import pytest

from phonofilm.cli.threads import SETTINGS, SPINS, share_cores
from phonofilm.errors import UserError

TOLD = """
import os, sys, phonofilm
print(phonofilm.share_cores())
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


def ran(*arguments, **settings):
    plain = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=plain | settings, timeout=300
    )


def test_it_is_chosen_before_torch_is_loaded():
    said, state = ran("-c", TOLD).stdout.splitlines()
    assert state == f"{SPINS} False"
    assert SPINS in said


@pytest.mark.parametrize("name", SETTINGS)
def test_the_environment_wins(name):
    value = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "7"}[name]
    said, state = ran("-c", TOLD, **{name: value}).stdout.splitlines()
    assert f"{name}={value}" in said
    assert state == f"{'7' if name == 'GOMP_SPINCOUNT' else None} False"


def test_too_late_is_said(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="torch is loaded already"):
        share_cores()


def test_the_command_line_tells_with_verbose_and_only_then():
    asked = ("-m", "phonofilm", "generate", "--scene", "a woman", "--steps", "0")
    told, silent = ran(*asked, "--verbose"), ran(*asked)
    assert (told.returncode, silent.returncode) == (2, 2)
    assert told.stderr.splitlines()[0].startswith("phonofilm: ")
    assert f"after {SPINS} looks" in told.stderr
    assert "looks" not in silent.stderr
