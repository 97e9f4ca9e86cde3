"""The fields of a record, as many as the header has.

This is checked here rather than left to the parser: pandas shifts columns silently when a record is longer than the header.
"""

from __future__ import annotations

import csv

import numpy as np

from anomaly.errors import DataError
from anomaly.ingest.chunks import Records
from anomaly.ingest.faults import Faults
from anomaly.ingest.header import Columns
from anomaly.series import Bools


def fields(line: str, delimiter: str, number: int, name: str) -> list[str]:
    """Return the fields of a record.

    Args:
        line: its text.
        delimiter: what separates them.
        number: of the line, for messages.
        name: of the input, for messages.

    Raises:
        DataError: if it is no CSV record, or does not end on its line.
    """
    reader = csv.reader([line, ""], delimiter=delimiter)
    try:
        found = next(reader, []) or [""]
        # Two quotes may leave one open: the first within a cell, where it is text, the second where a cell begins.
        if line.count('"') % 2 or reader.line_num > 1:
            raise DataError(
                f"A quoted field must end on its own line. Received: an open quote ({name}, line {number}). Close the quote, or "
                "write the field on one line."
            )
        return found
    except csv.Error as error:
        raise DataError(f"A line must be a CSV record. Received: {error} ({name}, line {number}).") from error


def of_equal_length(numbered: Records, columns: Columns, faults: Faults, name: str) -> Bools:
    """Refuse records with another number of fields than the header; tell which ones are others, `(n,)`.

    Args:
        numbered: the records.
        columns: of the header.
        faults: takes what is wrong.
        name: of the input, for messages.
    """
    delimiter = columns.delimiter
    separators, whole = len(columns.names) - 1, np.ones(len(numbered), np.bool_)
    for place, (number, line) in enumerate(numbered):
        found = line.count(delimiter)
        if found == separators and '"' not in line:
            continue
        try:
            found = len(fields(line, delimiter, number, name)) - 1
        except DataError as error:
            whole[place] = False
            faults.found(number, line, "rejected_quotes", "no CSV record, such as an open quote", str(error))
            continue
        if found != separators:
            whole[place] = False
            faults.found(
                number, line, "rejected_fields", f"{found + 1} fields instead of {separators + 1}",
                f"Every record must have as many fields as the header ({separators + 1}). Received: {found + 1} "
                f"({name}, line {number}). Mend the line."
            )  # fmt: skip
    return whole
