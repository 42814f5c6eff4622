"""Plain files, told from folders, pipes and devices before anything is read."""

from __future__ import annotations

from pathlib import Path

from phonofilm.errors import UserError


def check_name(path: Path) -> None:
    """Raise ``UserError`` for a name that no file system takes, and for a place that may not be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # too long, links in a circle, not allowed; a zero byte in it
        reason = error.strerror if isinstance(error, OSError) else error
        name = repr(str(path)[:80])
        raise UserError(f"{name} cannot be a file or folder here ({reason}); choose another name") from error


def check_plain(path: Path) -> None:
    """Raise ``UserError`` for what is no plain file; a pipe would have to be read twice, and may never end."""
    try:
        if path.is_file():
            return
        there = path.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); name a file") from error
    if path.is_dir():
        raise UserError(f"{path}: cannot be read, it is a folder; name a file in it")
    raise UserError(
        f"{path}: is no plain file (a pipe or a device); copy it to one" if there else f"{path}: no such file"
    )
