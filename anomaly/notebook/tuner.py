"""Widgets for notebooks: move the threshold and see what it does. Needs the packages of the extra `notebook`."""

from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.detector import Detector
from anomaly.extras import lacking
from anomaly.notebook.tradeoff import Outcome, Tradeoff
from anomaly.series import Floats, TimeSeries, labelled_ranges, time_index

_MOST_POINTS = 4_000
_BLUE, _RED, _GREY, _BLACK = "#2a6fbb", "#c8362f", "#777777", "#222222"


class ThresholdTuner:
    """A slider over the threshold, beside what it does to a series; nothing is trained or scored again.

    Args:
        detector: a fitted detector; `apply` and `save` change its threshold.
        series: any series it can score; with labels, precision and recall are shown too.

    Attributes:
        slider: the threshold, on a log scale.
        figure: score, threshold and events above, alarms as a function of the threshold below.
        summary: the numbers at the threshold.
        widget: all of them, to be shown as the last line of a cell.

    Raises:
        ConfigError: if plotly or ipywidgets is missing.
    """

    def __init__(self, detector: Detector, series: TimeSeries) -> None:
        widgets, plots = _libraries()
        self._detector = detector
        scores = detector.score(series)
        known = labelled_ranges(series) or None  # labels without an event say nothing about recall
        self._threshold = detector.thresholds_[scores.aggregation]
        self.tradeoff = Tradeoff(scores, detector.bundle_.calibration(scores.aggregation), known)
        self._x = time_index(series.times, series.time_column)
        self._known = known or []
        self.figure = self._draw(plots, scores.score)
        low, high = np.log10(self.tradeoff.cuts[[0, -1]])
        self.slider = widgets.FloatLogSlider(
            value=self._threshold.value, base=10, min=low, max=high, step=(high - low) / 500, description="threshold",
            readout_format=".4g", continuous_update=True, layout=widgets.Layout(width="95%"),
        )  # fmt: skip
        self.summary = widgets.HTML()
        button = widgets.Button(description="use this threshold")
        button.on_click(lambda _: self.apply())
        self.slider.observe(lambda change: self._show(change["new"]), names="value")
        self._show(self.slider.value)
        self.widget = widgets.VBox([self.slider, self.summary, self.figure, button])

    @property
    def outcome(self) -> Outcome:
        """What the threshold under the slider does."""
        return self.tradeoff.at(self.slider.value)

    def apply(self) -> Detector:
        """Give the detector the threshold under the slider; return the detector."""
        return self._detector.set_threshold(self.slider.value)

    def save(self, path: str | Path) -> None:
        """Apply the threshold, and write the detector to a file."""
        self.apply().save(path)

    def costs(self, per_alarm: float, per_miss: float) -> Any:
        """Move the slider to the cheapest threshold; return a figure of the cost at every threshold.

        Args:
            per_alarm: cost of looking into one alarm.
            per_miss: cost of a known event that no alarm touches.

        Raises:
            ConfigError: if a cost is negative, or the series has no labels.
        """
        _, plots = _libraries()
        costs, cheapest = self.tradeoff.costs(per_alarm, per_miss), self.tradeoff.cheapest(per_alarm, per_miss)
        self.slider.value = cheapest
        figure = plots.Figure(plots.Scatter(x=self.tradeoff.cuts, y=costs, line={"shape": "hv", "color": _BLUE}))
        figure.add_vline(cheapest, line={"color": _RED, "dash": "dash"}, annotation_text=f"cheapest: {cheapest:.3g}")
        figure.update_layout(
            xaxis={"type": "log", "title": "threshold"}, yaxis={"title": "cost on this series"}, height=300, template="plotly_white"
        )
        return figure

    def _draw(self, plots: Any, score: Floats) -> Any:
        """Draw what does not move, and an empty trace for each thing that does."""
        from plotly.subplots import make_subplots

        rows = _rows_to_draw(score)
        figure = plots.FigureWidget(make_subplots(rows=2, cols=1, row_heights=[0.65, 0.35], vertical_spacing=0.16))
        line = {"width": 1}
        figure.add_scatter(x=self._x[rows], y=score[rows], name="score", line=line | {"color": _GREY}, row=1, col=1)
        figure.add_scatter(x=[], y=[], name="threshold", line={"color": _RED, "dash": "dash"}, row=1, col=1)
        figure.add_scatter(x=[], y=[], name="events", line={"color": _RED, "width": 8}, opacity=0.6, row=1, col=1)
        top = float(np.nanmax(score))
        x, y = self._bands(self._known, 1.4 * top)
        figure.add_scatter(x=x, y=y, name="known", line={"color": _BLACK, "width": 6}, row=1, col=1)
        cuts = self.tradeoff.cuts
        figure.add_scatter(
            x=cuts, y=self.tradeoff.alarms(), name="alarms", line={"shape": "hv", "color": _BLUE}, row=2, col=1
        )  # fmt: skip
        figure.add_scatter(x=[], y=[], name="here", mode="markers", marker={"color": _RED, "size": 11}, row=2, col=1)
        figure.update_yaxes(type="log", title="score", row=1, col=1)
        figure.update_yaxes(title="alarms on this series", rangemode="tozero", row=2, col=1)
        figure.update_xaxes(type="log", title="threshold", row=2, col=1)
        figure.update_layout(height=520, template="plotly_white", margin={"t": 30}, hovermode="closest")
        return figure

    def _show(self, cut: float) -> None:
        outcome = self.tradeoff.at(cut)
        _, threshold, events, _, _, here = self.figure.data
        with self.figure.batch_update():
            threshold.x, threshold.y = [self._x[0], self._x[-1]], [cut, cut]
            events.x, events.y = self._bands(outcome.events, cut)
            here.x, here.y = [cut], [outcome.n_alarms]
        self.summary.value = self._words(outcome)

    def _words(self, outcome: Outcome) -> str:
        parts = [
            f"<b>{outcome.threshold:.4g}</b>",
            f"{outcome.n_alarms:,} alarms, {outcome.n_flagged:,} rows flagged",
            f"expect {self._threshold.rate_text(outcome.expected)} on normal data",
        ]
        if outcome.n_known is not None:
            precision = "none" if not outcome.events else f"{outcome.precision:.2f}"
            parts.append(f"{outcome.n_hit} of {outcome.n_known} known events (recall {outcome.recall:.2f}, precision {precision})")
        return " &middot; ".join(parts)

    def _bands(self, ranges: list[tuple[int, int]], height: float) -> tuple[list[Any], list[float | None]]:
        """Return a line for each range at one height, with breaks between them."""
        x = [moment for start, stop in ranges for moment in (self._x[start], self._x[stop - 1], None)]
        return x, [height, height, None] * len(ranges)


def _rows_to_draw(score: Floats) -> Any:
    """Return the rows of the highest and lowest scores of each of some thousand pieces, all rows if they are few."""
    if len(score) <= _MOST_POINTS:
        return np.arange(len(score))
    from tsdownsample import MinMaxDownsampler

    known = np.flatnonzero(np.isfinite(score))
    return known[MinMaxDownsampler().downsample(np.ascontiguousarray(score[known]), n_out=_MOST_POINTS)]


def _libraries() -> tuple[Any, Any]:
    try:
        import ipywidgets
        import plotly.graph_objects
    except ModuleNotFoundError as error:
        raise lacking("The threshold tuner", "notebook") from error
    return ipywidgets, plotly.graph_objects
