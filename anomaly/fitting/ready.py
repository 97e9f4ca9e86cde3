"""A series that can be trained on: checked, in order, split and scaled."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from anomaly.bundle.storable import require_storable
from anomaly.config import DetectorConfig
from anomaly.fitting.continuation import Start
from anomaly.ingest.order import in_order
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.row_scores import refuse_appended
from anomaly.series import Float32s, Ints, TimeSeries, longest_step, row_step
from anomaly.thresholds.calibration import budget_per_1000_rows
from anomaly.windowing.context import Context, check_calendar, judged_first
from anomaly.windowing.missing_rows import fill_series
from anomaly.windowing.per_feature import check_alarm_direction, check_direction, check_limits
from anomaly.windowing.scaling import Scaler
from anomaly.windowing.split import Split, check_training_values
from anomaly.windowing.wild_cells import wild_cells


@dataclass(frozen=True, eq=False)
class Ready:
    """A series that can be trained on: checked, in order, split and scaled.

    Attributes:
        config: all settings.
        series: its rows in order.
        split: which rows of `scaled` train, in which windows, and which are held out.
        scaler: fitted on the training rows.
        context: which columns are judged, and what else the network reads.
        scaled: what the network reads of the series with its missing rows, `(n_timesteps, n_inputs)`; NaN = missing.
        clock: times of these rows.
        cut: rows of `series` before it train.
        longest_step: a longer time between two rows is a gap.
        row_step: time between the rows of a regular series; 0 for any other.
        fingerprint: SHA-256 of times and values, in hexadecimal.
        n_dismissed: windows behind the others in `split.train_starts`, of rows that were dismissed.
        wild: column, row and value of the cells that count as missing, see `wild_cells`.
    """

    config: DetectorConfig
    series: TimeSeries
    split: Split
    context: Context
    scaler: Scaler
    scaled: Float32s
    clock: Ints
    cut: int
    longest_step: int
    row_step: int
    fingerprint: str
    n_dismissed: int = 0
    wild: tuple[tuple[str, int, float], ...] = ()

    @classmethod
    def of(cls, config: DetectorConfig, series: TimeSeries, start: Start | None = None) -> "Ready":
        """Prepare a series; see `Detector.fit` for the errors.

        Args:
            config: all settings.
            series: rows as they came.
            start: the detector to go on from, if there is one.
        """
        series = judged_first(config, in_order(series))
        check_training_values(series)
        check_calendar(config, series, seen_before=start is not None)
        require_storable(config, series.columns, series.time_column)
        refuse_appended(series.columns, series.time_column, series.name)
        fingerprint, step = fingerprint_of(series), row_step(series.times, config.windows.max_gap)
        series, wild = _without_wild_cells(series)
        longest = longest_step(series.times, config.windows.max_gap)
        filled, given = fill_series(series, step, longest)
        context = Context.of(config, series.n_features)
        judged = series.of_columns(series.columns[: context.n_judged])
        split = Split.of(filled.of_columns(judged.columns), start.sized(config) if start else config, longest)
        _check_settings(config, split.window_size, judged)
        scoring_stride_of(config, split.window_size)  # refused now, and not after the training
        training_values = filled.values[: split.cut]
        scaler = start.scaler(training_values, series.name) if start else Scaler.fit(training_values)
        scaled, cut = context.read(filled.times, filled.values, scaler)[0], int(given[: split.cut].sum())
        ready = cls(config, series, split, context, scaler, scaled, filled.times, cut, longest, step, fingerprint, wild=wild)
        return ready if start is None else ready._with_dismissed(start)

    def _with_dismissed(self, start: Start) -> "Ready":
        """Return this with windows of the rows that were dismissed, behind the others: they are trained on, and nothing else."""
        given = self.series.times if self.series.time_column is not None else self.series.times[:0]
        most_missing = self.config.windows.max_missing
        clock, rows, starts = start.dismissed_rows(
            given, self.split, self.longest_step, self.row_step, most_missing, self.context.n_judged
        )
        train_starts = np.concatenate([self.split.train_starts, len(self.scaled) + starts])
        return replace(
            self,
            split=replace(self.split, train_starts=train_starts),
            scaled=np.concatenate([self.scaled, self.context.read(clock, rows, self.scaler)[0]]),
            clock=np.concatenate([self.clock, clock]),
            n_dismissed=len(starts),
        )


def _check_settings(config: DetectorConfig, window_size: int, series: TimeSeries) -> None:
    """Refuse early what would be refused after the training; the series has the judged features alone."""
    check_direction(config.penalty, window_size, series.n_features)
    check_alarm_direction(config, series.columns)
    check_limits(config, series.columns)
    budget_per_1000_rows(config.scoring, None if series.time_column is None else 1.0)


def _without_wild_cells(series: TimeSeries) -> tuple[TimeSeries, tuple[tuple[str, int, float], ...]]:
    """Return a series in which wild cells are missing, and which they were."""
    wild = wild_cells(series.values)
    if not wild.any():
        return series, ()
    found = tuple((series.columns[column], row, float(series.values[row, column])) for row, column in np.argwhere(wild).tolist())
    return replace(series, values=np.where(wild, np.nan, series.values)), found


def fingerprint_of(series: TimeSeries) -> str:
    """Return the SHA-256 of times and values, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(series.times).data)
    digest.update(np.ascontiguousarray(series.values).data)
    return digest.hexdigest()
