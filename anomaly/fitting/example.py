"""What of a history is an example of what is normal: which windows are compared, which rows are left out, their units."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from anomaly.fitting.error_units import mean_errors, row_unit, window_unit
from anomaly.fitting.ready import Ready
from anomaly.fitting.set_aside import SetAside, TrainingWindows
from anomaly.fitting.terms import MOST_UNIT_ROWS, Compared
from anomaly.network.inference import Reconstruct
from anomaly.scoring.scorer import RowScorer
from anomaly.series import Bools, Floats, Ints, median_step
from anomaly.windowing.scaling import ErrorUnits


class Example(NamedTuple):
    """What a network makes of a history before terms and thresholds."""

    windows: TrainingWindows
    compared: Compared
    left_out: SetAside  # what is set aside, and held-out rows in which a constant has changed
    units: ErrorUnits
    before: Bools  # `(n,)`, rows of the series before a feature began that stood still: no later row is like them

    @classmethod
    def of(cls, ready: Ready, scorer: Callable[..., RowScorer], reconstruct: Reconstruct) -> "Example":
        """Look at a history.

        Args:
            ready: the series.
            scorer: makes a scorer; error units and aggregations are left to give.
            reconstruct: the network.
        """
        split, series, settings, errors = ready.split, ready.series, ready.config.windows, _errors(ready, reconstruct)
        changed = _changed(ready)
        held_out = _clear_of(changed, ready, split.validation_starts)
        windows = TrainingWindows(
            ready.scaled, ready.clock, split.train_starts, held_out, split.window_size, split.cut, settings.max_missing,
            _unit(ready, errors, split.train_starts, held_out), all_judged=not ready.begun,
            trained_unit=window_unit(errors(split.train_starts)),
        )  # fmt: skip
        compared = Compared.of(windows, settings, median_step(series.times), reconstruct)
        late, unit = compared.aside.within(series.times[ready.cut :]), windows.unit
        if len(late.stretches):
            unit = _unit(ready, errors, *(_clear_of(late, ready, starts) for starts in (split.train_starts, held_out)))
        parts = series[max(0, ready.cut - MOST_UNIT_ROWS) : ready.cut], series[ready.cut :]
        rows = row_unit(scorer, unit, changed.and_also(late, series.times), *parts)
        left_out = changed.and_also(compared.aside, series.times)
        return cls(windows, compared, left_out, ErrorUnits(unit, rows), _before(ready))


def _errors(ready: Ready, reconstruct: Reconstruct) -> Callable[[Ints], Floats]:
    """Return what tells the mean error of each judged feature in windows that begin at some rows, `(n_judged,)`."""
    return partial(
        mean_errors, reconstruct, ready.scaled, window_size=ready.split.window_size,
        max_missing=ready.config.windows.max_missing, n_judged=ready.context.n_judged,
    )  # fmt: skip


def _unit(ready: Ready, errors: Callable[[Ints], Floats], trained: Ints, held_out: Ints) -> Floats:
    """Return the unit of each feature: of training or of held-out windows, the larger; of what has begun, where it moves."""
    means = np.maximum(errors(trained), errors(held_out))
    for place in ready.begun:
        if place < len(means):
            means[place] = errors(_moving(ready, place, held_out))[place]
    return window_unit(means)


def _moving(ready: Ready, place: int, held_out: Ints) -> Ints:
    """Return the held-out windows in which a feature that stood still moves, as far as there are such: half as long as in any."""
    cells = ready.scaled[:, place]
    before = np.concatenate([[0], np.cumsum(np.isfinite(cells) & (cells != np.nanmedian(cells[: ready.split.cut])))])
    moved = before[held_out + ready.split.window_size] - before[held_out]
    some: Ints = held_out[2 * moved >= moved.max(initial=0)]
    return some


def _before(ready: Ready) -> Bools:
    """Return the rows before the last feature has begun, as far as a window of rows is left: they say little of what comes."""
    before = np.zeros(len(ready.series), np.bool_)
    for place in ready.begun:
        if place < ready.context.n_judged:
            cells = ready.series.values[:, place]
            moves = np.isfinite(cells) & (cells != np.nanmedian(cells[: ready.cut]))
            before[: min(int(np.argmax(moves)), max(len(cells) - ready.split.window_size, 0))] = True
    return before


def _changed(ready: Ready) -> SetAside:
    """Return the held-out rows in which a judged feature is another that was constant in training."""
    n = ready.context.n_judged
    changed = ready.scaler.first(n).changed(ready.series.values[:, :n])
    changed[: ready.cut] = False
    return SetAside.of(changed, ready.series.times)


def _clear_of(left_out: SetAside, ready: Ready, starts: Ints) -> Ints:
    """Return which windows have no held-out row that is left out."""
    rows = left_out.covers(ready.clock)
    rows[: ready.split.cut] = rows[len(rows) - ready.n_dismissed_rows :] = False
    before = np.concatenate([[0], np.cumsum(rows)])
    clear: Ints = starts[before[starts + ready.split.window_size] == before[starts]]
    return clear
