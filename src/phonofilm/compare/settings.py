"""Settings as plain values, and a file of them that later runs must agree with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.files.atomic import write_once
from phonofilm.files.stored_json import read_json
from phonofilm.recipes.record import difference

FORMAT = 2
"""Of a file of settings; those of phonofilm 0.1.0 have none, and name functions by the modules that they stood in."""


def claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings for the first time, or make sure that they are those that the file holds.

    Raises ``UserError`` that names the first setting that differs. Of two machines that come together one writes.
    """
    settings = json.loads(json.dumps({"format": FORMAT, **settings}))
    if not path.exists():
        write_once(path, json.dumps(settings, indent=1) + "\n")
    there = read_json(path)
    if there.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {there.get('format', 1)}, this phonofilm reads {FORMAT}: finish it with the phonofilm "
            "that made it, or choose another folder"
        )
    if found := difference(there, settings):
        raise UserError(f"{path.parent} was made with {found}: choose another folder or the same setting")
