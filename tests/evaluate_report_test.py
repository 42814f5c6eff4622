import json

import pytest

from phonofilm.evaluate.metrics import METRICS, Observation, measure
from phonofilm.evaluate.report import Report, main_table, markdown, page, tables, text, write_report


def seen(number, condition, **found):
    name = f"test-grid-{number}"
    return Observation(id=name, group="grid", voice="ada", condition=condition, said="set <b> now", **found)


@pytest.fixture
def report():
    observations = (
        seen(0, "generated", errors=1, heard="set", correlation=0.9, offset=0.01),
        seen(1, "generated", problem="UserError: no such file"),
        seen(0, "truth", errors=0, correlation=0.99, offset=0.0),
        seen(1, "truth", errors=0, correlation=0.98, offset=0.0),
    )
    found = (
        measure(metric, condition, observations, voice)
        for metric in METRICS
        for condition in ("generated", "truth")
        for voice in ("", "ada")
    )
    figures = tuple(figure for figure in found if figure)
    return Report(observations=observations, figures=figures, about={"clips": "here"})


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
    assert "- test-grid-1 (generated): UserError: no such file" in text(report)
    assert "clips: here" in text(report)


def test_page_escapes_and_embeds(report, tmp_path):
    (tmp_path / "test-grid-0.mp4").write_bytes(b"pipeline")
    html = page(report, tmp_path)
    assert "set &lt;b&gt; now" in html
    assert "set <b> now" not in html
    assert "data:video/mp4;base64,ZmlsbQ==" in html
    assert "<title>test-grid-0: 10, 0.9</title>" in html
    assert html.count("<svg") > 3


def test_files(report, tmp_path):
    write_report(report, tmp_path, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    (row,) = [
        row
        for row in content["figures"]
        if (row["metric"], row["condition"], row["voice"]) == ("offline.wer_grid", "generated", "")
    ]
    assert row["value"] == pytest.approx(2 / 3)
    assert (row["used"], row["total"], row["better"]) == (1, 2, "down")
    assert row["comparable_to_papers"] is False
    assert "60 dB" in row["preparation"]
    assert len((tmp_path / "clips.jsonl").read_text().splitlines()) == 4
