"""Numbers of days since 1899-12-30, as Excel and LibreOffice export them, told by steps of whole seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from anomaly.quick_start import pd
from anomaly.series import Floats
from anomaly.times.clock_shifts import latest_now
from anomaly.times.column import numbers_of

_DAYS_TO_1904 = 1_462
# Days of 1954 to 2119; as seconds since 1970 they would all lie on its first day. Those of 1980 to 2050 are likely.
EXCEL_DAYS, LIKELY_DAYS = (20_000, 80_000), (29_221, 54_789)
# Whole days lie no further apart; seconds do.
_MOST_DAYS = 31
_DAY_S, _DAYS_TO_1970, _NOON = 86_400, 25_569, 0.5


def are_half_days(numbers: Floats) -> bool:
    """Tell middles of days, as programs write them that count from another year; and days that are to come."""
    fractions = np.unique(numbers - np.floor(numbers))
    to_come = float(numbers.max() - _DAYS_TO_1970) * _DAY_S > latest_now()
    return to_come or (len(fractions) == 1 and bool(fractions[0] == _NOON))


def are_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells are days of a spreadsheet."""
    numbers = numbers_of(cells)
    inside = numbers is not None and len(numbers) > 1 and numbers.min() >= EXCEL_DAYS[0] and numbers.max() <= EXCEL_DAYS[1]
    return bool(inside and numbers is not None and show_seconds_of_days(numbers))


def are_whole_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells may be days of a spreadsheet without a time of day."""
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) < 2 or numbers.min() < EXCEL_DAYS[0] or numbers.max() > EXCEL_DAYS[1]:
        return False
    return bool((numbers == np.rint(numbers)).all() and np.abs(np.diff(np.sort(numbers))).max() <= _MOST_DAYS)


def show_seconds_of_days(numbers: Floats, least: float = 0) -> bool:
    """Tell days by their fractions: whole seconds of a day, as far as six decimals show them."""
    seconds = numbers * _DAY_S
    fractions = numbers != np.rint(numbers)
    exact = len(numbers) > 1 and (np.abs(seconds - np.rint(seconds)) < 0.1).all()
    return bool(fractions.any() and exact and numbers.min() >= least)


def told_days(cell: str) -> str:
    """Say which day a number of days of a spreadsheet is, counted from either of two days."""
    days = float(cell.replace(",", "."))
    told = f"Times such as {cell.strip()} are days of a spreadsheet, here {as_excel(days)}"
    if pd.Timestamp(as_excel(days + _DAYS_TO_1904)) > pd.Timestamp.now():
        return f"{told}."
    return f"{told}; --time-format excel-1904 reads those of a workbook that counts from 1904, {as_excel(days + _DAYS_TO_1904)}."


def as_excel(days: float) -> str:
    """Return the date of a number of days of a spreadsheet, as text."""
    return date_text(lambda: pd.Timestamp("1899-12-30") + pd.Timedelta(days=float(days)), "%Y-%m-%d")


def date_text(made: Callable[[], pd.Timestamp], pattern: str) -> str:
    """Return a date as text; numbers may lie beyond all dates that there are."""
    try:
        return made().strftime(pattern)
    except (OverflowError, ValueError, NotImplementedError):  # pandas' own errors of bounds are ValueErrors
        return "no date"
