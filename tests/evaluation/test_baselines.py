"""The trivial detectors against loops and scikit-learn, and the edges at which they could fail."""

import naive_metrics
import numpy as np
import pytest
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly.errors import ConfigError, DataError
from anomaly.evaluation.baselines import absolute_difference, amplitude, nearest_window, random_scores, sub_pca
from anomaly.scoring.references import FORMS, References
from anomaly.windowing.scaling import CLIP

VALUES = arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.floats(-CLIP, CLIP, width=32))
OF_VALUES = [amplitude, absolute_difference, lambda values: sub_pca(values, min(5, len(values)))]
each_detector = pytest.mark.parametrize("detector", OF_VALUES, ids=["amplitude", "absolute_difference", "sub_pca"])


def noisy_wave(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(n) / 5)[:, None] + 0.1 * rng.normal(size=(n, 1))


@each_detector
@given(values=VALUES)
def test_every_row_has_a_finite_score(detector, values):
    score = detector(values)
    assert score.shape == (len(values),)
    assert score.dtype == np.float64
    assert np.isfinite(score).all()


@given(VALUES)
def test_amplitude_is_the_mean_absolute_value(values):
    expected = [sum(abs(x) for x in row) / len(row) for row in values.tolist()]
    np.testing.assert_allclose(amplitude(values), expected, rtol=1e-12)


@given(VALUES)
def test_absolute_difference_is_the_mean_step_from_the_row_before(values):
    rows = values.tolist()
    expected = [0.0] + [np.mean([abs(a - b) for a, b in zip(rows[t], rows[t - 1], strict=True)]) for t in range(1, len(rows))]
    np.testing.assert_allclose(absolute_difference(values), expected, rtol=1e-12)


def test_random_scores_are_the_same_for_the_same_seed():
    np.testing.assert_array_equal(random_scores(50, 3), random_scores(50, 3))
    assert (random_scores(50, 3) != random_scores(50, 4)).all()
    assert ((random_scores(500, 3) >= 0) & (random_scores(500, 3) < 1)).all()


@pytest.mark.parametrize("window_size", [1, 9, 20])
def test_sub_pca_of_one_feature_is_that_of_the_reference_brought_to_one_scale(window_size):
    values = noisy_wave()
    expected = naive_metrics.sub_pca(values[:, 0], window_size)
    expected = (expected - expected.mean()) / expected.std()
    first = window_size // 2
    assert_close(sub_pca(values, window_size)[first : first + len(expected)], expected, 1e-8)


def test_sub_pca_gives_the_rows_at_the_ends_the_score_of_the_nearest_window():
    score = sub_pca(noisy_wave(), 10)  # windows 0..390, the first around row 5
    assert len(set(score[:6])) == len(set(score[395:])) == 1


def test_sub_pca_of_several_features_is_the_mean_of_theirs():
    values = np.concatenate([noisy_wave(seed=1), noisy_wave(seed=2)], axis=1)
    alone = [sub_pca(values[:, [i]], 8) for i in range(2)]
    assert_close(sub_pca(values, 8), np.mean(alone, axis=0), 1e-9)


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.floats(-100, 100))
def test_sub_pca_knows_neither_unit_nor_zero(scale, shift):
    values = noisy_wave(n=120)
    assert_close(sub_pca(values * scale + shift, 6), sub_pca(values, 6), 1e-5)


def test_sub_pca_finds_a_burst_in_a_wave():
    values = noisy_wave()
    values[200:210] += np.resize([[1.5], [-1.5]], (10, 1))
    assert 190 <= np.argmax(sub_pca(values, 20)) <= 220


def test_sub_pca_of_a_series_longer_than_a_block_has_no_seam():
    values = np.tile(noisy_wave(n=1000), (9, 1))  # 8,991 windows in three blocks, the wave repeated
    score = sub_pca(values, 10)
    assert_close(score[1100:1900], score[4100:4900], 1e-8)


@pytest.mark.parametrize("values", [np.zeros((30, 2)), np.full((30, 1), 7.3)])
def test_values_that_never_vary_have_a_sub_pca_score_of_zero(values):
    np.testing.assert_array_equal(sub_pca(values, 5), np.zeros(30))


def test_a_feature_that_never_varies_adds_nothing_to_the_ranking():
    values = noisy_wave()
    both = np.concatenate([values, np.full_like(values, 3.3)], axis=1)
    assert_close(2 * sub_pca(both, 8), sub_pca(values, 8), 1e-12)


def test_a_wave_without_noise_has_finite_scores():
    values = np.sin(np.arange(300) / 7)[:, None]
    assert np.isfinite(sub_pca(values, 30)).all()


@pytest.mark.parametrize("window_size", [0, 31])
def test_a_window_that_does_not_fit_is_refused(window_size):
    with pytest.raises(ConfigError, match=rf"from 1 to the number of rows \(30\)\. Received: window_size={window_size}\."):
        sub_pca(np.ones((30, 1)), window_size)


@each_detector
@pytest.mark.parametrize("values", [np.array([[1.0], [np.nan]]), np.array([[np.inf], [0.0]])])
def test_values_that_are_not_finite_are_refused(detector, values):
    with pytest.raises(DataError, match=r"Received: shape \(2, 1\), 1 not finite\. Leave out rows with missing values\."):
        detector(values)


@each_detector
@pytest.mark.parametrize("shape", [(0, 2), (5, 0)])
def test_no_value_at_all_is_refused(detector, shape):
    with pytest.raises(DataError, match=r"A baseline needs finite values, \(n_timesteps, n_features\), at least one\."):
        detector(np.zeros(shape))


@each_detector
def test_the_values_are_not_changed(detector):
    values = noisy_wave(n=50)
    before = values.copy()
    detector(values)
    np.testing.assert_array_equal(values, before)


def by_form(training, starts, size, most):
    return tuple(References.of(form, training, starts, size, most)[0] for form in FORMS)


def test_the_nearest_window_is_that_of_loops_over_all_training_windows():
    training, values, size = noisy_wave(200, seed=1).astype(np.float32), noisy_wave(60, seed=2), 32
    own, taken = References.of("course", training, np.arange(len(training) - size + 1), size, most=50)
    centred = [training[start : start + size, 0] - training[start : start + size, 0].mean() for start in taken]
    found = nearest_window(values, (own,))
    assert set(found) == {"course"}
    for row in range(len(values)):
        start = min(max(row - size // 2, 0), len(values) - size)  # the window around the row, within the rows
        own = values[start : start + size, 0] - values[start : start + size, 0].mean()
        nearest = min(np.mean(np.square(own - other)) for other in centred)
        assert found["course"][row] == pytest.approx(nearest, rel=0.05, abs=1e-3)  # values are rounded to 1/512


def test_the_nearest_window_of_several_features_is_the_mean_of_theirs():
    both, values = np.hstack([noisy_wave(seed=1), noisy_wave(seed=2)]).astype(np.float32), np.hstack([noisy_wave(seed=3)] * 2)
    starts = np.arange(0, 368, 16)
    of_both = nearest_window(values, by_form(both, starts, 32, most=99))
    alone = [nearest_window(values[:, [k]], by_form(both[:, [k]], starts, 32, most=99)) for k in range(2)]
    for form in of_both:
        assert_close(of_both[form], (alone[0][form] + alone[1][form]) / 2, 1e-12)


def test_values_shorter_than_a_window_have_no_nearest_one():
    references = by_form(noisy_wave().astype(np.float32), np.arange(100), 32, most=9)
    assert nearest_window(noisy_wave(31), references) == {}
