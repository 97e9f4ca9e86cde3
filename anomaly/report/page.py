"""Series, scores, events and detector -> one HTML page that needs nothing else: no network, no further file.

The page holds few numbers whatever the length of the series: an overview of every line by the least and the highest
value of each of some thousand stretches, and the rows around the most severe events. `report.js` draws them.
Text that comes from data is escaped, and the page allows no script but its own two, which it names by their hashes.
"""

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, resources
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.events.event import Event
from anomaly.events.not_raised import not_raised_text
from anomaly.explaining.attribution import Explanation
from anomaly.extras import lacking
from anomaly.names import legible
from anomaly.report.chart import FIRST_DRAWN, Marks, Panel, chart_data, panels_of
from anomaly.report.detector_text import ancestry_text, context_text, epochs_text, network_text, penalty_text, time_text
from anomaly.report.event_table import events_section, times_threshold, when
from anomaly.scoring.scores import Scores
from anomaly.series import TimeSeries

NO_MARKS = Marks()


def page_html(
    series: TimeSeries,
    scores: Scores,
    events: Sequence[Event],
    bundle: Bundle,
    *,
    title: str,
    explanations: Mapping[int, Explanation] | None = None,
    marks: Marks = NO_MARKS,
) -> str:
    """Return a report as one HTML page of some 5 to 8 MB, most of which is plotly.js.

    Args:
        series: what was scored, `(n_timesteps, n_features)` in data units; labels are drawn if it has any. At most six
            features are drawn at first, those that drive the flagged rows most; others can be chosen.
        scores: of the same rows.
        events: found in them, in order; the 1,000 most severe are listed, all are drawn.
        bundle: the detector.
        title: heading of the page, any text.
        explanations: for positions in `events` what would unflag them; default: none are shown.
        marks: which rows are of the training, which runs of flagged rows are no events; default: none that is known.

    Returns:
        The page. The same arguments give the same text.

    Raises:
        ConfigError: if plotly or tsdownsample is not installed.
    """
    plotly, downsample = _libraries()
    explanations, series = explanations or {}, series.of_columns(scores.columns)
    severe = [int(i) for i in np.argsort([-event.severity for event in events], kind="stable")]
    panels = panels_of(series, scores, bundle)
    scripts = {"plotly": _inline(plotly), "script": _inline(_resource("report.js"))}
    return _filled(
        _resource("report.html"),
        {
            **scripts,
            "policy": " ".join(f"'sha256-{_sha256(text)}'" for text in scripts.values()),
            "style": _resource("report.css"),
            "title": html.escape(legible(title)),
            "verdict": html.escape(_verdict(series, scores, events, marks)),
            "about": html.escape(_about(series, scores, marks)),
            "drawn": html.escape(_drawn_text(series, panels)),
            "known": _legend(series, marks),
            "events": events_section(series, events, severe, explanations, marks) + _not_raised(marks),
            "threshold": html.escape(_threshold_text(scores, bundle)),
            "trained": html.escape(_training_text(bundle)),
            "card": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in _card(bundle)),
            "data": _json_in_script(chart_data(series, scores, events, bundle, panels, severe, explanations, downsample, marks)),
        },
    )


def _libraries() -> tuple[str, Callable[..., Any]]:
    """Return the source of plotly.js, and a function that picks the extremes of stretches of an array."""
    try:
        source: str = import_module("plotly.offline").get_plotlyjs()
        return source, import_module("tsdownsample").MinMaxDownsampler().downsample
    except ModuleNotFoundError as error:
        raise lacking("A report page", "report") from error


# Words


def _verdict(series: TimeSeries, scores: Scores, events: Sequence[Event], marks: Marks) -> str:
    """Say how many events there are, and which is the worst; those in rows of the training do not count."""
    counted = [i for i, event in enumerate(events) if not marks.leave_out(event)]
    told, n_others = _worst(series, scores, events, counted, marks), len(events) - len(counted)
    if not n_others:
        return told
    more = f"{n_others:,} more {'lies' if n_others == 1 else 'lie'}"
    return f"{told} {more} in the {marks.n_left_out:,} rows of the training, which do not count."


def _worst(series: TimeSeries, scores: Scores, events: Sequence[Event], counted: list[int], marks: Marks) -> str:
    n = len(series) - marks.n_left_out
    rows = f"{n:,} row{'s' * (n != 1)}"
    if not counted:
        left_out = marks.trained if marks.trained is not None and marks.n_left_out else np.zeros(len(series), np.bool_)
        score = np.where(left_out, np.nan, scores.anomaly_score)
        highest = np.nan_to_num(score, nan=-np.inf).max(initial=-np.inf)
        what = f"the highest score is {times_threshold(highest)} times the threshold" if highest >= 0 else "no row has a score"
        return f"No events in {rows}; {what}."
    worst = max(counted, key=lambda i: events[i].severity)
    at = "" if series.time_column is not None else "row "
    number = marks.first_number + worst
    what = f"{len(counted):,} events in {rows}; the worst, event {number}," if len(counted) > 1 else f"1 event in {rows}; it"
    event = events[worst]
    return f"{what} peaked at {at}{when(event.peak_time, series)}, {times_threshold(event.severity)} times the threshold."


def _legend(series: TimeSeries, marks: Marks) -> str:
    """Return what the legend says beside what every chart has."""
    shown = {
        "known": ("labelled", series.labels is not None),
        "trained": ("training", marks.trained is not None and bool(marks.trained.any())),
        "not-raised": ("flagged, no event", len(marks.not_raised) > 0),
    }
    return "".join(f'<li><i class="{name}"></i>{text}</li>' for name, (text, is_there) in shown.items() if is_there)


def _not_raised(marks: Marks) -> str:
    told = not_raised_text(Counter(run.reason for run in marks.not_raised))
    return f'<p class="quiet">{told}.</p>' if told else ""


def _about(series: TimeSeries, scores: Scores, marks: Marks) -> str:
    n_trained = 0 if marks.trained is None else int(marks.trained.sum())
    how = "counted" if marks.count_training else "not counted"
    first, last = (when(series.times[i], series) for i in (0, -1))
    unscored = int(np.isnan(scores.score).sum())
    return " · ".join(
        [
            series.name,
            f"{first} to {last} UTC" if series.time_column is not None else f"rows {first} to {last}",
            f"{series.n_features} feature{'s' * (series.n_features != 1)}",
            *([f"{unscored:,} row{'s' * (unscored != 1)} without a score"] if unscored else []),
            *([f"{n_trained:,} row{'s' * (n_trained != 1)} of the training, {how}"] if n_trained else []),
        ]
    )


def _drawn_text(series: TimeSeries, panels: list[Panel]) -> str:
    n, first = len(panels) - 1, min(FIRST_DRAWN, series.n_features)
    if series.n_features <= FIRST_DRAWN:
        return ""
    told = f"{first} of {series.n_features} features are drawn at first: those that drive the flagged rows most"
    return f"{told}. {'All' if n == series.n_features else f'{n} of them'} can be chosen."


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
        ("columns", ", ".join(bundle.judged_columns)),
        *([("context", context)] if (context := context_text(bundle)) else []),
        ("time", time_text(bundle)),
        ("window", f"{bundle.window_size} rows, trained at stride {bundle.stride}"),
        ("network", network_text(bundle) + (f", {n:,} parameters" if (n := sum(w.size for w in bundle.weights.values())) else "")),
        ("penalty", penalty_text(bundle)),
        ("trained on", f"{training['n_rows']:,} rows, {training['first_time']} to {training['last_time']}"),
        ("training", f"{training['n_train_windows']:,} windows; {epochs_text(bundle)}"),
        *([] if bundle.ancestry is None else [("continued from", ancestry_text(bundle.ancestry))]),
        ("seed", str(bundle.seed)),
        ("data", f"sha256 {bundle.fingerprint[:16]}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())),
    ]


# The page


def _resource(name: str) -> str:
    return (resources.files("anomaly") / "report" / name).read_text(encoding="utf-8")


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
