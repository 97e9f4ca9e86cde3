"""Runs of equal values, and movement, against loops, in whatever pieces the rows come."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.watches.movement import FEWEST, LONGER, MOST_UNKNOWN, Movement, MovementRange, MovementWatch, Runs, steps_of


def rows_of(seed, n=60):
    """Return rows of few different values, some of them missing."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.integers(0, 3, (n, 3)), rng.integers(1, 6), axis=0)[:n].astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def runs_by_loops(rows, most):
    found = np.zeros(rows.shape)
    for row, column in np.ndindex(rows.shape):
        before = rows[max(row - most + 1, 0) : row + 1, column][::-1]
        known = before[~np.isnan(before)]
        if not np.isnan(before[0]):
            found[row, column] = len(known) if (known == known[0]).all() else (known != known[0]).argmax()
    return found


@given(seed=st.integers(0, 10_000), most=st.integers(1, 20), cuts=st.lists(st.integers(1, 59), max_size=8))
def test_runs_are_those_of_a_loop_in_whatever_pieces_the_rows_come(seed, most, cuts):
    rows, counted = rows_of(seed), Runs(3, most)
    found = [counted.push(rows[start:stop]) for start, stop in pairwise([0, *sorted(set(cuts)), len(rows)])]
    np.testing.assert_array_equal(np.concatenate(found), runs_by_loops(rows, most))


@given(seed=st.integers(0, 10_000), most=st.integers(2, 12), start=st.integers(12, 40))
def test_as_many_rows_as_are_counted_are_all_that_must_be_known_again(seed, most, start):
    rows = rows_of(seed)
    whole, again = Runs(3, most).push(rows), Runs(3, most).push(rows[start - most + 1 :])
    np.testing.assert_array_equal(again[most - 1 :], whole[start:])


def movement_by_loops(rows, n_steps):
    found = np.full(rows.shape, np.nan)
    for row, column in np.ndindex(rows.shape):
        if row >= n_steps:
            steps = np.abs(np.diff(rows[row - n_steps : row + 1, column].astype(np.float64)))
            known = steps[~np.isnan(steps)]
            found[row, column] = known.mean() * n_steps if len(known) and len(known) >= (1 - MOST_UNKNOWN) * n_steps else np.nan
    return found


@given(seed=st.integers(0, 10_000), n_steps=st.integers(1, 20), cuts=st.lists(st.integers(1, 59), max_size=8))
def test_movement_is_that_of_a_loop_and_the_same_to_the_last_bit_in_whatever_pieces_the_rows_come(seed, n_steps, cuts):
    rows = rows_of(seed) + np.random.default_rng(seed).normal(0, 1, (60, 3)).astype(np.float32)
    whole, movement = Movement(3, n_steps).push(rows), Movement(3, n_steps)
    found = [movement.push(rows[start:stop]) for start, stop in pairwise([0, *sorted(set(cuts)), len(rows)])]
    np.testing.assert_array_equal(np.concatenate(found), whole)
    np.testing.assert_allclose(whole, movement_by_loops(rows, n_steps), rtol=1e-12)


@given(seed=st.integers(0, 10_000))
def test_the_range_of_training_is_its_longest_run_its_least_and_its_most_movement(seed):
    rows = np.random.default_rng(seed).integers(0, 3, (300, 3)).astype(np.float32)
    rows[150:, 2] = np.nan  # too little is known of it
    usual, movement = MovementRange.of(rows, 20), movement_by_loops(rows, 10)
    movement[:, 2] = np.nan
    np.testing.assert_array_equal(usual.longest_runs, runs_by_loops(rows, len(rows)).max(axis=0))
    least = np.where(np.isnan(movement), np.inf, movement).min(axis=0)
    np.testing.assert_allclose(usual.least, np.where(np.isinf(least), 0, least))
    np.testing.assert_allclose(usual.most, np.nan_to_num(movement).max(axis=0))


@given(seed=st.integers(0, 10_000), window_size=st.integers(18, 30), start=st.integers(0, 30))
def test_a_window_of_rows_is_all_that_must_be_known_again(seed, window_size, start):
    rows = rows_of(seed)
    usual = MovementRange(np.array([1.0, 2.0, 3.0]), np.array([9.0, 12.0, 24.0]), np.array([3.0, 12.0, 2.0]))
    whole, again = MovementWatch(usual, window_size).push(rows), MovementWatch(usual, window_size).push(rows[start:])
    np.testing.assert_array_equal(again[window_size:], whole[start + window_size :])


def test_a_run_is_flat_beyond_its_multiple_and_a_few_rows():
    rows = np.zeros((40, 2), np.float32)
    found = MovementWatch(MovementRange(np.array([1.0, 10.0])), 64).push(rows)
    assert LONGER == 3 and found.argmax(axis=0).tolist() == [FEWEST, 30]


def alternating(*sizes):
    return np.stack([np.arange(60) % 2 * size for size in sizes], axis=1).astype(np.float32)


def test_what_jitters_is_quiet_below_a_third_of_the_least_movement_and_what_stood_still_never_is():
    usual = MovementRange(np.full(3, 60.0), np.array([16.0, 16.0, 0.0]), np.full(3, 99.0))
    found = MovementWatch(usual, 32).push(alternating(0.3, 0.35, 1e-9))
    assert steps_of(32) == 16 and found[:, 0].argmax() == 16 and found[16:, 0].all()  # 16 steps of .3
    assert not found[:, 1:].any()


def test_what_goes_to_and_fro_is_restless_above_three_times_the_most_movement():
    usual = MovementRange(np.full(3, 60.0), np.zeros(3), np.array([16.0, 16.0, 0.0]))
    found = MovementWatch(usual, 32).push(alternating(3.1, 2.9, 3.1))
    assert found[:, 0].argmax() == 16 and found[16:, 0].all() and not found[:, 1:].any()


def test_one_high_row_leaves_nothing_restless_behind_it():
    rows = alternating(1.0)
    rows[30] += 100
    found = MovementWatch(MovementRange(np.full(1, 60.0), np.array([16.0]), np.array([16.0])), 32).push(rows)[:, 0]
    assert np.flatnonzero(found).tolist() == [30, 31]


def test_what_moves_again_is_not_quiet_any_more():
    rows = np.concatenate([alternating(0.1), alternating(1.0)])
    found = MovementWatch(MovementRange(np.full(1, 60.0), np.array([16.0]), np.array([16.0])), 32).push(rows)[:, 0]
    assert found[16:60].all() and not found[61:].any()


def test_older_files_know_only_runs():
    jitter, runs = alternating(1e-3), np.array([1.0])
    assert MovementWatch(MovementRange(runs, np.array([50.0]), np.array([99.0])), 32).push(jitter).any()
    assert not MovementWatch(MovementRange(runs), 32).push(jitter).any()


def quiet_at(rows, usual):
    """Return how many rows of each feature are told."""
    return (MovementWatch(usual, 64).push(rows) > 0).sum(axis=0)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_cells_that_are_missing_now_and_then_change_little(share):
    rng = np.random.default_rng(0)
    training, rows = (rng.normal(size=(n, 3)).astype(np.float32) for n in (3_000, 600))
    rows[200:400, 0] *= 0.02  # only jitters
    rows[200:400, 1] = rows[200, 1]  # is stuck
    rows[200:400, 2] *= 9  # goes to and fro
    whole = quiet_at(rows, MovementRange.of(training, 64))
    gone, gone_in_training = (rng.random(x.shape) < share for x in (rows, training))
    for usual in (MovementRange.of(training, 64), MovementRange.of(np.where(gone_in_training, np.nan, training), 64)):
        assert usual.least.all() and usual.most.all()
        told = quiet_at(np.where(gone, np.float32(np.nan), rows), usual)
        assert (told > (1 - 3 * share) * whole).all() and (told <= whole + 8).all()
    assert whole.min() > 140


def test_a_sensor_that_is_hardly_ever_there_is_told_of_nothing():
    rows = np.full((600, 1), np.nan, np.float32)
    rows[::4] = np.arange(150)[:, None] % 2
    usual = MovementRange(np.full(1, 60.0), np.full(1, 99.0), np.full(1, 1e-3))
    assert not MovementWatch(usual, 64).push(rows).any()


def test_in_training_nothing_is_counted_across_a_gap():
    rows = np.concatenate([np.full((400, 1), 1.0), np.full((400, 1), 1.0), np.arange(800.0)[:, None] % 2]).astype(np.float32)
    since = np.concatenate([np.arange(400), np.arange(400), np.arange(800)])
    assert MovementRange.of(rows, 32).longest_runs == 800 and MovementRange.of(rows, 32, since).longest_runs == 400
    jump = np.concatenate([np.zeros((400, 1)), np.full((400, 1), 50.0)]).astype(np.float32)
    assert MovementRange.of(jump, 32).most == 50 and MovementRange.of(jump, 32, since[:800]).most == 0


def daily(kind, n, seed=0):
    """Return rows of which 96 are a day: what rests, and what it is for the rest of the day."""
    rng, rows = np.random.default_rng(seed), np.arange(n)
    day = np.sin(2 * np.pi * rows / 96)
    return {
        "sun": np.where(day > 0, 900 * day + rng.normal(0, 20, n), 0).round(),
        "machine": np.where((rows % 96 < 30) & (rows % 5 < 3), 120 + rng.normal(0, 2, n).round(1), 2.0),
        "saturated": np.clip(60 + 80 * day + rng.normal(0, 8, n), 0, 100).round(),
        "set point": np.where(rows % 96 < 40, 21.0, 17.0),
        "one state": 1.0 * (rows % 96 < 12),
        "quantised": 0.5 * np.round(40 + 6 * np.maximum(day, 0) + rng.normal(0, 0.4, n)),
        "counts": rng.poisson(0.15, n) * 1.0,
        "never at rest": day + rng.normal(0, 0.1, n),
    }[kind].astype(np.float32)[:, None]


DAILY = ("sun", "machine", "saturated", "set point", "one state", "quantised", "counts", "never at rest")


@pytest.mark.parametrize("kind", DAILY)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_rests_moves_as_in_training_on_further_days(kind, seed):
    assert not MovementWatch(MovementRange.of(daily(kind, 4_000), 192), 192).push(daily(kind, 4_000, seed)).any()


@pytest.mark.parametrize(("kind", "longest", "others"), [("sun", 51, 4), ("one state", 84, 12), ("set point", 56, 40)])
def test_runs_at_other_values_than_the_one_of_rest_are_held_to_their_own(kind, longest, others):
    training, rows = daily(kind, 4_000), daily(kind, 960, seed=1)
    usual = MovementRange.of(training, 192)
    assert usual.longest_runs == pytest.approx(longest, abs=2) and usual.other_runs == pytest.approx(others, abs=2)
    rows[432:720] = rows.max()  # from rest to rest
    runs = MovementRange(usual.longest_runs, resting=usual.resting, other_runs=usual.other_runs)
    told = np.flatnonzero(MovementWatch(runs, 512).push(rows))
    assert told.tolist() == list(range(432 + max(3 * int(usual.other_runs[0]), 8), 720))
    older = np.flatnonzero(MovementWatch(MovementRange(usual.longest_runs), 512).push(rows))
    assert older.tolist() == told[told >= 432 + 3 * usual.longest_runs].tolist()


def test_what_stands_still_once_or_is_elsewhere_too_seldom_has_no_value_of_rest():
    rows = daily("never at rest", 4_000)
    rows[1_000:1_200] = rows[1_000]  # a fault of the history
    usual = MovementRange.of(rows, 192)
    assert usual.other_runs == usual.longest_runs == 200
    seldom = np.zeros((4_000, 1), np.float32)
    seldom[300:3_900:300] = 1  # twelve times
    usual = MovementRange.of(seldom, 192)
    assert usual.other_runs == usual.longest_runs == 399
