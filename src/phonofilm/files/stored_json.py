"""JSON files that others may have written or damaged: every fault is a ``UserError`` that names the file and the field.

A form is a Python type as records declare them: ``int``, ``float``, ``str``, ``bool``, unions of these,
``tuple[int, ...]``, ``tuple[float, float]``, ``dict[str, float]`` and ``dict`` for any object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin

from phonofilm.errors import UserError
from phonofilm.files.plain import check_plain

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "an object"}
LARGEST = 1e12
"""No number that a model's files hold is larger."""
SHOWN = 40


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file. Raises ``UserError`` where there is no file, no JSON in it, or another value."""
    check_plain(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise UserError(f"{path} is not JSON that can be read: its values are nested too deeply") from error
    except ValueError as error:  # of the text's encoding, too
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {shown(content)}, wanted is an object in braces")
    return content


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def entry(content: Mapping[str, Any], name: str, form: Any, path: Path) -> Any:
    """What an object holds under a dotted name, in a form; ``UserError`` where it is missing or of another form."""
    value: Any = content
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{path} has no {name!r}; wanted is {described(form)}")
        value = value[part]
    return typed(value, form, name, path)


def typed(value: Any, form: Any, name: str, path: Path) -> Any:
    """A value of JSON in a form, lists as tuples; ``UserError`` where it has another one."""
    if get_origin(form) is tuple:
        forms = get_args(form)
        if isinstance(value, list) and (forms[-1] is ... or len(forms) == len(value)):
            forms = forms[:1] * len(value) if forms[-1] is ... else forms
            return tuple(typed(part, one, f"{name}.{k}", path) for k, (part, one) in enumerate(zip(value, forms)))
    elif get_origin(form) is dict:
        if isinstance(value, dict):
            return {key: typed(part, get_args(form)[1], f"{name}.{key}", path) for key, part in value.items()}
    elif any(_fits(value, one) for one in (get_args(form) if isinstance(form, UnionType) else (form,))):
        return value
    raise UserError(f"{path}: {name} is {shown(value)}, wanted is {described(form)}")


def _fits(value: Any, form: type) -> bool:
    if isinstance(value, bool):
        return form is bool
    if isinstance(value, int | float):
        whole = isinstance(value, int)
        return (form is float or (form is int and whole)) and math.isfinite(value) and abs(value) <= LARGEST
    return isinstance(value, form)


def described(form: Any) -> str:
    """A form in words."""
    if get_origin(form) is tuple:
        forms = get_args(form)
        return f"a list of {described(forms[0])} each" if forms[-1] is ... else f"a list of {len(forms)} values"
    if get_origin(form) is dict:
        return f"an object of {described(get_args(form)[1])} each"
    if isinstance(form, UnionType):
        return " or ".join(described(one) for one in get_args(form))
    return WORDS[form]


def shown(value: Any) -> str:
    """The beginning of a value, for a message."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
