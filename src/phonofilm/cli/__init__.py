"""The door of ``phonofilm``: whatever goes wrong behind it becomes one line on stderr and an exit code.

2 is for what a person can mend, 130 for Ctrl-C, 143 for SIGTERM, 1 for a fault of the library's own. Nothing that takes
time is imported here, so that signals are answered from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from phonofilm.cli.signals import Stop, answered, repair_streams
from phonofilm.errors import printable

TRACEBACK = "PHONOFILM_TRACEBACK"
"""Environment variable: where it is set, faults of the library's own show where they come from."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``phonofilm``; without ``arguments`` those of the process, whose signals are then answered too."""
    if arguments is not None:
        run(arguments, Stop())
        return
    repair_streams()
    with answered() as stop:
        run(sys.argv[1:], stop)


def run(arguments: Sequence[str], stop: Stop) -> None:
    """Run a command. Ends by ``SystemExit`` with a code where it fails, after one line on stderr."""
    try:
        from phonofilm.cli.commands import run_command

        try:
            run_command(list(arguments))
        except SystemExit as end:  # --help
            _flush()
            raise end
        _flush()
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or stop.number:  # which libraries may turn into errors of their own
            stop.told = True
            raise SystemExit(_say("stopped", 128 + (stop.number or signal.SIGINT))) from error
        mendable = isinstance(error, ValueError | OSError | MemoryError)
        if not mendable and TRACEBACK in os.environ:
            raise
        raise SystemExit(_say(line_of(error), 2 if mendable else 1)) from error


def line_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return _about_place(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own
        return f"there is not enough memory ({text or 'of the machine'}); ask for less at a time, or take a larger one"
    if isinstance(error, ValueError):
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return (
        f"a fault that should not have come this far, please report it: {type(error).__name__}: {text} ({place}; "
        f"{TRACEBACK}=1 shows more)"
    )


def _about_place(error: OSError) -> str:
    reason = error.strerror or " ".join(str(error).split())
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    if isinstance(error, BrokenPipeError):
        _forget_output()
        return "nobody reads the output any more (broken pipe)"
    _forget_output()
    return f"reading or writing failed: {reason}"


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _forget_output() -> None:
    """Let what is not written yet go nowhere, or the interpreter would fail at it once more in the end."""
    try:
        _flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # where it has no descriptor, as under tests
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _say(text: str, code: int) -> int:
    if sys.stderr is not None:  # or else print would take stdout
        with suppress(OSError, ValueError):  # where nobody listens the code still tells
            print(f"phonofilm: {printable(text)}", file=sys.stderr, flush=True)
    return code
