"""What each column is for, from its name and some of its cells: the time, labels, counts of rows and further clocks, features."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from shlex import quote

import numpy as np

from anomaly.errors import DataError, shorten
from anomaly.series import Floats, Ints
from anomaly.times.calendar_parts import is_calendar_name
from anomaly.times.column import numbers_of
from anomaly.times.epochs import are_epochs, are_rising, are_since_1970
from anomaly.times.moments import is_number
from anomaly.times.periods import OTHER_PERIODS
from anomaly.times.spreadsheet_days import are_days, are_whole_days
from anomaly.times.time_parts import CLOCK_NAME, bare_name, is_moving_date, is_year_name, refuse_parts_without_a_year
from anomaly.times.written import are_months_of_years, even_share, may_have_format, spelled_formats

Cells = Mapping[str, Sequence[str]]

# Called so, a column is the time, unless its numbers go back and forth.
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Called so, it is the time if it holds times.
_TIME_LIKE = re.compile(
    r"t|ts|clock|dt|when|epoch.*|unix.*|.*time.*|.*date.*|.*_(?:at|ts|on|epoch|unix)|.*(?:datum|zeit|stamp|fecha|hora|temps|heure).*|ms|_time|"
    r".*yyyy.*|data|.*(?:时间|日期|日時|日付|時間|時刻|시간|날짜|дата|время).*"
)
# Called so, numbers that rise or texts are times that count from somewhere else, or in weeks, months, quarters or years.
_PERIODS = re.compile(
    r"gps.*(?:week|sec|time|tow).*|tow|sow|itow|jd|mjd|julian.*|.*datenum.*|elapsed.*|secs?|seconds?|millis|micros|ticks?|(?:.*[^a-z])?(?:year|week|month|quarter|jahr|monat|woche|quartal)s?(?:[^a-z].*)?|"
    r"year(?:week|month|quarter)|yyyy.*"
)
# What counts what has passed through it, and rises as a clock does.
_METER = re.compile(
    r"(?i)(?:.*[^a-z])?(?:total|cum|cumulative|energy|k?wh|m3|volume|meter|counter|count|odometer|km|miles|bytes|octets|packets|"
    r"requests|zähler|zaehler|stand|index)(?:[^a-z].*)?"
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
    "abnormal", "defect", "defective", "malicious", "intrusion", "novelty", "störung", "stoerung", "ausfall", "anomalía",
    "anomalia", "anomalías", "anomalo", "anormal", "fallo", "falla", "panne", "défaut", "defaut", "异常", "異常", "标签", "標籤",
    "故障", "аномалия", "метка", "inlier", "outage", "downtime", "breakdown",
))  # fmt: skip
_WEAK_LABEL_WORDS = frozenset((
    "target", "class", "y", "event", "alarm", "flag", "marked", "broken", "incident", "normal", "truth", "alert", "alerts",
    "warning", "gt", "leak", "leakage", "error", "fehler", "spike", "rare", "suspicious", "failed", "fail", "maintenance",
    "annotated", "annotation", "annotations", "mark", "marker", "pred", "events", "alarms", "tag", "tags", "severity", "sev",
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
# What such texts say, as `plain_mark` writes them; of -1 and 1 nobody knows which is the anomaly.
LABELS_AS_NUMBERS = dict.fromkeys(("0", "false", "f", "no", "n", "normal", "ok"), 0.0) | dict.fromkeys(
    ("1", "true", "t", "yes", "y", "anomaly", "attack", "abnormal", "fault", "nok"), 1.0
)
# A column of labels with more values than two has no more than so many.
_MOST_CLASSES = 20
_COUNTER = re.compile(
    r"(?:|#|(?:[a-z]+_)?index|idx|rows?[ _-]?(?:id|no|nr|num|number|index)?|no|nr|num|number|id|seq|"
    r"sequence(?:[ _-]?(?:no|number))?|unnamed: ?\d+|(?:record|line|entry)[ _-]?(?:id|no|nr|num|number)?|level_\d|objectid)\.?"
)
# What counts the rows or the time of a run; a run has so many rows, and its steps are equal but for so large a share.
_COUNTS_A_RUN = re.compile(
    r"(?:.*[^a-z])?(?:steps?|samples?|cycles?|frames?|ticks?|index|idx|rows?|row_?id|no|nr|num|number|seq|t|ts|time.*|.*time|elapsed.*|secs?|seconds?|"
    r"ms|us|millis|micros|zeit.*)(?:[^a-z].*)?"
)
_FEWEST_A_RUN, _MOSTLY_ONE_STEP = 4, 0.5
_NAME_RUNS = "Name each run in a column for --id-column, or say"
# Numbers of rows in any order leave out others rarely.
_MOST_SPREAD = 3
# A clock goes forward by one step so many times at least.
_FEWEST_STEPS = 20
# Its steps are equal but for rounding.
_EVENLY = 1e-3
# Numbers from 0 that go back more often, as a share, are no times unless they lie evenly: so many of their steps are equal.
_MOST_BACK, _MOSTLY_EVEN = 0.1, 0.6
_FINE_FRACTION = re.compile(r"[.,]\d{4,}\s*$")
# So many of the times differ, as a share; several series have each of them in common.
_LEAST_DIFFERENT = 0.1


def time_column_of(cells: Cells, name: str) -> str | None:
    """Return which column is the time; None if rows are to be counted.

    Args:
        cells: by column, in the order of the file, some of its cells that are not empty.
        name: of the input, for messages.

    Raises:
        DataError: if two columns may be, or one is called so and cannot be it.
    """
    named = [column for column in cells if bare_name(column) in TIME_NAMES]
    clocks = [column for column in named if goes_on(cells[column])]
    if clocks:
        return next((column for column in clocks if is_moving_date(cells[column])), clocks[0])
    found = _time_by_cells({column: own for column, own in cells.items() if column not in named}, name)
    found = found or next((column for column in named if _lies_evenly(cells[column])), None)
    if named and found is None:
        raise DataError(
            f"Times must go forward, or be dates. Received: {shorten(list(cells[named[0]][:3]))} in column {named[0]!r} ({name}). "
            f"Say --time-column with another one; or --time-column none to count rows, and it is a feature."
        )
    return found


def goes_on(cells: Sequence[str]) -> bool:
    """Tell what is called a time and may be one: texts, numbers that are dates, and such as rarely go back, or rarely forward."""
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) < _FEWEST_RISING or are_since_1970(numbers) or are_times(cells):
        return True
    back = float((np.diff(numbers) < 0).mean())
    return min(back, 1 - back) <= _MOST_BACK


def _lies_evenly(cells: Sequence[str]) -> bool:
    """Tell numbers that would come evenly if they were sorted."""
    numbers = numbers_of(cells)
    return numbers is not None and even_share(numbers) > _MOSTLY_EVEN and len(set(cells)) > len(cells) / 2


def _time_by_cells(cells: Cells, name: str) -> str | None:
    """Return which column is the time where none is called so; None if rows are to be counted."""
    iso = [column for column, found in cells.items() if is_moving_date(found)]
    if iso:
        return iso[0] if iso[0] == next(iter(cells)) else only(iso, name)
    like = [column for column, found in cells.items() if _TIME_LIKE.fullmatch(column.strip().lower()) and are_times(found)]
    if like:
        return only(like, name)
    months = [column for column, found in cells.items() if are_months_of_years(found)]
    if months:
        return only(months, name)
    first = next(iter(cells), None)
    if first is not None and are_rising(cells[first]) and _may_be_unnamed_time(first, cells[first]):
        return first
    return next((column for column, found in cells.items() if is_year_name(column) and _are_years(found)), None)


def _may_be_unnamed_time(column: str, cells: Sequence[str]) -> bool:
    """Tell a first column that is the time though it is not called so: dates in digits, and numbers that come evenly.

    A meter, a counter of bytes and a height rise as well, through numbers that are seconds since 1970 or days of a spreadsheet.
    """
    if spelled_formats(cells):
        return True
    numbers = numbers_of(cells)
    bare = is_counter_name(column) or not any(c.isalpha() for c in column)
    even = numbers is not None and even_share(numbers) > _MOSTLY_EVEN
    fine = even and any(map(_FINE_FRACTION.search, cells))  # most hours of a day have more than three decimals
    return (are_epochs(cells) and (bare or even)) or (are_days(cells) and (bare or fine))


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
    refuse_parts_without_a_year(cells, name)
    _refuse_years_with_others(cells, name)
    _refuse_rising_first(cells, clocks, name)
    for column, own in cells.items():
        few = own[:_MOST_LOOKED_INTO]
        called = is_called_like_times(column) or bool(_PERIODS.fullmatch(column.strip().lower()))
        known = _MEASURED if called else _WITH_UNIT
        texts = len(few) >= _FEWEST_RISING and not any(known.fullmatch(cell) or is_number(cell) for cell in few)
        texts &= all(any(c.isdecimal() for c in cell) for cell in few)
        numbers = called and column not in clocks and len(own) >= _FEWEST_RISING and (rises(own) or is_year_name(column))
        if numbers or (texts and len(set(few)) >= (2 if called else _MOST_DIFFERENT * len(few))):
            raise DataError(
                f"The time must be of a kind that is known. Received: {own[0]!r} in column {column!r}, and no other column of "
                f"times ({name}). {_readable(column, own[0], texts=texts)} "
                f"--ignore-columns {quote(column)} to count rows."
            )


def _readable(column: str, cell: str, *, texts: bool) -> str:
    """Say what would let times be read that nobody can read, where there is such a thing."""
    if texts and not may_have_format(cell):
        return "Write the first moment of each row, or say"
    return f"Say --time-column {quote(column)}{', with a --time-format' * texts} if it is the time, or"


def _refuse_years_with_others(cells: Cells, name: str) -> None:
    """Refuse a year beside a quarter, a week or another part of it, which are no month."""
    year = next((column for column, own in cells.items() if is_year_name(column) and numbers_of(own) is not None), None)
    part = next((column for column in cells if OTHER_PERIODS.search(column.lower())), None)
    if year is not None and part is not None and len(set(cells[year])) < len(cells[year]):
        raise DataError(
            f"The time must be of a kind that is known. Received: {year!r} and {part!r} ({name}). Write the first day of each in "
            f"one column, or say --ignore-columns {quote(f'{year},{part}')} to count rows."
        )


def _refuse_rising_first(cells: Cells, clocks: Sequence[str], name: str) -> None:
    """Refuse a first column that rises on each row: it is a clock that somebody named otherwise, unless it is a meter."""
    first = next(iter(cells), None)
    numbers = None if first is None or first in clocks or len(cells) < 2 else numbers_of(cells[first])
    if numbers is None or len(numbers) < _FEWEST_STEPS or (np.diff(numbers) <= 0).any():
        return
    steps, whole = np.diff(numbers), bool((numbers == np.rint(numbers)).all())
    if whole and (_METER.fullmatch(str(first).strip()) or np.ptp(steps) > steps.mean()):
        return
    raise DataError(
        f"The time must be of a kind that is known. Received: {first!r}, which rises on each row, and no column of times ({name}). "
        f"Say --time-column {quote(str(first))} --time-format epoch if it counts seconds, --ignore-columns {quote(str(first))} to "
        "count rows, or --value-columns with all features if it is one."
    )


def refuse_restarts(cells: Cells, name: str) -> None:
    """Refuse a count or a clock that begins anew now and then, where rows are counted: runs that stand one below the other.

    Args:
        cells: by column some of its cells.
        name: of the input, for messages.

    Raises:
        DataError: with the option that tells the runs apart, where a column does, and the one that takes them as one series.
    """
    for column, own in cells.items():
        if not _counts_a_run(column):
            continue
        if (begins := _restarts(numbers_of(own))) is None or not len(begins):
            continue
        runs = next((other for other, found in cells.items() if other != column and _changes_at(found, begins, len(own))), None)
        named = f"Say --id-column {quote(runs)} for a series of each, or" if runs else _NAME_RUNS
        raise DataError(
            f"Rows of several runs must be told apart. Received: {column!r}, which begins anew {len(begins):,} time"
            f"{'s' * (len(begins) > 1)} in the first {len(own):,} rows ({name}). {named} --ignore-columns {quote(column)} to take "
            "all rows as one series."
        )


def _counts_a_run(column: str) -> bool:
    return bool(_COUNTS_A_RUN.fullmatch(column.strip().lower())) and not is_calendar_name(column)


def _restarts(numbers: Floats | None) -> Ints | None:
    """Return where numbers that go on by one step begin anew, `(n,)`; None if they do anything else."""
    if numbers is None or len(numbers) < _FEWEST_STEPS:
        return None
    steps = np.diff(numbers)
    onwards, falls = steps[steps > 0], np.flatnonzero(steps < 0)
    if not len(onwards) or (steps == 0).any() or len(falls) > len(numbers) / _FEWEST_A_RUN:
        return None
    step = float(np.median(onwards))
    even = np.abs(onwards - step) <= _MOSTLY_ONE_STEP * step
    back = np.abs(numbers[falls + 1] - numbers[0]) <= 2 * step
    found: Ints = falls + 1
    return found if even.mean() > _MOSTLY_EVEN and back.all() else None


def _changes_at(cells: Sequence[str], places: Ints, n: int) -> bool:
    """Tell cells, one a row, that change in some places and in no others."""
    return len(cells) == n and [i for i in range(1, n) if cells[i] != cells[i - 1]] == places.tolist()


def rises(cells: Sequence[str]) -> bool:
    """Tell numbers that rise, or stay, and do not all stay."""
    numbers = numbers_of(cells)
    return numbers is not None and bool((np.diff(numbers) >= 0).all() and numbers[0] < numbers[-1])


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


def is_called_like_times(column: str) -> bool:
    """Tell whether a column is called as times or times of day are."""
    name = column.strip().lower()
    return bool(name in TIME_NAMES or _TIME_LIKE.fullmatch(name) or CLOCK_NAME.fullmatch(name))


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
        if not counts and not _counts_a_run(column) and (steps < 0).any() and (steps > 0).any():
            continue
        numbers = numbers_of(own)
        if numbers is None:
            continue
        begins_anew = clock is None and _counts_a_run(column) and (begins := _restarts(numbers)) is not None and len(begins) > 0
        if (counts and _counts(numbers)) or _goes_evenly(numbers) or _is_another_clock(column, own, numbers, clock) or begins_anew:
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
    """Tell whole numbers that always rise, or lie close and differ on each row, or go on by one and begin anew now and then."""
    steps = np.diff(numbers)
    again = (steps < 0) & (numbers[1:] <= numbers[0] + 1)
    whole = bool((numbers == np.rint(numbers)).all())
    differ = len(np.unique(numbers)) == len(numbers) and np.ptp(numbers) <= _MOST_SPREAD * len(numbers)
    return whole and bool(differ or (steps > 0).all() or ((steps == 1) | again).all())


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
    called = _TIME_LIKE.fullmatch(column.strip().lower())
    if are_rising(cells) and (
        are_times(cells) if called else clock is None and are_epochs(cells) and even_share(numbers) > _MOSTLY_EVEN
    ):
        return True
    if clock is None or len(clock) != len(numbers):
        return False
    steps, others = np.diff(numbers), np.diff(clock)
    ratio = np.abs(steps).sum() / np.abs(others).sum() if others.any() else 0.0
    return bool(ratio > 0 and (np.abs(steps - ratio * others) <= _EVENLY * np.abs(ratio * others).max()).all())
