"""Missing values: what the network reads instead, which windows are used, and what training makes of them."""

import naive
import numpy as np
import pytest
from closeness import assert_close
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly import Detector
from anomaly.config import AGGREGATIONS
from anomaly.errors import DataError
from anomaly.scoring.row_scores import OK, OUT_OF_RANGE, RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.series import TimeSeries
from anomaly.windowing.missing import fill_missing, mask_windows, mean_of_known, unjudged_shares, used_starts
from anomaly.windowing.scaling import CLIP, ErrorUnits, Scaler
from anomaly.windowing.windows import make_windows, window_starts

WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.one_of(st.just(np.nan), st.integers(-3, 3)))
)
SHARES = st.sampled_from([0, 0.2, 0.5, 0.9])


@given(arrays(np.float64, st.tuples(st.integers(4, 30), st.integers(1, 4)), elements=st.sampled_from([np.nan, 1.0])), SHARES)
def test_the_share_of_rows_that_are_not_judged_is_that_of_the_loops(values, max_missing):
    n, size = len(values), 4
    spoken = [np.isnan(values[i : i + size]).sum(axis=0) <= max_missing * size for i in range(n - size + 1)]
    about = [[spoken[i] for i in range(max(0, row - size + 1), min(row, n - size) + 1)] for row in range(n)]
    used = [[told for told in windows if told.mean() >= 0.5] for windows in about]
    rows = [np.any(windows, axis=0) for windows in used if windows]
    expected = 1 - np.mean(rows, axis=0) if rows else np.zeros(values.shape[1])
    np.testing.assert_allclose(unjudged_shares(values, window_starts(n, size, 1), size, max_missing), expected, atol=1e-12)


@given(WINDOWS, SHARES)
def test_filling_and_masking_are_those_of_the_loops(windows, max_missing):
    filled, (masked, used) = fill_missing(windows), mask_windows(windows, max_missing)
    for window, read, compared, is_used in zip(windows, filled, masked, used, strict=True):
        expected, spoken = naive.read_and_spoken(window, max_missing)
        np.testing.assert_array_equal(read, expected)
        assert is_used == bool(spoken)
        for k in range(window.shape[1]):
            if k in spoken:
                np.testing.assert_array_equal(compared[:, k], window[:, k])
            elif is_used:
                assert np.isnan(compared[:, k]).all()


@given(WINDOWS)
def test_filling_changes_no_known_value_and_nothing_twice(windows):
    filled = fill_missing(windows)
    known = ~np.isnan(windows)
    np.testing.assert_array_equal(filled[known], windows[known])
    assert fill_missing(filled) is filled


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 3), st.integers(1, 4), SHARES, st.integers(0, 99))
def test_used_starts_are_those_whose_windows_are_used(n, size, stride, n_features, max_missing, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, n_features)).astype(np.float32)
    values[rng.random(values.shape) < rng.choice([0, 0.2, 0.6])] = np.nan
    starts = window_starts(n, min(size, n), stride)
    expected = [s for s in starts if naive.read_and_spoken(values[s : s + min(size, n)], max_missing)[1]]
    assert used_starts(values, starts, min(size, n), max_missing).tolist() == expected
    windows = make_windows(values, starts, min(size, n))
    assert starts[mask_windows(windows, max_missing)[1]].tolist() == expected


@given(arrays(np.float64, (5, 3), elements=st.one_of(st.just(np.nan), st.floats(-9, 9))), st.sampled_from([0, 1]))
def test_the_mean_of_known_values(values, axis):
    rows = values.T if axis == 0 else values
    expected = [np.mean([x for x in row if x == x]) if any(row == row) else np.nan for row in rows]
    assert_close(mean_of_known(values, axis), expected, 1e-12, size=9)


def test_a_complete_row_has_the_same_mean_to_the_last_bit_beside_an_incomplete_one():
    values = np.random.default_rng(0).normal(size=(50, 37))
    holed = values.copy()
    holed[3, 5] = np.nan
    others = np.arange(50) != 3
    assert mean_of_known(values, 1)[others].tobytes() == mean_of_known(holed, 1)[others].tobytes()


def sine(n=400, n_features=2):
    t = np.arange(n)
    return np.column_stack([np.sin(2 * np.pi * t / (12 + 6 * k)) for k in range(n_features)])


def trained(values, **settings):
    options = {"units": 4, "window_size": 12, "epochs": 2, "steps_per_epoch": 4, "seed": 1, "penalty": "none"} | settings
    return Detector(**options).fit(TimeSeries(np.arange(len(values)), values, tuple(f"f{k}" for k in range(values.shape[1]))))


def test_training_takes_a_series_with_holes_of_every_kind():
    values = sine()
    rng = np.random.default_rng(3)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[100:130, 0] = np.nan
    values[200:210] = np.nan
    detector = trained(values, penalty="l2")
    scores = detector.score(values)
    assert np.isfinite(detector.thresholds_["window_mean"].value)
    np.testing.assert_array_equal(np.isnan(scores.score), np.isnan(values).all(axis=1))
    dead = slice(100, 130)
    assert (np.isfinite(scores.score[dead]) == ~np.isnan(values[dead, 1])).all()  # by the other feature


def test_what_is_missing_is_never_compared(monkeypatch):
    """Whatever stands in the cells that are missing in training, the weights are the same."""
    holed = sine()
    holed[50:52, 1] = np.nan
    from anomaly.training import loop as training

    def read(windows):
        return np.nan_to_num(windows, nan=0.25)

    monkeypatch.setattr(training, "fill_missing", read)
    expected = trained(holed).bundle_.weights
    # The same input of the network; and targets that would differ, if they were used.
    monkeypatch.setattr(training, "mask_windows", lambda windows, share: (np.where(np.isnan(windows), 99, windows), None))
    wrong = trained(holed).bundle_.weights
    assert any((expected[name] != wrong[name]).any() for name in expected)


def test_a_channel_that_is_dead_from_the_middle_on_neither_stops_training_nor_scoring():
    values = sine(n_features=3)
    values[150:, 2] = np.nan
    scores = trained(values).score(values)
    assert np.isfinite(scores.score).all()
    far = slice(150 + 3 * 12, None)  # beyond the windows, and the running means of them, that know the channel
    assert np.isnan(scores.by_feature[far, 2]).all()
    np.testing.assert_allclose(scores.score[far], scores.by_feature[far, :2].mean(axis=1), rtol=1e-12)


def test_too_much_missing_is_refused_with_a_remedy():
    values = sine(n_features=1)
    values[::3] = np.nan
    with pytest.raises(DataError, match="or a larger max_missing"):
        trained(values)
    trained(values, max_missing=0.5)


def test_a_dead_channel_has_no_share_in_an_event():
    values = sine(n_features=3)
    detector = trained(values)
    values[100:, 2] = np.nan
    values[200:205, 0] += 9
    scores = detector.score(values)
    event = max(detector.detect(scores.at(scores.score[198:207].min() * 0.9)), key=lambda event: event.severity)
    shares = dict(event.shares)
    assert shares["f2"] == 0
    assert shares["f0"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=st.integers(0, 10_000))
def test_a_score_is_finite_or_its_row_says_why_not_whatever_the_values(aggregation, seed):
    """Row 2 of the fault table: no silent miss. 400 series a run, 100 for each aggregation."""
    values, network = hostile_series(seed), HALF
    rows = RowScorer(
        network,
        scaler=UNIT,
        window_size=4,
        longest_step=1,
        max_missing=0.3,
        error_units=ErrorUnits(np.ones(2), np.ones(2)),
        aggregations=(aggregation,),
    )
    parts = [rows.push(np.arange(len(values)), values), rows.finish()]
    found = RowScores.joined(parts, 1, values.shape[1])
    scored = np.isin(found.status[0], (OK, OUT_OF_RANGE))
    np.testing.assert_array_equal(np.isfinite(found.score[0]), scored)
    np.testing.assert_array_equal(np.isnan(found.score[0]), ~scored)
    huge = (np.abs(values) > CLIP).any(axis=1)
    np.testing.assert_array_equal(found.status[0] == OUT_OF_RANGE, huge & scored)
    covered = scored if aggregation != "trailing_point" else scored & ~np.isnan(found.score[0])
    assert (found.score[0][huge & covered] > 1e5).all()  # far above any threshold


UNIT = Scaler(center=np.zeros(2), scale=np.ones(2))


def HALF(windows):  # noqa: N802
    """Stand for a network whose answers stay within what it saw in training."""
    return np.clip(np.float32(0.5) * windows, -5, 5)


def hostile_series(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(int(rng.integers(1, 40)), 2))
    for strange in (1e300, -1e300, 1e-300, np.inf, -np.inf, np.nan, 1e39, -0.0):
        values[rng.random(values.shape) < rng.choice([0, 0.02, 0.2])] = strange
    if rng.random() < 0.3:
        values[int(rng.integers(0, len(values))) :, int(rng.integers(0, 2))] = np.nan
    return values
