"""From a series and settings to a bundle: split, scale, train, score the training series, calibrate."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.bundle import Bundle, require_storable, with_probe
from anomaly.checkpoint import CheckpointFile, History
from anomaly.config import AGGREGATIONS, THRESHOLD_METHODS, DetectorConfig, PenaltyConfig, ScoringConfig
from anomaly.errors import ConfigError, shorten
from anomaly.inference import Reconstructor
from anomaly.missing import fill_missing, mask_windows
from anomaly.model import Weights, build_autoencoder, get_weights
from anomaly.order import in_order
from anomaly.scaling import Scaler
from anomaly.scoring import RowScorer, score_series
from anomaly.segment import BLOCK_WINDOWS
from anomaly.series import Float32s, Floats, TimeSeries, complete_rows, format_time, longest_step, median_step
from anomaly.split import Split, check_training_values
from anomaly.threshold import budget_per_1000_rows, calibrate, describe
from anomaly.training import Progress, fit_autoencoder
from anomaly.windowing import make_windows

_HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")
# Scores of so many training rows before the held-out ones are kept, for the thresholds.
MOST_TRAINING_SCORES = 100_000
# The unit of errors is taken from so many training windows, and is at least this share of the mean over the features.
MOST_SCALE_WINDOWS, LEAST_SCALE, SMALLEST_SCALE = 4_096, 0.02, 1e-9
# The scoring settings that say what becomes of flags, and not where the cut is.
EVENT_SETTINGS = {"aggregation", "merge_gap", "min_length", "min_severity", "cool_down", "alarm_direction"}


def fit_bundle(
    config: DetectorConfig,
    series: TimeSeries,
    *,
    on_step: Callable[[Progress], None] | None,
    checkpoint: str | Path | None,
    checkpoint_seconds: float,
    resume: bool,
) -> tuple[Bundle, Reconstructor]:
    """Train on a series; see `Detector.fit`, whose arguments and errors these are.

    Returns:
        What was learnt, and the network ready to run.
    """
    check_training_values(series)
    require_storable(config, series.columns, series.time_column)
    series = in_order(series)
    longest = longest_step(series.times, config.windows.max_gap)
    split = Split.of(series, config, longest)
    _check_directions(config, split.window_size, series)
    fingerprint, scaler = _fingerprint(series), Scaler.fit(series.values[: split.cut])
    identity = _identity(config, series, fingerprint)
    kept = CheckpointFile(checkpoint, identity, checkpoint_seconds) if checkpoint is not None else None
    weights, history, seed = _train(config, split, scaler.transform(series.values)[0], kept, resume, on_step)
    reconstruct = Reconstructor(config.network, weights, split.window_size, series.n_features)
    error_scale = _error_scale(reconstruct, scaler.transform(series.values)[0], split, config.windows.max_missing)
    first = max(0, split.cut - MOST_TRAINING_SCORES)
    scorer = partial(
        RowScorer,
        reconstruct,
        scaler=scaler,
        window_size=split.window_size,
        longest_step=longest,
        max_missing=config.windows.max_missing,
        error_scale=error_scale,
        aggregations=AGGREGATIONS,
    )
    parts = (series[first : split.cut], series[split.cut :])  # no window on both sides
    bundle = Bundle(
        config=config,
        columns=series.columns,
        time_column=series.time_column,
        window_size=split.window_size,
        stride=split.stride,
        step=median_step(series.times),
        longest_step=longest,
        seed=seed,
        scaler=scaler,
        error_scale=error_scale,
        weights=weights,
        calibration_times=series.times[first:],
        calibration_scores=dict(zip(AGGREGATIONS, _scores_of(scorer, *parts), strict=True)),
        thresholds={},
        history={name: np.array(getattr(history, name)) for name in _HISTORY},
        training=_summary(series, split, history, first),
        fingerprint=fingerprint,
    )
    return with_probe(recalibrated(bundle, {}), reconstruct), reconstruct


def recalibrated(bundle: Bundle, settings: Mapping[str, Any]) -> Bundle:
    """Return a bundle with some scoring settings changed and all thresholds set anew by them.

    Where only event rules change, a threshold that came from further data or by hand keeps its value.

    Raises:
        ConfigError: if a setting breaks its rule.
    """
    config = DetectorConfig.from_settings(bundle.config.to_settings() | dict(settings))
    _check_alarm_direction(config, bundle.columns)
    changed = replace(bundle, config=config)
    thresholds = {}
    for name in AGGREGATIONS:
        old, calibration = bundle.thresholds.get(name), changed.calibration(name)
        if old is not None and old.method not in THRESHOLD_METHODS and set(settings) <= EVENT_SETTINGS:
            thresholds[name] = describe(calibration, old.value, old.method, old.asked, old.reached)
        else:
            thresholds[name] = calibrate(calibration, config.scoring)
    return replace(changed, thresholds=thresholds)


def with_cuts(
    bundle: Bundle, cuts: Mapping[str, float], method: str, asked: float, *, reached: Mapping[str, bool] | None = None
) -> Bundle:
    """Return a bundle with the thresholds of some aggregations replaced.

    Args:
        bundle: a detector's state.
        cuts: for each of these aggregations the value.
        method: how the values were found, for people.
        asked: what that method was asked for.
        reached: for each of these whether there was enough data for it; default: there was.
    """
    changed = {
        name: describe(bundle.calibration(name), value, method, asked, True if reached is None else reached[name])
        for name, value in cuts.items()
    }
    return replace(bundle, thresholds=bundle.thresholds | changed)


def _check_directions(config: DetectorConfig, window_size: int, series: TimeSeries) -> None:
    """Refuse early what would be refused after the training."""
    _check_direction(config.penalty, window_size, series.n_features)
    _check_alarm_direction(config, series.columns)
    budget_per_1000_rows(config.scoring, None if series.time_column is None else 1.0)


def _check_alarm_direction(config: DetectorConfig, columns: tuple[str, ...]) -> None:
    direction = config.scoring.alarm_direction
    if direction is not None and len(direction) != len(columns):
        raise ConfigError(
            f"`alarm_direction` must have one number a feature ({len(columns)}: {shorten(columns)}). "
            f"Received: {len(direction)}. Write 1 for up, -1 for down, 0 for both."
        )


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


def _scores_of(scorer: Callable[[], RowScorer], *parts: TimeSeries) -> Floats:
    """Return the scores `(n_aggregations, n_rows)` of several stretches, each scored for itself."""
    return np.concatenate([score_series(scorer(), part.times, part.values) for part in parts], axis=1)


def _error_scale(reconstruct: Reconstructor, scaled: Float32s, split: Split, max_missing: float) -> Floats:
    """Return the mean squared error of each feature over training windows, `(n_features,)`.

    A feature that is reconstructed almost perfectly counts in units of a fiftieth of the others' mean: what is left of
    it is rounding, and would drown them.
    """
    starts = split.train_starts[:: max(1, len(split.train_starts) // MOST_SCALE_WINDOWS)]
    total = count = np.zeros(scaled.shape[1])
    for at in range(0, len(starts), BLOCK_WINDOWS):
        windows = make_windows(scaled, starts[at : at + BLOCK_WINDOWS], split.window_size)
        errors = np.square(mask_windows(windows, max_missing)[0] - reconstruct(fill_missing(windows)).astype(np.float64))
        known = ~np.isnan(errors)
        total, count = total + np.where(known, errors, 0).sum(axis=(0, 1)), count + known.sum(axis=(0, 1))
    means = total / np.maximum(count, 1)
    scale: Floats = np.maximum(means, LEAST_SCALE * means.mean() + SMALLEST_SCALE)
    return scale


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


def _summary(series: TimeSeries, split: Split, history: History, first: int) -> dict[str, Any]:
    return {
        "n_rows": len(series),
        "n_incomplete_rows": int((~complete_rows(series.values)).sum()),
        "n_calibration_rows": len(series) - first,
        "n_held_out_rows": len(series) - split.cut,
        "n_train_windows": len(split.train_starts),
        "n_validation_windows": len(split.validation_starts),
        "first_time": format_time(int(series.times[0]), series.time_column),
        "last_time": format_time(int(series.times[-1]), series.time_column),
        "n_epochs": len(history.loss),
        "best_epoch": history.best_epoch,
    }
