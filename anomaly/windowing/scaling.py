"""Per-feature centre and scale, fitted on training rows only; and the units of errors."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anomaly.series import Bools, Float32s, Floats

# Scaled values are clipped here before they enter the network. A clipped value still scores far
# above any threshold, and float32 arithmetic stays finite.
CLIP = 1e4
# A feature whose standard deviation is so many spacings of float64 at its mean varies by rounding alone, however long it is.
_SPACINGS = 1_000
# A constant feature has changed if it differs from its value in training by this share of it.
_ROUNDING = 1e-9


class ErrorUnits(NamedTuple):
    """What errors are measured in, training sigmas squared, `(n_features,)` each, positive."""

    window: Floats  # the mean error of each feature in training
    row: Floats  # of a row's own error beside the windows' errors, see `anomaly.scoring.segment`


@dataclass(frozen=True, eq=False)
class Scaler:
    """Subtract `center` and divide by `scale`; a unit of the result is one training sigma.

    Attributes:
        center: `(n_features,)` float64.
        scale: `(n_features,)` float64, positive; for a feature that was constant in training the size of its value, so that what
            another value counts does not depend on its unit, and 1 if that is 0.
        constant: positions of these features.
    """

    center: Floats
    scale: Floats
    constant: tuple[int, ...] = ()

    @classmethod
    def fit(cls, values: Floats) -> "Scaler":
        """Take mean and standard deviation of `values` `(n, n_features)`, finite or NaN, ignoring NaN."""
        center, variance, bound = _moments(values)
        scale = np.sqrt(variance)
        # What may be rounding alone is so only in a short history: the bound grows with the rows.
        rounding = _SPACINGS * np.spacing(np.abs(center))
        for place in np.flatnonzero((variance <= bound) & np.isfinite(scale)).tolist():
            known = values[~np.isnan(values[:, place]), place]
            moved = known - known[0]  # without the offset nothing is lost to rounding
            scale[place] = moved.std()
            if scale[place] > rounding[place]:
                center[place] = known[0] + moved.mean()
        constant = scale <= rounding
        scale = np.where(constant, np.where(center == 0, 1.0, np.abs(center)), scale)
        return cls(center, scale, tuple(np.flatnonzero(constant).tolist()))

    def first(self, n: int) -> "Scaler":
        """Return that of the first features alone."""
        return Scaler(self.center[:n], self.scale[:n], tuple(place for place in self.constant if place < n))

    def changed(self, values: Floats) -> Bools:
        """Tell for each row whether a feature that was constant in training has another value, `(n,)`."""
        places = list(self.constant)
        center = self.center[places]
        changed: Bools = np.abs(values[:, places] - center) > _ROUNDING * np.abs(center)
        return np.asarray(changed.any(axis=1))

    def within(self, values: Floats) -> Floats:
        """Return values `(n, n_features)`, unscaled, those out of range as if they lay where the range ends."""
        room = CLIP * self.scale
        return np.clip(values, self.center - room, self.center + room)

    def transform(self, values: Floats) -> tuple[Float32s, Bools]:
        """Scale and clip.

        Args:
            values: `(n, n_features)`; infinite values are allowed, NaN stays NaN.

        Returns:
            The scaled values `(n, n_features)` float32 within +-`CLIP`, and for each row whether
            one of its values had to be clipped.
        """
        with np.errstate(over="ignore"):  # an overflow becomes inf, and inf is clipped
            scaled = (values - self.center) / self.scale
        clipped: Bools = np.asarray((np.abs(scaled) > CLIP).any(axis=1))
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32), clipped


def _moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return means, variances and how large these may be by rounding alone, `(n_features,)` each.

    Bit for bit those of scikit-learn's `StandardScaler`, whose import takes two to three seconds (EPYC of 2021): the corrected
    two-pass algorithm of Chan, Golub and LeVeque (The American Statistician 37, 1983), with their bound.
    """
    missing = np.isnan(values)
    total = np.nansum if missing.any() else np.sum
    n = len(values) - missing.sum(axis=0)
    mean = total(values, axis=0) / n
    moved = values - mean
    variance = (total(moved**2, axis=0) - total(moved, axis=0) ** 2 / n) / n
    eps = np.finfo(np.float64).eps
    return mean, variance, n * eps * variance + (n * mean * eps) ** 2
