"""The derivative of the penalty by the weights: both ways against each other, finite differences and our own engine."""

import numpy as np
import pytest
from one_step import gradients_of_step, penalty_gradients, relative_error

from anomaly.config import NetworkConfig, PenaltyConfig
from anomaly.errors import ConfigError
from anomaly.keras import InputGradientModel, InputGradientPenalty, input_gradient
from anomaly.network.model import build_autoencoder, get_weights
from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.gradients import exact_gradients

keras, tf = load_keras(), load_tensorflow()

layers = keras.layers
L2 = InputGradientPenalty("l2", weight=1)
STEPS = 4  # each costs as much as the first
FORMS = {
    "l2": L2,
    "l1": InputGradientPenalty("l1", weight=1),
    "directional": InputGradientPenalty("directional", weight=1, direction=[1, -1, 0]),
    "hinge": InputGradientPenalty("hinge", weight=1, threshold=0.02),
    "l2 of the error": InputGradientPenalty("l2", weight=1, units="error"),
    "directional of the error": InputGradientPenalty("directional", weight=1, direction=[1, -1, 0], units="error"),
    "hinge of the error": InputGradientPenalty("hinge", weight=1, threshold=0.2, units="error"),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(keras.config.floatx())


def attention():
    inputs = keras.Input((STEPS, 3))
    x = layers.Dense(8)(inputs)
    x = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True) + x
    return keras.Model(inputs, layers.Dense(2)(layers.RMSNormalization()(x)))


def sequential(*stack):
    return keras.Sequential([keras.Input((STEPS, 3)), *stack, layers.Dense(2)])


NETWORKS = {
    "dense": lambda: sequential(layers.Flatten(), layers.Dense(9, "tanh"), layers.Dense(7, "gelu")),
    "convolution": lambda: sequential(layers.Conv1D(8, 3, activation="tanh"), layers.MaxPooling1D(2)),
    "LSTM": lambda: sequential(layers.LSTM(6, return_sequences=True), layers.LSTM(5)),
    "GRU": lambda: sequential(layers.Bidirectional(layers.GRU(5, return_sequences=True))),
    "attention": attention,
    "dropout and noise": lambda: sequential(
        layers.GaussianNoise(0.3), layers.LSTM(6, dropout=0.3, recurrent_dropout=0.2), layers.Dense(9, "tanh"), layers.Dropout(0.4)
    ),
    "no variance": lambda: sequential(
        layers.UnitNormalization(), layers.Dense(5, "tanh"), layers.BatchNormalization(trainable=False)
    ),
    "regularised": lambda: sequential(
        layers.Dense(5, "tanh", kernel_regularizer="l2", activity_regularizer="l2"), layers.Flatten()
    ),
}


# Layers whose nested derivative is wrong.
NORMALISED = {
    "batch normalisation": lambda: sequential(layers.Conv1D(8, 3), layers.BatchNormalization(), layers.Activation("tanh")),
    "layer normalisation": lambda: sequential(layers.Dense(5), layers.LayerNormalization(), layers.Activation("tanh")),
    "group normalisation": lambda: sequential(layers.Dense(4), layers.GroupNormalization(2), layers.Activation("tanh")),
}


def made(name, *, size=12):
    keras.utils.set_random_seed(5)
    network = (NETWORKS | NORMALISED)[name]()
    return network, normal(size, STEPS, 3), normal(size, *network.output_shape[1:], seed=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_ways_agree_for_every_kind_of_layer(name):
    network, x, y = made(name)
    exact, two_pass = (penalty_gradients(network, L2, x, y, method=method) for method in ("exact", "two_pass"))
    assert relative_error(two_pass, exact) < 3e-3


@pytest.mark.parametrize("form", FORMS)
def test_both_ways_agree_for_every_form(form):
    network, x, y = made("dense")
    exact, two_pass = (penalty_gradients(network, FORMS[form], x, y, method=method) for method in ("exact", "two_pass"))
    assert relative_error(two_pass, exact) < (2e-2 if "directional" in form else 3e-3)


def test_both_ways_agree_beside_an_embedding():
    words, numbers = keras.Input((4,), dtype="int32", name="words"), keras.Input((3,), name="numbers")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(9, 2)(words)), numbers])
    network = keras.Model([words, numbers], layers.Dense(1)(layers.Dense(6, "tanh")(x)))
    x, y = [np.arange(40).reshape(10, 4) % 9, normal(10, 3)], normal(10, 1, seed=1)
    exact, two_pass = (penalty_gradients(network, L2, x, y, method=method) for method in ("exact", "two_pass"))
    assert np.abs(exact[0]).max() > 0  # the embedding feels the penalty on its neighbour
    assert relative_error(two_pass, exact) < 3e-3


@pytest.fixture
def double():
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float64")
    yield
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float32")


@pytest.mark.parametrize(
    ("name", "form", "method"),
    [("dense", form, method) for form in FORMS for method in ("exact", "two_pass")]
    + [(name, "l2", "two_pass") for name in NORMALISED],
)
def test_it_is_the_slope_of_the_penalty(name, form, method, double):
    """Finite differences of the mean penalty along a random direction of the weights, in float64."""
    network, x, y = made(name)
    penalty, step = FORMS[form], 1e-5
    along = [normal(*weight.shape, seed=2) for weight in network.trainable_variables]
    start = [weight.numpy() for weight in network.trainable_variables]
    losses = tf.constant(np.mean((network(x, training=True).numpy() - y) ** 2, axis=tuple(range(1, y.ndim))))
    values = []
    for sign in (1, -1):
        for variable, weight, move in zip(network.trainable_variables, start, along, strict=True):
            variable.assign(weight + sign * step * move)
        gradient = tf.constant(input_gradient(network, x, y, loss="mse", training=True))
        values.append(float(np.mean(penalty.of(gradient, losses))))  # in units of the error the losses are held
    for variable, weight in zip(network.trainable_variables, start, strict=True):
        variable.assign(weight)
    found = penalty_gradients(network, penalty, x, y, method=method)
    slope = sum(np.sum(gradient * move) for gradient, move in zip(found, along, strict=True))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("form", ["l2", "l1", "hinge", "directional"])
def test_it_is_what_our_own_engine_takes(form):
    """The derivatives written out for the autoencoder, with the same weights and the same batch."""
    config = NetworkConfig(units=5, layers=2)
    network, x = build_autoencoder(config, 8, 3, seed=4), normal(10, 8, 3)
    direction, threshold = (1.0, -1.0, 0.5) if form == "directional" else None, 0.1 if form == "hinge" else None
    ours = PenaltyConfig(penalty=form, direction=direction, penalty_threshold=threshold or 1.0)
    weights = {name: tf.constant(weight) for name, weight in get_weights(network).items()}
    expected = exact_gradients(config, weights, tf.constant(x), tf.constant(x), None, ours, 0.7)
    penalty = InputGradientPenalty(form, weight=0.7, direction=direction, threshold=threshold, units="error")
    model = InputGradientModel(network, penalty, method="exact")
    found = gradients_of_step(model, x, x)
    by_name = [expected.by_weight[name].numpy() for name in get_weights(network)]
    assert relative_error(found, by_name) < 1e-5


def test_the_task_is_differentiated_as_keras_does_it():
    """With weight 0, a step is that of the network itself, whatever its regularisers."""
    for name in (*NETWORKS, *NORMALISED):
        if name == "dropout and noise":
            continue  # its seeds move on
        network, x, y = made(name)
        state = [(variable, variable.numpy()) for variable in network.variables]
        network.compile(keras.optimizers.SGD(1.0), loss="mse", run_eagerly=True)
        network.train_on_batch(x, y)
        expected = [weight.numpy() for weight in network.trainable_variables]
        for variable, value in state:
            variable.assign(value)
        for method in ("auto", "two_pass") if name in NORMALISED else ("exact", "two_pass"):
            model = InputGradientModel(network, InputGradientPenalty("l2", weight=0), method=method)
            model.compile(keras.optimizers.SGD(1.0), loss="mse", run_eagerly=True)
            model.train_on_batch(x, y)
            for weight, wanted in zip(network.trainable_variables, expected, strict=True):
                np.testing.assert_allclose(weight.numpy(), wanted, rtol=1e-4, atol=1e-6)
            for variable, value in state:
                variable.assign(value)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_statistics_and_seeds_move_on_once_a_step(method, every):
    """As in a plain step: a second pass that moved them again would show."""
    stack = [layers.BatchNormalization()] * (method == "two_pass") + [layers.Dropout(0.5), layers.GaussianNoise(0.1)]
    x, y = normal(8, STEPS, 3), normal(8, STEPS, 2)
    after = []
    for penalised in (False, True):
        keras.utils.set_random_seed(1)
        network = sequential(
            *[type(layer).from_config(layer.get_config() | {"name": f"{layer.name}_{penalised}"}) for layer in stack]
        )
        model = InputGradientModel(network, L2, method=method, every=every) if penalised else network
        model.compile(keras.optimizers.SGD(0.0), loss="mse")
        for _ in range(3):
            model.train_on_batch(x, y)
        after.append([variable.numpy() for variable in network.non_trainable_variables])
    for plain, penalised in zip(*after, strict=True):
        np.testing.assert_allclose(penalised, plain, rtol=1e-6)


@pytest.mark.parametrize("name", NORMALISED)
def test_exact_is_refused_where_nested_tapes_are_wrong_and_auto_does_without(name):
    network = made(name)[0]
    message = (
        "method='exact' must not be used with a variance of tf.nn.moments, which cuts a part of its second derivative off: "
        "nested tapes give wrong gradients. Received: .*_normalization.*. Use method='two_pass', which does not need it."
    )
    with pytest.raises(ConfigError, match=message):
        InputGradientModel(network, L2, method="exact")
    assert InputGradientModel(network, FORMS["directional"]).method == "two_pass"


def test_moments_in_a_layer_of_ones_own_are_found():
    class Centred(keras.Layer):
        def call(self, x):
            mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
            return (x - mean) / (variance + 1)

    model = InputGradientModel(sequential(Centred()), L2, method="exact")
    model.compile("sgd", loss="mse")
    with pytest.raises(ConfigError, match="must not be used with a variance of tf.nn.moments.*moments/StopGradient"):
        model.train_on_batch(normal(4, STEPS, 3), normal(4, STEPS, 2))


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_noise_without_a_seed_of_its_own_still_changes_from_step_to_step(method):
    class Noise(keras.Layer):
        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x))

    model = InputGradientModel(sequential(Noise()), L2, method=method)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    x, y = normal(8, STEPS, 3), normal(8, STEPS, 2)
    losses = set()
    for _ in range(3):
        model.reset_metrics()
        losses.add(float(model.train_on_batch(x, y)[0]))
    assert len(losses) == 3


class RawNoise(keras.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def test_noise_that_cannot_be_drawn_twice_is_refused_by_two_pass_and_taken_by_exact():
    x, y = normal(8, STEPS, 3), normal(8, STEPS, 2)
    model = InputGradientModel(sequential(RawNoise()), L2, method="two_pass")
    model.compile("sgd", loss="mse")
    message = (
        "method='two_pass' needs noise that can be drawn twice. Received: RandomStandardNormal, of tf.random. "
        "Draw it by keras.random with a keras.random.SeedGenerator, or use method='exact'."
    )
    with pytest.raises(ConfigError, match=message):
        model.train_on_batch(x, y)
    model = InputGradientModel(sequential(RawNoise()), L2, method="exact")
    model.compile("sgd", loss="mse")
    assert np.isfinite(model.train_on_batch(x, y)[0])


class LocalResponse(keras.Layer):
    """An operation of TensorFlow without a second derivative, on every machine, as cuDNN's are on some."""

    def call(self, x):
        return tf.nn.local_response_normalization(x[:, :, None], depth_radius=1)[:, :, 0]


@pytest.mark.parametrize("eager", [False, True])
def test_exact_says_which_operation_has_no_second_derivative_and_two_pass_does_without(eager):
    x, y = normal(8, STEPS, 3), normal(8, STEPS, 2)
    model = InputGradientModel(sequential(layers.Dense(4), LocalResponse(name="odd_one")), L2, method="exact")
    model.compile("sgd", loss="mse", run_eagerly=eager)
    where = "" if eager else r" \(in .*odd_one.*LRNGrad\)"
    message = rf"method='exact' needs a second derivative of every operation. Received: LRNGrad{where}, which has none. Use"
    with pytest.raises(ConfigError, match=message):
        model.train_on_batch(x, y)
    model = InputGradientModel(model.network, L2, method="two_pass")
    model.compile("sgd", loss="mse", run_eagerly=eager)
    assert np.isfinite(model.train_on_batch(x, y)[0])


@pytest.mark.parametrize(("dtype", "method", "bound"), [
    ("mixed_float16", "two_pass", 0.05), ("mixed_bfloat16", "two_pass", 0.1),
    ("mixed_float16", "exact", 0.01), ("mixed_bfloat16", "exact", 0.05),
])  # fmt: skip
def test_in_mixed_precision_it_is_as_right_as_that_precision_allows(dtype, method, bound):
    network, x, y = made("dense", size=64)
    expected = penalty_gradients(network, L2, x, y, method="exact")
    keras.config.set_dtype_policy(dtype)
    try:
        mixed = made("dense")[0]
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(network.get_weights())
    assert relative_error(penalty_gradients(mixed, L2, x, y, method=method), expected) < bound


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_masked_timesteps_take_no_part(method):
    """A batch with padding has the gradients of the samples without it."""
    keras.utils.set_random_seed(2)
    stack = [layers.LSTM(5, return_sequences=True), layers.Dense(2)]
    short = keras.Sequential([keras.Input((3, 3)), *stack])
    long = keras.Sequential([keras.Input((STEPS, 3)), layers.Masking(), *stack])
    x, y = normal(8, 3, 3), normal(8, 3, 2)
    padded, targets = (np.concatenate([array, np.zeros_like(array[:, :1])], axis=1) for array in (x, y))
    for penalty in (
        L2,
        InputGradientPenalty("hinge", weight=1, threshold=0.01),
        InputGradientPenalty("l1", weight=1, units="error"),
    ):
        expected = penalty_gradients(short, penalty, x, y, method="exact")
        assert relative_error(penalty_gradients(long, penalty, padded, targets, method=method), expected) < 3e-3
    found = input_gradient(long, padded, targets, loss="mse")
    np.testing.assert_allclose(found[:, :3], input_gradient(short, x, y, loss="mse"), rtol=1e-4, atol=1e-7)
    assert not found[:, 3:].any()


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_a_mask_is_known_where_the_output_has_no_timesteps(method):
    keras.utils.set_random_seed(2)
    stack = [layers.LSTM(5), layers.Dense(2)]
    short = keras.Sequential([keras.Input((3, 3)), *stack])
    long = keras.Sequential([keras.Input((STEPS, 3)), layers.Masking(), *stack])
    x, y = normal(8, 3, 3), normal(8, 2)
    padded = np.concatenate([x, np.zeros_like(x[:, :1])], axis=1)
    penalty = InputGradientPenalty("hinge", weight=1, threshold=0.01)
    expected = penalty_gradients(short, penalty, x, y, method="exact")
    assert relative_error(penalty_gradients(long, penalty, padded, y, method=method), expected) < 3e-3


@pytest.mark.parametrize("name", ["dense", "LSTM"])
@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_a_sample_of_weight_two_counts_twice_and_one_of_weight_0_not_at_all(name, method):
    network, x, y = made(name)
    weight = np.array([2, 1, 0] * 4, np.float32)
    repeated = np.repeat(np.arange(12), weight.astype(int))  # as many rows as there were
    expected = penalty_gradients(network, L2, x[repeated], y[repeated], method="exact")
    assert relative_error(penalty_gradients(network, L2, x, y, weight, method=method), expected) < 3e-3


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_one_weight_a_sample_multiplies_every_timestep(method):
    network, x = made("GRU")[:2]
    y, weight = normal(12, STEPS, 2), np.array([2, 1, 0] * 4, np.float32)
    repeated = np.repeat(np.arange(12), weight.astype(int))
    found, expected = (
        gradients_of_step(InputGradientModel(network, L2, method=method), *batch)
        for batch in ((x, y, weight), (x[repeated], y[repeated]))
    )
    assert relative_error(found, expected) < 3e-3


def test_weights_of_timesteps_act_within_a_sample():
    """A timestep of weight 0 has no part in the loss whose gradient is penalised."""
    network, x = made("GRU")[:2]
    y, weight = normal(12, STEPS, 2), np.ones((12, STEPS), np.float32)
    weight[:, 3:] = 0
    first = penalty_gradients(network, L2, x, y, weight, method="exact")
    y[:, 3:] += 100
    second = penalty_gradients(network, L2, x, y, weight, method="exact")
    assert relative_error(second, first) < 1e-3


def test_inputs_of_very_different_sizes_do_not_spoil_the_difference():
    inputs = keras.Input((3,))
    scaled = layers.Rescaling([1e-4, 1.0, 1e3])(inputs)
    network = keras.Model(inputs, layers.Dense(1)(layers.Dense(6, "tanh")(scaled)))
    x, y = normal(20, 3) * np.float32([1e4, 1.0, 1e-3]), normal(20, 1)
    exact, two_pass = (penalty_gradients(network, L2, x, y, method=method) for method in ("exact", "two_pass"))
    assert relative_error(two_pass, exact) < 2e-2
