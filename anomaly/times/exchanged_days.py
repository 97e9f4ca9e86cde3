"""Dates in which day and month were exchanged where both may be months, as a spreadsheet and some parsers do to a column of texts.

Opened with the other order of day and month, 03/12/2024 becomes the 12 of March, and 13/12/2024, which cannot be exchanged,
stays what it was. All cells are times, and sorted they look like a series: only the rows tell, which jump from month to month,
go back, and come in order once each such date is exchanged again.
"""

from __future__ import annotations

import numpy as np

from anomaly.errors import DataError
from anomaly.quick_start import pd
from anomaly.series import Ints, format_time

_DAY, _MONTHS = 86_400 * 10**6, 12
# A step of more than a day and so many median ones is a jump.
_JUMP = 1.5
# Exchanged again, so many of the steps back remain at most, and so many of the jumps.
_MOST_BACK, _MOST_JUMPS = 0.2, 0.5


class ExchangedDays:
    """Whether rows come in order only once days and months are exchanged again, whatever pieces they arrive in.

    Pieces whose rows come one way say nothing, and cost nothing.

    Args:
        zone: in which the times are written.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self._zone, self._last = zone, np.empty(0, np.int64)
        self._jump: float | None = None
        self._steps = np.zeros((2, 2), np.int64)  # forward and back, as they came and exchanged again
        self._jumps = np.zeros(2, np.int64)
        self._firsts: dict[int, tuple[int, int]] = {}  # the times on both sides of the first step forward, 1, and back, -1

    def take(self, times: Ints) -> None:
        """Take further rows.

        Args:
            times: `(n,)` microseconds since 1970 UTC, in the order of the file.
        """
        times = np.concatenate([self._last, times])
        steps = np.diff(times)
        self._last = times[-1:]
        if not len(steps) or (steps >= 0).all():
            return
        walls = times if self._zone == "UTC" else wall_times(times, self._zone)
        if self._jump is None:
            self._jump = max(_DAY, _JUMP * float(np.median(np.abs(steps))))
        for way, found in enumerate((np.diff(walls), np.diff(exchanged(walls)))):
            self._steps[way] += (found > 0).sum(), (found < 0).sum()
            self._jumps[way] += (np.abs(found) > self._jump).sum()
        for sign in (1, -1):
            if (so := sign * steps > 0).any():
                place = int(np.argmax(so))
                self._firsts.setdefault(sign, (int(times[place]), int(times[place + 1])))

    def refuse(self, name: str) -> None:
        """Refuse such rows.

        Args:
            name: of the input, for messages.

        Raises:
            DataError: if the rows that were taken come in order only once days and months are exchanged again.
        """
        newest_first = bool(self._steps[0, 0] < self._steps[0, 1])
        n_back, n_left = (int(n) for n in self._steps[:, 0 if newest_first else 1])
        if not n_back or n_left > _MOST_BACK * n_back or self._jumps[1] > _MOST_JUMPS * self._jumps[0]:
            return
        before, behind = (format_time(time, "time") for time in self._firsts[1 if newest_first else -1])
        raise DataError(
            f"Day and month must stand in one order in all dates. Received: {n_back:,} {'steps' if n_back > 1 else 'step'} back, "
            f"first from {before} to {behind}, in rows that come in order once day and month are exchanged where both may be "
            f"months, as a spreadsheet does ({name}). Write the dates anew from where they came, as YYYY-MM-DD."
        )


def exchanged(walls: Ints) -> Ints:
    """Return times with day and month exchanged, where the day may be a month.

    Args:
        walls: `(n,)` microseconds since 1970 by the clock on the wall.
    """
    days = walls // _DAY
    dates = days.astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    months = dates.astype("datetime64[M]")
    month = (months - years.astype("datetime64[M]")).astype(np.int64)
    day = (dates - months.astype("datetime64[D]")).astype(np.int64)
    others = (years.astype("datetime64[M]") + day).astype("datetime64[D]") + month
    moved: Ints = np.where(day < _MONTHS, others.astype(np.int64), days) * _DAY + walls % _DAY
    return moved


def wall_times(times: Ints, zone: str) -> Ints:
    """Return times by the clock on the wall of a zone."""
    moments = pd.DatetimeIndex(times.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return np.asarray(moments.as_unit("us").asi8, np.int64)
