"""What features should be while set points stand: what a transition allows is far more than what a settled plant does.

A set point is a feature that has few values and seldom steps from one to another: a commanded temperature, a valve, a mode. The
longer all of them have stood, the closer the others hang together. So there are relations of settled rows
(`anomaly.watches.relations`), and each row is held to the training rows that were settled for as long:

    limit(t) = the largest sum of residuals of rows settled for b rows and more,    b the largest of 8, 16, 32, ... below t

Only where the set points have values that training has seen settled for as long, some times over; and not at all where limits of
the first training rows do not hold on the last ones.
"""

from dataclasses import dataclass, replace

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.watches.movement import Runs
from anomaly.watches.relations import BEYOND, FITTED, LEAST_RESIDUAL, N_RESIDUALS, Relations, RelationWatch

# A set point stands still in so large a share of the steps, steps so often in training, and has so many values at most.
LEAST_STILL, FEWEST_STEPS, MOST_VALUES = 0.95, 16, 16
# Settled is what has stood for N_RESIDUALS rows, or for two, four ... times as many: as long as so large a share of the rows was,
# in as many stretches as there must be steps, and so often with the same values.
LEAST_SHARE, FEWEST_TIMES = 0.1, 3
N_SPANS, MOST_STATES = 8, 32
SPANS = N_RESIDUALS * 2 ** np.arange(N_SPANS)
# What a plant does by command it does closely: to a hundredth of the range, where `RIDGE` allows a tenth.
_RIDGE = 0.001
_ROWS_A_PUSH = 4_096


@dataclass(frozen=True, eq=False)
class Settled:
    """How the features hang together in training while the set points stand.

    Attributes:
        relations: of rows that were settled for the longest span; its `most` are those of the shortest.
        points: `(n_features,)`: 1 for a set point, else 0.
        states: `(MOST_STATES, n_features)`: scaled values of the set points in some combinations, 0 for other features.
        spans: `(MOST_STATES,)`: how many of `SPANS` each was seen settled for; 0: there is no such combination.
        most: `(N_SPANS, n_features)`: the largest sum of `N_RESIDUALS` absolute residuals of rows settled for a span and more; 0
            where there is no relation, and of spans that training has not seen.
    """

    relations: Relations
    points: Floats
    states: Floats
    spans: Floats
    most: Floats

    @classmethod
    def of(cls, rows: Float32s, window_size: int, since: Ints | None = None) -> "Settled | None":
        """Return those of training rows; None where there is no set point, or no relation, or one that does not hold.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.
            window_size: timesteps in a window.
            since: as for `MovementRange.of`.
        """
        whole = _fitted(rows, window_size, since)
        n_first = int(FITTED * len(rows))
        first = None if whole is None else _fitted(rows[:n_first], window_size, None if since is None else since[:n_first])
        if whole is None or first is None:
            return None
        watch, holds = SettledWatch(first, window_size), True
        for start in range(n_first, len(rows), _ROWS_A_PUSH):
            some = slice(start, start + _ROWS_A_PUSH)
            excess = watch.excess(rows[some], None if since is None else since[some])
            holds &= bool(np.nan_to_num(excess).max(initial=0.0) <= BEYOND)
        return whole if holds else None


class SettledWatch:
    """Tell which feature is not as it should be while the set points stand, in rows that arrive in pieces.

    Args:
        settled: of training.
        window_size: timesteps in a window; where rows are forgotten, so many are to be known again.
    """

    def __init__(self, settled: Settled, window_size: int) -> None:
        self._points: Ints = np.flatnonzero(settled.points)
        seen = settled.spans > 0
        self._states, self._spans = settled.states[seen][:, self._points].astype(np.float32), settled.spans[seen].astype(np.int64)
        self._related: Ints = np.flatnonzero(settled.relations.most > 0)
        most = settled.most[:, self._related]
        # Behind no span nothing is asked.
        self._most = np.concatenate([np.full((1, most.shape[1]), np.inf), np.where(most > 0, most, np.inf)])
        self._watch, self._runs = RelationWatch(settled.relations), Runs(len(self._points), window_size)

    def push(self, rows: Float32s) -> Floats:
        """Return how far each feature is off in further rows, `(n, n_features)`, as `RelationWatch.push` does; NaN = missing."""
        residuals, sums = self._watch.sums(rows)
        return self._watch.found(residuals, sums, self._limits(rows, None), rows.shape[1])

    def excess(self, rows: Float32s, since: Ints | None = None) -> Floats:
        """Return the sums of the residuals of further rows over their limits, `(n, n_features)`; 0 where nothing is asked.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.
            since: as for `MovementRange.of`; None: there is no gap.
        """
        found = np.zeros(rows.shape)
        found[:, self._related] = self._watch.sums(rows)[1] / self._limits(rows, since)
        return found

    def _limits(self, rows: Float32s, since: Ints | None) -> Floats:
        """Return what the sums of further rows may be, `(n, n_related)`; infinite where nothing is asked."""
        points = rows[:, self._points]
        states = (points[:, None] == self._states).all(axis=2)  # which of them each row is in, `(n, n_states)`
        known = (states * self._spans).max(axis=1, initial=0)
        limits: Floats = self._most[np.minimum(_spans(_stood(self._runs.push(points), since)), known)]
        return limits


def _fitted(rows: Float32s, window_size: int, since: Ints | None) -> Settled | None:
    """Return what rows say, whether or not it holds on others; arguments as for `Settled.of`."""
    points = _set_points(rows, since)
    if not points.any() or points.all():
        return None
    values = rows[:, points] + np.float32(0)  # there is one zero
    stood = _stood(Runs(values.shape[1], len(values)).push(values), since)
    begins = []
    for n_rows in SPANS + N_RESIDUALS - 1:
        if n_rows > window_size or (stood >= n_rows).mean() < LEAST_SHARE or (stood == n_rows).sum() < FEWEST_STEPS:
            break
        begins.append(stood == n_rows)
    spans = _spans(stood)
    relations = _relations(rows, spans >= len(begins)) if begins else None
    if relations is None:
        return None
    most, states = np.zeros((N_SPANS, rows.shape[1])), np.zeros((MOST_STATES, rows.shape[1]))
    states[:, points], seen = _states(values, begins)
    watch, related = RelationWatch(relations), relations.most > 0
    most[: len(begins), related] = N_RESIDUALS * LEAST_RESIDUAL
    for start in range(0, len(rows), _ROWS_A_PUSH):
        some = slice(start, start + _ROWS_A_PUSH)
        sums = watch.sums(rows[some])[1]
        for k in range(len(begins)):
            most[k, related] = np.fmax(most[k, related], np.fmax.reduce(sums[spans[some] > k], axis=0, initial=0.0))
    return Settled(replace(relations, most=most[0]), points.astype(np.float64), states, seen, most)


def _relations(rows: Float32s, settled: Bools) -> Relations | None:
    return Relations.of(np.where(settled[:, None], rows, np.float32(np.nan)), ridge=_RIDGE)


def _stood(runs: Floats, since: Ints | None) -> Floats:
    """Return for how many rows all set points have stood, `(n,)`; 0 where one is missing.

    Args:
        runs: `(n, n_points)`, of each.
        since: as for `Settled.of`.
    """
    stood: Floats = runs.min(axis=1)
    return stood if since is None else np.minimum(stood, since + 1.0)


def _spans(stood: Floats) -> Ints:
    """Return for how many of `SPANS` the set points have stood, all rows whose residuals count settled, `(n,)`."""
    return np.searchsorted(SPANS + N_RESIDUALS - 1, stood, side="right")


def _set_points(rows: Float32s, since: Ints | None) -> Bools:
    """Tell which features are set points, `(n_features,)`; arguments as for `Settled.of`."""
    steps = np.diff(rows, axis=0)
    if since is not None:
        steps[since[1:] == 0] = np.nan
    known, still = (~np.isnan(steps)).sum(axis=0), (steps == 0).sum(axis=0)
    found: Bools = (still >= LEAST_STILL * known) & (known - still >= FEWEST_STEPS)
    for place in np.flatnonzero(found):
        values = rows[:, place]
        found[place] = len(np.unique(values[~np.isnan(values)])) <= MOST_VALUES
    return found


def _states(values: Float32s, begins: list[Bools]) -> tuple[Floats, Floats]:
    """Return the combinations of values that were settled often enough, `(MOST_STATES, n_points)`, and for how many spans.

    Args:
        values: of the set points, `(n, n_points)`.
        begins: by span, which rows are the first that are settled for it, `(n,)`.
    """
    spans: dict[bytes, int] = {}
    rows: dict[bytes, Float32s] = {}
    for k, begun in enumerate(begins):
        times: dict[bytes, int] = {}
        for row in values[begun]:
            key = row.tobytes()
            times[key], rows[key] = times.get(key, 0) + 1, row
        spans |= {key: 1 + k for key, n in times.items() if n >= FEWEST_TIMES}
    kept = sorted(spans, key=lambda key: (-spans[key], key))[:MOST_STATES]
    states, seen = np.zeros((MOST_STATES, values.shape[1])), np.zeros(MOST_STATES)
    for place, key in enumerate(kept):
        states[place], seen[place] = rows[key], spans[key]
    return states, seen
