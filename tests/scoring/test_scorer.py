"""Scores against loops, and the same scores whatever the pieces the rows arrive in."""

from itertools import pairwise

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from small_scorer import BLOCK, LONGEST_STEP, MAX_MISSING, SCALER, UNITS, batch_dependent, reconstruct, score, scorer, waves

from anomaly.config import AGGREGATIONS
from anomaly.scoring import overlaps
from anomaly.scoring.row_scores import INSUFFICIENT, MISSING, NO_WINDOW, OK, OUT_OF_RANGE, STATUSES, WARM_UP, RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.scoring.scores import Scores, flags
from anomaly.windowing.scaling import CLIP, ErrorUnits, Scaler


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "BLOCK_WINDOWS", BLOCK)
        yield


# One row in twenty each: a gap before it, a step back in time, a repeated time; and missing values, of one or both features.
CODES = st.integers(1, 60).flatmap(lambda n: st.lists(st.integers(0, 19), min_size=n, max_size=n))


WINDOW_SIZES = st.integers(2, 6)


def rows_of(codes):
    steps = np.array([{0: 9, 1: -3, 2: 0}.get(code, 1) for code in codes])
    values = waves(len(codes))
    values[np.isin(codes, (3, 5, 6)), 1] = np.nan
    values[np.isin(codes, (6, 7)), 0] = np.nan
    return np.cumsum(steps), values


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(codes=CODES, window_size=WINDOW_SIZES)
def test_scores_are_those_of_the_loops_over_the_definition(aggregation, codes, window_size):
    times, values = rows_of(codes)
    expected = naive.scores(
        reconstruct,
        SCALER.transform(values)[0],
        naive.segments(times, LONGEST_STEP),
        window_size,
        aggregation,
        MAX_MISSING,
        UNITS,
    )
    found = score(times, values, window_size, aggregations=(aggregation,))
    np.testing.assert_allclose(found.by_feature[0], expected, rtol=1e-12)


@given(codes=CODES, window_size=WINDOW_SIZES)
def test_several_aggregations_at_once_are_each_as_if_alone(codes, window_size):
    times, values = rows_of(codes)
    together = score(times, values, window_size)
    for position, aggregation in enumerate(AGGREGATIONS):
        alone = score(times, values, window_size, aggregations=(aggregation,))
        np.testing.assert_array_equal(together.by_feature[position], alone.by_feature[0])
        np.testing.assert_array_equal(together.status[position], alone.status[0])


@given(codes=CODES, window_size=WINDOW_SIZES)
def test_statuses_are_those_of_the_definition(codes, window_size):
    times, values = rows_of(codes)
    scaled = SCALER.transform(values)[0]
    expected = np.zeros((len(AGGREGATIONS), len(times)))
    for start, stop in naive.segments(times, LONGEST_STEP):
        for position, aggregation in enumerate(AGGREGATIONS):
            by_feature = naive.scores(reconstruct, scaled, [(start, stop)], window_size, aggregation, MAX_MISSING)
            for row in range(start, stop):
                if all(np.isnan(values[row])):
                    expected[position, row] = MISSING
                elif aggregation.startswith("trailing") and row - start < window_size - 1:
                    expected[position, row] = WARM_UP
                elif stop - start < window_size:
                    expected[position, row] = NO_WINDOW
                else:
                    expected[position, row] = INSUFFICIENT if all(np.isnan(by_feature[row])) else OK
    np.testing.assert_array_equal(score(times, values, window_size).status, expected)


@given(codes=CODES, window_size=WINDOW_SIZES, sizes=st.lists(st.integers(0, 9), min_size=60, max_size=60))
def test_scores_are_the_same_to_the_last_bit_however_the_rows_are_split(codes, window_size, sizes):
    times, values = rows_of(codes)
    whole = score(times, values, window_size, network=batch_dependent)
    rows = scorer(window_size, network=batch_dependent)
    bounds = [0, *np.cumsum(sizes), len(times)]  # past the end there is nothing to push
    parts = [rows.push(times[a:b], values[a:b]) for a, b in pairwise(bounds)]
    pieces = RowScores.joined([*parts, rows.finish()], len(AGGREGATIONS), 2)
    assert pieces.by_feature.tobytes() == whole.by_feature.tobytes()
    assert pieces.status.tobytes() == whole.status.tobytes()


@given(codes=CODES, window_size=WINDOW_SIZES)
def test_every_row_comes_out_once_and_never_before_it_went_in(codes, window_size):
    times, values = rows_of(codes)
    rows = scorer(window_size)
    n_out = 0
    for row in range(len(times)):
        n_out += len(rows.push(times[row : row + 1], values[row : row + 1]))
        assert n_out <= row + 1
    assert n_out + len(rows.finish()) == len(times)


@given(codes=CODES, window_size=WINDOW_SIZES)
def test_a_score_is_there_exactly_where_the_status_says_so(codes, window_size):
    times, values = rows_of(codes)
    values[np.array(codes) == 4, 0] = 1e300
    found = score(times, values, window_size)
    scored = np.isin(found.status, (OK, OUT_OF_RANGE))
    np.testing.assert_array_equal(np.isfinite(found.score), scored)
    np.testing.assert_array_equal(np.isnan(found.score), ~scored)
    np.testing.assert_array_equal(np.isnan(found.by_feature).all(axis=2), ~scored)


def test_rows_come_out_in_the_order_in_which_they_went_in():
    values = waves(40)
    values[:, 0] = 10 + np.arange(40.0) ** 2
    rows = scorer(3, aggregations=("trailing_point",))
    parts = [rows.push(np.arange(a, a + 5), values[a : a + 5]) for a in range(0, 40, 5)]
    found = RowScores.joined([*parts, rows.finish()], 1, 2).by_feature[0, 2:, 0]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("window_size", [2, 5])
def test_a_scorer_never_holds_more_rows_than_a_window_and_a_block(window_size):
    rows, values = scorer(window_size), waves(200)
    n_out = 0
    for row in range(200):
        n_out += len(rows.push(np.array([row]), values[row : row + 1]))
        assert row + 1 - n_out < window_size + BLOCK


def test_finish_twice_gives_no_row_twice():
    rows = scorer(3)
    rows.push(np.arange(10), waves(10))
    rows.finish()
    assert len(rows.finish()) == 0


def test_no_rows_give_no_scores():
    rows = scorer(3)
    assert len(rows.push(np.empty(0, np.int64), np.empty((0, 2)))) == 0
    assert rows.finish().score.shape == (len(AGGREGATIONS), 0)


def test_a_repeated_time_does_not_break_a_segment():
    times = np.array([0, 1, 2, 2, 3, 4])
    assert (score(times, waves(6), 6).status[0] == OK).all()


@pytest.mark.parametrize("step", [LONGEST_STEP + 1, -1])
def test_no_window_spans_a_gap_or_a_step_back_in_time(step):
    times = np.array([10, 11, 12, 12 + step, 13 + step, 14 + step])
    assert np.isin(score(times, waves(6), 4).status, (NO_WINDOW, WARM_UP)).all()


def test_a_gap_between_two_pushes_is_a_gap():
    rows, values = scorer(4), waves(6)
    parts = [rows.push(np.array([0, 1, 2]), values[:3]), rows.push(np.array([9, 10, 11]), values[3:]), rows.finish()]
    assert np.isin(RowScores.joined(parts, len(AGGREGATIONS), 2).status, (NO_WINDOW, WARM_UP)).all()


def test_the_longest_allowed_step_is_not_a_gap():
    assert (score(np.arange(6) * LONGEST_STEP, waves(6), 6).status[0] == OK).all()


@pytest.mark.parametrize("aggregation", ["trailing", "trailing_point"])
def test_trailing_scores_do_not_look_ahead(aggregation):
    values = waves(30)
    changed = values.copy()
    changed[20:] += 5
    before = score(np.arange(30), values, 5, aggregations=(aggregation,)).score[0, :20]
    after = score(np.arange(30), changed, 5, aggregations=(aggregation,)).score[0, :20]
    np.testing.assert_array_equal(before, after)


def test_scores_of_the_training_windows_are_near_1(detector, series):
    assert 0.7 < np.nanmedian(detector.bundle_.calibration_scores["combined"]) < 1.3


def test_a_feature_that_was_constant_and_changes_is_told():
    values = np.column_stack([waves(30)[:, 0], np.full(30, 5.0)])
    scaler = Scaler.fit(values)
    assert scaler.constant == (1,)
    values[[7, 20], 1] = 5.0 + 1e-5, np.nan
    status = score(np.arange(30), values, 4, scaler=scaler).status[0]
    assert [STATUSES[code] for code in status[[6, 7, 20]]] == ["ok", "constant_changed", "ok"]


def test_the_score_is_the_mean_of_the_features():
    found = score(np.arange(30), waves(30), 5)
    np.testing.assert_allclose(found.score[0], (found.by_feature[0, :, 0] + found.by_feature[0, :, 1]) / 2, rtol=1e-15)


def test_a_perfect_reconstruction_scores_zero():
    assert (score(np.arange(9), waves(9), 3, aggregations=("window_mean",), network=lambda windows: windows).score == 0).all()


def test_the_spike_has_the_highest_point_score():
    values = waves(60)
    values[33, 0] += 50
    found = score(np.arange(60), values, 5, aggregations=("point_mean",), network=lambda windows: np.zeros_like(windows))
    assert found.score[0].argmax() == 33


@pytest.mark.parametrize("value", [1e300, -1e300, np.inf, -np.inf, np.finfo(np.float64).max])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_value_beyond_all_bounds_is_scored_flagged_and_called_out_of_range(detector, series, value, aggregation):
    values = series.values[:60].copy()
    values[40, 1] = value
    rows = detector.row_scorer(aggregation)
    found = RowScores.joined([rows.push(series.times[:60], values), rows.finish()], 1, 2)
    assert np.isfinite(found.score[0, 40])
    assert found.score[0, 40] > detector.thresholds_[aggregation].value
    assert STATUSES[found.status[0, 40]] == "out_of_range"


def test_only_the_row_with_the_value_is_out_of_range():
    values = waves(30)
    values[12, 0] = np.inf
    status = score(np.arange(30), values, 5, aggregations=("window_mean",)).status[0]
    assert np.flatnonzero(status == OUT_OF_RANGE).tolist() == [12]
    assert (np.delete(status, 12) == OK).all()


@pytest.mark.parametrize(
    ("sigmas", "status"), [(CLIP, OK), (-CLIP, OK), (CLIP * 1.001, OUT_OF_RANGE), (-CLIP * 1.001, OUT_OF_RANGE)]
)
def test_out_of_range_begins_beyond_ten_thousand_sigmas(sigmas, status):
    values = waves(8)
    values[4, 0] = SCALER.center[0] + sigmas * SCALER.scale[0]
    assert score(np.arange(8), values, 3, aggregations=("window_mean",)).status[0, 4] == status


def test_a_missing_value_beside_an_infinite_one_is_missing():
    values = waves(12)
    values[6] = np.nan, np.inf
    found = score(np.arange(12), values, 3)
    assert (found.status[:, 6] == OUT_OF_RANGE).all()
    assert np.isnan(found.deviation[:, 6, 0]).all()
    assert (found.score[:, 6] > CLIP).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_one_value_out_of_range_among_a_thousand_features_stands_out(aggregation):
    values = np.random.default_rng(0).normal(size=(60, 1_000))
    values[30, 500] = 1e300
    rows = RowScorer(
        np.zeros_like,
        scaler=Scaler(np.zeros(1_000), np.ones(1_000)),
        window_size=16,
        longest_step=1,
        max_missing=0.2,
        error_units=ErrorUnits(np.ones(1_000), np.ones(1_000)),
        aggregations=(aggregation,),
    )
    parts = [rows.push(np.arange(60), values), rows.finish()]
    found = RowScores.joined(parts, 1, 1_000).score[0]
    assert found[30] > 1_000
    assert found[30] == np.nanmax(found)


def test_a_row_without_any_value_has_no_score():
    values = waves(12)
    values[6] = np.nan
    found = score(np.arange(12), values, 3)
    assert (found.status[:, 6] == MISSING).all()
    assert np.isnan(found.by_feature[:, 6]).all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_dead_channel_silences_nothing_but_itself(aggregation):
    values = waves(40)
    alone = Scaler(center=SCALER.center[:1], scale=SCALER.scale[:1])
    expected = score(np.arange(40), values[:, :1], 5, aggregations=(aggregation,), scaler=alone)
    values[:, 1] = np.nan
    found = score(np.arange(40), values, 5, aggregations=(aggregation,))
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.status, expected.status)
    assert np.isnan(found.by_feature[:, :, 1]).all()


@given(codes=CODES, window_size=WINDOW_SIZES, at=st.integers(0, 59))
def test_a_missing_value_changes_no_score_that_its_windows_do_not_make(codes, window_size, at):
    times, values = rows_of(codes)
    at = min(at, len(times) - 1)
    changed = values.copy()
    changed[at, 0] = np.nan
    before, after = score(times, values, window_size), score(times, changed, window_size)
    far = np.abs(np.arange(len(times)) - at) >= 4 * window_size
    assert after.by_feature[:, far].tobytes() == before.by_feature[:, far].tobytes()
    assert after.status[:, far].tobytes() == before.status[:, far].tobytes()


def test_pushed_rows_are_not_changed():
    values = waves(20)
    values[3] = np.nan, np.inf
    kept = values.copy()
    score(np.arange(20), values, 4)
    np.testing.assert_array_equal(values, kept)


@given(st.lists(st.one_of(st.floats(0, 10), st.just(np.nan)), min_size=1), st.floats(1e-6, 10))
def test_flags_are_strictly_above_the_threshold_and_never_without_a_score(values, threshold):
    found = flags(np.array(values), threshold)
    assert found.tolist() == [value > threshold for value in values]


def test_a_score_at_the_threshold_is_not_flagged():
    assert flags(np.array([0.5, np.nextafter(0.5, 1)]), 0.5).tolist() == [False, True]


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(1e-6, 10), st.floats(1e-6, 10))
def test_a_higher_threshold_flags_no_further_row(values, a, b):
    assume(a <= b)
    assert not (flags(np.array(values), b) & ~flags(np.array(values), a)).any()


def made_scores():
    return Scores(
        score=np.array([0.5, np.nan, 2.0, 4.0]),
        by_feature=np.array([[0.5, 0.5], [np.nan, np.nan], [1.0, 3.0], [8.0, 0.0]]),
        deviation=np.zeros((4, 2)),
        status=np.array([OK, MISSING, OK, OUT_OF_RANGE], np.uint8),
        threshold=2.0,
        aggregation="window_mean",
        times=np.array([0, 60, 120, 180]) * 1_000_000,
        columns=("a", "b"),
        time_column="when",
    )


def test_a_frame_of_scores_has_a_missing_verdict_where_there_is_no_score():
    verdicts = made_scores().to_frame()["is_anomaly"]
    assert verdicts.dtype == "boolean"
    assert [None if pd.isna(verdict) else bool(verdict) for verdict in verdicts] == [False, None, False, True]


def test_a_frame_of_scores_has_the_appended_columns_and_the_times():
    frame = made_scores().to_frame()
    assert list(frame.columns) == ["score", "threshold", "anomaly_score", "is_anomaly", "status"]
    assert frame["status"].tolist() == ["ok", "missing", "ok", "out_of_range"]
    assert str(frame.index[1]) == "1970-01-01 00:01:00+00:00"


def test_the_anomaly_score_is_the_score_over_the_threshold():
    np.testing.assert_array_equal(made_scores().anomaly_score, [0.25, np.nan, 1.0, 2.0])


def test_scores_are_as_long_as_their_series():
    assert len(made_scores()) == 4


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_trained_detector_gives_the_same_scores_however_the_rows_are_split(detector, series, aggregation):
    values = series.values.copy()
    values[200, 0] = np.nan
    whole = detector.row_scorer(aggregation)
    expected = RowScores.joined([whole.push(series.times, values), whole.finish()], 1, 2)
    rows = detector.row_scorer(aggregation)
    parts = [rows.push(series.times[a : a + 37], values[a : a + 37]) for a in range(0, len(series), 37)]
    found = RowScores.joined([*parts, rows.finish()], 1, 2)
    assert found.by_feature.tobytes() == expected.by_feature.tobytes()
    assert found.status.tobytes() == expected.status.tobytes()
