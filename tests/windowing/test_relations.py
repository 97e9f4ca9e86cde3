"""Residuals of each feature on the others against least squares by hand, and what leaves its group."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.windowing.relations import BEYOND, N_RESIDUALS, RIDGE, Relations, RelationWatch


def group(seed=0, n=2000, noise=0.1):
    """Return three features that hang together, and one that stands alone."""
    rng = np.random.default_rng(seed)
    common = np.sin(np.arange(n) / 9) + 0.3 * rng.normal(size=n)
    rows = np.stack([common, -2 * common, 0.5 * common + 1, rng.normal(size=n)], axis=1)
    return (rows + noise * rng.normal(size=rows.shape)).astype(np.float32)


def test_residuals_are_those_of_ridge_regression_on_the_other_features():
    rows = group()
    relations = Relations.of(rows)
    fitted = rows[:1600].astype(np.float64)
    standard = (fitted - fitted.mean(axis=0)) / fitted.std(axis=0)
    residuals, _ = RelationWatch(relations).sums(rows[:1600])
    for k in range(3):
        others = np.delete(standard, k, axis=1)
        normal = others.T @ others / len(others) + RIDGE * np.eye(3)
        told = others @ np.linalg.solve(normal, others.T @ standard[:, k] / len(others))
        np.testing.assert_allclose(residuals[:, k], np.abs(standard[:, k] - told), atol=1e-9)


def test_what_the_others_do_not_tell_has_no_relation():
    relations = Relations.of(group())
    assert (relations.most > 0).tolist() == [True, True, True, False] and not relations.weights[:, 3].any()
    assert Relations.of(np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)) is None


@pytest.mark.parametrize(
    "rows", [group()[:, :1], group()[:49], np.ones((500, 3), np.float32), np.full((500, 3), np.nan, np.float32)]
)
def test_one_feature_few_rows_and_what_never_moves_have_none(rows):
    assert Relations.of(rows) is None


def test_constant_features_beside_a_group_are_passed_over():
    rows = np.column_stack([group(), np.full(2000, 7.0)]).astype(np.float32)
    relations = Relations.of(rows)
    assert (relations.most > 0).tolist() == [True, True, True, False, False]
    rows[1500:, 4] = 9
    assert not RelationWatch(relations).push(rows).any()


@pytest.mark.parametrize("column", [0, 1, 2])
def test_one_that_leaves_its_group_is_found_and_no_other(column):
    rows, relations = group(1), Relations.of(group())
    assert not RelationWatch(relations).push(rows).any()
    rows[700:760, column] = rows[100:160, column]  # as it has been, but not now
    found = RelationWatch(relations).push(rows)
    assert found[700:760, column].any() and not found[:700].any() and not found[760 + N_RESIDUALS :].any()
    assert found.sum(axis=0).argmax() == column


def test_a_missing_value_leaves_open_what_hangs_on_it():
    rows, relations = group(1), Relations.of(group())
    rows[700:760, 0] += 50
    rows[700:760, 1] = np.nan
    assert not RelationWatch(relations).push(rows)[700:760].any()


@given(cuts=st.lists(st.integers(1, 199), max_size=6))
def test_the_same_in_whatever_pieces_the_rows_come(cuts):
    rows, relations = group(2, n=200), Relations.of(group())
    rows[80:120, 1] *= -1
    whole, watch = RelationWatch(relations).push(rows), RelationWatch(relations)
    found = [watch.push(rows[start:stop]) for start, stop in pairwise([0, *sorted(set(cuts)), 200])]
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert whole.any() and BEYOND == 2
