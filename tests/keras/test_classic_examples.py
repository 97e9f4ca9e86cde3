"""The three examples that this began with, as one writes them by hand: a dense network, one sample and one number at a time."""

import numpy as np
import pytest
from one_step import gradients_of_step

from anomaly.keras import InputGradientModel, InputGradientPenalty
from anomaly.tensorflow_start import load_keras, load_tensorflow

keras, tf = load_keras(), load_tensorflow()

WEIGHT, DIRECTION, THRESHOLD = 0.3, np.array([1.0, -2.0, 0.5, 1.0]), 0.4


@pytest.fixture(autouse=True)
def double():
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float64")
    yield
    for set_to in (keras.config.set_floatx, keras.config.set_dtype_policy):
        set_to("float32")


def l2(gradient):
    return tf.reduce_sum(gradient**2)


def directional(gradient):
    norm = tf.sqrt(tf.reduce_sum(gradient**2) + 1e-12)
    wanted = DIRECTION / np.sqrt((DIRECTION**2).sum())
    return tf.maximum(0.0, -tf.reduce_sum(gradient / norm * wanted))


def magnitude(gradient):
    return tf.maximum(0.0, tf.reduce_sum(tf.abs(gradient)) - THRESHOLD)


EXAMPLES = {
    "l2": (l2, InputGradientPenalty("l2", weight=WEIGHT)),
    "directional": (directional, InputGradientPenalty("directional", weight=WEIGHT, direction=DIRECTION)),
    "magnitude threshold": (magnitude, InputGradientPenalty("hinge", weight=WEIGHT, threshold=THRESHOLD)),
}


def by_hand(network, penalty, x, y):
    """Loss and gradients of a batch, a tape in a tape for each sample."""
    total, gradients = 0.0, [np.zeros(weight.shape) for weight in network.trainable_variables]
    for i in range(len(x)):
        sample, target = tf.constant(x[i : i + 1]), tf.constant(y[i : i + 1])
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(sample)
                task = tf.reduce_mean((network(sample) - target) ** 2)
            gradient = inner.gradient(task, sample)
            loss = task + WEIGHT * penalty(gradient)
        total += float(loss) / len(x)
        found = outer.gradient(loss, network.trainable_variables)
        gradients = [a + b.numpy() / len(x) for a, b in zip(gradients, found, strict=True)]
    return total, gradients


@pytest.mark.parametrize("method", ["exact", "two_pass"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_step_is_what_the_loop_by_hand_takes(example, method):
    keras.utils.set_random_seed(2)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 1))
    by_loop, penalty = EXAMPLES[example]
    loss, expected = by_hand(network, by_loop, x, y)
    model = InputGradientModel(network, penalty, method=method)
    for found, wanted in zip(gradients_of_step(model, x, y), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    model.compile("sgd", loss="mse")
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(loss, rel=1e-6)
