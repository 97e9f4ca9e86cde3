"""`Detector`: fit, score, detect, calibrate, save, load. It ties the steps of the flow together."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from anomaly.bundle import Bundle, read_bundle, write_bundle
from anomaly.checkpoint import CheckpointFile, History
from anomaly.config import (
    AGGREGATIONS,
    SETTINGS,
    Auto,
    DetectorConfig,
    NetworkConfig,
    PenaltyConfig,
    ScoringConfig,
    TrainingConfig,
    Vector,
    WindowConfig,
    refuse_unknown,
)
from anomaly.errors import ConfigError, DataError, NotFittedError, shorten
from anomaly.events import Event, find_events
from anomaly.inference import Reconstructor
from anomaly.model import Weights, build_autoencoder, get_weights
from anomaly.scaling import Scaler
from anomaly.scoring import RowScorer, RowScores, Scores
from anomaly.series import (
    Float32s,
    Floats,
    Ints,
    TimeSeries,
    as_time_series,
    check_ascending,
    complete_rows,
    format_time,
    longest_step,
    median_step,
)
from anomaly.split import Split, check_training_values
from anomaly.threshold import Threshold, calibrate, check_threshold
from anomaly.training import Progress, fit_autoencoder

_HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")
# At scoring the median step may differ from training by this factor.
_STEP_TOLERANCE = 1.5


class Detector:
    """Learn what a series normally looks like; score and flag what stops looking like that.

    The constructor stores its arguments and checks nothing; `fit` does. `anomaly.config` says what each
    one means and may be. Scores are higher for more anomalous rows, and `score > threshold` is an anomaly.

    Attributes:
        bundle_: everything that `fit` learnt, and all that `save` writes.

    Example:
        detector = Detector(window_size="auto", penalty="l2", seed=0).fit(series.before("2022-05-01"))
        scores = detector.score(series)
        events = detector.detect(series)
    """

    def __init__(
        self,
        *,
        window_size: int | Auto = WindowConfig.window_size,
        stride: int | Auto = WindowConfig.stride,
        max_gap: float | Auto = WindowConfig.max_gap,
        units: int = NetworkConfig.units,
        layers: int = NetworkConfig.layers,
        bidirectional: bool = NetworkConfig.bidirectional,
        code_size: int | None = NetworkConfig.code_size,
        output_order: str = NetworkConfig.output_order,
        dropout: float = NetworkConfig.dropout,
        input_noise: float = NetworkConfig.input_noise,
        penalty: str = PenaltyConfig.penalty,
        penalty_weight: float = PenaltyConfig.penalty_weight,
        penalty_method: str = PenaltyConfig.penalty_method,
        penalty_every: int = PenaltyConfig.penalty_every,
        direction: Vector | None = PenaltyConfig.direction,
        penalty_threshold: float = PenaltyConfig.penalty_threshold,
        epochs: int = TrainingConfig.epochs,
        steps_per_epoch: int | Auto = TrainingConfig.steps_per_epoch,
        batch_size: int = TrainingConfig.batch_size,
        learning_rate: float = TrainingConfig.learning_rate,
        clip_norm: float = TrainingConfig.clip_norm,
        patience: int = TrainingConfig.patience,
        validation_fraction: float = TrainingConfig.validation_fraction,
        seed: int | None = TrainingConfig.seed,
        max_minutes: float | None = TrainingConfig.max_minutes,
        deterministic: bool = TrainingConfig.deterministic,
        aggregation: str = ScoringConfig.aggregation,
        alarm_rate: float = ScoringConfig.alarm_rate,
        merge_gap: int | Auto = ScoringConfig.merge_gap,
    ) -> None:
        values = locals()
        for name in SETTINGS:
            setattr(self, name, values[name])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments; `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in SETTINGS}

    def set_params(self, **params: Any) -> Self:
        """Change constructor arguments; they take effect at the next `fit`.

        Raises:
            ConfigError: if a name is unknown.
        """
        refuse_unknown(params, SETTINGS, "parameter")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Show the arguments that differ from their defaults."""
        defaults = Detector().get_params()
        changed = {name: value for name, value in self.get_params().items() if repr(value) != repr(defaults[name])}
        return f"Detector({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    @property
    def window_size_(self) -> int:
        """Timesteps in a window, chosen or given."""
        return self._fitted().window_size

    @property
    def columns_(self) -> tuple[str, ...]:
        """Names of the features."""
        return self._fitted().columns

    @property
    def thresholds_(self) -> dict[str, Threshold]:
        """The calibrated threshold of each aggregation."""
        return self._fitted().thresholds

    @property
    def calibration_scores_(self) -> dict[str, Floats]:
        """The held-out scores of each aggregation, `(n,)` in time order, NaN where a row has none."""
        return self._fitted().calibration_scores

    @property
    def history_(self) -> dict[str, Floats]:
        """Losses by epoch: loss, reconstruction_loss, gradient_penalty, validation_loss."""
        return self._fitted().history

    def fit(
        self, X: Any, y: None = None, *, on_step: Callable[[Progress], None] | None = None,  # noqa: N803
        checkpoint: str | Path | None = None, checkpoint_seconds: float = 10.0, resume: bool = False,
    ) -> Self:  # fmt: skip
        """Train on a series of normal rows.

        The last `validation_fraction` of the rows is held out: it stops the training and calibrates the
        thresholds. The scaler sees the rows before it only, and no window lies on both sides of the cut.

        Args:
            X: a `TimeSeries`, a DataFrame, or an array `(n_timesteps, n_features)`.
            y: ignored, as in scikit-learn; labels are never used.
            on_step: called with a `Progress` after every training step.
            checkpoint: a file that keeps the training through a crash; Ctrl-C then waits for the end of the step.
                It stays: delete it when the detector is saved.
            checkpoint_seconds: least time between two writes of it.
            resume: go on from the checkpoint if there is one; with `deterministic`, to the same detector.

        Returns:
            The detector itself.

        Raises:
            ConfigError: if a setting breaks its rule or does not fit the series.
            DataError: if the series is too short for its windows, or holds infinite values or a feature without any.
            DivergedError: if the loss stops being finite; the checkpoint is removed.
            BundleError: if the checkpoint is damaged.
        """
        config = DetectorConfig.from_settings(self.get_params())
        series = as_time_series(X)
        check_training_values(series)
        longest = longest_step(series.times, config.windows.max_gap)
        split = Split.of(series, config, longest)
        _check_direction(config.penalty, split.window_size, series.n_features)
        fingerprint, scaler = _fingerprint(series), Scaler.fit(series.values[: split.cut])
        identity = _identity(config, series, fingerprint)
        kept = CheckpointFile(checkpoint, identity, checkpoint_seconds) if checkpoint is not None else None
        weights, history, seed = _train(config, split, scaler.transform(series.values)[0], kept, resume, on_step)
        reconstruct = Reconstructor(config.network, weights, split.window_size, series.n_features)
        held_out = _score(reconstruct, series[split.cut :], scaler, split.window_size, longest, AGGREGATIONS)
        calibration = dict(zip(AGGREGATIONS, held_out.score, strict=True))
        self.bundle_ = Bundle(
            config=config,
            columns=series.columns,
            time_column=series.time_column,
            window_size=split.window_size,
            stride=split.stride,
            step=median_step(series.times),
            longest_step=longest,
            seed=seed,
            scaler=scaler,
            weights=weights,
            calibration_times=series.times[split.cut :],
            calibration_scores=calibration,
            thresholds={name: calibrate(scores, config.scoring.alarm_rate) for name, scores in calibration.items()},
            history={name: np.array(getattr(history, name)) for name in _HISTORY},
            training=_summary(series, split, history),
            fingerprint=fingerprint,
        )
        self._reconstruct: Reconstructor | None = reconstruct
        return self

    def score(self, X: Any, *, aggregation: str | None = None) -> Scores:  # noqa: N803
        """Score every row.

        Args:
            X: a series with the columns of the training series (any order, more are ignored).
            aggregation: how overlapping windows become one score; default: the one the detector was made with.

        Raises:
            DataError: if a column is missing, or no row could be scored.
            ConfigError: if the aggregation is unknown.
            NotFittedError: before `fit`.
        """
        name = self.aggregation_name(aggregation)
        series = self._in_order(as_time_series(X, self._fitted().columns))
        self.check_step(series.times, series.name)
        scorer = self.row_scorer(name)
        first, last = scorer.push(series.times, series.values), scorer.finish()
        rows = RowScores.joined([first, last], 1, series.n_features)
        if np.isnan(rows.score).all():
            raise self.nothing_scored(len(series), series.name)
        return Scores(
            score=rows.score[0],
            by_feature=rows.by_feature[0],
            status=rows.status[0],
            threshold=self.thresholds_[name].value,
            aggregation=name,
            times=series.times,
            columns=series.columns,
            time_column=series.time_column,
        )

    def detect(self, X: Any, *, aggregation: str | None = None, threshold: float | None = None) -> list[Event]:  # noqa: N803
        """Return the events of a series, or of `Scores` that were computed before.

        Args:
            X: a series, or the `Scores` of one.
            aggregation: as for `score`; ignored for `Scores`.
            threshold: a cut to use instead of the calibrated one.
        """
        scores = X if isinstance(X, Scores) else self.score(X, aggregation=aggregation)
        if threshold is not None:
            scores = replace(scores, threshold=check_threshold(threshold))
        bundle = self._fitted()
        return find_events(scores, merge_gap=bundle.merge_gap, longest_step=bundle.longest_step)

    def calibrate(self, alarm_rate: float) -> Self:
        """Set all thresholds anew from the stored held-out scores; neither data nor training is needed."""
        bundle = self._fitted()
        config = DetectorConfig.from_settings(bundle.config.to_settings() | {"alarm_rate": alarm_rate})
        thresholds = {name: calibrate(scores, alarm_rate) for name, scores in bundle.calibration_scores.items()}
        self.bundle_ = replace(bundle, config=config, thresholds=thresholds)
        self.alarm_rate = alarm_rate
        return self

    def row_scorer(self, aggregation: str | None = None) -> RowScorer:
        """Return a scorer that takes rows in pieces and needs memory for one window and one block only."""
        bundle = self._fitted()
        if self._reconstruct is None:
            self._reconstruct = Reconstructor(bundle.config.network, bundle.weights, bundle.window_size, len(bundle.columns))
        return RowScorer(
            self._reconstruct,
            scaler=bundle.scaler,
            window_size=bundle.window_size,
            longest_step=bundle.longest_step,
            aggregations=(self.aggregation_name(aggregation),),
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

    def check_step(self, times: Ints, name: str) -> None:
        """Refuse rows that come at another pace than in training.

        Raises:
            DataError: if the times do not go forward, or their median step differs from training by more than half.
        """
        bundle = self._fitted()
        check_ascending(times, bundle.time_column, name)
        if bundle.time_column is None or len(times) < 3:
            return
        found = median_step(times)
        if not 1 / _STEP_TOLERANCE <= found / bundle.step <= _STEP_TOLERANCE:
            raise DataError(
                f"Rows must come about as often as in training, every {bundle.step / 1e6:g} s. "
                f"Received: every {found / 1e6:g} s ({name}). Resample the data, or train on data like it."
            )

    def nothing_scored(self, n_rows: int, name: str) -> DataError:
        """Return the error for a series in which no row got a score."""
        return DataError(
            f"A series must hold a stretch of `window_size` rows ({self.window_size_}) without gap or missing value. "
            f"Received: {n_rows} rows without one ({name}). Supply a longer stretch, or train with a smaller --window-size."
        )

    def save(self, path: str | Path) -> None:
        """Write the detector to one file, all of it or nothing.

        Raises:
            NotFittedError: before `fit`.
            StorageError: if the system refuses.
        """
        write_bundle(path, self._fitted())

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Read a detector; TensorFlow is not imported, and nothing in the file is run.

        Raises:
            BundleError: if the file is not a bundle of this version, or is damaged.
            StorageError: if it cannot be read.
        """
        bundle = read_bundle(path)
        detector = cls(**bundle.config.to_settings())
        detector.bundle_ = bundle
        detector._reconstruct = None
        return detector

    def __getstate__(self) -> dict[str, Any]:
        """Leave the running network out of a copy; it is built again from the bundle when it is needed."""
        return self.__dict__ | ({"_reconstruct": None} if hasattr(self, "bundle_") else {})

    def _fitted(self) -> Bundle:
        bundle: Bundle | None = getattr(self, "bundle_", None)
        if bundle is None:
            raise NotFittedError("The detector must be fitted first. Received: a new Detector. Call fit, or Detector.load.")
        return bundle

    def _in_order(self, series: TimeSeries) -> TimeSeries:
        """Select the training columns by name, in training order."""
        columns, timed = self._fitted().columns, self._fitted().time_column is not None
        if timed != (series.time_column is not None):
            kinds = ("a time column", "rows that are counted")
            raise DataError(
                f"The series must have {kinds[not timed]}, as in training. Received: {kinds[timed]} ({series.name}). "
                "Give the frame a DatetimeIndex, or leave the times out in both places."
            )
        missing = [name for name in columns if name not in series.columns]
        if missing:
            raise DataError(
                f"The series must have the columns of the training series. Received: no {shorten(missing)} among "
                f"{shorten(series.columns)} ({series.name})."
            )
        if series.columns == columns:
            return series
        return replace(series, values=series.values[:, [series.columns.index(name) for name in columns]], columns=columns)


def _check_direction(config: PenaltyConfig, window_size: int, n_features: int) -> None:
    if config.penalty != "directional":
        return
    shape = np.asarray(config.direction).shape
    if shape not in ((n_features,), (window_size, n_features)):
        raise ConfigError(
            f"`direction` must have one number a feature ({n_features}), or {window_size} rows of them. "
            f"Received: shape {shape}. Use --direction with {n_features} numbers."
        )


def _train(
    config: DetectorConfig,
    split: Split,
    scaled: Float32s,
    kept: CheckpointFile | None,
    resume: bool,
    on_step: Callable[[Progress], None] | None,
) -> tuple[Weights, History, int]:
    """Train, or go on training; return weights, history and seed."""
    state = kept.read() if kept is not None and resume else None
    given = config.training.seed
    drawn = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
    seed = drawn if state is None else state.seed
    if config.training.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    weights, history = fit_autoencoder(
        config,
        get_weights(build_autoencoder(config.network, split.window_size, scaled.shape[1], seed=seed)),
        scaled,
        split.train_starts,
        split.validation_starts,
        window_size=split.window_size,
        seed=seed,
        on_step=on_step,
        checkpoint=kept,
        resume_from=state,
    )
    return weights, history, seed


def _fingerprint(series: TimeSeries) -> str:
    """Return the SHA-256 of times and values, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(series.times).data)
    digest.update(np.ascontiguousarray(series.values).data)
    return digest.hexdigest()


def _identity(config: DetectorConfig, series: TimeSeries, fingerprint: str) -> dict[str, Any]:
    """Return what must not change between two sittings of a training."""
    later = {f.name for f in fields(ScoringConfig)} | {"max_minutes"}
    settings = {name: value for name, value in config.to_settings().items() if name not in later}
    return settings | {"data": fingerprint, "columns": series.columns}


def _score(
    reconstruct: Callable[[Float32s], Float32s],
    series: TimeSeries,
    scaler: Scaler,
    window_size: int,
    longest: int,
    aggregations: tuple[str, ...],
) -> RowScores:
    scorer = RowScorer(reconstruct, scaler=scaler, window_size=window_size, longest_step=longest, aggregations=aggregations)
    parts = [scorer.push(series.times, series.values), scorer.finish()]
    return RowScores.joined(parts, len(aggregations), series.n_features)


def _summary(series: TimeSeries, split: Split, history: History) -> dict[str, Any]:
    return {
        "n_rows": len(series),
        "n_incomplete_rows": int((~complete_rows(series.values)).sum()),
        "n_calibration_rows": len(series) - split.cut,
        "n_train_windows": len(split.train_starts),
        "n_validation_windows": len(split.validation_starts),
        "first_time": format_time(int(series.times[0]), series.time_column),
        "last_time": format_time(int(series.times[-1]), series.time_column),
        "n_epochs": len(history.loss),
        "best_epoch": history.best_epoch,
    }
