"""Columns that are the time by their cells alone, wherever they stand and whatever they are called: digits of dates, and epochs.

A counter, a meter and a number of an order rise through such numbers as well. Digits that are a day of a calendar in all of many
cells, in order, are none of these; numbers since 1970 are none where they come evenly, or have so many digits and are not to come.
"""

import re
from collections.abc import Mapping, Sequence
from shlex import quote

import numpy as np

from anomaly.columns.column_names import is_meter_name, is_number_name
from anomaly.errors import DataError
from anomaly.series import Floats
from anomaly.times.clock_shifts import latest_now
from anomaly.times.column import different, numbers_of
from anomaly.times.epochs import are_since_1970
from anomaly.times.spreadsheet_days import are_days
from anomaly.times.written import COMPACT, even_share, microseconds_by, spelled_formats

# Of fewer numbers nobody can tell whether they rise.
FEWEST_RISING = 10
# Numbers that come evenly have so many equal steps, as a share; those in order rarely go back.
MOSTLY_EVEN, MOST_BACK = 0.6, 0.1
# So many of the times differ, as a share; several series have each of them in common.
LEAST_DIFFERENT = 0.1
# Most hours of a day have more than three decimals.
_FINE_FRACTION = re.compile(r"[.,]\d{4,}\s*$")
# A date from its year on. A year and a month, and a year and a day of it, are also numbers of a year, as 2023007 is the seventh.
_SPELLED, _FEWEST_DIGITS = re.compile(r"\s*((?:19|20)\d{4,15})(?:\.0+)?\s*"), 8
# Numbers since 2000 in milliseconds and finer units; a meter in such numbers is rare. And a year, for clocks that are ahead.
_SECONDS_TO_2000, _FINER_UNITS, _YEAR_S = 946_684_800, (1e3, 1e6, 1e9), 31_556_952


def tell_times(column: str, cells: Sequence[str]) -> bool:
    """Tell a column that is the time by its cells, if no other one is.

    Args:
        column: its name, which may say that it is a meter or a number of something.
        cells: some of them, in the order of the file, those that are not empty.
    """
    if _spell_dates_in_order(cells):
        return True
    numbers = numbers_of(cells)
    if numbers is None or not _is_in_order(numbers) or is_meter_name(column) or is_number_name(column):
        return False
    even = even_share(numbers) > MOSTLY_EVEN
    if are_since_1970(numbers):
        return even or any(_are_past(numbers / unit) for unit in _FINER_UNITS)
    return even and are_days(cells) and any(map(_FINE_FRACTION.search, cells))


def refuse_unnamed_times(cells: Mapping[str, Sequence[str]], name: str) -> None:
    """Refuse features that may be the time by their cells, where no column is the time.

    Args:
        cells: by column some of its cells.
        name: of the input, for messages.

    Raises:
        DataError: with the options that choose.
    """
    for column, own in cells.items():
        if len(cells) < 2 or not _may_be_times(column, own):
            continue
        raise DataError(
            f"What looks like times must be said to be the time or not. Received: {own[0].strip()!r} in column {column!r}, and no "
            f"other column of times ({name}). Say --time-column {quote(column)} if it is the time, --ignore-columns "
            f"{quote(column)} to count rows, or --value-columns with all features if it is one."
        )


def _may_be_times(column: str, cells: Sequence[str]) -> bool:
    numbers = numbers_of(cells)
    if numbers is None or len(different(cells)) < FEWEST_RISING:
        return False
    if spelled := _SPELLED.fullmatch(cells[0]):
        ordered = len(spelled[1]) >= _FEWEST_DIGITS or _is_in_order(numbers)
        return ordered and bool(spelled_formats(cells))
    epochs = _is_in_order(numbers) and not is_meter_name(column) and not is_number_name(column)
    return epochs and any(_are_past(numbers / unit) for unit in (1, *_FINER_UNITS))


def _spell_dates_in_order(cells: Sequence[str]) -> bool:
    """Tell digits that spell dates from the year on, forward or back; short ones only where they come more evenly as dates."""
    spelled = _SPELLED.fullmatch(cells[0]) if len(cells) >= FEWEST_RISING else None
    numbers = None if spelled is None else numbers_of(cells)
    if spelled is None or numbers is None or not _is_in_order(numbers):
        return False
    if len(formats := spelled_formats(cells)) != 1:
        return False
    if len(spelled[1]) >= _FEWEST_DIGITS and "%j" not in formats[0]:
        return True
    months = numbers // 100 * 12 + numbers % 100
    return even_share(months if formats[0].split(".")[0] == COMPACT[6] else microseconds_by(cells, formats[0])) > even_share(
        numbers
    )


def _is_in_order(numbers: Floats) -> bool:
    """Tell numbers many of which differ, and that rarely go back, or rarely forward."""
    steps, n_different = np.diff(numbers), len(np.unique(numbers))
    back = min(float((steps < 0).mean()), float((steps > 0).mean())) if len(steps) else 1.0
    return n_different >= max(FEWEST_RISING, LEAST_DIFFERENT * len(numbers)) and back <= MOST_BACK


def _are_past(seconds: Floats) -> bool:
    """Tell seconds since 1970 of the years from 2000 on that are not to come."""
    return bool(seconds.min() >= _SECONDS_TO_2000 and seconds.max() <= latest_now() + _YEAR_S)
