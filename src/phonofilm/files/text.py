"""Text files as the world writes them: with or without a byte-order mark, lines that only a line feed ends."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.files.plain import check_plain

MARKS = (  # the longer first: UTF-32's mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte-order mark says. Raises ``UserError`` for what is no text."""
    check_plain(path)
    try:
        content = path.read_bytes()
        return content.decode(next((name for mark, name in MARKS if content.startswith(mark)), "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read as text ({reason}); UTF-8 is wanted") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that hold something, with their numbers from 1.

    Characters that end a line elsewhere (U+2028, form feeds) are part of the line, as JSON allows in its strings.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def read_json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """JSON objects, one a line, with the numbers of their lines. Raises ``UserError`` with the line that is none."""
    rows = []
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); one object a line is wanted") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is wanted, not {line.strip()[:60]}")
        rows.append((number, row))
    return rows
