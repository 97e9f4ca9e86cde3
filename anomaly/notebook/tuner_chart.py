"""The chart of the threshold tuner, as a widget of plotly: what stands still, and what moves with the threshold."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from anomaly.drawing import BLUE, GREY, RED
from anomaly.notebook.tradeoff import Outcome, Range, Tradeoff
from anomaly.quick_start import pd
from anomaly.report.pictures import features_to_draw
from anomaly.scoring.scores import Scores
from anomaly.series import Floats, TimeSeries, breaks_between, longest_step

_MOST_POINTS, _MOST_FEATURES = 4_000, 3
_BLACK = "#222222"
_FOUND, _KNOWN = "event found", "labelled"


class TunerChart:
    """Features, score, threshold and events over time; below them the alarms as a function of the threshold.

    Args:
        plots: the module `plotly.graph_objects`.
        series: what was scored; at most three features are drawn, those with the largest scores.
        scores: of the same rows.
        tradeoff: what each threshold does.
        known: half-open row ranges of the labelled events.

    Attributes:
        figure: the widget.
    """

    def __init__(self, plots: Any, series: TimeSeries, scores: Scores, tradeoff: Tradeoff, known: list[Range]) -> None:
        from plotly.subplots import make_subplots

        self._series, self._turn = series, -1
        self._ends = self._places(np.array([0, len(series) - 1]))
        features = features_to_draw(scores)[:_MOST_FEATURES]
        lines = [(series.columns[i], series.values[:, i], BLUE) for i in features] + [("score", scores.score, GREY)]
        n = len(lines)
        two_axes = [[{"secondary_y": True}]] * n
        self.figure = make_subplots(rows=n + 1, cols=1, vertical_spacing=0.3 / (n + 1), specs=[*two_axes, [{}]])
        for row, (name, values, color) in enumerate(lines, start=1):
            self._add_panel(row, name, values, color, known)
        self.figure.update_yaxes(type="log", row=n, col=1, secondary_y=False)
        self._add(n, x=self._ends, y=[scores.threshold] * 2, name="threshold", line={"color": RED, "dash": "dash", "width": 1.5})
        self._add_alarms(n + 1, tradeoff)
        legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
        self.figure.update_layout(
            autosize=True, height=170 * (n + 1), template="plotly_white", margin={"t": 30, "b": 40}, legend=legend
        )
        self.figure = plots.FigureWidget(self.figure)

    def show(self, outcome: Outcome) -> None:
        """Move what hangs on the threshold."""
        moved = {
            _FOUND: self._bands(outcome.events, 0.0),
            "threshold": (self._ends, [outcome.threshold] * 2),
            "here": ([outcome.threshold, None], [outcome.n_alarms, None]),
        }
        # Where a notebook shows the chart twice, a line of which x or y alone changes loses the other one in a browser. Drawn
        # from its other end each time, it changes in both.
        self._turn = -self._turn
        with self.figure.batch_update():
            for name, (x, y) in moved.items():
                for trace in self.figure.select_traces({"name": name}):
                    trace.x, trace.y = x[:: self._turn], y[:: self._turn]

    def _add(self, row: int, **trace: Any) -> None:
        self.figure.add_scatter(**{"mode": "lines", **trace}, row=row, col=1)

    def _add_panel(self, row: int, name: str, values: Floats, color: str, known: list[Range]) -> None:
        x, y = self._line(values)
        name = escape(name).replace("$", "&#36;")  # to plotly, "<b>" is a tag and what stands between two "$" a formula
        self._add(row, x=x, y=y, name=name, line={"color": color, "width": 1}, showlegend=False)
        self.figure.update_yaxes(title=name, row=row, col=1, secondary_y=False)
        self.figure.update_xaxes(matches=None if row == 1 else "x", range=self._ends, row=row, col=1)
        # Bands have an axis of their own, on which they reach to the top whatever the values are.
        for band, fill, opacity, ranges in ((_FOUND, RED, 0.18, []), (_KNOWN, _BLACK, 0.7, known)):
            corners, heights = self._bands(ranges, 0.96)
            self._add(
                row, x=corners, y=heights, name=band, line={"color": fill, "width": 1}, fill="toself", fillcolor=fill,
                opacity=opacity, hoverinfo="skip", legendgroup=band, showlegend=row == 1 and bool(band == _FOUND or known),
                secondary_y=True,
            )  # fmt: skip
        self.figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True, row=row, col=1, secondary_y=True)

    def _add_alarms(self, row: int, tradeoff: Tradeoff) -> None:
        steps = {"shape": "hv", "color": BLUE}
        self._add(row, x=tradeoff.cuts, y=tradeoff.alarms(), name="alarms", line=steps, showlegend=False)
        self._add(row, x=[], y=[], name="here", mode="markers", marker={"color": RED, "size": 11}, showlegend=False)
        self.figure.update_yaxes(title="alarms", rangemode="tozero", row=row, col=1)
        self.figure.update_xaxes(type="log", title="threshold", row=row, col=1)

    def _bands(self, ranges: list[Range], bottom: float) -> tuple[list[Any], list[Any]]:
        """Return a rectangle for each range up to the top of a panel, with breaks between them."""
        ends = np.array(ranges, np.int64).reshape(-1, 2) - (0, 1)
        corners = zip(self._places(ends[:, 0]), self._places(ends[:, 1]), strict=True)
        x = [place for first, last in corners for place in (first, first, last, last, None)]
        return x, [bottom, 1.0, 1.0, bottom, None] * len(ranges)

    def _line(self, values: Floats) -> tuple[list[Any], Floats]:
        """Return x and y of a line that breaks where rows or values are missing."""
        gaps = np.append(False, breaks_between(self._series.times, longest_step(self._series.times, "auto")))
        breaks = np.cumsum(gaps | ~np.isfinite(values))
        rows = rows_to_draw(values)
        places = [i + 1 for i, (one, other) in enumerate(pairwise(rows.tolist())) if breaks[other] > breaks[one]]
        before = rows[np.array(places, np.int64) - 1]
        return self._places(np.insert(rows, places, before)), np.insert(values[rows], places, np.nan)

    def _places(self, rows: Any) -> list[Any]:
        """Return where rows lie along x: times as text, which plotly takes for what it is, or numbers."""
        stamps = self._series.stamps[rows]
        if not isinstance(stamps, pd.DatetimeIndex):
            return list(stamps)
        return [stamp.isoformat() for stamp in stamps.tz_localize(None)]


def rows_to_draw(values: Floats) -> Any:
    """Return the rows of the highest and lowest values of each of some thousand pieces; of few rows all that have a value."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= _MOST_POINTS:
        return known
    from tsdownsample import MinMaxDownsampler

    return known[MinMaxDownsampler().downsample(np.ascontiguousarray(values[known]), n_out=_MOST_POINTS)]
