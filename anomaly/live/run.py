"""Score records as they arrive, for as long as they do: of one series or of several, from a pipe or a file that grows.

Each record is written as soon as its score is final, with the bytes that `anomaly score` writes for the whole file. With a
state file a restart goes on where the run stood: from a file to a file no row is missing and none comes twice, even after a
crash; what a pipe held when the process died is lost with it.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from anomaly.config import OUTPUT_FORMATS
from anomaly.detector.lookup import Detectors, only_detector
from anomaly.errors import AnomalyError, ConfigError, DataError, StorageError, shorten
from anomaly.events.event import Event
from anomaly.files.one_file import ONE_SERIES, FileSummary
from anomaly.files.scored_rows import ScoredRows, row_writer
from anomaly.files.series_drift import SeriesDrift
from anomaly.ingest.chunks import Chunk, Names
from anomaly.ingest.csv_rows import CsvReader
from anomaly.live.interleaved import MOST_SERIES, Ended, Piece, Streams
from anomaly.live.metrics import RunMetrics
from anomaly.live.records import RecordReader
from anomaly.live.stream import How, Rows
from anomaly.live.stream_state import StateFile, StreamState
from anomaly.scoring.bands import figure_names
from anomaly.series import Ints
from anomaly.sources.arriving import Stop
from anomaly.sources.growing import Position
from anomaly.sources.lines import shown_name
from anomaly.storage.writing import exclusive, storage_errors, sync, sync_folder
from anomaly.windowing.unjudged import Unjudged
from anomaly.words import counted

# What is counted once for the first line, and not once more by each run.
OF_HEADER = ("byte_order_mark", "other_delimiter", "extra_columns", "reordered_columns")

# So much of a header is shown.
_SHOWN = 80


@dataclass(frozen=True)
class LiveOptions:
    """What a live run does with its records.

    Attributes:
        input_format: "csv", "jsonl" or "influx".
        file_format: of the output; None for that of the input.
        id_column: column, member or tag that names the series; None for a single series.
        aggregation: how overlapping windows become one score; with `lag` None is the detector's own, else "trailing".
        threshold: a cut to use instead of the calibrated one.
        lag: most rows of a series that a row may be written late; None for none.
        reorder: rows of a series that are held to be put in the order of their times.
        most_series: how many series are remembered.
        strict: refuse what is otherwise tolerated and counted.
        figures: of `anomaly.config.FIGURES`: what is written of each feature behind the scores.
    """

    input_format: str = "csv"
    file_format: str | None = None
    id_column: str | None = None
    aggregation: str | None = None
    threshold: float | None = None
    lag: int | None = None
    reorder: int = 0
    most_series: int = MOST_SERIES
    strict: bool = False
    figures: tuple[str, ...] = ()

    @property
    def how(self) -> How:
        """How rows are scored."""
        aggregation = self.aggregation or (None if self.lag is not None else "trailing")
        return How(aggregation, self.threshold, live=True, reorder=self.reorder, lag=self.lag or 0, figures=self.figures)


class LiveRun:
    """One run over records that arrive.

    Args:
        model: a detector for all series, or one for each.
        path: a file that grows, or "-" for standard input.
        output: a binary handle at the place where the output goes on; None only counts.
        options: what is done with the records.
        stop: tells when to end, and when to read the model again.
        state: keeps where the run stands; None keeps nothing.
        begin: where it stood; None to begin.
        reload: returns the model as it is now.
        on_events: receives the events of a series when they have ended.
        say: receives sentences for people.
        metrics: receives the figures of each series; None for none.
        reading: timezone, dst, time_format (by default the model's), on_bad_rows, max_bad_fraction and rejects, as for
            `CsvReader`.
    """

    def __init__(
        self,
        model: Detectors,
        path: str | Path,
        output: IO[bytes] | None,
        options: LiveOptions,
        stop: Stop,
        *,
        state: StateFile | None = None,
        begin: StreamState | None = None,
        reload: Callable[[], Detectors] | None = None,
        on_events: Callable[[str, list[Event]], None] = lambda series, events: None,
        say: Callable[[str], None] = lambda sentence: None,
        metrics: RunMetrics | None = None,
        **reading: Any,
    ) -> None:
        self._metrics = metrics
        self._model, self._path, self._output, self._options, self._stop = model, path, output, options, stop
        self._file, self._begin, self._reload, self._on_events, self._say = state, begin or StreamState(), reload, on_events, say
        self._reading = model.reading | reading
        self._names = figure_names(model.judged_columns, options.figures)
        several = options.id_column is not None
        self._how = replace(options.how, name=shown_name(path), several=several, counted=several and model.time_column is None)
        self._n_records = self._begin.n_records
        self.summary, self._drift = FileSummary(unjudged=self._unjudged_of(model)), self._drift_of(model, self._begin.drift)

    def run(self) -> FileSummary:
        """Score until the input ends or a signal comes; return what came of it, with what the runs before it counted.

        Raises:
            DataError: as the reader; if the rows of a series come at another pace than in training.
            StorageError: if the input cannot be read, or the output or the state not written.
        """
        begin = self._begin
        if self._file is not None and not begin.counts:  # a crash before the next one finds this
            self._file.write(begin)
        with self._opened(begin.source) as reader:
            self._take_counts(reader, begin.counts)
            self._refuse_other_header(reader)
            self._write = self._writer(reader, header=not begin.counts)
            streams = Streams(
                self._model.detector, len(self._model.columns), self._how, reader.tolerance,
                n_judged=len(self._model.judged_columns), most_series=self._options.most_series, memories=begin.memories,
                refused=begin.refused, report=self._say, drift=self._drift, observe=self._observe, teacher_of=self._model.teacher,
            )  # fmt: skip
            self._deliver_pieces(streams.left())
            for chunk in reader:
                streams = self._renewed(streams)
                self._deliver(*streams.push(*self._rows(chunk)))
                self._note(reader)
                self._keep(streams, reader)
            if self._file is None:
                self._deliver_pieces(list(streams.finish()))
            else:  # what waits goes out in the next run
                self._keep(streams, reader, now=True)
                n = sum(len(part.lines) for memory in streams.memories.values() for part in (memory.waiting, memory.held))
                if n:
                    self._say(
                        f"{counted(n, 'row')} wait{'s' * (n == 1)} in {self._file.path} for later ones; the next run writes them."
                    )
            self.summary.n_failed, self.summary.learnt = streams.failed, streams.learnt
            found = self._drift.result()
            self.summary.drift = found if self._how.several else found.series[ONE_SERIES]
        return self.summary

    def _opened(self, begin_at: Position | None) -> CsvReader | RecordReader:
        options, model = self._options, self._model
        common: dict[str, Any] = {"time_column": model.time_column, "id_column": options.id_column}
        common |= {"strict": options.strict, "follow": self._stop, "begin_at": begin_at} | self._reading
        if options.input_format == "csv":
            return CsvReader(self._path, value_columns=model.judged_columns, **common)
        del common["context_columns"]
        return RecordReader(self._path, options.input_format, value_columns=model.columns, figures=self._names, **common)

    def _refuse_other_header(self, reader: CsvReader | RecordReader) -> None:
        """Refuse to write rows of other columns below the header of an output that another run has begun."""
        self._header = getattr(reader, "header_line", "")
        before = self._begin.header
        if before and self._begin.counts and self._header and before != self._header:
            raise DataError(
                f"A run that goes on needs the header that it began with, {before[:_SHOWN]!r}. Received: {self._header[:_SHOWN]!r} "
                f"({shown_name(self._path)}). Write the columns as before, or begin anew with another --state and --output."
            )

    def _writer(self, reader: CsvReader | RecordReader, *, header: bool) -> Callable[[ScoredRows], None]:
        if self._output is None:
            return lambda rows: None
        file_format = self._options.file_format or OUTPUT_FORMATS[self._options.input_format][0]
        return row_writer(reader, self._output, file_format, header=header, names=self._names)

    def _rows(self, chunk: Chunk) -> tuple[Names, Rows]:
        """Number records, and rows where these are counted, on from those before a restart."""
        n = len(chunk.lines)
        times = chunk.times + self._begin.next_row if self._model.time_column is None else chunk.times
        ids: Names = np.full(n, ONE_SERIES, np.object_) if chunk.ids is None else chunk.ids
        self._n_records += n
        return ids, Rows(chunk.lines, np.arange(self._n_records - n, self._n_records), times, chunk.values)

    def _observe(self, series: str, rows: ScoredRows) -> None:
        if self._metrics is not None:
            self._metrics.rows(series, rows)

    def _note(self, reader: CsvReader | RecordReader) -> None:
        """Leave the figures that are not of single rows where they are asked for."""
        if self._metrics is not None:
            counts = reader.tolerance.counts
            self._metrics.gaps(counts.get("gaps", 0) + counts.get("steps_back", 0))
            if self._metrics.wants_drift:
                self._metrics.drift(self._drift.result().series)

    def _deliver_pieces(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._observe(piece.series, piece.rows)
        self._deliver([piece.rows for piece in pieces], [piece.ended for piece in pieces])

    def _deliver(self, rows: list[ScoredRows], ended: list[Ended]) -> None:
        """Write rows at once, count them, pass events on."""
        for part in rows:
            self._write(part)
            self.summary.count(part)
        if self._output is not None:
            self._output.flush()
        for series, events, not_raised in ended:
            self.summary.n_events += len(events)
            self.summary.pass_over(not_raised)
            if events and self._metrics is not None:
                self._metrics.events(series, len(events))
            if events:
                self._on_events(series, events)

    def _renewed(self, streams: Streams) -> Streams:
        """Return the streams with the model as it is now, if that was asked for and it fits."""
        if not self._stop.reload or self._reload is None:
            return streams
        self._stop.reload = False
        try:
            model = self._reload()
            if (model.columns, model.time_column) != (self._model.columns, self._model.time_column):
                raise ConfigError(f"Its columns must be the old ones. Received: {shorten(model.columns)}.")
            if model.judged_columns != self._model.judged_columns:
                raise ConfigError(f"What is judged must be as before. Received: {shorten(model.judged_columns)}.")
            drift = self._drift_of(model)
            renewed = streams.renewed(model.detector, drift, model.teacher)
        except AnomalyError as error:
            self._say(f"The model was read again, and the old one stays. {error}")
            return streams
        self._say("The model was read again.")
        self._model, self._drift = model, drift
        return renewed

    def _drift_of(self, model: Detectors, memories: dict[str, Ints] | None = None) -> SeriesDrift:
        """Return what compares rows with those of the training."""
        drift = SeriesDrift(memories)
        if not self._how.several:  # told even if no row comes
            detector = only_detector(model)
            drift.begin(ONE_SERIES, detector.bundle_, detector.aggregation_name(self._how.aggregation))
        return drift

    def _unjudged_of(self, model: Detectors) -> Unjudged:
        """Return what counts features that cannot be judged in this run; of several series none is known to miss some usually."""
        usual = {} if self._options.id_column is not None else only_detector(model).bundle_.training.get("unjudged", {})
        return Unjudged(model.judged_columns, usual)

    def _take_counts(self, reader: CsvReader | RecordReader, counts: dict[str, Any]) -> None:
        """Count on from what the runs before this one counted."""
        summary, tolerance = self.summary, reader.tolerance
        summary.tolerance = tolerance
        for name in ("n_rows", "n_flagged", "n_events"):
            setattr(summary, name, counts.get(name, 0))
        summary.statuses |= counts.get("statuses", {})
        summary.not_raised.update(counts.get("not_raised", {}))
        for kind, count in counts.get("tolerated", {}).items():
            # The header is the same one.
            new = 0 if kind in OF_HEADER else tolerance.counts.get(kind, 0)
            tolerance.counts[kind] = new + count
        tolerance.places = counts.get("places", {}) | {
            kind: place for kind, place in tolerance.places.items() if kind not in counts.get("places", {})
        }

    def _keep(self, streams: Streams, reader: CsvReader | RecordReader, *, now: bool = False) -> None:
        """Note where the run stands, if it is time to."""
        if self._file is None or reader.is_within or not (now or self._file.is_due()):
            return
        if self._output is not None:  # a state may outlive a loss of power, and must not claim what does not
            sync(self._output)
        summary = self.summary
        counts = {name: getattr(summary, name) for name in ("n_rows", "n_flagged", "n_events", "statuses")}
        counts |= {"not_raised": summary.not_raised, "tolerated": summary.tolerance.counts, "places": summary.tolerance.places}
        written = None if self._output is None or self._begin.written is None else self._output.tell()
        next_row = self._begin.next_row + reader.n_rows  # with those that were skipped
        position = reader.position() or self._begin.source
        self._file.write(
            StreamState(
                streams.memories,
                self._n_records,
                next_row,
                position,
                written,
                streams.refused,
                self._drift.memories,
                counts,
                self._header,
            )
        )


@contextlib.contextmanager
def appended_output(path: str, begin: StreamState) -> Iterator[IO[bytes]]:
    """Yield a handle that goes on with a file where the state says that it stood; a new file if there was no run before.

    Args:
        path: the file; what a run wrote after its last state is cut off, and written again.
        begin: where the run stood; of a first run it says from now on that the output is a file.

    Raises:
        StorageError: if the file is there before a first run, is shorter than it was, or the system refuses.
    """
    with storage_errors(path), exclusive(path) as target:
        size = Path(path).stat().st_size if Path(path).exists() else None
        if begin.written is None and size:
            raise StorageError(
                f"The output of a first live run must be a new file. Received: {path} with {size:,} bytes. "
                "Name another one, or the --state of the run that wrote it."
            )
        if begin.written is not None and (size is None or size < begin.written):
            found = "no file" if size is None else f"{size:,}"
            raise StorageError(
                f"The output must still have the {begin.written:,} bytes that were written. Received: {found} ({path}). "
                "Put it back, or remove the state to begin anew."
            )
        begin.written = begin.written or 0
        with open(path, "r+b" if size is not None else "wb", buffering=0) as handle:
            handle.truncate(begin.written)
            handle.seek(0, os.SEEK_END)
            if size is None:
                sync_folder(target.parent)
            yield cast(IO[bytes], _Appended(handle))


class _Appended:
    """A file that is written on at its end, also where it was cut meanwhile, as a rotation that copies and truncates does."""

    def __init__(self, handle: io.FileIO) -> None:
        self._handle = handle

    def write(self, data: bytes) -> int:
        self._handle.seek(0, os.SEEK_END)
        left = memoryview(data)
        while len(left):
            left = left[self._handle.write(left) :]
        return len(data)

    def flush(self) -> None:
        self._handle.flush()

    def fileno(self) -> int:
        return self._handle.fileno()

    def tell(self) -> int:
        return self._handle.seek(0, os.SEEK_END)
