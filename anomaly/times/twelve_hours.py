"""Times of day that count twelve hours and do not say which half of the day it is, as a format with hh or %I for HH or %H writes.

Read as they stand, one in the afternoon is one at night: behind 12:58 comes 1:00, and sorted the afternoons lie before the
mornings, or among them. No hour is 0 or above 12, and rows go back only from an hour of 12 to the next ones of the same day.
"""

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Ints, format_time
from anomaly.times.exchanged_days import wall_times

_HOUR, _HOURS, _NOON = 3_600 * 10**6, 24, 12
# Behind the hour that is called 12 come these; rows may be two hours apart.
_NEXT = (1, 2)


class TwelveHours:
    """Whether rows go back only where a clock of twelve hours begins anew, whatever pieces they arrive in.

    Once one has an hour that such a clock does not have, further ones cost nothing.

    Args:
        zone: in which the times are written.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self._zone, self._last, self._may = zone, np.empty(0, np.int64), True
        self._anew, self._other = np.zeros(2, np.int64), np.zeros(2, np.int64)  # oldest first, newest first
        self._first: tuple[int, int] | None = None

    def take(self, times: Ints) -> None:
        """Take further rows.

        Args:
            times: `(n,)` microseconds since 1970 UTC, in the order of the file.
        """
        if not self._may or not len(times):
            return
        walls = np.concatenate([self._last, times if self._zone == "UTC" else wall_times(times, self._zone)])
        hours = walls // _HOUR % _HOURS
        self._may, self._last = bool(((hours > 0) & (hours <= _NOON)).all()), walls[-1:]
        steps, days = np.diff(walls), np.diff(walls // (_HOURS * _HOUR))
        for way, (back, before, behind) in enumerate(((steps < 0, hours[:-1], hours[1:]), (steps > 0, hours[1:], hours[:-1]))):
            anew = back & (days == 0) & (before == _NOON) & np.isin(behind, _NEXT)
            self._anew[way] += anew.sum()
            self._other[way] += (back & ~anew).sum()
            if self._first is None and anew.any():
                place = int(np.argmax(anew))
                self._first = int(walls[place]), int(walls[place + 1])

    def refuse(self, name: str) -> None:
        """Refuse such rows.

        Args:
            name: of the input, for messages.

        Raises:
            DataError: if the rows that were taken have no hour but 1 to 12, and go back, or forward where the newest one comes
                first, only from 12 to 1 or 2.
        """
        if not self._may or self._first is None or not ((self._anew > 0) & (self._other == 0)).any():
            return
        one, next_one = (format_time(time, "time")[:-1] for time in self._first)
        raise DataError(
            f"Times of day must count 24 hours, or have AM or PM. Received: {one} and then {next_one}, and no hour but 1 to 12 in "
            f"any row ({name}). Write them anew from where they came, with %H (HH) in place of %I (hh)."
        )
