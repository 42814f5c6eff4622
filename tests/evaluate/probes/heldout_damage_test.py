"""Held-out prompts under the engine's conditions: what is harmed shows in the figures that it concerns, in no other."""

import pytest
import torch
from extras import needed

needed("espeakng_loader", "librosa", "pocketsphinx")

from phonofilm.cli.generate import read_requests
from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.clips import request_of
from phonofilm.evaluate.cases.entries import entry_of
from phonofilm.evaluate.cases.heldout import held_out, read_cases, true_clip, write_prompts
from phonofilm.evaluate.engine import DAMAGED, SHUFFLED, Job, measure, measure_clip
from phonofilm.evaluate.heldout import generated, probes_of
from phonofilm.evaluate.probes import wording
from phonofilm.generation.request import brought
from phonofilm.puppets.performance import perform
from phonofilm.puppets.sounds import level
from phonofilm.puppets.voice import SAMPLE_RATE, speak
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Clip


@pytest.fixture(scope="module")
def cases():
    return held_out("val", {"grid": 2, "ball": 1})


@pytest.fixture(scope="module")
def entries(cases, tmp_path_factory):
    return [entry_of(case, tmp_path_factory.mktemp("clips")) for case in cases]


def measured(entry, clip, conditions=("clips",), **more):
    job = Job(entry=entry, probes=probes_of(entry), conditions=conditions, **more)
    return {outcome.condition: outcome for outcome in measure_clip(job, clip)}


@pytest.fixture(scope="module")
def speaker(cases, entries):
    return measured(entries[0], true_clip(cases[0].script), ("clips", *DAMAGED))


def test_the_truth_is_right(speaker):
    values = {name: value for name, (value, _) in speaker["clips"].values.items()}
    assert values["exact.lip_corr"] > 0.97
    assert abs(values["exact.lip_offset_ms"]) < 10
    assert values["exact.looks"] == 5
    assert values["exact.voice_class"] == 1
    assert values["offline.wer_jsgf"] <= 2
    assert set(speaker["clips"].observed) >= {"said", "heard", "hair", "pitch"}


def test_what_a_damage_leaves_alone_is_as_it_was(speaker):
    own = speaker["clips"].values
    sound, picture = ("offline.wer_jsgf", "exact.voice_class"), ("exact.looks", "exact.looks_hair")
    for condition, same in (("late", picture), ("silent", picture), ("frozen", sound)):
        assert {name: speaker[condition].values[name] for name in same} == {name: own[name] for name in same}
    assert speaker["late"].values["exact.lip_offset_ms"][0] == pytest.approx(200, abs=10)
    assert speaker["silent"].values["offline.wer_jsgf"] == (6.0, 6.0)  # every word is missing, which is a measurement
    assert speaker["silent"].missed == {"lips": "silent", "voice": "silent"}
    assert speaker["frozen"].missed == {"lips": "the mouth does not move"}


def test_a_probe_is_not_asked_again_about_what_it_reads_unharmed(cases, entries, monkeypatch):
    heard = []
    words = wording.WORDS._replace(read=lambda entry, clip: heard.append(entry) or wording.WORDS.read(entry, clip))
    monkeypatch.setattr("phonofilm.evaluate.engine.probe_named", lambda name: {"words": words}[name])
    job = Job(entry=entries[0], probes=("words",), conditions=("clips", "frozen", "late"))
    measure_clip(job, true_clip(cases[0].script))
    assert len(heard) == 2


def test_shuffled_clips_meet_prompts_that_are_not_their_own(cases, entries):
    """Looks and lips are compared with the prompt of the sound, words and voice with that of the picture."""
    one, two = (true_clip(case.script) for case in cases[:2])
    found = measure_clip(
        Job(entry=entries[0], probes=probes_of(entries[0]), conditions=(SHUFFLED,), partner=entries[1]), one, two
    )[0].values
    swapped = controls.swap_audio(one, two)
    own, other = (measured(entry, swapped)["clips"].values for entry in entries[:2])
    for name in ("exact.lip_corr", "exact.looks"):
        assert found[name] == other[name]
    for name in ("offline.wer_jsgf", "exact.voice_class"):
        assert found[name] == own[name]
    assert found["exact.lip_corr"][0] < 0.8
    assert found["offline.wer_jsgf"][0] >= 3
    assert found["exact.looks"][0] < 5


def test_every_clip_gets_the_sound_of_another_of_its_group(entries):
    jobs = [job for job in generated(entries) if job.partner is not None]
    assert {(job.entry.name, job.partner.name) for job in jobs} == {
        (entries[0].name, entries[1].name),
        (entries[1].name, entries[0].name),
    }


def test_a_ball_is_heard_where_it_is_seen(cases, entries):
    found = measured(entries[2], true_clip(cases[2].script), ("clips", *DAMAGED))
    pairs, whole = found["clips"].values["exact.event_f1@80ms"]
    assert pairs == 2 * len(cases[2].script.events)
    assert whole <= pairs + 1
    assert found["late"].values["exact.event_f1@80ms"][0] == 0
    assert found["late"].values["exact.event_offset_ms"][0] == pytest.approx(200, abs=10)
    assert found["silent"].values["exact.event_f1@80ms"][0] == found["frozen"].values["exact.event_f1@80ms"][0] == 0


def test_a_clip_that_cannot_be_drawn_is_no_clips_fault(entries, monkeypatch):
    monkeypatch.setattr("phonofilm.evaluate.engine.true_clip", lambda script: 1 / 0)
    (outcome,) = measure(Job(entry=entries[2], probes=("ball",), conditions=("truth",), source="truth", drawn=True))
    assert (outcome.problem, outcome.failed) == ("", {"ball": "ZeroDivisionError: division by zero"})


@pytest.fixture(scope="module")
def voiced():
    return held_out("val", {"voice": 1})[0]


def test_a_voice_case_brings_its_voice_with_other_words(voiced, tmp_path):
    write_prompts(tmp_path / "prompts.jsonl", [voiced])
    assert read_cases(tmp_path / "prompts.jsonl") == (voiced,)
    ((asked, _),) = read_requests(tmp_path / "prompts.jsonl", tmp_path)
    request = request_of(voiced)
    (((_, written),), ((_, sound),)) = asked.voice, request.voice
    torch.testing.assert_close(written.samples, sound.samples, atol=1e-4, rtol=0)
    assert sound.samples.shape != perform(voiced.script).wave.shape
    assert find_recipe("nava_study").task_for(brought(request)).name == "t2av+voice"


def test_another_voice_is_not_the_reference(voiced, tmp_path):
    line = voiced.script.lines[0]
    other = {"ada": "cleo"}.get(line.voice, "ada")
    said = level(speak(line.words, other, rate=line.rate, emotion=voiced.script.emotion).wave)[None]
    job = Job(entry=entry_of(voiced, tmp_path), probes=("voice_of_ten",))
    for wave, right in ((perform(voiced.script).wave, (1.0, 1.0)), (said, (0.0, 1.0)), (torch.zeros(1, 16000), None)):
        clip = Clip(video=torch.zeros(49, 3, 8, 8, dtype=torch.uint8), audio=wave, fps=24.0, sample_rate=SAMPLE_RATE)
        assert measure_clip(job, clip)[0].values.get("exact.voice_of_ten") == right
