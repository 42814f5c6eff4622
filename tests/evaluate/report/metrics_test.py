import pytest

from phonofilm.evaluate.report.metrics import METRICS, Observation, measure, meets

BY_NAME = {metric.name: metric for metric in METRICS}


def seen(number, group="grid", **found):
    return Observation(id=f"test-{group}-{number}", group=group, condition="generated", said="a b c d", **found)


def figure(name, observations, voice=""):
    return measure(BY_NAME[name], "generated", observations, voice)


def test_word_errors_are_pooled_over_words():
    found = figure("offline.wer_grid", [seen(0, errors=1), seen(1, errors=0), seen(2, errors=3)])
    assert found.value == pytest.approx(4 / 12)
    assert (found.used, found.total) == (3, 3)


def test_a_clip_that_cannot_be_measured_counts_as_worst_and_is_not_used():
    found = figure("offline.wer_grid", [seen(0, errors=0), seen(1)])
    assert found.value == pytest.approx(0.5)
    assert (found.used, found.total) == (1, 2)
    assert figure("exact.lip_corr", [seen(0, correlation=0.9), seen(1)]).value == pytest.approx(0.45)
    assert figure("exact.looks_hair", [seen(0)]).value == 0.0
    assert figure("exact.voice_class", [seen(0, voice_right=True), seen(1)]).value == 0.5


def test_an_offset_that_is_not_there_is_left_out():
    found = figure("exact.lip_offset_ms", [seen(0, offset=0.02), seen(1)])
    assert found.value == pytest.approx(20)
    assert (found.used, found.total) == (1, 2)
    assert figure("exact.lip_offset_ms", [seen(0)]).value is None


def test_groups_conditions_and_voices_stay_apart():
    both = [seen(0, errors=0, voice="ada"), seen(1, errors=4, voice="ben"), seen(2, "talk", errors=4)]
    assert figure("offline.wer_grid", both).value == pytest.approx(0.5)
    assert figure("offline.wer_grid", both, "ada").value == 0.0
    assert measure(BY_NAME["offline.wer_grid"], "truth", both) is None


@pytest.mark.parametrize(
    ("events", "f1"),
    [((3, 3, 3), 1.0), ((2, 3, 3), 2 / 3), ((0, 0, 4), 0.0), ((0, 0, 0), 0.0), ((1, 1, 3), 0.5), (None, 0.0)],
)
def test_event_f1(events, f1):
    assert figure("exact.event_f1@80ms", [seen(0, "ball", events=events)]).value == pytest.approx(f1)


def test_looks_pool_attributes():
    right = {"hair": True, "skin": True, "background": False, "glasses": True, "beard": True, "cut": False}
    assert figure("exact.looks", [seen(0, right=right)]).value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("name", "value", "truth", "met"),
    [
        ("offline.wer_grid", 0.12, 0.07, True),
        ("offline.wer_grid", 0.14, 0.07, False),
        ("offline.wer_grid", 0.16, 0.15, False),
        ("offline.wer_grid", 0.05, None, False),
        ("exact.lip_corr", 0.86, 0.99, True),
        ("exact.lip_corr", None, 0.99, False),
        ("exact.lip_offset_ms", -15.0, 0.0, True),
        ("exact.lip_offset_ms", 30.0, 0.0, False),
        ("offline.wer_portrait", 0.0, 0.0, None),
    ],
)
def test_bars(name, value, truth, met):
    assert meets(BY_NAME[name], value, truth) is met
