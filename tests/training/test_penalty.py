"""The penalties against closed forms, finite differences, loops and each other."""

import naive
import numpy as np
import pytest
from closeness import assert_close

from anomaly.config import PENALTIES, NetworkConfig, PenaltyConfig
from anomaly.network.model import build_autoencoder
from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.penalty import (
    FORMULAS,
    NORM_FLOOR,
    exact_objective,
    input_gradient,
    penalty_of,
    plain_objective,
    scaled_penalty,
    window_losses,
)

keras, tf = load_keras(), load_tensorflow()

WINDOW, FEATURES = 6, 3
CONFIGS = {
    "l2": PenaltyConfig(penalty="l2"),
    "l1": PenaltyConfig(penalty="l1"),
    "directional": PenaltyConfig(penalty="directional", direction=(1.0, 0.0, -2.0)),
    "hinge": PenaltyConfig(penalty="hinge", penalty_threshold=0.05),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture
def float64():
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        if dtype == "float64":
            yield


def test_every_penalty_has_a_formula_and_is_tested():
    """One with a name and without a formula would train with none, and say so nowhere."""
    assert set(FORMULAS) == set(PENALTIES)
    assert {*CONFIGS, "none"} == set(PENALTIES)


def test_a_form_without_a_formula_is_refused(monkeypatch):
    monkeypatch.delitem(FORMULAS, "l1")
    with pytest.raises(KeyError, match="l1"):
        penalty_of(tf.zeros((1, WINDOW, FEATURES)), CONFIGS["l1"])


def windows(n=5, window_size=WINDOW, n_features=FEATURES, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(window_size)[None, :, None] + rng.uniform(0, 6, (n, 1, n_features)))
    return tf.constant(waves + 0.3 * rng.normal(size=(n, window_size, n_features)), dtype)


def lstm(window_size=WINDOW, n_features=FEATURES, **options):
    return build_autoencoder(NetworkConfig(units=5, **options), window_size, n_features, seed=3)


def linear_network(matrix):
    """f(x) = x A at each timestep."""
    inputs = keras.Input((WINDOW, matrix.shape[0]))
    dense = keras.layers.Dense(matrix.shape[1], use_bias=False)
    network = keras.Model(inputs, dense(inputs))
    dense.kernel.assign(matrix)
    return network


def penalty_gradients(objective, network, x, config):
    """Gradients of the penalty alone: those of the objective at weight 1 less the plain ones."""
    with_penalty = objective(network, x, config, 1.0, training=False).gradients
    plain = plain_objective(network, x, training=False).gradients
    return [np.array(a) - np.array(b) for a, b in zip(with_penalty, plain, strict=True)]


def relative_error(found, expected):
    difference = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(found, expected, strict=True)))
    return difference / np.sqrt(sum((b**2).sum() for b in expected))


def test_input_gradient_of_a_linear_model_has_its_closed_form(float64):
    matrix = np.random.default_rng(1).normal(size=(FEATURES, FEATURES))
    x = windows()
    gradient = input_gradient(linear_network(matrix), x)
    # l = mean (xA - y)^2 with y = x held constant, so n dl/dx = 2 (xA - x) A^T
    expected = 2 * (np.array(x) @ matrix - np.array(x)) @ matrix.T
    assert_close(gradient, expected, 1e-12)


def test_l2_weight_gradient_of_a_linear_model_has_its_closed_form(float64):
    scale = 1.7  # f(x) = a x: g = 2 a (a - 1) x, P = mean g^2, dP/da = 8 a (a - 1) (2a - 1) mean x^2
    network = linear_network(np.eye(1) * scale)
    x = windows(n_features=1)
    (found,) = penalty_gradients(exact_objective, network, x, CONFIGS["l2"])
    expected = 8 * scale * (scale - 1) * (2 * scale - 1) * np.mean(np.array(x) ** 2)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-10)


def test_penalty_equals_the_loop_over_its_definition(config):
    gradient = np.random.default_rng(2).normal(size=(4, WINDOW, FEATURES)) * 0.1
    found = penalty_of(tf.constant(gradient), config)
    expected = [naive.penalty(g, config.penalty, config.direction, config.penalty_threshold, NORM_FLOOR) for g in gradient]
    assert_close(found, expected, 1e-12)


def test_directional_penalty_takes_a_direction_for_each_timestep():
    direction = np.random.default_rng(4).normal(size=(WINDOW, FEATURES))
    config = PenaltyConfig(penalty="directional", direction=tuple(map(tuple, direction.tolist())))
    gradient = np.random.default_rng(5).normal(size=(3, WINDOW, FEATURES))
    expected = [naive.penalty(g, "directional", direction, floor=NORM_FLOOR) for g in gradient]
    assert_close(penalty_of(tf.constant(gradient), config), expected, 1e-12)


def test_directional_penalty_is_zero_along_the_direction_and_one_against_it():
    along = tf.constant(np.tile([1.0, 0.0, -2.0], (1, WINDOW, 1)))
    assert float(penalty_of(along, CONFIGS["directional"])[0]) == 0
    assert float(penalty_of(-along, CONFIGS["directional"])[0]) == pytest.approx(1, abs=1e-4)


def test_hinge_is_zero_below_its_threshold():
    gradient = tf.constant(np.full((1, WINDOW, FEATURES), 0.04))
    assert float(penalty_of(gradient, CONFIGS["hinge"])[0]) == 0
    assert float(penalty_of(2 * gradient, CONFIGS["hinge"])[0]) == pytest.approx(0.03)


OPTIONS = [{}, {"layers": 2}, {"bidirectional": True}, {"code_size": 2, "output_order": "forward"}]


# A penalty knows nothing of the network: each meets two of the four, and each network two penalties.
@pytest.mark.parametrize(
    ("config", "options"), [(name, OPTIONS[(n + k) % 4]) for n, name in enumerate(CONFIGS) for k in (0, 1)], indirect=["config"]
)
def test_exact_gradient_equals_central_differences_in_float64(float64, config, options):
    network, x = lstm(**options), windows()
    found = penalty_gradients(exact_objective, network, x, config)
    variables = network.trainable_variables
    start = [v.numpy() for v in variables]
    losses = window_losses(network(x), x)  # held constant
    rng = np.random.default_rng(7)
    direction = [rng.normal(size=v.shape) for v in start]

    def penalty_at(step):
        for variable, value, d in zip(variables, start, direction, strict=True):
            variable.assign(value + step * d)
        return float(tf.reduce_mean(scaled_penalty(input_gradient(network, x), losses, config)))

    h = 1e-5
    slope = (penalty_at(-2 * h) - 8 * penalty_at(-h) + 8 * penalty_at(h) - penalty_at(2 * h)) / (12 * h)
    along = sum((g * d).sum() for g, d in zip(found, direction, strict=True))
    assert along == pytest.approx(slope, rel=1e-5)


def test_loss_is_the_reconstruction_loss_plus_the_weighted_penalty(config):
    network, x = lstm(), windows(dtype="float32")
    parts = exact_objective(network, x, config, 0.3, training=False)
    assert float(parts.gradient_penalty) > 0
    assert float(parts.loss) == pytest.approx(float(parts.reconstruction_loss) + 0.3 * float(parts.gradient_penalty), rel=1e-6)
    assert float(parts.reconstruction_loss) == pytest.approx(float(np.mean((np.array(network(x)) - x) ** 2)), rel=1e-5)


def test_input_gradient_of_a_window_does_not_depend_on_its_batch(float64):
    network, x = lstm(), windows(n=7)
    together = np.array(input_gradient(network, x))
    for i in range(7):
        assert_close(together[i], np.array(input_gradient(network, x[i : i + 1]))[0], 1e-10)


@pytest.mark.parametrize("window_size, n_features", [(6, 3), (24, 3), (6, 12), (24, 12)])
def test_penalty_means_the_same_whatever_the_window_and_the_features(float64, config, window_size, n_features):
    # The same value in every cell and a map that acts on each alone: the penalty must not notice the shape.
    inputs = keras.Input((window_size, n_features))
    network = keras.Model(inputs, keras.layers.Rescaling(1.5)(inputs))
    x = tf.ones((2, window_size, n_features), "float64")
    if config.penalty == "directional":
        config = PenaltyConfig(penalty="directional", direction=(-1.0,) * n_features)
    expected = {"l2": 9, "l1": 3, "hinge": 2.95, "directional": 1.0}  # e = 0.5, g = 2 * 1.5 * 0.5, u = 3 in every cell
    found = scaled_penalty(input_gradient(network, x), window_losses(network(x), x), config)
    np.testing.assert_allclose(found, expected[config.penalty] * 0.25, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_penalty_means_the_same_whatever_the_size_of_the_error(float64, config, factor):
    network, x = linear_network(np.random.default_rng(1).normal(size=(FEATURES, FEATURES))), windows()

    def share(x):
        losses = window_losses(network(x), x)
        return scaled_penalty(input_gradient(network, x), losses, config) / losses

    assert_close(share(factor * x), share(x), 1e-9)


def test_l2_is_the_mean_square_of_the_input_gradient_itself():
    gradient, losses = np.random.default_rng(3).normal(size=(4, WINDOW, FEATURES)), np.array([1e-3, 0.1, 1.0, 20.0])
    found = scaled_penalty(tf.constant(gradient), tf.constant(losses), CONFIGS["l2"])
    np.testing.assert_allclose(found, np.square(gradient).mean(axis=(1, 2)), rtol=1e-12)


def test_gradients_are_finite_where_the_input_gradient_is_zero(config):
    network = linear_network(np.eye(FEATURES, dtype="float32"))  # a perfect reconstruction: g = 0 everywhere
    parts = exact_objective(network, windows(dtype="float32"), config, 1.0)
    assert np.isfinite(parts.loss)
    assert all(np.isfinite(gradient).all() for gradient in parts.gradients)
