"""Which of many points on a grid is the nearest, exactly, and told mostly in float32.

Squared distances of whole numbers are exact in float64, whatever the order in which a processor adds. A product in float32 takes
half the time, and its error has a bound. So all points are compared in float32, and the distance of the nearest is taken anew
in float64; that of the second too, where it may be nearer than that; and where the third may be, as where points are the
same, all are compared in float64. What comes out is the same to the last bit as if all had been.
"""

import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly.series import Bools, Float32s, Floats, Ints

# The multiplications up to which OpenBLAS takes one thread: two would have less than 2^18 each.
_MOST_MULTIPLIED = (1 << 19) - 1
# With fewer rows, what a processor reads ahead of them takes longer than they do.
_ROWS_AT_A_TIME = 16
# With fewer rows, as where they arrive one by one, or with so few points of a feature, or of all, all are compared in float64.
_FEW, _FEW_POINTS, _FEW_IN_ALL = 8, 128, 2_048
# Of the products that are looked through at a time.
_BYTES_AT_A_TIME = 1 << 21
# Half the distance between 1 and the next float32.
_UNIT = 2.0**-24
_Numbers = npt.NDArray[np.floating[Any]]


class Points:
    """Points of several features, to be sought among, each feature apart.

    Args:
        grid: `(n_features, n_points, n_steps)`, whole numbers below 2^16 in size, at least one point.

    Attributes:
        grid: the same.
    """

    def __init__(self, grid: Floats) -> None:
        self.grid = grid
        self._few = grid.shape[1] <= _FEW_POINTS or grid[:, :, 0].size <= _FEW_IN_ALL

    @property
    def most_bytes(self) -> int:
        """What they take once they were sought among."""
        return (3 if self._few else 4) * self.grid.nbytes

    @cached_property
    def _squares(self) -> Floats:
        return np.asarray(np.square(self.grid).sum(axis=2))

    @cached_property
    def _factors(self) -> Floats:
        return np.ascontiguousarray(np.concatenate([-2 * self.grid.swapaxes(1, 2), self._squares[:, None]], axis=1))

    @cached_property
    def _points(self) -> Float32s:
        return np.ascontiguousarray(self.grid, np.float32)

    @cached_property
    def _lengths(self) -> Floats:
        return np.asarray(np.sqrt(self._squares))

    @cached_property
    def _all_rough(self) -> Float32s:
        """The factors in float32."""
        return self._factors.astype(np.float32)

    @cached_property
    def _rough(self) -> Float32s:
        """The same where a point that has been there before is infinitely far: it is never the first of the nearest."""
        factors = self._all_rough.copy()
        factors[:, -1][_repeated(self.grid)] = np.inf
        return factors

    def nearest(self, own: Floats, near: Bools | None = None) -> tuple[Ints, Floats]:
        """Return which point is the nearest to each of some others, and the square of its distance, both `(n_features, n)`.

        Of several that are as near it is the first one; where all are excluded the square is infinite.

        Args:
            own: `(n_features, n, n_steps)`, whole numbers whose squares add up to less than 2^53.
            near: `(n, n_points)`: which points are excluded; None is none.
        """
        if own.shape[1] < _FEW or self._few:  # looking twice takes longer
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
        factors = self._rough if near is None else self._all_rough
        places, told = np.empty((3, *own.shape[:2]), np.int64), np.empty((3, *own.shape[:2]))
        for some, products in _products(factors, own, near):
            for k in range(3):
                least = products.argmin(axis=2)[:, :, None]
                places[k, some], told[k, some] = least[:, :, 0], np.take_along_axis(products, least, 2)[:, :, 0]
                np.put_along_axis(products, least, np.inf, 2)
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
    places, told = np.empty(own.shape[:2], np.int64), np.empty(own.shape[:2])
    for some, products in _products(factors, own, near):
        least = products.argmin(axis=2)
        places[some], told[some] = least, np.take_along_axis(products, least[:, :, None], 2)[:, :, 0]
    return places, told + np.square(own).sum(axis=2)


def _products(factors: _Numbers, own: Floats, near: Bools | None) -> Iterator[tuple[slice, _Numbers]]:
    """Yield some features, and the squares of the distances of all points from some others, less the squares of these.

    Those arrays are the same ones again at the next yield, and the next call of the thread.

    Args:
        factors: `(n_features, n_steps + 1, n_points)`, which say in which precision it is told.
        own: as for `Points.nearest`.
        near: as for `Points.nearest`.
    """
    (n_features, n, n_steps), n_points = own.shape, factors.shape[2]
    at_a_time = max(1, _BYTES_AT_A_TIME // max(1, n * n_points * factors.itemsize))
    for first in range(0, n_features, at_a_time):
        some = slice(first, first + at_a_time)
        given, products = _scratch(factors.dtype, len(factors[some]), (n, n_steps + 1), (n, n_points))
        given[:, :, :-1], given[:, :, -1] = own[some], 1
        multiply(given, factors[some], products)
        if near is not None:
            products[:, near] = np.inf
        yield some, products


_kept = threading.local()


def _scratch(dtype: "np.dtype[Any]", n: int, *shapes: tuple[int, int]) -> list[_Numbers]:
    """Return `n` matrices of some shapes each, whose memory stays with the thread where it is little.

    To get new pages takes longer than to fill them, and two threads that get some wait for each other.
    """
    sizes = [n * rows * columns for rows, columns in shapes]
    n_bytes = sum(sizes) * dtype.itemsize
    memory: Floats = getattr(_kept, "memory", np.empty(0))
    if memory.nbytes < n_bytes:
        memory = np.empty(-(-n_bytes // 8))
        if n_bytes <= 2 * _BYTES_AT_A_TIME:
            _kept.memory = memory
    ends = np.cumsum(sizes).tolist()
    told = memory.view(dtype)
    return [told[end - size : end].reshape(n, *shape) for end, size, shape in zip(ends, sizes, shapes, strict=True)]


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
    """Put `own @ factors` in the place of `product`, stacks of matrices, piece by piece.

    Threads of OpenBLAS that share a small product wait for each other longer than it takes, on a machine that does other things
    many times as long.
    """
    columns = min(factors.shape[-1], max(_MOST_MULTIPLIED // (_ROWS_AT_A_TIME * factors.shape[-2]), 1))
    rows = max(_MOST_MULTIPLIED // (columns * factors.shape[-2]), 1)
    for left in range(0, factors.shape[-1], columns):
        some = slice(left, left + columns)
        for first in range(0, own.shape[-2], rows):
            np.matmul(own[..., first : first + rows, :], factors[..., some], out=product[..., first : first + rows, some])
