"""What the times of all rows say: that clocks are shifted, that years are of another calendar, or that times are to come."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import product

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Ints, format_time

_HOUR = 3_600 * 10**6
_SUNDAY = 6
# When clocks go back and forward in Europe, in North America, and in Australia and New Zealand: month, and which Sunday (-1
# the last); and the hours of it that may be repeated or left out.
_BACK = ((10, -1), (11, 0), (4, 0))
_FORWARD = ((3, -1), (3, 1), (10, 0), (9, -1), (9, 0))
_HOURS = (0, 1, 2, 3)
# What years other calendars have now; and by how many seconds a clock may be ahead.
_OTHER_CALENDARS, _YEAR_US = ((1300, 1500), (2300, 2900)), 31_556_952 * 10**6
_MOST_AHEAD = 2 * 86_400
# Of the hours that have rows so many are followed by the next one, where rows come at least once an hour.
_MOSTLY_HOURLY = 0.75


class RowsByHour:
    """How many rows each hour has, whatever pieces they arrive in: it tells whether clocks are shifted."""

    def __init__(self) -> None:
        self._rows: Counter[int] = Counter()

    def take(self, times: Ints) -> None:
        """Take further rows, `(n,)` microseconds since 1970, read as UTC, in any order."""
        hours = times // _HOUR
        begins = np.flatnonzero(np.diff(hours, prepend=hours[:1] - 1))  # rows come mostly in order
        counts = np.diff(begins, append=len(hours))
        for hour, count in zip(hours[begins].tolist(), counts.tolist(), strict=True):
            self._rows[hour] += count

    def shifted_clock(self) -> str | None:
        """Say that the times look like those of shifted clocks; None if they do not."""
        hours = np.array(sorted(self._rows), np.int64)
        if len(hours) < 2 or (np.diff(hours) == 1).mean() < _MOSTLY_HOURLY:
            return None
        first, last = (hours[[0, -1]] * _HOUR).astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64).tolist()
        first, last = first + 1970, last + 1970  # years that datetime may not know
        if last - first > 50 or not 1970 <= first <= last <= 2100:
            return None
        for year, (shifts, often) in product(range(first, last + 1), ((_BACK, "twice"), (_FORWARD, "never"))):
            for (month, sunday), hour in product(shifts, _HOURS):
                begin = int(_sunday(year, month, sunday).timestamp()) * 10**6 // _HOUR + hour
                before, within, behind = (self._rows[begin + n] for n in (-1, 0, 1))
                if before == behind > 0 and within == (2 * before if often == "twice" else 0):
                    return _says_shifted(begin * _HOUR, twice=often == "twice")
        return None


def _says_shifted(begin: int, *, twice: bool) -> str:
    which = ", with --dst order where the rows of the hour stand in the order in which they came" if twice else ""
    comes = "comes twice" if twice else "never comes"
    return (
        f"The hour from {format_time(begin, 'time')[:-1]} {comes}, as where clocks are shifted: "
        f"if these are local times, say --tz with their zone{which}."
    )


class RepeatedHour:
    """Whether rows of an hour that comes twice are of its second time: those behind one step back by the shift of the clocks."""

    def __init__(self) -> None:
        self._last: int | None = None  # the last row of such an hour
        self._second = False

    def is_second(self, wall: int, shift: int, before: Sequence[int]) -> bool:
        """Tell it of the next row of such an hour.

        Args:
            wall: its local time, microseconds.
            shift: by how much the clocks went back, microseconds.
            before: the local times of the last two rows before it, or of one, or none.
        """
        if not before or before[-1] != self._last or abs(wall - before[-1]) >= shift:  # a row of another time lies between
            self._second = False
        elif (back := before[-1] - wall) >= 0:
            step = before[-1] - before[0]
            self._second = self._second or back > shift / 2 or back == shift - step
        self._last = wall
        return self._second


@lru_cache(maxsize=1024)
def _sunday(year: int, month: int, which: int) -> datetime:
    """Return a Sunday of a month, from 0, or -1 for the last."""
    day = datetime(year, month, 1, tzinfo=UTC)
    sundays = [found for n in range(31) if (found := day + timedelta(days=n)).weekday() == _SUNDAY and found.month == month]
    return sundays[which]


def refuse_other_calendars(times: Ints, cells: Sequence[str], column: str, name: str) -> None:
    """Refuse times of years that another calendar has now: 1403 in Iran, 1446 by the moon, 2567 in Thailand.

    Args:
        times: `(n,)` microseconds since 1970, of the first rows.
        cells: the same as text.
        column: its name, for messages.
        name: of the input, for messages.

    Raises:
        DataError: if all times are of such years.
    """
    if not len(times):
        return
    years = 1970 + np.array([times.min(), times.max()]) / _YEAR_US
    if any(first <= years[0] and years[1] < last for first, last in _OTHER_CALENDARS):
        raise DataError(
            f"Times must be of the Gregorian calendar. Received: {cells[0].strip()} in column {column!r}, which has a year of "
            f"another calendar ({name}). Write the times in the Gregorian calendar."
        )


def latest_now() -> float:
    """Return the seconds since 1970 beyond which a time is to come, however far a clock is ahead."""
    return datetime.now(UTC).timestamp() + _MOST_AHEAD


def times_to_come(latest: int) -> str | None:
    """Say that times lie in the future, as those do that count from another year; None if they do not.

    Args:
        latest: of them, microseconds since 1970.
    """
    if latest < latest_now() * 1e6:
        return None
    return (
        f"The latest time is to come, {format_time(latest, 'time')}: if times do not count from 1970, say --time-format, or write "
        "ISO 8601."
    )
