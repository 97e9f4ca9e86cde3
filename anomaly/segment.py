"""Rows without a gap between them: windows, their errors, and what these come to for each row.

    window_mean     u = mean over the windows that cover the row of the window's mean error
    point_mean      u = mean over the windows that cover the row of their error at that row
    multi_scale     u = (0.3 point_mean + window_mean + running means of min(window_mean, 5) over 1, 2 and 4 windows) / 4.3
    trailing        u = mean error of the window that ends at the row
    trailing_point  u = error at the row of the window that ends at it

each for every feature, in units of the feature's own mean error in training. The bound in the running means keeps what
is very wrong in one place from spreading over all rows within two windows. A row's score is then

    score = (mean over the features of sqrt(u))^2

so that a feature that is never reconstructed well does not drown the others, and an average window of the training
rows has a score near 1. A feature's part is sqrt(u) times the mean of all roots: the score is the mean of the parts.
A row out of range has the mean of u itself: there a single feature of a thousand must be enough.
"""

from collections.abc import Callable

import numpy as np

from anomaly.missing import fill_missing, mask_windows, mean_of_known
from anomaly.row_scores import INSUFFICIENT, MISSING, NO_WINDOW, OUT_OF_RANGE, WARM_UP, Codes, RowScores
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.smoothing import RunningMeans
from anomaly.windowing import make_windows, overlap_add, window_starts

BLOCK_WINDOWS = 256
# Weights of the terms of `multi_scale`: the error at the row is the sharpest of them, and the noisiest.
POINT_WEIGHT, OTHER_WEIGHT = 0.3, 1.0
# The most that an error counts in a running mean, in mean training errors.
MOST_IN_RUNNING_MEANS = 5.0
_TRAILING, _TERMS = ("trailing", "trailing_point"), ("point_mean", "window_mean")


def parts_of(errors: Floats) -> Floats:
    """Return what each feature contributes to a score; the score is the mean of it over the known features.

    Args:
        errors: `(..., n_features)`, in units of the feature's mean error in training, not negative; NaN = unknown.
    """
    roots = np.sqrt(errors)
    parts: Floats = np.where(np.isnan(roots), np.nan, roots * mean_of_known(roots, axis=-1)[..., None])
    return parts


def multi_scale(point: Floats, window: Floats, running: Floats) -> Floats:
    """Return the weighted mean of the terms that are known.

    Args:
        point: `(n_rows, n_features)`, NaN where unknown.
        window: of the same shape.
        running: `(n_scales, n_rows, n_features)`.
    """
    terms = np.stack([point, window, *running])
    weights = np.array([POINT_WEIGHT] + [OTHER_WEIGHT] * (len(terms) - 1))[:, None, None] * ~np.isnan(terms)
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
        mean: Floats = (weights * np.nan_to_num(terms)).sum(axis=0) / weights.sum(axis=0)
    return mean


class Segment:
    """Take the rows of one segment in any pieces, give their scores back a block of windows at a time, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_features)` float32 to the same shape.
        window_size: timesteps in a window.
        max_missing: most of a feature's values in a window that may be missing, a share.
        error_scale: `(n_features,)`, the mean error of each feature in training.
        aggregations: names; the first axis of every result follows their order.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        *,
        window_size: int,
        max_missing: float,
        error_scale: Floats,
        aggregations: tuple[str, ...],
    ) -> None:
        self._error_scale, self._aggregations = error_scale, aggregations
        self._views = tuple(dict.fromkeys(view for name in aggregations for view in (_TERMS if name == "multi_scale" else (name,))))
        n_features = len(error_scale)
        self._overlaps = _Overlaps(reconstruct, window_size, max_missing, self._views, n_features)
        self._running = RunningMeans(window_size, n_features) if "multi_scale" in aggregations else None
        self._means = np.empty((len(self._views), 0, 2 * n_features))  # errors and deviations of the rows that wait
        self._status = np.empty((len(self._views), 0), np.uint8)

    def push(self, rows: Float32s, marks: Codes) -> RowScores:
        """Take further rows, scaled, with the status that each has if it has a score; return those that are final."""
        return self._ready(*self._overlaps.push(rows, marks), ended=False)

    def finish(self) -> RowScores:
        """Return the rows that are still held; no row comes after."""
        return self._ready(*self._overlaps.finish(), ended=True)

    def _ready(self, means: Floats, status: Codes, *, ended: bool) -> RowScores:
        """Take rows whose windows have all spoken; return those for which the running means are there too."""
        self._means = np.concatenate([self._means, means], axis=1)
        self._status = np.concatenate([self._status, status], axis=1)
        running, n = None, self._means.shape[1]
        if self._running is not None:
            errors = means[self._views.index("window_mean"), :, : len(self._error_scale)] / self._error_scale
            running = self._running.push(np.minimum(errors, MOST_IN_RUNNING_MEANS))
            if ended:
                running = np.concatenate([running, self._running.finish()], axis=1)
            n = running.shape[1]
        found = self._scores(self._means[:, :n], self._status[:, :n], running)
        self._means, self._status = self._means[:, n:], self._status[:, n:]
        return found

    def _scores(self, means: Floats, status: Codes, running: Floats | None) -> RowScores:
        n, (errors, deviation) = means.shape[1], np.split(means, 2, axis=2)
        errors = errors / self._error_scale
        places = [self._views.index("window_mean" if name == "multi_scale" else name) for name in self._aggregations]
        units, status = errors[places], status[places]
        for place, name in enumerate(self._aggregations):
            if name == "multi_scale" and running is not None:
                point, window = (errors[self._views.index(view)] for view in _TERMS)
                silent = np.isnan(window).all(axis=1, keepdims=True)
                units[place] = np.where(silent, np.nan, multi_scale(point, window, running))
        far = (status == OUT_OF_RANGE)[:, :, None]
        return RowScores(
            by_feature=np.where(far, units, parts_of(units)),
            deviation=deviation[places],
            status=status,
            times=np.zeros(n, np.int64),
        )


class _Overlaps:
    """What the windows say about each row: what is still needed of the rows, and the sums so far.

    All arrays begin at row `_base` of the segment, the first one about which a window has yet to speak.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        window_size: int,
        max_missing: float,
        views: tuple[str, ...],
        n_features: int,
    ) -> None:
        self._reconstruct = reconstruct
        self._window_size = window_size
        self._max_missing = max_missing
        self._views = views
        self._base = 0
        self._next_start = 0
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
        return self._emit(self._next_start - self._base)

    def finish(self) -> tuple[Floats, Codes]:
        starts = window_starts(len(self._rows), self._window_size, stride=1)
        starts = starts[starts >= self._next_start - self._base]
        if len(starts):
            self._run(starts)
        return self._emit(len(self._rows))

    def _run(self, starts: Ints) -> None:
        """Add what a block of windows says onto its rows."""
        windows = make_windows(self._rows, starts, self._window_size)
        masked, used = mask_windows(windows, self._max_missing)
        if not used.any():
            return
        deviations = masked - self._reconstruct(fill_missing(windows)).astype(np.float64)
        deviations[~used] = np.nan
        errors = np.square(deviations)
        means = np.broadcast_to(mean_of_known(errors, axis=1)[:, None], errors.shape)
        last = starts + self._window_size - 1
        for view, total, count in zip(self._views, self._total, self._count, strict=True):
            sums = np.concatenate([means if view in ("window_mean", "trailing") else errors, deviations], axis=2)
            if view in _TRAILING:
                overlap_add(total, count, last, sums[:, -1:])
            else:
                overlap_add(total, count, starts, sums)

    def _emit(self, n: int) -> tuple[Floats, Codes]:
        """Hand out the first `n` rows held, and forget them: means `(n_views, n, 2 * n_features)` and statuses."""
        n_features = self._rows.shape[1]
        known: Bools = np.logical_not(np.isnan(self._rows[:n]).all(axis=1))
        scored = known & (self._count[:, :n, :n_features] > 0).any(axis=2)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a row that no window speaks about
            means = np.where(scored[:, :, None], self._total[:, :n] / self._count[:, :n], np.nan)
        status = np.where(scored, self._marks[:n], self._why_not(n, known)).astype(np.uint8)
        self._base += n
        self._rows, self._marks = self._rows[n:], self._marks[n:]
        self._total, self._count = self._total[:, n:], self._count[:, n:]
        return means, status

    def _why_not(self, n: int, known: Bools) -> Codes:
        """Return `(n_views, n)`: the status of the first `n` rows held if they have no score."""
        trailing = np.array([view in _TRAILING for view in self._views])
        warming = trailing[:, None] & (self._base + np.arange(n) < self._window_size - 1)
        status = np.where(warming, WARM_UP, INSUFFICIENT)
        if self._base + len(self._rows) < self._window_size:
            status[:] = NO_WINDOW
        return np.where(known, status, MISSING).astype(np.uint8)
