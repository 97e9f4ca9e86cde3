"""A small fleet with one network that exists already, and series that it has never seen."""

from dataclasses import replace

import numpy as np
from conftest import make_series

from anomaly.config import DetectorConfig
from anomaly.fitting.measuring import measured
from anomaly.fitting.ready import Ready
from anomaly.fitting.trained import Trained
from anomaly.fleet.folder import Index, replaced_fleet, write_member
from anomaly.training.checkpoint import History

W = 12  # rows in a window of the shared fixture
TEN = 10 * W


def members(detector, n=4, **settings):
    """Return bundles of `n` series with the network of a detector, each with a level and a scale of its own."""
    config = DetectorConfig.from_settings(detector.bundle_.config.to_settings() | settings)
    trained = Trained(detector.bundle_.weights, History([0.0], [0.0], [0.0], [0.0], best_epoch=1), 7)
    found = []
    for seed in range(n):
        made = make_series(400, seed=seed, spike=None)
        found.append(measured(Ready.of(config, replace(made, values=made.values * (seed + 1) + seed)), trained)[0])
    return found


def write_fleet(folder, bundles, id_column=None):
    """Write bundles as the detectors of a, b, c and so on."""
    one = bundles[0]
    with replaced_fleet(folder) as new:
        written = {name: write_member(folder, name, bundle) for name, bundle in zip("abcdefgh", bundles, strict=False)}
        new.finish(Index(id_column, one.time_column, one.columns, written))
    return folder


def new_series(n=300, seed=9, spike=slice(200, 204), factor=50.0):
    """Return a series like those of the fleet, of another level and scale."""
    made = make_series(n, seed=seed, spike=spike)
    return replace(made, values=made.values * factor - 1000, name="new")


def still(series, n):
    """Return a series that stands still for its first `n` rows."""
    values = series.values.copy()
    values[:n] = 7.0
    return replace(series, values=values)


def gone(series, n, features=slice(None)):
    """Return a series of which nothing is known in its first `n` rows."""
    values = series.values.copy()
    values[:n, features] = np.nan
    return replace(series, values=values)
