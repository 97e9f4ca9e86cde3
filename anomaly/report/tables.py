"""Tables: rows of text in columns, events for people and for programs."""

import csv
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomaly.ingest.rejects import inert
from anomaly.scoring.events import Event, NotRaised
from anomaly.scoring.not_raised import reason_text
from anomaly.series import format_time
from anomaly.storage.folders import new_file

TOP_FEATURES = 3


_COLUMNS = (
    "start", "stop", "first_time", "last_time", "peak_time", "peak_score", "severity", "n_flagged", "features", "deviations",
)  # fmt: skip


def events_text(
    events: list[Event],
    time_column: str | None,
    file_format: str,
    *,
    series: list[str] | None = None,
    header: bool = True,
    left_out: list[tuple[str, NotRaised]] | None = None,
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
    """
    if left_out is not None:
        return _all_text(events, time_column, file_format, series, left_out)
    return _text(events, time_column, file_format, series, header)


def _text(
    events: list[Event],
    time_column: str | None,
    file_format: str,
    series: list[str] | None,
    header: bool = True,
    reasons: list[str] | None = None,
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
            row |= {"series": inert(str(row.get("series", "")))}
            writer.writerow([row[name] for name in columns])
        return text.getvalue()
    return _events_table(events, time_column, series, reasons)


def _all_text(
    events: list[Event], time_column: str | None, file_format: str, series: list[str] | None, left_out: list[tuple[str, NotRaised]]
) -> str:
    """Return events and what is none in the order of time, each with the reason why it is none."""
    names = [""] * len(events) if series is None else series
    found = [(event, name, "") for event, name in zip(events, names, strict=True)]
    found += [(run.event, name, run.reason) for name, run in left_out]
    # Rows are counted within a series, and times may step back: the order is the one in which the events are numbered.
    ordered = sorted(found, key=lambda item: (item[0].start, "") if series is None else (item[0].first_time, item[1]))
    names = [name for _, name, _ in ordered]
    reasons = [reason for _, _, reason in ordered]
    return _text([event for event, _, _ in ordered], time_column, file_format, None if series is None else names, True, reasons)


def _events_table(events: list[Event], time_column: str | None, series: list[str] | None, reasons: list[str] | None) -> str:
    if not events:
        return "No events.\n"
    table: list[tuple[str, ...]] = [("#", "first", "last", "rows", "peak", "severity", "driven by")]
    for number, event in zip(_numbers(events, reasons), events, strict=True):
        times = [format_time(t, time_column) for t in (event.first_time, event.last_time, event.peak_time)]
        table.append(
            (number, times[0], times[1], f"{len(event):,}", times[2], f"{event.severity:.2f}", _shares(event, TOP_FEATURES))
        )
    if series is not None:
        table = [(row[0], name, *row[1:]) for row, name in zip(table, ["series", *series], strict=True)]
    if reasons is not None:
        why = ["no event", *(reason and reason_text(reason) for reason in reasons)]
        table = [(*row, reason) for row, reason in zip(table, why, strict=True)]
    return aligned(table, right=(0, 3, 5) if series is None else (0, 4, 6))


def _numbers(events: list[Event], reasons: list[str] | None) -> list[str]:
    """Return the number of each event, from 1; what is none has no number, so that the others keep theirs."""
    counted = itertools.count(1)
    return ["" if reason else str(next(counted)) for reason in reasons or [""] * len(events)]


def _shares(event: Event, top: int) -> str:
    """Name features with their shares, and an arrow: above or below what was expected."""
    parts = list(zip(event.shares, event.deviations, strict=True))[:top]
    return " ".join(f"{name}:{share:.2f}{arrow(deviation)}" for (name, share), deviation in parts)


def aligned(table: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Return rows of text in columns, two blanks apart; the columns in `right` end flush."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
    return "".join(line.rstrip() + "\n" for line in lines)


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
