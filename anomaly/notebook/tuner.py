"""Widgets for notebooks: move the threshold and see what it does. Needs the packages of the extra `notebook`.

What moves lives in the browser: ipywidgets has the slider there, anywidget the chart. They are installed beside JupyterLab, which
need not be where Python runs. Where one of them is missing, a picture stands there and a sentence says what to install.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.detector.detector import Detector
from anomaly.drawing import BLUE, RED, new_figure
from anomaly.errors import ConfigError
from anomaly.extras import lacking
from anomaly.notebook.tradeoff import Outcome, Tradeoff
from anomaly.notebook.tuner_chart import TunerChart
from anomaly.report.pictures import plot_scores
from anomaly.series import Floats, TimeSeries, labelled_ranges

_ROUNDING = 1e-9  # of a slider that takes logarithms and goes back
_NO_SLIDER = (
    "A slider needs ipywidgets and anywidget where JupyterLab runs: <code>pip install ipywidgets anywidget</code> there, and "
    "open it again. Without it, <code>tuner.slider.value = 3.5</code> and <code>tuner</code> show another threshold."
)
_NO_CHART = (
    "<i>Where no chart appears below, JupyterLab lacks anywidget: <code>pip install anywidget</code> in its environment, and open "
    "it again.</i>"
)


class ThresholdTuner:
    """A slider over the threshold, beside what it does to a series; nothing is trained or scored again.

    As the last line of a cell it shows the slider, the series and its scores with the events that `detect` finds at the
    threshold, and the number of alarms at every threshold. Where no slider can be shown there is a picture.

    Args:
        detector: a fitted detector; `apply` and `save` change its threshold.
        series: any series it can score; with labels, precision and recall are shown too. At most three features are drawn,
            those with the largest scores.

    Attributes:
        slider: the threshold, on a log scale; `slider.value` is refused where no threshold makes a difference.
        entry: the threshold as a number to type.
        figure: series, score, threshold and events above, alarms as a function of the threshold below.
        summary: the numbers at the threshold.
        message: why a number that was typed is no threshold; empty if it is one.
        widget: all of them.

    Raises:
        ConfigError: if plotly or ipywidgets is missing.
    """

    def __init__(self, detector: Detector, series: TimeSeries) -> None:
        widgets, plots = _libraries()
        series = detector.taken(series)
        self._detector, self._series, self._scores = detector, series, detector.score(series)
        known = labelled_ranges(series) or None  # labels without an event say nothing about recall
        self._threshold = detector.thresholds_[self._scores.aggregation]
        self.tradeoff = Tradeoff(self._scores, detector.bundle_.calibration(self._scores.aggregation), known)
        self._chart = TunerChart(plots, series, self._scores, self.tradeoff, known or [])
        self.figure = self._chart.figure
        self.slider = _slider(widgets, self.tradeoff.cuts, self._threshold.value)
        self.entry = widgets.FloatText(value=_short(self.slider.value), step=None, layout=widgets.Layout(width="9em"))
        self.summary, self.message, note = widgets.HTML(), widgets.HTML(), widgets.HTML(_NO_CHART)
        button = widgets.Button(description="use this threshold")
        button.on_click(lambda _: self.apply())
        self.slider.observe(lambda change: self._show(change["new"]), names="value")
        self.entry.observe(lambda change: self._typed(change["new"]), names="value")
        self.figure.observe(lambda _: setattr(note, "value", ""), names="_view_count")  # a browser has drawn it
        self._show(self.slider.value)
        line = widgets.HBox([self.slider, self.entry])
        self.widget = widgets.VBox([line, self.message, self.summary, note, self.figure, button])

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
        """Move the slider to the cheapest threshold; return a picture of the cost at every threshold.

        Args:
            per_alarm: cost of looking into one alarm.
            per_miss: cost of a known event that no alarm touches.

        Raises:
            ConfigError: if a cost is negative, the series has no labels, or matplotlib is not installed.
        """
        costs, cheapest = self.tradeoff.costs(per_alarm, per_miss), self.tradeoff.cheapest(per_alarm, per_miss)
        self.slider.value = cheapest
        figure, (axis,) = new_figure([2.0])
        axis.step(self.tradeoff.cuts, costs, where="post", color=BLUE)
        axis.axvline(cheapest, color=RED, linestyle="--", label=f"cheapest: {cheapest:.3g}")
        axis.set(xscale="log", xlabel="threshold", ylabel="cost on this series")
        axis.legend(frameon=False)
        return figure

    def __repr__(self) -> str:
        """Say in a line what the threshold does."""
        return f"ThresholdTuner: {', '.join(self._words(self.outcome))}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Show the widget; a picture and what is missing where there is none; a picture where only those can be shown."""
        shown = dict(self.widget._repr_mimebundle_(**kwargs))
        png = self._picture()
        words = f"<p>{_html(self._words(self.outcome))}</p><p>{_NO_SLIDER}</p>"
        html = f'{words}<img alt="{self!r}" style="max-width:100%" src="data:image/png;base64,{png}">'
        return shown | {"text/plain": repr(self), "image/png": png, "text/html": html}

    def _picture(self) -> str:
        """Return what `detect` finds at the threshold as a picture, PNG in base64."""
        scores, file = self._scores.at(self.slider.value), io.BytesIO()
        plot_scores(self._series, scores, self._detector.detect(scores)).savefig(file, format="png", dpi=80)
        return base64.b64encode(file.getvalue()).decode("ascii")

    def _typed(self, cut: float) -> None:
        """Move the slider to a number from the keyboard, or say why it cannot be there."""
        self.message.value = ""
        if cut == _short(self.slider.value):  # which the slider wrote there itself
            return
        try:
            self.slider.value = cut
        except ConfigError as error:
            self.message.value = f'<span style="color:{RED}">{error}</span>'

    def _show(self, cut: float) -> None:
        outcome = self.tradeoff.at(cut)
        self._chart.show(outcome)
        self.message.value, self.entry.value = "", _short(cut)
        self.summary.value = _html(self._words(outcome))

    def _words(self, outcome: Outcome) -> list[str]:
        parts = [
            f"{outcome.threshold:.4g}",
            f"{outcome.n_alarms:,} alarms, {outcome.n_flagged:,} rows flagged",
            f"expect {self._threshold.rate_text(outcome.expected)} on normal data",
        ]
        if outcome.n_known is not None:
            precision = "none" if not outcome.events else f"{outcome.precision:.2f}"
            parts.append(f"{outcome.n_hit} of {outcome.n_known} known events (recall {outcome.recall:.2f}, precision {precision})")
        return parts


def _slider(widgets: Any, cuts: Floats, value: float) -> Any:
    """Return a slider over the cuts that refuses what lies outside of them, where that of ipywidgets would take the nearest end."""
    from traitlets import validate

    least, most = float(cuts[0]), float(cuts[-1])

    class Slider(widgets.FloatLogSlider):  # type: ignore[misc]  # of a package without types
        @validate("value")
        def _validate_value(self, proposal: Any) -> float:
            value = float(proposal["value"])
            if not least * (1 - _ROUNDING) <= value <= most * (1 + _ROUNDING):
                raise ConfigError(
                    f"A threshold under the slider must be from {least:.4g} to {most:.4g}, the range of its chart. "
                    f"Received: {value:.4g}. Use detector.set_threshold({value:.4g}) for one beyond."
                )
            return min(max(value, least), most)

    low, high = np.log10([least, most])
    return Slider(
        value=value, base=10, min=low, max=high, step=(high - low) / 500, description="threshold", readout=False,
        continuous_update=True, layout=widgets.Layout(width="85%"),
    )  # fmt: skip


def _short(cut: float) -> float:
    return float(f"{cut:.4g}")


def _html(parts: list[str]) -> str:
    return " &middot; ".join([f"<b>{parts[0]}</b>", *parts[1:]])


def _libraries() -> tuple[Any, Any]:
    try:
        import ipywidgets
        import plotly.graph_objects
    except ModuleNotFoundError as error:
        raise lacking("The threshold tuner", "notebook") from error
    return ipywidgets, plotly.graph_objects
