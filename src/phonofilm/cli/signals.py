"""Ctrl-C and SIGTERM: one line, exit codes 130 and 143, soon, whatever the program is doing."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

GRACE = 1.5
"""Seconds in which what runs may clean up. Whatever is written is written aside first, so nothing is harmed then."""
ANSWERED = (signal.SIGINT, signal.SIGTERM)


def repair_streams() -> None:
    """Put nothing where standard streams are closed (``2>&-``), or the next file that is opened would take the place
    of one and receive what is meant for it; what no encoding has is written as an escape."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


@dataclass
class Stop:
    """What a signal asked for, and whether that was said."""

    number: int = 0
    told: bool = False


@contextmanager
def answered() -> Iterator[Stop]:
    """While this runs, Ctrl-C and SIGTERM raise ``KeyboardInterrupt``, and the process ends soon after.

    The first signal wakes a thread even where the main one is deep in a library: what has not ended after ``GRACE``
    seconds is ended. Processes that are forked from this one do not answer so.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.number = stop.number or number
        raise KeyboardInterrupt

    stop, (ears, mouth) = Stop(), socket.socketpair()
    mouth.setblocking(False)
    threading.Thread(target=_end_soon, args=(ears, stop), daemon=True).start()
    for number in ANSWERED:
        signal.signal(number, interrupt)
    signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_as_usual)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(-1)
        mouth.close()


def _as_usual() -> None:
    """What a process does that is not answered for; its parent must not hear its signals."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_soon(ears: socket.socket, stop: Stop) -> None:
    while (heard := ears.recv(1)) and heard[0] not in ANSWERED:
        pass
    if not heard:  # all is done
        return
    time.sleep(GRACE)
    if not stop.told:
        with suppress(OSError):
            os.write(2, b"phonofilm: stopped\n")
    os._exit(128 + heard[0])
