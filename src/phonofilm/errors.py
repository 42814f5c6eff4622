"""The one exception whose message is meant for people rather than programmers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something that the person at the keyboard can mend; one line: the bad value, what is accepted, what to do.

    The command line prints the message alone and ends with exit code 2.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a misspelt name: says which names exist and which one is nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{meant} (known: {', '.join(names) or 'none'})")


def printable(text: str) -> str:
    """Text in one line that a terminal only shows: whatever would control it stands as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
