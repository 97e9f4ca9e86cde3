"""`Detector`: fit, score, detect, calibrate, save, load. It ties the steps of the flow together."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anomaly.arguments import names_arguments
from anomaly.bundle.bundle import Bundle
from anomaly.bundle.file import read_bundle, write_bundle
from anomaly.bundle.probe import ready_to_run
from anomaly.config import (
    AGGREGATIONS,
    SETTINGS,
    Auto,
    ContextConfig,
    DetectorConfig,
    NetworkConfig,
    PenaltyConfig,
    ReadingConfig,
    ScoringConfig,
    TrainingConfig,
    Vector,
    WindowConfig,
)
from anomaly.detector.estimator import OutlierEstimator, not_fitted
from anomaly.detector.face import Face
from anomaly.detector.thresholding import Thresholding
from anomaly.errors import ConfigError
from anomaly.events.event_list import Events
from anomaly.fitting.shortcomings import notes_on_rows
from anomaly.frames.taking import take
from anomaly.ingest.order import LATE_STEPS
from anomaly.network.inference import Reconstruct
from anomaly.ranges import ALL_ROWS, range_of, rows_within
from anomaly.scoring.row_scores import RowScores
from anomaly.scoring.scorer import OnRows, RowScorer, pushed
from anomaly.scoring.scores import Scores
from anomaly.series import Floats
from anomaly.sources.tolerance import Tolerance
from anomaly.thresholds.calibration import Threshold
from anomaly.training.progress import ProgressBar

if TYPE_CHECKING:  # loaded by a training only
    from anomaly.keras.own_network import MakeNetwork
    from anomaly.training.loop import Progress


class Detector(Thresholding, Face, OutlierEstimator):
    """Learn what a series normally looks like; score and flag what stops looking like that.

    The constructor stores its arguments and checks nothing; `fit` does. `anomaly.config` says what each
    one means and may be; `network` is a function of window size and number of features that returns a Keras model to train
    in the place of the built-in one. Scores are higher for more anomalous rows, and `score > threshold` is an anomaly.

    Attributes:
        bundle_: everything that `fit` learnt, and all that `save` writes.

    Example:
        detector = Detector(window_size="auto", penalty="l2", seed=0).fit(series.before("2022-05-01"))
        scores = detector.score(series)
        events = detector.detect(series)
    """

    bundle_: Bundle
    network: "MakeNetwork | None"
    _reconstruct: Reconstruct | None

    def __init__(
        self,
        *,
        window_size: int | Auto = WindowConfig.window_size,
        stride: int | Auto = WindowConfig.stride,
        max_gap: float | Auto = WindowConfig.max_gap,
        max_missing: float = WindowConfig.max_missing,
        scoring_stride: int | Auto = WindowConfig.scoring_stride,
        nearest_windows: int = WindowConfig.nearest_windows, set_aside: str | Auto = WindowConfig.set_aside,
        units: int = NetworkConfig.units,
        layers: int = NetworkConfig.layers,
        bidirectional: bool = NetworkConfig.bidirectional,
        code_size: int | None = NetworkConfig.code_size,
        output_order: str = NetworkConfig.output_order,
        pooling: int | Auto = NetworkConfig.pooling,
        timesteps: int = NetworkConfig.timesteps,
        dropout: float = NetworkConfig.dropout,
        input_noise: float = NetworkConfig.input_noise,
        penalty: str = PenaltyConfig.penalty,
        penalty_weight: float = PenaltyConfig.penalty_weight,
        penalty_method: str = PenaltyConfig.penalty_method,
        penalty_every: int = PenaltyConfig.penalty_every,
        direction: Vector | None = PenaltyConfig.direction,
        penalty_threshold: float = PenaltyConfig.penalty_threshold,
        epochs: int | Auto = TrainingConfig.epochs,
        steps_per_epoch: int | Auto = TrainingConfig.steps_per_epoch,
        batch_size: int | Auto = TrainingConfig.batch_size,
        learning_rate: float = TrainingConfig.learning_rate,
        silent_windows: float = TrainingConfig.silent_windows,
        clip_norm: float = TrainingConfig.clip_norm,
        patience: int = TrainingConfig.patience,
        validation_fraction: float = TrainingConfig.validation_fraction,
        seed: int | None = TrainingConfig.seed,
        max_minutes: float | None = TrainingConfig.max_minutes,
        deterministic: bool = TrainingConfig.deterministic,
        aggregation: str = ScoringConfig.aggregation,
        threshold_method: str = ScoringConfig.threshold_method,
        alarms_per_day: float | Auto = ScoringConfig.alarms_per_day,
        alarms_per_1000_rows: float | None = ScoringConfig.alarms_per_1000_rows,
        alarms_per_week: float | None = ScoringConfig.alarms_per_week,
        alarm_rate: float = ScoringConfig.alarm_rate,
        sigmas: float = ScoringConfig.sigmas,
        merge_gap: int | Auto = ScoringConfig.merge_gap,
        min_length: int | Auto = ScoringConfig.min_length,
        short_severity: float = ScoringConfig.short_severity,
        min_severity: float = ScoringConfig.min_severity,
        min_deviation: str | Mapping[str, float | str] | None = ScoringConfig.min_deviation,
        cool_down: int = ScoringConfig.cool_down,
        alarm_direction: Vector | None = ScoringConfig.alarm_direction,
        timezone: str = ReadingConfig.timezone, dst: str = ReadingConfig.dst,
        time_format: str | None = ReadingConfig.time_format,
        delimiter: str | None = ReadingConfig.delimiter, decimal: str | None = ReadingConfig.decimal,
        thousands: str | None = ReadingConfig.thousands, missing_values: str | None = ReadingConfig.missing_values,
        context_columns: tuple[str, ...] | list[str] | str | None = ContextConfig.context_columns,
        calendar: str = ContextConfig.calendar,
        network: "MakeNetwork | None" = None,
    ) -> None:  # fmt: skip
        values = locals()
        for name in (*SETTINGS, "network"):
            setattr(self, name, values[name])

    @property
    def window_size_(self) -> int:
        """Timesteps in a window, chosen or given."""
        return self._fitted().window_size

    @property
    def columns_(self) -> tuple[str, ...]:
        """Names of the features that are judged."""
        return self._fitted().judged_columns

    @property
    def thresholds_(self) -> dict[str, Threshold]:
        """The calibrated threshold of each aggregation."""
        return self._fitted().thresholds

    @property
    def calibration_scores_(self) -> dict[str, Floats]:
        """The held-out scores of each aggregation, `(n,)` in time order, NaN where a row has none."""
        bundle = self._fitted()
        return {name: scores[-bundle.training["n_held_out_rows"] :] for name, scores in bundle.calibration_scores.items()}

    @property
    def history_(self) -> dict[str, Floats]:
        """Losses by epoch: loss, reconstruction_loss, gradient_penalty, validation_loss."""
        return self._fitted().history

    @names_arguments
    def fit(
        self, X: Any, y: None = None, *, progress: bool | ProgressBar | None = None,  # noqa: N803
        on_step: "Callable[[Progress], None] | None" = None, checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 10.0, resume: bool = False, start_from: "Detector | None" = None, refit_scaler: bool = False,
    ) -> Self:  # fmt: skip
        """Train on a series of normal rows.

        The last `validation_fraction` of the rows is held out: it stops the training and calibrates the
        thresholds; these also look at how the scores of the training rows vary. The scaler sees the rows before it
        only, and no window lies on both sides of the cut.

        Args:
            X: a `TimeSeries`; a frame of pandas, polars, pyarrow or another library, its times in the index or in the one
                column that holds times, those without a zone read by `timezone` and `dst`; or an array
                `(n_timesteps, n_features)`. Rows of a frame in another order than their times are sorted.
            y: ignored, as in scikit-learn; labels are never used.
            progress: whether to show how far it is; None: in a notebook only. Or what shows it.
            on_step: called with a `Progress` after every training step.
            checkpoint: a file that keeps the training through a crash; Ctrl-C then waits for the end of the step.
                It stays: delete it when the detector is saved.
            checkpoint_seconds: least time between two writes of it.
            resume: go on from the checkpoint if there is one; with `deterministic`, to the same detector.
            start_from: a trained detector whose weights and scaler the training begins with, and whose columns, window size
                and shape of the network it has; its weights stay if no epoch is better on the new held-out rows.
            refit_scaler: fit the scaler to the new rows all the same.

        Returns:
            The detector itself.

        Raises:
            ConfigError: if a setting breaks its rule, does not fit the series, or is not that of `start_from`.
            DataError: if the series is too short for its windows, or holds infinite values or a feature without any.
            DivergedError: if the loss stops being finite; the checkpoint is removed.
            BundleError: if the checkpoint is damaged.
            StorageError: if the checkpoint cannot be written.
        """
        from anomaly.fitting.continuation import Start
        from anomaly.fitting.fit import fit_bundle

        config = DetectorConfig.chosen({name: getattr(self, name) for name in SETTINGS})
        start = None if start_from is None else Start.of(start_from, refit_scaler)
        series = take(X, reading=config.reading).series if start_from is None else start_from._take(X, config.reading).series
        if refit_scaler and start is None:
            raise ConfigError("`refit_scaler` must go with `start_from`. Received: refit_scaler=True alone. Leave it out.")
        with ProgressBar.of(progress) as bar:
            self.bundle_, self._reconstruct = fit_bundle(
                config, series, on_step=bar.before(on_step), on_stage=bar.stage, checkpoint=checkpoint,
                checkpoint_seconds=checkpoint_seconds, resume=resume, start=start, network=self.network,
            )  # fmt: skip
        return self

    @names_arguments
    def score(
        self, X: Any, y: None = None, *, aggregation: str | None = None, since: str | int | None = None,  # noqa: N803
        until: str | int | None = None, on_rows: OnRows | None = None,
    ) -> Scores:  # fmt: skip
        """Score every row; return the scores of all of them, or of a range.

        Args:
            X: a series as for `fit` with the columns of the training series (any order, more are ignored); a frame with its
                rows in order, whose index `Scores.to_frame` has again; or the path of a file, read as in training.
            y: ignored, as in `fit`.
            aggregation: how overlapping windows become one score; default: the one the detector was made with.
            since: the first row to return, by its number, as a time, or as a span before the end such as 7d; its score is that
                which it has among all rows. A time without an offset from UTC is on the clock of the rows: in the zone of the
                series, or of the frame; where that has none in the detector's `timezone`.
            until: the last one.
            on_rows: called now and then with the number of rows that were read so far, and of all.

        Raises:
            DataError: if a column is missing, or no row could be scored.
            ConfigError: if the aggregation is unknown, or no row lies in the range.
            NotFittedError: before `fit`.
        """
        name = self.aggregation_name(aggregation)
        taken = self._take(X)
        series, (start, stop) = taken.series, (0, len(taken.series))
        if since is not None or until is not None:
            start, stop = rows_within(series, since, until, zone=self.zone_of(taken.stamps))
        scorer = self.row_scorer(name, bands=True)
        rows = RowScores.joined(list(pushed(scorer, series.times, series.values, on_rows)), *scorer.shape)
        if np.isnan(rows.score).all():
            raise self.nothing_scored(len(series), series.name, np.isfinite(series.values).mean(axis=0))
        scores = Scores(
            score=rows.score[0],
            by_feature=rows.by_feature[0],
            deviation=rows.deviation[0],
            status=rows.status[0],
            threshold=self.thresholds_[name].value,
            aggregation=name,
            times=series.times,
            columns=self.columns_,
            time_column=series.time_column,
            index=series.stamps if taken.index is None and series.zone != "UTC" else taken.index,
            measured=rows.measured,
            bands=rows.bands,
            scaler=self.bundle_.judged_scaler,
            given_threshold=self.thresholds_[name].value,
            frame_times=taken.clock,
            notes=notes_on_rows(self.bundle_, name, series, rows),
        )
        return scores if stop - start == len(series) else scores[start:stop]

    @names_arguments
    def detect(
        self, X: Any, *, aggregation: str | None = None, threshold: float | None = None,  # noqa: N803
        since: str | int | None = None, until: str | int | None = None,
    ) -> Events:  # fmt: skip
        """Return the events of a series, or of `Scores` that were computed before, as a list that can be looked at.

        Args:
            X: a series, or the `Scores` of one by this detector.
            aggregation: as for `score`; ignored for `Scores`.
            threshold: a cut to use instead of the detector's own, which counts for `Scores` too unless `Scores.at` gave them
                another.
            since: the first row of a range, as for `score`: only events in it are returned, whole or in part, which keep the
                numbers that they have among all.
            until: the last one.
        """
        scores = self._own(X) if isinstance(X, Scores) else self.score(X, aggregation=aggregation)
        if threshold is not None:
            scores = scores.at(threshold)
        elif scores.threshold == scores.given_threshold:
            scores = replace(scores, threshold=self.thresholds_[scores.aggregation].value)
        asked, zone = since is not None or until is not None, self.zone_of(scores.stamps)
        wanted = range_of(scores.times, scores.time_column, since, until, zone=zone) if asked else ALL_ROWS
        return Events.found(scores, self._fitted().rules, wanted)

    def row_scorer(
        self,
        *aggregations: str | None,
        tolerance: Tolerance | None = None,
        through: Callable[[Reconstruct], Reconstruct] | None = None,
        eager: bool = False,
        first_row: int = 0,
        phase: int = 0,
        bands: bool = False,
    ) -> RowScorer:
        """Return a scorer that takes rows in pieces and needs memory for one window and one block only.

        Args:
            aggregations: names, in the order in which the scores shall come; none is the detector's own.
            tolerance: counts repeated and late rows, gaps, and missing rows.
            through: puts something between the scorer and the network.
            eager: as for `RowScorer`.
            first_row: as for `RowScorer`.
            phase: as for `RowScorer`.
            bands: as for `RowScorer`.
        """
        bundle = self._fitted()
        if self._reconstruct is None:
            self._reconstruct = ready_to_run(bundle)
        return RowScorer(
            through(self._reconstruct) if through else self._reconstruct,
            scaler=bundle.scaler,
            window_size=bundle.window_size,
            longest_step=bundle.longest_step,
            max_missing=bundle.config.windows.max_missing,
            error_units=bundle.error_units,
            aggregations=tuple(self.aggregation_name(name) for name in aggregations or (None,)),
            late_within=0 if bundle.time_column is None else LATE_STEPS * bundle.step,
            tolerance=tolerance,
            row_step=bundle.row_step,
            eager=eager,
            first_row=first_row,
            recipe=bundle.recipe,
            scoring_stride=bundle.scoring_stride,
            phase=phase,
            bands=bands,
            context=bundle.context,
        )

    def aggregation_name(self, name: str | None) -> str:
        """Return `name`, or the aggregation the detector was made with if it is None.

        Raises:
            ConfigError: if there is no such aggregation.
            NotFittedError: before `fit`.
        """
        own = self._fitted().config.scoring.aggregation
        if name is not None and name not in AGGREGATIONS:
            raise ConfigError(f"`aggregation` must be one of {', '.join(AGGREGATIONS)}. Received: aggregation={name!r}.")
        return name or own

    def save(self, path: str | Path) -> None:
        """Write the detector to one file, all of it or nothing.

        Raises:
            NotFittedError: before `fit`.
            ConfigError: if `path` is no path, or the network is one's own, and tf2onnx is missing or cannot write it.
            StorageError: if the system refuses.
        """
        write_bundle(path, self._storable())

    def _storable(self) -> Bundle:
        """Return the bundle, with a network of one's own as a graph."""
        bundle = self._fitted()
        if bundle.weights or bundle.program is not None:
            return bundle
        from anomaly.keras.onnx_program import as_onnx

        return replace(bundle, program=as_onnx(self.network_, bundle.window_size, bundle.context.n_inputs))

    @classmethod
    def load(cls, path: str | Path, *, expect_sha256: str | None = None) -> "Detector":
        """Read a detector; TensorFlow is not imported, and nothing in the file is run.

        Args:
            path: the file.
            expect_sha256: SHA-256 of the file's bytes, in hexadecimal, as `anomaly inspect` prints it; default: any.

        Raises:
            BundleError: if the file is not a bundle of this version, is damaged, or is not the one that was expected.
            ConfigError: if `path` is no path, or `expect_sha256` is not 64 hexadecimal digits.
            StorageError: if it cannot be read.
        """
        return cls.of_bundle(read_bundle(path, expect_sha256))

    @classmethod
    def of_bundle(cls, bundle: Bundle, reconstruct: Reconstruct | None = None) -> "Detector":
        """Return the detector that a bundle is the state of; `reconstruct` is its network, if it is ready to run."""
        network: MakeNetwork | None = None
        if not bundle.weights:
            from anomaly.keras.own_network import not_in_the_file

            network = not_in_the_file
        detector = cls(**bundle.config.to_settings(), network=network)
        detector.bundle_, detector._reconstruct = bundle, reconstruct
        return detector

    def __getstate__(self) -> dict[str, Any]:
        """Leave the running network out of a copy, if it can be built again from the bundle when it is needed."""
        bundle: Bundle | None = getattr(self, "bundle_", None)
        again = bundle is not None and (bundle.weights or bundle.program is not None)
        return self.__dict__ | ({"_reconstruct": None} if again else {})

    def _fitted(self) -> Bundle:
        bundle: Bundle | None = getattr(self, "bundle_", None)
        if bundle is None:
            raise not_fitted()
        return bundle
