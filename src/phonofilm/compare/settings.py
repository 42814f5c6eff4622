"""Settings as plain values, and a file of them that later runs must agree with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phonofilm.errors import UserError
from phonofilm.files.atomic import write_once

SHOWN = 60
"""Characters of a value in a message."""


def plain(value: Any) -> Any:
    """A record as plain values that are the same in every process: functions become their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": type(value).__name__} | fields
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(part) for part in value), key=str)
    if isinstance(value, partial):
        return {"is": plain(value.func), "args": plain(value.args), "named": plain(value.keywords)}
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def differing(there: Any, now: Any, name: str = "") -> str:
    """The first setting that differs, by its dotted name and with both values; "" where all are equal."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*there, *now]):
            if found := differing(there.get(key), now.get(key), f"{name}.{key}".strip(".")):
                return found
        return ""
    if isinstance(there, list) and isinstance(now, list) and len(there) == len(now):
        return next((found for k in range(len(now)) if (found := differing(there[k], now[k], f"{name}.{k}"))), "")
    return "" if there == now else f"{name} {_short(there)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings for the first time, or make sure that they are those that the file holds.

    Raises ``UserError`` that names the first setting that differs. Of two machines that come together one writes.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_once(path, json.dumps(settings, indent=1) + "\n")
    if found := differing(json.loads(path.read_text()), settings):
        raise UserError(f"{path.parent} was made with {found}: choose another folder or the same setting")
