"""Event rules, and how many alarms they let through at every cut at once.

Merging flags over short gaps is a morphological closing of the flagged rows, dropping short runs is an opening,
and flat closings and openings commute with thresholding (Serra 1982, "Image analysis and mathematical morphology").
So the score is closed and opened once, as a curve, and then

    alarms(cut) = #{ rows i : curve[i - 1] <= cut < curve[i] }

the number of times the curve steps up over the cut: exact for every cut, and two searches in sorted lists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from anomaly.events.dismissed import Signatures
from anomaly.limits import Limit
from anomaly.series import Floats, Ints, breaks_between, runs


@dataclass(frozen=True)
class EventRules:
    """What becomes of flagged rows, in this order.

    Attributes:
        merge_gap: runs of flags with at most this many rows between them are one event.
        min_length: an event of fewer rows, from its first flagged one to its last, is none, unless it is high.
        min_severity: an event whose peak is not above this many thresholds is none.
        min_deviation: limits by feature. An event is none if none of these features deviates by its limit in one of its flagged
            rows, unless features without a limit have at least half of the shares.
        direction: one number a feature: positive lets only values above the expected ones count, negative only values
            below, 0 both. An event is none if features that deviate otherwise have more than half of the shares.
        cool_down: an event that begins with at most this many rows between it and the last one (raised or not)
            is not raised.
        short_severity: an event of fewer rows counts if its peak is above this many thresholds; None: it never does.
        longest_step: nothing of this reaches over a longer time between two rows, or over a step back.
        halo: rows behind the last row of an event in which flags are due to it. Beyond, a high one begins another event, which
            is not counted for itself at every cut.
        dismissed: signatures of events that are normal; their like is not raised.
    """

    merge_gap: int = 0
    min_length: int = 1
    min_severity: float = 1.0
    min_deviation: tuple[tuple[str, Limit], ...] = ()
    direction: tuple[float, ...] | None = None
    cool_down: int = 0
    longest_step: int = 2**62
    halo: int = 2**62
    short_severity: float | None = None
    dismissed: Signatures | None = field(default=None, compare=False)

    @property
    def ask_for_features(self) -> bool:
        """Whether it takes more than the score to tell which events are raised."""
        return bool(self.min_deviation) or self.direction is not None or self.dismissed is not None


class AlarmCurve:
    """Alarms as a function of the cut, on one scored series.

    An event that begins beyond the reach of another within one run (`EventRules.halo`) is counted with it, as one.

    Rules that ask for the features (`min_deviation`, `direction`, `dismissed`) are not looked at: with them fewer alarms come
    than are counted here.

    Args:
        score: `(n,)`, NaN where there is none.
        times: `(n,)`, as in `TimeSeries`.
        rules: what becomes of flagged rows.

    Attributes:
        n_scored: rows that have a score.
        cuts: `(m,)` ascending, finite; `alarms` changes at no other cut.
        peaks: `(p,)` descending: the k-th is where, coming from above, `alarms` is k for the first time.
    """

    def __init__(self, score: Floats, times: Ints, rules: EventRules) -> None:
        known = np.isfinite(score)
        self.n_scored = int(known.sum())
        self._rules = rules
        filled = np.where(known, score, -np.inf)
        bounds = [0, *(np.flatnonzero(breaks_between(times, rules.longest_step)) + 1).tolist(), len(score)]
        pieces = [(a, filled[a:b]) for a, b in pairwise(bounds) if known[a:b].any()]
        self._pieces = [(a, piece, _merged(piece, rules)) for a, piece in pieces]
        wider = rules.cool_down > rules.merge_gap
        steps = [_steps_up(_closed(curve, rules.cool_down) if wider else curve) for _, _, curve in self._pieces]
        self._low = np.sort(np.concatenate([np.empty(0), *(low for low, _ in steps)]))
        self._high = np.sort(np.concatenate([np.empty(0), *(high for _, high in steps)]))
        cuts = np.unique(np.concatenate([self._low, self._high]))
        self.cuts: Floats = cuts[np.isfinite(cuts)]
        self.peaks = self._find_peaks()

    def alarms(self, cut: Any) -> Any:
        """Count the alarms at one cut, or at each of an array of cuts; `min_severity` is not looked at."""
        return np.searchsorted(self._low, cut, "right") - np.searchsorted(self._high, cut, "right")

    def raised(self, cut: float) -> int:
        """Count the alarms at one cut, `min_severity` included."""
        if self._rules.min_severity <= 1:
            return int(self.alarms(cut))
        return sum(_raised(piece, self._rules.cool_down) for piece in self._ranges(cut))

    def events(self, cut: float) -> list[tuple[int, int]]:
        """Return the half-open row ranges of the events at one cut, in order; `cool_down` is not looked at."""
        return [event for piece in self._ranges(cut) for event in piece]

    def heights(self) -> Floats:
        """Return the different values of the merged curve, ascending: the cuts at which an event grows or appears."""
        values: Floats = np.unique(np.concatenate([np.empty(0), *(curve for _, _, curve in self._pieces)]))
        return values[np.isfinite(values)]

    def _ranges(self, cut: float) -> Iterator[list[tuple[int, int]]]:
        """Yield the events of each stretch without a break: merged, long and severe enough."""
        least = self._rules.min_severity
        for offset, score, curve in self._pieces:
            yield [(offset + a, offset + b) for a, b in runs(curve > cut) if least <= 1 or score[a:b].max() / cut > least]

    def _find_peaks(self) -> Floats:
        if not len(self.cuts):
            return np.empty(0)
        # The count is constant from one cut up to the next, so the highest place with k alarms is an upper end.
        counts = self.alarms(np.append(-np.inf, self.cuts[:-1]))[::-1]
        peaks: Floats = np.repeat(self.cuts[::-1], np.diff(np.maximum.accumulate(counts), prepend=0))
        return peaks


def peak_curve(score: Floats, times: Ints, rules: EventRules) -> tuple[AlarmCurve, float]:
    """Return a curve whose peaks decide which cut keeps a budget, and what to divide them by.

    At a cut of peaks[k] / divisor, and above, no more than k alarms are raised. Without `min_severity` no lower cut
    does it. With it, peaks are counted whatever their length and without a cool-down, which is on the safe side.

    Args:
        score: `(n_timesteps,)`; NaN without a score.
        times: of the same rows.
        rules: what makes an event of flagged rows.
    """
    if rules.min_severity <= 1:
        return AlarmCurve(score, times, rules), 1.0
    # A hair less than the severity, so that rounding never makes a peak severe at its own cut.
    return AlarmCurve(score, times, replace(rules, min_length=1, cool_down=0)), rules.min_severity * (1 - 1e-12)


def _merged(score: Floats, rules: EventRules) -> Floats:
    """Return the curve that is above a cut in the rows of those events that are long enough, or high enough, there."""
    closed = _closed(score, rules.merge_gap)
    opened = _opened(closed, rules.min_length)
    if rules.min_length <= 1 or rules.short_severity is None:
        return opened
    return np.maximum(opened, _grown(score / rules.short_severity, closed))


def _grown(marker: Floats, curve: Floats) -> Floats:
    """Keep of a curve, above each cut, the stretches in which the marker is above it too: reconstruction by dilation.

    Vincent (1993), "Morphological grayscale reconstruction in image analysis"; in one dimension a way forth and one back.

    Args:
        marker: `(n,)`, nowhere above the curve.
        curve: `(n,)`.
    """
    grown = marker.tolist()
    for values in (curve.tolist(), curve.tolist()[::-1]):
        height = -np.inf
        for row, most in enumerate(values):
            height = min(most, max(grown[row], height))
            grown[row] = height
        grown.reverse()
    return np.array(grown)


def _closed(curve: Floats, gap: int) -> Floats:
    """Fill valleys of at most `gap` rows: the least over the windows of gap + 1 rows around a row of their highest."""
    gap = min(gap, len(curve))
    if gap < 1:
        return curve
    padded = np.pad(curve, gap, constant_values=-np.inf)
    return _extreme(_extreme(padded, gap + 1, np.maximum), gap + 1, np.minimum)


def _opened(curve: Floats, length: int) -> Floats:
    """Cut off peaks of fewer than `length` rows: the highest over the windows of `length` rows of their lowest."""
    if length <= 1:
        return curve
    if length > len(curve):
        return np.full(len(curve), -np.inf)
    lowest = _extreme(curve, length, np.minimum)
    return _extreme(np.pad(lowest, length - 1, constant_values=-np.inf), length, np.maximum)


def _extreme(values: Floats, size: int, of: "np.ufunc") -> Floats:
    """Return `of` (maximum or minimum) over every `size` neighbours, `(n - size + 1,)`, by doubling: n log(size)."""
    done = 1
    while 2 * done <= size:
        values, done = of(values[:-done], values[done:]), 2 * done
    rest = size - done
    result: Floats = of(values[: len(values) - rest], values[rest:]) if rest else values
    return result


def _steps_up(curve: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper ends of the steps up, the first one from minus infinity."""
    before = np.append(-np.inf, curve[:-1])
    up = curve > before
    return before[up], curve[up]


def _raised(events: list[tuple[int, int]], cool_down: int) -> int:
    """Count the events that begin more than `cool_down` rows after the end of the one before."""
    ends = [stop for _, stop in events]
    return sum(number == 0 or start - ends[number - 1] > cool_down for number, (start, _) in enumerate(events))
