"""JSON lines as people and programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError


def read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with the number of its line; a byte-order mark is no part of them.

    Lines end at line feeds alone, since JSON's texts may hold Unicode's other separators. Raises ``UserError`` for
    what cannot be read, is no JSON or no object.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as JSON lines ({error})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise UserError(f'{path}, line {number}: an object is wanted, such as {{"name": "..."}}, not {line}')
            rows.append((number, row))
    return rows
