"""Numbers of digits, signs and points, read all at once; what a table of pandas costs is more than a small chunk is worth."""

from collections.abc import Sequence

import numpy as np

from anomaly.series import Floats

# Integers of so many digits are exact; of numbers with a point pandas 3.1 makes what Python does, the nearest there is.
_LONGEST_INTEGER, _LONGEST = 15, 40
# A larger chunk is read faster by pandas.
_MOST_CELLS = 6_000
_PLAIN = b"0123456789.+-"


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
