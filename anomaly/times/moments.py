"""How the cells of a column are to be read as times: as ISO 8601, by a format, or as numbers that count from somewhere.

Digits of one length that all spell a date of 1900 to 2100 are that date: as numbers since 1970 they would lie a second apart
and jump at each midnight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from anomaly.errors import DataError
from anomaly.quick_start import pd
from anomaly.times.clock_shifts import latest_now
from anomaly.times.column import moments_of, numbers_of
from anomaly.times.day_and_month import only_format, refuse_swapped
from anomaly.times.epochs import format_of_numbers, goes_on_from_zero
from anomaly.times.periods import come_yearly, refuse_months_or_weeks, refuse_other_periods
from anomaly.times.written import (
    EPOCH,
    are_months_of_years,
    begin_days_at_24,
    moments_by,
    spelled_formats,
    written_formats,
)

_ISO = re.compile(r"\s*[+-]?\d{4}-\d{2}(?:-\d{2})?(?:[T ]\d{2}.*)?\s*|\s*\d{8}T\d{2,6}.*")
# 202401 is no month where the column names weeks.
_OF_WEEKS, _DIGITS_OF_WEEK = re.compile(r"week|woche|\bkw\b"), 6
_YEAR_NAMES, _DIGITS_OF_YEAR = ("year", "yr", "yyyy", "jahr", "annee", "année", "año", "anno"), 4
_HALF_A_CENTURY_S = 50 * 31_556_952
_YEAR_AND_MONTH = re.compile(r"\s*\d{4}-\d{2}\s*")


def format_of(
    cells: Sequence[str], column: str, name: str, before: str | None = None, *,
    of_year: bool | None = None, trained: bool = False, from_zero: bool = False,
) -> str | None:  # fmt: skip
    """Return how the times of a column are to be read; None where ISO 8601 or numbers since 1970 are, as ever.

    Args:
        cells: some of them, in the order of the file, those that are not empty.
        column: its name, for messages.
        name: of the input, for messages.
        before: how they were read in training: it decides where either order of day and month, or either unit, is possible.
        of_year: whether numbers in a row hold a day of the year instead of month and day; None where nobody knows.
        trained: whether a detector needs the times, and rows cannot be counted instead.
        from_zero: whether the times of the training counted from 0: these may go on from them.

    Returns:
        A format for `strptime`, or "excel", or "epoch" for numbers with a decimal comma.

    Raises:
        DataError: if they may be one or the other, or are read in another order of day and month than before.
    """
    numbers = numbers_of(cells)
    if numbers is None and are_iso(cells[:1]) and (are_iso(cells) or not written_formats(cells)):
        refuse_swapped(cells, column, name)
        _refuse_24_first(cells, "ISO8601", column, name)
        refuse_other_periods("%Y-%m" if all(map(_YEAR_AND_MONTH.fullmatch, cells)) else None, cells, column, name)
        return None
    if numbers is None:
        formats = written_formats(cells)
        _refuse_24_first(cells, formats[0] if formats else "", column, name)
        if of_year is not None:
            formats = [how for how in formats if how.startswith(("%Y ", "%y ")) and ("%j" in how) == of_year]
        how = only_format(formats, cells, column, name, before)
        refuse_other_periods(how, cells, column, name)
        return how
    if from_zero and goes_on_from_zero(numbers):
        return EPOCH  # whatever dates their digits spell
    if (column.strip().lower() in _YEAR_NAMES or come_yearly(cells)) and all(
        len(cell.strip()) == _DIGITS_OF_YEAR for cell in cells
    ):
        return "%Y"
    if are_months_of_years(cells):
        refuse_other_periods("%m.%Y", cells, column, name)
        return "%m.%Y"
    weeks = _OF_WEEKS.search(column.lower()) and len(cells[0].strip()) == _DIGITS_OF_WEEK
    if found := [] if weeks else spelled_formats(cells):
        refuse_months_or_weeks(found, cells, column, name, before)
        chosen = before if before in found else found[0]
        if len(found) > 1 and before not in found:
            raise DataError(
                f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is a time as {found[0]} and as "
                f"{found[1]} ({name}). Say --time-format {found[0]} or --time-format {found[1]}."
            )
        refuse_other_periods(chosen, cells, column, name)
        return chosen
    return format_of_numbers(cells, numbers, column, name, before, trained=trained)


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
    times = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how).dropna()
    if len(times) and times.max().timestamp() > latest_now() and times.min().timestamp() < latest_now() - _HALF_A_CENTURY_S:
        raise DataError(
            f"Years of two digits must be of one century. Received: {cells[0].strip()} in column {column!r}, which is "
            f"{times.iloc[0]:%Y} beside {times.min():%Y} ({name}). Write four digits."
        )


def _refuse_24_first(cells: Sequence[str], how: str, column: str, name: str) -> None:
    """Refuse 24:00 in the place of 0:00; as everywhere it ends the day."""
    cell = next((cell for cell in cells if "24" in cell[8:]), None) if moments_of(cells) is None else None
    if how and cell is not None and begin_days_at_24(pd.Series([text.strip() for text in cells], dtype="str"), how):
        raise DataError(
            f"A day must end at 24:00. Received: {cell.strip()!r} in column {column!r}, behind the day before ({name}). Write "
            "00:00 where a day begins."
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


def is_number(text: str) -> bool:
    """Tell what Python reads as a number, infinite ones and NaN among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True
