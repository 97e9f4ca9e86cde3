"""What kind of times the cells of a column are: ISO 8601, numbers since 1970, digits that spell a date, or days of a spreadsheet.

Digits of one length that all spell a date of 1900 to 2100 are that date: as numbers since 1970 they would lie a second apart
and jump at each midnight. Numbers of days since 1899-12-30, as Excel and LibreOffice export them, are told by steps of whole
seconds; where they might as well be seconds, the column is refused with both readings.
"""

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from anomaly.errors import DataError
from anomaly.series import Floats

# By number of digits, what they spell. Eight digits are a date of ISO 8601.
COMPACT = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Formats by a word: numbers since 1970 in whatever unit, and days since 1899-12-30.
EPOCH, EXCEL = "epoch", "excel"
# Days of 1954 to 2119; as seconds since 1970 they would all lie on its first day.
_EXCEL_DAYS = (20_000, 80_000)
# Whole days lie no further apart; seconds do.
_MOST_DAYS = 31
# Seconds since 1970 of 1990 to 2100, in seconds, milliseconds, microseconds and nanoseconds.
_FIRST_SECOND, _LAST_SECOND = 631_152_000, 4_102_444_800
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
_ISO = re.compile(r"\s*[+-]?\d{4}-\d{2}(?:-\d{2})?(?:[T ]\d{2}.*)?\s*|\s*\d{8}T\d{2,6}.*")
_DAY_S = 86_400
# What people write beside ISO 8601: a date, and behind it a time of day.
_WRITTEN = re.compile(
    r"(?P<a>\d{1,4}|[A-Za-z]{3,9})(?P<mark>[./\- ])(?P<b>\d{1,2}|[A-Za-z]{3,9})(?P<behind>(?P=mark)|, )(?P<c>\d{4}|\d{2})"
    r"(?:(?P<gap> |T|, )(?P<hour>\d{1,2})(?P<colon>[:.])\d{2}(?P<second>(?P=colon)\d{2})?(?P<fraction>\.\d{1,6})?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?[+-]\d\d:?\d\d)?)?"
)


def format_of(cells: Sequence[str], column: str, name: str) -> str | None:
    """Return how the times of a column are to be read; None where ISO 8601 or numbers since 1970 are, as ever.

    Args:
        cells: some of them, in the order of the file, those that are not empty.
        column: its name, for messages.
        name: of the input, for messages.

    Returns:
        A format for `strptime`, or "excel".

    Raises:
        DataError: if they may be days or seconds.
    """
    compact = compact_format(cells)
    if compact is not None:
        return compact
    numbers = _numbers(cells)
    if numbers is None:
        return _only(written_formats(cells), cells, column, name)
    if numbers is None or not len(numbers) or numbers.min() < _EXCEL_DAYS[0] or numbers.max() > _EXCEL_DAYS[1]:
        return None
    if _are_days(numbers):
        return EXCEL
    if (numbers == np.rint(numbers)).all() and (len(numbers) < 2 or np.abs(np.diff(np.sort(numbers))).max() > _MOST_DAYS):
        return None
    raise DataError(
        f"Times must have one meaning. Received: {cells[0]} in column {column!r}, which is {_as_excel(numbers[0])} as a day of a "
        f"spreadsheet, and {_as_epoch(numbers[0])} as seconds since 1970 ({name}). Say --time-format excel or --time-format epoch."
    )


def written_formats(cells: Sequence[str]) -> list[str]:
    """Return the formats in which all cells are times with a day, a month and a year; none where ISO 8601 has them.

    Args:
        cells: texts; 05/01/2024 is 5 January or 1 May, 25.01.2024 can be one day only.
    """
    first = cells[0].strip() if len(cells) else ""
    parts = _WRITTEN.fullmatch(first)
    if parts is None or are_iso(cells[:1]):
        return []
    texts = pd.Series([cell.strip() for cell in cells], dtype="str")
    likely = [date + _clock_of(parts) for date in _dates_of(*parts.group("a", "mark", "b", "behind", "c"))]
    return [how for how in likely if bool(pd.to_datetime(texts, format=how, errors="coerce", utc=True).notna().all())]


def _dates_of(first: str, mark: str, second: str, behind: str, third: str) -> list[str]:
    """Return the formats that three parts of a date may have."""
    if first.isalpha():
        orders = [(_month(first), "%d", "%Y")] if second.isdigit() and len(third) == 4 else []
    elif second.isalpha():
        orders = [("%d", _month(second), "%Y" if len(third) == 4 else "%y")]
    elif len(first) == 4:
        orders = [("%Y", "%m", "%d")]
    elif len(third) == 4:
        orders = [("%d", "%m", "%Y"), ("%m", "%d", "%Y")]
    else:
        orders = [("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d")]
    return [f"{a}{mark}{b}{behind}{c}" for a, b, c in orders]


def _month(name: str) -> str:
    return "%b" if len(name) == 3 else "%B"


def _clock_of(parts: "re.Match[str]") -> str:
    """Return the format of the time of day behind a date; empty if there is none."""
    if parts["hour"] is None:
        return ""
    second = f"{parts['colon']}%S" + (".%f" if parts["fraction"] else "") if parts["second"] else ""
    half, zone = parts["half"] or "", parts["zone"] or ""
    behind = half[:-2] + ("%p" if half else "") + zone[: len(zone) - len(zone.lstrip())] + ("%z" if zone else "")
    return f"{parts['gap']}{'%I' if half else '%H'}{parts['colon']}%M{second}{behind}"


def _only(formats: list[str], cells: Sequence[str], column: str, name: str) -> str | None:
    """Return the only format there is; None if there is none."""
    if len(formats) < 2:
        return formats[0] if formats else None
    cell = next((cell for cell in cells if len({datetime.strptime(cell.strip(), how) for how in formats[:2]}) > 1), cells[0])
    readings = [f"{datetime.strptime(cell.strip(), how):%Y-%m-%d}" for how in formats[:2]]
    raise DataError(
        f"Times must have one meaning. Received: {cell.strip()} in column {column!r}, which is {readings[0]} or {readings[1]} "
        f'({name}). Say --time-format "{formats[0]}" or --time-format "{formats[1]}".'
    )


def compact_format(cells: Sequence[str]) -> str | None:
    """Return the format of digits that spell dates of 1900 to 2100; None if they do not all, or are read so in any case."""
    found = spelled_format(cells)
    return None if found == COMPACT[8] else found


def spelled_format(cells: Sequence[str]) -> str | None:
    """Return the format of digits that spell dates of 1900 to 2100, YYYYMMDD too; None if they do not all."""
    texts = [cell.strip() for cell in cells]
    length = len(texts[0]) if texts else 0
    if length not in COMPACT or not all(len(text) == length and text.isdecimal() for text in texts):
        return None
    parsed = pd.to_datetime(pd.Series(texts, dtype="str"), format=COMPACT[length], errors="coerce")
    years = parsed.dt.year
    if parsed.isna().any() or not ((years >= 1900) & (years <= 2100)).all():
        return None
    return COMPACT[length]


def are_iso(cells: Sequence[str]) -> bool:
    """Tell whether all cells are times of ISO 8601 and none is a number."""
    texts = [cell.strip() for cell in cells]
    if not texts or not all(_ISO.fullmatch(text) for text in texts):
        return False
    try:
        return bool(pd.to_datetime(pd.Series(texts, dtype="str"), format="ISO8601", utc=True).notna().all())
    except (ValueError, OverflowError):
        return False


def are_epochs(cells: Sequence[str]) -> bool:
    """Tell whether all cells are numbers since 1970 of the years 1990 to 2100, in one unit."""
    numbers = _numbers(cells)
    if numbers is None or not len(numbers):
        return False
    return any(bool(((numbers >= _FIRST_SECOND * unit) & (numbers < _LAST_SECOND * unit)).all()) for unit in _UNITS)


def are_rising(cells: Sequence[str]) -> bool:
    """Tell whether numbers never fall and mostly rise by one step."""
    numbers = _numbers(cells)
    if numbers is None or len(numbers) < 3:
        return False
    steps = np.diff(numbers)
    return bool((steps >= 0).all() and (steps > 0).mean() > 0.5)


def are_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells are days of a spreadsheet."""
    numbers = _numbers(cells)
    inside = numbers is not None and len(numbers) > 1 and numbers.min() >= _EXCEL_DAYS[0] and numbers.max() <= _EXCEL_DAYS[1]
    return bool(inside and numbers is not None and _are_days(numbers))


def are_whole_days(cells: Sequence[str]) -> bool:
    """Tell whether all cells may be days of a spreadsheet without a time of day."""
    numbers = _numbers(cells)
    if numbers is None or len(numbers) < 2 or numbers.min() < _EXCEL_DAYS[0] or numbers.max() > _EXCEL_DAYS[1]:
        return False
    return bool((numbers == np.rint(numbers)).all() and np.abs(np.diff(np.sort(numbers))).max() <= _MOST_DAYS)


def _are_days(numbers: Floats) -> bool:
    """Tell days by their fractions: whole seconds of a day, as far as six decimals show them."""
    seconds = numbers * _DAY_S
    fractions = numbers != np.rint(numbers)
    return bool(fractions.any() and len(numbers) > 1 and (np.abs(seconds - np.rint(seconds)) < 0.1).all())


def _numbers(cells: Sequence[str]) -> Floats | None:
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _as_excel(days: float) -> str:
    return (pd.Timestamp("1899-12-30") + pd.Timedelta(days=float(days))).strftime("%Y-%m-%d")


def _as_epoch(seconds: float) -> str:
    return pd.Timestamp(float(seconds), unit="s").strftime("%Y-%m-%d %H:%M:%S")
