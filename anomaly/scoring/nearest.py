"""Which of many points on a grid is the nearest, exactly, and told mostly in float32.

Squared distances of whole numbers are exact in float64, whatever the order in which a processor adds. A product in float32 takes
half the time, and its error has a bound. So all points are compared in float32, and the distance of the nearest is taken anew
in float64; that of the second too, where it may be nearer than that; and where the third may be, as where points are the
same, all are compared in float64. What comes out is the same to the last bit as if all had been.
"""

import numpy as np
import numpy.typing as npt

from anomaly.series import Bools, Floats, Ints

# The multiplications up to which OpenBLAS takes one thread.
_MOST_MULTIPLIED = 1 << 18
# Half the distance between 1 and the next float32.
_UNIT = 2.0**-24


class Points:
    """Points of several features, to be sought among, each feature apart.

    Args:
        grid: `(n_features, n_points, n_steps)`, whole numbers below 2^16 in size, at least one point.
    """

    def __init__(self, grid: Floats) -> None:
        self._points = np.ascontiguousarray(grid, np.float32)
        squares = np.square(grid).sum(axis=2)
        self._factors = np.ascontiguousarray(np.concatenate([-2 * grid.swapaxes(1, 2), squares[:, None]], axis=1))
        self._rough = self._factors.astype(np.float32)
        self._lengths = np.sqrt(squares)
        self._longest = self._lengths.max(axis=1)[:, None]

    def nearest(self, own: Floats, near: Bools | None = None) -> tuple[Ints, Floats]:
        """Return which point is the nearest to each of some others, and the square of its distance, both `(n_features, n)`.

        Of several that are as near it is the first one; where all are excluded the square is infinite.

        Args:
            own: `(n_features, n, n_steps)`, whole numbers whose squares add up to less than 2^53.
            near: `(n, n_points)`: which points are excluded; None is none.
        """
        (places, others), leads = self._roughly(own, near)
        features = np.arange(len(own))[:, None]
        squares = _squares(own, self._points[features, places])
        with np.errstate(over="ignore", invalid="ignore"):
            further = leads > self._most_wrong(own, self._lengths[features, places])
        two = np.nonzero(~further[0] & further[1])
        if len(two[0]):
            second, other = others[two], _squares(own[two], self._points[two[0], others[two]])
            nearer = (other < squares[two]) | ((other == squares[two]) & (second < places[two]))
            places[two], squares[two] = np.where(nearer, second, places[two]), np.where(nearer, other, squares[two])
        doubtful = ~further[1]  # the third is no nearer than the second
        for feature in np.flatnonzero(doubtful.any(axis=1)).tolist():
            some = np.flatnonzero(doubtful[feature])
            excluded = None if near is None else near[some]
            places[feature, some], squares[feature, some] = self._exactly(feature, own[feature, some], excluded)
        return places, squares

    def _roughly(self, own: Floats, near: Bools | None) -> tuple[Ints, Floats]:
        """Return which two points are the nearest in float32, and by how much the second and third are further than the first."""
        n_features, n, n_steps = own.shape
        ones = np.ones((n_features, n, n_steps + 1), np.float32)
        ones[:, :, :-1] = own
        places, values = np.empty((3, n_features, n), np.int64), np.empty((3, n_features, n))
        between, rows = np.empty((n, self._points.shape[1]), np.float32), np.arange(n)
        for feature in range(n_features):
            multiply(ones[feature], self._rough[feature], between)
            if near is not None:
                between[near] = np.inf
            for k in range(3):
                places[k, feature] = least = between.argmin(axis=1)
                values[k, feature] = between[rows, least]
                between[rows, least] = np.inf
        with np.errstate(invalid="ignore"):  # where all are excluded
            return places[:2], values[1:] - values[0]

    def _most_wrong(self, own: Floats, lengths: Floats) -> Floats:
        """Return by how much two squares may be wrong together, `(n_features, n)`.

        The sum of k products in float32 is wrong by at most k units of the sum of their sizes, in any order, and some more as they
        are rounded themselves; that sum is at most 2 |own| |point| + |point|^2. No point that is longer than 2 |own| + |the one that was found| is nearer than that one.
        """
        own_length = np.sqrt(np.einsum("fns,fns->fn", own, own))
        longest = np.minimum(self._longest, 2 * own_length + lengths)
        most: Floats = 2 * _UNIT * (own.shape[2] + 5) * (2 * own_length + longest) * longest
        return most

    def _exactly(self, feature: int, own: Floats, near: Bools | None) -> tuple[Ints, Floats]:
        """Return the same of one feature, all in float64."""
        between = np.empty((len(own), self._points.shape[1]))
        multiply(np.concatenate([own, np.ones((len(own), 1))], axis=1), self._factors[feature], between)
        if near is not None:
            between[near] = np.inf
        places = between.argmin(axis=1)
        return places, between[np.arange(len(own)), places] + np.square(own).sum(axis=1)


def _squares(own: Floats, points: npt.NDArray[np.floating]) -> Floats:
    """Return the squares of the distances of points from others, over the last axis."""
    differences = own - points
    squares: Floats = np.einsum("...s,...s->...", differences, differences)
    return squares


def multiply(own: npt.NDArray[np.floating], factors: npt.NDArray[np.floating], product: npt.NDArray[np.floating]) -> None:
    """Put `own @ factors` in the place of `product`, a few rows after the others.

    Threads of OpenBLAS that share a small product wait for each other longer than it takes, on a machine that does other things
    many times as long.
    """
    at_a_time = max(_MOST_MULTIPLIED // factors.size, 1)
    for first in range(0, len(own), at_a_time):
        some = slice(first, first + at_a_time)
        np.matmul(own[some], factors, out=product[some])
