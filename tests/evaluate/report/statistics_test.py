import numpy as np
import pytest

from phonofilm.evaluate.report.statistics import bootstrap, reduce_parts

pytestmark = pytest.mark.quick


def test_ratio_pools_and_mean_does_not():
    parts = np.array([[1.0, 2.0], [0.0, 8.0]])
    assert reduce_parts(parts, "ratio") == pytest.approx(0.1)
    assert reduce_parts(parts, "mean") == pytest.approx(0.5)


def test_median():
    parts = np.array([[1.0, 1.0], [5.0, 1.0], [2.0, 1.0]])
    assert reduce_parts(parts, "median") == 2.0


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="mode"):
        reduce_parts(np.ones((2, 2)), "mode")


def test_interval_of_a_share_is_the_binomial_one():
    hits = np.zeros((100, 2))
    hits[:, 1] = 1
    hits[:30, 0] = 1
    low, high = bootstrap(hits, "ratio")
    # 1.96 * sqrt(0.3 * 0.7 / 100) = 0.09
    assert low == pytest.approx(0.21, abs=0.02)
    assert high == pytest.approx(0.39, abs=0.02)


def test_interval_repeats_and_of_nothing_is_nothing():
    parts = np.random.default_rng(0).random((20, 2))
    assert bootstrap(parts, "median") == bootstrap(parts, "median")
    assert np.isnan(bootstrap(np.zeros((0, 2)), "mean")).all()


def test_no_weight_at_all_is_nan():
    assert np.isnan(reduce_parts(np.zeros((3, 2)), "ratio"))
    assert np.isnan(bootstrap(np.zeros((3, 2)), "ratio")).all()
