"""Cells of a history that lie so far from all others that they would set its scale alone: a moment, a serial number, a burst."""

import numpy as np

from anomaly.series import Bools, Floats

# So many times as far from the median as any other cell is wild; at most so many cells of a feature are, as a share.
FACTOR, _MOST = 1_000.0, 0.001
# Of fewer cells nobody can tell.
_FEWEST = 20


def wild_cells(values: Floats) -> Bools:
    """Tell which cells lie a thousand times as far from the median of their feature as all but a thousandth of it.

    Such a cell makes a sigma of the training so large that no fault is one any more. A feature that is constant but for them
    has none: there is nothing to compare with.

    Args:
        values: `(n, n_features)`; NaN = missing.

    Returns:
        `(n, n_features)`.
    """
    found = np.zeros(values.shape, np.bool_)
    for feature, cells in enumerate(values.T):
        known = cells[np.isfinite(cells)]
        if len(known) < _FEWEST:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # distances of the largest numbers there are
            distance = np.abs(cells - np.median(known))
            n_most = max(1, int(_MOST * len(known)))
            others = np.partition(distance[np.isfinite(cells)], -n_most - 1)[-n_most - 1]
            if others > 0:
                found[:, feature] = distance > FACTOR * others
    return found
