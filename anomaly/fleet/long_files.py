"""Score a long file, in which the records of several series stand, in the order of its records."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.lookup import Detectors
from anomaly.errors import ConfigError, DataError
from anomaly.files.asked_rows import AskedRows, can_be_read_twice, range_in_file
from anomaly.files.one_file import FileSummary
from anomaly.files.scored_rows import Output, ScoredRows, row_writer
from anomaly.files.series_drift import SeriesDrift
from anomaly.ingest.chunks import Chunk, Names
from anomaly.ingest.csv_rows import CsvReader
from anomaly.live.interleaved import InOrder, Piece, Streams
from anomaly.live.stream import How, Rows
from anomaly.ranges import RowRange
from anomaly.scoring.bands import figure_names
from anomaly.windowing.unjudged import Unjudged


def score_long_file(
    model: Detectors, path: str | Path, *, id_column: str, aggregation: str | None = None, threshold: float | None = None,
    output: Output | None = None, file_format: str = "csv", say: Callable[[str], None] = lambda sentence: None,
    on_rows: Callable[[str, ScoredRows], None] = lambda series, rows: None, on_chunk: Callable[[Chunk], None] | None = None,
    list_all: bool = False, since: str | None = None, until: str | None = None, figures: tuple[str, ...] = (), **reading: Any,
) -> FileSummary:  # fmt: skip
    """Score each record by the detector of its series; write the records in the order of the file.

    A series without a detector, or refused by it, is reported; its rows have the status `no_detector`. The others have the scores
    of files of their own. A record waits until those before it are final; a file on disk is read twice, to know when a series ends.

    Args:
        model: a detector for all series, or one for each.
        path: a CSV or Parquet file, or "-" for standard input.
        id_column: name of the column that says which series a record belongs to.
        aggregation: how overlapping windows become one score; default: the detectors' own.
        threshold: a cut to use instead of the calibrated ones.
        output: a binary handle for the records; None only finds the events.
        file_format: "csv" or "jsonl".
        say: receives a sentence for each series that could not be scored, or has no detector and was learnt.
        on_rows: receives the name of a series and rows of it.
        on_chunk: called with what was read, chunk by chunk.
        list_all: keep the runs of flagged rows that are no events too.
        since: the first row of each series that is written and counted, a time or a span before the end of the file.
        until: the last one.
        figures: as for `score_file`.
        reading: as for `score_file`, by default the model's.

    Returns:
        Counts, and the events of all series by the time of their beginning; `series` names that of each.

    Raises:
        DataError: as `CsvReader`; if no row of any series could be scored.
        ConfigError: if the range is none of times, or holds no row.
    """
    options: dict[str, Any] = {"time_column": model.time_column} | model.reading | reading
    options |= {"value_columns": model.judged_columns, "id_column": id_column}
    left = _rows_of_each(path, options) if can_be_read_twice(path) else Counter()
    wanted = _range_of_times(path, since, until, options)
    how = How(aggregation, threshold, several=True, counted=model.time_column is None, name=Path(path).name, figures=figures)
    summary, asked = FileSummary(wanted=wanted, left_out=[] if list_all else None), AskedRows(wanted)
    summary.unjudged = Unjudged(model.judged_columns, {})
    found, order, drift = _Found(on_rows, wanted), InOrder(), SeriesDrift()
    with CsvReader(path, **options) as reader:
        summary.tolerance = reader.tolerance
        write = _writer(reader, output, file_format, figure_names(model.judged_columns, figures))
        settled = {"report": say, "drift": drift, "wanted": wanted, **_all_of(model)}
        settled["n_judged"] = len(model.judged_columns)
        streams = Streams(model.detector, len(model.columns), how, reader.tolerance, **settled)
        for pieces in _pieces(streams, reader, left, on_chunk):
            for rows in order.take(found.noted(pieces, summary)):
                rows = rows.where(asked.take(rows.times))
                summary.count(rows)
                write(rows)
    asked.check(model.time_column)
    summary.n_outside = asked.n_outside
    return found.conclude(summary, streams, drift, say)


def _writer(reader: CsvReader, output: Output | None, file_format: str, names: tuple[str, ...]) -> Callable[[ScoredRows], None]:
    return (lambda rows: None) if output is None else row_writer(reader, output, file_format, names=names)


def _range_of_times(path: str | Path, since: str | None, until: str | None, options: dict[str, Any]) -> RowRange:
    """Return the range that is asked for, which must be one of times: the rows of each series have numbers of their own."""
    wanted, numbered = range_in_file(path, since, until, options), RowRange()
    if (wanted.first_row, wanted.last_row) != (numbered.first_row, numbered.last_row):
        raise ConfigError(
            f"A range in an input of several series must be one of times. Received: {wanted.given}. Give times, spans such as 7d, "
            "or a file for each series."
        )
    return wanted


def _all_of(model: Detectors) -> dict[str, Any]:
    """Return what makes streams forget no series, and learn those that are new if the model does."""
    return {"most_series": 2**62, "teacher_of": model.teacher}


class _Found:
    """What has been found in each series."""

    def __init__(self, on_rows: Callable[[str, ScoredRows], None], wanted: RowRange) -> None:
        self._on_rows, self._wanted = on_rows, wanted
        self._events: list[tuple[int, str, Any]] = []
        self._scored: dict[str, bool] = {}
        self._n_inside = Counter[str]()  # rows in the range

    def noted(self, pieces: Iterator[Piece], summary: FileSummary) -> list[Piece]:
        kept = list(pieces)
        for piece in kept:
            inside = self._wanted.holds(np.zeros(1, np.int64), piece.rows.times)
            self._n_inside[piece.series] += int(np.count_nonzero(np.broadcast_to(inside, len(piece.rows.times))))
            self._on_rows(piece.series, piece.rows.where(inside))
            summary.pass_over(piece.not_raised, piece.series)
            self._events += [(event.first_time, piece.series, event) for event in piece.events]
            any_scored = self._scored.get(piece.series, False) or bool(np.isfinite(piece.rows.score).any())
            self._scored[piece.series] = any_scored
        return kept

    def conclude(self, summary: FileSummary, streams: Streams, drift: SeriesDrift, say: Callable[[str], None]) -> FileSummary:
        """Put the events in order, compare with the training, and report series without a score; return the summary."""
        summary.drift, summary.learnt = drift.result(), streams.learnt
        events = sorted(self._events, key=lambda found: found[:2])
        inside = [(series, event) for _, series, event in events if self._wanted.touches(event)]
        summary.first_number = self._first_numbers(events)
        summary.keep([event for _, event in inside], [])
        summary.series = [series for series, _ in inside]
        silent = [series for series, any_scored in self._scored.items() if not any_scored and not streams.has_failed(series)]
        for series in [name for name in silent if name not in summary.learnt][:20]:  # of the others more was said
            say(f"{series}: no row could be scored, for want of `window_size` rows without a gap, with half of the features.")
        for series in [name for name, any_scored in self._scored.items() if any_scored and not self._n_inside[name]][:20]:
            say(f"{series}: no row lies in the range.")
        summary.n_failed = streams.failed + len(silent)
        if self._scored and not any(self._scored.values()):
            raise DataError(
                f"Some rows of some series must be scored. Received: {len(self._scored):,} series without a score "
                f"({summary.tolerance.name}). Supply longer stretches, or detectors of these series."
            )
        return summary

    def _first_numbers(self, events: list[tuple[int, str, Any]]) -> dict[str, int]:
        """Return by series the number, among all of its own, of the first event that is wanted."""
        counts, numbers = Counter[str](), dict[str, int]()
        for _, series, event in events:
            counts[series] += 1
            if self._wanted.touches(event):
                numbers.setdefault(series, counts[series])
        return numbers


def _pieces(
    streams: Streams, reader: CsvReader, left: "Counter[str]", on_chunk: Callable[[Chunk], None] | None
) -> Iterator[Iterator[Piece]]:
    n_records = 0
    for chunk in reader:
        if on_chunk:
            on_chunk(chunk)
        n, ids = len(chunk.lines), chunk.ids if chunk.ids is not None else np.empty(0, np.object_)
        n_records += n
        yield streams.pieces(ids, Rows(chunk.lines, np.arange(n_records - n, n_records), chunk.times, chunk.values))
        counts = _counted(ids)
        left.subtract(counts)
        for series in counts:
            if left[series] == 0:
                yield streams.end(series)
    yield streams.finish()


def _rows_of_each(path: str | Path, options: dict[str, Any]) -> "Counter[str]":
    """Return how many records each series has: where bad ones are skipped those that stay, else all, which takes less time."""
    found: Counter[str] = Counter()
    options = options | {"max_bad_fraction": 1.0, "rejects": None}
    if options.get("on_bad_rows") != "skip":
        options |= {"on_bad_rows": "skip", "time_column": None, "strict": False, "value_columns": options["value_columns"][:1]}
    with CsvReader(path, **options) as reader:
        for chunk in reader:
            if chunk.ids is not None:
                found.update(_counted(chunk.ids))
    return found


def _counted(ids: Names) -> "Counter[str]":
    return Counter(ids.tolist())
