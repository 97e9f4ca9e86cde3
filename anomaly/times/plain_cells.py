"""Cells that are all written plainly, read at once: times such as 2022-04-15T05:20:00, and numbers of digits, signs and points.

What a table of pandas costs is more than a small chunk is worth.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anomaly.series import Floats, Ints

Bytes = npt.NDArray[np.uint8]
# Where plain times have what is no digit.
_MARKS = {4: b"-", 7: b"-", 10: b"T ", 13: b":", 16: b":", 19: b"Z"}
_WIDTH, WIDTH_WITH_ZONE = 19, 20
# The years at which all readers of times agree.
_FIRST_YEAR, _LAST_YEAR = 1800, 2099
_DIGITS = [place for place in range(_WIDTH) if place not in _MARKS]
# Day and month, and where they are where they come the other way round.
_ORDER = [*range(5), 8, 9, 7, 5, 6, *range(10, _WIDTH)]

# Integers of so many digits are exact; of numbers with a point pandas 3.1 makes what Python does, the nearest there is.
_LONGEST_INTEGER, _LONGEST = 15, 40
# A larger chunk is read faster by pandas.
_MOST_CELLS = 6_000
_PLAIN = b"0123456789.+-"


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


def plain_numbers(text: str, delimiter: str, n_fields: int, places: Sequence[int]) -> Floats | None:
    """Read some columns of records, each on its line, none of them quoted.

    Args:
        text: the records; each has as many fields, and its end but for the last one.
        delimiter: what separates fields.
        n_fields: of a record.
        places: of the columns, in the order in which they are wanted.

    Returns:
        `(n, n_columns)`; None if there are too many cells, or not all are plain numbers.
    """
    if (text.count("\n") + 1) * len(places) > _MOST_CELLS:
        return None
    cells = text.removesuffix("\n").replace("\n", delimiter).split(delimiter)
    n_rows = len(cells) // n_fields
    found = np.empty((n_rows, len(places)))
    for column, place in enumerate(places):
        own = cells[place::n_fields]
        if max(map(len, own)) > _LONGEST_INTEGER and not _are_short_or_pointed(own):
            return None
        if not _are_plain("".join(own)):
            return None
        try:
            found[:, column] = np.fromiter(map(float, own), np.float64, n_rows)
        except ValueError:
            return None
    # The sign of a zero depends on its column.
    return None if (np.signbit(found) & (found == 0)).any() else found


def _are_short_or_pointed(cells: list[str]) -> bool:
    return all(len(cell) <= _LONGEST_INTEGER or ("." in cell and len(cell) <= _LONGEST) for cell in cells)


def _are_plain(whole: str) -> bool:
    return whole.isascii() and not whole.encode().translate(None, _PLAIN)
