"""Cells of a column that are looked at once, however many rules ask about them."""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from anomaly.series import Floats, Ints
from anomaly.times.plain_cells import bytes_of, plain_moments

_COMMA = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s*")


class Column(list[str]):
    """Cells of a column; they do not change."""

    @cached_property
    def numbers(self) -> Floats | None:
        """The cells as finite numbers, with a decimal comma too; None if they are none."""
        return _read_numbers(self)

    @cached_property
    def moments(self) -> tuple[int, Ints] | None:
        """What `moments_of` returns."""
        return _read_moments(self)

    @cached_property
    def different(self) -> frozenset[str]:
        """Each text that a cell holds, once."""
        return frozenset(self)


def numbers_of(cells: Sequence[str]) -> Floats | None:
    """Return cells as finite numbers, with a decimal comma too; None if they are none."""
    return cells.numbers if isinstance(cells, Column) else _read_numbers(cells)


def first_number(cells: Sequence[str]) -> float:
    """Return the first of cells that are numbers; -inf if they are none."""
    numbers = numbers_of(cells)
    return -np.inf if numbers is None or not len(numbers) else float(numbers[0])


def different(cells: Sequence[str]) -> frozenset[str]:
    """Return each text that a cell holds, once."""
    return cells.different if isinstance(cells, Column) else frozenset(cells)


def moments_of(cells: Sequence[str]) -> tuple[int, Ints] | None:
    """Return how wide cells are, and the times that they are, `(n,)`, as `plain_moments` reads them; None if they are not plain."""
    return cells.moments if isinstance(cells, Column) else _read_moments(cells)


def _read_moments(cells: Sequence[str]) -> tuple[int, Ints] | None:
    wide = bytes_of(cells)
    moments = None if wide is None else plain_moments(wide)
    return None if wide is None or moments is None else (wide.shape[1], moments)


def _read_numbers(cells: Sequence[str]) -> Floats | None:
    whole = "".join(cells)
    if "_" in whole:  # which Python has between digits
        return None
    try:
        plain = [cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in cells] if "," in whole else cells
        numbers = np.fromiter(map(float, plain), np.float64, len(plain))
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
