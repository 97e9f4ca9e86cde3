"""Rows without a gap between them: windows, their errors, and what these come to for each row.

    window_mean     u = mean over the windows that cover the row of the window's mean error
    point_mean      u = mean over the windows that cover the row of their error at that row
    combined        u = (window_mean + 0.5 point_mean) / 1.5
    trailing        u = mean error of the later half of the window that ends at the row
    trailing_point  u = error at the row of the window that ends at it

each for every feature, in units of the feature's own mean error in training (`ErrorUnits.window`). A row's own error is
noisier than the mean of windows: in `combined` it is measured in units (`ErrorUnits.row`) in which one row of a hundred
of the training series exceeds what one of a hundred exceeds as a window mean. A row's score is then

    score = (mean over the features of sqrt(u))^2

so that a feature that is never reconstructed well does not drown the others, and an average window of the training
rows has a score near 1. A feature's part is sqrt(u) times the mean of all roots: the score is the mean of the parts.
A row out of range has the mean of u itself: there a single feature of a thousand must be enough.

With a recipe this is the first term of several (`anomaly.scoring.recipe`), and the score is their mean.
"""

from collections.abc import Callable

import numpy as np

from anomaly.scoring.bands import Bands
from anomaly.scoring.neighbours import HEARD, NeighboursByForm
from anomaly.scoring.overlaps import TRAILING, Overlaps
from anomaly.scoring.recipe import Recipe, parts_of
from anomaly.scoring.row_scores import OUT_OF_RANGE, Codes, RowScores
from anomaly.series import Float32s, Floats, Ints
from anomaly.watches.extremes import ExtremeWatch, Limits
from anomaly.watches.watch import heights_of
from anomaly.windowing.scaling import ErrorUnits

# Of the views: errors and deviations `(n_views, n, n_features)`, and statuses.
_Said = tuple[Floats, Floats, Codes]
# Weight of a row's own error beside the mean error of the windows that cover it.
ROW_WEIGHT = 0.5
# What an aggregation needs to know for bands, beside the deviations.
_FOR_BANDS = {"combined": ("weight", "pull"), "window_mean": ("weight", "pull"), "trailing": ("trailing_weight",)}


def views_of(aggregation: str) -> tuple[str, ...]:
    """Return the means over windows that an aggregation is made from: for `combined` two, else itself."""
    return ("window_mean", "point_mean") if aggregation == "combined" else (aggregation,)


def combine(window: Floats, row: Floats) -> Floats:
    """Return the weighted mean of two terms; of the one that is known where the other is NaN.

    Args:
        window: `(n_rows, n_features)`.
        row: of the same shape.
    """
    both = (window + ROW_WEIGHT * row) / (1 + ROW_WEIGHT)
    return np.where(np.isnan(window), row, np.where(np.isnan(row), window, both))


class Segment:
    """Take the rows of one segment in any pieces, give their scores back a block of windows at a time, in order.

    Args:
        reconstruct: maps windows `(n, window_size, n_inputs)` float32 to the same shape.
        window_size: timesteps in a window.
        max_missing: most of a feature's values in a window that may be missing, a share.
        error_units: what errors are measured in, of the features that are judged: the first of the inputs.
        aggregations: names; the first axis of every result follows their order.
        eager: run a window as soon as its last row is there, and not when a block of them is full.
        recipe: the terms beside the network's; None for none.
        own: as for `NeighboursByForm`.
        stride: as for `Overlaps`.
        phase: as for `Overlaps`.
        bands: whether the rows have bands; then there is one aggregation.
        n_inputs: as for `Overlaps`.
    """

    def __init__(
        self,
        reconstruct: Callable[[Float32s], Float32s],
        *,
        window_size: int,
        max_missing: float,
        error_units: ErrorUnits,
        aggregations: tuple[str, ...],
        eager: bool = False,
        recipe: Recipe | None = None,
        own: tuple[tuple[Ints, int], ...] | None = None,
        stride: int = 1,
        phase: int = 0,
        bands: bool = False,
        n_inputs: int | None = None,
    ) -> None:
        self._units, self._aggregations, self._bands = error_units, aggregations, bands
        self._views = tuple(dict.fromkeys(view for name in aggregations for view in views_of(name)))
        self._views += _FOR_BANDS.get(aggregations[0], ()) if bands else ()
        deviating = frozenset(views_of(name)[0] for name in aggregations)
        self._overlaps = Overlaps(
            reconstruct, window_size, max_missing, len(error_units.window), views=self._views, deviating=deviating, eager=eager,
            stride=stride, phase=phase, n_inputs=n_inputs,
        )  # fmt: skip

        n_features, self._recipe = len(error_units.window), recipe
        self._neighbours: NeighboursByForm | None = None
        if recipe is not None:
            self._neighbours = NeighboursByForm(
                recipe.references, max_missing, n_features, own, ahead=not set(self._views) <= TRAILING,
                ending=bool(TRAILING & {*self._views}), eager=eager, phase=phase,
            )  # fmt: skip
        self._watches = () if recipe is None else recipe.watches(window_size)  # so much is known wherever a scorer goes on
        self._heights: Floats = np.empty((0, n_features))  # of the rows that are held
        extremes = None if recipe is None or not bands else recipe.extremes
        self._ends = None if extremes is None else ExtremeWatch(extremes)
        self._room: Floats = np.empty((2, 0, n_features))  # by how much their values may change, where bands are wanted
        # What one of the two has said and the other not yet.
        views = len(self._views)
        self._said: _Said = np.empty((views, 0, n_features)), np.empty((views, 0, n_features)), np.empty((views, 0), np.uint8)
        self._distances: Floats = np.empty((len(HEARD), 0 if recipe is None else len(recipe.references), 0, n_features))

    def push(self, rows: Float32s, marks: Codes, times: Ints) -> RowScores:
        """Take further rows, all that the network reads, with the status that each has if scored; return those that are final."""
        judged = rows[:, : len(self._units.window)]
        if self._watches:
            self._heights = np.concatenate([self._heights, heights_of(self._watches, judged)])
        if self._ends is not None:
            self._room = np.concatenate([self._room, np.stack(self._ends.ends(judged)) - judged], axis=1)
        return self._scores(
            self._overlaps.push(rows, marks), None if self._neighbours is None else self._neighbours.push(judged, times)
        )

    def finish(self) -> RowScores:
        """Return the rows that are still held; no row comes after."""
        return self._scores(self._overlaps.finish(), None if self._neighbours is None else self._neighbours.finish())

    def _scores(self, said: _Said, distances: Floats | None) -> RowScores:
        (errors, deviation, status), distances = self._both(said, distances)
        places = [self._views.index(views_of(name)[0]) for name in self._aggregations]
        units, status = errors[places] / self._units.window, status[places]
        for place, name in enumerate(self._aggregations):
            if name == "combined":
                units[place] = combine(units[place], errors[self._views.index("point_mean")] / self._units.row)
        expected, n = units[0], errors.shape[1]
        if self._recipe is not None and self._watches:
            heights, self._heights = self._heights[:n], self._heights[n:]
            both = zip(self._aggregations, units, strict=True)
            units = np.stack([self._recipe.with_unusual(name, of_one, heights) for name, of_one in both])
        usual = None if self._recipe is None else self._recipe.usual_levels(self._aggregations)
        parts = level = np.where((status == OUT_OF_RANGE)[:, :, None], units, parts_of(units, usual))
        if self._recipe is not None and distances is not None:
            heard = [distances[int(name in TRAILING)] for name in self._aggregations]
            given = zip(self._aggregations, level, units, heard, strict=True)
            parts = np.stack([self._recipe.parts(*of_one) for of_one in given])
        return RowScores(
            by_feature=parts,
            deviation=deviation[places],
            status=status,
            times=np.zeros(n, np.int64),
            measured=np.empty((n, parts.shape[2])),
            bands=self._bands_of(errors, deviation[places[0]], (expected, units[0]), level[0], status[0], distances)
            if self._bands
            else None,
        )

    def _bands_of(
        self, errors: Floats, deviation: Floats, both: tuple[Floats, Floats], level: Floats, status: Codes, distances: Floats | None
    ) -> Bands:
        """Return what bands follow from, of the only aggregation, whose errors are as they are, and raised; none out of range."""
        (name,), (window, row) = self._aggregations, self._units
        said = {view: errors[self._views.index(view)] for view in _FOR_BANDS.get(name, ())}
        weight = said.get("weight", said.get("trailing_weight", np.where(np.isnan(deviation), np.nan, 1.0)))
        square, slope = weight / window, said.get("pull", weight * deviation) / window
        if name == "combined":
            square, slope = combine(square, np.where(np.isnan(deviation), np.nan, 1 / row)), combine(slope, deviation / row)
        units, raised = (np.where((status == OUT_OF_RANGE)[:, None], np.nan, of_one) for of_one in both)
        if self._recipe is None or distances is None:
            return Bands.of_level(units, square, slope)
        room = None
        if self._ends is not None:
            room, self._room = Limits(*self._room[:, : len(units)]), self._room[:, len(units) :]
        return self._recipe.bands(name, level, units, distances[int(name in TRAILING)], square, slope, raised, room)

    def _both(self, said: _Said, distances: Floats | None) -> tuple[_Said, Floats | None]:
        """Return what both have said of the rows that both are done with."""
        if distances is None:
            return said, None
        errors, deviation = (np.concatenate([self._said[k], said[k]], axis=1) for k in (0, 1))
        status: Codes = np.concatenate([self._said[2], said[2]], axis=1)
        distances = np.concatenate([self._distances, distances], axis=2)
        n = min(status.shape[1], distances.shape[2])
        self._said = errors[:, n:], deviation[:, n:], status[:, n:]
        self._distances = distances[:, :, n:]
        return (errors[:, :n], deviation[:, :n], status[:, :n]), distances[:, :, :n]
