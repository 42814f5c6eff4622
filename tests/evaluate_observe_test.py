"""Sensitivity on true clips: what is harmed shows in the figures that it concerns, and in no other."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("espeakng_loader")
pytest.importorskip("librosa")
pytest.importorskip("pocketsphinx")

from phonofilm.cli.generate import read_requests
from phonofilm.evaluate import controls
from phonofilm.evaluate.clips import request_of
from phonofilm.evaluate.heldout import held_out, read_cases, write_prompts
from phonofilm.evaluate.observe import VideoObservation, hear, hear_exactly, judge, see, true_clip
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
def read(cases):
    """Case, clip, picture and sound of two speakers."""
    speakers = []
    for case in cases[:2]:
        clip = true_clip(case)
        speakers.append((case, clip, see(case, clip.video, clip.fps), hear(case, clip)))
    return speakers


@pytest.fixture(scope="module")
def ball(cases):
    clip = true_clip(cases[2])
    return cases[2], clip, see(cases[2], clip.video, clip.fps), hear(cases[2], clip)


def judged(case, picture, sound):
    return judge(case, picture, sound, condition="truth", fps=24.0)


def test_the_truth_is_right(read):
    for case, _, picture, sound in read:
        found = judged(case, picture, sound)
        assert found.correlation > 0.97
        assert abs(found.offset) < 0.01
        assert all(found.right.values())
        assert found.voice_right
        assert found.errors <= 2


@pytest.mark.parametrize("seconds", [-0.08, 0.08, 0.2])
def test_a_shift_of_the_sound_is_the_offset(read, seconds):
    case, clip, picture, sound = read[0]
    found = judged(case, picture, hear(case, controls.delay_audio(clip, seconds)))
    assert found.offset == pytest.approx(seconds, abs=0.01)
    assert found.correlation < judged(case, picture, sound).correlation - 0.2
    assert found.voice_right


def test_swapped_sound_loses_the_lips_and_the_words(read):
    (case, _, picture, _), (_, _, _, other) = read
    found = judged(case, picture, other)
    assert found.correlation < 0.8
    assert found.errors >= 3
    assert all(found.right.values())


def test_silence_has_no_words_no_lips_no_voice(read):
    case, clip, picture, _ = read[0]
    found = judged(case, picture, hear(case, controls.silence(clip)))
    assert (found.heard, found.errors) == ("", 6)
    assert found.correlation is None
    assert found.offset is None
    assert found.voice_right is None


def test_noise_for_the_sound_has_no_lips_and_no_voice(read):
    case, clip, picture, _ = read[0]
    noise = 0.1 * torch.randn(clip.audio.shape, generator=torch.Generator().manual_seed(0))
    found = judged(case, picture, hear(case, replace(clip, audio=noise)))
    assert (found.correlation, found.offset, found.voice_right) == (None, None, None)
    assert found.errors >= 5


def test_lips_and_looks_are_seen_through_noise(read):
    case, clip, _, sound = read[0]
    found = judged(case, see(case, controls.add_noise(clip).video, clip.fps), sound)
    assert found.correlation > 0.9
    assert abs(found.offset) < 0.01
    assert all(found.right.values())


def test_a_frozen_picture_has_no_lips_but_looks(read):
    case, clip, _, sound = read[0]
    found = judged(case, see(case, controls.freeze(clip).video, clip.fps), sound)
    assert found.correlation is None
    assert all(found.right.values())


def test_looks_of_another_are_wrong(read):
    (case, _, _, sound), (_, _, other, _) = read
    assert not all(judged(case, other, sound).right.values())


def test_a_ball_is_heard_where_it_is_seen(ball):
    case, clip, picture, sound = ball
    pairs, seen, heard = judged(case, picture, sound).events
    assert pairs == seen == len(case.script.events)
    assert heard - pairs <= 1
    assert abs(judged(case, picture, sound).event_offset) < 0.01


def test_a_late_ball_is_not_at_the_contact(ball):
    case, clip, picture, _ = ball
    found = judged(case, picture, hear(case, controls.delay_audio(clip)))
    assert found.events[0] == 0
    assert found.event_offset == pytest.approx(0.2, abs=0.01)


def test_a_ball_is_seen_through_noise_and_not_heard_through_it(ball):
    case, clip, picture, sound = ball
    seen = judged(case, see(case, controls.add_noise(clip).video, clip.fps), sound)
    assert seen.events == judged(case, picture, sound).events
    heard = judged(case, picture, hear(case, controls.add_noise(clip, decibels=10.0)))
    assert heard.events[0] == 0


def test_a_silent_or_frozen_ball_has_no_contacts_in_common(ball):
    case, clip, picture, sound = ball
    assert judged(case, picture, hear(case, controls.silence(clip))).events[0] == 0
    assert judged(case, see(case, controls.freeze(clip).video, clip.fps), sound).events[0] == 0


@pytest.fixture(scope="module")
def voiced():
    return held_out("val", {"voice": 1})[0]


def test_a_voice_case_brings_its_voice_with_other_words(voiced, tmp_path):
    write_prompts(tmp_path / "prompts.jsonl", [voiced])
    assert read_cases(tmp_path / "prompts.jsonl") == (voiced,)
    ((read, _),) = read_requests(tmp_path / "prompts.jsonl", tmp_path)
    request = request_of(voiced)
    (((_, written),), ((_, sound),)) = read.voice, request.voice
    torch.testing.assert_close(written.samples, sound.samples, atol=1e-4, rtol=0)
    assert sound.samples.shape != perform(voiced.script).wave.shape
    assert find_recipe("nava_study").task_for(brought(request)).name == "t2av+voice"


def test_another_voice_is_not_the_reference(voiced):
    line = voiced.script.lines[0]
    other = {"ada": "cleo"}.get(line.voice, "ada")
    said = level(speak(line.words, other, rate=line.rate, emotion=voiced.script.emotion).wave)[None]
    for wave, right in ((perform(voiced.script).wave, True), (said, False), (torch.zeros(1, 16000), None)):
        clip = Clip(video=torch.zeros(49, 3, 8, 8, dtype=torch.uint8), audio=wave, fps=24.0, sample_rate=SAMPLE_RATE)
        assert judged(voiced, VideoObservation(), hear_exactly(voiced, clip)).voice_of_ten is right
