"""What an event hangs on: which values its score is most sensitive to, and how much of them would have to change.

Both come from the derivative of rows' scores by the scaled values (`anomaly.explaining.score_slope`): it counts a value as what is
compared, as what the network reads, and in every window behind the score. Scoring itself needs none of this.

What is read as context is held as it is: it has no derivative here and no part in a change.

The smallest change that unflags an event is sought by Polyak's subgradient steps (target 0) on

    J = || max(0, sqrt(score_r / threshold) - 1) ||_2        over the rows r that must not be flagged

the root because a score is the square of a mean of roots of mean squares: its root, a mean of lengths, is nearly
linear. Steps alternate with shrinking; the smallest change seen is cut by bisection to the least that suffices.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.errors import DataError, shorten
from anomaly.events.event import Event
from anomaly.explaining.score_slope import Stretch, reach_of
from anomaly.scoring.scores import Scores
from anomaly.series import Bools, Floats, TimeSeries
from anomaly.windowing.scaling import CLIP

# A change must bring scores this far below the threshold: the sums here differ from the scorer's by some 1e-6.
MARGIN = 1e-4
# Steps go a little too far, so that they end below the threshold and not just above it; then the change is
# shrunk a little, and the next step starts from there: it turns towards the nearest point of the boundary.
_OVERSHOOT, _SHRINK = 1.1, 0.97
# Values lie on a grid (`anomaly.scoring.references`): a step for a smaller excess than that might move nothing.
_LEAST_EXCESS = 1e-3
_HALVINGS = 14


@dataclass(frozen=True, eq=False)
class Explanation:
    """What one event hangs on; values are scaled and clipped as for scoring, so their unit is the training sigma.

    Attributes:
        first_row: row of the series that `sensitivity[0]` and `gradient[0]` belong to.
        sensitivity: `(n_rows, n_features)`, |d peak score / d scaled value|, score per training sigma, for the rows
            that the windows behind the peak's score see. Rows outside do not matter to it.
        gradient: the same with its sign: where it is positive, a higher value makes the score higher. A score that is one
            feature's alone and has reached its limit moves no more; its gradient is that of the feature as if there were no limit.
        noise_rms: size of the smallest change found that unflags the event, training sigmas: the root of its sum of
            squares over the number of known values in the event's rows, as if all of it lay there; inf if none was
            found. An upper bound: a smaller change may exist.
        noise_largest: the largest single change in it, training sigmas; inf if none was found.
        linear_rms: first-order estimate of what the peak alone needs, over the same number of values. A score is the
            square of a mean of lengths, so its root is taken to be linear: the size of the change is
            (sqrt(peak) - sqrt(threshold)) / |d sqrt(peak)|. inf if the gradient is 0.
        changed: `(n_changed_rows, n_features)`, the change itself, to be added to the scaled values, training sigmas;
            0 where a value is missing, and everywhere if none was found.
        changed_first_row: row of the series that `changed[0]` belongs to.
        columns: names of the features.
        n_steps: steps of the search that were made.
        ended_early: whether its time was up before it was done: then a smaller change may well exist.
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
    n_steps: int = 0
    ended_early: bool = False

    def top(self, n: int = 5) -> list[tuple[int, str, float]]:
        """Return the `n` most sensitive values, from the largest down: (row of the series, feature, sensitivity)."""
        order = np.argsort(-self.sensitivity, axis=None, kind="stable")[:n]
        found = []
        for row, feature in zip(*np.unravel_index(order, self.sensitivity.shape), strict=True):
            found.append((self.first_row + int(row), self.columns[feature], float(self.sensitivity[row, feature])))
        return found


def explain(
    bundle: Bundle,
    series: TimeSeries,
    scores: Scores,
    event: Event,
    *,
    steps: int = 30,
    max_seconds: float | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Explanation:
    """Tell which values an event's peak is most sensitive to, and how much of a change would unflag the event.

    The change may touch every row that the event's scores depend on: up to `window_size - 1` rows before and, if the
    aggregation looks ahead, after it. What is wrong often lies there: a `trailing` window is charged to its last row, and
    a change of the event's rows alone can push the flag onto its neighbours. After the change no row of the event is
    flagged, nor any row nearby that is not flagged as it is. Other events may remain.

    Args:
        bundle: the detector that gave the scores, `Detector.bundle_`.
        series: the series that was scored.
        scores: its scores; their threshold and aggregation count.
        event: one of the events found in these scores.
        steps: most steps, at least 1; each runs the network forwards and backwards on the windows concerned.
        max_seconds: no further step begins after so long; None for no limit. What is found by then depends on the machine.
        on_step: called with the number of steps that were made, and the most that there can be.

    Returns:
        The explanation. `noise_rms` is inf if the search finds nothing in `steps`; another event close by, whose
        rows are not asked to change their flags but lie in the same windows, can be the reason.

    Raises:
        DataError: if the series is not as long as its scores or lacks a column, or the event is not one of theirs.

    Source:
        Polyak (1969), "Minimization of unsmooth functionals"; the steps here, as above, are 1.1 times as long. The idea that
        a finding is worth as much as the change that undoes it: Moosavi-Dezfooli et al. (2016), "DeepFool".
    """
    search = _Search(steps, None if max_seconds is None else time.monotonic() + max_seconds, on_step)
    series = _checked(bundle, series, scores, event)
    behind, ahead = reach_of(scores.aggregation, bundle.window_size)
    first, stop = max(0, event.start - behind), min(len(series), event.stop + ahead)
    both = behind + ahead  # rows scored with the changed ones, and the rows that their scores depend on
    stretch = Stretch(bundle, series, scores.aggregation, max(0, first - both), min(len(series), stop + both))
    rows = np.arange(len(stretch.rows)) + stretch.first
    own = (rows >= event.start) & (rows < event.stop)
    watched = (rows >= first - ahead) & (rows < stop + behind) & np.isfinite(scores.score[rows]) & (own | ~scores.flags[rows])
    free = (rows >= first) & (rows < stop)
    seen, gradient, unlimited = stretch.gradient_of(event.peak - stretch.first)
    stretch.hold_all_but(free)
    changed = _smallest_change(stretch, free[:, None] & stretch.known, watched, scores.threshold * (1 - MARGIN), search)
    return Explanation(
        first_row=stretch.first + seen.start,
        sensitivity=np.abs(gradient[seen]),
        gradient=gradient[seen],
        **_sizes(changed, gradient, unlimited or event.peak_score, scores.threshold, int(stretch.known[own].sum())),
        changed=(np.zeros_like(gradient) if changed is None else changed)[first - stretch.first : stop - stretch.first],
        changed_first_row=first,
        columns=bundle.judged_columns,
        n_steps=search.n_steps, ended_early=search.ended_early,
    )  # fmt: skip


def _sizes(changed: Floats | None, gradient: Floats, peak: float, threshold: float, n_values: int) -> dict[str, float]:
    """Return how large the change is that was found, and the one that the gradient foretells."""
    length, slope = 2 * (peak - np.sqrt(peak * threshold)), np.linalg.norm(gradient)
    return {
        "noise_rms": np.inf if changed is None else float(np.sqrt(np.square(changed).sum() / n_values)),
        "noise_largest": np.inf if changed is None else float(np.abs(changed).max()),
        "linear_rms": float(length / slope / np.sqrt(n_values)) if slope > 0 else np.inf,
    }


def _checked(bundle: Bundle, series: TimeSeries, scores: Scores, event: Event) -> TimeSeries:
    """Refuse what does not belong together; return the series with the columns in training order, the context last."""
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
    return series.of_columns(bundle.columns)


class _Search:
    """How far a search may go, and has gone.

    Args:
        most: steps.
        until: monotonic time after which no further one begins; None for no end.
        on_step: called with the number of steps that were made, and the most.
    """

    def __init__(self, most: int, until: float | None, on_step: Callable[[int, int], None]) -> None:
        self._most, self._until, self._on_step = most + _HALVINGS, until, on_step
        self._steps = most
        self.n_steps, self.ended_early = 0, False

    def steps(self) -> Iterator[None]:
        """Yield before each step towards the boundary."""
        yield from self._times(self._steps)

    def halvings(self) -> Iterator[None]:
        """Yield before each halving."""
        yield from self._times(_HALVINGS)

    def _times(self, n: int) -> Iterator[None]:
        for _ in range(n):
            if self._until is not None and time.monotonic() > self._until:
                self.ended_early = True
                return
            yield
            self.n_steps += 1
            self._on_step(self.n_steps, self._most)


def _smallest_change(stretch: Stretch, free: Bools, watched: Bools, aim: float, search: _Search) -> Floats | None:
    """Return the smallest change found, `(n_rows, n_features)`, that brings the scores of all watched rows to `aim`."""
    rows, best = np.nan_to_num(stretch.rows.astype(np.float64)), None
    change = np.zeros_like(rows)
    for _ in search.steps():
        ratio = _ratios(stretch, change, watched, aim)
        if (ratio <= 1).all():
            if best is None or np.linalg.norm(change) < np.linalg.norm(best):
                best = change
            change = _SHRINK * change
            continue
        root = np.sqrt(np.maximum(ratio, 1))
        excess = float(np.linalg.norm(root - 1))
        slope = stretch.slope(change, (root - 1) / (2 * excess * root * aim)) * free
        steepness = np.square(slope).sum()
        if not (steepness > 0 and np.isfinite(steepness)):
            break
        change = change - _OVERSHOOT * max(excess, _LEAST_EXCESS) / steepness * slope
        change = np.clip(rows + change, -CLIP, CLIP) - rows
    return None if best is None else _shortest(stretch, best, watched, aim, search)


def _shortest(stretch: Stretch, change: Floats, watched: Bools, aim: float, search: _Search) -> Floats:
    """Return the least multiple of a change that still does, by bisection."""
    too_little, enough = 0.0, 1.0
    for _ in search.halvings():
        middle = (too_little + enough) / 2
        if (_ratios(stretch, middle * change, watched, aim) <= 1).all():
            enough = middle
        else:
            too_little = middle
    return enough * change


def _ratios(stretch: Stretch, change: Floats, watched: Bools, aim: float) -> Floats:
    """Return score / aim, `(n_rows,)`; 0 for rows that nobody watches."""
    ratios: Floats = np.where(watched, stretch.scores(change), 0) / aim
    return ratios
