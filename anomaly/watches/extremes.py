"""What lies beyond all that a feature ever was: a value, or a step from one row to the next, far above or below those of training.

How far one may go follows from how far the highest went in stretches of the training rows. The highest of all lies above that of
the middle stretch by a gap, and a limit above the highest by `TIMES` such gaps:

    limit = highest + (TIMES + log(n_features) / log(n_stretches)) max(gap, range / PART)

Where tails are exponential, the highest of a stretch follows Gumbel's law (Gumbel 1958, "Statistics of extremes", chapter 5), the
gap is its scale times log(n_stretches) and some more, and one stretch in n_stretches^(1 + TIMES) goes beyond: of some features
together no more. Heavier tails have larger gaps. The same is done downwards, and for steps up and down.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints

TIMES, PART = 3.0, 8.0
# A stretch has so many rows, fewer of a short history, and the gap is one of so many of them at least.
LONGEST_STRETCH, SHORTEST_STRETCH, FEWEST_STRETCHES = 128, 32, 16
# Where there is no limit: no scaled value or step goes so far.
NEVER = 1e6


class Limits(NamedTuple):
    """Between which values something may be; -`NEVER` and `NEVER` where too little is known."""

    lowest: Floats
    highest: Floats

    def exceeded_by(self, values: Float32s | Floats) -> Bools:
        """Tell which values are beyond; NaN is not."""
        with np.errstate(invalid="ignore"):
            beyond: Bools = (values < self.lowest) | (values > self.highest)
        return beyond


@dataclass(frozen=True, eq=False)
class Extremes:
    """How far the values and the steps of each feature may go.

    Attributes:
        values: `(n_features,)` each, scaled.
        steps: of the same shape, from one row to the next.
    """

    values: Limits
    steps: Limits

    @classmethod
    def of(cls, rows: Float32s, since: Ints | None = None) -> "Extremes":
        """Return those of training rows.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.
            since: as for `MovementRange.of`.
        """
        values = rows.astype(np.float64)
        steps = np.diff(values, axis=0)
        if since is not None:
            steps[since[1:] == 0] = np.nan
        return cls(_limits(values), _limits(steps))


class ExtremeWatch:
    """Tell which values, or steps to them, lie beyond all of training, in rows that arrive in pieces.

    Args:
        extremes: of training.
    """

    def __init__(self, extremes: Extremes) -> None:
        self._extremes = extremes
        self._last: Float32s = np.full(len(extremes.values.lowest), np.nan, np.float32)  # the row before

    def ends(self, rows: Float32s) -> Limits:
        """Return between which values each of further rows may be, `(n, n_features)` each; NaN = missing.

        A step is not known where the value before it is not.
        """
        values, steps = self._extremes.values, self._extremes.steps
        before = np.concatenate([self._last[None], rows])
        self._last, before = before[-1], before[:-1].astype(np.float64)
        return Limits(np.fmax(values.lowest, before + steps.lowest), np.fmin(values.highest, before + steps.highest))

    def push(self, rows: Float32s) -> Floats:
        """Return `(n, n_features)`: infinite where a value is beyond its ends, else 0; NaN = missing."""
        return np.where(self.ends(rows).exceeded_by(rows), np.inf, 0.0)


def _limits(values: Floats) -> Limits:
    """Return the limits of values or steps, `(n, n_features)`, NaN = missing."""
    length = max(SHORTEST_STRETCH, min(LONGEST_STRETCH, len(values) // FEWEST_STRETCHES))
    starts = np.arange(0, len(values) - length + 1, length)
    if len(starts) < FEWEST_STRETCHES:
        never = np.full(values.shape[1], NEVER)
        return Limits(-never, never)
    return Limits(-_highest(-values, starts), _highest(values, starts))


def _highest(values: Floats, starts: Ints) -> Floats:
    """Return how high values may go, `(n_features,)`, given where stretches of them begin."""
    known = ~np.isnan(values)
    filled = np.where(known, values, -np.inf)
    highest = filled.max(axis=0)
    ranges = highest - np.where(known, values, np.inf).min(axis=0)
    of_stretches = np.maximum.reduceat(filled, starts, axis=0)
    of_stretches = np.where(np.isinf(of_stretches), np.nan, of_stretches)
    n_stretches = (~np.isnan(of_stretches)).sum(axis=0)
    enough = n_stretches >= FEWEST_STRETCHES
    middle = np.nanmedian(of_stretches[:, enough], axis=0)
    found = np.full(values.shape[1], NEVER)
    times = TIMES + np.log(values.shape[1]) / np.log(n_stretches[enough])
    found[enough] = highest[enough] + times * np.maximum(highest[enough] - middle, ranges[enough] / PART)
    # What never moved has its own rule: another value of a constant is told as such.
    return np.where(ranges > 0, np.minimum(found, NEVER), NEVER)
