"""Which names of time zones and which formats of times there are, and what columns say of zones; told without pandas."""

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

_LONGEST = 100
# They mean another zone on every machine, or none at all.
_NO_ZONES = ("localtime", "Factory")
# What zones are called for short where most of their people live; two or three hours apart elsewhere.
ABBREVIATIONS = {
    **dict.fromkeys(("CET", "CEST", "MEZ", "MESZ"), "Europe/Berlin"), "WET": "Europe/Lisbon", "BST": "Europe/London",
    **dict.fromkeys(("EET", "EEST"), "Europe/Helsinki"), "MSK": "Europe/Moscow", "JST": "Asia/Tokyo", "KST": "Asia/Seoul",
    **dict.fromkeys(("EST", "EDT"), "America/New_York"), **dict.fromkeys(("CST", "CDT"), "America/Chicago"),
    **dict.fromkeys(("MST", "MDT"), "America/Denver"), **dict.fromkeys(("PST", "PDT"), "America/Los_Angeles"),
    "IST": "Asia/Kolkata", **dict.fromkeys(("AEST", "AEDT"), "Australia/Sydney"),
    **dict.fromkeys(("NZST", "NZDT"), "Pacific/Auckland"),
}  # fmt: skip
# The offsets of those that name the time of winter alone: some loggers have it all year.
_STANDARD = {
    "CET": "Etc/GMT-1", "MEZ": "Etc/GMT-1", "EET": "Etc/GMT-2", "EST": "Etc/GMT+5", "CST": "Etc/GMT+6", "MST": "Etc/GMT+7",
    "PST": "Etc/GMT+8", "AEST": "Etc/GMT-10", "NZST": "Etc/GMT-12",
}  # fmt: skip
_ZONE = re.compile(r"(?:GMT|UTC) ?([+-])(\d{1,2})(?::?(\d\d))?")
# Performance counters of Windows: how many minutes UTC is ahead.
_PDH = re.compile(r"\(PDH-CSV [\d.]+\) \((.+)\)\((-?\d+)\)")
_SPEAKS_OF_ZONES = re.compile(r"(?i)time ?zone|zeitzone|fuseau|huso|fuso|tidszon|tijdzone|\btz\b")
# What both Python and pandas read, in every country the same.
_DIRECTIVES = set("YymdjbBaAHIMSfpz%")
# No two of its parts are the same number, so that a format cannot confuse them.
_SAMPLE = datetime(2019, 11, 23, 17, 46, 58, tzinfo=UTC)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - {*_NO_ZONES})


def is_zone(name: object) -> bool:
    """Tell whether this is the name of an IANA time zone, such as Europe/Berlin."""
    return isinstance(name, str) and (name == "UTC" or name in _zones())


def near_zones(name: object) -> str:
    """Say in a sentence which zones have a name like this one; empty if none has."""
    text = str(name)[:_LONGEST].strip().lower().replace(" ", "_")
    by_words = {word: zone for zone in sorted(_zones()) for word in (zone.lower(), zone.lower().rpartition("/")[2])}
    near = list(dict.fromkeys(by_words[word] for word in difflib.get_close_matches(text, by_words, n=2, cutoff=0.75)))
    return f"Did you mean {' or '.join(near)}?" if near else "Take a name such as UTC, Europe/Berlin or America/New_York."


def zone_in(column: str) -> str | None:
    """Say that the name of a column of times has a zone other than UTC; None if it does not."""
    found = _ZONE.search(column)
    if found is not None:
        hours = int(f"{found[1]}{found[2]}")
        option = f"Etc/GMT{-hours:+d}" if hours and (not found[3] or found[3] == "00") else ""
        return _says(column, found[0], option) if hours else None
    if (counters := _PDH.search(column)) is not None:
        hours, rest = divmod(int(counters[2]), 60)
        return _says(column, counters[1], "" if rest else f"Etc/GMT{hours:+d}") if int(counters[2]) else None
    words = re.split(r"[^A-Za-z]+", column)
    if (named := _named_in(column)) is not None:
        return _says(column, named, named)
    short = next((word for word in words if word in ABBREVIATIONS), None)
    if short is not None:
        return _says(column, short, ABBREVIATIONS[short])
    local = next((word for word in words if word.lower() in ("local", "lokal", "ortszeit")), None)
    return None if local is None else _says(column, local, "ZONE, with the name of the place's zone")


def zone_above(lines: Sequence[str]) -> str | None:
    """Say that a line above the header has a zone other than UTC; None if none does.

    Args:
        lines: titles and comments: short names of zones are looked for in those that speak of zones.
    """
    for line in lines:
        found, option = _ZONE.search(line), _named_in(line)
        if found is not None and (hours := int(f"{found[1]}{found[2]}")):
            option = option or (f"Etc/GMT{-hours:+d}" if found[3] in (None, "00") else None)
        if option is None and _SPEAKS_OF_ZONES.search(line):
            option = next((ABBREVIATIONS[word] for word in re.split(r"[^A-Za-z]+", line) if word in ABBREVIATIONS), None)
        if option is not None:
            said = "A line above the header says a zone, and the times are read as UTC"
            return f"{said}: say --tz {option} if it is theirs."
    return None


def _named_in(text: str) -> str | None:
    """Return the first IANA zone that a text names."""
    return next((name for name in re.findall(r"[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+", text) if is_zone(name)), None)


def zone_behind(cell: str) -> tuple[str, str] | None:
    """Return the short name of a zone that stands behind a time, and its offset from UTC as ISO 8601 has it; None if none does."""
    found = re.search(r"\d ?([A-Z]{2,5})['\"]?\s*$", cell)
    zone = None if found is None else ABBREVIATIONS.get(found[1])
    if found is None or zone is None:
        return None
    moments = [datetime(2024, month, 1, tzinfo=zoneinfo.ZoneInfo(zone)) for month in (1, 7)]
    named = next((moment for moment in moments if moment.tzname() == found[1]), moments["S" in found[1][1:-1]])
    return found[1], named.isoformat()[-6:]


def zone_in_cells(cells: Sequence[str]) -> str | None:
    """Return the zone that all cells of a column name, as an option takes it; None if they name none, or several."""
    words = {cell.strip() for cell in cells}
    zones = {ABBREVIATIONS.get(word, word if is_zone(word) else None) for word in words}
    zone = zones.pop() if len(zones) == 1 else None
    fixed = _STANDARD.get(next(iter(words))) if zone is not None and len(words) == 1 else None
    return zone if fixed is None else f"{zone}, or {fixed} where clocks are never shifted,"


def _says(column: str, zone: str, option: str) -> str:
    return f"The name {column!r} says {zone}, and the times are read as UTC{option and f': say --tz {option}'}."


def is_time_format(text: object) -> bool:
    """Tell whether this is a format of `strptime` of days, months or years, in digits or English, or a word in the place of one."""
    if text in TIME_WORDS:
        return True
    if (
        not isinstance(text, str)
        or len(text) > _LONGEST
        or not text.isprintable()
        or not set(re.findall("%(.?)", text)) <= _DIRECTIVES
    ):
        return False
    if not {"y", "Y"} & set(re.findall("%(.?)", text)):  # Python 3.13 warns of a day without a year
        return False
    try:
        found = datetime.strptime(_SAMPLE.strftime(text), text).date()
        return found in (_SAMPLE.date(), _SAMPLE.date().replace(day=1))
    except (ValueError, UnicodeError):
        return False


# Words in the place of a format: numbers since 1970, days of a spreadsheet, and the same of programs that count from 1904: seconds
# as LabVIEW has them, days as workbooks of old Macs do; and seconds since 2001, as phones and new Macs have them.
TIME_WORDS = ("epoch", "excel", "epoch-1904", "excel-1904", "epoch-2001")


def is_delimiter(text: object) -> bool:
    """Tell what may separate the fields of a text file: a character, or the word tab."""
    return text == "tab" or (
        isinstance(text, str) and len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n .-+\\\0'
    )


def are_tokens(text: object) -> bool:
    """Tell texts separated by commas, none of them empty."""
    return (
        isinstance(text, str)
        and text != "auto"
        and 0 < len(text) <= 1_000
        and text.isprintable()
        and all(part.strip() for part in text.split(","))
    )


def has_offset(time_format: str) -> bool:
    """Tell whether times of this format say their offset from UTC, as UTC itself does."""
    return "%z" in time_format.replace("%%", "") or time_format.endswith(("UTC", "GMT", "Z", "z"))
