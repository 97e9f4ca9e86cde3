"""What an event hangs on: which values its score is most sensitive to, and how much of them would have to change.

Both come from the derivative of a row's score by the scaled values. Under every aggregation a score is linear in
the squared errors of the windows (`anomaly.scoring`),

    score_r = (1/F) sum_w,t,f  A_r[w, t] (y - x)^2        x a window, y its reconstruction, F features

and x enters it three times over: as what is compared, as what the network reads, and in every window that covers
the row. The derivative counts all of it. For a sum of scores, each times its c_r, it is in one window

    d / dx = B(2 C (y - x) / F) - 2 C (y - x) / F         C = sum_r c_r A_r, B goes back through the network

added up over the windows that share a row. Scoring itself needs none of this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from anomaly.bundle import Bundle
from anomaly.config import NetworkConfig
from anomaly.errors import DataError, shorten
from anomaly.events import Event
from anomaly.passes import Passes
from anomaly.scaling import CLIP
from anomaly.scoring import Scores
from anomaly.series import Bools, Float32s, Floats, TimeSeries, complete_rows, segments
from anomaly.windowing import make_windows, starts_in

# Windows in one call of the network: always as many, so that it is traced once.
BATCH = 128
# A change must bring scores this far below the threshold: the sums here differ from the scorer's by some 1e-6.
MARGIN = 1e-4
# Steps go a little too far, so that they end below the threshold and not just above it; then the change is
# shrunk a little, and the next step starts from there: it turns towards the nearest point of the boundary.
_OVERSHOOT, _SHRINK = 1.1, 0.97
_HALVINGS = 14

Tensor = Any


@dataclass(frozen=True, eq=False)
class Explanation:
    """What one event hangs on; values are scaled and clipped as for scoring, so their unit is the training sigma.

    Attributes:
        first_row: row of the series that `sensitivity[0]` and `gradient[0]` belong to.
        sensitivity: `(n_rows, n_features)`, |d peak score / d scaled value|, score per training sigma, for the rows
            that the windows behind the peak's score see; rows outside do not matter to it.
        gradient: the same with its sign: where it is positive, a higher value makes the score higher.
        noise_rms: size of the smallest change found that unflags the event, training sigmas: the root of its sum of
            squares over the number of values in the event's rows (those with a missing value left out), as if all of
            it lay there; inf if none was found. An upper bound: a smaller change may exist.
        noise_largest: the largest single change in it, training sigmas; inf if none was found.
        linear_rms: first-order estimate of what the peak alone needs, over the same number of values. A score is a mean
            square, so its root is taken to be linear: the length is (sqrt(peak) - sqrt(threshold)) / |d sqrt(peak)|.
            inf if the gradient is 0.
        changed: `(n_changed_rows, n_features)`, the change itself, to be added to the scaled values, training sigmas;
            0 in a row with a missing value, and everywhere if none was found.
        changed_first_row: row of the series that `changed[0]` belongs to.
        columns: names of the features.
    """

    first_row: int
    sensitivity: Floats
    gradient: Floats
    noise_rms: float
    noise_largest: float
    linear_rms: float
    changed: Floats
    changed_first_row: int
    columns: tuple[str, ...]

    def top(self, n: int = 5) -> list[tuple[int, str, float]]:
        """Return the `n` most sensitive values, from the largest down: (row of the series, feature, sensitivity)."""
        order = np.argsort(-self.sensitivity, axis=None, kind="stable")[:n]
        found = []
        for row, feature in zip(*np.unravel_index(order, self.sensitivity.shape), strict=True):
            found.append((self.first_row + int(row), self.columns[feature], float(self.sensitivity[row, feature])))
        return found


def explain(bundle: Bundle, series: TimeSeries, scores: Scores, event: Event, *, steps: int = 60) -> Explanation:
    """Tell which values an event's peak is most sensitive to, and how much of a change would unflag the event.

    The change may touch every row that the event's scores depend on: those of its windows, up to `window_size - 1`
    rows before and, if the aggregation looks ahead, after it. What is wrong often lies there: a `trailing` window
    is charged to its last row, and a change of the event's rows alone can push the flag onto its neighbours. After
    the change no row of the event is flagged, nor any row nearby that is not flagged as it is. Other events may remain.

    It is sought by Polyak's subgradient steps (target 0) on

        J = || max(0, sqrt(score_r / threshold) - 1) ||_2        over these rows r

    the root because a score is a mean square and its root is nearly linear, whatever its size. Steps
    alternate with shrinking, and the smallest change seen is cut by bisection to the least multiple that suffices.

    Args:
        bundle: the detector that gave the scores, `Detector.bundle_`.
        series: the series that was scored.
        scores: its scores; their threshold and aggregation count.
        event: one of the events found in these scores.
        steps: most steps, at least 1; each runs the network forwards and backwards on the windows concerned.

    Returns:
        The explanation. `noise_rms` is inf if the search finds nothing in `steps`; another event close by, whose
        rows are not asked to change their flags but lie in the same windows, can be the reason.

    Raises:
        DataError: if the series is not as long as its scores or lacks a column, or the event is not one of theirs.

    Source:
        Polyak (1969), "Minimization of unsmooth functionals"; the steps here are 1.1 times as long. The idea that
        a finding is worth as much as the change that undoes it: Moosavi-Dezfooli et al. (2016), "DeepFool".
    """
    series = _checked(bundle, series, scores, event)
    reach = bundle.window_size - 1
    ahead = reach if scores.aggregation in ("window_mean", "point_mean") else 0
    first, stop = max(0, event.start - reach), min(len(series), event.stop + ahead)
    # Rows up to `reach` away are scored with the changed ones, by windows that reach as far again.
    stretch = _Stretch(bundle, series, scores.aggregation, max(0, first - 2 * reach), min(len(series), stop + 2 * reach))
    rows = np.arange(len(stretch.rows)) + stretch.first
    score, flagged = scores.score[rows], scores.flags[rows]
    own = (rows >= event.start) & (rows < event.stop)
    watched = (rows >= first - reach) & (rows < stop + reach) & np.isfinite(score) & (own | ~flagged)
    free = (rows >= first) & (rows < stop) & stretch.complete
    seen, gradient = stretch.gradient_of(event.peak - stretch.first)
    stretch.hold_all_but(free)
    changed = _smallest_change(stretch, free, watched, scores.threshold * (1 - MARGIN), steps)
    n_values = int((own & stretch.complete).sum()) * len(bundle.columns)
    length, slope = 2 * (event.peak_score - np.sqrt(event.peak_score * scores.threshold)), np.linalg.norm(gradient)
    return Explanation(
        first_row=stretch.first + seen.start,
        sensitivity=np.abs(gradient[seen]),
        gradient=gradient[seen],
        noise_rms=np.inf if changed is None else float(np.sqrt(np.square(changed).sum() / n_values)),
        noise_largest=np.inf if changed is None else float(np.abs(changed).max()),
        linear_rms=float(length / slope / np.sqrt(n_values)) if slope > 0 else np.inf,
        changed=(np.zeros_like(gradient) if changed is None else changed)[first - stretch.first : stop - stretch.first],
        changed_first_row=first,
        columns=bundle.columns,
    )


def _checked(bundle: Bundle, series: TimeSeries, scores: Scores, event: Event) -> TimeSeries:
    """Refuse what does not belong together; return the series with the columns in training order."""
    missing = [name for name in bundle.columns if name not in series.columns]
    if missing or len(series) != len(scores):
        raise DataError(
            f"The series must be the one that was scored: {len(scores)} rows with the columns {shorten(bundle.columns)}. "
            f"Received: {len(series)} rows with {shorten(series.columns)} ({series.name})."
        )
    known = event.stop <= len(scores) and scores.score[event.peak] == event.peak_score
    if not known or not np.isclose(event.severity * scores.threshold, event.peak_score):
        raise DataError(
            "The event must be one that was found in these scores, with their threshold "
            f"({scores.threshold:g}). Received: rows {event.start} to {event.stop - 1} with a peak of {event.peak_score:g}, "
            f"{event.severity:g} thresholds ({series.name})."
        )
    order = [series.columns.index(name) for name in bundle.columns]
    return replace(series, values=series.values[:, order], columns=bundle.columns)


def _smallest_change(stretch: "_Stretch", free: Bools, watched: Bools, aim: float, steps: int) -> Floats | None:
    """Return the smallest change found, `(n_rows, n_features)`, that brings the scores of all watched rows to `aim`."""
    rows, best = stretch.rows.astype(np.float64), None
    change = np.zeros_like(rows)
    for _ in range(steps):
        ratio = _ratios(stretch, change, watched, aim)
        if (ratio <= 1).all():
            if best is None or np.linalg.norm(change) < np.linalg.norm(best):
                best = change
            change = _SHRINK * change
            continue
        root = np.sqrt(np.maximum(ratio, 1))
        excess = np.linalg.norm(root - 1)
        slope = stretch.slope(change, (root - 1) / (2 * excess * root * aim)) * free[:, None]
        steepness = np.square(slope).sum()
        if not (steepness > 0 and np.isfinite(steepness)):
            break
        change = change - _OVERSHOOT * excess / steepness * slope
        change = np.clip(rows + change, -CLIP, CLIP) - rows
    return None if best is None else _shortest(stretch, best, watched, aim)


def _shortest(stretch: "_Stretch", change: Floats, watched: Bools, aim: float) -> Floats:
    """Return the least multiple of a change that still does, by bisection."""
    too_little, enough = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (too_little + enough) / 2
        if (_ratios(stretch, middle * change, watched, aim) <= 1).all():
            enough = middle
        else:
            too_little = middle
    return enough * change


def _ratios(stretch: "_Stretch", change: Floats, watched: Bools, aim: float) -> Floats:
    """Return score / aim, `(n_rows,)`; 0 for rows that nobody watches."""
    ratios: Floats = np.where(watched, stretch.scores(change), 0) / aim
    return ratios


class _Stretch:
    """The scores of consecutive rows as a function of a change of their scaled values, and its derivative.

    Rows are counted from `first`, changes are `(n_rows, n_features)`. Scores at the ends are those of the stretch alone.
    """

    def __init__(self, bundle: Bundle, series: TimeSeries, aggregation: str, first: int, stop: int) -> None:
        values = series.values[first:stop]
        self.first, self.complete = first, complete_rows(values)
        # No window holds an incomplete row; a NaN in it would only spread through the sums.
        self.rows = np.where(self.complete[:, None], bundle.scaler.transform(values)[0], np.float32(0))
        self._size, self._network, self._weights = bundle.window_size, bundle.config.network, bundle.weights
        self._starts = starts_in(segments(series.times[first:stop], self.complete, bundle.longest_step), self._size, 1)
        self._means = aggregation in ("window_mean", "trailing")
        self._offsets = np.arange(self._size)[-1 if aggregation in ("trailing", "trailing_point") else 0 :]
        self._about = self._starts[:, None] + self._offsets  # (n_windows, n_offsets): rows that a window speaks about
        self._count = np.bincount(self._about.ravel(), minlength=len(values))
        self._errors = np.zeros((len(self._starts), self._size))  # mean over the features
        self._running = np.ones(len(self._starts), np.bool_)

    def hold_all_but(self, free: Bools) -> None:
        """Let only the rows `free` change from now on: windows that see none of them need not be run again."""
        self.scores(np.zeros(self.rows.shape))
        n_before = np.concatenate([[0], np.cumsum(free)])
        self._running = n_before[self._starts + self._size] > n_before[self._starts]

    def scores(self, change: Floats) -> Floats:
        """Return `(n_rows,)`, NaN where there is no score."""
        self._errors[self._running] = self._run(0, change)
        said = self._errors.mean(axis=1, keepdims=True) if self._means else self._errors[:, self._offsets]
        total = np.bincount(self._about.ravel(), np.broadcast_to(said, self._about.shape).ravel(), minlength=len(change))
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a row that no window speaks about
            scores: Floats = total / self._count
        return scores

    def slope(self, change: Floats, by_score: Floats) -> Floats:
        """Return the derivative `(n_rows, n_features)` of the sum of the scores, each times its `by_score` `(n_rows,)`."""
        said = (by_score / np.maximum(self._count, 1))[self._about[self._running]]
        by_error = np.zeros((len(said), self._size), np.float32)
        if self._means:
            by_error += said.sum(axis=1, keepdims=True) / self._size
        else:
            by_error[:, self._offsets] = said
        parts, starts = self._run(1, change, by_error), self._starts[self._running]
        total = np.zeros(change.shape)
        for offset in range(self._size):
            total[starts + offset] += parts[:, offset]
        return total

    def gradient_of(self, row: int) -> tuple[slice, Floats]:
        """Return the rows that the windows behind a row's score see, and its derivative by all rows."""
        by_score = np.zeros(len(self.rows))
        by_score[row] = 1
        starts = self._starts[(self._about == row).any(axis=1)]
        return slice(int(starts[0]), int(starts[-1]) + self._size), self.slope(np.zeros(self.rows.shape), by_score)

    def _run(self, which: int, change: Floats, *further: Float32s) -> Floats:
        """Call one of the traced functions on the running windows, in batches of the one size that it knows."""
        function = _traced(self._network, (BATCH, self._size, change.shape[1]))[which]
        rows, starts = (self.rows + change).astype(np.float32), self._starts[self._running]
        parts = []
        for at in range(0, len(starts), BATCH):
            some = slice(at, at + BATCH)
            arrays = [make_windows(rows, starts[some], self._size), *(array[some] for array in further)]
            n = len(arrays[0])
            padded = [np.concatenate([a, np.zeros((BATCH - n, *a.shape[1:]), np.float32)]) for a in arrays]
            parts.append(np.asarray(function(self._weights, *padded), np.float64)[:n])
        return np.concatenate(parts)


@lru_cache(maxsize=4)
def _traced(config: NetworkConfig, shape: tuple[int, int, int]) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Return two functions of `(weights, windows, ...)`: the errors of a batch, and their derivative by the windows.

    Each is traced here and compiled no further: a trace takes a second, and a search some hundred calls.
    """
    import tensorflow as tf

    def errors(weights: Mapping[str, Tensor], windows: Tensor) -> Tensor:
        """Return squared errors `(batch, window_size)`, the mean over the features."""
        outputs = Passes(config, weights, shape, None, tangents=False).forward(windows)
        return tf.reduce_mean(tf.square(outputs - windows), axis=2)

    def slope(weights: Mapping[str, Tensor], windows: Tensor, by_error: Tensor) -> Tensor:
        """Return the derivative of the sum of the errors, each times its `by_error` `(batch, window_size)`."""
        passes = Passes(config, weights, shape, None, tangents=False)
        d = (2 / shape[2]) * by_error[:, :, None] * (passes.forward(windows) - windows)
        return passes.backward(d) - d

    return tf.function(errors, autograph=False), tf.function(slope, autograph=False)
