"""What a feature should be given the others: one that leaves its group is seen though all that it does alone is usual.

Each feature is told from the others of its row by ridge regression, all of them from one inverse (Lauritzen 1996, "Graphical
models", section 5.1: the regression of a feature on the others has the coefficients -p_ij / p_ii of the precision matrix P):

    residual_i = sum_j P_ij z_j / P_ii,    P = (correlation + ridge * identity)^-1

Of what is missing nothing is asked (`anomaly.watches.residuals`).

A feature has a relation if the others tell more than half of its variance on rows that P was not made of. It has left its group
where its residuals of the last rows are far larger than ever in training.
"""

from dataclasses import dataclass

import numpy as np

from anomaly.series import Float32s, Floats, Ints
from anomaly.watches.movement import Recent
from anomaly.watches.residuals import Residuals

RIDGE = 0.01
# P is of the first rows; the rest tells what the others explain.
FITTED, EXPLAINED = 0.8, 0.5
# So many residuals are added up, and their sum is too large beyond so many times the largest of training.
N_RESIDUALS, BEYOND = 8, 2.0
# With fewer rows for each feature there is no saying; nor of a feature that more of the rows do not know.
FEWEST_ROWS, MOST_MISSING = 10, 0.5
# Values count up to so many deviations, so that one row does not make P; and a residual below so much is none.
_MOST_DEVIATIONS, LEAST_RESIDUAL = 8.0, 0.02
# Of a long history so many rows, evenly.
_MOST_ROWS = 16_384
_ROWS_A_PUSH = 4_096


@dataclass(frozen=True, eq=False)
class Relations:
    """How the features hang together in training.

    Attributes:
        center: `(n_features,)`: mean of each scaled feature.
        weights: `(n_features, n_features)`: `(row - center) @ weights` are the residuals of a complete row; a column is 0 beside
            its own feature where nothing hangs together with that.
        most: `(n_features,)`: the largest sum of `N_RESIDUALS` absolute residuals; 0 where there is no relation.
        sharpness: `(n_features,)`: sqrt(P_ii), one over the deviation that residuals have where all is normal.
    """

    center: Floats
    weights: Floats
    most: Floats
    sharpness: Floats

    @classmethod
    def of(cls, rows: Float32s, since: Ints | None = None, ridge: float = RIDGE) -> "Relations | None":
        """Return those of training rows; None if no feature has one.

        Features that are too often missing take no part: they would leave no row to tell of the others.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.
            since: as for `MovementRange.of`.
            ridge: what is added to the diagonal of the correlation, above 0.
        """
        kept, complete = _complete(rows)
        fitted = complete[: int(FITTED * len(complete))]
        if len(kept) < 2 or len(fitted) < FEWEST_ROWS * len(kept):
            return None
        fitted = fitted[:: -(-len(fitted) // _MOST_ROWS)]
        center, deviation = fitted.mean(axis=0), fitted.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        regression, precision = _regression(_standard(fitted, center, scale), ridge)
        held_out = _standard(complete[int(FITTED * len(complete)) :], center, scale)
        explained = np.square(held_out @ regression).mean(axis=0) < (1 - EXPLAINED) * held_out.var(axis=0)
        if not explained.any():
            return None
        n_features = rows.shape[1]
        centers, most, sharpness = np.zeros(n_features), np.zeros(n_features), np.full(n_features, ridge**-0.5)
        weights = np.eye(n_features)
        weights[np.ix_(kept, kept)], centers[kept], sharpness[kept] = regression / scale[:, None], center, np.sqrt(precision)
        most[kept[explained]] = N_RESIDUALS * LEAST_RESIDUAL
        return cls(centers, weights, _most(cls(centers, weights, most, sharpness), rows, since), sharpness)


class RelationWatch:
    """Tell which feature has left its group, in rows that arrive in pieces.

    Args:
        relations: of training.
    """

    def __init__(self, relations: Relations) -> None:
        self._related: Ints = np.flatnonzero(relations.most > 0)
        self._most, self._sharpness = relations.most[self._related], relations.sharpness[self._related]
        self._residuals = Residuals(relations.center, relations.weights, relations.sharpness, self._related)
        self._recent = Recent(len(self._related), N_RESIDUALS)

    def sums(self, rows: Float32s) -> tuple[Floats, Floats]:
        """Return the absolute residuals of further rows and their sums, both `(n, n_related)`, of features that have a relation."""
        residuals = self._residuals.of(rows)
        return residuals, self._recent.push(residuals)

    def push(self, rows: Float32s) -> Floats:
        """Return how far each feature has left its group in further rows, `(n, n_features)`; NaN = missing.

        Where one leaves, those that it tells of are off as well. The one that left is that of the largest residual times sharpness:
        where z = shift * e_i, residual_j * sharpness_j = shift * P_ij / sqrt(P_jj), and that is largest for j = i (Cauchy-Schwarz).

        Returns:
            `(n, n_features)`: for that one the largest excess, the sum of the last residuals over the largest of training, where
            it is beyond the limit; else 0.
        """
        return self.found(*self.sums(rows), self._most, rows.shape[1])

    def found(self, residuals: Floats, sums: Floats, most: Floats, n_features: int) -> Floats:
        """Return the same of rows whose residuals are known, `(n, n_features)`.

        Args:
            residuals: as `sums` returns them.
            sums: as `sums` returns them.
            most: the largest sums of training, `(n_related,)` or `(n, n_related)`; infinite where nothing is asked.
            n_features: of the rows.
        """
        found = np.zeros((len(sums), n_features))
        if not len(self._related):
            return found
        excess = sums / most
        with np.errstate(invalid="ignore"):
            off = (excess > BEYOND) & (residuals > most / N_RESIDUALS)
        left = np.nan_to_num(sums * self._sharpness).argmax(axis=1)
        found[np.arange(len(sums)), self._related[left]] = np.where(off, excess, 0.0).max(axis=1)
        return found


def _complete(rows: Float32s) -> tuple[Ints, Floats]:
    """Return the features that are known together on enough rows, their positions, and these rows of them, `(n_rows, n_kept)`."""
    missing = np.isnan(rows)
    some = ~missing.all(axis=1)
    missing = missing[some]
    n_features, shares = rows.shape[1], missing.mean(axis=0) if len(missing) else np.ones(rows.shape[1])
    order = np.argsort(shares, kind="stable")
    # The first k features are known together on the rows that lack none before the k-th.
    lacking = np.where(missing.any(axis=1), missing[:, order].argmax(axis=1), n_features)
    n_rows = len(missing) - np.cumsum(np.bincount(lacking, minlength=n_features + 1))[:-1]
    sizes = np.arange(1, n_features + 1)
    enough = (FITTED * n_rows >= FEWEST_ROWS * sizes) & (shares[order] <= MOST_MISSING)
    # Only for what is missing others are left out, and not because the history is short.
    enough &= np.append(shares[order[1:]] > 0, True)
    n_kept = int(sizes[enough].max(initial=0))
    kept = np.sort(order[:n_kept])
    return kept, rows[some][lacking >= n_kept][:, kept].astype(np.float64)


def _most(relations: Relations, rows: Float32s, since: Ints | None) -> Floats:
    """Return the largest sums of training rows, at least those of `relations`, `(n_features,)`."""
    watch, most, related = RelationWatch(relations), relations.most.copy(), relations.most > 0
    for start in range(0, len(rows), _ROWS_A_PUSH):
        sums = watch.sums(rows[start : start + _ROWS_A_PUSH])[1]
        if since is not None:
            sums[since[start : start + _ROWS_A_PUSH] < N_RESIDUALS - 1] = np.nan
        most[related] = np.fmax(most[related], np.fmax.reduce(sums, axis=0))
    return most


def _standard(rows: Floats, center: Floats, scale: Floats) -> Floats:
    return np.clip((rows - center) / scale, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)


def _regression(rows: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Return what gives the residuals of each feature on the others, `rows @ weights`, `(n_features, n_features)`; P_ii."""
    precision = np.linalg.inv(rows.T @ rows / len(rows) + ridge * np.eye(rows.shape[1]))
    weights: Floats = precision / np.diag(precision)
    return weights, np.diag(precision)
