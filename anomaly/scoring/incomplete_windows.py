"""Windows with missing values: read in steps, and compared with those of training in the steps that they know.

A step is the mean of those of its rows that are known; where none is, the step is unknown. Both windows are then taken less
their mean over the known steps, and divided by their spread over these, as whole windows are over all: so what is missing
says nothing, instead of what stands in its place looking like a shape of its own.
"""

import numpy as np

from anomaly.series import Bools, Float32s, Floats, Ints


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

    Rows are added one by one: numpy's sums depend on the shape of what is summed.

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
        means: `(n_steps, n_windows, n_features)`, 0 where a step is unknown.
        known: of the same shape; None is all.
    """
    if known is None:
        return means - added(means) / len(means), None
    return np.where(known, means - added(means) / np.maximum(known.sum(axis=0), 1), 0), known


def added(values: Floats | Float32s) -> Floats:
    """Return the sum over the first axis, added up in order, in float64."""
    total: Floats = values[0].astype(np.float64)
    for other in values[1:]:
        total += other
    return total


def distances_where_known(course: Floats, known: Bools, references: Floats, floor: float, grid: int) -> Floats:
    """Return the distances of windows of one feature from all references, `(2, n_windows, n_references)`: by shape, by course.

    Args:
        course: `(n_windows, n_steps)`, whole numbers, 0 where unknown: so all sums are exact, in any order.
        known: of the same shape; at least one of each window.
        references: `(n_steps, n_references)`, whole numbers.
        floor: what is added to the variance by which `shape` divides, its root.
        grid: what 1 is in the whole numbers; distances are in ones.
    """
    told = known.astype(np.float64)
    n_known = told.sum(axis=1, keepdims=True)
    totals = told @ references
    own_total = course.sum(axis=1, keepdims=True)
    own = np.square(course).sum(axis=1, keepdims=True) - np.square(own_total) / n_known
    others = told @ np.square(references) - np.square(totals) / n_known
    both = course @ references - own_total * totals / n_known
    by_course = (own - 2 * both + others) / grid**2
    spread, spreads = (np.sqrt(squares / n_known + (floor * grid) ** 2) for squares in (own, others))
    by_shape = own / spread**2 - 2 * both / (spread * spreads) + others / spreads**2
    return np.asarray(np.maximum(np.stack([by_shape, by_course]), 0) / n_known)


def nearest_where_known(
    course: Floats, known: Bools, references: Floats, floor: float, grid: int, near: Bools | None
) -> tuple[Ints, Floats]:
    """Return which reference is the nearest, and how far it is, each `(2, n_windows)`; see `distances_where_known`.

    Args:
        course: as there; so are the next four.
        known: which steps.
        references: all of them.
        floor: of the spread.
        grid: of the numbers.
        near: `(n_windows, n_references)`: those that are not compared; None is none.
    """
    found = distances_where_known(course, known, references, floor, grid)
    if near is not None:
        found[:, near] = np.inf
    return found.argmin(axis=2), found.min(axis=2)
