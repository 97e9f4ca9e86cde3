"""From a series and settings to a bundle: split, scale, train, score the training series, calibrate."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anomaly.bundle.file import Bundle, require_storable
from anomaly.bundle.probe import check_probe, with_probe
from anomaly.config import AGGREGATIONS, THRESHOLD_METHODS, DetectorConfig, ScoringConfig, refuse_unheard, unheard, with_one_budget
from anomaly.detector.continuation import Start
from anomaly.detector.set_aside import SetAside, TrainingWindows
from anomaly.detector.shortcomings import with_notes
from anomaly.detector.terms import LEAST_UNIT, MOST_UNIT_ROWS, SMALLEST_UNIT, errors_of, recipe_of
from anomaly.frames.taking import ZONED
from anomaly.ingest.order import in_order
from anomaly.keras.own_network import MakeNetwork, OwnEngine, OwnReconstructor, make_network, refuse_beside_own_network
from anomaly.network.inference import Reconstruct, shared_reconstructor
from anomaly.network.initial_weights import initial_weights
from anomaly.network.model import Weights
from anomaly.network.program import Program
from anomaly.scoring.drift import ValueRange
from anomaly.scoring.overlaps import BLOCK_WINDOWS, scoring_stride_of
from anomaly.scoring.row_scores import refuse_appended
from anomaly.scoring.scorer import RowScorer, score_series
from anomaly.series import (
    Float32s,
    Floats,
    Ints,
    TimeSeries,
    complete_rows,
    format_time,
    longest_step,
    median_step,
    other_pace,
    row_step,
)
from anomaly.tensorflow_start import load_tensorflow
from anomaly.thresholds.calibration import budget_per_1000_rows, calibrate, describe
from anomaly.training.checkpoint import CheckpointFile, History
from anomaly.training.loop import Progress, fit_autoencoder
from anomaly.windowing.context import Context, check_calendar, judged_first, with_wide_direction
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.missing_rows import fill_series
from anomaly.windowing.per_feature import check_alarm_direction, check_direction, check_limits
from anomaly.windowing.scaling import ErrorUnits, Scaler
from anomaly.windowing.split import Split, check_training_values
from anomaly.windowing.wild_cells import wild_cells
from anomaly.windowing.windows import make_windows

_HISTORY = ("loss", "reconstruction_loss", "gradient_penalty", "validation_loss")
# Scores of so many training rows before the held-out ones are kept, for the thresholds.
MOST_TRAINING_SCORES = 100_000
# The unit of errors is taken from so many windows.
MOST_UNIT_WINDOWS = 4_096
# The unit of a row's own error is what this share of `MOST_UNIT_ROWS` training rows and the held-out ones exceeds.
UNIT_SHARE = 0.01
# The scoring settings that say what becomes of flags, and not where the cut is.
EVENT_SETTINGS = {
    "aggregation", "merge_gap", "min_length", "short_severity", "min_severity", "min_deviation", "cool_down", "alarm_direction",
}  # fmt: skip
# A least length of an event of "auto" is this part of a window. In older detectors it was a 32nd, and stays.
WINDOW_LENGTHS = 20


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
        if series.reading not in (None, ZONED):  # of a file
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


class Trained(NamedTuple):
    """What a training gave: of the series itself, or of several with the same network."""

    weights: Weights
    history: History
    seed: int


def fit_bundle(
    config: DetectorConfig,
    series: TimeSeries,
    *,
    on_step: Callable[[Progress], None] | None,
    checkpoint: str | Path | None,
    checkpoint_seconds: float,
    resume: bool,
    start: Start | None = None,
    network: MakeNetwork | None = None,
    on_stage: Callable[[str], None] = lambda what: None,
) -> tuple[Bundle, Reconstruct]:
    """Train on a series; see `Detector.fit`, whose arguments and errors these are; `on_stage` is told what begins.

    Returns:
        What was learnt, and the network ready to run.
    """
    if network is not None:
        refuse_beside_own_network(checkpoint=checkpoint, start_from=start)
        return _fit_own_network(config, Ready.of(config, series), network, on_step, on_stage)
    on_stage("Preparing")
    ready = Ready.of(config, series, start)
    identity = _identity(config, ready.series, ready.fingerprint, start)
    kept = CheckpointFile(checkpoint, identity, checkpoint_seconds) if checkpoint is not None else None
    trained = train_network(config, ready.split, ready.scaled, kept, resume=resume, on_step=on_step, start=start)
    on_stage("Calibrating")
    return measured(ready, trained, start)


def train_network(
    config: DetectorConfig,
    split: Split,
    scaled: Float32s,
    checkpoint: CheckpointFile | None = None,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    start: Start | None = None,
) -> Trained:
    """Train a network on windows, or go on with its training.

    Args:
        config: all settings.
        split: the windows.
        scaled: the rows that they are cut from, as the network reads them, `(n_timesteps, n_inputs)`; NaN = missing.
        checkpoint: what keeps the training through a crash.
        resume: whether to go on from it.
        on_step: called after every step.
        start: the detector to go on from, if there is one.

    Raises:
        DivergedError: if the loss stops being finite.
        BundleError: if the checkpoint is damaged.
    """
    state = checkpoint.read() if checkpoint is not None and resume else None
    drawn = _seed(config)
    seed = drawn if state is None else state.seed
    weights, history = fit_autoencoder(
        config,
        start.weights if start else initial_weights(config.network, scaled.shape[1], seed),
        scaled,
        split.train_starts,
        split.validation_starts,
        window_size=split.window_size,
        seed=seed,
        on_step=on_step,
        checkpoint=checkpoint,
        resume_from=state,
        trained=start is not None,
    )
    return Trained(weights, history, seed)


def _fit_own_network(
    config: DetectorConfig, ready: Ready, make: MakeNetwork, on_step: Callable[[Progress], None] | None,
    on_stage: Callable[[str], None],
) -> tuple[Bundle, Reconstruct]:  # fmt: skip
    """Train a network of one's own; the bundle has no weights then."""
    seed, shape, split = _seed(config), (ready.split.window_size, ready.context.n_inputs), ready.split
    network = make_network(make, *shape, seed=seed)
    weights, history = fit_autoencoder(
        config, {str(n): weight for n, weight in enumerate(network.get_weights())}, ready.scaled, split.train_starts,
        split.validation_starts, window_size=split.window_size, seed=seed, on_step=on_step,
        engine_of=lambda batch_size: OwnEngine(with_wide_direction(config, shape[1]), network, shape, batch_size),
    )  # fmt: skip
    network.set_weights(list(weights.values()))
    on_stage("Calibrating")
    return measured(ready, Trained({}, history, seed), reconstruct=OwnReconstructor(network))


def _seed(config: DetectorConfig) -> int:
    """Return the seed, drawn or given; make TensorFlow deterministic if that is wanted."""
    if config.training.deterministic:
        load_tensorflow().config.experimental.enable_op_determinism()
    given = config.training.seed
    return int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given


def measured(
    ready: Ready, trained: Trained, start: Start | None = None, *, reconstruct: Reconstruct | None = None
) -> tuple[Bundle, Reconstruct]:
    """Measure what a network makes of a series: its error units, its calibration scores, its thresholds.

    Args:
        ready: the series.
        trained: the network.
        start: the detector that it went on from, if there is one.
        reconstruct: the network ready to run; None for the built-in one.

    Returns:
        The detector of the series, and the network ready to run.
    """
    config, series, split, cut, context = ready.config, ready.series, ready.split, ready.cut, ready.context
    if reconstruct is None:
        reconstruct = shared_reconstructor(config.network, trained.weights, split.window_size, context.n_inputs)
    placing: dict[str, Any] = {
        "window_size": split.window_size, "longest_step": ready.longest_step, "row_step": ready.row_step,
    }  # fmt: skip
    scorer = partial(RowScorer, reconstruct=reconstruct, scaler=ready.scaler, max_missing=config.windows.max_missing, **placing)
    scorer = partial(scorer, scoring_stride=scoring_stride_of(config, split.window_size), context=context)
    unit = _window_unit(reconstruct, ready.scaled, split, config.windows.max_missing, context.n_judged)
    units = ErrorUnits(unit, _row_unit(scorer, unit, series[max(0, cut - MOST_UNIT_ROWS) : cut], series[cut:]))
    first, parts = calibration_rows(series, cut)
    scorer = partial(scorer, error_units=units, aggregations=AGGREGATIONS)
    windows = TrainingWindows(
        ready.scaled, ready.clock, split.train_starts, split.validation_starts, split.window_size, split.cut,
        config.windows.max_missing, unit,
    )  # fmt: skip
    recipe, own, aside = recipe_of(windows, config.windows, median_step(series.times), reconstruct, scorer, parts)
    scorer = partial(scorer, recipe=recipe, own=own)
    times, calibration = series.times[first:], _scores_of(scorer, *parts)
    calibration[:, aside.covers(times)] = np.nan
    bundle = Bundle(
        config=config,
        columns=series.columns,
        time_column=series.time_column,
        stride=split.stride,
        step=median_step(series.times),
        **placing,
        seed=trained.seed,
        scaler=ready.scaler,
        error_units=units,
        recipe=recipe,
        weights=trained.weights,
        calibration_times=times,
        calibration_scores=dict(zip(AGGREGATIONS, calibration, strict=True)),
        thresholds={},
        history={name: np.array(getattr(trained.history, name)) for name in _HISTORY},
        training=_summary(series, split, trained.history, len(series) - first, len(series) - cut)
        | ({"n_dismissed_windows": ready.n_dismissed} if ready.n_dismissed else {})
        | (_set_aside(aside, series) | _paces(series, ready.row_step, split.window_size)),
        fingerprint=ready.fingerprint,
        ancestry=start.ancestry(trained.history.start_loss) if start else None,
        value_range=ValueRange.of(series.values),
        **_automatic_rules(config, split.window_size),
    )
    judged = series.of_columns(bundle.judged_columns)
    return with_notes(with_probe(recalibrated(bundle, {}), reconstruct), judged, aside, ready.wild), reconstruct


def ready_to_run(bundle: Bundle) -> Reconstruct:
    """Return the network of a bundle, ready to run.

    Raises:
        BundleError: if it gives other numbers here than where it was made.
    """
    shape = bundle.window_size, bundle.context.n_inputs
    if bundle.program is not None:
        reconstruct: Reconstruct = Program(bundle.program, *shape)
    else:
        reconstruct = shared_reconstructor(bundle.config.network, bundle.weights, *shape)
    check_probe(bundle, reconstruct)
    return reconstruct


def calibration_rows(series: TimeSeries, cut: int) -> tuple[int, tuple[TimeSeries, TimeSeries]]:
    """Return the first row whose score is kept, and the training and the held-out rows from it on; each is scored for itself.

    Args:
        series: the training series, in order.
        cut: the first held-out row.
    """
    first = max(0, cut - MOST_TRAINING_SCORES)
    return first, (series[first:cut], series[cut:])  # no window on both sides


def recalibrated(bundle: Bundle, settings: Mapping[str, Any]) -> Bundle:
    """Return a bundle with some scoring settings changed and all thresholds set anew by them.

    Where only event rules change, a threshold that came from further data or by hand keeps its value.

    Raises:
        ConfigError: if a setting breaks its rule.
    """
    settings = with_one_budget(settings)
    before = bundle.config.to_settings()
    method = settings.get("threshold_method", before["threshold_method"])
    config = DetectorConfig.from_settings(before | unheard(before, method) | dict(settings))
    refuse_unheard(settings, method)
    check_alarm_direction(config, bundle.judged_columns)
    check_limits(config, bundle.judged_columns)
    automatic = _automatic_rules(config, bundle.window_size)
    changed = replace(bundle, config=config, **{name: automatic[name] for name in automatic.keys() & settings.keys()})
    thresholds = {}
    for name in AGGREGATIONS:
        old, calibration = bundle.thresholds.get(name), changed.calibration(name)
        if old is not None and old.method not in THRESHOLD_METHODS and set(settings) <= EVENT_SETTINGS:
            thresholds[name] = describe(calibration, old.value, old.method, old.asked, old.reached)
        else:
            thresholds[name] = calibrate(calibration, config.scoring)
    return replace(changed, thresholds=thresholds)


def _automatic_rules(config: DetectorConfig, window_size: int) -> dict[str, Any]:
    """Return what event rules of "auto" come to, in rows; None where a number was given.

    Runs less than a window apart are one event: they share windows, so that they are no evidence of their own.
    """
    length, gap = config.scoring.min_length, config.scoring.merge_gap
    return {
        "min_length": max(1, window_size // WINDOW_LENGTHS) if length == "auto" else None,
        "merge_gap": window_size if gap == "auto" else None,
    }


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


def _check_settings(config: DetectorConfig, window_size: int, series: TimeSeries) -> None:
    """Refuse early what would be refused after the training; the series has the judged features alone."""
    check_direction(config.penalty, window_size, series.n_features)
    check_alarm_direction(config, series.columns)
    check_limits(config, series.columns)
    budget_per_1000_rows(config.scoring, None if series.time_column is None else 1.0)


def _scores_of(scorer: Callable[[], RowScorer], *parts: TimeSeries) -> Floats:
    """Return the scores `(n_aggregations, n_rows)` of several stretches, each scored for itself."""
    return np.concatenate([score_series(scorer(), part.times, part.values) for part in parts], axis=1)


def _window_unit(reconstruct: Reconstruct, scaled: Float32s, split: Split, max_missing: float, n_judged: int) -> Floats:
    """Return the mean squared error of each judged feature, `(n_judged,)`: of training or of held-out windows, the larger.

    A feature that is reconstructed almost perfectly counts in units of a fiftieth of the others' mean: what is left of
    it is rounding, and would drown them.
    """
    means = np.zeros(n_judged)
    for starts in (split.train_starts, split.validation_starts):
        starts = starts[:: max(1, len(starts) // MOST_UNIT_WINDOWS)]
        total = count = np.zeros(n_judged)
        for at in range(0, len(starts), BLOCK_WINDOWS):
            windows = make_windows(scaled, starts[at : at + BLOCK_WINDOWS], split.window_size)
            expected = reconstruct(fill_missing(windows))[:, :, :n_judged].astype(np.float64)
            errors = np.square(mask_windows(windows[:, :, :n_judged], max_missing)[0] - expected)
            known = ~np.isnan(errors)
            total, count = total + np.where(known, errors, 0).sum(axis=(0, 1)), count + known.sum(axis=(0, 1))
        means = np.maximum(means, total / np.maximum(count, 1))
    unit: Floats = np.maximum(means, LEAST_UNIT * means.mean() + SMALLEST_UNIT)
    return unit


def _row_unit(scorer: Callable[..., RowScorer], unit: Floats, *parts: TimeSeries) -> Floats:
    """Return the unit of a row's own error, `(n_features,)`: never smaller than that of windows.

    In it the error that one row of a hundred exceeds is the mean error, in `unit`, that the windows about one row of a
    hundred exceed.
    """
    views = partial(scorer, error_units=ErrorUnits(unit, unit), aggregations=("window_mean", "point_mean"))
    joined = np.nan_to_num(np.concatenate([errors_of(views, part) for part in parts], axis=1))
    window, row = np.quantile(joined, 1 - UNIT_SHARE, axis=1)
    ratio: Floats = np.divide(row, window, out=np.ones_like(row), where=window > 0)
    return unit * np.maximum(ratio, 1)


def _set_aside(aside: SetAside, series: TimeSeries) -> dict[str, Any]:
    """Return what the training summary says of the rows that were set aside."""
    if not len(aside.stretches):
        return {}
    return {"set_aside": [[format_time(time, series.time_column) for time in stretch] for stretch in aside.stretches.tolist()]}


def _without_wild_cells(series: TimeSeries) -> tuple[TimeSeries, tuple[tuple[str, int, float], ...]]:
    """Return a series in which wild cells are missing, and which they were."""
    wild = wild_cells(series.values)
    if not wild.any():
        return series, ()
    found = tuple((series.columns[column], row, float(series.values[row, column])) for row, column in np.argwhere(wild).tolist())
    return replace(series, values=np.where(wild, np.nan, series.values)), found


def _paces(series: TimeSeries, step: int, window_size: int) -> dict[str, Any]:
    """Return what the training summary says of a regular series that came at another pace for a while."""
    return {"paces": "several"} if step and other_pace(series.times, step, window_size) is not None else {}


def fingerprint_of(series: TimeSeries) -> str:
    """Return the SHA-256 of times and values, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(series.times).data)
    digest.update(np.ascontiguousarray(series.values).data)
    return digest.hexdigest()


def _identity(config: DetectorConfig, series: TimeSeries, fingerprint: str, start: Start | None) -> dict[str, Any]:
    """Return what must not change between two sittings of a training."""
    later = {f.name for f in fields(ScoringConfig)} | {"max_minutes"}
    settings = {name: value for name, value in config.to_settings().items() if name not in later}
    return settings | {"data": fingerprint, "columns": series.columns} | (start.identity if start else {})


def _summary(series: TimeSeries, split: Split, history: History, n_calibration: int, n_held_out: int) -> dict[str, Any]:
    return ({"reading": series.reading} if series.reading else {}) | {
        "n_rows": len(series),
        "n_incomplete_rows": int((~complete_rows(series.values)).sum()),
        "n_calibration_rows": n_calibration,
        "n_held_out_rows": n_held_out,
        "n_train_windows": len(split.train_starts),
        "n_validation_windows": len(split.validation_starts),
        "first_time": format_time(int(series.times[0]), series.time_column),
        "last_time": format_time(int(series.times[-1]), series.time_column),
        "n_epochs": len(history.loss),
        "best_epoch": history.best_epoch,
    }
