"""Rows of a series that no detector knows, scored by what its own first rows teach.

    rows from the first window on             status       scored by
    before the second window is there         not_learnt   nothing
    then, until there are ten                 learning     what came before; learnt anew after 2, 3, 5, 7 windows
    from then on                              ok           what the ten taught

A window is one of the network. Each row is scored by what was learnt from rows before it, so that files and live streams have the
same scores, in whatever pieces the rows come. (Where a score looks ahead, a row waits for a window, and what was learnt meanwhile
scores it.) Rows of which less than half is known are not counted, nor those before a series moves for the first time. While the
rows teach nothing, another window is waited for.

The threshold goes with the rows: each has the one that was in use. An event, whose rows may have several, is told in thresholds.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.detector.first_rows import Learnt, NothingLearntError, Teacher
from anomaly.errors import shorten
from anomaly.events.event import Event, NotRaised
from anomaly.events.finder import EventFinder
from anomaly.files.scored_rows import ScoredRows
from anomaly.ingest.order import IN_ORDER, LATE_STEPS, RowOrder
from anomaly.live.networks import Networks
from anomaly.live.stream import How, Lesson, Memory, Rows, SeriesStream
from anomaly.scoring.row_scores import INSUFFICIENT, LEARNING, NO_WINDOW, NOT_LEARNT, SCORED, WARM_UP, RowScores
from anomaly.series import Floats, Ints
from anomaly.sources.tolerance import Tolerance

# It is learnt anew when there are so many windows; the last time is for good.
WINDOWS = (2, 3, 5, 7, 10)
_NO_SCORE = (*SCORED, WARM_UP, NO_WINDOW, INSUFFICIENT)


class LearningStream(SeriesStream):
    """One series without a detector: rows in, those whose scores are final out.

    Args:
        series: its name, for what is learnt.
        teacher: what others like it know.
        how: how rows are scored.
        tolerance: counts what is tolerated.
        memory: of the same series, to go on from; None to begin.
        networks: as for `SeriesStream`.

    Attributes:
        reason: why nothing was learnt when that was tried last; "" if something was, or it was not tried.
    """

    def __init__(
        self,
        series: str,
        teacher: Teacher,
        how: How,
        tolerance: Tolerance,
        memory: Memory | None = None,
        *,
        networks: Networks | None = None,
    ) -> None:
        size = teacher.window_size
        nothing = Rows.none(len(teacher.bundle.columns))
        memory = memory or Memory(nothing, nothing, nothing)
        self._series, self._teacher, self.reason = series, teacher, ""
        self._learnt: Learnt | None = None
        lesson = memory.lesson or Lesson(nothing, WINDOWS[0] * size)
        self.lesson = memory.lesson = replace(lesson, cuts=[*lesson.cuts])  # another stream may have it too
        self._learn_again()
        how = how if how.live else replace(how, live=True, lag=size)  # what is remembered lets another detector go on
        detector = teacher.detector if self._learnt is None else self._learnt.detector
        self._n_out = 0 if memory.finder is None else int(memory.finder["row"])
        super().__init__(detector, how, tolerance, memory, networks=networks)
        self.ended = [self._in_scores(event) for event in self.ended]
        bundle = teacher.bundle
        self._order = RowOrder(0 if bundle.time_column is None else LATE_STEPS * bundle.step)
        known = memory.past + memory.waiting
        self._order.take(known.times, known.values)

    def _learn_again(self) -> None:
        """Learn from the rows that were learnt from before; from other ones if that does not do with another teacher."""
        lesson = self.lesson
        if lesson.n_learnt:
            try:
                self._learnt = self._taught(lesson.n_learnt, last=lesson.is_over)
            except NothingLearntError as error:
                self.reason, lesson.n_learnt, lesson.is_over, lesson.wait = str(error), 0, False, self._teacher.window_size

    @property
    def is_new(self) -> bool:
        """Whether it is still being learnt."""
        return not self.lesson.is_over

    def _read(self, values: Floats) -> Floats:
        """Return values without those of features that nothing is known of."""
        return values if self._learnt is None or not self._learnt.silent.any() else np.where(self._learnt.silent, np.nan, values)

    def _scored(self, rows: Rows) -> tuple[Ints, ScoredRows]:
        """Score rows that wait already, and learn wherever enough of them are there."""
        if self.lesson.is_over:
            return super()._scored(rows)
        waiting, n = self.memory.waiting, len(rows.lines)
        self.memory.waiting = waiting.part(0, len(waiting.lines) - n)  # each until it is its turn
        found: list[tuple[Ints, ScoredRows]] = []
        start = 0
        while start < n or not found:
            stop = n if self.lesson.is_over else min(n, start + self.lesson.wait)
            part = rows.part(start, stop)
            self.memory.waiting += part
            found.append(super()._scored(part))
            self._take(part)
            start = stop
        return np.concatenate([places for places, _ in found]), ScoredRows.joined([scored for _, scored in found])

    def _take(self, rows: Rows) -> None:
        """Take rows to learn from; learn if it is time to."""
        lesson = self.lesson
        if lesson.is_over:
            return
        codes, _ = self._order.take(rows.times, rows.values)
        kept = Rows([""] * len(rows.lines), *rows[1:]).at((codes == IN_ORDER) & self._teacher.is_usable(rows.values))
        lesson.rows += kept
        lesson.wait -= len(kept.lines)
        if lesson.wait <= 0:
            self._learn()

    def _learn(self) -> None:
        """Learn from all rows so far, and score with what they taught from here on; else wait for further ones."""
        lesson, size = self.lesson, self._teacher.window_size
        usable = self._teacher.n_moving(lesson.rows.values)
        if usable < WINDOWS[0] * size:
            self.reason = "the values do not change"
            self._keep_last(usable + size)
            lesson.wait = WINDOWS[0] * size - usable
            return
        last = usable >= WINDOWS[-1] * size
        try:
            self._learnt = self._taught(len(lesson.rows.lines), last=last)
        except NothingLearntError as error:
            self.reason, lesson.wait = str(error), size
            self._keep_last(WINDOWS[-1] * size)
            return
        self.reason, lesson.n_learnt, lesson.is_over = "", len(lesson.rows.lines), last
        lesson.wait = 0 if last else next(n for n in WINDOWS if n * size > usable) * size - usable
        self._score_with(self._learnt.detector)

    def _taught(self, n_rows: int, *, last: bool) -> Learnt:
        rows = self.lesson.rows.part(0, n_rows)
        return self._teacher.learnt(rows.times, rows.values, self._series, last=last)

    def _keep_last(self, n: int) -> None:
        """Forget all but the last rows, and those that the detector in use comes from."""
        lesson = self.lesson
        if len(lesson.rows.lines) - lesson.n_learnt > n:
            lesson.rows = lesson.rows.part(0, lesson.n_learnt) + lesson.rows.part(len(lesson.rows.lines) - n, None)

    def _out(self, final: RowScores) -> tuple[Ints, ScoredRows]:
        """Say of rows that go out that they are scored by little, or by nothing."""
        places, rows = super()._out(final)
        if self.lesson.is_over:
            return places, rows
        if self._learnt is not None:
            return places, replace(rows, status=np.where(np.isin(rows.status, SCORED), LEARNING, rows.status).astype(np.uint8))
        nothing, none = np.full(rows.by_feature.shape, np.nan), np.full(len(rows.lines), np.nan)
        unknown = [None if known is None else np.full(known.shape, np.nan) for known in (rows.expected, rows.figures)]
        status = np.where(np.isin(rows.status, _NO_SCORE), NOT_LEARNT, rows.status).astype(np.uint8)
        return places, ScoredRows(rows.lines, rows.times, none, nothing, nothing, status, none, rows.measured, *unknown)

    def events(self, rows: ScoredRows, *, ended: bool = False) -> tuple[list[Event], list[NotRaised]]:
        """Take rows that went out, as `SeriesStream`; an event goes on where the threshold changes."""
        cuts, known = self.lesson.cuts, np.flatnonzero(~np.isnan(rows.threshold))
        for place in known[np.diff(rows.threshold[known], prepend=cuts[-1][1] if cuts else 0.0) != 0].tolist():
            cuts.append((self._n_out + place, float(rows.threshold[place])))
        self._n_out += len(rows.lines)
        ratio = rows.score / rows.threshold  # rounding must flag no other rows
        height = np.where(rows.flags, np.maximum(ratio, np.nextafter(1.0, 2.0)), np.minimum(ratio, 1.0))
        found = self.finder.push(rows.times, height, *rows.for_events[2:])
        found += self.finder.finish() if ended else []
        passed = [NotRaised(self._in_scores(run.event), run.reason) for run in self.finder.not_raised()]
        return [self._in_scores(event) for event in found], passed

    def _finder(self, bundle: Bundle) -> EventFinder:
        """Return what finds events among scores in thresholds."""
        return EventFinder(1.0, bundle.columns, self._teacher.bundle.rules)

    def _in_scores(self, event: Event) -> Event:
        """Return an event with its highest score as the row has it."""
        cut = next((cut for row, cut in reversed(self.lesson.cuts) if row <= event.peak), 1.0)
        return replace(event, peak_score=event.peak_score * cut)

    def sentence(self) -> str:
        """Say how far it is learnt."""
        told, size = self.described(), self._teacher.window_size
        begin = "A series that the fleet was not trained on"
        if told["status"] == "ok":
            silent = self._learnt.silent if self._learnt is not None else np.zeros(0, np.bool_)
            rest = f" Nothing is known of {shorten(told['silent'])}, which no score speaks of." if silent.any() else ""
            return f"{begin} is learnt from its first {told['learnt_rows']:,} rows ({WINDOWS[-1]} windows).{rest}"
        wanted = f"{told['wanted_rows']:,} rows ({WINDOWS[-1]} windows of {size})"
        if told["status"] == "learning":
            rest = f"; more could not be learnt: {self.reason}" if self.reason else ""
            return f"{begin} is still being learnt: from {told['learnt_rows']:,} of {wanted}, so its scores are provisional{rest}."
        reason = self.reason or f"{WINDOWS[0] * size:,} rows are needed, and there are {len(self.lesson.rows.lines):,}"
        return f"{begin} has no scores, since nothing could be learnt: {reason}."

    def described(self) -> dict[str, Any]:
        """Return how far it is learnt, as plain values for JSON."""
        columns, learnt = self._teacher.bundle.columns, self._learnt
        cut = None if learnt is None else learnt.cuts[self.aggregation]
        return {
            "status": "not_learnt" if learnt is None else "learning" if self.is_new else "ok",
            "learnt_rows": 0 if learnt is None else learnt.n_rows,
            "wanted_rows": WINDOWS[-1] * self._teacher.window_size,
            "reason": self.reason,
            "threshold": None if learnt is None else self.threshold,
            "own_share": None if cut is None else cut.own_share,
            "widened": None if cut is None else cut.widened,
            "silent": [] if learnt is None else [columns[i] for i in np.flatnonzero(learnt.silent)],
        }


def with_detector(memory: Memory) -> Memory:
    """Return the memory of a series that was learnt, and has a detector by now; its open event is told in scores again."""
    if memory.lesson is None:
        return memory
    finder, cuts = memory.finder, memory.lesson.cuts
    if finder is not None and cuts:
        run, cut = finder["open"], cuts[-1][1]
        finder = finder | {"threshold": cut, "open": None if run is None else run | {"peak_score": run["peak_score"] * cut}}
    return replace(memory, finder=finder, lesson=None)
