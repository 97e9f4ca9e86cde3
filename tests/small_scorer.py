"""A scorer with a network of arithmetic, small enough to follow by hand."""

import numpy as np

from anomaly.config import AGGREGATIONS
from anomaly.scoring.row_scores import RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.windowing.scaling import ErrorUnits, Scaler

BLOCK = 4


LONGEST_STEP = 2


MAX_MISSING = 0.4


UNITS = ErrorUnits(np.array([0.5, 3.0]), np.array([2.0, 4.0]))


SCALER = Scaler(center=np.array([10.0, -1.0]), scale=np.array([2.0, 0.5]))


def reconstruct(windows):
    """Look at the timestep before, within the window, and at the place in the window; elementwise, so exact in any batch."""
    place = np.linspace(0, 1, windows.shape[1], dtype=np.float32)[None, :, None]
    return np.float32(0.5) * windows + np.float32(0.25) * np.roll(windows, 1, axis=1) + place


def batch_dependent(windows):
    """Say something else in every size of batch, as a real network does in its last bits."""
    return reconstruct(windows) + np.float32(0.01) * len(windows)


def scorer(window_size, aggregations=AGGREGATIONS, network=reconstruct, scaler=SCALER, longest_step=LONGEST_STEP, row_step=0):
    return RowScorer(
        network,
        scaler=scaler,
        window_size=window_size,
        longest_step=longest_step,
        max_missing=MAX_MISSING,
        error_units=ErrorUnits(*(unit[: len(scaler.center)] for unit in UNITS)),
        row_step=row_step,
        aggregations=aggregations,
    )


def score(times, values, window_size, **options):
    rows = scorer(window_size, **options)
    parts = [rows.push(times, values), rows.finish()]
    return RowScores.joined(parts, parts[0].status.shape[0], values.shape[1])


def waves(n, n_features=2):
    t = np.arange(n)
    return np.column_stack([10 + 2 * np.sin(0.7 * t), np.cos(0.3 * t) - 1, t % 5][:n_features]).astype(np.float64)
