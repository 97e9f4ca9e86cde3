"""The scores of some rows as a function of a change of their scaled values, and its derivative.

A score is made in four steps (`anomaly.scoring.segment`), and the derivative goes back through each of them:

    e = (y - x)^2                              x a window, y its reconstruction: each timestep and feature
    m = mean over the windows about a row      of the window's mean error, of its error at the row, or of both apart
    u = A(m / units)                           A: the weighted mean of the two terms of `combined`; else u = m / unit
    score = (mean over the features of sqrt(u))^2, in a row out of range the mean of u

so d score / d u_f = mean_g sqrt(u_g) / (F sqrt(u_f)) for F features (0 where u_f = 0: there e has no slope either) or
1 / F, then the weights of A, the shares of the windows in a mean, and in one window, if C is what has come so far,

    d / dx = B(2 C (y - x)) - 2 C (y - x)      B goes back through the network

added up over the windows that share a row. So x counts as what is compared, as what the network reads, and in every
window. A missing value is compared with nothing, all means go over what is known, and what the network reads in its
place depends on the value that it repeats (`anomaly.windowing.missing`).

Where a score has terms beside the network's (`anomaly.scoring.recipe`), it is the mean of them all, and so is the derivative;
`anomaly.explaining.nearest_slope` has that of the distances from the nearest training windows.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from anomaly.bundle.bundle import Bundle, require_built_in
from anomaly.config import NetworkConfig
from anomaly.explaining.nearest_slope import NearestTerms
from anomaly.network.inference import shared_reconstructor
from anomaly.network.passes import Passes
from anomaly.scoring.overlaps import TRAILING, averaged
from anomaly.scoring.recipe import parts_of, slope_of_mean
from anomaly.scoring.segment import ROW_WEIGHT, combine, views_of
from anomaly.series import Bools, Float32s, Floats, Ints, TimeSeries, segments
from anomaly.tensorflow_start import load_tensorflow, refuse_in_a_fork
from anomaly.watches.watch import heights_of
from anomaly.windowing.missing import fill_missing, filled_from, mask_windows, mean_of_known
from anomaly.windowing.missing_rows import with_missing_rows
from anomaly.windowing.scaling import CLIP
from anomaly.windowing.windows import add_up, make_windows, spread_starts

# Windows in one call of the network: always as many, so that it is traced once.
BATCH = 128

Tensor = Any


def reach_of(aggregation: str, window_size: int) -> tuple[int, int]:
    """Return how many rows before and after a row its score depends on, if no gap is in between.

    Args:
        aggregation: a name of `config.AGGREGATIONS`.
        window_size: timesteps in a window.
    """
    return window_size - 1, 0 if aggregation in ("trailing", "trailing_point") else window_size - 1


class Stretch:
    """Consecutive rows of a series: their scores, and the derivative of these, at any change of the scaled values.

    Rows are counted from `first`, changes are `(n_rows, n_features)`, of the features that are judged. Scores at the ends are
    those of the stretch alone. Inside, missing rows stand between the others, and change in nothing.

    Args:
        bundle: the detector.
        series: with the columns in training order.
        aggregation: how overlapping windows become one score.
        first: first row of the series.
        stop: row after the last one.
    """

    def __init__(self, bundle: Bundle, series: TimeSeries, aggregation: str, first: int, stop: int) -> None:
        require_built_in(bundle)
        self._context, scaler, n_judged = bundle.context, bundle.judged_scaler, bundle.context.n_judged
        judged = series.values[first:stop, :n_judged]
        self.first, self.known = first, ~np.isnan(judged)
        self.rows = scaler.transform(judged)[0]
        clock, values, self._given = with_missing_rows(
            series.times[first:stop], series.values[first:stop], bundle.row_step, bundle.longest_step
        )
        inputs, self._clipped = bundle.context.read(clock, values, bundle.scaler)
        self._rows, self._beside = inputs[:, :n_judged], inputs[:, n_judged:]
        self._size, self._network, self._weights = bundle.window_size, bundle.config.network, bundle.weights
        phase, trailing = _place_in_segment(bundle, series, first), aggregation in TRAILING
        self._reconstruct = shared_reconstructor(self._network, self._weights, self._size, bundle.context.n_inputs)
        self._starts, late = _starts(clock, bundle, phase, trailing=trailing)
        self._running = np.ones(len(self._starts), np.bool_)
        self._offsets = np.arange(self._size)[-1 if trailing else 0 :]
        # Which rows a window speaks about, (n_windows, n_offsets, 1).
        self._heard = np.ones((len(self._starts), len(self._offsets), 1), np.bool_)
        self._heard[late, 0] = False
        self._views = views_of(aggregation)
        masked, used = mask_windows(make_windows(self._rows, self._starts, self._size), bundle.config.windows.max_missing)
        self._compared = ~np.isnan(masked) & used[:, None, None]  # (n_windows, size, n_features)
        self._errors = np.where(self._compared, 0.0, np.nan)
        self._at: Floats | None = None  # the change that they are of
        known = np.logical_not(np.isnan(values[:, :n_judged]).all(axis=1, keepdims=True))
        # (n_views, n_rows, n_features): windows that speak; 0 in rows without a value
        self._counts: Ints = np.stack([self._sums(view)[1] for view in self._views]) * known
        self._unit = np.stack([bundle.error_units.window, bundle.error_units.row][: len(self._views)])[:, None]
        self._terms = self._weights_of_terms()
        self._aggregation, self._recipe, self._near = aggregation, bundle.recipe, None
        if bundle.recipe is not None:
            self._near = NearestTerms(bundle.recipe, bundle, clock, phase, trailing=trailing)

    def hold_all_but(self, free: Bools) -> None:
        """Let only the rows `free` change from now on: windows that see none of them need not be run again."""
        self.scores(np.zeros(self.rows.shape))
        n_before = np.concatenate([[0], np.cumsum(self._spread(free))])
        self._running = n_before[self._starts + self._size] > n_before[self._starts]
        if self._near is not None:
            self._near.hold_all_but(self._rows, self._spread(free))

    def scores(self, change: Floats) -> Floats:
        """Return `(n_rows,)`, NaN where there is no score."""
        change = self._spread(change)
        units = self._aggregated(self._units(change))
        if self._recipe is not None and (watches := self._recipe.watches(self._size)):
            units = self._recipe.with_unusual(self._aggregation, units, heights_of(watches, self._changed(change)))
        usual = None if self._recipe is None else self._recipe.usual_levels([self._aggregation])
        parts = np.where(self._far(change)[:, None], units, parts_of(units, None if usual is None else usual[0]))
        if self._recipe is not None and self._near is not None:
            parts = self._recipe.parts(self._aggregation, parts, units, self._near.distances(self._changed(change)))
        found: Floats = mean_of_known(parts, axis=1)
        return found[self._given]

    def slope(self, change: Floats, by_score: Floats, *, limited: bool = True) -> Floats:
        """Return the derivative `(n_rows, n_features)` of the sum of the scores, each times its `by_score` `(n_rows,)`.

        Args:
            change: of the rows.
            by_score: a factor for each row.
            limited: as for `Recipe.slopes`.
        """
        change, by_score = self._spread(change), self._spread(by_score)
        units, far, beside = self._aggregated(self._units(change)), self._far(change), np.zeros(change.shape)
        if self._recipe is not None and self._near is not None:
            rows = self._changed(change)
            distances = self._near.distances(rows)
            by_units, by_distances = self._recipe.slopes(self._aggregation, units, distances, far, limited=limited)
            by_units = by_units * by_score[:, None]
            beside = self._near.slope(rows, by_distances * by_score[:, None])
        else:
            by_units = slope_of_mean(units, far) * by_score[:, None]
        by_error = self._by_error(by_units)
        through, direct = self._call(*self._windows(change), by_error.astype(np.float32))
        parts, starts = self._to_source(through) - direct, self._starts[self._running]
        total = beside
        add_up(total, starts, parts)
        return total[self._given]

    def _changed(self, change: Floats) -> Float32s:
        return (self._rows + change).astype(np.float32)

    def gradient_of(self, row: int) -> tuple[slice, Floats, float | None]:
        """Return the rows that the windows behind a row's score see, and its derivative by all rows.

        A score that is one feature's alone, and at its limit, has that of the feature as if there were no limit; what it would be
        then is returned too, None for any other.
        """
        this = np.zeros(len(self.rows))
        this[row] = 1
        speaking = self._by_error(np.broadcast_to(self._spread(this)[:, None], self._rows.shape)).any(axis=(1, 2))
        starts = self._starts[self._running][speaking]
        n_before = np.concatenate([[0], np.cumsum(self._given)])
        seen = slice(int(n_before[starts[0]]), int(n_before[starts[-1] + self._size]))
        return seen, self.slope(np.zeros(self.rows.shape), this, limited=False), self._unlimited(row)

    def _unlimited(self, row: int) -> float | None:
        """Return what a row's score would be without the limit of one feature alone, if it is at that limit."""
        if self._recipe is None or self._near is None:
            return None
        change = np.zeros(self._rows.shape)
        units, distances = self._aggregated(self._units(change)), self._near.distances(self._changed(change))
        found = float(self._recipe.unlimited(self._aggregation, units, distances, self._far(change))[self._given][row])
        return None if np.isnan(found) else found

    def _spread(self, array: Any) -> Any:
        """Return an array of rows with zeros for the missing ones."""
        spread = np.zeros((len(self._given), *array.shape[1:]), array.dtype)
        spread[self._given] = array
        return spread

    def _far(self, change: Floats) -> Bools:
        """Return which rows are out of range, `(n_rows,)`: those that were and whose change leaves a value at the bound."""
        return self._clipped & (np.abs(self._rows + change) >= CLIP).any(axis=1)

    def _units(self, change: Floats) -> Floats:
        """Return `(n_views, n_rows, n_features)`: mean errors in units of the training error; NaN where unknown."""
        if self._at is None or not np.array_equal(self._at, change):  # the slope is wanted where the scores just were
            read, compared = self._windows(change)
            expected = self._reconstruct(read)[:, :, : self._context.n_judged]
            self._errors[self._running] = np.square(expected.astype(np.float64) - compared)
            self._at = change.copy()
        totals = np.stack([self._sums(view)[0] for view in self._views])
        means = np.divide(totals, self._counts, out=np.full(totals.shape, np.nan), where=self._counts > 0)
        units: Floats = means / self._unit
        return units

    def _aggregated(self, units: Floats) -> Floats:
        return combine(*units) if len(units) == 2 else units[0]

    def _weights_of_terms(self) -> Floats:
        """Return the derivative of the aggregated error by each of its terms, `(n_views, n_rows, n_features)`."""
        weights = np.array([1.0, ROW_WEIGHT])[: len(self._views), None, None] * (self._counts > 0)
        total = weights.sum(axis=0)
        shares: Floats = np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)
        return shares

    def _by_error(self, by_units: Floats) -> Floats:
        """Carry derivatives by the aggregated errors to the errors of the running windows, `(n_running, size, n_features)`."""
        by_mean = self._terms * by_units / self._unit
        shares = np.where(self._counts > 0, by_mean, 0) / np.maximum(self._counts, 1)
        known = self._compared[self._running]
        about = self._starts[self._running][:, None] + self._offsets  # the rows that each window speaks about
        found = np.zeros(known.shape)
        for view, share in zip(self._views, shares, strict=True):
            rows = averaged(view, self._size)
            spoken = share[about] * self._heard[self._running]
            if rows is None:
                found[:, self._offsets] += spoken
            else:
                n_known = np.maximum(known[:, rows].sum(axis=1, keepdims=True), 1)
                found[:, rows] += spoken.sum(axis=1, keepdims=True) / n_known
        return np.where(known, found, 0)

    def _sums(self, view: str) -> tuple[Floats, Ints]:
        """Return what the windows say about each value, `(n_rows, n_features)`, added up, and how many speak."""
        said, rows = self._errors, averaged(view, self._size)
        if rows is not None:
            said = np.broadcast_to(mean_of_known(said[:, rows], axis=1)[:, None], said.shape)
        said, starts = said[:, self._offsets], self._starts + int(self._offsets[0])
        spoken = ~np.isnan(said) & self._heard
        total, count = np.zeros(self._rows.shape), np.zeros(self._rows.shape, np.int64)
        add_up(total, starts, np.where(spoken, said, 0))
        add_up(count, starts, spoken)
        return total, count

    def _windows(self, change: Floats) -> tuple[Float32s, Float32s]:
        """Return what the network reads of the running windows, and what it is compared with: the judged features alone."""
        starts = self._starts[self._running]
        windows = make_windows((self._rows + change).astype(np.float32), starts, self._size)
        compared = np.where(self._compared[self._running], windows, np.float32(np.nan))
        if not self._context.is_none:
            windows = np.concatenate([windows, make_windows(self._beside, starts, self._size)], axis=2)
        return fill_missing(windows), compared

    def _to_source(self, by_read: Floats) -> Floats:
        """Carry the derivatives by what the network reads in place of missing values to the values that it repeats."""
        known = ~np.isnan(make_windows(self._rows, self._starts[self._running], self._size))
        if known.all():
            return by_read
        windows, features = np.arange(len(known))[:, None, None], np.arange(known.shape[2])
        found = np.zeros(by_read.shape)
        np.add.at(found, (windows, filled_from(known), features), np.where(known.any(axis=1, keepdims=True), by_read, 0))
        return found

    def _call(self, read: Float32s, compared: Float32s, by_error: Float32s) -> list[Floats]:
        """Return the derivatives of a batch by what is judged of it, made in batches of the one size that is traced."""
        function, n_judged = _traced(self._network, (BATCH, *read.shape[1:])), self._context.n_judged
        beside = ((0, 0), (0, 0), (0, read.shape[2] - n_judged))  # nothing is compared with the context
        arrays = read, np.pad(compared, beside, constant_values=np.nan), np.pad(by_error, beside)
        parts = []
        for at in range(0, len(arrays[0]), BATCH):
            some = [array[at : at + BATCH] for array in arrays]
            n = len(some[0])
            padded = [np.concatenate([a, np.zeros((BATCH - n, *a.shape[1:]), np.float32)]) for a in some]
            parts.append([np.asarray(found, np.float64)[:n, :, :n_judged] for found in function(self._weights, *padded)])
        return [np.concatenate(found) for found in zip(*parts, strict=True)]


def _starts(clock: Ints, bundle: Bundle, phase: int, *, trailing: bool) -> tuple[Ints, Ints]:
    """Return where the windows begin, and which of them speak about their rows from the second on; see `Overlaps`."""
    starts, late, n = [np.empty(0, np.int64)], [], 0
    for first, stop in segments(clock, bundle.longest_step):
        stride = 1 if trailing else bundle.scoring_stride
        found, last_is_late = spread_starts(stop - first, bundle.window_size, stride, 0 if first else phase)
        n += len(found)
        starts.append(first + found)
        late += [n - 1] * last_is_late
    return np.concatenate(starts), np.array(late, np.int64)


def _place_in_segment(bundle: Bundle, series: TimeSeries, row: int) -> int:
    """Return how many rows of its segment lie before a row, those that were missing among them."""
    clock, _, _ = with_missing_rows(series.times[: row + 1], series.values[: row + 1], bundle.row_step, bundle.longest_step)
    found = segments(clock, bundle.longest_step)
    return len(clock) - 1 - found[-1][0] if found else 0


@lru_cache(maxsize=4)
def _traced(config: NetworkConfig, shape: tuple[int, int, int]) -> Callable[..., Tensor]:
    """Return a function of `(weights, windows, targets, by_error)`: the derivatives of a batch's errors.

    It is traced here and compiled no further: a trace takes a second, and a search some thirty calls.
    """
    refuse_in_a_fork()
    tf = load_tensorflow()

    def slope(weights: Mapping[str, Tensor], windows: Tensor, targets: Tensor, by_error: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivative of the sum of the errors, each times its `by_error`, by windows and (negative) by targets."""
        passes = Passes(config, weights, shape, None, tangents=False)
        d = 2 * by_error * (passes.forward(windows) - targets)
        d = tf.where(tf.math.is_nan(targets), tf.zeros_like(d), d)
        return passes.backward(d), d

    traced: Callable[..., Tensor] = tf.function(slope, autograph=False)
    return traced
