"""How long each feature has had one value: a run of equal values, as of a sensor that is stuck."""

import numpy as np

from anomaly.series import Bools, Float32s, Floats

# A run is flat if it is longer than so many times the longest of training, and than so many rows.
LONGER, FEWEST = 3.0, 8


class Flatline:
    """Count how often each value has come in a row, in rows that arrive in pieces.

    A missing value neither goes on with a run nor ends it.

    Args:
        n_features: of the rows.
        most: as far as is counted.
    """

    def __init__(self, n_features: int, most: int) -> None:
        self._most = most
        self._last: Floats = np.full(n_features, np.nan)  # the last known value of each feature
        self._run: Floats = np.zeros(n_features)  # and how often it has come

    def push(self, rows: Float32s) -> Floats:
        """Return the runs up to each of further rows.

        Args:
            rows: `(n, n_features)`; NaN = missing.

        Returns:
            `(n, n_features)`, how many known values in a row were the same, this one included, at most `most`; 0 where it is
            missing.
        """
        if not len(rows):
            return np.empty(rows.shape)
        known, places = ~np.isnan(rows), np.arange(len(rows))[:, None]
        last = np.maximum.accumulate(np.where(known, places, -1), axis=0)
        before = np.concatenate([np.full((1, rows.shape[1]), -1), last[:-1]])
        previous = np.where(before >= 0, np.take_along_axis(rows, np.maximum(before, 0), axis=0), self._last)
        count = np.cumsum(known, axis=0)
        begin = np.maximum.accumulate(np.where(known & (rows != previous), count - 1, -1), axis=0)
        run = np.minimum(np.where(begin >= 0, count - begin, self._run + count), self._most)
        self._last = np.where(last[-1] >= 0, np.take_along_axis(rows, np.maximum(last[-1:], 0), axis=0)[0], self._last)
        self._run = run[-1]
        return np.where(known, run, 0.0)


def longest_runs(rows: Float32s) -> Floats:
    """Return how often one value comes in a row at most, of each feature, `(n_features,)`.

    Args:
        rows: `(n, n_features)`, n at least 1; NaN = missing.
    """
    found: Floats = Flatline(rows.shape[1], len(rows)).push(rows).max(axis=0)
    return found


def is_flat(run: Floats, longest: Floats) -> Bools:
    """Tell runs that are far longer than any of training.

    Args:
        run: `(n, n_features)`.
        longest: `(n_features,)`, those of training.
    """
    flat: Bools = run > np.maximum(LONGER * longest, FEWEST)
    return flat
