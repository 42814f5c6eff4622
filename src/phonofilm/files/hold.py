"""Folders that one process at a time works in: the others are told who it is."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from phonofilm.errors import UserError
from phonofilm.files.atomic import sweep, told, write_text


@contextmanager
def held(folder: Path, work: str, name: str = "") -> Iterator[None]:
    """Keep a folder for this process while the block runs, and sweep what killed runs left in it.

    The hold goes with the process, however it ends. ``work`` says what is being done ("phonofilm train"); holds of
    other names do not stand in each other's way. Raises ``UserError`` that says who holds the folder.
    """
    holder, lock = folder / f".holder{name}", FileLock(folder / f".lock{name}")
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise UserError(f"{folder} is held by {_named(holder)}: wait for it, or choose another folder") from error
        except NotImplementedError:  # a file system without locks
            print(f"{folder} cannot be locked: make sure that no other run works in it", file=sys.stderr)
    try:
        sweep(folder)
        write_text(holder, f"{work} (process {os.getpid()} on {platform.node()}, since {time.strftime('%H:%M')})\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _named(holder: Path) -> str:
    """Who holds a folder, as it wrote down itself."""
    try:
        return holder.read_text(encoding="utf-8").strip() or "another run"
    except (OSError, UnicodeDecodeError):  # it begins or ends at this moment
        return "another run"
