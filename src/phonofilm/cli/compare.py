"""``phonofilm compare``: recipes trained and scored at equal data, steps and parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from phonofilm.cli.arguments import Command, check_number, needs, read_pairs, read_part


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Train and score several recipes at equal data, steps and parameters, and write the page that compares them.

    What is done already is not done again: repeat the command after a stop, or to write the page anew.
    phonofilm compare --recipes jova_study,ovi_study --data data/train --codecs runs/codecs --out runs/compare
    """

    out: Path
    """Folder of the comparison: a run for every arm and seed, and in the end report.html, .md and .json."""
    data: Path
    """A cache that `phonofilm prepare` made; all arms see its clips as they are now."""
    codecs: Path
    """The codecs that made it: a folder with vae, audio_vae and vocoder."""
    recipes: str = ""
    """Names of recipes (or package.module:function) with commas; the first is what the others are compared with."""
    study: str = ""
    """Instead of recipes: the name of a study (or package.module:function), a claim and the recipes that test it."""
    seeds: int = 3
    """Trainings of each arm; arms that differ in guidance or sampling alone share them."""
    budget: Literal["samples", "minutes"] = "samples"
    """What every training gets the same of."""
    amount: float | None = None
    """How many samples or minutes; the samples of the first arm's recipe if not given."""
    batch: int | None = None
    """Samples of a step; the recipes', if they agree."""
    prompts: str = ""
    """Held-out clips of the test split that every model makes, per group (grid, talk, portrait, voice, ball); the
    study's if not given, for recipes grid=24,talk=16,ball=12."""
    guidance: Literal["on", "both"] = "on"
    """both: the clips are also made without guidance, and compared."""
    tolerance: float = 0.05
    """By what share the largest arm may be larger than the smallest in parameters."""
    part: str = "0/1"
    """i/n: only every n-th training from i and its clips, for several machines or a job array on one folder."""
    trainings: Path | None = None
    """A folder where several comparisons share trainings: what one has trained alike, on the same clips and with the
    same budget, the others find. Inside --out, for this comparison alone, if not given."""
    page: Path | None = None
    """A markdown file that the page is copied to, docs/results/NAME.md; its plots go beside it."""
    workers: int = 2
    """Processes that read clips."""
    device: str = ""
    """cpu or cuda; a GPU if there is one."""
    save_every: int | None = None
    """Steps between checkpoints; the recipe's if not given."""
    compile: bool | None = None
    """Compile the blocks; as the recipe says if not given."""

    def run(self) -> None:
        """Do this machine's share; write the page if nothing is left."""
        check_number("seeds", self.seeds, low=1, high=1000)
        check_number("amount", self.amount, low=1e-3, high=1e15)
        check_number("batch", self.batch, low=1, high=1_000_000)
        check_number("tolerance", self.tolerance, low=0, high=1000)
        check_number("workers", self.workers, low=1, high=1000)
        check_number("save-every", self.save_every, low=1, high=1_000_000_000)
        part, counts = read_part(self.part), read_counts(self.prompts) if self.prompts else None
        with needs("evaluate"):
            from phonofilm.compare.plan import Terms, find_arms, find_study, open_comparison
            from phonofilm.compare.run import PATIENCE, compare
            from phonofilm.compare.study import PROMPTS
            from phonofilm.compare.work import Machine
            from phonofilm.train.parallel import world
        study = find_study(self.study) if self.study else None
        arms = find_arms(self.recipes, study)
        terms = Terms(
            seeds=self.seeds,
            budget=self.budget,
            amount=self.amount,
            batch=self.batch,
            prompts=counts or (study.prompts if study else PROMPTS),
            guidance=self.guidance,
            tolerance=self.tolerance,
        )
        machine = Machine(
            part=part, workers=self.workers, device=self.device, save_every=self.save_every, compile=self.compile
        )
        with world(self.device, patience=PATIENCE) as here:
            given = {"data": self.data, "codecs": self.codecs, "study": study}
            if here.first:  # which clips there are now is for one process to say
                open_comparison(self.out, arms, terms, **given)
            here.wait()
            comparison = replace(open_comparison(self.out, arms, terms, **given), trainings=self.trainings)
            compare(comparison, machine, here, page=self.page)


def read_counts(text: str) -> dict[str, int]:
    """The numbers of clips in ``--prompts grid=24,talk=16``."""
    pairs = read_pairs("prompts", text, number=r"\d+", wanted="groups with numbers, as grid=24,talk=16,ball=12")
    return {group: int(count) for group, count in pairs.items() if int(count)}
