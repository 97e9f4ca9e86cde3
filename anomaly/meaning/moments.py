"""What kind of times the cells of a column are: ISO 8601, numbers since 1970, digits that spell a date, or days of a spreadsheet.

Digits of one length that all spell a date of 1900 to 2100 are that date: as numbers since 1970 they would lie a second apart
and jump at each midnight. Numbers of days since 1899-12-30, as Excel and LibreOffice export them, are told by steps of whole
seconds; where they might as well be seconds, the column is refused with both readings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from anomaly.errors import DataError
from anomaly.meaning.clock_shifts import latest_now
from anomaly.meaning.column import moments_of, numbers_of
from anomaly.meaning.plain_cells import bytes_of, plain_moments, with_days_for_months
from anomaly.meaning.written import (
    COMPACT,
    EPOCH,
    are_months_of_years,
    begin_days_at_24,
    evenest,
    evenest_of,
    moments_by,
    spelled_formats,
    written_formats,
)
from anomaly.quick_start import pd
from anomaly.series import Floats

# In the place of a format: days since 1899-12-30, days and seconds since 1904-01-01, seconds since 2001-01-01.
EXCEL, EXCEL_1904, EPOCH_1904, EPOCH_2001 = "excel", "excel-1904", "epoch-1904", "epoch-2001"
_DAYS_TO_1904 = 1_462
# Seconds since 1904 of 2000, which are 2066 as seconds since 1970.
_LEAST_FROM_1904, _SECONDS_TO_1970 = 3_029_529_600, 2_082_844_800
# Seconds since 2001 of 2021 and later, which are 1990 and later as seconds since 1970.
_LEAST_FROM_2001, _SECONDS_TO_2001 = 631_152_000, 978_307_200
# Days of 1954 to 2119; as seconds since 1970 they would all lie on its first day. Those of 1980 to 2050 are likely.
_EXCEL_DAYS, _LIKELY_DAYS = (20_000, 80_000), (29_221, 54_789)
# Whole days lie no further apart; seconds do.
_MOST_DAYS = 31
# Seconds since 1970 of 1990 to 2100, in seconds, milliseconds, microseconds and nanoseconds.
_FIRST_SECOND, _LAST_SECOND = 631_152_000, 4_102_444_800
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
# As nanoseconds of 1990, what may be steps of 100 ns since the year 1, as .NET counts them.
_TICKS = (631_152_000_000_000_000, 646_000_000_000_000_000)
# Times that count from 0 begin within so many steps.
_MOST_STEPS = 1_000
# So many cells are looked at before all are.
_FEW = 20
# Of fewer different times nobody can tell.
_FEWEST = 3
# So few days in a row are as even with day and month the other way round.
_FEW_DAYS = 2
# How a spreadsheet shows a number that is too long for its cell, and the exponents that a time since 1970 may have.
_ROUNDED, _EXPONENTS = re.compile(r"\d(?:[.,]\d{1,5})?E\+(\d\d)"), range(8, 19)
_GPS = re.compile(r"(?i)(?:^|[^a-z])gps(?:[^a-z]|$)")
_ISO = re.compile(r"\s*[+-]?\d{4}-\d{2}(?:-\d{2})?(?:[T ]\d{2}.*)?\s*|\s*\d{8}T\d{2,6}.*")
# Times that may be ISO 8601 with day and month the other way round.
_SWAPPED = re.compile(r"\d{4}-\d{2}-\d{2}([ T])(\d{2}:\d{2})(:\d{2})?")
_MONTHS = 12
# 202401 is no month where the column names weeks.
_OF_WEEKS, _DIGITS_OF_WEEK = re.compile(r"week|woche|\bkw\b"), 6
_YEAR_NAMES, _DIGITS_OF_YEAR = ("year", "yr", "yyyy", "jahr", "annee", "année", "año", "anno"), 4
_DAY_S, _DAYS_TO_1970, _NOON = 86_400, 25_569, 0.5
_JULIAN = re.compile(r"julian|(?:^|[^a-z])m?jd(?:[^a-z]|$)")
# A year and a month and nothing else; what else may be counted within a year, and of how many years the first few tell that it is.
_OF_MONTHS = (COMPACT[6], "%Y-%m", "%m/%Y", "%m-%Y", "%m.%Y", "%Y %m", "%YM%m")
_YEAR_AND_MONTH = re.compile(r"\s*\d{4}-\d{2}\s*")
OTHER_PERIODS = re.compile(r"quarter|qtr|quartal|trimest\w*|semest\w*|half|week|woche|\bkw\b")
_FEWEST_YEARS, _HALF_A_CENTURY = 3, 50 * 31_556_952
_DATE_NAME = re.compile(r"dates?|days?|datum|fecha|data|дата|日付|日期|날짜")
# Units of time that are none of seconds, at the end of a name or in brackets; and the end of a day in hours and minutes.
_OTHER_UNIT = re.compile(
    r"(?i)(?:^|[\s_([/,;:.-])(ms|msecs?|millis(?:econds?)?|us|µs|μs|usecs?|micros(?:econds?)?|ns|nanos(?:econds?)?|mins?|minutes?|"
    r"h|hrs?|hours?|stunden|minuten|tage|d|days?)[\])]?\s*$"
)
_MOST_HHMM = 2_400


def format_of(
    cells: Sequence[str], column: str, name: str, before: str | None = None, *, of_year: bool | None = None
) -> str | None:
    """Return how the times of a column are to be read; None where ISO 8601 or numbers since 1970 are, as ever.

    Args:
        cells: some of them, in the order of the file, those that are not empty.
        column: its name, for messages.
        name: of the input, for messages.
        before: how they were read in training: it decides where either order of day and month, or either unit, is possible.
        of_year: whether numbers in a row hold a day of the year instead of month and day; None where nobody knows.

    Returns:
        A format for `strptime`, or "excel", or "epoch" for numbers with a decimal comma.

    Raises:
        DataError: if they may be one or the other, or are read in another order of day and month than before.
    """
    numbers = numbers_of(cells)
    if numbers is None and are_iso(cells[:1]) and (are_iso(cells) or not written_formats(cells)):
        _refuse_swapped(cells, column, name)
        _refuse_24_first(cells, "ISO8601", column, name)
        _refuse_other_periods("%Y-%m" if all(map(_YEAR_AND_MONTH.fullmatch, cells)) else None, cells, column, name)
        return None
    if numbers is None:
        formats = written_formats(cells)
        _refuse_24_first(cells, formats[0] if formats else "", column, name)
        if of_year is not None:
            formats = [how for how in formats if how.startswith(("%Y ", "%y ")) and ("%j" in how) == of_year]
        how = _only(formats, cells, column, name, before)
        _refuse_other_periods(how, cells, column, name)
        return how
    if (column.strip().lower() in _YEAR_NAMES or _come_yearly(cells)) and all(
        len(cell.strip()) == _DIGITS_OF_YEAR for cell in cells
    ):
        return "%Y"
    if are_months_of_years(cells):
        _refuse_other_periods("%m.%Y", cells, column, name)
        return "%m.%Y"
    weeks = _OF_WEEKS.search(column.lower()) and len(cells[0].strip()) == _DIGITS_OF_WEEK
    if found := [] if weeks else spelled_formats(cells):
        _refuse_months_or_weeks(found, cells, column, name, before)
        chosen = before if before in found else found[0]
        if len(found) > 1 and before not in found:
            raise DataError(
                f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is a time as {found[0]} and as "
                f"{found[1]} ({name}). Say --time-format {found[0]} or --time-format {found[1]}."
            )
        _refuse_other_periods(chosen, cells, column, name)
        return None if chosen == COMPACT[8] else chosen
    return _format_of_numbers(cells, numbers, column, name, before)


def _come_yearly(cells: Sequence[str]) -> bool:
    """Tell years that follow each other, whatever their column is called."""
    numbers = numbers_of(cells)
    years = numbers is not None and len(numbers) >= _FEWEST and numbers.min() >= 1600 and numbers.max() < 2200
    return bool(years and numbers is not None and (np.abs(np.diff(numbers)) == 1).all())


def _refuse_months_or_weeks(found: Sequence[str], cells: Sequence[str], column: str, name: str, before: str | None) -> None:
    """Refuse what may be the first weeks of a year as well as its months; where months go on, a year turns."""
    if found[0] == COMPACT[6] != before and 1 < len(set(cells)) <= _MONTHS and len({cell.strip()[:4] for cell in cells}) == 1:
        raise DataError(
            f"Times must have one meaning. Received: {cells[0].strip()} in column {column!r}, which may be a month or a week of a "
            f"year ({name}). Say --time-format {COMPACT[6]} if these are months; write the first day of each week if not."
        )


def refuse_two_centuries(how: str | None, cells: Sequence[str], column: str, name: str) -> None:
    """Refuse years of two digits of which some are to come and others behind them are past: 68 is read as 2068, 69 as 1969.

    Args:
        how: the format of the times.
        cells: some of them.
        column: its name.
        name: of the input, for messages.

    Raises:
        DataError: if they are of two centuries.
    """
    if how is None or "%y" not in how:
        return
    times = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how)
    if times.max().timestamp() > latest_now() and times.min().timestamp() < latest_now() - _HALF_A_CENTURY:
        raise DataError(
            f"Years of two digits must be of one century. Received: {cells[0].strip()} in column {column!r}, which is "
            f"{times.iloc[0]:%Y} beside {times.min():%Y} ({name}). Write four digits."
        )


def _refuse_other_periods(how: str | None, cells: Sequence[str], column: str, name: str) -> None:
    """Refuse a year and a number that is a month, where a name says another part of a year or only the first few come."""
    if how not in _OF_MONTHS or column.strip() == "":
        return
    times = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how)
    months, n_years = set(times.dt.month), times.dt.year.nunique()
    few = n_years >= _FEWEST_YEARS and months in ({1, 2}, {1, 2, 3}, {1, 2, 3, 4})
    said = OTHER_PERIODS.search(column.lower())
    if said or few:
        what = f"a {said[0]}" if said else "a quarter or another part of a year"
        raise DataError(
            f"Times must have one meaning. Received: {cells[0].strip()} in column {column!r}, which may be {what} ({name}). Write "
            f'the first day of each, or say --time-format "{how}" if these are months.'
        )


def _format_of_numbers(cells: Sequence[str], numbers: Floats, column: str, name: str, before: str | None) -> str | None:
    epoch = EPOCH if any("," in cell for cell in cells) else None
    if before in (EXCEL, EXCEL_1904) and not (_EXCEL_DAYS[0] <= numbers.min() and numbers.max() <= _EXCEL_DAYS[1]):
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
        _refuse_dates_from_zero(cells, numbers, column, name)
        return epoch
    if _EXCEL_DAYS[0] <= numbers.min() and numbers.max() <= _EXCEL_DAYS[1]:
        likely = _LIKELY_DAYS[0] <= numbers.min() and numbers.max() <= _LIKELY_DAYS[1]
        _refuse_julian(cells, column, name)
        if likely and _are_days(numbers) and not _are_half_days(numbers):
            return EXCEL
        raise DataError(
            f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is {_as_excel(numbers[0])} as a day "
            f"of a spreadsheet, and {_as_epoch(numbers[0])} as seconds since 1970 ({name}). Say --time-format excel or "
            "--time-format epoch if it is one of them; else write ISO 8601."
        )
    if len(np.unique(numbers)) < _FEWEST:
        return epoch
    raise DataError(
        f"Times must be of 1990 to 2100, or count from 0. Received: {cells[0]} in column {column!r}, which is "
        f"{_as_epoch(numbers[0])} as a number since 1970 ({name}). Say --time-format epoch if it is, a format such as "
        "--time-format %y%m%d%H%M if digits spell the date, --time-column none to count rows, or write ISO 8601."
    )


def _refuse_julian(cells: Sequence[str], column: str, name: str) -> None:
    """Refuse days that are called those of a Julian date."""
    if _JULIAN.search(column.lower()):
        raise DataError(
            f"Times must be of a kind that is known. Received: {cells[0].strip()} in column {column!r}, as a Julian date is "
            f"({name}). Write ISO 8601: of a modified one, days since 1858-11-17."
        )


def _are_half_days(numbers: Floats) -> bool:
    """Tell middles of days, as programs write them that count from another year; and days that are to come."""
    fractions = np.unique(numbers - np.floor(numbers))
    to_come = float(numbers.max() - _DAYS_TO_1970) * _DAY_S > latest_now()
    return to_come or (len(fractions) == 1 and bool(fractions[0] == _NOON))


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


def _refuse_dates_from_zero(cells: Sequence[str], numbers: Floats, column: str, name: str) -> None:
    """Refuse counts from 0 that are called dates: they count days, or anything but seconds."""
    if not are_since_1970(numbers) and _DATE_NAME.fullmatch(column.strip().lower()):
        raise DataError(
            f"Dates must have one meaning. Received: {cells[0].strip()} in column {column!r}, which counts from 0 ({name}). Say "
            "--time-format epoch if it counts seconds, or --time-column none to count rows."
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


def _only(formats: list[str], cells: Sequence[str], column: str, name: str, before: str | None) -> str | None:
    """Return the only format that is meant; None if there is none."""
    if not formats:
        return None
    meant = formats[0] if len(formats) == 1 else evenest(formats, cells)
    trained = _order(before or "")
    as_before = [how for how in formats if trained and _order(how) == trained]
    if as_before and meant in (None, *as_before):
        return as_before[0]
    if meant is None:
        raise _two_readings(formats, cells, column, name)
    if as_before or (trained and sorted(_order(meant)) == sorted(trained)):
        raise DataError(
            f"Times must be read as in training, as {before}. Received: {cells[0].strip()} in column {column!r}, where the cells "
            f'are times as {meant} ({name}). Say --time-format "{meant}" if they are.'
        )
    return meant


def _refuse_swapped(cells: Sequence[str], column: str, name: str) -> None:
    """Refuse times that look like ISO 8601, and come evenly with day and month the other way round only."""
    match = _SWAPPED.fullmatch(cells[0].strip())
    if match is None or _are_plainly_iso(cells):
        return
    days = [cell.strip()[8:10] for cell in cells]
    if not all(day.isdecimal() and int(day) <= _MONTHS for day in days):
        return
    clock = "".join(filter(None, ("%H:%M" * bool(match[2]), ":%S" * bool(match[3]))))
    iso, swapped = (f"{date}{match[1]}{clock}" for date in ("%Y-%m-%d", "%Y-%d-%m"))
    fits = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), swapped).notna().all()
    if fits and evenest((iso, swapped), cells) == swapped:
        raise _two_readings([iso, swapped], cells, column, name)


def _refuse_24_first(cells: Sequence[str], how: str, column: str, name: str) -> None:
    """Refuse 24:00 in the place of 0:00; as everywhere it ends the day."""
    cell = next((cell for cell in cells if "24" in cell[8:]), None) if moments_of(cells) is None else None
    if how and cell is not None and begin_days_at_24(pd.Series([text.strip() for text in cells], dtype="str"), how):
        raise DataError(
            f"A day must end at 24:00. Received: {cell.strip()!r} in column {column!r}, behind the day before ({name}). Write "
            "00:00 where a day begins."
        )


def show_few_days(cells: Sequence[str]) -> bool:
    """Tell times that look like ISO 8601, of a day or two that may be months: more of them tell which they are."""
    dates = {cell.strip()[:10] for cell in cells}
    return (
        0 < len(dates) <= _FEW_DAYS
        and _SWAPPED.fullmatch(cells[0].strip()) is not None
        and all(date[8:10].isdecimal() and int(date[8:10]) <= _MONTHS for date in dates)
    )


def _are_plainly_iso(cells: Sequence[str]) -> bool:
    """Tell plain times that come no more evenly with day and month the other way round."""
    found, wide = moments_of(cells), bytes_of(cells)
    if found is None or wide is None:
        return False
    others = plain_moments(with_days_for_months(wide))
    return others is None or evenest_of({"iso": found[1].astype(float), "swapped": others.astype(float)}) != "swapped"


def _order(how: str) -> list[str]:
    """Return the parts of a date in their order, where all are numbers; empty where a month has its name."""
    parts = re.findall("%([dmYybB])", how)
    return [] if {"b", "B"} & set(parts) or len(parts) < 3 else [part.lower() for part in parts]


def _two_readings(formats: list[str], cells: Sequence[str], column: str, name: str) -> DataError:
    one, other = (moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how) for how in formats[:2])
    row = int(np.argmax(one.to_numpy() != other.to_numpy()))
    cell, readings = cells[row], [f"{times[row]:%Y-%m-%d}" for times in (one, other)]
    return DataError(
        f"Times must have one meaning. Received: {cell.strip()} in column {column!r}, which is {readings[0]} or {readings[1]} "
        f'({name}). Say --time-format "{formats[0]}" or --time-format "{formats[1]}".'
    )


def are_iso(cells: Sequence[str]) -> bool:
    """Tell whether all cells are times of ISO 8601 and none is a number."""
    if not len(cells) or not _ISO.fullmatch(cells[0].strip()):
        return False
    if moments_of(cells) is not None:
        return True
    texts = [cell.strip() for cell in cells]
    if not all(_ISO.fullmatch(text) for text in texts):
        return False
    return bool(moments_by(pd.Series(texts, dtype="str"), "ISO8601").notna().all())


def are_epochs(cells: Sequence[str]) -> bool:
    """Tell whether all cells are numbers since 1970 of the years 1990 to 2100, in one unit."""
    numbers = numbers_of(cells)
    return numbers is not None and len(numbers) > 0 and are_since_1970(numbers)


def are_since_1970(numbers: Floats) -> bool:
    """Tell whether numbers are times of the years 1990 to 2100, in one unit."""
    return any(bool(((numbers >= _FIRST_SECOND * unit) & (numbers < _LAST_SECOND * unit)).all()) for unit in _UNITS)


def _count_from_zero(numbers: Floats) -> bool:
    """Tell times of no date: they begin at 0, or few steps behind it."""
    steps = np.diff(np.unique(numbers))
    return bool(len(steps) and abs(numbers.min()) <= _MOST_STEPS * np.median(steps) and not _are_days(numbers, _MOST_STEPS))


def refuse_other_unit(cells: Sequence[str], column: str, unit: str, name: str) -> None:
    """Refuse counts from 0 that are not of seconds: a column says another unit, or they are hours and minutes of a day.

    Args:
        cells: of the column of times.
        column: its name.
        unit: what a line of units has for it; empty without one.
        name: of the input, for messages.

    Raises:
        DataError: if they are.
    """
    numbers = numbers_of(cells)
    if numbers is None or are_since_1970(numbers) or not _count_from_zero(numbers):
        return
    said = _OTHER_UNIT.search(f" {unit.strip('[]() ')}" if unit.strip() else column)
    if said is not None:
        raise DataError(
            f"Times that count from 0 must be seconds. Received: {cells[0].strip()} in column {column!r}, in {said[1]} ({name}). "
            "Write seconds, count rows with --time-column none, or say --time-format epoch to take them for seconds."
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


def are_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells are days of a spreadsheet."""
    numbers = numbers_of(cells)
    inside = numbers is not None and len(numbers) > 1 and numbers.min() >= _EXCEL_DAYS[0] and numbers.max() <= _EXCEL_DAYS[1]
    return bool(inside and numbers is not None and _are_days(numbers))


def are_whole_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells may be days of a spreadsheet without a time of day."""
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) < 2 or numbers.min() < _EXCEL_DAYS[0] or numbers.max() > _EXCEL_DAYS[1]:
        return False
    return bool((numbers == np.rint(numbers)).all() and np.abs(np.diff(np.sort(numbers))).max() <= _MOST_DAYS)


def _are_days(numbers: Floats, least: float = 0) -> bool:
    """Tell days by their fractions: whole seconds of a day, as far as six decimals show them."""
    seconds = numbers * _DAY_S
    fractions = numbers != np.rint(numbers)
    exact = len(numbers) > 1 and (np.abs(seconds - np.rint(seconds)) < 0.1).all()
    return bool(fractions.any() and exact and numbers.min() >= least)


def is_number(text: str) -> bool:
    """Tell what Python reads as a number, infinite ones and NaN among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def told_days(cell: str) -> str:
    """Say which day a number of days of a spreadsheet is, counted from either of two days."""
    days = float(cell.replace(",", "."))
    told = f"Times such as {cell.strip()} are days of a spreadsheet, here {_as_excel(days)}"
    if pd.Timestamp(_as_excel(days + _DAYS_TO_1904)) > pd.Timestamp.now():
        return f"{told}."
    return f"{told}; --time-format excel-1904 reads those of a workbook that counts from 1904, {_as_excel(days + _DAYS_TO_1904)}."


def _as_excel(days: float) -> str:
    return _date(lambda: pd.Timestamp("1899-12-30") + pd.Timedelta(days=float(days)), "%Y-%m-%d")


def _as_epoch(number: float) -> str:
    scale = next((10.0**digits for digits in (0, 3, 6, 9) if abs(number) < 10.0 ** (digits + 11)), None)
    return "no date" if scale is None else _date(lambda: pd.Timestamp(float(number) / scale, unit="s"), "%Y-%m-%d %H:%M:%S")


def _date(made: Callable[[], pd.Timestamp], pattern: str) -> str:
    """Return a date as text; numbers may lie beyond all dates that there are."""
    try:
        return made().strftime(pattern)
    except (OverflowError, ValueError, NotImplementedError):  # pandas' own errors of bounds are ValueErrors
        return "no date"
