"""Times, spans of time, counts and names as a person reads them; and spans as a person writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from anomaly.quick_start import pd

_MICROSECONDS = ((86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second"))
_SHORT_UNITS = tuple((size, short) for (size, _), short in zip(_MICROSECONDS, ("d", "h", "min", "s"), strict=True))
_SHORTEST = 60  # of a name that is cut
_ALL_DIGITS = 17  # of a float
_WRITTEN_UNITS = {short: size for size, short in _SHORT_UNITS} | {"w": 7 * 86_400_000_000}
_WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|min|h|d|w)", re.ASCII)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,000 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def names_text(names: Sequence[str], most: int = 3) -> str:
    """Return names in a line, long ones cut, and how many more there are."""
    shown = ", ".join(name if len(name) <= _SHORTEST else f"{name[:_SHORTEST]}..." for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def stamp_text(stamp: Any) -> str:
    """Return a point in time as it stands on the clocks of its zone, seconds left out where there are none.

    Args:
        stamp: a `pd.Timestamp`, a `pd.Period`, or the number of a row.
    """
    if isinstance(stamp, pd.Period):
        return str(stamp)
    if not isinstance(stamp, pd.Timestamp):
        return f"row {stamp}"
    text = str(np.datetime64(stamp.tz_localize(None).as_unit("us").asm8)).replace("T", " ").removesuffix(".000000")
    return text.removesuffix(":00") if text.count(":") == 2 else text


def span_text(first: Any, last: Any) -> str:
    """Return two points in time, the second one without what it shares: "2014-10-30 16:30 to 11-02 02:00".

    Args:
        first: as for `stamp_text`.
        last: of the same kind.
    """
    one, other = stamp_text(first), stamp_text(last)
    if one == other:
        return one
    if isinstance(first, pd.Timestamp):
        if one.endswith(" 00:00") and other.endswith(" 00:00"):
            one, other = one.removesuffix(" 00:00"), other.removesuffix(" 00:00")
        elif one[:10] == other[:10]:
            return f"{one} to {other[11:]}"
        return f"{one} to {other[5:] if one[:5] == other[:5] else other}"
    return f"{one} to {other.removeprefix('row ')}"


def zone_text(stamps: pd.Index) -> str:
    """Return the zone of times with a blank before it; empty where they have none."""
    zone = getattr(stamps, "tz", None)
    return "" if zone is None else f" {zone}"


def duration_text(microseconds: int) -> str:
    """Return a span of time in its two largest units: "3 d 8 h", "13 h", "45 min"; what is left over is cut off.

    Args:
        microseconds: 0 or more.
    """
    parts: list[str] = []
    left = microseconds
    for size, unit in _SHORT_UNITS:
        n, left = divmod(left, size)
        if parts and not n:
            break
        if n:
            parts.append(f"{n:,} {unit}")
        if len(parts) == 2:
            break
    return " ".join(parts) or f"{microseconds / 1e6:.3g} s"


def span_from(text: str) -> int | None:
    """Return a span of time that a person wrote, in microseconds: 30min, 12h, 7d, 2w, 1.5 d; None for any other text."""
    found = _WRITTEN.fullmatch(text)
    return None if found is None else int(float(found[1]) * _WRITTEN_UNITS[found[2]])


def pair_text(one: float, other: float) -> tuple[str, str]:
    """Return two values of one kind with the digits that tell them apart: "39,197" and "24,000", "1,013.2" and "1,012.9".

    Args:
        one: finite.
        other: finite.
    """
    apart, largest = abs(one - other), max(abs(one), abs(other))
    if largest and not 1e-4 <= largest < 1e9:
        digits = digits_apart(one, other, 4)
        return f"{one:.{digits}g}", f"{other:.{digits}g}"
    digits = 3 if apart == 0 else min(max(2 - int(np.floor(np.log10(apart))), 0), 9)
    first, second = (f"{value:,.{digits}f}" for value in (one, other))
    return _shorn(first), _shorn(second)


def digits_apart(one: float, other: float, least: int) -> int:
    """Return how many significant digits two numbers need so that three of their difference show; at most 17, all that there are.

    Args:
        one: NaN or infinite has no difference.
        other: of the same kind.
        least: returned where these are enough.
    """
    with np.errstate(all="ignore"):
        apart, largest = np.abs(np.float64(one) - other), max(abs(one), abs(other))
    if not (apart > 0 and np.isfinite(apart)):
        return least
    return min(max(least, int(np.floor(np.log10(largest)) - np.floor(np.log10(apart))) + 3), _ALL_DIGITS)


def number_beside(value: float, other: float | None, least: int = 9) -> str:
    """Return a number as text with the digits that tell it from another one, see `digits_apart`."""
    return f"{value:.{least if other is None else digits_apart(value, other, least)}g}"


def _shorn(text: str) -> str:
    """Return a number without zeros that end its digits behind the point, and without a minus where it is 0."""
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def step_text(microseconds: float) -> str:
    """Return a span of time in the largest unit of which it has one: "5 minutes", "hour"."""
    for size, unit in _MICROSECONDS:
        if microseconds >= size:
            n = microseconds / size
            return unit if n == 1 else f"{n:.4g} {unit}s"
    return f"{microseconds / 1e6:.4g} seconds"
