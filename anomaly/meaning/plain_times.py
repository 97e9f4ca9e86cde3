"""Times that are all written as 2022-04-15T05:20:00, read all at once, digit by digit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anomaly.series import Ints

Bytes = npt.NDArray[np.uint8]
# Where plain times have what is no digit.
_MARKS = {4: b"-", 7: b"-", 10: b"T ", 13: b":", 16: b":", 19: b"Z"}
_WIDTH, WIDTH_WITH_ZONE = 19, 20
# The years at which all readers of times agree.
_FIRST_YEAR, _LAST_YEAR = 1800, 2099
_DIGITS = [place for place in range(_WIDTH) if place not in _MARKS]
# Day and month, and where they are where they come the other way round.
_ORDER = [*range(5), 8, 9, 7, 5, 6, *range(10, _WIDTH)]


def bytes_of(cells: Sequence[str]) -> Bytes | None:
    """Return the bytes of cells, `(n, width)`; None if they are not as wide as plain times, or not all as wide."""
    width = len(cells[0]) if len(cells) else 0
    if width not in (_WIDTH, WIDTH_WITH_ZONE):
        return None
    whole = "".join(cells)
    if not whole.isascii() or set(map(len, cells)) != {width}:
        return None
    return np.frombuffer(whole.encode(), np.uint8).reshape(-1, width)


def with_days_for_months(cells: Bytes) -> Bytes:
    """Return times without a zone as if day and month had come the other way round."""
    return cells[:, _ORDER]


def plain_moments(cells: Bytes) -> Ints | None:
    """Read times that are all written as 2022-04-15T05:20:00, with or without a Z behind, all at once, digit by digit.

    Args:
        cells: `(n, width)`, the bytes of each.

    Returns:
        Microseconds since 1970 UTC, `(n,)`; None if a cell is anything else, or no moment of a calendar.
    """
    if cells.shape[1] not in (_WIDTH, WIDTH_WITH_ZONE):
        return None
    columns = np.ascontiguousarray(cells.T)
    if not all(_are_marks(columns[place], marks) for place, marks in _MARKS.items() if place < len(columns)):
        return None
    digits = columns[_DIGITS] - np.uint8(ord("0"))  # what lies before the zero becomes large
    if digits.size and digits.max() > 9:
        return None
    tens = digits.reshape(7, 2, -1).astype(np.int64)
    century, year, month, day, hour, minute, second = tens[:, 0] * 10 + tens[:, 1]
    year = 100 * century + year
    good = (year >= _FIRST_YEAR) & (year <= _LAST_YEAR) & (month >= 1) & (month <= 12) & (day >= 1)
    if not (good & (hour <= 23) & (minute <= 59) & (second <= 59)).all():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first_days = months.astype("datetime64[D]").astype(np.int64)
    if (day > (months + np.timedelta64(1, "M")).astype("datetime64[D]").astype(np.int64) - first_days).any():
        return None
    seconds = (first_days + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second
    return np.asarray(seconds * 1_000_000)


def _are_marks(column: Bytes, marks: bytes) -> bool:
    found = column == marks[0]
    for mark in marks[1:]:
        found |= column == mark
    return bool(found.all())
