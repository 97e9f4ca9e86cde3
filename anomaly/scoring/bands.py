"""What is told of each feature in the unit of its column: what was expected, and between which values it does not flag its row.

    expected     NAME_expected: what the row's value was expected to be, the mean over the windows that speak about it
    band         NAME_lower, NAME_upper: between these the row is not flagged, all else being as it is
    by-feature   NAME_share: the part of the feature in the row's score; the shares of a row sum to 1

NaN where nothing can be said: of a value that is missing nothing is expected, a row without a score has no shares, and there is no
band where the row is flagged whatever the value is.

The band: let one value of a row change by d, in training sigmas, while all else stays: every other value, what the network
expects, and the terms beside the network's. The mean of squared differences that is the feature's error is then, in units,

    u(d) = u + square d^2 + 2 slope d

with `square` what the value weighs in it and `slope` that times its deviation (`anomaly.scoring.window_sums`). The row's score
grows with u, by the equations of `anomaly.scoring.recipe`:

    score(u) = max(mean of the terms, alone)
    n_terms * mean = level ((R + sqrt(u)) / n)^2 + odd min(max(u / range, M), most_odd) + beside
    alone          = alone min(max(u / range, M), most_alone)

R is the sum of the roots of the n - 1 other features' errors (the usual root where one is unknown), M the largest of their
u / range, `beside` the sum of the other terms. So the largest u with which the row is not flagged has a closed form, and the
band is where u(d) is not above it. There is none if the others flag the row by themselves. Nor does it go beyond what the feature
may be at all (`anomaly.watches.extremes`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anomaly.config import FIGURES
from anomaly.series import Floats
from anomaly.windowing.scaling import Scaler

_ENDINGS = {"expected": ("expected",), "band": ("lower", "upper"), "by-feature": ("share",)}
_BY_ROW = ("errors", "square", "slope", "beside", "n_terms", "raised", "lowest", "highest")


class Weights(NamedTuple):
    """How a feature's error counts in the score; see above."""

    level: float = 1.0
    odd: float = 0.0
    most_odd: float = np.inf
    alone: float = 0.0
    most_alone: float = np.inf
    ranges: Floats | None = None  # (n_features,), positive; None: no feature counts by itself
    usual: Floats | None = None  # (n_features,), roots that count in the place of unknown ones; None: these are not counted
    beyond: Floats | float = np.inf  # (n_features,), what u counts at least where a value lies beyond all of training


@dataclass(frozen=True, eq=False)
class Bands:
    """All that the bands of some rows follow from, whatever the threshold; NaN where there is none.

    Attributes:
        weights: the same for all rows.
        errors: `(n, n_features)`, u in units.
        square: of the same shape, units a squared training sigma.
        slope: of the same shape, units a training sigma.
        beside: `(n,)`, the sum of the terms that the value does not change, each in the units of the score.
        n_terms: `(n,)`, of how many terms the score is the mean.
        raised: `(n, n_features)`, what counts as u of the other features: more where one is far off whatever its error.
        lowest: of the same shape, by how much a value may change downwards at most, in training sigmas, whatever u; above 0 where
            it is too low.
        highest: the same upwards.
    """

    weights: Weights
    errors: Floats
    square: Floats
    slope: Floats
    beside: Floats
    n_terms: Floats
    raised: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of_level(cls, errors: Floats, square: Floats, slope: Floats) -> "Bands":
        """Return the bands of rows whose score is the network's term alone."""
        n = len(errors)
        everywhere = np.full(errors.shape, np.inf)
        return cls(Weights(), errors, square, slope, np.zeros(n), np.ones(n), errors, -everywhere, everywhere)

    @classmethod
    def joined(cls, parts: "list[Bands]") -> "Bands":
        """Join consecutive parts, at least one."""
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in _BY_ROW]
        return cls(parts[0].weights, *arrays)

    def of_none(self, n: int, n_features: int) -> "Bands":
        """Return `n` rows without a band that can stand beside these."""
        return self.changed(lambda array: np.full((n, n_features)[: array.ndim], np.nan))

    def changed(self, change: Callable[[Floats], Floats]) -> "Bands":
        """Return the same with each array of rows changed alike."""
        return Bands(self.weights, *(change(getattr(self, name)) for name in _BY_ROW))

    def limits(self, threshold: float) -> tuple[Floats, Floats]:
        """Return by how much each value may change downwards and upwards, `(n, n_features)` each, in training sigmas.

        Both may lie on one side: then the value is outside its band. NaN where there is no band.

        Args:
            threshold: positive; a row is flagged if its score is greater.
        """
        most = self._most(threshold)
        with np.errstate(invalid="ignore", divide="ignore"):
            room = np.square(self.slope) - self.square * (self.errors - np.square(most))
            room = np.sqrt(np.where((most >= 0) & (room >= 0), room, np.nan))
            flags = self.weights.beyond > np.square(most)  # what lies beyond all of training flags its row
            lower = np.maximum((-self.slope - room) / self.square, np.where(flags, self.lowest, -np.inf))
            upper = np.minimum((-self.slope + room) / self.square, np.where(flags, self.highest, np.inf))
            within = lower <= upper
        return np.where(within, lower, np.nan), np.where(within, upper, np.nan)

    def in_units(self, threshold: float, measured: Floats, scaler: Scaler) -> tuple[Floats, Floats]:
        """Return the lower and the upper ends of the bands, `(n, n_features)` each, in the units of the columns.

        No end is further from the centre than where values are out of range.

        Args:
            threshold: as for `limits`.
            measured: `(n, n_features)`, unscaled; NaN = missing.
            scaler: of the detector.
        """
        base = scaler.within(measured)
        lower, upper = (scaler.within(base + change * scaler.scale) for change in self.limits(threshold))
        return lower, upper

    def _most(self, threshold: float) -> Floats:
        """Return the largest root of u with which each row is not flagged, `(n, n_features)`; -inf where there is none."""
        roots, weights = np.sqrt(self.raised), self.weights
        counted = roots if weights.usual is None else np.where(np.isnan(roots), weights.usual, roots)
        n = np.maximum((~np.isnan(counted)).sum(axis=1, keepdims=True), 1)
        others = np.maximum(np.nansum(counted, axis=1, keepdims=True) - roots, 0)
        room = (self.n_terms * threshold - self.beside)[:, None]
        if weights.ranges is None:
            return _root_of(0.0, weights.level, n, others, room)
        rivals = _largest_of_others(self.raised / weights.ranges)
        # min(max(a, b), c) <= room where both a and b are, or where c is.
        below = np.minimum(
            _root_of(0.0, weights.level, n, others, room - weights.odd * rivals),
            _root_of(weights.odd / weights.ranges, weights.level, n, others, room),
        )
        mean = np.maximum(below, _root_of(0.0, weights.level, n, others, room - weights.odd * weights.most_odd))
        most = threshold / weights.alone
        if most >= weights.most_alone:
            return mean
        return np.minimum(mean, np.where(rivals > most, -np.inf, np.sqrt(most * weights.ranges)))


def figure_names(columns: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the columns of `figures_of`, those of a feature side by side.

    Args:
        columns: names of the features.
        wanted: of `FIGURES`.
    """
    endings = [ending for figure in FIGURES if figure in wanted for ending in _ENDINGS[figure]]
    return tuple(f"{name}_{ending}" for name in columns for ending in endings)


def figures_of(
    wanted: tuple[str, ...],
    measured: Floats,
    by_feature: Floats,
    deviation: Floats,
    bands: Bands | None,
    scaler: Scaler,
    threshold: float,
) -> Floats:
    """Return the figures of some rows, `(n, len(figure_names))`; NaN where there is none.

    Args:
        wanted: of `FIGURES`.
        measured: `(n, n_features)`, unscaled; NaN = missing.
        by_feature: of the same shape, as in `Scores`.
        deviation: of the same shape, as in `Scores`.
        bands: of the rows; None if no band is wanted, or there is no row.
        scaler: of the detector.
        threshold: a row is flagged if its score is greater.
    """
    found: list[Floats] = []
    if "expected" in wanted:
        found.append(expected_of(measured, deviation, scaler))
    if "band" in wanted:
        nothing = np.full(measured.shape, np.nan)
        found += (nothing, nothing) if bands is None else bands.in_units(threshold, measured, scaler)
    if "by-feature" in wanted:
        total = np.nansum(by_feature, axis=1, keepdims=True)
        found.append(np.divide(by_feature, total, out=np.full(by_feature.shape, np.nan), where=total > 0))
    n, n_features = measured.shape
    return np.stack(found, axis=2).reshape(n, n_features * len(found)) if found else np.empty((n, 0))


def expected_of(measured: Floats, deviation: Floats, scaler: Scaler) -> Floats:
    """Return what was expected, `(n, n_features)`, in the units of the columns.

    Args:
        measured: `(n, n_features)`, unscaled; one that is out of range counts as if it lay where the range ends.
        deviation: measured less expected, in training sigmas.
        scaler: of the detector.
    """
    expected: Floats = scaler.within(measured) - deviation * scaler.scale
    return expected


def _root_of(odd: Floats | float, level: float, n: Floats, others: Floats, room: Floats) -> Floats:
    """Return the largest x >= 0 with level ((others + x) / n)^2 + odd x^2 <= room; -inf where there is none."""
    share = level / np.square(n)
    excess = share * np.square(others) - room
    a, b = share + odd, share * others
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(excess > 0, -np.inf, (np.sqrt(np.square(b) - a * excess) - b) / a)
    return found


def _largest_of_others(values: Floats) -> Floats:
    """Return for each value the largest of the others in its row, of the shape of `values`; 0 where there is none."""
    filled = np.nan_to_num(values, nan=0.0)
    if values.shape[1] == 1:
        return np.zeros(values.shape)
    first = filled.argmax(axis=1)[:, None]
    largest, second = np.take_along_axis(filled, first, axis=1), np.partition(filled, -2, axis=1)[:, -2:-1]
    found: Floats = np.where(np.arange(values.shape[1]) == first, second, largest)
    return found
