"""What stands for a missing value: some texts, and a number that comes again and again, far from all others.

Loggers write -9999, -999, 1e20 or the largest integer where they have no value (-200 in the UCI Air Quality data). Read as
numbers they set the scale, and hide what is a tenth as large.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Floats

# Text that means "missing"; anything else in a value column must be a number.
MISSING_TEXT = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "-nan", "NaT", "#NUM!", "#DIV/0!", "#VALUE!",
    "#REF!", "#N/D", "#NV", "#WERT!", "null", "NULL", "Null", "(null)", "<null>", "\\N", "None", "none", "NONE", "nil", "-", "--",
    "---", "?", ".", "n.a.", "N.A.", "1.#QNAN", "-1.#IND",
)  # fmt: skip
# Numbers that do, and their negatives, beside digits that are all the same: the ends of whole numbers of a machine, and others.
_KNOWN = (
    200.0, 999.25, 6999.0, 7999.0, 9999.25, 127.0, 4095.0, 273.15, 3276.7, 3276.8, 327.67, 327.68, 6553.5, 655.35, 32767.0, 32768.0,
    65535.0, 65536.0, 2147483647.0, 2147483648.0, 4294967295.0, 4294967296.0, 2.0**63, 2.0**64,
)  # fmt: skip
_SAME_DIGITS = re.compile(r"9{2,}|([678])\1{2,}")
# Nothing that is measured is so large.
_NOT_MEASURED = 1e20
# It comes so often, or that share of the rows.
_FEWEST, _LEAST_SHARE = 3, 0.002
# Half of the values are others; beside a usual mark so many, as a share.
_LEAST_OTHERS = 0.1
# And lies so many times the spread of the others away from them.
_FAR = 10.0
# A usual mark: half of that spread away, or negative among others that are not, if it comes so many times as often as any other.
_APART, _MORE_OFTEN = 0.5, 3
# Others are told where they lie once that spread away and are as frequent, or three times, or half of it, as zeros do where
# nothing is measured; and -1 is a mark among numbers of which so many differ, none of them negative.
_BESIDE, _FURTHER, _ZERO_APART, _FEWEST_MEASURED = 1.0, 3.0, 0.5, 20
# What is so near to the others, as a share of the largest of them, is one of them: a usual mark, and any other number.
_HAIR_OF_A_MARK, _HAIR = 0.01, 0.05
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
    ends = {float(cells.min()), float(cells.max())}
    often = [number for number in {*ends, *marks} if (cells == number).sum() >= fewest]
    often += sorted(ends.intersection(marks).difference(often))
    found = []
    for number in often:
        others = cells[(cells != number) & ~np.isin(cells, [mark for mark in marks if mark in often])]
        enough = len(others) >= len(cells) / 2 or (_is_known(number) and len(others) >= max(5, _LEAST_OTHERS * len(cells)))
        n_rows = int((cells == number).sum())
        known = _is_known(number) or (number == -1 and _is_only_negative(others))
        if enough and _stands_out(number, n_rows, others, known, alone=n_rows < fewest):
            found.append(Sentinel(column, number, n_rows, known and (n_rows >= fewest or abs(number) >= _LARGE)))
    return found


def _is_only_negative(others: Floats) -> bool:
    """Tell measured numbers, none of them negative, among which -1 is none."""
    return len(np.unique(others)) >= _FEWEST_MEASURED and float(others.min()) >= 0


def _is_known(number: float) -> bool:
    if abs(number) >= _NOT_MEASURED or any(math.isclose(abs(number), mark, rel_tol=1e-9) for mark in _KNOWN):
        return True
    return bool(_SAME_DIGITS.fullmatch(number_text(abs(number)).replace(".", "")))


def _stands_out(number: float, n_rows: int, others: Floats, known: bool, *, alone: bool) -> bool:
    """Tell whether a number that comes on so many rows lies apart from the others, or is a usual mark and far more frequent.

    One that comes on few rows only, `alone`, must lie far from the others.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # between the largest numbers there are
        low, high = map(float, np.quantile(others, (0.005, 0.995)))
    spread = max(high - low, float(np.abs(others).max()) * 1e-6)
    if not known and number == 0 and float(others.min()) == float(others.max()):  # a switch that is mostly on
        return False
    distance = max(float(others.min()) - number, number - float(others.max()))
    if _is_one_of(number, others, distance, known):
        return False
    if spread <= 0 or distance > _FAR * spread or alone:
        return spread > 0 and distance > _FAR * spread
    n_other = int(np.unique(others, return_counts=True)[1].max())
    apart = distance > _APART * spread or (number < 0 <= float(others.min()))
    within = abs(number) >= _LARGE and n_rows >= max(
        _FEWEST_WITHIN, _LEAST_WITHIN * (len(others) + n_rows), _FAR_MORE_OFTEN * n_other
    )
    if not known:
        beside = distance > _BESIDE * spread and n_rows >= _MORE_OFTEN * n_other
        return beside or distance > (_ZERO_APART if number == 0 else _FURTHER) * spread
    alien = number < 0 <= float(others.min()) and distance > _APART * spread
    return (apart and n_rows >= _MORE_OFTEN * n_other) or alien or within


def _is_one_of(number: float, others: Floats, distance: float, known: bool) -> bool:
    """Tell a number a hair away from the others, or between 0 and the only other one: an availability of 100 may be 99.9, or 90."""
    low, high = float(others.min()), float(others.max())
    if number < 0 <= low:
        return False
    near = 0 < distance < (_HAIR_OF_A_MARK if known else _HAIR) * max(abs(low), abs(high))
    return near or (not known and low == high and min(low, 0) < number < max(low, 0))


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
        marks = ",".join(sorted({number_text(found.value) for found in known}))
        raise DataError(
            "A number that usually stands for a missing value, and lies apart from the others, must be said to be one. "
            f"Received: {number_text(first.value)} on {first.n_rows:,} row{'s' * (first.n_rows > 1)} of {first.column!r} ({name}). "
            f"If it stands for a missing value, say --missing-values {marks}; if it was measured, "
            "--missing-values none."
        )
    if not told:
        return []
    first = told[0]
    rows = f"{first.n_rows:,} row{'s' * (first.n_rows > 1)}"
    mark = number_text(first.value)
    return [
        f"{mark} comes on {rows} of {first.column!r}, far from all others: if it stands for a missing value, say "
        f"--missing-values {mark}."
    ]


def number_text(value: float) -> str:
    """Return a number with all of its digits, as it is read back: what is said must be what is there."""
    return repr(value).removesuffix(".0")
