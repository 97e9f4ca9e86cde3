"""Bands: a value moved to their edges brings its row to the threshold, in the equations and in rows that are scored again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_scorer import MAX_MISSING, SCALER, UNITS
from test_recipe import SEEDS, level_of, made_recipe

from anomaly.config import AGGREGATIONS
from anomaly.scoring.bands import Bands, figure_names, figures_of
from anomaly.scoring.row_scores import DUPLICATE, OK, OUT_OF_RANGE, RowScores
from anomaly.scoring.scorer import RowScorer
from anomaly.watches.extremes import Limits
from anomaly.windowing.missing import mean_of_known
from anomaly.windowing.scaling import CLIP, ErrorUnits, Scaler

SIZE = 6


def unmoved(windows):
    """Reconstruct by the place in the window alone: what is expected stays where a value moves."""
    place = np.arange(windows.shape[1], dtype=np.float32)[None, :, None]
    return np.float32(0.3) * np.sin(place + np.arange(windows.shape[2], dtype=np.float32)) + 0 * windows


def scored(values, aggregation, stride=1, *, bands=True):
    n_features = values.shape[1]
    scaler = Scaler(np.resize(SCALER.center, n_features), np.resize(SCALER.scale, n_features))
    rows = RowScorer(
        unmoved, scaler=scaler, window_size=SIZE, longest_step=2, max_missing=MAX_MISSING,
        error_units=ErrorUnits(*(np.resize(unit, n_features) for unit in UNITS)), aggregations=(aggregation,),
        scoring_stride=stride, bands=bands,
    )  # fmt: skip
    parts = [rows.push(np.arange(len(values)), values), rows.finish()]
    return RowScores.joined(parts, 1, n_features), scaler


def made_values(n, n_features, seed, missing=0.0):
    rng = np.random.default_rng(seed)
    values = np.resize(SCALER.center, n_features) + np.resize(SCALER.scale, n_features) * rng.normal(0, 1.2, (n, n_features))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@pytest.mark.parametrize(("n_features", "missing", "stride"), [(1, 0, 1), (2, 0, 1), (3, 0.15, 1), (2, 0.15, 4)])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_value_at_the_edge_of_its_band_brings_its_row_to_the_threshold(aggregation, n_features, missing, stride):
    values = made_values(24, n_features, 3, missing)
    found, scaler = scored(values, aggregation, stride)
    threshold, n_told = 1.1 * float(np.nanmedian(found.score)), 0
    lower, upper = found.bands.in_units(threshold, found.measured, scaler)
    for row, feature in np.ndindex(values.shape):
        edges = lower[row, feature], upper[row, feature]
        if np.isnan(edges).any():
            continue
        n_told += 1
        inside = edges[0] <= values[row, feature] <= edges[1]
        assert inside == (found.score[0, row] <= threshold)
        room = 0.01 * (edges[1] - edges[0])
        for edge, way in zip(edges, (-1, 1), strict=True):
            for value, compare in ((edge + way * room, np.greater), (edge - way * room, np.less)):
                assert compare(moved(values, row, feature, value, aggregation, stride), threshold)
            np.testing.assert_allclose(moved(values, row, feature, edge, aggregation, stride), threshold, rtol=1e-5)
    assert n_told > 8


def moved(values, row, feature, value, aggregation, stride):
    """Return the score of a row one of whose values is another."""
    other = values.copy()
    other[row, feature] = value
    return scored(other, aggregation, stride, bands=False)[0].score[0, row]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_without_a_band_no_value_keeps_the_row_below_the_threshold(aggregation):
    values = made_values(16, 2, 5)
    found, scaler = scored(values, aggregation)
    threshold = 0.7 * float(np.nanmedian(found.score))
    lower, upper = found.bands.in_units(threshold, found.measured, scaler)
    assert (np.isnan(lower) == np.isnan(upper)).all()
    without = np.argwhere(np.isnan(lower) & np.isfinite(found.score[0])[:, None])
    assert len(without)
    for row, feature in without[:6].tolist():
        tried = scaler.center[feature] + scaler.scale[feature] * np.linspace(-2, 2, 41)
        assert min(moved(values, row, feature, value, aggregation, 1) for value in tried) > threshold


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(
    seed=SEEDS, n_features=st.integers(1, 4), missing=st.floats(0, 0.5), height=st.sampled_from([0.3, 1.0, 3.0, 20.0]),
    knows_usual=st.booleans(),
)  # fmt: skip
def test_a_band_ends_where_the_terms_come_to_the_threshold(aggregation, seed, n_features, missing, height, knows_usual):
    """With the terms beside the network's, which stay as they are: against the score itself at both ends, and beyond them."""
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed, knows_usual=knows_usual)
    recipe.scale[:, [0, recipe.terms.index("odd_level")]] += 0.1
    errors, distances = rng.exponential(3, (5, n_features)), rng.exponential(3, (3, 5, n_features))
    errors[rng.random(errors.shape) < missing] = np.nan
    distances[:, rng.random(errors.shape) < missing] = np.nan
    square = rng.uniform(0.1, 2, errors.shape)
    slope = rng.choice([-1, 1], errors.shape) * np.sqrt(rng.random(errors.shape) * errors * square)  # u is never below 0
    bands = recipe.bands(aggregation, level_of(recipe, aggregation, errors), errors, distances, square, slope)
    threshold = height * float(np.nanmedian(score_of(recipe, aggregation, errors, distances))) if np.isfinite(errors).any() else 1.0
    lower, upper = bands.limits(threshold)
    for row, feature in np.argwhere(np.isfinite(errors)).tolist():

        def at(change, row=row, feature=feature):
            other = errors.copy()
            other[row, feature] += square[row, feature] * change**2 + 2 * slope[row, feature] * change
            other[row, feature] = max(other[row, feature], 0)
            return score_of(recipe, aggregation, other, distances)[row]

        lowest = -slope[row, feature] / square[row, feature]
        if np.isnan(lower[row, feature]):
            assert at(lowest) > threshold * (1 - 1e-9)
            continue
        for edge in (lower[row, feature], upper[row, feature]):
            np.testing.assert_allclose(at(edge), threshold, rtol=1e-7)
            assert at(lowest + 1.01 * (edge - lowest)) >= threshold * (1 - 1e-9)
        assert at(lowest) <= threshold * (1 + 1e-9)


@given(seed=SEEDS, n_features=st.integers(1, 4), height=st.sampled_from([0.3, 1.0, 3.0, 100.0]))
def test_a_band_ends_where_a_value_would_be_beyond_all_of_training_if_that_flags_its_row(seed, n_features, height):
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed)
    recipe.scale[:, [0, recipe.terms.index("odd_level")]] += 0.1
    errors, distances = rng.exponential(3, (5, n_features)), rng.exponential(3, (3, 5, n_features))
    square = rng.uniform(0.1, 2, errors.shape)
    room = Limits(-rng.uniform(0, 2, errors.shape), rng.uniform(0, 2, errors.shape))
    given = errors, distances, square, np.zeros(errors.shape)
    threshold = height * float(np.median(score_of(recipe, "combined", errors, distances)))
    made = (recipe.bands("combined", level_of(recipe, "combined", errors), *given, None, which) for which in (None, room))
    wide, narrow = (bands.limits(threshold) for bands in made)
    beyond = recipe.with_unusual("combined", errors, np.full(errors.shape, np.inf))
    for row, feature in np.ndindex(errors.shape):
        other = errors.copy()
        other[row, feature] = beyond[row, feature]
        flags = score_of(recipe, "combined", other, distances)[row] > threshold
        lowest, highest = wide[0][row, feature], wide[1][row, feature]
        if flags and not np.isnan(lowest):
            lowest, highest = max(lowest, room.lowest[row, feature]), min(highest, room.highest[row, feature])
        np.testing.assert_array_equal((narrow[0][row, feature], narrow[1][row, feature]), (lowest, highest))


def score_of(recipe, aggregation, errors, distances):
    return mean_of_known(recipe.parts(aggregation, level_of(recipe, aggregation, errors), errors, distances), axis=1)


def test_in_whatever_pieces_the_rows_come_the_bands_are_the_same():
    values = made_values(40, 2, 1, 0.1)
    whole, _ = scored(values, "combined", 3)
    rows = RowScorer(
        unmoved, scaler=SCALER, window_size=SIZE, longest_step=2, max_missing=MAX_MISSING, error_units=UNITS,
        aggregations=("combined",), scoring_stride=3, bands=True, eager=True,
    )  # fmt: skip
    parts = [rows.push(np.arange(i, i + 1), values[i : i + 1]) for i in range(40)]
    found = RowScores.joined([*parts, rows.finish()], 1, 2)
    for name in ("errors", "square", "slope", "beside", "n_terms"):
        np.testing.assert_array_equal(getattr(found.bands, name), getattr(whole.bands, name))
    np.testing.assert_array_equal(found.measured, values)


def test_what_is_out_of_range_missing_or_a_duplicate_has_no_band_and_hides_none():
    values = made_values(30, 2, 4)
    values[10, 0], values[15, 1] = np.inf, np.nan
    rows = RowScorer(
        unmoved, scaler=SCALER, window_size=SIZE, longest_step=2, max_missing=MAX_MISSING, error_units=UNITS,
        aggregations=("point_mean",), bands=True, late_within=5,
    )  # fmt: skip
    first = [rows.push(np.arange(20), values[:20]), rows.push(np.array([19]), values[19:20])]
    found = RowScores.joined([*first, rows.push(np.arange(20, 30), values[20:]), rows.finish()], 1, 2)
    assert found.status[0, [10, 20]].tolist() == [OUT_OF_RANGE, DUPLICATE]
    assert (found.status[0, [15, 25]] == OK).all()
    names = figure_names(("a", "b"), ("expected", "band", "by-feature"))
    figures = figures_of(
        ("expected", "band", "by-feature"), found.measured, found.by_feature[0], found.deviation[0], found.bands, SCALER, 9.0
    )
    told = [dict(zip(names, row, strict=True)) for row in figures]
    assert np.isnan([told[10]["a_lower"], told[10]["b_upper"], *told[20].values()]).all()
    assert np.isnan([told[15]["b_expected"], told[15]["b_lower"]]).all()
    assert np.isfinite([told[10]["a_expected"], told[10]["b_expected"], told[15]["a_lower"], *told[25].values()]).all()
    assert told[25]["a_share"] + told[25]["b_share"] == pytest.approx(1)
    assert told[25]["a_lower"] <= told[25]["a_expected"] <= told[25]["a_upper"]


def test_no_end_of_a_band_lies_where_values_are_out_of_range():
    bands = Bands.of_level(np.array([[1.0]]), np.array([[1.0]]), np.array([[0.5]]))
    lower, upper = bands.in_units(1e12, np.array([[10.0]]), Scaler(np.array([3.0]), np.array([2.0])))
    assert (lower[0, 0], upper[0, 0]) == (3 - 2 * CLIP, 3 + 2 * CLIP)
