"""Columns that look like times which nobody can read, refused where no other column is the time."""

import re
from collections.abc import Sequence
from shlex import quote

import numpy as np

from anomaly.columns.column_names import is_called_like_times, is_meter_name
from anomaly.columns.counters import FEWEST_STEPS
from anomaly.columns.time_column import Cells, first_that_changes
from anomaly.columns.unnamed_times import FEWEST_RISING, refuse_unnamed_times
from anomaly.errors import DataError
from anomaly.times.column import numbers_of
from anomaly.times.moments import is_number
from anomaly.times.periods import OTHER_PERIODS
from anomaly.times.time_parts import is_year_name, refuse_parts_without_a_year
from anomaly.times.written import may_have_format

# Called so, numbers that rise or texts are times that count from somewhere else, or in weeks, months, quarters or years.
_PERIODS = re.compile(
    r"gps.*(?:week|sec|time|tow).*|tow|sow|itow|jd|mjd|julian.*|.*datenum.*|elapsed.*|secs?|seconds?|millis|micros|ticks?|(?:.*[^a-z])?(?:year|week|month|quarter|day|period|jahr|monat|woche|quartal)s?(?:[^a-z].*)?|"
    r"year(?:week|month|quarter)|yyyy.*"
)
# So many cells of a column are looked into for times that cannot be read, and so many of them differ, as a share.
_MOST_LOOKED_INTO, _MOST_DIFFERENT = 50, 0.9
# A number in any marks; and one with a currency before it or a unit behind.
_MEASURED = re.compile(r"\s*[+-]?[\d.,'\u2019\s\u00a0\u202f]+(?:[eE][+-]?\d+)?\s*%?\s*")
_WITH_UNIT = re.compile(r"\D*[\d.,'\u2019\s\u00a0\u202f]+(?:[eEdD][+-]?\d+)?\D*")


def refuse_unread_times(cells: Cells, clocks: Sequence[str], name: str) -> None:
    """Refuse columns that look like times which nobody can read, where no other column is the time.

    Args:
        cells: by column some of its cells, of what would be a feature, or a clock that says nothing.
        clocks: columns that go evenly, and are left out as clocks: nothing is lost with them.
        name: of the input, for messages.

    Raises:
        DataError: with the options that choose.
    """
    refuse_parts_without_a_year(cells, name)
    refuse_unnamed_times(cells, name)
    _refuse_years_with_others(cells, name)
    _refuse_rising_first(cells, clocks, name)
    for column, own in cells.items():
        few = own[:_MOST_LOOKED_INTO]
        called = is_called_like_times(column) or bool(_PERIODS.fullmatch(column.strip().lower()))
        known = _MEASURED if called else _WITH_UNIT
        texts = len(few) >= FEWEST_RISING and not any(known.fullmatch(cell) or is_number(cell) for cell in few)
        texts &= all(any(c.isdecimal() for c in cell) for cell in few)
        numbers = called and column not in clocks and len(own) >= FEWEST_RISING and (rises(own) or is_year_name(column))
        if numbers or (texts and len(set(few)) >= (2 if called else _MOST_DIFFERENT * len(few))):
            raise DataError(
                f"The time must be of a kind that is known. Received: {own[0]!r} in column {column!r}, and no other column of "
                f"times ({name}). {_readable(column, own[0], texts=texts)} "
                f"--ignore-columns {quote(column)} to count rows."
            )


def _readable(column: str, cell: str, *, texts: bool) -> str:
    """Say what would let times be read that nobody can read, where there is such a thing."""
    if texts and not may_have_format(cell):
        return "Write the first moment of each row, or say"
    return f"Say --time-column {quote(column)}{', with a --time-format' * texts} if it is the time, or"


def _refuse_years_with_others(cells: Cells, name: str) -> None:
    """Refuse a year beside a quarter, a week or another part of it, which are no month."""
    year = next((column for column, own in cells.items() if is_year_name(column) and numbers_of(own) is not None), None)
    part = next((column for column in cells if OTHER_PERIODS.search(column.lower())), None)
    if year is not None and part is not None and len(set(cells[year])) < len(cells[year]):
        raise DataError(
            f"The time must be of a kind that is known. Received: {year!r} and {part!r} ({name}). Write the first day of each in "
            f"one column, or say --ignore-columns {quote(f'{year},{part}')} to count rows."
        )


def _refuse_rising_first(cells: Cells, clocks: Sequence[str], name: str) -> None:
    """Refuse a first column that rises on each row: it is a clock that somebody named otherwise, unless it is a meter."""
    first = first_that_changes(cells)
    numbers = None if first is None or first in clocks or len(cells) < 2 else numbers_of(cells[first])
    if numbers is None or len(numbers) < FEWEST_STEPS or (np.diff(numbers) <= 0).any():
        return
    steps, whole = np.diff(numbers), bool((numbers == np.rint(numbers)).all())
    if whole and (is_meter_name(str(first)) or np.ptp(steps) > steps.mean()):
        return
    raise DataError(
        f"The time must be of a kind that is known. Received: {first!r}, which rises on each row, and no column of times ({name}). "
        f"Say --time-column {quote(str(first))} --time-format epoch if it counts seconds, --ignore-columns {quote(str(first))} to "
        "count rows, or --value-columns with all features if it is one."
    )


def rises(cells: Sequence[str]) -> bool:
    """Tell numbers that rise, or stay, and do not all stay."""
    numbers = numbers_of(cells)
    return numbers is not None and bool((np.diff(numbers) >= 0).all() and numbers[0] < numbers[-1])
