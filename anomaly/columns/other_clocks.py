"""Columns that tell the time of each row by another clock: UTC or seconds since 1970 beside local times, an end beside a begin."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.series import Ints
from anomaly.times.column import Column, different
from anomaly.times.epochs import are_epochs
from anomaly.times.moments import format_of
from anomaly.times.time_parts import digits_of_day, is_date, is_moving_date, is_time_of_day, seconds_of_day
from anomaly.times.timestamps import A_TIME, TimeReader
from anomaly.times.written import written_formats
from anomaly.zones import zone_in

# What has UTC in its name, unless an offset stands behind it.
_UTC = re.compile(r"(?i)utc|gmt|zulu")
# Clocks of two zones are whole quarters of an hour apart, at most so many; local times may lack their seconds.
_QUARTER_US, _MOST_QUARTERS, _MOST_OFF_US = 900 * 10**6, 4 * 14, 60 * 10**6
# Where clocks are shifted it is one hour; of so few rows nobody can tell.
_SHIFT, _FEWEST_ROWS = 4, 3
_QUARTERS_OF_AN_HOUR = 4
# Times of day are always as far apart, or so many seconds more where clocks are shifted: an hour, or a day without one.
_DAY_US, _SHIFTED = 86_400 * 10**6, ((), (3_600,), (82_800,))


class OtherClock(NamedTuple):
    """A column that tells the time again: whether it is in UTC where the time is not, and how far the time is ahead of it."""

    absolute: bool
    quarters: tuple[int, ...]

    @property
    def said(self) -> str:
        """How far the time is ahead of it, in words."""
        hours = [quarters / _QUARTERS_OF_AN_HOUR for quarters in self.quarters]
        behind = max(hours) <= 0 > min(hours)
        found = sorted({abs(hour) for hour in hours} if behind else set(hours))
        unit = "hour" if found == [1] else "hours"
        return f"{' to '.join(f'{hour:g}' for hour in (found[0], *found[1:][-1:]))} {unit} {'behind' if behind else 'ahead of'} it"


def is_utc_name(column: str) -> bool:
    """Tell whether a column is called as times in UTC are."""
    return bool(_UTC.search(column)) and zone_in(column) is None


def other_clocks(
    cells: Mapping[str, Sequence[str]], times: Sequence[str], time: str, missing: frozenset[str], name: str,
    reading: ReadingConfig | None = None,
) -> dict[str, OtherClock]:  # fmt: skip
    """Return the columns that go with the time, the same number of whole quarters of an hour apart but for shifts of the clocks.

    Args:
        cells: by column one cell a row, none of them of the time.
        times: of the same rows.
        time: what they are called.
        missing: what stands for a missing value.
        name: of the input, for messages.
        reading: what was said of the time.
    """
    found: dict[str, OtherClock] = {}
    own = None
    for column, others in cells.items():
        rows = [row for row, cell in enumerate(others) if cell.strip() not in missing]
        known = Column(others[row] for row in rows)
        if len(rows) < _FEWEST_ROWS:
            continue
        if _is_part_of_another(column, known):
            own = own or _read(times, time, name, reading)
            if own is not None and _goes_with(own[0][rows], column, known):
                found[column] = OtherClock(False, (0,))
            continue
        if not (are_epochs(known) or is_moving_date(known)):
            continue
        own = own or _read(times, time, name, reading)
        other = _read(known, column, name)
        if own is None or other is None:
            continue
        if quarters := _quarters_apart(own[0][rows], other[0]):
            found[column] = OtherClock(other[1] and not own[1], quarters)
    return found


def _is_part_of_another(column: str, cells: Sequence[str]) -> bool:
    """Tell a date, or a time of day: what an interval ends with, or another clock shows."""
    return is_date(cells) or digits_of_day(column, cells) > 0 or (":" in cells[0] and all(map(is_time_of_day, cells)))


def _goes_with(times: Ints, column: str, cells: Sequence[str]) -> bool:
    """Tell dates of the same day or one beside it, and times of day that are always as far from the time, but for one shift."""
    n_digits = digits_of_day(column, cells)
    if len(different(cells)) == 1 and (n_digits or is_date(cells)):
        return False
    if is_date(cells):
        orders = [None, *(ReadingConfig(time_format=how) for how in written_formats(cells))]
        found = [others[0] for order in orders if (others := _read(cells, column, "", order)) is not None]
        return any(bool((np.abs(others // _DAY_US - times // _DAY_US) <= 1).all()) for others in found)
    of_day = [seconds_of_day(_with_colons(cell.strip().zfill(n_digits)) if n_digits else cell) for cell in cells]
    apart = np.unique((times // 10**6 - np.array(of_day, np.int64)) % (_DAY_US // 10**6))
    return tuple(np.diff(apart).tolist()) in _SHIFTED


def _with_colons(digits: str) -> str:
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def _quarters_apart(times: Ints, others: Ints) -> tuple[int, ...]:
    """Return by how many quarters of an hour times are ahead of others, sorted; nothing if they are not so."""
    apart = times - others
    quarters = np.rint(apart / _QUARTER_US).astype(np.int64)
    found = np.unique(quarters)
    together = np.ptp(found) <= _SHIFT and np.abs(found).max() <= _MOST_QUARTERS
    near = (np.abs(apart - quarters * _QUARTER_US) < _MOST_OFF_US).all()
    return tuple(found.tolist()) if together and near else ()


def _read(cells: Sequence[str], column: str, name: str, reading: ReadingConfig | None = None) -> tuple[Ints, bool] | None:
    """Return the times of cells, microseconds, and whether they are in UTC; None if nobody can tell what they say."""
    how = reading or ReadingConfig()
    try:
        clock = TimeReader(how, None if how.time_format else format_of(cells, column, name))
    except DataError:
        return None
    times, codes = clock.read_cells(cells)
    return (times, not clock.is_local or is_utc_name(column)) if (codes == A_TIME).all() else None
