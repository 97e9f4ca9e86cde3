"""How much a little sensor noise changes what a detector says."""

from dataclasses import dataclass, replace

import numpy as np

from anomaly.detector import Detector
from anomaly.errors import ConfigError
from anomaly.scoring import score_series
from anomaly.series import TimeSeries


@dataclass(frozen=True)
class Stability:
    """What noise did to the scores of a series, over all rows with a score and all repeats.

    Attributes:
        noise: standard deviation of the noise, training sigmas.
        flip_rate: share of the rows whose flag changed.
        score_change: median of |score with noise / score without - 1|.
        unavoidable: mean of noise squared over mean score: what the noise adds to the error of a network that takes
            no notice of it, as a share of the score. No network can have less by ignoring noise.
    """

    noise: float
    flip_rate: float
    score_change: float
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
    bundle, rng = detector.bundle_, np.random.default_rng(seed)
    threshold = bundle.thresholds[detector.aggregation_name(None)].value
    clean = score_series(detector.row_scorer(), series.times, series.values)[0]
    known = np.isfinite(clean)
    flips, changes = [], []
    for _ in range(repeats):
        noisy = replace(series, values=series.values + noise * bundle.scaler.scale * rng.normal(size=series.values.shape))
        score = score_series(detector.row_scorer(), noisy.times, noisy.values)[0]
        flips.append(np.mean((score > threshold)[known] != (clean > threshold)[known]))
        changes.append(np.abs(score[known] / np.maximum(clean[known], 1e-12) - 1))
    return Stability(
        noise=noise,
        flip_rate=float(np.mean(flips)),
        score_change=float(np.median(changes)),
        unavoidable=float(noise**2 / clean[known].mean()),
    )
