"""What a report page draws: an overview of every line, and the rows around the most severe events, as packed numbers.

An overview has the least and the highest value of each of some thousand stretches, so that the page stays small whatever the
length of the series. `report.js` draws it.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.events.event import Event, NotRaised
from anomaly.explaining.attribution import Explanation
from anomaly.report.pictures import features_to_draw
from anomaly.scoring.bands import expected_of
from anomaly.scoring.scores import Scores
from anomaly.series import Bools, Floats, Ints, TimeSeries, breaks_between, labelled_ranges, runs
from anomaly.thresholds.calibration import expected_alarms

MOST_POINTS = 4_000
# Features that are drawn until others are chosen, and those that can be; of what is not drawn at first there are fewer points.
FIRST_DRAWN, MOST_DRAWN, FEWER_POINTS = 6, 60, 1_000
MOST_DETAIL_POINTS = 2_000
MOST_DETAILED_EVENTS = 50
# All details together: with plotly.js and the overview the page stays under 8 MB.
_DETAIL_BYTES = 1_600_000
# In an overview a hole shorter than this part of the whole is less than two pixels wide.
_SMALLEST_HOLE = 1 / 500
_HEATMAP_ROWS, _HEATMAP_FEATURES = 200, 12
_CURVE_POINTS = 160
_LINES = ("loss", "reconstruction_loss", "validation_loss")


@dataclass(frozen=True, eq=False)
class Marks:
    """What a page tells of its rows beside their events.

    Attributes:
        first_number: of the first event: of those in a range as many lie before it, and one.
        trained: `(n_timesteps,)` the rows that the detector was trained on; None if nobody said.
        count_training: whether events in these count as others do.
        not_raised: runs of flagged rows that are no events, each with its reason.
    """

    first_number: int = 1
    trained: Bools | None = None
    count_training: bool = False
    not_raised: Sequence[NotRaised] = ()

    @property
    def n_left_out(self) -> int:
        """Rows of the training that do not count."""
        return 0 if self.trained is None or self.count_training else int(self.trained.sum())

    def leave_out(self, event: Event) -> bool:
        """Tell whether an event lies wholly in rows that do not count."""
        return self.n_left_out > 0 and self.trained is not None and bool(self.trained[event.start : event.stop].all())


@dataclass(frozen=True, eq=False)
class Panel:
    """One strip of the chart; its numbers are written less `base`, so that float32 keeps their digits."""

    name: str
    measured: Floats  # (n_timesteps,)
    expected: Floats | None  # the same; None for the score
    base: float

    @property
    def lines(self) -> list[Floats]:
        """Return what it draws."""
        return [self.measured] if self.expected is None else [self.measured, self.expected]


def chart_data(
    series: TimeSeries, scores: Scores, events: Sequence[Event], bundle: Bundle, panels: list[Panel], severe: list[int],
    explanations: Mapping[int, Explanation], downsample: Callable[..., Any], marks: Marks,
) -> dict[str, Any]:  # fmt: skip
    """Return what `report.js` draws."""
    detailed = severe[:MOST_DETAILED_EVENTS]
    explained = {i: explanations[i] for i in detailed if i in explanations and len(explanations[i].sensitivity)}
    return {
        "timed": series.time_column is not None,
        "threshold": scores.threshold,
        **_chart(series, panels, bundle, downsample, [(i, events[i]) for i in detailed]),
        "events": _event_ranges(series, events, bundle),
        "first_number": marks.first_number,
        "known": _row_ranges(series, labelled_ranges(series)),
        "trained": _row_ranges(series, [] if marks.trained is None else runs(marks.trained)),
        "not_raised": _row_ranges(series, [(run.event.start, run.event.stop) for run in marks.not_raised]),
        "calibration": _calibration(scores, bundle),
        "training": _training(bundle),
        "heatmaps": {str(i): _heatmap(series, explanation) for i, explanation in explained.items()},
    }


def panels_of(series: TimeSeries, scores: Scores, bundle: Bundle) -> list[Panel]:
    """Return the strips to draw: features, then the score."""
    expected = expected_of(series.values[:, : bundle.context.n_judged], scores.deviation, bundle.judged_scaler)
    panels = [
        Panel(series.columns[feature], series.values[:, feature], expected[:, feature], float(bundle.scaler.center[feature]))
        for feature in features_to_draw(scores, MOST_DRAWN)
    ]
    with np.errstate(invalid="ignore"):  # a score of 0 has no place on a log axis
        score = np.maximum(scores.score, scores.threshold * 1e-6)
    return [*panels, Panel("score", score, None, 0.0)]


def _chart(
    series: TimeSeries, panels: list[Panel], bundle: Bundle, downsample: Callable[..., Any], detailed: list[tuple[int, Event]]
) -> dict[str, Any]:
    """Return the overview of every strip, and the rows around events where the overview left some out."""
    n, overview, cuts = len(series), [], []
    for k, panel in enumerate(panels):
        most = MOST_POINTS if _is_first(k, panels) else FEWER_POINTS
        rows, held = _with_holes(series, _picked_rows(panel.lines, 0, n, most, downsample), bundle.longest_step)
        overview.append(
            {"name": panel.name, "base": panel.base, "x": _times(series.times[rows], series)} | _lines(panel, rows, held)
        )
        cuts.append((rows, held))
    if n <= MOST_POINTS:
        return {"panels": overview, "details": {}}
    around = {i: _around(event, bundle, n) for i, event in detailed}
    first = [panel for k, panel in enumerate(panels) if _is_first(k, panels)]
    row_bytes = 8 + 4 * sum(len(panel.lines) for panel in first)
    most = min(MOST_DETAIL_POINTS, _fair_share([b - a for a, b in around.values()], _DETAIL_BYTES // row_bytes))
    details = {}
    for i, (start, stop) in around.items():
        picked = _picked_rows([panel.measured for panel in first], start, stop, most, downsample)
        rows, held = _with_holes(series, picked, bundle.longest_step)
        strips = [
            _lines(panel, rows, held) | {"cut": _cut(*cut, start, stop)} if _is_first(k, panels) else None
            for k, (panel, cut) in enumerate(zip(panels, cuts, strict=True))
        ]
        details[str(i)] = {"x": _times(series.times[rows], series), "panels": strips}
    return {"panels": overview, "details": details}


def _is_first(k: int, panels: list[Panel]) -> bool:
    """Tell whether a strip is drawn before others are chosen: the first features, and the score."""
    return k < FIRST_DRAWN or k == len(panels) - 1


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


def _lines(panel: Panel, rows: Ints, held: Bools) -> dict[str, str]:
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
