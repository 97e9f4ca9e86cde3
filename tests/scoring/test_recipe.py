"""The terms of a score against their definition, and one odd feature among many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import AGGREGATIONS
from anomaly.scoring.neighbours import FORMS, References
from anomaly.scoring.recipe import ALONE_SHARE, MOST_ALONE, MOST_ODD, TERMS, Recipe, odd_parts, parts_of
from anomaly.windowing.missing import mean_of_known

SEEDS = st.integers(0, 10_000)


def made_recipe(n_features, seed=0):
    rng = np.random.default_rng(seed)
    references = tuple(References(form, 2, np.zeros((1, 2, n_features), np.float32)) for form in FORMS)
    n = len(AGGREGATIONS)
    return Recipe(
        references, rng.uniform(0.5, 2, (2, n_features)), rng.uniform(1, 3, (n, 2, n_features)), rng.uniform(0, 2, (n, 5))
    )


def score_by_loops(recipe, place, errors, distances):
    """Return the score of one row; `errors` `(n_features,)`, `distances` `(2, n_features)`, NaN = unknown."""
    if np.isnan(errors).all():
        return np.nan
    units = [errors, distances[0] / recipe.unit[0], distances[1] / recipe.unit[1]]
    terms = [np.mean([x**0.5 for x in u if x == x]) ** 2 if not np.isnan(u).all() else None for u in units]
    if len(errors) > 1:
        for k, (name, u) in enumerate(zip(MOST_ODD, units[:2], strict=True)):
            excess = [x / most for x, most in zip(u, recipe.odd[place, k], strict=True) if x == x]
            terms.append(min(max(excess), MOST_ODD[name]) if excess else None)
    told = [factor * term for factor, term in zip(recipe.scale[place], terms, strict=False) if term is not None]
    mean = sum(told) / len(told)
    if len(errors) == 1:
        return mean
    alone = max(x / most for x, most in zip(errors, recipe.odd[place, 0], strict=True) if x == x)
    return max(mean, ALONE_SHARE * recipe.scale[place, 3] * min(alone, MOST_ALONE))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(seed=SEEDS, n_features=st.integers(1, 4), missing=st.floats(0, 0.6))
def test_a_score_is_the_mean_of_its_terms_or_that_of_the_oddest_feature_alone(aggregation, seed, n_features, missing):
    rng, recipe = np.random.default_rng(seed), made_recipe(n_features, seed)
    errors, distances = rng.exponential(3, (6, n_features)), rng.exponential(3, (2, 6, n_features))
    errors[rng.random(errors.shape) < missing] = np.nan
    distances[:, rng.random(errors.shape) < missing] = np.nan
    found = mean_of_known(recipe.parts(aggregation, parts_of(errors), errors, distances), axis=1)
    place = AGGREGATIONS.index(aggregation)
    expected = [score_by_loops(recipe, place, errors[row], distances[:, row]) for row in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("n_features", [2, 19, 300])
def test_one_odd_feature_counts_the_same_among_few_and_many(n_features):
    recipe = made_recipe(n_features)
    recipe = Recipe(recipe.references, np.ones((2, n_features)), np.ones_like(recipe.odd), np.ones_like(recipe.scale))
    errors, distances = np.ones((1, n_features)), np.ones((2, 1, n_features))
    quiet = mean_of_known(recipe.parts("combined", parts_of(errors), errors, distances), axis=1)[0]
    errors[0, 1] = 100.0
    parts = recipe.parts("combined", parts_of(errors), errors, distances)
    assert mean_of_known(parts, axis=1)[0] - quiet >= (MOST_ODD["odd_level"] - 1) / len(TERMS)
    assert parts[0].argmax() == 1 and parts[0, 1] > 0.5 * parts[0].sum()


def test_an_odd_feature_counts_up_to_its_limit():
    excess = np.array([[1.0, 2.0, np.nan], [1.0, 1e9, 0.0], [np.nan, np.nan, np.nan]])
    parts = odd_parts(excess, 8.0)
    np.testing.assert_array_equal(parts, [[0, 4, np.nan], [0, 24, 0], [np.nan] * 3])
    np.testing.assert_array_equal(mean_of_known(parts, axis=1)[:2], [2, 8])


def test_a_row_that_the_network_says_nothing_about_has_no_score():
    recipe, errors = made_recipe(2), np.full((1, 2), np.nan)
    assert np.isnan(recipe.parts("combined", parts_of(errors), errors, np.ones((2, 1, 2)))).all()
