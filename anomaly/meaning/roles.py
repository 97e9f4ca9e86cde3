"""What each column is for, from its name and some of its cells: the time, labels, a count of rows, names of series, features."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.errors import DataError, shorten
from anomaly.meaning.moments import are_days, are_epochs, are_iso, are_rising, are_whole_days, spelled_format, written_formats

Cells = Mapping[str, Sequence[str]]

# Called so, a column is the time whatever it holds.
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Called so, it is the time if it holds times.
_TIME_LIKE = re.compile(
    r"t|ts|dt|when|epoch.*|unix.*|.*time.*|.*date.*|.*_(?:at|ts|on|epoch|unix)|.*(?:datum|zeit|stamp|fecha|hora|temps|heure).*|ms|_time"
)
_LABEL = re.compile(
    r"(?:(?:is|has|true|gt|ground_?truth|y|event|point)[ _-]?)?"
    r"(?:labels?|anomal(?:y|ies|ous)|outliers?|attacks?|faults?|faulty|fraud|change[ _-]?points?|ground[ _-]?truth|gt|abnormal|"
    r"normal/attack|target|class|y_true|y)"
    r"(?:[ _-]?(?:labels?|flag|class))?"
)
_LABEL_TEXTS = ({"0", "1"}, {"false", "true"}, {"normal", "anomaly"}, {"normal", "attack"}, {"normal", "abnormal"}, {"no", "yes"})
_COUNTER = re.compile(
    r"(?:|#|index|idx|row|rows?[ _-]?(?:id|no|num|number|index)?|no|nr|num|number|id|seq|sequence|unnamed: ?\d+|record|line)\.?"
)
# So many of the times differ, as a share; several series have each of them in common.
_LEAST_DIFFERENT = 0.1
# A column of so few different texts or whole numbers may tell series apart.
_MOST_SERIES = 0.5


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
        return named[0]
    iso = [column for column, found in cells.items() if are_iso(found) or written_formats(found)]
    if iso:
        return iso[0] if iso[0] == next(iter(cells)) else only(iso, name)
    like = [column for column, found in cells.items() if _TIME_LIKE.fullmatch(column.strip().lower()) and are_times(found)]
    if like:
        return only(like, name)
    first = next(iter(cells), None)
    if first is not None and are_epochs(cells[first]) and are_rising(cells[first]):
        return first
    return None


def are_times(cells: Sequence[str]) -> bool:
    """Tell whether numbers look like times: since 1970, digits that spell dates, or days of a spreadsheet."""
    kinds = (are_epochs, are_days, are_whole_days)
    found = bool(len(cells)) and (spelled_format(cells) is not None or any(kind(cells) for kind in kinds))
    return found and len(set(cells)) >= _LEAST_DIFFERENT * len(cells)


def only(found: list[str], name: str) -> str | None:
    """Return the only column of times; None if there is none.

    Raises:
        DataError: if there are several.
    """
    if len(found) > 1:
        raise DataError(
            f"One column must be the time. Received: times in {shorten(found)} ({name}). "
            f"Choose with --time-column {found[0]}, and leave the others out with --ignore-columns."
        )
    return found[0] if found else None


def labels_of(cells: Cells) -> list[str]:
    """Return the columns that are labels: called so, and with no more than two values, which mean no and yes."""
    return [column for column, found in cells.items() if _LABEL.fullmatch(column.strip().lower()) and _are_marks(found)]


def _are_marks(cells: Sequence[str]) -> bool:
    texts = {_plain(cell) for cell in cells}
    return any(texts <= marks for marks in (*_LABEL_TEXTS, {"-1", "1"})) and bool(texts)


def _plain(cell: str) -> str:
    text = cell.strip().lower()
    return re.sub(r"\.0*$", "", text)


def counters_of(cells: Cells) -> list[str]:
    """Return the columns that count rows: called so, and one more on each."""
    return [column for column, found in cells.items() if _COUNTER.fullmatch(column.strip().lower()) and _counts(found)]


def _counts(cells: Sequence[str]) -> bool:
    try:
        numbers = np.array([int(cell) for cell in cells])
    except ValueError:
        return False
    return len(numbers) > 2 and bool((np.diff(numbers) == 1).all())


def series_columns(cells: Cells, times: Sequence[str]) -> list[str]:
    """Return the columns that tell rows of the same time apart, and have few values themselves.

    Args:
        cells: by column, one cell a row.
        times: the cell of the time on each row.
    """
    found = []
    for column, own in cells.items():
        values = set(own)
        if 1 < len(values) <= _MOST_SERIES * len(own) and len(set(zip(times, own, strict=True))) == len(own) and _are_names(values):
            found.append(column)
    return found


def _are_names(values: set[str]) -> bool:
    """Tell names: texts, or whole numbers."""
    return all(re.fullmatch(r"-?\d+(?:\.0+)?", value.strip()) for value in values) or not any(_is_number(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
