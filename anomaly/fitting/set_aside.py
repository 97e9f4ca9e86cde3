"""Stretches of the history that are unlike all the rest of it: they are no example of what is normal.

A history that nobody has looked through holds anomalies. One that comes once is the nearest window of itself and of its likes, so
that it would never be told; and its high scores stretch the scale of the terms and the threshold. So a window is set aside where

    it is `UNLIKE` times as far from the nearest window of another time, whichever row that begins at, as half of the windows are
    from the nearest of some hundred,
    no other stretch that is so far off has its like, a window that is `ALIKE` times nearer than all that is usual, and
    the network reconstructs it `BADLY` times as badly as half of them:

a rare shape that comes again, or that the network has learnt, stays: a valve that seldom opens, the runs of a machine that is idle
for days, of which no two are the same. Windows that are set aside are compared with nothing; rows in those of `course` set no scale
and no threshold, and windows of `change` that lie in them half or more are no references either. The network has been trained on
them nonetheless: trainings without them found no more (scripts/benchmarks/README.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from anomaly.network.inference import Reconstruct
from anomaly.scoring.overlaps import BLOCK_WINDOWS
from anomaly.scoring.references import References, most_windows
from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.missing import fill_missing, mask_windows, mean_of_known
from anomaly.windowing.windows import make_windows

UNLIKE, BADLY = 5.0, 5.0
# Two odd windows are alike where they are so many times nearer to each other than to all that is usual; two that have nothing in
# common are farther from each other than from what is flat.
ALIKE = 2.0
# At most such a share of the training rows, and of those that were held out.
MOST_ASIDE = 0.25
# The distances of a feature that hardly varies count as if half of them were at least this share of the others', and this. Where
# most features hardly vary, the usual distance is no less than a fifth of that.
_LEAST_UNIT, _LEAST_DISTANCE, LEAST_MEDIAN = 0.02, 1e-4, 0.2
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

    def within(self, times: Ints) -> "SetAside":
        """Return what lies among rows at `times`, ascending."""
        return SetAside.of(self.covers(times), times)

    def and_also(self, others: "SetAside", times: Ints) -> "SetAside":
        """Return these stretches and some others, of rows at `times`."""
        return SetAside.of(self.covers(times) | others.covers(times), times)

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
        all_judged: whether held-out windows may be set aside: not where a feature has begun to move in them.
        trained_unit: `(n_judged,)`, the same of training windows alone; None is `unit`.
    """

    scaled: Float32s
    clock: Ints
    starts: Ints
    held_out: Ints
    window_size: int
    n_rows: int
    max_missing: float
    unit: Floats
    all_judged: bool = True
    trained_unit: Floats | None = None

    @property
    def stop(self) -> int:
        """The row after the last one that was held out."""
        return int(self.held_out[-1]) + self.window_size if len(self.held_out) else self.n_rows

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
        distances = references.distances_from(references, self.near(taken, taken, span))
        nothing = np.zeros(len(taken), np.bool_)
        if not np.isfinite(distances).all():  # there is too little to compare with
            return nothing
        usual = np.median(distances, axis=0)
        unit = unit_of(usual)
        far = told(distances / unit)
        limit = UNLIKE * max(float(np.median(far)), LEAST_MEDIAN)
        odd = found = (far > limit) & (taken + references.window_size <= self.n_rows)
        if found.any():
            badly = self.errors(taken, references.window_size, self.starts, reconstruct)
            with np.errstate(invalid="ignore"):  # what has no error is not badly reconstructed
                found = found & (badly > BADLY * np.nanmedian(badly) if np.isfinite(badly).any() else False)
        if found.any():
            everywhere = np.zeros(self.n_rows, np.bool_)
            nearest = self.anywhere(references.without(~found), taken[found], span, everywhere)
            far[found] = told(np.minimum(distances[found], nearest) / unit)
            found = found & (far > limit)
        if found.any():
            found[found] = self.alone(references.without(~found), taken[found], taken, odd, span, everywhere, unit)
        return self.few_enough(found, far, taken, references.window_size, MOST_ASIDE * self.n_rows)

    def near(self, taken: Ints, others: Ints, span: int) -> Bools:
        """Tell which windows begin too near to each other to be compared, `(n_taken, n_others)`."""
        near: Bools = np.abs(self.clock[taken][:, None] - self.clock[others]) < span
        return near

    def alone(self, some: References, found: Ints, taken: Ints, odd: Bools, span: int, but: Bools, unit: Floats) -> Bools:
        """Tell which odd windows are not far nearer to one of another odd stretch than to all that is not odd, `(n_found,)`.

        Args:
            some: these windows.
            found: where they begin.
            taken: where windows begin that lie evenly, ascending, these among them.
            odd: `(n_taken,)`, which of those are odd; they are one stretch where they follow each other.
            span: as for `anywhere`.
            but: as for `anywhere`.
            unit: `(n_features,)`, see `unit_of`.
        """
        numbers = np.where(odd, np.cumsum(odd & ~np.append(False, odd[:-1])), 0)
        own = numbers[np.searchsorted(taken, found)][:, None]
        stretch = numbers[np.searchsorted((taken[1:] + taken[:-1]) / 2, np.arange(len(but)))]
        usual = self.anywhere(some, found, span, but, lambda starts: stretch[starts] > 0)
        alike = self.anywhere(some, found, span, but, lambda starts: (stretch[starts] == 0) | (stretch[starts] == own))
        alone: Bools = ~(ALIKE * told(alike / unit) < told(usual / unit))
        return alone

    def anywhere(self, odd: References, taken: Ints, span: int, but: Bools, apart: Callable[[Ints], Bools] | None = None) -> Floats:
        """Return how far some windows are from the nearest that begins at any row, `(n_windows, n_features)`.

        References lie some rows apart: a rare beat that comes at another place between them is unlike them, and no anomaly.

        Args:
            odd: the windows.
            taken: where they begin.
            span: how long one takes.
            but: `(n,)`, rows that are compared with nothing; those behind them are not looked at.
            apart: tells which windows, given where they begin, are not compared either, of a shape like `(n_windows, n_starts)`.
        """
        nearest, last = np.full((len(taken), odd.windows.shape[2]), np.inf), len(but) - odd.window_size
        at_a_time = min(_ROWS_AT_A_TIME, most_windows(odd.window_size, odd.windows.shape[2]))
        before = np.concatenate([[0], np.cumsum(but)])
        for first in range(max(0, last + 1 - _MOST_ROWS), last + 1, at_a_time):
            starts = np.arange(first, min(first + at_a_time, last + 1))
            starts = starts[before[starts + odd.window_size] == before[starts]]
            if len(starts):
                near = self.near(taken, starts, span)
                others = References.at(odd.form, self.judged, starts, odd.window_size)
                nearest = np.minimum(nearest, odd.distances_from(others, near if apart is None else near | apart(starts)))
        return nearest

    def rows_of(self, taken: Ints, size: int) -> Bools:
        """Return which rows lie in windows of `size` rows that begin at `taken`, `(stop,)`."""
        rows = np.zeros(self.stop, np.bool_)
        for start in taken.tolist():
            rows[start : start + size] = True
        return rows

    def mostly_in(self, rows: Bools, taken: Ints, size: int) -> Bools:
        """Tell which windows of `size` rows that begin at `taken` have half of these or more among some rows, `(n,)`."""
        before = np.concatenate([[0], np.cumsum(rows)])
        ends, starts = np.minimum(taken + size, len(rows)), np.minimum(taken, len(rows))
        inside: Bools = 2 * (before[ends] - before[starts]) >= size
        return inside

    def few_enough(self, found: Bools, far: Floats, taken: Ints, size: int, most: float) -> Bools:
        """Return the farthest of what was found, as many as fit into so many rows."""
        few, rows = np.zeros(len(found), np.bool_), np.zeros(self.stop, np.bool_)
        for place in sorted(np.flatnonzero(found).tolist(), key=lambda place: -far[place]):
            rows[taken[place] : taken[place] + size] = True
            if rows.sum() > most:
                break
            few[place] = True
        return few

    def errors(self, taken: Ints, size: int, among: Ints, reconstruct: Reconstruct) -> Floats:
        """Return how badly windows of `size` rows are reconstructed within the windows that hold them best, `(n,)`.

        Args:
            taken: where they begin.
            size: rows in one of them.
            among: where the network's windows begin, ascending.
            reconstruct: the network.
        """
        middle = taken + (size - self.window_size) // 2
        places = np.searchsorted((among[1:] + among[:-1]) / 2, middle)
        starts, found = among[places], np.full(len(taken), np.nan)
        for at in range(0, len(taken), BLOCK_WINDOWS):
            some = slice(at, at + BLOCK_WINDOWS)
            windows = make_windows(self.scaled, starts[some], self.window_size)
            n_judged = len(self.unit)
            expected = reconstruct(fill_missing(windows))[:, :, :n_judged].astype(np.float64)
            errors = np.square(mask_windows(windows[:, :, :n_judged], self.max_missing)[0] - expected) / self.unit
            rows = starts[some, None] + np.arange(self.window_size)
            inside = (rows >= taken[some, None]) & (rows < taken[some, None] + size)
            found[some] = told(mean_of_known(np.where(inside[:, :, None], errors, np.nan), axis=1))
        return found


def told(units: Floats) -> Floats:
    """Return the square of the mean root over the features that are known, `(n,)`."""
    return np.asarray(np.square(mean_of_known(np.sqrt(units), axis=1)))


def unit_of(usual: Floats) -> Floats:
    """Return what distances of each feature are measured in, of those that half of the windows have, `(n_features,)`."""
    return np.asarray(np.maximum(usual, _LEAST_UNIT * usual.mean() + _LEAST_DISTANCE))
