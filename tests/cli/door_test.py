"""The door of the command line: one line and a code, whatever happens behind it."""

import signal
import subprocess
import sys
import time

import pytest

from phonofilm import cli
from phonofilm.cli import main
from phonofilm.cli.arguments import say
from phonofilm.errors import UserError, printable

START = "import phonofilm.cli as cli; print('at the door', flush=True); cli.main()"
BUSY = """
import phonofilm.cli as cli, time, sys
from phonofilm.cli import commands
class Busy:
    def run(self):
        print('at work', flush=True)
        try:
            {work}
        finally:
            print('cleaned', flush=True)
commands.command = lambda arguments: Busy()
print('at the door', flush=True); cli.main()
"""


def started(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def stopped(child, number, line, wait=0.0):
    """Send a signal after a line and a while; returns (code, stdout, stderr, seconds until the end)."""
    try:
        while child.stdout.readline().strip() != line:
            pass
        time.sleep(wait)
        child.send_signal(number)
        begun = time.monotonic()
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err, time.monotonic() - begun
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("wait", [0.05, 0.5])
def test_signals_while_the_program_loads(number, code, wait, tmp_path):
    child = started(START, "generate", "--scene", "a woman", "-o", str(tmp_path / "x.mp4"))
    assert stopped(child, number, "at the door", wait)[:3] == (code, "", "phonofilm: stopped\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_at_work_leave_time_to_clean_up(number, code):
    child = started(BUSY.format(work="time.sleep(60)"))
    assert stopped(child, number, "at work")[:3] == (code, "cleaned\n", "phonofilm: stopped\n")


@pytest.mark.parametrize(
    "work",
    [
        "__import__('hashlib').pbkdf2_hmac('sha256', b'x', b'y', 10**9)",  # deep in a library, which hears nothing
        "exec('while True:\\n try: time.sleep(60)\\n except KeyboardInterrupt: pass')",  # swallows it
    ],
)
def test_what_does_not_hear_is_ended(work):
    code, _, err, seconds = stopped(started(BUSY.format(work=work)), signal.SIGTERM, "at work", 0.2)
    assert (code, err) == (143, "phonofilm: stopped\n")
    assert seconds < 10  # 1.5 on a machine that is not overloaded


def test_an_error_that_a_library_makes_of_a_signal_is_no_error():
    work = "exec('try: time.sleep(60)\\nexcept BaseException: raise ImportError')"
    assert stopped(started(BUSY.format(work=work)), signal.SIGINT, "at work")[:3:2] == (130, "phonofilm: stopped\n")


class Failing:
    """A command that raises."""

    def __init__(self, error):
        self.error = error

    def run(self):
        raise self.error


CASES = {
    "for people": (UserError("x 3: 4 is wanted"), 2, "x 3: 4 is wanted"),
    "lines": (UserError("a\n  b"), 2, "a b"),
    "escapes": (UserError("no \x1b[31mred\x1b[0m\u202e"), 2, "no \\x1b[31mred\\x1b[0m\\u202e"),
    "place": (PermissionError(13, "Permission denied", "/x/y"), 2, "/x/y: Permission denied"),
    "pipe": (BrokenPipeError(32, "Broken pipe"), 2, "nobody reads the output any more (broken pipe)"),
    "memory": (MemoryError(), 2, "there is not enough memory"),
    "own": (
        KeyError("x"),
        1,
        "a fault that should not have come this far, please report it: KeyError: 'x' (door_test.py",
    ),
    "interrupt": (KeyboardInterrupt(), 130, "stopped"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_error_is_one_line(name, monkeypatch, capsys):
    error, code, line = CASES[name]
    monkeypatch.setattr("phonofilm.cli.commands.command", lambda arguments: Failing(error))
    with pytest.raises(SystemExit) as end:
        main([])
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(f"phonofilm: {line}")


def test_faults_of_our_own_can_be_seen_whole(monkeypatch):
    monkeypatch.setattr("phonofilm.cli.commands.command", lambda arguments: Failing(KeyError("x")))
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(KeyError):
        main([])


def test_streams_that_are_closed_full_or_read_by_nobody():
    def run(redirection):
        command = f"{sys.executable} -m phonofilm prompts --help {redirection}"
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600)

    assert (run("2>&-").returncode, run(">&- 2>&-").returncode) == (0, 0)
    full = run("> /dev/full")
    assert (full.returncode, full.stderr) == (2, "phonofilm: reading or writing failed: No space left on device\n")
    pipe = run("| true; exit ${PIPESTATUS[0]}")
    assert pipe.returncode in (0, 2)
    assert pipe.stderr in ("", "phonofilm: nobody reads the output any more (broken pipe)\n")


def test_files_never_take_the_place_of_closed_streams(tmp_path):
    code = (
        "import os, sys\nfrom phonofilm.cli.signals import repair_streams\nrepair_streams()\n"
        "file = open('x', 'w')\nassert file.fileno() > 2, file.fileno()\n"
        "print('lost', file=sys.stderr, flush=True); os.write(2, b'lost')"
    )
    result = subprocess.run(["bash", "-c", f'{sys.executable} -c "{code}" 2>&- >&- <&-'], cwd=tmp_path, timeout=600)
    assert result.returncode == 0
    assert (tmp_path / "x").read_bytes() == b""


def test_what_would_control_a_terminal_is_shown():
    assert printable("plain ä 名 'x'") == "plain ä 名 'x'"
    assert printable("a\x1b]0;b\x07\n\x9b\u202e\udcff") == "a\\x1b]0;b\\x07\\n\\x9b\\u202e\\udcff"


def test_foreign_text_does_not_control_the_terminal(capsys):
    say("\x1b[31mred\x1b[0m\nsecond line")
    assert capsys.readouterr().out == "\\x1b[31mred\\x1b[0m\nsecond line\n"
