"""How far each window is from the nearest one of the history: what a window looks like, told without a network.

A window of one feature is read as the means of its rows in about 32 steps, less its own mean. Three forms are compared:

    shape    windows of a period, divided by sqrt(variance + 0.1^2), so that only the form counts
    course   windows of two periods, as they are, in training sigmas
    change   the changes from each step to the next in windows of three periods, divided by sqrt(their mean square + 0.03^2)

and the distance of a window is the mean squared difference from the nearest of some hundred windows of the history,
in each form and for each feature apart (Yeh et al. (2016), "Matrix profile I", call the first a discord's; here the neighbours
are sought in the history only).

Values are rounded to 1/512 sigma, so that every sum is exact in float64, whatever the order in which a processor adds: the
same rows have the same distances to the last bit, in whatever pieces they come.
"""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.network.inference import n_threads, threads_of
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.farthest import farthest_points
from anomaly.windowing.incomplete_windows import added, distances_where_known, known_course, less_mean, step_means
from anomaly.windowing.missing import fill_missing
from anomaly.windowing.nearest import Points


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to compare windows, and with it a term of the score.

    Attributes:
        name: of the term; files know it by this name.
        periods: how many dominant periods of the series a window takes.
        floor: training sigmas; what is compared is divided by sqrt(mean square + floor^2). None divides by nothing.
        of_changes: whether the changes from each step to the next are compared, not the steps less their mean.
        aside: how windows that are unlike all the rest of a history are set aside: `windows` those that are unlike by this form,
            `rows` those too, and the rows in them, `by_rows` those that lie in rows that a form before has set aside.
    """

    name: str
    periods: int
    floor: float | None
    of_changes: bool = False
    aside: Literal["windows", "rows", "by_rows"] = "windows"


# All that a form is stands here. A new one goes to the end: `odd_shape` reads the first, and files lay scales out in this order.
FORM_BY_NAME = {
    form.name: form
    for form in (
        Form(name="shape", periods=1, floor=0.1),
        Form(name="course", periods=2, floor=None, aside="rows"),
        # Of windows that long little is unlike all others.
        Form(name="change", periods=3, floor=0.03, of_changes=True, aside="by_rows"),
    )
}
FORMS = tuple(FORM_BY_NAME)
# Those that every file with nearest windows has; of the others older files have none.
OLDER_FORMS = ("shape", "course")
SHORTEST, LONGEST, NO_PERIOD = 32, 128, 64
_STEPS = 32
GRID = 512
# A training value counts at most so many sigmas: then squares stay exact.
LARGEST_VALUE = 64.0
# Numbers of the reference windows of all features together, at most: 4 MiB.
_MOST_VALUES, _FEWEST = 1 << 20, 16
# Windows whose numbers stay in the cache of a core, one feature after the other; two threads share a block of them.
_WINDOWS_AT_A_TIME = 128
# Of fewer features, a block takes no longer than it takes to share it.
_FEATURES_TO_SHARE = 4
# Windows that are read at a time.
_WINDOWS_TO_TAKE = 512
# What is ready to be compared takes up to seven times what the windows do; so much in all is what 64 detectors of 8 features take,
# and a live run may have thousands. To make it anew takes 1 ms for a detector of one feature, 20 ms for one of 8.
MOST_READY_BYTES = 1 << 30
_READY = "_ready"
# Steps of windows less their mean, and which are known; None is all.
_Course = tuple[Floats, Bools | None]


@dataclass(frozen=True, eq=False)
class References:
    """Windows of the history, to be compared in one form.

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
        return cls.at(form, scaled, taken, window_size), taken

    @classmethod
    def at(cls, form: str, scaled: Float32s, starts: Ints, window_size: int) -> "References":
        """Take the windows that begin at some rows; arguments as for `of`."""
        courses = [np.empty((steps_of(window_size), 0, scaled.shape[1]))]
        for first in range(0, len(starts), _WINDOWS_TO_TAKE):
            some = [scaled[start : start + window_size] for start in starts[first : first + _WINDOWS_TO_TAKE]]
            courses.append(course_of(fill_missing(np.stack(some)))[0])
        course = np.clip(np.concatenate(courses, axis=1), -LARGEST_VALUE, LARGEST_VALUE)
        return cls(form, window_size, np.ascontiguousarray(_rounded(course).swapaxes(0, 1), np.float32))

    @property
    def _points(self) -> Points:
        """The windows in their form on the grid, ready to be sought among; made anew if others were used since."""
        found: Points | None = vars(self).get(_READY)
        if found is None:
            found = vars(self)[_READY] = Points(_on_grid(self.windows.swapaxes(0, 1).astype(np.float64), self.form))
        _used.note(self, found.most_bytes)
        return found

    def let_go(self) -> None:
        """Keep the windows alone."""
        vars(self).pop(_READY, None)

    @property
    def n_varying(self) -> float:
        """How many features of a window are not flat, the mean over the windows."""
        return float(self.windows.any(axis=1).sum(axis=1).mean())

    def without(self, gone: Bools) -> "References":
        """Return these without some windows, `(n_windows,)`."""
        return self.only(np.flatnonzero(~gone)) if gone.any() else self

    def only(self, places: Ints) -> "References":
        """Return some of these."""
        return replace(self, windows=np.ascontiguousarray(self.windows[places]))

    def farthest(self, first: Ints, most: int) -> Ints:
        """Return which of these are far from each other; see `anomaly.windowing.farthest.farthest_points`."""
        return farthest_points(self._points.grid, first, most)

    def distances_from(self, others: "References", near: Bools) -> Floats:
        """Return how far each window is from the nearest of some others, `(n_windows, n_features)`; infinite where there is none.

        Args:
            others: in the same form, of as many steps; these ones themselves if they are compared with each other.
            near: `(n_windows, n_others)`: which are too near in time to be compared, each to itself among them.
        """
        grid = self._points.grid
        _, squares = others._points.nearest(grid, near)
        return np.asarray(squares.T / (grid.shape[2] * GRID**2))

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
        points, at_a_time = self._points, _WINDOWS_AT_A_TIME * (1 if n_features >= _FEATURES_TO_SHARE else 2)

        def compare(first: int) -> None:
            some = slice(first, first + at_a_time)
            course, known = course_at(some)
            close = None if near is None else near[some]
            own = _on_grid(course, self.form)
            at, squares = points.nearest(own, close)
            places[some], found[some] = at.T, squares.T / (own.shape[2] * GRID**2)
            if known is not None:
                for partly in np.flatnonzero(~known.all(axis=(0, 1))).tolist():
                    self._compare_known(partly, course, known, close, places[some], found[some])

        firsts = range(0, n, at_a_time)
        alone = len(firsts) == 1 or n_threads() == 1
        for _ in map(compare, firsts) if alone else threads_of(os.getpid(), n_threads()).map(compare, firsts):
            pass
        return places, found

    def _compare_known(self, feature: int, course: Floats, known: Bools, near: Bools | None, places: Ints, found: Floats) -> None:
        """Put in the place of what was found for the windows of which steps are unknown what those that are known say."""
        told = known[:, :, feature].T
        some = np.flatnonzero(told.any(axis=1) & ~told.all(axis=1))
        told, own = told[some], _rounded(course[:, some, feature].T) * GRID
        grid = np.rint(self.windows[:, :, feature].T.astype(np.float64) * GRID)
        form = FORM_BY_NAME[self.form]
        if form.of_changes:
            told, own, grid = told[:, 1:] & told[:, :-1], np.diff(own), np.diff(grid, axis=0)
        # Without two steps that follow each other there is no change to compare.
        compared = told.any(axis=1)
        places[some, feature], found[some, feature] = 0, np.nan
        some, told, own = some[compared], told[compared], np.where(told, own, 0)[compared]
        far = distances_where_known(own, told, grid, GRID, centred=not form.of_changes, floor=form.floor)
        if near is not None:
            far[near[some]] = np.inf
        places[some, feature], found[some, feature] = far.argmin(axis=1), far.min(axis=1)


class _Used:
    """References that are ready to be compared, from the least recently used on; beyond a limit these let go.

    Without a lock, which a fork could find taken: each step is one of the interpreter's own, and who lets go too early only has
    to make the same again.
    """

    def __init__(self) -> None:
        self._bytes: OrderedDict[weakref.ref[References], int] = OrderedDict()
        self._total = 0  # about so many: it is counted anew before some are let go

    def note(self, references: References, n_bytes: int) -> None:
        """Note that some are used, and what they take."""
        key = weakref.ref(references, self._forget)
        is_new = self._bytes.pop(key, None) is None
        self._bytes[key] = n_bytes
        if is_new:
            self._total += n_bytes
            if self._total > MOST_READY_BYTES:
                self._keep_within(MOST_READY_BYTES)

    def _forget(self, key: weakref.ref[References]) -> None:
        self._total -= self._bytes.pop(key, 0)

    def _keep_within(self, most: int) -> None:
        self._total = sum(list(self._bytes.values()))
        while self._total > most and len(self._bytes) > 1:
            oldest, n_bytes = self._bytes.popitem(last=False)
            self._total -= n_bytes
            found = oldest()
            if found is not None:
                found.let_go()


_used = _Used()


def most_windows(window_size: int, n_features: int) -> int:
    """Return how many windows there may be of some features."""
    return max(_MOST_VALUES // (steps_of(window_size) * n_features), _FEWEST)


def steps_of(window_size: int) -> int:
    """Return in how many steps a window is read."""
    return window_size // _rows_a_step(window_size)


def _rows_a_step(window_size: int) -> int:
    return max(1, window_size // _STEPS)


def course_of(windows: Float32s) -> tuple[Floats, Bools]:
    """Return the means of the rows of each step less those of the window, and which steps are known; see `known_course`.

    Args:
        windows: `(n_windows, window_size, n_features)`, scaled; NaN = missing.

    Returns:
        Both `(n_steps, n_windows, n_features)`, the means in training sigmas.
    """
    course, known = _course_of(windows)
    return course, np.ones(course.shape, np.bool_) if known is None else known


def _course_of(windows: Float32s) -> _Course:
    return known_course(windows, _rows_a_step(windows.shape[1]), steps_of(windows.shape[1]))


def in_form(course: Floats, form: str) -> Floats:
    """Return what is compared of windows, `(n_steps, n_windows, n_features)`, given as by `course_of`; one step less of changes."""
    floor, kept = FORM_BY_NAME[form].floor, np.diff(course, axis=0) if FORM_BY_NAME[form].of_changes else course
    return kept if floor is None else np.asarray(kept / np.sqrt(added(np.square(kept)) / len(kept) + floor**2))


def _on_grid(course: Floats, form: str) -> Floats:
    """Return what is compared of windows in whole numbers, `(n_features, n_windows, n_steps)`; as for `in_form`."""
    kept = in_form(course, form)
    # In the memory that is there: new pages take longer to get than to fill.
    scaled = kept * GRID if kept is course else np.multiply(kept, GRID, out=kept)
    return np.ascontiguousarray(np.rint(scaled, out=scaled).transpose(2, 1, 0))


def _rounded(values: Floats) -> Floats:
    rounded: Floats = np.rint(values * GRID) / GRID
    return rounded
