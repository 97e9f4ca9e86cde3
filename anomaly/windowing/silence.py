"""Sensors that fall silent, in training: the network learns to read the others as before.

What stands in the place of a missing value repeats the last known one (`anomaly.windowing.missing`). A network that has never
seen a feature stand still makes something of it, and reconstructs its healthy neighbours badly: a dead sensor then raises
alarms about those that live. So in a share of the training windows features are missing, from the beginning on, to the end,
in between or throughout, as they are when a sensor dies, comes back, or has been dead for long. They are compared with nothing.
"""

import numpy as np

from anomaly.series import Float32s

# Of the windows with silent features, those in which one is; in the others it is any number up to half of them.
_ALONE = 0.5


def silenced(windows: Float32s, share: float, rng: np.random.Generator) -> Float32s:
    """Return windows of which some have features that are missing for a stretch; one feature alone never is.

    Args:
        windows: `(n_windows, window_size, n_features)`; NaN = missing.
        share: of the windows, 0 to 1.
        rng: what draws them.

    Returns:
        The same shape; the same array if there is one feature, or `share` is 0.
    """
    n, size, n_features = windows.shape
    if n_features == 1 or not share:
        return windows
    found = windows.copy()
    for window in np.flatnonzero(rng.random(n) < share):
        several = 1 if rng.random() < _ALONE else rng.integers(1, n_features // 2 + 1)
        features = rng.permutation(n_features)[:several]
        start, stop = np.sort(rng.integers(0, size + 1, 2))
        rows = (slice(0, size), slice(start, size), slice(0, stop), slice(start, stop))[rng.integers(4)]
        found[window, rows, features] = np.nan
    return found
