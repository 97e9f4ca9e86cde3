"""What each column is for, from its name and some of its cells: the time, labels, counts of rows and further clocks, features."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from shlex import quote

import numpy as np

from anomaly.errors import DataError, shorten
from anomaly.meaning.column import different, numbers_of
from anomaly.meaning.moments import are_days, are_epochs, are_iso, are_rising, are_whole_days, is_number
from anomaly.meaning.written import spelled_format, spelled_formats, written_formats
from anomaly.series import Floats

Cells = Mapping[str, Sequence[str]]

# Called so, a column is the time whatever it holds.
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Called so, it is the time if it holds times.
_TIME_LIKE = re.compile(
    r"t|ts|clock|dt|when|epoch.*|unix.*|.*time.*|.*date.*|.*_(?:at|ts|on|epoch|unix)|.*(?:datum|zeit|stamp|fecha|hora|temps|heure).*|ms|_time|"
    r".*yyyy.*|data|.*(?:时间|日期|日時|日付|時間|時刻|시간|날짜|дата|время).*"
)
# Called so, numbers that rise or texts are times that count from somewhere else, or in weeks, months, quarters or years.
_PERIODS = re.compile(
    r"gps.*(?:week|sec|time|tow).*|tow|sow|itow|jd|mjd|julian.*|.*datenum.*|elapsed.*|secs?|seconds?|(?:.*[^a-z])?(?:year|week|month|quarter|jahr|monat|woche|quartal)s?(?:[^a-z].*)?|"
    r"year(?:week|month|quarter)|yyyy.*"
)
# So many cells of a column are looked into for times that cannot be read, and so many of them differ, as a share.
_MOST_LOOKED_INTO, _FEWEST_RISING, _MOST_DIFFERENT = 50, 10, 0.9
# A number in any marks; and one with a currency before it or a unit behind.
_MEASURED = re.compile(r"\s*[+-]?[\d.,'\u2019\s\u00a0\u202f]+(?:[eE][+-]?\d+)?\s*%?\s*")
_WITH_UNIT = re.compile(r"\D*[\d.,'\u2019\s\u00a0\u202f]+(?:[eEdD][+-]?\d+)?\D*")
# Of the words of a name, those that alone say that it holds labels, and those that do where nothing else is said.
_LABEL_WORDS = frozenset((
    "label", "labels", "anomaly", "anomalies", "anomalous", "anomalie", "anom", "outlier", "outliers", "attack", "attacks",
    "att", "fault", "faults", "faulty", "failure", "failures", "fraud", "changepoint", "changepoints", "groundtruth", "truth",
    "gt", "abnormal", "defect", "defective", "malicious", "intrusion", "novelty", "störung", "stoerung", "ausfall", "anomalía",
    "anomalia", "anomalías", "anomalo", "anormal", "fallo", "falla", "panne", "défaut", "defaut", "异常", "異常", "标签", "標籤",
    "故障", "аномалия", "метка", "inlier", "outage", "downtime", "breakdown",
))  # fmt: skip
_WEAK_LABEL_WORDS = frozenset((
    "target", "class", "y", "event", "alarm", "flag", "marked", "broken", "incident", "normal", "truth", "alert", "alerts",
    "warning", "leak", "leakage", "error", "fehler", "spike", "rare", "suspicious", "failed", "fail", "maintenance", "annotated",
    "annotation", "annotations", "mark", "marker", "pred", "events", "alarms", "tag", "tags", "severity", "sev",
    "quality", "qualitydetail", "opcquality", "validity", "calidad", "qualität", "qualité", "kvalitet",
))  # fmt: skip
# What a clock is called, and how many times faster one is that counts in a smaller unit.
_CALLED_TIME = re.compile(r"(?i)time|zeit|clock|elapsed|(?:^|[^a-z])t(?:[^a-z]|$)")
_PACES = (1, 60, 3_600, 86_400, 24, 1_440, *(10.0**n * unit for n in range(1, 13) for unit in (1, 60, 3_600)))
_QUALITY = re.compile(
    r"(?i)(?:.*[^a-z])?(?:(?:opc)?quality(?:detail|[ _]?code|[ _]?flag)?|validity|calidad|qualität|qualité|kvalitet|qn_\d+|"
    r"qc(?:[ _](?:flag|code))?|qf|qualifier)"
)
# What is called a status or a flag may be measured; one that is "good" in OPC throughout is not.
_STATUS = re.compile(r"(?i)(?:.*[^a-z])?(?:status(?:[ _]?code)?|flags?|qualitystatus)(?:[^a-z].*)?")
_GOOD_IN_OPC = range(192, 220)
# Of those, what names series as well, unless it is no or yes.
_SERIES_TOO = frozenset(("tag", "tags"))
_NEUTRAL_WORDS = frozenset((
    "is", "has", "code", "true", "real", "the", "of", "point", "points", "change", "ground", "machine", "any", "y", "flag",
    "normal", "0", "1",
))  # fmt: skip
_LABEL_TEXTS = (
    {"0", "1"}, {"-1", "1"}, {"false", "true"}, {"f", "t"}, {"no", "yes"}, {"n", "y"}, {"normal", "anomaly"}, {"normal", "attack"},
    {"normal", "abnormal"}, {"normal", "fault"}, {"ok", "nok"},
)  # fmt: skip
# A column of labels with more values than two has no more than so many.
_MOST_CLASSES = 20
_COUNTER = re.compile(
    r"(?:|#|(?:[a-z]+_)?index|idx|rows?[ _-]?(?:id|no|nr|num|number|index)?|no|nr|num|number|id|seq|"
    r"sequence(?:[ _-]?(?:no|number))?|unnamed: ?\d+|(?:record|line|entry)[ _-]?(?:id|no|nr|num|number)?|level_\d|objectid)\.?"
)
# A clock goes forward by one step so many times at least.
_FEWEST_STEPS = 20
# Its steps are equal but for rounding.
_EVENLY = 1e-3
# So many of the times differ, as a share; several series have each of them in common.
_LEAST_DIFFERENT = 0.1
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
_TIME_OF_DAY = re.compile(r"\s*\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?\s*")
_DATE_ONLY = re.compile(r"\s*(?:\d{8}|\d{1,4}[./-](?:\d{1,2}|[A-Za-z]{3})[./-]\d{1,4})\s*")
# The hour of a time that has no half of the day and no zone behind it; and columns of these.
_HOUR = re.compile(r"(?:^|[ T])\s*(\d{1,2}):\d{2}(?:[:.]\d{2}(?:[.,]\d+)?)?\s*$")
_HALF, _UTC_OFFSET = re.compile(r"\s*[AaPp][Mm]\s*"), re.compile(r"\s*[+-]\d\d:?\d\d\s*")
_CLOCK_NAME = re.compile(r".*(?:time|uhrzeit|zeit|heure|hora|hour|std|hhmm).*|h|hh")


def time_column_of(cells: Cells, name: str) -> str | None:
    """Return which column is the time; None if rows are to be counted.

    Args:
        cells: by column, in the order of the file, some of its cells that are not empty.
        name: of the input, for messages.

    Raises:
        DataError: if two columns may be.
    """
    named = [column for column in cells if column.strip().lower() in TIME_NAMES]
    if named:
        return next((column for column in named if _is_moving_date(cells[column])), named[0])
    iso = [column for column, found in cells.items() if _is_moving_date(found)]
    if iso:
        return iso[0] if iso[0] == next(iter(cells)) else only(iso, name)
    like = [column for column, found in cells.items() if _TIME_LIKE.fullmatch(column.strip().lower()) and are_times(found)]
    if like:
        return only(like, name)
    first = next(iter(cells), None)
    if (
        first is not None
        and are_rising(cells[first])
        and any(kind(cells[first]) for kind in (are_epochs, are_days, spelled_formats))
    ):
        return first
    return next((column for column, found in cells.items() if re.fullmatch(_YEAR[0], column.strip()) and _are_years(found)), None)


def _are_years(cells: Sequence[str]) -> bool:
    """Tell years that differ on each row."""
    return len(set(cells)) == len(cells) > 1 and all(re.fullmatch(r"\s*(?:1[6-9]|2[01])\d\d\s*", cell) for cell in cells)


def refuse_unread_times(cells: Cells, clocks: Sequence[str], name: str) -> None:
    """Refuse columns that look like times which nobody can read, where no other column is the time.

    Args:
        cells: by column some of its cells, of what would be a feature, or a clock that says nothing.
        clocks: columns that go evenly, and are left out as clocks: nothing is lost with them.
        name: of the input, for messages.

    Raises:
        DataError: with the options that choose.
    """
    _refuse_parts_without_a_year(cells, name)
    for column, own in cells.items():
        few = own[:_MOST_LOOKED_INTO]
        called = is_called_like_times(column) or bool(_PERIODS.fullmatch(column.strip().lower()))
        known = _MEASURED if called else _WITH_UNIT
        texts = len(few) >= _FEWEST_RISING and not any(known.fullmatch(cell) or is_number(cell) for cell in few)
        texts &= all(any(c.isdecimal() for c in cell) for cell in few)
        numbers = called and column not in clocks and len(own) >= _FEWEST_RISING and (_rises(own) or is_year_name(column))
        if numbers or (texts and len(set(few)) >= (2 if called else _MOST_DIFFERENT * len(few))):
            raise DataError(
                f"The time must be of a kind that is known. Received: {own[0]!r} in column {column!r}, and no other column of "
                f"times ({name}). Say --time-column {quote(column)}{', with a --time-format' * texts} if it is the time, or "
                f"--ignore-columns {quote(column)} to count rows."
            )


def _refuse_parts_without_a_year(cells: Cells, name: str) -> None:
    """Refuse a month and a day, or a day and an hour, and so on, which no year makes a time."""
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


def _rises(cells: Sequence[str]) -> bool:
    numbers = numbers_of(cells)
    return numbers is not None and bool((np.diff(numbers) >= 0).all() and numbers[0] < numbers[-1])


def is_year_name(column: str) -> bool:
    """Tell whether a column is called as years are."""
    return bool(re.fullmatch(_YEAR[0], column.strip()))


def _is_moving_date(cells: Sequence[str]) -> bool:
    """Tell dates as texts that are not all the same, as the bounds of a query are."""
    return (are_iso(cells) or bool(written_formats(cells))) and (len(cells) < 2 or len(different(cells)) > 1)


def are_times(cells: Sequence[str]) -> bool:
    """Tell whether numbers look like times: since 1970, digits that spell dates, or days of a spreadsheet."""
    kinds = (are_epochs, are_days, are_whole_days)
    found = bool(len(cells)) and (bool(spelled_formats(cells)) or any(kind(cells) for kind in kinds))
    return found and len(set(cells)) >= _LEAST_DIFFERENT * len(cells)


def only(found: list[str], name: str) -> str | None:
    """Return the only column of times; None if there is none.

    Raises:
        DataError: if there are several.
    """
    if len(found) > 1:
        raise DataError(
            f"One column must be the time. Received: times in {shorten(found)} ({name}). "
            f"Choose with --time-column {quote(found[0])}, and leave the others out with --ignore-columns."
        )
    return found[0] if found else None


def time_parts_of(cells: Cells) -> tuple[str, ...]:
    """Return the columns that make up the time together; none where one column is the time.

    A date and a time of day; year, month and day and so on; either, or the whole time, with what may stand behind a time in a
    column of its own: which half of the day it is, and how far the clocks are from UTC.
    """
    parts = _date_and_clock(cells)
    if not parts:
        whole = [column for column, found in cells.items() if _is_moving_date(found) and not _is_date(found)]
        parts = tuple(whole[:1]) if whole else _numbered(cells)
    behind = _behind_clock(cells, parts) if parts else ()
    return (*parts, *behind) if len(parts) + len(behind) > 1 else ()


def _behind_clock(cells: Cells, parts: Sequence[str]) -> tuple[str, ...]:
    """Return the column that tells morning from afternoon, and that of offsets from UTC, where there is one of its kind."""
    clock = cells[parts[-1]]
    hours = [match and int(match[1]) for match in map(_HOUR.search, clock)]
    found = []
    if all(hour is not None and 1 <= hour <= 12 for hour in hours):
        found.append([column for column, own in cells.items() if own and all(map(_HALF.fullmatch, own))])
    if all(hour is not None for hour in hours):
        found.append([column for column, own in cells.items() if own and all(map(_UTC_OFFSET.fullmatch, own))])
    return tuple(columns[0] for columns in found if len(columns) == 1)


def _date_and_clock(cells: Cells) -> tuple[str, ...]:
    """Return a column of dates that repeat and one of times of day."""
    dates = [column for column, found in cells.items() if _is_date(found)]
    clocks = [column for column, found in cells.items() if found and _is_clock(column, found)]
    if len(dates) == 1 and len(set(cells[dates[0]])) == len(cells[dates[0]]):  # whole, unless a time of day stands beside them
        clocks = [column for column in clocks if all(":" in cell for cell in cells[column])]
    if len(dates) != 1 or len(clocks) != 1:
        return ()
    found = [dates[0], clocks[0]]
    for part in _CLOCK[1:] if _is_part(cells[clocks[0]], _CLOCK[0]) else ():
        here = [column for column, own in cells.items() if column not in found and re.fullmatch(part[0], column.strip())]
        if len(here) != 1 or not _is_part(cells[here[0]], part):
            break
        found += here
    return tuple(found)


def _is_date(cells: Sequence[str]) -> bool:
    return (
        bool(cells)
        and all(map(_DATE_ONLY.fullmatch, cells))
        and (spelled_format(cells) is not None or are_iso(cells) or bool(written_formats(cells)))
    )


def is_day_of_year(column: str) -> bool:
    """Tell whether a column is called as days of the year are."""
    return bool(re.fullmatch(_PARTS_OF_YEAR[1][0], column.strip()))


def is_called_like_times(column: str) -> bool:
    """Tell whether a column is called as times or times of day are."""
    name = column.strip().lower()
    return bool(name in TIME_NAMES or _TIME_LIKE.fullmatch(name) or _CLOCK_NAME.fullmatch(name))


def _is_clock(column: str, cells: Sequence[str]) -> bool:
    if all(map(_TIME_OF_DAY.fullmatch, cells)) and any(":" in cell for cell in cells):
        return True
    if not _CLOCK_NAME.fullmatch(column.strip().lower()) or not all(cell.strip().isdecimal() for cell in cells):
        return False
    lengths = {len(cell.strip()) for cell in cells}
    of_four = lengths == {4} and all(int(cell) <= 2400 for cell in cells)
    return of_four or (lengths <= {1, 2} and all(int(cell) <= 24 for cell in cells))


def _numbered(cells: Cells) -> tuple[str, ...]:
    """Return columns of year, month and day, or of year and day of the year, and of hour, minute and second behind them."""
    found: list[str] = []
    for parts in (_PARTS, _PARTS_OF_YEAR):
        found = []
        for part in parts:
            here = [
                column
                for column, own in cells.items()
                if column not in found and re.fullmatch(part[0], column.strip()) and _is_part(own, part)
            ]
            if len(here) != 1:
                break
            found += here
        if len(found) >= _FEWEST_PARTS:
            return tuple(found)
    return ()


def _is_part(cells: Sequence[str], part: tuple[str, int, int]) -> bool:
    _, low, high = part
    if part == _MONTH and cells and all(map(_MONTH_NAME.fullmatch, cells)):
        return True
    inside = bool(cells) and all(cell.strip().isdecimal() and low <= int(cell) <= high for cell in cells)
    return inside and (part != _YEAR or {len(cell.strip()) for cell in cells} in ({2}, {4}))


def labels_of(cells: Cells) -> list[str]:
    """Return the columns that are labels: called so, and with no more than two values, which mean no and yes."""
    return [column for column, found in cells.items() if is_label_name(column) and _are_marks(found)]


def steady_codes_of(cells: Cells) -> list[str]:
    """Return the columns that are called as codes of quality, and hold one whole number throughout: 192, good, in OPC."""
    return [
        name
        for name, own in cells.items()
        if len(set(own)) == 1
        and re.fullmatch(r"\s*\d{1,9}\s*", own[0])
        and (_QUALITY.fullmatch(name.strip()) or (_STATUS.fullmatch(name.strip()) and int(own[0]) in _GOOD_IN_OPC))
    ]


def doubtful_labels_of(cells: Cells) -> list[str]:
    """Return the columns that are called labels and hold a few classes, which are more than no and yes."""
    called = {name: own for name, own in cells.items() if is_label_name(name) and name.strip().lower() not in _SERIES_TOO}
    return [
        name for name, own in called.items() if own and not _are_marks(own) and _are_classes(set(map(plain_mark, own)), len(own))
    ]


def _are_classes(values: set[str], n: int) -> bool:
    return len(values) <= min(_MOST_CLASSES, n / 5) and (
        all(re.fullmatch(r"-?\d+", x) for x in values) or not any(map(is_number, values))
    )


@lru_cache(maxsize=4096)
def is_label_name(name: str) -> bool:
    """Tell whether a column is called as labels are, in any spelling: IsAnomaly, gt_label, machine failure."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name.strip())
    words = [word for word in re.split(r"[\W_]+|(?<=[^\W\d_]{5})\d+$", spaced.lower()) if word]
    rest = [word for word in words if word not in _NEUTRAL_WORDS]
    if words and set(words) & _LABEL_WORDS:
        return True
    if words in (["change", "point"], ["change", "points"], ["ground", "truth"], ["y", "true"]):
        return True
    return bool(words) and set(words) <= _WEAK_LABEL_WORDS | _NEUTRAL_WORDS and (bool(rest) or words[-1] in _WEAK_LABEL_WORDS)


def _are_marks(cells: Sequence[str]) -> bool:
    return bool(marks_of(cells))


def marks_of(cells: Sequence[str]) -> frozenset[str]:
    """Return what labels of the kind of these may be, as `plain_mark` writes them; none if these are no labels."""
    texts = {plain_mark(cell) for cell in cells}
    return frozenset[str]().union(*(marks for marks in _LABEL_TEXTS if texts and texts <= marks))


def plain_mark(cell: str) -> str:
    """Return a label as it is compared: 1 for 1.0, yes for YES."""
    text = cell.strip().lower()
    return re.sub(r"\.0*$", "", text)


def counters_of(cells: Cells, clock: Floats | None = None) -> list[str]:
    """Return the columns that count rows or time: called so and another on each row, or always forward by the same step.

    Args:
        cells: by column some of its cells.
        clock: the times of as many rows, in any unit: a column that goes in step with them is a clock too.
    """
    found = []
    onwards = np.diff([] if clock is None else clock[:_FEWEST_STEPS])
    for column, own in cells.items():
        few = numbers_of(own[:_FEWEST_STEPS])
        if few is None or len(few) < 3:
            continue
        counts = is_counter_name(column)
        steps = np.diff(few) * (np.sign(onwards) if clock is not None and len(own) == len(clock) else 1)
        if not counts and (steps < 0).any() and (steps > 0).any():
            continue
        numbers = numbers_of(own)
        if numbers is None:
            continue
        if (counts and _counts(numbers)) or _goes_evenly(numbers) or _is_another_clock(column, own, numbers, clock):
            found.append(column)
    return found


def clocks_apart(cells: Cells, counters: Sequence[str]) -> list[str]:
    """Return columns that are called times and go on evenly, each at a pace of its own; none if it is one pace in several units.

    Args:
        cells: by column some of its cells.
        counters: what `counters_of` found among them.
    """
    paces = {}
    for name in (name for name in counters if _CALLED_TIME.search(name)):
        numbers = numbers_of(cells[name])
        if numbers is not None and len(numbers) > 1:
            paces[name] = float(np.median(np.diff(numbers)))
    known = [pace for pace in paces.values() if pace > 0]
    ratios = [max(known) / pace for pace in known]
    same = all(min(abs(ratio / unit - 1) for unit in _PACES) < _EVENLY for ratio in ratios)
    return [] if same else list(paces)


def _counts(numbers: Floats) -> bool:
    """Tell whole numbers that differ on each row, in any order, or go on by one and begin anew now and then."""
    steps = np.diff(numbers)
    again = (steps < 0) & (numbers[1:] <= numbers[0] + 1)
    whole = bool((numbers == np.rint(numbers)).all())
    return whole and (len(np.unique(numbers)) == len(numbers) or bool(((steps == 1) | again).all()))


@lru_cache(maxsize=4096)
def is_counter_name(column: str) -> bool:
    """Tell names such as index, row number and id."""
    return bool(_COUNTER.fullmatch(column.strip().lower()))


def _goes_evenly(numbers: Floats) -> bool:
    steps = np.diff(numbers)
    return len(steps) >= _FEWEST_STEPS and steps[0] > 0 and bool((np.abs(steps - steps[0]) <= _EVENLY * steps[0]).all())


def _is_another_clock(column: str, cells: Sequence[str], numbers: Floats, clock: Floats | None) -> bool:
    """Tell numbers that are times, or go in step with the time."""
    if len(numbers) < _FEWEST_STEPS:
        return False
    if are_rising(cells) and (are_epochs(cells) or (_TIME_LIKE.fullmatch(column.strip().lower()) and are_times(cells))):
        return True
    if clock is None or len(clock) != len(numbers):
        return False
    steps, others = np.diff(numbers), np.diff(clock)
    ratio = np.abs(steps).sum() / np.abs(others).sum() if others.any() else 0.0
    return bool(ratio > 0 and (np.abs(steps - ratio * others) <= _EVENLY * np.abs(ratio * others).max()).all())
