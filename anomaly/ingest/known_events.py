"""Known events from a file of their own: a CSV with a row an event."""

import contextlib
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.errors import DataError, shorten
from anomaly.ingest.lines import guarded, open_text, shown_name
from anomaly.series import MICROSECONDS_A_DAY, NOT_TIMES, TimeSeries

# First and last row or time of an event, both inclusive; the first pair that a file has is taken.
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_PAIRS = (("first_time", "last_time"), ("start_row", "end_row"), ("start", "end"))


def read_known_events(path: str | Path, series: TimeSeries, *, max_bytes: int | None = None) -> TimeSeries:
    """Return the series with labels: 1 in the rows of the events, 0 elsewhere.

    Args:
        path: a CSV file with a header, or "-" for standard input. Columns first_time and last_time, or start_row and
            end_row, or start and end: ISO 8601 times, or row numbers if the name says so or the rows of the series
            are counted. Both ends belong to the event; a last
            date without a time means the end of that day. Further columns are ignored, and so are events outside the
            series.
        series: the rows that the events are about.
        max_bytes: refuse a longer file.

    Raises:
        DataError: if the columns are missing, a cell is not a time or a row number, an event ends before it starts,
            or no event lies in the series.
    """
    name = shown_name(path)
    with contextlib.ExitStack() as open_files:
        try:
            handle = open_text(path, open_files, max_bytes=max_bytes)
            rows = list(csv.DictReader(io.StringIO(guarded(handle.read, name))))
        except csv.Error as error:
            raise DataError(f"A file of events must be CSV text. Received: {error} ({name}).") from error
    columns = [] if not rows else [column for column in rows[0] if column is not None]
    pair = next((pair for pair in _PAIRS if set(pair) <= set(columns)), None)
    if pair is None:
        raise DataError(
            "A file of events must have a row an event, and columns start and end, first_time and last_time, or start_row "
            f"and end_row. Received: {shorten(columns) or 'nothing'} ({name})."
        )
    counted = pair[0] == "start_row" or series.time_column is None
    axis = np.arange(len(series)) if counted else series.times
    labels = np.zeros(len(series))
    for line, row in enumerate(rows, start=2):
        first, last = (_position(row[column], counted, f"{name}, line {line}") for column in pair)
        if not counted and _DATE.fullmatch((row[pair[1]] or "").strip()):
            last += MICROSECONDS_A_DAY - 1  # a date alone means all of that day
        if last < first:
            raise DataError(f"An event must end after it starts. Received: {row[pair[0]]} to {row[pair[1]]} ({name}, line {line}).")
        labels[(axis >= first) & (axis <= last)] = 1
    if not labels.any():
        raise DataError(f"At least one event must lie in the series. Received: {len(rows)} outside {series.name} ({name}).")
    return replace(series, labels=labels)


def _position(text: str | None, counted: bool, where: str) -> int:
    """Return a row number, or a time in microseconds."""
    try:
        if counted:
            row = int(text or "")
            if row < 0:
                raise ValueError
            return row
        stamp = pd.to_datetime(text or "", format="ISO8601", utc=True)
        if pd.isna(stamp) or text in NOT_TIMES:
            raise ValueError
    except ValueError as error:
        kind = "a row number" if counted else "an ISO 8601 time, for example 2022-05-01T12:00"
        raise DataError(f"The ends of an event must be {kind}. Received: {text!r} ({where}).") from error
    return int(stamp.as_unit("us").asm8.astype(np.int64))
