"""Rows of several series in one input, each scored by what is known of its own series.

Rows go out in the order they came in wherever that can be. The trailing aggregations speak about each row at once; for the
others a file's rows wait for the rows before them, and a live stream's go out as they become final.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from anomaly.detector.detector import Detector
from anomaly.detector.first_rows import Teacher
from anomaly.errors import BundleError, DataError, StorageError
from anomaly.events.event import Event, NotRaised
from anomaly.files.scored_rows import ScoredRows
from anomaly.files.series_drift import SeriesDrift
from anomaly.ingest.chunks import Names
from anomaly.live.learning import LearningStream, with_detector
from anomaly.live.networks import Networks
from anomaly.live.stream import IMMEDIATE, How, Memory, Rows, SeriesStream
from anomaly.quick_start import pd
from anomaly.ranges import ALL_ROWS, RowRange
from anomaly.scoring.bands import figure_names
from anomaly.scoring.row_scores import NO_DETECTOR
from anomaly.series import Ints
from anomaly.sources.tolerance import Tolerance

MOST_SERIES = 10_000
# Of series without a detector, of which nothing but the name is kept.
MOST_TOLD_APART = 100_000
_MOST_REPORTED = 20


class Ended(NamedTuple):
    """The events of one series that ended, and the runs of flagged rows that did so as none."""

    series: str
    events: list[Event]
    not_raised: list[NotRaised]


class Piece(NamedTuple):
    """Rows of one series that are final, and the events that ended with them."""

    series: str
    places: Ints  # (n,) numbers of the records in the input
    rows: ScoredRows
    events: list[Event]
    not_raised: list[NotRaised]

    @property
    def ended(self) -> Ended:
        """What ended with these rows."""
        return Ended(self.series, self.events, self.not_raised)


class Streams:
    """Score the rows of several series side by side, each by its own detector.

    Args:
        detector_of: returns the detector of a series; raises DataError if there is none.
        n_columns: value columns, those that are read as context among them.
        how: how rows are scored.
        tolerance: counts what is tolerated, in all series.
        most_series: how many series are remembered; the one without a row for the longest time is ended then.
        memories: what is remembered of some of them, from the least recently used on.
        refused: series that were refused for their pace, by the step of the detector that did so; they stay without scores
            until their detector has another one.
        report: receives a sentence for each series that has no detector, or is refused by it; up to 20.
        drift: compares the series that are scored with their training; None for none.
        observe: receives the rows of each series that are final, where `push` hands them out.
        wanted: the times of the rows that are compared.
        teacher_of: returns what a series without a detector is learnt with; None where it has one, or must have one.
        n_judged: columns that scores speak of; None for all.

    Attributes:
        refused: as above, with those of this run.
    """

    def __init__(
        self,
        detector_of: Callable[[str], Detector],
        n_columns: int,
        how: How,
        tolerance: Tolerance,
        *,
        most_series: int = MOST_SERIES,
        memories: dict[str, Memory] | None = None,
        refused: dict[str, int] | None = None,
        report: Callable[[str], None] = lambda sentence: None,
        drift: SeriesDrift | None = None,
        observe: Callable[[str, ScoredRows], None] = lambda series, rows: None,
        wanted: RowRange = ALL_ROWS,
        teacher_of: Callable[[str], Teacher | None] = lambda series: None,
        n_judged: int | None = None,
    ) -> None:
        self._n_judged = n_columns if n_judged is None else n_judged
        self._observe, self._wanted, self._teacher_of = observe, wanted, teacher_of
        self._n_told = 0
        self._ended_lessons: dict[str, dict[str, Any]] = {}
        self._detector_of, self._how, self._tolerance, self._drift = detector_of, how, tolerance, drift
        self._n_columns, self._most, self._report = n_columns, most_series, report
        self._alone, self._networks = not how.several, Networks()
        self._streams: OrderedDict[str, SeriesStream] = OrderedDict()
        # Those that have no detector, from the least recently heard of on, and all that ever had none or were refused.
        self._unknown: OrderedDict[str, None] = OrderedDict()
        self._failed: set[str] = set()
        self._n_reported, self._most_told_apart = 0, max(most_series, MOST_TOLD_APART)
        self.refused = dict(refused or {})
        self._left: list[Piece] = []  # what goes out with the next rows
        for name, memory in (memories or {}).items():
            self._take_up(name, memory)

    @property
    def failed(self) -> int:
        """How many series had no detector or were refused, each counted once, up to 100,000 or `most_series` if that is more."""
        return len(self._failed)

    @property
    def learnt(self) -> dict[str, dict[str, Any]]:
        """How far each series is that is learnt from its own rows, as plain values."""
        here = {name: stream.described() for name, stream in self._streams.items() if isinstance(stream, LearningStream)}
        return self._ended_lessons | here

    @property
    def memories(self) -> dict[str, Memory]:
        """What is remembered of each series, from the least recently used on."""
        return {name: stream.remembered() for name, stream in self._streams.items()}

    def left(self) -> list[Piece]:
        """Return what the memories had to hand out; else it goes out with the next rows."""
        left, self._left = self._left, []
        return left

    def push(self, ids: Names, rows: Rows) -> tuple[list[ScoredRows], list[Ended]]:
        """Take further rows; return those that are final, and what ended, by series.

        However the rows were split, they come out in the order of their places where each is final at once, else in the order
        in which they become final.

        Args:
            ids: `(n,)` names of the series that the rows belong to.
            rows: the rows.
        """
        grouped = self._may_group(set(ids.tolist()))
        pieces = list(self.pieces(ids, rows))
        for piece in pieces:
            self._observe(piece.series, piece.rows)
        ended = [piece.ended for piece in pieces]
        if not grouped or len(pieces) < 2:
            return [piece.rows for piece in pieces], ended
        order = np.argsort(np.concatenate([piece.places for piece in pieces]), kind="stable")
        return [ScoredRows.joined([piece.rows for piece in pieces]).at(order)], ended

    def pieces(self, ids: Names, rows: Rows) -> Iterator[Piece]:
        """Take further rows; yield those that are final, a series at a time where that makes no difference.

        Args:
            ids: `(n,)` names of the series that the rows belong to.
            rows: the rows.
        """
        yield from self.left()
        codes, names = pd.factorize(ids)
        if len(names) == 1:
            yield from self._push(str(names[0]), rows)
        elif self._may_group(names):
            for code, name in enumerate(names):
                yield from self._push(str(name), rows.at(codes == code))
            for name in reversed(dict.fromkeys(reversed(ids.tolist()))):  # as if the rows had been taken one by one
                if name in self._streams:
                    self._streams.move_to_end(name)
        else:
            bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
            for start, stop in pairwise(bounds):
                yield from self._push(str(names[codes[start]]), rows.part(start, stop))
        if self._drift:
            inside = self._wanted.holds(rows.places, rows.times)
            self._drift.push(ids[inside], rows.values[inside])

    def has_failed(self, series: str) -> bool:
        """Tell whether a series has no detector, or was refused."""
        return series in self._unknown

    def end(self, series: str) -> Iterator[Piece]:
        """Yield the rows of a series that are still here; it is forgotten."""
        stream = self._streams.get(series)
        if stream is None:
            return
        places, final = stream.finish()
        yield self._piece(series, stream, places, final, ended=True)
        if stream.refusal is not None:
            yield self._broken_off(series, stream, stream.refusal)
            return
        del self._streams[series]
        if isinstance(stream, LearningStream):
            self._keep_lesson(series, stream)

    def finish(self) -> Iterator[Piece]:
        """Yield the rows of all series that are still here."""
        yield from self.left()
        for series in list(self._streams):
            yield from self.end(series)

    def renewed(
        self,
        detector_of: Callable[[str], Detector],
        drift: SeriesDrift | None = None,
        teacher_of: Callable[[str], Teacher | None] = lambda series: None,
    ) -> Streams:
        """Return the same streams with other detectors; a series that has none any more keeps its own.

        Args:
            detector_of: as for the class.
            drift: as for the class; it begins anew with other detectors.
            teacher_of: as for the class.
        """
        streams = Streams(
            detector_of, self._n_columns, self._how, self._tolerance, n_judged=self._n_judged,
            most_series=self._most, refused=self.refused, report=self._report, drift=drift, observe=self._observe,
            teacher_of=teacher_of,
        )  # fmt: skip
        n_kept = 0
        for name, old in self._streams.items():
            try:
                streams._begin(name, teacher_of(name) or detector_of(name), old.remembered())
            except DataError as error:
                streams._streams[name] = old
                n_kept += 1
                if n_kept <= _MOST_REPORTED:
                    self._report(f"{error} The old one stays.")
        streams._left += self._left
        streams._go_on(self)
        return streams

    def _go_on(self, before: Streams) -> None:
        """Take over what was counted and said of series that are no longer here."""
        self._failed, self._n_reported = before._failed, before._n_reported
        self._ended_lessons, self._n_told = before._ended_lessons, before._n_told

    def _may_group(self, names: Iterable[str]) -> bool:
        """Tell whether rows of these series, taken series by series and put in order, come out as if taken one by one."""
        if not self._how.live:
            return True
        known = all(name in self._streams or name in self._unknown for name in names)
        return known and not self._how.reorder and all(s.aggregation in IMMEDIATE for s in self._streams.values())

    def _push(self, series: str, rows: Rows) -> Iterator[Piece]:
        stream = self._stream(series)
        if stream is None:
            yield self._unscored(series, rows)
            return
        self._streams.move_to_end(series)
        was_new = isinstance(stream, LearningStream) and stream.is_new
        try:
            places, final = stream.push(rows)
        except DataError as error:
            yield self._broken_off(series, stream, error)
            return
        yield self._piece(series, stream, places, final, ended=stream.refusal is not None)
        if stream.refusal is not None:
            yield self._broken_off(series, stream, stream.refusal)
            return
        if was_new and self._how.live and isinstance(stream, LearningStream) and not stream.is_new:
            self._tell(series, stream)
        while len(self._streams) > self._most:
            self._tolerance.add("series_put_away", 1)
            oldest = next(iter(self._streams))
            yield from self.end(oldest)
            if self._drift:
                self._drift.forget(oldest)

    def _broken_off(self, series: str, stream: SeriesStream, error: DataError) -> Piece:
        """Take no further rows of a series; return those that have no score yet."""
        if self._alone or self._tolerance.strict:
            raise error
        del self._streams[series]
        self._refuse(series, error)
        return self._unscored(series, stream.memory.held + stream.memory.waiting)

    def _stream(self, series: str) -> SeriesStream | None:
        stream = self._streams.get(series)
        if series in self._unknown:
            self._unknown.move_to_end(series)
        elif stream is None:
            try:
                found = self._loaded(series)
                self._check_refused(series, found)
                stream = self._begin(series, found)
            except DataError as error:
                self._fail(series, error)
        return stream

    def _take_up(self, series: str, memory: Memory) -> None:
        """Go on with a series that is remembered."""
        try:
            found = self._loaded(series)
        except DataError as error:
            if self._alone:
                raise
            self._fail(series, error)
            self._left.append(self._unscored(series, memory.waiting + memory.held))
            return
        try:
            self._begin(series, found, memory)
        except DataError as error:
            if self._alone:
                raise
            self._refuse(series, error)
            self._left.append(self._unscored(series, memory.waiting + memory.held))

    def _loaded(self, series: str) -> Detector | Teacher:
        """Return the detector of a series, or what it is learnt with; one that cannot be read is missing for this series alone."""
        try:
            return self._teacher_of(series) or self._detector_of(series)
        except (BundleError, StorageError) as error:
            if self._alone:
                raise
            raise DataError(f"{series}: {error}") from error

    def _begin(self, series: str, found: Detector | Teacher, memory: Memory | None = None) -> SeriesStream:
        if isinstance(found, Teacher):
            stream: SeriesStream = LearningStream(series, found, self._how, self._tolerance, memory, networks=self._networks)
        else:
            memory = None if memory is None else with_detector(memory)
            stream = SeriesStream(found, self._how, self._tolerance, memory, networks=self._networks)
        self._streams[series] = stream
        if stream.ended:
            self._left.append(self._unscored(series, Rows.none(self._n_columns))._replace(events=stream.ended))
        if self._drift and isinstance(found, Detector):
            self._drift.begin(series, found.bundle_, stream.aggregation)
        return stream

    def _keep_lesson(self, series: str, stream: LearningStream) -> None:
        """Remember how far a series was learnt, and say it."""
        if len(self._ended_lessons) < self._most:
            self._ended_lessons[series] = stream.described()
        if stream.is_new or not self._how.live:  # else it was said
            self._tell(series, stream)

    def _tell(self, series: str, stream: LearningStream) -> None:
        """Say how far a series is learnt; of many only the first ones."""
        self._n_told += 1
        if self._n_told <= _MOST_REPORTED:
            self._report(f"{series}: {stream.sentence()}")

    def _check_refused(self, series: str, found: Detector | Teacher) -> None:
        """Refuse at once a series that was, unless its detector takes rows of another pace by now."""
        step = self.refused.get(series)
        if step == _step_of(found):
            raise DataError(
                f"{series}: Rows must come about as often as in training, every {step / 1e6:g} s. Received: a series that was "
                f"refused for others before ({self._how.name}). Resample the data, or train on data like it."
            )
        self.refused.pop(series, None)

    def _piece(self, series: str, stream: SeriesStream, places: Ints, rows: ScoredRows, *, ended: bool = False) -> Piece:
        events, not_raised = stream.events(rows, ended=ended)
        if self._drift:
            inside = self._wanted.holds(places, rows.times)
            self._drift.push_scores(series, rows.score[inside], rows.times[inside])
        return Piece(series, places, rows, events, not_raised)

    def _unscored(self, series: str, rows: Rows) -> Piece:
        n = len(rows.lines)
        nothing, none = np.full((n, self._n_judged), np.nan), np.full(n, np.nan)
        status = np.full(n, NO_DETECTOR, np.uint8)
        figures = np.full((n, len(figure_names(tuple(map(str, range(self._n_judged))), self._how.figures))), np.nan)
        scored = ScoredRows(rows.lines, rows.times, none, nothing, nothing, status, none, nothing, nothing, figures)
        return Piece(series, rows.places, scored, [], [])

    def _refuse(self, series: str, error: DataError) -> None:
        self.refused[series] = _step_of(self._teacher_of(series) or self._detector_of(series))
        if len(self.refused) > self._most:
            del self.refused[next(iter(self.refused))]
        if self._drift:
            self._drift.forget(series)
        self._fail(series, DataError(f"{series}: {error}"))

    def _fail(self, series: str, error: DataError) -> None:
        self._unknown[series] = None
        if len(self._unknown) > self._most_told_apart:
            self._unknown.popitem(last=False)
        if len(self._failed) < self._most_told_apart:
            self._failed.add(series)
        self._n_reported += 1
        if self._n_reported <= _MOST_REPORTED:  # the words of others are not even looked for
            self._report(str(error))


def _step_of(found: Detector | Teacher) -> int:
    """Return how often rows must come, microseconds."""
    return (found.bundle if isinstance(found, Teacher) else found.bundle_).step


class InOrder:
    """Hold rows until those before them are there."""

    def __init__(self) -> None:
        self._next = 0
        self._places: list[Ints] = []
        self._rows: list[ScoredRows] = []

    def take(self, pieces: Iterable[Piece]) -> list[ScoredRows]:
        """Take rows; return those that no row is missing before, in order."""
        for piece in pieces:
            self._places.append(piece.places)
            self._rows.append(piece.rows)
        places = np.concatenate(self._places) if self._places else np.empty(0, np.int64)
        if not len(places):
            return []
        order = np.argsort(places, kind="stable")
        n = int(np.argmin(np.append(places[order], -1) == self._next + np.arange(len(order) + 1)))
        if not n:
            return []
        rows = ScoredRows.joined(self._rows)
        self._next += n
        self._places, self._rows = [places[order[n:]]], [rows.at(order[n:])]
        return [rows.at(order[:n])]
