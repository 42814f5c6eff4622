"""What a file holds, as a digest that is taken again only after the file has changed."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder, read in pieces; again only after a file has changed."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = "".join(f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files)
        return hashlib.sha256(told.encode()).hexdigest()
    found = path.stat()
    return _digest(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=100_000)
def _digest(path: Path, changed: int, size: int) -> str:
    del changed, size
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
