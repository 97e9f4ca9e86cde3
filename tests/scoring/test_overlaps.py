"""Sums over windows: the two ways to add against each other and against loops, and blocks that are worked on ahead."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.scoring import overlaps
from anomaly.scoring.overlaps import Overlaps, _Sums, averaged

VIEWS = ("window_mean", "point_mean", "trailing", "trailing_point")
KINDS = {*VIEWS, "covering", "ending"}


@st.composite
def spoken(draw):
    """Windows, what is expected of them, what is known, and the row they begin at."""
    n, size, n_features = draw(st.integers(1, 12)), draw(st.integers(2, 9)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    measured, expected = rng.normal(size=(2, n, size, n_features)).astype(np.float32)
    known = None if draw(st.booleans()) else rng.random(measured.shape) < draw(st.sampled_from([0.1, 0.7, 0.97]))
    if known is not None:
        measured[~known] = 0
    return draw(st.integers(0, 3)), measured, expected, known


def added(way, start, measured, expected, known):
    n, size, n_features = measured.shape
    sums = _Sums(KINDS, size, n_features)
    sums.grow(start + n + size)
    if way != "add":  # whatever the number of windows, in this way
        sums._by_timestep = sums._by_window = getattr(sums, way)
    sums.add(start, measured, expected, known)
    return {kind: sums.mean(kind, slice(None)) for kind in sorted(KINDS)}


@given(spoken(), st.sampled_from([1, 5, 1 << 14]))
def test_timestep_by_timestep_and_window_by_window_are_the_same_to_the_last_bit(case, at_a_time):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "_VALUES_AT_A_TIME", at_a_time)
        by_timestep, by_window, either = (added(way, *case) for way in ("_by_timestep", "_by_window", "add"))
    for kind in KINDS:
        np.testing.assert_array_equal(by_timestep[kind], by_window[kind], err_msg=kind)
        np.testing.assert_array_equal(by_timestep[kind], either[kind], err_msg=kind)


@given(spoken())
def test_sums_equal_those_of_loops(case):
    start, measured, expected, known = case
    n, size, n_features = measured.shape
    found = added("add", *case)
    for kind, row, feature in itertools.product(sorted(KINDS), range(start + n + size), range(n_features)):
        said = []
        for window in range(n):
            place = row - start - window
            ends_only = kind in ("trailing", "trailing_point", "ending")
            if not 0 <= place < size or (ends_only and place != size - 1):
                continue
            part = averaged(kind, size) or slice(place, place + 1)
            values = [
                measured[window, step, feature].astype(float) - expected[window, step, feature]
                for step in range(size)[part]
                if known is None or known[window, step, feature]
            ]
            if values:
                said.append(np.mean(values if kind in ("covering", "ending") else np.square(values)))
        np.testing.assert_allclose(found[kind][row, feature], np.mean(said) if said else np.nan, rtol=1e-12, err_msg=kind)


def made(reconstruct, views=VIEWS, **options):
    return Overlaps(reconstruct, 8, 0.2, 2, views=views, deviating=frozenset(views[:1]), **({"eager": False} | options))


def test_blocks_that_are_worked_on_ahead_are_added_in_order(monkeypatch):
    monkeypatch.setattr(overlaps, "BLOCK_WINDOWS", 4)
    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    marks, threads = np.zeros(len(rows), np.uint8), set()

    def half(windows):
        threads.add(threading.get_ident())
        return windows / 2

    one = made(half)
    together = one.push(rows, marks)
    assert threads and threading.get_ident() not in threads
    threads.clear()
    single, parts = made(half), []
    for i in range(len(rows)):
        parts.append(single.push(rows[i : i + 1], marks[i : i + 1]))
    assert threads == {threading.get_ident()}
    for whole, *pieces in zip(together, *parts, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(pieces, axis=1))


def test_what_goes_wrong_in_a_block_ahead_is_told(monkeypatch):
    monkeypatch.setattr(overlaps, "BLOCK_WINDOWS", 4)

    def fail(windows):
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        made(fail).push(np.zeros((100, 2), np.float32), np.zeros(100, np.uint8))


def test_a_network_that_says_nan_says_nothing():
    def silent(windows):
        return np.full_like(windows, np.nan)

    one = made(silent)
    one.push(np.zeros((20, 2), np.float32), np.zeros(20, np.uint8))
    errors, _, status = one.finish()
    assert np.isnan(errors).all()
    assert not (status == 0).any()
