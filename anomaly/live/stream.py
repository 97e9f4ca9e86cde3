"""Rows of one series, scored as they come; what must be remembered to go on from where a stream stands.

A score depends on the rows that share a window with its own and on nothing before them. So the last `window_size - 1` rows in
order, and those that are not final yet, are all there is to remember of a series: fed to a new scorer they bring
it to where the old one was, be it after a restart or for a detector that was trained or tuned anew.
"""

import heapq
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.pace import Pace, PaceSoFar
from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError, DataError
from anomaly.events.event import Event, NotRaised
from anomaly.events.finder import EventFinder
from anomaly.files.scored_rows import ScoredRows
from anomaly.live.networks import Networks
from anomaly.scoring.row_scores import DUPLICATE, LATE, RowScores
from anomaly.scoring.scores import check_threshold
from anomaly.series import Bools, Floats, Ints, breaks_between
from anomaly.sources.tolerance import Tolerance
from anomaly.windowing.missing_rows import missing_before

# A row or two do not tell how often rows come.
ROWS_FOR_PACE = 16
# These look at no row after the one they speak about.
IMMEDIATE = ("trailing", "trailing_point")


class Rows(NamedTuple):
    """Rows on their way through, in any number."""

    lines: list[str]  # (n,) records as they stand in the input
    places: Ints  # (n,) numbers of the records in the input, from 0
    times: Ints  # (n,)
    values: Floats  # (n, n_features)

    @staticmethod
    def none(n_features: int) -> "Rows":
        """Return zero rows."""
        return Rows([], np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, n_features)))

    def __add__(self, other: "Rows") -> "Rows":  # type: ignore[override]
        """Return these rows and others behind them."""
        return Rows(
            self.lines + other.lines,
            np.concatenate([self.places, other.places]),
            np.concatenate([self.times, other.times]),
            np.concatenate([self.values, other.values]),
        )

    def part(self, start: int, stop: int | None) -> "Rows":
        """Return the rows from `start` to before `stop`."""
        return Rows(*(values[start:stop] for values in self))  # type: ignore[arg-type]

    def at(self, places: Ints | Bools) -> "Rows":
        """Return some of the rows."""
        chosen = np.arange(len(self.times))[places]
        return Rows([self.lines[i] for i in chosen.tolist()], self.places[chosen], self.times[chosen], self.values[chosen])


@dataclass(frozen=True)
class How:
    """How rows are scored, the same for all series of a stream.

    Attributes:
        aggregation: how overlapping windows become one score; None for the detector's own.
        threshold: a cut to use instead of the calibrated one.
        live: whether each row is scored as soon as it can be, and what a restart needs is remembered.
        reorder: rows of a series that are held to be put in the order of their times.
        lag: most rows that a row may wait for, if it is live.
        several: whether there are several series, and one that is refused does not end the run.
        counted: whether the rows of each series are counted, for want of times.
        name: of the input, for messages.
        figures: of `anomaly.config.FIGURES`: what is written of each feature behind the scores.
    """

    aggregation: str | None = None
    threshold: float | None = None
    live: bool = False
    reorder: int = 0
    lag: int = 0
    several: bool = False
    counted: bool = False
    name: str = "input"
    figures: tuple[str, ...] = ()


@dataclass
class Lesson:
    """How far a series is that is learnt from its own rows, see `anomaly.live.learning`.

    Attributes:
        rows: its first rows in order of which enough is known; their lines are not kept.
        wait: so many further ones until it is learnt anew.
        n_learnt: so many of them the detector in use comes from; 0 if there is none yet.
        is_over: whether it is learnt.
        cuts: thresholds so far, each with the number of the first row that went out with it.
    """

    rows: Rows
    wait: int
    n_learnt: int = 0
    is_over: bool = False
    cuts: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Memory:
    """All that is remembered of a series.

    Attributes:
        past: the last rows in order whose scores went out; their lines are not kept.
        waiting: rows whose scores wait for rows after them.
        held: rows that wait to be put in order.
        n_rows: rows that came so far, those that are held among them.
        phase: rows of its segment before the first one that is remembered, those that were missing among them.
        finder: what `EventFinder.memory` returns of its events; None to begin.
        lesson: how far it is learnt; None if it has a detector.
    """

    past: Rows
    waiting: Rows
    held: Rows
    n_rows: int = 0
    finder: dict[str, Any] | None = None
    phase: int = 0
    lesson: Lesson | None = None


def check_lag(detector: Detector, how: How) -> None:
    """Refuse a live stream whose rows may not wait as long as their scores need.

    Raises:
        ConfigError: with the least lag.
    """
    name = detector.aggregation_name(how.aggregation)
    needed = 0 if name in IMMEDIATE else detector.window_size_ - 1
    if how.live and how.lag < needed:
        raise ConfigError(
            f"With --follow, {name} looks {needed} rows ahead, and --lag must be at least that. "
            f"Received: --lag {how.lag}. Raise it, or use --aggregation trailing."
        )


class SeriesStream:
    """One series: rows in, those whose scores are final out.

    Args:
        detector: a fitted detector.
        how: how rows are scored.
        tolerance: counts what is tolerated.
        memory: of the same series, to go on from; None to begin.
        networks: runs the network of this series among those of others; None runs that of the detector.

    Attributes:
        ended: events that the memory has ended by taking it up, since the threshold is another one.
        refusal: why its rows are taken no further; None while they are.
    """

    def __init__(
        self,
        detector: Detector,
        how: How,
        tolerance: Tolerance,
        memory: Memory | None = None,
        *,
        networks: Networks | None = None,
    ) -> None:
        bundle, nothing = detector.bundle_, Rows.none(len(detector.bundle_.columns))
        self.aggregation = detector.aggregation_name(how.aggregation)
        check_lag(detector, how)
        self.memory = memory or Memory(nothing, nothing, nothing)
        self._how, self._n_past, self._n_known = how, bundle.window_size - 1, 0
        self._tolerance, self._networks = tolerance, networks
        self._ready: RowScores | None = None
        self.refusal: DataError | None = None
        pace, self._untold = Pace.of(bundle), nothing
        self._first_pace, self._pace = _FirstPace(pace, how.name), PaceSoFar(pace, how.name, max(ROWS_FOR_PACE, pace.window_size))
        known = np.concatenate([self.memory.past.times, self.memory.waiting.times])
        if len(known) and self._first_known() + len(known) >= ROWS_FOR_PACE:  # it was told by the first rows, and found good
            self._first_pace.passed()
        self._first_pace.look_at(known)
        self._score_with(detector)
        self.finder = self._finder(bundle)
        self.ended: list[Event] = [] if self.memory.finder is None else self.finder.go_on(self.memory.finder)

    def _finder(self, bundle: Bundle) -> EventFinder:
        return EventFinder(self.threshold, bundle.judged_columns, bundle.rules)

    def _first_known(self) -> int:
        """Return the number of the first row that is remembered."""
        memory = self.memory
        return memory.n_rows - sum(len(part.lines) for part in (memory.held, memory.past, memory.waiting))

    def _score_with(self, detector: Detector) -> None:
        """Score with a detector from here on: it sees the rows that are remembered."""
        bundle, tolerance, networks = detector.bundle_, self._tolerance, self._networks
        found = bundle.thresholds[self.aggregation].value
        self.threshold = found if self._how.threshold is None else check_threshold(self._how.threshold)
        counts, places = dict(tolerance.counts), dict(tolerance.places)
        through = None if networks is None else lambda _: networks.of(bundle)
        self._clock = bundle.row_step, bundle.longest_step
        self._scorer = detector.row_scorer(
            self.aggregation, tolerance=tolerance, through=through, eager=self._how.live, first_row=self._first_known(),
            phase=self.memory.phase, bands="band" in self._how.figures,
        )  # fmt: skip
        self._scaler = bundle.judged_scaler
        known = self.memory.past + self.memory.waiting
        if len(known.times):
            final = self._scorer.push(known.times, self._read(known.values))
            # With another detector, rows that went out may be final later, or rows that wait may be so now.
            n_past = len(self.memory.past.times)
            self._n_known = max(n_past - len(final), 0)
            self._ready = final.at(np.arange(len(final)) >= n_past)
            tolerance.counts, tolerance.places = counts, places  # they are counted already

    def _read(self, values: Floats) -> Floats:
        """Return values as they are to be scored."""
        return values

    def events(self, rows: ScoredRows, *, ended: bool = False) -> tuple[list[Event], list[NotRaised]]:
        """Take rows that went out, in order; return the events that have ended, and the runs of flagged rows that did so as none.

        Args:
            rows: the rows.
            ended: whether no row comes after them.
        """
        events = self.finder.push(*rows.for_events)
        events += self.finder.finish() if ended else []
        return events, self.finder.not_raised()

    def remembered(self) -> Memory:
        """Return all that another stream needs to go on from here."""
        return replace(self.memory, finder=self.finder.memory())

    def push(self, rows: Rows) -> tuple[Ints, ScoredRows]:
        """Take further rows; return those that are final, with their places."""
        n_rows, self.memory.n_rows = self.memory.n_rows, self.memory.n_rows + len(rows.lines)
        if self._how.counted:
            rows = rows._replace(times=np.arange(n_rows, self.memory.n_rows))
        if self._how.reorder:
            rows = self._in_time_order(rows)
        self.memory.waiting += rows  # before a fault in them is found: nothing is lost
        return self._scored(self._at_our_pace(rows))

    def _at_our_pace(self, rows: Rows, *, ended: bool = False) -> Rows:
        """Return the rows that may be scored: of a live stream at once, of a file as soon as its pace is told of them."""
        if self._how.live:
            self._first_pace.look_at(rows.times)
            return rows
        untold = self._untold + rows
        n, self.refusal = self._pace.good(untold.times, ended=ended)
        self._untold = untold.part(n, None)
        return untold.part(0, n)

    def _scored(self, rows: Rows) -> tuple[Ints, ScoredRows]:
        """Score rows that wait already; return those that are final, with their places."""
        return self._out(self._scorer.push(rows.times, self._read(rows.values)))

    def finish(self) -> tuple[Ints, ScoredRows]:
        """Return the rows that are still here, up to a refusal; none comes after."""
        held = self.memory.held
        rows = held.at(np.argsort(held.times, kind="stable"))
        self.memory.held = Rows.none(held.values.shape[1])
        self.memory.waiting += rows
        if not self._how.live:  # what it holds is scored whatever its pace: the rows before it are
            rows = self._at_our_pace(rows, ended=True)
        parts = [self._scored(rows)] if len(rows.lines) or self.refusal else []
        if self.refusal is None:
            parts.append(self._out(self._scorer.finish()))
        return np.concatenate([places for places, _ in parts]), ScoredRows.joined([scored for _, scored in parts])

    def _out(self, final: RowScores) -> tuple[Ints, ScoredRows]:
        """Take rows that are final from those that wait."""
        if self._ready is not None:
            final, self._ready = RowScores.joined([self._ready, final], 1, final.by_feature.shape[2]), None
        if self._n_known > 0:
            n = min(self._n_known, len(final))
            self._n_known -= n
            final = final.at(np.arange(len(final)) >= n)
        n, memory = len(final), self.memory
        out, memory.waiting = memory.waiting.part(0, n), memory.waiting.part(n, None)
        if self._how.live and n:
            in_order = ~np.isin(final.status[0], (LATE, DUPLICATE))
            past = memory.past + Rows([""] * n, *out[1:]).at(in_order)
            n_gone = max(0, len(past.times) - self._n_past)
            memory.phase = _phase_after(past.times[: n_gone + 1], memory.phase, *self._clock)
            memory.past = past.part(n_gone, None)
        return out.places, ScoredRows.of(out.lines, final, self.threshold, self._scaler, self._how.figures)

    def _in_time_order(self, rows: Rows) -> Rows:
        """Hold rows; return the earliest, one for each that comes once enough are held."""
        held = self.memory.held + rows
        queue = [(time, place) for place, time in enumerate(held.times[: len(held.times) - len(rows.times)].tolist())]
        heapq.heapify(queue)
        ready = []
        for place in range(len(queue), len(held.times)):
            heapq.heappush(queue, (int(held.times[place]), place))
            if len(queue) > self._how.reorder:
                ready.append(heapq.heappop(queue)[1])
        kept = np.ones(len(held.times), np.bool_)
        kept[ready] = False
        self.memory.held = held.at(kept)
        return held.at(np.array(ready, np.int64))


def _phase_after(times: Ints, phase: int, row_step: int, longest_step: int) -> int:
    """Return how many rows of its segment lie before the last of some rows, if `phase` of them lie before the first."""
    steps, ends = missing_before(times, row_step, longest_step) + 1, np.flatnonzero(breaks_between(times, longest_step))
    return int(steps[ends[-1] + 1 :].sum()) if len(ends) else phase + int(steps.sum())


class _FirstPace:
    """Whether live rows come as often as in training, told by the first ones; they are scored meanwhile."""

    def __init__(self, pace: Pace, name: str) -> None:
        self._pace, self._name = pace, name
        self._times: Ints | None = np.empty(0, np.int64)

    def passed(self) -> None:
        """Ask no more."""
        self._times = None

    def look_at(self, times: Ints) -> None:
        """Take further rows; refuse them where they come at another pace."""
        if self._times is None or not len(times):
            return
        self._times = np.append(self._times, times)[:ROWS_FOR_PACE]
        if len(self._times) >= ROWS_FOR_PACE:
            self._pace.check_all(self._times, self._name)
            self.passed()
