"""What a feature should be given the others: one that leaves its group is seen though all that it does alone is usual.

Each feature is told from the others of its row by ridge regression, all of them from one inverse (Lauritzen 1996, "Graphical
models", section 5.1: the regression of a feature on the others has the coefficients -p_ij / p_ii of the precision matrix P):

    residual_i = sum_j P_ij z_j / P_ii,    P = (correlation + ridge * identity)^-1

A feature has a relation if the others tell more than half of its variance on rows that P was not made of. It has left its group
where its residuals of the last rows are far larger than ever in training.
"""

from dataclasses import dataclass

import numpy as np

from anomaly.series import Bools, Float32s, Floats
from anomaly.windowing.movement import Recent

RIDGE = 0.01
# P is of the first rows; the rest tells what the others explain.
FITTED, EXPLAINED = 0.8, 0.5
# So many residuals are added up, and their sum is too large beyond so many times the largest of training.
N_RESIDUALS, BEYOND = 8, 2.0
# With fewer rows for each feature there is no saying.
FEWEST_ROWS = 10
# Values count up to so many deviations, so that one row does not make P; and a residual below so much is none.
_MOST_DEVIATIONS, _LEAST_RESIDUAL = 8.0, 0.02
# Of a long history so many rows, evenly.
_MOST_ROWS = 16_384


@dataclass(frozen=True, eq=False)
class Relations:
    """How the features hang together in training.

    Attributes:
        center: `(n_features,)`: mean of each scaled feature.
        weights: `(n_features, n_features)`: `(row - center) @ weights` are the residuals; a column of 0 where there is no relation.
        most: `(n_features,)`: the largest sum of `N_RESIDUALS` absolute residuals; 0 where there is no relation.
        sharpness: `(n_features,)`: sqrt(P_ii), one over the deviation that residuals have where all is normal.
    """

    center: Floats
    weights: Floats
    most: Floats
    sharpness: Floats

    @classmethod
    def of(cls, rows: Float32s) -> "Relations | None":
        """Return those of training rows, `(n, n_features)`, scaled, NaN = missing; None if no feature has one."""
        complete = rows[~np.isnan(rows).any(axis=1)].astype(np.float64)
        fitted = complete[: int(FITTED * len(complete))]
        if rows.shape[1] < 2 or len(fitted) < FEWEST_ROWS * rows.shape[1]:
            return None
        fitted = fitted[:: -(-len(fitted) // _MOST_ROWS)]
        center, deviation = fitted.mean(axis=0), fitted.std(axis=0)
        moving = deviation > 0
        scale = np.where(moving, deviation, 1.0)
        weights, sharpness = _regression(_standard(fitted, center, scale), moving)
        held_out = _standard(complete[int(FITTED * len(complete)) :], center, scale)
        explained = np.square(held_out @ weights).mean(axis=0) < (1 - EXPLAINED) * held_out.var(axis=0)
        weights[:, ~explained] = 0
        if not explained.any():
            return None
        weights = weights / scale[:, None]
        sums = RelationWatch(cls(center, weights, np.zeros(len(center)), sharpness)).sums(rows)[1]
        most = np.where(np.isnan(sums), 0, sums).max(axis=0)
        most = np.where(explained, np.maximum(most, N_RESIDUALS * _LEAST_RESIDUAL), 0.0)
        return cls(center, weights, most, sharpness)


class RelationWatch:
    """Tell which feature has left its group, in rows that arrive in pieces.

    Args:
        relations: of training.
    """

    def __init__(self, relations: Relations) -> None:
        self._relations = relations
        self._recent = Recent(len(relations.center), N_RESIDUALS)

    def sums(self, rows: Float32s) -> tuple[Floats, Floats]:
        """Return the absolute residuals of further rows and their sums, both `(n, n_features)`; NaN where a feature is missing."""
        residuals = np.abs((rows.astype(np.float64) - self._relations.center) @ self._relations.weights)
        return residuals, self._recent.push(residuals)

    def push(self, rows: Float32s) -> Floats:
        """Return how far each feature has left its group in further rows, `(n, n_features)`; NaN = missing.

        Where one leaves, those that it tells of are off as well. The one that left is that of the largest residual times sharpness:
        where z = shift * e_i, residual_j * sharpness_j = shift * P_ij / sqrt(P_jj), and that is largest for j = i (Cauchy-Schwarz).

        Returns:
            `(n, n_features)`: for that one the largest excess, the sum of the last residuals over the largest of training, where
            it is beyond the limit; else 0.
        """
        residuals, sums = self.sums(rows)
        most = self._relations.most
        with np.errstate(invalid="ignore"):
            excess = np.divide(sums, most, out=np.zeros(sums.shape), where=most > 0)
            off = (excess > BEYOND) & (residuals > most / N_RESIDUALS)
        excess, found = np.where(off, excess, 0.0).max(axis=1, initial=0.0), np.zeros(sums.shape)
        left = np.nan_to_num(sums * self._relations.sharpness).argmax(axis=1)
        found[np.arange(len(rows)), left] = excess
        return found


def _standard(rows: Floats, center: Floats, scale: Floats) -> Floats:
    return np.clip((rows - center) / scale, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)


def _regression(rows: Floats, moving: Bools) -> tuple[Floats, Floats]:
    """Return what gives the residuals of each feature on the others, `rows @ weights`, `(n_features, n_features)`; sqrt(P_ii)."""
    precision = np.linalg.inv(rows.T @ rows / len(rows) + RIDGE * np.eye(rows.shape[1]))
    weights: Floats = precision / np.diag(precision)
    weights[:, ~moving] = 0
    return weights, np.sqrt(np.diag(precision))
