"""The page of a comparison, in markdown, as JSON, and as HTML with plots and clips that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from phonofilm.compare.figures import estimate, outcome
from phonofilm.compare.tables import Result, loss_names, sentences, setup_table, tables
from phonofilm.compare.work import clips_of
from phonofilm.evaluate.report import plots
from phonofilm.evaluate.report.page import as_video, whole_page
from phonofilm.evaluate.report.plots import Curve, Interval
from phonofilm.evaluate.report.tables import Table, hypertext, markdown, provenance
from phonofilm.files.media import replacing

METHOD = "95 %, bootstrap over seeds and clips (clips shared by all seeds), 2000 resamples, seed 0, percentiles"


class Picture(NamedTuple):
    """A plot with its title and a name for a file."""

    name: str
    title: str
    svg: str


def loss_pictures(result: Result) -> list[Picture]:
    """One plot for each training loss: a line for each seed, a colour for each training and the arms that share it."""
    drawn, shared = [], result.comparison.trained_as
    names = {first: ", ".join(arm for arm in shared if shared[arm] == first) for first in shared.values()}
    for name in loss_names(result):
        lines = [
            Curve(names[arm], [(step * result.comparison.terms.batch, value) for step, value in some[name]])  # pyright: ignore
            for arm in names
            for some in result.losses[arm]
            if some.get(name)
        ]
        drawn.append(Picture(f"loss-{name}", f"Training loss, {name}", plots.curves(lines, "samples", "loss")))
    return [picture for picture in drawn if picture.svg]


def figure_pictures(result: Result) -> list[Picture]:
    """One plot for each metric, of all rows, and one of the differences."""
    drawn = []
    for metric in result.metrics:
        for title, found in (("", result.figures), (f", differences from {result.first}", result.differences)):
            rows = [
                Interval(row, f.value, f.low, f.high)
                for (row, name), f in found.items()
                if name == metric.name and f.value is not None and f.low is not None and f.high is not None
            ]
            drawn.append(Picture(metric.name, metric.name + title, plots.intervals(rows, metric.unit)))
    return [picture for picture in drawn if picture.svg]


def problems(result: Result) -> list[str]:
    """Clips that could not be read, by name."""
    return [
        f"{arm}, guidance {guidance}, seed {seed}: {o.name}: {o.problem}"
        for (arm, guidance), seeds in result.seen.items()
        for seed, some in enumerate(seeds)
        for _, o in some
        if o.problem and o.condition == "generated"
    ]


def text(result: Result, pictures: Mapping[str, str]) -> str:
    """The page in markdown; ``pictures`` are titles and files of the plots beside it."""
    parts = [f"# {_title(result)}", f"Made by `{command(result)}`.", *sentences(result)]
    parts += [f"## {table.title}\n\n{markdown(table)}" for table in tables(result)]
    parts += ["## Loss curves", *(f"![{title}]({file})" for title, file in pictures.items())]
    if broken := problems(result):
        parts += [f"## {len(broken)} clips could not be read", "\n".join(f"- {line}" for line in broken)]
    return "\n\n".join(parts) + "\n"


def _title(result: Result) -> str:
    study = result.comparison.study
    return f"Study: {study.name}" if study else f"Comparison of {', '.join(result.comparison.arms)}"


def command(result: Result) -> str:
    """The command that makes such a page."""
    study, terms = result.comparison.study, result.comparison.terms
    what = f"--study {study.name}" if study else f"--recipes {','.join(result.comparison.arms)}"
    prompts = ",".join(f"{group}={count}" for group, count in terms.prompts.items())
    how = f"--seeds {terms.seeds} --budget {terms.budget} --amount {terms.amount:g} --batch {terms.batch}"
    rest = f"--prompts {prompts} --guidance {terms.guidance} --tolerance {terms.tolerance:g}"
    return f"phonofilm compare {what} {how} {rest}"


def html(result: Result) -> str:
    """The page as HTML that needs nothing beside it, with clips of all arms side by side."""
    parts = [f"<h1>{escape(_title(result))}</h1><p><code>{escape(command(result))}</code></p>"]
    parts += [f"<p>{escape(sentence)}</p>" for sentence in sentences(result)]
    parts += [f"<h2>{escape(t.title)}</h2>{hypertext(_unmarked(t))}" for t in tables(result)]
    drawn = [*loss_pictures(result), *figure_pictures(result)]
    boxes = (f"<div style='display:inline-block'><h3>{escape(p.title)}</h3>{p.svg}</div>" for p in drawn)
    parts += ["<h2>Plots</h2>", *boxes, "<h2>Clips of seed 0</h2>", *gallery(result)]
    parts += [f"<p>could not be read: {escape(line)}</p>" for line in problems(result)]
    return whole_page(f"phonofilm compare: {_title(result)}", parts)


def _unmarked(table: Table) -> Table:
    return table._replace(rows=tuple(tuple(text.replace("**", "") for text in row) for row in table.rows))


def gallery(result: Result) -> list[str]:
    """The first prompt of each group, as every arm made it."""
    firsts = {case.group: case for case in reversed(result.cases)}
    jobs = {job.arm: job for job in result.comparison.jobs if job.seed == 0}
    parts = []
    for case in firsts.values():
        parts.append(f"<h3>{escape(case.id)}: {escape(case.words or case.prompt.scene)}</h3>")
        for (arm, guidance), seeds in result.seen.items():
            found = next(o for _, o in seeds[0] if (o.name, o.condition) == (case.id, "generated"))
            clip = as_video(found, clips_of(jobs[arm], guidance) / f"{case.id}.mp4")
            parts.append(f"<div style='display:inline-block'><b>{escape(arm)}, guidance {guidance}</b><br>{clip}</div>")
    return parts


def content(result: Result) -> dict[str, object]:
    """The page for programs."""
    by_name = {metric.name: provenance(metric) | {"interval": METHOD} for metric in result.metrics}
    study = result.comparison.study
    found = {"figures": result.figures, "differences": result.differences}
    records = {
        kind: [{"system": row, "metric": m} | f._asdict() | by_name[m] for (row, m), f in some.items()]
        for kind, some in found.items()
    }
    guided = [
        {"system": arm, "guidance": guidance, "metric": m.name} | f._asdict()
        for arm, guidance in result.seen
        for m in result.metrics
        if (f := estimate(m, result.clips(arm, guidance)))
    ]
    verdicts = [{"against": v.against, "outcome": v.outcome} | v.difference._asdict() for v in result.verdicts]
    return {
        "command": command(result),
        "study": study and {"name": study.name, "claim": study.claim, "source": study.source, "figure": study.figure},
        "outcome": outcome(result.verdicts) if study else None,
        "verdicts": verdicts,
        "setup": {what: value for what, value in setup_table(result).rows},
        **records,
        "guidance": guided,
        "trained_as": result.comparison.trained_as,
        "cost": result.costs,
        "losses": result.losses,
    }


def write_page(result: Result, path: Path) -> None:
    """Write the page in markdown, and its plots beside it."""
    drawn = {picture.title: (f"{path.stem}-{picture.name}.svg", picture.svg) for picture in loss_pictures(result)}
    for name, svg in drawn.values():
        with replacing(path.with_name(name)) as part:
            part.write_text(svg + "\n", encoding="utf-8")
    with replacing(path) as part:
        part.write_text(text(result, {title: name for title, (name, _) in drawn.items()}), encoding="utf-8")


def write_result(result: Result, folder: Path) -> None:
    """Write ``report.md`` with its plots, ``report.json`` and ``report.html``."""
    write_page(result, folder / "report.md")
    for name, body in {"report.json": json.dumps(content(result), indent=1), "report.html": html(result)}.items():
        with replacing(folder / name) as part:
            part.write_text(body + "\n", encoding="utf-8")
