"""The whole command on a folder of clips, some of which are broken."""

import json
import sys

import pytest
from extras import needed

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.cli import main
from phonofilm.errors import UserError
from phonofilm.evaluate import engine
from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.heldout import held_out, read_cases, true_clip, write_prompts
from phonofilm.evaluate.heldout import evaluate
from phonofilm.evaluate.readers import lips, speech
from phonofilm.evaluate.report.figures import voice_of
from phonofilm.evaluate.report.heldout import tables
from phonofilm.evaluate.report.tables import text
from phonofilm.files.media import write_clip

COUNTS = {"grid": 3, "portrait": 1, "ball": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """True clips in the place of generated ones: one is muted, one is no mp4, one is missing."""
    folder = tmp_path_factory.mktemp("clips")
    cases = held_out("val", COUNTS)
    write_prompts(folder / "prompts.jsonl", cases)
    write_clip(folder / f"{cases[0].id}.mp4", true_clip(cases[0].script))
    write_clip(folder / f"{cases[1].id}.mp4", controls.silence(true_clip(cases[1].script)))
    (folder / f"{cases[2].id}.mp4").write_bytes(b"no clip")
    write_clip(folder / f"{cases[4].id}.mp4", true_clip(cases[4].script))
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return evaluate(folder, workers=1)


def test_prompts_are_rows_that_generate_reads(folder):
    rows = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert {key for row in rows for key in row} == {"name", "scene", "say", "sound", "seed", "seconds", "image"}
    (portrait,) = [row for row in rows if "image" in row]
    assert portrait["scene"] == ""
    assert portrait["image"].endswith(f"portraits/{portrait['name']}.png")


def test_cases_come_back_from_the_file(folder):
    assert read_cases(folder / "prompts.jsonl") == held_out("val", COUNTS)


def test_prompts_of_another_kind_are_refused(folder, tmp_path):
    row = json.loads((folder / "prompts.jsonl").read_text().splitlines()[0])
    for change, message in (({"name": "mine"}, "mine"), ({"say": "something else"}, "another version")):
        (tmp_path / "p.jsonl").write_text(json.dumps(row | change))
        with pytest.raises(UserError, match=message):
            read_cases(tmp_path / "p.jsonl")


def test_figures(report):
    assert report.figure("offline.wer_grid", "silent").value == 1.0
    ours, truth = report.figure("offline.wer_grid", "generated"), report.figure("offline.wer_grid", "truth")
    assert (ours.used, ours.total) == (2, 3)
    assert (truth.used, truth.total) == (3, 3)
    assert truth.value < ours.value <= 1.0
    assert report.figure("exact.event_f1@80ms", "generated").value == pytest.approx(1.0, abs=0.15)
    assert report.figure("exact.portrait_looks", "truth").value == 1.0
    assert report.figure("exact.portrait_looks", "generated").value == 0.0  # it is missing
    late = report.figure("exact.lip_offset_ms", "late")
    assert late.value == pytest.approx(200, abs=10)


def test_broken_clips_are_named(report):
    problems = [o.name for o in report.outcomes if o.problem and o.condition == "generated"]
    assert len(problems) == 2
    assert all(name in text(report, tables(report)) for name in problems)


def test_files_hold_what_the_report_does(folder, report):
    content = json.loads((folder / "report" / "report.json").read_text())
    assert len(content["figures"]) == len(report.figures)
    assert {row["comparable_to_papers"] for row in content["figures"]} == {False}
    assert (folder / "report" / "report.md").read_text().strip() == text(report, tables(report)).strip()
    page = (folder / "report" / "report.html").read_text()
    assert "data:video/mp4;base64," in page
    assert "offline.wer_grid" in page


def test_a_second_run_measures_no_clip_again(folder, report, monkeypatch):
    seen = []
    run = engine.spread
    monkeypatch.setattr(engine, "spread", lambda work, jobs, count: seen.extend(jobs) or run(work, jobs, count))
    again = evaluate(folder, workers=1)
    assert {(job.entry.name, *job.conditions) for job in seen} == {
        (o.name, o.condition) for o in report.outcomes if o.problem
    }
    assert again.figures == report.figures


def test_a_run_that_was_killed_goes_on(folder, report):
    store = folder / "report" / "outcomes.jsonl"
    lines = store.read_text().splitlines()
    store.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    assert evaluate(folder, workers=1).figures == report.figures
    assert sorted(store.read_text().splitlines()) == sorted(lines)


def test_each_voice_has_its_figures(report):
    voices = {figure.voice for figure in report.figures} - {""}
    assert voices == {voice_of(entry) for entry in report.entries.values()} - {""}
    parts = [report.figure("offline.wer_grid", "truth", voice) for voice in voices]
    assert sum(part.total for part in parts if part) == report.figure("offline.wer_grid", "truth").total


def test_a_missing_package_stops_the_run_before_it_begins(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(UserError, match=r"offline.wer_grid cannot run: pocketsphinx .*phonofilm\[evaluate\]"):
        evaluate(folder)


def test_an_evaluator_that_fails_is_charged_to_no_clip(folder, monkeypatch, capsys):
    """As where numba may not write its cache: no WER of 1, no correlation of 0, and the exit code says so."""
    monkeypatch.setattr(lips, "align", lambda *_: 1 / 0)
    monkeypatch.setattr(speech, "recognise", lambda *_: 1 / 0)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(folder), "--workers", "1", "-o", str(folder / "failed")])
    assert end.value.code == 2
    said = capsys.readouterr()
    assert "the evaluator lips (exact.lip_corr, exact.lip_offset_ms, exact.lip_offset_within_42ms) failed" in said.err
    rows = json.loads((folder / "failed" / "report.json").read_text())["figures"]
    by_name = {(row["metric"], row["condition"]): row for row in rows if not row["voice"]}
    truth = by_name["exact.lip_corr", "truth"]
    assert (truth["value"], truth["pessimistic"], truth["used"], truth["total"]) == (None, None, 0, 3)
    # A muted clip needs no recogniser to have lost its words; one that cannot be read is still charged.
    assert by_name["offline.wer_grid", "silent"]["value"] == 1.0
    assert by_name["offline.wer_grid", "truth"]["value"] is None
    assert by_name["exact.looks", "truth"]["value"] == 1.0
    assert "What did not run" in said.out


def test_no_clips_at_all_says_how_to_make_them(folder, tmp_path):
    with pytest.raises(UserError, match="phonofilm generate --prompts"):
        evaluate(tmp_path, prompts=folder / "prompts.jsonl")
