"""Known events from a file of their own: a CSV with a row an event."""

import contextlib
import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomaly.errors import AnomalyError, DataError, shorten
from anomaly.series import DATE, MICROSECONDS_A_DAY, Bools, TimeSeries, moment
from anomaly.sources.lines import guarded, open_text, shown_name

# First and last row or time of an event, both inclusive; the first pair that a file has is taken.
_PAIRS = (("first_time", "last_time"), ("start_row", "end_row"), ("start", "end"))


def read_known_events(path: str | Path, series: TimeSeries, *, max_bytes: int | None = None) -> TimeSeries:
    """Return the series with labels: 1 in the rows of the events, 0 elsewhere.

    Args:
        path: as for `event_rows`.
        series: the rows that the events are about.
        max_bytes: refuse a longer file.

    Raises:
        DataError: as `event_rows`, or if no event lies in the series.
    """
    flags, count = event_rows(path, series, max_bytes=max_bytes)
    if not flags.any():
        name = shown_name(path)
        raise DataError(f"At least one event must lie in the series. Received: {count} outside {series.name} ({name}).")
    return replace(series, labels=flags.astype(np.float64))


def event_rows(path: str | Path, series: TimeSeries, *, max_bytes: int | None = None) -> tuple[Bools, int]:
    """Tell for each row of a series whether it belongs to an event of a file, `(n,)`, and how many events the file has.

    Args:
        path: a CSV file with a header, or "-" for standard input. Columns first_time and last_time, or start_row and
            end_row, or start and end: ISO 8601 times, or row numbers if the name says so or the rows of the series
            are counted. Both ends belong to the event; a last
            date without a time means the end of that day. Further columns are ignored, and so are events outside the
            series.
        series: the rows that the events are about.
        max_bytes: refuse a longer file.

    Raises:
        DataError: if the columns are missing, a cell is not a time or a row number, or an event ends before it starts.
    """
    name = shown_name(path)
    with contextlib.ExitStack() as open_files:
        try:
            handle = open_text(path, open_files, max_bytes=max_bytes)
            reader = csv.DictReader(io.StringIO(guarded(handle.read, name)))
            rows, columns = list(reader), list(reader.fieldnames or [])
        except csv.Error as error:
            raise DataError(f"A file of events must be CSV text. Received: {error} ({name}).") from error
    pair = next((pair for pair in _PAIRS if set(pair) <= set(columns)), None)
    if pair is None:
        raise DataError(
            "A file of events must have a row an event, and columns start and end, first_time and last_time, or start_row "
            f"and end_row. Received: {shorten(columns) or 'nothing'} ({name})."
        )
    counted = pair[0] == "start_row" or series.time_column is None
    flags = np.zeros(len(series), np.bool_)
    for line, row in enumerate(rows, start=2):
        flags |= rows_between(row[pair[0]], row[pair[1]], series, f"{name}, line {line}", counted=counted)
    return flags, len(rows)


def rows_between(
    first: str | None,
    last: str | None,
    series: TimeSeries,
    where: str,
    *,
    counted: bool,
    refused: type[AnomalyError] = DataError,
) -> Bools:
    """Tell for each row of a series whether it lies from one time, or row, to another, both included, `(n,)`.

    Args:
        first: an ISO 8601 time, or a row number.
        last: the same; a date without a time means the end of that day.
        series: the rows.
        where: where the two stand, for messages.
        counted: whether they are row numbers.
        refused: the error: of data, or of an option.

    Raises:
        AnomalyError: of that kind, if one is neither, or the last lies before the first.
    """
    begin, end = (_position(text, counted, where, refused) for text in (first, last))
    if not counted and DATE.fullmatch((last or "").strip()):
        end += MICROSECONDS_A_DAY - 1  # a date alone means all of that day
    if end < begin:
        raise refused(f"An event must end after it starts. Received: {first} to {last} ({where}).")
    axis = np.arange(len(series)) if counted else series.times
    found: Bools = (axis >= begin) & (axis <= end)
    return found


def _position(text: str | None, counted: bool, where: str, refused: type[AnomalyError]) -> int:
    """Return a row number, or a time in microseconds."""
    try:
        if counted:
            row = int(text or "")
            if row < 0:
                raise ValueError
            return row
        return moment((text or "").strip())
    except ValueError as error:
        kind = "a row number" if counted else "an ISO 8601 time, for example 2022-05-01T12:00"
        why = "Rows are counted here" if counted else "The rows have times"
        raise refused(f"The ends of an event must be {kind}. Received: {text!r} ({where}). {why}.") from error
