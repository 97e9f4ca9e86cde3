"""How unlike training the windows about the rows of a stretch are, and the derivative of that by the rows.

With c the means of a window's steps less their mean, and r the nearest window of training, held fixed (it is another one only
where two are equally near):

    course  mean (c - r)^2            by c:  g = 2 (c - r) / n
    shape   mean (f - r)^2, f = c / s, s^2 = mean c^2 + floor^2
                                      by c:  (g - f mean(g f)) / s,  g = 2 (f - r) / n
    change  the same of d, d_i = c_(i+1) - c_i, in the place of c
                                      by c_i:  that by d_(i-1) less that by d_i

for n steps, or n changes. A step is the mean of its rows, and the mean of all is taken off, so each row has its step's share of
that less the mean over the steps. Steps and rows that are missing take no part. The rounding of values to a grid is left out.
"""

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.scoring.neighbours import Neighbours, stride_of
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.references import FORM_BY_NAME, References, course_of
from anomaly.series import Bools, Float32s, Floats, Ints, segments
from anomaly.windowing.windows import add_up, spread_starts


class NearestTerms:
    """The distances about the rows of a stretch, by form.

    Args:
        recipe: of the detector.
        bundle: the detector.
        clock: times of the rows, missing ones among them, `(n_rows,)`.
        phase: rows of its segment before the first one.
        trailing: whether a row hears the window that ends at it; else those that cover it.
    """

    def __init__(self, recipe: Recipe, bundle: Bundle, clock: Ints, phase: int, *, trailing: bool) -> None:
        self._terms = [_NearestTerm(of_form, bundle, clock, phase, trailing=trailing) for of_form in recipe.references]

    def hold_all_but(self, rows: Float32s, free: Bools) -> None:
        """Let only the rows `free` change from now on: what is far from them need not be compared again."""
        for term in self._terms:
            term.hold_all_but(rows, free)

    def distances(self, rows: Float32s) -> Floats:
        """Return the distances, `(n_forms, n_rows, n_features)`, by form, as the product has them; `rows` scaled, NaN = missing."""
        return np.stack([term.distances(rows) for term in self._terms])

    def slope(self, rows: Float32s, by_distance: Floats) -> Floats:
        """Return the derivative by the rows, `(n_rows, n_features)`, of the sum of the distances, each times its `by_distance`."""
        total = np.zeros(rows.shape)
        for term, weights in zip(self._terms, by_distance, strict=True):
            term.add_slope(total, rows, weights)
        return total


class _NearestTerm:
    """The distances in one form.

    Args:
        references: windows of training, in that form.
        bundle: the detector.
        clock: times of the rows, missing ones among them, `(n_rows,)`.
        phase: rows of its segment before the first one.
        trailing: whether a row hears the window that ends at it; else those that cover it.
    """

    def __init__(self, references: References, bundle: Bundle, clock: Ints, phase: int, *, trailing: bool) -> None:
        self._references, self._max_missing = references, bundle.config.windows.max_missing
        self._clock, self._phase, self._trailing = clock, phase, trailing
        self._segments = segments(clock, bundle.longest_step)
        self._held: tuple[Floats, int, int] | None = None  # distances, and between which rows they change

    def hold_all_but(self, rows: Float32s, free: Bools) -> None:
        distances, places = self.distances(rows), np.flatnonzero(free)
        if len(places):
            self._held = distances, int(places[0]), int(places[-1]) + 1

    def distances(self, rows: Float32s) -> Floats:
        """Return the distances, `(n_rows, n_features)`."""
        size = self._references.window_size
        if self._held is None:
            return np.concatenate([self._told(rows, *bounds, bounds[0]) for bounds in self._segments])
        found, first, stop = self._held[0].copy(), *self._held[1:]
        for begin, end in self._segments:
            # Rows that windows with free rows cover, and the rows of all windows that cover these.
            low, high = max(first - size, begin), min(stop + size, end)
            if low < high:
                start = max(low - size, begin)
                near = self._told(rows, start, min(high + size, end), begin)
                found[low:high] = near[low - start : high - start]
        return found

    def _told(self, rows: Float32s, start: int, stop: int, begin: int) -> Floats:
        """Return the distances about some rows of the segment that begins at a row."""
        near = Neighbours(
            self._references, self._max_missing, rows.shape[1], ahead=not self._trailing, ending=self._trailing,
            eager=False, phase=start - begin + (0 if begin else self._phase),
        )  # fmt: skip
        parts = [near.push(rows[start:stop], self._clock[start:stop]), near.finish()]
        found: Floats = np.concatenate(parts, axis=1)[int(self._trailing)]
        return found

    def add_slope(self, total: Floats, rows: Float32s, by_distance: Floats) -> None:
        """Add the derivative by the rows, `(n_rows, n_features)`, of the sum of the distances, each times its `by_distance`."""
        size = self._references.window_size
        by_distance = np.where(np.isnan(rows).all(axis=1, keepdims=True), 0, by_distance)
        for start, stop in self._segments:
            starts, firsts = self._windows(stop - start, 0 if start else self._phase)
            if not len(starts):
                continue
            windows = rows[starts[:, None] + np.arange(size) + start]
            spoken = np.isnan(windows).sum(axis=1) <= self._max_missing * size
            heard = np.arange(size) >= firsts[:, None]  # which of its rows a window speaks about
            counts = np.zeros(rows.shape)
            add_up(counts, starts + start, heard[:, :, None] & spoken[:, None])
            share = np.divide(by_distance, counts, out=np.zeros(by_distance.shape), where=counts > 0)
            if self._held is not None:
                moving = (starts + start + size > self._held[1]) & (starts + start < self._held[2])
                starts, windows, spoken, heard = starts[moving], windows[moving], spoken[moving], heard[moving]
            offsets = starts[:, None] + np.arange(size) + start
            weights = (share[offsets] * heard[:, :, None]).sum(axis=1) * spoken  # (n_windows, n_features)
            add_up(total, starts + start, _weighted_slopes(self._references, windows, weights))

    def _windows(self, n_rows: int, phase: int) -> tuple[Ints, Ints]:
        """Return where the windows of a segment begin, and from which of their rows on they speak; see `Neighbours`."""
        size = self._references.window_size
        if self._trailing:
            starts = np.arange(max(0, n_rows - size + 1))
            return starts, np.full(len(starts), size - 1)
        starts, late = spread_starts(n_rows, size, stride_of(size), phase)
        return starts, np.append(np.zeros(len(starts) - late, np.int64), np.ones(int(late), np.int64))


def _weighted_slopes(references: References, windows: Float32s, weights: Floats) -> Floats:
    """Return the derivative of the weighted distances of windows by their rows, `(n_windows, window_size, n_features)`."""
    places, _ = references.nearest(windows)
    features = np.arange(windows.shape[2])
    course, known = course_of(windows)
    nearest = references.windows[places, :, features].transpose(2, 0, 1).astype(np.float64)
    form = FORM_BY_NAME[references.form]
    if form.of_changes:
        by_change = _by_compared(np.diff(course, axis=0), np.diff(nearest, axis=0), known[1:] & known[:-1], form.floor)
        by_course = np.diff(by_change * -weights, axis=0, prepend=0, append=0)
    else:
        nearest = np.where(known, nearest - _mean_known(nearest, known), 0)
        by_course = _by_compared(course, nearest, known, form.floor) * weights
    by_step = np.where(known, by_course - _mean_known(by_course, known), 0).swapaxes(0, 1)
    return _to_rows(by_step, ~np.isnan(windows))


def _by_compared(own: Floats, nearest: Floats, known: Bools, floor: float | None) -> Floats:
    """Return the derivative of the distances by what is compared, each `(n, n_windows, n_features)`; 0 where it is unknown."""
    own, nearest = np.where(known, own, 0), np.where(known, nearest, 0)
    n_known = np.maximum(known.sum(axis=0), 1)
    if floor is None:
        return np.asarray(2 * (own - nearest) / n_known)
    spread, spreads = (np.sqrt(np.square(kept).sum(axis=0) / n_known + floor**2) for kept in (own, nearest))
    g = 2 * (own / spread - nearest / spreads) / n_known
    return np.asarray((g - own / spread * (g * own / spread).sum(axis=0) / n_known) / spread)


def _mean_known(steps: Floats, known: Bools) -> Floats:
    """Return the mean over the known steps, `(n_windows, n_features)`."""
    return np.asarray(np.where(known, steps, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def _to_rows(by_step: Floats, known: Bools) -> Floats:
    """Share the derivatives by steps, `(n_windows, n_steps, n_features)`, among the known rows of each."""
    n_windows, n_steps, n_features = by_step.shape
    rows = known.shape[1] // n_steps
    first = known.shape[1] - rows * n_steps
    by_row = known[:, first:].reshape(n_windows, n_steps, rows, n_features)
    share = by_row / np.maximum(by_row.sum(axis=2, keepdims=True), 1)
    found = np.zeros(known.shape)
    found[:, first:] = (by_step[:, :, None] * share).reshape(n_windows, rows * n_steps, n_features)
    return found
