"""Calibrate a cut on held-out scores; knows nothing of the network."""

from dataclasses import dataclass

import numpy as np

from anomaly.errors import ConfigError, DataError
from anomaly.series import Floats

# A detector that reconstructs its calibration rows perfectly must still divide by its threshold.
SMALLEST_THRESHOLD = 1e-9
# Rates such as 1 - 0.8 lie a rounding error below what they mean; so many scores too few still count.
_SLACK = 1e-9


@dataclass(frozen=True)
class Threshold:
    """A cut and how it came about.

    Attributes:
        value: a row is flagged if its score is greater.
        alarm_rate: the share of normal rows that was asked for.
        n_scores: number of calibration scores.
        n_above: calibration scores above `value`.
    """

    value: float
    alarm_rate: float
    n_scores: int
    n_above: int

    @property
    def reached(self) -> bool:
        """Whether the calibration scores were enough for `alarm_rate`; if not, `value` is their maximum."""
        return self.n_above + 1 <= _most_above(self.n_scores, self.alarm_rate)

    def __str__(self) -> str:
        """Say in one line what the threshold is and where it comes from."""
        text = f"{self.value:.6g} ({self.n_above} of {self.n_scores} held-out scores lie above it; asked for {self.alarm_rate:g})"
        if self.reached:
            return text
        needed = int(np.ceil(1 / self.alarm_rate - _SLACK)) - 1
        return f"{text}; too few scores for that rate, which needs {needed}: this is the largest one"


def check_threshold(value: float) -> float:
    """Return a cut given by hand; refuse one that no score can be compared with.

    Raises:
        ConfigError: if it is not finite, or less than 1e-9.
    """
    if not SMALLEST_THRESHOLD <= value < np.inf:
        raise ConfigError(f"A threshold must be a finite number of at least {SMALLEST_THRESHOLD:g}. Received: {value}.")
    return float(value)


def calibrate(scores: Floats, alarm_rate: float) -> Threshold:
    """Choose the smallest cut that keeps the expected share of alarms within `alarm_rate`.

    The cut is the calibration score with k others above it, k the largest integer with
    (k + 1) / (n + 1) <= alarm_rate: the split-conformal quantile (Vovk, Gammerman and Shafer 2005,
    "Algorithmic learning in a random world"). If a new normal score is exchangeable with the
    calibration scores, the chance that it exceeds the cut is at most `alarm_rate`. Scores of
    overlapping windows are not exchangeable in general, so read the rate as an expectation.

    Args:
        scores: held-out scores of normal rows, `(n,)`; NaN entries are left out.
        alarm_rate: share of normal rows that may be flagged, above 0 and below 1.

    Returns:
        The threshold. With fewer than 1 / alarm_rate - 1 scores it is the largest score, and says so.

    Raises:
        DataError: if no score is left.
    """
    known = np.sort(scores[np.isfinite(scores)])[::-1]
    if not len(known):
        raise DataError("A threshold needs at least one calibration score. Received: none.")
    allowed = max(0, _most_above(len(known), alarm_rate) - 1)
    value = max(float(known[min(allowed, len(known) - 1)]), SMALLEST_THRESHOLD)
    return Threshold(value, float(alarm_rate), len(known), int((known > value).sum()))


def _most_above(n_scores: int, alarm_rate: float) -> int:
    """Return the most of `n_scores` + 1 exchangeable scores that may lie above the cut."""
    return int(np.floor(alarm_rate * (n_scores + 1) + _SLACK))
