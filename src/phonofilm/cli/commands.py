"""The commands of ``phonofilm``: typed records with a ``run`` each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Union

import tyro

from phonofilm.cli.arguments import parse
from phonofilm.cli.codecs import Codecs
from phonofilm.cli.compare import Compare
from phonofilm.cli.evaluate import Evaluate
from phonofilm.cli.generate import Generate
from phonofilm.cli.importing import Import
from phonofilm.cli.prepare import Prepare
from phonofilm.cli.prompt_sets import Prompts
from phonofilm.cli.puppets import Puppets
from phonofilm.cli.show import Show
from phonofilm.cli.threads import share_cores
from phonofilm.cli.train import TrainRecipe
from phonofilm.errors import unknown

COMMANDS: dict[str, type] = {
    "generate": Generate,
    "prepare": Prepare,
    "train": TrainRecipe,
    "evaluate": Evaluate,
    "compare": Compare,
    "show": Show,
    "import": Import,
    "puppets": Puppets,
    "codecs": Codecs,
    "prompts": Prompts,
}
PARTS = {
    "codecs": ("train",),
    "puppets": ("make", "prompts", "show"),
    "prompts": ("verse-bench", "seed-tts", "portraits"),
}
"""Commands of commands."""


def run_command(arguments: Sequence[str]) -> None:
    """Run what the arguments describe."""
    threads = "torch was loaded before the command line" if "torch" in sys.modules else share_cores()
    wanted = command(arguments)
    if getattr(wanted, "verbose", False):
        print(f"phonofilm: {threads}", file=sys.stderr)
    wanted.run()


def command(arguments: Sequence[str]) -> Any:
    """The record that the arguments describe."""
    parts = PARTS.get(arguments[0], ()) if arguments else ()
    for words, known in ((arguments[:1], COMMANDS), (arguments[1:2] if parts else [], parts)):
        if words and not words[0].startswith("-") and words[0] not in known:
            raise unknown("command", words[0], known)
    forms = [Annotated[form, tyro.conf.subcommand(name)] for name, form in COMMANDS.items()]
    return parse(Union[tuple(forms)], arguments, prog="phonofilm")  # noqa: UP007
