"""Scores and events against labels: pure functions on arrays.

The curve metrics take scores as a ranking, without a threshold; the event metrics take what was found. Without a
labelled row a metric has no value, and DataError is raised. So it is for a NaN score: the caller says which rows count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly.errors import ConfigError, DataError
from anomaly.series import Bools, Floats, Ints, runs

# As many as the reference takes; another number gives other values.
N_THRESHOLDS = 250

Ranges = Sequence[tuple[int, int]]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class VolumeUnderSurface:
    """Areas under the curves, averaged over the buffers 0..`buffer`.

    Attributes:
        pr: VUS-PR, 0 to 1.
        roc: VUS-ROC, 0 to 1.
        buffer: the largest buffer, in rows; the values mean little without it.
    """

    pr: float
    roc: float
    buffer: int


@dataclass(frozen=True)
class EventScores:
    """Found events against known ones, each counted once whatever its length.

    Attributes:
        n_found: found events.
        n_known: known events.
        n_hit: known events that share a row with a found one.
        n_false: found events that share no row with a known one.
        precision: share of the found events that share a row with a known one; NaN if none was found.
        recall: n_hit / n_known.
        f1: harmonic mean of the two; 0 if nothing was hit.
    """

    n_found: int
    n_known: int
    n_hit: int
    n_false: int
    precision: float
    recall: float
    f1: float


def event_ranges(flags: Array) -> list[tuple[int, int]]:
    """Return the half-open row ranges of the runs of non-zero entries of `flags` `(n,)`, in order."""
    return runs(np.asarray(flags) != 0)


def volume_under_surface(labels: Array, score: Array, buffer: int) -> VolumeUnderSurface:
    """Return VUS-PR and VUS-ROC: areas under curves that forgive a detection a little beside an event.

    For a buffer w, a row that is d <= w // 2 rows from the nearest event counts sqrt(1 - d / w) as labelled; within
    reach of a second event it counts 1, as the rows of an event do. With c the sum of these over the flagged
    rows, b the part of c outside the events, P labelled rows among n and m flagged ones, a threshold gives

        recall = min(c / (P + b / 2), 1) * (share of the widened events that hold a flagged row)
        false positive rate = (m - c) / (n - P - b / 2)
        precision = c / m

    Events that share a row once they are widened count as one. The thresholds are the scores at 250 evenly
    spaced ranks; a row is flagged if its score is at least the threshold, so tied rows are flagged together.

    Args:
        labels: `(n,)`, 0 or 1.
        score: `(n,)`, higher = more anomalous, no NaN; infinite ones only rank.
        buffer: the largest w, in rows, at least 0. The time grows with its square.

    Returns:
        The means of both areas over w = 0..buffer.

    Raises:
        DataError: if the labels are not 0 and 1, or all the same, or a score is NaN.
        ConfigError: if `buffer` is negative.

    Source:
        Paparrizos et al. (2022), "Volume under the surface", PVLDB 15(11), as TSB-AD 1.5 (Liu and Paparrizos 2024)
        computes it (`RangeAUC_volume_opt`); the values are equal to rounding. What is summed there row by row is summed
        here over classes of rows with the same distance to the events and the same first threshold.
    """
    positive, score = _labelled_scores(labels, score, both=True)
    if buffer < 0:
        raise ConfigError(f"`buffer` must be at least 0 rows. Received: buffer={buffer}.")
    n_rows, half = len(score), min(buffer // 2, len(score))
    thresholds = np.sort(score)[::-1][np.linspace(0, n_rows - 1, N_THRESHOLDS).astype(np.int64)]
    level = np.searchsorted(-thresholds, -score)  # (n,) the first threshold that flags the row
    flagged, hits = _cumulated(level), _cumulated(level[positive])
    edges = np.array(event_ranges(positive))
    surface = _Surface(level, edges[:, 0], edges[:, 1] - 1, half)
    areas = []
    for width in range(buffer + 1):
        if width % 2 == 0 and width // 2 <= half:
            surface.widen(width // 2)
        areas.append(_areas(hits, surface.beside(width), flagged, surface.existence, n_rows))
    pr, roc = np.mean(areas, axis=0).tolist()
    return VolumeUnderSurface(pr, roc, int(buffer))


class _Surface:
    """Rows beside the events, as the events are widened step by step.

    Args:
        level: `(n,)` the first threshold that flags the row.
        first, last: `(n_events,)` first and last rows of the events, ascending.
        half: the largest number of rows by which an event is widened.
    """

    def __init__(self, level: Ints, first: Ints, last: Ints, half: int) -> None:
        self._level, self._first, self._last = level, first, last
        # (n_events,) the first threshold that flags a row of the event; padded, so that every end is a row
        ends = np.stack([first, last + 1], axis=1).ravel()
        self._best = np.minimum.reduceat(np.append(level, N_THRESHOLDS), ends)[::2]
        self._whole = np.zeros(N_THRESHOLDS)
        rows, near, self._second = _distances(len(level), first, last, half)
        self._cell = near * N_THRESHOLDS + level[rows]
        self._by_second = np.argsort(self._second, kind="stable")
        self._second = self._second[self._by_second]
        # (half + 1, N_THRESHOLDS): rows that only one event reaches, by their distance from it
        self._sloped = np.bincount(self._cell, minlength=(half + 1) * N_THRESHOLDS).reshape(-1, N_THRESHOLDS).astype(np.float64)
        self._half = 0
        self.existence = np.zeros(N_THRESHOLDS)  # share of the widened events that hold a flagged row

    def widen(self, half: int) -> None:
        """Widen the events from `half` - 1 to `half` rows on both sides."""
        self._half = half
        begin, end = np.searchsorted(self._second, [half, half + 1])
        reached = self._cell[self._by_second[begin:end]]  # rows that a second event reaches now
        np.subtract.at(self._sloped.reshape(-1), reached, 1)
        self._whole += np.bincount(reached % N_THRESHOLDS, minlength=N_THRESHOLDS)
        ends = np.maximum(self._first - half, 0), np.minimum(self._last + half, len(self._level) - 1)
        self._best = np.minimum(self._best, np.minimum(self._level[ends[0]], self._level[ends[1]]))
        apart = np.flatnonzero(self._first[1:] - self._last[:-1] > 2 * half) + 1
        zones = np.minimum.reduceat(self._best, np.concatenate([[0], apart]))
        self.existence = _cumulated(zones) / len(zones)

    def beside(self, width: int) -> Floats:
        """Return the sum of the sloped labels over the flagged rows outside the events, for each threshold."""
        distance = np.arange(1, self._half + 1)
        slope = np.sqrt(1 - distance / width) if width else np.empty(0)
        sums: Floats = np.cumsum(slope @ self._sloped[1 : self._half + 1] + self._whole)
        return sums


def _distances(n_rows: int, first: Ints, last: Ints, half: int) -> tuple[Ints, Ints, Ints]:
    """Return the rows at most `half` from an event but in none, and how far their two nearest events are."""
    far = 4 * n_rows
    last, first = np.concatenate([[-far, -far], last]), np.concatenate([first, [far, far]])
    rows = np.arange(n_rows)
    after = np.searchsorted(first, rows, side="right")  # the event after the row; its two predecessors are padded by two
    left, right = rows - last[after + 1], first[after] - rows
    near = np.minimum(left, right)
    close = (near > 0) & (near <= half)  # a row of an event is not right of the event's last row
    rows, after = rows[close], after[close]
    second = np.minimum(np.maximum(left, right)[close], np.minimum(rows - last[after], first[after + 1] - rows))
    return rows, near[close], second


def _cumulated(levels: Ints) -> Floats:
    """Count the entries that are flagged at each threshold, `(N_THRESHOLDS,)`."""
    return np.cumsum(np.bincount(levels, minlength=N_THRESHOLDS)).astype(np.float64)


def _areas(hits: Floats, beside: Floats, flagged: Floats, existence: Floats, n_rows: int) -> tuple[float, float]:
    """Return the areas under the precision-recall and the ROC curve of one buffer."""
    counted, expected = hits + beside, hits[-1] + beside / 2
    recall = np.minimum(counted / expected, 1) * existence
    false_rate = (flagged - counted) / (n_rows - expected)
    pr = np.diff(recall, prepend=0) @ (counted / flagged)
    x, y = np.concatenate([[0], false_rate, [1]]), np.concatenate([[0], recall, [1]])
    return float(pr), float(np.diff(x) @ (y[1:] + y[:-1]) / 2)


def average_precision(labels: Array, score: Array) -> float:
    """Return the area under the precision-recall curve as a step function (AUC-PR).

    That is the sum over the distinct scores, from the highest down, of precision times the recall gained.

    Args:
        labels: `(n,)`, 0 or 1.
        score: `(n,)`, higher = more anomalous, no NaN.

    Raises:
        DataError: if the labels are not 0 and 1, none is 1, or a score is NaN.

    Source:
        The definition of `sklearn.metrics.average_precision_score`, which TSB-AD reports as AUC-PR.
    """
    hits, flagged = _curve(*_labelled_scores(labels, score, both=False))
    return float(np.diff(hits / hits[-1], prepend=0) @ (hits / flagged))


def roc_auc(labels: Array, score: Array) -> float:
    """Return the area under the ROC curve: the chance that a labelled row scores above another, ties counted half.

    Args:
        labels: `(n,)`, 0 or 1.
        score: `(n,)`, higher = more anomalous, no NaN.

    Raises:
        DataError: if the labels are not 0 and 1, or all the same, or a score is NaN.

    Source:
        Fawcett (2006), "An introduction to ROC analysis", algorithm 2.
    """
    hits, flagged = _curve(*_labelled_scores(labels, score, both=True))
    recall, false_rate = np.append(0, hits / hits[-1]), np.append(0, (flagged - hits) / (flagged - hits)[-1])
    return float(np.diff(false_rate) @ (recall[1:] + recall[:-1]) / 2)


def _curve(positive: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return how many labelled rows, and how many rows, score at least each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    return np.cumsum(positive[order])[ends].astype(np.float64), (ends + 1).astype(np.float64)


def event_scores(found: Ranges, known: Ranges) -> EventScores:
    """Count found and known events that share a row.

    A long found event hits easily: read this with the affiliation metrics beside it.

    Args:
        found: half-open row ranges, may be none.
        known: half-open row ranges, at least one.

    Raises:
        DataError: if there is no known event, or a range is empty or begins before row 0.
    """
    found_ranges, known_ranges = check_ranges(found, "found"), check_ranges(known, "known")
    if not len(known_ranges):
        raise DataError("Event metrics need at least one known event. Received: none. Check the label column.")
    n_hit = int(_overlaps(known_ranges, found_ranges).sum())
    n_true = int(_overlaps(found_ranges, known_ranges).sum())
    precision = n_true / len(found) if len(found) else float("nan")
    recall = n_hit / len(known)
    f1 = 2 * precision * recall / (precision + recall) if n_hit else 0.0
    return EventScores(len(found), len(known), n_hit, len(found) - n_true, precision, recall, f1)


def _overlaps(ranges: Ints, others: Ints) -> Bools:
    """Tell for each range whether it shares a row with one of the others."""
    begun = np.searchsorted(np.sort(others[:, 0]), ranges[:, 1])
    ended = np.searchsorted(np.sort(others[:, 1]), ranges[:, 0], side="right")
    overlapped: Bools = begun > ended
    return overlapped


def point_adjusted_f1(flags: Array, labels: Array) -> float:
    """Return the F1 of the rows after every event with one flagged row is counted as flagged from end to end.

    This flatters: one lucky row credits a whole event, while a false alarm costs one row, so that random scores win
    wherever events are long (Kim et al. 2022, "Towards a rigorous evaluation of time-series anomaly detection",
    AAAI). Give it for comparison with older papers, never alone, and choose nothing by it.

    Args:
        flags: `(n,)`, non-zero where a row is flagged.
        labels: `(n,)`, 0 or 1.

    Raises:
        DataError: if the labels are not 0 and 1, or none is 1.

    Source:
        Xu et al. (2018), "Unsupervised anomaly detection via variational auto-encoder", section 4.2. TSB-AD's form
        leaves row 0 of the series unadjusted; here it is adjusted as every other.
    """
    flagged = np.asarray(flags) != 0
    positive, _ = _labelled_scores(labels, flagged, both=False)
    credited = sum(stop - start for start, stop in event_ranges(positive) if flagged[start:stop].any())
    n_false = int((flagged & ~positive).sum())
    return float(2 * credited / (credited + n_false + positive.sum()))


def detection_delays(flags: Array, known: Ranges) -> Floats:
    """Return for each known event how many rows pass before the first flagged one in it.

    Args:
        flags: `(n,)`, non-zero where a row is flagged; a flag before the event does not count for it.
        known: half-open row ranges, at least one.

    Returns:
        `(n_known,)` rows, 0 if the first row is flagged; NaN for an event without a flagged row.

    Raises:
        DataError: if there is no known event, or a range is empty or not within the rows.
    """
    ranges = check_ranges(known, "known", len(flags))
    if not len(ranges):
        raise DataError("Delays need at least one known event. Received: none. Check the label column.")
    rows = np.append(np.flatnonzero(flags), len(flags))
    delays = rows[np.searchsorted(rows, ranges[:, 0])] - ranges[:, 0]
    return np.where(delays < ranges[:, 1] - ranges[:, 0], delays, np.nan)


def check_ranges(ranges: Ranges, name: str, n_rows: int | None = None) -> Ints:
    """Return half-open row ranges as an array `(n, 2)`, in the order given.

    Args:
        ranges: pairs of first row and row after the last.
        name: what they are, for the message.
        n_rows: rows of the series; None leaves the ends unchecked.

    Raises:
        DataError: if a range is empty or not within the rows.
    """
    array = np.array(ranges, np.int64).reshape(-1, 2)
    wrong = (array[:, 0] < 0) | (array[:, 1] <= array[:, 0])
    if n_rows is not None:
        wrong |= array[:, 1] > n_rows
    if wrong.any():
        limit = "" if n_rows is None else f" <= {n_rows}"
        start, stop = array[np.argmax(wrong)].tolist()
        raise DataError(f"A range must be a pair with 0 <= start < stop{limit}. Received: ({start}, {stop}) among the {name} ones.")
    return array


def _labelled_scores(labels: Array, score: Array, *, both: bool) -> tuple[Bools, Floats]:
    """Return labels as bool and scores as float64; refuse what no metric can be computed from."""
    labels, score = np.asarray(labels), np.asarray(score, np.float64)
    if labels.ndim != 1 or labels.shape != score.shape:
        raise DataError(f"Labels and scores must be one number a row each. Received: shapes {labels.shape} and {score.shape}.")
    positive = labels == 1
    if not (positive | (labels == 0)).all():
        raise DataError(f"A label must be 0 or 1. Received: {labels[~positive & (labels != 0)][0]}.")
    n_missing = int(np.isnan(score).sum())
    if n_missing:
        raise DataError(f"A score must not be NaN. Received: {n_missing} NaN in {len(score)} rows. Leave these rows out.")
    if not positive.any() or (both and positive.all()):
        rule = "labelled rows and others" if both else "at least one labelled row"
        received = f"{int(positive.sum())} labelled of {len(labels)}"
        raise DataError(f"A metric against labels needs {rule}. Received: {received}. Check the label column.")
    return positive, score
