"""Windows with missing values: read in steps, and compared with those of training in the steps that they know.

A step is the mean of those of its rows that are known; where none is, the step is unknown. Both windows are then taken less
their mean over the known steps, and divided by their spread over these, as whole windows are over all: so what is missing
says nothing, instead of what stands in its place looking like a shape of its own. The same goes for the changes from one step
to the next, of which those are known whose two steps are.
"""

import numpy as np

from anomaly.series import Bools, Float32s, Floats


def known_course(windows: Float32s, rows: int, n_steps: int) -> tuple[Floats, Bools | None]:
    """Return the means of the known rows of each step less their mean over the known steps, and which steps are known.

    Args:
        windows: `(n_windows, window_size, n_features)`; NaN = missing.
        rows: in a step; rows of a window that are left over are its first.
        n_steps: in a window.

    Returns:
        Two of shape `(n_steps, n_windows, n_features)`; 0 where a step is unknown. None if all are known.
    """
    kept = windows.swapaxes(0, 1)[-rows * n_steps :]
    return less_mean(*step_means(kept.reshape(n_steps, rows, *kept.shape[1:]).swapaxes(0, 1)))


def step_means(rows: Float32s) -> tuple[Floats, Bools | None]:
    """Return the means of the known rows of some steps, and which steps have any; 0 for those that have none, None if all have.

    Args:
        rows: `(n_rows, ...)`, of each step; NaN = missing.
    """
    missing = np.isnan(rows)
    if not missing.any():
        return added(rows) / len(rows), None
    counts = (~missing).sum(axis=0)
    return added(np.where(missing, np.float32(0), rows)) / np.maximum(counts, 1), counts > 0


def less_mean(means: Floats, known: Bools | None) -> tuple[Floats, Bools | None]:
    """Return the means of steps less their mean over the known steps of a window, and which are known; 0 where one is unknown.

    Args:
        means: `(n_steps, n_windows, n_features)`, 0 where a step is unknown; what is returned takes its memory.
        known: of the same shape; None is all.
    """
    if known is None:
        means -= added(means) / len(means)
        return means, None
    return np.where(known, means - added(means) / np.maximum(known.sum(axis=0), 1), 0), known


def added(values: Floats | Float32s) -> Floats:
    """Return the sum over the first axis in float64: its second half is added to its first, until one is left.

    numpy's own sums depend on the shape of what is summed. Added one by one, a thread would wait for its turn at each.

    Args:
        values: `(n, ...)`, n at least 1.
    """
    total: Floats = values.astype(np.float64, copy=False)
    while (n := len(total)) > 1:
        halves = total[: n // 2] + total[n // 2 : n // 2 * 2]
        # What is left over comes first, as a copy: what was given stays as it is.
        total = halves if n % 2 == 0 else np.concatenate([total[-1:], halves])
    found: Floats = total[0].copy()
    return found


def distances_where_known(
    own: Floats, known: Bools, references: Floats, grid: int, *, centred: bool, floor: float | None
) -> Floats:
    """Return the distances of windows of one feature from all references, `(n_windows, n_references)`.

    Args:
        own: `(n_windows, n_steps)`, whole numbers, 0 where unknown: so all sums are exact, in any order.
        known: of the same shape; at least one of each window.
        references: `(n_steps, n_references)`, whole numbers.
        grid: what 1 is in the whole numbers; distances are in ones.
        centred: whether both are taken less their means over the known steps.
        floor: both are divided by sqrt(mean square + floor^2); None: by nothing.
    """
    told = known.astype(np.float64)
    n_known = told.sum(axis=1, keepdims=True)
    squares, others = np.square(own).sum(axis=1, keepdims=True), told @ np.square(references)
    both = own @ references
    if centred:
        totals, own_total = told @ references, own.sum(axis=1, keepdims=True)
        squares, others = squares - np.square(own_total) / n_known, others - np.square(totals) / n_known
        both = both - own_total * totals / n_known
    if floor is None:
        found = (squares - 2 * both + others) / grid**2
    else:
        spread, spreads = (np.sqrt(sums / n_known + (floor * grid) ** 2) for sums in (squares, others))
        found = squares / spread**2 - 2 * both / (spread * spreads) + others / spreads**2
    return np.asarray(np.maximum(found, 0) / n_known)
