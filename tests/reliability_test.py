"""Long commands killed before any of their file operations end as if nothing had happened, and leave nothing behind.

Three moments each; ``benchmarks/reliability.py`` takes thirty.
"""

import random

import pytest
from breaking import content, in_child
from long_commands import RUNS, write_inputs

pytest.importorskip("espeakng_loader")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module", params=["train", "prepare", "puppets"])
def whole(request, tmp_path_factory):
    """A command that nothing happens to: its name, its inputs, what it leaves, and its number of file operations."""
    place = write_inputs(tmp_path_factory.mktemp(request.param))
    killed, code, operations = in_child(lambda: RUNS[request.param](place, place / "out"), place / "out")
    assert (killed, code) == (0, 0)
    return request.param, place, content(place / "out"), operations


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_killed_command_goes_on_to_the_same_end(whole, tmp_path, seed):
    name, place, expected, operations = whole
    out = tmp_path / "out"
    moment = random.Random(seed).randrange(1, operations)
    killed, _, _ = in_child(lambda: RUNS[name](place, out), out, kill_at=moment)
    assert killed
    assert in_child(lambda: RUNS[name](place, out), out)[:2] == (0, 0)
    found = content(out)
    assert sorted(found) == sorted(expected)
    assert [path for path in found if found[path] != expected[path]] == []
