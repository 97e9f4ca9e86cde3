"""Which rows come in order: repeated rows and late rows are counted and take no part.

A row that repeats time and values of the row before says nothing new. A row whose time lies up to 128 steps behind the
latest one is late: it belongs to windows that are over. A larger step back is a clock that was set: the rows after it
are as good as any, and no window spans it. A row with the time of the one before and other values is kept.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anomaly.errors import DataError, SeveralSeriesError
from anomaly.meaning.several import ALONE, FEWEST_REPEATED, MOST_REPEATED, refuse_blocks
from anomaly.series import Bools, Floats, Ints, TimeSeries, breaks_between, format_time, longest_step, median_step, row_step
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.missing_rows import missing_before

LATE_STEPS = 128
IN_ORDER, REPEATED, BEHIND = range(3)
# Where a larger share of the rows comes behind later ones, the rows are sorted and not left out.
MOST_BEHIND = 0.01
# Rows that share their time with others are the same rows again, if no larger share of them has other values.
MOST_OTHER = 0.02
# A time so many spans of the others away from them, and years, is no time of this series.
_FAR_SPANS, _FAR_MICROSECONDS = 10, 366 * 86_400 * 10**6


class RowOrder:
    """Sort rows into those in order, repeated ones and late ones, whatever pieces they arrive in.

    Args:
        late_within: a time that lies at most so far behind the latest one is late.
        tolerance: counts what is found.
        longest_step: a longer time between two rows in order is counted as a gap.
        row_step: time between the rows of a regular series, whose missing rows are counted; 0 counts none.
        first_row: number of the first row, for messages.
    """

    def __init__(
        self,
        late_within: int,
        tolerance: Tolerance | None = None,
        longest_step: int = 2**62,
        row_step: int = 0,
        first_row: int = 0,
    ) -> None:
        self._late_within, self._longest_step, self._row_step = late_within, longest_step, row_step
        self._tolerance = Tolerance() if tolerance is None else tolerance
        self._time: int | None = None
        self._values: Floats = np.empty(0)
        self._row = first_row

    def take(self, times: Ints, values: Floats) -> tuple[Ints, Ints]:
        """Take further rows.

        Args:
            times: `(n,)` as in `TimeSeries`.
            values: `(n, n_features)`.

        Returns:
            For each row IN_ORDER, REPEATED or BEHIND, `(n,)`; and its time, that of the row before it if it is late.

        Raises:
            DataError: if a row is not in order and the tolerance is strict.
        """
        codes = np.zeros(len(times), np.int64)
        if not len(times):
            return codes, times
        before = times[0] - 1 if self._time is None else self._time
        steps = np.diff(times, prepend=before)
        if not (steps > 0).all():
            codes = self._codes(times, values)
        kept = np.flatnonzero(codes == IN_ORDER)
        clock = times[np.maximum.accumulate(np.where(codes == BEHIND, -1, np.arange(len(times))))]
        clock = np.where((codes == BEHIND) & (np.cumsum(codes != BEHIND) == 0), before, clock)
        if len(kept):
            joined = times[kept] if self._time is None else np.append(self._time, times[kept])
            missing = missing_before(joined, self._row_step, self._longest_step)
            found = np.zeros((2, len(times)), np.int64)
            # They are counted with the row behind them, whatever pieces the rows arrive in.
            found[:, kept[len(kept) - len(missing) :]] = breaks_between(joined, self._longest_step), missing
            self._count("gaps", found[0])
            self._count("missing_rows", found[1])
            self._time, self._values = int(times[kept[-1]]), values[kept[-1]]
        self._row += len(times)
        return codes, clock

    def _codes(self, times: Ints, values: Floats) -> Ints:
        """Look at row after row: only where times do not simply go forward."""
        codes = np.zeros(len(times), np.int64)
        same_time = np.zeros(len(times), np.bool_)
        latest, last = self._time, self._values
        for row, (time, cells) in enumerate(zip(times.tolist(), values, strict=True)):
            if latest is not None and 0 < latest - time <= self._late_within:
                codes[row] = BEHIND
                continue
            if time == latest:
                codes[row] = REPEATED if np.array_equal(cells, last, equal_nan=True) else IN_ORDER
                same_time[row] = codes[row] == IN_ORDER
            latest, last = time, cells if codes[row] == IN_ORDER else last
        self._count("duplicate_rows", codes == REPEATED)
        self._count("conflicting_rows", same_time)
        self._count("steps_back", codes == BEHIND)
        return codes

    def _count(self, kind: str, found: Bools | Ints) -> None:
        if found.any():
            self._tolerance.add(kind, int(found.sum()), f"row {self._row + int(np.argmax(found > 0)):,}")


class Stacked:
    """Refuses rows that begin anew with the first two times of all: a series below another one.

    Args:
        name: of the input, for messages.
        timed: whether rows have times.
    """

    def __init__(self, name: str, *, timed: bool) -> None:
        self._name, self._timed = name, timed
        self._begin: list[int] = []  # the first two times
        self._last = np.empty(0, np.int64)  # the time of the last row before
        self._n_rows = 0

    def refuse(self, times: Ints) -> None:
        """Look at further rows, in the order of the file.

        Raises:
            SeveralSeriesError: if one begins anew.
        """
        if not len(times) or not self._timed:
            return
        self._begin += times[: 2 - len(self._begin)].tolist()
        first, second, n_before = self._begin[0], self._begin[-1], len(self._last)
        times = np.concatenate([self._last, times])
        anew = np.flatnonzero((times[:-1] == first) & (times[1:] == second)) + self._n_rows - n_before
        if first < second and len(anew) and anew[-1] > 1:
            rule = (
                "Each row of a series must have a time of its own. Received: row "
                f"{int(anew[-1]):,} and the next one with the times of the first two, {format_time(first, 'time')} ({self._name})."
            )
            remedy = "Name the column that tells series apart with --id-column, or give the rows of one series alone."
            raise SeveralSeriesError(f"{rule} {remedy}", f"{rule} {ALONE}")
        self._last = times[-1:]
        self._n_rows += len(times) - n_before


def in_order(series: TimeSeries, tolerance: Tolerance | None = None) -> TimeSeries:
    """Return the rows of a series that are in order; the series itself if all are, or if its rows are counted.

    Args:
        series: rows as they came.
        tolerance: counts what is left out.

    Raises:
        DataError: if a row is not in order and the tolerance is strict.
    """
    if series.time_column is None:
        return series
    refuse_far_times(series.times, series.name)
    series = _sorted(series, tolerance)
    times = series.times
    order = RowOrder(LATE_STEPS * median_step(times), tolerance, longest_step(times, "auto"), row_step(times, "auto"))
    codes, _ = order.take(times, series.values)
    kept = codes == IN_ORDER
    if kept.all():
        return series
    labels = None if series.labels is None else series.labels[kept]
    return replace(series, times=series.times[kept], values=series.values[kept], labels=labels)


def _sorted(series: TimeSeries, tolerance: Tolerance | None) -> TimeSeries:
    order = sorted_order(series.times, series.values, series.name, tolerance, columns=series.columns)
    if order is None:
        return series
    labels = None if series.labels is None else series.labels[order]
    return replace(series, times=series.times[order], values=series.values[order], labels=labels)


def refuse_far_times(times: Ints, name: str) -> None:
    """Refuse a few times that lie years from all others, such as 1970-01-01: a clock that was not set.

    Args:
        times: `(n,)` as in `TimeSeries`.
        name: of the input, for messages.

    Raises:
        DataError: if there are.
    """
    if len(times) < FEWEST_REPEATED or times.max() - times.min() <= _FAR_MICROSECONDS:
        return
    low, high = np.quantile(times, (0.02, 0.98))
    allowed = max(_FAR_SPANS * (high - low), _FAR_MICROSECONDS)
    far = np.flatnonzero((times < low - allowed) | (times > high + allowed))
    if len(far):
        raise DataError(
            "The times of a series must lie together. "
            f"Received: {format_time(int(times[far[0]]), 'time')} in row {int(far[0]):,}, and {len(far):,} such in all, years from "
            f"the others ({name}). Mend or remove these rows."
        )


def sorted_order(
    times: Ints, values: Floats, name: str, tolerance: Tolerance | None = None, *, columns: Sequence[str] = ()
) -> Ints | None:
    """Return the rows in the order of their times; None where they come in order, or a clock was set.

    Where a clock was set back, times repeat when the rows are sorted; such rows stay as they came.

    Args:
        times: `(n,)` as in `TimeSeries`.
        values: `(n, n_features)`.
        name: of the input, for messages.
        tolerance: counts the rows that come behind later ones, if they are sorted.
        columns: names of the features, for messages.

    Raises:
        DataError: if so many rows share their time with others that they must belong to several series, or runs of them lie among
            one another in time.
    """
    if (np.diff(times) > 0).all():
        return None
    order = np.argsort(times, kind="stable")
    same_time = np.flatnonzero(np.diff(times[order]) == 0)
    first, second = values[order[same_time]], values[order[same_time + 1]]
    n_other = int((~((first == second) | (np.isnan(first) & np.isnan(second))).all(axis=1)).sum())
    if n_other > max(MOST_REPEATED * len(times), FEWEST_REPEATED):
        rule = (
            "Each row of a series must have a time of its own. "
            f"Received: {n_other:,} of {len(times):,} rows with the time of another ({name})."
        )
        remedy = "Name the column that tells series apart with --id-column, or aggregate the rows."
        raise SeveralSeriesError(f"{rule} {remedy}", f"{rule} {ALONE}")
    behind = times < np.maximum.accumulate(times)
    written_twice = n_other <= MOST_OTHER * len(same_time)
    if behind.sum() <= MOST_BEHIND * len(times):
        return None
    if len(same_time) <= FEWEST_REPEATED or not written_twice:
        refuse_blocks(times, values, name, columns)
    if len(same_time) > (np.diff(times) == 0).sum() and not written_twice:
        return None
    if tolerance is not None:
        tolerance.add("sorted_rows", int(behind.sum()), f"row {int(np.argmax(behind)):,}")
    return order
