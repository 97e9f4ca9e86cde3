"""What a score is made of: a few terms, each brought to one scale on the training rows, and their mean.

    level       how badly the network reconstructs the row, the mean over the features (`anomaly.scoring.segment`)
    shape       how unlike those of training the windows of a period look, whatever their level and size, the mean over the features
    course      the same with their size, of windows of two periods
    change      how unlike the changes from step to step are, whatever their size, in windows of three periods
    odd_level   the one feature that is reconstructed worst, in units of its own highest training errors
    odd_shape   the one feature whose shape is the most unlike

The mean over the features of a term is (mean of sqrt(u))^2, u in units of the feature's mean in training. In the place of a
feature of which nothing is known its mean root in training counts: so the others count for what they do beside it. The two odd
ones are there where there are several features: so that one sensor of many cannot drown. They count up to a limit, so that
one that has gone for good does not hide all others for ever.

A score is never below a quarter of `odd_level` alone, which there counts up to a higher limit: one sensor that is far off is
found though all that the other terms see is quiet.

A feature counts as so far off that moves as it never did in training (`anomaly.watches.movement`: it is stuck, only jitters, or
goes to and fro), that has left its group (`anomaly.watches.relations`), also while set points stand (`anomaly.watches.settled`),
or that lies beyond all that it ever was (`anomaly.watches.extremes`). Nothing else here sees it: what stands still is easily
reconstructed, what goes to and fro is averaged away, what a group says together is one of many features, what a transition may do
is far more than what a settled plant does, and one row is one of a window.

Of each term what one training row in a hundred exceeds comes to what one in a hundred exceeds of `level`. A term that
says nothing about a row is left out of its mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly.config import AGGREGATIONS
from anomaly.scoring.bands import Bands, Weights
from anomaly.scoring.references import References
from anomaly.series import Bools, Floats
from anomaly.watches.extremes import Extremes, ExtremeWatch, Limits
from anomaly.watches.movement import MovementRange, MovementWatch
from anomaly.watches.relations import Relations, RelationWatch
from anomaly.watches.settled import Settled, SettledWatch
from anomaly.watches.watch import Watch
from anomaly.windowing.missing import mean_of_known

# How far the odd terms count, in what one training row in a hundred exceeds.
MOST_ODD = {"odd_level": 8.0, "odd_shape": 4.0}
# What `odd_level` alone is worth, and up to where it counts there.
ALONE_SHARE, MOST_ALONE = 0.25, 16.0
# Ranges of the odd terms are taken where so large a share of the training rows is below.
ODD_SHARE = 0.999


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that the terms beside `level` need.

    Attributes:
        references: windows of the training rows, by form.
        unit: `(n_forms, n_features)`, by form: the mean distance of a feature in training, positive.
        odd: `(n_aggregations, 2, n_features)`: what a feature must exceed to be odd, of `level` and `shape`, in units.
        scale: `(n_aggregations, n_terms)`: factors that bring the terms to one scale.
        usual: `(n_aggregations, 1 + n_forms, n_features)`: mean root of a feature in training, of `level` and by form; None in
            older files: there the mean over the known features is that over all.
        movement: how the features moved in training; None in older files: there none is ever stuck.
        relations: how they hang together; None where they do not, and in older files.
        extremes: how far they went; None in older files.
        settled: how they hang together while set points stand; None where there are none, and in older files.
    """

    references: tuple[References, ...]
    unit: Floats
    odd: Floats
    scale: Floats
    usual: Floats | None = None
    movement: MovementRange | None = None
    relations: Relations | None = None
    extremes: Extremes | None = None
    settled: Settled | None = None

    def usual_levels(self, aggregations: Sequence[str]) -> Floats | None:
        """Return the mean roots of `level` of some aggregations, `(n, 1, n_features)`; None if they are not known."""
        places = [AGGREGATIONS.index(name) for name in aggregations]
        return None if self.usual is None else self.usual[places, :1]

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of all terms, the odd ones among them; those of older files have no `change`."""
        return ("level", *(of_form.form for of_form in self.references), *MOST_ODD)

    def watches(self, window_size: int) -> tuple[Watch, ...]:
        """Return what is to see rows one after the other, and tells how far off values are whatever their errors."""
        movement = () if self.movement is None else (MovementWatch(self.movement, window_size),)
        relations = () if self.relations is None else (RelationWatch(self.relations),)
        settled = () if self.settled is None else (SettledWatch(self.settled, window_size),)
        return (*movement, *relations, *settled, *(() if self.extremes is None else (ExtremeWatch(self.extremes),)))

    def with_unusual(self, aggregation: str, errors: Floats, heights: Floats) -> Floats:
        """Return errors that are at least so far off as features are said to be, at most as far as counts.

        Args:
            aggregation: as for `parts`.
            errors: as for `parts`.
            heights: of the same shape, in what a feature must exceed to be odd, as `watches` tell.
        """
        least = np.minimum(heights, MOST_ALONE) * self.odd[AGGREGATIONS.index(aggregation), 0]
        with np.errstate(invalid="ignore"):
            return np.where(errors < least, least, errors)

    def slopes(
        self, aggregation: str, errors: Floats, distances: Floats, far: Bools, *, limited: bool = True
    ) -> tuple[Floats, Floats]:
        """Return the derivative of the scores by errors in units, `(n, n_features)`, and by distances, `(n_forms, n, n_features)`.

        Where the oddest feature alone is the score and at its limit, the score does not move. There that of the mean of the terms
        is returned, which leads below it, or that of the feature alone as if it had no limit.

        Args:
            aggregation: as for `parts`.
            errors: as for `parts`.
            distances: as for `parts`.
            far: rows out of range, `(n,)`, whose `level` is the mean of the errors.
            limited: which of the two.
        """
        place, several = AGGREGATIONS.index(aggregation), errors.shape[1] > 1
        units = np.stack([errors, *(distances / self.unit[:, None])])
        known = ~np.isnan(units)
        told = known.any(axis=2)
        n_terms = told.sum(axis=0) + (told[0].astype(np.int64) + told[1] if several else 0)
        share = np.where(told[0], 1 / np.maximum(n_terms, 1), 0)[:, None]  # without the network nothing is said
        by_units = np.stack([slope_of_mean(u, far & (k == 0), self._usual(place, k)) for k, u in enumerate(units)])
        by_units *= self.scale[place, : len(units), None, None]
        if several:
            for k, name in enumerate(MOST_ODD):
                by_units[k] += (
                    self.scale[place, len(units) + k]
                    * _slope_of_odd(units[k] / self.odd[place, k], MOST_ODD[name])
                    / self.odd[place, k]
                )
        by_units *= share
        if several:
            won, at_limit = self._won(place, errors, units[1:], far)
            won &= ~at_limit | (not limited)
            factor = ALONE_SHARE * self.scale[place, len(units)] / self.odd[place, 0]
            by_units[:, won] = 0
            by_units[0, won] = _slope_of_odd(errors[won] / self.odd[place, 0], MOST_ALONE if limited else np.inf) * factor
        return by_units[0], by_units[1:] / self.unit[:, None]

    def unlimited(self, aggregation: str, errors: Floats, distances: Floats, far: Bools) -> Floats:
        """Return what the score would be without a limit where the oddest feature alone is it and at its limit, `(n,)`; else NaN.

        Args:
            aggregation: as for `parts`.
            errors: as for `parts`.
            distances: as for `parts`.
            far: as for `slopes`.
        """
        place = AGGREGATIONS.index(aggregation)
        found = np.full(len(errors), np.nan)
        if errors.shape[1] > 1:
            won, at_limit = self._won(place, errors, distances / self.unit[:, None], far)
            heights = errors[won & at_limit] / self.odd[place, 0]
            found[won & at_limit] = ALONE_SHARE * self.scale[place, self.terms.index("odd_level")] * np.nanmax(heights, axis=1)
        return found

    def _won(self, place: int, errors: Floats, units: Floats, far: Bools) -> tuple[Bools, Bools]:
        """Tell in which rows the oddest feature alone is the score, and in which it is at its limit."""
        mean = self._mean(place, np.where(far[:, None], errors, parts_of(errors, self._usual(place, 0))), errors, units)
        at_limit: Bools = (errors / self.odd[place, 0] >= MOST_ALONE).any(axis=1)
        return _is_higher(self._alone(place, errors), mean), at_limit

    def n_terms(self, n_features: int) -> int:
        """Return how many terms a score has: the odd ones need several features."""
        return len(self.terms) if n_features > 1 else len(self.terms) - len(MOST_ODD)

    def parts(self, aggregation: str, level: Floats, errors: Floats, distances: Floats) -> Floats:
        """Return the parts of the features in a score, `(n, n_features)`: their mean over what is known is the score.

        Args:
            aggregation: a name of `config.AGGREGATIONS`.
            level: `(n, n_features)`, parts of `level`; NaN = unknown.
            errors: of the same shape: its errors in units.
            distances: `(n_forms, n, n_features)`, by form, not in units.
        """
        place = AGGREGATIONS.index(aggregation)
        mean = self._mean(place, level, errors, distances / self.unit[:, None])
        if level.shape[1] == 1:
            return mean
        alone = self._alone(place, errors)
        return np.where(_is_higher(alone, mean)[:, None], alone, mean)

    def bands(
        self, aggregation: str, level: Floats, errors: Floats, distances: Floats, square: Floats, slope: Floats,
        raised: Floats | None = None, room: Limits | None = None,
    ) -> Bands:  # fmt: skip
        """Return what the bands of some rows follow from.

        Args:
            aggregation: as for `parts`.
            level: as for `parts`.
            errors: as for `parts`.
            distances: as for `parts`.
            square: `(n, n_features)`, as for `Bands`.
            slope: of the same shape.
            raised: of the same shape, the errors of `with_unusual`; None: these are the same.
            room: by how much values may change, `(n, n_features)` each; None: as far as they like.
        """
        place = AGGREGATIONS.index(aggregation)
        terms = self._terms(place, level, errors, distances / self.unit[:, None])
        means = np.stack([mean_of_known(term, axis=1) for term in terms])
        others = [k for k, name in enumerate(self.terms[: len(terms)]) if name not in ("level", "odd_level")]
        beside = np.nan_to_num(means[others] * self.scale[place, others, None]).sum(axis=0)
        weights, odd = Weights(level=self.scale[place, 0]), self.scale[place, self.terms.index("odd_level")]
        if len(terms) == len(self.terms):
            weights = Weights(self.scale[place, 0], odd, MOST_ODD["odd_level"], ALONE_SHARE * odd, MOST_ALONE, self.odd[place, 0])
        weights = weights._replace(usual=self._usual(place, 0), beyond=MOST_ALONE * self.odd[place, 0])
        n_terms = (~np.isnan(means)).sum(axis=0).astype(np.float64)
        lowest, highest = room or (np.full(errors.shape, end) for end in (-np.inf, np.inf))
        return Bands(weights, errors, square, slope, beside, n_terms, errors if raised is None else raised, lowest, highest)

    def _mean(self, place: int, level: Floats, errors: Floats, units: Floats) -> Floats:
        """Return the parts of the features in the mean of the terms."""
        terms = self._terms(place, level, errors, units)
        return _mean_of_terms(terms, self.scale[place, : len(terms)])

    def _terms(self, place: int, level: Floats, errors: Floats, units: Floats) -> list[Floats]:
        """Return the parts of the features in each term, in the order of `terms`."""
        terms = [level, *(parts_of(u, self._usual(place, 1 + k)) for k, u in enumerate(units))]
        if level.shape[1] > 1:
            for k, (name, u) in enumerate(zip(MOST_ODD, (errors, units[0]), strict=True)):
                terms.append(odd_parts(u / self.odd[place, k], MOST_ODD[name]))
        return terms

    def _usual(self, place: int, term: int) -> Floats | None:
        return None if self.usual is None else self.usual[place, term]

    def _alone(self, place: int, errors: Floats) -> Floats:
        """Return the parts of the features in the least that a score is."""
        factor = ALONE_SHARE * self.scale[place, self.terms.index("odd_level")]
        parts: Floats = odd_parts(errors / self.odd[place, 0], MOST_ALONE) * factor
        return parts


def _is_higher(parts: Floats, others: Floats) -> Bools:
    """Tell in which rows some parts have a higher mean than others; nothing is no higher than anything."""
    with np.errstate(invalid="ignore"):
        higher: Bools = mean_of_known(parts, axis=1) > mean_of_known(others, axis=1)
    return higher


def slope_of_mean(units: Floats, plain: Bools, usual: Floats | None = None) -> Floats:
    """Return the derivative of (mean of sqrt(u))^2 by u, `(n, n_features)`; of the mean of u in `plain` rows; 0 where u is 0.

    Args:
        units: `(n, n_features)`, NaN = unknown.
        plain: `(n,)`.
        usual: as for `parts_of`.
    """
    roots = np.sqrt(units)
    n_known = (~np.isnan(roots)).sum(axis=1, keepdims=True)
    filled = roots if usual is None else np.where(np.isnan(roots), usual, roots)
    n = n_known if usual is None else np.where(plain[:, None], n_known, units.shape[1])
    upper = np.where(plain[:, None], roots, mean_of_known(filled, axis=1)[:, None])
    lower = n * roots
    found: Floats = np.divide(upper, lower, out=np.zeros(units.shape), where=lower > 0)
    return found


def _slope_of_odd(excess: Floats, most: float) -> Floats:
    """Return the derivative of the largest excess of each row by all of them: 1 for that one, if it is below `most`."""
    found, rows = np.zeros(excess.shape), np.flatnonzero(~np.isnan(excess).all(axis=1))
    worst = np.where(np.isnan(excess[rows]), -np.inf, excess[rows]).argmax(axis=1)
    found[rows, worst] = excess[rows, worst] < most
    return found


def parts_of(errors: Floats, usual: Floats | None = None) -> Floats:
    """Return what each feature contributes to a term; the term is the mean of it over the known features.

    Args:
        errors: `(..., n_features)`, in units of the feature's mean error in training, not negative; NaN = unknown.
        usual: the roots that count in the place of unknown ones, of a shape that fits; None: the mean of the known ones does.
    """
    roots = np.sqrt(errors)
    unknown = np.isnan(roots)
    parts: Floats = np.where(unknown, np.nan, roots * mean_of_known(roots, axis=-1)[..., None])  # NaN of one sign
    incomplete = unknown.any(axis=-1) & ~unknown.all(axis=-1)
    if usual is not None and incomplete.any():
        parts[incomplete] = _parts_beside(roots[incomplete], np.broadcast_to(usual, roots.shape)[incomplete])
    return parts


def _parts_beside(roots: Floats, usual: Floats) -> Floats:
    """Return the parts of known features, `(n, n_features)`, that have the usual roots in the place of unknown ones beside them."""
    unknown = np.isnan(roots)
    term = np.square(np.where(unknown, usual, roots).mean(axis=1, keepdims=True))
    total, n_known = np.nansum(roots, axis=1, keepdims=True), (~unknown).sum(axis=1, keepdims=True)
    shares = np.divide(roots, total, out=np.where(unknown, np.nan, 1 / n_known), where=total > 0)
    parts: Floats = shares * term * n_known
    return parts


def odd_parts(excess: Floats, most: float) -> Floats:
    """Return parts that are all with the feature that exceeds its range most, and whose mean is its excess, at most `most`.

    Args:
        excess: `(n, n_features)`; NaN = unknown.
        most: the limit.
    """
    known = ~np.isnan(excess)
    filled = np.where(known, excess, -1.0)
    rows, worst = np.arange(len(excess)), filled.argmax(axis=1)
    parts: Floats = np.where(known, 0.0, np.nan)
    heights = np.minimum(filled[rows, worst], most) * known.sum(axis=1)
    parts[rows, worst] = np.where(known.any(axis=1), heights, np.nan)
    return parts


def _mean_of_terms(terms: list[Floats], scale: Floats) -> Floats:
    """Return the mean of terms, each `(n, n_features)`, of which each is the mean of its known features."""
    if not any(np.isnan(term).any() for term in terms):  # the same to the last bit, without a look at each value
        whole = np.zeros(terms[0].shape)
        for term, factor in zip(terms, scale, strict=True):
            whole += term * (1 / len(terms)) * factor
        return whole
    known = ~np.isnan(np.stack(terms))
    n_known = known.sum(axis=2, keepdims=True)
    any_known = known.any(axis=0)
    n_terms = (n_known > 0).sum(axis=0)
    share = any_known.sum(axis=1, keepdims=True) / np.maximum(n_known, 1) / np.maximum(n_terms, 1)
    total = np.zeros(any_known.shape)
    for term, told, part, factor in zip(terms, known, share, scale, strict=True):
        total += np.where(told, term, 0) * part * factor
    # Without the network nothing is said: the other terms have no status of their own.
    return np.where(any_known & known[0].any(axis=1, keepdims=True), total, np.nan)
