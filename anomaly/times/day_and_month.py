"""Which of two numbers of a date is the day: as in training, or that with which the rows come evenly; else both are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from anomaly.errors import DataError
from anomaly.quick_start import pd
from anomaly.times.column import moments_of
from anomaly.times.periods import MONTHS
from anomaly.times.plain_cells import bytes_of, plain_moments, with_days_for_months
from anomaly.times.written import evenest, evenest_of, moments_by

# So few days in a row are as even with day and month the other way round.
_FEW_DAYS = 2
# Times that may be ISO 8601 with day and month the other way round.
_SWAPPED = re.compile(r"\d{4}-\d{2}-\d{2}([ T])(\d{2}:\d{2})(:\d{2})?")


def only_format(formats: list[str], cells: Sequence[str], column: str, name: str, before: str | None) -> str | None:
    """Return the only format that is meant; None if there is none."""
    if not formats:
        return None
    meant = formats[0] if len(formats) == 1 else evenest(formats, cells)
    trained = _order(before or "")
    as_before = [how for how in formats if trained and _order(how) == trained]
    if as_before and meant in (None, *as_before):
        return as_before[0]
    if meant is None:
        raise _two_readings(formats, cells, column, name)
    if as_before or (trained and _may_be_confused(trained, _order(meant))):
        raise DataError(
            f"Times must be read as in training, as {before}. Received: {cells[0].strip()} in column {column!r}, where the cells "
            f'are times as {meant} ({name}). Say --time-format "{meant}" if they are.'
        )
    return meant


def _may_be_confused(one: list[str], other: list[str]) -> bool:
    """Tell two orders of a date that have the year in one place: day and month say nothing of themselves."""
    return sorted(one) == sorted(other) and one.index("y") == other.index("y")


def refuse_swapped(cells: Sequence[str], column: str, name: str) -> None:
    """Refuse times that look like ISO 8601, and come evenly with day and month the other way round only."""
    match = _SWAPPED.fullmatch(cells[0].strip())
    if match is None or _are_plainly_iso(cells):
        return
    days = [cell.strip()[8:10] for cell in cells]
    if not all(day.isdecimal() and int(day) <= MONTHS for day in days):
        return
    clock = "".join(filter(None, ("%H:%M" * bool(match[2]), ":%S" * bool(match[3]))))
    iso, swapped = (f"{date}{match[1]}{clock}" for date in ("%Y-%m-%d", "%Y-%d-%m"))
    fits = moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), swapped).notna().all()
    if fits and evenest((iso, swapped), cells) == swapped:
        raise _two_readings([iso, swapped], cells, column, name)


def show_few_days(cells: Sequence[str]) -> bool:
    """Tell times that look like ISO 8601, of a day or two that may be months: more of them tell which they are."""
    dates = {cell.strip()[:10] for cell in cells}
    return (
        0 < len(dates) <= _FEW_DAYS
        and _SWAPPED.fullmatch(cells[0].strip()) is not None
        and all(date[8:10].isdecimal() and int(date[8:10]) <= MONTHS for date in dates)
    )


def _are_plainly_iso(cells: Sequence[str]) -> bool:
    """Tell plain times that come no more evenly with day and month the other way round."""
    found, wide = moments_of(cells), bytes_of(cells)
    if found is None or wide is None:
        return False
    others = plain_moments(with_days_for_months(wide))
    return others is None or evenest_of({"iso": found[1].astype(float), "swapped": others.astype(float)}) != "swapped"


def _order(how: str) -> list[str]:
    """Return the parts of a date in their order, where all are numbers; empty where a month has its name."""
    parts = re.findall("%([dmYybB])", how)
    return [] if {"b", "B"} & set(parts) or len(parts) < 3 else [part.lower() for part in parts]


def _two_readings(formats: list[str], cells: Sequence[str], column: str, name: str) -> DataError:
    one, other = (moments_by(pd.Series([cell.strip() for cell in cells], dtype="str"), how) for how in formats[:2])
    row = int(np.argmax(one.to_numpy() != other.to_numpy()))
    cell, readings = cells[row], [f"{times[row]:%Y-%m-%d}" for times in (one, other)]
    return DataError(
        f"Times must have one meaning. Received: {cell.strip()} in column {column!r}, which is {readings[0]} or {readings[1]} "
        f'({name}). Say --time-format "{formats[0]}" or --time-format "{formats[1]}".'
    )
