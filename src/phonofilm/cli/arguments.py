"""Arguments to typed records by tyro, whose complaints become one line."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from phonofilm.errors import UserError, printable

STYLE = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff)
RULE = re.compile(r"[─-]{4,}$")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What all commands that compute for long have in common."""

    verbose: bool = False
    """Say on standard error how many threads there are and how they wait for each other."""


def parse(form: Any, arguments: Sequence[str], *, prog: str, default: Any = None) -> Any:
    """The record of type ``form`` that the arguments describe.

    Raises ``UserError`` in one line, with the nearest flag where one is unknown; ``--help`` prints and exits.
    """
    said = io.StringIO()
    options = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(form, prog=prog, args=list(arguments), config=STYLE, **options)
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(one_line(said.getvalue())) from None


def one_line(box: str) -> str:
    """What matters in tyro's box (drawn, or plain where the terminal is not UTF-8): the complaint and a suggestion."""
    rows = [row.strip("│ ") for row in box.splitlines() if not row.startswith(("╭", "╰"))]
    sections: list[list[str]] = [[]]
    for row in rows:
        if RULE.match(row):
            sections.append([])
        elif row:
            sections[-1].append(row)
    if "│" not in box:
        sections = sections[1:] or sections  # the title stands above the first rule
    complaint = " ".join(sections[0]).rstrip(".")
    near = next((row for section in sections[1:] for row in section if row.startswith("--")), "")
    if near and "nrecognized" in complaint:
        complaint += f"; did you mean {near.split()[0].rstrip(',')}?"
    return complaint or "the arguments are not understood; --help lists them"


def check_number(name: str, value: float | None, *, low: float, high: float) -> None:
    """Refuse what is not a number, too small or huge; None is not given."""
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise UserError(f"--{name} {value}: accepted is from {low} to {high}")


def read_part(text: str) -> tuple[int, int]:
    """The numbers of ``--part i/n``: which of how many shares of the work is this machine's."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UserError(f"--part {text}: wanted is i/n with i from 0 and below n, such as 0/2")
    return int(index), int(count)


def read_pairs(flag: str, text: str, *, number: str, wanted: str) -> dict[str, str]:
    """Names and numbers of ``--flag name=number,name=number``; ``number`` is the pattern that a number must match."""
    pairs = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if not name or name in pairs or not re.fullmatch(number, value):
            raise UserError(f"--{flag} {text}: wanted are {wanted}")
        pairs[name] = value
    return pairs


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports that want an extra of the package: says which one to install where something is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "phonofilm":
            raise
        raise UserError(f"{error.name} is not installed; pip install 'phonofilm[{extra}]' brings it") from error


def say(text: str) -> None:
    """Print lines, in which names and words from elsewhere cannot control the terminal."""
    print("\n".join(printable(line) for line in text.split("\n")))
