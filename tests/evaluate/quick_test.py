import json
import sys
from collections import Counter

import pytest
from extras import needed
from training import Noise, tiny

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.errors import UserError
from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.heldout import true_clip
from phonofilm.evaluate.quick import COUNTS, NAMES, WRONG, counts_of, score_clips, tiers_here, validation_cases
from phonofilm.puppets import bounces
from phonofilm.train.loop import Origin, Watch, train


@pytest.fixture(scope="module")
def truth():
    cases = validation_cases({"grid": 2, "ball": 1})
    return cases, [true_clip(case.script) for case in cases]


def test_truth_is_nearly_right_and_damage_shows(truth):
    cases, clips = truth
    right = score_clips(cases, clips)
    assert right[WRONG] < 0.1
    assert right["eval_clips/lip_corr"] > 0.97
    assert right["eval_clips/event_f1"] > 0.8
    late = score_clips(cases, [controls.delay_audio(clip) for clip in clips])
    mute = score_clips(cases, [controls.freeze(controls.silence(clip)) for clip in clips])
    assert right[WRONG] + 0.2 < late[WRONG] < mute[WRONG]
    assert mute["eval_clips/wer_grid"] == 1.0
    assert late["eval_clips/looks"] == right["eval_clips/looks"] == 1.0


def test_validation_prompts_are_not_of_the_test_split(truth):
    assert all(case.id.startswith("val-") for case in truth[0])


def test_the_same_prompts_at_every_look():
    assert counts_of(16) == COUNTS
    assert counts_of(1) == {"grid": 1}
    cases = validation_cases(counts_of(8))
    assert cases == validation_cases(counts_of(8))
    assert Counter(case.group for case in cases) == {"grid": 5, "talk": 2, "ball": 1}


def test_without_pocketsphinx_words_are_absent_and_the_extra_is_named(truth, monkeypatch, capsys):
    for name in ("pocketsphinx", "jiwer"):
        monkeypatch.setitem(sys.modules, name, None)
    tiers = tiers_here()
    assert "without pocketsphinx, jiwer; pip install 'phonofilm[evaluate]'" in capsys.readouterr().err
    figures = score_clips(*truth, tiers=tiers)
    words = {name for metric, name in NAMES.items() if metric.startswith("offline.")}
    assert set(figures) == {WRONG, *NAMES.values()} - words
    assert figures[WRONG] < 0.1
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"needs scipy; pip install 'phonofilm\[evaluate\]'"):
        tiers_here()


def test_an_evaluator_that_fails_is_no_wrong_clip(truth, monkeypatch):
    monkeypatch.setattr(bounces, "read_contacts", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="the evaluator ball failed: ZeroDivisionError"):
        score_clips(*truth)


def test_figures_of_scored_clips_land_in_the_log_and_in_tensorboard(truth, tmp_path):
    accumulator = needed("tensorboard.backend.event_processing.event_accumulator")
    (*_, case), (*_, clip) = truth
    watch = Watch(every=(lambda step, backbone: score_clips([case], [clip]),), best=WRONG)
    train(tiny(steps=2, sample_every=1), Noise(), tmp_path, watch=watch, origin=Origin(device="cpu"))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = {row["step"]: row["eval_clips/event_f1"] for row in rows if WRONG in row}
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("eval_clips/event_f1")}
    assert set(logged) == {1, 2}
    assert shown == pytest.approx(logged)
