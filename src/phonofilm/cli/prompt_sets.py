"""``phonofilm prompts``: published sets of prompts as the lines that ``generate`` and ``evaluate --prompts`` read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

SourceArgument = tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SET")]]
OutArgument = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


@dataclass(frozen=True, kw_only=True)
class VerseBench:
    """Turn Verse-Bench into prompts: a picture, a scene, a sound and words.

    phonofilm prompts verse-bench verse_bench -o prompts.jsonl
    """

    source: SourceArgument
    """The folder that `hf download` made (or one of set1, set2, set3 in it), or MOVA's verse_bench_prompts.json."""
    out: OutArgument = Path("prompts.jsonl")
    """The file of prompts to write."""
    text_only: bool = False
    """Leave the pictures out, for models that start from words alone."""

    def run(self) -> None:
        from phonofilm.generation.prompt_sets import verse_bench, write_rows

        rows = verse_bench(self.source, pictures=not self.text_only)
        write_rows(rows, self.out)
        print(f"{self.out}: {len(rows)} prompts")


@dataclass(frozen=True, kw_only=True)
class SeedTts:
    """Turn a list of Seed-TTS-eval into prompts: words and a recording of the voice to say them with.

    phonofilm prompts seed-tts seedtts_testset/en/meta.lst -o prompts.jsonl
    """

    source: SourceArgument
    """A meta.lst of the set; its recordings are looked for beside it."""
    out: OutArgument = Path("prompts.jsonl")
    """The file of prompts to write."""

    def run(self) -> None:
        from phonofilm.generation.prompt_sets import seed_tts, write_rows

        rows = seed_tts(self.source)
        write_rows(rows, self.out)
        print(f"{self.out}: {len(rows)} prompts")


@dataclass(frozen=True, kw_only=True)
class Portraits:
    """Turn portraits with three fields (scene, sound, speech) into prompts, as JoVA's UniAvatar-Bench must have them.

    phonofilm prompts portraits faces -o prompts.jsonl
    """

    source: SourceArgument
    """A folder of NAME.json beside NAME.png, or JSON lines with portrait, scene, sound and speech."""
    out: OutArgument = Path("prompts.jsonl")
    """The file of prompts to write."""

    def run(self) -> None:
        from phonofilm.generation.prompt_sets import portraits, write_rows

        rows = portraits(self.source)
        write_rows(rows, self.out)
        print(f"{self.out}: {len(rows)} prompts")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Turn a published set of prompts into a file for generate --prompts and evaluate --prompts."""

    command: Annotated[
        Annotated[VerseBench, tyro.conf.subcommand("verse-bench")]
        | Annotated[SeedTts, tyro.conf.subcommand("seed-tts")]
        | Annotated[Portraits, tyro.conf.subcommand("portraits")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        """Run what was chosen."""
        self.command.run()
