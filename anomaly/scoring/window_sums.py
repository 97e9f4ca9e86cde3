"""Sums over the windows about each row.

A row adds its windows up in the order of their starts and a window its timesteps from the last one down, in whatever blocks
they come: so sums are the same to the last bit. Of a block of many windows, as many timesteps of all of them are added at a time
as lie between two of them; of a few windows each for itself.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.series import Bools, Float32s, Floats, Ints

# About so many stay in the cache of one core while they are added.
_VALUES_AT_A_TIME = 1 << 14
# And so many, rather than rows of windows that lie apart.
_VALUES_IN_CACHE = 1 << 17
# The windows that each view listens to.
HEARD = {
    "window_mean": "covering", "point_mean": "covering", "trailing": "ending", "trailing_point": "ending",
    "weight": "covering", "pull": "covering", "trailing_weight": "ending",
}  # fmt: skip
# The views that are means over windows and not over values, and what speaks of a single value in them.
_AVERAGED = {"window_mean", "trailing"}
_OF_AVERAGES = {"weight": "window_mean", "pull": "window_mean", "trailing_weight": "trailing"}
_ENDING = {"ending", *(view for view, heard in HEARD.items() if heard == "ending")}


class WindowSums:
    """Sums over the windows about each row, and how many of them spoke about each value; all are `(n_rows, n_features)`.

    Args:
        kinds: views, whose errors are added up, and "covering" or "ending", the windows whose deviations are.
        window_size: timesteps in a window.
        n_features: of the rows.
        stride: rows between the windows that speak about the rows that they cover.
    """

    def __init__(self, kinds: set[str], window_size: int, n_features: int, stride: int = 1) -> None:
        self._window_size, self._stride = window_size, stride
        self._totals = {kind: np.zeros((0, n_features)) for kind in sorted(kinds)}
        self._counts = {_count_of(kind): np.zeros((0, n_features), np.int64) for kind in sorted(kinds)}
        self._ends, self._covers = bool(kinds & _ENDING), bool(kinds - _ENDING)

    def grow(self, n_rows: int) -> None:
        """Make room for further rows."""
        self._totals = {kind: np.concatenate([a, np.zeros((n_rows, a.shape[1]))]) for kind, a in self._totals.items()}
        self._counts = {kind: np.concatenate([a, np.zeros((n_rows, a.shape[1]), np.int64)]) for kind, a in self._counts.items()}

    def forget(self, n_rows: int) -> None:
        """Drop the first rows."""
        self._totals = {kind: array[n_rows:] for kind, array in self._totals.items()}
        self._counts = {kind: array[n_rows:] for kind, array in self._counts.items()}

    def mean(self, kind: str, rows: slice) -> Floats:
        """Return the mean of what was said; NaN for a value that no window spoke about."""
        with np.errstate(invalid="ignore"):  # 0 / 0
            mean: Floats = self._totals[kind][rows] / self._counts[_count_of(kind)][rows]
        return mean

    def add(
        self, start: int, measured: Float32s, expected: Float32s, known: Bools | None, *, step: int = 1, first: int = 0
    ) -> None:
        """Add what windows say that begin `step` rows after one another, the first of them at row `start`.

        Args:
            start: a row.
            measured: `(n_windows, window_size, n_features)`.
            expected: of the same shape.
            known: of the same shape: which values are compared. None is all.
            step: 1, or the stride where no window that ends at a row is listened to.
            first: rows from `start` to the first window that speaks about all of its rows.
        """
        if self._ends:
            self._add_ending(start, measured, expected, known)
        some = slice(first // step, None, self._stride // step)
        if self._covers and len(measured[some]):
            self._add_covering(start + first, measured[some], expected[some], None if known is None else known[some])

    def add_late(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> None:
        """Add what one window, of arrays as for `add`, says about its rows from the second on."""
        arrays: list[Any] = [*self._totals.values(), *self._counts.values()]
        before = [array[start].copy() for array in arrays]
        self._add_covering(start, measured, expected, known)
        for array, row in zip(arrays, before, strict=True):
            array[start] = row

    def _add_ending(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> None:
        """Add what windows that begin at consecutive rows say about the last row of each."""
        n, size = measured.shape[:2]
        ends, half = slice(start + size - 1, start + size - 1 + n), size // 2
        last = _deviation(measured, expected, known, (slice(None), -1))
        said = {"ending": last, "trailing_point": last * last}
        if "trailing_weight" in self._totals:
            said["trailing_weight"] = _weights(known, half, size)[:, 0] * (1 if known is None else known[:, -1])
        if "trailing" in self._totals:
            later = slice(None), slice(half, None)
            sums = self._added(measured[later], expected[later], None if known is None else known[later])
            said["trailing"] = _mean(sums, known, half, size)
        for kind, values in said.items():
            if kind in self._totals:
                self._totals[kind][ends] += values
        for kind, at in {"ending": size - 1, "trailing": half}.items():
            if kind in self._counts:
                self._counts[kind][ends] += 1 if known is None else known[:, at:].any(axis=1)

    def _add_covering(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> None:
        """Add what windows that begin a stride after one another say about all of their rows."""
        n, size = measured.shape[:2]
        self._count(start, n, known)
        whole = self._added(measured, expected, known, start)
        if "window_mean" in self._totals:
            self._spread(self._totals["window_mean"], start, _mean(whole, known, 0, size))

    def _added(self, measured: Float32s, expected: Float32s, known: Bools | None, start: int | None = None) -> Floats:
        """Return the sums of the errors of windows; if the first begins at `start`, add what they say row by row."""
        way = self._by_timestep if 2 * len(measured) >= measured.shape[1] else self._by_window
        return way(measured, expected, known, start)

    def _by_timestep(self, measured: Float32s, expected: Float32s, known: Bools | None, start: int | None) -> Floats:
        """Do so a few timesteps of all windows at a time."""
        n, size, n_features = measured.shape
        whole, stride = np.zeros((n, n_features)), self._stride
        weights = self._weights_of(known, size)
        at_a_time = max(_VALUES_AT_A_TIME // (n * n_features), stride if stride * n * n_features <= _VALUES_IN_CACHE else 1)
        for stop in range(size, 0, -at_a_time):
            low = max(stop - at_a_time, 0)
            at = slice(None), slice(low, stop)
            deviations = _deviation(measured, expected, known, at)
            errors = deviations * deviations
            said = {} if start is None else self._of_values(deviations, errors, None if known is None else known[at], weights)
            for upper in range(stop, low, -stride) if said else ():
                steps = slice(max(upper - stride, low) - low, upper - low)
                for kind, values in said.items():
                    first = int(start or 0) + low + steps.start
                    rows = rows_of(self._totals[kind], first, n, stride, steps.stop - steps.start)
                    rows += values[:, steps]
            for place in range(stop - low - 1, -1, -1):
                whole += errors[:, place]
        return whole

    def _by_window(self, measured: Float32s, expected: Float32s, known: Bools | None, start: int | None) -> Floats:
        """Do the same, to the last bit, window by window."""
        n, size, n_features = measured.shape
        whole = np.zeros((n, n_features))
        weights = self._weights_of(known, size)
        for window in range(n):
            deviations = _deviation(measured, expected, known, window)
            errors = deviations * deviations
            if start is not None:
                at = start + window * self._stride
                of_window = None if weights is None else weights[window if known is not None else 0]
                said = self._of_values(deviations, errors, None if known is None else known[window], of_window)
                for kind, values in said.items():
                    self._totals[kind][at : at + size] += values
            whole[window] = np.cumsum(errors[::-1], axis=0)[-1]
        return whole

    def _weights_of(self, known: Bools | None, size: int) -> Floats | None:
        """Return what a value weighs in the mean error of each window, if that is asked for."""
        return _weights(known, 0, size) if self._totals.keys() & {"weight", "pull"} else None

    def _of_values(self, deviations: Floats, errors: Floats, known: Bools | None, weights: Floats | None) -> dict[str, Floats]:
        """Return by kind what windows say about single values, all of the shape of `deviations`; weights are those of windows."""
        said = {"covering": deviations, "point_mean": errors}
        if weights is not None:
            said["pull"] = deviations * weights
            said["weight"] = np.broadcast_to(weights, deviations.shape) if known is None else weights * known
        return {kind: values for kind, values in said.items() if kind in self._totals}

    def _spread(self, array: Any, start: int, said: Any) -> None:
        """Add what each window says alike about all of its rows, `(n_windows, n_features)`."""
        n, size, stride = len(said), self._window_size, self._stride
        if 2 * n < size:
            for window in range(n):
                first = start + window * stride
                array[first : first + size] += said[window]
            return
        for upper in range(size, 0, -stride):
            lower = max(upper - stride, 0)
            rows = rows_of(array, start + lower, n, stride, upper - lower)
            rows += said[:, None]

    def _count(self, start: int, n: int, known: Bools | None) -> None:
        """Count the windows that speak about each value that they cover."""
        size, stride = self._window_size, self._stride
        covered = covering(n, size, stride)[:, None]
        for kind, count in self._counts.items():
            if kind in _ENDING:
                continue
            if known is None:
                count[start : start + len(covered)] += covered
            elif kind == "window_mean":
                self._spread(count, start, known.any(axis=1))
            else:
                for window in range(n):
                    first = start + window * stride
                    count[first : first + size] += known[window]


def rows_of(array: Any, first: int, n_windows: int, stride: int, n_rows: int) -> Any:
    """Return a view of some rows of each of some windows, `(n_windows, n_rows, n_features)`.

    Args:
        array: `(n, n_features)`, to be changed through the view.
        first: the first of the rows of the first window.
        n_windows: at least 1.
        stride: rows between one window and the next.
        n_rows: at most the stride: so no row is in the view twice.
    """
    rows = array[first : first + (n_windows - 1) * stride + n_rows]
    if n_rows == stride:
        return rows.reshape(n_windows, n_rows, -1)
    if n_rows == 1:
        return rows[::stride, None]
    return sliding_window_view(rows, n_rows, axis=0, writeable=True)[::stride].swapaxes(1, 2)


def covering(n: int, size: int, stride: int) -> Ints:
    """Return how many of `n` windows cover each row from the first one's first to the last one's last."""
    rise = np.zeros((n - 1) * stride + size + 1, np.int64)
    rise[: n * stride : stride] = 1
    rise[size::stride][:n] -= 1
    return np.cumsum(rise)[:-1]


def _count_of(kind: str) -> str:
    """Return under which name it is counted how many windows spoke: about a row's own value as many as have a deviation of it."""
    kind = _OF_AVERAGES.get(kind, kind)
    return kind if kind in _AVERAGED else HEARD.get(kind, kind)


def _deviation(measured: Float32s, expected: Float32s, known: Bools | None, at: Any) -> Floats:
    """Return measured less expected at a place, 0 where it is not known."""
    values: Floats = np.subtract(measured[at], expected[at], dtype=np.float64)
    if known is not None:
        values[~known[at]] = 0
    return values


def _weights(known: Bools | None, first: int, size: int) -> Floats:
    """Return what a value weighs in the mean error of a window from a timestep on, `(n_windows or 1, 1, n_features or 1)`."""
    if known is None:
        return np.full((1, 1, 1), 1 / (size - first))
    weights: Floats = 1 / np.maximum(known[:, first:].sum(axis=1, keepdims=True), 1)
    return weights


def _mean(sums: Floats, known: Bools | None, first: int, size: int) -> Floats:
    """Divide the sums of windows, from one of their timesteps on, by the number of values that are known; 0 where none is."""
    if known is None:
        return sums / (size - first)
    count = known[:, first:].sum(axis=1)
    mean: Floats = np.divide(sums, count, out=np.zeros(sums.shape), where=count > 0)
    return mean
