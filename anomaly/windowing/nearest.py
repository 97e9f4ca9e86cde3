"""Which of many points on a grid is the nearest, exactly, and told mostly in float32.

Squared distances of whole numbers are exact in float64, whatever the order in which a processor adds. A product in float32 takes
half the time, and its error has a bound. So all points are compared in float32, and the distance of the nearest is taken anew
in float64; that of the second too, where it may be nearer than that; and where the third may be, as where points are the
same, all are compared in float64. What comes out is the same to the last bit as if all had been.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly.series import Bools, Float32s, Floats, Ints

# The multiplications up to which OpenBLAS takes one thread: two would have less than 2^18 each.
_MOST_MULTIPLIED = (1 << 19) - 1
# With fewer rows, what a processor reads ahead of them takes longer than they do.
_ROWS_AT_A_TIME = 16
# Of fewer, all are compared in float64 at once.
_FEW = 8
# Half the distance between 1 and the next float32.
_UNIT = 2.0**-24
_Numbers = npt.NDArray[np.floating[Any]]


class Points:
    """Points of several features, to be sought among, each feature apart.

    Args:
        grid: `(n_features, n_points, n_steps)`, whole numbers below 2^16 in size, at least one point.
    """

    def __init__(self, grid: Floats) -> None:
        self._points = np.ascontiguousarray(grid, np.float32)
        squares = np.square(grid).sum(axis=2)
        self._lengths = np.sqrt(squares)
        self._factors = np.ascontiguousarray(np.concatenate([-2 * grid.swapaxes(1, 2), squares[:, None]], axis=1))
        # A point that has been there before is never the first of those that are the nearest: it is as if it were infinitely far.
        self._rough = self._factors.astype(np.float32)
        self._rough[:, -1][_repeated(grid)] = np.inf

    @cached_property
    def _all_rough(self) -> Float32s:
        """The same with all points, of which some may be excluded."""
        return self._factors.astype(np.float32)

    def nearest(self, own: Floats, near: Bools | None = None) -> tuple[Ints, Floats]:
        """Return which point is the nearest to each of some others, and the square of its distance, both `(n_features, n)`.

        Of several that are as near it is the first one; where all are excluded the square is infinite.

        Args:
            own: `(n_features, n, n_steps)`, whole numbers whose squares add up to less than 2^53.
            near: `(n, n_points)`: which points are excluded; None is none.
        """
        if own.shape[1] < _FEW:  # of rows that arrive one by one: looking twice takes longer
            return _exactly(self._factors, own, near)
        features, rows = np.arange(len(own))[:, None], np.arange(own.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number in float32 is sought in float64
            (places, second, _), told = self._roughly(own, near)
            limit = told[0] + self._most_wrong(own, self._lengths[features, places])
            close, several = ~(told[1] > limit), ~(told[2] > limit)
        squares = _squares(own, self._points[features, places])
        at = np.nonzero(close & ~several)
        others = _squares(own[at], self._points[at[0], second[at]])
        nearer = (others < squares[at]) | ((others == squares[at]) & (second[at] < places[at]))
        places[at], squares[at] = np.where(nearer, second[at], places[at]), np.where(nearer, others, squares[at])
        for feature in np.flatnonzero(several.any(axis=1)).tolist():
            some = rows[several[feature]]
            found = _exactly(self._factors[feature : feature + 1], own[None, feature, some], None if near is None else near[some])
            places[feature, some], squares[feature, some] = found[0][0], found[1][0]
        return places, squares

    def _roughly(self, own: Floats, near: Bools | None) -> tuple[Ints, Floats]:
        """Return which three points are the nearest in float32, and what is told of each, both `(3, n_features, n)`."""
        n_features, n, n_steps = own.shape
        ones, between = np.ones((n_features, n, n_steps + 1), np.float32), np.empty((n, self._points.shape[1]), np.float32)
        ones[:, :, :-1] = own
        places, told, rows = np.empty((3, n_features, n), np.int64), np.empty((3, n_features, n)), np.arange(n)
        factors = self._rough if near is None else self._all_rough
        for feature in range(n_features):
            multiply(ones[feature], factors[feature], between)
            if near is not None:
                between[near] = np.inf
            for k in range(3):
                places[k, feature] = least = between.argmin(axis=1)
                told[k, feature] = between[rows, least]
                between[rows, least] = np.inf
        return places, told

    def _most_wrong(self, own: Floats, lengths: Floats) -> Floats:
        """Return by how much what is told of two points may be wrong together, `(n_features, n)`.

        The sum of k products in float32 is wrong by at most k units of the sum of their sizes, in any order, and some more as they
        are rounded themselves; that sum is at most 2 |own| |point| + |point|^2. No point that is longer than 2 |own| + |the one
        that was found| is nearer than that one.
        """
        own_lengths = np.sqrt(np.einsum("fns,fns->fn", own, own))
        longest = np.minimum(self._lengths.max(axis=1)[:, None], 2 * own_lengths + lengths)
        most: Floats = 2 * _UNIT * (own.shape[2] + 5) * (2 * own_lengths + longest) * longest
        return most


def _exactly(factors: Floats, own: Floats, near: Bools | None) -> tuple[Ints, Floats]:
    """Return the same as `Points.nearest` of the features of some factors, all in float64."""
    n_features, n, n_steps = own.shape
    ones, between = np.ones((n_features, n, n_steps + 1)), np.empty((n_features, n, factors.shape[2]))
    ones[:, :, :-1] = own
    if n * factors[0].size <= _MOST_MULTIPLIED:
        np.matmul(ones, factors, out=between)
    else:
        for feature in range(n_features):
            multiply(ones[feature], factors[feature], between[feature])
    if near is not None:
        between[:, near] = np.inf
    return between.argmin(axis=2), between.min(axis=2) + np.square(own).sum(axis=2)


def _squares(own: Floats, points: _Numbers) -> Floats:
    """Return the squares of the distances of points from others, over the last axis."""
    differences = own - points
    squares: Floats = np.einsum("...s,...s->...", differences, differences)
    return squares


def _repeated(grid: Floats) -> Bools:
    """Tell which points are the same as one before them, `(n_features, n_points)`."""
    found = np.zeros(grid.shape[:2], np.bool_)
    # The same points have the same key: sums of whole numbers are exact.
    keys = grid @ np.random.default_rng(0).integers(1, 1 << 20, grid.shape[2]).astype(np.float64)
    for feature in np.flatnonzero((np.diff(np.sort(keys, axis=1), axis=1) == 0).any(axis=1)).tolist():
        _, first, which = np.unique(keys[feature], return_index=True, return_inverse=True)
        before = first[which]
        found[feature] = (before < np.arange(len(before))) & (grid[feature] == grid[feature, before]).all(axis=1)
    return found


def multiply(own: _Numbers, factors: _Numbers, product: _Numbers) -> None:
    """Put `own @ factors` in the place of `product`, piece by piece.

    Threads of OpenBLAS that share a small product wait for each other longer than it takes, on a machine that does other things
    many times as long.
    """
    columns = min(factors.shape[1], max(_MOST_MULTIPLIED // (_ROWS_AT_A_TIME * len(factors)), 1))
    rows = max(_MOST_MULTIPLIED // (columns * len(factors)), 1)
    for left in range(0, factors.shape[1], columns):
        some = slice(left, left + columns)
        for first in range(0, len(own), rows):
            np.matmul(own[first : first + rows], factors[:, some], out=product[first : first + rows, some])
