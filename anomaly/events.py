"""Flags -> events: maximal runs of flagged rows, merged over short gaps, and what drove them.

`anomaly.alarms.EventRules` says what becomes of a run; here the rules are applied to rows as they come.
"""

from dataclasses import dataclass

import numpy as np

from anomaly.alarms import EventRules
from anomaly.scoring import Scores, flags
from anomaly.series import Floats, Ints, format_time


@dataclass(frozen=True)
class Event:
    """One stretch of anomalous rows.

    Attributes:
        start: position of the first flagged row.
        stop: position after the last flagged row.
        first_time: time of the first flagged row, as in `TimeSeries.times`.
        last_time: time of the last flagged row.
        peak: position of the highest score.
        peak_time: its time.
        peak_score: the highest score.
        severity: peak_score / threshold; above 1 by definition.
        n_flagged: flagged rows; fewer than `stop - start` if short gaps were merged.
        shares: (feature, share) from the largest down: the part of each feature in the scores of the flagged
            rows; they sum to 1.
        deviations: for each feature, in the order of `shares`, the mean over the flagged rows of measured less
            expected, in training sigmas: positive where the event lies above what was expected.
    """

    start: int
    stop: int
    first_time: int
    last_time: int
    peak: int
    peak_time: int
    peak_score: float
    severity: float
    n_flagged: int
    shares: tuple[tuple[str, float], ...]
    deviations: tuple[float, ...]

    def __len__(self) -> int:
        """Return the number of rows from the first to the last flagged one."""
        return self.stop - self.start

    def to_dict(self, time_column: str | None, top: int | None = None) -> dict[str, object]:
        """Return plain values for JSON and tables, times as text; `top` limits the features."""
        return {
            "start": self.start,
            "stop": self.stop,
            "first_time": format_time(self.first_time, time_column),
            "last_time": format_time(self.last_time, time_column),
            "peak_time": format_time(self.peak_time, time_column),
            "peak_score": self.peak_score,
            "severity": round(self.severity, 4),
            "n_flagged": self.n_flagged,
            "features": {name: round(share, 4) for name, share in self.shares[:top]},
            "deviations": {name: round(x, 4) for (name, _), x in list(zip(self.shares, self.deviations, strict=True))[:top]},
        }


def find_events(scores: Scores, rules: EventRules) -> list[Event]:
    """Return the events of a scored series, in order.

    Args:
        scores: the scores, with their threshold.
        rules: what becomes of flagged rows.
    """
    finder = EventFinder(scores.threshold, scores.columns, rules)
    return finder.push(scores.clock, scores.score, scores.by_feature, scores.deviation) + finder.finish()


class EventFinder:
    """Find events in rows that arrive in pieces.

    Args:
        threshold: a row is flagged if its score is greater.
        columns: names of the features.
        rules: what becomes of flagged rows.
    """

    def __init__(self, threshold: float, columns: tuple[str, ...], rules: EventRules) -> None:
        self._threshold = threshold
        self._columns = columns
        self._rules = rules
        self._row = 0
        self._last_time: int | None = None
        self._breaks = 0  # gaps seen so far: flags on two sides of one carry different numbers
        self._open: _Run | None = None
        self._last: _Run | None = None  # the last event, raised or not

    def push(self, times: Ints, score: Floats, by_feature: Floats, deviation: Floats) -> list[Event]:
        """Take further rows; return the events that have ended.

        Args:
            times: `(n,)`.
            score: `(n,)`, NaN where there is none.
            by_feature: `(n, n_features)`; NaN where nothing is known.
            deviation: `(n, n_features)`; NaN where the value is missing.
        """
        if not len(times):
            return []
        previous = times[0] if self._last_time is None else self._last_time
        steps = np.diff(times, prepend=previous)
        breaks = self._breaks + np.cumsum((steps < 0) | (steps > self._rules.longest_step))
        rows = np.flatnonzero(flags(score, self._threshold))
        cuts = np.flatnonzero((np.diff(rows) > 1) | (np.diff(breaks[rows]) > 0)) + 1
        parts = np.nan_to_num(np.concatenate([by_feature, deviation], axis=1))  # what is missing has no part in it
        ended: list[Event] = []
        for run_rows in np.split(rows, cuts) if len(rows) else []:
            run = _Run.of(run_rows, self._row, times, score, parts, int(breaks[run_rows[0]]))
            if self._open and self._open.joins(run, self._rules.merge_gap):
                self._open.extend(run)
            else:
                ended += self.finish()
                self._open = run
        self._row += len(times)
        self._last_time, self._breaks = int(times[-1]), int(breaks[-1])
        return ended

    def finish(self) -> list[Event]:
        """Return the event that is still open, if there is one."""
        run, self._open = self._open, None
        if run is None:
            return []
        event, rules = run.to_event(self._threshold, self._columns), self._rules
        if len(event) < rules.min_length or event.severity <= rules.min_severity or not self._points_as_wanted(event):
            return []
        before, self._last = self._last, run
        return [] if before is not None and before.joins(run, rules.cool_down) and rules.cool_down else [event]

    def _points_as_wanted(self, event: Event) -> bool:
        """Tell whether features that deviate in a direction that counts have at least half of the shares."""
        if self._rules.direction is None:
            return True
        wanted = dict(zip(self._columns, self._rules.direction, strict=True))
        pairs = zip(event.shares, event.deviations, strict=True)
        return sum(share for (name, share), deviation in pairs if wanted[name] * deviation >= 0) >= 0.5


@dataclass
class _Run:
    """Flagged rows of one event so far."""

    start: int
    stop: int
    first_time: int
    last_time: int
    peak: int
    peak_time: int
    peak_score: float
    n_flagged: int
    parts: Floats  # (n, 2 * n_features), not yet summed; once extended the first row holds a sum
    breaks: int

    @classmethod
    def of(cls, rows: Ints, offset: int, times: Ints, score: Floats, parts: Floats, breaks: int) -> "_Run":
        peak = int(rows[np.argmax(score[rows])])
        return cls(
            start=offset + int(rows[0]),
            stop=offset + int(rows[-1]) + 1,
            first_time=int(times[rows[0]]),
            last_time=int(times[rows[-1]]),
            peak=offset + peak,
            peak_time=int(times[peak]),
            peak_score=float(score[peak]),
            n_flagged=len(rows),
            parts=parts[rows],
            breaks=breaks,
        )

    def joins(self, later: "_Run", merge_gap: int) -> bool:
        return later.start - self.stop <= merge_gap and later.breaks == self.breaks

    def extend(self, later: "_Run") -> None:
        self.stop, self.last_time = later.stop, later.last_time
        self.n_flagged += later.n_flagged
        self.parts = np.concatenate([self._sums(), later.parts])
        if later.peak_score > self.peak_score:
            self.peak, self.peak_time, self.peak_score = later.peak, later.peak_time, later.peak_score

    def _sums(self) -> Floats:
        """Add row by row, `(1, 2 * n_features)`: however the rows were split, the sums are the same to the last bit."""
        sums: Floats = np.cumsum(self.parts, axis=0)[-1:]
        return sums

    def to_event(self, threshold: float, columns: tuple[str, ...]) -> Event:
        sums, deviations = np.split(self._sums()[0], 2)
        shares = sums / sums.sum()
        order = np.argsort(-shares, kind="stable")
        return Event(
            self.start, self.stop, self.first_time, self.last_time, self.peak, self.peak_time, self.peak_score,
            severity=self.peak_score / threshold,
            n_flagged=self.n_flagged,
            shares=tuple((columns[i], float(shares[i])) for i in order),
            deviations=tuple(float(deviations[i] / self.n_flagged) for i in order),
        )  # fmt: skip
