"""The held-out prompts through a whole random model: the plumbing of generation, codecs and scores in training."""

import pytest
import torch
from extras import needed

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.evaluate.cases.clips import make_clips, request_of, untrained
from phonofilm.evaluate.cases.entries import entry_of
from phonofilm.evaluate.cases.heldout import held_out
from phonofilm.evaluate.engine import measure
from phonofilm.evaluate.heldout import through_codecs
from phonofilm.evaluate.quick import WRONG, clip_scoring
from phonofilm.files.media import read_manifest
from phonofilm.generation.pipeline import load

COUNTS = {"portrait": 1, "ball": 1}


@pytest.fixture(scope="module")
def cases():
    return held_out("val", COUNTS)


@pytest.fixture(scope="module")
def pipeline(model_folder):
    return load(str(model_folder)).adjusted(steps=1)


def test_clips_are_made_once_and_name_their_model(pipeline, cases, tmp_path, monkeypatch):
    make_clips(pipeline, cases, tmp_path)
    assert read_manifest(tmp_path / f"{cases[0].id}.mp4")["task"] == "i2av"
    assert read_manifest(tmp_path / f"{cases[1].id}.mp4")["prompt"]["scene"] == cases[1].prompt.scene
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    make_clips(pipeline, cases, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")} == before


def test_an_untrained_model_has_the_codecs_but_other_weights(pipeline):
    control = untrained(pipeline)
    assert control.checkpoint.video_codec is pipeline.checkpoint.video_codec
    pairs = zip(control.checkpoint.backbone.parameters(), pipeline.checkpoint.backbone.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert control.manifest(control.resolve(request_of(held_out("val", {"ball": 1})[0])))["weights"] == "untrained"


def test_the_truth_goes_through_the_codecs(model_folder, cases):
    (job,) = through_codecs([entry_of(cases[1], model_folder)], model_folder)
    (outcome,) = measure(job)
    assert (outcome.condition, outcome.problem, outcome.failed) == ("codecs", "", {})
    assert "exact.event_f1@80ms" in outcome.values


def test_clips_are_scored_with_the_weights_of_a_step(pipeline, model_folder):
    hook = clip_scoring(pipeline.checkpoint.experiment, model_folder, counts={"ball": 1})
    figures = hook(0, pipeline.checkpoint.backbone)
    assert set(figures) == {"eval_clips/event_f1", WRONG}
    assert figures[WRONG] == pytest.approx(1 - figures["eval_clips/event_f1"])
