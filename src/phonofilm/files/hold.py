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
    holder, path = folder / f".holder{name}", folder / f".lock{name}"
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = _locked(path)
        except Timeout as error:
            raise UserError(f"{folder} is held by {_named(holder)}: wait for it, or choose another folder") from error
    try:
        sweep(folder)
        write_text(holder, f"{work} (process {os.getpid()} on {platform.node()}, since {time.strftime('%H:%M')})\n")
        yield
    finally:
        for own in (holder, path):
            own.unlink(missing_ok=True)
        lock.release()


def _locked(path: Path) -> FileLock:
    """A lock that is held, on a file that is there: one that ends takes its file away."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except NotImplementedError:  # a file system without locks
        print(f"{path} cannot be locked: make sure that no other run works there", file=sys.stderr)
        return lock
    if path.exists():
        return lock
    lock.release()
    return _locked(path)


def _named(holder: Path) -> str:
    """Who holds a folder, as it wrote down itself."""
    try:
        return holder.read_text(encoding="utf-8").strip() or "another run"
    except (OSError, UnicodeDecodeError):  # it begins or ends at this moment
        return "another run"
