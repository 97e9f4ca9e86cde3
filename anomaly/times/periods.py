"""Years, months, quarters and weeks: a number behind a year that may be any of them is refused, unless years tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from anomaly.errors import DataError
from anomaly.quick_start import pd
from anomaly.times.column import numbers_of
from anomaly.times.epochs import FEWEST_TO_TELL
from anomaly.times.written import COMPACT, moments_by

MONTHS = 12
# A year and a month and nothing else; what else may be counted within a year; and of so many years the first few numbers tell that
# it is no month.
_OF_MONTHS = (COMPACT[6], "%Y-%m", "%m/%Y", "%m-%Y", "%m.%Y", "%Y %m", "%YM%m")
OTHER_PERIODS = re.compile(r"quarter|qtr|quartal|trimest\w*|semest\w*|half|week|woche|\bkw\b")
_FEWEST_YEARS = 3


def come_yearly(cells: Sequence[str]) -> bool:
    """Tell years that follow each other, whatever their column is called."""
    numbers = numbers_of(cells)
    years = numbers is not None and len(numbers) >= FEWEST_TO_TELL and numbers.min() >= 1600 and numbers.max() < 2200
    return bool(years and numbers is not None and (np.abs(np.diff(numbers)) == 1).all())


def refuse_months_or_weeks(found: Sequence[str], cells: Sequence[str], column: str, name: str, before: str | None) -> None:
    """Refuse what may be the first weeks of a year as well as its months; where months go on, a year turns."""
    if found[0] == COMPACT[6] != before and 1 < len(set(cells)) <= MONTHS and len({cell.strip()[:4] for cell in cells}) == 1:
        raise DataError(
            f"Times must have one meaning. Received: {cells[0].strip()} in column {column!r}, which may be a month or a week of a "
            f"year ({name}). Say --time-format {COMPACT[6]} if these are months; write the first day of each week if not."
        )


def refuse_other_periods(how: str | None, cells: Sequence[str], column: str, name: str) -> None:
    """Refuse a year and a number that is a month, where a name says another part of a year or only the first few come."""
    if how not in _OF_MONTHS or column.strip() == "":
        return
    times = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how)
    months, n_years = set(times.dt.month), times.dt.year.nunique()
    few = n_years >= _FEWEST_YEARS and months in ({1, 2}, {1, 2, 3}, {1, 2, 3, 4})
    said = OTHER_PERIODS.search(column.lower())
    if said or few:
        what = f"a {said[0]}" if said else "a quarter or another part of a year"
        raise DataError(
            f"Times must have one meaning. Received: {cells[0].strip()} in column {column!r}, which may be {what} ({name}). Write "
            f'the first day of each, or say --time-format "{how}" if these are months.'
        )
