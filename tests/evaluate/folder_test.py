"""``evaluate`` on any folder: real files, some of them broken, measured, resumed and reported."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from extras import needed

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.errors import UserError
from phonofilm.evaluate import engine
from phonofilm.evaluate.cases.entries import find_entries
from phonofilm.evaluate.cases.heldout import are_held_out, held_out
from phonofilm.evaluate.folder import Sources, choose, evaluate_folder
from phonofilm.evaluate.probes import probe
from phonofilm.evaluate.probes.families import PROBES
from phonofilm.evaluate.readers import pitch
from phonofilm.evaluate.report.folder import tables
from phonofilm.evaluate.report.tables import text
from phonofilm.files.media import Limits, read_clip, write_clip
from phonofilm.puppets import readback
from phonofilm.puppets.corpus import truth
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import write_script
from phonofilm.puppets.stage import draw
from phonofilm.types import Clip

BESIDE = (folder / "shared" / "clips" for folder in Path(__file__).resolve().parents)
REAL = next((folder for folder in BESIDE if folder.is_dir()), Path("shared/clips"))


def puppet(seed, stage, size=64):
    """A clip and the row of truth about it."""
    performance = perform(write_script(seed, split="val", stage=stage))
    drawing = draw([performance], size=size)
    clip = Clip(video=drawing.video[0], audio=performance.wave, fps=24.0, sample_rate=16000)
    return clip, truth(performance, drawing.mouth[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two speakers, a ball, and what goes wrong with files: cut, empty, text, muted, without sound, missing."""
    folder = tmp_path_factory.mktemp("any")
    rows = []
    for name, stage in (("ada", "speaker"), ("ball", "ball"), ("ben", "speaker")):
        clip, row = puppet(len(rows), stage)
        write_clip(folder / f"{name}.mp4", clip)
        rows.append({"name": name} | row)
    write_clip(folder / "mute.mp4", replace(clip, audio=clip.audio * 0))
    write_clip(folder / "deep" / "nosound.mp4", replace(clip, audio=clip.audio[:, :0]))
    (folder / "cut.mp4").write_bytes((folder / "ada.mp4").read_bytes()[:9000])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no clip")
    rows.append({"name": "gone", "stage": "ball"})
    (folder / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def report(folder):
    sources = Sources(clips=folder, truth=folder / "truth.jsonl")
    return evaluate_folder(sources, folder / "report", num_controls=3, workers=1)


def test_truth_is_found_by_name(folder):
    entries = {e.name: e for e in find_entries(folder, truth=folder / "truth.jsonl")}
    assert set(entries) == {"ada", "ball", "ben", "mute", "deep/nosound", "cut", "empty", "text", "gone"}
    assert entries["ada"].truth.stage == "speaker"
    assert entries["ada"].lines == entries["ada"].truth.said
    assert entries["mute"].truth is None


def test_figures_of_true_clips(report):
    for metric, least in (("exact.lip_corr", 0.95), ("exact.looks", 0.9), ("exact.event_f1@80ms", 0.9)):
        assert report.figure(metric).value > least
    ball = report.figure("exact.event_f1@80ms")
    assert (ball.used, ball.total) == (1, 2)
    contacts = len(report.entries["ball"].truth.events)
    assert ball.value == 1
    assert ball.pessimistic == pytest.approx(2 * contacts / (2 * contacts + 1))  # the missing one is one contact missed
    assert report.figure("offline.wer_jsgf").total <= 2
    assert report.figure("exact.flicker").used == 5


def test_every_damage_shows_where_it_should(report):
    late, frozen, noisy = (report.figure("exact.lip_offset_ms", c) for c in ("late", "frozen", "noisy"))
    assert late.value == pytest.approx(200, abs=15)
    assert (frozen.value, frozen.used) == (None, 0)
    assert abs(noisy.value) < 15
    steady = {c: report.figure("exact.flicker", c).value for c in ("late", "frozen", "noisy")}
    assert steady["noisy"] < steady["late"] < steady["frozen"] == 1.0
    assert report.figure("exact.event_f1@80ms", "silent").value == 0.0
    assert report.figure("exact.lip_corr", "shuffled").value < 0.8


def test_what_is_broken_is_named_and_counted(report, folder):
    broken = {o.name for o in report.outcomes if o.problem}
    assert broken == {"cut", "empty", "text", "gone"}
    written = text(report, tables(report))
    for name in broken:
        assert f"- {name}: UserError" in written
    assert "(4 clips cannot be read)" in written
    assert "- mute: silent" in written
    assert "- deep/nosound: no sound" in written


def test_every_record_says_what_it_takes_to_read_it(report, folder):
    content = json.loads((folder / "report" / "report.json").read_text())
    assert len(content["figures"]) == len(report.figures)
    wanted = {"value", "better", "unit", "used", "total", "low", "high", "evaluator", "evaluator_version"}
    wanted |= {"preparation", "data", "seed", "comparable_to_papers"}
    assert all(wanted <= set(row) for row in content["figures"])
    (wer,) = [r for r in content["figures"] if (r["metric"], r["condition"]) == ("offline.wer_jsgf", "clips")]
    assert wer["evaluator_version"]


def test_the_page_needs_nothing_beside_it(report, folder):
    page = (folder / "report" / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert page.count("<svg") > 5
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_second_run_measures_only_what_failed(report, folder, monkeypatch):
    seen = []
    run = engine.spread
    monkeypatch.setattr(engine, "spread", lambda work, jobs, count: seen.extend(jobs) or run(work, jobs, count))
    store = folder / "report" / "outcomes.jsonl"
    store.write_text(store.read_text() + store.read_text().splitlines()[0][:50])  # a killed run's last line
    sources = Sources(clips=folder, truth=folder / "truth.jsonl")
    again = evaluate_folder(sources, folder / "report", num_controls=3, workers=1)
    assert {job.entry.name for job in seen} == {"cut", "empty", "text", "gone"}
    assert again.figures == report.figures


def test_nothing_is_read_twice_from_a_clip(folder, monkeypatch):
    read = Counter()

    def count(module, name):
        whole = getattr(module, name)

        def counted(content, *rest):
            read[name, content.numpy().tobytes()] += 1
            return whole(content, *rest)

        monkeypatch.setattr(module, name, counted)

    readings = ((readback, "read_look"), (readback, "read_opening"), (pitch, "track"), (probe, "resample"))
    for module, name in readings:
        count(module, name)
    entry = next(e for e in find_entries(folder, truth=folder / "truth.jsonl") if e.name == "ada")
    asked = {p.name for p in PROBES if p.name in choose(("exact",))[0] and p.wants(entry)}
    assert {"looks", "identity", "factors", "lips", "voice", "emotion", "voice_of_ten"} <= asked
    (outcome,) = engine.measure(engine.Job(entry=entry, probes=tuple(asked)))
    assert not outcome.problem
    assert not outcome.missed
    assert {name for name, _ in read} == {name for _, name in readings}
    assert set(read.values()) == {1}


def test_limits_bound_what_is_read(folder):
    clip = read_clip(folder / "ada.mp4", limits=Limits(seconds=0.5, pixels=32 * 32))
    assert clip.video.shape == (12, 3, 32, 32)
    assert clip.audio.shape[-1] == 8000
    whole = read_clip(folder / "ada.mp4")
    assert (clip.audio == whole.audio[:, :8000]).all()


def test_held_out_folders_are_known(folder, tmp_path):
    assert are_held_out(tmp_path)
    assert not are_held_out(folder)
    assert are_held_out(folder, _prompts(tmp_path))


def _prompts(tmp_path):
    (case,) = held_out("val", {"ball": 1})
    (tmp_path / "p.jsonl").write_text(json.dumps({"name": case.id}))
    return tmp_path / "p.jsonl"


def test_what_is_not_there_is_refused(folder, tmp_path):
    for sources, message in (
        (Sources(clips=tmp_path / "no"), "no such folder"),
        (Sources(clips=tmp_path), "no clip"),
        (Sources(clips=folder, truth=tmp_path / "t.parquet"), "--truth"),
        (Sources(clips=folder, reference=tmp_path / "r"), "--reference"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_folder(sources, tmp_path / "out")
    with pytest.raises(UserError, match="did you mean 'offline'"):
        choose(["ofline"])


def test_paper_metrics_run_with_weights_or_refuse_by_name():
    probes, missing = choose(["paper"])
    assert probes == ()
    assert "--weights syncnet=PATH" in missing["paper.lse_c@lrs"]
    assert "no adapter yet" in missing["paper.cpcer"]
    assert choose(["paper"], ["syncnet"])[0] == ("sync",)
    with pytest.raises(UserError, match=r"paper.lse_c@mova has no adapter yet"):
        choose(["exact", "paper.lse_c@mova"])
    with pytest.raises(UserError, match=r"paper.lse_d@lrs cannot run: needs --weights"):
        choose(["paper.lse_d@lrs"])


def test_weights_that_are_not_there_are_refused(folder, tmp_path):
    for weights, message in (({"syncnet": tmp_path / "no"}, "no such file"), ({"sinknet": tmp_path}, "did you mean")):
        with pytest.raises(UserError, match=message):
            evaluate_folder(Sources(clips=folder, weights=weights), tmp_path / "out")


@pytest.mark.skipif(not REAL.is_dir(), reason="the five real clips are not part of the repository")
def test_real_clips_go_through_the_offline_tier(tmp_path):
    sources = Sources(clips=REAL, prompts=REAL / "clips.jsonl")
    report = evaluate_folder(sources, tmp_path, tiers=["offline"], num_controls=0, workers=1)
    assert [o.problem for o in report.outcomes] == [""] * 5
    lines = report.figure("offline.wer_lines")
    assert (lines.used, lines.total) == (4, 5)  # one line holds a name that no dictionary has
    assert "tirani" in text(report, tables(report))
