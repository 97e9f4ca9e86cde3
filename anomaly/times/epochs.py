"""Numbers that are times: since 1970 or another year, of a spreadsheet, or from 0; refused where they may be either of two."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from anomaly.errors import DataError
from anomaly.quick_start import pd
from anomaly.series import Floats
from anomaly.times.clock_shifts import latest_now
from anomaly.times.column import numbers_of
from anomaly.times.spreadsheet_days import EXCEL_DAYS, LIKELY_DAYS, are_half_days, as_excel, date_text, show_seconds_of_days
from anomaly.times.written import EPOCH

# In the place of a format: days since 1899-12-30, days and seconds since 1904-01-01, seconds since 2001-01-01.
EXCEL, EXCEL_1904, EPOCH_1904, EPOCH_2001 = "excel", "excel-1904", "epoch-1904", "epoch-2001"
# Seconds since 1904 of 2000, which are 2066 as seconds since 1970.
_LEAST_FROM_1904, _SECONDS_TO_1970 = 3_029_529_600, 2_082_844_800
# Seconds since 2001 of 2021 and later, which are 1990 and later as seconds since 1970.
_LEAST_FROM_2001, _SECONDS_TO_2001 = 631_152_000, 978_307_200
# Seconds since 1970 of 1990 to 2100, in seconds, milliseconds, microseconds and nanoseconds.
_FIRST_SECOND, _LAST_SECOND = 631_152_000, 4_102_444_800
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
# As nanoseconds of 1990, what may be steps of 100 ns since the year 1, as .NET counts them.
_TICKS = (631_152_000_000_000_000, 646_000_000_000_000_000)
# Times that count from 0 begin within so many steps.
_MOST_STEPS = 1_000
# A row every quarter of an hour, in days: as seconds such rows would come a hundred times a second.
_FINE_STEP = 0.0105
# So many cells are looked at before all are.
_FEW = 20
# Of fewer different times nobody can tell.
FEWEST_TO_TELL = 3
# How a spreadsheet shows a number that is too long for its cell, and the exponents that a time since 1970 may have.
_ROUNDED, _EXPONENTS = re.compile(r"\d(?:[.,]\d{1,5})?E\+(\d\d)"), range(8, 19)
_GPS = re.compile(r"(?i)(?:^|[^a-z])gps(?:[^a-z]|$)")
_JULIAN = re.compile(r"julian|(?:^|[^a-z])m?jd(?:[^a-z]|$)")
_DATE_NAME = re.compile(r"dates?|days?|datum|fecha|data|дата|日付|日期|날짜")
# Units of time that are none of seconds, at the end of a name or in brackets; and the end of a day in hours and minutes.
_OTHER_UNIT = re.compile(
    r"(?i)(?:^|[\s_([/,;:.-])(ms|msecs?|millis(?:econds?)?|us|µs|μs|usecs?|micros(?:econds?)?|ns|nanos(?:econds?)?|mins?|minutes?|"
    r"h|hrs?|hours?|stunden|minuten|tage|d|days?)[\])]?\s*$"
)
_MOST_HHMM = 2_400


def format_of_numbers(
    cells: Sequence[str], numbers: Floats, column: str, name: str, before: str | None, *, trained: bool = False
) -> str | None:
    """Return how numbers that spell no date are to be read; None for numbers since 1970, or from 0.

    Args:
        cells: of a column, as text.
        numbers: the same, `(n,)`.
        column: its name, for messages.
        name: of the input, for messages.
        before: how they were read in training.
        trained: whether a detector needs the times, and rows cannot be counted instead.

    Raises:
        DataError: if they may be one thing or another, or nothing that is known.
    """
    epoch, counting = EPOCH if any("," in cell for cell in cells) else None, "" if trained else "--time-column none to count rows, "
    if before in (EXCEL, EXCEL_1904) and not (EXCEL_DAYS[0] <= numbers.min() and numbers.max() <= EXCEL_DAYS[1]):
        raise DataError(
            f"Times must be days of a spreadsheet, as in training. Received: {cells[0].strip()} in column {column!r}, which is "
            f"{_as_epoch(numbers[0])} as a number since 1970 ({name}). Say --time-format epoch if it is, or write ISO 8601."
        )
    if before in (EPOCH, EXCEL, EXCEL_1904, EPOCH_1904, EPOCH_2001):
        return before
    _refuse_rounded(cells, column, name)
    _refuse_gps(cells, numbers, column, name)
    _refuse_other_epochs(cells, numbers, column, name)
    ticks = _TICKS[0] <= numbers.min() and numbers.max() <= _TICKS[1]
    if not ticks and (are_since_1970(numbers) or _count_from_zero(numbers)):
        _refuse_dates_from_zero(cells, numbers, column, name, trained=trained)
        return epoch
    if EXCEL_DAYS[0] <= numbers.min() and numbers.max() <= EXCEL_DAYS[1]:
        likely = LIKELY_DAYS[0] <= numbers.min() and numbers.max() <= LIKELY_DAYS[1]
        _refuse_julian(cells, column, name)
        if likely and show_seconds_of_days(numbers) and not are_half_days(numbers):
            return EXCEL
        raise DataError(
            f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is {as_excel(numbers[0])} as a day "
            f"of a spreadsheet, and {_as_epoch(numbers[0])} as seconds since 1970 ({name}). Say --time-format excel or "
            "--time-format epoch if it is one of them; else write ISO 8601."
        )
    if len(np.unique(numbers)) < FEWEST_TO_TELL:
        return epoch
    raise DataError(
        f"Times must be of 1990 to 2100, or count from 0. Received: {cells[0]} in column {column!r}, which is "
        f"{_as_epoch(numbers[0])} as a number since 1970 ({name}). Say --time-format epoch if it is, a format such as "
        f"--time-format %y%m%d%H%M if digits spell the date, {counting}or write ISO 8601."
    )


def _refuse_julian(cells: Sequence[str], column: str, name: str) -> None:
    """Refuse days that are called those of a Julian date."""
    if _JULIAN.search(column.lower()):
        raise DataError(
            f"Times must be of a kind that is known. Received: {cells[0].strip()} in column {column!r}, as a Julian date is "
            f"({name}). Write ISO 8601: of a modified one, days since 1858-11-17."
        )


def _refuse_rounded(cells: Sequence[str], column: str, name: str) -> None:
    """Refuse large numbers of which a spreadsheet kept the first digits: 1.67253E+12 may be any of ten million."""
    for cell in cells:
        match = _ROUNDED.fullmatch(cell.strip())
        if match and int(match[1]) in _EXPONENTS:
            raise DataError(
                f"Times must have all their digits. Received: {cell.strip()} in column {column!r}, rounded as a spreadsheet does "
                f"({name}). Export the column as whole numbers, or as ISO 8601."
            )


def _refuse_gps(cells: Sequence[str], numbers: Floats, column: str, name: str) -> None:
    """Refuse seconds that are called those of GPS, and would be of 1990 to 2100 if they counted from 1970."""
    if _GPS.search(column) and are_since_1970(numbers):
        raise DataError(
            f"Times must count from 1970. Received: {cells[0].strip()} in column {column!r}, {_as_epoch(numbers[0])} if it does, "
            f"and ten years later if it counts from 1980, as GPS does ({name}). Say --time-format epoch if it is the first; else "
            "write ISO 8601, or add 315964782 seconds."
        )


def _refuse_dates_from_zero(cells: Sequence[str], numbers: Floats, column: str, name: str, *, trained: bool) -> None:
    """Refuse counts from 0 that are called dates: they count days, or anything but seconds."""
    if not are_since_1970(numbers) and _DATE_NAME.fullmatch(column.strip().lower()):
        raise DataError(
            f"Dates must have one meaning. Received: {cells[0].strip()} in column {column!r}, which counts from 0 ({name}). Say "
            f"--time-format epoch if it counts seconds, or {'write ISO 8601' if trained else '--time-column none to count rows'}."
        )


def _refuse_other_epochs(cells: Sequence[str], numbers: Floats, column: str, name: str) -> None:
    """Refuse seconds that may count from 1970, and from 1904 or 2001 as well."""
    now = latest_now()
    for least, most, to_1970, year in (
        (_LEAST_FROM_1904, _LAST_SECOND, -_SECONDS_TO_1970, 1904),
        (_LEAST_FROM_2001, now - _SECONDS_TO_2001, _SECONDS_TO_2001, 2001),
    ):
        if numbers.min() >= least and numbers.max() < most:
            raise DataError(
                f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is {_as_epoch(numbers[0])} in "
                f"seconds since 1970, and {_as_epoch(numbers[0] + to_1970)} since {year} ({name}). Say --time-format epoch or "
                f"--time-format epoch-{year}."
            )


def are_epochs(cells: Sequence[str]) -> bool:
    """Tell whether all cells are numbers since 1970 of the years 1990 to 2100, in one unit."""
    numbers = numbers_of(cells)
    return numbers is not None and len(numbers) > 0 and are_since_1970(numbers)


def are_since_1970(numbers: Floats) -> bool:
    """Tell whether numbers are times of the years 1990 to 2100, in one unit."""
    return any(bool(((numbers >= _FIRST_SECOND * unit) & (numbers < _LAST_SECOND * unit)).all()) for unit in _UNITS)


def goes_on_from_zero(numbers: Floats) -> bool:
    """Tell times that may go on from others that count from 0: seconds before 1990, if they counted from 1970, and no days."""
    inside = numbers.min() >= 0 and numbers.max() < _FIRST_SECOND
    days = LIKELY_DAYS[0] <= numbers.min() and numbers.max() <= LIKELY_DAYS[1] and show_seconds_of_days(numbers)
    return bool(inside and not (days and np.median(np.abs(np.diff(numbers))) < _FINE_STEP))


def _count_from_zero(numbers: Floats) -> bool:
    """Tell times of no date: they begin at 0, or few steps behind it."""
    steps = np.diff(np.unique(numbers))
    return bool(
        len(steps) and abs(numbers.min()) <= _MOST_STEPS * np.median(steps) and not show_seconds_of_days(numbers, _MOST_STEPS)
    )


def refuse_other_unit(cells: Sequence[str], column: str, unit: str, name: str, *, trained: bool = False) -> None:
    """Refuse counts from 0 that are not of seconds: a column says another unit, or they are hours and minutes of a day.

    Args:
        cells: of the column of times.
        column: its name.
        unit: what a line of units has for it; empty without one.
        name: of the input, for messages.
        trained: whether a detector needs the times, and rows cannot be counted instead.

    Raises:
        DataError: if they are.
    """
    numbers = numbers_of(cells)
    if numbers is None or are_since_1970(numbers) or not _count_from_zero(numbers):
        return
    said = _OTHER_UNIT.search(f" {unit.strip('[]() ')}" if unit.strip() else column)
    if said is not None:
        counting = "" if trained else "count rows with --time-column none, "
        raise DataError(
            f"Times that count from 0 must be seconds. Received: {cells[0].strip()} in column {column!r}, in {said[1]} ({name}). "
            f"Write seconds, {counting}or say --time-format epoch to take them for seconds."
        )
    if _are_hours_and_minutes(cells, numbers):
        raise DataError(
            f"Times must have one meaning. Received: {cells[0].strip()}, {cells[1].strip()} in column {column!r}, which may be "
            f"hours and minutes of a day ({name}). Write dates with them, or say --time-format epoch if they are seconds."
        )


def _are_hours_and_minutes(cells: Sequence[str], numbers: Floats) -> bool:
    """Tell digits such as 0015 and 2345: with a 0 before others, or evenly spaced as hours and minutes, and as numbers not."""
    if any(re.fullmatch(r"0\d+", cell.strip()) for cell in cells):
        return True
    if (numbers != np.rint(numbers)).any() or numbers.max() >= _MOST_HHMM or (numbers % 100 >= 60).any():
        return False
    steps, minutes = np.diff(numbers), np.diff(numbers // 100 * 60 + numbers % 100)
    return bool(len(np.unique(minutes)) == 1 < len(np.unique(steps)))


def are_rising(cells: Sequence[str]) -> bool:
    """Tell whether numbers never fall and mostly rise by one step."""
    few = numbers_of(cells[:_FEW])
    if few is None or (np.diff(few) < 0).any():
        return False
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) < 3:
        return False
    steps = np.diff(numbers)
    return bool((steps >= 0).all() and (steps > 0).mean() > 0.5)


def _as_epoch(number: float) -> str:
    scale = next((10.0**digits for digits in (0, 3, 6, 9) if abs(number) < 10.0 ** (digits + 11)), None)
    return "no date" if scale is None else date_text(lambda: pd.Timestamp(float(number) / scale, unit="s"), "%Y-%m-%d %H:%M:%S")
