"""Numbers that stand for a missing value: one that comes again and again, far from all others.

Loggers write -9999, -999, 1e20 or the largest integer where they have no value (-200 in the UCI Air Quality data). Read as
numbers they set the scale, and hide what is a tenth as large.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Floats

# Such numbers, and their negatives.
_KNOWN = (
    99.0, 99.9, 99.99, 200.0, 888.0, 999.0, 999.9, 999.99, 999.25, 6999.0, 7999.0, 8888.0, 9999.0, 9999.9, 9999.99, 9999.25,
    99999.0, 99999.9, 999999.0, 9999999.0, 99999999.0, 3276.7, 3276.8, 327.67, 327.68, 6553.5, 655.35, 32767.0, 32768.0, 65535.0,
    65536.0, 2147483647.0, 2147483648.0, 4294967295.0,
)  # fmt: skip
# Nothing that is measured is so large.
_NOT_MEASURED = 1e20
# It comes so often, or that share of the rows.
_FEWEST, _LEAST_SHARE = 3, 0.002
# And lies so many times the spread of the others away from them.
_FAR = 10.0
# A usual mark: half of that spread away, or negative among others that are not, if it comes so many times as often as any other.
_APART, _MORE_OFTEN = 0.5, 3
# Or anywhere, if it is a large one, and comes so often, on that share of the rows, and so many times as often as any other.
_LARGE, _FEWEST_WITHIN, _LEAST_WITHIN, _FAR_MORE_OFTEN = 999, 6, 0.02, 5


class Sentinel(NamedTuple):
    """A number that may stand for a missing value."""

    column: str
    value: float
    n_rows: int
    is_known: bool


def sentinels_of(values: Floats, columns: Sequence[str]) -> list[Sentinel]:
    """Return the numbers that come often and lie far from all others.

    Args:
        values: `(n, n_features)`; NaN = missing.
        columns: names of the features.
    """
    return [
        found for column, cells in zip(columns, values.T, strict=True) for found in _of_column(column, cells[np.isfinite(cells)])
    ]


def _of_column(column: str, cells: Floats) -> list[Sentinel]:
    if len(cells) < 10:
        return []
    fewest, marks = max(_FEWEST, _LEAST_SHARE * len(cells)), [number for number in np.unique(cells).tolist() if _is_known(number)]
    often = [number for number in {float(cells.min()), float(cells.max()), *marks} if (cells == number).sum() >= fewest]
    found = []
    for number in often:
        others = cells[(cells != number) & ~np.isin(cells, [mark for mark in marks if mark in often])]
        if len(others) >= len(cells) / 2 and _stands_out(number, int((cells == number).sum()), others):
            found.append(Sentinel(column, number, int((cells == number).sum()), _is_known(number)))
    return found


def _is_known(number: float) -> bool:
    return abs(number) >= _NOT_MEASURED or any(math.isclose(abs(number), mark, rel_tol=1e-9) for mark in _KNOWN)


def _stands_out(number: float, n_rows: int, others: Floats) -> bool:
    """Tell whether a number that comes on so many rows lies apart from the others, or is a usual mark and far more frequent."""
    low, high = np.quantile(others, (0.005, 0.995))
    spread = max(float(high - low), float(np.abs(others).max()) * 1e-6)
    distance = max(float(others.min()) - number, number - float(others.max()))
    if spread <= 0 or distance > _FAR * spread:
        return spread > 0
    n_other = int(np.unique(others, return_counts=True)[1].max())
    apart = distance > _APART * spread or (number < 0 <= float(others.min()))
    within = abs(number) >= _LARGE and n_rows >= max(
        _FEWEST_WITHIN, _LEAST_WITHIN * (len(others) + n_rows), _FAR_MORE_OFTEN * n_other
    )
    return _is_known(number) and ((apart and n_rows >= _MORE_OFTEN * n_other) or within)


def refuse_sentinels(values: Floats, columns: Sequence[str], name: str, named: str | None) -> list[str]:
    """Refuse training rows in which a usual mark for missing values was read as a number; say which others may be one.

    Args:
        values: `(n, n_features)`.
        columns: names of the features.
        name: of the input, for messages.
        named: what stands for a missing value, if that was said; then nothing is refused.

    Returns:
        A sentence where numbers come again and again far from all others that are no usual marks, else none.

    Raises:
        DataError: with the option that says what it is.
    """
    told = sentinels_of(values, columns) if named is None else []
    known = [found for found in told if found.is_known]
    if known:
        first = known[0]
        marks = ",".join(sorted({_shown(found.value) for found in known}))
        raise DataError(
            "A number that comes again and again far from all others must be said to be one. "
            f"Received: {_shown(first.value)} on {first.n_rows:,} rows of {first.column!r} ({name}). "
            f"If it stands for a missing value, say --missing-values {marks}; if it was measured, "
            "--missing-values none."
        )
    if not told:
        return []
    first = told[0]
    return [
        f"{_shown(first.value)} comes on {first.n_rows:,} rows of {first.column!r}, far from all others: if it stands for a "
        f"missing value, say --missing-values {_shown(first.value)}."
    ]


def _shown(value: float) -> str:
    """Return a number with all of its digits: what is said must be what is there."""
    return repr(value).removesuffix(".0")
