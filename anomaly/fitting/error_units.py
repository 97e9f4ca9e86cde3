"""What errors are measured in: the mean error of a feature in windows, and that of a row of its own."""

from collections.abc import Callable
from functools import partial

import numpy as np

from anomaly.fitting.set_aside import SetAside
from anomaly.fitting.terms import LEAST_UNIT, SMALLEST_UNIT, errors_of
from anomaly.network.inference import Reconstruct
from anomaly.scoring.overlaps import BLOCK_WINDOWS
from anomaly.scoring.scorer import RowScorer
from anomaly.series import Float32s, Floats, Ints, TimeSeries
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.scaling import ErrorUnits
from anomaly.windowing.windows import make_windows

# The unit of errors is taken from so many windows of the training rows, and so many held-out ones.
MOST_UNIT_WINDOWS = 4_096
# The unit of a row's own error is what this share of `MOST_UNIT_ROWS` training rows and the held-out ones exceeds.
UNIT_SHARE = 0.01


def window_unit(means: Floats) -> Floats:
    """Return the unit of each judged feature, `(n_judged,)`: its mean error.

    A feature that is reconstructed almost perfectly counts in units of a fiftieth of the others' mean: what is left of
    it is rounding, and would drown them.
    """
    unit: Floats = np.maximum(means, LEAST_UNIT * means.mean() + SMALLEST_UNIT)
    return unit


def mean_errors(
    reconstruct: Reconstruct, scaled: Float32s, starts: Ints, window_size: int, max_missing: float, n_judged: int
) -> Floats:
    """Return the mean squared error of each judged feature in some windows, `(n_judged,)`; 0 where nothing is known.

    Args:
        reconstruct: the network.
        scaled: what it reads, `(n_timesteps, n_inputs)`; NaN = missing.
        starts: first rows of the windows, of which `MOST_UNIT_WINDOWS` are taken.
        window_size: rows in one of them.
        max_missing: most of a feature's values in a window that may be missing, a share.
        n_judged: features that are judged, the first ones.
    """
    starts = starts[:: max(1, len(starts) // MOST_UNIT_WINDOWS)]
    total = count = np.zeros(n_judged)
    for at in range(0, len(starts), BLOCK_WINDOWS):
        windows = make_windows(scaled, starts[at : at + BLOCK_WINDOWS], window_size)
        expected = reconstruct(fill_missing(windows))[:, :, :n_judged].astype(np.float64)
        errors = np.square(mask_windows(windows[:, :, :n_judged], max_missing)[0] - expected)
        known = ~np.isnan(errors)
        total, count = total + np.where(known, errors, 0).sum(axis=(0, 1)), count + known.sum(axis=(0, 1))
    return np.asarray(total / np.maximum(count, 1))


def row_unit(scorer: Callable[..., RowScorer], unit: Floats, left_out: SetAside, *parts: TimeSeries) -> Floats:
    """Return the unit of a row's own error, `(n_features,)`: never smaller than that of windows.

    In it the error that one row of a hundred exceeds is the mean error, in `unit`, that the windows about one row of a
    hundred exceed. Rows that are left out set none.
    """
    views = partial(scorer, error_units=ErrorUnits(unit, unit), aggregations=("window_mean", "point_mean"))
    counted = [errors_of(views, part)[:, ~left_out.covers(part.times)] for part in parts]
    joined = np.nan_to_num(np.concatenate(counted, axis=1))
    window, row = np.quantile(joined, 1 - UNIT_SHARE, axis=1)
    ratio: Floats = np.divide(row, window, out=np.ones_like(row), where=window > 0)
    return unit * np.maximum(ratio, 1)
