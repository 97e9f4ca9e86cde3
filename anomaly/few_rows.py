"""A few plain records -> numbers, to the last bit as the parser of whole chunks reads them.

A table of pandas costs milliseconds however short it is, and rows that are followed come one by one. What is not plain here
is left to pandas: quotes, blanks, numbers with exponents or more than 15 digits, and all that is wrong.
"""

import math
import re

# So few records are looked at one by one.
FEW_ROWS = 8
# A number below 2**53 over a power of ten that is exact: one division, rounded once, whoever makes it.
_PLAIN_NUMBER = re.compile(r"[+-]?(?=[0-9.]{1,16}\Z)(?:[0-9]{1,15}|[0-9]{1,14}\.[0-9]+)")


def plain_number(cell: str, missing: tuple[str, ...]) -> float | None:
    """Return a cell as a number, NaN for one of the texts that mean missing; None if it is not plain."""
    if _PLAIN_NUMBER.fullmatch(cell):
        value = float(cell)
        return value if value or not cell.startswith("-") else None  # the sign of a zero depends on its column
    return math.nan if cell in missing else None


def plain_cells(line: str, delimiter: str, n_cells: int) -> list[str] | None:
    """Return the cells of a record; None if it is quoted or has another number of them."""
    cells = line.split(delimiter)
    return None if '"' in line or len(cells) != n_cells else cells
