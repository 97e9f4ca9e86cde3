"""Which rows are meant: from a row, a time or so long before the end, up to another. The same rule for every command.

A range chooses rows that are already there, and never what they are scored from: a score looks at the rows around its own.
"""

import re
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.quick_start import pd
from anomaly.series import DATE, MICROSECONDS_A_DAY, Bools, Ints, TimeSeries, begins_with_a_year, format_time
from anomaly.words import span_from

# Nothing is limited by these.
_FIRST, _LAST = -(2**63), 2**63 - 1
# Seconds since 1970 of today have so many digits, and a date in digits.
_DIGITS_OF_A_MOMENT, _DIGITS_OF_A_DATE = 10, 8
# Clocks are known in these years only, microseconds: 0002 to 9998.
_FIRST_CLOCK, _LAST_CLOCK = (int(np.datetime64(f"{year}-01-01", "us").astype(np.int64)) for year in ("0002", "9999"))

Zone = str | tzinfo


@dataclass(frozen=True)
class RowRange:
    """Rows whose number and whose time lie between two ends, both included.

    Attributes:
        first_row: number of the first row, from 0.
        last_row: number of the last row.
        first_time: microseconds since 1970 UTC, or a row number where rows are counted.
        last_time: the same.
        given: the two ends as they were asked for, for messages; empty if none was.
    """

    first_row: int = _FIRST
    last_row: int = _LAST
    first_time: int = _FIRST
    last_time: int = _LAST
    given: str = ""

    @classmethod
    def of(
        cls, since: str | int | None, until: str | int | None, *, timed: bool, end: int | None = None, zone: Zone = "UTC"
    ) -> "RowRange":
        """Return the range between two ends.

        Args:
            since: the first row, by its number from 0, as an ISO 8601 time (in `zone` unless it says otherwise), or as a span
                before the last time: 30min, 12h, 7d, 2w. None begins with the first one.
            until: the same of the last row, itself included; a date alone means all of that day. None ends with the last one.
            timed: whether the rows have times.
            end: the last time, which spans are counted from; None where nobody knows it.
            zone: of times without an offset from UTC: that of the rows.

        Raises:
            ConfigError: if one is none of these, a time is given where rows are counted, a span where there is no end, or
                the first row lies behind the last.
        """
        ends = [("--since", since, "first"), ("--until", until, "last")]
        limits: dict[str, Any] = {"given": " ".join(f"{option} {text}" for option, text, _ in ends if text is not None)}
        for option, text, name in ends:
            if text is not None:
                if timed and isinstance(text, str):
                    _refuse_date_or_row(option, text.strip())
                kind, place = _place(option, str(text).strip(), timed, end, zone)
                limits[f"{name}_{kind}"] = place
        wanted = cls(**limits)
        if wanted.first_row > wanted.last_row or wanted.first_time > wanted.last_time:
            raise ConfigError(f"--since must not lie behind --until. Received: {wanted.given}. Exchange them.")
        return wanted

    def __bool__(self) -> bool:
        """Tell whether anything was asked for."""
        return bool(self.given)

    def holds(self, rows: Ints, times: Ints) -> Bools:
        """Tell for each row whether it lies in the range, `(n,)`.

        Args:
            rows: their numbers, `(n,)`; or `(1,)` any number, where the range is one of times.
            times: `(n,)` as in `TimeSeries`.
        """
        inside: Bools = (rows >= self.first_row) & (rows <= self.last_row)
        return inside & (times >= self.first_time) & (times <= self.last_time)

    def touches(self, event: Any) -> bool:
        """Tell whether an event lies in the range, whole or in part."""
        by_row = event.start <= self.last_row and event.stop > self.first_row
        return bool(by_row and event.first_time <= self.last_time and event.last_time >= self.first_time)

    def nothing_in(self, extent: str) -> ConfigError:
        """Return the error for a range without a row; `extent` says of what."""
        return ConfigError(f"Some rows must lie in the range. Received: {self.given or 'nothing'}, of {extent}. Widen it.")


ALL_ROWS = RowRange()


def needs_end(since: str | int | None, until: str | int | None) -> bool:
    """Tell whether one of the ends is a span before the end."""
    return any(text is not None and span_from(str(text).strip()) is not None for text in (since, until))


def range_of(
    times: Ints, time_column: str | None, since: str | int | None = None, until: str | int | None = None, *, zone: Zone = "UTC"
) -> RowRange:
    """Return a range of some rows, which holds one at least; see `RowRange.of`.

    Args:
        times: `(n,)` as in `TimeSeries`.
        time_column: as in `TimeSeries`.
        since: the first row.
        until: the last one.
        zone: of times without an offset from UTC.

    Raises:
        ConfigError: as `RowRange.of`, or if no row lies in it.
    """
    timed = time_column is not None
    wanted = RowRange.of(since, until, timed=timed, end=int(times.max()) if timed and len(times) else None, zone=zone)
    if not wanted.holds(np.arange(len(times)), times).any():
        raise wanted.nothing_in(extent(times, time_column))
    return wanted


def rows_within(
    series: TimeSeries, since: str | int | None = None, until: str | int | None = None, *, zone: Zone | None = None
) -> tuple[int, int]:
    """Return the first row of a series in a range, and the one behind the last; see `range_of`. By default in its own zone."""
    wanted = range_of(series.times, series.time_column, since, until, zone=series.zone if zone is None else zone)
    places = np.flatnonzero(wanted.holds(np.arange(len(series)), series.times))
    return int(places[0]), int(places[-1]) + 1


def moment(text: str, zone: Zone = "UTC", *, last: bool = False) -> int:
    """Return an ISO 8601 time in microseconds since 1970; see `on_clock`.

    Args:
        text: the time.
        zone: that it is in unless it says its offset from UTC.
        last: whether it ends something: then a date alone means all of that day.

    Raises:
        ValueError: if it is none.
    """
    stamp = pd.to_datetime(text, format="ISO8601")
    if pd.isna(stamp) or not begins_with_a_year(text):
        raise ValueError(text)
    time = int(stamp.as_unit("us").asm8.astype(np.int64))
    if stamp.tz is not None:
        return time
    return end_of_day(time, zone) if last and DATE.fullmatch(text) else on_clock(time, zone, last=last)


def on_clock(time: int, zone: Zone, *, last: bool) -> int:
    """Return when the clocks of a zone show a time, microseconds since 1970 UTC.

    They show some twice: what begins then begins with the first, what ends ends with the second. What they leave out begins with
    the first moment behind it, or ends with the last one before.

    Args:
        time: what they show, microseconds as if it were UTC.
        zone: an IANA name, or what a timestamp has.
        last: whether something ends then.
    """
    if zone == "UTC" or not _FIRST_CLOCK <= time < _LAST_CLOCK:
        return time
    nonexistent: Any = "shift_backward" if last else "shift_forward"
    shown = pd.Timestamp(np.datetime64(time, "us"))
    both = [shown.tz_localize(zone, ambiguous=way, nonexistent=nonexistent).as_unit("us").asm8 for way in (True, False)]
    return int((max if last else min)(both).astype(np.int64))


def end_of_day(time: int, zone: Zone) -> int:
    """Return the last moment of the day that begins at a time on the clocks of a zone; as `on_clock`."""
    return on_clock(time + MICROSECONDS_A_DAY, zone, last=False) - 1


def training_part(series: TimeSeries, train_start: str | None, train_end: str | None) -> slice:
    """Return which rows to train on: from a row, a time or a span before the end, to before another; see `TimeSeries.cut_row`.

    Args:
        series: rows in order.
        train_start: the first one; None begins with the first of all.
        train_end: the one behind the last; None ends with the last of all.

    Raises:
        ConfigError: if one is no such place, or the start does not lie before the end.
    """
    stop = len(series) if train_end is None else series.cut_row(train_end)
    start = 0 if train_start is None else series.row_at(train_start)
    if train_start is not None and not 0 <= start < stop:
        raise ConfigError(
            f"A training must begin before it ends. Received: --train-start {train_start}, which is row {start:,}, and an end "
            f"at row {stop:,} ({series.name}). Begin earlier."
        )
    return slice(start, stop)


def idle_ends(series: TimeSeries, part: slice, train_start: str | None, train_end: str | None) -> list[str]:
    """Return which ends of a training are times that leave no row out, as they are typed: a slip in one goes unseen.

    Args:
        series: as for `training_part`.
        part: what that returned.
        train_start: as for `training_part`.
        train_end: as for `training_part`.
    """
    ends = (("--train-start", train_start, part.start == 0), ("--train-end", train_end, part.stop == len(series)))
    return [f"{option} {text}" for option, text, idle in ends if text is not None and idle and _is_time(text)]


def _is_time(text: str) -> bool:
    """Tell whether a place is a time: no number, no share, no span such as 90d, which may well be longer than the rows."""
    try:
        float(text)
    except ValueError:
        return span_from(text) is None
    return False


def extent(times: Ints, time_column: str | None) -> str:
    """Return which rows there are, and from when to when, for messages."""
    if not len(times):
        return "no rows"
    return extent_text(len(times), int(times.min()), int(times.max()), time_column)


def extent_text(n: int, first: int, last: int, time_column: str | None) -> str:
    """Return how some rows are numbered, and from when to when they are; see `extent`."""
    rows = f"rows 0 to {n - 1:,}"
    return rows if time_column is None else f"{rows}, {format_time(first, time_column)} to {format_time(last, time_column)}"


def _refuse_date_or_row(option: str, text: str) -> None:
    """Refuse digits that are the number of a row, and may be meant for a year, a date or a moment."""
    if text.isdecimal() and (re.fullmatch(r"(?:19|20)\d\d(?:[01]\d[0-3]\d)?", text) or len(text) >= _DIGITS_OF_A_MOMENT):
        date = f"{text[:4]}-{text[4:6] or '01'}-{text[6:8] or '01'}" if len(text) <= _DIGITS_OF_A_DATE else "an ISO 8601 time"
        raise ConfigError(
            f"{option} must be a row number or a time. Received: {text}, which may be either. Write {date}, or 0{text} for the row."
        )


def _place(option: str, text: str, timed: bool, end: int | None, zone: Zone) -> tuple[str, int]:
    """Return what numbers the rows, and where on it an end lies."""
    if text.isdecimal() and len(text) < 19:
        return "row", int(text)
    if not timed:
        raise ConfigError(f"{option} must be a row number where rows are counted. Received: {text!r}. Give one from 0 on.")
    span = span_from(text)
    if span is not None:
        if end is None:
            raise ConfigError(
                f"A span before the end needs an input that can be read twice. Received: {option} {text}. Give a time, or a file."
            )
        return "time", end - span
    try:
        if not DATE.match(text):
            raise ValueError
        return "time", moment(text, zone, last=option == "--until")
    except ValueError as error:
        raise ConfigError(
            f"{option} must be a row number, an ISO 8601 time, or a span before the end. Received: {text!r}. "
            "Write it like 120, 2022-05-01T12:00 or 7d."
        ) from error
