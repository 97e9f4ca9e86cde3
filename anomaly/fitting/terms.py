"""The terms of a score, brought to one scale on the training rows and on those that were held out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from anomaly.config import AGGREGATIONS, WindowConfig
from anomaly.fitting.kept_windows import kept_windows
from anomaly.fitting.set_aside import SetAside, TrainingWindows
from anomaly.network.inference import Reconstruct
from anomaly.scoring.recipe import MOST_ODD, ODD_SHARE, Recipe
from anomaly.scoring.references import FORM_BY_NAME, FORMS, LONGEST, NO_PERIOD, SHORTEST, References
from anomaly.scoring.row_scores import RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.series import Bools, Float32s, Floats, Ints, TimeSeries, breaks_between
from anomaly.watches.extremes import Extremes
from anomaly.watches.movement import MovementRange
from anomaly.watches.relations import Relations
from anomaly.watches.settled import Settled
from anomaly.windowing.missing import fill_missing, mean_of_known
from anomaly.windowing.windows import dominant_period

# The unit of an error is at least this share of the mean over the features.
LEAST_UNIT, SMALLEST_UNIT = 0.02, 1e-9
# A distance of a hundredth of a sigma is no shape of its own; a tenth of what is usual is no range.
_LEAST_DISTANCE, _LEAST_RANGE = 1e-4, 0.1
# Units and scales are taken from so many training rows, the last ones, and those that were held out.
MOST_UNIT_ROWS = 10_000
# Terms are brought to one scale where one row of a hundred exceeds it.
_SCALE_SHARE = 0.99


def reference_sizes(scaled: Float32s, window_size: int) -> tuple[int, ...]:
    """Return by form how many rows the windows have that are compared with those of training: a few periods of 32 to 128 rows.

    A `course` takes two: of windows of one period, it said less than `level` and `shape` did without it.

    Args:
        scaled: training rows `(n_timesteps, n_features)`; NaN = missing.
        window_size: that of the network; at most so long.
    """
    period = dominant_period(fill_missing(scaled[None])[0].astype(np.float64)) or NO_PERIOD
    one = max(SHORTEST, min(period, LONGEST))
    return tuple(min(form.periods * one, window_size) for form in FORM_BY_NAME.values())


def errors_of(scorer: Callable[[], RowScorer], series: TimeSeries) -> Floats:
    """Return the errors that make up the scores of one term, `(n_aggregations, n, n_features)`; NaN where unknown.

    Args:
        scorer: makes a scorer whose scores have one term, its errors in units.
        series: the rows to score.
    """
    rows = scorer()
    found = RowScores.joined([rows.push(series.times, series.values), rows.finish()], *rows.shape)
    score = found.score[:, :, None]
    # A part is the root of the error times the mean root, whose square the score is.
    return np.divide(np.square(found.by_feature), score, out=found.by_feature.copy(), where=score > 0)


class Compared(NamedTuple):
    """What windows are compared with, by form; nothing if no term is asked for beside the network's."""

    references: tuple[References, ...] = ()
    own: tuple[tuple[Ints, int], ...] | None = None  # times at which they begin, `(n_windows,)`, and how long they take
    aside: SetAside = SetAside()

    @classmethod
    def of(cls, windows: TrainingWindows, settings: WindowConfig, step: int, reconstruct: Reconstruct) -> "Compared":
        """Choose windows of the history.

        Args:
            windows: of the history.
            settings: how many are compared, and whether some are set aside.
            step: time between two rows.
            reconstruct: the network.
        """
        if not settings.nearest_windows:
            return cls()
        sizes = reference_sizes(windows.judged[: windows.n_rows], windows.window_size)
        found, aside = kept_windows(windows, settings, sizes, step, reconstruct)
        own = tuple((windows.clock[taken], size * step) for (_, taken), size in zip(found, sizes, strict=True))
        return cls(tuple(of_form for of_form, _ in found), own, aside)


def recipe_of(
    compared: Compared,
    windows: TrainingWindows,
    longest_step: int,
    scorer: Callable[..., RowScorer],
    left_out: SetAside,
    parts: tuple[TimeSeries, TimeSeries],
) -> Recipe | None:
    """Return the terms beside the network's, None if none are asked for.

    Args:
        compared: what windows are compared with.
        windows: of the history.
        longest_step: a longer time between two rows is a gap.
        scorer: as for `fitted_recipe`.
        left_out: rows that are no example of what is normal.
        parts: training rows, and those that were held out.
    """
    if compared.own is None:
        return None
    training, held_out = parts
    recipe = fitted_recipe(compared.references, scorer, compared.own, left_out, training[-MOST_UNIT_ROWS:], held_out)
    gone = left_out.covers(windows.clock)
    normal = np.where(gone[:, None], np.nan, windows.judged)
    since = since_break(windows.clock, longest_step, gone)
    movement = MovementRange.of(normal, windows.window_size, since)
    settled = Settled.of(normal, windows.window_size, since)
    return replace(
        recipe, movement=movement, relations=Relations.of(normal, since), extremes=Extremes.of(normal, since), settled=settled
    )


def since_break(times: Ints, longest: int, gone: Bools) -> Ints:
    """Return how many rows lie between each and the last break before it, `(n,)`: a gap, a row that is left out, the first row.

    A row that is left out is one itself: what stands still beside such rows is no half of a stretch that stands still.

    Args:
        times: `(n,)`.
        longest: a longer time between two rows is a gap.
        gone: `(n,)`, which rows are left out.
    """
    places = np.arange(len(times))
    breaks = gone | np.append(True, breaks_between(times, longest) | gone[:-1])
    return np.asarray(places - np.maximum.accumulate(np.where(breaks, places, 0)))


def fitted_recipe(
    references: tuple[References, ...],
    scorer: Callable[..., RowScorer],
    own: tuple[tuple[Ints, int], ...],
    aside: SetAside,
    *parts: TimeSeries,
) -> Recipe:
    """Return the recipe whose terms have one scale on some rows.

    Args:
        references: windows of the training rows, by form.
        scorer: makes a scorer of all aggregations without a recipe.
        own: times at which the references begin, `(n_windows,)`, and how long they take, by form.
        aside: rows that set no scale.
        parts: training rows, and those that were held out; each is scored for itself.
    """
    counted = [~aside.covers(part.times) for part in parts]
    errors = [errors_of(scorer, part)[:, rows] for part, rows in zip(parts, counted, strict=True)]
    n, n_features = len(AGGREGATIONS), errors[0].shape[2]
    scale = np.zeros((n, 1 + len(FORMS) + len(MOST_ODD)))
    recipe = Recipe(references, np.ones((len(FORMS), n_features)), np.ones((n, len(MOST_ODD), n_features)), scale)
    distances = []
    for of_form, times in zip(references, own, strict=True):
        # One form alone, whose term is the second, after that of a network without an error.
        scale = np.zeros((n, 2 + len(MOST_ODD)))
        scale[:, 1] = recipe.n_terms(n_features) - len(FORMS) + 1
        alone = replace(recipe, references=(of_form,), unit=np.ones((1, n_features)), scale=scale)
        only = partial(scorer, recipe=alone, own=(times,), reconstruct=_copied, window_size=2, scoring_stride=1)
        distances.append([errors_of(only, part)[:, rows] for part, rows in zip(parts, counted, strict=True)])
    unit = np.stack([_unit(of_parts) for of_parts in distances])
    units = np.stack([np.concatenate(of_parts, axis=1) for of_parts in distances]) / unit[:, None, None]
    return scaled_recipe(replace(recipe, unit=unit), np.concatenate(errors, axis=1), units)


def scaled_recipe(recipe: Recipe, errors: Floats, distances: Floats) -> Recipe:
    """Return the recipe with the ranges of the odd terms and the factors of all.

    Args:
        recipe: the rest.
        errors: of the network, `(n_aggregations, n, n_features)`, in units; NaN = unknown.
        distances: `(n_forms, n_aggregations, n, n_features)`, by form, in units.
    """
    odd, scale = recipe.odd.copy(), recipe.scale.copy()
    # Of one feature all is known, or nothing.
    usual = np.stack([_usual(errors), *map(_usual, distances)], axis=1) if errors.shape[2] > 1 else None
    for place in range(len(AGGREGATIONS)):
        level = _height(_score(errors[place]))
        scale[place] = level
        scale[place, 0] = 1
        for k in range(len(FORMS)):
            scale[place, 1 + k] = level / _height(_score(distances[k, place]))
        for k, units in enumerate((errors[place], distances[0, place])):
            filled = np.nan_to_num(units)
            ranges = np.maximum(np.quantile(filled, ODD_SHARE, axis=0), _LEAST_RANGE)
            ranges = np.maximum(ranges, LEAST_UNIT * ranges.mean())
            odd[place, k] = ranges * _height((filled / ranges).max(axis=1))
    return replace(recipe, odd=odd, scale=scale, usual=usual)


def _usual(units: Floats) -> Floats:
    """Return the mean root of each feature, `(n_aggregations, n_features)`; 0 where nothing is known of it."""
    means = mean_of_known(np.sqrt(units), axis=1)
    return np.nan_to_num(means)


def _score(units: Floats) -> Floats:
    return np.asarray(np.square(np.sqrt(np.nan_to_num(units)).mean(axis=1)))


def _height(score: Floats) -> float:
    return max(float(np.quantile(score, _SCALE_SHARE)), _LEAST_RANGE)


def _unit(parts: list[Floats]) -> Floats:
    """Return the mean distance of each feature, `(n_features,)`: in training or in held-out rows, the larger."""
    means = np.stack([np.nan_to_num(part[0]).sum(axis=0) / np.maximum((~np.isnan(part[0])).sum(axis=0), 1) for part in parts])
    unit = means.max(axis=0)
    return np.asarray(np.maximum(unit, LEAST_UNIT * unit.mean() + _LEAST_DISTANCE))


def _copied(windows: Float32s) -> Float32s:
    """Reconstruct without an error: what is left of a score are the terms beside the network's."""
    return windows
