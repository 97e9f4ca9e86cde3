"""Every method against a search or a closed form, their promises by simulation, and what they say of themselves."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import THRESHOLD_METHODS, ScoringConfig
from anomaly.errors import ConfigError, DataError
from anomaly.events.alarms import AlarmCurve, EventRules
from anomaly.scoring.scores import SMALLEST_THRESHOLD, check_threshold
from anomaly.thresholds.calibration import (
    METHODS,
    Calibration,
    Threshold,
    budget_per_1000_rows,
    calibrate,
    describe,
    expected_alarms,
)
from anomaly.thresholds.tail import fit_maxima, fit_tail

SCORES = st.lists(st.integers(1, 30).map(float) | st.floats(0.001, 100), min_size=1, max_size=80)
# What people write: a part of a thousand, or one less a round share.
RATES = st.one_of(st.integers(1, 999).map(lambda n: n / 1000), st.integers(1, 99).map(lambda n: 1 - n / 100))


def calibration(held_out, trained=(), window_size=1, rows_per_day=None, **rules):
    scores = np.concatenate([np.asarray(trained, np.float64), np.asarray(held_out, np.float64)])
    return Calibration(scores, np.arange(len(scores)), len(held_out), window_size, rows_per_day, EventRules(**rules))


def chosen(held_out, method, trained=(), window_size=1, rows_per_day=None, rules=None, **settings):
    config = ScoringConfig(threshold_method=method, **settings)
    return calibrate(calibration(held_out, trained, window_size, rows_per_day, **(rules or {})), config)


def test_every_method_of_the_settings_is_there():
    assert tuple(METHODS) == THRESHOLD_METHODS


@given(SCORES, RATES)
def test_conformal_is_the_cut_a_search_finds(scores, rate):
    assert chosen(scores, "conformal", alarm_rate=rate).value == naive.conformal_cut(scores, rate)


@given(SCORES, RATES)
def test_quantile_is_the_cut_a_search_finds(scores, rate):
    assert chosen(scores, "quantile", alarm_rate=rate).value == naive.quantile_cut(scores, rate)


@given(SCORES, st.sampled_from(THRESHOLD_METHODS), st.randoms(use_true_random=False))
def test_the_order_of_the_scores_matters_to_the_budget_and_the_spacing_only(scores, method, random):
    shuffled = random.sample(scores, len(scores))
    if method == "alarm_budget":
        return
    assert chosen(shuffled, method, alarm_rate=0.1).value == pytest.approx(chosen(scores, method, alarm_rate=0.1).value)


@given(SCORES, st.sampled_from(THRESHOLD_METHODS), st.integers(1, 5))
def test_rows_without_a_score_are_left_out(scores, method, n_missing):
    with_missing = [np.nan] * n_missing + scores
    assert chosen(with_missing, method).value == pytest.approx(chosen(scores, method).value)


@given(SCORES, RATES, RATES)
def test_a_higher_rate_never_raises_the_cut(scores, a, b):
    for method in ("quantile", "conformal"):
        low, high = (chosen(scores, method, alarm_rate=rate).value for rate in sorted((a, b)))
        assert high <= low


@given(SCORES, st.floats(0.1, 400), st.floats(0.1, 400), st.integers(1, 9))
def test_a_larger_budget_never_raises_the_cut(scores, a, b, window_size):
    few, many = (chosen(scores, "alarm_budget", window_size=window_size, alarms_per_1000_rows=n) for n in sorted((a, b)))
    if (few.asked * len(scores) >= 10_000) == (many.asked * len(scores) >= 10_000):  # both counted, or both by the law
        assert many.value <= few.value * (1 + 1e-12)


def test_k_sigma_and_mad_are_their_formulas():
    scores = np.random.default_rng(0).exponential(size=50)
    assert chosen(scores, "k_sigma", sigmas=3).value == pytest.approx(scores.mean() + 3 * scores.std())
    spread = 1.4826 * np.median(np.abs(scores - np.median(scores)))
    assert chosen(scores, "mad", sigmas=3).value == pytest.approx(np.median(scores) + 3 * spread)


def test_pot_is_the_tail_of_the_held_out_scores():
    scores = np.random.default_rng(1).exponential(size=900)
    found = chosen(scores, "pot", alarm_rate=1e-3)
    assert (found.value, found.reached) == (fit_tail(scores).exceeded_with(1e-3), True)


def test_a_budget_of_ten_alarms_is_counted_on_the_held_out_rows():
    scores = np.random.default_rng(2).exponential(size=5000)
    found = chosen(scores, "alarm_budget", alarms_per_1000_rows=4, rules={"merge_gap": 3})  # 20 alarms
    curve = AlarmCurve(scores, np.arange(5000), EventRules(3))
    assert found.value == curve.peaks[19]
    assert found.n_alarms == 19
    assert found.expected == pytest.approx(4.0)  # one more than was seen, in 5,000 rows


def test_a_budget_of_fewer_alarms_is_read_off_the_law_of_the_maxima():
    scores = np.random.default_rng(3).exponential(size=800)
    found = chosen(scores, "alarm_budget", window_size=8, alarms_per_1000_rows=2)
    assert found.value == pytest.approx(fit_maxima(scores, 8).steadied().cut(0.002))
    assert (found.expected, found.reached) == (pytest.approx(2.0), True)


def test_training_scores_are_brought_up_to_the_level_of_the_held_out_ones():
    rng = np.random.default_rng(4)
    held_out, trained = rng.exponential(size=200) + 1, (rng.exponential(size=600) + 1) / 3
    factor = np.median(held_out) / np.median(trained)
    assert factor > 2
    found = chosen(held_out, "alarm_budget", trained, window_size=8)
    assert found.value == pytest.approx(fit_maxima(np.concatenate([trained * factor, held_out]), 8).steadied().cut(0.001))
    assert (found.n_held_out, found.n_scores) == (200, 800)


def test_training_scores_are_never_brought_down():
    rng = np.random.default_rng(5)
    held_out, trained = rng.exponential(size=200), rng.exponential(size=600) * 5
    found = chosen(held_out, "alarm_budget", trained, window_size=8)
    assert found.value == pytest.approx(fit_maxima(np.concatenate([trained, held_out]), 8).steadied().cut(0.001))


@pytest.mark.parametrize("severity", [1.0, 2.0])
def test_a_minimum_severity_leaves_the_cut_and_keeps_the_budget(severity):
    """A lower cut would keep it too, and flag all rows: their runs would be one event."""
    scores = np.random.default_rng(6).lognormal(size=6000)
    found = chosen(scores, "alarm_budget", alarms_per_1000_rows=3, rules={"min_severity": severity})
    assert found.n_alarms <= 17
    assert found.value == chosen(scores, "alarm_budget", alarms_per_1000_rows=3).value
    assert severity == 1 or found.n_alarms < chosen(scores, "alarm_budget", alarms_per_1000_rows=3).n_alarms


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_constant_scores_are_not_flagged(method):
    found = chosen(np.full(400, 0.25), method, np.full(100, 0.25), window_size=10)
    assert (found.value, found.n_above) == (0.25, 0)


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_zero_scores_still_give_a_cut_that_can_be_divided_by(method):
    assert chosen(np.zeros(99), method).value == SMALLEST_THRESHOLD > 0


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_one_score_is_its_own_cut(method):
    assert chosen([0.7], method).value == pytest.approx(0.7)


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
@pytest.mark.parametrize("scores", [[], [np.nan, np.nan]])
def test_no_score_at_all_is_refused(method, scores):
    with pytest.raises(DataError, match=r"at least one calibration score\. Received: none"):
        chosen(scores, method)


@pytest.mark.parametrize(
    ("rows_per_day", "settings", "expected"),
    [
        (None, {}, 1.0),
        (24.0, {}, 1.0),  # hourly: one in 42 days
        (1440.0, {}, 1000 / 1440),  # every minute: one a day
        (86_400.0, {}, 0.1),  # every second: one in 10,000 rows
        (24.0, {"alarms_per_day": 0.5}, 1000 * 0.5 / 24),
        (24.0, {"alarms_per_1000_rows": 7}, 7.0),
        (None, {"alarms_per_1000_rows": 7}, 7.0),
    ],
)
def test_a_budget_in_days_or_rows(rows_per_day, settings, expected):
    assert budget_per_1000_rows(ScoringConfig(**settings), rows_per_day) == pytest.approx(expected)


def test_alarms_a_day_of_counted_rows_are_refused():
    with pytest.raises(ConfigError, match=r"need a series with times\. Received: alarms_per_day=2 for rows that are counted"):
        budget_per_1000_rows(ScoringConfig(alarms_per_day=2), None)


def test_a_budget_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"must not be given together\. Received: 2 a day and 3 in 1,000 rows"):
        ScoringConfig(alarms_per_day=2, alarms_per_1000_rows=3)


def test_many_alarms_are_counted_and_few_are_expected_by_the_law():
    made = calibration(np.random.default_rng(7).exponential(size=3000), window_size=10)
    cuts = np.array([1.0, 3.0, 12.0])
    expected = expected_alarms(made, cuts)
    counts = (made.curve.peaks[:, None] > cuts).sum(axis=0)
    assert counts[0] > 100 > 10 > counts[2]
    assert expected[0] == pytest.approx(1000 * (counts[0] + 1) / 3000)
    assert expected[2] == pytest.approx(1000 * made.law.rate(12.0))
    assert expected_alarms(made, 12.0) == expected[2]


def test_a_higher_cut_never_has_more_alarms_expected():
    rng = np.random.default_rng(8)
    scores = np.repeat(rng.lognormal(size=300), 7) * rng.lognormal(sigma=0.05, size=2100)  # bursts
    for rules in ({}, {"merge_gap": 3}, {"min_severity": 1.5}):
        made = calibration(scores, window_size=7, **rules)
        expected = expected_alarms(made, np.geomspace(0.05, 30, 400))
        assert (np.diff(expected) <= 1e-12).all()


# What a threshold says


def said(method, reached=True, asked=1.0, rows_per_day=24.0, **others):
    values = {"n_held_out": 480, "n_scores": 2400, "n_above": 3, "n_alarms": 1, "expected": 0.5} | others
    return Threshold(0.25, method, asked, reached, rows_per_day=rows_per_day, **values)


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (
            said("alarm_budget"),
            "0.25 (alarm_budget: at most 1 in 42 days; 1 alarm in the 20 days held out; expect 1 in 83 days on normal data)",
        ),
        (
            said("alarm_budget", False, 0.01, n_alarms=0),
            "0.25 (alarm_budget: at most 1 in 4,167 days; 0 alarms in the 20 days held out; expect 1 in 83 days on normal data; "
            "extrapolated, since one alarm in 4,167 days was asked for and the history has 100 days)",
        ),
        (
            said("quantile", False, 0.001, None),
            "0.25 (quantile: 0.001 of the held-out rows above it; 1 alarm in the 480 rows held out; expect 1 in 2,000 rows on "
            "normal data; too few held-out scores for that share, which needs 1,000: this is the largest one)",
        ),
        (
            said("conformal", False, 0.001, 240.0, n_held_out=48),
            "0.25 (conformal: a normal row is above it with probability at most 0.001; 1 alarm in the 4.8 hours held out; "
            "expect 1 in 8 days on normal data; too few held-out scores a window apart for that share, which needs 999: "
            "this is the largest one)",
        ),
    ],
)
def test_a_threshold_says_what_it_is(threshold, text):
    assert str(threshold) == text


@pytest.mark.parametrize(
    ("rows_per_day", "span"),
    [(48, "10 days"), (960, "12 hours"), (86_400, "8 minutes"), (4_320_000, "9.6 seconds"), (8.64e7, "0.48 seconds")],
)
def test_the_span_held_out_is_told_in_a_unit_that_it_has(rows_per_day, span):
    assert f"1 alarm in the {span} held out" in str(said("quantile", True, 0.1, rows_per_day, n_held_out=480))


@pytest.mark.parametrize(
    ("per_1000_rows", "rows_per_day", "text"),
    [
        (0.0, 24.0, "less than 1 a year"),
        (0.0, None, "less than 1 in 365,000 rows"),
        (5000.0, None, "5,000 in 1,000 rows"),
        (125.0, 24.0, "3 a day"),
        (1000 / 24 / 7, 24.0, "1 a week"),
        (1.0, 24.0, "1 in 42 days"),
        (1e-9, 24.0, "less than 1 a year"),
        (2.5, None, "2.5 in 1,000 rows"),
        (0.25, None, "1 in 4,000 rows"),
    ],
)
def test_a_rate_is_told_in_the_unit_that_reads_best(per_1000_rows, rows_per_day, text):
    assert said("fixed", rows_per_day=rows_per_day).rate_text(per_1000_rows) == text


@pytest.mark.parametrize("method", [*THRESHOLD_METHODS, "f_beta", "discoveries", "fixed"])
def test_every_method_has_words_for_what_was_asked_and_for_too_little(method):
    assert said(method).asked_text().startswith(f"{method}: ")
    assert said(method).warning is None
    assert said(method, False).warning


def test_a_cut_by_hand_is_described_with_what_it_would_cost():
    made = calibration(np.arange(1.0, 101), window_size=5, rows_per_day=10.0)
    found = describe(made, 95.5, "fixed", 95.5)
    assert (found.value, found.n_above, found.n_alarms, found.reached) == (95.5, 5, 1, True)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, SMALLEST_THRESHOLD / 2])
def test_a_cut_by_hand_that_no_score_can_be_compared_with_is_refused(value):
    with pytest.raises(ConfigError, match=rf"at least 1e-09\. Received: {value}\."):
        check_threshold(value)


@pytest.mark.parametrize("value", [SMALLEST_THRESHOLD, 1, 1e12])
def test_a_cut_by_hand_is_taken_as_it_is(value):
    assert check_threshold(value) == value


# Promises, by simulation


def false_alarms(draw, alarm_rate, n_scores=199, n_new=50, repeats=2000):
    """Share of new scores above a cut calibrated on scores exchangeable with them."""
    rng = np.random.default_rng(20)
    rates = []
    for _ in range(repeats):
        scores = draw(rng, n_scores + n_new)
        rates.append(np.mean(scores[n_scores:] > chosen(scores[:n_scores], "conformal", alarm_rate=alarm_rate).value))
    return np.mean(rates)


# The standard error of these means is below 0.0009; the margin is five of them.
MARGIN = 0.0045


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.exponential(size=n),
        lambda rng, n: rng.exponential() + rng.exponential(size=n) * rng.lognormal(),  # exchangeable, not independent
    ],
)
def test_new_exchangeable_scores_are_flagged_at_the_rate_asked_for(draw):
    assert abs(false_alarms(draw, alarm_rate=0.05) - 0.05) < MARGIN


def test_new_tied_scores_are_flagged_at_most_at_the_rate_asked_for():
    assert false_alarms(lambda rng, n: rng.poisson(3, n) + 1.0, alarm_rate=0.05) < 0.05 + MARGIN


def test_a_rate_that_does_not_divide_the_scores_is_kept_from_below():
    rate = false_alarms(lambda rng, n: rng.exponential(size=n), alarm_rate=0.05, n_scores=27)  # at most 1 / 28
    assert abs(rate - 1 / 28) < MARGIN


def test_a_counted_budget_is_kept_by_new_rows():
    rng = np.random.default_rng(21)
    seen = []
    for _ in range(300):
        scores = rng.exponential(size=4000)
        cut = chosen(scores[:2000], "alarm_budget", alarms_per_1000_rows=8, rules={"merge_gap": 2}).value
        seen.append(AlarmCurve(scores[2000:], np.arange(2000), EventRules(2)).raised(cut) / 2)
    assert np.mean(seen) == pytest.approx(8, abs=5 * np.std(seen) / np.sqrt(300))


@pytest.mark.parametrize(
    ("per_1000_rows", "rows_per_day", "n_scores", "text"),
    [
        (0.0, 24.0, 10_000, "less than one false alarm a year (extrapolated from a history of 417 days)"),
        (1000 / 24 / 21, 24.0, 1_000, "about one false alarm in 21 days"),
        (1000 / 24 / 21, 24.0, 480, "about one false alarm in 21 days (extrapolated from a history of 20 days)"),
        (1000 / 24 / 364, 24.0, 10_000, "about one false alarm in 364 days"),
        (1000 / 24, 24.0, 1_000, "about one false alarm a day"),
        (1000 / 24 / 7 * 2.09, 24.0, 1_000, "about 2.1 false alarms a week"),
        (125.0, 24.0, 1_000, "about 3 false alarms a day"),
        (0.25, None, 10_000, "about one false alarm in 4,000 rows"),
        (3.0, None, 10_000, "about 3 false alarms in 1,000 rows"),
        (1e-9, None, 10_000, "less than one false alarm in 365,000 rows (extrapolated from a history of 10,000 rows)"),
    ],
)
def test_what_to_expect_is_said_in_words_and_no_rarer_than_a_history_shows(per_1000_rows, rows_per_day, n_scores, text):
    threshold = said("fixed", rows_per_day=rows_per_day, expected=per_1000_rows, n_scores=n_scores)
    assert threshold.expectation == text


def test_alarms_a_week_are_a_seventh_of_as_many_a_day():
    weekly, daily = (ScoringConfig(**{f"alarms_per_{span}": n}) for span, n in (("week", 3.5), ("day", 0.5)))
    assert budget_per_1000_rows(weekly, 24.0) == pytest.approx(budget_per_1000_rows(daily, 24.0), rel=1e-12)
    with pytest.raises(ConfigError) as caught:
        budget_per_1000_rows(weekly, None)
    given = "alarms_per_week=3.5 for rows that are counted"
    assert str(caught.value) == f"Alarms a week need a series with times. Received: {given}. Use --alarms-per-1000-rows."
    with pytest.raises(ConfigError) as caught:
        ScoringConfig(alarms_per_week=2, alarms_per_1000_rows=5)
    assert str(caught.value) == (
        "`alarms_per_week` and `alarms_per_1000_rows` must not be given together. "
        "Received: 2 a week and 5 in 1,000 rows. Leave one of them out."
    )
