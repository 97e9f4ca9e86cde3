"""Split-conformal p-values of scores, and the control of false discoveries among them.

The p-value of a new score s given n calibration scores of normal rows,

    p(s) = (1 + #{ calibration scores >= s }) / (n + 1)

satisfies P(p <= a) <= a for every a, whatever n and the distribution, if the new score is exchangeable with the
calibration scores (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; for outliers Bates,
Candes, Lei, Romano and Sesia 2023, "Testing for outliers with conformal p-values"). Two things stand against that in
a time series. Scores of overlapping windows are nearly copies of each other, so only every window-th calibration
score is taken (`spaced`): these share no window, though with the mean over covering windows some input. And tomorrow
need not be like yesterday, against which no number helps.
No p-value is smaller than 1 / (n + 1).
"""

import numpy as np

from anomaly.errors import DataError
from anomaly.series import Bools, Floats


def spaced(scores: Floats, spacing: int) -> Floats:
    """Return every `spacing`-th score, counted back from the last one, without those that are missing.

    Args:
        scores: `(n,)` in time order, NaN where there is none.
        spacing: rows from one to the next; the window size keeps windows that end there from overlapping.

    Raises:
        DataError: if none is left.
    """
    kept = scores[::-1][::spacing]
    kept = kept[np.isfinite(kept)]
    if not len(kept):  # a grid that hits missing rows only
        kept = scores[np.isfinite(scores)][::-1][::spacing]
    if not len(kept):
        raise DataError("A threshold needs at least one calibration score. Received: none.")
    return kept


def p_values(calibration: Floats, scores: Floats) -> Floats:
    """Return the split-conformal p-value of every score, in (0, 1]; NaN where there is no score.

    Args:
        calibration: scores of normal rows that the network was not trained on, `(n,)` finite, see `spaced`.
        scores: `(m,)`.
    """
    ordered = np.sort(calibration)
    at_least = len(ordered) - np.searchsorted(ordered, scores, "left")
    return np.where(np.isfinite(scores), (1 + at_least) / (len(ordered) + 1), np.nan)


def discoveries(p: Floats, rate: float, *, dependent: bool = True) -> Bools:
    """Tell which hypotheses to reject so that the expected share of false ones among them is at most `rate`.

    Args:
        p: p-values `(m,)`; NaN is not rejected.
        rate: false-discovery rate, above 0 and below 1.
        dependent: hold it under any dependence (Benjamini and Yekutieli 2001, Theorem 1.3), at the price of a factor
            of about log(m); else for independent or positively dependent p-values (Benjamini and Hochberg 1995).
            Conformal p-values share their calibration scores, which is a positive dependence (Bates et al. 2023).

    Returns:
        `(m,)` bool.
    """
    known = np.flatnonzero(np.isfinite(p))
    rejected = np.zeros(len(p), np.bool_)
    if not len(known):
        return rejected
    order = known[np.argsort(p[known], kind="stable")]
    ranks = np.arange(1, len(order) + 1)
    factor = (1 / ranks).sum() if dependent else 1.0
    within = np.flatnonzero(p[order] <= rate * ranks / (len(order) * factor))
    if len(within):
        rejected[order[: within[-1] + 1]] = True
    return rejected
