"""Numbers that stand for a missing value: one that comes again and again, far from all others.

Loggers write -9999, -999, 1e20 or the largest integer where they have no value (-200 in the UCI Air Quality data). Read as
numbers they set the scale, and hide what is a tenth as large.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Floats

# Such numbers, and their negatives.
_KNOWN = (
    99.0, 99.9, 99.99, 200.0, 888.0, 999.0, 999.9, 999.99, 8888.0, 9999.0, 9999.9, 9999.99, 99999.0, 99999.9, 999999.0, 9999999.0,
    32767.0, 32768.0, 65535.0, 65536.0, 2147483647.0, 2147483648.0, 4294967295.0, 1e20, 1e30, 1e31, 1e34, 1e35, 1e36, 1e37,
    9.96921e36, 9.969209968386869e36, 1.7e308,
)  # fmt: skip
# It comes so often, or that share of the rows.
_FEWEST, _LEAST_SHARE = 3, 0.002
# And lies so many times the spread of the others away from them.
_FAR = 10.0


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
    ends = [
        end for end in {float(cells.min()), float(cells.max())} if (cells == end).sum() >= max(_FEWEST, _LEAST_SHARE * len(cells))
    ]
    found = []
    for end in ends:
        others = cells[~np.isin(cells, ends)]
        if len(others) < len(cells) / 2:
            continue
        low, high = np.quantile(others, (0.005, 0.995))
        spread = max(float(high - low), float(np.abs(others).max()) * 1e-6)
        distance = max(float(others.min()) - end, end - float(others.max()))
        if spread > 0 and distance > _FAR * spread:
            found.append(
                Sentinel(column, end, int((cells == end).sum()), any(np.isclose(abs(end), known, rtol=1e-9) for known in _KNOWN))
            )
    return found


def refuse_sentinels(values: Floats, columns: Sequence[str], name: str, named: str | None) -> None:
    """Refuse training rows in which a usual mark for missing values was read as a number.

    Args:
        values: `(n, n_features)`.
        columns: names of the features.
        name: of the input, for messages.
        named: what stands for a missing value, if that was said; then nothing is refused.

    Raises:
        DataError: with the option that says what it is.
    """
    known = [found for found in sentinels_of(values, columns) if found.is_known] if named is None else []
    if known:
        first = known[0]
        marks = ",".join(sorted({_shown(found.value) for found in known}))
        raise DataError(
            "A number that comes again and again far from all others must be said to be one. "
            f"Received: {_shown(first.value)} on {first.n_rows:,} rows of {first.column!r} ({name}). "
            f"If it stands for a missing value, say --missing-values {marks}; if it was measured, "
            "--missing-values none."
        )


def _shown(value: float) -> str:
    """Return a number with all of its digits: what is said must be what is there."""
    return repr(value).removesuffix(".0")
