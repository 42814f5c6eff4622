"""Work over processes: what kills one of them, and what ends their parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from phonofilm.evaluate.workers import spread


def die_at_two(number):
    if number == 2:
        os._exit(9)
    return -number


def die_once(folder):
    """Ends its process where nobody has done so before."""
    try:
        (folder / "dead").touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os._exit(9)


def fail(number):
    raise ValueError(f"no {number}")


def wait_long(folder):
    (folder / f"at-work-{os.getpid()}").touch()
    time.sleep(600)


def test_one_process_needs_no_other():
    assert dict(spread(lambda number: number + 1, [1, 2], 1)) == {0: 2, 1: 3}


def test_what_kills_its_process_is_known_and_the_others_go_on():
    assert dict(spread(die_at_two, [0, 1, 2, 3], 2)) == {0: 0, 1: -1, 2: None, 3: -3}


def test_work_of_a_process_that_died_is_done_by_another(tmp_path):
    assert dict(spread(die_once, [tmp_path, tmp_path], 2)) == {0: "done", 1: "done"}


def test_an_exception_of_the_work_is_raised():
    with pytest.raises(ValueError, match="no [12]"):
        list(spread(fail, [1, 2], 2))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_their_parent(how, tmp_path):
    """However it ends, and at once: none of them is left, whatever it was doing."""
    code = "import pathlib, signal, sys\nimport workers_test as t\nfrom phonofilm.evaluate.workers import spread\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
    code += "if __name__ == '__main__': list(spread(t.wait_long, [pathlib.Path(sys.argv[1])] * 2, 2))"
    (tmp_path / "main.py").write_text(code)
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # noqa: PTH120
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path],
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while len(found := list(tmp_path.glob("at-work-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    children = [int(path.name.removeprefix("at-work-")) for path in found]
    assert len(children) == 2
    parent.send_signal(how)
    parent.wait(60)
    end = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, children))


def alive(process):
    """Whether a process is there and no zombie that nobody has asked about yet."""
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
