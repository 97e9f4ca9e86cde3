"""Score a long file, in which the records of several series stand, in the order of its records."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.lookup import Detectors
from anomaly.errors import DataError
from anomaly.files.one_file import FileSummary
from anomaly.files.scored_rows import Output, ScoredRows, row_writer
from anomaly.files.series_drift import SeriesDrift
from anomaly.ingest.chunks import Chunk, Names
from anomaly.ingest.csv_rows import CsvReader
from anomaly.live.interleaved import InOrder, Piece, Streams
from anomaly.live.stream import How, Rows
from anomaly.storage.addresses import ObjectUri


def score_long_file(
    model: Detectors,
    path: str | Path,
    *,
    id_column: str,
    aggregation: str | None = None,
    threshold: float | None = None,
    output: Output | None = None,
    file_format: str = "csv",
    strict: bool = False,
    max_bytes: int | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    on_rows: Callable[[str, ScoredRows], None] = lambda series, rows: None,
    on_chunk: Callable[[Chunk], None] | None = None,
    list_all: bool = False,
    **reading: Any,
) -> FileSummary:
    """Score each record by the detector of its series; write the records in the order of the file.

    A series that has no detector, or is refused by it, is reported, and its rows have the status `no_detector`. The others
    have the scores of a file of their own, to the last bit. A record waits until those before it are final. How many wait
    depends on how the series are interleaved; a file on disk is read twice, to know when a series has ended.

    Args:
        model: a detector for all series, or one for each.
        path: a CSV or Parquet file, or "-" for standard input.
        id_column: name of the column that says which series a record belongs to.
        aggregation: how overlapping windows become one score; default: the detectors' own.
        threshold: a cut to use instead of the calibrated ones.
        output: a binary handle for the records; None only finds the events.
        file_format: "csv" or "jsonl".
        strict: refuse what is otherwise tolerated and counted.
        max_bytes: refuse an input of more bytes, decompressed.
        say: receives a sentence for each series that could not be scored, or has no detector and was learnt.
        on_rows: receives the name of a series and rows of it.
        on_chunk: called with what was read, chunk by chunk.
        list_all: keep the runs of flagged rows that are no events too.
        reading: as for `score_file`, by default the model's.

    Returns:
        Counts, and the events of all series, by the time of their beginning; `series` names that of each.

    Raises:
        DataError: as `CsvReader`; if no row of any series could be scored.
    """
    options: dict[str, Any] = {"time_column": model.time_column} | model.reading | reading
    options |= {"value_columns": model.columns, "id_column": id_column, "max_bytes": max_bytes}
    left = _rows_of_each(path, options) if _is_on_disk(path) else Counter()
    how = How(aggregation, threshold, several=True, counted=model.time_column is None, name=Path(path).name)
    found, order, drift = _Found(on_rows), InOrder(), SeriesDrift()
    with CsvReader(path, strict=strict, **options) as reader:
        summary = FileSummary(left_out=[] if list_all else None, tolerance=reader.tolerance)
        write = row_writer(reader, output, file_format) if output else lambda rows: None
        streams = Streams(model.detector, len(model.columns), how, reader.tolerance, report=say, drift=drift, **_all_of(model))
        for pieces in _pieces(streams, reader, left, on_chunk):
            for rows in order.take(found.noted(pieces, summary)):
                summary.count(rows)
                write(rows)
    found.conclude(summary, streams, drift, say)
    return summary


def _all_of(model: Detectors) -> dict[str, Any]:
    """Return what makes streams forget no series, and learn those that are new if the model does."""
    return {"most_series": 2**62, "teacher_of": model.teacher}


class _Found:
    """What has been found in each series."""

    def __init__(self, on_rows: Callable[[str, ScoredRows], None]) -> None:
        self._on_rows = on_rows
        self._events: list[tuple[int, str, Any]] = []
        self._scored: dict[str, bool] = {}

    def noted(self, pieces: Iterator[Piece], summary: FileSummary) -> list[Piece]:
        kept = list(pieces)
        for piece in kept:
            self._on_rows(piece.series, piece.rows)
            summary.pass_over(piece.not_raised, piece.series)
            self._events += [(event.first_time, piece.series, event) for event in piece.events]
            any_scored = self._scored.get(piece.series, False) or bool(np.isfinite(piece.rows.score).any())
            self._scored[piece.series] = any_scored
        return kept

    def conclude(self, summary: FileSummary, streams: Streams, drift: SeriesDrift, say: Callable[[str], None]) -> None:
        """Put the events in order, compare with the training, and report series without a score."""
        summary.drift, summary.learnt = drift.result(), streams.learnt
        events = sorted(self._events, key=lambda found: found[:2])
        summary.keep([event for _, _, event in events], [])
        summary.series = [series for _, series, _ in events]
        silent = [series for series, any_scored in self._scored.items() if not any_scored and not streams.has_failed(series)]
        for series in [name for name in silent if name not in summary.learnt][:20]:  # of the others more was said
            say(f"{series}: no row could be scored, for want of a stretch of `window_size` rows without a gap.")
        summary.n_failed = streams.failed + len(silent)
        if self._scored and not any(self._scored.values()):
            raise DataError(
                f"Some rows of some series must be scored. Received: {len(self._scored):,} series without a score "
                f"({summary.tolerance.name}). Supply longer stretches, or detectors of these series."
            )


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


def _is_on_disk(path: str | Path) -> bool:
    """Tell whether an input can be read twice."""
    return isinstance(path, ObjectUri) or (str(path) != "-" and Path(path).is_file())


def _rows_of_each(path: str | Path, options: dict[str, Any]) -> "Counter[str]":
    """Return how many records each series has; records that will be refused or skipped may be among them."""
    found: Counter[str] = Counter()
    lenient = {"on_bad_rows": "skip", "max_bad_fraction": 1.0, "rejects": None, "time_column": None}
    with CsvReader(path, **options | lenient | {"value_columns": options["value_columns"][:1]}) as reader:
        for chunk in reader:
            if chunk.ids is not None:
                found.update(_counted(chunk.ids))
    return found


def _counted(ids: Names) -> "Counter[str]":
    return Counter(ids.tolist())
