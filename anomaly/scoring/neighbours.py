"""How far each window is from the nearest one of training: what a window looks like, told without a network.

A window of one feature is read as the means of its rows in about 32 steps, less its own mean. Two forms are compared:

    shape    windows of a period, divided by sqrt(variance + 0.1^2), so that only the form counts
    course   windows of two periods, as they are, in training sigmas

and the distance of a window is the mean squared difference from the nearest of some hundred windows of the training rows,
in each form and for each feature apart (Yeh et al. (2016), "Matrix profile I", call the first a discord's; here the neighbours
are sought among training rows only). A row is told the mean distance of the windows that cover it, or that of the window
that ends at it.

Values are rounded to 1/512 sigma, so that every sum is exact in float64, whatever the order in which a processor adds: the
same rows have the same distances to the last bit, in whatever pieces they come.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.network.inference import n_threads
from anomaly.scoring import overlaps
from anomaly.scoring.incomplete_windows import added, known_course, less_mean, nearest_where_known, step_means
from anomaly.scoring.window_sums import covering, rows_of
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.missing import fill_missing
from anomaly.windowing.nearest import Points

FORMS = ("shape", "course")
# The windows that a row listens to.
HEARD = ("covering", "ending")
SHORTEST, LONGEST, NO_PERIOD = 32, 128, 64
_STEPS = 32
_STRIDES = 16
FLOOR = 0.1
GRID = 512
# A training value counts at most so many sigmas: then squares stay exact.
LARGEST_VALUE = 64.0
# Numbers of the reference windows of all features together, at most: 4 MiB.
_MOST_VALUES, _FEWEST = 1 << 20, 16
# Windows whose numbers stay in the cache of a core, one feature after the other; two threads share a block of them.
_WINDOWS_AT_A_TIME = 128
# Of fewer features, a block takes no longer than it takes to share it.
_FEATURES_TO_SHARE = 4
# Steps of windows less their mean, and which are known; None is all.
_Course = tuple[Floats, Bools | None]


@dataclass(frozen=True, eq=False)
class References:
    """Windows of the training rows, to be compared in one form.

    Attributes:
        form: a name of `FORMS`.
        window_size: rows in a window.
        windows: `(n_windows, n_steps, n_features)` float32, each less its own mean, multiples of 1/512 within +-64.
    """

    form: str
    window_size: int
    windows: Float32s

    @classmethod
    def of(cls, form: str, scaled: Float32s, starts: Ints, window_size: int, most: int) -> tuple["References", Ints]:
        """Take windows from all over the training rows.

        Args:
            form: a name of `FORMS`.
            scaled: `(n_timesteps, n_features)`; NaN = missing.
            starts: first rows of windows that may be taken, ascending.
            window_size: rows in a window.
            most: so many at most; fewer of many features, so that all together fit into 4 MiB.

        Returns:
            The references, and which of `starts` were taken.
        """
        n = min(len(starts), most, most_windows(window_size, scaled.shape[1]))
        taken = starts[np.linspace(0, len(starts) - 1, n).astype(np.int64)]
        windows = fill_missing(np.stack([scaled[start : start + window_size] for start in taken]))
        course = np.clip(course_of(windows)[0], -LARGEST_VALUE, LARGEST_VALUE)
        return cls(form, window_size, np.ascontiguousarray(_rounded(course).swapaxes(0, 1), np.float32)), taken

    @cached_property
    def _grid(self) -> Floats:
        """The windows in their form on the grid, `(n_features, n_windows, n_steps)`."""
        course = self.windows.swapaxes(0, 1).astype(np.float64)
        return np.ascontiguousarray((_rounded(_in_form(course, self.form)) * GRID).transpose(2, 1, 0))

    @cached_property
    def _points(self) -> Points:
        return Points(self._grid)

    def without(self, gone: Bools) -> "References":
        """Return these without some windows, `(n_windows,)`."""
        return replace(self, windows=np.ascontiguousarray(self.windows[~gone])) if gone.any() else self

    def distances_from(self, others: "References", near: Bools) -> Floats:
        """Return how far each window is from the nearest of some others, `(n_windows, n_features)`; infinite where there is none.

        Args:
            others: in the same form, of as many steps; these ones themselves if they are compared with each other.
            near: `(n_windows, n_others)`: which are too near in time to be compared, each to itself among them.
        """
        _, squares = others._points.nearest(self._grid, near)
        return np.asarray(squares.T / (self._grid.shape[2] * GRID**2))

    def distances(self, windows: Float32s, near: Bools | None = None) -> Floats:
        """Return the distances of windows from their nearest references, `(n_windows, n_features)`.

        Args:
            windows: `(n_windows, window_size, n_features)`, scaled; NaN = missing.
            near: `(n_windows, n_references)`: which references are too near in time to be compared; None is none.
        """
        return self.nearest(windows, near)[1]

    def nearest(self, windows: Float32s, near: Bools | None = None) -> tuple[Ints, Floats]:
        """Return which reference is the nearest, `(n_windows, n_features)`, and how far it is; see `distances`."""
        return self._nearest(len(windows), lambda some: _course_of(windows[some]), near)

    def distances_at(self, rows: Float32s, starts: Ints, near: Bools | None = None) -> Floats:
        """Return the same as `distances` of the windows that begin at some rows, whose steps are read once for all of them.

        Args:
            rows: `(n_rows, n_features)`, scaled; NaN = missing.
            starts: rows at which windows begin.
            near: as for `distances`.
        """
        length, n_steps = _rows_a_step(self.window_size), steps_of(self.window_size)
        means, known = step_means(sliding_window_view(rows, length, axis=0).transpose(2, 0, 1))
        steps = (self.window_size - length * n_steps + length * np.arange(n_steps))[:, None]

        def course_at(some: slice) -> tuple[Floats, Bools | None]:
            return less_mean(means[steps + starts[some]], None if known is None else known[steps + starts[some]])

        return self._nearest(len(starts), course_at, near)[1]

    def _nearest(self, n: int, course_at: Callable[[slice], _Course], near: Bools | None) -> tuple[Ints, Floats]:
        """Compare `n` windows, a few at a time, whose numbers stay in the cache of one core."""
        n_features = self.windows.shape[2]
        places, found = np.empty((n, n_features), np.int64), np.empty((n, n_features))
        at_a_time = _WINDOWS_AT_A_TIME * (1 if n_features >= _FEATURES_TO_SHARE else 2)

        def compare(first: int) -> None:
            some = slice(first, first + at_a_time)
            course, known = course_at(some)
            close = None if near is None else near[some]
            own = np.rint(_in_form(course, self.form) * GRID).transpose(2, 1, 0)
            at, squares = self._points.nearest(np.ascontiguousarray(own), close)
            places[some], found[some] = at.T, squares.T / (len(course) * GRID**2)
            if known is not None:
                for partly in np.flatnonzero(~known.all(axis=(0, 1))).tolist():
                    self._compare_known(partly, course, known, close, places[some], found[some])

        firsts = range(0, n, at_a_time)
        alone = len(firsts) == 1 or n_threads() == 1
        for _ in map(compare, firsts) if alone else _pool(os.getpid()).map(compare, firsts):
            pass
        return places, found

    def _compare_known(self, feature: int, course: Floats, known: Bools, near: Bools | None, places: Ints, found: Floats) -> None:
        """Put in the place of what was found for the windows of which steps are unknown what those that are known say."""
        told = known[:, :, feature].T
        some = np.flatnonzero(told.any(axis=1) & ~told.all(axis=1))
        own = _rounded(course[:, some, feature].T) * GRID
        grid = np.rint(self.windows[:, :, feature].T.astype(np.float64) * GRID)
        close = None if near is None else near[some]
        at, far = nearest_where_known(own, told[some], grid, FLOOR, GRID, close)
        found[some, feature] = far[FORMS.index(self.form)]
        places[some, feature] = at[FORMS.index(self.form)]


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a copy of a detector must not hold any."""
    return ThreadPoolExecutor(n_threads())


def stride_of(window_size: int) -> int:
    """Return how many rows lie between the windows whose distances their rows share: a sixteenth of a window, and odd.

    It has no common factor with the rows of a step, of which there are 1 to 4: else their means would always be of the same phase.
    The rule of the network's windows (`anomaly.windowing.windows.stride_within`) is for longer ones: short windows of a period that
    lie two or three rows apart lost more than that, .05 of VUS-PR on one series.
    """
    return max(1, window_size // _STRIDES // 2 * 2 - 1)


def most_windows(window_size: int, n_features: int) -> int:
    """Return how many windows there may be of some features."""
    return max(_MOST_VALUES // (steps_of(window_size) * n_features), _FEWEST)


def steps_of(window_size: int) -> int:
    """Return in how many steps a window is read."""
    return window_size // _rows_a_step(window_size)


def _rows_a_step(window_size: int) -> int:
    return max(1, window_size // _STEPS)


def course_of(windows: Float32s) -> tuple[Floats, Bools]:
    """Return the means of the rows of each step less those of the window, and which steps are known; see `known_course`."""
    course, known = _course_of(windows)
    return course, np.ones(course.shape, np.bool_) if known is None else known


def _course_of(windows: Float32s) -> _Course:
    return known_course(windows, _rows_a_step(windows.shape[1]), steps_of(windows.shape[1]))


def _in_form(course: Floats, form: str) -> Floats:
    return course if form == "course" else course / spread_of(course)


def spread_of(course: Floats) -> Floats:
    """Return what `shape` divides by, `(n_windows, n_features)`."""
    return np.asarray(np.sqrt(added(np.square(course)) / len(course) + FLOOR**2))


def _rounded(values: Floats) -> Floats:
    rounded: Floats = np.rint(values * GRID) / GRID
    return rounded


class Neighbours:
    """Take the rows of one segment in any pieces, hand out the distances about each, in order.

    Args:
        references: windows of training.
        max_missing: most of a feature's values in a window that may be missing, a share.
        n_features: of the rows.
        ahead: whether rows wait for all windows that cover them; else they are handed out with the window that ends at them.
        ending: whether what the window that ends at a row says is wanted; then every window is run. What those that cover it say
            comes from every k-th window alone, `stride_of`, and from the last one of the segment.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
        own: times at which the references begin, and how long a window takes, if the rows are those that they come from; a window
            is then not compared with those that share rows with it.
        phase: rows of the segment before the first one that is taken, which is its first unless a part of it is looked at.
    """

    def __init__(
        self,
        references: References,
        max_missing: float,
        n_features: int,
        *,
        ahead: bool,
        ending: bool,
        eager: bool,
        own: tuple[Ints, int] | None = None,
        phase: int = 0,
    ) -> None:
        self._phase = phase
        self._references, self._max_missing, self._ahead, self._eager = references, max_missing, ahead, eager
        self._own = own
        self._size, self._ending = references.window_size, ending
        self._stride = stride_of(references.window_size)
        self._block = overlaps.BLOCK_WINDOWS * (1 if ending else self._stride)
        self._base = self._next_start = self._n_out = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._times = np.empty(0, np.int64)
        # By what is heard: sums, and how many windows spoke.
        self._totals = np.zeros((len(HEARD), 0, n_features))
        self._counts = np.zeros((len(HEARD), 0, n_features), np.int64)

    def push(self, rows: Float32s, times: Ints) -> Floats:
        """Take further rows, scaled; return of those that are final `(2, n, n_features)`, by what is heard.

        NaN where no window speaks about a feature.
        """
        n = len(rows)
        self._rows, self._times = np.concatenate([self._rows, rows]), np.concatenate([self._times, times])
        more = np.zeros((len(HEARD), n, rows.shape[1]))
        self._totals = np.concatenate([self._totals, more], axis=1)
        self._counts = np.concatenate([self._counts, more.astype(np.int64)], axis=1)
        block = self._block
        while (waiting := self._n_waiting()) >= (1 if self._eager else block):
            self._run(min(waiting, block))
        return self._emit(self._next_start if self._ahead else self._next_start + self._size - 1)

    def finish(self) -> Floats:
        """Return the rows that are still held, as `push`; no row comes after."""
        while waiting := self._n_waiting():
            self._run(min(waiting, self._block))
        last = self._next_start - 1
        if self._ahead and last >= 0 and (last + self._phase) % self._stride:
            # Its first row may be gone: without this window it was final.
            found, known = self._said(np.array([last]))
            rows = slice(last + 1 - self._base, last + self._size - self._base)
            self._totals[0][rows] += found
            self._counts[0][rows] += known
        return self._emit(self._base + len(self._rows))

    def _n_waiting(self) -> int:
        return max(self._base + len(self._rows) - self._size + 1 - self._next_start, 0)

    def _run(self, n: int) -> None:
        """Add the distances of the next windows onto their rows."""
        starts = np.arange(self._next_start, self._next_start + n)
        self._next_start += n
        if self._ending:
            found, known = self._said(starts)
            ends = slice(starts[0] - self._base + self._size - 1, starts[-1] - self._base + self._size)
            self._totals[1][ends], self._counts[1][ends] = found, known
            chosen = np.flatnonzero((starts + self._phase) % self._stride == 0)
            starts, found, known = starts[chosen], found[chosen], known[chosen]
        else:
            starts = starts[(starts + self._phase) % self._stride == 0]
            if not len(starts):
                return
            found, known = self._said(starts)
        if self._ahead and len(starts):
            self._count(int(starts[0]) - self._base, known)
            # From the last rows down, a row adds its windows up in the order of their starts.
            for stop in range(self._size, 0, -self._stride):
                first, n_rows = int(starts[0]) - self._base + max(stop - self._stride, 0), min(stop, self._stride)
                rows_of(self._totals[0], first, len(starts), self._stride, n_rows)[...] += found[:, None]

    def _count(self, start: int, known: Bools) -> None:
        """Count the windows that say something about the rows that they cover; the first of them begins at `start`."""
        n, size, stride = len(known), self._size, self._stride
        if known.all():
            covered = covering(n, size, stride)[:, None]
            self._counts[0][start : start + len(covered)] += covered
            return
        for lower in range(0, size, stride):
            rows_of(self._counts[0], start + lower, n, stride, min(stride, size - lower))[...] += known[:, None]

    def _said(self, starts: Ints) -> tuple[Floats, Bools]:
        """Return what windows say, `(n, n_features)`, 0 where that is nothing; and whether they say something."""
        first = int(starts[0])
        rows = self._rows[first - self._base : int(starts[-1]) - self._base + self._size]
        near = None
        if self._own is not None:
            times, span = self._own
            near = np.abs(self._times[starts - self._base, None] - times) < span
        found = self._references.distances_at(rows, starts - first, near)
        known = np.isfinite(found)
        if (missing := np.isnan(rows)).any():
            before = np.concatenate([np.zeros((1, rows.shape[1]), np.int64), np.cumsum(missing, axis=0)])
            n_missing = before[starts - first + self._size] - before[starts - first]
            known &= n_missing <= self._max_missing * self._size
        return np.where(known, found, 0), known

    def _emit(self, stop: int) -> Floats:
        stop = max(min(stop, self._base + len(self._rows)), self._n_out)
        out = slice(self._n_out - self._base, stop - self._base)
        with np.errstate(invalid="ignore"):  # 0 / 0
            found: Floats = self._totals[:, out] / self._counts[:, out]
        found[:, np.isnan(self._rows[out]).all(axis=1)] = np.nan
        self._n_out = stop
        n = max(min(stop, self._next_start - 1) - self._base, 0)
        self._base += n
        self._rows, self._times = self._rows[n:], self._times[n:]
        self._totals, self._counts = self._totals[:, n:], self._counts[:, n:]
        return found


class NeighboursByForm:
    """The same in each form, whose windows are of other lengths: a row is handed out when all are done with it.

    Args:
        references: windows of training, by form.
        max_missing: as for `Neighbours`.
        n_features: of the rows.
        own: as for `Neighbours`, by form.
        how: what else `Neighbours` takes, the same for all.
    """

    def __init__(
        self,
        references: tuple[References, ...],
        max_missing: float,
        n_features: int,
        own: tuple[tuple[Ints, int], ...] | None,
        **how: Any,
    ) -> None:
        given = zip(references, own or [None] * len(references), strict=True)
        self._forms = [Neighbours(of_form, max_missing, n_features, own=times, **how) for of_form, times in given]
        self._held: list[Floats] = []

    def push(self, rows: Float32s, times: Ints) -> Floats:
        """Take further rows, scaled; return of those that are final `(2, 2, n, n_features)`: by what is heard, and form."""
        return self._both([form.push(rows, times) for form in self._forms])

    def finish(self) -> Floats:
        """Return the rows that are still held, as `push`; no row comes after."""
        return self._both([form.finish() for form in self._forms])

    def _both(self, said: list[Floats]) -> Floats:
        if self._held:
            said = [np.concatenate(parts, axis=1) for parts in zip(self._held, said, strict=True)]
        n = min(part.shape[1] for part in said)
        self._held = [part[:, n:] for part in said]
        return np.stack([part[:, :n] for part in said], axis=1)
