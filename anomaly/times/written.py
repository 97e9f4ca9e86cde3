"""Times as people and programs write them beside ISO 8601: which formats fit the cells of a column, and which of these is meant.

Where day and month can be either way round, the reading in which the rows come evenly is meant, if they do in one only: hours of
January read as months leave gaps of weeks at each midnight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np

from anomaly.quick_start import pd
from anomaly.series import NOT_TIMES, Floats
from anomaly.times.other_words import has_words, in_english

# Digits that spell a date, or a date and a time of day in one word, by their number.
COMPACT = {
    6: "%Y%m", 7: "%Y%j", 8: "%Y%m%d", 9: "%Y%j%H", 10: "%Y%m%d%H", 11: "%Y%j%H%M", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S",
    17: "%Y%m%d%H%M%S%f",
}  # fmt: skip
# They are also numbers since 1970: they are dates if as such they come more evenly.
_DOUBTFUL = {10: "%y%m%d%H%M", 12: "%y%m%d%H%M%S", 13: "%Y%j%H%M%S"}
# Digits that spell a date in another order than from the year on, or with two of its digits.
_OTHER_ORDERS = {8: ("%d%m%Y", "%m%d%Y"), 6: ("%y%m%d", "%d%m%y", "%m%d%y")}
_MOSTLY_EVEN, _FEWEST_DATES = 0.6, 5
# In the place of a format: numbers since 1970. Those of today have so many digits in seconds, which are taken for such in doubt.
EPOCH, _SECONDS = "epoch", 10
# What no part of `_WRITTEN` covers.
_OTHERS = (
    "%Y-%jT%H:%M:%S", "%Y-%j %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y",
    "%d/%b/%Y:%H:%M:%S %z", "%Y:%m:%d %H:%M:%S", "%Y-%m-%d_%H:%M:%S", "%Y-%m-%d_%H:%M", "%Y-%m-%d_%H-%M-%S", "%Y%m%d_%H%M%S",
    "%Y%m%d_%H%M", "%Y%m%d:%H%M", "%Y%m%d-%H%M%S", "%Y%m%d %H%M%S", "%Y%m%d %H%M", "%Y%m%d %H:%M:%S", "%Y%m%d %H:%M", "%Y%m%d %H",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S GMT", "%Y-%m-%dT%H:%M:%Sz", "%Y-%m-%d %H:%M:%S,%f", "%Y-%m-%dT%H:%M:%S,%f",
    "%Y-%m-%d %H:%M:%S.%f UTC", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %H%M", "%Y-%m-%d %H", "%Y-%m-%d-%H:%M:%S",
    "%Y-%m-%d %H%M%S", "%Y/%m/%d %H%M", "%Y/%m/%d %H%M%S", "%d/%m/%Y %H%M", "%m/%d/%Y %H%M", "%d/%m/%Y %H%M%S", "%m/%d/%Y %H%M%S",
    "%d.%m.%Y %H%M", "%d.%m.%Y %H%M%S", "%Y %m %d %H%M", "%Y %m %d %H%M%S", "%Y %j %H%M",
    "%Y %j", "%Y %j %H", "%Y %j %H %M", "%Y %j %H %M %S",
    "%Y %m", "%Y %b", "%Y %B", "%Y %m %d", "%Y %m %d %H", "%Y %m %d %H %M", "%Y %m %d %H %M %S",
    "%Y %m %d %H %M %S.%f", "%Y %j %H %M %S.%f", "%y %m %d", "%y %m %d %H", "%y %m %d %H %M", "%y %m %d %H %M %S",
    # SAS; months and days of a year; Chinese and Japanese; the time of day before the date; DB2
    "%d%b%Y", "%d%b%Y:%H:%M:%S", "%d%b%Y:%H:%M:%S.%f", "%d%b%Y %H:%M:%S", "%d%b%Y %H:%M", "%Y-%m", "%YM%m", "%b-%y", "%b-%Y",
    "%b %Y", "%B %Y", "%B-%Y", "%Y-%b", "%m/%Y", "%m-%Y", "%m.%Y", "%Y-%j", "%Y年%m月%d日",
    "%Y年%m月%d日 %H:%M", "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日%H时%M分", "%Y年%m月%d日 %H时%M分", "%Y年%m月%d日%H時%M分", "%Y年%m月%d日 %H時%M分", "%H:%M:%S %d.%m.%Y",
    "%Y年%m月%d日%H时%M分%S秒", "%Y年%m月%d日 %H时%M分%S秒", "%Y年%m月%d日%H時%M分%S秒", "%Y年%m月%d日 %H時%M分%S秒",
    "%H:%M %d.%m.%Y", "%Y-%m-%d-%H.%M.%S", "%Y-%m-%d-%H.%M.%S.%f", "%Y-%m-%d-%H-%M-%S", "%a %b %d %H:%M:%S UTC %Y",
)  # fmt: skip
# Formats that nothing shorter may stand for: four digits are no 00:0:0, and 2024-1 is no first day of a year.
_WHOLE = ("%H%M", "-%j")
# A date in three parts, and behind it a time of day.
_WRITTEN = re.compile(
    r"(?P<a>\d{1,4}|[A-Za-z]{3,9})(?P<mark>\. |[./\- ])(?P<b>\d{1,2}|[A-Za-z]{3,9})"
    r"(?P<behind>(?P=mark)|, |(?<=[A-Za-z]) )(?P<c>\d{4}|\d{2})(?P<point>\.?)"
    r"(?:(?P<gap> |T|, | @ |,? at )(?P<early>[AaPp][Mm] )?(?P<hour>\d{1,2})"
    r"(?:(?P<colon>[:. h])\d{1,2}(?:(?P<second>(?P=colon)\d{1,2})(?P<fraction>[.,:]\d{1,6})?)?)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?[+-]\d\d:?\d\d| UTC| GMT|Z)?)?"
)
# "1.1.24" is the shortest date.
_SHORTEST = 6
_ZEROS = re.compile(r"(\d+)(\.0+)?")
_DAY = 86_400 * 10**6
# What a part of a format looks like in a cell whose day ends at 24:00; and such a day as ISO 8601 has it.
_AT_24 = {
    "H": "(?P<hour>24)", "M": "00", "S": "00", "f": "0{1,6}", "Y": r"\d{4}", "y": r"\d\d", "m": r"\d{1,2}", "d": r"\d{1,2}",
    "j": r"\d{1,3}", "b": r"[^\W\d_]+", "B": r"[^\W\d_]+", "a": r"[^\W\d_]+", "z": r"(?:[+-]\d\d:?\d\d|Z)",
}  # fmt: skip
_ISO_24 = re.compile(
    r"\s*\d{4}(?:[-/]\d\d[-/]\d\d|\d{4})[T ](?P<hour>24)(?::?00(?::?00(?:[.,]0+)?)?)? ?(?:Z|[+-]\d\d:?(?:\d\d)?)?\s*"
)
_MONTH_OF_YEAR = re.compile(r"\s*(?:0[1-9]|1[0-2])\.(?:19|20)\d\d\s*")
# The time of day behind a date, set off from it, with nothing behind; and the fraction behind seconds.
_CLOCK_BEHIND = re.compile(r"(?:[^%\w]+T?|T)%[HI](?:[:. ]%M(?:[:. ]%S(?:[.,:]%f)?)?)?(?: ?%p)?$")
_FRACTION = re.compile(r"[.,:]%f")
# Of a cell that may be a time: its year; a week, a quarter or a half of one; a date with a year of two digits.
_YEAR, _PERIOD = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)"), re.compile(r"(?i)(?<![a-z\d])[qwh]\d|(?:19|20)\d\d-?[qwh]\d")
_SHORT_DATE = re.compile(r"(?<!\d)\d{1,2}([./-])\w{1,3}\1\d{2}(?!\d)")


def may_have_format(cell: str) -> bool:
    """Tell whether one format can read a time: it has one date, with its year and its day."""
    if len(_YEAR.findall(cell)) > 1 or _PERIOD.search(cell):  # from one to another; a week, a quarter
        return False
    groups = len(re.findall(r"\d+|[^\W\d_]{3,}", cell))
    return bool((_YEAR.search(cell) and groups >= 3) or _SHORT_DATE.search(cell) or re.search(r"\d{6,14}", cell))


def moments_by(texts: pd.Series[Any], how: str) -> pd.Series[Any]:
    """Read times by a format; where it is 0, the time of day may be left out, or the fraction; a day may end at 24:00.

    Args:
        texts: `(n,)` cells without blanks around them; NaN where there is none.
        how: a format for `strptime`, or "ISO8601", which leaves out what it likes by itself.

    Returns:
        Times in UTC, `(n,)`; NaT where a cell is none. Words may be those of other languages.
    """
    found = _as_written(texts, how)
    if has_words(how) and (still := found.isna() & texts.notna()).any():
        found[still] = _as_written(texts[still].map(in_english), how)
    return found


def _as_written(texts: pd.Series[Any], how: str) -> pd.Series[Any]:
    found = _by(texts, how)
    shorter = _shorter(how)
    for other in shorter:
        if not (still := found.isna() & texts.notna()).any():
            return found
        found[still] = _by(texts[still], other)
    still = found.isna() & texts.notna()
    return _with_ends_of_days(found, texts[still], how) if still.any() else found


def _by(texts: pd.Series[Any], how: str) -> pd.Series[Any]:
    """Read times as pandas does, in microseconds: nanoseconds, which it takes for some formats, reach from 1677 to 2262 only."""
    return pd.to_datetime(texts, format=how, errors="coerce", utc=True).dt.as_unit("us")


def _shorter(how: str) -> list[str]:
    """Return a format without the fraction, and without the time of day."""
    found = [_FRACTION.sub("", how)] if _FRACTION.search(how) else []
    clock = _CLOCK_BEHIND.search(how)
    if clock is not None and clock.start() > 0:
        found.append(how[: clock.start()])
    return found


def begin_days_at_24(texts: pd.Series[Any], how: str) -> bool:
    """Tell times that go forward only if 24:00 is where their day begins."""
    ends = _ISO_24 if how == "ISO8601" else _pattern_at_24(how)
    matches = [None if ends is None else ends.fullmatch(text) for text in texts]
    if not any(matches):
        return False
    times = moments_by(texts, how)
    begun = times - pd.to_timedelta([int(match is not None) for match in matches], unit="D")
    return not times.is_monotonic_increasing and begun.is_monotonic_increasing


def _with_ends_of_days(found: pd.Series[Any], texts: pd.Series[Any], how: str) -> pd.Series[Any]:
    """Return times with those that are written as 24:00, which is the next day's 0:00."""
    pattern = _ISO_24 if how == "ISO8601" else _pattern_at_24(how)
    matches = [None if pattern is None else pattern.fullmatch(str(text)) for text in texts]
    ends = texts[[match is not None for match in matches]]
    begun = [match.string[: match.start("hour")] + "00" + match.string[match.end("hour") :] for match in matches if match]
    midnights = _by(pd.Series(begun, index=ends.index, dtype="str"), how)
    found[ends.index] = midnights + pd.Timedelta(days=1)
    return found


@lru_cache(maxsize=64)
def _pattern_at_24(how: str) -> re.Pattern[str] | None:
    """Return what a cell of a format looks like whose hour is 24; None where no hour is, or one that this knows no way to read."""
    parts = re.split("%(.)", how)
    if "H" not in parts[1::2] or not set(parts[1::2]) <= set(_AT_24):
        return None
    return re.compile("".join(_AT_24[part] if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def written_formats(cells: Sequence[str]) -> list[str]:
    """Return the formats in which all cells are times with a day, a month and a year; ISO 8601 is not looked for.

    Args:
        cells: texts; 05/01/2024 is 5 January or 1 May, 25.01.2024 can be one day only.
    """
    first = max(cells, key=len).strip() if len(cells) else ""  # the others may have left out what is 0
    if len(first) < _SHORTEST or not any(c.isdecimal() for c in first) or _is_plain(first):
        return []
    if any(cell.strip() in NOT_TIMES for cell in cells):
        return []
    texts = pd.Series([cell.strip() for cell in cells], dtype="str")
    found = _fitting(first, texts)
    return found if found or (english := in_english(first)) == first else _fitting(english, texts)


def _fitting(first: str, texts: pd.Series[Any]) -> list[str]:
    """Return the formats that one time may have, as far as all others have them too."""
    likely, parts = [how for how in _OTHERS if _is(first, how)], _WRITTEN.fullmatch(first)
    if parts is not None:
        clock = parts["point"] + _clock_of(parts)
        likely += [date + clock for date in _dates_of(*parts.group("a", "mark", "b", "behind", "c"))]
    return [how for how in dict.fromkeys(likely) if bool(moments_by(texts, how).notna().all())]


def _is_plain(text: str) -> bool:
    """Tell a plain number."""
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False


def _is(text: str, how: str) -> bool:
    try:
        moment = datetime.strptime(text, how)
    except ValueError:
        return False
    place = max(map(how.find, _WHOLE))
    return place < 0 or text.endswith(moment.strftime(how[place:]))


def _dates_of(first: str, mark: str, second: str, behind: str, third: str) -> list[str]:
    """Return the formats that three parts of a date may have."""
    if first.isalpha():
        orders = [(_month(first), "%d", "%Y")] if second.isdigit() and len(third) == 4 else []
    elif second.isalpha():
        orders = [("%d", _month(second), "%Y" if len(third) == 4 else "%y")]
    elif len(first) == 4:
        orders = [("%Y", "%m", "%d")]
    elif len(third) == 4:
        orders = [("%d", "%m", "%Y"), ("%m", "%d", "%Y")]
    else:
        orders = [("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d")]
    return [f"{a}{mark}{b}{behind}{c}" for a, b, c in orders]


def _month(name: str) -> str:
    return "%b" if len(name) == 3 else "%B"


def _clock_of(parts: re.Match[str]) -> str:
    """Return the format of the time of day behind a date; empty if there is none."""
    if parts["hour"] is None:
        return ""
    minute = f"{parts['colon']}%M" if parts["colon"] else ""
    second = f"{parts['colon']}%S" if parts["second"] else ""
    fraction = f"{parts['fraction'][0]}%f" if parts["fraction"] else ""
    early, half, zone = parts["early"], parts["half"] or "", parts["zone"] or ""
    written = zone if zone.strip().isalpha() else zone[: len(zone) - len(zone.lstrip())] + ("%z" if zone else "")
    behind = half[:-2] + ("%p" if half else "") + written
    hour = "%p %I" if early else "%I" if half else "%H"
    return f"{parts['gap']}{hour}{minute}{second}{fraction}{behind}"


def evenest(formats: Sequence[str], cells: Sequence[str]) -> str | None:
    """Return the only one of several formats in which the rows come evenly, within days; None if that does not decide.

    A row a day may be a row a month in another reading, so that days decide nothing.
    """
    return evenest_of({how: microseconds_by(cells, how) for how in formats})


def evenest_of(readings: Mapping[str, Floats]) -> str | None:
    """Return the only one of several readings in which the rows come evenly, within days; None if that does not decide.

    Args:
        readings: the microseconds of each, `(n,)`, by what it is called.
    """
    breaks = {}
    for how, times in readings.items():
        steps = steps_between(times)
        step = float(np.median(steps)) if len(steps) else _DAY
        breaks[how] = (int((steps > 1.5 * step).sum()), step)
    first, *others = sorted(readings, key=lambda how: breaks[how][0])
    fewest, step = breaks[first]
    next_fewest = breaks[others[0]][0]
    decided = next_fewest >= 1 if fewest == 0 else next_fewest >= 5 * max(fewest, 1)
    return first if decided and step < _DAY else None


def microseconds_by(cells: Sequence[str], how: str) -> Floats:
    """Return cells that a format reads as microseconds since 1970, `(n,)`."""
    texts = pd.Series([cell.strip() for cell in cells], dtype="str")
    parsed = moments_by(texts, how).dt.tz_localize(None)
    return np.asarray(parsed.astype("datetime64[us]").astype("int64"), np.float64)


def are_months_of_years(cells: Sequence[str]) -> bool:
    """Tell months with a point before their year, 01.2015, which are numbers as well."""
    return len(set(cells)) > 1 and all(map(_MONTH_OF_YEAR.fullmatch, cells))


def spelled_format(cells: Sequence[str]) -> str | None:
    """Return the format of digits that spell dates of 1900 to 2100, YYYYMMDD too; None if they do not all, or in two ways.

    Args:
        cells: texts of digits; a fraction of zeros behind all of them becomes part of the format.
    """
    formats = spelled_formats(cells)
    return formats[0] if len(formats) == 1 else None


def spelled_formats(cells: Sequence[str]) -> list[str]:
    """Return the formats in which digits may spell dates; one that also may be numbers since 1970 only if rows come more evenly so.

    Args:
        cells: texts of digits; a fraction of zeros behind all of them becomes part of the format.
    """
    found = [_ZEROS.fullmatch(cell.strip()) for cell in cells]
    matches = [match for match in found if match is not None]
    if not matches or len(matches) < len(found) or len({(len(match[1]), match[2]) for match in matches}) > 1:
        return []
    digits, behind = [match[1] for match in matches], matches[0][2] or ""
    plain, short = (table.get(len(digits[0])) for table in (COMPACT, _DOUBTFUL))
    plain = plain if plain is not None and _are_dates(digits, plain) else None
    short = short if short is not None and _are_dates(digits, short) else None
    shares = {how: even_share(microseconds_by(digits, how)) for how in (plain, short) if how is not None and short is not None}
    if plain is not None and short is not None:
        best = max(shares.values())
        return [how + behind for how, share in shares.items() if share == best]
    if short is not None and not shares[short] > even_share(np.array(digits, np.float64)):
        return [short + behind, EPOCH] if len(digits[0]) != _SECONDS else []
    spelled = [how for how in (plain, short) if how is not None] or _other_orders(digits)
    return [how + behind for how in spelled]


def _other_orders(digits: Sequence[str]) -> list[str]:
    """Return the formats in which digits spell dates in another order: the evenest one, or where a zero begins some, all."""
    possible = [how for how in _OTHER_ORDERS.get(len(digits[0]), ()) if _are_dates(digits, how)]
    if not possible:
        return []
    shares = {how: even_share(microseconds_by(digits, how)) for how in possible}
    best = max(shares.values())
    evenest_ones = [how for how in possible if shares[how] == best]
    decided = best > _MOSTLY_EVEN and best > even_share(np.array(digits, np.float64))
    if len(evenest_ones) == 1 and decided and len(set(digits)) > _FEWEST_DATES:
        return evenest_ones
    return possible if any(cell.startswith("0") for cell in digits) and len(set(digits)) > 1 else []


def _are_dates(digits: Sequence[str], how: str) -> bool:
    years = moments_by(pd.Series(digits, dtype="str"), how).dt.year
    return bool(((years >= 1900) & (years <= 2100)).all())


def steps_between(numbers: Floats) -> Floats:
    """Return the steps from each different number to the next larger one; NumPy's `unique` would load its masked arrays first."""
    steps = np.diff(np.sort(numbers))
    return steps[steps > 0]


def even_share(numbers: Floats) -> float:
    """Return which share of the steps between different numbers, in order, is as long as the median one."""
    steps = steps_between(numbers)
    return float((np.abs(steps - np.median(steps)) <= 0.01 * np.median(steps)).mean()) if len(steps) else 1.0
