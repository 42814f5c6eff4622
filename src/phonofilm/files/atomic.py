"""Files and folders that are there whole or not at all: written under a name aside, then renamed.

Names aside are hidden, end in ``.phonofilm-partial`` and the file's own suffix, and are locked while they are written:
what a killed run left behind is held by nobody, and ``sweep`` takes it away.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from phonofilm.errors import UserError
from phonofilm.files.plain import check_name

try:
    import fcntl
except ImportError:  # Windows: there nothing is ever swept
    fcntl = None

PARTIAL = ".phonofilm-partial"
"""In the name of everything that is not whole yet."""
LEFT = re.compile(rf"\..*\.(?P<machine>[0-9a-f]{{4}})[0-9a-f]{{8}}{re.escape(PARTIAL)}(\.[^.]+)?")
LONGEST = 40
"""Characters of the final name in the name aside, so that this is never too long for a file system."""
DAY = 86400.0
"""Seconds after which also what another machine left behind is swept, whose locks may not be seen here."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place on success and vanishes on any error.

    Raises ``UserError`` where the place cannot be written, at once or later: no room, no right, a folder in the way.
    """
    path = Path(path)
    check_name(path)
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it is no plain file; name one")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path, Path.touch) as part:
            try:
                yield part
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)


@contextmanager
def appearing(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write in, which takes the place of ``folder`` on success and vanishes on any error.

    Raises ``UserError`` where there is something already, where another run is writing it, and where the place cannot
    be written.
    """
    folder = Path(folder)
    check_name(folder)
    there = UserError(f"{folder} is there already; name a folder that is not")
    if folder.exists():
        raise there
    with told(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        if any(_is_for(path, folder) for path in folder.parent.iterdir()):
            raise UserError(f"{folder} is being written by another run; wait for it, or name another folder")
        with _held(folder, Path.mkdir) as part:
            try:
                yield part
                if folder.exists():  # another run was faster
                    raise there
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, all of it or nothing; see ``replacing``."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_once(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file unless it is there already: of two runs that come together one writes, all of it."""
    path = Path(path)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path, Path.touch) as part:
            try:
                part.write_text(text, encoding="utf-8")
                with suppress(FileExistsError):  # another run was first: its file counts
                    os.link(part, path)
            finally:
                part.unlink(missing_ok=True)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Take away what killed runs left in a folder (not below it); what a living run writes stays."""
    folder = Path(folder)
    check_name(folder)
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if match := LEFT.fullmatch(path.name):
            _remove_if_left(path, match["machine"])


@contextmanager
def told(place: str | os.PathLike[str]) -> Iterator[None]:
    """``UserError`` that names the place where the operating system refuses to write."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}; {remedy(error)}") from error
    except SafetensorError as error:
        if "os error" not in str(error):
            raise
        raise UserError(f"cannot write {place}: {error}; make room there or choose another place") from error


def remedy(error: OSError) -> str:
    """What to do about a place that cannot be written."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "make room there or choose another place" if error.errno in full else "choose another place"


def aside(path: Path) -> Path:
    """A name for what is not whole yet, which no reader takes for a finished file."""
    return path.with_name(f".{path.stem[:LONGEST]}.{_machine()}{secrets.token_hex(4)}{PARTIAL}{path.suffix[:LONGEST]}")


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _is_for(path: Path, folder: Path) -> bool:
    return bool(LEFT.fullmatch(path.name)) and path.name.startswith(f".{folder.stem[:LONGEST]}.") and path.is_dir()


@contextmanager
def _held(path: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A new temporary for ``path``, locked as long as this process writes; the lock goes with the process."""
    while True:
        part = aside(path)
        make(part)
        handle = os.open(part, os.O_RDONLY)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: there nobody sweeps either
                fcntl.flock(handle, fcntl.LOCK_EX)
        if part.exists():  # or else it was swept before it was locked
            break
        os.close(handle)
    try:
        yield part
    finally:
        os.close(handle)


def _remove_if_left(path: Path, machine: str) -> None:
    """Remove a temporary that nobody writes any more."""
    if fcntl is None:
        return
    try:
        if machine != _machine() and time.time() - path.stat().st_mtime < DAY:
            return
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # gone by now, or not ours to read
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody writes it
        return
    else:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # what cannot be removed stays; the next run tries again
        else:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(handle)
