"""An event so far: the flagged rows that are held of it, where it begins and ends, and where another begins.

A score speaks of whole windows, so a large anomaly flags the rows around it as well, up to as far as the longest windows reach:
its halo. An event therefore begins and ends with a flagged row that deviates itself: by a fifth, at least, of what the row does
that deviates most (the norm over the features of measured less expected). The row with the highest score always lies within.

What is flagged farther than a halo behind the last such row is no halo. If it is high, another event begins there: else it would
be cut off with what is left and right of a higher one. For the same reason an event ends, if it is high, where rows come that
deviate so much more that it would be cut off, and it lies farther than a halo before them. So the last rows, as many as a halo
takes, are held one by one: they may turn out to be of another event than those before.
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

    def then(self, later: "Flagged") -> "Flagged":
        """Return these and later ones, without a gap in time between them."""
        score, far = np.concatenate([self.score, later.score]), np.concatenate([self.far, later.far])
        parts, values = np.concatenate([self.parts, later.parts]), np.concatenate([self.values, later.values])
        rows, times = np.concatenate([self.rows, later.rows]), np.concatenate([self.times, later.times])
        return Flagged(rows, times, score, parts, values, far, later.breaks)

    def split(self, row: int) -> tuple["Flagged", "Flagged"]:
        """Return those before a row, and the others."""
        n = int(np.searchsorted(self.rows, row))
        return self.part(slice(n)), self.part(slice(n, None))


class SoFar(NamedTuple):
    """What is known of the rows of an event so far."""

    largest: float  # deviation
    last: int  # the last row that is no halo
    peak: float  # the highest score

    @classmethod
    def of_first(cls, flagged: Flagged) -> "SoFar":
        """Return what is known of the first of some rows."""
        return cls(float(flagged.deviation[0]), int(flagged.rows[0]), float(flagged.score[0]))


class OpenEvent:
    """Flagged rows of one event so far, before its ends are cut off.

    Of the rows that lie farther back than a halo only those are held that may turn out to be the first or the last of the event,
    since no row before, or no row after, deviates as much; and the row with the highest score.
    """

    def __init__(self, span: Span, recent: Flagged) -> None:
        n_sums, n_values = recent.parts.shape[1], recent.values.shape[1]
        self.span, self.recent, self.far = span, recent, False
        self._so_far = SoFar(-1.0, span.first, -np.inf)
        # What follows is of the rows before the recent ones.
        self._peak, self._peak_score, self._n_flagged, self._last = -1, -np.inf, 0, -1
        # Of each row held: position, time, how many flagged rows come up to it; deviation; parts; the sums up to it; values.
        widths = n_sums, n_sums, n_values
        self._held: tuple[Any, ...] = (np.empty((0, 3), np.int64), np.empty(0), *(np.empty((0, n)) for n in widths))
        self._total = np.zeros(n_sums)
        # Of each feature, upwards and downwards, where it is furthest off: how far, its position, measured and expected.
        self._furthest = np.full((2, n_sums // 3, 4), np.nan)
        self._furthest[:, :, :2] = 0.0, -1.0

    @classmethod
    def of(cls, flagged: Flagged, halo: int) -> "OpenEvent":
        """Return the one that begins with some flagged rows."""
        event = cls(flagged.span, flagged.part(slice(0)))
        event.extend(flagged, halo)
        return event

    @classmethod
    def recalled(cls, memory: dict[str, Any]) -> "OpenEvent":
        """Return the one that returned `memory`."""
        n_sums = len(memory["total"]) // (3 if memory.get("counts_known") else 2) * 3
        places, *others = memory["held"]
        others += [] if len(others) == 4 else [[[np.nan] * (n_sums // 3 * 2)] * len(places)]  # as older versions wrote it
        n_values = next((len(row) for rows in (others[-1], memory.get("recent", [[]] * 6)[4]) for row in rows), n_sums // 3 * 2)
        numbers, deviation = np.array(places, np.int64).reshape(-1, 3), np.array(others[0], np.float64)
        parts, sums = (np.array(rows, np.float64).reshape(len(numbers), len(memory["total"])) for rows in others[1:3])
        values, total = np.array(others[3], np.float64).reshape(len(numbers), n_values), np.array(memory["total"])
        n_flagged = memory["n_flagged"]
        if not memory.get("counts_known"):  # older versions took what was missing for 0
            ones = np.ones((len(numbers), n_sums // 3))
            parts, sums = np.hstack([parts, ones]), np.hstack([sums, ones * numbers[:, 2:]])
            total = np.append(total, np.full(n_sums // 3, n_flagged, float))
        span = Span(*memory["span"])
        recent = _recent_of(memory.get("recent", []), span.breaks, n_sums, n_values)
        event = cls(span, recent)
        event._peak, event._peak_score, event._n_flagged = memory["peak"], memory["peak_score"], n_flagged
        event._peak_score = -np.inf if event._peak_score is None else event._peak_score
        event.far, event._last = memory.get("far", True), memory.get("last", span.last)  # older versions knew no limits
        if "furthest" in memory:
            known = [np.nan if x is None else x for x in memory["furthest"]]
            event._furthest = np.array(known, np.float64).reshape(event._furthest.shape)
        event._held, event._total = (numbers, deviation, parts, sums, values), total
        last_high = memory.get("last_high", event._peak)
        before = SoFar(float(deviation.max()), max(int(numbers[-1, 0]), last_high), event._peak_score) if len(numbers) else None
        event._so_far = SoFar(*memory["so_far"]) if "so_far" in memory else before or event._so_far
        return event

    def memory(self) -> dict[str, Any]:
        """Return all that is known, as plain values for JSON."""
        return {
            "span": self.span,
            "far": self.far,
            "peak": self._peak,
            "peak_score": self._peak_score if self._n_flagged else None,
            "so_far": self._so_far,
            "last": self._last,
            "n_flagged": self._n_flagged,
            "counts_known": True,
            "furthest": [None if np.isnan(x) else x for x in self._furthest.ravel().tolist()],
            "held": [array.tolist() for array in self._held],
            "total": self._total.tolist(),
            "recent": [array.tolist() for array in self.recent[:-1]],
        }

    def extend(self, flagged: Flagged, halo: int) -> None:
        """Add further rows; those are held one by one that lie at most `halo` rows before the last of them."""
        self._so_far = _staying(flagged, self._so_far)[1]
        self.span = self.span._replace(last=int(flagged.rows[-1]))
        settled, self.recent = self.recent.then(flagged).split(self.span.last - halo)
        self._settle(settled)

    def ended_before(self, row: int) -> Flagged:
        """End with the rows before a position, of which none is settled; return the others."""
        settled, others = self.recent.split(row)
        self.recent = others.part(slice(0))
        self._settle(settled)
        self.span = self.span._replace(last=self._last)
        return others

    def _settle(self, flagged: Flagged) -> None:
        """Add up rows that stay; sums are made row by row, so they are the same to the last bit however the rows were split."""
        if not len(flagged.rows):
            return
        self.far |= bool(flagged.far.any())
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
        self._total, self._n_flagged, self._last = sums[-1], self._n_flagged + n, int(flagged.rows[-1])

    @property
    def so_far(self) -> SoFar:
        """What is known of all rows."""
        return self._so_far

    @property
    def settled(self) -> tuple[float, float]:
        """The largest deviation and the highest score of the rows before the recent ones; less than any where there is none."""
        return float(self._held[1].max(initial=-1.0)), self._peak_score

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
        """Settle all rows, cut the ends off, and add up what is left."""
        self._settle(self.recent)
        self.recent = self.recent.part(slice(0))
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
    before = SoFar.of_first(flagged) if event is None else event.so_far
    stays, _ = _staying(flagged, before)
    last = np.maximum.accumulate(np.append(before.last, np.where(stays, flagged.rows, before.last)))[:-1]
    beyond = np.flatnonzero((flagged.rows - last > halo) & (flagged.score > high))
    return int(beyond[0]) if len(beyond) else len(flagged.rows)


def cut_off_by(event: OpenEvent | None, flagged: Flagged, halo: int, high: float) -> int:
    """Return how many further flagged rows come before one that would cut off all that lies farther than a halo before it.

    That is an event of its own if it is high, and was not cut off by another row before.

    Args:
        event: as for `another_begins`.
        flagged: as for `another_begins`.
        halo: rows before one that deviates in which flags are its halo.
        high: what lies farther before is an event of its own if its score is above this.
    """
    largest, peak = (-1.0, -np.inf) if event is None else event.settled
    joined = flagged if event is None else event.recent.then(flagged)
    n_before, deviation = len(joined.rows) - len(flagged.rows), joined.deviation
    # By how many of the rows that are held: what lies before, farther than a halo, and all.
    n_far = np.searchsorted(joined.rows, flagged.rows - halo)
    far = np.maximum.accumulate(np.append(largest, deviation))[n_far]
    height = np.maximum.accumulate(np.append(peak, joined.score))[n_far]
    most = np.maximum.accumulate(np.append(largest, deviation))[n_before:-1]
    own = deviation[n_before:]
    found = np.flatnonzero((LEAST_DEVIATION * own > far) & (far >= LEAST_DEVIATION * most) & (height > high))
    return int(found[0]) if len(found) else len(flagged.rows)


def _staying(flagged: Flagged, before: SoFar) -> tuple[Bools, SoFar]:
    """Tell which further rows are no halo of an event, as far as is known up to there, `(n,)`, and what is known behind them."""
    deviation = flagged.deviation
    stays: Bools = deviation >= LEAST_DEVIATION * np.maximum.accumulate(np.maximum(deviation, before.largest))
    stays |= flagged.score >= AS_HIGH * np.maximum.accumulate(np.maximum(flagged.score, before.peak))
    last = int(flagged.rows[stays][-1]) if stays.any() else before.last
    return stays, SoFar(max(before.largest, float(deviation.max())), last, max(before.peak, float(flagged.score.max())))


def _recent_of(arrays: list[Any], breaks: int, n_sums: int, n_values: int) -> Flagged:
    """Return rows from plain values, none if there are none."""
    rows, times, score, parts, values, far = arrays or ([] for _ in range(6))
    n = len(rows)
    numbers = np.array(parts, np.float64).reshape(n, n_sums), np.array(values, np.float64).reshape(n, n_values)
    positions = np.array(rows, np.int64), np.array(times, np.int64), np.array(score, np.float64)
    return Flagged(*positions, *numbers, np.array(far, np.bool_), breaks)


def _told(values: Floats, order: Ints) -> tuple[float | None, ...]:
    """Return values in an order, None for what is no number; nothing where nothing is known."""
    return tuple(float(values[i]) if np.isfinite(values[i]) else None for i in order) if len(values) else ()


def _may_be_ends(deviation: Floats) -> Bools:
    """Tell which rows deviate enough, and more than all rows before or more than all rows after, `(n,)`."""
    before = np.maximum.accumulate(np.append(-1.0, deviation[:-1]))
    after = np.maximum.accumulate(np.append(deviation[1:], -1.0)[::-1])[::-1]
    enough: Bools = deviation >= LEAST_DEVIATION * deviation.max()
    return enough & ((deviation > before) | (deviation > after))
