"""Affiliation precision and recall: how near found events lie to known ones, beside what chance gives.

Each known event owns the zone of points nearer to it than to any other known event. In a zone, a distance is
judged by how often a random point does worse:

    rows      0 1 2 3 4 5 6 7 8 9
    known         x x       x
    zones     [--- first --|-- second --]      the border lies halfway between the events
    found               x                      in the first zone, one row after the event

Rows are taken as stretches of time: row i is [i, i + 1), and the integrals are exact. All integrands are piecewise
linear, so that the middle of each piece, times its length, is its integral.
"""

from dataclasses import dataclass

import numpy as np

from anomaly.errors import ConfigError, DataError
from anomaly.evaluation.metrics import Ranges, check_ranges
from anomaly.series import Bools, Floats, Ints


@dataclass(frozen=True)
class Affiliation:
    """Nearness of found and known events, as shares of what random points would do worse.

    Attributes:
        precision: 0 to 1: of the found rows to their known event; NaN if nothing was found. About 0.5 for random
            points: read it beside `affiliation_of_chance`.
        recall: 0 to 1: of the known rows to the nearest found one.
    """

    precision: float
    recall: float


@dataclass(frozen=True)
class _Zones:
    """Known events and the zones they own; all arrays `(n_known,)`."""

    start: Floats
    stop: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, known: Floats, n_rows: int) -> "_Zones":
        start, stop = known[:, 0], known[:, 1]
        borders = (stop[:-1] + start[1:]) / 2
        return cls(start, stop, low=np.append(0, borders), high=np.append(borders, n_rows))

    @property
    def margin(self) -> Floats:
        """Return the distance from the event to the nearer end of its zone: so far a distance occurs on both sides."""
        return np.minimum(self.start - self.low, self.high - self.stop)

    def holding(self, points: Floats) -> Ints:
        """Return the zone of each point."""
        return np.searchsorted(self.high[:-1], points)


def affiliation(found: Ranges, known: Ranges, n_rows: int) -> Affiliation:
    """Return the affiliation precision and recall of found events.

    Precision of a zone E with the known event J: the mean over the found points x in E, at distance d > 0 from J, of

        1 - (min(d, m) + d + |J|) / |E|,    m the distance from J to the nearer end of E,

    and of 1 for the points within J. Recall of a zone: the mean over the points y of J, at distance d from what was
    found in E, of

        1 - (min(d, m) + d) / |E|,    m the distance from y to the nearer end of E,

    and 0 if nothing was found in E. Both are averaged over the zones; precision over those with a found point.

    Args:
        found: half-open row ranges, may be none; those that overlap or touch are joined.
        known: half-open row ranges, at least one; those that overlap or touch are joined.
        n_rows: rows of the series.

    Raises:
        DataError: if there is no known event, or a range is empty or not within the rows.

    Source:
        Huet, Navarro and Rossi (2022), "Local evaluation of time series anomaly detection algorithms", KDD, section
        3; equal to the authors' code (as in TSB-AD 1.5) to rounding. That code refuses ranges that touch.
    """
    found_ranges, zones = _joined(check_ranges(found, "found", n_rows)), _zones(known, n_rows)
    return Affiliation(_precision(found_ranges, zones), _recall(found_ranges, zones))


def affiliation_of_chance(found: Ranges, known: Ranges, n_rows: int, *, seed: int = 0, repeats: int = 20) -> Affiliation:
    """Return what the found events would score if they lay anywhere: the mean over random placements.

    The ranges keep their lengths and do not overlap; every such placement is as likely as another.

    Args:
        found: half-open row ranges; those that overlap or touch are joined.
        known: half-open row ranges, at least one.
        n_rows: rows of the series.
        seed: of the placements.
        repeats: number of placements, at least 1.

    Returns:
        Means of precision and recall; NaN and 0 if nothing was found.

    Raises:
        DataError: as `affiliation`.
        ConfigError: if `repeats` is less than 1.

    Source:
        The baseline is ours: Huet, Navarro and Rossi give 0.5 for single random points, which is not what long or many
        ranges get.
    """
    if repeats < 1:
        raise ConfigError(f"`repeats` must be at least 1. Received: repeats={repeats}.")
    ranges, zones = _joined(check_ranges(found, "found", n_rows)), _zones(known, n_rows)
    if not len(ranges):
        return Affiliation(float("nan"), 0.0)
    rng = np.random.default_rng(seed)
    lengths = (ranges[:, 1] - ranges[:, 0]).astype(np.int64)
    results = []
    for _ in range(repeats):
        placed = _joined(_place(lengths, n_rows, rng))
        results.append((_precision(placed, zones), _recall(placed, zones)))
    precision, recall = np.mean(results, axis=0).tolist()
    return Affiliation(precision, recall)


def _place(lengths: Ints, n_rows: int, rng: np.random.Generator) -> Ints:
    """Return ranges of these lengths, in random order, with the free rows spread at random between them."""
    n_free = n_rows - int(lengths.sum())
    lengths = rng.permutation(lengths)
    # Choosing k of n_free + k places and closing up is every way to spread the free rows, each once.
    before = np.sort(rng.choice(n_free + len(lengths), len(lengths), replace=False)) - np.arange(len(lengths))
    starts = before + np.cumsum(lengths) - lengths
    return np.stack([starts, starts + lengths], axis=1)


def _zones(known: Ranges, n_rows: int) -> _Zones:
    ranges = check_ranges(known, "known", n_rows)
    if not len(ranges):
        raise DataError("Affiliation needs at least one known event. Received: none. Check the label column.")
    return _Zones.of(_joined(ranges), n_rows)


def _joined(ranges: Ints) -> Floats:
    """Return ranges in order, those that overlap or touch as one, `(n, 2)`."""
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reach = np.maximum.accumulate(ranges[:, 1])
    opens = np.append(True, ranges[1:, 0] > reach[:-1])[: len(ranges)]
    closes = np.append(opens[1:], True)[: len(ranges)]
    return np.stack([ranges[opens, 0], reach[closes]], axis=1).astype(np.float64)


def _inside(points: Floats, ranges: Floats) -> Bools:
    """Tell which points lie within one of the ranges, which are in order."""
    inside: Bools = np.searchsorted(ranges[:, 0], points) > np.searchsorted(ranges[:, 1], points)
    return inside


def _pieces(cuts: list[Floats], ranges: Floats) -> tuple[Floats, Floats]:
    """Cut ranges at points; return the middles and lengths of the pieces, in order."""
    points = np.unique(np.concatenate([*cuts, ranges.ravel()]))
    middles, lengths = (points[1:] + points[:-1]) / 2, np.diff(points)
    kept = _inside(middles, ranges)
    return middles[kept], lengths[kept]


def _precision(found: Floats, zones: _Zones) -> float:
    if not len(found):
        return float("nan")
    margin, start, stop = zones.margin, zones.start, zones.stop
    middle, length = _pieces([start, stop, start - margin, stop + margin, zones.high], found)
    zone = zones.holding(middle)
    distance = np.maximum(np.maximum(start[zone] - middle, middle - stop[zone]), 0)
    worse = (np.minimum(distance, margin[zone]) + distance + (stop - start)[zone]) / (zones.high - zones.low)[zone]
    value = np.where(distance > 0, 1 - worse, 1)
    total, rows = np.bincount(zone, length * value), np.bincount(zone, length)
    return float(np.mean(total[rows > 0] / rows[rows > 0]))


def _recall(found: Floats, zones: _Zones) -> float:
    if not len(found):
        return 0.0
    middle, length = _pieces([zones.high], found)
    first, last, owner = middle - length / 2, middle + length / 2, zones.holding(middle)
    low, high = zones.low[owner], zones.high[owner]
    # Where the nearest found piece changes, and where the distance to it equals the distance to an end of the zone.
    cuts = [(last[:-1] + first[1:]) / 2, first, last, (zones.low + zones.high) / 2]
    cuts += [(end + edge) / 2 for end in (low, high) for edge in (first, last)]
    middle, length = _pieces(cuts, np.stack([zones.start, zones.stop], axis=1))
    zone = zones.holding(middle)
    distance = _distance_within(middle, zone, first, last, owner)
    margin, size = np.minimum(middle - zones.low[zone], zones.high[zone] - middle), (zones.high - zones.low)[zone]
    value = np.where(np.isinf(distance), 0, 1 - (np.minimum(distance, margin) + distance) / size)
    return float(np.mean(np.bincount(zone, length * value) / (zones.stop - zones.start)))


def _distance_within(points: Floats, zone: Ints, first: Floats, last: Floats, owner: Ints) -> Floats:
    """Return how far each point is from the nearest found piece of its own zone; infinite if the zone has none."""
    after = np.searchsorted(first, points)
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(first) - 1)
    to_left = np.where((after > 0) & (owner[left] == zone), np.maximum(points - last[left], 0), np.inf)
    to_right = np.where((after < len(first)) & (owner[right] == zone), first[right] - points, np.inf)
    return np.minimum(to_left, to_right)
