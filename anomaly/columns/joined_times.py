"""How the columns that make up a time are joined: hours and minutes get their zeros back, fractions of a second a point.

Who keeps a time of day as a number loses the zeros before it: 5 is 00:05, 930 is 09:30. Loggers have milliseconds in a column of
their own, where 7 is .007.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from anomaly.quick_start import pd
from anomaly.series import Floats
from anomaly.times.epochs import are_epochs
from anomaly.times.time_parts import bare_name, digits_of_day, is_clock_name, is_moving_date

Cells = Mapping[str, Sequence[str]]

# What fractions of a second are called, and how many digits they have.
_FRACTIONS = (
    (re.compile(r"(?:.*[^a-z])?(?:ms|msecs?|millis?|milli_?sec(?:ond)?s?|millitm|millisekunden?)"), 3),
    (re.compile(r"(?:.*[^a-z])?(?:us|µs|usecs?|micros?|micro_?sec(?:ond)?s?)"), 6),
    (re.compile(r"(?:.*[^a-z])?(?:ns|nsecs?|nanos?|nano_?sec(?:ond)?s?)"), 9),
)
# They have no other meaning, nor has what stands beside a column of seconds; the others may be how long something took.
_ONE_MEANING, _SECONDS_NAME = re.compile(r"millitm|tv_[un]sec"), re.compile(r"(?:.*[^a-z])?(?:seconds?|secs?|ss)")
# The seconds behind a time of day, or since 1970, or in a column of their own.
_SECONDS = re.compile(r"(?:.*\d[:.]\d{2}[:.]|\d{8})(\d{2})\s*|\d{1,2}")
# Within a second so many steps, as a share, go one way; or steps are so many times as even with the fractions.
_FEWEST_STEPS, _MOSTLY_ONWARDS, _MORE_EVEN = 5, 0.95, 4
_MINUTE = 60
# Times of day in digits alone, in a format; as long as what they read.
_IN_DIGITS = ("%H%M%S", "%H%M")
# Before an offset from UTC.
_ZONE_NAME = re.compile(r"^(?:UTC|GMT) ?(?=[+-])")


class Joint(NamedTuple):
    """What stands before a part of a time, and how many digits it has at least, with zeros before them; 0 leaves it as it is."""

    mark: str = " "
    width: int = 0

    def before(self, part: str) -> str:
        """Return a part as it stands behind others."""
        if not self.width or not part.isdecimal():
            return f" {_ZONE_NAME.sub('', part)}"
        return f"{self.mark if len(part) <= self.width else ' '}{part.zfill(self.width)}"


def joints_of(parts: Sequence[str], cells: Sequence[Sequence[str]], how: str | None = None) -> tuple[Joint, ...]:
    """Return how the parts of a time are joined.

    Args:
        parts: names of the columns that make it up.
        cells: of each.
        how: the format of the times, if it is known.
    """
    found = [Joint()]
    for column, own in zip(parts[1:], cells[1:], strict=True):
        digits = _digits_of_fraction(column, own)
        if digits:
            found.append(Joint(".", digits) if how is None or "%f" in how else Joint())
        else:
            of_day = next((len(word) for word in _IN_DIGITS if word in (how or "")), 0) if is_clock_name(column) else 0
            found.append(Joint(" ", of_day or digits_of_day(column, own)))
    return tuple(found)


def joined(cells: Sequence[str], joints: Sequence[Joint]) -> str:
    """Return one time from its parts."""
    return cells[0].strip() + "".join(joint.before(cell.strip()) for cell, joint in zip(cells[1:], joints[1:], strict=True))


def joined_columns(columns: Sequence["pd.Series[Any]"], joints: Sequence[Joint]) -> "pd.Series[Any]":
    """Return times from columns of their parts, missing where one of them is."""
    found = columns[0].str.strip() if len(columns) > 1 else columns[0]
    for column, joint in zip(columns[1:], joints[1:], strict=True):
        part = column.str.strip()
        plain = not joint.width and not part.str.contains(_ZONE_NAME).any()
        found = found.str.cat(part, sep=" ") if plain else found.str.cat(part.map(joint.before, na_action="ignore"))
    return found


def with_fraction(cells: Cells, parts: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of a time and, if there is one, the column that has the fraction of its second.

    Args:
        cells: by column, one cell a row but for those that are missing.
        parts: that make up the time; where none do, one column may be it.
    """
    found = [(column, digits) for column, own in cells.items() if own and (digits := _digits_of_fraction(column, own))]
    whole = [*parts] or (_only_whole(cells) if found else [])
    if len(found) != 1 or not whole or not all(len(cells[part]) == len(cells[found[0][0]]) for part in whole):
        return tuple(parts)
    (fraction, digits), last = found[0], cells[whole[-1]]
    seconds = [match and float(match[1] or match[0]) for match in map(_SECONDS.fullmatch, last)]
    called = _SECONDS_NAME.fullmatch(bare_name(whole[-1]))
    if any(second is None for second in seconds) or not (called or all(len(cell.strip()) > len("00") for cell in last)):
        return tuple(parts)
    rows = list(zip(*(cells[part] for part in whole), strict=True))
    plain = called or _ONE_MEANING.fullmatch(bare_name(fraction))
    goes_on = plain or _go_on(rows, np.array(seconds, np.float64), np.array(cells[fraction], np.float64) / 10**digits)
    return (*whole, fraction) if goes_on else tuple(parts)


def _digits_of_fraction(column: str, cells: Sequence[str]) -> int:
    """Return how many digits fractions of a second have, if a column is called so and holds such numbers; else 0."""
    digits = next((digits for named, digits in _FRACTIONS if named.fullmatch(bare_name(column))), 0)
    return digits if digits and all(cell.strip().isdecimal() and len(cell.strip()) <= digits for cell in cells) else 0


def _only_whole(cells: Cells) -> list[str]:
    """Return the only column of whole times: written ones, or seconds since 1970."""
    found = [column for column, own in cells.items() if own and (is_moving_date(own) or are_epochs(own))]
    return found if len(found) == 1 else []


def _go_on(rows: Sequence[tuple[str, ...]], seconds: Floats, fractions: Floats) -> bool:
    """Tell fractions that go one way within each second, or with which the seconds of a minute come far more evenly."""
    same = np.array([a == b for a, b in itertools.pairwise(rows)], np.bool_)
    steps = np.diff(fractions)[same]
    if len(steps) >= _FEWEST_STEPS:
        return bool(max((steps > 0).mean(), (steps < 0).mean()) >= _MOSTLY_ONWARDS)
    if len(rows) <= _FEWEST_STEPS:
        return False
    plain, finer = (float(np.std(np.diff(moments) % _MINUTE)) for moments in (seconds, seconds + fractions))
    return finer * _MORE_EVEN < plain
