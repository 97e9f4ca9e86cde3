"""A point before three digits in a column that has whole numbers of a thousand and more: it may stand between thousands."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.errors import DataError
from anomaly.ingest.chunks import Records, lines_of
from anomaly.meaning.dialect import rows_of
from anomaly.series import Floats, Ints

_THOUSAND, _MOST_LOOKED_AT = 1_000, 100
# A number whose point may stand between thousands, and a whole one of a thousand and more without a mark.
_GROUPED_ONCE = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_WHOLE = re.compile(r"[+-]?[1-9]\d{3,}")


class Thousands:
    """Refuses a column of which every fraction has three digits, if it has, or had in training, whole numbers of 1,000 and more.

    Args:
        columns: names of the features.
        names: of all columns, in the order of the file.
        delimiter: what separates the fields.
        name: of the input, for messages.
        before: features that were whole and of a thousand and more in training, with the least of them as text.
    """

    def __init__(self, columns: Sequence[str], names: Sequence[str], delimiter: str, name: str, before: Mapping[str, str]) -> None:
        self._places = {column: list(names).index(name) for column, name in enumerate(columns)}  # of those that are in doubt
        self._columns, self._n_cells, self._delimiter, self._name = columns, len(names), delimiter, name
        self._whole = {column: f"{before[name]} in training" for column, name in enumerate(columns) if name in before}
        self._grouped: dict[int, tuple[str, int]] = {}  # the first such number of a column, with its line

    def refuse(self, values: Floats, numbered: Records) -> None:
        """Look at further records.

        Args:
            values: `(n, n_features)`.
            numbered: the same records as text.

        Raises:
            DataError: if a point may stand between thousands.
        """
        if not self._places:
            return
        low, high = values.min(axis=0, initial=np.inf), values.max(axis=0, initial=-np.inf)
        for column in list(self._places):
            # NaN among them is neither, so that all are looked at.
            if column in self._grouped and column not in self._whole and low[column] > -_THOUSAND and high[column] < _THOUSAND:
                continue
            own = values[:, column]
            with np.errstate(invalid="ignore"):
                whole = own == np.rint(own)
                fractions, large = np.flatnonzero(~whole & np.isfinite(own)), np.flatnonzero(whole & (np.abs(own) >= _THOUSAND))
            if len(fractions) and not self._are_grouped(column, fractions[:_MOST_LOOKED_AT], numbered):
                continue
            if len(large) and column not in self._whole and not self._are_whole(column, large[:1], numbered):
                continue
            if column in self._whole and column in self._grouped and self._are_grouped(column, fractions, numbered):
                raise self._error(column)

    def _are_grouped(self, column: int, rows: Ints, numbered: Records) -> bool:
        """Tell whether all of some fractions may be thousands; if not, nothing in their column is in doubt any more."""
        # Mostly the first one tells, and to cut a line takes as long as to read some numbers.
        for some in (rows[:1], rows[1:]):
            cells = self._cells(column, some, numbered)
            if not all(map(_GROUPED_ONCE.fullmatch, cells)):
                del self._places[column]
                return False
            if cells:
                self._grouped.setdefault(column, (cells[0], numbered[int(some[0])][0]))
        return True

    def _are_whole(self, column: int, rows: Ints, numbered: Records) -> bool:
        """Tell whether a large number is written without a fraction; if not, nothing in its column is in doubt any more."""
        cells = self._cells(column, rows, numbered)
        if not all(map(_WHOLE.fullmatch, cells)):
            del self._places[column]
            return False
        self._whole |= {column: cells[0]} if cells else {}
        return True

    def _cells(self, column: int, rows: Ints, numbered: Records) -> list[str]:
        lines = lines_of(numbered)
        cut = rows_of([lines[row] for row in rows.tolist()], self._delimiter)
        return [cells[self._places[column]].strip() for cells in cut if len(cells) == self._n_cells]

    def _error(self, column: int) -> DataError:
        cell, line = self._grouped[column]
        return DataError(
            f"A point in a number must have one meaning. Received: {cell} beside {self._whole[column]} in column "
            f"{self._columns[column]!r} ({self._name}, line {line}), thousands or fractions. Say --decimal . if it stands before "
            "fractions, or --thousands . if it stands between thousands in all columns."
        )
