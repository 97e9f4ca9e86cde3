"""Input gradients against closed forms and finite differences, for inputs, targets and losses of any shape."""

import numpy as np
import pytest

from anomaly.errors import ConfigError
from anomaly.keras import InputGradientModel, InputGradientPenalty, input_gradient
from anomaly.tensorflow_start import load_keras

keras = load_keras()

layers = keras.layers


@pytest.fixture(autouse=True)
def double():
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float64")
    yield
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float32")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def dense(n_inputs, n_outputs, **options):
    return keras.Sequential([keras.Input((n_inputs,)), layers.Dense(n_outputs, **options)])


def test_a_linear_model_has_the_gradient_of_the_textbook():
    """l = mean (W x + b - y)^2, so dl/dx = 2/m W (W x + b - y)."""
    model, x, y = dense(3, 2), normal(7, 3), normal(7, 2, seed=1)
    kernel, bias = (np.array(weight) for weight in model.get_weights())
    expected = (x @ kernel + bias - y) @ kernel.T * 2 / 2
    np.testing.assert_allclose(input_gradient(model, x, y, loss="mse"), expected, rtol=1e-12)


def test_a_quadratic_model_has_the_gradient_of_the_textbook():
    """f = sum x^2 and l = f, so dl/dx = 2 x."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.sum(inputs**2, axis=1, keepdims=True))
    x = normal(5, 4)
    np.testing.assert_allclose(input_gradient(model, x, np.zeros((5, 1)), loss=lambda y, p: p[:, 0]), 2 * x, rtol=1e-12)


def test_an_autoencoder_without_targets_holds_its_input_constant():
    """With the target held, dl/dx = 2/n J^T (f(x) - x); through the target it would have a further part."""
    model, x = dense(3, 3), normal(6, 3)
    kernel, bias = (np.array(weight) for weight in model.get_weights())
    expected = 2 / 3 * (x @ kernel + bias - x) @ kernel.T
    np.testing.assert_allclose(input_gradient(model, x, loss="mse"), expected, rtol=1e-12)


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((4, 3)), layers.Dense(5, "tanh"), layers.Conv1D(2, 2, padding="same", activation="softmax")]
    )


LOSSES = {
    "values a timestep": ("mse", normal(5, 4, 2)),
    "a function": (lambda y, p: keras.ops.abs(y - p) ** 3, normal(5, 4, 2)),  # (n, 4, 2): not reduced at all
    "an object": (keras.losses.Huber(0.3), normal(5, 4, 2)),
    "summed by Keras": (keras.losses.MeanSquaredError(reduction="sum"), normal(5, 4, 2)),
    "one-hot": ("categorical_crossentropy", np.eye(2)[np.arange(20).reshape(5, 4) % 2]),
    "integers": ("sparse_categorical_crossentropy", np.arange(20).reshape(5, 4) % 2),
    "chosen by Keras": ("crossentropy", np.arange(20).reshape(5, 4) % 2),
}


def loss_of(model, loss, x, y):
    """The mean of what the loss returns for one sample."""
    output = model(x[None], training=False)
    function = keras.losses.get("sparse_categorical_crossentropy" if loss == "crossentropy" else loss)
    return float(np.mean(getattr(function, "call", function)(keras.ops.convert_to_tensor(y[None]), output)))


@pytest.mark.parametrize("name", LOSSES)
def test_for_any_loss_it_is_the_slope_of_one_samples_loss(name):
    loss, y = LOSSES[name]
    model, x, step = network(), normal(5, 4, 3), 1e-6
    found = input_gradient(model, x, y, loss=loss, batch_size=2)
    rng = np.random.default_rng(1)
    for i in range(5):
        along = rng.normal(size=x[i].shape)
        ahead, behind = (loss_of(model, loss, x[i] + sign * step * along, y[i]) for sign in (1, -1))
        assert np.sum(found[i] * along) == pytest.approx((ahead - behind) / (2 * step), rel=1e-5)


def test_a_sample_does_not_feel_the_others_in_its_batch():
    model, x, y = network(), normal(7, 4, 3), normal(7, 4, 2)
    one_by_one = input_gradient(model, x, y, loss="mse", batch_size=1)
    for batch_size in (3, 100):
        np.testing.assert_allclose(input_gradient(model, x, y, loss="mse", batch_size=batch_size), one_by_one, rtol=1e-10)


def test_flat_targets_fit_a_column_of_outputs():
    """Targets (n,) against outputs (n, 1): no table of n times n."""
    model, x, y = dense(3, 1), normal(6, 3), normal(6, seed=2)
    kernel, bias = (np.array(weight) for weight in model.get_weights())
    expected = 2 * (x @ kernel + bias - y[:, None]) @ kernel.T
    for loss in ("mse", lambda y, p: keras.ops.mean((y - p) ** 2, axis=-1), keras.losses.MeanSquaredError()):
        np.testing.assert_allclose(input_gradient(model, x, y, loss=loss), expected, rtol=1e-12)


def two_inputs(subclassed=False):
    if not subclassed:
        words, numbers = keras.Input((4,), dtype="int32", name="words"), keras.Input((3,), name="numbers")
        x = layers.Concatenate()([layers.GlobalAveragePooling1D()(layers.Embedding(9, 2)(words)), numbers])
        return keras.Model({"words": words, "numbers": numbers}, layers.Dense(1)(x))

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = layers.Embedding(9, 2), layers.Dense(1)

        def call(self, inputs):
            words = keras.ops.mean(self.embedding(inputs["words"]), axis=1)
            return self.out(keras.ops.concatenate([words, inputs["numbers"]], axis=1))

    return Network()


@pytest.mark.parametrize("subclassed", [False, True])
def test_of_several_inputs_those_of_floats_are_taken(subclassed):
    model = two_inputs(subclassed)
    x = {"words": np.arange(20).reshape(5, 4) % 9, "numbers": normal(5, 3)}
    y = normal(5, 1, seed=1)
    found = input_gradient(model, x, y, loss="mse")
    kernel = model.trainable_variables[-2].numpy()[2:]
    expected = 2 * (model.predict(x, verbose=0) - y) @ kernel.T
    assert found["words"] is None
    np.testing.assert_allclose(found["numbers"], expected, rtol=1e-10)


@pytest.mark.parametrize("subclassed", [False, True])
def test_integers_have_no_gradient_and_one_is_told_so(subclassed):
    x = {"words": np.zeros((5, 4), int), "numbers": normal(5, 3)}
    message = (
        "A penalised input must hold floating-point numbers: integers, as an embedding takes them, have no gradient. "
        rf"Received: 'words \({'int64' if subclassed else 'int32'}\)'. Name the others with inputs=."
    )
    with pytest.raises(ConfigError, match=message):
        input_gradient(two_inputs(subclassed), x, normal(5, 1), loss="mse", inputs="words")


def test_an_unknown_input_is_refused():
    x = {"words": np.zeros((5, 4), int), "numbers": normal(5, 3)}
    with pytest.raises(ConfigError, match=r"`inputs` must name inputs of the model \('numbers', 'words'\). Received: 'letters'."):
        input_gradient(two_inputs(), x, normal(5, 1), loss="mse", inputs=["letters"])


def test_inputs_of_a_list_go_by_name_or_by_place():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], layers.Dense(1, use_bias=False)(a + 3 * b))
    x, y = [normal(4, 2), normal(4, 2, seed=1)], normal(4, 1, seed=2)
    both = input_gradient(model, x, y, loss="mse")
    np.testing.assert_allclose(both[1], 3 * both[0], rtol=1e-10)
    for wanted in ("b", 1, ["b"]):
        one = input_gradient(model, x, y, loss="mse", inputs=wanted)
        assert one[0] is None
        np.testing.assert_allclose(one[1], both[1])


def test_whole_numbers_for_an_input_of_floats_are_floats():
    model, x, y = dense(3, 1), np.arange(12).reshape(4, 3), normal(4, 1)
    np.testing.assert_allclose(input_gradient(model, x, y, loss="mse"), input_gradient(model, x.astype(float), y, loss="mse"))


def test_several_outputs_are_added_with_their_weights():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [layers.Dense(2, name="p")(inputs), layers.Dense(1, name="q")(inputs)])
    x, y = normal(5, 3), [normal(5, 2, seed=1), normal(5, 1, seed=2)]
    parts = [
        input_gradient(keras.Model(inputs, output), x, target, loss=loss)
        for output, target, loss in zip(model.outputs, y, ("mse", "mae"), strict=True)
    ]
    expected = 0.5 * parts[0] + 2 * parts[1]
    for loss, weights in ((["mse", "mae"], [0.5, 2.0]), ({"p": "mse", "q": "mae"}, {"p": 0.5, "q": 2.0})):
        found = input_gradient(model, x, y, loss=loss, loss_weights=weights)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_of_a_penalised_model_everything_is_known():
    network_, x, y = dense(3, 2), normal(4, 3), normal(4, 2)
    model = InputGradientModel(network_, InputGradientPenalty("l2", weight=1))
    model.compile("sgd", loss="mae")
    np.testing.assert_array_equal(input_gradient(model, x, y), input_gradient(network_, x, y, loss="mae"))


def test_dropout_and_statistics_are_off_unless_asked_for_and_stay_as_they_were():
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(1)])
    x, y = normal(8, 3), normal(8, 1)
    before = [variable.numpy() for variable in model.variables]
    calm = input_gradient(model, x, y, loss="mse")
    np.testing.assert_array_equal(calm, input_gradient(model, x, y, loss="mse"))
    assert not np.allclose(calm, input_gradient(model, x, y, loss="mse", training=True))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "A loss must be compiled, for its gradient is what is penalised. Received: none. Add loss= to compile."),
        (
            lambda y, p: keras.ops.mean((y - p) ** 2),
            "A loss must return a value for each sample, for the penalty needs each one's gradient. Received: one number for the "
            "whole batch from '<lambda>'. Let it average over the last axis only, as in keras.ops.mean(..., axis=-1).",
        ),
    ],
)
def test_a_loss_that_says_nothing_of_each_sample_is_refused(loss, message):
    with pytest.raises(ConfigError) as caught:
        input_gradient(dense(3, 1), normal(4, 3), normal(4, 1), loss=loss)
    assert message in str(caught.value)


def test_an_input_without_part_in_the_loss_is_named():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = InputGradientModel(keras.Model([a, b], layers.Dense(1)(a)), InputGradientPenalty("l2", weight=1))
    model.compile("sgd", loss="mse", run_eagerly=True)
    with pytest.raises(ConfigError, match="The loss must depend on every penalised input. Received: number 1 of those penalised"):
        model.fit([normal(4, 2), normal(4, 2)], normal(4, 1), verbose=0)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (normal(4, 3), normal(1, 1)),
        (normal(4, 3), normal(3, 1)),
        (normal(0, 3), normal(0, 1)),
        (normal(2, 3).tolist(), normal(2, 1)),
    ],
    ids=["one target for all", "fewer targets", "nothing", "a list of lists"],
)
def test_inputs_and_targets_of_other_numbers_are_refused(x, y):
    with pytest.raises(
        ConfigError, match="Inputs and targets must be arrays of the same number of samples, at least one. Received: "
    ):
        input_gradient(dense(3, 1), x, y, loss="mse")


@pytest.mark.parametrize("size", [0, 2.5])
def test_a_batch_has_a_sample(size):
    with pytest.raises(ConfigError, match=f"`batch_size` must be a whole number of at least 1. Received: batch_size={size}."):
        input_gradient(dense(3, 1), normal(4, 3), normal(4, 1), loss="mse", batch_size=size)


def test_targets_must_be_given_for_several_inputs():
    x = {"words": np.zeros((5, 4), int), "numbers": normal(5, 3)}
    with pytest.raises(ConfigError, match="Targets must be given for a model of several inputs. Received: y=None."):
        input_gradient(two_inputs(), x, loss="mse")
