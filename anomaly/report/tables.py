"""Tables: rows of text in columns, events for people and for programs."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.ingest.rejects import inert
from anomaly.scoring.events import Event
from anomaly.series import (
    format_time,
)
from anomaly.storage.folders import new_file

if TYPE_CHECKING:
    pass


TOP_FEATURES = 3


_COLUMNS = (
    "start", "stop", "first_time", "last_time", "peak_time", "peak_score", "severity", "n_flagged", "features", "deviations",
)  # fmt: skip


def events_text(
    events: list[Event], time_column: str | None, file_format: str, *, series: list[str] | None = None, header: bool = True
) -> str:
    """Return events as text.

    Args:
        events: in order.
        time_column: as in `TimeSeries`.
        file_format: "table" for people, "csv" or "jsonl" for programs.
        series: which series each belongs to, if there are several.
        header: whether a CSV text begins with the names of its columns.
    """
    named: list[dict[str, Any]] = [{}] * len(events) if series is None else [{"series": name} for name in series]
    rows = [name | event.to_dict(time_column) for name, event in zip(named, events, strict=True)]
    if file_format == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    if file_format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = _COLUMNS if series is None else ("series", *_COLUMNS)
        if header:
            writer.writerow(columns)
        for event, row in zip(events, rows, strict=True):
            shares = " ".join(f"{name}:{share:.2f}" for name, share in event.shares)
            deviations = " ".join(f"{name}:{x:+.3g}" for (name, _), x in zip(event.shares, event.deviations, strict=True))
            row |= {"peak_score": f"{event.peak_score:.9g}", "features": inert(shares), "deviations": inert(deviations)}
            row |= {"series": inert(str(row.get("series", "")))}
            writer.writerow([row[name] for name in columns])
        return text.getvalue()
    return _events_table(events, time_column, series)


def _events_table(events: list[Event], time_column: str | None, series: list[str] | None) -> str:
    if not events:
        return "No events.\n"
    table: list[tuple[str, ...]] = [("#", "first", "last", "rows", "peak", "severity", "driven by")]
    for number, event in enumerate(events, start=1):
        times = [format_time(t, time_column) for t in (event.first_time, event.last_time, event.peak_time)]
        table.append(
            (str(number), times[0], times[1], f"{len(event):,}", times[2], f"{event.severity:.2f}", _shares(event, TOP_FEATURES))
        )
    if series is not None:
        table = [(row[0], name, *row[1:]) for row, name in zip(table, ["series", *series], strict=True)]
    return aligned(table, right=(0, 3, 5) if series is None else (0, 4, 6))


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
