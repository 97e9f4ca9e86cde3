"""The calibrated cut against a search, its promise by simulation, and its edges."""

import naive
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anomaly.errors import ConfigError, DataError
from anomaly.threshold import SMALLEST_THRESHOLD, Threshold, calibrate, check_threshold

N_SCORES = st.integers(1, 80)
SCORES = N_SCORES.flatmap(lambda n: st.lists(st.floats(0.001, 100), min_size=n, max_size=n))
TIED_SCORES = N_SCORES.flatmap(lambda n: st.lists(st.integers(1, 4).map(float), min_size=n, max_size=n))
# What people write: a part of a thousand, or one less a round share.
RATES = st.one_of(st.integers(1, 999).map(lambda n: n / 1000), st.integers(1, 99).map(lambda n: 1 - n / 100))


@given(st.one_of(SCORES, TIED_SCORES), RATES)
def test_the_cut_is_the_one_a_search_finds(scores, alarm_rate):
    assert calibrate(np.array(scores), alarm_rate).value == naive.threshold(scores, alarm_rate)


@given(st.one_of(SCORES, TIED_SCORES), RATES)
def test_n_above_counts_the_scores_above_the_cut(scores, alarm_rate):
    threshold = calibrate(np.array(scores), alarm_rate)
    assert threshold.n_above == sum(score > threshold.value for score in scores)
    assert threshold.n_scores == len(scores)


@given(st.one_of(SCORES, TIED_SCORES), RATES)
def test_either_the_rate_is_reached_or_the_cut_is_the_largest_score(scores, alarm_rate):
    threshold = calibrate(np.array(scores), alarm_rate)
    if threshold.reached:
        assert (threshold.n_above + 1) / (len(scores) + 1) <= alarm_rate + 1e-9
    else:
        assert threshold.value == max(scores)
        assert 1 / (len(scores) + 1) > alarm_rate


@given(st.one_of(SCORES, TIED_SCORES), RATES, RATES)
def test_a_higher_alarm_rate_never_raises_the_cut(scores, a, b):
    assume(a <= b)
    assert calibrate(np.array(scores), b).value <= calibrate(np.array(scores), a).value


@given(SCORES, RATES, st.randoms(use_true_random=False))
def test_the_order_of_the_scores_does_not_matter(scores, alarm_rate, random):
    shuffled = random.sample(scores, len(scores))
    assert calibrate(np.array(shuffled), alarm_rate) == calibrate(np.array(scores), alarm_rate)


@given(SCORES, RATES, st.integers(1, 5))
def test_rows_without_a_score_are_left_out(scores, alarm_rate, n_missing):
    with_missing = np.concatenate([[np.nan] * n_missing, scores, [np.nan]])
    assert calibrate(with_missing, alarm_rate) == calibrate(np.array(scores), alarm_rate)


@pytest.mark.parametrize(("n_scores", "reached"), [(98, False), (99, True), (100, True)])
def test_a_rate_of_one_in_a_hundred_needs_ninety_nine_scores(n_scores, reached):
    assert calibrate(np.arange(1.0, n_scores + 1), 0.01).reached is reached


def test_too_few_scores_give_the_largest_one_and_say_how_many_it_takes():
    threshold = calibrate(np.arange(1.0, 51), 0.005)
    assert threshold == Threshold(value=50.0, alarm_rate=0.005, n_scores=50, n_above=0)
    assert str(threshold) == (
        "50 (0 of 50 held-out scores lie above it; asked for 0.005); "
        "too few scores for that rate, which needs 199: this is the largest one"
    )


def test_enough_scores_are_told_in_one_plain_sentence():
    assert str(calibrate(np.arange(1.0, 200), 0.05)) == "190 (9 of 199 held-out scores lie above it; asked for 0.05)"


def test_one_less_a_round_share_means_the_rate_it_is_meant_to_be():
    threshold = calibrate(np.arange(1.0, 10), 1 - 0.8)  # 0.19999999999999996
    assert (threshold.value, threshold.n_above, threshold.reached) == (8.0, 1, True)


@pytest.mark.parametrize("alarm_rate", [0.1, 1 - 0.9])
def test_a_rate_of_one_in_ten_needs_nine_scores_by_its_own_text(alarm_rate):
    assert "needs 9:" in str(calibrate(np.arange(1.0, 9), alarm_rate))
    assert calibrate(np.arange(1.0, 10), alarm_rate).reached


def test_tied_scores_are_above_the_cut_together_or_not_at_all():
    threshold = calibrate(np.array([1.0] * 5 + [2.0] * 10 + [3.0] * 4), 0.5)
    assert (threshold.value, threshold.n_above) == (2.0, 4)


def test_constant_scores_are_their_own_cut():
    threshold = calibrate(np.full(99, 0.25), 0.05)
    assert (threshold.value, threshold.n_above, threshold.reached) == (0.25, 0, True)


def test_zero_scores_still_give_a_cut_that_can_be_divided_by():
    assert calibrate(np.zeros(99), 0.05).value == SMALLEST_THRESHOLD > 0


def test_one_score_is_its_own_cut():
    assert calibrate(np.array([0.7]), 0.005).value == 0.7


@pytest.mark.parametrize("scores", [[], [np.nan, np.nan]])
def test_no_score_at_all_is_refused(scores):
    with pytest.raises(DataError, match=r"at least one calibration score\. Received: none"):
        calibrate(np.array(scores), 0.05)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, SMALLEST_THRESHOLD / 2])
def test_a_cut_by_hand_that_no_score_can_be_compared_with_is_refused(value):
    with pytest.raises(ConfigError, match=rf"at least 1e-09\. Received: {value}\."):
        check_threshold(value)


@pytest.mark.parametrize("value", [SMALLEST_THRESHOLD, 1, 1e12])
def test_a_cut_by_hand_is_taken_as_it_is(value):
    assert check_threshold(value) == value


def test_the_scores_handed_over_are_not_changed():
    scores = np.array([3.0, np.nan, 1.0, 2.0])
    calibrate(scores, 0.3)
    np.testing.assert_array_equal(scores, [3.0, np.nan, 1.0, 2.0])


def false_alarms(draw, alarm_rate, n_scores=199, n_new=50, repeats=4000):
    """Share of new scores above a cut calibrated on scores exchangeable with them."""
    rng = np.random.default_rng(20)
    rates = []
    for _ in range(repeats):
        scores = draw(rng, n_scores + n_new)
        rates.append(np.mean(scores[n_scores:] > calibrate(scores[:n_scores], alarm_rate).value))
    return np.mean(rates)


# The standard error of these means is below 0.0006; the margin is five of them.
MARGIN = 0.003


def test_new_independent_scores_are_flagged_at_the_rate_asked_for():
    rate = false_alarms(lambda rng, n: rng.exponential(size=n), alarm_rate=0.05)
    assert abs(rate - 0.05) < MARGIN


def test_new_exchangeable_scores_are_flagged_at_the_rate_asked_for():
    rate = false_alarms(lambda rng, n: rng.exponential() + rng.exponential(size=n) * rng.lognormal(), alarm_rate=0.05)
    assert abs(rate - 0.05) < MARGIN


def test_new_tied_scores_are_flagged_at_most_at_the_rate_asked_for():
    assert false_alarms(lambda rng, n: rng.poisson(3, n) + 1.0, alarm_rate=0.05) < 0.05 + MARGIN


def test_a_rate_that_does_not_divide_the_scores_is_kept_from_below():
    rate = false_alarms(lambda rng, n: rng.exponential(size=n), alarm_rate=0.05, n_scores=27)  # at most 1 / 28
    assert abs(rate - 1 / 28) < MARGIN
