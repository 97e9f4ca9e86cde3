"""A cut for a series that is only beginning: what the cuts of others like it say, and what its own few scores do.

Scores are in units of a series' own errors, so cuts of several series can be compared. Two things make the cut of a new one
uncertain, and the scores of the others show both. Series differ, and so do their cuts. And units that come from n windows are not
those of a long history: a series whose first n windows had half of its usual error has scores twice as high from then on. For each
stretch of n windows of each of the others, the logarithm of the cut that it would have needed is

    log(cut) + log(mean score of the series / mean score of the stretch)

Mean and variance of these are what is expected of a new series. Its own cut, from k windows of its own scores, is a quantile at the
height y of a Gumbel law that two L-moments of the logarithms of k maxima gave (`anomaly.thresholds.tail`). Such a one has about the
variance

    (1.11 + 0.46 y + 0.80 y^2) scale^2 / k

(the tests draw it). The two are weighted by the inverse of their variances, as for normal laws, and the cut is the upper end of
what remains possible: 19 of 20 series like the others need a lower one. It is wide where little is known, and narrows down to
the series' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.scoring.scores import SMALLEST_THRESHOLD
from anomaly.series import Floats
from anomaly.thresholds.calibration import Calibration

# Standard deviations above the mean that one of twenty exceeds.
SIGMAS = 1.645
# Two or three series that happen to agree do not show that all do.
LEAST_SPREAD = 0.2
# A mean score of less than this is no score.
_SMALLEST_MEAN = 1e-12


class BorrowedCut(NamedTuple):
    """A cut for a new series.

    Attributes:
        value: the cut.
        own_share: how much the series' own scores had to say in it, 0 to 1.
        widened: how many times it is the most likely one, at least 1.
    """

    value: float
    own_share: float
    widened: float


@dataclass(frozen=True, eq=False)
class Lent:
    """What one series with a history lends.

    Attributes:
        log_cut: logarithm of its cut.
        means: `(n_blocks,)` mean score of each stretch of a window in time order, NaN where there is none.
        scale: of the law of its maxima.
        height: of its cut in that law, not negative.
    """

    log_cut: float
    means: Floats
    scale: float
    height: float

    @classmethod
    def of(cls, calibration: Calibration, cut: float) -> "Lent":
        """Take what is needed from the scores of a series.

        Args:
            calibration: its scores.
            cut: its threshold.
        """
        size = calibration.window_size
        whole = len(calibration.scores) // size * size
        blocks = calibration.scores[len(calibration.scores) - whole :].reshape(-1, size)
        known = np.isfinite(blocks)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN
            means: Floats = np.where(known, blocks, 0).sum(axis=1) / known.sum(axis=1)
        log_cut, law = float(np.log(max(cut, SMALLEST_THRESHOLD))), calibration.law
        if law is None or not law.scale > 0:
            return cls(log_cut, means, 0.0, 0.0)
        return cls(log_cut, means, law.scale, max(0.0, (log_cut - law.location) / law.scale))

    def needed(self, n_windows: int) -> Floats:
        """Return the logarithms of the cuts that it would have needed, had its units come from stretches of so many windows."""
        means = self.means[np.isfinite(self.means)]
        if not len(means):
            return np.array([self.log_cut])
        of_stretches = sliding_window_view(means, min(n_windows, len(means))).mean(axis=-1)
        ratios = max(float(means.mean()), _SMALLEST_MEAN) / np.maximum(of_stretches, _SMALLEST_MEAN)
        return np.asarray(self.log_cut + np.log(ratios))


@dataclass(frozen=True, eq=False)
class Lenders:
    """The series with a history that lend a new one their cuts.

    Attributes:
        series: at least one.
    """

    series: Sequence[Lent]

    def cut(self, n_windows: int, own: tuple[float, int] | None = None, own_scale: float = 0.0) -> BorrowedCut:
        """Return the cut of a new series.

        Args:
            n_windows: its units come from so many windows.
            own: the cut that its own scores ask for, and from how many windows these are; None if they have no say.
            own_scale: of the law of their maxima.
        """
        needed = [lent.needed(n_windows) for lent in self.series]
        mean, n = float(np.mean([found.mean() for found in needed])), len(needed)
        between = float(np.var([found.mean() for found in needed], ddof=1)) if n > 1 else 0.0
        within = float(np.mean([found.var() for found in needed]))
        spread = max(between, LEAST_SPREAD**2) * (1 + 1 / n) + within
        share = 0.0
        if own is not None:
            value, k = own
            variance = self._variance(k, own_scale)
            share = spread / (spread + variance)
            mean = (1 - share) * mean + share * float(np.log(max(value, SMALLEST_THRESHOLD)))
            spread *= 1 - share
        widened = float(np.exp(SIGMAS * np.sqrt(spread)))
        return BorrowedCut(max(float(np.exp(mean)) * widened, SMALLEST_THRESHOLD), share, widened)

    def _variance(self, k: int, own_scale: float) -> float:
        """Return the variance of the logarithm of a cut from the maxima of `k` windows, which may agree by chance."""
        scale = max(own_scale, float(np.median([lent.scale for lent in self.series])), LEAST_SPREAD)
        height = float(np.median([lent.height for lent in self.series]))
        return quantile_variance(height) * scale**2 / max(k, 1)


def quantile_variance(height: float) -> float:
    """Return the variance of a quantile of a fitted Gumbel law, in scales squared over the number of maxima.

    Args:
        height: of the quantile, -log(-log(probability)), not negative.
    """
    return 1.11 + 0.46 * height + 0.80 * height**2
