"""The first line of a file: what separates its fields, which names it may hold, and whether it holds those that are wanted."""

import difflib

from anomaly.errors import DataError, shorten
from anomaly.timestamps import is_finite

_OTHER_DELIMITERS = (";", "\t", "|")


def delimiter_of(header: str) -> str:
    """Return what separates the fields: a comma, or where there is none the most frequent of the others."""
    others = max(_OTHER_DELIMITERS, key=header.count)
    return "," if "," in header or others not in header else others


def check_names(columns: list[str], name: str) -> None:
    """Refuse a header that does not tell the columns apart.

    Args:
        columns: the names in it.
        name: of the input, for messages.

    Raises:
        DataError: if it holds numbers only, leaves a name out, or repeats one.
    """
    if all(is_finite(column) for column in columns):
        raise DataError(
            f"The first line must name the columns. Received: numbers only, {shorten(columns)} ({name}, line 1). Add a header line."
        )
    if "" in columns:
        raise DataError(
            f"Every column must have a name. Received: no name for column {columns.index('') + 1} of {len(columns)} "
            f"({name}, line 1). Name it in the header."
        )
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise DataError(
            f"Column names must differ. Received: {shorten(repeated)} more than once ({name}, line 1). "
            "Rename the columns in the header."
        )


def require_columns(names: list[str], columns: list[str], what: str, option: str, name: str) -> None:
    """Refuse a header without the columns that are wanted.

    Args:
        names: the wanted ones.
        columns: those in the header.
        what: the wanted ones are, for the message.
        option: by which they can be named.
        name: of the input.

    Raises:
        DataError: with what is missing and the nearest names there are.
    """
    missing = [wanted for wanted in names if wanted not in columns]
    if missing:
        near = [found for lost in missing for found in difflib.get_close_matches(lost, columns, n=1)][:3]
        hint = f" (perhaps {shorten(near)})" if near else ""
        raise DataError(
            f"The {what} must be in the header. Received: no {shorten(missing)} among {shorten(columns)}{hint} "
            f"({name}, line 1). Name an existing column with {option}."
        )
