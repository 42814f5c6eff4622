"""Whether a clip's file ends where it says, found out without decoding it."""

from __future__ import annotations

import os
from pathlib import Path

NEEDED = {b"moov", b"mdat"}
"""Boxes of an mp4: the index, which holds the manifest and may come first, and pictures and sound."""


def is_whole(path: Path) -> bool:
    """Whether an mp4 or a wav has all the bytes that its parts announce, and no more."""
    total = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            return int.from_bytes(head[4:], "little") + 8 == total
        found, place = set[bytes](), 0
        while place < total:
            file.seek(place)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:  # a box of 4 GB or more has its length behind its name
                size = int.from_bytes(head[8:16], "big")
            if size < 8:
                return False
            found.add(kind)
            place = file.seek(place + size, os.SEEK_SET)
    return place == total and found >= NEEDED
