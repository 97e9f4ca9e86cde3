"""Runs of equal values against a loop, in whatever pieces the rows come."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anomaly.windowing.flatline import FEWEST, LONGER, Flatline, is_flat, longest_runs


def rows_of(seed, n=60):
    """Return rows of few different values, some of them missing."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.integers(0, 3, (n, 3)), rng.integers(1, 6), axis=0)[:n].astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def runs_by_loops(rows, most):
    found = np.zeros(rows.shape)
    for row, column in np.ndindex(rows.shape):
        while row - found[row, column] >= 0 and rows[row - int(found[row, column]), column] == rows[row, column]:
            found[row, column] += 1
    return np.minimum(found, most)


@given(seed=st.integers(0, 10_000), most=st.integers(1, 20), cuts=st.lists(st.integers(1, 59), max_size=8))
def test_runs_are_those_of_a_loop_in_whatever_pieces_the_rows_come(seed, most, cuts):
    rows, flatline = rows_of(seed), Flatline(3, most)
    found = [flatline.push(rows[start:stop]) for start, stop in pairwise([0, *sorted(set(cuts)), len(rows)])]
    np.testing.assert_array_equal(np.concatenate(found), runs_by_loops(rows, most))


@given(seed=st.integers(0, 10_000), most=st.integers(2, 12), start=st.integers(12, 40))
def test_as_many_rows_as_are_counted_are_all_that_must_be_known_again(seed, most, start):
    rows = rows_of(seed)
    whole, again = Flatline(3, most).push(rows), Flatline(3, most).push(rows[start - most + 1 :])
    np.testing.assert_array_equal(again[most - 1 :], whole[start:])


@given(seed=st.integers(0, 10_000))
def test_the_longest_is_the_longest(seed):
    rows = rows_of(seed)
    np.testing.assert_array_equal(longest_runs(rows), runs_by_loops(rows, len(rows)).max(axis=0))


def test_a_run_is_flat_beyond_its_multiple_and_a_few_rows():
    runs = np.array([[FEWEST, 30.0], [FEWEST + 1, 31.0]])
    assert LONGER == 3 and is_flat(runs, np.array([1.0, 10.0])).tolist() == [[False, False], [True, True]]
