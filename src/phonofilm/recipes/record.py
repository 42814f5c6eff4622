"""The record of a recipe: everything in it as plain JSON data, the same in every process and after every move of code.

Three files hold such records: a model's ``experiment.json``, a run's ``run.json`` and a comparison's
``comparison.json``. Each compares what it holds with the recipe at hand and refuses by the name of what differs.

- A dataclass or named tuple is an object whose ``is`` names its class, so that two classes with equal fields differ.
- A function or class is ``{"is": "function", "name": ...}``. Names are those of ``name_of``: they hold no import path
  of phonofilm, so that code may move, and ``types.recorded_as`` keeps a name when code is renamed.
- Lists and tuples are lists, sets are sorted, mappings have text as keys.
- A field whose metadata is ``types.NOT_RECORDED`` is left out: it says where something lies, not what it is.

Any other kind of value is refused by the name of its field.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence, Set
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple

import torch

from phonofilm.errors import UserError
from phonofilm.types import RECORDED_AS

SHOWN = 60
"""Characters of a value in a message."""
LEAVES = ("class", "function", "float", "dtype")
"""What ``is`` can say of values without fields."""
NOTHING = object()
"""In place of a value that one of two records does not have."""
Plain = Any
"""None, a truth value, a number, text, or lists and text-keyed dicts of such."""


def record(value: object, name: str = "") -> Plain:
    """A value as plain JSON data; ``name`` is the dotted name of the field that holds it.

    Raises ``UserError`` with that name for a value that has no record: a lambda, a tensor, an object of any other kind.
    """
    if isinstance(value, Enum):
        return {"is": name_of(type(value), name), "value": value.name}
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"is": "float", "value": str(value)}
    if isinstance(value, torch.dtype):
        return {"is": "dtype", "value": str(value).removeprefix("torch.")}
    if isinstance(value, partial):
        parts = {"function": value.func, "arguments": value.args, "named": value.keywords}
        return {"is": "partial"} | {part: record(x, dotted(name, part)) for part, x in parts.items()}
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return {"is": "class" if isinstance(value, type) else "function", "name": name_of(value, name)}
    if isinstance(value, MethodType):
        return {"is": "method", "name": name_of(value.__func__, name), "of": record(value.__self__, dotted(name, "of"))}
    return _compound(value, name)


def _compound(value: object, name: str) -> Plain:
    if isinstance(value, Set):
        return {"is": "set", "of": sorted((record(part, name) for part in value), key=json.dumps)}
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str) or key == "is"]
        if strange:
            raise UserError(f"{name or 'the recipe'} has the key {strange[0]!r}, accepted are texts other than 'is'")
        return {key: record(part, dotted(name, key)) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = {field: (field, part) for field, part in zip(value._fields, value)}  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(value, list | tuple):
        return [record(part, dotted(name, str(place))) for place, part in enumerate(value)]
    elif dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.metadata.get(RECORDED_AS, field.name)]
        parts = {f.metadata.get(RECORDED_AS, f.name): (f.name, getattr(value, f.name)) for f in fields}
    else:
        raise UserError(
            f"{name or 'the recipe'} is {_text(repr(value))}, of the class {type(value).__name__}, which cannot be "
            "recorded: make it a frozen dataclass or a function of a module"
        )
    own = {key: record(part, dotted(name, field)) for key, (field, part) in parts.items()}
    return {"is": name_of(type(value), name)} | own


def name_of(thing: Any, field: str = "") -> str:
    """The name under which a class or function is recorded, whatever module it stands in.

    For phonofilm's own: the name that ``types.recorded_as`` declares, else the one that it has in its module. For all
    others: their module and name. Raises ``UserError`` for what no module holds under a name, such as a lambda.
    """
    declared = vars(thing).get(RECORDED_AS) if hasattr(thing, "__dict__") else None
    if declared is not None:
        return declared
    module, name = getattr(thing, "__module__", None) or "builtins", thing.__qualname__
    if "<" in name:
        raise UserError(
            f"{field or 'the recipe'} is {module}.{name}, which exists inside a function only and so has no name to be "
            "recorded by: put it at the top level of a module"
        )
    return name if module.split(".")[0] == "phonofilm" else f"{module}.{name}"


def dotted(name: str, part: str) -> str:
    """The name of a part of something."""
    return f"{name}.{part}" if name else part


def without(recorded: Mapping[str, Plain], names: Collection[str]) -> dict[str, Plain]:
    """A record without some of its fields, by their dotted names; those that it does not have are no error."""
    left = dict(recorded)
    for name in names:
        first, _, rest = name.partition(".")
        if not rest:
            left.pop(first, None)
        elif isinstance(left.get(first), Mapping):
            left[first] = without(left[first], [rest])
    return left


class Difference(NamedTuple):
    """Where two records differ first."""

    name: str
    """Dotted."""
    stored: Plain
    own: Plain

    def __str__(self) -> str:
        """For example ``model.num_dual 2, now 3``."""
        return f"{self.name} {_shown(self.stored)}, now {_shown(self.own)}"


def difference(stored: Plain, own: Plain, name: str = "") -> Difference | None:
    """The first difference between a stored record and one's own; None where they are equal."""
    if _opens(stored) and _opens(own) and stored.get("is") == own.get("is"):
        keys = dict.fromkeys([*own, *stored])
        pairs = ((key, stored.get(key, NOTHING), own.get(key, NOTHING)) for key in keys)
    elif isinstance(stored, list) and isinstance(own, list):
        places = range(max(len(stored), len(own)))
        pairs = ((str(k), _at(stored, k), _at(own, k)) for k in places)
    else:
        return None if _equal(stored, own) else Difference(name, stored, own)
    return next((found for key, a, b in pairs if (found := difference(a, b, dotted(name, key)))), None)


def _opens(value: Plain) -> bool:
    """Whether a record has parts that are worth a name of their own."""
    return isinstance(value, dict) and value.get("is") not in LEAVES


def _at(items: Sequence[Plain], place: int) -> Plain:
    return items[place] if place < len(items) else NOTHING


def _equal(one: Plain, other: Plain) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _shown(value: Plain) -> str:
    if value is NOTHING:
        return "nothing"
    if isinstance(value, dict) and "is" in value:
        return _text(" ".join(str(value[key]) for key in ("is", "name", "value") if key in value))
    return _text(json.dumps(value))


def _text(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
