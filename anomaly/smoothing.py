"""Running means of an error over one, two and four windows of rows, as the rows come.

What is wrong for a long time is seen best from afar, what is wrong for a short time from close by; nothing says
beforehand which it will be, so the scales are added up (`anomaly.segment`).
"""

import numpy as np

from anomaly.series import Floats

# Lengths of the running means, in windows; each is twice the one before.
SCALES = (1, 2, 4)


def centred(row: int, length: int) -> tuple[int, int]:
    """Return the half-open range of the rows whose mean stands at `row`: half of them lie before it."""
    return row - length // 2, row - length // 2 + length


class RunningMeans:
    """Take the rows of one segment in any pieces, give their running means back, in order.

    A mean goes over the rows there are: fewer at both ends of the segment, and only those that are not NaN. Sums are
    made in the same order however the rows were split, so the means are the same to the last bit.

    Args:
        window_size: the shortest length, in rows.
        n_features: columns.
    """

    def __init__(self, window_size: int, n_features: int) -> None:
        self._size, self._n_features = window_size, n_features
        self._reach = centred(0, SCALES[-1] * window_size)[1]  # rows ahead that a row waits for, and one
        self._tail = np.zeros((window_size - 1, 2 * n_features))  # values and whether they are known
        # Sums over a window; `_sums[0]` begins where the longest mean of the next row begins.
        self._sums = np.zeros((SCALES[-1] * window_size - self._reach - (window_size - 1), 2 * n_features))

    def push(self, values: Floats) -> Floats:
        """Take further rows `(n, n_features)`; return the means of those that are final, `(n_scales, n_final, n_features)`."""
        known = ~np.isnan(values)
        rows = np.concatenate([self._tail, np.concatenate([np.where(known, values, 0), known], axis=1)])
        self._tail = rows[len(rows) - (self._size - 1) :]
        sums = np.zeros((len(values), rows.shape[1]))
        for offset in range(self._size):
            sums += rows[offset : offset + len(values)]
        self._sums = np.concatenate([self._sums, sums])
        return self._final()

    def finish(self) -> Floats:
        """Return the means of the rows that are still held; no row comes after."""
        return self.push(np.full((self._reach - 1, self._n_features), np.nan))

    def _final(self) -> Floats:
        longest = SCALES[-1] * self._size
        n = len(self._sums) - (longest - self._size)
        if n <= 0:
            return np.empty((len(SCALES), 0, self._n_features))
        sums, means = self._sums, []
        for scale in SCALES:
            length = scale * self._size
            first = centred(0, length)[0] - centred(0, longest)[0]
            totals, counts = np.split(sums[first : first + n], 2, axis=1)
            means.append(np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0))
            if scale != SCALES[-1]:
                sums = sums[: len(sums) - length] + sums[length:]  # twice as long
        self._sums = self._sums[n:]
        return np.stack(means)
