"""Rows without a gap between them: windows, their errors, and what these come to for each row.

    window_mean     u = mean over the windows that cover the row of the window's mean error
    point_mean      u = mean over the windows that cover the row of their error at that row
    combined        u = (window_mean + 0.5 point_mean) / 1.5
    trailing        u = mean error of the later half of the window that ends at the row
    trailing_point  u = error at the row of the window that ends at it

each for every feature, in units of the feature's own mean error in training (`ErrorUnits.window`). A row's own error is
noisier than the mean of windows: in `combined` it is measured in units (`ErrorUnits.row`) in which one row of a hundred
of the training series exceeds what one of a hundred exceeds as a window mean. A row's score is then

    score = (mean over the features of sqrt(u))^2

so that a feature that is never reconstructed well does not drown the others, and an average window of the training
rows has a score near 1. A feature's part is sqrt(u) times the mean of all roots: the score is the mean of the parts.
A row out of range has the mean of u itself: there a single feature of a thousand must be enough.
"""

from collections.abc import Callable

import numpy as np

from anomaly.missing import fill_missing, mask_windows, mean_of_known
from anomaly.row_scores import INSUFFICIENT, MISSING, NO_WINDOW, OUT_OF_RANGE, WARM_UP, Codes, RowScores
from anomaly.scaling import ErrorUnits
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing import make_windows, overlap_add, window_starts

BLOCK_WINDOWS = 256
# Weight of a row's own error beside the mean error of the windows that cover it.
ROW_WEIGHT = 0.5
_TRAILING = ("trailing", "trailing_point")


def views_of(aggregation: str) -> tuple[str, ...]:
    """Return the means over windows that an aggregation is made from: for `combined` two, else itself."""
    return ("window_mean", "point_mean") if aggregation == "combined" else (aggregation,)


def averaged(view: str, window_size: int) -> slice | None:
    """Return over which timesteps of a window its error is averaged; None if each counts for itself.

    Args:
        view: a name that `views_of` returns.
        window_size: timesteps in a window.
    """
    return {"window_mean": slice(None), "trailing": slice(window_size // 2, None)}.get(view)


def parts_of(errors: Floats) -> Floats:
    """Return what each feature contributes to a score; the score is the mean of it over the known features.

    Args:
        errors: `(..., n_features)`, in units of the feature's mean error in training, not negative; NaN = unknown.
    """
    roots = np.sqrt(errors)
    parts: Floats = np.where(np.isnan(roots), np.nan, roots * mean_of_known(roots, axis=-1)[..., None])
    return parts


def combine(window: Floats, row: Floats) -> Floats:
    """Return the weighted mean of two terms; of the one that is known where the other is NaN.

    Args:
        window: `(n_rows, n_features)`.
        row: of the same shape.
    """
    both = (window + ROW_WEIGHT * row) / (1 + ROW_WEIGHT)
    return np.where(np.isnan(window), row, np.where(np.isnan(row), window, both))


class Segment:
    """Take the rows of one segment in any pieces, give their scores back a block of windows at a time, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_features)` float32 to the same shape.
        window_size: timesteps in a window.
        max_missing: most of a feature's values in a window that may be missing, a share.
        error_units: what errors are measured in.
        aggregations: names; the first axis of every result follows their order.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        *,
        window_size: int,
        max_missing: float,
        error_units: ErrorUnits,
        aggregations: tuple[str, ...],
        eager: bool = False,
    ) -> None:
        self._units, self._aggregations = error_units, aggregations
        self._views = tuple(dict.fromkeys(view for name in aggregations for view in views_of(name)))
        deviating = frozenset(views_of(name)[0] for name in aggregations)
        self._overlaps = _Overlaps(reconstruct, window_size, max_missing, self._views, deviating, len(error_units.window), eager)

    def push(self, rows: Float32s, marks: Codes) -> RowScores:
        """Take further rows, scaled, with the status that each has if it has a score; return those that are final."""
        return self._scores(*self._overlaps.push(rows, marks))

    def finish(self) -> RowScores:
        """Return the rows that are still held; no row comes after."""
        return self._scores(*self._overlaps.finish())

    def _scores(self, means: Floats, status: Codes) -> RowScores:
        errors, deviation = np.split(means, 2, axis=2)
        places = [self._views.index(views_of(name)[0]) for name in self._aggregations]
        units, status = errors[places] / self._units.window, status[places]
        for place, name in enumerate(self._aggregations):
            if name == "combined":
                units[place] = combine(units[place], errors[self._views.index("point_mean")] / self._units.row)
        far = (status == OUT_OF_RANGE)[:, :, None]
        return RowScores(
            by_feature=np.where(far, units, parts_of(units)),
            deviation=deviation[places],
            status=status,
            times=np.zeros(means.shape[1], np.int64),
        )


class _Overlaps:
    """What the windows say about each row: what is still needed of the rows, and the sums so far.

    All arrays begin at row `_base` of the segment, the first one that a window to come begins with, or that has not been
    handed out.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        window_size: int,
        max_missing: float,
        views: tuple[str, ...],
        deviating: frozenset[str],
        n_features: int,
        eager: bool,
    ) -> None:
        self._reconstruct = reconstruct
        self._window_size = window_size
        self._max_missing = max_missing
        self._views = views
        self._deviating = deviating  # views whose deviations are handed out; the others' are left out
        self._eager = eager
        # A trailing window speaks about its last row only: what lies before the last row of the next one is final.
        self._ahead = window_size - 1 if set(views) <= set(_TRAILING) else 0
        self._base = self._next_start = self._n_out = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._marks = np.empty(0, np.uint8)
        self._total = np.zeros((len(views), 0, 2 * n_features))  # sums of errors, then of deviations
        self._count = np.zeros(self._total.shape, np.int64)

    def push(self, rows: Float32s, marks: Codes) -> tuple[Floats, Codes]:
        n_views, _, n_sums = self._total.shape
        self._rows = np.concatenate([self._rows, rows])
        self._marks = np.concatenate([self._marks, marks])
        further = (n_views, len(rows), n_sums)
        self._total = np.concatenate([self._total, np.zeros(further)], axis=1)
        self._count = np.concatenate([self._count, np.zeros(further, np.int64)], axis=1)
        block = np.arange(BLOCK_WINDOWS)
        while self._next_start + BLOCK_WINDOWS + self._window_size - 1 <= self._base + len(self._rows):
            self._run(self._next_start - self._base + block)
            self._next_start += BLOCK_WINDOWS
        if self._eager:
            self._run_what_is_there()
        return self._emit(min(self._next_start + self._ahead, self._base + len(self._rows)))

    def finish(self) -> tuple[Floats, Codes]:
        self._run_what_is_there()
        return self._emit(self._base + len(self._rows))

    def _run_what_is_there(self) -> None:
        starts = window_starts(len(self._rows), self._window_size, stride=1)
        starts = starts[starts >= self._next_start - self._base]
        if len(starts):
            self._run(starts)
            self._next_start += len(starts)

    def _run(self, starts: Ints) -> None:
        """Add what a block of windows says onto its rows."""
        windows = make_windows(self._rows, starts, self._window_size)
        masked, used = mask_windows(windows, self._max_missing)
        if not used.any():
            return
        deviations = np.subtract(masked, self._reconstruct(fill_missing(windows)), dtype=np.float64)
        if not used.all():
            deviations[~used] = np.nan
        errors = np.square(deviations)
        of_errors, of_deviations = slice(errors.shape[2]), slice(errors.shape[2], None)
        for view, total, count in zip(self._views, self._total, self._count, strict=True):
            rows, said = averaged(view, self._window_size), errors
            if rows is not None:
                said = mean_of_known(errors[:, rows], axis=1)[:, None]
            self._add(view, total[:, of_errors], count[:, of_errors], starts, said)
            if view in self._deviating:
                self._add(view, total[:, of_deviations], count[:, of_deviations], starts, deviations)

    def _add(self, view: str, total: Floats, count: Ints, starts: Ints, said: Floats) -> None:
        """Add what windows say onto their rows; a trailing view speaks about their last rows only."""
        if view in _TRAILING:
            overlap_add(total, count, starts + self._window_size - 1, said[:, -1:])
        else:
            overlap_add(total, count, starts, said, self._window_size)

    def _emit(self, stop: int) -> tuple[Floats, Codes]:
        """Hand out the rows of the segment before `stop`, and forget those that no window needs any more.

        Returns:
            Means `(n_views, n, 2 * n_features)` and statuses `(n_views, n)` of the rows that were not handed out before.
        """
        n_features, out = self._rows.shape[1], slice(self._n_out - self._base, stop - self._base)
        known: Bools = np.logical_not(np.isnan(self._rows[out]).all(axis=1))
        scored = known & (self._count[:, out, :n_features] > 0).any(axis=2)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a row that no window speaks about
            means = np.where(scored[:, :, None], self._total[:, out] / self._count[:, out], np.nan)
        status = np.where(scored, self._marks[out], self._why_not(stop, known)).astype(np.uint8)
        self._n_out = stop
        n = min(stop, self._next_start) - self._base
        self._base += n
        self._rows, self._marks = self._rows[n:], self._marks[n:]
        self._total, self._count = self._total[:, n:], self._count[:, n:]
        return means, status

    def _why_not(self, stop: int, known: Bools) -> Codes:
        """Return `(n_views, n)`: the status of the rows before `stop` that were not handed out, if they have no score."""
        trailing = np.array([view in _TRAILING for view in self._views])[:, None]
        status = np.where(trailing & (np.arange(self._n_out, stop) < self._window_size - 1), WARM_UP, INSUFFICIENT)
        if self._base + len(self._rows) < self._window_size:
            status[~trailing[:, 0]] = NO_WINDOW
        return np.where(known, status, MISSING).astype(np.uint8)
