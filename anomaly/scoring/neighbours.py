"""How far each window is from the nearest one of training: what a window looks like, told without a network.

A window of one feature is read as the means of its rows in about 32 steps, less its own mean. Two forms are compared:

    shape    divided by sqrt(variance + 0.1^2), so that only the form counts
    course   as it is, in training sigmas

and the distance of a window is the mean squared difference from the nearest of some hundred windows of the training rows,
in each form and for each feature apart (Yeh et al. (2016), "Matrix profile I", call the first a discord's; here the neighbours
are sought among training rows only). A row is told the mean distance of the windows that cover it, or that of the window
that ends at it.

Values are rounded to 1/512 sigma, so that every sum is exact in float64, whatever the order in which a processor adds: the
same rows have the same distances to the last bit, in whatever pieces they come.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.scoring import overlaps
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.missing import fill_missing

FORMS = ("shape", "course")
# The windows that a row listens to.
HEARD = ("covering", "ending")
SHORTEST, LONGEST, NO_PERIOD = 32, 128, 64
_STEPS = 32
# So many windows that cover rows begin within the length of one.
_WINDOWS_A_SIZE = 16
_FLOOR = 0.1
GRID = 512
# A training value counts at most so many sigmas: then squares stay exact.
LARGEST_VALUE = 64.0
# Numbers of the reference windows of all features together, at most: 4 MiB.
_MOST_VALUES, _FEWEST = 1 << 20, 16


@dataclass(frozen=True, eq=False)
class References:
    """Windows of the training rows.

    Attributes:
        window_size: rows in a window.
        windows: `(n_windows, n_steps, n_features)` float32, each less its own mean, multiples of 1/512 within +-64.
    """

    window_size: int
    windows: Float32s

    @classmethod
    def of(cls, scaled: Float32s, starts: Ints, window_size: int, most: int) -> tuple["References", Ints]:
        """Take windows from all over the training rows.

        Args:
            scaled: `(n_timesteps, n_features)`; NaN = missing.
            starts: first rows of windows that may be taken, ascending.
            window_size: rows in a window.
            most: so many at most; fewer of many features, so that all together fit into 4 MiB.

        Returns:
            The references, and which of `starts` were taken.
        """
        room = _MOST_VALUES // (steps_of(window_size) * scaled.shape[1])
        n = min(len(starts), max(min(most, room), _FEWEST))
        taken = starts[np.linspace(0, len(starts) - 1, n).astype(np.int64)]
        windows = fill_missing(np.stack([scaled[start : start + window_size] for start in taken]))
        course = np.clip(_course(windows), -LARGEST_VALUE, LARGEST_VALUE)
        return cls(window_size, np.ascontiguousarray(_rounded(course).swapaxes(0, 1), np.float32)), taken

    @cached_property
    def forms(self) -> tuple[tuple[Floats, Floats], ...]:
        """For each form the windows on the grid, `(n_features, n_steps, n_windows)`, and their squares `(n_features, n_windows)`."""
        course = self.windows.swapaxes(0, 1).astype(np.float64)
        found = []
        for form in FORMS:
            grid = np.ascontiguousarray((_rounded(_in_form(course, form)) * GRID).transpose(2, 0, 1))
            found.append((grid, np.square(grid).sum(axis=1)))
        return tuple(found)

    def distances(self, windows: Float32s, near: Bools | None = None) -> Floats:
        """Return the distances of windows from their nearest references, `(2, n_windows, n_features)`, by form.

        Args:
            windows: `(n_windows, window_size, n_features)`, scaled, without NaN.
            near: `(n_windows, n_references)`: which references are too near in time to be compared; None is none.
        """
        return self.nearest(windows, near)[1]

    def nearest(self, windows: Float32s, near: Bools | None = None) -> tuple[Ints, Floats]:
        """Return which reference is the nearest, `(2, n_windows, n_features)`, and how far it is; see `distances`."""
        course = _course(windows)
        n_steps, n, n_features = course.shape
        places, found = np.zeros((2, n, n_features), np.int64), np.empty((2, n, n_features))
        for k, (form, (grid, squares)) in enumerate(zip(FORMS, self.forms, strict=True)):
            values = (_rounded(_in_form(course, form)) * GRID).transpose(2, 1, 0)
            for feature in range(n_features):
                own = np.ascontiguousarray(values[feature])
                between = squares[feature] - 2 * (own @ grid[feature])
                if near is not None:
                    between[near] = np.inf
                places[k, :, feature] = between.argmin(axis=1)
                found[k, :, feature] = between.min(axis=1) + np.square(own).sum(axis=1)
        found /= n_steps * GRID**2
        return places, found


def steps_of(window_size: int) -> int:
    """Return in how many steps a window is read."""
    return window_size // _rows_a_step(window_size)


def _rows_a_step(window_size: int) -> int:
    return max(1, window_size // _STEPS)


def _course(windows: Float32s) -> Floats:
    """Return the means of the rows of each step less those of the window, `(n_steps, n_windows, n_features)`.

    Rows are added one by one: numpy's sums depend on the shape of what is summed.
    """
    rows, n_steps = _rows_a_step(windows.shape[1]), steps_of(windows.shape[1])
    kept = windows.swapaxes(0, 1)[-rows * n_steps :].astype(np.float64)
    by_step = kept.reshape(n_steps, rows, *kept.shape[1:])
    means = _added(by_step.swapaxes(0, 1)) / rows
    return means - _added(means) / n_steps


def _in_form(course: Floats, form: str) -> Floats:
    if form == "course":
        return course
    variance = _added(np.square(course)) / len(course)
    return course / np.sqrt(variance + _FLOOR**2)


def _added(values: Floats) -> Floats:
    """Return the sum over the first axis, added up in order."""
    total: Floats = values[0].copy()
    for other in values[1:]:
        total += other
    return total


def _rounded(values: Floats) -> Floats:
    rounded: Floats = np.rint(values * GRID) / GRID
    return rounded


def stride_of(window_size: int) -> int:
    """Return how many rows lie between the windows whose distances rows hear that they cover."""
    return max(1, window_size // _WINDOWS_A_SIZE)


class Neighbours:
    """Take the rows of one segment in any pieces, hand out the distances about each, in order.

    The windows that cover a row begin every few rows, counted from the first of the segment, and one ends with the segment;
    those that end at a row begin at every row.

    Args:
        references: windows of training.
        max_missing: most of a feature's values in a window that may be missing, a share.
        n_features: of the rows.
        heard: what is asked for, of `HEARD`; the other is NaN.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
        own: times at which the references begin, if the rows are those that they come from; a window is then not compared
            with those that share rows with it.
        span: time that a window takes.
    """

    def __init__(
        self,
        references: References,
        max_missing: float,
        n_features: int,
        *,
        heard: frozenset[str],
        eager: bool,
        own: Ints | None = None,
        span: int = 0,
    ) -> None:
        self._references, self._max_missing, self._heard, self._eager = references, max_missing, heard, eager
        self._own, self._span = own, span
        self._size, self._stride = references.window_size, stride_of(references.window_size)
        # All count rows of the segment: the first that is held, the first that was not handed out, the windows to come.
        self._base = self._n_out = self._next_covering = self._next_ending = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._times = np.empty(0, np.int64)
        # By what is heard and form: sums, and how many windows spoke.
        self._totals = np.zeros((len(HEARD), len(FORMS), 0, n_features))
        self._counts = np.zeros((len(HEARD), 0, n_features), np.int64)

    def push(self, rows: Float32s, times: Ints) -> Floats:
        """Take further rows, scaled; return of those that are final `(2, 2, n, n_features)`: by what is heard, and form.

        NaN where no window speaks about a feature.
        """
        n = len(rows)
        self._rows, self._times = np.concatenate([self._rows, rows]), np.concatenate([self._times, times])
        self._totals = np.concatenate([self._totals, np.zeros((*self._totals.shape[:2], n, self._totals.shape[3]))], axis=2)
        self._counts = np.concatenate([self._counts, np.zeros((len(HEARD), n, self._counts.shape[2]), np.int64)], axis=1)
        least = 1 if self._eager else overlaps.BLOCK_WINDOWS
        self._run(least)
        return self._emit(self._final())

    def finish(self) -> Floats:
        """Return the rows that are still held, as `push`; no row comes after."""
        self._run(1)
        last = self._end() - self._size
        if "covering" in self._heard and last >= 0 and last % self._stride:
            self._add_covering(np.array([last]))
        return self._emit(self._end())

    def _end(self) -> int:
        return self._base + len(self._rows)

    def _run(self, least: int) -> None:
        """Add what the windows say whose rows are there, if there are enough of them."""
        block, room = overlaps.BLOCK_WINDOWS, self._end() - self._size + 1
        if "covering" in self._heard:
            starts = np.arange(self._next_covering, room, self._stride)
            if len(starts) >= least:
                for at in range(0, len(starts), block):
                    self._add_covering(starts[at : at + block])
                self._next_covering = int(starts[-1]) + self._stride
        if "ending" in self._heard and room - self._next_ending >= least:
            for start in range(self._next_ending, room, block):
                self._add_ending(np.arange(start, min(start + block, room)))
            self._next_ending = room

    def _final(self) -> int:
        """Return the row before which no window to come speaks; the last of the segment may begin anywhere."""
        finals = [self._end()]
        if "covering" in self._heard:
            next_start = self._next_covering
            finals.append(min(next_start, max(next_start - self._stride + 1, self._end() - self._size)))
        if "ending" in self._heard:
            finals.append(self._next_ending + self._size - 1)
        return min(finals)

    def _add_covering(self, starts: Ints) -> None:
        found, known = self._said(starts)
        for place, start in enumerate((starts - self._base).tolist()):
            rows = slice(start, start + self._size)
            self._totals[0][:, rows] += found[:, place, None]
            self._counts[0][rows] += known[place]

    def _add_ending(self, starts: Ints) -> None:
        found, known = self._said(starts)
        ends = starts - self._base + self._size - 1
        self._totals[1][:, ends], self._counts[1][ends] = found, known

    def _said(self, starts: Ints) -> tuple[Floats, Bools]:
        """Return the distances of windows, `(2, n, n_features)`, 0 where they do not speak, and where they do."""
        at, size = starts - self._base, self._size
        windows = sliding_window_view(self._rows, size, axis=0)[at].swapaxes(1, 2)
        near = None if self._own is None else np.abs(self._times[at, None] - self._own) < self._span
        found = self._references.distances(fill_missing(windows), near)
        known = (np.isnan(windows).sum(axis=1) <= self._max_missing * size) & np.isfinite(found).all(axis=0)
        return np.where(known, found, 0), known

    def _emit(self, stop: int) -> Floats:
        stop = max(stop, self._n_out)
        out = slice(self._n_out - self._base, stop - self._base)
        with np.errstate(invalid="ignore"):  # 0 / 0
            found: Floats = self._totals[:, :, out] / self._counts[:, None, out]
        found[:, :, np.isnan(self._rows[out]).all(axis=1)] = np.nan
        self._n_out = stop
        needed = [stop]
        # The last window of the segment may begin as early as this.
        needed += [max(min(self._next_covering, self._end() - self._size + 1), 0)] if "covering" in self._heard else []
        needed += [self._next_ending] if "ending" in self._heard else []
        n = max(min(needed) - self._base, 0)
        self._base += n
        self._rows, self._times = self._rows[n:], self._times[n:]
        self._totals, self._counts = self._totals[:, :, n:], self._counts[:, n:]
        return found
