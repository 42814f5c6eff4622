"""What is written is there whole or not at all; what killed runs leave is swept, what living ones write is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from phonofilm.errors import UserError
from phonofilm.files.atomic import LEFT, appearing, aside, replacing, sweep, write_text

WRITES = """
import sys, time
from pathlib import Path
from phonofilm.files.atomic import appearing, replacing
with {how}(Path(sys.argv[1])) as part:
    (part / "x" if part.is_dir() else part).write_text("half")
    print("there", flush=True)
    time.sleep(60)
"""


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def fail_half_way(path):
    with replacing(path) as part:
        part.write_text("half")
        raise RuntimeError


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "x.txt", "old ö")
    with pytest.raises(RuntimeError):
        fail_half_way(tmp_path / "x.txt")
    assert names(tmp_path) == ["x.txt"]
    assert (tmp_path / "x.txt").read_bytes() == "old ö".encode()


def test_names_aside_are_recognised_and_never_too_long(tmp_path):
    for name in ("clip.mp4", "folder", "x" * 250 + ".mp4", "名" * 80 + ".wav", "a.b.c"):
        part = aside(tmp_path / name)
        assert LEFT.fullmatch(part.name)
        assert part.suffix == Path(name).suffix or part.suffix == ".phonofilm-partial"
        write_text(tmp_path / name, "x")
    assert not LEFT.fullmatch(".clip.0123abcd.mp4")


@pytest.mark.parametrize("how", ["replacing", "appearing"])
def test_sweeping_takes_what_a_killed_run_left_and_nothing_that_a_living_one_writes(tmp_path, how):
    code = WRITES.format(how=how)
    child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "x"], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "there\n"
        sweep(tmp_path)
        assert len(names(tmp_path)) == 1
        if how == "appearing":
            with pytest.raises(UserError, match="is being written by another run"), appearing(tmp_path / "x"):
                pass
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
        child.stdout.close()
    assert len(names(tmp_path)) == 1
    (tmp_path / ".hidden").touch()
    sweep(tmp_path)
    assert names(tmp_path) == [".hidden"]
    sweep(tmp_path / "none")


def test_what_another_machine_left_is_swept_after_a_day(tmp_path):
    name = ".x.zzzz01234567.phonofilm-partial".replace("zzzz", "0000")
    if LEFT.fullmatch(aside(tmp_path / "x").name)["machine"] == "0000":
        name = name.replace("0000", "ffff")
    (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == [name]
    os.utime(tmp_path / name, (time.time() - 2 * 86400,) * 2)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with appearing(tmp_path / "new" / "model") as part:
        (part / "a").write_text("1")
        assert names(tmp_path / "new") == [part.name]
    assert names(tmp_path / "new" / "model") == ["a"]
    with pytest.raises(UserError, match="is there already"), appearing(tmp_path / "new" / "model"):
        pass

    def another_is_faster():
        with appearing(tmp_path / "x") as part:
            (part / "a").write_text("1")
            (tmp_path / "x").mkdir()

    with pytest.raises(UserError, match="is there already"):
        another_is_faster()
    assert names(tmp_path / "x") == []
    assert names(tmp_path) == ["new", "x"]


@pytest.mark.parametrize("place", ["file/below.txt", "folder", "fifo", "dev"])
def test_places_that_cannot_be_written_are_named(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    path = Path("/dev/null") if place == "dev" else tmp_path / place
    with pytest.raises(UserError, match=f"cannot write {path}"):
        write_text(path, "x")
    assert names(tmp_path) == ["fifo", "file", "folder"]
    assert not path.is_file()


def test_a_full_disk_is_named_and_keeps_the_old_file(full_disk):
    write_text(full_disk / "x", "old")
    with pytest.raises(UserError, match=f"cannot write {full_disk / 'x'}: No space left on device; make room"):
        write_text(full_disk / "x", "y" * 1_000_000)

    def tensors():
        with replacing(full_disk / "x.safetensors") as part:
            save_file({"x": torch.zeros(1_000_000)}, part)

    with pytest.raises(UserError, match="cannot write .*x.safetensors: .*No space left.*make room"):
        tensors()

    def folder():
        with appearing(full_disk / "model") as part:
            (part / "x").write_bytes(bytes(1_000_000))

    with pytest.raises(UserError, match="cannot write .*model: No space left"):
        folder()
    assert names(full_disk) == ["x"]
    assert (full_disk / "x").read_text() == "old"
