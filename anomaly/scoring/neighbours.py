"""How far each row is from the training windows: what the windows about it are told by `anomaly.scoring.references`.

A row is told the mean distance of the windows that cover it, or that of the window that ends at it.
"""

from typing import Any

import numpy as np

from anomaly.scoring import overlaps
from anomaly.scoring.references import References
from anomaly.scoring.window_sums import covering, rows_of
from anomaly.series import Bools, Float32s, Floats, Ints

# The windows that a row listens to.
HEARD = ("covering", "ending")
_STRIDES = 16


def stride_of(window_size: int) -> int:
    """Return how many rows lie between the windows whose distances their rows share: a sixteenth of a window, and odd.

    It has no common factor with the rows of a step, of which there are 1 to 4: else their means would always be of the same phase.
    The rule of the network's windows (`anomaly.windowing.windows.stride_within`) is for longer ones: short windows of a period that
    lie two or three rows apart lost more than that, .05 of VUS-PR on one series.
    """
    return max(1, window_size // _STRIDES // 2 * 2 - 1)


class Neighbours:
    """Take the rows of one segment in any pieces, hand out the distances about each, in order.

    Args:
        references: windows of training.
        max_missing: most of a feature's values in a window that may be missing, a share.
        n_features: of the rows.
        ahead: whether rows wait for all windows that cover them; else they are handed out with the window that ends at them.
        ending: whether what the window that ends at a row says is wanted; then every window is run. What those that cover it say
            comes from every k-th window alone, `stride_of`, and from the last one of the segment.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
        own: times at which the references begin, and how long a window takes, if the rows are those that they come from; a window
            is then not compared with those that share rows with it.
        phase: rows of the segment before the first one that is taken, which is its first unless a part of it is looked at.
    """

    def __init__(
        self,
        references: References,
        max_missing: float,
        n_features: int,
        *,
        ahead: bool,
        ending: bool,
        eager: bool,
        own: tuple[Ints, int] | None = None,
        phase: int = 0,
    ) -> None:
        self._phase = phase
        self._references, self._max_missing, self._ahead, self._eager = references, max_missing, ahead, eager
        self._own = own
        self._size, self._ending = references.window_size, ending
        self._stride = stride_of(references.window_size)
        self._block = overlaps.BLOCK_WINDOWS * (1 if ending else self._stride)
        self._base = self._next_start = self._n_out = 0
        self._rows = np.empty((0, n_features), np.float32)
        self._times = np.empty(0, np.int64)
        # By what is heard: sums, and how many windows spoke.
        self._totals = np.zeros((len(HEARD), 0, n_features))
        self._counts = np.zeros((len(HEARD), 0, n_features), np.int64)

    def push(self, rows: Float32s, times: Ints) -> Floats:
        """Take further rows, scaled; return of those that are final `(2, n, n_features)`, by what is heard.

        NaN where no window speaks about a feature.
        """
        n = len(rows)
        self._rows, self._times = np.concatenate([self._rows, rows]), np.concatenate([self._times, times])
        more = np.zeros((len(HEARD), n, rows.shape[1]))
        self._totals = np.concatenate([self._totals, more], axis=1)
        self._counts = np.concatenate([self._counts, more.astype(np.int64)], axis=1)
        block = self._block
        while (waiting := self._n_waiting()) >= (1 if self._eager else block):
            self._run(min(waiting, block))
        return self._emit(self._next_start if self._ahead else self._next_start + self._size - 1)

    def finish(self) -> Floats:
        """Return the rows that are still held, as `push`; no row comes after."""
        while waiting := self._n_waiting():
            self._run(min(waiting, self._block))
        last = self._next_start - 1
        if self._ahead and last >= 0 and (last + self._phase) % self._stride:
            # Its first row may be gone: without this window it was final.
            found, known = self._said(np.array([last]))
            rows = slice(last + 1 - self._base, last + self._size - self._base)
            self._totals[0][rows] += found
            self._counts[0][rows] += known
        return self._emit(self._base + len(self._rows))

    def _n_waiting(self) -> int:
        return max(self._base + len(self._rows) - self._size + 1 - self._next_start, 0)

    def _run(self, n: int) -> None:
        """Add the distances of the next windows onto their rows."""
        starts = np.arange(self._next_start, self._next_start + n)
        self._next_start += n
        if self._ending:
            found, known = self._said(starts)
            ends = slice(starts[0] - self._base + self._size - 1, starts[-1] - self._base + self._size)
            self._totals[1][ends], self._counts[1][ends] = found, known
            chosen = np.flatnonzero((starts + self._phase) % self._stride == 0)
            starts, found, known = starts[chosen], found[chosen], known[chosen]
        else:
            starts = starts[(starts + self._phase) % self._stride == 0]
            if not len(starts):
                return
            found, known = self._said(starts)
        if self._ahead and len(starts):
            self._count(int(starts[0]) - self._base, known)
            # From the last rows down, a row adds its windows up in the order of their starts.
            for stop in range(self._size, 0, -self._stride):
                first, n_rows = int(starts[0]) - self._base + max(stop - self._stride, 0), min(stop, self._stride)
                rows_of(self._totals[0], first, len(starts), self._stride, n_rows)[...] += found[:, None]

    def _count(self, start: int, known: Bools) -> None:
        """Count the windows that say something about the rows that they cover; the first of them begins at `start`."""
        n, size, stride = len(known), self._size, self._stride
        if known.all():
            covered = covering(n, size, stride)[:, None]
            self._counts[0][start : start + len(covered)] += covered
            return
        for lower in range(0, size, stride):
            rows_of(self._counts[0], start + lower, n, stride, min(stride, size - lower))[...] += known[:, None]

    def _said(self, starts: Ints) -> tuple[Floats, Bools]:
        """Return what windows say, `(n, n_features)`, 0 where that is nothing; and whether they say something."""
        first = int(starts[0])
        rows = self._rows[first - self._base : int(starts[-1]) - self._base + self._size]
        near = None
        if self._own is not None:
            times, span = self._own
            near = np.abs(self._times[starts - self._base, None] - times) < span
        found = self._references.distances_at(rows, starts - first, near)
        known = np.isfinite(found)
        if (missing := np.isnan(rows)).any():
            before = np.concatenate([np.zeros((1, rows.shape[1]), np.int64), np.cumsum(missing, axis=0)])
            n_missing = before[starts - first + self._size] - before[starts - first]
            known &= n_missing <= self._max_missing * self._size
        return np.where(known, found, 0), known

    def _emit(self, stop: int) -> Floats:
        stop = max(min(stop, self._base + len(self._rows)), self._n_out)
        out = slice(self._n_out - self._base, stop - self._base)
        with np.errstate(invalid="ignore"):  # 0 / 0
            found: Floats = self._totals[:, out] / self._counts[:, out]
        found[:, np.isnan(self._rows[out]).all(axis=1)] = np.nan
        self._n_out = stop
        n = max(min(stop, self._next_start - 1) - self._base, 0)
        self._base += n
        self._rows, self._times = self._rows[n:], self._times[n:]
        self._totals, self._counts = self._totals[:, n:], self._counts[:, n:]
        return found


class NeighboursByForm:
    """The same in each form, whose windows are of other lengths: a row is handed out when all are done with it.

    Args:
        references: windows of training, by form.
        max_missing: as for `Neighbours`.
        n_features: of the rows.
        own: as for `Neighbours`, by form.
        how: what else `Neighbours` takes, the same for all.
    """

    def __init__(
        self,
        references: tuple[References, ...],
        max_missing: float,
        n_features: int,
        own: tuple[tuple[Ints, int], ...] | None,
        **how: Any,
    ) -> None:
        given = zip(references, own or [None] * len(references), strict=True)
        self._forms = [Neighbours(of_form, max_missing, n_features, own=times, **how) for of_form, times in given]
        self._held: list[Floats] = []

    def push(self, rows: Float32s, times: Ints) -> Floats:
        """Take further rows, scaled; return of those that are final `(2, 2, n, n_features)`: by what is heard, and form."""
        return self._both([form.push(rows, times) for form in self._forms])

    def finish(self) -> Floats:
        """Return the rows that are still held, as `push`; no row comes after."""
        return self._both([form.finish() for form in self._forms])

    def _both(self, said: list[Floats]) -> Floats:
        if self._held:
            said = [np.concatenate(parts, axis=1) for parts in zip(self._held, said, strict=True)]
        n = min(part.shape[1] for part in said)
        self._held = [part[:, n:] for part in said]
        return np.stack([part[:, :n] for part in said], axis=1)
