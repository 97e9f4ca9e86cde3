"""Flags -> events: maximal runs of flagged rows, merged over short gaps, and what drove them.

`anomaly.scoring.alarms.EventRules` says what becomes of a run; here the rules are applied to rows as they come.

A score speaks of whole windows, so a large anomaly flags the rows up to a window before and after it as well. An event
therefore begins and ends with a flagged row that deviates itself: by a fifth, at least, of what the row does that deviates
most (the norm over the features of measured less expected). The row with the highest score always lies within.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any, ClassVar, NamedTuple

import numpy as np

from anomaly.limits import Limit
from anomaly.scoring.alarms import EventRules
from anomaly.scoring.not_raised import COOL_DOWN, DIRECTION, DISMISSED, TOO_NEAR, TOO_SHORT, TOO_WEAK
from anomaly.scoring.scores import Scores, flags
from anomaly.series import Bools, Floats, Ints, format_time
from anomaly.words import number_beside, pair_text, span_text

# The rows at both ends that deviate less than this share of the largest deviation are cut off.
LEAST_DEVIATION = 0.2
# Features with a smaller share of the scores are not named, but for the first.
_SHARE_TO_NAME, _MOST_NAMED = 0.2, 3


@dataclass(frozen=True)
class Event:
    """One stretch of anomalous rows.

    Attributes:
        start: position of the first row.
        stop: position after the last row.
        first_time: time of the first row, as in `TimeSeries.times`.
        last_time: time of the last row.
        peak: position of the highest score.
        peak_time: its time.
        peak_score: the highest score.
        severity: peak_score / threshold; above 1 by definition.
        n_flagged: flagged rows; fewer than `stop - start` if short gaps were merged.
        shares: (feature, share) from the largest down: the part of each feature in the scores of the flagged
            rows; they sum to 1.
        deviations: for each feature, in the order of `shares`, the mean over the flagged rows with a value of measured less
            expected, in training sigmas, 0 without one: positive where the event lies above what was expected.
        measured: for each feature, in the same order, its value in the row where it is furthest off in the direction of its mean
            deviation, in the unit of the column; None where it is missing or infinite. Empty where values are not known.
        expected: of the same, what was expected there: measured less deviation; None where nothing is known.
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
    measured: tuple[float | None, ...] = ()
    expected: tuple[float | None, ...] = ()

    # When the first, the last and the peak row are, as `Scores.stamps` has it; None where only the numbers above are known.
    # No field: files of events have nothing of it, and equal events may come from inputs in other zones.
    stamps: ClassVar[tuple[Any, Any, Any] | None] = None

    def __len__(self) -> int:
        """Return the number of rows from the first to the last."""
        return self.stop - self.start

    def __repr__(self) -> str:
        """Say in a line when it was, how severe, what drove it, and how far that was from what was expected."""
        told = f": {self.against}" if self.against else ""
        return f"Event {self.when}, severity {severity_text(self.severity)}, {self.drivers}{told}"

    @property
    def when(self) -> str:
        """The first and the last row as text: times as they stand in the input, or numbers of rows."""
        return span_text(*self.stamps[:2]) if self.stamps else span_text(self.start, self.stop - 1)

    @property
    def drivers(self) -> str:
        """The features that drove it, at most three, with their shares if there are several, and whether they were up or down.

        Where no feature has a fifth of the scores, shares say nothing: then it is spread over all.
        """
        if self.is_spread:
            return f"spread over all {len(self.shares)} features"
        texts = []
        for i in self.named:
            (name, share), deviation = self.shares[i], self.deviations[i]
            way = "" if not deviation else " up" if deviation > 0 else " down"
            texts.append(f"{name}{way}" + (f" {100 * share:.0f} %" if len(self.shares) > 1 else ""))
        return ", ".join(texts)

    @property
    def against(self) -> str:
        """What the feature that drove it most measured where it was furthest from what was expected; empty if it is not known."""
        pair = self.values_of(0)
        if pair is None:
            return ""
        name = f"{self.shares[0][0]} " if len(self.named) > 1 or self.is_spread else ""
        return f"{name}{pair[0]} where {pair[1]} was expected"

    @property
    def is_spread(self) -> bool:
        """Whether no feature has so large a share that it is worth a word."""
        return self.shares[0][1] < _SHARE_TO_NAME

    @property
    def named(self) -> list[int]:
        """Which of `shares` are worth a word: the first, and at most two more with a fifth of the scores or more."""
        return [i for i, (_, share) in enumerate(self.shares[:_MOST_NAMED]) if i == 0 or share >= _SHARE_TO_NAME]

    def values_of(self, place: int) -> tuple[str, str] | None:
        """Return measured and expected of one of `shares` as text, in the unit of its column; None where they are not known."""
        pair = (self.measured[place], self.expected[place]) if self.measured and self.expected else (None, None)
        return None if pair[0] is None or pair[1] is None else pair_text(pair[0], pair[1])

    def with_stamps(self, stamps: tuple[Any, Any, Any]) -> "Event":
        """Let the event know its times as they stand in the input; return it."""
        object.__setattr__(self, "stamps", stamps)  # frozen as to what it is, and not as to how it is told
        return self

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
            "measured": self._by_name(self.measured, self.expected, top),
            "expected": self._by_name(self.expected, self.measured, top),
        }

    def _by_name(self, values: Sequence[float | None], others: Sequence[float | None], top: int | None) -> dict[str, float | None]:
        told = [None if x is None else float(number_beside(x, y)) for x, y in zip_longest(values, others[: len(values)])]
        return {name: x for (name, _), x in zip(self.shares[:top], told, strict=False)}


class NotRaised(NamedTuple):
    """A run of flagged rows that is no event, and the rule that says so."""

    event: Event  # what it would have been
    reason: str  # one of `anomaly.scoring.not_raised.REASONS`


def severity_text(severity: float) -> str:
    """Return a severity with one digit behind the point, with none from 1,000 on."""
    return f"{severity:.1f}" if severity < 1000 else f"{severity:,.0f}"


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
        self._open: _Run | None = None
        self._last: _Span | None = None  # of the last event, raised or not
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
            far = not known or not self._limits or _is_far(self._limits, *np.split(values[start:stop], 2, axis=1))
            flagged = _Flagged(self._row + run_rows, *arrays, int(breaks[run_rows[0]]), far)
            if self._open and self._open.span.joins(flagged.span, self._rules.merge_gap):
                self._open.extend(flagged)
            else:
                ended += self.finish()
                self._open = _Run.of(flagged)
        self._row += len(times)
        self._last_time, self._breaks = int(times[-1]), int(breaks[-1])
        # A live stream wants an event when no row can join it any more, and not when the next one begins.
        last = self._open.span if self._open else None
        if last and (self._row - last.last - 1 > self._rules.merge_gap or self._breaks != last.breaks):
            ended += self.finish()
        return ended

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
        self._last = None if memory["last"] is None else _Span(*memory["last"])
        self._open = None if memory["open"] is None else _Run.recalled(memory["open"])
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

    def _why_none(self, event: Event, run: "_Run") -> str | None:
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


class _Span(NamedTuple):
    """Where flagged rows begin and end."""

    first: int  # position of the first one
    last: int  # and of the last one
    breaks: int  # gaps before them

    @property
    def length(self) -> int:
        return self.last + 1 - self.first

    def joins(self, later: "_Span", merge_gap: int) -> bool:
        return later.first - self.last - 1 <= merge_gap and later.breaks == self.breaks


class _Flagged(NamedTuple):
    """Flagged rows that follow each other; all arrays have an entry a row."""

    rows: Ints
    times: Ints
    score: Floats
    parts: Floats  # (n, 3 * n_features): by feature, then deviations, then 1 where there is a deviation
    values: Floats  # (n, 2 * n_features): measured, then expected; (n, 0) where they are not known
    breaks: int  # gaps before them
    far: bool  # whether a feature deviates by its limit in one of them

    @property
    def span(self) -> _Span:
        return _Span(int(self.rows[0]), int(self.rows[-1]), self.breaks)


class _Run:
    """Flagged rows of one event so far, before its ends are cut off.

    Of the rows only those are held that may turn out to be the first or the last of the event, since no row before, or
    no row after, deviates as much; and the row with the highest score.
    """

    def __init__(self, span: _Span, n_sums: int, n_values: int) -> None:
        self.span, self.far = span, False
        self._peak, self._peak_score, self._n_flagged = -1, -np.inf, 0
        # Of each row held: position, time, how many flagged rows come up to it; deviation; parts; the sums up to it; values.
        widths = n_sums, n_sums, n_values
        self._held: tuple[Any, ...] = (np.empty((0, 3), np.int64), np.empty(0), *(np.empty((0, n)) for n in widths))
        self._total = np.zeros(n_sums)
        # Of each feature, upwards and downwards, where it is furthest off: how far, its position, measured and expected.
        self._furthest = np.full((2, n_sums // 3, 4), np.nan)
        self._furthest[:, :, :2] = 0.0, -1.0

    @classmethod
    def of(cls, flagged: _Flagged) -> "_Run":
        run = cls(flagged.span, flagged.parts.shape[1], flagged.values.shape[1])
        run.extend(flagged)
        return run

    @classmethod
    def recalled(cls, memory: dict[str, Any]) -> "_Run":
        """Return the run that returned `memory`."""
        n_values = len(memory["total"]) // (3 if memory.get("counts_known") else 2) * 2
        run = cls(_Span(*memory["span"]), n_values // 2 * 3, n_values)
        run._peak, run._peak_score, run._n_flagged = memory["peak"], memory["peak_score"], memory["n_flagged"]
        run.far = memory.get("far", True)  # older versions knew no limits
        places, *others = memory["held"]
        others += [] if len(others) == 4 else [[[np.nan] * n_values] * len(places)]  # as older versions wrote it
        deviation, parts, sums, values = (np.array(array) for array in others)
        numbers, total = np.array(places, np.int64).reshape(-1, 3), np.array(memory["total"])
        if not memory.get("counts_known"):  # older versions took what was missing for 0
            ones = np.ones((len(numbers), n_values // 2))
            parts, sums = np.hstack([parts, ones]), np.hstack([sums, ones * numbers[:, 2:]])
            total = np.append(total, np.full(n_values // 2, run._n_flagged, float))
        if "furthest" in memory:
            known = [np.nan if x is None else x for x in memory["furthest"]]
            run._furthest = np.array(known, np.float64).reshape(run._furthest.shape)
        run._held, run._total = (numbers, deviation, parts, sums, values), total
        return run

    def memory(self) -> dict[str, Any]:
        """Return all that is known, as plain values for JSON."""
        return {
            "span": self.span,
            "far": self.far,
            "peak": self._peak,
            "peak_score": self._peak_score,
            "n_flagged": self._n_flagged,
            "counts_known": True,
            "furthest": [None if np.isnan(x) else x for x in self._furthest.ravel().tolist()],
            "held": [array.tolist() for array in self._held],
            "total": self._total.tolist(),
        }

    def extend(self, flagged: _Flagged) -> None:
        """Add further rows; sums are made row by row, so they are the same to the last bit however the rows were split."""
        self.far |= flagged.far
        best = int(np.argmax(flagged.score))
        if flagged.score[best] > self._peak_score:
            self._peak, self._peak_score = int(flagged.rows[best]), float(flagged.score[best])
        self._note_furthest(flagged)
        n = len(flagged.rows)
        sums = np.cumsum(np.concatenate([self._total[None], flagged.parts]), axis=0)[1:]
        numbers = self._n_flagged + np.arange(1, n + 1)
        deviation = np.linalg.norm(np.split(flagged.parts, 3, axis=1)[1], axis=1)
        new = np.column_stack([flagged.rows, flagged.times, numbers]), deviation, flagged.parts, sums, flagged.values
        held = [np.concatenate(pair) for pair in zip(self._held, new, strict=True)]
        keep = _may_be_ends(held[1]) | (held[0][:, 0] == self._peak)
        self._held = tuple(array[keep] for array in held)
        self._total, self._n_flagged = sums[-1], self._n_flagged + n
        self.span = self.span._replace(last=int(flagged.rows[-1]))

    def _note_furthest(self, flagged: _Flagged) -> None:
        """Note where each feature is furthest off, the first of several such rows."""
        deviation = np.split(flagged.parts, 3, axis=1)[1]
        columns = np.arange(deviation.shape[1])
        for own, off in zip(self._furthest, (deviation, -deviation), strict=True):
            rows = off.argmax(axis=0)
            further = off[rows, columns] > own[:, 0]
            own[further, 0], own[further, 1] = off[rows, columns][further], flagged.rows[rows][further]
            if flagged.values.shape[1]:
                measured, expected = np.split(flagged.values, 2, axis=1)
                own[further, 2], own[further, 3] = measured[rows, columns][further], expected[rows, columns][further]

    def is_none(self, threshold: float, rules: EventRules) -> bool:
        """Tell whether there are too few rows, and no peak that makes up for it."""
        if self.span.length >= rules.min_length:
            return False
        return rules.short_severity is None or self._peak_score / rules.short_severity <= threshold

    def to_event(self, threshold: float, columns: tuple[str, ...]) -> Event:
        """Cut the ends off, and add up what is left."""
        places, deviation, parts, sums, values = self._held
        inside = np.flatnonzero((deviation >= LEAST_DEVIATION * deviation.max()) | (places[:, 0] == self._peak))
        first, last = int(inside[0]), int(inside[-1])
        (start, first_time, before), (stop, last_time, up_to) = places[first].tolist(), places[last].tolist()
        peak_time = int(places[np.flatnonzero(places[:, 0] == self._peak)[0], 1])
        n_flagged = up_to - before + 1
        by_feature, deviations, n_known = np.split(sums[last] - sums[first] + parts[first], 3)
        shares = by_feature / by_feature.sum()
        order = np.argsort(-shares, kind="stable")
        measured, expected = np.split(values[int(deviation.argmax())].copy(), 2)
        own = self._furthest[(deviations < 0).astype(int), np.arange(len(deviations))]
        inside_event = (own[:, 1] >= start) & (own[:, 1] <= stop) & (len(measured) > 0)
        if inside_event.any():
            measured[inside_event], expected[inside_event] = own[inside_event, 2], own[inside_event, 3]
        return Event(
            start, stop + 1, first_time, last_time, self._peak, peak_time, self._peak_score,
            severity=self._peak_score / threshold,
            n_flagged=n_flagged,
            shares=tuple((columns[i], float(shares[i])) for i in order),
            deviations=tuple(float(deviations[i] / max(n_known[i], 1)) for i in order),
            measured=_told(measured, order), expected=_told(expected, order),
        )  # fmt: skip


def _is_far(limits: Mapping[int, Limit], measured: Floats, expected: Floats) -> bool:
    """Tell whether a feature deviates by its limit in one of some rows; where a value is not known it does not.

    Args:
        limits: by the position of the feature.
        measured: `(n, n_features)`.
        expected: of the same shape.
    """
    for feature, limit in limits.items():
        deviation = np.abs(measured[:, feature] - expected[:, feature])
        least = limit.amount * (np.abs(expected[:, feature]) if limit.is_share else 1.0)
        if ((deviation >= least) & (deviation > 0)).any():
            return True
    return False


def _told(values: Floats, order: Ints) -> tuple[float | None, ...]:
    """Return values in an order, None for what is no number; nothing where nothing is known."""
    return tuple(float(values[i]) if np.isfinite(values[i]) else None for i in order) if len(values) else ()


def _may_be_ends(deviation: Floats) -> Bools:
    """Tell which rows deviate enough, and more than all rows before or more than all rows after, `(n,)`."""
    before = np.maximum.accumulate(np.append(-1.0, deviation[:-1]))
    after = np.maximum.accumulate(np.append(deviation[1:], -1.0)[::-1])[::-1]
    enough: Bools = deviation >= LEAST_DEVIATION * deviation.max()
    return enough & ((deviation > before) | (deviation > after))
