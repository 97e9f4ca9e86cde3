"""The written-out derivatives against tapes over the stock Keras model, and the two methods against each other."""

import functools
import itertools

import numpy as np
import pytest
from closeness import assert_close

from anomaly import config as settings
from anomaly.config import DetectorConfig, NetworkConfig, PenaltyConfig
from anomaly.network.model import build_autoencoder, get_weights, weight_shapes
from anomaly.network.passes import Passes
from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.gradients import exact_gradients, first_order, plain_gradients, two_pass_gradients
from anomaly.training.penalty import exact_objective, input_gradient, plain_objective, scaled_penalty
from anomaly.training.step import choose_plan

keras, tf = load_keras(), load_tensorflow()

WINDOW, FEATURES, BATCH = 5, 3, 8
ARCHITECTURES = {
    "default": {},
    "forward": {"output_order": "forward"},
    "two layers": {"layers": 2},
    "three layers": {"layers": 3, "output_order": "forward"},
    "bidirectional": {"bidirectional": True},
    "narrow code": {"code_size": 2},
    "all": {"layers": 2, "bidirectional": True, "code_size": 3},
    "pooled": {"pooling": 3, "output_order": "forward"},
    "both ways, pooled": {"bidirectional": True, "code_size": 3, "pooling": 2},
}
PENALTIES = {
    "l2": PenaltyConfig(penalty="l2"),
    "l1": PenaltyConfig(penalty="l1"),
    "directional": PenaltyConfig(penalty="directional", direction=(1.0, 0.0, -2.0)),
    "hinge": PenaltyConfig(penalty="hinge", penalty_threshold=0.001),
}
WEIGHT = 0.3
# Compiled code takes seconds to make: these have every option between them.
COMPILED = ("all", "pooled")
# A penalty knows nothing of the network: every architecture meets two of the four, every penalty four or five architectures.
PAIRS = [(name, form) for n, name in enumerate(ARCHITECTURES) for form in itertools.islice(itertools.cycle(PENALTIES), n, n + 2)]
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
each_pair = pytest.mark.parametrize(
    ("architecture", "penalty"), [(name, PENALTIES[form]) for name, form in PAIRS], ids=map("-".join, PAIRS)
)


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def made(options, dtype="float64", units=5, seed=3):
    """A Keras network with weights that are nowhere 0, its configuration, its weights as tensors, and a batch."""
    config = NetworkConfig(units=units, **options)
    network = build_autoencoder(config, WINDOW, FEATURES, seed=seed)
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(variable.numpy() + 0.2 * rng.normal(size=variable.shape))
    weights = {name: tf.constant(array, dtype) for name, array in full_weights(network, config).items()}
    return network, config, weights, tf.constant(rng.normal(size=(BATCH, WINDOW, FEATURES)), dtype)


@functools.cache
def known(architecture):
    """The same in float64, made once; do not change it."""
    return made(ARCHITECTURES[architecture])


@functools.cache
def known_plain(architecture):
    """The gradients of the reconstruction alone."""
    _, config, weights, x = known(architecture)
    return plain_gradients(run(config), weights, x, x, None)


@functools.cache
def known_noisy(pooling):
    """A network that draws, with a seed and the gradients of the reconstruction alone with it."""
    options = {"dropout": 0.4, "input_noise": 0.3, "layers": 2, "bidirectional": True, "pooling": pooling}
    _, config, weights, x = everything = made(options)
    seed = tf.constant((3, 5))
    return everything, seed, plain_gradients(run(config), weights, x, x, seed)


@functools.cache
def known_exact(architecture, penalty):
    _, config, weights, x = known(architecture)
    return exact_gradients(config, weights, x, x, None, penalty, WEIGHT)


def full_weights(network, config):
    """`get_weights` without its rounding to float32."""
    rounded, variables = get_weights(network), [v.numpy() for v in network.trainable_variables]
    return {name: next(v for v in variables if v.shape == a.shape and np.allclose(v, a, atol=1e-6)) for name, a in rounded.items()}


def by_name(network, config, arrays):
    """Name arrays that stand in the order of the network's variables."""
    found, variables = {}, [v.numpy() for v in network.trainable_variables]
    for name, own in get_weights(network).items():
        place = next(i for i, v in enumerate(variables) if v.shape == own.shape and np.allclose(v, own, atol=1e-6))
        found[name] = np.array(arrays[place])
    return found


def run(config):
    return lambda weights, windows, targets, seed: first_order(config, weights, windows, targets, seed)


def assert_same(found, expected, rtol):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert_close(found[name], array, rtol, size=max(np.abs(array).max(), 1e-9), name=name)


def relative_error(found, expected):
    difference = np.sqrt(sum(((np.array(found[name]) - np.array(a)) ** 2).sum() for name, a in expected.items()))
    return difference / np.sqrt(sum((np.array(a) ** 2).sum() for a in expected.values()))


def penalty_part(gradients, plain):
    return {name: np.array(gradients.by_weight[name]) - np.array(array) for name, array in plain.by_weight.items()}


@pytest.mark.parametrize(
    ("architecture", "compiled"), [(name, False) for name in ARCHITECTURES] + [(name, True) for name in COMPILED]
)
def test_passes_give_the_output_and_the_ordinary_gradients_of_the_keras_model(float64, architecture, compiled):
    network, config, weights, x = known(architecture)
    taken = functools.partial(first_order, config, weights)
    if compiled:
        taken = tf.function(taken, jit_compile=True, autograph=False)
    found, expected = taken(x, x, None), plain_objective(network, x, training=False)
    assert_close(Passes(config, weights, x.shape, None, tangents=False).forward(x), network(x), 1e-12)
    assert float(tf.reduce_mean(found.losses)) == pytest.approx(float(expected.loss), rel=1e-12)
    assert_close(WINDOW * FEATURES * found.by_input, input_gradient(network, x), 1e-10)
    gradients = {name: np.array(a) / BATCH for name, a in found.by_weight.items()}
    assert_same(gradients, by_name(network, config, expected.gradients), 1e-10)


def test_every_penalty_meets_four_architectures_and_every_architecture_two_penalties():
    assert all(sum(form == other for _, other in PAIRS) >= 4 for form in PENALTIES)
    assert all(sum(name == other for other, _ in PAIRS) == 2 for name in ARCHITECTURES) and len(set(PAIRS)) == len(PAIRS)


def test_every_penalty_is_differentiated():
    assert {*PENALTIES, "none"} == set(settings.PENALTIES)


def test_the_compiled_architectures_have_every_option():
    used = [ARCHITECTURES[name].items() for name in COMPILED]
    assert {option for options in used for option, _ in options} == {
        option for options in ARCHITECTURES.values() for option in options
    }


@each_pair
def test_exact_gradients_are_those_of_double_back_propagation(float64, architecture, penalty):
    network, config, _, x = known(architecture)
    found, expected = known_exact(architecture, penalty), exact_objective(network, x, penalty, WEIGHT, training=False)
    assert float(found.reconstruction_loss) == pytest.approx(float(expected.reconstruction_loss), rel=1e-12)
    assert float(found.gradient_penalty) == pytest.approx(float(expected.gradient_penalty), rel=1e-10)
    assert_same(found.by_weight, by_name(network, config, expected.gradients), 1e-9)


@each_penalty
def test_gradients_with_missing_values_are_those_of_double_back_propagation_over_the_known_ones(float64, penalty):
    network, config, weights, x = made({})
    known = np.random.default_rng(1).random(x.shape) > 0.3
    known[0] = True
    targets, sizes = tf.where(known, x, np.nan), known.sum(axis=(1, 2), keepdims=True)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            losses = tf.reduce_sum(tf.where(known, network(x) - tf.stop_gradient(x), 0) ** 2, axis=(1, 2)) / sizes[:, 0, 0]
        gradient = tf.where(known, sizes * inner.gradient(losses, x), 0)
        penalties = tf.reduce_mean(scaled_penalty(gradient, losses, penalty))
        loss = tf.reduce_mean(losses) + 0.3 * penalties
    unconnected = tf.UnconnectedGradients.ZERO
    expected = by_name(network, config, outer.gradient(loss, network.trainable_variables, unconnected_gradients=unconnected))
    found = exact_gradients(config, weights, x, targets, None, penalty, 0.3)
    assert float(found.reconstruction_loss) == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-12)
    assert float(found.gradient_penalty) == pytest.approx(float(penalties), rel=1e-10)
    assert_same(found.by_weight, expected, 1e-9)
    two_pass = two_pass_gradients(run(config), weights, x, targets, None, penalty, 0.3)
    assert relative_error(two_pass.by_weight, expected) <= 1e-5


def test_exact_gradients_survive_the_compiler(float64):
    name = "both ways, pooled"
    _, config, weights, x = known(name)
    penalty = PENALTIES["l1"]
    traced = tf.function(
        lambda x: exact_gradients(config, weights, x, x, None, penalty, WEIGHT).by_weight, jit_compile=True, autograph=False
    )
    assert_same(traced(x), known_exact(name, penalty).by_weight, 1e-9)


@each_pair
def test_two_pass_equals_exact_in_float64(float64, architecture, penalty):
    _, config, weights, x = known(architecture)
    plain = known_plain(architecture)
    exact = penalty_part(known_exact(architecture, penalty), plain)
    two_pass = penalty_part(two_pass_gradients(run(config), weights, x, x, None, penalty, WEIGHT), plain)
    # The directional form divides by the length of g: its third derivatives are large.
    assert relative_error(two_pass, exact) <= (1e-5 if penalty.penalty == "directional" else 1e-6)


@pytest.mark.parametrize(("name", "pooling"), [("l2", 1), ("l1", 1), ("hinge", 1), ("l2", 3)])
def test_two_pass_equals_exact_in_float32(name, pooling):
    config = NetworkConfig(units=32, pooling=pooling)
    network = build_autoencoder(config, 24, 4, seed=1)
    weights = {name: tf.constant(array) for name, array in get_weights(network).items()}
    t = np.arange(24)[None, :, None]
    rng = np.random.default_rng(0)
    x = tf.constant(np.sin(t / 5 + rng.uniform(0, 6, (32, 1, 4))) + 0.2 * rng.normal(size=(32, 24, 4)), "float32")
    plain = plain_gradients(run(config), weights, x, x, None)
    exact = penalty_part(exact_gradients(config, weights, x, x, None, PENALTIES[name], 1.0), plain)
    two_pass = penalty_part(two_pass_gradients(run(config), weights, x, x, None, PENALTIES[name], 1.0), plain)
    assert relative_error(two_pass, exact) <= 3e-3


@pytest.mark.parametrize(("form", "pooling"), [("l2", 1), ("directional", 1), ("l1", 3), ("hinge", 3)])
def test_both_passes_draw_the_same_dropout_and_noise(float64, form, pooling):
    penalty = PENALTIES[form]
    (_, config, weights, x), seed, plain = known_noisy(pooling)
    exact = penalty_part(exact_gradients(config, weights, x, x, seed, penalty, 1.0), plain)
    two_pass = penalty_part(two_pass_gradients(run(config), weights, x, x, seed, penalty, 1.0), plain)
    assert relative_error(two_pass, exact) <= 1e-5


def test_dropout_and_noise_depend_on_the_seed_and_need_one(float64):
    _, config, weights, x = made({"dropout": 0.4, "input_noise": 0.3})
    first, same, other, off = (
        Passes(config, weights, x.shape, seed, tangents=False).forward(x).numpy()
        for seed in (tf.constant((1, 2)), tf.constant((1, 2)), tf.constant((1, 3)), None)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any() and (first != off).any()
    bare = NetworkConfig(units=5)
    np.testing.assert_array_equal(off, Passes(bare, weights, x.shape, None, tangents=False).forward(x).numpy())


@pytest.mark.parametrize(("window_size", "pooling"), [(10, 1), (29, 3)])
def test_dropout_keeps_the_share_it_should_and_the_mean(window_size, pooling):
    config = NetworkConfig(units=64, dropout=0.3, layers=2, pooling=pooling)
    weights = {name: tf.zeros(shape) for name, shape in weight_shapes(config, 2).items()}
    passes = Passes(config, weights, (200, window_size, 2), tf.constant((0, 0)), tangents=False)
    masks = [mask for mask in (*passes._encoder_masks, *passes._decoder_masks) if mask is not None]
    assert [mask.shape for mask in masks] == [(10, 200, 64), (200, 64), (10, 200, 64)]
    for mask in masks:
        assert set(np.unique(mask)) == {0, np.float32(1 / 0.7)}
        assert np.mean(mask) == pytest.approx(1, abs=0.02)
    assert (masks[0].numpy() != masks[2].numpy()).any()


@each_penalty
@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_gradients_are_finite_where_the_input_gradient_is_zero(penalty, method):
    config = NetworkConfig(units=4)
    weights = {name: tf.constant(a) for name, a in get_weights(build_autoencoder(config, WINDOW, FEATURES)).items()}
    x = tf.zeros((BATCH, WINDOW, FEATURES))  # reconstructed without error, as fresh output biases are 0
    args = (weights, x, x, None, penalty, 1.0)
    found = exact_gradients(config, *args) if method == "exact" else two_pass_gradients(run(config), *args)
    assert float(found.reconstruction_loss) == 0
    assert all(np.isfinite(array).all() for array in found.by_weight.values())


@pytest.mark.parametrize("architecture", ["all", "both ways, pooled"])  # of all, in float64: the comparisons above
@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_every_weight_has_a_gradient_of_its_shape(architecture, method):
    _, config, weights, x = made(ARCHITECTURES[architecture], dtype="float32")
    args = (weights, x, x, None, PENALTIES["l2"], 0.5)
    found = exact_gradients(config, *args) if method == "exact" else two_pass_gradients(run(config), *args)
    assert {name: tuple(array.shape) for name, array in found.by_weight.items()} == weight_shapes(config, FEATURES)
    assert all(np.isfinite(array).all() for array in found.by_weight.values())


def test_no_loop_is_differentiated_by_machine():
    # Two layers: one loop forward and one backward for each, in every pass; a tape would add its own.
    config = NetworkConfig(units=4)
    weights = {name: tf.constant(a) for name, a in get_weights(build_autoencoder(config, WINDOW, FEATURES)).items()}

    def loops(function):
        graph = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((2, WINDOW, FEATURES))).graph
        return sum(op.type in ("While", "StatelessWhile") for op in graph.get_operations())

    assert loops(lambda x: first_order(config, weights, x, x, None)) == 4
    assert loops(lambda x: exact_gradients(config, weights, x, x, None, PENALTIES["l2"], 0.1)) == 8
    assert loops(lambda x: two_pass_gradients(run(config), weights, x, x, None, PENALTIES["l2"], 0.1)) == 8


@pytest.mark.parametrize("penalty_method", ["exact", "two_pass"])
def test_plan_of_a_pooled_network_is_that_of_as_many_timesteps(penalty_method):
    def plan(window_size, n_steps, **settings):
        config = DetectorConfig.from_settings({"units": 64, "penalty_method": penalty_method} | settings)
        return choose_plan(config, window_size, 4, 64, n_steps, 2)

    for n_steps in (1, 30, 100, 300, 1000, 10**6):
        assert plan(509, n_steps, pooling=8) == plan(64, n_steps, pooling=1)
    assert plan(509, 30, pooling=1) != plan(64, 30, pooling=1)
