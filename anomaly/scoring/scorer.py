"""Scores of a series, row by row, whatever the pieces the rows arrive in.

A reconstruction error is the squared difference of a window and its reconstruction, in training sigmas squared.
Windows overlap, so a row is spoken about by several of them; the aggregation says how they become one score (see
`anomaly.scoring.segment`). **Higher = more anomalous**, here and everywhere in this package; 1 is as well as in training.

`combined`, `window_mean` and `point_mean` look up to `window_size - 1` rows ahead; the trailing ones do not, and can run
live. Missing rows of a regular series take part as rows of missing values (`anomaly.windowing.missing_rows`).
A missing value has no error: means go over what is known, and a row's score over the features that something is known of
(`anomaly.windowing.missing`).

The deviation of a row is what it measured less what was expected: the mean, over the windows that cover it
(for the trailing ones: of the window that ends at it), of value minus reconstruction, in training sigmas.

Windows are run in blocks that are counted from the start of a segment and never from the start of
what was pushed. The network therefore sees the same batches, and the scores are the same to the
last bit, however the rows were split.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from anomaly.ingest.order import BEHIND, IN_ORDER, RowOrder
from anomaly.scoring.recipe import Recipe
from anomaly.scoring.row_scores import CONSTANT_CHANGED, DUPLICATE, LATE, OK, OUT_OF_RANGE, Codes, RowScores
from anomaly.scoring.segment import Segment
from anomaly.series import Bools, Float32s, Floats, Ints, breaks_between
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.context import Context
from anomaly.windowing.missing_rows import with_missing_rows
from anomaly.windowing.scaling import ErrorUnits, Scaler

_ROWS_A_PUSH = 4_096

OnRows = Callable[[int, int], None]


class RowScorer:
    """Take rows in any pieces, give scores back a block of windows at a time, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_inputs)` float32 to the same shape.
        scaler: of all columns, fitted on the training rows.
        window_size: timesteps in a window.
        longest_step: a longer time between two rows is a gap, which no window spans.
        max_missing: most of a feature's values in a window that may be missing, a share of `window_size`.
        error_units: what errors are measured in.
        aggregations: names, see above; the first axis of every result follows their order.
        late_within: a row whose time lies at most so far behind the latest one is late; 0 knows no late rows.
        tolerance: counts repeated and late rows, gaps, and missing rows.
        row_step: time between the rows of a regular series, whose missing rows are put in; 0 puts none in.
        eager: run every window as soon as it is there, for rows that arrive one by one. The network then sees other batches;
            with ONNX Runtime on the processors we know its results are the same to the last bit.
        first_row: number of the first row, for messages.
        recipe: the terms beside the network's; None for none.
        own: times at which the recipe's windows begin, and how long they take, by form, where these very rows are scored; None
            elsewhere.
        scoring_stride: rows between the windows that speak about the rows that they cover, and not about their last row alone.
        phase: rows of the first one's segment before it, those that were missing among them.
        bands: whether the rows have `RowScores.bands`; then there must be one aggregation.
        context: which columns are judged, and what else the network reads; None: all are, and nothing.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        *,
        scaler: Scaler,
        window_size: int,
        longest_step: int,
        max_missing: float,
        error_units: ErrorUnits,
        aggregations: tuple[str, ...],
        late_within: int = 0,
        tolerance: Tolerance | None = None,
        row_step: int = 0,
        eager: bool = False,
        first_row: int = 0,
        recipe: Recipe | None = None,
        own: tuple[tuple[Ints, int], ...] | None = None,
        scoring_stride: int = 1,
        phase: int = 0,
        bands: bool = False,
        context: Context | None = None,
    ) -> None:
        n_columns = len(scaler.center)
        self._context = context or Context(n_columns, n_columns)
        self._judged = scaler.first(self._context.n_judged)
        self._recipe, self._own, self._bands = recipe, own, bands
        self._stride, self._phase = scoring_stride, phase
        self._order = RowOrder(late_within, tolerance, longest_step, row_step, first_row)
        self._codes, self._clock = np.empty(0, np.int64), np.empty(0, np.int64)
        self._reconstruct = reconstruct
        self._scaler = scaler
        self._window_size = window_size
        self._longest_step = longest_step
        self._max_missing = max_missing
        self._row_step, self._eager = row_step, eager
        self._error_units = error_units
        self._aggregations = aggregations
        self._segment: Segment | None = None
        self._last_time: int | None = None
        # Of the rows in the segments: whether each was given, or put in, and what it measured.
        self._given: Bools = np.empty(0, np.bool_)
        self._measured: Floats = np.empty((0, self._context.n_judged))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of aggregations and of features that are judged."""
        return len(self._aggregations), self._context.n_judged

    def push(self, times: Ints, values: Floats) -> RowScores:
        """Take further rows.

        Args:
            times: `(n,)` as in `TimeSeries`.
            values: `(n, n_columns)`, unscaled; NaN = missing.

        Returns:
            The rows whose scores are now final, in order; they continue where the last call ended.

        Raises:
            DataError: if a row is not in order and the tolerance is strict.
        """
        codes, clock = self._order.take(times, values)
        self._codes, self._clock = np.concatenate([self._codes, codes]), np.concatenate([self._clock, clock])
        kept = codes == IN_ORDER
        return self._interleaved(self._push(times, values) if kept.all() else self._push(times[kept], values[kept]))

    def finish(self) -> RowScores:
        """Return the scores of the rows that are still held; no row comes after."""
        return self._interleaved(self._join(self._close()), ended=True)

    def _push(self, times: Ints, values: Floats) -> RowScores:
        """Take rows that are in order."""
        parts: list[RowScores] = []
        if len(times):
            times, values, given = with_missing_rows(times, values, self._row_step, self._longest_step, self._last_time)
            self._given = np.concatenate([self._given, given])
            judged = values[:, : self._context.n_judged]
            self._measured = np.concatenate([self._measured, judged])
            scaled, clipped = self._context.read(times, values, self._scaler)
            marks = np.where(self._judged.changed(judged), CONSTANT_CHANGED, OK).astype(np.uint8)
            marks[clipped] = OUT_OF_RANGE
            breaks = np.flatnonzero(breaks_between(times, self._longest_step)) + 1
            for start, stop in pairwise([0, *breaks.tolist(), len(times)]):
                if start or self._breaks(int(times[0])):
                    parts += self._close()
                parts.append(self._take(scaled[start:stop], marks[start:stop], times[start:stop]))
            self._last_time = int(times[-1])
        return self._join(parts)

    def _interleaved(self, final: RowScores, *, ended: bool = False) -> RowScores:
        """Put the rows that take no part back between the others."""
        kept = np.flatnonzero(self._codes == IN_ORDER)
        n = len(self._codes) if ended or len(final) == len(kept) else int(kept[len(final)])
        codes, clock = self._codes[:n], self._clock[:n]
        self._codes, self._clock = self._codes[n:], self._clock[n:]
        here = codes == IN_ORDER
        if here.all():
            return replace(final, times=clock)
        status = np.where(codes == BEHIND, LATE, DUPLICATE).astype(np.uint8)
        return final.among(here, status, clock)

    def _breaks(self, time: int) -> bool:
        """Tell whether a row does not continue what came before."""
        return self._last_time is not None and bool(breaks_between(np.array([self._last_time, time]), self._longest_step)[0])

    def _take(self, scaled: Float32s, marks: Codes, times: Ints) -> RowScores:
        if self._segment is None:
            self._segment = Segment(
                self._reconstruct,
                window_size=self._window_size,
                max_missing=self._max_missing,
                error_units=self._error_units,
                aggregations=self._aggregations,
                eager=self._eager,
                recipe=self._recipe,
                own=self._own,
                stride=self._stride,
                phase=self._phase,
                bands=self._bands,
                n_inputs=self._context.n_inputs,
            )
            self._phase = 0  # of the segments after it
        return self._segment.push(scaled, marks, times)

    def _close(self) -> list[RowScores]:
        segment, self._segment = self._segment, None
        return [segment.finish()] if segment else []

    def _join(self, parts: list[RowScores]) -> RowScores:
        final = RowScores.joined(parts, *self.shape)
        n = len(final)
        given, self._given = self._given[:n], self._given[n:]
        measured, self._measured = self._measured[:n], self._measured[n:]
        final = replace(final, measured=measured)
        return final if given.all() else final.at(given)


def pushed(scorer: RowScorer, times: Ints, values: Floats, on_rows: OnRows | None = None) -> Iterator[RowScores]:
    """Yield the scores of rows that are pushed a few thousand at a time, in order, to the last one.

    Args:
        scorer: a fresh one; it is finished here.
        times: `(n,)` as in `TimeSeries`.
        values: `(n, n_columns)`, unscaled.
        on_rows: called with the number of rows that are pushed, and of all.
    """
    for start in range(0, len(times), _ROWS_A_PUSH):
        stop = min(start + _ROWS_A_PUSH, len(times))
        yield scorer.push(times[start:stop], values[start:stop])
        if on_rows is not None:
            on_rows(stop, len(times))
    yield scorer.finish()


def score_series(scorer: RowScorer, times: Ints, values: Floats, on_rows: OnRows | None = None) -> Floats:
    """Return the scores alone, `(n_aggregations, n)`; the arguments are those of `pushed`."""
    return np.concatenate([rows.score for rows in pushed(scorer, times, values, on_rows)], axis=1)
