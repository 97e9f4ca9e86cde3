"""A detector of a plant with set points: what is off while they stand is found, and the same however its rows come."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import FIRST_TIME, HOUR, TINY

from anomaly import Detector
from anomaly.series import TimeSeries

OFF = slice(2080, 2110)


def plant():
    """Return a stage of three, what follows it with a lag, and what that drives; the stage stands from row 2,000 to 2,200."""
    rng, n = np.random.default_rng(0), 2200
    stage = np.repeat(np.cumsum(rng.integers(1, 3, n // 50)) % 3, 50).astype(float)
    stage[2000:] = 1
    followed = np.empty(n)
    followed[0] = stage[0]
    for k in range(1, n):
        followed[k] = followed[k - 1] + 0.3 * (stage[k] - followed[k - 1])
    values = np.stack([stage, followed, 2 * followed + 3 * (stage - followed)], axis=1)
    values[:, 1:] += 0.01 * rng.normal(size=(n, 2))
    return TimeSeries(FIRST_TIME + np.arange(n) * HOUR, values, ("stage", "followed", "driven"), name="made", time_column="t")


@pytest.fixture(scope="module")
def detector():
    return Detector(**TINY | {"nearest_windows": 32, "window_size": 32, "epochs": 1}).fit(plant()[:2000])


def test_what_is_off_while_a_set_point_stands_is_found_by_that_alone(detector):
    series = plant()
    values = series.values.copy()
    values[OFF, 1] += 0.15
    series = replace(series, values=values)
    settled = detector.bundle_.recipe.settled
    assert settled.points.tolist() == [1, 0, 0]
    without = Detector(**TINY)
    without.bundle_ = replace(detector.bundle_, recipe=replace(detector.bundle_.recipe, settled=None))
    without._reconstruct = detector._reconstruct
    found, before = (one.score(series).score for one in (detector, without))
    assert (found[OFF][10:] > 2 * before[OFF][10:]).all()
    assert found[2000:2040].tobytes() == before[2000:2040].tobytes()


def test_scores_of_set_points_are_the_same_from_a_file(detector, tmp_path):
    detector.save(tmp_path / "plant.anomaly")
    again = Detector.load(tmp_path / "plant.anomaly")
    assert again.score(plant()).score.tobytes() == detector.score(plant()).score.tobytes()
