"""What errors are measured in: the mean error of a feature in windows, and that of a row of its own."""

from collections.abc import Callable
from functools import partial

import numpy as np

from anomaly.fitting.terms import LEAST_UNIT, SMALLEST_UNIT, errors_of
from anomaly.network.inference import Reconstruct
from anomaly.scoring.overlaps import BLOCK_WINDOWS
from anomaly.scoring.scorer import RowScorer
from anomaly.series import Float32s, Floats, TimeSeries
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.scaling import ErrorUnits
from anomaly.windowing.split import Split
from anomaly.windowing.windows import make_windows

# The unit of errors is taken from so many windows.
MOST_UNIT_WINDOWS = 4_096
# The unit of a row's own error is what this share of `MOST_UNIT_ROWS` training rows and the held-out ones exceeds.
UNIT_SHARE = 0.01


def window_unit(reconstruct: Reconstruct, scaled: Float32s, split: Split, max_missing: float, n_judged: int) -> Floats:
    """Return the mean squared error of each judged feature, `(n_judged,)`: of training or of held-out windows, the larger.

    A feature that is reconstructed almost perfectly counts in units of a fiftieth of the others' mean: what is left of
    it is rounding, and would drown them.
    """
    means = np.zeros(n_judged)
    for starts in (split.train_starts, split.validation_starts):
        starts = starts[:: max(1, len(starts) // MOST_UNIT_WINDOWS)]
        total = count = np.zeros(n_judged)
        for at in range(0, len(starts), BLOCK_WINDOWS):
            windows = make_windows(scaled, starts[at : at + BLOCK_WINDOWS], split.window_size)
            expected = reconstruct(fill_missing(windows))[:, :, :n_judged].astype(np.float64)
            errors = np.square(mask_windows(windows[:, :, :n_judged], max_missing)[0] - expected)
            known = ~np.isnan(errors)
            total, count = total + np.where(known, errors, 0).sum(axis=(0, 1)), count + known.sum(axis=(0, 1))
        means = np.maximum(means, total / np.maximum(count, 1))
    unit: Floats = np.maximum(means, LEAST_UNIT * means.mean() + SMALLEST_UNIT)
    return unit


def row_unit(scorer: Callable[..., RowScorer], unit: Floats, *parts: TimeSeries) -> Floats:
    """Return the unit of a row's own error, `(n_features,)`: never smaller than that of windows.

    In it the error that one row of a hundred exceeds is the mean error, in `unit`, that the windows about one row of a
    hundred exceed.
    """
    views = partial(scorer, error_units=ErrorUnits(unit, unit), aggregations=("window_mean", "point_mean"))
    joined = np.nan_to_num(np.concatenate([errors_of(views, part) for part in parts], axis=1))
    window, row = np.quantile(joined, 1 - UNIT_SHARE, axis=1)
    ratio: Floats = np.divide(row, window, out=np.ones_like(row), where=window > 0)
    return unit * np.maximum(ratio, 1)
