"""How far values and steps may go, against loops, in whatever pieces the rows come."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.watches.extremes import FEWEST_STRETCHES, NEVER, PART, SHORTEST_STRETCH, TIMES, Extremes, ExtremeWatch

FEWEST_ROWS = FEWEST_STRETCHES * SHORTEST_STRETCH


def rows_of(seed, n=700, n_features=3):
    rows = np.random.default_rng(seed).standard_t(4, (n, n_features)).astype(np.float32)
    rows[np.random.default_rng(seed + 1).random(rows.shape) < 0.02] = np.nan
    return rows


def highest_by_loops(values, n_features, length):
    """Return how high some values may go, NaN = missing."""
    known = values[~np.isnan(values)]
    stretches = [values[first : first + length] for first in range(0, len(values) - length + 1, length)]
    stretches[-1] = values[(len(stretches) - 1) * length :]  # the last one takes what is left
    tops = [max(x for x in stretch if not np.isnan(x)) for stretch in stretches if not np.isnan(stretch).all()]
    gap = max(max(known) - float(np.median(tops)), (max(known) - min(known)) / PART)
    return max(known) + (TIMES + np.log(n_features) / np.log(len(tops))) * gap


@given(seed=st.integers(0, 10_000), n=st.sampled_from([FEWEST_ROWS + 1, 700, 2_100, 5_000]))
def test_limits_are_those_of_a_loop(seed, n):
    rows = rows_of(seed, n).astype(np.float64)
    found = Extremes.of(rows.astype(np.float32))
    for limits, values in ((found.values, rows), (found.steps, np.diff(rows, axis=0))):
        length = max(SHORTEST_STRETCH, min(128, len(values) // FEWEST_STRETCHES))
        for feature in range(3):
            expected = highest_by_loops(values[:, feature], 3, length), -highest_by_loops(-values[:, feature], 3, length)
            np.testing.assert_allclose((limits.highest[feature], limits.lowest[feature]), expected, rtol=1e-9)


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 59), max_size=8))
def test_what_is_beyond_is_that_of_a_loop_in_whatever_pieces_the_rows_come(seed, cuts):
    extremes, rows = Extremes.of(rows_of(seed)), rows_of(seed + 5, 60) * 4
    watch = ExtremeWatch(extremes)
    found = np.concatenate([watch.push(rows[start:stop]) for start, stop in pairwise([0, *sorted(set(cuts)), 60])])
    for row, feature in np.ndindex(rows.shape):
        value, before = float(rows[row, feature]), float(rows[row - 1, feature]) if row else np.nan
        beyond = not np.isnan(value) and not extremes.values.lowest[feature] <= value <= extremes.values.highest[feature]
        if not np.isnan(value - before):
            beyond |= not before + extremes.steps.lowest[feature] <= value <= before + extremes.steps.highest[feature]
        assert found[row, feature] == (np.inf if beyond else 0)


def test_training_rows_are_never_beyond():
    for n in (FEWEST_ROWS, 2_048, 5_000):
        rows = rows_of(n, n)
        assert not ExtremeWatch(Extremes.of(rows)).push(rows).any()


@pytest.mark.parametrize("n_features", [1, 20])
@pytest.mark.parametrize("shape", ["normal", "exponential", "laplace"])
def test_light_tails_hardly_ever_go_beyond_and_what_is_far_above_does(shape, n_features):
    rng = np.random.default_rng(0)
    training, later = (getattr(rng, shape)(size=(n, n_features)).astype(np.float32) for n in (4_000, 50_000))
    extremes = Extremes.of(training)
    assert ExtremeWatch(extremes).push(later).any(axis=1).sum() <= 5
    high = np.median(training, axis=0) + 4 * np.ptp(training, axis=0)
    assert ExtremeWatch(extremes).push(np.stack([np.median(training, axis=0), high]).astype(np.float32))[1].all()


def test_a_sawtooth_may_fall_as_it_did_and_not_rise_so():
    rows = np.tile(np.arange(20.0), 100)[:, None].astype(np.float32)
    extremes = Extremes.of(rows)
    assert not ExtremeWatch(extremes).push(rows).any()
    assert ExtremeWatch(extremes).push(rows[::-1].copy()).any()


def test_where_too_little_is_known_or_nothing_ever_moved_nothing_is_beyond():
    rows = rows_of(0, FEWEST_ROWS - 1)
    few, gaps, constant = rows, rows_of(0, 2_000), np.ones((2_000, 3), np.float32)
    gaps[50:] = np.nan
    for training in (few, gaps, constant):
        extremes = Extremes.of(training)
        for limits in (extremes.values, extremes.steps):
            assert (limits.highest == NEVER).all() and (limits.lowest == -NEVER).all()
    assert not ExtremeWatch(Extremes.of(few)).push(np.full((3, 3), 9_999, np.float32)).any()
    assert ExtremeWatch(Extremes.of(few)).push(rows[:0]).shape == (0, 3)


def test_the_first_row_and_one_behind_a_missing_one_have_no_step():
    extremes = Extremes.of(np.arange(2_000, dtype=np.float32)[:, None] % 1_000)
    rows = np.array([[0], [500], [np.nan], [0]], np.float32)
    assert ExtremeWatch(extremes).push(rows)[:, 0].tolist() == [0, np.inf, 0, 0]


def test_what_lies_on_both_sides_of_a_gap_is_no_step():
    rows = np.concatenate([np.arange(1_000) % 10, 500 + np.arange(1_000) % 10])[:, None].astype(np.float32)
    since = np.tile(np.arange(1_000), 2)
    assert Extremes.of(rows).steps.highest > 500 > 50 > Extremes.of(rows, since).steps.highest
    assert Extremes.of(rows, np.arange(2_000)).steps == Extremes.of(rows).steps
