"""The tail of the scores: the law of their maxima, peaks over threshold, and its streaming form.

Maxima of blocks of scores follow an extreme value law (Fisher and Tippett 1928; Gnedenko 1943). Scores are squared
errors, whose spread goes with their size, so the law is fitted to their logarithms: with a Gumbel law there, that is
a Frechet law of the scores,

    P(block maximum <= s) = exp(-exp(-(log(s) - location) / scale))

Location and scale come from the first two L-moments (Hosking 1990, "L-moments", table 2: scale = l2 / log 2,
location = l1 - 0.5772 scale), which a few maxima suffice for. That the shape is fixed is our choice: free, it would
need hundreds. Of five maxima the scale is still uncertain by two fifths, and a cut beyond all of them by a multiple of that.
So it is drawn towards the usual one, as if eight more maxima had told that: what many places have in common says more about
a short record than the record itself (Hosking and Wallis 1997, "Regional frequency analysis", chapter 1). The usual scale is
the median of 77 public series (scripts/benchmarks/README.md).

Above a high level u the excesses of almost any distribution follow a generalised Pareto law (Pickands 1975; Balkema
and de Haan 1974). With scale sigma and shape xi fitted to the N_u excesses among n scores, the score exceeded with
probability q is

    z_q = u + sigma / xi * ((q * n / N_u) ** -xi - 1),   and  u - sigma * log(q * n / N_u)  for xi = 0

(Coles 2001, "An introduction to statistical modeling of extreme values", eq. 4.13; Siffer, Fouque, Termier and
Largouet 2017, "Anomaly detection in streams with extreme value theory", eq. 1 and algorithm SPOT).
We depart from them in one thing: a fitted shape below 0 means that no score can ever exceed a bound, which a few
hundred scores do not show; the exponential tail, xi = 0, is then fitted instead.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anomaly.extras import lacking
from anomaly.series import Floats

LEVEL = 0.98
# With fewer excesses the level is lowered; with fewer than the second number no tail is fitted.
_WANTED, FEWEST_EXCESSES = 50, 10
_LOWEST_LEVEL = 0.8
_EULER = 0.5772156649015329
# A maximum is expected above the cut in at most this part of the blocks; more alarms than that would run together.
_MOST_BLOCKS = 0.6
_SMALLEST_SCORE = 1e-12
# The scale that is usual, and how many maxima that counts.
_USUAL_SCALE, _USUAL_WEIGHT = 0.2, 8


@dataclass(frozen=True)
class MaximaLaw:
    """The law of the highest score among `block` consecutive rows.

    Attributes:
        location: of the logarithm of the maximum.
        scale: of the logarithm of the maximum, not negative.
        block: rows in a block.
        n_blocks: blocks it was fitted to.
    """

    location: float
    scale: float
    block: int
    n_blocks: int

    def steadied(self) -> "MaximaLaw":
        """Return the law with its scale drawn towards the usual one, the less the more blocks there are; the mean stays.

        Scores that do not vary stay as they are.
        """
        if self.scale == 0:
            return self
        weight = self.n_blocks / (self.n_blocks + _USUAL_WEIGHT)
        scale = weight * self.scale + (1 - weight) * _USUAL_SCALE
        return replace(self, location=self.location + _EULER * (self.scale - scale), scale=scale)

    def cut(self, rate: float) -> float:
        """Return the cut that one block maximum in 1 / `rate` rows exceeds; `rate` is above 0."""
        share = min(rate * self.block, _MOST_BLOCKS)
        return float(np.exp(self.location - self.scale * np.log(-np.log1p(-share))))

    def rate(self, cut: Any) -> Any:
        """Return how many block maxima a row exceed a cut, or each of an array of cuts."""
        if self.scale == 0:
            return np.where(np.log(cut) < self.location, 1.0, 0.0) / self.block
        height = (np.log(np.maximum(cut, _SMALLEST_SCORE)) - self.location) / self.scale
        return -np.expm1(-np.exp(-np.maximum(height, -50.0))) / self.block


def fit_maxima(scores: Floats, block: int) -> MaximaLaw | None:
    """Fit the law of block maxima.

    Args:
        scores: `(n,)` in time order, NaN where there is none.
        block: rows in a block; blocks are counted back from the last row, and one without a score is left out.

    Returns:
        The law, or None if fewer than two blocks hold a score.
    """
    whole = len(scores) // block * block
    blocks = np.where(np.isfinite(scores), scores, -np.inf)[len(scores) - whole :].reshape(-1, block)
    maxima = blocks.max(axis=1)
    heights = np.sort(np.log(np.maximum(maxima[np.isfinite(maxima)], _SMALLEST_SCORE)))
    n = len(heights)
    if n < 2:
        return None
    first = heights.mean()
    second = 2 * (np.arange(n) * heights).sum() / (n * (n - 1)) - first
    scale = max(0.0, float(second) / np.log(2))
    return MaximaLaw(float(first) - _EULER * scale, scale, block, n)


@dataclass(frozen=True)
class Tail:
    """A generalised Pareto tail.

    Attributes:
        level: u, where the tail begins.
        scale: sigma, positive.
        shape: xi, at least 0.
        share: part of the scores above the level.
    """

    level: float
    scale: float
    shape: float
    share: float

    def exceeded_with(self, probability: float) -> float:
        """Return the score that a normal one exceeds with `probability` (0 to 1); the level, if that is more likely."""
        ratio = probability / self.share
        if ratio >= 1:
            return self.level
        if self.shape < 1e-6:  # where the general form loses its digits
            return self.level - self.scale * float(np.log(ratio))
        return self.level + self.scale / self.shape * (float(ratio**-self.shape) - 1)


def fit_tail(scores: Floats, level: float = LEVEL) -> Tail | None:
    """Fit a tail to scores.

    Args:
        scores: `(n,)` finite.
        level: quantile at which the tail begins, 0 to 1; lowered, down to 0.8, until there are 50 excesses.

    Returns:
        The tail, or None if there are fewer than 10 excesses, or if they are all the same.
    """
    if not len(scores):
        return None
    level = max(_LOWEST_LEVEL, min(level, 1 - _WANTED / len(scores)))
    begin = float(np.quantile(scores, level))
    excesses = scores[scores > begin] - begin
    if len(excesses) < FEWEST_EXCESSES or np.ptp(excesses) <= 1e-12 * excesses.max():
        return None
    return _tail_of(begin, excesses, len(excesses) / len(scores))


def _tail_of(level: float, excesses: Floats, share: float) -> Tail:
    """Fit by maximum likelihood, in units of the mean excess, where the optimiser is at home."""
    try:
        from scipy.stats import genpareto
    except ModuleNotFoundError as error:
        raise lacking("The threshold method pot", "pot") from error

    mean = float(excesses.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # trial parameters outside the support
        shape, _, scale = genpareto.fit(excesses / mean, floc=0)
    if not (np.isfinite(shape) and np.isfinite(scale) and scale > 0) or shape <= 0:
        return Tail(level, mean, 0.0, share)  # the exponential tail's likelihood is highest at the mean
    return Tail(level, float(scale) * mean, float(shape), share)


class Spot:
    """A cut that moves with a stream: flags what is extreme, learns from what is high but not extreme.

    Unlike every other threshold here it depends on the rows that came before, by design; it never looks ahead.

    Args:
        scores: calibration scores of normal rows, `(n,)` finite.
        probability: probability with which a normal score may be flagged, above 0 and below 1 - level.
        level: as for `fit_tail`.

    Attributes:
        cut: scores above it are flagged.
        tail: the tail behind it; None as for `fit_tail`: the cut is then the highest score seen, and moves with nothing.
    """

    def __init__(self, scores: Floats, probability: float, level: float = LEVEL) -> None:
        self._probability = probability
        self._n = len(scores)
        self.tail = fit_tail(scores, level)
        self._excesses = [] if self.tail is None else (scores[scores > self.tail.level] - self.tail.level).tolist()
        self.cut = float(scores.max()) if self.tail is None else self.tail.exceeded_with(probability)

    def step(self, score: float) -> bool:
        """Take the next score; tell whether it is flagged. NaN is not flagged and teaches nothing."""
        if np.isnan(score):
            return False
        if score > self.cut:
            return True
        self._n += 1
        if self.tail is not None and score > self.tail.level:
            self._excesses.append(score - self.tail.level)
            self.tail = _tail_of(self.tail.level, np.array(self._excesses), len(self._excesses) / self._n)
            self.cut = self.tail.exceeded_with(self._probability)
        return False
