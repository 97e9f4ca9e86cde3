"""The events of a report page as tables: those that were found, and where there are labels those that are known."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.events.event import Event
from anomaly.explaining.attribution import Explanation
from anomaly.report.chart import Marks
from anomaly.report.findings import nearness
from anomaly.series import TimeSeries, format_time, labelled_ranges
from anomaly.words import counted, duration_text

MOST_LISTED_EVENTS = 1_000
# Longer tables are folded, that of events by `report.js`: a box of its own that scrolls would be one too many on a phone.
_UNFOLDED, _MOST_KNOWN = 12, 200


def events_section(
    series: TimeSeries,
    events: Sequence[Event],
    severe: list[int],
    explanations: Mapping[int, Explanation],
    marks: Marks,
) -> str:
    """Return the table of events, or a sentence if there is none, and what became of the known ones.

    Args:
        series: what was scored; its labels are the known events.
        events: found in it, in order.
        severe: their positions, from the most severe down.
        explanations: for positions what would unflag them.
        marks: which rows are of the training.
    """
    known = _known(series, marks)
    told = _summary(events, known, marks) if known else ""
    later = _known_table(series, events, known, marks)
    if not events:
        return f"{told}<p>No events: no stretch of rows is anomalous by this threshold and these rules.</p>{later}"
    listed = sorted(severe[:MOST_LISTED_EVENTS])
    rows = [_cells(series, i, events[i], known, explanations, marks) for i in listed]
    body = "".join(_row(series, i, events[i], cells, marks) for i, cells in zip(listed, rows, strict=True))
    left_out = f"<p>The {len(listed):,} most severe of {len(events):,} events are listed.</p>" if len(listed) < len(events) else ""
    table = _table("Events", list(rows[0]), body, "events")
    folding = '<p id="folding" hidden><button type="button" id="unfold"></button></p>'
    return f"{told}{left_out}{_sorting(len(listed))}{table}{folding}{later}"


def when(time: int, series: TimeSeries) -> str:
    """Return a time, or the number of a row, as a page shows it."""
    return format_time(int(time), series.time_column).replace("T", " ").removesuffix("Z")


def times_threshold(severity: float) -> str:
    """Return how many thresholds a score comes to."""
    return f"{severity:,.2f}" if severity < 100 else f"{severity:,.0f}" if severity < 1e7 else f"{severity:.3g}"


def _sorting(n: int) -> str:
    """Return what a table of several rows is sorted by; it is there where there is a script to sort it."""
    if n < 2:
        return ""
    choices = {"time": "time", "severity": "the most severe first", "duration": "the longest first"}
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in choices.items())
    return f'<p class="sorting" id="sorting" hidden><label>Sorted by <select id="sort">{options}</select></label></p>'


def _table(label: str, heads: list[str], body: str, name: str) -> str:
    head = "".join(f'<th role="columnheader" scope="col" class="{_class(text)}">{text}</th>' for text in heads)
    return (
        f'<div class="scroll"><table role="table" aria-label="{label}"><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup" id="{name}">{body}</tbody></table></div>'
    )


def _class(head: str) -> str:
    return head.split()[0].strip("#") or "number"


def _cells(
    series: TimeSeries,
    position: int,
    event: Event,
    known: list[tuple[int, int]],
    explanations: Mapping[int, Explanation],
    marks: Marks,
) -> dict[str, str]:
    """Return the cells of an event by the heads of their columns."""
    span = event.last_time - event.first_time
    cells = {"#": _number(position, event, marks), "first": when(event.first_time, series)}
    cells |= {} if series.time_column is None else {"lasts": duration_text(span) if span > 0 else "-"}
    cells |= {"rows": f"{len(event):,}", "peak": when(event.peak_time, series), "severity": times_threshold(event.severity)}
    cells["driven by"] = _drivers(event)
    cells |= {"labels": "" if marks.leave_out(event) else "known" if _meets(event, known) else "false"} if known else {}
    cells |= {"far from none": _far(explanations.get(position))} if explanations else {}
    return cells


def _far(explanation: Explanation | None) -> str:
    """Return how far an event is from none, in words; the figure is there for who asks for it."""
    if explanation is None:
        return ""
    if not np.isfinite(explanation.noise_rms):
        return "nothing small found"
    return f'<span title="{explanation.noise_rms:.3g} training sigmas, root mean square">{nearness(explanation.noise_rms)}</span>'


def _number(position: int, event: Event, marks: Marks) -> str:
    return f"{position + marks.first_number:,}" + (" (training)" if marks.leave_out(event) else "")


def _row(series: TimeSeries, position: int, event: Event, cells: Mapping[str, str], marks: Marks) -> str:
    tds = "".join(f'<td role="cell" data-label="{name}" class="{_class(name)}">{cell}</td>' for name, cell in cells.items())
    label = f"Event {_number(position, event, marks)}, {when(event.first_time, series)}: show it in the chart"
    span = max(event.last_time - event.first_time, 0)
    told = f'data-event="{position}" data-severity="{event.severity!r}" data-duration="{span}"'
    told += " data-training" if marks.leave_out(event) else ""
    return f'<tr role="row" tabindex="0" {told} aria-label="{label}">{tds}</tr>'


def _drivers(event: Event) -> str:
    """Return the features that drove an event, with an arrow, above or below what was expected, and their values."""
    if event.is_spread:
        return f"spread over all {len(event.shares)}"
    parts = []
    for i in event.named:
        (name, share), values = event.shares[i], event.values_of(i)
        arrow, way = ("↑", "above") if event.deviations[i] > 0 else ("↓", "below")
        mark = f'<span role="img" aria-label="{way} what was expected">{arrow}</span>'
        shown = html.escape(name)
        told = f" {share:.0%}" if len(event.shares) > 1 else ""
        against = "" if values is None else f'<span class="against">{values[0]} where {values[1]} was expected</span>'
        parts.append(f'<span class="driver" title="{shown}"><b>{shown}</b>{told} {mark}</span>{against}')
    return "".join(parts)


# Known events


def _known(series: TimeSeries, marks: Marks) -> list[tuple[int, int]]:
    """Return the labelled stretches that count, half open."""
    ranges = labelled_ranges(series)
    if not marks.n_left_out or marks.trained is None:
        return ranges
    return [(start, stop) for start, stop in ranges if not marks.trained[start:stop].all()]


def _meets(event: Event, known: list[tuple[int, int]]) -> bool:
    return any(event.start < stop and event.stop > start for start, stop in known)


def _summary(events: Sequence[Event], known: list[tuple[int, int]], marks: Marks) -> str:
    """Say how many known events were found, and how many of those that were found are false."""
    counting = [event for event in events if not marks.leave_out(event)]
    n_found = sum(any(event.start < stop and event.stop > start for event in counting) for start, stop in known)
    n_false = sum(not _meets(event, known) for event in counting)
    missed = len(known) - n_found
    return (
        f'<p class="labels">{n_found:,} of {counted(len(known), "known event")} found, {missed:,} missed; '
        f"{n_false:,} of {counted(len(counting), 'event')} false.</p>"
    )


def _known_table(series: TimeSeries, events: Sequence[Event], known: list[tuple[int, int]], marks: Marks) -> str:
    """Return a line for each known event: when, and as which event it was found."""
    if not known:
        return ""
    rows = []
    for start, stop in known[:_MOST_KNOWN]:
        numbers = [f"{i + marks.first_number:,}" for i, event in enumerate(events) if event.start < stop and event.stop > start]
        found = f"event {', '.join(numbers)}" if numbers else "<b>missed</b>"
        first, last = when(series.times[start], series), when(series.times[stop - 1], series)
        cells = {"first": first, "last": last, "rows": f"{stop - start:,}", "found as": found}
        tds = "".join(f'<td role="cell" data-label="{name}" class="{_class(name)}">{cell}</td>' for name, cell in cells.items())
        rows.append(f'<tr role="row">{tds}</tr>')
    more = f"<p>The first {_MOST_KNOWN:,} of {len(known):,} are listed.</p>" if len(known) > _MOST_KNOWN else ""
    heads = ["first", "last", "rows", "found as"]
    shown = " open" if len(rows) <= _UNFOLDED else ""
    table = _table("Known events", heads, "".join(rows), "known-events")
    return f"<details{shown}><summary>Known events, each with how it was found</summary>{more}{table}</details>"
