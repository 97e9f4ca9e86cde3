"""Which line names the columns, where more than one line of texts stands above the first record; and whether it names times."""

import json
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from anomaly.errors import DataError, shorten
from anomaly.meaning.moments import are_epochs, are_iso, is_number
from anomaly.meaning.roles import TIME_NAMES
from anomaly.meaning.written import spelled_formats, written_formats

# Fewer names of times are no table on its side; of hours, a day has so many.
_FEWEST_TIMES = 5
_HOURS_OF_A_DAY = (23, 24, 25)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
# A detector remembers units that fill so many characters.
_LONGEST_UNITS = 1_000
# Units are looked for in so many lines.
MOST_UNIT_LINES = 3
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
    "gb", "bit", "bits", "mbps", "pcs", "stk", "m^3/h", "m^3", "m^2",
))  # fmt: skip
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
    n = _n_lines_of_texts(rows, missing, len(header))
    if not n or len(header) == 1 or (not all(cell.strip() for cell in rows[0]) and not _are_units(rows[0])):
        return 0, 0
    lines = [header, *rows[:n]]
    named = [place for place, cells in enumerate(lines) if any(cell.strip().lower() in TIME_NAMES for cell in cells)]
    place = named[0] if len(named) == 1 else 0
    if all(_are_units(cells) for cells in lines[place + 1 :]):
        return place, n - place
    raise DataError(
        f"One line must name the columns, and only lines of units may follow it. Received: {shorten(list(header))}, and below it "
        f"{shorten(list(rows[0]))} ({name}). Remove the lines that are no names."
    )


def units_text(columns: Sequence[str], units: Sequence[str], features: Collection[str]) -> str:
    """Return the units of features as a detector remembers them; empty where a file has none, or too many."""
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
        if any(map(_is_measured, row)):
            return n
        if all(cell.strip() in missing for cell in row):
            return 0
    return 0


def _is_measured(cell: str) -> bool:
    """Tell a number or a time, which no line of names or units has."""
    if _LIKE_A_NUMBER.match(cell) or _TIME_OF_DAY.search(cell):
        return True
    return (is_number(cell) and cell.strip().lower() != "nan") or bool(written_formats([cell]))


def _are_units(cells: Sequence[str]) -> bool:
    words = [cell.strip() for cell in cells if cell.strip() and not _LIKE_A_NUMBER.match(cell)]
    return bool(words) and all(_is_unit(cell.strip()) for cell in cells)


def _is_unit(cell: str) -> bool:
    bare = cell.strip("[]() ").lower()
    if bare in {"", "1"} or not bare.strip("-+=:| ") or bare in _UNIT_WORDS or re.sub(r"^deg ", "°", bare) in _UNIT_WORDS:
        return True
    return bool(_BRACKETED.fullmatch(cell) or (_DATE_PATTERN.fullmatch(cell) and not any(c.isdecimal() for c in cell)))
