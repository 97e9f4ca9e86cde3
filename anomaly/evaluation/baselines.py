"""Trivial detectors. One that does not beat them has found nothing that a line of arithmetic would not.

Each maps values to one score a row, higher = more anomalous. Values are scaled per feature, as `Scaler` gives
them: finite and within +-10,000; then every score is finite. The caller puts the value before in the place of a missing one.
Sarfraz et al. (2024), "Position: quo vadis, unsupervised time series anomaly detection?", ICML, compare published
detectors with such rules, and few are better.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.errors import ConfigError, DataError
from anomaly.scoring.references import References
from anomaly.series import Float32s, Floats, Ints

_BLOCK_WINDOWS = 4_096
# Components with a smaller share of the variance are rounding errors; dividing by their share would let them decide.
_SMALLEST_SHARE = 1e-10
# A column of windows that varies by less than this share of the feature is constant but for rounding.
_SMALLEST_SPREAD = 1e-6
_NEARLY_EQUAL = 1e-6
# Scores of a feature that differ by less than this share of the largest one differ by rounding.
_ROUNDING = 1e-12


def random_scores(n: int, seed: int) -> Floats:
    """Return `n` independent scores, uniform in [0, 1)."""
    return np.random.default_rng(seed).random(n)


def amplitude(values: Floats | Float32s) -> Floats:
    """Return how far each row is from the centre: the mean over the features of the absolute value.

    Of values in training sigmas this is the mean absolute z-score.

    Args:
        values: scaled, `(n, n_features)`, no NaN.

    Returns:
        `(n,)` float64, at least 0, in the unit of the values.

    Raises:
        DataError: if the values are not a table of finite numbers.
    """
    return np.asarray(np.abs(_checked(values)).mean(axis=1))


def absolute_difference(values: Floats | Float32s) -> Floats:
    """Return how far each row is from the one before: the mean over the features of |x_t - x_(t-1)|.

    Args:
        values: scaled, `(n, n_features)`, no NaN.

    Returns:
        `(n,)` float64, at least 0, in the unit of the values; 0 for the first row, which has none before it.

    Raises:
        DataError: if the values are not a table of finite numbers.
    """
    checked = _checked(values)
    return np.asarray(np.abs(np.diff(checked, axis=0, prepend=checked[:1])).mean(axis=1))


def sub_pca(values: Floats | Float32s, window_size: int) -> Floats:
    """Return how far the window around each row is from the principal axes of all windows (Sub-PCA).

    Of one feature all windows at stride 1 are taken, each of their columns with mean 0 and standard deviation 1.
    With v_i the principal axes and s_i their shares of the variance, a window x scores

        sum over i of ||x - v_i|| / s_i,

    so that an axis along which windows hardly vary counts most. A row gets the score of the window around it, which
    begins window_size // 2 rows earlier; the rows at both ends get that of the first or last window. The
    result is the mean over the features, after the scores of each have been brought to mean 0 and
    standard deviation 1. Every row is both fitted and scored.

    Args:
        values: scaled, `(n, n_features)`, no NaN.
        window_size: rows in a window, from 1 to `n`.

    Returns:
        `(n,)` float64, of mean near 0, without unit; 0 everywhere if no feature varies.

    Raises:
        DataError: if the values are not a table of finite numbers.
        ConfigError: if `window_size` is not from 1 to `n`.

    Source:
        Shyu et al. (2003), "A novel anomaly detection scheme based on principal component classifier", in the form
        of TSB-AD 1.5 (`run_Sub_PCA`, all components), where it is among the best on one feature. Departures: one PCA
        a feature instead of one of all features' windows joined, whose covariance matrix of 38 features and 100
        rows alone would take half a minute; axes with a share below 1e-10 are left out, where the reference
        divides by rounding errors; the scores are standardised, which changes no ranking of one feature.
    """
    checked = _checked(values)
    if not 1 <= window_size <= len(checked):
        raise ConfigError(
            f"`window_size` must be from 1 to the number of rows ({len(checked)}). Received: window_size={window_size}."
        )
    total = np.zeros(len(checked) - window_size + 1)
    for feature in checked.T:
        total += _standardised(_window_scores(feature - feature.mean(), window_size))
    return np.pad(total / checked.shape[1], (window_size // 2, (window_size - 1) // 2), mode="edge")


def nearest_window(values: Floats | Float32s, references: tuple[References, ...]) -> dict[str, Floats]:
    """Return how far the window around each row is from the nearest window of training, by form.

    The distance is that of `anomaly.scoring.neighbours`: of the windows less their mean (`course`), and of the same over
    their deviation (`shape`). The result is the mean over the features. A row gets the distance of the window around it, as
    for `sub_pca`.

    Args:
        values: scaled as those of training, `(n, n_features)`, no NaN.
        references: windows of the training rows, by form, of as many features.

    Returns:
        form -> `(n,)` float64, at least 0. Without a form of which the values are fewer than the rows of a window.

    Raises:
        DataError: if the values are not a table of finite numbers.

    Source:
        Yeh et al. (2016), "Matrix profile I", ICDM, whose discords are the windows farthest from their nearest neighbours; the
        neighbours are sought among training windows only.
    """
    checked, found = np.asarray(_checked(values), np.float32), {}
    for of_form in references:
        size = of_form.window_size
        if len(checked) < size:
            continue
        windows = sliding_window_view(checked, size, axis=0).swapaxes(1, 2)
        blocks = [of_form.distances(windows[i : i + _BLOCK_WINDOWS]) for i in range(0, len(windows), _BLOCK_WINDOWS)]
        around = size // 2, (size - 1) // 2
        found[of_form.form] = np.pad(np.concatenate(blocks).mean(axis=1), around, mode="edge")
    return found


def _window_scores(feature: Floats, window_size: int) -> Floats:
    """Return the Sub-PCA score of every window of one centred feature, `(n_windows,)`."""
    windows = sliding_window_view(feature, window_size)  # (n_windows, window_size), a view: copied a block at a time
    blocks = [windows[i : i + _BLOCK_WINDOWS] for i in range(0, len(windows), _BLOCK_WINDOWS)]
    mean = windows.mean(axis=0)
    moments = sum((np.ascontiguousarray(block).T @ block for block in blocks), np.zeros((window_size, window_size)))
    covariance = moments / len(windows) - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    columns = np.flatnonzero(spread > _SMALLEST_SPREAD * np.abs(feature).max())
    if not len(columns):
        return np.zeros(len(windows))
    mean, spread = mean[columns], spread[columns]
    axes, shares = _axes(covariance[np.ix_(columns, columns)] / np.outer(spread, spread))
    scores = [_distances((block[:, columns] - mean) / spread, axes) @ (1 / shares) for block in blocks]
    return np.concatenate(scores)


def _axes(correlation: Floats) -> tuple[Floats, Floats]:
    """Return the principal axes as columns and their shares of the variance, without those that are rounding errors."""
    variances, axes = np.linalg.eigh(correlation)
    shares = variances / variances.sum()
    axes, shares = axes[:, shares > _SMALLEST_SHARE], shares[shares > _SMALLEST_SHARE]
    # The distance to an axis depends on its sign: as in scikit-learn the largest entry is positive. The axes of a
    # stationary series are nearly symmetric, so that of entries that are as good as equal the first one counts.
    size = np.abs(axes)
    largest: Ints = (size > (1 - _NEARLY_EQUAL) * size.max(axis=0)).argmax(axis=0)
    return axes * np.sign(axes[largest, np.arange(len(shares))]), shares


def _distances(windows: Floats, axes: Floats) -> Floats:
    """Return the distance of each window from each unit vector, `(n_windows, n_axes)`."""
    squares = np.square(windows).sum(axis=1)[:, None] + 1 - 2 * (windows @ axes)
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _standardised(scores: Floats) -> Floats:
    spread = scores.std()
    varies = spread > _ROUNDING * np.abs(scores).max()
    return (scores - scores.mean()) / spread if varies else np.zeros_like(scores)


def _checked(values: Floats | Float32s) -> Floats:
    checked = np.asarray(values, np.float64)
    if checked.ndim != 2 or not checked.size or not np.isfinite(checked).all():
        raise DataError(
            "A baseline needs finite values, (n_timesteps, n_features), at least one. "
            f"Received: shape {checked.shape}, {int(checked.size - np.isfinite(checked).sum())} not finite. "
            "Leave out rows with missing values."
        )
    return checked
