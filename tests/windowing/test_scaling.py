"""Centre and scale come from the training values, and what leaves is finite float32."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

from anomaly.windowing.scaling import CLIP, Scaler

any_float = st.floats(allow_nan=True, allow_infinity=True)


@pytest.fixture
def training():
    return np.random.default_rng(1).normal([5.0, -300.0], [2.0, 40.0], size=(500, 2))


def test_fit_takes_mean_and_standard_deviation(training):
    scaler = Scaler.fit(training)
    np.testing.assert_allclose(scaler.center, training.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, training.std(axis=0), rtol=1e-12)


@given(values=hnp.arrays(np.float64, (9, 3), elements=st.floats(-1e9, 1e9) | st.just(np.nan) | st.integers(-2, 2).map(float)))
def test_centre_and_scale_are_those_of_scikit_learn_bit_for_bit(values):
    values[0] = np.where(np.isnan(values).all(axis=0), 1.0, values[0])
    theirs = StandardScaler().fit(values)
    varies = theirs.scale_ == np.sqrt(theirs.var_)
    ours = Scaler.fit(values)
    np.testing.assert_array_equal(ours.center[varies], theirs.mean_[varies])
    kept = [place for place in np.flatnonzero(varies) if place not in ours.constant]
    np.testing.assert_array_equal(ours.scale[kept], theirs.scale_[kept])


def test_scaled_training_values_have_mean_zero_and_sigma_one(training):
    scaled, _ = Scaler.fit(training).transform(training)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)


def test_transform_does_not_learn_from_what_it_scales(training):
    scaler = Scaler.fit(training)
    before = scaler.center.copy(), scaler.scale.copy()
    scaler.transform(training * 1000)
    np.testing.assert_array_equal((scaler.center, scaler.scale), before)


def test_new_values_are_scaled_by_the_training_values():
    scaler = Scaler.fit(np.array([[0.0], [2.0]]))
    scaled, _ = scaler.transform(np.array([[1.0], [3.0], [11.0]]))
    np.testing.assert_array_equal(scaled[:, 0], [0, 2, 10])


def test_fit_ignores_missing_values(training):
    holes = training.copy()
    holes[::3, 0] = np.nan
    scaler = Scaler.fit(holes)
    np.testing.assert_allclose(scaler.center, np.nanmean(holes, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, np.nanstd(holes, axis=0), rtol=1e-12)


def test_a_missing_value_stays_missing(training):
    scaled, clipped = Scaler.fit(training).transform(np.array([[np.nan, -300.0]]))
    assert np.isnan(scaled[0, 0])
    assert np.isfinite(scaled[0, 1])
    assert not clipped[0]


@pytest.mark.parametrize(("constant", "unit"), [(0.0, 1), (7.0, 7), (0.1, 0.1), (-1e17 / 3, 1e17 / 3), (5e-324, 5e-324)])
def test_the_unit_of_a_constant_feature_is_its_size(constant, unit):
    scaler = Scaler.fit(np.full((1000, 1), constant))
    assert scaler.scale[0] == pytest.approx(unit, rel=1e-12)


@given(st.floats(1e-12, 1e12), st.floats(0.01, 100), st.floats(-0.9, 10))
def test_what_another_value_of_a_constant_counts_does_not_depend_on_its_unit(factor, constant, change):
    other = constant * (1 + change)
    told = [Scaler.fit(np.full((50, 1), k * constant)).transform(np.array([[k * other]]))[0] for k in (1.0, factor)]
    np.testing.assert_allclose(*told, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [20, 2_000, 500_000])
@pytest.mark.parametrize(
    ("offset", "sigma"), [(1e9, 0.2), (-1e8, 0.02), (1.7e9, 0.5), (1e13, 20.0), (1e6, 1e-6), (0.0, 1e-9)], ids=str
)
def test_a_feature_that_varies_far_from_zero_does_so_in_a_history_of_any_length(offset, sigma, n):
    values = offset + np.random.default_rng(0).normal(0, sigma, (n, 2))
    values[::7, 1] = np.nan
    scaler = Scaler.fit(values)
    assert scaler.constant == ()
    np.testing.assert_allclose(scaler.scale, np.nanstd(values - values[1], axis=0), rtol=1e-3)
    np.testing.assert_allclose(scaler.center, offset, atol=sigma)


@pytest.mark.parametrize("n", [20, 2_000, 500_000])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9, -1e17 / 3])
def test_rounding_alone_is_constant_in_a_history_of_any_length(value, n):
    values = np.full((n, 2), value)
    values[::3, 1] = np.nextafter(value, 2 * value)
    values[1::5] = np.nan
    scaler = Scaler.fit(values)
    assert scaler.constant == (0, 1)
    np.testing.assert_allclose(scaler.scale, np.abs(value) or 1, rtol=1e-9)
    assert not scaler.changed(np.nan_to_num(values, nan=value)).any()


def test_a_constant_feature_scales_to_zero():
    scaled, _ = Scaler.fit(np.full((10, 1), 7.0)).transform(np.full((3, 1), 7.0))
    np.testing.assert_array_equal(scaled, 0)


def test_a_single_training_row_is_constant():
    assert Scaler.fit(np.array([[3.0, 4.0]])).constant == (0, 1)


@pytest.mark.parametrize("value", [1e300, -1e300, np.inf, -np.inf])
def test_a_huge_value_is_clipped_with_its_sign(training, value):
    scaled, _ = Scaler.fit(training).transform(np.array([[value, -300.0]]))
    assert scaled[0, 0] == np.sign(value) * CLIP


def test_the_clipped_mask_marks_exactly_the_rows_with_a_clipped_value(training):
    rows = np.array([[5.0, -300.0], [1e300, -300.0], [5.0, np.inf], [np.nan, -300.0], [np.nan, -np.inf]])
    _, clipped = Scaler.fit(training).transform(rows)
    assert clipped.tolist() == [False, True, True, False, True]


def test_a_value_at_the_limit_is_not_clipped():
    scaled, clipped = Scaler(np.zeros(1), np.ones(1)).transform(np.array([[CLIP], [np.nextafter(CLIP, np.inf)]]))
    assert clipped.tolist() == [False, True]
    assert scaled[:, 0].tolist() == [CLIP, CLIP]


def test_the_input_is_left_as_it_was(training):
    before = training.copy()
    Scaler.fit(training).transform(training)
    np.testing.assert_array_equal(training, before)


@given(
    values=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=any_float),
    center=st.floats(-1e308, 1e308),
    scale=st.floats(1e-300, 1e300),
)
def test_scaled_values_are_float32_within_the_clip_and_missing_only_where_they_were(values, center, scale):
    n_features = values.shape[1]
    scaled, clipped = Scaler(np.full(n_features, center), np.full(n_features, scale)).transform(values)
    assert scaled.dtype == np.float32
    assert scaled.shape == values.shape
    assert clipped.shape == (len(values),)
    np.testing.assert_array_equal(np.isnan(scaled), np.isnan(values))
    assert (np.abs(scaled[~np.isnan(scaled)]) <= CLIP).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)))
def test_scaling_can_be_undone(values):
    scaler = Scaler.fit(values)
    scaled, clipped = scaler.transform(values)
    assert not clipped.any()
    spread = np.abs(values).max() + scaler.scale
    np.testing.assert_allclose(scaled * scaler.scale + scaler.center, values, atol=1e-5 * spread.max())


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 3)), elements=st.floats(-1e100, 1e100)))
def test_a_fitted_scale_is_finite_and_positive(values):
    scaler = Scaler.fit(values)
    assert np.isfinite(scaler.center).all()
    assert (np.isfinite(scaler.scale) & (scaler.scale > 0)).all()
