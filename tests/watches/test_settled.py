"""What hangs together while set points stand, against slow loops, and what training has not seen, of which nothing is said."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.watches.relations import BEYOND, N_RESIDUALS, RelationWatch
from anomaly.watches.settled import FEWEST_STEPS, MOST_VALUES, SPANS, Settled, SettledWatch

WINDOW = 128


def plant(seed=0, n=4000, levels=(-1.0, 0.0, 1.0), stay=(40, 160), noise=0.02):
    """Return a set point, what follows it with a lag, and what that drives; in a step all goes far from where it settles."""
    rng = np.random.default_rng(seed)
    point = np.concatenate([np.full(rng.integers(*stay), level) for level in rng.choice(levels, n)])[:n]
    followed = np.empty(n)
    state = point[0]
    for k in range(n):
        state += 0.2 * (point[k] - state)
        followed[k] = state
    driven = 0.8 * followed + 2 * (point - followed)
    rows = np.stack([point, followed, driven], axis=1)
    rows[:, 1:] += noise * rng.normal(size=(n, 2))
    return rows.astype(np.float32)


def settled_at(rows):
    """Return for how long the set point has stood at each row, by a loop."""
    stood = np.ones(len(rows), int)
    for k in range(1, len(rows)):
        stood[k] = stood[k - 1] + 1 if rows[k, 0] == rows[k - 1, 0] else 1
    return stood


def test_limits_are_the_largest_sums_of_residuals_of_rows_settled_as_long():
    rows = plant()
    settled, stood = Settled.of(rows, WINDOW), settled_at(plant())
    assert settled.points.tolist() == [1, 0, 0] and (settled.relations.most > 0).tolist() == [True, True, True]
    residuals, _ = RelationWatch(settled.relations).sums(rows)
    for k, span in enumerate(SPANS):
        if not settled.most[k].any():
            continue
        largest = max(
            (residuals[t - N_RESIDUALS + 1 : t + 1].sum(axis=0) for t in range(len(rows)) if stood[t] >= span + N_RESIDUALS - 1),
            key=lambda sums: sums[1],
        )
        assert settled.most[k, 1] == pytest.approx(largest[1])
    n_spans = int(settled.most.any(axis=1).sum())
    assert n_spans >= 3 and SPANS[n_spans - 1] + N_RESIDUALS - 1 <= WINDOW
    assert (np.diff(settled.most[:n_spans], axis=0) <= 0).all() and settled.most[0, 1] > 5 * settled.most[n_spans - 1, 1]


def test_what_is_off_while_the_set_point_stands_is_found_though_a_transition_goes_further():
    rows, settled = plant(1), Settled.of(plant(), WINDOW)
    assert not SettledWatch(settled, WINDOW).push(rows).any()
    stood = settled_at(rows)
    off = int(np.flatnonzero(stood == 100)[0]) - 40
    rows[off : off + 30, 1] += 0.3
    assert np.abs(np.diff(plant()[:, 2])).max() > 1  # what a step does
    found = SettledWatch(settled, WINDOW).push(rows)
    assert found[off : off + 30, 1].max() > BEYOND and not found[:off].any() and not found[off + 30 + N_RESIDUALS :].any()
    assert found.sum(axis=0).argmax() == 1


def test_of_a_value_that_the_set_point_never_had_nothing_is_said():
    settled, rows = Settled.of(plant(), WINDOW), plant(2, levels=(0.5, 2.0))
    rows[:, 2] += 5
    assert not SettledWatch(settled, WINDOW).push(rows).any()
    rows = plant(2)
    rows[:, 2] += 5
    assert SettledWatch(settled, WINDOW).push(rows)[:, 2].any()
    rows[:, 0] = np.nan
    assert not SettledWatch(settled, WINDOW).push(rows).any()


def test_a_combination_counts_for_as_long_as_it_was_seen_three_times():
    rows = plant()
    rare = np.concatenate([plant(3, 60, (7.0,), (60, 61)), rows[:500], plant(4, 60, (7.0,), (60, 61)), rows[500:]])
    assert 7 not in Settled.of(rare, WINDOW).states[:, 0]
    thrice = np.concatenate([rare[:2000], plant(5, 30, (7.0,), (30, 31)), rare[2000:]])
    settled = Settled.of(thrice, WINDOW)
    assert settled.spans[settled.states[:, 0].tolist().index(7)] == np.searchsorted(SPANS + N_RESIDUALS - 1, 30, side="right")


def random(n=4000):
    return np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)


NO_SET_POINTS = {
    "noise": random(),
    "a constant": np.column_stack([np.zeros(4000), plant()[:, 1:]]).astype(np.float32),
    "steps at half of the rows": np.column_stack([np.arange(4000) // 2 % 3, plant()[:, 1:]]).astype(np.float32),
    "many values": np.column_stack([np.arange(4000) // 60 % (MOST_VALUES + 1), plant()[:, 1:]]).astype(np.float32),
    "few steps": np.column_stack([np.arange(4000) // (4000 // (FEWEST_STEPS - 1)), plant()[:, 1:]]).astype(np.float32),
    "one feature": plant()[:, :1],
    "no relation": np.column_stack([plant()[:, 0], random()]),
    "few rows": plant(n=60),
    "nothing known": np.full((400, 3), np.nan, np.float32),
}


@pytest.mark.parametrize("rows", NO_SET_POINTS.values(), ids=NO_SET_POINTS)
def test_without_set_points_or_relations_there_is_nothing(rows):
    assert Settled.of(rows, WINDOW) is None


def test_what_does_not_hold_on_the_last_training_rows_is_not_asked():
    rows = plant()
    rows[3400:, 1] += 0.5
    assert Settled.of(rows, WINDOW) is None


def test_windows_decide_how_long_set_points_are_remembered():
    for window_size in (12, 32, 64):
        settled = Settled.of(plant(), window_size)
        n_spans = 0 if settled is None else int(settled.most.any(axis=1).sum())
        assert n_spans == np.searchsorted(SPANS + N_RESIDUALS - 1, window_size, side="right")


def test_gaps_and_missing_set_points_begin_anew_and_are_not_learnt_from():
    rows = plant()
    since = np.arange(len(rows)) % 20
    assert int(Settled.of(rows, WINDOW, since).most.any(axis=1).sum()) == 1  # never settled for 24 rows and more
    missing = plant(n=8000)
    missing[::5, 0] = np.nan
    settled = Settled.of(missing, WINDOW)
    assert settled is not None and not SettledWatch(settled, WINDOW).push(missing)[::5].any()


@given(st.lists(st.integers(0, 600), max_size=6), st.booleans())
def test_pieces_say_what_the_whole_says(cuts, gone):
    rows, settled = plant(6, 600), Settled.of(plant(), WINDOW)
    rows[300:330, 1] += 0.3
    if gone:
        rows[np.random.default_rng(0).random(rows.shape) < 0.05] = np.nan
    whole, watch = SettledWatch(settled, WINDOW).push(rows), SettledWatch(settled, WINDOW)
    ends = [0, *sorted(cuts), len(rows)]
    pieces = np.concatenate([watch.push(rows[a:b]) for a, b in pairwise(ends)])
    assert pieces.tobytes() == whole.tobytes()


def test_zeros_of_either_sign_are_one_value():
    rows = plant()
    signed = rows.copy()
    signed[(rows[:, 0] == 0) & (np.arange(len(rows)) // 500 % 2 == 0), 0] = -0.0
    assert (Settled.of(signed, WINDOW).spans > 0).sum() == (Settled.of(rows, WINDOW).spans > 0).sum() == 3


def test_a_set_of_numbers_that_no_training_makes_says_nothing_wrong():
    settled = Settled.of(plant(), WINDOW)
    empty = replace(settled, relations=replace(settled.relations, most=np.zeros(3)), most=np.zeros_like(settled.most))
    assert not SettledWatch(empty, WINDOW).push(plant(1)).any()
