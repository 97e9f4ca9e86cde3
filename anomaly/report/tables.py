"""Tables: rows of text in columns, events for people and for programs."""

import csv
import io
import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomaly.events.event import Event, NotRaised
from anomaly.events.not_raised import reason_text
from anomaly.ingest.rejects import inert
from anomaly.series import format_time
from anomaly.storage.folders import new_file
from anomaly.words import duration_text, number_beside

TOP_FEATURES = 3

_MINUTE = 60_000_000
# Numbers and spans of time end flush.
_FLUSH_RIGHT = ("#", "lasts", "rows", "severity", "measured", "expected")
# Where lines begin that have no room beside their event.
_BELOW = 3


_COLUMNS = (
    "start", "stop", "first_time", "last_time", "peak_time", "peak_score", "severity", "n_flagged", "features", "deviations",
    "measured", "expected",
)  # fmt: skip


def events_text(
    events: list[Event],
    time_column: str | None,
    file_format: str,
    *,
    series: list[str] | None = None,
    header: bool = True,
    left_out: list[tuple[str, NotRaised]] | None = None,
    width: int | None = None,
    first_number: int | Mapping[str, int] = 1,
) -> str:
    """Return events as text.

    Args:
        events: in order.
        time_column: as in `TimeSeries`.
        file_format: "table" for people, "csv" or "jsonl" for programs.
        series: which series each belongs to, if there are several.
        header: whether a CSV text begins with the names of its columns.
        left_out: runs of flagged rows that are no events, each with its series; an empty list says that there are none,
            None that they are not to be told. Told, they stand among the events by their time, with the reason behind each.
        width: characters that a line of a table may have, as far as no name is longer; None for any number.
        first_number: of the first event in a table; of several series that of the first one of each, 1 where there is none. Each
            series has numbers of its own: they are those that commands about one series take.
    """
    if left_out is not None:
        return _all_text(events, time_column, file_format, series, left_out, width, first_number)
    return _text(events, time_column, file_format, series, header=header, width=width, first_number=first_number)


def _text(
    events: list[Event],
    time_column: str | None,
    file_format: str,
    series: list[str] | None,
    *,
    header: bool = True,
    reasons: list[str] | None = None,
    width: int | None = None,
    first_number: int | Mapping[str, int] = 1,
) -> str:
    rows = [event.to_dict(time_column) for event in events]
    if series is not None:
        rows = [{"series": name} | row for name, row in zip(series, rows, strict=True)]
    if reasons is not None:
        rows = [row | {"not_raised": reason} for row, reason in zip(rows, reasons, strict=True)]
    if file_format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    if file_format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = (*(() if series is None else ("series",)), *_COLUMNS, *(() if reasons is None else ("not_raised",)))
        if header:
            writer.writerow(columns)
        for event, row in zip(events, rows, strict=True):
            shares = " ".join(f"{name}:{share:.2f}" for name, share in event.shares)
            deviations = " ".join(f"{name}:{x:+.3g}" for (name, _), x in zip(event.shares, event.deviations, strict=True))
            row |= {"peak_score": f"{event.peak_score:.9g}", "features": inert(shares), "deviations": inert(deviations)}
            for name, other in (("measured", "expected"), ("expected", "measured")):
                pairs = zip(event.shares, getattr(event, name), getattr(event, other) or itertools.repeat(None), strict=False)
                row[name] = inert(" ".join(f"{feature}:{number_beside(x, y)}" for (feature, _), x, y in pairs if x is not None))
            row |= {"series": inert(str(row.get("series", "")))}
            writer.writerow([row[name] for name in columns])
        return text.getvalue()
    return _events_table(events, time_column, series, reasons, width, first_number)


def _all_text(
    events: list[Event],
    time_column: str | None,
    file_format: str,
    series: list[str] | None,
    left_out: list[tuple[str, NotRaised]],
    width: int | None,
    first_number: int | Mapping[str, int],
) -> str:
    """Return events and what is none in the order of time, each with the reason why it is none."""
    found = [(event, name, "") for event, name in zip(events, [""] * len(events) if series is None else series, strict=True)]
    found += [(run.event, name, run.reason) for name, run in left_out]
    # Rows are counted within a series, and times may step back: the order is the one in which the events are numbered.
    ordered = sorted(found, key=lambda item: (item[0].start, "") if series is None else (item[0].first_time, item[1]))
    names = None if series is None else [name for _, name, _ in ordered]
    reasons = [reason for _, _, reason in ordered]
    told = [event for event, _, _ in ordered]
    return _text(told, time_column, file_format, names, reasons=reasons, width=width, first_number=first_number)


def _events_table(
    events: list[Event],
    time_column: str | None,
    series: list[str] | None,
    reasons: list[str] | None,
    width: int | None,
    first_number: int | Mapping[str, int],
) -> str:
    """Return a line for each event; with less room than all columns need the peak's time goes, then what drove it is wrapped."""
    if not events:
        return "No events.\n"
    several = any(len(event.shares) > 1 for event in events)
    columns = {"#": _numbers(series or [""] * len(events), reasons, first_number)}
    columns |= {} if series is None else {"series": series}
    columns["first"] = _times([event.first_time for event in events], time_column)
    columns |= {} if time_column is None else {"lasts": [_lasts(event) for event in events]}
    columns |= {"rows": [f"{len(event):,}" for event in events]}
    columns |= {"peak": _times([event.peak_time for event in events], time_column)}
    columns |= {"severity": [f"{event.severity:.2f}" for event in events]}
    columns |= {} if several else _values(events)
    columns |= {} if reasons is None else {"no event": [reason and reason_text(reason) for reason in reasons]}
    driven = [_shares(event) for event in events] if several else None
    if width is not None and _needed(columns, driven) > width:
        del columns["peak"]
    return _with_drivers(columns, driven, width)


def _with_drivers(columns: dict[str, list[str]], driven: list[list[str]] | None, width: int | None) -> str:
    """Return a table whose last column, of what drove each event, is wrapped between its parts to the width.

    Where a part has no room beside the other columns, all of them stand in lines of their own below.
    """
    table = [tuple(columns), *zip(*columns.values(), strict=True)]
    lines = aligned(table, right=tuple(i for i, name in enumerate(columns) if name in _FLUSH_RIGHT)).splitlines()
    if driven is None:
        return "".join(f"{line}\n" for line in lines)
    indent = max(map(len, lines)) + 2
    beside = width is None or indent + max(len(part) for parts in driven for part in parts) <= width
    indent = indent if beside else _BELOW
    told = [f"{lines[0]:{indent}}driven by" if beside else lines[0]]
    for line, parts in zip(lines[1:], driven, strict=True):
        first, *rest = _wrapped(parts, None if width is None else width - indent)
        told += [f"{line:{indent}}{first}"] if beside else [line, " " * indent + first]
        told += [" " * indent + more for more in rest]
    return "".join(f"{line}\n" for line in told)


def _wrapped(parts: list[str], room: int | None) -> list[str]:
    """Return parts in lines of at most so many characters, none of them broken."""
    lines = [parts[0]]
    for part in parts[1:]:
        if room is None or len(lines[-1]) + 1 + len(part) <= room:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _needed(columns: dict[str, list[str]], driven: list[list[str]] | None) -> int:
    """Return how wide a table is without a wrapped line."""
    widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
    widths += [] if driven is None else [max(len(" ".join(parts)) for parts in driven)]
    return sum(widths) + 2 * (len(widths) - 1)


def _times(times: list[int], time_column: str | None) -> list[str]:
    """Return times in a column, without seconds where all of them are 00."""
    texts = [format_time(time, time_column) for time in times]
    whole = time_column is not None and all(time % _MINUTE == 0 for time in times)
    return [f"{text.removesuffix(':00Z')}Z" for text in texts] if whole else texts


def _lasts(event: Event) -> str:
    """Return the time from the first row to the last; of one row, and over a step back, there is none to tell."""
    span = event.last_time - event.first_time
    return duration_text(span) if span > 0 else "-"


def _numbers(series: list[str], reasons: list[str] | None, first: int | Mapping[str, int]) -> list[str]:
    """Return the number of each event in its series; what is no event has no number, so that the others keep theirs."""
    counted = {name: itertools.count(first if isinstance(first, int) else first.get(name, 1)) for name in set(series)}
    return ["" if reason else str(next(counted[name])) for name, reason in zip(series, reasons or [""] * len(series), strict=True)]


def _shares(event: Event) -> list[str]:
    """Name the features that drove an event with their shares, an arrow (above or below what was expected), and their values."""
    if event.is_spread:
        return [f"spread over all {len(event.shares)}"]
    found = [(*event.shares[i], event.deviations[i], event.values_of(i)) for i in event.named]
    told = [(f"{name}:{share:.2f}{arrow(deviation)}", values) for name, share, deviation, values in found]
    return [text if values is None else f"{text} {values[0]} (expected {values[1]})" for text, values in told]


def _values(events: list[Event]) -> dict[str, list[str]]:
    """Return the columns that say where the values of the one feature lay: in its unit, or which way where that is not known."""
    pairs = [event.values_of(0) for event in events]
    if not any(pairs):
        return {"value": [_way(event) for event in events]}
    told = [("-", "-") if pair is None else pair for pair in pairs]
    return {"measured": [pair[0] for pair in told], "expected": [pair[1] for pair in told]}


def _way(event: Event) -> str:
    """Return where the values of the one feature lay."""
    deviation = event.deviations[0]
    return "" if deviation == 0 else "up" if deviation > 0 else "down"


def aligned(table: Sequence[tuple[str, ...]], right: tuple[int, ...] = (), width: int | None = None) -> str:
    """Return rows of text in columns, two blanks apart.

    Args:
        table: rows of as many cells.
        right: the columns that end flush.
        width: characters that a line may have: the widest cells are folded between words. A word that is wider than its column
            goes on a line of its own. None for any number.
    """
    widths = _widths(table, width)
    lines = []
    for row in table:
        cells = [[cell] if width is None else _folded(cell, room) for cell, room in zip(row, widths, strict=True)]
        cells[-1] = [""] * (len(cells[-1][0]) > widths[-1]) + cells[-1]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            if len(parts[-1]) > widths[-1] and not any(parts[:-1]):
                lines.append(f"  {parts[-1]}")
                continue
            places = enumerate(zip(parts, widths, strict=True))
            lines.append("  ".join(part.rjust(room) if i in right else part.ljust(room) for i, (part, room) in places))
    return "".join(line.rstrip() + "\n" for line in lines)


def _folded(cell: str, width: int) -> list[str]:
    """Return a cell in lines of at most so many characters; a word that is longer has its own."""
    return textwrap.wrap(cell, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]


def _widths(table: Sequence[tuple[str, ...]], width: int | None) -> list[int]:
    """Return how wide each column is: what its cells need, or so much less in the widest that a line fits."""
    needed = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    if width is None:
        return needed
    room = width - 2 * (len(needed) - 1)
    most = next((most for most in range(max(needed), 0, -1) if sum(min(one, most) for one in needed) <= room), 1)
    return [min(one, most) for one in needed]


def arrow(deviation: float) -> str:
    """Return an arrow: up if values lay above what was expected, down if below."""
    return "" if deviation == 0 else "↑" if deviation > 0 else "↓"


def write_events(path: str, events: list[Event], time_column: str | None, *, series: list[str] | None = None) -> None:
    """Write events, with their series if there are several, to a file: JSON Lines if its name ends in .jsonl, else CSV."""
    text = events_text(events, time_column, "jsonl" if Path(path).suffix == ".jsonl" else "csv", series=series)
    with new_file(path) as handle:
        handle.write(text.encode())


def as_json(value: Any) -> str:
    """Return plain values as indented JSON, keys in order; NaN and infinity are refused."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
