"""What the times of all rows say: that clocks are shifted, that years are of another calendar, or that times are to come."""

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


def shifted_clock(times: Ints) -> str | None:
    """Say that times look like those of shifted clocks; None if they do not.

    Args:
        times: `(n,)` microseconds since 1970, read as UTC, in the order of the file.
    """
    ordered = np.sort(times)
    if len(times) < 2 or np.median(np.diff(ordered)) > _HOUR:
        return None
    first, last = ordered[[0, -1]].astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64).tolist()
    first, last = first + 1970, last + 1970  # years that datetime may not know
    if last - first > 50 or not 1970 <= first <= last <= 2100:
        return None
    for year in range(first, last + 1):
        for shifts, often in ((_BACK, "twice"), (_FORWARD, "never")):
            for (month, sunday), hour in product(shifts, _HOURS):
                begin = int(_sunday(year, month, sunday).timestamp() * 1e6) + hour * _HOUR
                before, within, behind = (_n_within(ordered, begin + n * _HOUR) for n in (-1, 0, 1))
                usual = before == behind > 0
                if usual and within == (2 * before if often == "twice" else 0):
                    comes = "comes twice" if often == "twice" else "never comes"
                    return (
                        f"The hour from {format_time(begin, 'time')[:-1]} {comes}, as where clocks are shifted: "
                        "if these are local times, say --tz with their zone."
                    )
    return None


def _n_within(ordered: Ints, begin: int) -> int:
    first, behind = np.searchsorted(ordered, (begin, begin + _HOUR))
    return int(behind - first)


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


def times_to_come(times: Ints) -> str | None:
    """Say that times lie in the future, as those do that count from another year; None if they do not.

    Args:
        times: `(n,)` microseconds since 1970.
    """
    latest = int(times.max()) if len(times) else 0
    if latest < latest_now() * 1e6:
        return None
    return (
        f"The latest time is to come, {format_time(latest, 'time')}: if times do not count from 1970, say --time-format, or write "
        "ISO 8601."
    )
