"""Figures of made outcomes against closed forms, and each metric defined once."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.probes.families import POOLS, PROBES
from phonofilm.evaluate.report.figures import about, figure
from phonofilm.evaluate.report.metrics import ALL, METRICS, meets

pytestmark = pytest.mark.quick

BY_NAME = {metric.name: metric for metric in METRICS}
SOURCES = Path(__file__).parents[3] / "src" / "phonofilm"
LOOK = {"hair": "red", "skin": "pale", "background": "blue", "glasses": True, "beard": False}


def entry(number, group="grid", voice="ada"):
    stage = "ball" if group == "ball" else "speaker"
    spoken = {"grammar": "grid", "said": ("a b c d",), "voices": (voice,), "rates": (180,), "looks": (LOOK,)}
    truth = Truth(stage=stage, **(spoken if stage == "speaker" else {"events": ((0.5, 0), (1.0, 1), (1.5, 2))}))
    return Entry(name=f"test-{group}-{number}", path=Path("none"), group=group, lines=truth.said, truth=truth)


def seen(number, group="grid", voice="ada", **found):
    """A clip of a held-out prompt and what was measured: values by measure, or what else an outcome holds."""
    held = {name: found.pop(name) for name in ("problem", "failed") if name in found}
    values = {name: parts if isinstance(parts, tuple) else (parts, 1.0) for name, parts in found.items()}
    own = entry(number, group, voice)
    return own, Outcome(name=own.name, condition="generated", values=values, **held)


def reduced(name, clips, voice=""):
    entries = {own.name: own for own, _ in clips}
    asked = about(BY_NAME[name], entries, [outcome for _, outcome in clips], "generated", voice)
    return figure(BY_NAME[name], "generated", asked, charged=True, voice=voice)


def wrong(errors):
    return {"offline.wer_jsgf": (float(errors), 4.0)}


def test_no_metric_name_is_defined_twice():
    measures = [m for probe in PROBES for m in probe.measures] + [pool.measure for pool in POOLS]
    names = [m.name for m in measures]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert list(ALL) == names
    # A figure of held-out prompts is a measure over some groups: under its own name, or one that no measure has.
    assert all(m.measure is ALL[m.measure.name].measure for m in METRICS)
    assert all(m.name == m.measure.name or m.name not in ALL for m in METRICS)
    assert len({m.name for m in METRICS}) == len(METRICS)


def test_no_metric_name_is_written_as_a_definition_twice():
    """Nowhere in the package, not even beside the engine: what is called name="exact...." is the definition."""
    written = Counter()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "name":
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "*"
                    for part in (node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value])
                )
                if re.match(r"(exact|offline|paper)\.", text):
                    written[text] += 1
    assert len(written) > 30
    assert [name for name, count in written.items() if count > 1] == []


def test_word_errors_are_pooled_over_words():
    found = reduced("offline.wer_grid", [seen(0, **wrong(1)), seen(1, **wrong(0)), seen(2, **wrong(3))])
    assert found.value == pytest.approx(4 / 12)
    assert (found.used, found.total) == (3, 3)


def test_a_clip_that_cannot_be_measured_counts_as_worst_and_is_not_used():
    found = reduced("offline.wer_grid", [seen(0, **wrong(0)), seen(1)])
    assert found.value == pytest.approx(0.5)
    assert (found.used, found.total) == (1, 2)
    assert reduced("exact.lip_corr", [seen(0, **{"exact.lip_corr": 0.9}), seen(1)]).value == pytest.approx(0.45)
    assert reduced("exact.looks_hair", [seen(0)]).value == 0.0
    assert reduced("exact.voice_class", [seen(0, **{"exact.voice_class": 1.0}), seen(1)]).value == 0.5


def test_a_missing_ball_weighs_what_was_asked_of_it():
    found = reduced("exact.event_f1@80ms", [seen(0, "ball", **{"exact.event_f1@80ms": (6.0, 6.0)}), seen(1, "ball")])
    assert found.value == pytest.approx(6 / (6 + 3))


def test_left_out_or_charged():
    clips = [seen(0, **wrong(0)), seen(1)]
    found = figure(BY_NAME["offline.wer_grid"], "generated", clips, charged=False)
    assert (found.value, found.pessimistic, found.used, found.total) == (0.0, 0.5, 1, 2)


def test_an_evaluator_that_failed_is_charged_to_nobody():
    clips = [seen(0, **wrong(1)), seen(1, failed={"words": "RuntimeError: no cache"})]
    found = reduced("offline.wer_grid", clips)
    assert (found.value, found.pessimistic, found.used, found.total) == (0.25, 0.25, 1, 2)
    assert reduced("exact.voice_class", clips[1:]).value == 0.0  # another evaluator's figure is as ever
    assert reduced("offline.wer_grid", clips[1:])[2:8] == (None, None, None, None, 0, 1)


def test_an_offset_that_is_not_there_is_left_out():
    found = reduced("exact.lip_offset_ms", [seen(0, **{"exact.lip_offset_ms": 20.0}), seen(1)])
    assert found.value == pytest.approx(20)
    assert (found.used, found.total) == (1, 2)
    assert reduced("exact.lip_offset_ms", [seen(0)]).value is None


def test_groups_conditions_and_voices_stay_apart():
    clips = [seen(0, **wrong(0)), seen(1, voice="ben", **wrong(4)), seen(2, "talk", **wrong(4))]
    assert reduced("offline.wer_grid", clips).value == pytest.approx(0.5)
    assert reduced("offline.wer_grid", clips, "ada").value == 0.0
    entries = {own.name: own for own, _ in clips}
    assert about(BY_NAME["offline.wer_grid"], entries, [outcome for _, outcome in clips], "truth") == []
    assert figure(BY_NAME["offline.wer_grid"], "truth", [], charged=True) is None
    portrait = [seen(3, "portrait", **{"exact.looks": (4.0, 5.0)})]
    assert reduced("exact.looks", portrait) is None
    assert reduced("exact.portrait_looks", portrait).value == 0.8


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
