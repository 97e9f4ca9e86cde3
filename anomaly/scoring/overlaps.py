"""What overlapping windows say about each row of a segment, added up as they come.

A view is one way to average what they say:

    window_mean     each window that covers the row says its mean error
    point_mean      each window that covers the row says its error at that row
    trailing        the window that ends at the row says the mean error of its later half
    trailing_point  the window that ends at the row says its error there

Windows are run in blocks. A row adds its windows up in the order of their starts and a window its timesteps from the last
one down, in whatever blocks they come: so sums are the same to the last bit. Of a block of many windows, one timestep of all
of them is added at a time; of a few windows each for itself.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.scoring.row_scores import INSUFFICIENT, MISSING, NO_WINDOW, WARM_UP, Codes
from anomaly.series import Bools, Float32s, Floats
from anomaly.windowing.missing import fill_missing, mask_windows

BLOCK_WINDOWS = 256
# About so many stay in the cache of one core while they are added.
_VALUES_AT_A_TIME = 1 << 14
# So many blocks are in the network while the errors of another are added: with one, cores would wait at its end.
_BLOCKS_AHEAD = 2
# The windows that each view listens to.
_HEARD = {"window_mean": "covering", "point_mean": "covering", "trailing": "ending", "trailing_point": "ending"}
_AVERAGED = {"window_mean", "trailing"}
TRAILING = {view for view, heard in _HEARD.items() if heard == "ending"}


def averaged(view: str, window_size: int) -> slice | None:
    """Return over which timesteps of a window its error is averaged; None if each counts for itself.

    Args:
        view: one of those above.
        window_size: timesteps in a window.
    """
    return {"window_mean": slice(None), "trailing": slice(window_size // 2, None)}.get(view)


class Overlaps:
    """Take the rows of one segment in any pieces, hand out what the windows say about each, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_features)` float32 to the same shape.
        window_size: timesteps in a window.
        max_missing: most of a feature's values in a window that may be missing, a share.
        n_features: of the rows.
        views: what is asked for; the first axis of every result follows their order.
        deviating: views whose deviations are handed out; those of the others are NaN.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        window_size: int,
        max_missing: float,
        n_features: int,
        *,
        views: tuple[str, ...],
        deviating: frozenset[str],
        eager: bool,
    ) -> None:
        self._reconstruct = reconstruct
        self._window_size = window_size
        self._max_missing = max_missing
        self._views, self._deviating = views, deviating
        self._eager = eager
        # A trailing window speaks about its last row only: what lies before the last row of the next one is final.
        self._ahead = window_size - 1 if set(views) <= TRAILING else 0
        # Arrays begin at row `_base` of the segment: the first that a window to come begins with, or that was not handed out.
        self._base = self._next_start = self._n_out = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._marks = np.empty(0, np.uint8)
        self._sums = _Sums({*views, *(_HEARD[view] for view in deviating)}, window_size, n_features)

    def push(self, rows: Float32s, marks: Codes) -> tuple[Floats, Floats, Codes]:
        """Take further rows, scaled, with the status that each has if something is said about it.

        Returns:
            Of the rows that are final: mean errors and deviations, both `(n_views, n, n_features)`, and statuses
            `(n_views, n)`. NaN where nothing is said.
        """
        self._rows = np.concatenate([self._rows, rows])
        self._marks = np.concatenate([self._marks, marks])
        self._sums.grow(len(rows))
        n_windows = self._n_waiting()
        self._run([BLOCK_WINDOWS] * (n_windows // BLOCK_WINDOWS))
        if self._eager:
            self._run([n_windows % BLOCK_WINDOWS])
        return self._emit(min(self._next_start + self._ahead, self._base + len(self._rows)))

    def finish(self) -> tuple[Floats, Floats, Codes]:
        """Return the rows that are still held, as `push`; no row comes after."""
        self._run([self._n_waiting()])
        return self._emit(self._base + len(self._rows))

    def _n_waiting(self) -> int:
        """Return how many windows have all their rows and were not run."""
        return max(self._base + len(self._rows) - self._window_size + 1 - self._next_start, 0)

    def _run(self, sizes: list[int]) -> None:
        """Add what the next windows say onto their rows, in blocks of some sizes."""

        def expected(block: _Block) -> Float32s:
            return self._reconstruct(block.read)

        blocks = self._blocks(sizes)
        # A single block, as of rows that arrive one by one, is not worth a thread.
        for block, found in _ahead(expected, blocks) if len(sizes) > 1 else ((block, expected(block)) for block in blocks):
            self._sums.add(block.start, block.measured, found, block.known)

    def _blocks(self, sizes: list[int]) -> "Iterator[_Block]":
        for n_windows in filter(None, sizes):
            start = self._next_start - self._base
            self._next_start += n_windows
            rows = self._rows[start : start + n_windows + self._window_size - 1]
            windows = sliding_window_view(rows, self._window_size, axis=0).swapaxes(1, 2)
            if not np.isnan(rows).any():
                yield _Block(start, windows, windows, None)
                continue
            masked, used = mask_windows(windows, self._max_missing)
            if used.any():
                known = ~np.isnan(masked) & used[:, None, None]
                yield _Block(start, fill_missing(windows), np.where(known, masked, 0), known)

    def _emit(self, stop: int) -> tuple[Floats, Floats, Codes]:
        """Hand out the rows of the segment before `stop`, and forget those that no window needs any more."""
        out = slice(self._n_out - self._base, stop - self._base)
        known: Bools = np.logical_not(np.isnan(self._rows[out]).all(axis=1))
        errors, deviations = np.full((2, len(self._views), *self._rows[out].shape), np.nan)
        for place, view in enumerate(self._views):
            errors[place, known] = self._sums.mean(view, out)[known]
            if view in self._deviating:
                deviations[place, known] = self._sums.mean(_HEARD[view], out)[known]
        scored = np.logical_not(np.isnan(errors).all(axis=2))
        status = np.where(scored, self._marks[out], self._why_not(stop, known)).astype(np.uint8)
        self._n_out = stop
        n = min(stop, self._next_start) - self._base
        self._base += n
        self._rows, self._marks = self._rows[n:], self._marks[n:]
        self._sums.forget(n)
        return errors, deviations, status

    def _why_not(self, stop: int, known: Bools) -> Codes:
        """Return `(n_views, n)`: the status of the rows before `stop` that were not handed out, if they have no score."""
        trailing = np.array([view in TRAILING for view in self._views])[:, None]
        status = np.where(trailing & (np.arange(self._n_out, stop) < self._window_size - 1), WARM_UP, INSUFFICIENT)
        if self._base + len(self._rows) < self._window_size:
            status[~trailing[:, 0]] = NO_WINDOW
        return np.where(known, status, MISSING).astype(np.uint8)


class _Block(NamedTuple):
    """Consecutive windows; all arrays are `(n_windows, window_size, n_features)`."""

    start: int  # row that the first one begins with
    read: Float32s  # by the network
    measured: Float32s  # what the reconstruction is compared with
    known: Bools | None  # where it is; None is everywhere


def _ahead(work: Callable[[_Block], Float32s], blocks: Iterable[_Block]) -> Iterator[tuple[_Block, Float32s]]:
    """Yield each block with what is made of it, in order; meanwhile other threads work on the next ones."""
    coming: deque[tuple[_Block, Future[Float32s]]] = deque()
    with ThreadPoolExecutor(_BLOCKS_AHEAD) as others:
        for block in blocks:
            coming.append((block, others.submit(work, block)))
            if len(coming) > _BLOCKS_AHEAD:
                block, expected = coming.popleft()
                yield block, expected.result()
        for block, expected in coming:
            yield block, expected.result()


class _Sums:
    """Sums over the windows about each row, and how many of them spoke about each value; all are `(n_rows, n_features)`.

    Args:
        kinds: views, whose errors are added up, and "covering" or "ending", the windows whose deviations are.
        window_size: timesteps in a window.
        n_features: of the rows.
    """

    def __init__(self, kinds: set[str], window_size: int, n_features: int) -> None:
        self._window_size = window_size
        self._totals = {kind: np.zeros((0, n_features)) for kind in sorted(kinds)}
        self._counts = {_count_of(kind): np.zeros((0, n_features), np.int64) for kind in sorted(kinds)}

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

    def add(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> None:
        """Add what consecutive windows say, the first of which begins at row `start`.

        Args:
            start: a row.
            measured: `(n_windows, window_size, n_features)`.
            expected: of the same shape.
            known: of the same shape: which values are compared. None is all.
        """
        self._count(start, len(measured), known)
        n, size = measured.shape[:2]
        whole, later = (self._by_timestep if n >= size else self._by_window)(start, measured, expected, known)
        ends = slice(start + size - 1, start + size - 1 + n)
        last = _deviation(measured, expected, known, (slice(None), -1))
        said = {"ending": last, "trailing_point": last * last, "trailing": _mean(later, known, size // 2, size)}
        for kind, values in said.items():
            if kind in self._totals:
                self._totals[kind][ends] += values
        if "window_mean" in self._totals:
            self._spread(self._totals["window_mean"], start, _mean(whole, known, 0, size))

    def _by_timestep(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> tuple[Floats, Floats]:
        """Add what windows say about each row for itself; return the sums of the errors of each window, and of its later half."""
        points, covering = self._totals.get("point_mean"), self._totals.get("covering")
        n, size, n_features = measured.shape
        whole, later = np.zeros((2, n, n_features))
        at_a_time = max(_VALUES_AT_A_TIME // (n * n_features), 1)
        for step in range(size - 1, -1, -1):
            place = step % at_a_time
            if step == size - 1 or place == at_a_time - 1:
                deviations = _deviation(measured, expected, known, (slice(None), slice(step - place, step + 1)))
                errors = deviations * deviations
            rows = slice(start + step, start + step + n)
            if covering is not None:
                covering[rows] += deviations[:, place]
            if points is not None:
                points[rows] += errors[:, place]
            whole += errors[:, place]
            if step == size // 2:
                later[:] = whole
        return whole, later

    def _by_window(self, start: int, measured: Float32s, expected: Float32s, known: Bools | None) -> tuple[Floats, Floats]:
        """Do the same, to the last bit, window by window."""
        points, covering = self._totals.get("point_mean"), self._totals.get("covering")
        n, size, n_features = measured.shape
        whole, later = np.zeros((2, n, n_features))
        for window in range(n):
            values = _deviation(measured, expected, known, window)
            rows = slice(start + window, start + window + size)
            if covering is not None:
                covering[rows] += values
            values *= values
            if points is not None:
                points[rows] += values
            running = np.cumsum(values[::-1], axis=0)
            whole[window], later[window] = running[-1], running[size - 1 - size // 2]
        return whole, later

    def _spread(self, total: Any, start: int, said: Any) -> None:
        """Add what each window says alike about all of its rows, `(n_windows, n_features)`."""
        n, size = len(said), self._window_size
        if n < size:
            for window in range(n):
                total[start + window : start + window + size] += said[window]
        else:
            for step in range(size - 1, -1, -1):
                total[start + step : start + step + n] += said

    def _count(self, start: int, n: int, known: Bools | None) -> None:
        """Count the windows that speak about each value."""
        size, counts = self._window_size, self._counts
        ends = slice(start + size - 1, start + size - 1 + n)
        rise = np.arange(1, n + size)
        covering = np.minimum(np.minimum(rise, rise[::-1]), min(n, size))[:, None]
        for kind, count in counts.items():
            if kind in ("ending", "trailing"):
                first = {"ending": size - 1, "trailing": size // 2}[kind]
                count[ends] += 1 if known is None else known[:, first:].any(axis=1)
            elif known is None:
                count[start : start + n + size - 1] += covering
            elif kind == "window_mean":
                self._spread(count, start, known.any(axis=1))
            else:
                for window in range(n):
                    count[start + window : start + window + size] += known[window]


def _count_of(kind: str) -> str:
    """Return under which name it is counted how many windows spoke: about a row's own value as many as have a deviation of it."""
    return kind if kind in _AVERAGED else _HEARD.get(kind, kind)


def _deviation(measured: Float32s, expected: Float32s, known: Bools | None, at: Any) -> Floats:
    """Return measured less expected at a place, 0 where it is not known."""
    values: Floats = np.subtract(measured[at], expected[at], dtype=np.float64)
    if known is not None:
        values[~known[at]] = 0
    return values


def _mean(sums: Floats, known: Bools | None, first: int, size: int) -> Floats:
    """Divide the sums of windows, from one of their timesteps on, by the number of values that are known; 0 where none is."""
    if known is None:
        return sums / (size - first)
    count = known[:, first:].sum(axis=1)
    mean: Floats = np.divide(sums, count, out=np.zeros(sums.shape), where=count > 0)
    return mean
