"""Stretches of the history that are unlike all the rest of it: they are no example of what is normal.

A history that nobody has looked through holds anomalies. One that comes once is the nearest window of itself and of its likes, so
that it would never be told; and its high scores stretch the scale of the terms and the threshold. So a window is set aside where

    it is `_UNLIKE` times as far from the nearest window of another time, whichever row that begins at, as half of the windows are
    from the nearest of some hundred, and
    the network reconstructs it `_BADLY` times as badly as half of them:

a rare shape that comes again, or that the network has learnt, stays: a valve that seldom opens, a heartbeat in a hundred. Windows
that are set aside are compared with nothing; rows in those of `course` set no scale and no threshold, and windows of `change` that
lie in them half or more are no references either. The network has been trained on them nonetheless: trainings without them found
no more (scripts/benchmarks/README.md).
"""

from dataclasses import dataclass, field

import numpy as np

from anomaly.network.inference import Reconstruct
from anomaly.scoring.overlaps import BLOCK_WINDOWS
from anomaly.scoring.references import FORM_BY_NAME, References, most_windows
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.missing import fill_missing, mask_windows, mean_of_known
from anomaly.windowing.windows import make_windows

_UNLIKE, _BADLY = 5.0, 5.0
# At most such a share of the training rows.
MOST_ASIDE = 0.25
# The distances of a feature that hardly varies count as if half of them were at least this share of the others', and this. Where
# most features hardly vary, the usual distance is no less than a fifth of that.
_LEAST_UNIT, _LEAST_DISTANCE, _LEAST_MEDIAN = 0.02, 1e-4, 0.2
# What is unlike the references is sought at so many rows, the last ones.
_MOST_ROWS, _ROWS_AT_A_TIME = 16_384, 2_048


@dataclass(frozen=True, eq=False)
class SetAside:
    """Stretches of time that are set aside.

    Attributes:
        stretches: `(n, 2)`, the first and the last time of each, ascending and apart.
    """

    stretches: Ints = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @classmethod
    def of(cls, rows: Bools, times: Ints) -> "SetAside":
        """Return the stretches of rows that follow each other.

        Args:
            rows: `(n_timesteps,)`, which rows are set aside.
            times: theirs.
        """
        edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
        return cls(np.stack([times[edges[::2]], times[edges[1::2] - 1]], axis=1))

    def covers(self, times: Ints) -> Bools:
        """Tell which times lie in a stretch, `(n,)`."""
        found = np.zeros(len(times), np.bool_)
        for first, last in self.stretches.tolist():
            found |= (times >= first) & (times <= last)
        return found


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """What windows of the training rows are cut from.

    Attributes:
        scaled: what the network reads, `(n_timesteps, n_inputs)`; NaN = missing.
        clock: times of these rows.
        starts: first rows of the windows that the network was trained on, ascending.
        held_out: those of the windows that were held out.
        window_size: rows in one of them.
        n_rows: training rows; what begins behind them was dismissed, and is normal.
        max_missing: most of a feature's values in a window that may be missing, a share.
        unit: `(n_judged,)`, the unit of each feature's errors.
    """

    scaled: Float32s
    clock: Ints
    starts: Ints
    held_out: Ints
    window_size: int
    n_rows: int
    max_missing: float
    unit: Floats

    @property
    def judged(self) -> Float32s:
        """What is judged of the rows, `(n_timesteps, n_judged)`."""
        return self.scaled[:, : len(self.unit)]

    def unlike(self, references: References, taken: Ints, span: int, reconstruct: Reconstruct) -> Bools:
        """Tell which references are unlike all the others, and reconstructed badly, `(n_windows,)`.

        Args:
            references: windows of these rows.
            taken: where they begin.
            span: how long one takes; those that begin nearer to each other are not compared.
            reconstruct: the network.
        """
        distances = references.distances_from(references, self._near(taken, taken, span))
        nothing = np.zeros(len(taken), np.bool_)
        if not np.isfinite(distances).all():  # there is too little to compare with
            return nothing
        usual = np.median(distances, axis=0)
        unit = np.maximum(usual, _LEAST_UNIT * usual.mean() + _LEAST_DISTANCE)
        far = _told(distances / unit)
        limit = _UNLIKE * max(float(np.median(far)), _LEAST_MEDIAN)
        found = (far > limit) & (taken + references.window_size <= self.n_rows)
        if found.any():
            badly = self._errors(taken, references.window_size, reconstruct)
            with np.errstate(invalid="ignore"):  # what has no error is not badly reconstructed
                found &= badly > _BADLY * np.nanmedian(badly) if np.isfinite(badly).any() else False
        if found.any():
            nearest = self._anywhere(references.without(~found), taken[found], span)
            far[found] = _told(np.minimum(distances[found], nearest) / unit)
            found &= far > limit
        return self._few_enough(found, far, taken, references.window_size)

    def _near(self, taken: Ints, others: Ints, span: int) -> Bools:
        """Tell which windows begin too near to each other to be compared, `(n_taken, n_others)`."""
        near: Bools = np.abs(self.clock[taken][:, None] - self.clock[others]) < span
        return near

    def _anywhere(self, odd: References, taken: Ints, span: int) -> Floats:
        """Return how far some windows are from the nearest that begins at any row, `(n_windows, n_features)`.

        References lie some rows apart: a rare beat that comes at another place between them is unlike them, and no anomaly.
        """
        nearest, last = np.full((len(taken), odd.windows.shape[2]), np.inf), self.n_rows - odd.window_size
        at_a_time = min(_ROWS_AT_A_TIME, most_windows(odd.window_size, odd.windows.shape[2]))
        for first in range(max(0, last + 1 - _MOST_ROWS), last + 1, at_a_time):
            starts = np.arange(first, min(first + at_a_time, last + 1))
            others = References.at(odd.form, self.judged, starts, odd.window_size)
            nearest = np.minimum(nearest, odd.distances_from(others, self._near(taken, starts, span)))
        return nearest

    def rows_of(self, taken: Ints, size: int) -> Bools:
        """Return which training rows lie in windows of `size` rows that begin at `taken`, `(n_rows,)`."""
        rows = np.zeros(self.n_rows, np.bool_)
        for start in taken.tolist():
            rows[start : start + size] = True
        return rows

    def mostly_in(self, rows: Bools, taken: Ints, size: int) -> Bools:
        """Tell which windows of `size` rows that begin at `taken` have half of these or more among some training rows, `(n,)`."""
        before = np.concatenate([[0], np.cumsum(rows)])
        ends, starts = np.minimum(taken + size, self.n_rows), np.minimum(taken, self.n_rows)
        inside: Bools = 2 * (before[ends] - before[starts]) >= size
        return inside

    def _few_enough(self, found: Bools, far: Floats, taken: Ints, size: int) -> Bools:
        """Return the farthest of what was found, as many as fit into `MOST_ASIDE` of the rows."""
        few, rows = np.zeros(len(found), np.bool_), np.zeros(self.n_rows, np.bool_)
        for place in sorted(np.flatnonzero(found).tolist(), key=lambda place: -far[place]):
            rows[taken[place] : taken[place] + size] = True
            if rows.sum() > MOST_ASIDE * self.n_rows:
                break
            few[place] = True
        return few

    def _errors(self, taken: Ints, size: int, reconstruct: Reconstruct) -> Floats:
        """Return how badly windows of `size` rows are reconstructed within the network's windows that hold them best, `(n,)`."""
        middle = taken + (size - self.window_size) // 2
        places = np.searchsorted((self.starts[1:] + self.starts[:-1]) / 2, middle)
        starts, found = self.starts[places], np.full(len(taken), np.nan)
        for at in range(0, len(taken), BLOCK_WINDOWS):
            some = slice(at, at + BLOCK_WINDOWS)
            windows = make_windows(self.scaled, starts[some], self.window_size)
            n_judged = len(self.unit)
            expected = reconstruct(fill_missing(windows))[:, :, :n_judged].astype(np.float64)
            errors = np.square(mask_windows(windows[:, :, :n_judged], self.max_missing)[0] - expected) / self.unit
            rows = starts[some, None] + np.arange(self.window_size)
            inside = (rows >= taken[some, None]) & (rows < taken[some, None] + size)
            found[some] = _told(mean_of_known(np.where(inside[:, :, None], errors, np.nan), axis=1))
        return found


def _told(units: Floats) -> Floats:
    """Return the square of the mean root over the features that are known, `(n,)`."""
    return np.asarray(np.square(mean_of_known(np.sqrt(units), axis=1)))


def set_aside(
    found: list[tuple[References, Ints]], spans: list[int], windows: TrainingWindows, reconstruct: Reconstruct
) -> tuple[list[tuple[References, Ints]], SetAside]:
    """Return references without those that are set aside, and the rows of the windows that are (of the form that sets rows aside).

    Args:
        found: by form the references, and where they begin.
        spans: by form how long a window takes.
        windows: what they are taken from.
        reconstruct: the network.
    """
    kept, rows = [], np.zeros(windows.n_rows, np.bool_)
    for (references, taken), span in zip(found, spans, strict=True):
        aside = FORM_BY_NAME[references.form].aside
        if aside == "by_rows":
            gone = windows.mostly_in(rows, taken, references.window_size)
        else:
            gone = windows.unlike(references, taken, span, reconstruct)
        kept.append((references.without(gone), taken[~gone]))
        if aside == "rows":
            rows = windows.rows_of(taken[gone], references.window_size)
    return kept, SetAside.of(rows, windows.clock[: windows.n_rows])
