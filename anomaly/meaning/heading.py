"""Which line names the columns, where more than one line of texts stands above the first record; and whether it names times."""

import json
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import takewhile

from anomaly.columns.column_names import TIME_NAMES, is_called_like_times
from anomaly.errors import DataError, shorten
from anomaly.times.epochs import are_epochs
from anomaly.times.moments import are_iso, is_number
from anomaly.times.written import spelled_formats, written_formats

# Fewer names of times are no table on its side; of hours, a day has so many.
_FEWEST_TIMES = 5
_HOURS_OF_A_DAY = (23, 24, 25)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
# A detector remembers units that fill so many characters.
_LONGEST_UNITS = 1_000
# Units are looked for in so many lines.
MOST_UNIT_LINES = 3
# Titles as wide as the table, and the records that must follow them; so many lines below the header are looked at.
_MOST_TITLES, _FEWEST_RECORDS = 30, 3
MOST_LINES = 2 * _MOST_TITLES
# What databases and data frames call the types of columns; the words among them may name columns as well.
_TYPE = re.compile(
    r"(?:(?:nullable|lowcardinality)\()*(?:u?int(?:eger)?\d*|(?:big|small|tiny|medium)int|float\d*|double(?: precision)?|real|"
    r"decimal\d*|numeric|number|str|(?:fixed)?string|text|n?(?:var)?char2?|character varying|"
    r"bool(?:ean)?|date(?:time)?\d*|time(?:stamp)?\d*|"
    r"timestamp_?(?:tz|ntz|ltz)|timestamp with(?:out)? time zone|object|category|dictionary|short|long|byte|uuid|enum\d*)"
    r"(?:\(.*\)|\[.*\]|<.*>|:\w+)?\)*",
    re.IGNORECASE,
)
_WORDS_TOO = frozenset((*TIME_NAMES, "real", "number", "text", "object", "category", "short", "long", "byte", "char", "str"))
_LIKE_A_NUMBER = re.compile(r"\s*[+-]?[.,]?\d(?!\w*[A-Za-z/^])|\s*\d+(?:[.,:/T-]|$)")
# A written date may begin with the name of a day.
_TIME_OF_DAY = re.compile(r"\d:\d\d")
_BRACKETED = re.compile(r"\[.*\]|\(.*\)|<.*>")
_UNIT_WORDS = frozenset((
    "-", "--", "n/a", "none", "unitless", "dimensionless", "ts", "rn", "smp", "avg", "min", "max", "tot", "std", "med", "sd",
    "count", "#", "unit", "units", "utc", "gmt", "local", "time", "date", "string", "text", "double", "float", "int", "integer",
    "long", "real", "number", "numeric", "bool", "boolean", "datetime", "timestamp", "w", "kw", "mw", "gw", "wh", "kwh", "mwh",
    "j", "kj", "mj", "v", "mv", "kv", "a", "ma", "ka", "va", "kva", "var", "kvar", "hz", "khz", "mhz", "ghz", "rpm", "u/min",
    "r/min", "1/min", "1/s", "c", "°c", "ºc", "degc", "celsius", "f", "°f", "degf", "k", "kelvin", "%", "%rh", "rh", "bar",
    "mbar", "pa", "hpa", "kpa", "mpa", "psi", "atm", "torr", "mmhg", "m", "mm", "cm", "km", "um", "µm", "μm", "nm", "ft", "in",
    "inch", "mi", "m2", "m²", "m3", "m³", "l", "ml", "gal", "h", "hr", "hrs", "min", "mins", "s", "sec", "secs", "ms", "us",
    "ns", "d", "day", "days", "g", "kg", "mg", "µg", "ug", "t", "ton", "lb", "n", "kn", "nm", "bbl", "ppm", "ppb", "ph", "rad",
    "deg", "°", "mol", "lx", "lux", "lm", "cd", "db", "dba", "dbm", "t/h", "l/s", "l/h", "l/min", "m/s", "km/h", "mph", "m3/h",
    "m³/h", "m3/s", "m³/s", "kg/h", "kg/s", "m/s2", "m/s²", "mm/s", "g/l", "mg/l", "µg/m³", "ug/m3", "w/m2", "w/m²", "kwh/m2",
    "us/cm", "µs/cm", "ntu", "ohm", "ω", "kohm", "f", "pf", "nf", "uf", "h", "eur", "usd", "$", "€", "bytes", "b", "kb", "mb",
    "gb", "bit", "bits", "mbps", "pcs", "stk", "m^3/h", "m^3", "m^2", "seconds", "minutes", "hours", "milliseconds", "volts",
    "volt", "amps", "ampere", "amperes", "watts", "watt", "percent",
))  # fmt: skip
# As USGS says how wide a column is, and whether it holds text, dates or numbers.
_WIDTH = re.compile(r"\d+[sdn]")
# The unit of a share, a count or a frequency.
_ONES = re.compile(r"[(\[]?1(?: ?/ ?[A-Za-z]+)?[)\]]?")
_DATE_PATTERN = re.compile(r"[YMDHShms\-/:. T]{6,}|datetime:.*|yyyy.*|dd.*|hh:.*", re.IGNORECASE)


def refuse_times_as_names(names: Sequence[str], name: str) -> None:
    """Refuse a table that lies on its side: its columns are called as times, so each row holds a series.

    Args:
        names: of the columns that would be features.
        name: of the input, for messages.

    Raises:
        DataError: if at least half of the names, and five, are times one after the other.
    """
    if times := _times_among(tuple(names)):
        raise DataError(
            f"Each row of a table must have one time. Received: columns that are called as times, {shorten(times[:3])} and so "
            f"on ({name}). Turn the table, so that times stand in one column, or name the features with --value-columns if "
            "each row is one time all the same."
        )


@lru_cache(maxsize=64)  # the files of many series have the same names
def _times_among(names: tuple[str, ...]) -> list[str]:
    """Return the names that are times of one kind, if they are at least half of all, and five."""
    for kind in (are_iso, written_formats, spelled_formats, are_epochs, _are_years, _are_times_of_day, _are_hours, _are_months):
        times = [other for other in names if kind([other])]
        if len(times) >= max(_FEWEST_TIMES, len(names) / 2) and (kind is not _are_hours or len(times) in _HOURS_OF_A_DAY):
            return times
    return []


def _are_years(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"X?(?:1[6-9]|20|21)\d\d", name) for name in names)


def _are_times_of_day(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\d{1,2}:\d{2}(?::\d{2})?(?: ?[-\u2013] ?\d{1,2}:\d{2}(?::\d{2})?)?", name) for name in names)


def _are_hours(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"(?i:(?:h|he|hr|hour)[ _]?\d{1,2}|\d{1,2} ?h)", name) for name in names)


def _are_months(names: Sequence[str]) -> bool:
    return all(re.fullmatch(_MONTH, name.strip().lower()) for name in names)


def lines_of_names(header: Sequence[str], rows: Sequence[Sequence[str]], missing: Collection[str], name: str) -> tuple[int, int]:
    """Return how many lines of texts below the header are titles or units: those before the names, and those behind them.

    Args:
        header: the cells of the line that fits first.
        rows: the cells of the records below it, of the first few.
        missing: what stands for a missing value.
        name: of the input, for messages.

    Returns:
        By how many lines the names stand further down, and how many lines of units follow them.

    Raises:
        DataError: if nobody can tell which line has the names.
    """
    blank = len(list(takewhile(lambda cell: not cell, reversed(header))))
    if blank and not any(cell.strip() for row in rows for cell in row[len(header) - blank :]):
        header, rows = header[:-blank], [row[: len(header) - blank] for row in rows]
    if len(header) < 2:
        return 0, 0
    n = _n_lines_of_texts(rows, missing, len(header))
    if (above := _n_titles(header, rows)) > n:
        n = _n_lines_of_texts(rows[above:], missing, len(header))
        if all(_may_follow(rows[above - 1], row, sure=True) for row in rows[above : above + n]):
            return above, n
    elif not _goes_on_with_texts(header, rows, missing, n):
        found = _names_among(header, rows, n) if n else (0, 0)
        if found is not None:
            return found
    raise DataError(
        f"One line must name the columns, and only lines of units may follow it. Received: {shorten(list(header))}, and below it "
        f"{shorten(list(rows[0]))} ({name}). Remove the lines that are no names."
    )


def _names_among(header: Sequence[str], rows: Sequence[Sequence[str]], n: int) -> tuple[int, int] | None:
    """Return as `lines_of_names` where only the first `n` lines below the header are texts; None if nobody can tell."""
    lines = [header, *rows[:n]]
    others = [place for place, cells in enumerate(lines) if not (place and _are_types(cells, header))]
    named = [place for place in others if _has_time_name(lines[place])]
    place = named[0] if len(named) == 1 else 0
    sure = [place] == [other for other in others if any(map(is_called_like_times, lines[other]))]
    if not all(cell.strip() for cell in rows[0]) and not _may_follow(header, rows[0], sure=sure and not place):
        return 0, 0
    if (_may_be_types(lines[place]) if place else _are_types(header, ())) or not all(
        _may_follow(lines[place], row, sure=sure) for row in lines[place + 1 :]
    ):
        return None
    return place, n - place


def _n_titles(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many lines as wide as the table stand above one that calls a column as times, in which times begin below it."""
    for place, cells in enumerate(rows[:_MOST_TITLES]):
        if any(map(is_measured, cells)) or len(cells) != len(header) or _may_be_types(cells):
            continue
        if _are_units(cells) and not _has_time_name(cells):
            continue
        units = len(list(takewhile(lambda row: not any(map(is_measured, row)), rows[place + 1 :][:MOST_UNIT_LINES])))
        for column in (column for column, cell in enumerate(cells) if is_called_like_times(cell)):
            above = [header[column], *(row[column] for row in rows[:place] if len(row) > column)]
            below = [row[column] for row in rows[place + 1 + units :] if len(row) > column]
            if any(is_measured(cell) or cell.strip().lower() in TIME_NAMES for cell in above):
                continue
            if len(below) >= _FEWEST_RECORDS and all(map(is_measured, below)):
                return place + 1
    return 0


def _goes_on_with_texts(header: Sequence[str], rows: Sequence[Sequence[str]], missing: Collection[str], n: int) -> bool:
    """Tell titles, some with numbers, above records that all begin with a number or time; `n` lines below the header have none."""
    first = [row[0].strip() for row in rows if row]
    texts = list(takewhile(lambda cell: cell not in missing and not is_measured(cell), first[:_MOST_TITLES]))
    if len(texts) <= max(n, 1) or len(first) < len(texts) + _FEWEST_RECORDS or is_measured(header[0]):
        return False
    return all(map(is_measured, first[len(texts) :])) and any(not any(map(is_measured, row)) for row in rows[: len(texts)])


def is_like_records(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Tell a first line that is a record: numbers and times where all others have them, texts where they have none.

    Args:
        cells: of the first line.
        rows: of the records below it.
    """
    known = [
        (cell, [row[place] for row in rows if len(row) == len(cells) and row[place].strip()]) for place, cell in enumerate(cells)
    ]
    known = [(cell, below) for cell, below in known if cell.strip() and below]
    texts = [(cell, below) for cell, below in known if not is_measured(cell)]
    if len(texts) == len(known) or (texts and not any(cell in map(str.strip, below) for cell, below in texts)):
        return False
    return all(is_measured(cell) is is_measured(other) for cell, below in known for other in below)


def _has_time_name(cells: Sequence[str]) -> bool:
    return any(cell.strip().lower() in TIME_NAMES for cell in cells)


def _may_follow(names: Sequence[str], cells: Sequence[str], *, sure: bool) -> bool:
    """Tell a line of units, whatever they are called: below the name of a time, if it is `sure`, stands a word for its kind."""
    of_time = [cell for column, cell in zip(names, cells, strict=False) if sure and is_called_like_times(column)]
    return _are_units(cells) or (any(cell.strip() for cell in of_time) and all(map(_is_unit, of_time)))


def _may_be_types(cells: Sequence[str]) -> bool:
    return all(_TYPE.fullmatch(cell.strip()) for cell in cells)


def _are_types(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Tell types of columns from names: one of them is no word besides, or what stands above names a time."""
    sure = any(map(is_called_like_times, header)) or any(cell.strip().lower() not in _WORDS_TOO for cell in cells)
    return sure and _may_be_types(cells)


def units_text(columns: Sequence[str], units: Sequence[str], features: Collection[str]) -> str:
    """Return the units of features as a detector remembers them; empty where a file has none but types, or too many."""
    if all(_TYPE.fullmatch(unit.strip()) or _WIDTH.fullmatch(unit.strip()) for unit in units):
        return ""
    known = {name: _plain_unit(unit) for name, unit in zip(columns, units, strict=False) if name in features}
    text = json.dumps({name: unit for name, unit in known.items() if unit}, ensure_ascii=True)
    return text if len(text) <= _LONGEST_UNITS and text != "{}" else ""


def _plain_unit(unit: str) -> str:
    """Return a unit in one spelling: m³ and m^3 are m3, and there are three letters for a millionth."""
    plain = unit.strip(" []()").replace("^", "").replace("\u03bc", "u").replace("\u00b5", "u").replace("\u00ba", "\u00b0")
    return plain.replace("\u00b2", "2").replace("\u00b3", "3").replace(" ", "")


def refuse_other_units(before: str, now: str, name: str) -> None:
    """Refuse features that come in another unit than in training.

    Args:
        before: as `units_text` in training; empty if nothing is known.
        now: of this input.
        name: of the input, for messages.

    Raises:
        DataError: if a unit differs.
    """
    old, new = (json.loads(text) if text else {} for text in (before, now))
    for column in (column for column in new if old.get(column, new[column]) != new[column]):
        raise DataError(
            f"A column must have the unit that it had in training, {old[column]}. Received: {new[column]} for {column!r} ({name}). "
            "Convert its values, or remove the line of units if it is wrong."
        )


def _n_lines_of_texts(rows: Sequence[Sequence[str]], missing: Collection[str], n_cells: int) -> int:
    """Return how many of the first records have no number, if others do."""
    for n, row in enumerate(rows[: MOST_UNIT_LINES + 1]):
        if len(row) not in (n_cells, n_cells + 1) and "".join(row).strip(
            "-+=:| "
        ):  # a record that is wrong, and told as such; a rule of dashes has one field
            return 0
        if any(map(is_measured, row)) and not _are_units_with_ones(row, rows[n + 1 : n + 2], missing):
            return n
        if all(cell.strip() in missing for cell in row):
            return 0
    return 0


def is_measured(cell: str) -> bool:
    """Tell a number or a time, which no line of names or units has."""
    if _LIKE_A_NUMBER.match(cell) or _TIME_OF_DAY.search(cell):
        return True
    return (is_number(cell) and cell.strip().lower() != "nan") or bool(written_formats([cell]))


def _are_units(cells: Sequence[str]) -> bool:
    words = [cell.strip() for cell in cells if cell.strip() and not _LIKE_A_NUMBER.match(cell)]
    return bool(words) and all(_is_unit(cell.strip()) for cell in cells)


def _are_units_with_ones(cells: Sequence[str], below: Sequence[Sequence[str]], missing: Collection[str]) -> bool:
    """Tell a line of units, above a record, in which those that begin like numbers are the unit of what has none: 1, 1/min."""
    words = {place: cell.strip() for place, cell in enumerate(cells) if cell.strip() not in missing and not is_measured(cell)}
    if not words or not below or len(below[0]) < len(cells) or is_measured(cells[0]):  # mostly the time
        return False
    records = all(is_measured(below[0][place]) or below[0][place].strip() in missing for place in words)
    ones = all(_ONES.fullmatch(cell.strip()) for cell in cells if is_measured(cell))
    return records and is_measured(below[0][min(words)]) and ones and all(map(_is_unit, words.values()))


def _is_unit(cell: str) -> bool:
    bare = cell.strip("[]()' ").lower()
    if _TYPE.fullmatch(cell) or _WIDTH.fullmatch(bare):
        return True
    if bare in {"", "1"} or not bare.strip("-+=:| ") or bare in _UNIT_WORDS or re.sub(r"^deg ", "°", bare) in _UNIT_WORDS:
        return True
    return bool(_BRACKETED.fullmatch(cell) or (_DATE_PATTERN.fullmatch(cell) and not any(c.isdecimal() for c in cell)))
