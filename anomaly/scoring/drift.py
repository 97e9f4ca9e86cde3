"""Whether new rows still look like the training rows: values outside their range, scores that have shifted.

Both are counts, so that memory is bounded and the pieces that rows arrive in make no difference.

**Values.** Of each feature the share of values below the least and above the greatest one in training.

**Scores.** The Kolmogorov-Smirnov distance between the scores and the calibration scores (Smirnov 1948, *Table for estimating
the goodness of fit of empirical distributions*), that is the largest difference of their two cumulative shares, and the ratio of
their medians. The distance lies between 0 and 1, is the same for a score and its root, and a few anomalies cannot move
it by more than their share. The population stability index (Siddiqi 2006, *Credit Risk Scorecards*) over the deciles was
measured too: it hangs on what stands in for an empty tenth, and most series pass its customary limit of .25.
There is no p-value: windows overlap, so that neighbouring scores are nearly the same, and a test for independent ones
would call every week a new one. The limits were measured instead (`scripts/benchmarks/drift.py`): a distance of .5 with a median
1.5 times as high or half as high, or a tenth of a feature outside its range. Of 21 public series 6 warn on the rows after
training, of which 5 have moved for good; shifted by one sigma 15 do, with twice the variance 20, frozen 17.

Scores are counted in cells of a 32nd of an octave, which moves the distance by what lies in one cell at most.
"""

import copy
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from anomaly.errors import shorten
from anomaly.series import Bools, Floats, Ints

# Cells an octave, and the octaves from 2**-40 to 2**40; what lies outside counts in the first or the last cell.
_CELLS, _LOWEST, _HIGHEST = 32, -40, 40
_N_CELLS = (_HIGHEST - _LOWEST) * _CELLS
# A value counts as outside if it is so by this share of the limit: a constant feature may be written in other digits.
_ROUNDING = 1e-9
# So many numbers are counted together.
_MOST_WAITING = 1 << 16
# What calls for a warning, see above: distance, ratios of the medians, share outside, and the fewest windows of scores.
FAR, RAISED, LOWERED, OUTSIDE, LEAST_WINDOWS = 0.5, 1.5, 0.5, 0.1, 4

# A median more times as high or as low is told as such: in training there was next to no error.
_MOST_TIMES = 1_000

Counts = tuple[tuple[int, int], ...]


class ValueRange(NamedTuple):
    """The least and the greatest value of each feature in training, `(n_features,)` each."""

    minimum: Floats
    maximum: Floats

    @classmethod
    def of(cls, values: Floats) -> "ValueRange":
        """Return the range of `values` `(n, n_features)`, ignoring NaN; of a feature without a value from inf to -inf."""
        missing = np.isnan(values)
        return cls(np.where(missing, np.inf, values).min(axis=0), np.where(missing, -np.inf, values).max(axis=0))


@dataclass(frozen=True)
class ColumnDrift:
    """The values of one feature against their range in training.

    Attributes:
        values: that are not missing.
        below: share of them below the least one in training; None where the range is not known, or there is no value.
        above: share of them above the greatest one.
        minimum: the least one in training; None where the range is not known.
        maximum: the greatest one.
    """

    values: int
    below: float | None
    above: float | None
    minimum: float | None
    maximum: float | None

    @property
    def outside(self) -> float:
        """Share of the values outside the range; 0 where it is not known."""
        return (self.below or 0.0) + (self.above or 0.0)


@dataclass(frozen=True)
class DriftResult:
    """What has changed since the training.

    Attributes:
        rows: that were read.
        scores: that were compared.
        distance: Kolmogorov-Smirnov distance between them and the calibration scores, from 0 to 1; None without scores.
        median_ratio: their median / that of the calibration scores; None without scores.
        columns: for each feature its values.
        least: fewest rows, or scores, that anything is concluded from: those of four windows.
    """

    rows: int
    scores: int
    distance: float | None
    median_ratio: float | None
    columns: dict[str, ColumnDrift]
    least: int

    @property
    def shifted(self) -> bool:
        """Whether the scores are others than in training: far in distance, and 1.5 times as high or half as high."""
        if self.scores < self.least or self.distance is None or self.median_ratio is None:
            return False
        return self.distance >= FAR and not LOWERED < self.median_ratio < RAISED

    @property
    def outside(self) -> list[str]:
        """The features of which a tenth or more lies outside the range in training, the worst first."""
        names = [name for name, column in self.columns.items() if self.rows >= self.least and column.outside >= OUTSIDE]
        return sorted(names, key=lambda name: -self.columns[name].outside)

    @property
    def warning(self) -> str | None:
        """What has changed, in a clause; None if all is as in training."""
        parts = []
        if self.shifted and self.median_ratio is not None:
            parts.append(f"scores have shifted (median {_times(self.median_ratio)} that in training, distance {self.distance:.2f})")
        if self.outside:
            worst = self.columns[self.outside[0]].outside
            parts.append(f"values lie outside the training range in {shorten(self.outside)} ({worst:.0%} at worst)")
        return " and ".join(parts) or None

    def counting(self, rising: Collection[str]) -> str:
        """Say what helps where features lie outside their range that only rose in training, as counts do; "" where none does.

        Args:
            rising: the features that only rose in training.
        """
        found = [name for name in self.outside if name in rising]
        if not found:
            return ""
        return (
            f"{shorten(found)} only rose in training: if that is a count, no history holds what comes next; "
            "train anew on its differences, or without it"
        )

    @property
    def extent(self) -> float:
        """How far it has gone: the distance if scores have shifted, or the worst share outside; from 0, without a warning, to 1."""
        outside = self.columns[self.outside[0]].outside if self.outside else 0.0
        return max(outside, self.distance or 0.0) if self.shifted else outside

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        told = {name: getattr(self, name) for name in ("shifted", "outside", "warning", "extent")}
        return asdict(self) | {"columns": {name: asdict(column) for name, column in self.columns.items()}} | told


def joint_warning(extents: Mapping[str, float], n_series: int) -> str | None:
    """Say in a clause how many series have changed, and which the most; None if none has.

    Args:
        extents: of each series that has, how far.
        n_series: how many were compared.
    """
    if not extents:
        return None
    worst = sorted(extents, key=lambda name: (-extents[name], name))
    return f"{len(extents):,} of {n_series:,} series no longer look like in training (the furthest first: {shorten(worst, 3)})"


class CountedRows:
    """The rows of a training whose rows are counted: others have the same numbers, so they are known by their values.

    Args:
        first: number of the first one.
        last: number of the last one.
        fingerprint: SHA-256 of their numbers and values, as `anomaly.detector.fitting.fingerprint_of` makes it.

    Attributes:
        seen: whether they have come.
    """

    def __init__(self, first: int, last: int, fingerprint: str) -> None:
        self._first, self._last, self._fingerprint = first, last, fingerprint
        self._n, self.seen = 0, False
        self._digest: Any = None

    def anew(self) -> "CountedRows":
        """Return the same before any row has come."""
        return CountedRows(self._first, self._last, self._fingerprint)

    def take(self, values: Floats) -> None:
        """Take the next rows, `(n, n_features)`, from the first one of a series on."""
        begin, self._n = self._n, self._n + len(values)
        if begin > self._last or self._n <= self._first:
            return
        if self._digest is None:
            self._digest = hashlib.sha256(np.arange(self._first, self._last + 1, dtype=np.int64).data)
        self._digest.update(np.ascontiguousarray(values[max(self._first - begin, 0) : self._last + 1 - begin]).data)
        self.seen = self._n > self._last and self._digest.hexdigest() == self._fingerprint

    def hold(self, times: Ints) -> Bools:
        """Tell which rows have numbers of theirs, `(n,)`."""
        return np.asarray((times >= self._first) & (times <= self._last), np.bool_)


def trained_rows(
    training: Mapping[str, Any], time_column: str | None, times: Ints, fingerprint: str
) -> "Ints | CountedRows | None":
    """Return the rows of a training as `Drift` knows them: by their times, or where they are counted by their values, too.

    Numbers that leave some out count no rows, and are known to nobody.

    Args:
        training: what a detector knows of it, with its first and its last row.
        time_column: of the detector; None where rows are counted.
        times: of its rows, ascending.
        fingerprint: as for `CountedRows`.
    """
    if time_column is not None:
        return times
    first, last = int(training["first_time"]), int(training["last_time"])
    return CountedRows(first, last, fingerprint) if last - first + 1 == training["n_rows"] else None


class Drift:
    """Count values and scores as they come.

    Args:
        columns: names of the features.
        value_range: of the training rows; None if it is not known.
        calibration: scores of the training rows by the aggregation in use, `(n,)`, NaN where there is none.
        window_size: timesteps in a window.
        trained: the training rows, whose own scores are low, as windows of theirs were kept: their times, ascending, or what knows
            them where rows are counted; None if nobody knows.
    """

    def __init__(
        self,
        columns: tuple[str, ...],
        value_range: ValueRange | None,
        calibration: Floats,
        window_size: int,
        trained: Ints | CountedRows | None = None,
    ) -> None:
        self._columns, self._range, self._window_size = columns, value_range, window_size
        self._counted = trained if isinstance(trained, CountedRows) else None
        times = None if isinstance(trained, CountedRows) else trained
        self._trained = None if times is None or not len(times) else (int(times[0]), int(times[-1]))
        if value_range is not None:
            rounding = [_ROUNDING * np.where(np.isfinite(limits), np.abs(limits), 0) for limits in value_range]
            self._least, self._greatest = value_range.minimum - rounding[0], value_range.maximum + rounding[1]
        self._calibration = _Tally()
        self._calibration.take(calibration)
        self._begin()

    def _begin(self) -> None:
        self._scores, self._held = _Tally(), _Tally()
        self._counted = None if self._counted is None else self._counted.anew()
        self._rows = self._n_waiting = 0
        self._known, self._below, self._above = np.zeros((3, len(self._columns)), np.int64)
        self._waiting: tuple[list[Floats], list[Floats]] = [], []

    def anew(self) -> "Drift":
        """Return what compares with the same, and has counted nothing."""
        other = copy.copy(self)
        other._begin()
        return other

    def push(self, values: Floats | None = None, scores: Floats | None = None, times: Ints | None = None) -> None:
        """Take further rows: their values, and the scores that have become final, of these rows or others.

        Args:
            values: `(n, n_features)`, unscaled; NaN = missing.
            scores: `(m,)`, NaN where a row has none.
            times: of the rows with these scores, `(m,)`; those of the training do not count. None: none of them is.
        """
        if self._counted is not None and values is not None:
            self._counted.take(values)
        if scores is not None and times is not None:
            scores = self._of_new_rows(scores, times)
        for waiting, new in zip(self._waiting, (values, scores), strict=True):
            if new is not None and len(new):
                waiting.append(new)
                self._n_waiting += new.size
        if self._n_waiting >= _MOST_WAITING:
            self.settle()

    def _of_new_rows(self, scores: Floats, times: Ints) -> Floats:
        """Return the scores of other rows than those of the training; count those apart that may be of them."""
        if self._counted is not None:
            inside = self._counted.hold(times)
            self._held.take(scores[inside])
            return scores[~inside]
        return scores if self._trained is None else scores[(times < self._trained[0]) | (times > self._trained[1])]

    @property
    def counts(self) -> Counts:
        """The scores so far: cells that hold some, and how many, behind all cells those apart; `restore` takes it."""
        self.settle()
        scores = np.concatenate([self._scores.dense(), self._held.dense()])
        cells = np.flatnonzero(scores)
        return tuple(zip(cells.tolist(), scores[cells].tolist(), strict=True))

    def restore(self, counts: Counts) -> None:
        """Count the scores of an earlier run too."""
        for cell, n in counts:
            place, cell = divmod(cell, _N_CELLS)
            (self._held if place else self._scores).add(cell, np.array([n]))

    def memory(self) -> Ints:
        """Return all counts so far, and what they are compared with as a number, for `go_on`; `(m,)`."""
        self.settle()
        scores = self._all_scores()
        numbers = [np.array([self._identity(), self._rows]), self._known, self._below, self._above, np.array([scores.first])]
        return np.concatenate([*numbers, scores.counts])

    def _all_scores(self) -> "_Tally":
        """Return the scores, with those apart unless they are of the training."""
        if not len(self._held.counts) or (self._counted is not None and self._counted.seen):
            return self._scores
        both = _Tally()
        for tally in (self._scores, self._held):
            both.add(tally.first, tally.counts)
        return both

    def go_on(self, memory: Ints) -> None:
        """Take over the counts of another one; they are left if it compared with something else.

        Args:
            memory: what `memory` of the other one returned.
        """
        n = len(self._columns)
        if len(memory) < 3 + 3 * n or memory[0] != self._identity():
            return
        self._begin()
        self._counted = None  # the rows that come are not the first ones
        self._rows = int(memory[1])
        self._known, self._below, self._above = memory[2 : 2 + 3 * n].reshape(3, n).copy()
        self._scores.add(int(memory[2 + 3 * n]), memory[3 + 3 * n :])

    def _identity(self) -> int:
        """Return a number that stands for what is compared with."""
        compared = [np.array([self._calibration.first]), self._calibration.counts, *(self._range or ())]
        digest = hashlib.sha256(b"".join(array.tobytes() for array in compared)).digest()
        return int.from_bytes(digest[:8], "little", signed=True)

    def result(self) -> DriftResult:
        """Return what has changed so far."""
        self.settle()
        scores = self._all_scores()
        n = int(scores.counts.sum())
        shares = [np.cumsum(tally.dense()) / tally.counts.sum() for tally in (scores, self._calibration)] if n else []
        return DriftResult(
            rows=self._rows,
            scores=n,
            distance=float(np.abs(shares[0] - shares[1]).max()) if n else None,
            median_ratio=_median(shares[0]) / _median(shares[1]) if n else None,
            columns={name: self._column(i) for i, name in enumerate(self._columns)},
            least=LEAST_WINDOWS * self._window_size,
        )

    def settle(self) -> None:
        """Count what waits: of single rows the calls would cost more than the counting."""
        for values in _together(self._waiting[0]):
            self._rows += len(values)
            self._known += len(values) - np.isnan(values).sum(axis=0)
            if self._range is not None:
                self._below += (values < self._least).sum(axis=0)
                self._above += (values > self._greatest).sum(axis=0)
        for scores in _together(self._waiting[1]):
            self._scores.take(scores)
        self._waiting, self._n_waiting = ([], []), 0

    def _column(self, i: int) -> ColumnDrift:
        n, known = int(self._known[i]), self._range is not None
        least, greatest = (float(limits[i]) for limits in self._range) if self._range is not None else (None, None)
        below, above = (int(counts[i]) / n if n and known else None for counts in (self._below, self._above))
        return ColumnDrift(n, below, above, least, greatest)


def _times(ratio: float) -> str:
    if ratio > _MOST_TIMES:
        return f"more than {_MOST_TIMES:,} times"
    return f"less than {1 / _MOST_TIMES:g} times" if ratio * _MOST_TIMES < 1 else f"{ratio:.3g} times"


def _together(parts: list[Floats]) -> list[Floats]:
    return [np.concatenate(parts)] if len(parts) > 1 else parts


class _Tally:
    """How many scores lie in each cell; of the cells only those from the first to the last that hold one are kept."""

    def __init__(self) -> None:
        self.first, self.counts = 0, np.zeros(0, np.int64)

    def take(self, scores: Floats) -> None:
        """Count scores `(n,)`; the arithmetic is exact, so that pieces make no difference."""
        known = scores[np.isfinite(scores)]
        if not len(known):
            return
        mantissa, octave = np.frexp(known)  # known = mantissa * 2**octave, mantissa from 1/2 to 1
        cells = (octave.astype(np.int64) - _LOWEST - 1) * _CELLS + np.floor((2 * mantissa - 1) * _CELLS).astype(np.int64)
        cells = np.where(known > 0, np.clip(cells, 0, _N_CELLS - 1), 0)
        first = int(cells.min())
        self.add(first, np.bincount(cells - first))

    def add(self, first: int, counts: Ints) -> None:
        """Add counts of cells that follow each other, of which the first and the last hold some."""
        if not len(counts):
            return
        if not len(self.counts):
            self.first = first
        low, high = min(first, self.first), max(first + len(counts), self.first + len(self.counts))
        if high - low > len(self.counts):
            grown = np.zeros(high - low, np.int64)
            grown[self.first - low : self.first - low + len(self.counts)] = self.counts
            self.first, self.counts = low, grown
        self.counts[first - low : first - low + len(counts)] += counts

    def dense(self) -> Ints:
        """Return the counts of all cells, `(n_cells,)`."""
        whole = np.zeros(_N_CELLS, np.int64)
        whole[self.first : self.first + len(self.counts)] = self.counts
        return whole


def _median(shares: Floats) -> float:
    """Return the median behind cumulative shares of the cells, `(n_cells,)`: where half is reached, linear in its cell."""
    cell = int(np.searchsorted(shares, 0.5))
    before = float(shares[cell - 1]) if cell else 0.0
    octave, place = divmod(cell, _CELLS)
    return float(2.0 ** (_LOWEST + octave) * (1 + (place + (0.5 - before) / (float(shares[cell]) - before)) / _CELLS))
