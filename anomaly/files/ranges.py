"""Which rows of a series are meant: from a row, a time or so long before the end, up to another."""

import re

import numpy as np
import pandas as pd

from anomaly.errors import ConfigError
from anomaly.series import TimeSeries, format_time

_DAY = 86_400_000_000
_UNITS = {"s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": _DAY, "w": 7 * _DAY}
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def rows_within(series: TimeSeries, since: str | None, until: str | None) -> tuple[int, int]:
    """Return the first row of a part of a series and the one behind its last.

    Args:
        series: all rows.
        since: the first row, by its number from 0, as an ISO 8601 time (UTC unless it says otherwise), or as a span before the last
            time: 30min, 12h, 7d, 2w. None begins with the first one.
        until: the same of the last row, itself included; a date alone means all of that day. None ends with the last one.

    Raises:
        ConfigError: if one is none of these, a time is given where rows are counted, or no row lies between them.
    """
    chosen = np.ones(len(series), np.bool_)
    for option, text in (("--since", since), ("--until", until)):
        if text is not None:
            axis, place = _place(series, option, text.strip())
            chosen &= axis >= place if option == "--since" else axis <= place
    places = np.flatnonzero(chosen)
    if not len(places):
        given = " ".join(f"{option} {text}" for option, text in (("--since", since), ("--until", until)) if text is not None)
        raise ConfigError(f"Some rows must lie in the range. Received: {given or 'nothing'}, of {_extent(series)}. Widen it.")
    return int(places[0]), int(places[-1]) + 1


def _place(series: TimeSeries, option: str, text: str) -> tuple[np.ndarray, int]:
    """Return what numbers the rows, and where on it an end lies."""
    if text.isdecimal():
        return np.arange(len(series)), int(text)
    if series.time_column is None:
        raise ConfigError(f"{option} must be a row number where rows are counted. Received: {text!r}. Give one from 0 on.")
    if span := _SPAN.fullmatch(text):
        return series.times, int(series.times.max() - float(span[1]) * _UNITS[span[2]])
    try:
        stamp = pd.to_datetime(text, format="ISO8601", utc=True)
        if pd.isna(stamp) or not _DATE.match(text):  # pandas takes "-3" and "today" for times
            raise ValueError
    except ValueError as error:
        raise ConfigError(
            f"{option} must be a row number, an ISO 8601 time, or a span before the end. Received: {text!r}. "
            "Write it like 120, 2022-05-01T12:00 or 7d."
        ) from error
    time = int(stamp.as_unit("us").asm8.astype(np.int64))
    return series.times, time + (_DAY - 1 if option == "--until" and _DATE.fullmatch(text) else 0)


def _extent(series: TimeSeries) -> str:
    rows = f"rows 0 to {len(series) - 1:,}" if len(series) else "no rows"
    if series.time_column is None or not len(series):
        return rows
    first, last = (format_time(int(time), series.time_column) for time in (series.times.min(), series.times.max()))
    return f"{rows}, {first} to {last}"
