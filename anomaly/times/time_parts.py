"""Columns that make up the time together: a date and a time of day, a year, a month, a day and so on, and what stands behind them.

A column is part of the time only where rows would share their times without it, or where its name has no other meaning: `min`
beside `max` is the least value, `mm` may be rain, and 0:26:07 beside a date of its own may be how long something took.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from shlex import quote

from anomaly.errors import DataError, shorten
from anomaly.times.column import different
from anomaly.times.moments import are_iso
from anomaly.times.other_words import in_english
from anomaly.times.written import spelled_format, written_formats

Cells = Mapping[str, Sequence[str]]

# Parts of a time in columns of their own, the coarsest first: what they are called, and the range of their values.
_CLOCK = ((r"(?i:hours?|hr|hh|stunde|heure)", 0, 24), (r"(?i:minutes?|min|mi)|mm", 0, 59), (r"(?i:seconds?|sec|ss)", 0, 59))
_YEAR = (r"#?(?i:year|yr|yyyy|yy|jahr|annee|année|año|ano|anno)", 0, 2200)
_MONTH, _DAY = (r"(?i:month|mo|mon|monat|mois|mes)|MM|mm", 1, 12), (r"(?i:day|dd|dom|tag|jour|mday|dy|da|dia|día)", 1, 31)
_PARTS = (_YEAR, _MONTH, _DAY, *_CLOCK)
# Fewer parts do not make up a time: a year and a month, or a year and a day of it.
_FEWEST_PARTS = 2
_MONTH_NAME = re.compile(
    r"\s*(?:[A-Z][a-z]{2}|January|February|March|April|June|July|August|September|October|November|December)\s*"
)
_PARTS_OF_YEAR = (_YEAR, (r"(?i:doy|jday|yday|day[ _-]?of[ _-]?(?:the[ _-]?)?year|julian[ _-]?day)", 1, 366), *_CLOCK)
# A part that has no other meaning whatever it holds; names that have one as well, and what says that `min` has it.
_ONE_MEANING = re.compile(r"(?i)minute|second")
# Dates of which a larger share differ stand alone; within one a time of day goes on, as a share of the steps.
_MOSTLY_WHOLE, _MOSTLY_ONWARDS = 0.7, 0.95
# Of times of day there are so many times as many as dates where cells of a date were merged.
_MERGED = 2
_OTHER_MEANING, _STATISTICS = (
    re.compile(r"(?i)mi|min|mm|sec|ss"),
    re.compile(r"(?i)(?:.*[^a-z])?(?:max|maximum|avg|average|mean|std|sd)"),
)
_TIME_OF_DAY = re.compile(r"\s*\d{1,2}([:.])\d{2}(?:\1\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?\s*")
# No number: 18:00, 18.00.00.
_CLEARLY_OF_DAY = re.compile(r":|\..*\.")
_DATE_ONLY = re.compile(r"\s*(?:\d{8}|\d{1,4}[./-](?:\d{1,2}|[A-Za-z]{3})[./-]\d{1,4})\s*")
# The hour of a time that has no half of the day and no zone behind it; and columns of these.
_HOUR = re.compile(r"(?:^|[ T])\s*(\d{1,2}):\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?\s*$")
_HALF, _UTC_OFFSET = re.compile(r"\s*[AaPp][Mm]\s*"), re.compile(r"\s*(?:(?:UTC|GMT) ?)?[+-](?:0\d|1[0-4]):?(?:00|15|30|45)\s*")
_CALLED_OFFSET, _MOST_OFFSETS = re.compile(r"offset|utc|gmt|zone|(?:^|[^a-z])tz(?:[^a-z]|$)|zulu"), 4
CLOCK_NAME = re.compile(r".*(?:time|uhrzeit|zeit|heure|hora|hour|stunde|hhmm|hrmn).*|h|hh|(?:.*[^a-z])?std")
# Called so, a column is the time of day, unless each row has a date of its own; the ends of intervals are not.
_OF_DAY = re.compile(
    r"(?:(?:start|begin|local|utc|gmt|obs(?:ervation)?|reading|sample)[ _]?)?(?:time|uhrzeit|zeit|heure|hora|"
    r"ora|tijd|tijdstip|hour|stunde|hhmm|hrmn|时间|時刻|시간|время)"
    r"(?:[ _]?(?:of[ _]day|utc|gmt|local))?(?:[ _]?[\[(].*[\])])?"
)
_END = re.compile(r"(?:.*[^a-z])?(?:end|ende|bis|to|tot|until|till|fin|stop)(?:[^a-z].*)?")


def bare_name(column: str) -> str:
    """Return the name of a column in small letters, without the brackets that some programs put around it."""
    return column.strip(" <>[]").lower()


def is_moving_date(cells: Sequence[str]) -> bool:
    """Tell dates as texts that are not all the same, as the bounds of a query are."""
    return (are_iso(cells) or bool(written_formats(cells))) and (len(cells) < 2 or len(different(cells)) > 1)


def time_parts_of(cells: Cells, name: str) -> tuple[str, ...]:
    """Return the columns that make up the time together; none where one column is the time.

    A date and a time of day; year, month and day and so on; either, or the whole time, with what may stand behind a time in a
    column of its own: which half of the day it is, and how far the clocks are from UTC.

    Args:
        cells: by column, in the order of the file, some of its cells that are not empty.
        name: of the input, for messages.

    Raises:
        DataError: if a time of day may be something else.
    """
    parts = _date_and_clock(cells, name)
    if not parts:
        whole = [column for column, found in cells.items() if is_moving_date(found) and not is_date(found)]
        parts = tuple(whole[:1]) if whole else _numbered(cells)
        if not whole and any(is_date(found) and _tells_more(cells, column, parts) for column, found in cells.items()):
            return ()
    behind = _behind_clock(cells, parts) if parts else ()
    return (*parts, *behind) if len(parts) + len(behind) > 1 else ()


def _tells_more(cells: Cells, date: str, parts: Sequence[str]) -> bool:
    """Tell a date that changes as often as what several columns make up: a year beside it may be that of the books."""
    rows = list(zip(*(cells[part] for part in parts), strict=False))
    return date not in parts and len(different(cells[date])) >= max(2, len(set(rows)))


def _behind_clock(cells: Cells, parts: Sequence[str]) -> tuple[str, ...]:
    """Return the column that tells morning from afternoon, and that of offsets from UTC, where there is one of its kind."""
    halves = [column for column, own in cells.items() if own and all(map(_HALF.fullmatch, own))]
    offsets = [column for column, own in cells.items() if own and _are_offsets(column, own)]
    if not halves and not offsets:  # as nearly always
        return ()
    hours = [match and int(match[1]) for match in map(_HOUR.search, cells[parts[-1]])]
    if any(hour is None for hour in hours):
        return ()
    found = [halves] if all(hour is not None and 1 <= hour <= 12 for hour in hours) else []
    return tuple(columns[0] for columns in (*found, offsets) if len(columns) == 1)


def _are_offsets(column: str, cells: Sequence[str]) -> bool:
    """Tell offsets from UTC: few of them, with a colon or so called, and none that no place on earth has."""
    found = different(cells)
    called = _CALLED_OFFSET.search(column.lower()) or all(":" in cell for cell in found)
    return bool(called) and len(found) <= _MOST_OFFSETS and all(map(_UTC_OFFSET.fullmatch, found))


def _date_and_clock(cells: Cells, name: str) -> tuple[str, ...]:
    """Return a column of dates that repeat and one of times of day."""
    dates = [column for column, found in cells.items() if is_date(found)]
    clocks = [column for column, found in cells.items() if found and _is_clock(column, found)]
    if len(dates) > 1:
        dates, clocks = _first_pair(list(cells), dates, clocks)
    if len(dates) != 1 or not clocks:
        return ()
    clocks = _beside_filled_dates(cells, dates[0], clocks, name)
    if len(different(cells[dates[0]])) > _MOSTLY_WHOLE * len(cells[dates[0]]):  # whole, unless a time of day stands beside them
        clocks = _beside_whole_dates(cells, dates[0], clocks, name)
    else:
        clocks = [column for column in clocks if _is_of_day(column) or _goes_on_within(cells[dates[0]], cells[column])]
    if len(clocks) > 1:
        clocks = [column for column in clocks if not _END.fullmatch(column.strip().lower())]
    if len(clocks) > 1:
        clocks = [column for column in clocks if _is_of_day(column)]
    if len(clocks) != 1:
        return ()
    found = [dates[0], clocks[0]]
    for part in _CLOCK[1:] if _is_part(cells[clocks[0]], _CLOCK[0]) else ():
        here = _of_part(cells, found, part)
        if len(here) != 1:
            break
        found += here
    return tuple(found)


def _first_pair(columns: Sequence[str], dates: Sequence[str], clocks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return of dates that have a time of day behind them the one in UTC, or the first that is no end, and its time of day."""
    pairs = [pair for pair in itertools.pairwise(columns) if pair[0] in dates and pair[1] in clocks]
    begins = [pair for pair in pairs if not _END.fullmatch(pair[0].strip().lower())]
    in_utc = [pair for pair in pairs if re.search(r"(?i)utc|gmt", pair[0])]
    if len(pairs) < len(dates) or not begins:
        return [], []
    date, clock = (in_utc or begins)[0]
    return [date], [clock]


def _beside_filled_dates(cells: Cells, date: str, clocks: Sequence[str], name: str) -> list[str]:
    """Return which columns have hardly more cells than the dates.

    Raises:
        DataError: if times of day have many more, as where a date stands on the first row of its day alone.
    """
    n_dates = len(cells[date])
    more = [column for column in clocks if len(cells[column]) >= _MERGED * n_dates]
    whole = any(is_moving_date(own) and not is_date(own) for own in cells.values())
    for clock in (column for column in more if _is_of_day(column) and not whole):
        raise DataError(
            f"Each row must have its date beside its time of day. Received: {n_dates:,} dates in {date!r} beside "
            f"{len(cells[clock]):,} times of day in {clock!r} ({name}). Fill each date down to all rows of its day, or say "
            f"--ignore-columns {quote(f'{date},{clock}')} to count rows."
        )
    return [column for column in clocks if column not in more]


def _beside_whole_dates(cells: Cells, date: str, clocks: Sequence[str], name: str) -> list[str]:
    """Return which columns may be the time of day where hardly a date comes twice.

    Raises:
        DataError: if one is called so and changes: it may as well be how long something took.
    """
    called = [column for column in clocks if _is_of_day(column) and all(":" in cell for cell in cells[column])]
    if len(called) == 1 and len(cells[date]) > 1 and len(different(cells[called[0]])) > 1:
        clock = called[0]
        raise DataError(
            f"Times must have one meaning. Received: {cells[clock][0].strip()} in {clock!r}, beside a date of its own on each row "
            f"or nearly so ({name}). Say --time-column {quote(f'{date},{clock}')} if it is the time of day, or "
            f"--time-column {quote(date)} and --ignore-columns {quote(clock)} if not."
        )
    return called


def _is_of_day(column: str) -> bool:
    return bool(_OF_DAY.fullmatch(bare_name(column)))


def _goes_on_within(dates: Sequence[str], clock: Sequence[str]) -> bool:
    """Tell cells that go forward within each date, or back: a duration, a pace or an hour of work does neither."""
    moments = [seconds_of_day(cell) for cell in clock]
    steps = [
        later - earlier
        for date, next_date, earlier, later in zip(dates, dates[1:], moments, moments[1:], strict=False)
        if date == next_date
    ]
    ahead = sum(step >= 0 for step in steps) / max(len(steps), 1)
    return any(steps) and max(ahead, 1 - ahead + sum(step == 0 for step in steps) / len(steps)) >= _MOSTLY_ONWARDS


def seconds_of_day(cell: str) -> float:
    """Return a time of day in seconds; of digits alone the digits, which grow with it."""
    parts = [float(part.replace(",", ".")) for part in re.findall(r"\d+(?:[.,]\d+)?", cell.replace(".", ":"))][:3]
    if ":" not in cell and "." not in cell:
        return parts[0]
    half = re.search(r"(?i)[ap]m", in_english(cell))
    hour = parts[0] if half is None else parts[0] % 12 + 12 * (half[0] in ("pm", "PM"))
    return 3_600 * hour + sum(part * unit for part, unit in zip(parts[1:], (60, 1), strict=False))


def _of_part(cells: Cells, found: Sequence[str], part: tuple[str, int, int]) -> list[str]:
    """Return the columns that are the next part of a time, of which some are found."""
    return [column for column in _columns_of_range(cells, found, part) if _says_more(cells, found, column, part)]


def _columns_of_range(cells: Cells, found: Sequence[str], part: tuple[str, int, int]) -> list[str]:
    return [
        column
        for column, own in cells.items()
        if column not in found and re.fullmatch(part[0], column.strip()) and _is_part(own, part)
    ]


def _says_more(cells: Cells, found: Sequence[str], column: str, part: tuple[str, int, int]) -> bool:
    """Tell a column that is the next part of a time, and nothing else."""
    if part not in _CLOCK or _ONE_MEANING.fullmatch(column.strip()):
        return True
    if part != _CLOCK[0] and _OTHER_MEANING.fullmatch(column.strip()) and any(map(_STATISTICS.fullmatch, map(str.strip, cells))):
        return False
    both = part == _CLOCK[2] or (part == _CLOCK[1] and bool(_columns_of_range(cells, [*found, column], _CLOCK[2])))
    rows = list(zip(*(cells[other] for other in found), strict=False))
    return both or len(different(cells[column])) == 1 or len(set(rows)) < len(rows)


def is_date(cells: Sequence[str]) -> bool:
    """Tell dates without a time of day."""
    return (
        bool(cells)
        and all(map(_DATE_ONLY.fullmatch, cells))
        and (spelled_format(cells) is not None or are_iso(cells) or bool(written_formats(cells)))
    )


def is_day_of_year(column: str) -> bool:
    """Tell whether a column is called as days of the year are."""
    return bool(re.fullmatch(_PARTS_OF_YEAR[1][0], column.strip()))


def is_year_name(column: str) -> bool:
    """Tell whether a column is called as years are."""
    return bool(re.fullmatch(_YEAR[0], column.strip()))


def is_time_of_day(cell: str) -> bool:
    """Tell a time of day with its colons or points: 18:00, 6:00 PM, 6:00 p. m., 18.00.00."""
    return bool(_TIME_OF_DAY.fullmatch(cell) or _TIME_OF_DAY.fullmatch(in_english(cell)))


def _is_clock(column: str, cells: Sequence[str]) -> bool:
    if all(map(is_time_of_day, cells)) and any(_CLEARLY_OF_DAY.search(cell) for cell in cells):
        return True
    if not is_clock_name(column) or not all(cell.strip().isdecimal() for cell in cells):
        return False
    return bool(digits_of_day(column, cells)) or all(len(cell.strip()) <= len("24") and int(cell) <= 24 for cell in cells)


def is_clock_name(column: str) -> bool:
    """Tell whether a column is called as times of day are."""
    return bool(CLOCK_NAME.fullmatch(bare_name(column)))


def digits_of_day(column: str, cells: Sequence[str]) -> int:
    """Return how many digits a time of day has, 4 or 6, that a column of this name holds; 0 if it does not.

    Zeros before it may be lost, as where it was a number: 5 is 00:05 beside 1230.
    """
    if not is_clock_name(column) or not all(cell.strip().isdecimal() for cell in cells):
        return 0
    longest, numbers = max((len(cell.strip()) for cell in cells), default=0), [int(cell) for cell in cells]
    if longest <= len("24"):  # an hour
        return 0
    return next((n for n in (4, 6) if longest <= n and all(_is_of_digits(number, n) for number in numbers)), 0)


def _is_of_digits(number: int, n_digits: int) -> bool:
    """Tell whether a number is a time of day with so many digits, HHMM or HHMMSS."""
    return number <= 24 * 10 ** (n_digits - 2) and all(number // unit % 100 < 60 for unit in (1, 100)[: n_digits // 2 - 1])


def _numbered(cells: Cells) -> tuple[str, ...]:
    """Return columns of year, month and day, or of year and day of the year, and of hour, minute and second behind them."""
    found: list[str] = []
    for parts in (_PARTS, _PARTS_OF_YEAR):
        found = []
        for part in parts:
            here = _of_part(cells, found, part)
            if len(here) != 1:
                break
            found += here
        if len(found) >= _FEWEST_PARTS:
            return (*found, *_in_digits(cells, found))
    return ()


def _in_digits(cells: Cells, found: Sequence[str]) -> list[str]:
    """Return the only time of day in digits alone that goes on within each date of several columns."""
    dates = [" ".join(row) for row in zip(*(cells[column] for column in found), strict=False)]
    clocks = [column for column, own in cells.items() if column not in found and digits_of_day(column, own)]
    return clocks if len(clocks) == 1 and _goes_on_within(dates, cells[clocks[0]]) else []


def _is_part(cells: Sequence[str], part: tuple[str, int, int]) -> bool:
    _, low, high = part
    if part == _MONTH and cells and all(map(_MONTH_NAME.fullmatch, cells)):
        return True
    inside = bool(cells) and all(cell.strip().isdecimal() and low <= int(cell) <= high for cell in cells)
    return inside and (part != _YEAR or {len(cell.strip()) for cell in cells} in ({2}, {4}))


def refuse_parts_without_a_year(cells: Cells, name: str) -> None:
    """Refuse a month and a day, or a day and an hour, and so on, which no year makes a time.

    Args:
        cells: by column some of its cells.
        name: of the input, for messages.

    Raises:
        DataError: if two of them are there, and change.
    """
    parts = ((_MONTH[0], 1, 12), (_DAY[0], 1, 366), (_PARTS_OF_YEAR[1][0], 1, 366), (_CLOCK[0][0], 0, 24))
    found = [
        column
        for column, own in cells.items()
        if any(re.fullmatch(part[0], column.strip()) and _is_part(own, part) for part in parts)
    ]
    if sum(len(set(cells[column])) > 1 for column in found) > 1:
        raise DataError(
            f"The time must be of a kind that is known. Received: {shorten(found)} without a year ({name}). Write the time in one "
            f"column, or say --ignore-columns {quote(','.join(found))} to count rows."
        )
