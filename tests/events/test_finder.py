"""Events against loops, and the same events whatever the pieces the rows arrive in."""

import json
from dataclasses import replace
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.events.alarms import EventRules
from anomaly.events.event import Event
from anomaly.events.finder import EventFinder, find_events
from anomaly.events.not_raised import COOL_DOWN, DIRECTION, DISMISSED, TOO_NEAR, TOO_SHORT, TOO_WEAK, not_raised_text
from anomaly.limits import Limit
from anomaly.scoring.row_scores import OK, WARM_UP
from anomaly.scoring.scores import Scores

THRESHOLD = 1.0
LONGEST_STEP = 2
COLUMNS = ("flow", "pressure", "heat")


def made_scores(score, times=None, by_feature=None, deviation=None):
    score = np.array(score, np.float64)
    if by_feature is None:  # different parts in every row, with the score as their mean
        parts = np.random.default_rng(len(score)).dirichlet(np.ones(3), len(score))
        by_feature = 3 * parts * score[:, None]
    return Scores(
        score=score,
        by_feature=np.array(by_feature),
        # All rows deviate as much, so that no end is cut off.
        deviation=np.random.default_rng(len(score)).choice([-1.0, 1.0], (len(score), 3))
        if deviation is None
        else np.array(deviation),
        status=np.where(np.isnan(score), WARM_UP, OK).astype(np.uint8),
        threshold=THRESHOLD,
        aggregation="window_mean",
        times=np.arange(len(score)) if times is None else np.array(times),
        columns=COLUMNS,
        time_column=None,
    )


def rules(merge_gap=0, **others):
    return EventRules(merge_gap, longest_step=LONGEST_STEP, **others)


def found(score, times=None, merge_gap=0, by_feature=None, deviation=None, **others):
    return find_events(made_scores(score, times, by_feature, deviation), rules(merge_gap, **others))


def ranges(events):
    return [(event.start, event.stop) for event in events]


# A row: its score (flagged, exactly at the threshold, not flagged, none), and the time since the row before.
ROW = st.tuples(
    st.sampled_from([1.5, 2.0, 7.0, 1.0, 0.2, np.nan]), st.sampled_from([1, 1, 1, 1, 1, 0, LONGEST_STEP, LONGEST_STEP + 1, -4])
)
ROWS = st.integers(0, 60).flatmap(lambda n: st.lists(ROW, min_size=n, max_size=n))
MERGE_GAPS = st.integers(0, 6)
HALOS = st.sampled_from([0, 1, 3, 8, 20, 2**62])


def rows_of(rows):
    return [score for score, _ in rows], np.cumsum([step for _, step in rows], dtype=np.int64)


@given(ROWS, MERGE_GAPS)
def test_events_are_those_of_the_loops_over_the_definition(rows, merge_gap):
    score, times = rows_of(rows)
    expected = naive.events([value > THRESHOLD for value in score], times, merge_gap, LONGEST_STEP)
    assert ranges(found(score, times, merge_gap)) == expected


@given(ROWS, MERGE_GAPS)
def test_events_are_sorted_disjoint_and_half_open(rows, merge_gap):
    score, times = rows_of(rows)
    bounds = [row for event in found(score, times, merge_gap) for row in (event.start, event.stop)]
    assert bounds == sorted(bounds)
    assert all(start < stop for start, stop in zip(bounds[::2], bounds[1::2], strict=True))
    assert not bounds or (bounds[0] >= 0 and bounds[-1] <= len(score))


@given(ROWS)
def test_without_merging_events_cover_the_flagged_rows_and_no_other(rows):
    score, times = rows_of(rows)
    covered = np.zeros(len(score), bool)
    for start, stop in ranges(found(score, times, merge_gap=0)):
        covered[start:stop] = True
    assert covered.tolist() == [value > THRESHOLD for value in score]


@given(ROWS, MERGE_GAPS)
def test_every_event_begins_and_ends_with_a_flagged_row(rows, merge_gap):
    score, times = rows_of(rows)
    for event in found(score, times, merge_gap):
        assert score[event.start] > THRESHOLD
        assert score[event.stop - 1] > THRESHOLD
        assert (event.first_time, event.last_time) == (times[event.start], times[event.stop - 1])


@given(ROWS, MERGE_GAPS)
def test_the_flagged_rows_of_all_events_are_all_flagged_rows(rows, merge_gap):
    score, times = rows_of(rows)
    events = found(score, times, merge_gap)
    assert sum(event.n_flagged for event in events) == sum(value > THRESHOLD for value in score)
    for event in events:
        assert event.n_flagged == sum(value > THRESHOLD for value in score[event.start : event.stop])


@given(ROWS, MERGE_GAPS)
def test_the_peak_is_the_first_row_with_the_highest_score(rows, merge_gap):
    score, times = rows_of(rows)
    for event in found(score, times, merge_gap):
        assert event.peak == event.start + int(np.nanargmax(score[event.start : event.stop]))
        assert (event.peak_score, event.peak_time) == (score[event.peak], times[event.peak])


@given(ROWS, MERGE_GAPS)
def test_severity_is_the_peak_over_the_threshold_and_above_one(rows, merge_gap):
    score, times = rows_of(rows)
    for event in found(score, times, merge_gap):
        assert event.severity == event.peak_score / THRESHOLD > 1


@given(ROWS, MERGE_GAPS)
def test_shares_fall_and_sum_to_one_over_all_features(rows, merge_gap):
    score, times = rows_of(rows)
    for event in found(score, times, merge_gap):
        shares = [share for _, share in event.shares]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert sorted(name for name, _ in event.shares) == sorted(COLUMNS)


DEVIATIONS = st.lists(st.sampled_from([0.0, 0.1, 0.19, 0.21, 0.5, 1.0, 4.9, 5.1, 30.0, np.nan]), min_size=180, max_size=180)


def deviating(rows, sizes):
    score, times = rows_of(rows)
    return score, times, np.reshape(sizes, (60, 3))[: len(score)]


@given(ROWS, MERGE_GAPS, DEVIATIONS, HALOS)
def test_an_event_begins_and_ends_with_a_row_that_deviates_itself(rows, merge_gap, sizes, halo):
    score, times, deviation = deviating(rows, sizes)
    whole = naive.events([value > THRESHOLD for value in score], times, merge_gap, LONGEST_STEP)
    expected = [part for event in whole for part in naive.parted(event, score, THRESHOLD, deviation, halo)]
    assert ranges(found(score, times, merge_gap, deviation=deviation, halo=halo)) == expected


@given(ROWS, MERGE_GAPS, DEVIATIONS)
def test_what_drove_an_event_is_counted_between_its_ends(rows, merge_gap, sizes):
    score, times, deviation = deviating(rows, sizes)
    scores = made_scores(score, times, deviation=deviation)
    for event in find_events(scores, rules(merge_gap)):
        own = [row for row in range(event.start, event.stop) if score[row] > THRESHOLD]
        assert event.n_flagged == len(own)
        assert (event.first_time, event.last_time) == (times[own[0]], times[own[-1]])
        assert event.peak_time == times[event.peak] and event.start <= event.peak < event.stop
        for (name, share), mean in zip(event.shares, event.deviations, strict=True):
            column = COLUMNS.index(name)
            known = deviation[own, column][~np.isnan(deviation[own, column])]  # what is missing is no deviation of 0
            assert mean == pytest.approx(known.mean() if len(known) else 0.0, abs=1e-12)
            assert share == pytest.approx(scores.by_feature[own, column].sum() / scores.by_feature[own].sum(), abs=1e-12)


@given(ROWS, MERGE_GAPS, DEVIATIONS, st.lists(st.integers(0, 9), min_size=60, max_size=60), HALOS)
def test_ends_are_cut_off_the_same_to_the_last_bit_whatever_the_pieces(rows, merge_gap, sizes, pieces, halo):
    score, times, deviation = deviating(rows, sizes)
    scores, its_rules = made_scores(score, times, deviation=deviation), rules(merge_gap, halo=halo)
    finder, ended = EventFinder(THRESHOLD, COLUMNS, its_rules), []
    for a, b in pairwise([0, *np.cumsum(pieces), len(score)]):
        ended += finder.push(scores.times[a:b], scores.score[a:b], scores.by_feature[a:b], scores.deviation[a:b])
    assert ended + finder.finish() == find_events(scores, its_rules)


def test_a_high_fault_beyond_the_halo_of_a_higher_one_is_an_event_of_its_own():
    deviation, score = np.full((40, 3), 0.1), np.full(40, 2.0)
    deviation[3], deviation[20:25] = 100.0, 1.0
    score[3], score[20:25] = 90.0, 4.0
    assert ranges(found(score, deviation=deviation)) == [(3, 4)]
    assert ranges(found(score, deviation=deviation, halo=10)) == [(3, 4), (20, 25)]
    assert ranges(found(score, deviation=deviation, halo=21)) == [(3, 4)]  # in the halo
    score[20:25] = 2.9
    assert ranges(found(score, deviation=deviation, halo=10)) == [(3, 4)]  # not high


def test_a_high_fault_before_the_halo_of_a_far_higher_one_is_an_event_of_its_own():
    deviation, score = np.full((40, 3), 0.1), np.full(40, 2.0)
    deviation[3:8], deviation[25] = 1.0, 100.0
    score[3:8], score[15:25], score[25] = 4.0, np.linspace(3.7, 60.0, 10), 90.0
    assert ranges(found(score, deviation=deviation)) == [(25, 26)]
    assert ranges(found(score, deviation=deviation, halo=10)) == [(3, 8), (25, 26)]
    assert ranges(found(score, deviation=deviation, halo=18)) == [(3, 7), (25, 26)]  # its last row is in the halo
    assert ranges(found(score, deviation=deviation, halo=22)) == [(25, 26)]
    score[3:8] = 2.9
    assert ranges(found(score, deviation=deviation, halo=10)) == [(25, 26)]  # not high


def test_what_leads_up_to_the_first_of_two_high_rows_is_no_event_of_its_own():
    deviation, score = np.full((40, 3), 0.1), np.full(40, 4.0)
    deviation[20], deviation[30] = 30.0, 100.0
    score[20], score[30] = 50.0, 90.0
    assert ranges(found(score, deviation=deviation, halo=20)) == [(20, 31)]


def test_the_least_length_and_the_merging_look_at_all_flagged_rows():
    deviation = np.zeros((9, 3))
    deviation[4] = 10.0
    score = [0.1, 2.0, 2.0, 2.0, 5.0, 2.0, 2.0, 2.0, 0.1]
    assert ranges(found(score, deviation=deviation, min_length=7)) == [(4, 5)]
    assert ranges(found(score, deviation=deviation, min_length=8)) == []


def test_an_endless_event_holds_few_rows():
    rng = np.random.default_rng(0)
    for its_rules in (rules(), rules(halo=128)):
        finder = EventFinder(THRESHOLD, COLUMNS, its_rules)
        for row in range(0, 100_000, 1_000):
            parts = np.abs(rng.normal(size=(1_000, 3)))
            finder.push(np.arange(row, row + 1_000), np.full(1_000, 2.0), parts, parts)
        assert len(finder._open._held[0]) < 100


@given(ROWS, MERGE_GAPS, st.lists(st.integers(0, 9), min_size=60, max_size=60))
def test_rows_in_pieces_give_the_same_events_to_the_last_bit(rows, merge_gap, sizes):
    score, times = rows_of(rows)
    scores = made_scores(score, times)
    finder = EventFinder(THRESHOLD, COLUMNS, rules(merge_gap))
    bounds = [0, *np.cumsum(sizes), len(score)]  # past the end there is nothing to push
    pieces = []
    for a, b in pairwise(bounds):
        pieces += finder.push(scores.times[a:b], scores.score[a:b], scores.by_feature[a:b], scores.deviation[a:b])
    assert pieces + finder.finish() == find_events(scores, rules(merge_gap))


def test_a_long_event_row_by_row_has_the_same_shares_to_the_last_bit():
    score = 1.1 + np.random.default_rng(3).exponential(size=3000)
    scores = made_scores(score)
    finder = EventFinder(THRESHOLD, COLUMNS, rules())
    for row in range(len(score)):
        assert (
            finder.push(
                scores.times[row : row + 1],
                scores.score[row : row + 1],
                scores.by_feature[row : row + 1],
                scores.deviation[row : row + 1],
            )
            == []
        )
    assert finder.finish() == find_events(scores, rules())


def test_an_event_comes_out_as_soon_as_it_cannot_grow_by_the_next_flag():
    finder = EventFinder(THRESHOLD, COLUMNS, rules())
    scores = made_scores([5.0, 0.1, 5.0])
    assert ranges(finder.push(scores.times, scores.score, scores.by_feature, scores.deviation)) == [(0, 1)]
    assert ranges(finder.finish()) == [(2, 3)]


def test_finish_twice_gives_no_event_twice():
    finder = EventFinder(THRESHOLD, COLUMNS, rules())
    scores = made_scores([5.0])
    finder.push(scores.times, scores.score, scores.by_feature, scores.deviation)
    assert len(finder.finish()) == 1
    assert finder.finish() == []


def test_a_score_at_the_threshold_is_no_event():
    assert found([1.0, 1.0]) == []


def test_no_rows_are_no_events():
    assert found([]) == []


def test_rows_without_scores_are_no_events():
    assert found([np.nan, np.nan]) == []


@pytest.mark.parametrize(("n_between", "expected"), [(2, [(0, 4)]), (3, [(0, 1), (4, 5)])])
def test_runs_merge_over_at_most_merge_gap_rows(n_between, expected):
    assert ranges(found([5.0, *[0.1] * n_between, 5.0], merge_gap=2)) == expected


def test_runs_merge_over_rows_without_a_score():
    assert ranges(found([5.0, np.nan, 5.0], merge_gap=1)) == [(0, 3)]


@pytest.mark.parametrize("times", [[0, 1, 9, 10], [5, 6, 2, 3]])
def test_runs_never_merge_over_a_break_in_time(times):
    assert ranges(found([5.0, 5.0, 5.0, 5.0], times, merge_gap=3)) == [(0, 2), (2, 4)]


def test_a_break_among_unflagged_rows_keeps_two_runs_apart():
    assert ranges(found([5.0, 0.1, 0.1, 5.0], [0, 1, 9, 10], merge_gap=3)) == [(0, 1), (3, 4)]


def test_a_merged_event_is_longer_than_its_flagged_rows():
    (event,) = found([5.0, 0.1, 5.0], merge_gap=1)
    assert (len(event), event.n_flagged) == (3, 2)


def test_only_flagged_rows_count_for_the_shares():
    by_feature = [[9.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 3.0, 0.0]]
    (event,) = found([3.0, 0.1, 1.5], merge_gap=1, by_feature=by_feature)
    assert event.shares == (("flow", 0.75), ("pressure", 0.25), ("heat", 0.0))


def test_equal_shares_keep_the_order_of_the_columns():
    (event,) = found([3.0], by_feature=[[3.0, 3.0, 3.0]])
    assert [name for name, _ in event.shares] == list(COLUMNS)


EVENT = Event(
    start=3, stop=6, first_time=0, last_time=7_200_500_000, peak=4, peak_time=3_600_000_000, peak_score=2.5, severity=1.234567,
    n_flagged=2, shares=(("heat", 0.66666), ("flow", 0.33334), ("pressure", 0.0)),
    deviations=(1.23456, -0.5, 0.0),
)  # fmt: skip


def test_an_event_as_plain_values_has_times_as_text_and_rounded_shares():
    assert EVENT.to_dict("when") == {
        "start": 3,
        "stop": 6,
        "first_time": "1970-01-01T00:00:00Z",
        "last_time": "1970-01-01T02:00:00.500000Z",
        "peak_time": "1970-01-01T01:00:00Z",
        "peak_score": 2.5,
        "severity": 1.2346,
        "n_flagged": 2,
        "features": {"heat": 0.6667, "flow": 0.3333, "pressure": 0.0},
        "deviations": {"heat": 1.2346, "flow": -0.5, "pressure": 0.0},
        "measured": {},
        "expected": {},
    }


def test_an_event_of_counted_rows_has_row_numbers_as_times():
    assert EVENT.to_dict(None)["first_time"] == "0"


def test_top_limits_the_features_of_an_event():
    assert EVENT.to_dict("when", top=1)["features"] == {"heat": 0.6667}


def test_a_deviation_is_the_mean_over_the_flagged_rows():
    deviation = [[1.0, -4.0, 0.0], [100.0, 100.0, 100.0], [2.0, -2.0, 0.0]]
    by_feature = [[9.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 3.0, 0.0]]
    (event,) = found([3.0, 0.1, 1.5], merge_gap=1, by_feature=by_feature, deviation=deviation)
    assert dict(zip([name for name, _ in event.shares], event.deviations, strict=True)) == {
        "flow": 1.5,
        "pressure": -3.0,
        "heat": 0.0,
    }


def test_a_short_event_is_dropped_after_merging_and_not_before():
    assert ranges(found([5.0, 0.1, 5.0, 0.1, 0.1, 5.0], merge_gap=1, min_length=3)) == [(0, 3)]


def test_a_weak_event_is_dropped():
    assert ranges(found([1.5, 0.1, 2.0, 0.1, 7.0], min_severity=2.0)) == [(4, 5)]


def test_an_event_soon_after_another_is_not_raised_and_keeps_the_next_one_waiting():
    score = [5.0, 0.1, 0.1, 5.0, 0.1, 0.1, 5.0, 0.1, 0.1, 0.1, 5.0]
    assert ranges(found(score, cool_down=2)) == [(0, 1), (10, 11)]


def test_a_dropped_event_keeps_nothing_waiting():
    assert ranges(found([1.5, 0.1, 7.0], min_severity=2.0, cool_down=5)) == [(2, 3)]


def test_a_gap_in_time_ends_the_cool_down():
    assert ranges(found([5.0, 5.0], [0, 9], cool_down=5)) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("direction", "raised"), [((1, 0, 0), True), ((-1, 0, 0), False), ((0, 0, 0), True), ((-1, 1, -1), False), ((-1, -1, 1), False)]
)
def test_an_event_must_point_as_asked(direction, raised):
    by_feature, deviation = [[3.0, 1.0, 1.0]], [[2.0, -1.0, 1.0]]
    assert bool(found([5.0], by_feature=by_feature, deviation=deviation, direction=direction)) is raised


RULES = st.builds(
    rules, MERGE_GAPS, min_length=st.integers(1, 4), min_severity=st.sampled_from([1.0, 1.6, 3.0]), cool_down=st.integers(0, 9),
    short_severity=st.sampled_from([None, 1.0, 2.0]),
)  # fmt: skip


@given(ROWS, RULES, st.lists(st.integers(1, 7), min_size=60, max_size=60))
def test_rules_are_those_of_the_loops_whatever_the_pieces(rows, given_rules, sizes):
    score, times = rows_of(rows)
    scores = made_scores(score, times)
    expected = naive.raised_events(score, times, THRESHOLD, given_rules)
    assert ranges(find_events(scores, given_rules)) == expected
    finder, pieces, bounds = EventFinder(THRESHOLD, COLUMNS, given_rules), [], [0, *np.cumsum(sizes)]
    for a, b in pairwise(bounds):
        pieces += finder.push(scores.times[a:b], scores.score[a:b], scores.by_feature[a:b], scores.deviation[a:b])
    assert ranges(pieces + finder.finish()) == expected


@given(ROWS, RULES, st.lists(st.integers(1, 7), min_size=60, max_size=60))
def test_a_run_is_an_event_or_has_a_reason(rows, given_rules, sizes):
    score, times = rows_of(rows)
    scores = made_scores(score, times)
    finder, events, others = EventFinder(THRESHOLD, COLUMNS, given_rules), [], []
    for a, b in pairwise([0, *np.cumsum(sizes)]):
        events += finder.push(scores.times[a:b], scores.score[a:b], scores.by_feature[a:b], scores.deviation[a:b])
        others += finder.not_raised()
    events += finder.finish()
    others += finder.not_raised()
    merged = find_events(scores, EventRules(given_rules.merge_gap, longest_step=given_rules.longest_step))
    assert sorted([*events, *(run.event for run in others)], key=lambda event: event.start) == merged
    high = THRESHOLD * (given_rules.short_severity or np.inf)
    short = [len(run.event) < given_rules.min_length and run.event.peak_score <= high for run in others]
    assert short == [run.reason == TOO_SHORT for run in others]
    assert finder.not_raised() == []


UP, DOWN = (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0)


@pytest.mark.parametrize(
    ("score", "way", "its_rules", "reasons"),
    [
        ([0, 5, 0], UP, {"min_length": 2}, [TOO_SHORT]),
        ([0, 5, 5, 0], UP, {"min_length": 2}, []),
        ([0, 2, 0], UP, {"min_severity": 2.0}, [TOO_WEAK]),
        ([0, 2, 0], UP, {"min_length": 2, "min_severity": 2.0}, [TOO_SHORT]),
        ([0, 5, 0], DOWN, {"direction": UP}, [DIRECTION]),
        ([0, 5, 0], UP, {"direction": UP}, []),
        ([0, 5, 0, 5, 0], UP, {"cool_down": 1}, [COOL_DOWN]),
        ([0, 5, 0, 0, 5, 0], UP, {"cool_down": 1}, []),
    ],
)
def test_a_run_that_is_no_event_says_which_rule_it_does_not_meet(score, way, its_rules, reasons):
    scores = made_scores(score, deviation=[way] * len(score))
    finder = EventFinder(THRESHOLD, COLUMNS, rules(**its_rules))
    finder.push(scores.clock, scores.score, scores.by_feature, scores.deviation)
    finder.finish()
    assert [run.reason for run in finder.not_raised()] == reasons


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, ""),
        ({TOO_SHORT: 0}, ""),
        ({TOO_SHORT: 1}, "1 run of flagged rows was too short to be an event"),
        ({TOO_SHORT: 12}, "12 runs of flagged rows were too short to be events"),
        (
            {DISMISSED: 1, TOO_WEAK: 1200},
            "1,200 runs of flagged rows were too weak to be events, 1 was like one that was dismissed",
        ),
        (
            {COOL_DOWN: 2, DIRECTION: 1},
            "1 run of flagged rows was in a direction that does not count, 2 were within the cool-down of another",
        ),
    ],
)
def test_what_is_no_event_is_told_in_a_clause(counts, text):
    assert not_raised_text(counts) == text


@given(ROWS)
def test_plain_values_of_an_event_are_json(rows):
    score, times = rows_of(rows)
    for event in found(score, times):
        values = event.to_dict(None)
        assert json.loads(json.dumps(values, allow_nan=False)) == values


@given(ROWS, MERGE_GAPS, st.lists(st.integers(0, 60), max_size=12), DEVIATIONS, HALOS)
def test_a_finder_that_goes_on_from_what_another_remembers_finds_the_same_events(rows, merge_gap, cuts, sizes, halo):
    score, times, deviation = deviating(rows, sizes)
    scores, its_rules = made_scores(score, times, deviation=deviation), rules(merge_gap, min_length=2, cool_down=8, halo=halo)
    finder, events = EventFinder(THRESHOLD, COLUMNS, its_rules), []
    values = scores.clock, scores.score, scores.by_feature, scores.deviation, 5 + 2 * scores.deviation, 5 + scores.deviation
    for a, b in pairwise([0, *sorted({min(cut, len(score)) for cut in cuts}), len(score)]):
        memory = json.loads(json.dumps(finder.memory()))
        finder = EventFinder(THRESHOLD, COLUMNS, its_rules)
        assert finder.go_on(memory) == []
        events += finder.push(*(array[a:b] for array in values))
    events += finder.finish()
    whole = EventFinder(THRESHOLD, COLUMNS, its_rules)
    assert events == whole.push(*values) + whole.finish()
    assert [replace(event, measured=(), expected=()) for event in events] == find_events(scores, its_rules)
    for event in events:
        own = np.arange(event.start, event.stop)[scores.flags[event.start : event.stop]]
        sizes = np.linalg.norm(np.nan_to_num(scores.deviation[own]), axis=1)
        measured = dict(zip((name for name, _ in event.shares), event.measured, strict=True))
        worst = [row for row, size in zip(own, sizes, strict=True) if size == sizes.max()]
        for (name, _), mean in zip(event.shares, event.deviations, strict=True):
            column = COLUMNS.index(name)
            off = np.nan_to_num(scores.deviation[own, column]) * (1 if mean >= 0 else -1)
            furthest = own[off == off.max()] if off.max() > 0 else []
            # The row that deviates most of all stands in where the feature is further off in the ends that were cut off.
            told = {None if np.isnan(x) else float(x) for x in values[4][[*furthest, *worst], column]}
            assert measured[name] in told
        assert all((x is None) == (y is None) for x, y in zip(event.measured, event.expected, strict=True))


def memory_of_an_older_version(finder):
    """It held no row but those that may turn out to be ends."""
    run = finder._open
    run._settle(run.recent)
    run.recent = run.recent.part(slice(0))
    memory = json.loads(json.dumps(finder.memory()))
    for name in ("recent", "so_far", "last"):
        del memory["open"][name]
    return memory


def test_a_state_of_an_older_version_knows_no_values():
    scores = made_scores([0.5, 3.0, 4.0, 0.5])
    pieces = (scores.clock, scores.score, scores.by_feature, scores.deviation, scores.deviation, scores.deviation)
    first, second = EventFinder(THRESHOLD, COLUMNS, rules()), EventFinder(THRESHOLD, COLUMNS, rules())
    first.push(*(part[:3] for part in pieces))
    memory = memory_of_an_older_version(first)
    del memory["open"]["held"][4], memory["open"]["furthest"]
    assert second.go_on(memory) == []
    (event,) = second.push(*(part[3:] for part in pieces)) + second.finish()
    assert event.measured == event.expected == (None,) * 3


def test_an_infinite_value_is_not_told():
    scores = made_scores([0.5, 3.0, 0.5])
    finder = EventFinder(THRESHOLD, COLUMNS, rules())
    measured = np.array([[1.0, np.inf, 2.0]] * 3)
    pieces = (scores.clock, scores.score, scores.by_feature, scores.deviation, measured, measured)
    (event,) = finder.push(*pieces) + finder.finish()
    assert {name: x for (name, _), x in zip(event.shares, event.measured, strict=True)} == dict(
        zip(COLUMNS, (1.0, None, 2.0), strict=True)
    )


def test_an_event_that_another_threshold_cut_ends_where_a_finder_goes_on():
    scores = made_scores([0.5, 3.0, 4.0, 3.0, 0.5, 7.0])
    first, second = EventFinder(1.0, COLUMNS, rules()), EventFinder(2.0, COLUMNS, rules())
    pieces = (scores.clock, scores.score, scores.by_feature, scores.deviation)
    assert first.push(*(part[:3] for part in pieces)) == []
    ended = second.go_on(first.memory())
    assert [(event.start, event.stop, event.severity) for event in ended] == [(1, 3, 4.0)]
    rest = second.push(*(part[3:] for part in pieces)) + second.finish()
    assert [(event.start, event.stop, event.severity) for event in rest] == [(3, 4, 1.5), (5, 6, 3.5)]


def far_by_loops(measured, expected, limits, shares):
    """Whether an event stands, row by row and feature by feature."""
    for row in range(len(measured)):
        for name, limit in limits.items():
            i = COLUMNS.index(name)
            least = limit.amount * abs(expected[row][i]) if limit.is_share else limit.amount
            if measured[row][i] != expected[row][i] and abs(measured[row][i] - expected[row][i]) >= least:
                return True
    return sum(share for name, share in shares if name not in limits) >= 0.5


@given(
    ROWS, DEVIATIONS, st.dictionaries(st.sampled_from(COLUMNS), st.builds(Limit, st.sampled_from([0.3, 2.0, 7.0]), st.booleans())),
    st.lists(st.integers(1, 9), max_size=8),
)  # fmt: skip
def test_an_event_deviates_by_a_limit_in_one_row_or_is_about_other_features(rows, sizes, limits, cuts):
    score, times, deviation = deviating(rows, sizes)
    deviation = np.nan_to_num(deviation)
    scores = made_scores(score, times, deviation=deviation)
    expected = 5 + np.random.default_rng(1).integers(-9, 9, deviation.shape).astype(float)
    values = scores.clock, scores.score, scores.by_feature, scores.deviation, expected + deviation, expected
    plain = EventFinder(THRESHOLD, COLUMNS, rules(2))
    everything = plain.push(*values) + plain.finish()
    finder, events = EventFinder(THRESHOLD, COLUMNS, rules(2, min_deviation=tuple(limits.items()))), []
    for a, b in pairwise([0, *sorted({min(cut, len(score)) for cut in np.cumsum(cuts, dtype=int).tolist()}), len(score)]):
        events += finder.push(*(array[a:b] for array in values))
    events += finder.finish()
    for event in everything:
        reach = range(event.start, event.stop)
        run = [row for row in runs_of_flags(scores, 2) if row[0] <= event.start < row[-1] + 1]
        own = [row for row in (run[0] if run else reach) if scores.flags[row]]
        stands = not limits or far_by_loops((expected + deviation)[own], expected[own], limits, event.shares)
        assert (event in events) == stands
    assert {run.reason for run in finder.not_raised()} <= {TOO_NEAR}
    assert len(events) <= len(everything)


def runs_of_flags(scores, merge_gap):
    """Return the flagged rows of each run, those over short gaps together."""
    found = []
    broken = np.diff(scores.clock, prepend=scores.clock[:1])
    for row in np.flatnonzero(scores.flags):
        joins = found and row - found[-1][-1] - 1 <= merge_gap
        gap = (broken[found[-1][-1] + 1 : row + 1] < 0) | (broken[found[-1][-1] + 1 : row + 1] > LONGEST_STEP) if joins else [True]
        if joins and not gap.any():
            found[-1].append(row)
        else:
            found.append([row])
    return found


def test_limits_are_not_looked_at_where_values_are_not_known():
    limited = rules(min_deviation=(("flow", Limit(1e9, False)),))
    assert find_events(made_scores([0, 5, 0], by_feature=[[0, 0, 0], [15, 0, 0], [0, 0, 0]]), limited)


def test_a_run_of_an_older_state_goes_on():
    """It knew two parts of each row, and took a missing deviation for 0."""
    deviation = np.tile([1.0, -2.0, 0.5], (8, 1))
    scores = made_scores([0.1, 2.0, 3.0, 2.0, 4.0, 2.0, 2.0, 0.1], np.arange(8), deviation=deviation)
    arrays = scores.times, scores.score, scores.by_feature, scores.deviation
    finder = EventFinder(THRESHOLD, COLUMNS, rules())
    finder.push(*(array[:4] for array in arrays))
    memory = memory_of_an_older_version(finder)
    run = memory["open"]
    n = len(COLUMNS)
    run["held"][2:4] = [[row[: 2 * n] for row in rows] for rows in run["held"][2:4]]
    run["total"], _ = run["total"][: 2 * n], run.pop("counts_known")
    again = EventFinder(THRESHOLD, COLUMNS, rules())
    again.go_on(memory)
    assert again.push(*(array[4:] for array in arrays)) + again.finish() == find_events(scores, rules())


def test_a_value_is_told_from_where_its_feature_is_furthest_off_in_the_direction_of_its_arrow():
    """And not from the row in which another one is."""
    deviation = np.array([[0, 0, 0], [1, -8, 0], [3, 1, 0], [2, -2, 9.0], [0, 0, 0]])
    scores = made_scores([0.5, 3.0, 3.0, 3.0, 0.5], deviation=deviation)
    finder, expected = EventFinder(THRESHOLD, COLUMNS, rules()), np.full((5, 3), 100.0)
    (event,) = (
        finder.push(scores.clock, scores.score, scores.by_feature, scores.deviation, expected + deviation, expected)
        + finder.finish()
    )
    told = {name: x for (name, _), x in zip(event.shares, event.measured, strict=True)}
    assert told == dict(zip(COLUMNS, (103.0, 92.0, 109.0), strict=True)) and set(event.expected) == {100.0}
