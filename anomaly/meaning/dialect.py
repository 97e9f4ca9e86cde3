"""Separator, header and decimal mark of a text file, from its first lines.

A separator fits where the header and nearly all records have the same number of fields with it. The first line is the header,
unless another line further down fits the records and the first does not: then what stands above is a title, or the `sep=` of a
spreadsheet. What fits nothing is refused in one sentence rather than record by record.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from anomaly.errors import DataError, shorten

DELIMITERS = (",", ";", "\t", "|")
# So many records are looked at.
SAMPLE = 200
# Of them so many, as a share, must have the number of fields that is most frequent.
_MOST_ALIKE = 0.9
_FEWEST_ALIKE = 3
# A header is looked for in so many lines.
_MOST_TITLE_LINES = 100
# Names within quotes may be broken into so many lines.
_MOST_BROKEN = 50
# Fields of so many records are looked into.
_MOST_LOOKED_INTO = 20
# In such a share of them there must be nothing that separates others.
_LEAST_CLEAN = 0.5
# A longer line may have a field that the reader refuses.
_LONGEST_PLAIN = 1 << 16
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# A number, or a date in numbers.
_VALUE = re.compile(r"\s*(?:[+-]?[\d.,' ]*\d(?:[eE][+-]?\d+)?|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*)\s*$")
# A time of day or a date somewhere in a cell; and a number.
_TIME = re.compile(r"\d:\d\d|\d{1,4}[-./](?:\d{1,2}|[A-Za-z]{3})[-./]\d{1,4}|[A-Za-z]{3,9} \d{1,2}, \d{4}|^\s*\d{8,}\s*$")
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?\s*")
# With a comma before its fraction, or between its thousands.
_COMMA_NUMBER = re.compile(r"\s*[+-]?(?:[\d.]+,\d+(?:[eE][+-]?\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?)\s*%?")
_SHOWN_LINE = 60


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
    bare = line.rstrip("\r\n")
    # As the reader does it, ten times as fast.
    if '"' not in bare and "\r" not in bare and "\n" not in bare and len(bare) <= _LONGEST_PLAIN:
        return bare.split(delimiter) if bare else []
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # such as a field that is too long; it is told where records are read
        return [line]


def rows_of(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the fields of some lines, each as `cells_of` does."""
    bare = _are_bare(lines, "".join(lines))
    return [line.split(delimiter) for line in lines] if bare else [cells_of(line, delimiter) for line in lines]


def _n_cells(lines: Sequence[str], delimiter: str) -> list[int]:
    """Return how many fields each of some lines has."""
    whole = "".join(lines)
    if not _are_bare(lines, whole):
        return list(map(len, rows_of(lines, delimiter)))
    return [line.count(delimiter) + 1 for line in lines] if delimiter in whole else [1] * len(lines)


def _are_bare(lines: Sequence[str], whole: str) -> bool:
    """Tell lines without quotes and line ends, none of them empty or so long that a field may be refused."""
    marked = '"' in whole or "\r" in whole or "\n" in whole
    return not marked and min(map(len, lines), default=0) > 0 and max(map(len, lines)) <= _LONGEST_PLAIN


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
    if start := _n_comments(header, lines, candidates):
        below = dialect_of(lines[start - 1], lines[start:], delimiter, name)
        return replace(below, title_lines=below.title_lines + start)
    fitting = [Dialect(mark, spare=spare) for mark in candidates if (spare := _fits(header, records, mark)) is not None]
    best = max(fitting, key=lambda found: _clean_share(records, found.delimiter), default=None)
    named = best is not None and _names_all(header, records, best.delimiter)
    share = _clean_share(records, best.delimiter) if best is not None else 0.0
    if named and best is not None and share > _LEAST_CLEAN:
        return best
    titled = [found for mark in candidates if (found := _with_titles(lines, mark)) is not None]
    titled.sort(key=lambda found: (-_clean_share(lines[found.title_lines :], found.delimiter), found.title_lines))
    for found in titled[:1]:
        titled_share = _clean_share(lines[found.title_lines :], found.delimiter)
        if titled_share > share or (not named and titled_share == share):
            return found
    if best is not None:
        return best
    _refuse(header, records, choice, name)
    return Dialect(choice)


def usual_delimiter(header: str) -> str:
    """Return what separates the names of a header by itself: a comma, or where there is none the most frequent of the others."""
    others = max(DELIMITERS[1:], key=header.count)
    return "," if "," in header or others not in header else others


def refuse_odd_quotes(header: str, lines: Sequence[str], delimiter: str, place: str) -> None:
    """Refuse quotes around whole lines, and quotes behind a blank, which are no quotes of fields.

    Args:
        header: the line that names the columns.
        lines: some records below it.
        delimiter: what separates the fields.
        place: of the header, for messages.

    Raises:
        DataError: with what removes them.
    """
    if '"' not in header:
        return
    whole, cells = header.strip(), cells_of(header, delimiter)
    if len(cells) == 1 and all(line[:1] == line.rstrip()[-1:] == '"' for line in (whole, *lines)):
        inner = usual_delimiter(whole)
        if inner in cells[0] and all(len(cells_of(line, inner)) == 1 and inner in line for line in lines):
            raise DataError(
                f"Fields must be quoted one by one. Received: quotes around whole lines, {whole[:_SHOWN_LINE]} ({place}). "
                "Remove them, with sed 's/^\"//; s/\"$//'."
            )
    if any(map(_is_quoted_behind_a_blank, cells)) and any(
        _is_quoted_behind_a_blank(cell) for line in lines for cell in cells_of(line, delimiter)
    ):
        raise DataError(
            "A quote must stand right behind what separates the fields. "
            f"Received: blanks before it, {whole[:_SHOWN_LINE]} ({place}). "
            f"Remove them, with sed 's/{delimiter}  *\"/{delimiter}\"/g'."
        )


def _is_quoted_behind_a_blank(cell: str) -> bool:
    bare = cell.strip()
    return cell[:1].isspace() and len(bare) > 1 and bare[0] == bare[-1] == '"'


def broken_names(lines: Sequence[str]) -> tuple[int, int, str] | None:
    """Return a line of names of which one goes on below, as a spreadsheet writes a line break within quotes.

    Args:
        lines: the first of a file.

    Returns:
        The place of the line, how many lines it has, and the whole with blanks for the line ends; None if there is none.
    """
    place = next((place for place, line in enumerate(lines[:_MOST_TITLE_LINES]) if line.count('"') % 2), None)
    if place is None:
        return None
    whole = lines[place]
    for n, line in enumerate(lines[place + 1 : place + _MOST_BROKEN], 2):
        whole = f"{whole.rstrip()} {line.lstrip()}"
        if whole.count('"') % 2 == 0:
            named = any(len(cells := cells_of(whole, mark)) > 1 and _may_be_names(cells) for mark in DELIMITERS)
            return (place, n, whole) if named else None
    return None


def _n_comments(header: str, lines: Sequence[str], candidates: Sequence[str]) -> int:
    """Return how many lines begin with "#" above one that does not and names columns; 0 if one of them names the columns."""
    if not header.startswith("#"):
        return 0
    place = next((i for i, line in enumerate(lines) if not line.startswith("#")), None)
    if place is None or not lines[place].strip():
        return 0
    return place + 1 if any(len(cells := cells_of(lines[place], mark)) > 1 and _may_be_names(cells) for mark in candidates) else 0


def _may_be_names(cells: Sequence[str]) -> bool:
    """Tell cells that may name columns: only the first may be empty, and the last ones behind two names; none is a value."""
    names = cells[: len(cells) - _n_spare(cells)]
    return (len(names) > 1 or len(cells) <= 2) and all(cell.strip() for cell in names[1:]) and not any(map(_VALUE.match, cells))


def _n_spare(cells: Sequence[str]) -> int:
    """Return how many of the last cells are empty."""
    return len(list(takewhile(lambda cell: not cell.strip(), reversed(cells))))


def _names_all(header: str, records: Sequence[str], mark: str) -> bool:
    """Tell whether a line may name all columns; only those that are always empty need no name."""
    cells = cells_of(header, mark)
    return _may_be_names(cells) and not _fill(_n_spare(cells[1:]), len(cells), records, mark)


def _fill(n: int, n_cells: int, records: Sequence[str], mark: str) -> bool:
    """Tell whether a record of so many cells has anything in the last `n`."""
    below = [cells_of(line, mark) for line in records[:_MOST_LOOKED_INTO]] if n else []
    return any(len(row) == n_cells and any(cell.strip() for cell in row[-n:]) for row in below)


def _clean_share(records: Sequence[str], mark: str) -> float:
    """Return in which share of the fields there is nothing that may separate others; a comma may be a decimal mark, or text."""
    others = [other for other in DELIMITERS if other != mark]
    n_clean = n_all = 0
    for line in records[:_MOST_LOOKED_INTO]:
        cells = cells_of(line, mark)
        n_all += len(cells)
        if not any(other in line for other in others):
            n_clean += len(cells)
            continue
        n_clean += sum(
            not any(other in _without_lists(cell) for other in others) or bool(_COMMA_NUMBER.fullmatch(cell)) for cell in cells
        )
    return n_clean / max(n_all, 1)


def _without_lists(cell: str) -> str:
    """Return a cell without its commas if each stands before a blank, as in `Tue, 26 Dec 1995`: so they stand in text."""
    return cell.replace(", ", " ") if cell.count(",") == cell.count(", ") else cell


def _fits(header: str, records: Sequence[str], mark: str) -> bool | None:
    """Tell whether records end with a separator too many; None if the header does not fit them."""
    n = len(cells_of(header, mark))
    some = records[:SAMPLE]
    found = _n_cells(some, mark)
    if found.count(n) >= _MOST_ALIKE * len(found):
        if n > 1 or mark != usual_delimiter(header):
            return False if n > 1 else None
        cut = sum(any(other in line for other in DELIMITERS) for line in some)
        return False if cut < len(found) / 2 else None
    if found.count(n + 1) < max(_MOST_ALIKE * len(found), _FEWEST_ALIKE):
        return None
    spare = sum(count == n + 1 and not cells_of(line, mark)[-1].strip() for line, count in zip(some, found, strict=True))
    return True if spare >= max(_MOST_ALIKE * len(found), _FEWEST_ALIKE) else None


def _with_titles(lines: Sequence[str], mark: str) -> Dialect | None:
    """Look for a header further down."""
    rows = [cells_of(line, mark) if line.strip() else [] for line in lines[: SAMPLE + _MOST_TITLE_LINES]]
    for place, cells in enumerate(rows[:_MOST_TITLE_LINES]):
        if sum(_is_record(row, len(cells)) for row in rows[:place]) > 1:
            continue
        below = [row for row in rows[place + 1 :][:SAMPLE] if row]
        n_spare = _n_spare(cells)
        if len(cells) - n_spare < 2 or len(below) < 2 or not _may_be_names(cells):
            continue
        if n_spare > 1 and _fill(n_spare, len(cells), lines[place + 1 :], mark):
            continue
        alike = sum(len(row) in (len(cells), len(cells) + 1) for row in below[:_MOST_LOOKED_INTO])
        if alike < min(len(below), _MOST_LOOKED_INTO) / 2:
            continue
        spare = _fits(lines[place], [line for line in lines[place + 1 :][:SAMPLE] if line.strip()], mark)
        if spare is not None:
            return Dialect(mark, place + 1, spare)
    return None


def _is_record(cells: Sequence[str], n: int) -> bool:
    """Tell a line of so many fields that has a time and a number, which no title has above a header."""
    if len(cells) != n or n < 2:
        return False
    times = [cell for cell in cells if _TIME.search(cell)]
    return bool(times) and any(_NUMBER.fullmatch(cell) for cell in cells if cell not in times)


def _refuse(header: str, records: Sequence[str], mark: str, name: str) -> None:
    counts = Counter(_n_cells(records[:SAMPLE], mark))
    number, often = counts.most_common(1)[0]
    n = len(cells_of(header, mark))
    if number == n or often < _MOST_ALIKE * sum(counts.values()) or often < _FEWEST_ALIKE:
        return
    received = f"{number} in {often} of the first {sum(counts.values())} records, with {_shown(mark)} between them"
    remedy = "Name another separator with --delimiter, put numbers with a decimal comma in quotes"
    if 1 < number < n:
        received += f", so that {shorten(cells_of(header, mark)[number:])} at its end would have no cells"
        remedy = f"Remove the names without cells, put a name with {_shown(mark)} in it in quotes"
    raise DataError(
        f"Every record must have as many fields as the header ({n}). Received: {received} ({name}). {remedy}, or remove what "
        "stands above the header."
    )


def _shown(mark: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}.get(mark, repr(mark))
