"""Conformal p-values against counting, their guarantee by simulation, and the control of false discoveries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from anomaly.errors import DataError
from anomaly.thresholds.conformal import discoveries, p_values, spaced

SCORES = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=40).map(np.array)
P = st.lists(st.floats(0.0001, 1), min_size=1, max_size=40).map(np.array)


@given(SCORES, SCORES)
def test_a_p_value_counts_the_calibration_scores_that_are_at_least_as_high(calibration, scores):
    expected = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    np.testing.assert_allclose(p_values(calibration, scores), expected, rtol=1e-15)


def test_a_row_without_a_score_has_no_p_value():
    assert np.isnan(p_values(np.array([1.0, 2.0]), np.array([np.nan, 5.0]))).tolist() == [True, False]


def test_a_normal_score_has_a_small_p_value_no_more_often_than_it_says():
    rng = np.random.default_rng(3)
    found = np.concatenate([p_values(scores[:99], scores[99:]) for scores in rng.lognormal(size=(4000, 109))])
    for level in (0.01, 0.05, 0.2):  # (1 + 99) * level is whole, so the guarantee is an equality
        assert np.mean(found <= level) == pytest.approx(level, abs=5 * np.sqrt(level / len(found) * 10))


@given(P, st.sampled_from([0.05, 0.1, 0.3]), st.booleans())
def test_rejections_are_those_of_the_adjusted_p_values(p, rate, dependent):
    adjusted = false_discovery_control(p, method="by" if dependent else "bh")
    clear = np.abs(adjusted - rate) > 1e-12  # a rounding error apart either verdict is right
    np.testing.assert_array_equal(discoveries(p, rate, dependent=dependent)[clear], (adjusted <= rate)[clear])


def test_a_missing_p_value_is_not_rejected_and_not_counted():
    assert discoveries(np.array([np.nan, 0.001, np.nan, 0.9]), 0.1).tolist() == [False, True, False, False]
    assert discoveries(np.array([np.nan]), 0.1).tolist() == [False]


@pytest.mark.parametrize("dependent", [True, False])
def test_the_share_of_false_discoveries_stays_within_the_rate(dependent):
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(800):
        calibration = rng.exponential(size=999)
        scores = np.concatenate([rng.exponential(size=80), 30 + rng.exponential(size=20)])
        rejected = discoveries(p_values(calibration, scores), 0.2, dependent=dependent)
        shares.append(rejected[:80].sum() / max(1, rejected.sum()))
    assert np.mean(shares) < 0.2 + 5 * np.std(shares) / np.sqrt(800)
    assert rejected[80:].all()


def test_spaced_scores_are_counted_back_from_the_last():
    assert spaced(np.arange(10.0), 4).tolist() == [9.0, 5.0, 1.0]


def test_missing_scores_are_left_out_of_the_spaced_ones():
    scores = np.arange(10.0)
    scores[5] = np.nan
    assert spaced(scores, 4).tolist() == [9.0, 1.0]


def test_a_grid_of_missing_scores_only_takes_others():
    assert spaced(np.array([3.0, np.nan, 4.0, np.nan]), 2).tolist() == [4.0]


def test_no_score_at_all_is_refused():
    with pytest.raises(DataError, match=r"at least one calibration score\. Received: none"):
        spaced(np.array([np.nan]), 2)
