"""Rows behind the last one of a series that sum it up: totals, means, extremes, as reports put them below a table."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Floats

# So many rows may sum up those above them, of which there must be so many.
_MOST_ROWS, _FEWEST_ABOVE = 6, 20
# That all of them do so by chance must be as improbable as this.
_MOST_CHANCE, _OUTSIDE = 1e-5, 1e-6
# Rows that are scored as they are read are kept up to so many cells for it.
_MOST_CELLS = 2_000_000
_STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "sum": np.sum, "mean": np.mean, "median": np.median, "smallest value": np.min, "largest value": np.max,
    "standard deviation": lambda cells: np.std(cells, ddof=1),
}  # fmt: skip


def refuse_footer(values: Floats, name: str) -> None:
    """Refuse last rows that sum up all rows above them.

    Args:
        values: `(n, n_features)`; NaN = missing.
        name: of the input, for messages.

    Raises:
        DataError: with what the rows hold.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no statistic
        _refuse_footer(values, name)


class LastRows:
    """Refuses last rows that sum up all rows above them, of rows that come in pieces; a table with a footer is no longer than some.

    Args:
        name: of the input, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name, self._n_cells = name, 0
        self._pieces: list[Floats] = []

    def take(self, values: Floats) -> None:
        """Take further rows, `(n, n_features)`."""
        self._n_cells += values.size
        if self._n_cells <= _MOST_CELLS:
            self._pieces.append(values)
        else:
            self._pieces = []

    def refuse(self) -> None:
        """Look at the last rows of all.

        Raises:
            DataError: as `refuse_footer`.
        """
        if self._pieces:
            refuse_footer(np.concatenate(self._pieces), self._name)


def _refuse_footer(values: Floats, name: str) -> None:
    first = next((cells for cells in values.T if _varies(cells)), None)
    for n_rows in range(min(_MOST_ROWS, len(values) - _FEWEST_ABOVE), 0, -1):
        if first is None or not _may_sum_up(first, n_rows):
            continue
        above = values[:-n_rows]
        found = [_statistic_of(row, above) for row in values[-n_rows:]]
        kinds = [kind for kind, _ in found]
        # Each of them had so many chances to be one, and a report has each once.
        chance = math.prod(chance * len(_STATISTICS) for _, chance in found)
        if all(kinds) and len(set(kinds)) == n_rows and chance <= _MOST_CHANCE:
            rows = "a last row that holds" if n_rows == 1 else f"{n_rows} last rows that hold"
            raise DataError(
                f"Each row must be one of the series. Received: {rows} the {', the '.join(kinds)} of each column above "
                f"({name}). Remove {'it' if n_rows == 1 else 'them'}."
            )


def _may_sum_up(cells: Floats, n_rows: int) -> bool:
    """Tell, without looking at all columns, whether one of the last rows may hold a sum or a mean."""
    above = cells[:-n_rows]
    known = above[np.isfinite(above)]
    wanted = (float(known.sum()), float(known.mean())) if len(known) else ()
    return any(_is(number, cell) for cell in cells[-n_rows:] if np.isfinite(cell) for number in wanted)


def _is(wanted: float, cell: float) -> bool:
    """Tell whether a cell is a number, as far as its digits go; what overflowed is none."""
    return math.isfinite(wanted) and abs(wanted - cell) <= _half_a_digit(cell) * 1.001 + 1e-9 * abs(wanted)


def _statistic_of(row: Floats, above: Floats) -> tuple[str, float]:
    """Return which statistic of all columns a row holds, and how probable that is by chance; "" if it holds none."""
    varied = [column for column, cell in enumerate(row) if np.isfinite(cell) and _varies(above[:, column])]
    if not varied:
        return "", 1.0
    for kind, statistic in _STATISTICS.items():
        chance = 1.0
        for column in varied:
            cells = above[~np.isnan(above[:, column]), column]
            if np.isinf(cells).any() or not _is(float(statistic(cells)), float(row[column])):
                break
            # A sum far from all others is none by chance; a mean may be one of the values.
            spread = min(float(cells.max() - cells.min()), sys.float_info.max)
            share = float((above[:, column] == row[column]).mean())
            apart = not cells.min() <= row[column] <= cells.max()
            chance *= _OUTSIDE if apart else max(2 * _half_a_digit(float(row[column])) / spread, share)
        else:
            return kind, chance
    return "", 1.0


def _varies(cells: Floats) -> bool:
    known = cells[np.isfinite(cells)]
    return len(known) >= _FEWEST_ABOVE and bool(known.min() < known.max())


def _half_a_digit(number: float) -> float:
    """Return half of the last digit that a number is written with."""
    text = repr(float(number))
    digits = 0 if "e" in text else len(text.partition(".")[2].removesuffix("0") if text.endswith(".0") else text.partition(".")[2])
    return 0.5 * 10.0**-digits
