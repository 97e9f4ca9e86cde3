"""Alarms at every cut at once, against the event rules applied one by one."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.events.alarms import AlarmCurve, EventRules, peak_curve
from anomaly.series import runs

LONGEST_STEP = 2
# Few different scores, so that ties are common; missing ones; steps that are gaps, repeated or back in time.
ROW = st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, 8.0, np.nan]), st.sampled_from([1, 1, 1, 1, 1, 1, 0, 5, -3]))
ROWS = st.integers(1, 50).flatmap(lambda n: st.lists(ROW, min_size=n, max_size=n))
CUTS = (0.5, 1.0, 1.5, 2.0, 3.0, 3.5, 4.0, 5.0, 8.0)
RULES = st.builds(
    EventRules,
    merge_gap=st.integers(0, 5),
    min_length=st.integers(1, 5),
    min_severity=st.sampled_from([1.0, 1.0, 1.4, 2.5]),
    cool_down=st.integers(0, 8),
    longest_step=st.just(LONGEST_STEP),
    short_severity=st.sampled_from([None, 1.0, 1.5, 2.0]),
)


def columns(rows):
    return np.array([score for score, _ in rows]), np.cumsum([step for _, step in rows], dtype=np.int64)


@given(ROWS, RULES)
def test_alarms_are_those_of_the_rules_one_by_one(rows, rules):
    score, times = columns(rows)
    curve = AlarmCurve(score, times, rules)
    assert [curve.raised(cut) for cut in CUTS] == [len(naive.raised_events(score, times, cut, rules)) for cut in CUTS]


@given(ROWS, RULES)
def test_events_are_those_of_the_rules_without_the_cool_down(rows, rules):
    score, times = columns(rows)
    without = replace(rules, cool_down=0)
    curve = AlarmCurve(score, times, rules)
    for cut in CUTS:
        assert curve.events(cut) == naive.raised_events(score, times, cut, without)


@given(ROWS, RULES)
def test_all_cuts_at_once_are_each_cut_alone(rows, rules):
    curve = AlarmCurve(*columns(rows), rules)
    assert curve.alarms(np.array(CUTS)).tolist() == [int(curve.alarms(cut)) for cut in CUTS]


@given(ROWS, RULES)
def test_at_a_peak_and_above_fewer_alarms_are_raised_than_its_number(rows, rules):
    score, times = columns(rows)
    curve, divisor = peak_curve(score, times, rules)
    for number, peak in enumerate(curve.peaks):
        above = [cut for cut in (peak / divisor, *CUTS) if cut >= peak / divisor]
        assert all(len(naive.raised_events(score, times, cut, rules)) <= number for cut in above)


@given(ROWS, RULES)
def test_just_below_a_peak_there_are_as_many_alarms_as_its_number(rows, rules):
    score, times = columns(rows)
    curve = AlarmCurve(score, times, rules)
    for number, peak in enumerate(curve.peaks, start=1):
        assert curve.alarms(np.nextafter(peak, -np.inf)) >= number
        assert curve.alarms(peak) < number


@given(ROWS, RULES)
def test_peaks_fall_and_alarms_change_only_at_cuts(rows, rules):
    curve = AlarmCurve(*columns(rows), rules)
    assert (np.diff(curve.peaks) <= 0).all()
    halfway = (curve.cuts[:-1] + curve.cuts[1:]) / 2
    np.testing.assert_array_equal(curve.alarms(halfway), curve.alarms(curve.cuts[:-1]))


@pytest.mark.parametrize("score", [np.array([]), np.array([np.nan, np.nan])])
def test_without_a_score_there_is_no_alarm_and_no_peak(score):
    curve = AlarmCurve(score, np.arange(len(score)), EventRules())
    assert (curve.raised(0.5), curve.n_scored, len(curve.peaks)) == (0, 0, 0)


def test_two_humps_are_one_alarm_or_two_as_the_gap_says():
    score = np.array([1.0, 5.0, 1.0, 1.0, 4.0, 1.0])
    assert [AlarmCurve(score, np.arange(6), EventRules(gap)).raised(2.0) for gap in (0, 1, 2)] == [2, 2, 1]


def test_settings_far_longer_than_the_series_are_taken():
    rules = EventRules(merge_gap=1_000_000, min_length=7, cool_down=1_000_000)
    assert AlarmCurve(np.array([5.0, 1, 1, 1, 1, 1, 5]), np.arange(7), rules).raised(2.0) == 1
    assert AlarmCurve(np.array([5.0, 1, 1, 1, 1, 5]), np.arange(6), rules).raised(2.0) == 0


def test_runs_are_half_open():
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.array([False])) == runs(np.empty(0, np.bool_)) == []
