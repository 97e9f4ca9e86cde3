"""A few plain records, read without a table of pandas, as rows that are followed come."""

from __future__ import annotations

import math
import re

import numpy as np

from anomaly.columns.joined_times import joined
from anomaly.ingest.chunks import Chunk, Records
from anomaly.ingest.header import Columns
from anomaly.series import Ints
from anomaly.times.timestamps import TimeReader

# So few records are looked at one by one: a table of pandas costs milliseconds however short, and rows that are followed come
# one by one. What is not plain is left to pandas: quotes, blanks, exponents, more than 15 digits, and all that is wrong.
FEW_ROWS = 8
# A number below 2**53 over a power of ten that is exact: one division, rounded once, whoever makes it.
_PLAIN_NUMBER = re.compile(r"[+-]?(?=[0-9.]{1,16}\Z)(?:[0-9]{1,15}|[0-9]{1,14}\.[0-9]+)")


def plain_number(cell: str, missing: tuple[str, ...]) -> float | None:
    """Return a cell as a number, NaN for one of the texts that mean missing; None if it is not plain."""
    if _PLAIN_NUMBER.fullmatch(cell):
        value = float(cell)
        return value if value or not cell.startswith("-") else None  # the sign of a zero depends on its column
    return math.nan if cell in missing else None


def plain_cells(line: str, delimiter: str, n_cells: int) -> list[str] | None:
    """Return the cells of a record; None if it is quoted or has another number of them."""
    cells = line.split(delimiter)
    return None if '"' in line or len(cells) != n_cells else cells


def few_plain_rows(
    numbered: Records, rows: Ints, columns: Columns, clock: TimeReader, missing: tuple[str, ...], sentinels: tuple[float, ...]
) -> Chunk | None:
    """Return a few records without the help of pandas; None if they are not as plain as that.

    Args:
        numbered: the records.
        rows: their places, `(n,)`, which are their times where rows are counted.
        columns: those that are wanted; none is a label.
        clock: reads the times.
        missing: the texts that stand for a missing value.
        sentinels: the numbers that do.
    """
    values = np.empty((len(numbered), len(columns.values)))
    times = rows.copy()
    places = [columns.names.index(name) for name in columns.values]
    of_time = [columns.names.index(name) for name in columns.of_time]
    of_id = None if columns.series is None else columns.names.index(columns.series)
    ids = np.empty(len(numbered), np.object_)
    for row, (_, line) in enumerate(numbered):
        cells = plain_cells(line or "NaN", columns.delimiter, len(columns.names))
        if cells is None or (of_id is not None and not cells[of_id]):
            return None
        ids[row] = "" if of_id is None else cells[of_id]
        for column, place in enumerate(places):
            value = plain_number(cells[place], missing)
            if value is None or value in sentinels:
                return None
            values[row, column] = value
        if columns.time is not None:
            time = clock.plain(joined([cells[place] for place in of_time], columns.joints) if columns.parts else cells[of_time[0]])
            if time is None:
                return None
            times[row] = time
    return Chunk([line for _, line in numbered], times, values, None, None if of_id is None else ids)
