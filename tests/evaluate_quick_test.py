import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("librosa")
pytest.importorskip("pocketsphinx")

from phonofilm.evaluate import controls  # noqa: E402
from phonofilm.evaluate.observe import true_clip  # noqa: E402
from phonofilm.evaluate.quick import WRONG, glance, validation_cases  # noqa: E402


@pytest.fixture(scope="module")
def truth():
    cases = validation_cases({"grid": 2, "ball": 1})
    return cases, [true_clip(case) for case in cases]


def test_truth_is_nearly_right_and_damage_shows(truth):
    cases, clips = truth
    right = glance(cases, clips)
    assert right[WRONG] < 0.1
    assert right["glance/lip_corr"] > 0.97
    assert right["glance/event_f1"] > 0.8
    late = glance(cases, [controls.delay_sound(clip) for clip in clips])
    mute = glance(cases, [controls.freeze(controls.silence(clip)) for clip in clips])
    assert right[WRONG] + 0.2 < late[WRONG] < mute[WRONG]
    assert mute["glance/wer_grid"] == 1.0
    assert late["glance/looks"] == right["glance/looks"] == 1.0


def test_validation_prompts_are_not_of_the_test_split(truth):
    assert all(case.id.startswith("val-") for case in truth[0])
