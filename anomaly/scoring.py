"""Reconstruction error -> scores, row by row, whatever the pieces the rows arrive in.

A reconstruction error is the squared difference of a window and its reconstruction, in training
sigmas squared. Windows overlap, so a row is spoken about by several of them; the aggregation says
how they become one score. **Higher = more anomalous**, here and everywhere in this package.

    window_mean     mean over the windows that cover the row of the window's mean error
    point_mean      mean over the windows that cover the row of their error at that row
    trailing        mean error of the window that ends at the row
    trailing_point  error at the row of the window that ends at it

The first two look up to `window_size - 1` rows ahead; the trailing ones do not, and can run live.
All are linear in the error, so a score splits exactly into shares of the features.

The deviation of a row is what it measured less what was expected: the mean, over the windows that cover it
(for the trailing ones: of the window that ends at it), of value minus reconstruction, in training sigmas.

Windows are run in blocks that are counted from the start of a segment and never from the start of
what was pushed. The network therefore sees the same batches, and the scores are the same to the
last bit, however the rows were split.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly.order import BEHIND, IN_ORDER, RowOrder
from anomaly.scaling import Scaler
from anomaly.series import Bools, Float32s, Floats, Ints, breaks_between, complete_rows, time_index
from anomaly.tolerance import Tolerance
from anomaly.windowing import make_windows, overlap_add, window_starts

BLOCK_WINDOWS = 256
_ROWS_A_PUSH = 4_096

STATUSES = ("ok", "warm_up", "no_window", "missing", "out_of_range", "duplicate", "late")
OK, WARM_UP, NO_WINDOW, MISSING, OUT_OF_RANGE, DUPLICATE, LATE = range(7)

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RowScores:
    """Scores of consecutive rows, for one or more aggregations."""

    by_feature: Floats  # (n_aggregations, n_rows, n_features), NaN where there is no score
    deviation: Floats  # of the same shape
    status: Codes  # (n_aggregations, n_rows), positions in STATUSES
    times: Ints  # (n_rows,), those of late rows put forward to the row before

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.status.shape[1])

    @property
    def score(self) -> Floats:
        """Scores `(n_aggregations, n_rows)`: the mean over the features; NaN where there is none."""
        mean: Floats = self.by_feature.mean(axis=2)
        return mean

    @staticmethod
    def joined(parts: "list[RowScores]", n_aggregations: int, n_features: int) -> "RowScores":
        """Join consecutive parts; none gives zero rows."""
        nothing = np.empty((n_aggregations, 0, n_features))
        parts = [RowScores(nothing, nothing, np.empty((n_aggregations, 0), np.uint8), np.empty(0, np.int64)), *parts]
        return RowScores(
            by_feature=np.concatenate([part.by_feature for part in parts], axis=1),
            deviation=np.concatenate([part.deviation for part in parts], axis=1),
            status=np.concatenate([part.status for part in parts], axis=1),
            times=np.concatenate([part.times for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one series.

    Attributes:
        score: `(n_timesteps,)` float64, higher = more anomalous; NaN where `status` says why there is none.
        by_feature: `(n_timesteps, n_features)`; `score` is its mean over the features.
        deviation: `(n_timesteps, n_features)`, measured less expected, in training sigmas; NaN as in `score`.
        status: `(n_timesteps,)` positions in `STATUSES`: ok; warm_up (fewer rows than a window since the
            last gap); no_window (the segment is shorter than a window); missing (a value of the row is
            missing); out_of_range (scored, but a value was more than 10,000 training sigmas away); duplicate (the row
            before once more); late (its time lies behind that of a row before it).
        threshold: the row is flagged if `score > threshold`.
        aggregation: how overlapping windows became one score.
        times: as in `TimeSeries`.
        columns: names of the features.
        time_column: as in `TimeSeries`.
    """

    score: Floats
    by_feature: Floats
    deviation: Floats
    status: Codes
    threshold: float
    aggregation: str
    times: Ints
    columns: tuple[str, ...]
    time_column: str | None

    def __len__(self) -> int:
        """Return the number of timesteps."""
        return len(self.score)

    @property
    def clock(self) -> Ints:
        """`times`, those of late rows put forward to the row before, `(n_timesteps,)`: late rows part no event."""
        return self.times[np.maximum.accumulate(np.where(self.status == LATE, 0, np.arange(len(self))))]

    @property
    def flags(self) -> Bools:
        """Rows with `score > threshold`, `(n_timesteps,)`; a row without a score is not flagged, and not normal."""
        return flags(self.score, self.threshold)

    @property
    def anomaly_score(self) -> Floats:
        """`score / threshold`: above 1 is anomalous, for every detector."""
        return self.score / self.threshold

    def at(self, threshold: float) -> "Scores":
        """Return the same scores with another threshold."""
        return replace(self, threshold=threshold)

    def to_frame(self) -> pd.DataFrame:
        """Return the columns that `anomaly score` appends; `is_anomaly` is missing where there is no score."""
        is_anomaly = pd.array(self.flags, dtype="boolean")
        is_anomaly[np.isnan(self.score)] = pd.NA
        return pd.DataFrame(
            {
                "score": self.score,
                "threshold": self.threshold,
                "anomaly_score": self.anomaly_score,
                "is_anomaly": is_anomaly,
                "status": np.array(STATUSES)[self.status],
            },
            index=time_index(self.times, self.time_column),
        )


def flags(score: Floats, threshold: float) -> Bools:
    """Return `score > threshold`, strict; the one place where a score becomes a decision."""
    above: Bools = score > threshold
    return above


class RowScorer:
    """Take rows in any pieces, give scores back a block of windows at a time, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_features)` float32 to the same shape.
        scaler: fitted on the training rows.
        window_size: timesteps in a window.
        longest_step: a longer time between two rows is a gap, which no window spans.
        aggregations: names, see above; the first axis of every result follows their order.
        late_within: a row whose time lies at most so far behind the latest one is late; 0 knows no late rows.
        tolerance: counts repeated and late rows, and gaps.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        *,
        scaler: Scaler,
        window_size: int,
        longest_step: int,
        aggregations: tuple[str, ...],
        late_within: int = 0,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._order = RowOrder(late_within, tolerance, longest_step)
        self._codes, self._clock = np.empty(0, np.int64), np.empty(0, np.int64)
        self._reconstruct = reconstruct
        self._scaler = scaler
        self._window_size = window_size
        self._longest_step = longest_step
        self._aggregations = aggregations
        self._segment: _Segment | None = None
        self._last_time: int | None = None

    def push(self, times: Ints, values: Floats) -> RowScores:
        """Take further rows.

        Args:
            times: `(n,)` as in `TimeSeries`.
            values: `(n, n_features)`, unscaled; a row with a NaN belongs to no window.

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
            scaled, clipped = self._scaler.transform(values)
            usable = complete_rows(values)
            for start, stop in self._runs(times, usable):
                if start or not self._continues(int(times[0]), bool(usable[0])):
                    parts += self._close()
                parts.append(self._take(scaled[start:stop], clipped[start:stop]) if usable[start] else self._missing(stop - start))
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
        n_aggregations, _, n_features = final.by_feature.shape
        by_feature, deviation = np.full((2, n_aggregations, n, n_features), np.nan)
        by_feature[:, here], deviation[:, here] = final.by_feature, final.deviation
        status = np.broadcast_to(np.where(codes == BEHIND, LATE, DUPLICATE).astype(np.uint8), (n_aggregations, n)).copy()
        status[:, here] = final.status
        return RowScores(by_feature, deviation, status, clock)

    def _runs(self, times: Ints, usable: Bools) -> list[tuple[int, int]]:
        change = np.flatnonzero(breaks_between(times, self._longest_step) | (usable[1:] != usable[:-1])) + 1
        bounds = [0, *change.tolist(), len(times)]
        return list(pairwise(bounds))

    def _continues(self, time: int, usable: bool) -> bool:
        if self._last_time is None or not usable:
            return False
        return not breaks_between(np.array([self._last_time, time]), self._longest_step)[0]

    def _take(self, scaled: Float32s, clipped: Bools) -> RowScores:
        if self._segment is None:
            self._segment = _Segment(self._reconstruct, self._window_size, self._aggregations, scaled.shape[1])
        return self._segment.push(scaled, clipped)

    def _close(self) -> list[RowScores]:
        segment, self._segment = self._segment, None
        return [segment.finish()] if segment else []

    def _missing(self, n: int) -> RowScores:
        shape = (len(self._aggregations), n)
        nothing = np.full((*shape, len(self._scaler.center)), np.nan)
        return RowScores(nothing, nothing, np.full(shape, MISSING, np.uint8), np.zeros(n, np.int64))

    def _join(self, parts: list[RowScores]) -> RowScores:
        return RowScores.joined(parts, len(self._aggregations), len(self._scaler.center))


def score_series(scorer: RowScorer, times: Ints, values: Floats) -> Floats:
    """Return the scores alone, `(n_aggregations, n)`, of rows pushed a few thousand at a time.

    Args:
        scorer: a fresh one; it is finished here.
        times: `(n,)` as in `TimeSeries`.
        values: `(n, n_features)`, unscaled.
    """
    parts = []
    for start in range(0, len(times), _ROWS_A_PUSH):
        parts.append(scorer.push(times[start : start + _ROWS_A_PUSH], values[start : start + _ROWS_A_PUSH]).score)
    return np.concatenate([*parts, scorer.finish().score], axis=1)


class _Segment:
    """Rows without a gap between them: what is still needed of them, and the sums so far.

    All arrays begin at row `_base` of the segment, the first one whose score is not final.
    """

    def __init__(
        self, reconstruct: Callable[[Float32s], Float32s], window_size: int, aggregations: tuple[str, ...], n_features: int
    ) -> None:
        self._reconstruct = reconstruct
        self._window_size = window_size
        self._aggregations = aggregations
        self._base = 0
        self._next_start = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._clipped = np.empty(0, np.bool_)
        self._total = np.zeros((len(aggregations), 0, 2 * n_features))  # sums of errors, then of deviations
        self._count = np.zeros((len(aggregations), 0), np.int64)

    def push(self, rows: Float32s, clipped: Bools) -> RowScores:
        n_aggregations, n_sums = len(self._aggregations), self._total.shape[2]
        self._rows = np.concatenate([self._rows, rows])
        self._clipped = np.concatenate([self._clipped, clipped])
        self._total = np.concatenate([self._total, np.zeros((n_aggregations, len(rows), n_sums))], axis=1)
        self._count = np.concatenate([self._count, np.zeros((n_aggregations, len(rows)), np.int64)], axis=1)
        block = np.arange(BLOCK_WINDOWS)
        while self._next_start + BLOCK_WINDOWS + self._window_size - 1 <= self._base + len(self._rows):
            self._run(self._next_start - self._base + block)
            self._next_start += BLOCK_WINDOWS
        return self._emit(self._next_start - self._base)

    def finish(self) -> RowScores:
        starts = window_starts(len(self._rows), self._window_size, stride=1)
        starts = starts[starts >= self._next_start - self._base]
        if len(starts):
            self._run(starts)
        return self._emit(len(self._rows))

    def _run(self, starts: Ints) -> None:
        windows = make_windows(self._rows, starts, self._window_size)
        deviations = windows - self._reconstruct(windows).astype(np.float64)
        errors = np.square(deviations)
        means = np.broadcast_to(errors.mean(axis=1, keepdims=True), errors.shape)
        last = starts + self._window_size - 1
        for aggregation, total, count in zip(self._aggregations, self._total, self._count, strict=True):
            sums = np.concatenate([means if aggregation in ("window_mean", "trailing") else errors, deviations], axis=2)
            if aggregation in ("trailing", "trailing_point"):
                overlap_add(total, count, last, sums[:, -1:])
            else:
                overlap_add(total, count, starts, sums)

    def _emit(self, n: int) -> RowScores:
        """Hand out the first `n` rows held, and forget them."""
        shorter = self._base + len(self._rows) < self._window_size
        count, clipped = self._count[:, :n], self._clipped[:n]
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a row that no window speaks about
            by_feature, deviation = np.split(self._total[:, :n] / count[:, :, None], 2, axis=2)
        scored = np.where(clipped, OUT_OF_RANGE, OK)
        status = np.where(count > 0, scored, NO_WINDOW if shorter else WARM_UP).astype(np.uint8)
        self._base += n
        self._rows, self._clipped = self._rows[n:], self._clipped[n:]
        self._total, self._count = self._total[:, n:], self._count[:, n:]
        return RowScores(by_feature, deviation, status, np.zeros(n, np.int64))
