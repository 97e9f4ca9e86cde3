"""Missing values: what the network reads in their place, and which windows have too many of them.

A missing value is NaN, in the windows too. It takes no part in the loss or in a score: what the network makes of
it is compared with nothing. The network must read something there, and reads the last known value of the feature
before it in the window (at the beginning of a window the first after it; 0, the training mean, if there is none).

A window speaks about a feature if at most `max_missing` of the feature's values in it are missing, and is used at
all if it speaks about half of the features or more. So one dead channel of many silences nothing but itself. A value
that is out of range is compared in any case: nothing beside it can hide it.
"""

from typing import Any

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.scaling import CLIP

# A window that speaks about a smaller share of the features is left out.
LEAST_FEATURES = 0.5


def fill_missing(windows: Any) -> Any:
    """Return windows as the network reads them: a missing value repeats the one before it.

    Args:
        windows: `(n_windows, window_size, n_features)`, scaled; NaN = missing.

    Returns:
        The same shape without NaN; the same array if nothing is missing.
    """
    missing = np.isnan(windows)
    if not missing.any():
        return windows
    return np.nan_to_num(np.take_along_axis(windows, filled_from(~missing), axis=1), copy=False)


def filled_from(known: Bools) -> Ints:
    """Return for each place in a window the timestep whose value the network reads there.

    Args:
        known: `(n_windows, window_size, n_features)`, False = missing.

    Returns:
        The same shape, int64; 0 throughout for a feature of which the window knows nothing.
    """
    steps = np.arange(known.shape[1])[:, None]
    before = np.maximum.accumulate(np.where(known, steps, -1), axis=1)
    return np.where(before < 0, known.argmax(axis=1, keepdims=True), before)


def mask_windows(windows: Float32s, max_missing: float) -> tuple[Float32s, Bools]:
    """Take from each window the features it does not speak about.

    Args:
        windows: `(n_windows, window_size, n_features)`, scaled and clipped; NaN = missing.
        max_missing: most of a feature's values in a window that may be missing, a share of `window_size`.

    Returns:
        The windows with NaN throughout for these features (the same array if there are none), and for each window
        whether it is used, `(n_windows,)`.
    """
    missing = np.isnan(windows)
    if not missing.any():
        return windows, np.ones(len(windows), np.bool_)
    silent = missing.sum(axis=1, keepdims=True) > max_missing * windows.shape[1]
    extreme = np.abs(windows) >= CLIP
    used = _is_used((~silent).sum(axis=(1, 2)), windows.shape[2]) | extreme.any(axis=(1, 2))
    return np.where(silent & ~extreme, np.float32(np.nan), windows), used


def used_starts(values: Floats | Float32s, starts: Ints, window_size: int, max_missing: float) -> Ints:
    """Return those starts whose windows are used though no value is out of range, without cutting the windows out.

    Args:
        values: `(n_timesteps, n_features)`; NaN = missing.
        starts: `(n_windows,)` first rows.
        window_size: timesteps in a window.
        max_missing: as for `mask_windows`.
    """
    spoken = np.zeros(len(starts), np.int64)
    for column in values.T:  # one at a time: the running counts of all features would be larger than the series
        running = np.concatenate([[0], np.cumsum(np.isnan(column))])
        spoken += running[starts + window_size] - running[starts] <= max_missing * window_size
    return starts[_is_used(spoken, values.shape[1])]


def unjudged_shares(values: Floats, starts: Ints, window_size: int, max_missing: float) -> Floats:
    """Return for each feature the share of the rows in used windows on which none of these speaks about it, `(n_features,)`.

    Args:
        values: `(n_timesteps, n_features)`; NaN = missing.
        starts: `(n_windows,)` first rows.
        window_size: timesteps in a window.
        max_missing: as for `mask_windows`.
    """
    used = used_starts(values, starts, window_size, max_missing)
    covered = _covered(used, window_size, len(values))
    shares = np.zeros(values.shape[1])
    for i, column in enumerate(values.T):
        if len(used) and np.isnan(column).any():
            judged = _covered(used_starts(column[:, None], used, window_size, max_missing), window_size, len(values))
            shares[i] = (covered & ~judged).sum() / covered.sum()
    return shares


def _covered(starts: Ints, window_size: int, n: int) -> Bools:
    """Tell which of `n` rows lie in windows that start at some of them, `(n,)`."""
    edges = np.bincount(starts, minlength=n + 1) - np.bincount(starts + window_size, minlength=n + 1)
    covered: Bools = np.cumsum(edges)[:n] > 0
    return covered


def mean_of_known(values: Floats, axis: int) -> Floats:
    """Return the mean over an axis of what is not NaN; NaN where nothing is.

    What is complete has the same mean to the last bit, whatever is missing beside it.

    Args:
        values: of any shape; NaN = missing.
        axis: which one; what is returned has the others.
    """
    missing = np.isnan(values)
    whole = not missing.any()
    filled = np.ascontiguousarray(values) if whole else np.where(missing, 0, values)
    count = values.shape[axis] if whole else np.logical_not(missing).sum(axis=axis)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN
        mean: Floats = filled.sum(axis=axis) / count
    return mean


def _is_used(spoken: Ints, n_features: int) -> Bools:
    used: Bools = spoken >= LEAST_FEATURES * n_features
    return used
