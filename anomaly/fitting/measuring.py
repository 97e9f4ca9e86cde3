"""What a trained network makes of a series: error units, calibration scores, thresholds and the summary of its training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.header import HISTORY
from anomaly.bundle.probe import with_probe
from anomaly.config import AGGREGATIONS
from anomaly.fitting.continuation import Start
from anomaly.fitting.example import Example
from anomaly.fitting.ready import Ready
from anomaly.fitting.recalibration import automatic_rules, recalibrated
from anomaly.fitting.set_aside import SetAside
from anomaly.fitting.shortcomings import with_notes
from anomaly.fitting.terms import recipe_of
from anomaly.fitting.trained import Trained
from anomaly.network.inference import Reconstruct, shared_reconstructor
from anomaly.scoring.drift import ValueRange
from anomaly.scoring.overlaps import scoring_stride_of
from anomaly.scoring.scorer import RowScorer, score_series
from anomaly.series import Floats, TimeSeries, complete_rows, format_time, median_step, other_pace
from anomaly.training.checkpoint import History
from anomaly.windowing.split import Split

# Scores of so many training rows before the held-out ones are kept, for the thresholds.
MOST_TRAINING_SCORES = 100_000


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
    example = Example.of(ready, scorer, reconstruct)
    own, aside, units = example.compared.own, example.compared.aside, example.units
    (first, parts), step = calibration_rows(series, cut), median_step(series.times)
    scorer = partial(scorer, error_units=units, aggregations=AGGREGATIONS)
    recipe = recipe_of(example.compared, example.windows, ready.longest_step, scorer, example.left_out, parts)
    scorer = partial(scorer, recipe=recipe, own=own)
    times, calibration = series.times[first:], _scores_of(scorer, *parts)
    calibration[:, example.left_out.covers(times) | example.before[first:]] = np.nan
    bundle = Bundle(
        config=config,
        columns=series.columns,
        time_column=series.time_column,
        stride=split.stride,
        step=step,
        **placing,
        seed=trained.seed,
        scaler=ready.scaler,
        error_units=units,
        recipe=recipe,
        weights=trained.weights,
        calibration_times=times,
        calibration_scores=dict(zip(AGGREGATIONS, calibration, strict=True)),
        thresholds={},
        history={name: np.array(getattr(trained.history, name)) for name in HISTORY},
        training=_summary(series, split, trained.history, len(series) - first, len(series) - cut)
        | ({"n_dismissed_windows": ready.n_dismissed} if ready.n_dismissed else {})
        | (_set_aside(aside, series) | _paces(series, ready.row_step, split.window_size)),
        fingerprint=ready.fingerprint,
        ancestry=start.ancestry(trained.history.start_loss) if start else None,
        value_range=ValueRange.of(series.values),
        **automatic_rules(config, split.window_size),
    )
    begun = [series.columns[place] for place in ready.begun if place < context.n_judged]
    bundle = with_probe(recalibrated(bundle, {}), reconstruct)
    return with_notes(bundle, series.of_columns(bundle.judged_columns), aside, ready.wild, begun), reconstruct


def calibration_rows(series: TimeSeries, cut: int) -> tuple[int, tuple[TimeSeries, TimeSeries]]:
    """Return the first row whose score is kept, and the training and the held-out rows from it on; each is scored for itself.

    Args:
        series: the training series, in order.
        cut: the first held-out row.
    """
    first = max(0, cut - MOST_TRAINING_SCORES)
    return first, (series[first:cut], series[cut:])  # no window on both sides


def _scores_of(scorer: Callable[[], RowScorer], *parts: TimeSeries) -> Floats:
    """Return the scores `(n_aggregations, n_rows)` of several stretches, each scored for itself."""
    return np.concatenate([score_series(scorer(), part.times, part.values) for part in parts], axis=1)


def _set_aside(aside: SetAside, series: TimeSeries) -> dict[str, Any]:
    """Return what the training summary says of the rows that were set aside."""
    if not len(aside.stretches):
        return {}
    return {"set_aside": [[format_time(time, series.time_column) for time in stretch] for stretch in aside.stretches.tolist()]}


def _paces(series: TimeSeries, step: int, window_size: int) -> dict[str, Any]:
    """Return what the training summary says of a regular series that came at another pace for a while."""
    return {"paces": "several"} if step and other_pace(series.times, step, window_size) is not None else {}


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
