"""Series, scores, events and detector -> one HTML page that needs nothing else: no network, no further file.

The page holds few numbers whatever the length of the series: an overview of every line by the least and the highest
value of each of some thousand stretches, and the rows around the most severe events. `data/report.js` draws them.
Text that comes from data is escaped, and the page allows no script but its own two, which it names by their hashes.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any

import numpy as np

from anomaly.attribution import Explanation
from anomaly.bundle import Bundle
from anomaly.errors import ConfigError
from anomaly.events import Event
from anomaly.report import TOP_FEATURES, ancestry_text, epochs_text, features_to_draw, network_text, penalty_text, time_text
from anomaly.scoring import Scores
from anomaly.series import Bools, Floats, Ints, TimeSeries, breaks_between, format_time, labelled_ranges
from anomaly.threshold import expected_alarms

MOST_POINTS = 4_000
MOST_DETAIL_POINTS = 2_000
MOST_DETAILED_EVENTS = 50
MOST_LISTED_EVENTS = 1_000
# All details together: with plotly.js and the overview the page stays under 8 MB.
_DETAIL_BYTES = 1_600_000
# In an overview a hole shorter than this part of the whole is less than two pixels wide.
_SMALLEST_HOLE = 1 / 500
_HEATMAP_ROWS, _HEATMAP_FEATURES = 200, 12
_CURVE_POINTS = 160
# A longer table of events scrolls in its own box.
_MOST_UNFOLDED = 12
_LINES = ("loss", "reconstruction_loss", "validation_loss")


@dataclass(frozen=True, eq=False)
class _Panel:
    """One strip of the chart; its numbers are written less `base`, so that float32 keeps their digits."""

    name: str
    measured: Floats  # (n_timesteps,)
    expected: Floats | None  # the same; None for the score
    base: float

    @property
    def lines(self) -> list[Floats]:
        return [self.measured] if self.expected is None else [self.measured, self.expected]


def page_html(
    series: TimeSeries,
    scores: Scores,
    events: Sequence[Event],
    bundle: Bundle,
    *,
    title: str,
    explanations: Mapping[int, Explanation] | None = None,
) -> str:
    """Return a report as one HTML page of some 5 to 8 MB, most of which is plotly.js.

    Args:
        series: what was scored, `(n_timesteps, n_features)` in data units; labels are drawn if it has any. At most six
            features are drawn, those that drive the flagged rows most.
        scores: of the same rows.
        events: found in them, in order; the 1,000 most severe are listed, all are drawn.
        bundle: the detector.
        title: heading of the page, any text.
        explanations: for positions in `events` what would unflag them; default: none are shown.

    Returns:
        The page. The same arguments give the same text.

    Raises:
        ConfigError: if plotly or tsdownsample is not installed.
    """
    plotly, downsample = _libraries()
    explanations = explanations or {}
    severe = [int(i) for i in np.argsort([-event.severity for event in events], kind="stable")]
    panels = _panels(series, scores, bundle)
    scripts = {"plotly": _inline(plotly), "script": _inline(_resource("report.js"))}
    return _filled(
        _resource("report.html"),
        {
            **scripts,
            "policy": " ".join(f"'sha256-{_sha256(text)}'" for text in scripts.values()),
            "style": _resource("report.css"),
            "title": html.escape(title),
            "verdict": html.escape(_verdict(series, scores, events)),
            "about": html.escape(_about(series, scores)),
            "drawn": html.escape(_drawn_text(series, panels)),
            "known": '<li><i class="known"></i>labelled</li>' if series.labels is not None else "",
            "events": _events_table(series, events, severe, explanations),
            "threshold": html.escape(_threshold_text(scores, bundle)),
            "trained": html.escape(_training_text(bundle)),
            "card": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in _card(bundle)),
            "data": _json_in_script(_chart_data(series, scores, events, bundle, panels, severe, explanations, downsample)),
        },
    )


def _libraries() -> tuple[str, Callable[..., Any]]:
    """Return the source of plotly.js, and a function that picks the extremes of stretches of an array."""
    try:
        source: str = import_module("plotly.offline").get_plotlyjs()
        return source, import_module("tsdownsample").MinMaxDownsampler().downsample
    except ModuleNotFoundError as error:
        raise ConfigError(
            "A report page needs plotly and tsdownsample. Received: no such package. Run: pip install 'anomaly[report]'."
        ) from error


# Numbers


def _chart_data(
    series: TimeSeries, scores: Scores, events: Sequence[Event], bundle: Bundle, panels: list[_Panel], severe: list[int],
    explanations: Mapping[int, Explanation], downsample: Callable[..., Any],
) -> dict[str, Any]:  # fmt: skip
    """Return what `report.js` draws."""
    detailed = severe[:MOST_DETAILED_EVENTS]
    explained = {i: explanations[i] for i in detailed if i in explanations and len(explanations[i].sensitivity)}
    return {
        "timed": series.time_column is not None,
        "threshold": scores.threshold,
        **_chart(series, panels, bundle, downsample, [(i, events[i]) for i in detailed]),
        "events": _event_ranges(series, events, bundle),
        "known": _row_ranges(series, labelled_ranges(series)),
        "calibration": _calibration(scores, bundle),
        "training": _training(bundle),
        "heatmaps": {str(i): _heatmap(series, explanation) for i, explanation in explained.items()},
    }


def _panels(series: TimeSeries, scores: Scores, bundle: Bundle) -> list[_Panel]:
    """Return the strips to draw: features, then the score."""
    panels = []
    for feature in features_to_draw(scores):
        measured = series.values[:, feature]
        expected = measured - scores.deviation[:, feature] * bundle.scaler.scale[feature]
        panels.append(_Panel(series.columns[feature], measured, expected, float(bundle.scaler.center[feature])))
    with np.errstate(invalid="ignore"):  # a score of 0 has no place on a log axis
        score = np.maximum(scores.score, scores.threshold * 1e-6)
    return [*panels, _Panel("score", score, None, 0.0)]


def _chart(
    series: TimeSeries, panels: list[_Panel], bundle: Bundle, downsample: Callable[..., Any], detailed: list[tuple[int, Event]]
) -> dict[str, Any]:
    """Return the overview of every strip, and the rows around events where the overview left some out."""
    n, overview, cuts = len(series), [], []
    for panel in panels:
        rows, held = _with_holes(series, _picked_rows(panel.lines, 0, n, MOST_POINTS, downsample), bundle.longest_step)
        overview.append(
            {"name": panel.name, "base": panel.base, "x": _times(series.times[rows], series)} | _lines(panel, rows, held)
        )
        cuts.append((rows, held))
    if n <= MOST_POINTS:
        return {"panels": overview, "details": {}}
    around = {i: _around(event, bundle, n) for i, event in detailed}
    row_bytes = 8 + 4 * sum(len(panel.lines) for panel in panels)
    most = min(MOST_DETAIL_POINTS, _fair_share([b - a for a, b in around.values()], _DETAIL_BYTES // row_bytes))
    details = {}
    for i, (start, stop) in around.items():
        picked = _picked_rows([panel.measured for panel in panels], start, stop, most, downsample)
        rows, held = _with_holes(series, picked, bundle.longest_step)
        strips = [_lines(panel, rows, held) | {"cut": _cut(*cut, start, stop)} for panel, cut in zip(panels, cuts, strict=True)]
        details[str(i)] = {"x": _times(series.times[rows], series), "panels": strips}
    return {"panels": overview, "details": details}


def _around(event: Event, bundle: Bundle, n: int) -> tuple[int, int]:
    """Return the half-open row range that shows an event: as much again on both sides, and a window at least."""
    margin = max(len(event), bundle.window_size)
    return max(0, event.start - margin), min(n, event.stop + margin)


def _fair_share(wanted: list[int], total: int) -> int:
    """Return the largest cap with which the sum of the capped wishes is at most `total`."""
    for done, size in enumerate(sorted(wanted)):
        if size * (len(wanted) - done) > total:
            return total // (len(wanted) - done)
        total -= size
    return max(wanted, default=0)


def _picked_rows(lines: list[Floats], start: int, stop: int, most: int, downsample: Callable[..., Any]) -> Ints:
    """Return at most about `most` rows of a range, ascending, with the extremes of all lines.

    A stretch of missing values that can be seen keeps one row, which breaks the line.
    """
    if stop - start <= most:
        return np.arange(start, stop)
    picked = [np.array([0, stop - start - 1])]
    for line in lines:
        part = line[start:stop]
        known = np.flatnonzero(np.isfinite(part))
        if len(known):
            picked.append(known[downsample(part[known], n_out=max(2, most // len(lines) // 2 * 2)).astype(np.int64)])
            picked.append(known[:-1][np.diff(known) > _SMALLEST_HOLE * len(part)] + 1)
    return start + np.unique(np.concatenate(picked))


def _with_holes(series: TimeSeries, rows: Ints, longest_step: int) -> tuple[Ints, Bools]:
    """Repeat the row before every gap; the repeated ones, where the second result is False, hold no value."""
    times, whole = series.times, len(rows) == rows[-1] + 1 - rows[0]
    span = abs(int(times[rows[-1]]) - int(times[rows[0]]))
    longest = longest_step if whole else max(longest_step, int(_SMALLEST_HOLE * span))
    gaps = np.concatenate([[0], np.cumsum(breaks_between(times, longest))])
    at = np.flatnonzero(np.diff(gaps[rows]) > 0) + 1
    return np.insert(rows, at, rows[at - 1]), np.insert(np.ones(len(rows), np.bool_), at, False)


def _cut(rows: Ints, held: Bools, start: int, stop: int) -> list[int]:
    """Return which points of an overview the rows of a range replace."""
    low, high = (int(i) for i in np.searchsorted(rows, [start, stop]))
    return [low, high - int(high > low and not held[high - 1])]  # a gap behind the range stays one


def _lines(panel: _Panel, rows: Ints, held: Bools) -> dict[str, str]:
    """Return measured and expected values of some rows."""
    names = ("measured", "expected")
    return {name: _floats(np.where(held, line[rows], np.nan) - panel.base) for name, line in zip(names, panel.lines, strict=False)}


def _floats(values: Any) -> str:
    """Write numbers as float32; infinite ones become missing."""
    numbers = np.asarray(values, np.float64)
    most = float(np.finfo(np.float32).max)
    return _packed(np.where(np.isfinite(numbers), np.clip(numbers, -most, most), np.nan).astype("<f4"))


def _times(times: Any, series: TimeSeries) -> str:
    """Write times as float64 milliseconds, or row numbers."""
    return _packed(np.asarray(times, "<f8") / (1 if series.time_column is None else 1000))


def _packed(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _row_ranges(series: TimeSeries, ranges: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Write the times of the first and the last rows of half-open ranges."""
    firsts, stops = np.array(ranges, np.int64).reshape(-1, 2).T
    return {"first": _times(series.times[firsts], series), "last": _times(series.times[stops - 1], series)}


def _event_ranges(series: TimeSeries, events: Sequence[Event], bundle: Bundle) -> dict[str, Any]:
    return _row_ranges(series, [(event.start, event.stop) for event in events]) | {
        "severity": _floats([event.severity for event in events]),
        "view": _row_ranges(series, [_around(event, bundle, len(series)) for event in events]),
    }


def _calibration(scores: Scores, bundle: Bundle) -> dict[str, Any]:
    """Return the alarms to expect at cuts from the median held-out score to beyond the threshold."""
    calibration = bundle.calibration(scores.aggregation)
    held_out, cut = calibration.held_out, scores.threshold
    low = max(min(float(np.median(held_out)), cut / 3), cut * 1e-6)
    cuts = np.geomspace(low, 3 * max(float(held_out.max()), cut), _CURVE_POINTS)
    per_day = bundle.rows_per_day
    factor, unit = (1.0, "in 1,000 rows") if per_day is None else (per_day / 1000, "a day")
    rates = np.asarray(expected_alarms(calibration, np.append(cuts, cut)), np.float64) * factor
    return {"unit": unit, "cuts": cuts.tolist(), "rates": [_number(x) for x in rates[:-1]], "rate": _number(rates[-1])}


def _training(bundle: Bundle) -> dict[str, Any]:
    history = {name: [_number(x) for x in bundle.history[name]] for name in _LINES if name in bundle.history}
    return {"best": bundle.training["best_epoch"], "history": history}


def _heatmap(series: TimeSeries, explanation: Explanation) -> dict[str, Any]:
    """Return the features that matter most to an event, over the rows, the highest of each stretch."""
    sensitivity = np.asarray(explanation.sensitivity, np.float64)
    features = np.argsort(-np.nan_to_num(sensitivity).sum(axis=0), kind="stable")[:_HEATMAP_FEATURES]
    starts = np.unique(np.linspace(0, len(sensitivity), _HEATMAP_ROWS, endpoint=False, dtype=np.int64))
    highest = np.maximum.reduceat(sensitivity[:, features], starts, axis=0)
    return {
        "x": _times(series.times[explanation.first_row + starts], series),
        "features": [series.columns[i] for i in features],
        "z": _floats(highest.T.ravel()),
    }


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


# Words


def _when(time: int, series: TimeSeries) -> str:
    return format_time(int(time), series.time_column).replace("T", " ").removesuffix("Z")


def _times_threshold(severity: float) -> str:
    return f"{severity:,.2f}" if severity < 100 else f"{severity:,.0f}" if severity < 1e7 else f"{severity:.3g}"


def _verdict(series: TimeSeries, scores: Scores, events: Sequence[Event]) -> str:
    rows = f"{len(series):,} row{'s' * (len(series) != 1)}"
    if not events:
        highest = np.nan_to_num(scores.anomaly_score, nan=-np.inf).max(initial=-np.inf)
        what = f"the highest score is {_times_threshold(highest)} times the threshold" if highest >= 0 else "no row has a score"
        return f"No events in {rows}; {what}."
    worst = max(range(len(events)), key=lambda i: events[i].severity)
    at = "" if series.time_column is not None else "row "
    what = f"{len(events):,} events in {rows}; the worst, event {worst + 1}," if len(events) > 1 else f"1 event in {rows}; it"
    event = events[worst]
    return f"{what} peaked at {at}{_when(event.peak_time, series)}, {_times_threshold(event.severity)} times the threshold."


def _about(series: TimeSeries, scores: Scores) -> str:
    first, last = (_when(series.times[i], series) for i in (0, -1))
    unscored = int(np.isnan(scores.score).sum())
    return " · ".join(
        [
            series.name,
            f"{first} to {last} UTC" if series.time_column is not None else f"rows {first} to {last}",
            f"{series.n_features} feature{'s' * (series.n_features != 1)}",
            *([f"{unscored:,} row{'s' * (unscored != 1)} without a score"] if unscored else []),
        ]
    )


def _drawn_text(series: TimeSeries, panels: list[_Panel]) -> str:
    n = len(panels) - 1
    if n == series.n_features:
        return ""
    return f"{n} of {series.n_features} features are drawn: those that drive the flagged rows most."


def _threshold_text(scores: Scores, bundle: Bundle) -> str:
    own = bundle.thresholds[scores.aggregation]
    if scores.threshold == own.value:
        return f"Threshold: {own}."
    return f"Threshold: {scores.threshold:.6g}, given by hand. The detector's own is {own}."


def _training_text(bundle: Bundle) -> str:
    best, n_epochs = bundle.training["best_epoch"], bundle.training["n_epochs"]
    which = f"epoch {best} of {n_epochs}" if best else f"the detector it went on from, as none of {n_epochs} epochs was better"
    return f"The weights are those of {which}: validation loss {bundle.held_out_loss:.4g}."


def _card(bundle: Bundle) -> list[tuple[str, str]]:
    training = bundle.training
    return [
        ("columns", ", ".join(bundle.columns)),
        ("time", time_text(bundle)),
        ("window", f"{bundle.window_size} rows, trained at stride {bundle.stride}"),
        ("network", f"{network_text(bundle)}, {sum(array.size for array in bundle.weights.values()):,} parameters"),
        ("penalty", penalty_text(bundle)),
        ("trained on", f"{training['n_rows']:,} rows, {training['first_time']} to {training['last_time']}"),
        ("training", f"{training['n_train_windows']:,} windows; {epochs_text(bundle)}"),
        *([] if bundle.ancestry is None else [("continued from", ancestry_text(bundle.ancestry))]),
        ("seed", str(bundle.seed)),
        ("data", f"sha256 {bundle.fingerprint[:16]}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())),
    ]


def _events_table(series: TimeSeries, events: Sequence[Event], severe: list[int], explanations: Mapping[int, Explanation]) -> str:
    """Return the table of events, or a sentence if there is none."""
    if not events:
        return "<p>No events: no stretch of rows is anomalous by this threshold and these rules.</p>"
    heads = ["#", "first", "last", "rows", "peak", "severity", "driven by", *(["noise to unflag"] if explanations else [])]
    listed = sorted(severe[:MOST_LISTED_EVENTS])
    rows = "".join(_event_row(series, i, events[i], heads, explanations) for i in listed)
    left_out = f"<p>The {len(listed):,} most severe of {len(events):,} events are listed.</p>" if len(listed) < len(events) else ""
    size = " long" if len(listed) > _MOST_UNFOLDED else ""
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in heads)
    return (
        f'{left_out}<div class="scroll{size}"><table role="table" aria-label="Events"><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def _event_row(series: TimeSeries, position: int, event: Event, heads: list[str], explanations: Mapping[int, Explanation]) -> str:
    first, last, peak = (_when(time, series) for time in (event.first_time, event.last_time, event.peak_time))
    cells = [f"{position + 1:,}", first, last, f"{len(event):,}", peak, _times_threshold(event.severity), _drivers(event)]
    if explanations:
        noise = explanations[position].noise_rms if position in explanations else None
        cells.append("" if noise is None else f"{noise:.3g} sigmas" if np.isfinite(noise) else "none found")
    tds = "".join(
        f'<td role="cell" data-label="{name}" class="{name.split()[0].strip("#") or "number"}">{cell}</td>'
        for name, cell in zip(heads, cells, strict=True)
    )
    label = f"Event {position + 1}, {first}: show it in the chart"
    return f'<tr role="row" tabindex="0" data-event="{position}" aria-label="{label}">{tds}</tr>'


def _drivers(event: Event) -> str:
    """Return the features with the largest shares, each with an arrow: above or below what was expected."""
    parts = []
    for (name, share), deviation in list(zip(event.shares, event.deviations, strict=True))[:TOP_FEATURES]:
        arrow, way = ("↑", "above") if deviation > 0 else ("↓", "below")
        mark = f'<span role="img" aria-label="{way} what was expected">{arrow}</span>'
        shown = html.escape(name)
        parts.append(f'<span class="driver" title="{shown}"><b>{shown}</b> {share:.0%} {mark}</span>')
    return "".join(parts)


# The page


def _resource(name: str) -> str:
    return (resources.files("anomaly") / "data" / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """Return a script that cannot end its own tag."""
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_in_script(data: Any) -> str:
    """Return JSON in which no text can end the script tag around it, or open a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Put the parts in their places in one pass: a part that looks like a place is left alone."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)
