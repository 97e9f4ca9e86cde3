"""The rival that matters: the distance of each window to the nearest window of training, all of these looked at.

Three forms, as an analyst would try them: windows as they are (`raw`), less their own mean (`mean`), and that over their
deviation (`z`). Distances are summed over the features. A row gets the distance of the window around it.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

FORMS = ("raw", "mean", "z")
# Training windows that are compared, and numbers in the products of one block, at most.
MOST_WINDOWS, BLOCK = 4_096, 1 << 24


def nearest_window(values, training, window_size, form):
    """Return the mean squared difference of the window around each row from the nearest of training, `(n,)`.

    Args:
        values: scaled, no NaN, `(n, n_features)`, n >= window_size.
        training: the same of the training rows.
        window_size: rows in a window.
        form: one of `FORMS`.
    """
    known, own = _windows(training, window_size, form), _windows(values, window_size, form)
    known = known[np.linspace(0, len(known) - 1, min(len(known), MOST_WINDOWS)).astype(int)].astype(np.float32)
    squares = np.square(known).sum(axis=1)
    found, step = np.empty(len(own)), max(1, BLOCK // max(len(known), own.shape[1]))
    for first in range(0, len(own), step):
        block = own[first : first + step].astype(np.float32)
        found[first : first + step] = np.square(block).sum(axis=1) + (squares - 2 * (block @ known.T)).min(axis=1)
    around = window_size // 2, (window_size - 1) // 2
    return np.pad(np.maximum(found, 0) / own.shape[1], around, mode="edge")


def _windows(values, window_size, form):
    """Return windows in a form, `(n_windows, window_size * n_features)`, in blocks as they are asked for."""
    windows = sliding_window_view(np.asarray(values, np.float64), window_size, axis=0)  # (n, n_features, window_size)
    return _Forms(windows, form)


class _Forms:
    """Windows that take their form when they are looked at: all of them at once would fill the memory."""

    def __init__(self, windows, form):
        self._windows, self._form = windows, form
        self.shape = len(windows), windows.shape[1] * windows.shape[2]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, which):
        found = self._windows[which]
        if self._form != "raw":
            found = found - found.mean(axis=2, keepdims=True)
        if self._form == "z":
            found = found / (found.std(axis=2, keepdims=True) + 1e-2)
        return found.reshape(len(found), -1)
