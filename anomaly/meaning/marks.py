"""The decimal mark of numbers, and the mark between thousands, from the cells of all columns of numbers together."""

import re
from collections.abc import Mapping, Sequence

from anomaly.errors import DataError, shorten

Cells = Mapping[str, Sequence[str]]

# The blanks that stand between thousands, most of which do not break a line: any of them goes for all.
_BLANKS = " \u00a0\u202f\u2009\u2007"
# What stands between thousands beside comma and point, by the mark that it is called: an apostrophe, or a blank.
_OTHERS = {"'": "['\u2019]", " ": f"[{_BLANKS}]"}
_OTHER_MARKS = ("'", "\u2019", *_BLANKS)
_GROUPED = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+") for mark in ",."}
_GROUPED_FRACTION = {
    mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+{re.escape(decimal)}\d+(?:[eE][+-]?\d+)?")
    for mark, decimal in ((",", "."), (".", ","))
}
_OTHER_GROUPED = {mark: re.compile(rf"[+-]?\d{{1,3}}(?:{kinds}\d{{3}})+(?:([.,])\d+)?") for mark, kinds in _OTHERS.items()}
_SINGLE = {mark: re.compile(rf"[+-]?(?:\d+{re.escape(mark)}\d*|{re.escape(mark)}\d+)(?:[eE][+-]?\d+)?") for mark in ",."}
# A point that does not stand before three digits as between thousands.
_POINT_FRACTION = re.compile(r"\.(?:\d{1,2}|\d{4,})(?:[eE][+-]?\d+)?(?:\n|$)|(?:^|\n)[+-]?0*\.\d")
_NAMES = {",": "comma", ".": "point"}
# Digits, zeros before them, and one digit behind a comma: a reading and its flag, as weather services write them.
_WITH_FLAG = re.compile(r"[+-]?\d{3,},\d")
# Things that are counted have no fractions: a point among them stands between thousands.
_COUNTED = re.compile(
    r"(?i)(?:.*[^a-z])?(?:counts?|number|anzahl|visits?|visitors?|users?|requests?|hits|clicks|sales|orders|units|pieces|passengers|"
    r"pageviews?|views|downloads|population|stück|besucher|besuche|aufrufe|zugriffe|bestellungen|fahrzeuge|nombre|cantidad|número|"
    r"visitas|usuarios|ventas|visites|ventes|quantità|aantal|antal|liczba)(?:[^a-z].*)?"
)
# A number with another decimal mark; and one with marks between thousands, with the other one behind them or not.
_WITH_FRACTION = {",": re.compile(r"[+-]?(?:0|[1-9]\d*),\d+"), ".": re.compile(r"[+-]?(?:0|[1-9]\d*)\.\d+")}
_IN_THOUSANDS = {
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:(\.)\d+)?"), ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:(,)\d+)?")
}  # fmt: skip


# The sign that typesetting has for a minus, as programs in Scandinavia, Finland and the Baltic states write it.
MINUS = "\u2212"
_NEGATIVE = re.compile(rf"(?<!\S){MINUS}(?=[\d.,])")


def with_plain_minus(cells: Sequence[str]) -> Sequence[str]:
    """Return cells with the minus of the keyboard before numbers that have the one of typesetting."""
    if not any(MINUS in cell for cell in cells):  # as nearly always
        return cells
    return [_NEGATIVE.sub("-", cell) for cell in cells]


class _Evidence:
    """How often cells say what a mark means."""

    def __init__(self, columns: Cells) -> None:
        self.fractions, self.groups, self.doubtful = dict.fromkeys(",.", 0), dict.fromkeys(",.", 0), dict.fromkeys(",.", 0)
        self.examples: dict[str, tuple[str, list[str]]] = {}
        self.other: str | None = None
        self.n_short = 0  # whole numbers that no mark between thousands would be in
        self.counted: str | None = None  # a column of things that are counted, with a point before three digits in each cell
        self.alone = set[str]()  # marks that stand before the last three digits of each cell of a column
        for column, cells in columns.items():
            whole = "\n".join(cells)
            if not any(mark in whole for mark in (",", *_OTHER_MARKS)) and _POINT_FRACTION.search(whole):
                self.fractions["."] += 1  # nothing else can be found in it
                continue
            for cell in cells:
                self._look_at(column, cell.strip())
            for mark in ",.":
                if cells and all(_GROUPED[mark].fullmatch(cell.strip()) and cell.count(mark) == 1 for cell in cells):
                    self.alone.add(mark)
                    self.examples[mark] = (column, [cell.strip() for cell in cells[:3]])
                    self.counted = column if mark == "." and _COUNTED.fullmatch(column.strip()) else self.counted

    def _look_at(self, column: str, cell: str) -> None:
        if cell.lstrip("+-").isdecimal():
            self.n_short += len(cell.lstrip("+-")) <= 3
            return
        for mark, decimal in ((",", "."), (".", ",")):
            if mark not in cell:
                continue
            if _GROUPED_FRACTION[mark].fullmatch(cell):
                self.groups[mark] += 1
                self.fractions[decimal] += 1
            elif _GROUPED[mark].fullmatch(cell):
                self.doubtful[mark] += cell.count(mark) == 1
                self.groups[mark] += cell.count(mark) > 1
                self.examples.setdefault(mark, (column, []))[1].append(cell)
            elif _SINGLE[mark].fullmatch(cell):
                self.fractions[mark] += 1
        for mark, pattern in _OTHER_GROUPED.items() if any(mark in cell for mark in _OTHER_MARKS) else ():
            if match := pattern.fullmatch(cell):
                self.other = mark
                if match[1]:
                    self.fractions[match[1]] += 1


def number_marks(
    columns: Cells, decimal: str | None, thousands: str | None, name: str, *, before: str | None = None, doubts_points: bool = False
) -> tuple[str, str | None]:
    """Tell the decimal mark and the mark between thousands from the cells of columns of numbers.

    Args:
        columns: by name some cells of each.
        decimal: the mark, if it is known.
        thousands: the mark, if it is known.
        name: of the input, for messages.
        before: the decimal mark in training, which decides where both are possible.
        doubts_points: whether a point may stand between thousands too, as it does where semicolons separate the fields.

    Raises:
        DataError: if cells can be read either way, and neither mark is known.
    """
    if thousands is not None and thousands not in _OTHERS:
        return decimal or ("," if thousands == "." else "."), thousands
    found = _Evidence(columns)
    if thousands is not None:  # which says nothing of the decimal mark
        told = [mark for mark in (".", ",") if found.fractions[mark]]
        return decimal or (told[0] if told else before or "."), thousands
    if decimal is not None:
        other = "," if decimal == "." else "."
        return decimal, other if found.doubtful[other] + found.groups[other] and not found.fractions[other] else found.other
    if before is None:
        _refuse_flags(columns, name)
    if found.counted is not None and not any(found.fractions.values()) and before is None:
        found.examples["."] = (found.counted, [cell.strip() for cell in columns[found.counted][:3]])
        raise _two_readings(".", found, name)
    if found.fractions[","] and found.fractions["."]:
        return ".", None  # a mixture, which is refused where the cells are read
    for mark, other in ((",", "."), (".", ",")):
        if found.fractions[mark] or found.groups[other]:
            return mark, other if found.groups[other] or found.doubtful[other] else found.other
    if found.doubtful[","] and before is None:
        raise _two_readings(",", found, name)
    points = found.doubtful["."]
    if points and before != "." and (doubts_points or found.n_short or before == ","):
        raise _two_readings(".", found, name)
    return (",", None) if found.doubtful[","] and before == "," else _plain_or_grouped(found)


def _refuse_flags(columns: Cells, name: str) -> None:
    """Refuse numbers of one width with zeros before them and one digit behind a comma, which may be no fraction."""
    for column, cells in columns.items():
        if not cells or "," not in cells[0]:
            continue
        bare = [cell.strip() for cell in cells]
        padded = any(re.match(r"[+-]?0\d", cell) for cell in bare)
        if padded and len({len(cell.lstrip("+-")) for cell in bare}) == 1 and all(map(_WITH_FLAG.fullmatch, bare)):
            raise DataError(
                f"A digit behind a comma must be a fraction, or be said to be none. Received: {shorten(bare[:3])} in column "
                f"{column!r} ({name}), which may be numbers and their flags. Say --decimal , if it is; if not, write a column of "
                "its own for it."
            )


def _plain_or_grouped(found: _Evidence) -> tuple[str, str | None]:
    return ".", "," if found.doubtful[","] else found.other


def _two_readings(mark: str, found: _Evidence, name: str) -> DataError:
    column, cells = found.examples[mark]
    return DataError(
        f"A {_NAMES[mark]} in a number must have one meaning. Received: {shorten(cells[:3])} in column {column!r} ({name}), "
        f"thousands or fractions. Say --decimal {mark} or --thousands {mark}."
    )


def remedy_for(cell: str, decimal: str, thousands: str | None) -> str:
    """Say what would make a number of a cell that is none, and keep it.

    Args:
        cell: its text without blanks around it.
        decimal: the mark that numbers have before their fractions.
        thousands: the mark between thousands, if there is one.
    """
    for mark, pattern in _WITH_FRACTION.items():
        grouped = _IN_THOUSANDS[mark].fullmatch(cell)
        if grouped and (grouped[1] or mark == thousands):
            return f"Say --thousands '{mark}'" + (f" --decimal '{grouped[1]}'" if grouped[1] == "," else "")
        if mark != decimal and grouped:
            return f"Say --thousands '{mark}' if {cell} is above a thousand, --decimal '{mark}' if it is not"
        if mark != decimal and pattern.fullmatch(cell):
            return f"Say --decimal '{mark}'"
    for mark, pattern in _OTHER_GROUPED.items():
        if found := pattern.fullmatch(cell):
            more = f" --decimal '{found[1]}'" if found[1] == "," else ""
            return f"Say --thousands {_in_quotes(mark)}{more}"
    if any(c.isdecimal() for c in cell):
        return "Write numbers in digits, with nothing but a sign before them and a decimal mark among them"
    return "Mend the file, say --missing-values"


def _in_quotes(mark: str) -> str:
    return f'"{mark}"' if mark == "'" else f"'{mark}'"


def is_grouped(cell: str) -> bool:
    """Tell one number with apostrophes or blanks between its thousands."""
    return any(pattern.fullmatch(cell) for pattern in _OTHER_GROUPED.values())


def kinds_of(thousands: str) -> str:
    """Return, as a regular expression, what stands between thousands where a mark is named: any kind of blank for a blank."""
    return _OTHERS.get(thousands) or (f"[{_BLANKS}]" if thousands in _BLANKS else re.escape(thousands))
