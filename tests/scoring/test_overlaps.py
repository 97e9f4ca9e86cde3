"""Sums over windows: the two ways to add against each other and against loops, and blocks that are worked on ahead."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.scoring import overlaps, window_sums
from anomaly.scoring.overlaps import Overlaps, averaged
from anomaly.scoring.window_sums import WindowSums

VIEWS = ("window_mean", "point_mean", "trailing", "trailing_point")
OF_AVERAGES = {"weight": "window_mean", "pull": "window_mean", "trailing_weight": "trailing"}
KINDS = {*VIEWS, "covering", "ending", "weight", "pull", "trailing_weight"}


COVERING = {"window_mean", "point_mean", "covering", "weight", "pull"}


@st.composite
def spoken(draw):
    """Windows, what is expected of them, what is known, and how they lie among the rows."""
    n, size, n_features = draw(st.integers(1, 12)), draw(st.integers(2, 9)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    measured, expected = rng.normal(size=(2, n, size, n_features)).astype(np.float32)
    known = None if draw(st.booleans()) else rng.random(measured.shape) < draw(st.sampled_from([0.1, 0.7, 0.97]))
    if known is not None:
        measured[~known] = 0
    stride = draw(st.integers(1, size))
    every = draw(st.booleans())  # whether each window is run, or only those that speak about all of their rows
    first = draw(st.integers(0, stride - 1)) if every else 0
    placing = {"start": draw(st.integers(0, 3)), "stride": stride, "step": 1 if every else stride, "first": first}
    return placing, (measured, expected, known), KINDS if every else COVERING


def added(way, placing, windows, kinds):
    n, size, n_features = windows[0].shape
    sums = WindowSums(kinds, size, n_features, placing["stride"])
    sums.grow(placing["start"] + n * placing["step"] + size)
    if way != "add":  # whatever the number of windows, in this way
        sums._by_timestep = sums._by_window = getattr(sums, way)
    sums.add(placing["start"], *windows, step=placing["step"], first=placing["first"])
    return {kind: sums.mean(kind, slice(None)) for kind in sorted(kinds)}


@given(spoken(), st.sampled_from([1, 5, 1 << 14]))
def test_timestep_by_timestep_and_window_by_window_are_the_same_to_the_last_bit(case, at_a_time):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_sums, "_VALUES_AT_A_TIME", at_a_time)
        by_timestep, by_window, either = (added(way, *case) for way in ("_by_timestep", "_by_window", "add"))
    for kind in case[2]:
        np.testing.assert_array_equal(by_timestep[kind], by_window[kind], err_msg=kind)
        np.testing.assert_array_equal(by_timestep[kind], either[kind], err_msg=kind)


@given(spoken())
def test_sums_equal_those_of_loops(case):
    placing, (measured, expected, known), kinds = case
    n, size, n_features = measured.shape
    found = added("add", *case)
    for kind, row, feature in itertools.product(sorted(kinds), range(len(found["covering"])), range(n_features)):
        said = []
        for window in range(n):
            away = window * placing["step"]
            place = row - placing["start"] - away
            if not 0 <= place < size:
                continue
            if kind in COVERING and (away < placing["first"] or (away - placing["first"]) % placing["stride"]):
                continue
            if kind not in COVERING and place != size - 1:
                continue
            part = averaged(OF_AVERAGES.get(kind, kind), size) or slice(place, place + 1)
            values = [
                measured[window, step, feature].astype(float) - expected[window, step, feature]
                for step in range(size)[part]
                if known is None or known[window, step, feature]
            ]
            if values and kind in OF_AVERAGES:  # what the row's own value is worth in the mean of all
                here = known is None or known[window, place, feature]
                own = measured[window, place, feature].astype(float) - expected[window, place, feature] if kind == "pull" else 1.0
                said.append(here * own / len(values))
            elif values:
                said.append(np.mean(values if kind in ("covering", "ending") else np.square(values)))
        np.testing.assert_allclose(found[kind][row, feature], np.mean(said) if said else np.nan, rtol=1e-12, err_msg=kind)


@given(spoken())
def test_a_late_window_says_nothing_about_its_first_row(case):
    placing, windows, _ = case
    size, n_features = windows[0].shape[1:]
    late = [None if array is None else array[:1] for array in windows]
    sums, whole = (WindowSums(COVERING, size, n_features, placing["stride"]) for _ in range(2))
    for one in (sums, whole):
        one.grow(size)
    sums.add_late(0, *late)
    whole.add(0, *late, step=placing["stride"])
    for kind in COVERING:
        found = sums.mean(kind, slice(None))
        assert np.isnan(found[0]).all()
        np.testing.assert_array_equal(found[1:], whole.mean(kind, slice(None))[1:])


def outcomes(rows, pieces, **options):
    """Return what is said of rows that come in pieces; the network is different for each place in a window."""
    one = made(lambda windows: windows * np.linspace(0, 1, 8, dtype=np.float32)[:, None], **options)
    bounds = [*(bound for bound in itertools.accumulate([0, *pieces]) if bound < len(rows)), len(rows)]
    parts = [one.push(rows[a:b], np.zeros(b - a, np.uint8)) for a, b in itertools.pairwise(bounds)]
    return [np.concatenate(of_parts, axis=1) for of_parts in zip(*parts, one.finish(), strict=True)]


@given(
    seed=st.integers(0, 99), n=st.integers(1, 80), stride=st.integers(1, 8), phase=st.integers(0, 9), eager=st.booleans(),
    pieces=st.lists(st.integers(0, 9), max_size=60), views=st.sampled_from([VIEWS, VIEWS[:2], VIEWS[2:]]),
)  # fmt: skip
def test_every_stride_th_window_and_the_last_one_speak_whatever_the_pieces(seed, n, stride, phase, eager, pieces, views):
    rows = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    rows[np.random.default_rng(seed).random(rows.shape) < 0.03] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "BLOCK_WINDOWS", 3)
        whole = outcomes(rows, [], views=views, stride=stride, phase=phase)
        for array, same in zip(whole, outcomes(rows, pieces, views=views, stride=stride, phase=phase, eager=eager), strict=True):
            assert array.tobytes() == same.tobytes()
    errors = whole[0]
    if "point_mean" not in views:
        return
    starts = [start for start in range(n - 7) if (start + phase) % stride == 0]
    late = [n - 8] if n >= 8 and n - 8 not in starts else []
    for row, feature in itertools.product(range(n), range(2)):
        said = []
        for start in starts + late:
            window = rows[start : start + 8]
            speaks = start <= row < start + 8 and not (start in late and row == start)
            missing = np.isnan(window).sum(axis=0)
            if speaks and missing[feature] <= 1 and not np.isnan(rows[row, feature]):
                said.append((float(rows[row, feature]) - np.float32(rows[row, feature] * np.float32((row - start) / 7))) ** 2)
        expected = np.mean(said) if said else np.nan
        found = errors[views.index("point_mean"), row, feature]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)


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
