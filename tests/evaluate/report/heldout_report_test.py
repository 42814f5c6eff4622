import json
from dataclasses import replace
from pathlib import Path

import pytest

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.heldout import scored
from phonofilm.evaluate.report.heldout import main_table, tables
from phonofilm.evaluate.report.page import as_video, page, write_report
from phonofilm.evaluate.report.tables import markdown, text


def entry(number, folder):
    said = ("set <b> now",)
    truth = Truth(stage="speaker", grammar="grid", voices=("ada",), rates=(180,), said=said, looks=({"hair": "red"},))
    name = f"test-grid-{number}"
    return Entry(name=name, path=folder / f"{name}.mp4", group="grid", lines=said, truth=truth)


def seen(number, condition, *, errors=None, correlation=0.9, offset=0.0, **more):
    values = {}
    if errors is not None:
        values = {"offline.wer_jsgf": (float(errors), 3.0), "exact.lip_corr": (correlation, 1.0)}
        values["exact.lip_offset_ms"] = (offset, 1.0)
    return Outcome(name=f"test-grid-{number}", condition=condition, values=values, **more)


@pytest.fixture
def report(tmp_path):
    outcomes = (
        seen(0, "generated", errors=1, offset=10.0, observed={"said": "set <b> now", "heard": "set"}),
        seen(1, "generated", problem="UserError: no such file"),
        seen(0, "truth", errors=0, correlation=0.99),
        seen(1, "truth", errors=0, correlation=0.98),
    )
    return replace(scored([entry(k, tmp_path) for k in range(2)], outcomes), about={"clips": "here"})


def test_main_table_has_figure_interval_coverage_bar_and_verdict(report):
    (row,) = [row for row in main_table(report).rows if row[0] == "offline.wer_grid"]
    assert row[2] == "0.667 [0.333, 1.000] (1/2)"
    assert row[3] == "0.000 [0.000, 0.000] (2/2)"
    assert row[4:] == ("<= 0.15, truth + 0.06", "no")


def test_markdown_lines_up(report):
    for table in tables(report):
        lines = markdown(table).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert len(lines) == len(table.rows) + 2


def test_text_names_what_could_not_be_read(report):
    written = text(report, tables(report))
    assert "- test-grid-1: UserError: no such file" in written
    assert "clips: here" in written
    assert "What did not run" not in written


def test_text_names_evaluators_that_failed(report):
    outcomes = (*report.outcomes, seen(0, "late", failed={"lips": "RuntimeError: cannot cache"}))
    failed = scored(list(report.entries.values()), outcomes)
    written = text(failed, tables(failed))
    assert "# What did not run" in written
    assert (
        "the evaluator lips (exact.lip_corr, exact.lip_offset_ms, exact.lip_offset_within_42ms) failed on 1" in written
    )


def test_page_escapes_and_embeds(report, tmp_path):
    (tmp_path / "test-grid-0.mp4").write_bytes(b"clip")
    html = page(report, tables(report), as_video)
    assert "set &lt;b&gt; now" in html
    assert "set <b> now" not in html
    assert "data:video/mp4;base64,Y2xpcA==" in html
    assert "<title>test-grid-0: 10, 0.9</title>" in html
    assert html.count("<svg") > 3


def test_files(report, tmp_path):
    write_report(report, tables(report), tmp_path, as_video)
    content = json.loads((tmp_path / "report.json").read_text())
    (row,) = [
        row
        for row in content["figures"]
        if (row["metric"], row["condition"], row["voice"]) == ("offline.wer_grid", "generated", "")
    ]
    assert row["value"] == row["pessimistic"] == pytest.approx(2 / 3)
    assert (row["used"], row["total"], row["better"]) == (1, 2, "down")
    assert row["comparable_to_papers"] is False
    assert row["evaluator_version"]
    assert "60 dB" in row["preparation"]
    assert len((tmp_path / "clips.jsonl").read_text().splitlines()) == 4
    assert not Path(tmp_path / "report").exists()
