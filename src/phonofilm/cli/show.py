"""The other commands: thin records over functions of the package, which are imported only when a command runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show what a recipe, a model or a clip is.

    phonofilm show pocket
    """

    name: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NAME")]] = "pocket"
    """A recipe, a shipped model, a checkpoint folder, or an mp4 that phonofilm wrote."""

    def run(self) -> None:
        from phonofilm.cli.describe import show

        print(show(self.name))
