"""Columns that say again what the time says: its hour, its weekday, its year with a fraction; and those that say nothing at all."""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.series import Floats, Ints
from anomaly.times.column import numbers_of

Cells = Mapping[str, Sequence[str]]

_DAY, _HOUR, _YEAR = 86_400, 3_600, 31_556_952
_FEWEST_ROWS = 20
# So far the year with its fraction may be off, as where it is that of the middle of a month.
_MOST_OFF = 0.1
# What is not called so may go in step with the day all the same, as a level does that is filled by the clock.
_CALLED = re.compile(
    r"(?i)(?:.*[^a-z])?(?:hours?|hod|months?|days?|dom|dow|doy|weekdays?|week_?day|day_?of_?(?:week|month|year)|weeks?|quarters?|years?|"
    r"weekends?|is_?weekend|workdays?|working_?days?|business_?days?|minutes?|stunde|monat|tag|wochentag|wochenende|jahr)(?:[^a-z].*)?"
)
# Numbers that tell one thing from all others, or are the fraction of a second in nanoseconds, say nothing of what is measured.
_KEYS = re.compile(
    r"(?i)(?:.*[^a-z])?(?:crc(?:8|16|32)?|checksum|hash|md5|sha\d*|uuid|guid)(?:[ _-]?(?:id|key|code|value|hex))?(?: ?[\[(].*)?"
)
# How far the clocks are from UTC, and whether it is summer for them; called so, and shifted no more often than they are.
_CALLED_OFFSET = re.compile(
    r"(?:(?:utc|gmt|zone|dst)[ _-]?(?:offset|shift|bias)|(?:tz|time[ _-]?zone)[ _-]?(?:offset|shift|bias)?|"
    r"offset[ _-]?(?:utc|gmt|from[ _-]utc))"
    r"(?:[ _-]?(?:s|secs?|seconds|mins?|minutes|h|hours))?(?: ?[\[(].*)?"
)
_CALLED_SUMMER = re.compile(
    r"(?:is[ _-]?)?(?:dst(?:[ _-]?flag)?|daylight(?:[ _-]?savings?)?(?:[ _-]?time)?|summer[ _-]?time|sommerzeit|zomertijd)"
)
_MOST_SHIFTS, _FARTHEST_HOURS, _NO_AND_YES = 2, 14, frozenset(("0", "1", "false", "true", "0.0", "1.0"))
_NANOSECONDS, _NEARLY_A_SECOND = re.compile(r"(?i)ns|nsecs?|nanos(?:econds?)?"), 5e8


def is_calendar_name(column: str) -> bool:
    """Tell whether a column is called as a part of the time is: Month, day of week."""
    return bool(_CALLED.fullmatch(column.strip()))


def calendar_columns(cells: Cells, clock: Floats | None) -> list[str]:
    """Return the columns that hold a part of the time of each row.

    Args:
        cells: by column, one cell a row where none is missing.
        clock: times of the rows, seconds since 1970; None if not each row has one.
    """
    if clock is None or len(clock) < _FEWEST_ROWS:
        return []
    parts: list[tuple[Ints, int]] = []
    found = []
    for column, own in cells.items():
        few = numbers_of(own[:_FEWEST_ROWS]) if len(own) == len(clock) else None
        if few is None:
            continue
        if not (few == np.rint(few)).all():
            if _are_years(few, clock[:_FEWEST_ROWS]) and _are_years(numbers_of(own), clock):
                found.append(column)
            continue
        if not is_calendar_name(column):
            continue
        parts = parts or _parts_of(clock)
        numbers = numbers_of(own)
        if numbers is not None and any(_is(numbers, part, period) for part, period in parts):
            found.append(column)
    return found


def _are_years(numbers: Floats | None, clock: Floats) -> bool:
    """Tell the years of times, with their fractions."""
    return numbers is not None and bool((np.abs(numbers - 1970 - clock / _YEAR) <= _MOST_OFF).all())


def _is(numbers: Floats, part: Ints, period: int) -> bool:
    """Tell whether numbers are a part of the time; with a period, also in another zone or counted from another day."""
    off = numbers - part
    return bool((off % period == off[0] % period).all()) if period else bool((off == 0).all())


def _parts_of(clock: Floats) -> list[tuple[Ints, int]]:
    """Return the parts that times have, each with the period after which it begins anew, if it may be counted from anywhere."""
    seconds = np.floor(clock).astype(np.int64)
    days = seconds // _DAY
    dates = days.astype("datetime64[D]")
    months, years = dates.astype("datetime64[M]"), dates.astype("datetime64[Y]")
    month = months.astype(np.int64) % 12 + 1
    weekday = (days + 3) % 7
    return [
        (seconds // _HOUR % 24, 24), (weekday, 7), (seconds % _DAY // 60, 0), (seconds // 60 % 60, 0), (month, 0),
        (days - months.astype("datetime64[D]").astype(np.int64) + 1, 0),
        (days - years.astype("datetime64[D]").astype(np.int64) + 1, 0),
        (years.astype(np.int64) + 1970, 0), ((month - 1) // 3 + 1, 0),
        ((weekday >= 5).astype(np.int64), 0), ((weekday < 5).astype(np.int64), 0),
    ]  # fmt: skip


def offsets_of(cells: Cells) -> list[str]:
    """Return the columns that say how far clocks are from UTC, in hours, minutes or seconds, or whether it is summer for them."""
    return [
        column
        for column, own in cells.items()
        if (_CALLED_OFFSET.fullmatch(column.strip().lower()) and _are_offsets(own))
        or (_CALLED_SUMMER.fullmatch(column.strip().lower()) and _are_no_and_yes(own))
    ]


def _are_offsets(cells: Sequence[str]) -> bool:
    numbers = numbers_of(cells)
    if numbers is None or not len(numbers) or not _are_steady(cells):
        return False
    quarters = ((numbers * 4, 4), (numbers / 15, 4), (numbers / 900, 4))
    return any(bool((own == np.rint(own)).all() and np.abs(own).max() <= _FARTHEST_HOURS * hour) for own, hour in quarters)


def _are_no_and_yes(cells: Sequence[str]) -> bool:
    return {cell.strip().lower() for cell in cells} <= _NO_AND_YES and _are_steady(cells)


def _are_steady(cells: Sequence[str]) -> bool:
    return len(cells) > 0 and sum(a != b for a, b in itertools.pairwise(cells)) <= _MOST_SHIFTS


def keys_of(cells: Cells) -> list[str]:
    """Return the columns that are called as check sums and keys, or fractions of a second in nanoseconds, and hold such numbers."""
    return [
        column
        for column, own in cells.items()
        if (_KEYS.fullmatch(column.strip()) and _are_whole(own))
        or (_NANOSECONDS.fullmatch(column.strip()) and _are_whole(own) and max(map(float, own)) > _NEARLY_A_SECOND)
    ]


def _are_whole(cells: Sequence[str]) -> bool:
    numbers = numbers_of(cells)
    return numbers is not None and len(set(cells)) > len(cells) / 2 and bool((numbers == np.rint(numbers)).all())
