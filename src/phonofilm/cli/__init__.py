"""The command line: typed records with a ``run`` each, and one place where errors become one line and exit code 2."""

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``phonofilm``. Ends with code 2 and one line on stderr for what a person can mend."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        threads = "torch was loaded before the command line" if "torch" in sys.modules else share_cores()
        wanted = command(arguments)
        if getattr(wanted, "verbose", False):
            print(f"phonofilm: {threads}", file=sys.stderr)
        wanted.run()
    except ValueError as error:
        print(f"phonofilm: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        print("phonofilm: stopped", file=sys.stderr)
        raise SystemExit(130) from error


def command(arguments: Sequence[str]) -> Any:
    """The record that the arguments describe."""
    parts = PARTS.get(arguments[0], ()) if arguments else ()
    for words, known in ((arguments[:1], COMMANDS), (arguments[1:2] if parts else [], parts)):
        if words and not words[0].startswith("-") and words[0] not in known:
            raise unknown("command", words[0], known)
    forms = [Annotated[form, tyro.conf.subcommand(name)] for name, form in COMMANDS.items()]
    return parse(Union[tuple(forms)], arguments, prog="phonofilm")  # noqa: UP007
