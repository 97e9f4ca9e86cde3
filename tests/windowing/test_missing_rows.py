"""Rows that a regular series lacks: put in as missing values, in training, in scoring, and in pieces."""

from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_scorer import LONGEST_STEP, MAX_MISSING, SCALER, UNITS, batch_dependent, reconstruct, scorer, waves

from anomaly import Detector
from anomaly.config import AGGREGATIONS
from anomaly.ingest.order import RowOrder, in_order
from anomaly.scoring.row_scores import MISSING, NO_WINDOW, OK, RowScores
from anomaly.series import TimeSeries
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.missing_rows import fill_series, missing_before, with_missing_rows

STEP = 10
LONGEST = 6 * STEP
# Steps of one row, of a few, of a gap, none, and back in time; some a little off.
STEPS = st.lists(st.sampled_from([10, 10, 10, 9, 12, 14, 16, 20, 30, 60, 61, 75, 0, -40]), min_size=1, max_size=50)
ROW_STEPS = st.sampled_from([STEP, 0])


def rows_of(steps):
    values = waves(len(steps))
    values[::7, 0] = np.nan
    return 1_000 + np.cumsum(steps), values


@given(steps=STEPS, regular=ROW_STEPS)
def test_rows_put_in_are_those_of_the_loop(steps, regular):
    times, values = rows_of(steps)
    found = with_missing_rows(times, values, regular, LONGEST)
    for one, other in zip(found, naive.with_missing_rows(times, values, regular, LONGEST), strict=True):
        np.testing.assert_array_equal(one, other)


@given(steps=STEPS, sizes=st.lists(st.integers(0, 9), min_size=50, max_size=50))
def test_rows_in_pieces_are_filled_as_the_whole(steps, sizes):
    times, values = rows_of(steps)
    whole = with_missing_rows(times, values, STEP, LONGEST)
    pieces, before = [], None
    for start, stop in pairwise([0, *np.cumsum(sizes), len(times)]):
        if start < stop and start < len(times):
            pieces.append(with_missing_rows(times[start:stop], values[start:stop], STEP, LONGEST, before))
            before = int(times[min(stop, len(times)) - 1])
    for one, other in zip(whole, zip(*pieces, strict=True), strict=True):
        np.testing.assert_array_equal(one, np.concatenate(other))


def test_a_series_without_a_missing_row_is_not_copied():
    times, values = np.arange(5) * STEP, waves(5)
    found = with_missing_rows(times, values, STEP, LONGEST)
    assert found[0] is times and found[1] is values and found[2].all()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(steps=STEPS, window_size=st.integers(2, 6))
def test_scores_are_those_of_the_series_with_its_missing_rows(aggregation, steps, window_size):
    times, values = rows_of(steps)
    clock, filled, given_ = naive.with_missing_rows(times, values, STEP, LONGEST)
    pieces = naive.segments(clock, LONGEST)
    scaled = SCALER.transform(filled)[0]
    expected = naive.scores(reconstruct, scaled, pieces, window_size, aggregation, MAX_MISSING, UNITS)[given_]
    rows = scorer(window_size, aggregations=(aggregation,), longest_step=LONGEST, row_step=STEP)
    found = RowScores.joined([rows.push(times, values), rows.finish()], 1, 2)
    np.testing.assert_allclose(found.by_feature[0], expected, rtol=1e-12)
    np.testing.assert_array_equal(found.times, times)


@given(steps=STEPS, window_size=st.integers(2, 6), sizes=st.lists(st.integers(0, 9), min_size=50, max_size=50))
def test_scores_with_missing_rows_are_the_same_however_the_rows_are_split(steps, window_size, sizes):
    times, values = rows_of(steps)

    def scored(bounds):
        rows = scorer(window_size, network=batch_dependent, longest_step=LONGEST, row_step=STEP)
        parts = [rows.push(times[a:b], values[a:b]) for a, b in pairwise(bounds)]
        return RowScores.joined([*parts, rows.finish()], len(AGGREGATIONS), 2)

    whole, pieces = scored([0, len(times)]), scored([0, *np.cumsum(sizes), len(times)])
    assert pieces.by_feature.tobytes() == whole.by_feature.tobytes()
    assert pieces.status.tobytes() == whole.status.tobytes()


def test_one_missing_row_ends_no_window_and_has_no_score_itself():
    times = np.delete(np.arange(12), 6) * STEP
    rows = scorer(6, aggregations=("window_mean",), longest_step=LONGEST, row_step=STEP)
    found = RowScores.joined([rows.push(times, waves(11)), rows.finish()], 1, 2)
    assert (found.status == OK).all() and len(found) == 11
    rows = scorer(6, aggregations=("window_mean",), longest_step=LONGEST_STEP * STEP - 1, row_step=STEP)
    assert (rows.push(times[:6], waves(6)).status == OK).all()


def test_where_too_many_rows_are_missing_no_window_is_used():
    times = np.arange(30) * 3 * STEP  # two of three are missing
    rows = scorer(6, aggregations=("window_mean",), longest_step=LONGEST, row_step=STEP)
    found = RowScores.joined([rows.push(times, waves(30)), rows.finish()], 1, 2)
    assert not np.isfinite(found.score).any() and not np.isin(found.status, (OK, MISSING, NO_WINDOW)).any()


@given(steps=STEPS)
def test_missing_rows_are_counted_with_the_row_behind_them(steps):
    times, values = rows_of(steps)
    tolerance = Tolerance()
    order = RowOrder(0, tolerance, LONGEST, STEP)
    for row in range(len(times)):
        order.take(times[row : row + 1], values[row : row + 1])
    kept = in_order(TimeSeries(times, values, ("a", "b")))
    missing = missing_before(kept.times, STEP, LONGEST)
    assert tolerance.counts.get("missing_rows", 0) == missing.sum()


def test_a_detector_takes_a_series_with_missing_rows_and_says_so(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    values = np.sin(np.arange(n) / 5)[:, None] + 0.05 * rng.normal(size=(n, 1))
    times = 60_000_000 * np.arange(n)
    kept = np.sort(rng.choice(n, n - 12, replace=False))
    series = TimeSeries(times[kept], values[kept], ("a",), time_column="time")
    filled, given = fill_series(series, 60_000_000, 600_000_000)
    assert given.sum() == len(series) and len(filled) == n - (kept[0] > 0) * kept[0] - (n - 1 - kept[-1])
    detector = Detector(window_size=16, epochs=1, steps_per_epoch=3, seed=0).fit(series)
    assert detector.bundle_.row_step == 60_000_000
    assert detector.bundle_.training["n_rows"] == len(detector.bundle_.calibration_times) == len(series)
    scores = detector.score(series)
    assert len(scores) == len(series) and np.isfinite(scores.score).all()
    detector.save(tmp_path / "x.anomaly")
    np.testing.assert_array_equal(Detector.load(tmp_path / "x.anomaly").score(series).score, scores.score)
