"""Flags -> events: maximal runs of flagged rows, merged over short gaps.

`anomaly.events.alarms.EventRules` says what becomes of a run; here the rules are applied to rows as they come. What is held of a
run, and where its event begins and ends, is told in `anomaly.events.open_event`.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from anomaly.events.alarms import EventRules
from anomaly.events.event import Event, NotRaised
from anomaly.events.not_raised import COOL_DOWN, DIRECTION, DISMISSED, TOO_NEAR, TOO_SHORT, TOO_WEAK
from anomaly.events.open_event import HIGH, Flagged, OpenEvent, Span, another_begins, cut_off_by
from anomaly.limits import Limit
from anomaly.scoring.scores import Scores, flags
from anomaly.series import Bools, Floats, Ints


def find_events(scores: Scores, rules: EventRules) -> list[Event]:
    """Return the events of a scored series, in order.

    Args:
        scores: the scores, with their threshold.
        rules: what becomes of flagged rows.
    """
    return find_runs(scores, rules)[0]


def find_runs(scores: Scores, rules: EventRules) -> tuple[list[Event], list[NotRaised]]:
    """Return the events of a scored series, and the runs of flagged rows that are none, both in order; see `find_events`."""
    finder = EventFinder(scores.threshold, scores.columns, rules)
    values = scores.measured, scores.expected
    events = finder.push(scores.clock, scores.score, scores.by_feature, scores.deviation, *values) + finder.finish()
    return events, finder.not_raised()


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
        self._limits = {columns.index(name): limit for name, limit in rules.min_deviation}
        self._row = 0
        self._last_time: int | None = None
        self._breaks = 0  # gaps seen so far: flags on two sides of one carry different numbers
        self._open: OpenEvent | None = None
        self._last: Span | None = None  # of the last event, raised or not
        self._not_raised: list[NotRaised] = []

    def push(
        self,
        times: Ints,
        score: Floats,
        by_feature: Floats,
        deviation: Floats,
        measured: Floats | None = None,
        expected: Floats | None = None,
    ) -> list[Event]:
        """Take further rows; return the events that have ended.

        Args:
            times: `(n,)`.
            score: `(n,)`, NaN where there is none.
            by_feature: `(n, n_features)`; NaN where nothing is known.
            deviation: `(n, n_features)`; NaN where the value is missing.
            measured: `(n, n_features)`, in the units of the columns; None where values are not known.
            expected: of the same shape.
        """
        if not len(times):
            return []
        previous = times[0] if self._last_time is None else self._last_time
        steps = np.diff(times, prepend=previous)
        breaks = self._breaks + np.cumsum((steps < 0) | (steps > self._rules.longest_step))
        rows = np.flatnonzero(flags(score, self._threshold))
        cuts = np.flatnonzero((np.diff(rows) > 1) | (np.diff(breaks[rows]) > 0)) + 1
        parts = np.concatenate([by_feature[rows], deviation[rows], ~np.isnan(deviation[rows])], axis=1)
        parts = np.nan_to_num(parts)  # what is missing has no part in it
        known, values = False, np.empty((len(rows), 0))
        if measured is not None and expected is not None:
            known, values = True, np.concatenate([measured[rows], expected[rows]], axis=1)
        ended: list[Event] = []
        for start, stop in pairwise([0, *cuts.tolist(), len(rows)]) if len(rows) else ():
            run_rows = rows[start:stop]
            arrays = times[run_rows], score[run_rows], parts[start:stop], values[start:stop]
            far = np.ones(len(run_rows), np.bool_)
            if known and self._limits:
                far = _are_far(self._limits, *np.split(values[start:stop], 2, axis=1))
            ended += self._take(Flagged(self._row + run_rows, *arrays, far, int(breaks[run_rows[0]])))
        self._row += len(times)
        self._last_time, self._breaks = int(times[-1]), int(breaks[-1])
        # A live stream wants an event when no row can join it any more, and not when the next one begins.
        last = self._open.span if self._open else None
        if last and (self._row - last.last - 1 > self._rules.merge_gap or self._breaks != last.breaks):
            ended += self.finish()
        return ended

    def _take(self, flagged: Flagged) -> list[Event]:
        """Take flagged rows that follow each other; return the events that they end."""
        ended = [] if self._open and self._open.span.joins(flagged.span, self._rules.merge_gap) else self.finish()
        high, halo = HIGH * self._threshold, self._rules.halo
        while len(flagged.rows):
            begins, cut_off = (find(self._open, flagged, halo, high) for find in (another_begins, cut_off_by))
            if n := min(begins, cut_off):
                self._extend(flagged.part(slice(n)))
            flagged = flagged.part(slice(n, None))
            if self._open and cut_off < begins:
                flagged = self._open.ended_before(int(flagged.rows[0]) - halo).then(flagged)
            if len(flagged.rows):
                ended += self.finish()
        return ended

    def _extend(self, flagged: Flagged) -> None:
        if self._open:
            self._open.extend(flagged, self._rules.halo)
        else:
            self._open = OpenEvent.of(flagged, self._rules.halo)

    def finish(self) -> list[Event]:
        """Return the event that is still open, if there is one."""
        return self._end(self._threshold)

    def not_raised(self) -> list[NotRaised]:
        """Return the runs that have ended as no events since this was asked last."""
        found, self._not_raised = self._not_raised, []
        return found

    def memory(self) -> dict[str, Any]:
        """Return what another finder needs to go on from here, as plain values for JSON."""
        return {
            "threshold": self._threshold,
            "row": self._row,
            "time": self._last_time,
            "breaks": self._breaks,
            "last": self._last,
            "open": None if self._open is None else self._open.memory(),
        }

    def go_on(self, memory: dict[str, Any]) -> list[Event]:
        """Go on from where another finder stood; return the event that was open there, if it was cut by another threshold.

        Args:
            memory: what `memory` of the other one returned, with the same columns.
        """
        self._row, self._last_time, self._breaks = memory["row"], memory["time"], memory["breaks"]
        self._last = None if memory["last"] is None else Span(*memory["last"])
        self._open = None if memory["open"] is None else OpenEvent.recalled(memory["open"])
        return [] if memory["threshold"] == self._threshold else self._end(memory["threshold"])

    def _end(self, threshold: float) -> list[Event]:
        run, self._open = self._open, None
        if run is None:
            return []
        event = run.to_event(threshold, self._columns)
        reason = TOO_SHORT if run.is_none(threshold, self._rules) else self._why_none(event, run)
        if reason is None:
            return [event]
        self._not_raised.append(NotRaised(event, reason))
        return []

    def _why_none(self, event: Event, run: OpenEvent) -> str | None:
        """Return the first rule that a run does not meet; what only must not be raised counts for the cool-down of the next."""
        rules, span = self._rules, run.span
        if event.severity <= rules.min_severity:
            return TOO_WEAK
        if not run.far and not self._is_about_others(event):
            return TOO_NEAR
        if not self._points_as_wanted(event):
            return DIRECTION
        before, self._last = self._last, span
        if before is not None and rules.cool_down > 0 and before.joins(span, rules.cool_down):
            return COOL_DOWN
        return DISMISSED if rules.dismissed is not None and rules.dismissed.hold(event) else None

    def _is_about_others(self, event: Event) -> bool:
        """Tell whether features without a limit have at least half of the shares."""
        limited = {name for name, _ in self._rules.min_deviation}
        return sum(share for name, share in event.shares if name not in limited) >= 0.5

    def _points_as_wanted(self, event: Event) -> bool:
        """Tell whether features that deviate in a direction that counts have at least half of the shares."""
        if self._rules.direction is None:
            return True
        wanted = dict(zip(self._columns, self._rules.direction, strict=True))
        pairs = zip(event.shares, event.deviations, strict=True)
        return sum(share for (name, share), deviation in pairs if wanted[name] * deviation >= 0) >= 0.5


def _are_far(limits: Mapping[int, Limit], measured: Floats, expected: Floats) -> Bools:
    """Tell in which rows a feature deviates by its limit, `(n,)`; where a value is not known it does not.

    Args:
        limits: by the position of the feature.
        measured: `(n, n_features)`.
        expected: of the same shape.
    """
    far = np.zeros(len(measured), np.bool_)
    for feature, limit in limits.items():
        deviation = np.abs(measured[:, feature] - expected[:, feature])
        least = limit.amount * (np.abs(expected[:, feature]) if limit.is_share else 1.0)
        far |= (deviation >= least) & (deviation > 0)
    return far
