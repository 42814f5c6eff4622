"""``phonofilm evaluate``: the held-out prompts beside their controls, or any folder of clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from phonofilm.cli.arguments import Command, check_number, needs
from phonofilm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Score clips beside controls, and write a report.

    phonofilm evaluate runs/clips --model pocket    (200 held-out prompts; the model makes the clips that are missing)

    phonofilm evaluate anybodys/clips --tier exact,offline -o report    (any folder of clips)
    """

    clips: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder with the clips. Those named like phonofilm's own prompts are scored as held-out clips, unless --tier,
    --truth or --reference asks otherwise."""
    prompts: Path | None = None
    """JSON lines with a name and what is to be said; for held-out clips 200 of the test split if not given."""
    model: str = ""
    """The model that makes missing held-out clips, and the untrained ones of the controls."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the report; "report" in the folder of the clips if not given."""
    workers: int = 2
    """Processes that read clips."""
    truth: Path | None = None
    """truth.parquet of `phonofilm puppets make`, or JSON lines with its columns, for any folder."""
    reference: Path | None = None
    """Folder with clips of the same names that these are reconstructions of."""
    tier: str = ""
    """What to measure in any folder: exact, offline, paper, or metrics by name, with commas; exact,offline if not
    given."""
    weights: tuple[str, ...] = ()
    """Checkpoints of your own for the tier paper: syncnet=FILE, whisper=FOLDER, clap=FOLDER, audiobox=FILE or FOLDER,
    speaker=FILE; nothing is downloaded."""
    controls: int = 8
    """Clips of any folder that are also scored with known damage."""
    seed: int = 0
    """Of the bootstrap, for any folder."""

    def run(self) -> None:
        check_number("workers", self.workers, low=1, high=1000)
        check_number("controls", self.controls, low=0, high=10_000)
        with needs("evaluate"):
            from phonofilm.evaluate.cases.heldout import are_held_out
            from phonofilm.evaluate.folder import Sources, evaluate_folder
            from phonofilm.evaluate.heldout import evaluate
            from phonofilm.evaluate.report.tables import failures

        output = self.output or self.clips / "report"
        any_folder = bool(self.tier or self.truth or self.reference or self.weights)
        if self.model and any_folder:
            raise UserError(
                "--model makes held-out clips; --tier, --truth, --reference, --weights are for others: give one kind"
            )
        if not any_folder and (self.model or are_held_out(self.clips, self.prompts)):
            report = evaluate(self.clips, prompts=self.prompts, model=self.model, output=output, workers=self.workers)
        else:
            report = evaluate_folder(
                Sources(
                    clips=self.clips,
                    truth=self.truth,
                    prompts=self.prompts,
                    reference=self.reference,
                    weights=dict(map(_named, self.weights)),
                ),
                output,
                tiers=tuple(part.strip() for part in (self.tier or "exact,offline").split(",") if part.strip()),
                num_controls=self.controls,
                workers=self.workers,
                seed=self.seed,
            )
        if wrong := failures(report):
            raise UserError(f"{'; '.join(wrong)} (the rest stands in {output})")


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise UserError(f"--weights {text}: give a name and a path, as syncnet=syncnet_v2.model")
    return name, Path(path)
