"""Checksums of what phonofilm wrote itself, so that a flipped bit is seen; ``sha256sum -c`` reads them too."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.files.atomic import write_text

SUMS = "SHA256SUMS"
"""Name of the list of a folder."""
SEAL = "sha256"
"""Entry of a JSON object that holds the digest of all others."""
LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


def digest(path: Path) -> str:
    """SHA-256 of a file; ``UserError`` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def write_sums(path: Path, digests: Mapping[str, str]) -> None:
    """Write a list of files' names with their digests."""
    write_text(path, "".join(f"{value}  {name}\n" for name, value in sorted(digests.items())))


def read_sums(path: Path) -> dict[str, str]:
    """Names and digests of a list; ``UserError`` where it cannot be read or is damaged itself."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a list of checksums ({error})") from error
    found = LINE.findall(text)
    if not found or "".join(f"{value}  {name}\n" for value, name in found) != text:
        raise UserError(f"{path} is damaged: it is no list of checksums")
    return {name: value for value, name in found}


def check_sums(path: Path, names: Sequence[str] | None = None) -> None:
    """Raise ``UserError`` that names the first file beside a list which is gone or is not what was written.

    ``names`` are some files of the list; all if None.
    """
    digests = read_sums(path)
    for name in digests if names is None else names:
        if name not in digests:
            raise UserError(f"{path} does not list {name}")
        if not (path.parent / name).is_file():
            raise UserError(f"{path.parent / name} is gone, {path.name} lists it")
        if digest(path.parent / name) != digests[name]:
            raise UserError(f"{path.parent / name} is damaged: it does not have the checksum of {path.name}")


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An object for a JSON file with a digest of its entries."""
    return {**content, SEAL: _digest_of(content)}


def check_seal(content: Mapping[str, Any], path: Path) -> None:
    """Raise ``UserError`` where a sealed object is not what was written."""
    if content.get(SEAL) != _digest_of({name: part for name, part in content.items() if name != SEAL}):
        raise UserError(f"{path} is damaged: its entries do not have the checksum that it holds")


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
