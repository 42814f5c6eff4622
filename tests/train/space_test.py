"""Runs and caches that cannot be written: one line that names the place, and going on afterwards works."""

import resource

import pytest
from breaking import content, in_child
from long_commands import RUNS, write_inputs

from phonofilm.cli import line_of
from phonofilm.errors import UserError
from phonofilm.train.loop import RUN

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("place"))


def cramped(run, place, out, largest):
    """Run where no file may be longer than so many bytes, as on a full disk; what the error is goes into a file."""
    told = out.with_suffix(".told")
    with told.open("w") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        try:
            run(place, out)
        except (UserError, OSError) as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            file.write(line_of(error))


@pytest.mark.parametrize(("name", "largest"), [("train", 20_000), ("train", 900), ("prepare", 20_000)])
def test_a_full_disk_is_one_line_and_the_run_goes_on(place, tmp_path, name, largest):
    out = tmp_path / "out"
    assert in_child(lambda: cramped(RUNS[name], place, out, largest), out)[:2] == (0, 0)
    told = out.with_suffix(".told").read_text()
    assert str(out) in told
    assert "make room there" in told
    assert told.count("\n") == 0
    if (out / RUN).exists():
        assert (out / RUN).stat().st_size
    assert in_child(lambda: RUNS[name](place, out), out)[:2] == (0, 0)
    assert not [path for path in content(out) if "partial" in path]


@pytest.mark.parametrize("name", ["train", "prepare"])
def test_a_place_that_is_a_file_is_named(place, tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*/file/out: Not a directory; choose another place"):
        RUNS[name](place, tmp_path / "file" / "out")
