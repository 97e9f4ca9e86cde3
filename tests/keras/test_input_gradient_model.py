"""`InputGradientModel` is an ordinary Keras model, and lowers what it penalises."""

import functools
import inspect

import numpy as np
import pytest
from one_step import gradients_of_step, relative_error

from anomaly.errors import ConfigError
from anomaly.keras import InputGradientModel, InputGradientPenalty, input_gradient
from anomaly.keras import model as home
from anomaly.tensorflow_start import load_keras, load_tensorflow

keras, tf = load_keras(), load_tensorflow()

# Keras' own way of saving a variable.
saves = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
layers = keras.layers
L2, NONE = InputGradientPenalty("l2", weight=1), InputGradientPenalty("l2", weight=0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(70, 3)).astype(np.float32), RNG.normal(size=(70, 2)).astype(np.float32)


def dense(n_inputs=3, n_outputs=2, **options):
    return keras.Sequential([keras.Input((n_inputs,)), layers.Dense(6, "tanh"), layers.Dense(n_outputs, **options)])


def functional():
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(6, "tanh")(inputs)))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, units=6, **options):
        super().__init__(**options)
        self.units, self.hidden, self.out = units, layers.Dense(units, "tanh"), layers.Dense(2)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def get_config(self):
        return super().get_config() | {"units": self.units}


KINDS = {"Sequential": dense, "functional": functional, "subclassed": Subclassed}


@pytest.mark.parametrize("kind", KINDS)
def test_compile_fit_evaluate_predict_and_callbacks_work(kind):
    model = InputGradientModel(KINDS[kind](), L2)
    model.compile("adam", loss="mse", metrics=["mae"])
    seen = []
    stop = keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=3)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(set(logs)))
    history = model.fit(X, Y, batch_size=32, epochs=2, validation_split=0.2, callbacks=[stop, note], verbose=0).history
    parts = {"loss", "task_loss", "input_gradient_penalty", "mae"}
    assert seen[0] == parts | {f"val_{name}" for name in parts}
    for prefix in ("", "val_"):
        loss, task, penalty = (np.array(history[prefix + name]) for name in ("loss", "task_loss", "input_gradient_penalty"))
        np.testing.assert_allclose(loss, task + penalty, rtol=1e-5)
    assert model.predict(X, verbose=0).shape == (70, 2)
    measured = model.evaluate(X, Y, verbose=0, return_dict=True)
    outputs, gradient = model.network.predict(X, verbose=0), input_gradient(model, X, Y)
    assert measured["task_loss"] == pytest.approx(np.mean((outputs - Y) ** 2), rel=1e-5)
    assert measured["input_gradient_penalty"] == pytest.approx((gradient**2).sum(axis=1).mean(), rel=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_step_is_traced_once(policy, monkeypatch):
    traced, step = [], InputGradientModel.train_step
    monkeypatch.setattr(InputGradientModel, "train_step", lambda self, data: traced.append(1) or step(self, data))
    stack = [keras.Input((3,)), layers.Dense(6, "tanh", dtype=policy), layers.Dense(2, dtype="float32")]
    model = InputGradientModel(keras.Sequential(stack), L2)
    model.compile("adam", loss="mse")
    model.fit(X, Y, batch_size=35, epochs=2, verbose=0)
    assert traced == [1]


@saves
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_goes_on_where_it_was(kind, tmp_path):
    penalty = InputGradientPenalty("directional", weight=0.5, direction=[1, 0, -1])
    model = InputGradientModel(KINDS[kind](), penalty, method="exact", every=2, inputs=[0])
    model.compile("adam", loss="mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert (again.penalty, again.method, again.every, again.penalised_inputs) == (penalty, "exact", 2, [0])
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    for one in (model, again):
        one.fit(X, Y, shuffle=False, verbose=0)
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


@saves
def test_the_network_alone_is_trained_and_can_be_saved_alone(tmp_path):
    network = functional()
    model = InputGradientModel(network, L2)
    model.compile("adam", loss="mse")
    model.fit(X, Y, verbose=0)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize(("n", "remainder"), [(64, 0), (70, 6)])
def test_the_last_smaller_batch_counts_for_what_it_holds(n, remainder):
    model = InputGradientModel(dense(), L2)
    model.compile(keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)
    history = model.fit(X[:n], Y[:n], batch_size=32, verbose=0).history
    whole = model.evaluate(X[:n], Y[:n], batch_size=n, verbose=0, return_dict=True)
    for name, value in whole.items():
        assert history[name][0] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_the_gradient_of_the_output_may_be_penalised_in_the_place_of_the_losses(method):
    """For f = w x, the l2 penalty of the output is |w|^2, whose derivative is 2 w."""
    network = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    penalty = InputGradientPenalty("l2", weight=0.7)
    both = [gradients_of_step(InputGradientModel(network, one, method=method, of="output"), X, Y[:, :1]) for one in (penalty, NONE)]
    kernel = network.get_weights()[0]
    # Of the size of the whole: the finite difference is no better for a weight that is near 0.
    np.testing.assert_allclose(both[0][0] - both[1][0], 0.7 * 2 * kernel, atol=1e-3 * np.abs(kernel).max())
    model = InputGradientModel(network, penalty, of="output")
    model.compile("sgd", loss="mse")
    assert model.evaluate(X, Y[:, :1], verbose=0, return_dict=True)["input_gradient_penalty"] == pytest.approx(
        (kernel**2).sum(), rel=1e-5
    )


def test_class_weights_are_weights_of_samples():
    labels = np.arange(70) % 3
    network = dense(3, 3, activation="softmax")
    model = InputGradientModel(network, L2, method="exact")
    start = network.get_weights()
    after = []
    for options in ({"class_weight": {0: 2.0, 1: 0.5, 2: 0.0}}, {"sample_weight": np.array([2.0, 0.5, 0.0])[labels]}):
        network.set_weights(start)
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.SGD(0.5), loss=loss, metrics=["accuracy"], run_eagerly=True)
        model.fit(X, labels, batch_size=70, verbose=0, **options)
        after.append(network.get_weights())
    assert relative_error(*after) < 1e-5
    assert relative_error(after[0], start) > 1e-3


def test_an_autoencoder_needs_no_targets():
    network = dense(3, 3)
    model = InputGradientModel(network, L2)
    assert relative_error(gradients_of_step(model, X), gradients_of_step(model, X, X)) < 1e-6
    model.compile("sgd", loss="mse", metrics=["mae"])
    history = model.fit(X, validation_data=(X[:9], X[:9]), verbose=0).history
    assert history["val_mae"][0] == pytest.approx(np.abs(network.predict(X[:9], verbose=0) - X[:9]).mean(), rel=1e-5)


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_every_kth_step_has_k_times_the_penalty_and_the_others_none(method):
    network = dense()
    model = InputGradientModel(network, L2, method=method, every=3)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    expected = dense()
    expected.set_weights(network.get_weights())
    for step in range(6):
        one = InputGradientModel(expected, InputGradientPenalty("l2", weight=0.0 if step % 3 else 3.0), method=method)
        one.compile(keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
        one.train_on_batch(X, Y)
        model.train_on_batch(X, Y)
        assert relative_error(network.get_weights(), expected.get_weights()) < 3e-4


def test_a_masked_output_keeps_its_mask_where_some_steps_have_no_penalty():
    """Keras keeps masks on tensors; the metrics of every step need them."""
    maes = []
    for every in (1, 2):
        keras.utils.set_random_seed(1)
        network = keras.Sequential([keras.Input((5, 3)), layers.Masking(), layers.Dense(4, "tanh"), layers.Dense(2)])
        model = InputGradientModel(network, L2, every=every)
        model.compile(keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
        x, y = np.ones((8, 5, 3), np.float32), np.zeros((8, 5, 2), np.float32)
        x[:, 3:], y[:, 3:] = 0, 1000
        maes += [model.train_on_batch(x, y, return_dict=True)["mae"] for _ in range(2)]
    assert max(maes) < 10
    np.testing.assert_allclose(maes, maes[0], rtol=1e-6)


def test_several_inputs_and_outputs_are_trained_and_reported_each():
    words, numbers = keras.Input((4,), dtype="int32", name="words"), keras.Input((3,), name="numbers")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(9, 2)(words)), numbers])
    outputs = {"p": layers.Dense(2, name="p")(x), "q": layers.Dense(1, name="q")(x)}
    network = keras.Model({"words": words, "numbers": numbers}, outputs)
    batch = {"words": np.arange(280).reshape(70, 4) % 9, "numbers": X}
    targets = {"p": Y, "q": Y[:, :1]}
    model = InputGradientModel(network, L2, inputs="numbers")
    model.compile("adam", loss={"p": "mse", "q": "mae"}, loss_weights={"p": 1.0, "q": 0.5})
    history = model.fit(batch, targets, batch_size=35, epochs=2, verbose=0).history
    assert {"p_loss", "q_loss", "task_loss", "input_gradient_penalty"} <= set(history)
    np.testing.assert_allclose(
        history["task_loss"], np.array(history["p_loss"]) + 0.5 * np.array(history["q_loss"]), rtol=1e-5
    )  # the parts are counted once a step
    gradient = input_gradient(model, batch, targets)["numbers"]
    assert model.evaluate(batch, targets, verbose=0, return_dict=True)["input_gradient_penalty"] == pytest.approx(
        (gradient**2).sum(axis=1).mean(), rel=1e-4
    )


FORMS = {
    "l2": InputGradientPenalty("l2", weight=1.0),
    "l1": InputGradientPenalty("l1", weight=0.5),
    "directional": InputGradientPenalty("directional", weight=1.0, direction=[1, 1, 1]),
    "hinge": InputGradientPenalty("hinge", weight=1.0, threshold=0.05),
}


def waves():
    """Return inputs and noisy targets of 600 samples."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 3)).astype(np.float32)
    return x, (np.sin(2 * x[:, :1]) + 0.5 * rng.normal(size=(600, 1))).astype(np.float32)


def trained(penalty):
    """Return a network trained on the first 400 samples."""
    keras.utils.set_random_seed(4)
    network, (x, y) = dense(3, 1), waves()
    model = InputGradientModel(network, penalty)
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    model.fit(x[:400], y[:400], batch_size=100, epochs=20, verbose=0)
    return network


@functools.cache
def trained_without_a_penalty():
    return trained(NONE)


@pytest.mark.parametrize("form", FORMS)
def test_training_with_a_form_lowers_what_it_penalises_on_data_kept_aside(form):
    x, y = waves()
    found = []
    for network in (trained_without_a_penalty(), trained(FORMS[form])):
        model = InputGradientModel(network, FORMS[form])
        model.compile(loss="mse", run_eagerly=True)
        found.append(model.evaluate(x[400:], y[400:], batch_size=200, verbose=0, return_dict=True)["input_gradient_penalty"])
    assert found[1] < 0.8 * found[0]


@pytest.mark.parametrize(
    ("layer", "method", "allowed"),
    [
        (lambda: layers.Dense(4), "exact", True),
        (lambda: layers.LSTM(4, use_cudnn=False), "exact", False),
        (lambda: layers.LSTM(4, use_cudnn=False), "two_pass", True),
        (lambda: layers.LSTM(4, use_cudnn=False, unroll=True), "exact", True),
        (lambda: layers.Bidirectional(layers.GRU(4, use_cudnn=False)), "exact", False),
        (lambda: layers.TimeDistributed(layers.Dense(4)), "exact", True),
    ],
)
def test_xla_never_gets_the_double_derivative_of_a_loop(layer, method, allowed):
    """With jit_compile="auto" Keras asks every layer whether it may be compiled; on a processor it compiles none."""
    model = InputGradientModel(keras.Sequential([keras.Input((5, 3)), layer()]), L2, method=method)
    assert model.supports_jit is allowed
    model.compile("sgd", loss="mse")
    assert not model.jit_compile


@pytest.mark.parametrize("method", ["exact", "two_pass"])
def test_it_may_be_compiled_by_xla(method):
    network = dense()
    model = InputGradientModel(network, L2, method=method)
    start = network.get_weights()
    after = []
    for jit_compile in (True, False):
        network.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), loss="mse", jit_compile=jit_compile)
        model.train_on_batch(X, Y)
        after.append(network.get_weights())
    assert relative_error(*after) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "three_pass"}, "`method` must be one of auto, exact, two_pass. Received: method='three_pass'."),
        ({"every": 0}, "`every` must be a whole number of at least 1. Received: every=0."),
        ({"of": "input"}, "`of` must be loss, or output with units='raw'. Received: of='input' with units='raw'."),
        ({"every": 1.5}, "`every` must be a whole number of at least 1. Received: every=1.5."),
        ({"inputs": 1.5}, "`inputs` must be names or positions of inputs. Received: inputs=1.5."),
        ({"inputs": ["a", True]}, "`inputs` must be names or positions of inputs."),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        InputGradientModel(dense(), L2, **options)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (None, "`network` must be a keras.Model. Received: NoneType. Pass the model itself."),
        (dense, "`network` must be a keras.Model. Received: function."),
    ],
    ids=["nothing", "a function"],
)
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(ConfigError, match=message):
        InputGradientModel(network, L2)


def test_what_is_no_penalty_is_refused():
    with pytest.raises(ConfigError, match="`penalty` must be an InputGradientPenalty. Received: str. Write for example Input"):
        InputGradientModel(dense(), "l2")


def test_a_loss_is_needed():
    model = InputGradientModel(dense(), L2)
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="[Nn]o loss to compute"):
        model.train_on_batch(X, Y)


@pytest.mark.parametrize(
    "method", [m for name, m in vars(home.InputGradientModel).items() if inspect.isfunction(m) and name[0] != "_"]
)
def test_every_public_method_has_a_docstring(method):
    assert method.__doc__


def test_a_network_that_does_not_train_is_told_as_keras_tells_it():
    network = dense()
    network.trainable = False
    before = network.get_weights()
    for method in ("exact", "two_pass"):
        model = InputGradientModel(network, L2, method=method)
        model.compile("adam", loss="mse")
        with pytest.warns(UserWarning, match="does not have any trainable weights"):
            model.fit(X, Y, verbose=0)
    np.testing.assert_equal(network.get_weights(), before)


def test_the_network_is_what_is_exported(tmp_path):
    model = InputGradientModel(functional(), L2)
    model.compile("adam", loss="mse")
    model.fit(X, Y, verbose=0)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(X), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5"])
def test_a_file_that_keras_could_not_load_is_not_written(name, tmp_path):
    model = InputGradientModel(functional(), L2)
    with pytest.raises(ConfigError, match=r"saved as a \.keras file\. Received: .*model\.network\.save\('"):
        model.save(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_whole_numbers_of_numpy_are_whole_numbers():
    model = InputGradientModel(functional(), L2, every=np.int64(2), inputs=[np.int64(0)])
    assert model.every == 2 and type(model.get_config()["every"]) is int and type(model.penalised_inputs[0]) is int
    model.compile("adam", loss="mse")
    model.fit(X, Y, verbose=0)
    assert input_gradient(model, X, Y, batch_size=np.int32(7)).shape == X.shape
    for every in (True, np.bool_(True), 0, 1.5):
        with pytest.raises(ConfigError, match="`every` must be a whole number"):
            InputGradientModel(functional(), L2, every=every)
