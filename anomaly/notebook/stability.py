"""How much a little sensor noise changes what a detector says, and how much of that no network could avoid."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anomaly.detector.detector import Detector
from anomaly.errors import ConfigError
from anomaly.network.inference import Reconstruct
from anomaly.series import Float32s, Floats, TimeSeries

# Rows that are scored at a time: so few that no two blocks of windows are ready at once. Of several, threads would call the
# network in any order, and what it said of one could not be told from what it said of another.
_ROWS_A_PUSH = 16


@dataclass(frozen=True)
class Stability:
    """What noise did to the scores of a series, over all rows with a score and all repeats.

    The noise enters an error twice: in the values that are compared, and through the network that reads them. The
    `unavoidable` figures are of the first alone: the noisy values against the reconstruction of the values without noise.

    Attributes:
        noise: standard deviation of the noise, training sigmas.
        flip_rate: share of the rows whose flag changed.
        score_change: median of |score with noise / score without - 1|.
        unavoidable_flips: the flip rate if the network took no notice of the noise.
        unavoidable: the score change if the network took no notice of the noise. A network that reconstructs part of the
            noise can have less.
    """

    noise: float
    flip_rate: float
    score_change: float
    unavoidable_flips: float
    unavoidable: float


def measure_stability(detector: Detector, series: TimeSeries, noise: float, *, repeats: int = 5, seed: int = 0) -> Stability:
    """Add white noise to a series some times, and compare scores and flags with those of the series itself.

    Args:
        detector: a fitted detector.
        series: as for `Detector.score`.
        noise: standard deviation of the noise, training sigmas, above 0.
        repeats: how many times, at least 1.
        seed: of the noise; the same seed gives the same noise to every detector with the same columns.

    Raises:
        ConfigError: if `noise` or `repeats` is out of its range.
    """
    if not (0 < noise < np.inf and repeats >= 1):
        raise ConfigError(f"Noise must be above 0, and repeats at least 1. Received: noise={noise:g}, repeats={repeats}.")
    series, bundle, rng = detector.taken(series), detector.bundle_, np.random.default_rng(seed)
    threshold = bundle.thresholds[detector.aggregation_name(None)].value
    outputs: list[Float32s] = []  # of the network, call by call
    clean = _scores(detector, series, series.values, lambda network: _recorded(network, outputs))
    known, found = np.isfinite(clean), []
    for _ in range(repeats):
        values = series.values + noise * bundle.scaler.scale * rng.normal(size=series.values.shape)
        aware = _scores(detector, series, values, lambda network: network)
        unaware = _scores(detector, series, values, lambda network: _replayed(outputs))
        found.append([_differences(score[known], clean[known], threshold) for score in (aware, unaware)])
    (flip_rate, change), (unavoidable_flips, unavoidable) = np.mean(found, axis=0).tolist()
    return Stability(noise, flip_rate, change, unavoidable_flips, unavoidable)


def _scores(detector: Detector, series: TimeSeries, values: Floats, through: Callable[[Reconstruct], Reconstruct]) -> Floats:
    scorer = detector.row_scorer(through=through)
    places = range(0, len(series), _ROWS_A_PUSH)
    parts = [scorer.push(series.times[i : i + _ROWS_A_PUSH], values[i : i + _ROWS_A_PUSH]).score[0] for i in places]
    return np.concatenate([*parts, scorer.finish().score[0]])


def _recorded(network: Reconstruct, outputs: list[Float32s]) -> Reconstruct:
    """Return a network that keeps what it says."""

    def call(windows: Float32s) -> Float32s:
        outputs.append(network(windows))
        return outputs[-1]

    return call


def _replayed(outputs: list[Float32s]) -> Reconstruct:
    """Return what a network said of the same windows before, whatever they hold now; noise makes no window come or go."""
    left = iter(outputs)
    return lambda windows: next(left)


def _differences(score: Floats, clean: Floats, threshold: float) -> tuple[float, float]:
    """Return the share of flags that differ, and the median relative change."""
    flips = np.mean((score > threshold) != (clean > threshold))
    return float(flips), float(np.median(np.abs(score / np.maximum(clean, 1e-12) - 1)))
