"""Known events from a file of their own: a CSV with a row an event, in any dialect, its times on the clock of the data."""

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anomaly.config import ReadingConfig
from anomaly.errors import AnomalyError, DataError, shorten
from anomaly.meaning.dialect import DELIMITERS
from anomaly.meaning.sentinels import MISSING_TEXT
from anomaly.ranges import end_of_day, moment, on_clock
from anomaly.series import MICROSECONDS_A_DAY, Bools, TimeSeries, median_step
from anomaly.sources.lines import guarded, open_text, shown_name
from anomaly.times.moments import format_of
from anomaly.times.timestamps import A_TIME, TimeReader

# First and last row or time of an event, both inclusive; the first pair that a file has is taken.
_PAIRS = (("first_time", "last_time"), ("start_row", "end_row"), ("start", "end"))
# The names are looked for in so many lines.
_MOST_TITLE_LINES = 100
# As a spreadsheet has row numbers beside an empty cell; and digits that are no date of ISO 8601.
_ROW, _FEW_DIGITS = re.compile(r"(\d{1,18})(?:\.0*)?", re.ASCII), re.compile(r"\d{1,7}(?:\.\d*)?", re.ASCII)
_ISO_DATE_IN_DIGITS = re.compile(r"\d{8}", re.ASCII)
# Behind all rows.
_NO_END = 2**62
# Times of the seventies are hardly any: such counted from 0.
_SEVENTIES = 3_652 * MICROSECONDS_A_DAY


@dataclass(frozen=True)
class KnownRows:
    """Which rows of a series the events of a file cover.

    Attributes:
        flags: `(n,)`, for each row of the series whether it belongs to an event.
        n_events: events in the file.
        n_outside: of them those that end before the first row or begin behind the last.
        n_in_gaps: those between two rows that are further from both than a step.
    """

    flags: Bools
    n_events: int
    n_outside: int
    n_in_gaps: int

    @property
    def lost(self) -> str:
        """Say where the events lie that cover no row; empty if each covers one."""
        places = ((self.n_outside, "outside of the rows"), (self.n_in_gaps, "in a gap between two rows"))
        return " and ".join(f"{n:,} {place}" for n, place in places if n)


class _Listed(NamedTuple):
    """An event as it stands in a file."""

    first: str
    last: str
    where: str


def read_known_events(
    path: str | Path, series: TimeSeries, *, time_format: str | None = None, max_bytes: int | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> TimeSeries:  # fmt: skip
    """Return the series with labels: 1 in the rows of the events, 0 elsewhere.

    Args:
        path: as for `event_rows`.
        series: the rows that the events are about.
        time_format: as for `event_rows`.
        max_bytes: refuse a longer file.
        warn: is told of events that cover no row.

    Raises:
        DataError: as `event_rows`, or if no event lies in the series.
    """
    found, name = event_rows(path, series, time_format=time_format, max_bytes=max_bytes), shown_name(path)
    if not found.flags.any():
        received = f"{found.lost or 'none'} of {series.name} ({name})"
        raise DataError(f"At least one event must lie in the series. Received: {received}. Name a file about these rows.")
    if found.lost:
        n = found.n_outside + found.n_in_gaps
        warn(
            f"Warning: {n:,} of {found.n_events:,} known events cover{'s' * (n == 1)} no row and "
            f"{'is' if n == 1 else 'are'} left out: {found.lost} ({name})."
        )
    return replace(series, labels=found.flags.astype(np.float64))


def event_rows(
    path: str | Path, series: TimeSeries, *, time_format: str | None = None, max_bytes: int | None = None
) -> KnownRows:  # fmt: skip
    """Tell which rows of a series belong to an event of a file.

    Args:
        path: a CSV file with a line that names the columns, or "-" for standard input; separated by commas, semicolons, tabs or
            bars. Columns first_time and last_time, or start_row and end_row, or start and end: times, or row numbers if the name
            says so or the rows of the series are counted. Times are ISO 8601 or written as in files of data; without an offset
            from UTC they are in the zone of the series. Both ends belong to the event; a last date without a time means the end of
            that day, and an empty end the last row. An event between two rows marks the nearest one, if that is no
            further than a step. Further columns are ignored.
        series: the rows that the events are about.
        time_format: how the times of the data are written: it decides where either order of day and month is possible.
        max_bytes: refuse a longer file.

    Raises:
        DataError: if the columns are missing, a cell is not a time or a row number, or an event ends before it starts.
    """
    names, listed = _listed(path, max_bytes)
    counted = names[0] == "start_row" or series.time_column is None
    place = _row_number if counted else _Clock(listed, series, time_format, shown_name(path)).place
    flags, n_outside, n_in_gaps = np.zeros(len(series), np.bool_), 0, 0
    axis = np.arange(len(series)) if counted else series.times
    least, most, step = int(axis.min()), int(axis.max()), 1 if counted else median_step(series.times)
    for event in listed:
        begin = place(event.first, event.where, last=False)
        end = _NO_END if event.last in MISSING_TEXT else place(event.last, event.where, last=True)
        _refuse_backwards(begin, end, event.first, event.last, event.where, DataError)
        away = np.maximum(begin - axis, axis - end)
        if end < least or begin > most:
            n_outside += 1
        elif (nearest := int(away.min())) > step:
            n_in_gaps += 1
        else:
            flags |= away <= 0 if nearest <= 0 else np.arange(len(away)) == np.argmin(away)
    return KnownRows(flags, len(listed), n_outside, n_in_gaps)


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
        first: an ISO 8601 time, in the zone of the series unless it says otherwise; or a row number.
        last: the same; a date without a time means the end of that day.
        series: the rows.
        where: where the two stand, for messages.
        counted: whether they are row numbers.
        refused: the error: of data, or of an option.

    Raises:
        AnomalyError: of that kind, if one is neither, or the last lies before the first.
    """
    ends = []
    for text, is_last in ((first, False), (last, True)):
        bare = (text or "").strip()
        try:
            ends.append(_row_of(bare) if counted else moment(bare, series.zone, last=is_last))
        except ValueError as error:
            raise refused(_no_end(text, where, counted=counted)) from error
    begin, end = ends
    _refuse_backwards(begin, end, first, last, where, refused)
    axis = np.arange(len(series)) if counted else series.times
    found: Bools = (axis >= begin) & (axis <= end)
    return found


class _Clock:
    """Reads the times of a file of events: each of ISO 8601 by itself, the others all in one way.

    Args:
        listed: the events.
        series: the rows that they are about.
        time_format: how the times of these are written; None where nobody has said it.
        name: of the file, for messages.
    """

    def __init__(self, listed: Sequence[_Listed], series: TimeSeries, time_format: str | None, name: str) -> None:
        self._zone = series.zone
        cells = dict.fromkeys(cell for event in listed for cell in (event.first, event.last) if cell not in MISSING_TEXT)
        others = [cell for cell in cells if not _is_iso(cell)]
        self._others = _read([cell for cell in others if re.search(r"\d", cell)], series, time_format, name)
        inside = (series.times.min() <= time <= series.times.max() for time, _ in self._others.values())
        if any(map(_FEW_DIGITS.fullmatch, others)) and not any(inside):
            self._others = {}  # numbers of rows, more likely

    def place(self, text: str, where: str, *, last: bool) -> int:
        """Return a time in microseconds since 1970 UTC."""
        if text not in self._others:
            try:
                if _FEW_DIGITS.fullmatch(text):
                    raise ValueError(text)
                if last and _ISO_DATE_IN_DIGITS.fullmatch(text):
                    text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
                return moment(text, self._zone, last=last)
            except ValueError as error:
                raise DataError(_no_end(text, where, counted=False)) from error
        time, is_local = self._others[text]
        if not is_local:
            return time
        is_date = ":" not in text and time % MICROSECONDS_A_DAY == 0
        return end_of_day(time, self._zone) if last and is_date else on_clock(time, self._zone, last=last)


def _read(cells: list[str], series: TimeSeries, time_format: str | None, name: str) -> dict[str, tuple[int, bool]]:
    """Return what cells are that are no ISO 8601: the time, microseconds, and whether clocks show it; none that is no time."""
    if not cells:
        return {}
    before = time_format or (series.reading or {}).get("time_format")
    from_zero = series.times.max() < _SEVENTIES
    tries: list[str | None] = [] if before is None else [before]
    try:
        tries.append(format_of(cells, "end", name, before, trained=True, from_zero=bool(from_zero)))
    except DataError as error:
        if not tries:
            raise DataError(
                f"The ends of events must be times with one meaning. Received: {shorten(cells[:3])} ({name}). Write ISO 8601 "
                "times, for example 2022-05-01T12:00."
            ) from error
    for how in tries:
        clock = TimeReader(ReadingConfig(), how)
        times, codes = clock.read_cells(cells)
        known = codes == A_TIME
        if known.all() or how is tries[-1]:
            return {cell: (int(t), clock.is_local) for cell, t, good in zip(cells, times, known, strict=True) if good}
    return {}


def _is_iso(text: str) -> bool:
    if _FEW_DIGITS.fullmatch(text):
        return False
    try:
        moment(text)
    except ValueError:
        return False
    return True


def _listed(path: str | Path, max_bytes: int | None) -> tuple[tuple[str, str], list[_Listed]]:
    """Return the names of the two columns, and the events of a file.

    Raises:
        DataError: if it is no CSV text, or has no such columns.
    """
    name = shown_name(path)
    with contextlib.ExitStack() as open_files:
        text = guarded(open_text(path, open_files, max_bytes=max_bytes).read, name)
    try:
        lines = list(io.StringIO(text, newline=""))
        for place, line in enumerate(lines[:_MOST_TITLE_LINES]):
            for mark in DELIMITERS:
                names = _names_of(line, mark)
                pair = next((pair for pair in _PAIRS if set(pair) <= set(names)), None)
                if pair is not None:
                    return pair, list(_events(lines[place + 1 :], mark, names, pair, f"{name}, line", place + 2))
    except csv.Error as error:
        raise DataError(f"A file of events must be CSV text. Received: {error} ({name}).") from error
    first = next((line for line in lines if line.strip()), "")
    raise DataError(
        "A file of events must have a row an event, and columns start and end, first_time and last_time, or start_row "
        f"and end_row. Received: {shorten(next(csv.reader([first]), [])) or 'nothing'} ({name})."
    )


def _names_of(line: str, mark: str) -> list[str]:
    """Return the names in a line as they are compared: start_row for Start row."""
    return _plain(next(csv.reader([line], delimiter=mark, skipinitialspace=True), []))


def _plain(names: Sequence[str]) -> list[str]:
    return [re.sub(r"[\s-]+", "_", name.strip().lower()) for name in names]


def _events(
    lines: Sequence[str], mark: str, names: Sequence[str], pair: tuple[str, str], where: str, number: int
) -> Iterator[_Listed]:
    """Yield the events of some lines; `number` is that of the first."""
    places = [names.index(name) for name in pair]
    reader, begins = csv.reader(lines, delimiter=mark, skipinitialspace=True), 0
    for row in reader:
        line, begins = number + begins, reader.line_num
        if not any(cell.strip() for cell in row) or _plain(row) == names:
            continue
        if max(places) >= len(row):
            raise DataError(
                f"An event must have two ends. Received: {mark.join(row)!r} ({where} {line:,}). Leave the second one empty, behind "
                "what separates them, where the event still goes on."
            )
        yield _Listed(row[places[0]].strip(), row[places[1]].strip(), f"{where} {line:,}")


def _row_number(text: str, where: str, *, last: bool) -> int:
    try:
        return _row_of(text)
    except ValueError as error:
        raise DataError(_no_end(text, where, counted=True)) from error


def _row_of(text: str) -> int:
    """Return a row number; raises `ValueError` if it is none."""
    found = _ROW.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(found[1])


def _no_end(text: str | None, where: str, *, counted: bool) -> str:
    """Say what the end of an event must be."""
    kind = "a row number" if counted else "an ISO 8601 time, for example 2022-05-01T12:00"
    why = "Rows are counted here" if counted else "The rows have times"
    if not counted and _FEW_DIGITS.fullmatch((text or "").strip()):
        why += "; row numbers stand in columns start_row and end_row of a file"
    return f"The ends of an event must be {kind}. Received: {text!r} ({where}). {why}."


def _refuse_backwards(
    begin: int, end: int, first: str | None, last: str | None, where: str, refused: type[AnomalyError]
) -> None:  # fmt: skip
    if end < begin:
        raise refused(f"An event must end after it starts. Received: {first} to {last} ({where}).")
