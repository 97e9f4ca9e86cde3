"""Points that are far from each other, against loops over fractions and against every choice there is."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.windowing.farthest import farthest_points


def distances(grid):
    """Return the squares between all points in units of the variance of each feature, as fractions."""
    n = grid.shape[1]
    whole = [[[int(x) for x in point] for point in feature] for feature in grid]
    between = [[Fraction(0)] * n for _ in range(n)]
    for feature in whole:
        means = [Fraction(sum(column), n) for column in zip(*feature, strict=True)]
        variance = sum(sum((x - mean) ** 2 for x, mean in zip(point, means, strict=True)) for point in feature) / n
        if not variance:
            continue
        for i, j in combinations(range(n), 2):
            square = sum((a - b) ** 2 for a, b in zip(feature[i], feature[j], strict=True)) / variance
            between[i][j] += square
            between[j][i] += square
    return between


def farthest_left(between, chosen):
    """Return how far the point is that is the farthest from some."""
    return max(min(row[k] for k in chosen) for row in between)


def made(seed, n_features, n_points, n_steps, size):
    rng = np.random.default_rng(seed)
    grid = rng.integers(-size, size + 1, (n_features, n_points, n_steps)).astype(float)
    grid[:, rng.integers(0, n_points, n_points // 3)] = grid[:, :1]
    return grid


points = {
    "seed": st.integers(0, 10_000), "n_features": st.integers(1, 3), "n_points": st.integers(1, 9), "n_steps": st.integers(1, 4),
    "size": st.sampled_from([0, 1, 3, 32_000]), "most": st.integers(1, 9), "n_first": st.integers(1, 9),
}  # fmt: skip


@given(**points)
def test_each_further_point_is_the_farthest_from_all_before_it(seed, n_features, n_points, n_steps, size, most, n_first):
    grid = made(seed, n_features, n_points, n_steps, size)
    first = np.arange(min(n_first, n_points, most))
    found, between = farthest_points(grid, first, most).tolist(), distances(grid)
    expected = first.tolist()
    while len(expected) < most:
        told = [float(min(between[place][k] for k in expected)) for place in range(n_points)]
        # Fractions are summed over features in another order than floats: what is as far to 12 digits is as far.
        close = [place for place in range(n_points) if told[place] >= max(told) * (1 - 1e-12)]
        if not max(told):
            break
        several = [place for place in close if place in found and place not in expected]
        expected.append(several[0] if several else close[0])
    assert found == sorted(set(expected)) and len(found) == len(expected)


@given(**points)
def test_no_choice_beside_the_first_ones_has_all_points_more_than_twice_as_near(
    seed, n_features, n_points, n_steps, size, most, n_first
):
    grid = made(seed, n_features, n_points, n_steps, size)
    first = list(range(min(n_first, n_points, most)))
    between = distances(grid)
    found = farthest_points(grid, np.array(first), most).tolist()
    others = [place for place in range(n_points) if place not in first]
    n_more = min(most - len(first), len(others))
    best = min(farthest_left(between, [*first, *some]) for some in combinations(others, n_more))
    assert farthest_left(between, found) <= 4 * best  # squares


def test_of_points_as_far_it_is_the_first_and_the_same_ones_are_not_taken_twice():
    line = np.array([[[0], [5], [0], [-5], [5], [1]]], float)
    assert farthest_points(line, np.array([0]), 2).tolist() == [0, 1]
    assert farthest_points(line, np.array([0]), 3).tolist() == [0, 1, 3]
    assert farthest_points(line, np.array([0]), 6).tolist() == [0, 1, 3, 5]
    assert farthest_points(np.zeros((2, 6, 3)), np.array([2]), 6).tolist() == [2]


def test_a_feature_counts_in_its_own_unit_and_one_that_never_varies_not_at_all():
    rng = np.random.default_rng(0)
    quiet, loud = rng.integers(-8, 9, (1, 40, 4)).astype(float), rng.integers(-8, 9, (1, 40, 4)).astype(float)
    first = np.array([3, 20])
    same = farthest_points(np.concatenate([quiet, loud]), first, 12)
    assert same.tolist() == farthest_points(np.concatenate([quiet, 1_024 * loud, np.full((1, 40, 4), 7.0)]), first, 12).tolist()
    assert same.tolist() != farthest_points(loud, first, 12).tolist()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_first_ones_alone_if_no_more_are_wanted(n):
    first = np.array([4, 1, 7, 2, 0])[:n]
    assert farthest_points(made(0, 2, 9, 3, 50), first, n).tolist() == sorted(first.tolist())
