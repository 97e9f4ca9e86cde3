"""Training windows in which features fall silent, and what a detector trained so makes of a dead sensor."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import HOUR
from hypothesis import given
from hypothesis import strategies as st

from anomaly import Detector, TimeSeries
from anomaly.windowing.silence import silenced


def windows(n, size, n_features, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size, n_features)).astype(np.float32)


@given(n=st.integers(1, 20), size=st.integers(2, 12), n_features=st.integers(2, 7), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_what_is_left_is_as_it_was_and_at_most_half_of_the_features_fall_silent(n, size, n_features, share, seed):
    before = windows(n, size, n_features)
    found = silenced(before, share, np.random.default_rng(seed))
    missing = np.isnan(found)
    np.testing.assert_array_equal(found[~missing], before[~missing])
    assert missing.any(axis=1).sum(axis=1).max() <= max(1, n_features // 2)
    assert not np.isnan(before).any()
    # One stretch of rows, the same for all features of a window that are silent.
    edges = np.diff(missing.astype(int), axis=1, prepend=0, append=0)
    assert (edges == 1).sum(axis=1).max() <= 1
    for one in missing:
        assert len(np.unique(one[:, one.any(axis=0)], axis=1).T) <= 1


def test_the_share_of_windows_is_the_one_asked_for_and_every_feature_has_its_turn():
    missing = np.isnan(silenced(windows(2_000, 40, 5), 0.3, np.random.default_rng(1)))
    # A stretch may be of no rows: of two numbers out of 0 to 8 the same, or 0 rows from the start, or 8 from the end.
    assert 0.25 < missing.any(axis=(1, 2)).mean() < 0.3
    by_feature = missing.any(axis=1).mean(axis=0)
    assert by_feature.max() < 1.2 * by_feature.min()
    assert 0.05 < missing.all(axis=1).any(axis=1).mean() / 0.3 < 0.35  # throughout


def test_one_feature_or_no_share_leaves_the_array_alone():
    one, two = windows(5, 4, 1), windows(5, 4, 2)
    assert silenced(one, 1.0, np.random.default_rng(0)) is one
    assert silenced(two, 0.0, np.random.default_rng(0)) is two


@pytest.fixture(scope="module")
def plant():
    """Two sensors that have the rhythm of the day, 25 days."""
    rng, hours = np.random.default_rng(3), np.arange(800)
    phase = 2 * np.pi * hours / 24
    values = np.stack([10 + 3 * np.sin(phase), 50 + 8 * np.cos(phase)], axis=1) + rng.normal(0, (0.3, 0.8), (800, 2))
    return TimeSeries(times=hours * HOUR, values=values, columns=("flow", "temp"))


@pytest.mark.parametrize("rows", [slice(0, None), slice(60, 120), slice(60, 66)], ids=["dead", "sixty rows", "six rows"])
def test_a_sensor_that_is_silent_raises_no_alarms_about_its_neighbour(plant, detector_of_plant, rows):
    detector, new = detector_of_plant, plant[600:]
    values = new.values.copy()
    values[rows, 1] = np.nan
    flags = detector.score(replace(new, values=values)).flags
    assert int(flags.sum()) <= 2 * int(detector.score(new).flags.sum()) + 10
    values[100, 0] += 8  # and hides none
    assert detector.score(replace(new, values=values)).flags[100]


@pytest.fixture(scope="module")
def detector_of_plant(plant):
    return Detector(window_size=24, units=16, epochs=20, seed=0).fit(plant[:600])
