"""The scores of a series: what they flag, as a frame, by time, and what a person sees of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.config import FIGURES
from anomaly.drawing import BLUE, RED, draw_line, html_line, new_figure, svg_line
from anomaly.errors import ConfigError
from anomaly.quick_start import pd
from anomaly.scoring.bands import Bands, expected_of, figure_names, figures_of
from anomaly.scoring.row_scores import LATE, STATUSES, Codes
from anomaly.series import Bools, Floats, Ints, breaks_between, longest_step, row_slice, runs, time_index
from anomaly.windowing.scaling import Scaler
from anomaly.words import counted, span_text, zone_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# A detector that reconstructs its calibration rows perfectly must still divide by its threshold.
SMALLEST_THRESHOLD = 1e-9


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one series.

    Attributes:
        score: `(n_timesteps,)` float64, higher = more anomalous; NaN where `status` says why there is none.
        by_feature: `(n_timesteps, n_features)`; `score` is its mean over the features. NaN where nothing is known of a
            feature around the row.
        deviation: `(n_timesteps, n_features)`, measured less expected, in training sigmas; NaN where the value is missing.
        status: `(n_timesteps,)` positions in `STATUSES`: ok; warm_up (fewer rows than a window since the last gap, for
            the trailing aggregations); no_window (the segment is shorter than a window, for the others); missing (all values
            of the row are missing); out_of_range (scored, but a value was more than 10,000 training sigmas away); duplicate
            (the row before once more); late (its time lies behind that of a row before it); insufficient (too much is missing
            in the windows that cover the row); constant_changed (scored, but a feature that was constant in training was not). A
            series that a fleet was not trained on, and is learnt, has rows with learning and not_learnt.
        threshold: the row is flagged if `score > threshold`.
        aggregation: how overlapping windows became one score.
        times: as in `TimeSeries`.
        columns: names of the features.
        time_column: as in `TimeSeries`.
        index: of the frame that was scored, which `to_frame` has again; None if it had none.
        frame_times: the times of that frame as they stood in it, wherever: without a zone, or in the zone they had.
        measured: `(n_timesteps, n_features)`, what was scored, in the units of the columns; None where it is not known.
        bands: what the bands follow from, for any threshold; None where it is not known.
        scaler: of the detector; None where it is not known.
        given_threshold: what the detector gave them when it scored; None where no detector did.
        notes: what is to be said of all rows that were scored, a sentence each: drift, and features without a value.
    """

    score: Floats
    by_feature: Floats
    deviation: Floats
    status: Codes
    threshold: float
    aggregation: str
    times: Ints
    columns: tuple[str, ...]
    time_column: str | None
    index: pd.Index | None = None
    measured: Floats | None = None
    bands: Bands | None = None
    scaler: Scaler | None = None
    given_threshold: float | None = None
    notes: tuple[str, ...] = ()
    frame_times: pd.Index | None = None

    def __len__(self) -> int:
        """Return the number of timesteps."""
        return len(self.score)

    @property
    def clock(self) -> Ints:
        """`times`, those of late rows put forward to the row before, `(n_timesteps,)`: late rows part no event."""
        return self.times[np.maximum.accumulate(np.where(self.status == LATE, 0, np.arange(len(self))))]

    @property
    def flags(self) -> Bools:
        """Rows with `score > threshold`, `(n_timesteps,)`; a row without a score is not flagged, and not normal."""
        return flags(self.score, self.threshold)

    @property
    def anomaly_score(self) -> Floats:
        """`score / threshold`: above 1 is anomalous, for every detector."""
        return self.score / self.threshold

    @property
    def expected(self) -> Floats | None:
        """Measured less deviation, `(n_timesteps, n_features)`, in the units of the columns; None where `measured` is."""
        return None if self.measured is None or self.scaler is None else expected_of(self.measured, self.deviation, self.scaler)

    def at(self, threshold: float) -> Scores:
        """Return the same scores with another threshold.

        Raises:
            ConfigError: if it is not finite, or less than 1e-9.
        """
        return replace(self, threshold=check_threshold(threshold))

    @property
    def stamps(self) -> pd.Index:
        """When each row is, as timestamps or periods in the zone of the frame that was scored; UTC if it had none; row numbers."""
        if self.time_column is None:
            return time_index(self.times, None)
        for index in (self.frame_times, self.index):
            if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
                return index
        return time_index(self.times, self.time_column)

    def __getitem__(self, rows: slice) -> Scores:
        """Return the rows of a slice of row numbers or times; the first one is in it, the last one is not."""
        rows = row_slice(rows, self.stamps, self.times, "Scores")
        arrays = ("score", "by_feature", "deviation", "status", "times")
        optional = {name: getattr(self, name) for name in ("index", "measured", "frame_times")}
        found: dict[str, Any] = {name: None if array is None else array[rows] for name, array in optional.items()}
        bands = None if self.bands is None else self.bands.changed(lambda array: array[rows])
        found |= {name: getattr(self, name)[rows] for name in arrays}
        return replace(self, **found, bands=bands)

    def __repr__(self) -> str:
        """Say in a line of when they are, and how many rows are flagged; then the notes."""
        stamps = self.stamps
        when = f", {span_text(stamps[0], stamps[-1])}{zone_text(stamps)}" if len(self) and self.time_column is not None else ""
        none = int(np.isnan(self.score).sum())
        without = f", {none:,} without a score" if none else ""
        above = f"{int(self.flags.sum()):,} above the threshold of {self.threshold:.4g}"
        return "\n".join([f"Scores of {counted(len(self), 'row')}{when}: {above}{without}", *self.notes])

    def _repr_html_(self) -> str:
        """Show the line, and the score over time on a logarithmic scale: flagged rows, and the threshold as a dashed line."""
        return html_line(repr(self)) + svg_line(self.score, "score", cut=self.threshold, marks=runs(self.flags), log=True)

    def plot(self) -> Figure:
        """Draw the score over time, the threshold, and the flagged rows.

        Raises:
            ConfigError: if matplotlib is not installed.
        """
        figure, axes = new_figure([2.0])
        stamps = self.stamps
        x = stamps.to_timestamp() if isinstance(stamps, pd.PeriodIndex) else stamps
        broken = np.append(breaks_between(self.times, longest_step(self.times, "auto")), False)[: len(self)]
        draw_line(axes[0], x, self.score, broken, BLUE)
        axes[0].set_yscale("log")
        axes[0].set_ylabel("score")
        axes[0].axhline(self.threshold, color=RED, linewidth=1, linestyle="--", label=f"threshold {self.threshold:.3g}")
        for i, (start, stop) in enumerate(runs(self.flags)):
            axes[0].axvspan(x[start], x[stop - 1], color=RED, alpha=0.18, linewidth=1, label=None if i else "flagged")
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        return figure

    def to_frame(self, *, details: bool = False) -> pd.DataFrame:
        """Return the columns that `anomaly score` appends; `is_anomaly` is missing where there is no score.

        The index is that of the frame that was scored, so that the two can be joined; else UTC times, or row numbers.

        Args:
            details: add for each feature `score_of_NAME`, its part, of which `score` is the mean, and `deviation_of_NAME`,
                measured less expected in training sigmas; and the columns of `anomaly score --with expected,band,by-feature`:
                `NAME_expected`, `NAME_lower`, `NAME_upper`, `NAME_share` (`anomaly.scoring.bands`).
        """
        is_anomaly = pd.array(self.flags, dtype="boolean")
        is_anomaly[np.isnan(self.score)] = pd.NA
        columns = {
            "score": self.score,
            "threshold": self.threshold,
            "anomaly_score": self.anomaly_score,
            "is_anomaly": is_anomaly,
            "status": np.array(STATUSES)[self.status],
        }
        if details:
            columns |= {f"score_of_{name}": part for name, part in zip(self.columns, self.by_feature.T, strict=True)}
            columns |= {f"deviation_of_{name}": part for name, part in zip(self.columns, self.deviation.T, strict=True)}
            columns |= self._figures()
        return pd.DataFrame(columns, index=time_index(self.times, self.time_column) if self.index is None else self.index)

    def _figures(self) -> dict[str, Floats]:
        """Return for each feature what is told in its own unit, as far as it is known."""
        if self.measured is None or self.scaler is None or self.bands is None:
            return {}
        found = figures_of(FIGURES, self.measured, self.by_feature, self.deviation, self.bands, self.scaler, self.threshold)
        return dict(zip(figure_names(self.columns, FIGURES), found.T, strict=True))


def check_threshold(value: float) -> float:
    """Return a cut given by hand; refuse one that no score can be compared with.

    Raises:
        ConfigError: if it is not finite, or less than 1e-9.
    """
    if isinstance(value, bool | str) or not isinstance(value, Real) or not SMALLEST_THRESHOLD <= value < np.inf:
        came = value if isinstance(value, Real) else repr(value)
        raise ConfigError(f"A threshold must be a finite number of at least {SMALLEST_THRESHOLD:g}. Received: {came}.")
    return float(value)


def flags(score: Floats, threshold: float | Floats) -> Bools:
    """Return `score > threshold`, strict, in the shape of `score`; the one place where a score becomes a decision.

    Args:
        score: `(n_timesteps,)`, not negative; NaN without a score, which is not flagged.
        threshold: positive; one number, or `(n_timesteps,)`.
    """
    above: Bools = score > threshold
    return above
