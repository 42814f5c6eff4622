"""Joint generation of video and sound: ``phonofilm.load("pocket").generate(Request(...))``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from phonofilm.version import __version__

if TYPE_CHECKING:
    from phonofilm.cli.threads import share_cores
    from phonofilm.files.media import read_clip, read_image, read_wave, write_clip
    from phonofilm.generation.pipeline import Pipeline, load
    from phonofilm.types import Audio, Clip, Prompt, Request

__all__ = [
    "Clip",
    "Pipeline",
    "Prompt",
    "Request",
    "Audio",
    "__version__",
    "load",
    "share_cores",
    "read_clip",
    "read_image",
    "read_wave",
    "write_clip",
]
_HOMES = {
    "cli.threads": ("share_cores",),
    "generation.pipeline": ("Pipeline", "load"),
    "files.media": ("read_clip", "read_image", "read_wave", "write_clip"),
    "types": ("Clip", "Prompt", "Request", "Audio"),
}


def __getattr__(name: str) -> object:
    """Public names are imported when first asked for, so that ``phonofilm --help`` need not load torch."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"phonofilm.{module}"), name)
    raise AttributeError(f"module 'phonofilm' has no attribute {name!r}")
