"""What is set aside of a history, by form: of the training rows, and of those that were held out by the same tests.

A held-out window is compared with the windows that are kept of the training rows and with the other held-out ones: what comes for
the first time but goes on is alike, and stays. Unlike and badly reconstructed is five times what half of the windows have, of
training or of held-out ones, the larger. A change is no anomaly: where more than a quarter of the held-out rows is odd, none of
them goes, and none of a stretch that lasts to the end of the history for more than two windows. Else thresholds would be those of
what has passed.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anomaly.fitting.set_aside import BADLY, LEAST_MEDIAN, MOST_ASIDE, UNLIKE, SetAside, TrainingWindows, told, unit_of
from anomaly.network.inference import Reconstruct
from anomaly.scoring.references import FORM_BY_NAME, References
from anomaly.series import Bools, Floats, Ints

# A stretch to the end of the history that takes more windows is a change.
_LAST_WINDOWS = 2
# With the rows that share a window with an odd one at most so many, those of the farthest windows: a threshold needs others.
_MOST_ROWS = 0.5


class Taken(NamedTuple):
    """Windows of one form that lie evenly in the training rows, or in those that were held out."""

    references: References
    starts: Ints  # `(n_windows,)`, where they begin

    def without(self, gone: Bools) -> "Taken":
        """Return these without some, `(n_windows,)`."""
        return Taken(self.references.without(gone), self.starts[~gone])


def set_aside(
    trained: list[Taken], held_out: list[Taken], spans: list[int], windows: TrainingWindows, reconstruct: Reconstruct
) -> tuple[list[Taken], list[Taken], SetAside]:
    """Return windows without those that are set aside, and the rows of the windows that are (of the form that sets rows aside).

    Args:
        trained: by form the windows of the training rows.
        held_out: by form those of the held-out rows.
        spans: by form how long a window takes.
        windows: what they are taken from.
        reconstruct: the network.
    """
    kept: list[tuple[Taken, Taken]] = []
    rows = np.zeros(windows.stop, np.bool_)
    for early, late, span in zip(trained, held_out, spans, strict=True):
        size, aside = early.references.window_size, FORM_BY_NAME[early.references.form].aside
        if aside == "by_rows":
            gone, late_gone = (windows.mostly_in(rows, some.starts, size) for some in (early, late))
        else:
            gone = windows.unlike(early.references, early.starts, span, reconstruct)
            late_gone = _unlike(windows, early, gone, late, span, reconstruct)
            late_rows = windows.rows_of(late.starts[late_gone], size)
            gone = gone | (early.starts >= windows.n_rows) & windows.mostly_in(late_rows, early.starts, size)
        if aside == "rows":
            rows = windows.rows_of(early.starts[gone], size) | windows.rows_of(late.starts[late_gone], size)
        kept.append((early.without(gone), late.without(late_gone)))
    return [early for early, _ in kept], [late for _, late in kept], SetAside.of(rows, windows.clock[: windows.stop])


def _unlike(windows: TrainingWindows, early: Taken, gone: Bools, late: Taken, span: int, reconstruct: Reconstruct) -> Bools:
    """Tell which held-out windows are unlike all others, and reconstructed badly, `(n_late,)`.

    Args:
        windows: what they are taken from.
        early: windows of the training rows.
        gone: which of these are set aside.
        late: the held-out windows.
        span: how long one takes.
        reconstruct: the network.
    """
    kept, size = early.without(gone), late.references.window_size
    found = np.zeros(len(late.starts), np.bool_)
    if not (windows.all_judged and len(kept.starts) and len(late.starts)):
        return found
    own = kept.references.distances_from(kept.references, windows.near(kept.starts, kept.starts, span))
    if not np.isfinite(own).all():  # there is too little to compare with
        return found
    both = [late.references.distances_from(some.references, windows.near(late.starts, some.starts, span)) for some in (kept, late)]
    distances = np.minimum(*both)
    unit = unit_of(np.median(own, axis=0))
    far = told(distances / unit)
    limit = UNLIKE * max(float(np.median(told(own / unit))), float(np.median(far)), LEAST_MEDIAN)
    odd = found = (far > limit) & (late.starts + size <= windows.stop)
    if found.any():
        found = found & _badly(windows, kept, late, reconstruct)
    if found.any():
        but = windows.rows_of(early.starts[gone], size)
        nearest = windows.anywhere(late.references.without(~found), late.starts[found], span, but)
        far[found] = told(np.minimum(distances[found], nearest) / unit)
        found = found & (far > limit)
    found = _without_changes(windows, found, late.starts, size)
    if found.any():
        taken, odd = np.append(kept.starts, late.starts), np.append(told(own / unit) > limit, odd)
        order, some = np.argsort(taken), late.references.without(~found)
        found[found] = windows.alone(some, late.starts[found], taken[order], odd[order], span, but, unit)
    return windows.few_enough(found, far, late.starts, size, _MOST_ROWS * _n_known(windows))


def _badly(windows: TrainingWindows, kept: Taken, late: Taken, reconstruct: Reconstruct) -> Bools:
    """Tell which held-out windows are reconstructed badly, `(n_late,)`, in units that none of them has set."""
    windows, size = _in_trained_units(windows), late.references.window_size
    usual = _half(windows.errors(kept.starts, size, windows.starts, reconstruct))
    errors = windows.errors(late.starts, size, windows.held_out, reconstruct)
    with np.errstate(invalid="ignore"):  # what has no error is not badly reconstructed
        return np.asarray(errors > BADLY * max(usual, _half(errors)))


def _in_trained_units(windows: TrainingWindows) -> TrainingWindows:
    return windows if windows.trained_unit is None else replace(windows, unit=windows.trained_unit)


def _half(errors: Floats) -> float:
    """Return what half of the errors are below; infinite if none is known."""
    return float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.inf


def _without_changes(windows: TrainingWindows, found: Bools, starts: Ints, size: int) -> Bools:
    """Return what was found without a long stretch to the end; nothing if what is odd is more than `MOST_ASIDE`.

    Windows that share a row are one moment, however long they are: of a stretch of them the odd rows are those that none of the
    first and the last ones has.
    """
    rows = windows.rows_of(starts[found], size)
    end = int(starts[-1]) + size  # of the last window that was looked at
    last = end - int(np.argmin(rows[:end][::-1]))
    if end - last > _LAST_WINDOWS * size:
        found = found & (starts < last)
        rows[last:] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    odd = np.maximum(edges[1::2] - edges[::2] - 2 * (size - 1), 1).sum()
    return np.zeros_like(found) if odd > MOST_ASIDE * _n_known(windows) else found


def _n_known(windows: TrainingWindows) -> int:
    """Return how many held-out rows lie in a window."""
    return int(windows.rows_of(windows.held_out, windows.window_size)[windows.n_rows :].sum())
