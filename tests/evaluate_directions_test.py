"""Every measure that runs without extras of its own moves the right way under damage that it is about.

A measure that is added without a line in ``HARM`` fails, and so does one that its harm leaves as it was.
"""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch

for _package in ("espeakng_loader", "librosa", "scipy", "pocketsphinx", "jiwer"):
    pytest.importorskip(_package)

from phonofilm.evaluate import controls, wording  # noqa: E402
from phonofilm.evaluate.entries import Entry, truth_of  # noqa: E402
from phonofilm.evaluate.families import PROBES  # noqa: E402
from phonofilm.evaluate.probe import Unmeasured  # noqa: E402
from phonofilm.evaluate.puppet_lips import ESPEAK  # noqa: E402
from phonofilm.puppets.corpus import truth  # noqa: E402
from phonofilm.puppets.performance import perform  # noqa: E402
from phonofilm.puppets.script import write_script  # noqa: E402
from phonofilm.puppets.stage import draw  # noqa: E402
from phonofilm.types import Clip  # noqa: E402

FPS = 24.0
OTHER = {"speaker": 5, "ball": 1, "keyboard": 1, "dialogue": 2}
"""Seeds of clips whose sound or picture is swapped in for that of seed 0; with speakers a low voice for a high one."""


@lru_cache
def puppet(stage, seed=0):
    """What is known about a clip, and the clip, small."""
    performance = perform(write_script(seed, split="val", stage=stage))
    drawing = draw([performance], size=64)
    clip = Clip(video=drawing.video[0], audio=performance.wave, fps=FPS, sample_rate=16000)
    known = truth_of(truth(performance, drawing.mouth[0]))
    return Entry(name=stage, path=Path("none"), truth=known, lines=known.said, others=("good evening to you",)), clip


def late(stage, clip):
    return controls.delay_sound(clip, 5 / FPS)


def swapped(stage, clip):
    return controls.swap_sound(clip, puppet(stage, OTHER[stage])[1])


def swapped_picture(stage, clip):
    return replace(clip, video=puppet(stage, OTHER[stage])[1].video[: len(clip.video)])


def turning(stage, clip):
    """One puppet that becomes another half way."""
    half = len(clip.video) // 2
    return replace(clip, video=torch.cat([clip.video[:half], puppet(stage, OTHER[stage])[1].video[half:]]))


def muted(stage, clip):
    return controls.silence(clip)


def frozen(stage, clip):
    return controls.freeze(clip)


def noisy(stage, clip):
    return controls.add_noise(clip, decibels=10.0)


HARM = {
    "picture": ("rain", noisy, frozen),
    "lips": ("speaker", late, swapped, muted, frozen),
    "ball": ("ball", late, muted, frozen),
    "keys": ("keyboard", late),
    "turns": ("dialogue", late, muted, frozen),
    "looks": ("speaker", swapped_picture),
    "voice": ("speaker", swapped, muted),
    "voice_of_ten": ("speaker", swapped, muted),
    "turn_voices": ("dialogue", swapped, muted),
    "identity": ("speaker", turning),
    "words": ("speaker", swapped, muted, noisy),
    "lines": ("speaker", swapped, muted),
    "align": ("speaker", muted),
    "word_times": ("speaker", late, muted),
}
"""By probe, a stage and what harms its clips: each measure has to get worse under one of them."""
ELSEWHERE = {
    "emotion": "evaluate_sensitivity_test",
    "reconstruction": "evaluate_reconstruction_test",
    "factors": "evaluate_sensitivity_test",
}
"""Held to damage by tests of their own."""


def read(name, entry, clip):
    """A probe's values of one clip, those that are summed as shares; none where it refuses."""
    probe = next(p for p in PROBES if p.name == name)
    try:
        found = probe.read(entry, clip).values
    except Unmeasured:
        return {}
    ratios = {m.name for m in probe.measures if m.how == "ratio"}
    return {key: value / (weight if key in ratios else 1) for key, (value, weight) in found.items()}


def badness(measure, value):
    """Larger is worse; where the measure could not be taken it is as bad as can be."""
    if value is None:
        return math.inf
    return {"up": -value, "down": value, "zero": abs(value), "": 0.0}[measure.better]


def test_every_measure_that_runs_here_is_held_to_damage():
    runs = {probe.name for probe in PROBES if probe.install in ("", ESPEAK) and not probe.weights}
    assert runs - set(HARM) - set(ELSEWHERE) == set()
    assert all((Path(__file__).parent / f"{name}.py").is_file() for name in ELSEWHERE.values())


@pytest.mark.parametrize("name", HARM)
def test_damage_moves_the_measure_the_right_way(name):
    stage, *harms = HARM[name]
    entry, clip = puppet(stage)
    own = read(name, entry, clip)
    probe = next(p for p in PROBES if p.name == name)
    assert set(own) == {m.name for m in probe.measures}
    harmed = [read(name, entry, harm(stage, clip)) for harm in harms]
    for measure in probe.measures:
        before = badness(measure, own[measure.name])
        after = [badness(measure, found.get(measure.name)) for found in harmed]
        if measure.name == "exact.still":  # neither way is better; a frozen picture is all stillness
            assert (own[measure.name], harmed[1][measure.name]) == (0.0, 1.0)
        else:
            assert max(after) > before + 1e-3, f"{measure.name} does not see it"


@pytest.mark.parametrize("frames", [-2, 3])
@pytest.mark.parametrize(
    ("name", "stage", "metric"),
    [("lips", "speaker", "exact.lip_offset_ms"), ("ball", "ball", "exact.event_offset_ms")],
)
def test_a_shift_by_some_frames_is_the_offset(name, stage, metric, frames):
    entry, clip = puppet(stage)
    own = read(name, entry, clip)[metric]
    found = read(name, entry, controls.delay_sound(clip, frames / FPS))[metric]
    assert found - own == pytest.approx(1000 * frames / FPS, abs=12)


def test_words_are_found_where_the_truth_has_them():
    entry, clip = puppet("speaker")
    assert read("word_times", entry, clip)["offline.word_time_err_ms"] < 60
    shifted = read("word_times", entry, controls.delay_sound(clip, 3 / FPS))["offline.word_time_err_ms"]
    assert shifted == pytest.approx(125, abs=40)
    said = " ".join(word for word, _, _ in entry.truth.words)
    found = wording.align_words(clip.audio, said)
    assert [word for word, _, _ in found] == said.split()
    assert all(start < end for _, start, end in found)
