"""How long each feature has had one value: a run of equal values, as of a sensor that is stuck."""

import numpy as np

from anomaly.series import Bools, Float32s, Floats

# A run is flat if it is longer than so many times the longest of training, and than so many rows.
LONGER, FEWEST = 3.0, 8


class Flatline:
    """Count how often each value has come in a row, in rows that arrive in pieces; a missing value ends a run.

    Args:
        n_features: of the rows.
        most: as far as is counted: where rows are forgotten, so many are to be known again.
    """

    def __init__(self, n_features: int, most: int) -> None:
        self._most = most
        self._last: Float32s = np.full(n_features, np.nan, np.float32)  # the row before
        self._run: Floats = np.zeros(n_features)  # and its runs

    def push(self, rows: Float32s) -> Floats:
        """Return the runs up to each of further rows.

        Args:
            rows: `(n, n_features)`; NaN = missing.

        Returns:
            `(n, n_features)`, how many values in a row were the same, this one included, at most `most`; 0 where it is missing.
        """
        if not len(rows):
            return np.empty(rows.shape)
        places = np.arange(1, len(rows) + 1)[:, None]
        before = np.concatenate([self._last[None], rows[:-1]])
        begins = np.maximum.accumulate(np.where(rows == before, 0, places), axis=0)
        run = np.minimum(np.where(begins > 0, places - begins + 1, self._run + places), self._most)
        run[np.isnan(rows)] = 0
        self._last, self._run = rows[-1], run[-1]
        return run


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
