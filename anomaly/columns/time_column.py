"""Which column is the time, from the names of columns and some of their cells."""

import re
from collections.abc import Mapping, Sequence
from shlex import quote

import numpy as np

from anomaly.columns.column_names import TIME_LIKE, TIME_NAMES, is_counter_name
from anomaly.columns.other_clocks import is_utc_name, other_clocks
from anomaly.columns.unnamed_times import FEWEST_RISING, LEAST_DIFFERENT, MOST_BACK, MOSTLY_EVEN, tell_times
from anomaly.errors import DataError, shorten
from anomaly.times.column import different, numbers_of
from anomaly.times.epochs import are_epochs, are_rising, are_since_1970
from anomaly.times.spreadsheet_days import are_days, are_whole_days
from anomaly.times.time_parts import bare_name, is_moving_date, is_year_name
from anomaly.times.written import are_months_of_years, even_share, spelled_formats

Cells = Mapping[str, Sequence[str]]
_FINE_FRACTION = re.compile(r"[.,]\d{4,}\s*$")


def time_column_of(cells: Cells, name: str) -> str | None:
    """Return which column is the time; None if rows are to be counted.

    Args:
        cells: by column, in the order of the file, some of its cells that are not empty.
        name: of the input, for messages.

    Raises:
        DataError: if two columns may be, or one is called so and cannot be it.
    """
    named = [column for column in cells if bare_name(column) in TIME_NAMES]
    clocks = [column for column in named if goes_on(cells[column])]
    if clocks:
        return next((column for column in clocks if is_moving_date(cells[column])), clocks[0])
    found = _time_by_cells({column: own for column, own in cells.items() if column not in named}, name)
    found = found or next((column for column in named if _lies_evenly(cells[column])), None)
    if named and found is None:
        raise DataError(
            f"Times must go forward, or be dates. Received: {shorten(list(cells[named[0]][:3]))} in column {named[0]!r} ({name}). "
            f"Say --time-column with another one; or --time-column none to count rows, and it is a feature."
        )
    return found


def goes_on(cells: Sequence[str]) -> bool:
    """Tell what is called a time and may be one: texts, numbers that are dates, and such as rarely go back, or rarely forward."""
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) < FEWEST_RISING or are_since_1970(numbers) or are_times(cells):
        return True
    back = float((np.diff(numbers) < 0).mean())
    return min(back, 1 - back) <= MOST_BACK


def _lies_evenly(cells: Sequence[str]) -> bool:
    """Tell numbers that would come evenly if they were sorted."""
    numbers = numbers_of(cells)
    return numbers is not None and even_share(numbers) > MOSTLY_EVEN and len(set(cells)) > len(cells) / 2


def _time_by_cells(cells: Cells, name: str) -> str | None:
    """Return which column is the time where none is called so; None if rows are to be counted."""
    iso = [column for column, found in cells.items() if is_moving_date(found)]
    if iso:
        return iso[0] if iso[0] == next(iter(cells)) or _go_together(cells, iso, name) else only(iso, name)
    like = [column for column, found in cells.items() if TIME_LIKE.fullmatch(column.strip().lower()) and are_times(found)]
    if like:
        return only(like, name)
    months = [column for column, found in cells.items() if are_months_of_years(found)]
    if months:
        return only(months, name)
    first = first_that_changes(cells)
    if first is not None and are_rising(cells[first]) and _may_be_unnamed_time(first, cells[first]):
        return first
    if anywhere := {column: len(different(own)) for column, own in cells.items() if tell_times(column, own)}:
        return only([column for column, n in anywhere.items() if n == max(anywhere.values())], name)
    return next((column for column, found in cells.items() if is_year_name(column) and _are_years(found)), None)


def first_that_changes(cells: Cells) -> str | None:
    """Return the first column that holds more than one text; the name of a station says nothing."""
    return next((column for column, own in cells.items() if len(different(own)) > 1), None)


def _go_together(cells: Cells, times: Sequence[str], name: str) -> bool:
    """Tell columns of times that tell the same moments by several clocks, a cell a row each."""
    first, *rest = times
    if any(len(cells[column]) != len(cells[first]) for column in rest):
        return False
    return len(other_clocks({column: cells[column] for column in rest}, cells[first], first, frozenset(), name)) == len(rest)


def _may_be_unnamed_time(column: str, cells: Sequence[str]) -> bool:
    """Tell a first column that is the time though it is not called so: dates in digits, and numbers that come evenly.

    A meter, a counter of bytes and a height rise as well, through numbers that are seconds since 1970 or days of a spreadsheet.
    """
    if spelled_formats(cells):
        return True
    numbers = numbers_of(cells)
    bare = is_counter_name(column) or not any(c.isalpha() for c in column)
    even = numbers is not None and even_share(numbers) > MOSTLY_EVEN
    fine = even and any(map(_FINE_FRACTION.search, cells))  # most hours of a day have more than three decimals
    return (are_epochs(cells) and (bare or even)) or (are_days(cells) and (bare or fine))


def _are_years(cells: Sequence[str]) -> bool:
    """Tell years that differ on each row."""
    return len(set(cells)) == len(cells) > 1 and all(re.fullmatch(r"\s*(?:1[6-9]|2[01])\d\d\s*", cell) for cell in cells)


def are_times(cells: Sequence[str]) -> bool:
    """Tell whether numbers look like times: since 1970, digits that spell dates, or days of a spreadsheet."""
    kinds = (are_epochs, are_days, are_whole_days)
    found = bool(len(cells)) and (bool(spelled_formats(cells)) or any(kind(cells) for kind in kinds))
    return found and len(set(cells)) >= LEAST_DIFFERENT * len(cells)


def only(found: list[str], name: str) -> str | None:
    """Return the only column of times; None if there is none.

    Raises:
        DataError: if there are several.
    """
    if len(found) > 1:
        found = sorted(found, key=is_utc_name, reverse=True)
        raise DataError(
            f"One column must be the time. Received: times in {shorten(found)} ({name}). "
            f"Choose with --time-column {quote(found[0])}, and leave the others out with --ignore-columns."
        )
    return found[0] if found else None
