"""Separator, header and decimal mark of a text file, from its first lines.

A separator fits where the header and nearly all records have the same number of fields with it. The first line is the header,
unless another line further down fits the records and the first does not: then what stands above is a title, or the `sep=` of a
spreadsheet. What fits nothing is refused in one sentence rather than record by record.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from anomaly.errors import DataError, shorten

DELIMITERS = (",", ";", "\t", "|")
# So many records are looked at.
SAMPLE = 200
# Of them so many, as a share, must have the number of fields that is most frequent.
_MOST_ALIKE = 0.9
_FEWEST_ALIKE = 3
# A header is looked for in so many lines.
_MOST_TITLE_LINES = 20
# And units in so many lines below it.
_MOST_UNIT_LINES = 2
_LIKE_A_NUMBER = re.compile(r"\s*[+-]?[.,]?\d(?!\w*[A-Za-z/^])|\s*\d+(?:[.,:/T-]|$)")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s*")
_POINT_NUMBER = re.compile(r"\s*[+-]?\d*\.\d+(?:[eE][+-]?\d+)?\s*")
_GROUPED = {mark: re.compile(rf"\s*[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+\s*") for mark in ",."}
_GROUPED_FRACTION = {
    mark: re.compile(rf"\s*[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+{re.escape(other)}\d+\s*")
    for mark, other in ((",", "."), (".", ","))
}


@dataclass(frozen=True)
class Dialect:
    """How the text of a file is cut into fields.

    Attributes:
        delimiter: what separates them.
        title_lines: lines above the header.
        spare: whether every record ends with a separator that the header lacks.
    """

    delimiter: str
    title_lines: int = 0
    spare: bool = False


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line; an open quote ends with it."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # such as a field that is too long; it is told where records are read
        return [line]


def dialect_of(header: str, lines: Sequence[str], delimiter: str | None, name: str) -> Dialect:
    """Tell how a file is cut into fields.

    Args:
        header: its first line.
        lines: those that follow, some hundred at most are looked at.
        delimiter: what separates fields, if that is known.
        name: of the input, for messages.

    Raises:
        DataError: if its records have all the same number of fields, and no header fits them.
    """
    if said := _SEPARATOR_LINE.fullmatch(header.strip(" \r\n")):
        place = next((i for i, line in enumerate(lines) if line.strip()), None)
        if place is None:
            return Dialect(said[1])
        below = dialect_of(lines[place], lines[place + 1 :], said[1], name)
        return replace(below, title_lines=below.title_lines + place + 1)
    records = [line for line in lines[: SAMPLE + _MOST_TITLE_LINES] if line.strip()]
    choice = delimiter or usual_delimiter(header)
    candidates = [delimiter] if delimiter else [choice, *(mark for mark in DELIMITERS if mark != choice)]
    if not records:
        return Dialect(choice)
    for mark in candidates:
        if (spare := _fits(header, records, mark)) is not None:
            return Dialect(mark, spare=spare)
    for mark in candidates:
        if (found := _with_titles(lines, mark)) is not None:
            return found
    _refuse(header, records, choice, name)
    return Dialect(choice)


def usual_delimiter(header: str) -> str:
    """Return what separates the names of a header by itself: a comma, or where there is none the most frequent of the others."""
    others = max(DELIMITERS[1:], key=header.count)
    return "," if "," in header or others not in header else others


def _fits(header: str, records: Sequence[str], mark: str) -> bool | None:
    """Tell whether records end with a separator too many; None if the header does not fit them."""
    n = len(cells_of(header, mark))
    found = [cells_of(line, mark) for line in records[:SAMPLE]]
    if sum(len(cells) == n for cells in found) >= _MOST_ALIKE * len(found):
        cut = sum(any(other in line for other in DELIMITERS) for line in records[:SAMPLE])
        alone = mark == usual_delimiter(header) and cut < len(found) / 2
        return False if n > 1 or alone else None
    spare = sum(len(cells) == n + 1 and not cells[-1].strip() for cells in found)
    return True if spare >= max(_MOST_ALIKE * len(found), _FEWEST_ALIKE) else None


def _with_titles(lines: Sequence[str], mark: str) -> Dialect | None:
    """Look for a header further down."""
    for place, line in enumerate(lines[:_MOST_TITLE_LINES]):
        cells, below = cells_of(line, mark), [other for other in lines[place + 1 :][:SAMPLE] if other.strip()]
        names = cells[:-1] if cells and not cells[-1].strip() else cells
        if len(names) < 2 or not all(cell.strip() for cell in names[1:]) or len(below) < 2 or any(map(_is_number, cells)):
            continue
        spare = _fits(line, below, mark)
        if spare is not None:
            return Dialect(mark, place + 1, spare)
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _refuse(header: str, records: Sequence[str], mark: str, name: str) -> None:
    counts = Counter(len(cells_of(line, mark)) for line in records[:SAMPLE])
    number, often = counts.most_common(1)[0]
    n = len(cells_of(header, mark))
    if number == n or often < _MOST_ALIKE * sum(counts.values()) or often < _FEWEST_ALIKE:
        return
    raise DataError(
        f"Every record must have as many fields as the header ({n}). Received: {number} in {often} of the first "
        f"{sum(counts.values())} records, with {_shown(mark)} between them ({name}). Name another separator with --delimiter, put "
        "numbers with a decimal comma in quotes, or remove what stands above the header."
    )


def _shown(mark: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}.get(mark, repr(mark))


def n_unit_lines(rows: Sequence[Sequence[str]], missing: Collection[str]) -> int:
    """Return how many lines below the header hold units or types: texts without a number, where numbers follow.

    Args:
        rows: the cells of the first records.
        missing: what stands for a missing value.
    """
    for n, row in enumerate(rows[: _MOST_UNIT_LINES + 1]):
        if any(_LIKE_A_NUMBER.match(cell) for cell in row):
            return n
        if all(cell.strip() in missing for cell in row):
            return 0
    return 0


def number_marks(columns: dict[str, list[str]], decimal: str | None, thousands: str | None, name: str) -> tuple[str, str | None]:
    """Tell the decimal mark and the mark between thousands from the cells of columns of numbers.

    Args:
        columns: by name some cells of each.
        decimal: the mark, if it is known.
        thousands: the mark, if it is known.
        name: of the input, for messages.

    Raises:
        DataError: if cells can be read either way, and neither mark is known.
    """
    if thousands is not None:
        return decimal or ("," if thousands == "." else "."), thousands
    if decimal is not None:
        return decimal, _thousands_beside(decimal, columns)
    for column, cells in columns.items():
        commas = [cell for cell in cells if "," in cell]
        if not commas or not all(_is_comma_number(cell) for cell in commas):
            continue
        if any(_GROUPED_FRACTION["."].fullmatch(cell) for cell in commas):
            return ",", "."
        if any(_GROUPED_FRACTION[","].fullmatch(cell) for cell in commas):
            return ".", ","
        if any(_POINT_NUMBER.fullmatch(cell) for cell in cells):
            continue  # a mixture, which is refused where the cells are read
        if all(_GROUPED[","].fullmatch(cell) for cell in commas):
            raise DataError(
                f"A comma in a number must have one meaning. Received: {shorten(commas[:3])} in column {column!r} ({name}), "
                "thousands or fractions. Say --decimal , or --thousands ,."
            )
        return ",", None
    return ".", None


def _thousands_beside(decimal: str, columns: dict[str, list[str]]) -> str | None:
    """Return the other mark if it can only stand between thousands, where the decimal mark is known."""
    mark = "," if decimal == "." else "."
    marked = [cell for cells in columns.values() for cell in cells if mark in cell]
    patterns = (_GROUPED[mark], _GROUPED_FRACTION[mark])
    return mark if marked and all(any(pattern.fullmatch(cell) for pattern in patterns) for cell in marked) else None


def _is_comma_number(cell: str) -> bool:
    patterns = (_COMMA_NUMBER, _GROUPED[","], _GROUPED_FRACTION[","], _GROUPED_FRACTION["."])
    return any(pattern.fullmatch(cell) for pattern in patterns)
