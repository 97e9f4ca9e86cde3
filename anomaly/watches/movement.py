"""How much a feature moves: one that stands still, only jitters, or goes to and fro as it never did in training.

    run        how many rows in a row a feature has had one value
    movement   how far a feature has gone, up and down together, in the last steps

A feature moves unlike in training where its run is far longer than any there, or its movement far out of the range there. Of what
rests at one value, as the sun at night or a machine that is off, runs at other values are held to the longest of those.
"""

from dataclasses import dataclass

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints

# A run is flat if it is longer than so many times the longest of training, and than so many rows.
LONGER, FEWEST = 3.0, 8
# A feature rests at the value of its longest run if it has that on so large a share of the rows.
LEAST_REST = 0.1
# A feature is quiet if it moves so many times less than it did at least in training, restless if so many times more than at most,
BEYOND = 3.0
# as long as training has seen so many stretches of these steps: the least and the most of few say little;
FEWEST_STRETCHES = 16
# and in the last of so many parts of these steps too: else it has begun to move as before.
PARTS = 16
# A sum of which a larger share is unknown says nothing; else what is known stands for the rest.
MOST_UNKNOWN = 0.5


@dataclass(frozen=True, eq=False)
class MovementRange:
    """How the features moved in training.

    Attributes:
        longest_runs: `(n_features,)`: how many rows a feature had one value at most.
        least: `(n_features,)`: how far it went at least in as many steps as are looked at; 0 where it stood still so long, or
            where too little is known. None in older files: there only runs are looked at.
        most: `(n_features,)`: how far at most; 0 where too little is known.
        resting: `(n_features,)`: the scaled value of its longest run; 0 where it has none. None in older files: there runs at all
            values are alike.
        other_runs: `(n_features,)`: how many rows it had another value than that at most; as `longest_runs` where it does not
            rest, or too little is known.
    """

    longest_runs: Floats
    least: Floats | None = None
    most: Floats | None = None
    resting: Floats | None = None
    other_runs: Floats | None = None

    @classmethod
    def of(cls, rows: Float32s, window_size: int, since: Ints | None = None) -> "MovementRange":
        """Return that of training rows, `(n, n_features)`, n at least 1; NaN = missing.

        Args:
            rows: scaled.
            window_size: timesteps in a window.
            since: `(n,)`, how many rows lie between each and the last gap before it; None: there is no gap.
        """
        movement, runs = Movement(rows.shape[1], steps_of(window_size)).push(rows), Runs(rows.shape[1], len(rows)).push(rows)
        known = ~np.isnan(movement)
        if since is not None:
            known &= (since >= steps_of(window_size))[:, None]
            np.minimum(runs, since[:, None] + 1, out=runs)
        known &= known.sum(axis=0) >= FEWEST_STRETCHES * steps_of(window_size)
        least = np.where(known, movement, np.inf).min(axis=0)
        most = np.where(known, movement, 0.0).max(axis=0)
        return cls(runs.max(axis=0), np.where(known.any(axis=0), least, 0.0), most, *_resting(rows, runs))


class MovementWatch:
    """Tell which features move unlike in training, in rows that arrive in pieces.

    Args:
        usual: the range of training.
        window_size: timesteps in a window; where rows are forgotten, so many are to be known again.
    """

    def __init__(self, usual: MovementRange, window_size: int) -> None:
        n_features, n_steps = len(usual.longest_runs), steps_of(window_size)
        self._longest, self._least, self._most = usual.longest_runs, usual.least, usual.most
        self._resting, self._others = usual.resting, usual.other_runs
        self._runs = Runs(n_features, window_size)
        self._movements = [Movement(n_features, n) for n in (n_steps, -(-n_steps // PARTS))]

    def push(self, rows: Float32s) -> Floats:
        """Tell of each value of further rows whether its feature moves unlike in training; NaN = missing.

        Returns:
            `(n, n_features)`: infinite where it does, else 0.
        """
        found: Bools = self._runs.push(rows) > np.maximum(LONGER * self._longest_at(rows), FEWEST)
        if self._least is None or self._most is None:
            return np.where(found, np.inf, 0.0)
        whole, last = (movement.push(rows) for movement in self._movements)
        low, high = self._least / BEYOND, np.where(self._most > 0, self._most * BEYOND, np.inf)
        with np.errstate(invalid="ignore"):
            found |= (whole < low) & (last < low / PARTS)
            found |= (whole > high) & (last > high / PARTS)
        return np.where(found, np.inf, 0.0)

    def _longest_at(self, rows: Float32s) -> Floats:
        """Return how long each value may run, by training, `(n, n_features)` or `(n_features,)`."""
        if self._resting is None or self._others is None or (self._others == self._longest).all():
            return self._longest
        return np.where(rows == self._resting, self._longest, self._others)


def steps_of(window_size: int) -> int:
    """Return in how many steps movement is looked at: in half of a window, which is a period where there is one."""
    return max(window_size // 2, FEWEST)


class Runs:
    """Count how often each value has come in a row, in rows that arrive in pieces; a missing value is passed over.

    Args:
        n_features: of the rows.
        most: of so many rows at most: where rows are forgotten, so many are to be known again.
    """

    def __init__(self, n_features: int, most: int) -> None:
        self._most = most
        self._last: Float32s = np.full(n_features, np.nan, np.float32)  # the last known values
        self._known: Bools = np.empty((0, n_features), np.bool_)  # of the rows before, one less than `most`
        self._begins: Ints = np.zeros(n_features, np.int64)  # where their last runs begin, among these rows

    def push(self, rows: Float32s) -> Floats:
        """Return the runs up to each of further rows.

        Args:
            rows: `(n, n_features)`; NaN = missing.

        Returns:
            `(n, n_features)`, how many known values in a row were the same, this one included, in the last `most` rows; 0 where
            it is missing.
        """
        if not len(rows):
            return np.empty(rows.shape)
        values, missing = np.concatenate([self._last[None], rows]), np.isnan(rows)
        if gone := bool(missing.any()):
            values = _filled(values)
        places = np.arange(len(self._known), len(self._known) + len(rows))[:, None]
        known = np.concatenate([self._known, ~missing])
        changed = values[1:] != values[:-1]
        if gone:
            changed &= ~missing
        begins = np.maximum.accumulate(np.where(changed, places, self._begins), axis=0)
        first = np.maximum(begins, places - self._most + 1)
        run = np.asarray((places + 1.0) - first, np.float64)
        if gone or not self._known.all():
            counts = np.concatenate([np.zeros((1, known.shape[1]), np.int64), np.cumsum(known, axis=0)])
            run = np.where(missing, 0.0, counts[places[:, 0] + 1] - np.take_along_axis(counts, first, axis=0))
        forgotten = max(len(known) - self._most + 1, 0)
        self._last, self._known, self._begins = values[-1], known[forgotten:], np.maximum(begins[-1] - forgotten, 0)
        return run


class Movement:
    """Add up how far each feature goes from row to row, over the last steps, in rows that arrive in pieces.

    Args:
        n_features: of the rows.
        n_steps: how many steps are added up, at least 1.
    """

    def __init__(self, n_features: int, n_steps: int) -> None:
        self._last: Float32s = np.empty((0, n_features), np.float32)  # the row before
        self._steps = Recent(n_features, n_steps)

    def push(self, rows: Float32s) -> Floats:
        """Return the movement up to each of further rows.

        Args:
            rows: `(n, n_features)`; NaN = missing.

        Returns:
            `(n, n_features)`: the sum of the absolute differences of the last `n_steps` steps; NaN where too few are known.
        """
        if not len(rows):
            return np.empty(rows.shape)
        with np.errstate(invalid="ignore"):
            steps = np.abs(np.diff(np.concatenate([self._last, rows]).astype(np.float64), axis=0))
        begun, self._last = len(self._last), rows[-1:]
        found = self._steps.push(steps)
        return found if begun else np.concatenate([np.full((1, rows.shape[1]), np.nan), found])  # no step leads to the first row


class Recent:
    """Add up the last rows of each feature, in rows that arrive in pieces: to the last bit the same whatever the pieces.

    Args:
        n_features: of the rows.
        size: how many rows are added up, at least 1.
    """

    def __init__(self, n_features: int, size: int) -> None:
        self._size = size
        self._held: Floats = np.empty((0, n_features))

    def push(self, rows: Floats) -> Floats:
        """Return the sums up to each of further rows, `(n, n_features)`.

        Where rows are not known, NaN, the sum is that of the others in their place too; NaN where more than `MOST_UNKNOWN` of them
        are not, and where there are not yet so many.
        """
        held = np.concatenate([self._held, rows])
        self._held = held[max(len(held) - self._size + 1, 0) :]
        found = self._sums(held) if len(held) >= self._size else held[:0]
        n_early = len(rows) - len(found)
        return np.concatenate([np.full((n_early, rows.shape[1]), np.nan), found]) if n_early else found

    def _sums(self, held: Floats) -> Floats:
        if not np.isnan(held.sum()):
            return _sums(held, self._size)
        missing = np.isnan(held)
        counts = np.concatenate([np.zeros((1, held.shape[1]), np.int64), np.cumsum(~missing, axis=0)])
        n_known = counts[self._size :] - counts[: -self._size]
        enough = n_known >= (1 - MOST_UNKNOWN) * self._size
        return np.where(enough, _sums(np.where(missing, 0.0, held), self._size) * (self._size / np.maximum(n_known, 1)), np.nan)


def _resting(rows: Float32s, runs: Floats) -> tuple[Floats, Floats]:
    """Return `resting` and `other_runs` of a `MovementRange`.

    Args:
        rows: `(n, n_features)`, n at least 1; NaN = missing.
        runs: of the same shape, the runs up to each of them; 0 where it is missing.
    """
    value = rows[runs.argmax(axis=0), np.arange(rows.shape[1])]
    known, same = runs > 0, rows == value
    begins = (runs == 1) & ~same
    rests = (same.sum(axis=0) >= LEAST_REST * known.sum(axis=0)) & (begins.sum(axis=0) >= FEWEST_STRETCHES)
    others = np.where(same, 0.0, runs).max(axis=0)
    return np.nan_to_num(value).astype(np.float64), np.where(rests, others, runs.max(axis=0))


def _filled(values: Float32s) -> Float32s:
    """Return values along the first axis with the last known one in the place of those that are missing after it."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    places = np.maximum.accumulate(np.where(missing, 0, np.arange(len(values))[:, None]), axis=0)
    return np.take_along_axis(values, places, axis=0)


def _sums(values: Floats, size: int) -> Floats:
    """Return the sums of `size` neighbours along the first axis, wherever they lie added up in the same order: of halves."""
    if size == 1:
        return values
    halves = _sums(values, size // 2)
    both = halves[: len(values) - size // 2 * 2 + 1] + halves[size // 2 :]
    return both if size % 2 == 0 else both[:-1] + values[size - 1 :]
