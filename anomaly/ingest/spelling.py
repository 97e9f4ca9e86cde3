"""How numbers are written in a file: their marks, and what stands for a missing value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomaly.meaning.marks import kinds_of
from anomaly.meaning.sentinels import MISSING_TEXT
from anomaly.quick_start import pd
from anomaly.times.timestamps import is_finite


@dataclass(frozen=True)
class Marks:
    """The decimal mark of numbers, and the one between thousands, if there is one."""

    decimal: str = "."
    thousands: str | None = None

    def plain(self, text: pd.Series[str]) -> pd.Series[str]:
        """Return numbers with a decimal point and nothing between thousands; what has other marks becomes no number."""
        if self == Marks():
            return text
        stripped = text.str.strip()
        pattern = re.escape(self.decimal)
        between = kinds_of(self.thousands) if self.thousands else ""
        whole = rf"\d{{1,3}}(?:{between}\d{{3}})+|\d*" if between else r"\d*"
        good = stripped.str.fullmatch(rf"[+-]?(?:{whole})(?:{pattern}\d*)?(?:[eE][+-]?\d+)?")
        bare = stripped.str.replace(between, "", regex=True) if between else stripped
        return bare.str.replace(self.decimal, ".", regex=False).where(good, "no number")


@dataclass(frozen=True)
class Spelling:
    """How numbers are written, and what is to be done where none is.

    Attributes:
        marks: of the numbers.
        missing: what stands for a missing value beside `MISSING_TEXT`, as `ReadingConfig.missing_values`.
        may_leave_out: whether a column can be left out, as in training.
        undecided: by column the first cells, if they say nothing of the decimal mark, and nobody said it: all are whole numbers,
            or have a point before three digits.
        before: the decimal mark in training.
        truths: columns of true and false, which are 1 and 0, and hold nothing else.
        silent: columns of which the first records hold nothing: their first cell tells whether they are such.
        switches: columns of which the first records hold 0 and 1 alone: true and false among further ones are the same.
        trained: whether a detector reads the columns.
        large: features that were whole and of a thousand and more in training, with the least of them; None where the marks were
            said, or files have none.
    """

    marks: Marks = Marks()
    missing: str | None = None
    may_leave_out: bool = True
    undecided: Mapping[str, Sequence[str]] | None = None
    before: str | None = None
    truths: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()
    trained: bool = False
    large: Mapping[str, str] | None = None


def missing_tokens(named: str | None) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the texts and the exact numbers that stand for a missing value; `named` as `ReadingConfig.missing_values`."""
    tokens = [] if named in (None, "none") else [part.strip() for part in str(named).split(",")]
    numbers = tuple(float(token) for token in tokens if is_finite(token))
    return (*MISSING_TEXT, *(token for token in tokens if not is_finite(token))), numbers
