"""What overlapping windows say about each row of a segment, added up as they come.

A view is one way to average what they say:

    window_mean     each window that covers the row says its mean error
    point_mean      each window that covers the row says its error at that row
    trailing        the window that ends at the row says the mean error of its later half
    trailing_point  the window that ends at the row says its error there

and for bands (`anomaly.scoring.bands`), of a value that changes alone:

    weight          what it weighs in the mean error of a window that covers the row, 1 / known values; 0 where it is missing
    pull            its deviation times that
    trailing_weight the same weight in the later half of the window that ends at the row

Of the windows that cover a row every `stride`-th speaks, and the last one of the segment. A window that ends at a row always does.

Windows are run in blocks, and added up so that the blocks change no bit (`anomaly.scoring.window_sums`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError
from anomaly.network.inference import started_threads
from anomaly.network.model import rows_of_timesteps
from anomaly.scoring.row_scores import INSUFFICIENT, MISSING, NO_WINDOW, WARM_UP, Codes
from anomaly.scoring.window_sums import HEARD, WindowSums
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.windows import stride_within

BLOCK_WINDOWS = 256
# So many blocks are in the network while the errors of another are added: with one, cores would wait at its end.
_BLOCKS_AHEAD = 2
TRAILING = {view for view, heard in HEARD.items() if heard == "ending"}


def scoring_stride_of(config: DetectorConfig, window_size: int) -> int:
    """Return how many rows lie between the windows that a row shares with others.

    Args:
        config: all settings.
        window_size: timesteps in a window.

    Raises:
        ConfigError: if rows would lie in no window.
    """
    stride = config.windows.scoring_stride
    if stride == "auto":
        return stride_within(window_size, rows_of_timesteps(config.network, window_size)[-1])
    if stride > window_size:
        raise ConfigError(
            f"`scoring_stride` must be at most the window, {window_size:,} rows: else rows lie in no window. "
            f"Received: scoring_stride={stride}. Use a smaller one, or auto."
        )
    return int(stride)


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
        n_features: that are judged, the first of what the network reads of a row; the others are compared with nothing.
        views: what is asked for; the first axis of every result follows their order.
        deviating: views whose deviations are handed out; those of the others are NaN.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
        stride: rows between the windows that speak about the rows that they cover; at most `window_size`.
        phase: rows of the segment before the first one that is taken, which is its first unless a part of it is looked at.
        n_inputs: what the network reads of a row; None: the features.
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
        stride: int = 1,
        phase: int = 0,
        n_inputs: int | None = None,
    ) -> None:
        self._run_network, self._n_features = reconstruct, n_features
        self._window_size = window_size
        self._max_missing = max_missing
        self._views, self._deviating = views, deviating
        self._eager = eager
        # A trailing window speaks about its last row only: what lies before the last row of the next one is final.
        self._ahead = window_size - 1 if set(views) <= TRAILING else 0
        # Rows between the windows that are run: those that end at a row are all needed.
        self._step, self._stride, self._phase = 1 if TRAILING & {*views} else stride, stride, phase
        # Arrays begin at row `_base` of the segment: the first that a window to come begins with, or that was not handed out.
        self._base = self._next_start = self._n_out = 0
        self._rows = np.empty((0, n_features if n_inputs is None else n_inputs), np.float32)
        self._marks = np.empty(0, np.uint8)
        self._sums = WindowSums({*views, *(HEARD[view] for view in deviating)}, window_size, n_features, stride)

    def push(self, rows: Float32s, marks: Codes) -> tuple[Floats, Floats, Codes]:
        """Take further rows, all that the network reads of them, with the status that each has if something is said about it.

        Returns:
            Of the rows that are final: mean errors and deviations, both `(n_views, n, n_features)`, and statuses
            `(n_views, n)`. NaN where nothing is said.
        """
        self._rows = np.concatenate([self._rows, rows])
        self._marks = np.concatenate([self._marks, marks])
        self._sums.grow(len(rows))
        n_starts, at_a_time = self._n_waiting(), BLOCK_WINDOWS * self._step
        self._run([at_a_time] * (n_starts // at_a_time))
        if self._eager:
            self._run([n_starts % at_a_time])
        return self._emit(min(self._next_start + self._ahead, self._base + len(self._rows)))

    def finish(self) -> tuple[Floats, Floats, Codes]:
        """Return the rows that are still held, as `push`; no row comes after."""
        self._run([self._n_waiting()])
        last = self._next_start - 1
        if not self._ahead and last >= 0 and (last + self._phase) % self._stride:
            # Its first row may be gone: without this window it was final.
            for block in filter(None, [self._block(np.array([last]))]):
                self._sums.add_late(block.start, block.measured, self._reconstruct(block.read), block.known)
        return self._emit(self._base + len(self._rows))

    def _reconstruct(self, windows: Float32s) -> Float32s:
        """Return what is expected of the features."""
        return self._run_network(windows)[:, :, : self._n_features]

    def _n_waiting(self) -> int:
        """Return at how many rows a window begins that has all its rows and was not looked at."""
        return max(self._base + len(self._rows) - self._window_size + 1 - self._next_start, 0)

    def _run(self, sizes: list[int]) -> None:
        """Add what the windows that begin at the next rows say onto their rows, in blocks of some sizes."""

        def expected(block: _Block) -> Float32s:
            return self._reconstruct(block.read)

        blocks = self._blocks(sizes)
        # A single block, as of rows that arrive one by one, is not worth a thread.
        for block, found in _ahead(expected, blocks) if len(sizes) > 1 else ((block, expected(block)) for block in blocks):
            self._sums.add(block.start, block.measured, found, block.known, step=self._step, first=block.first)

    def _blocks(self, sizes: list[int]) -> "Iterator[_Block]":
        for n_starts in sizes:
            first = self._next_start + -(self._next_start + self._phase) % self._step
            self._next_start += n_starts
            block = self._block(np.arange(first, self._next_start, self._step))
            if block is not None:
                yield block

    def _block(self, starts: Ints) -> "_Block | None":
        """Return windows that begin `_step` rows after one another; None if no one says anything."""
        if not len(starts):
            return None
        start = int(starts[0]) - self._base
        rows = self._rows[start : int(starts[-1]) - self._base + self._window_size]
        windows = sliding_window_view(rows, self._window_size, axis=0)[:: self._step].swapaxes(1, 2)
        first = -(int(starts[0]) + self._phase) % self._stride
        missing, judged = np.isnan(rows), windows[:, :, : self._n_features]
        read = fill_missing(windows) if missing.any() else windows
        if not missing[:, : self._n_features].any():
            return _Block(start, first, read, judged, None)
        masked, used = mask_windows(judged, self._max_missing)
        known = ~np.isnan(masked) & used[:, None, None]
        return _Block(start, first, read, np.where(known, masked, 0), known) if used.any() else None

    def _emit(self, stop: int) -> tuple[Floats, Floats, Codes]:
        """Hand out the rows of the segment before `stop`, and forget those that no window needs any more."""
        out = slice(self._n_out - self._base, stop - self._base)
        judged = self._rows[out, : self._n_features]
        known: Bools = np.logical_not(np.isnan(judged).all(axis=1))
        errors, deviations = np.full((2, len(self._views), *judged.shape), np.nan)
        for place, view in enumerate(self._views):
            errors[place, known] = self._sums.mean(view, out)[known]
            if view in self._deviating:
                deviations[place, known] = self._sums.mean(HEARD[view], out)[known]
        scored = np.logical_not(np.isnan(errors).all(axis=2))
        status = np.where(scored, self._marks[out], self._why_not(stop, known)).astype(np.uint8)
        self._n_out = stop
        # The window before the next one may yet turn out to be the last of the segment.
        n = max(min(stop, self._next_start - (self._stride > 1)) - self._base, 0)
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
    """Consecutive windows; `read` is `(n_windows, window_size, n_inputs)`, the others have the features alone."""

    start: int  # row that the first one begins with
    first: int  # rows from there to the first one that speaks about all of its rows
    read: Float32s  # by the network
    measured: Float32s  # what the reconstruction is compared with
    known: Bools | None  # where it is; None is everywhere


def _ahead(work: Callable[[_Block], Float32s], blocks: Iterable[_Block]) -> Iterator[tuple[_Block, Float32s]]:
    """Yield each block with what is made of it, in order; meanwhile other threads work on the next ones."""
    coming: deque[tuple[_Block, Future[Float32s]]] = deque()
    with started_threads(_BLOCKS_AHEAD) as others:
        for block in blocks:
            coming.append((block, others.submit(work, block)))
            if len(coming) > _BLOCKS_AHEAD:
                block, expected = coming.popleft()
                yield block, expected.result()
        for block, expected in coming:
            yield block, expected.result()
