"""An event so far: the flagged rows that are held of it, where it begins and ends, and where another begins.

A score speaks of whole windows, so a large anomaly flags the rows around it as well, up to as far as the longest windows reach:
its halo. An event therefore begins and ends with a flagged row that deviates itself: by a fifth, at least, of what the row does
that deviates most (the norm over the features of measured less expected). The row with the highest score always lies within.

What is flagged farther than a halo behind the last such row is no halo. If it is high, another event begins there: else it would
be cut off with what is left and right of a higher one.
"""

from typing import Any, NamedTuple

import numpy as np

from anomaly.events.alarms import EventRules
from anomaly.events.event import Event
from anomaly.series import Bools, Floats, Ints

# The rows at both ends that deviate less than this share of the largest deviation are cut off.
LEAST_DEVIATION = 0.2
# How many thresholds high a row beyond the halo must be, so that another event begins with it.
HIGH = 3.0
# What has so large a share of the highest score is no halo: a sensor that is stuck stays as high, however little it deviates.
AS_HIGH = 0.9


class Span(NamedTuple):
    """Where flagged rows begin and end."""

    first: int  # position of the first one
    last: int  # and of the last one
    breaks: int  # gaps before them

    @property
    def length(self) -> int:
        """Rows from the first to the last."""
        return self.last + 1 - self.first

    def joins(self, later: "Span", merge_gap: int) -> bool:
        """Tell whether a later span belongs to this one: no gap in time, and at most so many rows lie between."""
        return later.first - self.last - 1 <= merge_gap and later.breaks == self.breaks


class Flagged(NamedTuple):
    """Flagged rows that follow each other; all arrays have an entry a row."""

    rows: Ints
    times: Ints
    score: Floats
    parts: Floats  # (n, 3 * n_features): by feature, then deviations, then 1 where there is a deviation
    values: Floats  # (n, 2 * n_features): measured, then expected; (n, 0) where they are not known
    far: Bools  # whether a feature deviates by its limit
    breaks: int  # gaps before them

    @property
    def span(self) -> Span:
        """Where they begin and end."""
        return Span(int(self.rows[0]), int(self.rows[-1]), self.breaks)

    @property
    def deviation(self) -> Floats:
        """The norm over the features of measured less expected, `(n,)`."""
        found: Floats = np.linalg.norm(np.split(self.parts, 3, axis=1)[1], axis=1)
        return found

    def part(self, rows: slice) -> "Flagged":
        """Return some of them."""
        arrays = self.score[rows], self.parts[rows], self.values[rows], self.far[rows]
        return Flagged(self.rows[rows], self.times[rows], *arrays, self.breaks)


class OpenEvent:
    """Flagged rows of one event so far, before its ends are cut off.

    Of the rows only those are held that may turn out to be the first or the last of the event, since no row before, or
    no row after, deviates as much; and the row with the highest score.
    """

    def __init__(self, span: Span, n_sums: int, n_values: int) -> None:
        self.span, self.far = span, False
        self._peak, self._peak_score, self._n_flagged = -1, -np.inf, 0
        self._last_high = span.first  # the last row that was as high as the highest up to there
        # Of each row held: position, time, how many flagged rows come up to it; deviation; parts; the sums up to it; values.
        widths = n_sums, n_sums, n_values
        self._held: tuple[Any, ...] = (np.empty((0, 3), np.int64), np.empty(0), *(np.empty((0, n)) for n in widths))
        self._total = np.zeros(n_sums)
        # Of each feature, upwards and downwards, where it is furthest off: how far, its position, measured and expected.
        self._furthest = np.full((2, n_sums // 3, 4), np.nan)
        self._furthest[:, :, :2] = 0.0, -1.0

    @classmethod
    def of(cls, flagged: Flagged) -> "OpenEvent":
        """Return the one that begins with some flagged rows."""
        event = cls(flagged.span, flagged.parts.shape[1], flagged.values.shape[1])
        event.extend(flagged)
        return event

    @classmethod
    def recalled(cls, memory: dict[str, Any]) -> "OpenEvent":
        """Return the one that returned `memory`."""
        n_values = len(memory["total"]) // (3 if memory.get("counts_known") else 2) * 2
        event = cls(Span(*memory["span"]), n_values // 2 * 3, n_values)
        event._peak, event._peak_score, event._n_flagged = memory["peak"], memory["peak_score"], memory["n_flagged"]
        event.far = memory.get("far", True)  # older versions knew no limits
        event._last_high = memory.get("last_high", event._peak)
        places, *others = memory["held"]
        others += [] if len(others) == 4 else [[[np.nan] * n_values] * len(places)]  # as older versions wrote it
        deviation, parts, sums, values = (np.array(array) for array in others)
        numbers, total = np.array(places, np.int64).reshape(-1, 3), np.array(memory["total"])
        if not memory.get("counts_known"):  # older versions took what was missing for 0
            ones = np.ones((len(numbers), n_values // 2))
            parts, sums = np.hstack([parts, ones]), np.hstack([sums, ones * numbers[:, 2:]])
            total = np.append(total, np.full(n_values // 2, event._n_flagged, float))
        if "furthest" in memory:
            known = [np.nan if x is None else x for x in memory["furthest"]]
            event._furthest = np.array(known, np.float64).reshape(event._furthest.shape)
        event._held, event._total = (numbers, deviation, parts, sums, values), total
        return event

    def memory(self) -> dict[str, Any]:
        """Return all that is known, as plain values for JSON."""
        return {
            "span": self.span,
            "far": self.far,
            "peak": self._peak,
            "peak_score": self._peak_score,
            "last_high": self._last_high,
            "n_flagged": self._n_flagged,
            "counts_known": True,
            "furthest": [None if np.isnan(x) else x for x in self._furthest.ravel().tolist()],
            "held": [array.tolist() for array in self._held],
            "total": self._total.tolist(),
        }

    def extend(self, flagged: Flagged) -> None:
        """Add further rows; sums are made row by row, so they are the same to the last bit however the rows were split."""
        self.far |= bool(flagged.far.any())
        high = np.flatnonzero(_as_high(flagged.score, self._peak_score))
        self._last_high = int(flagged.rows[high[-1]]) if len(high) else self._last_high
        best = int(np.argmax(flagged.score))
        if flagged.score[best] > self._peak_score:
            self._peak, self._peak_score = int(flagged.rows[best]), float(flagged.score[best])
        self._note_furthest(flagged)
        n = len(flagged.rows)
        sums = np.cumsum(np.concatenate([self._total[None], flagged.parts]), axis=0)[1:]
        numbers = self._n_flagged + np.arange(1, n + 1)
        deviation = flagged.deviation
        new = np.column_stack([flagged.rows, flagged.times, numbers]), deviation, flagged.parts, sums, flagged.values
        held = [np.concatenate(pair) for pair in zip(self._held, new, strict=True)]
        keep = _may_be_ends(held[1]) | (held[0][:, 0] == self._peak)
        self._held = tuple(array[keep] for array in held)
        self._total, self._n_flagged = sums[-1], self._n_flagged + n
        self.span = self.span._replace(last=int(flagged.rows[-1]))

    @property
    def state(self) -> tuple[float, int, float]:
        """The largest deviation so far, the last row that is no halo, and the highest score."""
        return float(self._held[1].max()), max(int(self._held[0][-1, 0]), self._last_high), self._peak_score

    def _note_furthest(self, flagged: Flagged) -> None:
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


def another_begins(event: OpenEvent | None, flagged: Flagged, halo: int, high: float) -> int:
    """Return how many further flagged rows belong to an event, before one begins another; the last row of an event is not its halo.

    Args:
        event: as it is so far; None where it begins with these rows.
        flagged: at least one row.
        halo: rows behind an event's last one in which flags are its halo.
        high: a row beyond with a score above this begins another.
    """
    deviation = flagged.deviation
    largest, last, peak = (deviation[0], int(flagged.rows[0]), flagged.score[0]) if event is None else event.state
    stays = deviation >= LEAST_DEVIATION * np.maximum.accumulate(np.maximum(deviation, largest))
    stays |= _as_high(flagged.score, peak)
    before = np.maximum.accumulate(np.append(last, np.where(stays, flagged.rows, last)))[:-1]
    beyond = np.flatnonzero((flagged.rows - before > halo) & (flagged.score > high))
    return int(beyond[0]) if len(beyond) else len(flagged.rows)


def _as_high(score: Floats, peak: float) -> Bools:
    """Tell which rows are as high as the highest up to there, `(n,)`, where it was `peak` before."""
    high: Bools = score >= AS_HIGH * np.maximum.accumulate(np.maximum(score, peak))
    return high


def _told(values: Floats, order: Ints) -> tuple[float | None, ...]:
    """Return values in an order, None for what is no number; nothing where nothing is known."""
    return tuple(float(values[i]) if np.isfinite(values[i]) else None for i in order) if len(values) else ()


def _may_be_ends(deviation: Floats) -> Bools:
    """Tell which rows deviate enough, and more than all rows before or more than all rows after, `(n,)`."""
    before = np.maximum.accumulate(np.append(-1.0, deviation[:-1]))
    after = np.maximum.accumulate(np.append(deviation[1:], -1.0)[::-1])[::-1]
    enough: Bools = deviation >= LEAST_DEVIATION * deviation.max()
    return enough & ((deviation > before) | (deviation > after))
