"""Figures over seeds against closed forms; differences that are paired; when a claim held."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from phonofilm.compare.figures import FAILED, HELD, OPEN, Estimate, Verdict, difference, estimate, judge, outcome
from phonofilm.compare.settings import claim
from phonofilm.errors import UserError
from phonofilm.evaluate.cases.entries import Entry
from phonofilm.evaluate.cases.truth import Truth
from phonofilm.evaluate.engine import Outcome
from phonofilm.evaluate.report.metrics import METRICS
from phonofilm.evaluate.report.statistics import interval, mean_known, reduce_parts, resample_seeds

pytestmark = pytest.mark.quick

BY_NAME = {metric.name: metric for metric in METRICS}
LIPS, WER, LATE = (BY_NAME[name] for name in ("exact.lip_corr", "offline.wer_grid", "exact.lip_offset_ms"))
WORDS = " ".join(["word"] * 10)


def parts(values):
    """Values (S, N) with weight 1 each."""
    values = np.asarray(values, dtype=float)
    return np.stack([values, np.ones_like(values)], axis=-1)


def half_width(values, how="mean"):
    low, high = interval(mean_known(resample_seeds(parts(values), how)))
    return (high - low) / 2


def test_one_seed_is_the_bootstrap_over_clips():
    clips = np.random.default_rng(1).normal(size=(1, 100))
    assert half_width(clips) == pytest.approx(1.96 * clips.std() / sqrt(100), rel=0.07)


def test_equal_seeds_say_nothing_more_about_clips():
    clips = np.random.default_rng(1).normal(size=(1, 100))
    assert half_width(clips.repeat(4, axis=0)) == pytest.approx(half_width(clips), rel=0.05)


def test_seeds_that_differ_widen_the_interval():
    seeds = np.random.default_rng(2).normal(size=(16, 1))
    assert half_width(seeds.repeat(50, axis=1)) == pytest.approx(1.96 * seeds.std() / sqrt(16), rel=0.07)


def test_a_clip_that_is_left_out_leaves_the_others():
    values = np.array([[[1.0, 1], [np.nan, 0], [4, 2], [5, 1]], [[np.nan, 0]] * 4])
    assert reduce_parts(values, "median").tolist() == pytest.approx([4.0, np.nan], nan_ok=True)
    assert reduce_parts(values, "mean")[0] == pytest.approx(10 / 3)
    assert reduce_parts(values, "ratio")[0] == pytest.approx(10 / 4)
    assert mean_known(reduce_parts(values, "median")) == 4.0


def seen(name, **values):
    """A clip of a GRID sentence of ten words, and what was measured."""
    truth = Truth(stage="speaker", grammar="grid", said=(WORDS,), voices=("ada",), rates=(180,))
    entry = Entry(name=name, path=Path("none"), group="grid", lines=truth.said, truth=truth)
    return entry, Outcome(name=name, condition="generated", values=values)


def lips(correlations, *, offset=0.0):
    """One clip per correlation, for each of two seeds."""
    return [
        [
            seen(f"{k}", **{"exact.lip_corr": (float(c), 1.0), "exact.lip_offset_ms": (1000 * offset, 1.0)})
            for k, c in enumerate(some)
        ]
        for some in (correlations, correlations + 0.01)
    ]


@pytest.fixture
def level():
    return np.random.default_rng(3).uniform(0.2, 0.6, size=20)


def test_differences_are_paired_by_clip(level):
    own, base = lips(level + 0.1), lips(level)
    found = difference(LIPS, own, base)
    assert found[:3] == pytest.approx((0.1, 0.1, 0.1))
    alone = estimate(LIPS, own)
    assert alone.value == pytest.approx(np.median(level) + 0.1 + 0.005)
    assert alone.high - alone.low > 0.05
    assert (alone.used, alone.total, found.used) == (40, 40, 80)


def test_a_claim_holds_fails_or_stays_open(level):
    noise = np.random.default_rng(4).normal(size=20) * 0.2
    arms = {
        "claimed": lips(level + 0.1),
        "worse": lips(level),
        "better": lips(level + 0.3),
        "like": lips(level + 0.1 + noise),
    }
    found = {verdict.against: verdict.outcome for verdict in judge(LIPS, arms)}
    assert found == {"worse": HELD, "better": FAILED, "like": OPEN}


def wrong(errors):
    return [[seen("a", **({} if errors is None else {"offline.wer_jsgf": (float(errors), 10.0)}))]]


def test_fewer_wrong_words_are_better():
    assert [v.outcome for v in judge(WER, {"claimed": wrong(2), "worse": wrong(3), "better": wrong(1)})] == [
        HELD,
        FAILED,
    ]
    assert judge(WER, {"claimed": wrong(2), "lost": wrong(None)})[0].difference.value == pytest.approx(0.8)


def test_nearer_to_zero_is_better_from_either_side(level):
    arms = {
        "claimed": lips(level, offset=0.02),
        "worse": lips(level, offset=-0.05),
        "better": lips(level, offset=-0.01),
    }
    verdicts = judge(LATE, arms)
    assert [v.outcome for v in verdicts] == [HELD, FAILED]
    assert verdicts[0].difference.value == pytest.approx(30.0)


def test_what_no_clip_asks_for_is_no_figure(level):
    assert estimate(BY_NAME["exact.event_f1@80ms"], lips(level)) is None
    with pytest.raises(ValueError, match="no clip of a and b asks"):
        judge(BY_NAME["exact.event_f1@80ms"], {"a": lips(level), "b": lips(level)})


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((HELD, HELD), HELD), ((HELD, OPEN), OPEN), ((OPEN, FAILED), FAILED), ((HELD, FAILED), FAILED)],
)
def test_a_claim_is_as_good_as_its_worst_comparison(found, wanted):
    nothing = Estimate(0.0, 0.0, 0.0, 1, 1)
    assert outcome([Verdict(against="x", difference=nothing, outcome=one) for one in found]) == wanted


def test_settings_that_differ_are_refused_by_name(tmp_path):
    path, now = tmp_path / "new" / "settings.json", {"how": ["a", "b"], "metric": 0.15}
    claim(path, now)
    claim(path, now)
    with pytest.raises(UserError, match=r"was made with how.0 \"a\", now \"c\": choose"):
        claim(path, now | {"how": ["c", "b"]})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["settings.json"]
    path.write_text(json.dumps(now))
    with pytest.raises(UserError, match="settings.json has format 1, this phonofilm reads 2"):
        claim(path, now)
