"""The terms of a score against their definition, and one odd feature among many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import AGGREGATIONS
from anomaly.scoring.recipe import ALONE_SHARE, MOST_ALONE, MOST_ODD, Recipe, odd_parts, parts_of
from anomaly.scoring.references import FORMS, OLDER_FORMS, References
from anomaly.windowing.missing import mean_of_known

SEEDS = st.integers(0, 10_000)
each_age = pytest.mark.parametrize("forms", [FORMS, OLDER_FORMS], ids=["now", "older"])


def made_recipe(n_features, seed=0, forms=FORMS, *, knows_usual=False):
    rng = np.random.default_rng(seed)
    references = tuple(References(form, 2, np.zeros((1, 2, n_features), np.float32)) for form in forms)
    n, units = len(AGGREGATIONS), rng.uniform(0.5, 2, (len(forms), n_features))
    found = Recipe(references, units, rng.uniform(1, 3, (n, 2, n_features)), rng.uniform(0, 2, (n, 3 + len(forms))))
    return replace(found, usual=rng.uniform(0, 1, (n, 1 + len(forms), n_features))) if knows_usual else found


def level_of(recipe, aggregation, errors):
    """Return the parts of `level` of rows within range."""
    usual = recipe.usual_levels([aggregation])
    return parts_of(errors, None if usual is None else usual[0])


def score_by_loops(recipe, place, errors, distances):
    """Return the score of one row; `errors` `(n_features,)`, `distances` `(n_forms, n_features)`, NaN = unknown."""
    if np.isnan(errors).all():
        return np.nan
    units = [errors, *(distances / recipe.unit)]
    terms = []
    for k, u in enumerate(units):
        usual = [None] * len(u) if recipe.usual is None else recipe.usual[place, k]
        roots = [x**0.5 if x == x else root for x, root in zip(u, usual, strict=True)]
        terms.append(None if np.isnan(u).all() else np.mean([root for root in roots if root is not None]) ** 2)
    if len(errors) > 1:
        for k, (name, u) in enumerate(zip(MOST_ODD, units[:2], strict=True)):
            excess = [x / most for x, most in zip(u, recipe.odd[place, k], strict=True) if x == x]
            terms.append(min(max(excess), MOST_ODD[name]) if excess else None)
    told = [factor * term for factor, term in zip(recipe.scale[place], terms, strict=False) if term is not None]
    mean = sum(told) / len(told)
    if len(errors) == 1:
        return mean
    alone = max(x / most for x, most in zip(errors, recipe.odd[place, 0], strict=True) if x == x)
    return max(mean, ALONE_SHARE * recipe.scale[place, 1 + len(distances)] * min(alone, MOST_ALONE))


@each_age
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=SEEDS, n_features=st.integers(1, 4), missing=st.floats(0, 0.6), knows_usual=st.booleans())
def test_a_score_is_the_mean_of_its_terms_or_that_of_the_oddest_feature_alone(
    aggregation, forms, seed, n_features, missing, knows_usual
):
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed, forms, knows_usual=knows_usual)
    errors, distances = rng.exponential(3, (6, n_features)), rng.exponential(3, (len(forms), 6, n_features))
    errors[rng.random(errors.shape) < missing] = np.nan
    distances[:, rng.random(errors.shape) < missing] = np.nan
    found = mean_of_known(recipe.parts(aggregation, level_of(recipe, aggregation, errors), errors, distances), axis=1)
    place = AGGREGATIONS.index(aggregation)
    expected = [score_by_loops(recipe, place, errors[row], distances[:, row]) for row in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@each_age
@pytest.mark.parametrize("n_features", [2, 19, 300])
def test_one_odd_feature_counts_the_same_among_few_and_many(n_features, forms):
    recipe = made_recipe(n_features, forms=forms)
    recipe = Recipe(recipe.references, np.ones_like(recipe.unit), np.ones_like(recipe.odd), np.ones_like(recipe.scale))
    errors, distances = np.ones((1, n_features)), np.ones((len(forms), 1, n_features))
    quiet = mean_of_known(recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances), axis=1)[0]
    errors[0, 1] = 100.0
    parts = recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances)
    assert mean_of_known(parts, axis=1)[0] - quiet >= (MOST_ODD["odd_level"] - 1) / len(recipe.terms)
    assert parts[0].argmax() == 1 and parts[0, 1] > 0.5 * parts[0].sum()


def test_an_odd_feature_counts_up_to_its_limit():
    excess = np.array([[1.0, 2.0, np.nan], [1.0, 1e9, 0.0], [np.nan, np.nan, np.nan]])
    parts = odd_parts(excess, 8.0)
    np.testing.assert_array_equal(parts, [[0, 4, np.nan], [0, 24, 0], [np.nan] * 3])
    np.testing.assert_array_equal(mean_of_known(parts, axis=1)[:2], [2, 8])


@each_age
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=SEEDS)
def test_at_its_limit_the_oddest_feature_has_the_slope_that_it_had_below(aggregation, forms, seed):
    rng, recipe = np.random.default_rng(seed), made_recipe(3, seed, forms)
    place_of_odd = recipe.terms.index("odd_level")
    recipe.scale[:, 0] = 1e-6  # so that the one feature alone is the score
    recipe.scale[:, place_of_odd] += 1
    place = AGGREGATIONS.index(aggregation)
    odd = recipe.odd[place, 0]
    errors, distances, far = rng.exponential(0.01, (4, 3)), np.zeros((len(forms), 4, 3)), np.zeros(4, bool)
    for row, height in enumerate([1.0, MOST_ALONE * 0.99, MOST_ALONE * 1.01, 500.0]):
        errors[row, 1] = height * odd[1]
    by_errors, by_distances = recipe.slopes(aggregation, errors, distances, far, limited=False)
    factor = ALONE_SHARE * recipe.scale[place, place_of_odd] / odd[1]
    found = recipe.unlimited(aggregation, errors, distances, far)
    scores = mean_of_known(recipe.parts(aggregation, level_of(recipe, aggregation, errors), errors, distances), axis=1)
    for row in (2, 3):
        assert scores[row] == pytest.approx(factor * odd[1] * MOST_ALONE)
        assert found[row] == pytest.approx(factor * errors[row, 1])
        np.testing.assert_allclose(by_errors[row], [0, factor, 0])
        assert not by_distances[:, row].any()
    assert np.isnan(found[:2]).all()
    for mine, usual in zip((by_errors, by_distances), recipe.slopes(aggregation, errors, distances, far), strict=True):
        np.testing.assert_array_equal(mine[..., :2, :], usual[..., :2, :])


def test_a_row_that_the_network_says_nothing_about_has_no_score():
    recipe, errors = made_recipe(2), np.full((1, 2), np.nan)
    assert np.isnan(recipe.parts("combined", level_of(recipe, "combined", errors), errors, np.ones((3, 1, 2)))).all()


@given(seed=SEEDS, n_features=st.integers(1, 40))
def test_a_complete_row_has_the_same_parts_to_the_last_bit_beside_rows_with_missing_values(seed, n_features):
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed)
    errors, distances = rng.exponential(3, (5, n_features)), rng.exponential(3, (3, 5, n_features))
    whole = recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances)
    assert not np.isnan(whole).any()
    errors[3, rng.integers(n_features)] = distances[1, 4, rng.integers(n_features)] = np.nan
    beside = recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances)
    assert beside[:3].tobytes() == whole[:3].tobytes() and (beside[3] != whole[3]).any()


@given(seed=SEEDS, n_features=st.integers(2, 6), knows_usual=st.booleans())
def test_slopes_are_the_derivatives_of_the_score(seed, n_features, knows_usual):
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed, knows_usual=knows_usual)
    recipe.odd[:] = 1e9  # a mean of smooth terms
    errors, distances = rng.uniform(1, 3, (3, n_features)), rng.uniform(1, 3, (3, 3, n_features))
    errors[0, 0] = distances[1, 1, -1] = np.nan
    by_errors, by_distances = recipe.slopes("combined", errors, distances, np.zeros(3, bool))

    def score(errors, distances):
        return mean_of_known(recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances), axis=1)

    for array, slopes in ((errors, by_errors), (distances, by_distances)):
        for place in np.argwhere(np.isfinite(array)).tolist():
            row, step = place[-2], 1e-5
            ends = []
            for way in (-step, step):
                before, array[tuple(place)] = array[tuple(place)], array[tuple(place)] + way
                ends.append(score(errors, distances)[row])
                array[tuple(place)] = before
            assert slopes[tuple(place)] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-4, abs=1e-9)


def test_a_feature_that_never_deviates_and_falls_silent_leaves_the_score_of_the_others_as_it_was():
    recipe = made_recipe(3, knows_usual=True)
    recipe.usual[:, :, 2] = 0.0
    errors, distances = np.ones((2, 3)), np.ones((3, 2, 3))
    errors[:, 2] = distances[:, :, 2] = 0.0
    errors[1, 2] = np.nan
    distances[:, 1, 2] = np.nan
    before, after = mean_of_known(recipe.parts("combined", level_of(recipe, "combined", errors), errors, distances), axis=1)
    assert after == pytest.approx(before, rel=1e-12)
