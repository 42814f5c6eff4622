"""Measures of a folder on true clips and under damage of their own; evaluate_directions_test has what all share."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from extras import needed

needed("espeakng_loader", "scipy")

from phonofilm.evaluate.cases import controls
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import truth_of
from phonofilm.evaluate.probes import emotion, factors, identity, keys, picture, turns, voices
from phonofilm.evaluate.probes.probe import Examined
from phonofilm.puppets.corpus import truth
from phonofilm.puppets.expression import read_expression
from phonofilm.puppets.performance import EMOTION_FACES, perform
from phonofilm.puppets.script import write_script
from phonofilm.puppets.stage import draw
from phonofilm.types import Clip


@lru_cache
def puppet(stage, seed=0, split="val"):
    """What is known about a clip, and the clip."""
    performance = perform(write_script(seed, split=split, stage=stage))
    drawing = draw([performance], size=128)
    clip = Clip(video=drawing.video[0], audio=performance.wave, fps=24.0, sample_rate=16000)
    known = truth_of(truth(performance, drawing.mouth[0]))
    return Entry(name=f"{stage}{seed}", path=Path("none"), truth=known, lines=known.said), clip


def read(probe, entry, clip):
    """Each measure's value, those that are summed as shares."""
    found = probe.read(entry, Examined.of(clip)).values
    by_ratio = {m.name for m in probe.measures if m.how == "ratio"}
    return {name: value / (weight if name in by_ratio else 1) for name, (value, weight) in found.items()}


# Any picture


def test_flicker_is_vbenchs_formula():
    video = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    video[1] = 51  # there and back again: both steps are 51 of 255
    assert picture.flicker(video) == pytest.approx(0.8)
    white = torch.randint(0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert picture.flicker(white) == pytest.approx(0.667, abs=0.01)


# Keys


@pytest.mark.parametrize("seed", [0, 1])
def test_keys_are_seen_and_heard_as_they_were_struck(seed):
    entry, clip = puppet("keyboard", seed)
    seen, heard = keys.see_keys(clip.video, clip.fps), keys.hear_keys(clip.audio, 16000)
    for found in (seen, heard):
        assert [s.key for s in found] == [key for _, key in entry.truth.events]
        assert [s.seconds for s in found] == pytest.approx([t for t, _ in entry.truth.events], abs=0.005)
    assert read(keys.KEYS, entry, clip) == pytest.approx(
        {"exact.key_f1@40ms": 1, "exact.key_f1@80ms": 1, "exact.key_offset_ms": 0, "exact.key_match": 1}, abs=4
    )


@pytest.mark.parametrize("seconds", [-0.06, 0.06, 0.2])
def test_late_keys(seconds):
    entry, clip = puppet("keyboard")
    found = read(keys.KEYS, entry, controls.delay_audio(clip, seconds))
    assert found["exact.key_offset_ms"] == pytest.approx(1000 * seconds, abs=5)
    assert found["exact.key_f1@40ms"] < 0.4
    if abs(seconds) > 0.08:
        assert found["exact.key_f1@80ms"] < 0.4


def test_the_right_time_with_the_wrong_note_is_no_match():
    entry, clip = puppet("keyboard")
    found = read(keys.KEYS, entry, replace(clip, video=clip.video.flip(-1)))  # the lights from right to left
    assert found["exact.key_match"] < 0.3


# Two speakers


@pytest.mark.parametrize("seed", [0, 2])
def test_turns_of_the_truth(seed):
    found = read(turns.TURNS, *puppet("dialogue", seed))
    assert found["exact.turns"] > 0.95
    assert found["exact.turn_voices"] == 1
    assert abs(found["exact.turn_switch_ms"]) < 42


def test_turns_mirrored_and_late():
    entry, clip = puppet("dialogue")
    own = read(turns.TURNS, entry, clip)
    mirrored = replace(clip, video=clip.video.flip(-1))
    assert read(turns.TURNS, entry, mirrored)["exact.turns"] < 0.2
    late = read(turns.TURNS, entry, controls.delay_audio(clip))
    assert late["exact.turn_switch_ms"] - own["exact.turn_switch_ms"] == pytest.approx(200, abs=15)


def test_voices_of_another_pair_are_wrong():
    entry, clip = puppet("dialogue")
    high = {"ada": "ben", "beth": "ben", "cleo": "ben", "dora": "ben", "eva": "ben"}
    others = tuple(high.get(voice, "ada") for voice in entry.truth.voices)
    wrong = replace(entry, truth=replace(entry.truth, voices=others))
    assert read(turns.TURNS, wrong, clip)["exact.turn_voices"] == 0


def test_whose_voice_of_ten():
    entry, clip = puppet("speaker")
    assert read(voices.VOICE_OF_TEN, entry, clip) == {"exact.voice_of_ten": 1.0}
    other = "ada" if entry.truth.voices[0] != "ada" else "ben"
    wrong = replace(entry, truth=replace(entry.truth, voices=(other,)))
    assert read(voices.VOICE_OF_TEN, wrong, clip) == {"exact.voice_of_ten": 0.0}


def test_two_voices_of_ten_and_the_same_in_the_other_order():
    entry, clip = puppet("dialogue")
    assert read(voices.TURN_VOICES, entry, clip) == {"exact.turn_voice_of_ten": 1.0}
    swapped = replace(entry, truth=replace(entry.truth, voices=entry.truth.voices[::-1]))
    assert read(voices.TURN_VOICES, swapped, clip) == {"exact.turn_voice_of_ten": 0.0}


# Emotion


def one_of_each():
    found = {}
    for seed in range(40):
        script = write_script(seed, split="val", stage="speaker")
        if script.emotion not in found and (script.looks[0].hair, script.looks[0].skin) != ("blonde", "dark"):
            found[script.emotion] = seed
    return found


def test_faces_read_as_they_are_drawn():
    for name, seed in one_of_each().items():
        found = read_expression(puppet("speaker", seed)[1].video)
        assert found.emotion == name
        assert tuple(found) == pytest.approx(EMOTION_FACES[name], abs=0.5)


def test_emotion_of_face_and_voice_and_both():
    seeds = one_of_each()
    own = [read(emotion.EMOTION, *puppet("speaker", seed)) for seed in seeds.values()]
    assert np.mean([f["exact.emotion_seen"] for f in own]) == 1
    assert np.mean([f["exact.emotion_heard"] for f in own]) >= 0.8
    assert np.mean([f["exact.emotion_match"] for f in own]) >= 0.8
    (entry, clip), (_, other) = puppet("speaker", seeds["sad"]), puppet("speaker", seeds["surprised"])
    wrong = read(emotion.EMOTION, entry, replace(clip, video=other.video))
    assert (wrong["exact.emotion_seen"], wrong["exact.emotion_match"]) == (0, 0)


# Identity and factors


def test_a_slow_change_of_colour_is_drift():
    entry, clip = puppet("speaker")
    fade = torch.linspace(1, 0.6, len(clip.video))[:, None, None, None]
    found = read(identity.IDENTITY, entry, replace(clip, video=(clip.video * fade).to(torch.uint8)))
    assert found["exact.identity_drift"] > 15 + read(identity.IDENTITY, entry, clip)["exact.identity_drift"]


def test_factors_of_the_truth_are_near_and_collapsed_ones_far():
    rows = [puppet("speaker", seed) for seed in range(5)]
    found = [factors.FACTORS.read(entry, Examined.of(clip)).vectors for entry, clip in rows]
    vectors = {name: [f[name] for f in found] for name in ("factors.seen", "factors.true")}
    near = factors.FACTOR_FRECHET.prepare([], vectors)(range(5))
    collapsed = {"factors.seen": [vectors["factors.seen"][0]] * 5, "factors.true": vectors["factors.true"]}
    assert near < 0.2
    assert factors.FACTOR_FRECHET.prepare([], collapsed)(range(5)) > near + 1
