"""What is left of each feature when the others of its row have told of it, whatever of them is missing.

With P the precision matrix of all features and z a row (Lauritzen 1996, "Graphical models", sections 5.1 and C.1), P' that of those
that are known, M the missing ones and K the others:

    residual_i = sum_j P'_ij z_j / P'_ii,    P' = P_KK - P_KM P_MM^-1 P_MK

so a residual is that of the regression on what is known. With fewer to tell of it, it is larger: it counts by sqrt(P'_ii / P_ii),
in deviations of a complete row, and is unknown where P'_ii is less than half of P_ii, as when most of several alike are missing.
"""

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints

# A residual is known if so much of its precision is left, and so many of the features that hang together.
_LEAST_PRECISION, _LEAST_KNOWN = 0.5, 0.5
# Values, up to so many deviations, and weights are whole numbers of a grid: so sums are exact, in any order and any pieces.
_MOST_DEVIATIONS, _WEIGHT_GRID = 2.0**10, 2.0**16
# Bits of a sum beside those of a value behind the point, and of the largest weight and of the number of features.
_BITS = 53 - 10 - 20
# Of so many numbers at a time missing values are taken out.
_NUMBERS = 2**20


class Residuals:
    """Tell the residuals of some features in rows.

    Args:
        center: as for `Relations`.
        weights: as for `Relations`.
        sharpness: as for `Relations`.
        related: positions of the features whose residuals are wanted, `(n_related,)`.
    """

    def __init__(self, center: Floats, weights: Floats, sharpness: Floats, related: Ints) -> None:
        self._center, self._related = center, related
        scale = np.where(np.diag(weights) > 0, np.diag(weights), 1.0)  # one over the deviations
        grid = 2.0 ** min(16, _BITS - int(np.ceil(np.log2(len(center)))))
        self._scale, self._most = scale * grid, _MOST_DEVIATIONS * grid
        standard = weights / scale[:, None]
        self._weights = np.rint(standard * _WEIGHT_GRID) / (_WEIGHT_GRID * grid)  # by powers of two: still of a grid
        self._of_related = np.ascontiguousarray(self._weights[:, related])
        self._precision = standard * np.square(sharpness)
        np.fill_diagonal(self._precision, np.square(sharpness))
        self._linked: Bools = ((standard != 0) & ~np.eye(len(center), dtype=np.bool_)).any(axis=1)

    def of(self, rows: Float32s) -> Floats:
        """Return the absolute residuals, `(n, n_related)`; NaN where the feature, or too much of what tells of it, is missing.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.
        """
        values = rows - self._center
        values *= self._scale
        np.clip(np.rint(values, out=values), -self._most, self._most, out=values)
        if not np.isnan(values.sum()):
            found = values @ self._of_related
            return np.asarray(np.abs(found, out=found))
        missing = np.isnan(values)
        values[missing] = 0
        missing &= self._linked  # of the others nothing hangs on any
        found = np.abs(values @ self._of_related)
        incomplete = np.flatnonzero(missing.any(axis=1))
        if len(incomplete):
            found[incomplete] = self._of_incomplete(values[incomplete] @ self._weights, missing[incomplete])
        return found

    def _of_incomplete(self, told: Floats, missing: Bools) -> Floats:
        """Return the absolute residuals of rows with missing values, `(n, n_related)`.

        Args:
            told: `(n, n_features)`: residuals as if what is missing were at its center.
            missing: of the same shape.
        """
        found = np.full((len(told), len(self._related)), np.nan)
        counts = missing.sum(axis=1)
        for n_missing in np.unique(counts).tolist():
            if n_missing > (1 - _LEAST_KNOWN) * self._linked.sum():
                continue
            places, step = np.flatnonzero(counts == n_missing), max(1, _NUMBERS // (n_missing * len(self._related)))
            for start in range(0, len(places), step):
                some = places[start : start + step]
                found[some] = self._taken_out(told[some], missing[some], n_missing)
        found[missing[:, self._related]] = np.nan
        return found

    def _taken_out(self, told: Floats, missing: Bools, n_missing: int) -> Floats:
        """Return the same of rows that all have so many missing values; arguments as for `_of_incomplete`."""
        patterns, which = _patterns(missing)
        taken = np.nonzero(patterns)[1].reshape(len(patterns), n_missing)  # which are missing in each
        beside, own = self._precision[taken][:, :, self._related], np.diag(self._precision)
        try:
            shares = np.linalg.inv(self._precision[taken[:, :, None], taken[:, None, :]]) @ beside
        except np.linalg.LinAlgError:  # no precision of a training
            return np.full((len(told), len(self._related)), np.nan)
        left, sums = np.tile(own[self._related], (len(patterns), 1)), told[:, self._related] * own[self._related]
        for k in range(n_missing):  # one after the other: numpy's own sums depend on how many rows there are
            left -= beside[:, k] * shares[:, k]
            columns = taken[which, k]
            sums -= (told[np.arange(len(told)), columns] * own[columns])[:, None] * shares[which, k]
        unit = np.sqrt(np.where(left >= _LEAST_PRECISION * own[self._related], left, np.nan) * own[self._related])
        return np.abs(sums) / unit[which]


def _patterns(rows: Bools) -> tuple[Bools, Ints]:
    """Return the different rows among some, `(n_different, n)`, and which of them each is."""
    if len(rows) == 1:
        return rows, np.zeros(1, np.int64)
    bits = np.packbits(rows, axis=1)
    words = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)
    which = np.zeros(len(rows), np.int64)
    for word in words.T:
        different, found = np.unique(word, return_inverse=True)
        first, which = np.unique(which * len(different) + found, return_index=True, return_inverse=True)[1:]
    return rows[first], which
