"""A series that can be trained on: checked, in order, split and scaled."""

from dataclasses import dataclass, replace

import numpy as np

from anomaly.bundle.storable import require_storable
from anomaly.config import DetectorConfig
from anomaly.fitting.cleaned import Cleaned
from anomaly.fitting.continuation import Start
from anomaly.ingest.order import in_order
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.row_scores import refuse_appended
from anomaly.series import Float32s, Ints, TimeSeries
from anomaly.thresholds.calibration import budget_per_1000_rows
from anomaly.windowing.begun import begun_features, scaled_by_all
from anomaly.windowing.context import Context, check_calendar, judged_first
from anomaly.windowing.per_feature import check_alarm_direction, check_direction, check_limits
from anomaly.windowing.scaling import Scaler
from anomaly.windowing.split import Split, check_fitted_rows, check_training_values


@dataclass(frozen=True, eq=False)
class Ready:
    """A series that can be trained on: checked, in order, split and scaled.

    Attributes:
        config: all settings.
        series: its rows in order.
        split: which rows of `scaled` train, in which windows, and which are held out.
        scaler: fitted on the training rows, but for what has `begun`.
        context: which columns are judged, and what else the network reads.
        scaled: what the network reads of the series with its missing rows, `(n_timesteps, n_inputs)`; NaN = missing.
        clock: times of these rows.
        cut: rows of `series` before it train.
        longest_step: a longer time between two rows is a gap.
        row_step: time between the rows of a regular series; 0 for any other.
        fingerprint: SHA-256 of times and values, in hexadecimal.
        n_dismissed: windows behind the others in `split.train_starts`, of rows that were dismissed.
        n_dismissed_rows: these rows, the last ones of `scaled`.
        wild: column, row and value of the cells that count as missing, see `wild_cells`.
        begun: features that stand still in the training rows and move in the held-out ones; their scale is that of all rows.
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
    n_dismissed_rows: int = 0
    wild: tuple[tuple[str, int, float], ...] = ()
    begun: tuple[int, ...] = ()

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
        rows = Cleaned.of(series, config.windows)
        context = Context.of(config, series.n_features)
        judged = series.columns[: context.n_judged]
        split = Split.of(rows.filled.of_columns(judged), start.sized(config) if start else config, rows.longest_step)
        _check_settings(config, split.window_size, rows.series.of_columns(judged))
        scoring_stride_of(config, split.window_size)  # refused now, and not after the training
        scaler, begun = _scaler(rows, split, start)
        ready = cls.made(rows, config=config, split=split, context=context, scaler=scaler, begun=begun)
        return ready if start is None else ready._with_dismissed(start)

    @classmethod
    def made(
        cls, rows: Cleaned, *, config: DetectorConfig, split: Split, context: Context, scaler: Scaler, begun: tuple[int, ...] = ()
    ) -> "Ready":
        """Return rows that were cleaned with what is known of them: the one way to this.

        Args:
            rows: of the series, with its columns in the order of `scaler`.
            config: all settings.
            split: of `rows.filled`.
            context: what is read of its columns.
            scaler: of its columns.
            begun: as the attribute.
        """
        filled = rows.filled
        return cls(
            config, rows.series, split, context, scaler, context.read(filled.times, filled.values, scaler)[0], filled.times,
            int(rows.given[: split.cut].sum()), rows.longest_step, rows.row_step, rows.fingerprint, wild=rows.wild, begun=begun,
        )  # fmt: skip

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
            n_dismissed_rows=len(rows),
        )


def _check_settings(config: DetectorConfig, window_size: int, series: TimeSeries) -> None:
    """Refuse early what would be refused after the training; the series has the judged features alone."""
    check_direction(config.penalty, window_size, series.n_features)
    check_alarm_direction(config, series.columns)
    check_limits(config, series.columns)
    budget_per_1000_rows(config.scoring, None if series.time_column is None else 1.0)


def _scaler(rows: Cleaned, split: Split, start: Start | None) -> tuple[Scaler, tuple[int, ...]]:
    """Return the scaler of the training, and which features have begun to move in the held-out rows."""
    training, held_out = rows.filled.values[: split.cut], rows.filled.values[split.cut :]
    if start is not None and not start.refit_scaler:
        return start.scaler(training, held_out, rows.series.name, split.window_size), ()
    check_fitted_rows(rows.series, int(rows.given[: split.cut].sum()))
    scaler = Scaler.fit(training)
    begun = begun_features(scaler, held_out, split.window_size)
    return scaled_by_all(scaler, rows.filled.values, begun), begun
