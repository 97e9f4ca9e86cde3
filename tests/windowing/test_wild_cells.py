"""Cells that lie so far from all others that they would set the scale of a training alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.windowing.wild_cells import FACTOR, wild_cells

TIMES = np.arange(600)
WAVE = 20 + 5 * np.sin(2 * np.pi * TIMES / 24) + 0.5 * np.random.default_rng(0).standard_normal(600)
SMALL = {"epochs": 2, "steps_per_epoch": 10, "penalty": "none", "seed": 0, "window_size": 24, "units": 4}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(-1e3, 1e3), st.just(np.nan), st.sampled_from([1e7, -1e9, np.inf, 1.7e308])), min_size=1, max_size=80
    )
)
def test_wild_cells_are_those_of_a_plain_loop(cells):
    known = sorted(cell for cell in cells if np.isfinite(cell))
    expected = [False] * len(cells)
    if len(known) >= 20:
        median = float(np.median(known))
        distances = sorted((abs(cell - median) for cell in known), reverse=True)
        others = distances[max(1, len(known) // 1000)]
        expected = [bool(others > 0 and abs(cell - median) > FACTOR * others) for cell in cells]
    np.testing.assert_array_equal(wild_cells(np.array(cells)[:, None])[:, 0], expected)


@pytest.fixture(scope="module")
def clean():
    """A detector of the history without the cell."""
    return Detector(**SMALL).fit(np.where(TIMES == 300, np.nan, WAVE))


@pytest.mark.parametrize("value", [1.7e9, -4e6, 65_535_000.0])
def test_a_fault_is_seen_though_one_cell_of_the_history_is_wild(clean, value):
    history, new = WAVE.copy(), WAVE.copy()
    history[300], new[400:406] = value, 60.0
    detector = Detector(**SMALL).fit(history)
    np.testing.assert_array_equal(detector.score(new).score, clean.score(new).score)
    assert detector.score(new).anomaly_score[400:406].max() > 1
    note = next(note for note in detector.bundle_.training["notes"] if note.startswith("Wild cells"))
    assert f"{value:g} in 'feature_1' on row 300" in note


@pytest.mark.parametrize("kind", ["a burst", "counts", "a step"])
def test_what_some_histories_hold_is_no_wild_cell(kind):
    values = {
        "a burst": np.where(np.isin(TIMES, [100, 101, 300]), 50 * WAVE, WAVE),
        "counts": np.where(TIMES % 200 == 7, 400.0, 0.0),  # nothing to compare with
        "a step": np.where(TIMES > 590, WAVE + 1e6, WAVE),
    }[kind]
    assert not wild_cells(values[:, None]).any()
