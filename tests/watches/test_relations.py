"""Residuals of each feature on the others against least squares by hand, and what leaves its group."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.watches.relations import BEYOND, N_RESIDUALS, RIDGE, Relations, RelationWatch


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
        np.testing.assert_allclose(residuals[:, k], np.abs(standard[:, k] - told), atol=1e-4)  # of whole numbers


def test_what_the_others_do_not_tell_has_no_relation():
    relations = Relations.of(group())
    assert (relations.most > 0).tolist() == [True, True, True, False]
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


@pytest.mark.parametrize("missing", [(1,), (2,), (3,), (2, 3), (1, 3)])
def test_with_missing_values_the_residuals_are_those_of_a_regression_on_the_others(missing):
    rows, relations = group(), Relations.of(group())
    gone = rows.copy()
    gone[1600:, list(missing)] = np.nan
    fitted = rows[:1600].astype(np.float64)
    standard = ((rows - fitted.mean(axis=0)) / fitted.std(axis=0)).astype(np.float64)
    others = [k for k in (1, 2, 3) if k not in missing]
    precisions = []
    for of in (others, [1, 2, 3]):
        inner = np.linalg.inv(standard[:1600][:, [0, *of]].T @ standard[:1600][:, [0, *of]] / 1600 + RIDGE * np.eye(1 + len(of)))
        precisions.append(inner[0])
    residuals, _ = RelationWatch(relations).sums(gone)
    expected = np.abs(standard[1600:][:, [0, *others]] @ precisions[0]) / np.sqrt(precisions[0][0] * precisions[1][0])
    if precisions[0][0] < 0.5 * precisions[1][0]:
        expected[:] = np.nan
    np.testing.assert_allclose(residuals[1600:, 0], expected, atol=1e-4)
    assert np.isnan(expected).all() == (1 in missing)  # which tells the most
    assert np.isnan(residuals[1600:, [k for k in missing if k < 3]]).all()


def test_what_hangs_on_a_missing_value_is_left_open():
    rows, relations = group(1), Relations.of(group()[:, :2])
    rows[700:760, 0] += 50
    rows[700:760, 1] = np.nan
    assert not RelationWatch(relations).push(rows[:, :2])[700:760].any()


def spoilt(rows):
    """Return rows in which a feature of the group leaves it."""
    rows = rows.copy()
    rows[700:760, 1] = rows[100:160, 1]
    return rows


def test_a_dead_feature_that_nothing_hangs_on_changes_nothing_of_the_others():
    rng, relations = np.random.default_rng(5), Relations.of(np.column_stack([group(), np.zeros(2000)]).astype(np.float32))
    rows = np.column_stack([spoilt(group(1)), np.zeros(2000)]).astype(np.float32)
    whole = RelationWatch(relations).push(rows)
    assert whole[700:760, 1].any()
    dead = (np.ones(2000, np.bool_), rng.random(2000) < 0.15, np.arange(2000) % 8 > 0)
    for feature in (3, 4):
        for rows_without in dead:
            gone = rows.copy()
            gone[rows_without, feature] = np.nan
            found = RelationWatch(relations).push(gone)
            assert abs(int((found > 0).sum()) - int((whole > 0).sum())) <= 2
            np.testing.assert_allclose(found[700:760, 1].max(), whole[700:760, 1].max(), rtol=0.05)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_cells_that_are_missing_now_and_then_change_little(share):
    rng, training, rows = np.random.default_rng(3), group(), spoilt(group(1))
    whole = (RelationWatch(Relations.of(training)).push(rows) > 0).any(axis=1)
    gone, gone_in_training = (rng.random((2000, 4)) < share for _ in range(2))
    for kept in (training, np.where(gone_in_training, np.float32(np.nan), training)):
        relations = Relations.of(kept)
        assert (relations.most > 0).tolist() == [True, True, True, False]
        found = (RelationWatch(relations).push(np.where(gone, np.float32(np.nan), rows)) > 0).any(axis=1)
        assert found[700:760].sum() > (1 - 4 * share) * whole[700:760].sum()
        assert not found[:700].any() and not found[760 + N_RESIDUALS :].any()


def test_a_sparse_feature_in_training_takes_no_relation_from_the_others():
    training, relations = group(), Relations.of(group()[:, [0, 1, 2]])
    for known in (slice(0, 0), slice(1900, 2000), slice(0, 2000, 8)):
        rows = training.copy()
        rows[:, 3] = np.nan
        rows[known, 3] = training[known, 3]
        found = Relations.of(rows)
        assert (found.most > 0).tolist() == [True, True, True, False]
        np.testing.assert_allclose(found.weights[:3, :3], relations.weights)
        np.testing.assert_allclose(found.most[:3], relations.most)


def test_in_training_no_residuals_are_added_up_across_a_gap():
    rows, since = group(), np.concatenate([np.arange(1998), [0, 1]])
    rows[1998:, 0] += 9
    assert Relations.of(rows, since).most[0] < 0.5 * Relations.of(rows).most[0]


def test_precisions_of_no_training_are_told_of_nothing():
    relations = Relations(np.zeros(4), np.zeros((4, 4)), np.ones(4), np.zeros(4))
    rows = group()
    rows[::7, 1] = np.nan
    assert np.isfinite(RelationWatch(relations).push(rows)).all()


@given(cuts=st.lists(st.integers(1, 199), max_size=6), missing=st.sampled_from([0.0, 0.01, 0.2]))
def test_the_same_to_the_last_bit_in_whatever_pieces_the_rows_come(cuts, missing):
    """Of many features: then sums of a single row are made in another order than those of many."""
    rng, load = np.random.default_rng(2), np.random.default_rng(3).normal(size=(3, 21))
    training, rows = ((rng.normal(size=(n, 3)) @ load + 0.3 * rng.normal(size=(n, 21))).astype(np.float32) for n in (900, 200))
    rows[80:120, 1] *= -1
    rows[rng.random(rows.shape) < missing] = np.nan
    relations = Relations.of(training)
    whole, watch = RelationWatch(relations).push(rows), RelationWatch(relations)
    found = [watch.push(rows[start:stop]) for start, stop in pairwise([0, *sorted({*cuts, 81, 82, 83, 85, 90}), 200])]
    np.testing.assert_array_equal(np.concatenate(found), whole)
    assert whole.any() and BEYOND == 2
