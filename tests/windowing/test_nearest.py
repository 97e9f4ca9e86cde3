"""The nearest of points on a grid against loops over whole numbers: where many are as near, and where float32 cannot tell them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.windowing import nearest
from anomaly.windowing.nearest import Points


@pytest.fixture(scope="module", autouse=True, params=["float32 first", "few, all in float64"])
def precision(request):
    """Every test is run in both ways in which the nearest points are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_FEW_POINTS", 0 if request.param == "float32 first" else 1 << 20)
        patch.setattr(nearest, "_FEW_IN_ALL", 0)
        yield


def by_loops(grid, own, near=None):
    """Return the first of the nearest points and the square of its distance, in Python's whole numbers."""
    places, squares = np.zeros(own.shape[:2], np.int64), np.full(own.shape[:2], np.inf)
    for feature in range(len(own)):
        points = [[int(x) for x in point] for point in grid[feature]]
        for n, values in enumerate(own[feature]):
            values = [int(x) for x in values]
            far = [sum((a - b) ** 2 for a, b in zip(values, point, strict=True)) for point in points]
            open_ones = [k for k in range(len(points)) if near is None or not near[n, k]]
            if open_ones:
                places[feature, n] = min(open_ones, key=lambda k: (far[k], k))
                squares[feature, n] = far[places[feature, n]]
    return places, squares


def made(seed, n_features, n_points, n, n_steps, size):
    rng = np.random.default_rng(seed)
    grid = rng.integers(-size, size + 1, (n_features, n_points, n_steps)).astype(float)
    grid[:, rng.integers(0, n_points, n_points // 3)] = grid[:, :1]
    return rng, grid, rng.integers(-size, size + 1, (n_features, n, n_steps)).astype(float)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    seed=st.integers(0, 10_000), n_features=st.integers(1, 3), n_points=st.integers(1, 20), n=st.sampled_from([1, 7, 8, 19]),
    n_steps=st.integers(1, 5), size=st.sampled_from([0, 1, 3, 2000, 32_000]), excluded=st.sampled_from([None, 0.0, 0.3, 1.0]),
)  # fmt: skip
def test_the_first_of_the_nearest_points_that_are_not_excluded(seed, n_features, n_points, n, n_steps, size, excluded):
    rng, grid, own = made(seed, n_features, n_points, n, n_steps, size)
    near = None if excluded is None else rng.random((n, n_points)) < excluded
    assert_same(Points(grid).nearest(own, near), by_loops(grid, own, near))


@pytest.mark.parametrize("long", [False, True], ids=["alike", "beside one far off"])
@pytest.mark.parametrize("n_close", [1, 2, 3, 9])
def test_points_that_float32_cannot_tell_apart_are_told_apart(n_close, long):
    rng = np.random.default_rng(n_close)
    own = rng.integers(-20_000, 20_000, (2, 40, 32)).astype(float)
    grid = rng.integers(-20_000, 20_000, (2, 30, 32)).astype(float)
    grid[:, 5 : 5 + n_close] = own[:, 7, None]
    for k in range(n_close):  # squares of distances are 1, 4, 9 ... of some 10^10; the last one is the nearest
        grid[:, 5 + k, k] += n_close - k
    if long:
        grid[:, 20] = 65_000
    places, squares = Points(grid).nearest(own)
    assert_same((places, squares), by_loops(grid, own))
    assert (places[:, 7] == 4 + n_close).all() and (squares[:, 7] == 1).all()


def test_what_is_too_large_for_float32_is_told_exactly():
    rng = np.random.default_rng(0)
    own = rng.integers(-(10**7), 10**7, (1, 12, 32)).astype(float)
    own[0, :3] *= 2.0
    grid = rng.integers(-9, 10, (1, 50, 32)).astype(float)
    assert_same(Points(grid).nearest(own), by_loops(grid, own))


def test_of_none_there_is_none_nearest():
    places, squares = Points(made(0, 2, 5, 3, 4, 9)[1]).nearest(np.empty((2, 0, 4)))
    assert places.shape == squares.shape == (2, 0)


def test_how_many_are_asked_for_at_once_changes_nothing():
    _, grid, own = made(3, 2, 60, 200, 32, 500)
    points = Points(grid)
    alone = [points.nearest(own[:, n : n + 1]) for n in range(200)]
    assert_same(points.nearest(own), [np.concatenate(parts, axis=1) for parts in zip(*alone, strict=True)])


@pytest.mark.parametrize("n_bytes", [1, 30_000])
def test_how_many_features_are_looked_at_together_changes_nothing(monkeypatch, n_bytes):
    rng, grid, own = made(5, 7, 40, 21, 8, 500)
    near = rng.random((21, 40)) < 0.2
    monkeypatch.setattr(nearest, "_BYTES_AT_A_TIME", n_bytes)
    assert_same(Points(grid).nearest(own, near), by_loops(grid, own, near))


def test_threads_do_not_share_the_memory_they_work_in():
    cases = [made(seed, 3, 30, 64, 16, 500)[1:] for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: Points(case[0]).nearest(case[1]), cases * 5))
    for case, pair in zip(cases * 5, found, strict=True):
        assert_same(pair, Points(case[0]).nearest(case[1]))


@given(
    n_features=st.integers(1, 3), n=st.integers(1, 9), n_steps=st.integers(1, 6), n_points=st.integers(1, 40),
    most=st.integers(1, 300),
)  # fmt: skip
def test_a_product_in_pieces_is_the_product(n_features, n, n_steps, n_points, most):
    rng = np.random.default_rng(n)
    own = rng.integers(-9, 9, (n_features, n, n_steps)).astype(float)
    factors = rng.integers(-9, 9, (n_features, n_steps, n_points)).astype(float)
    product = np.full((n_features, n, n_points), np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_MOST_MULTIPLIED", most)
        patch.setattr(nearest, "_ROWS_AT_A_TIME", 4)
        nearest.multiply(own, factors, product)
    for feature, found in enumerate(product):
        by_hand = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in factors[feature].T] for row in own[feature]]
        np.testing.assert_array_equal(found, by_hand)
