"""Adam on one vector, against Keras's and against the formulas written out number by number."""

import math

import numpy as np
import pytest

from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.adam import adam_step, rate_of_step

SHAPES = [(3, 8), (2, 8), (8,), (5,)]
SIZES = [math.prod(shape) for shape in SHAPES]
RATES = [0.01, 0.01, 0.003, 0.02, 0.0005]


def vectors(scale):
    rng = np.random.default_rng(0)
    return rng.normal(size=sum(SIZES)).astype(np.float32), scale * rng.normal(size=(len(RATES), sum(SIZES))).astype(np.float32)


def ours(start, gradients, clip_norm):
    tf = load_tensorflow()
    weights, moments = tf.constant(start), (tf.zeros(len(start)), tf.zeros(len(start)))
    for n, (gradient, rate) in enumerate(zip(gradients, RATES, strict=True)):
        scalar = tf.constant(rate_of_step(rate, n + 1), tf.float32)
        weights, moments = adam_step(weights, moments, tf.constant(gradient), scalar, clip_norm, SIZES)
    return weights.numpy()


def parts(vector):
    return [part.reshape(shape) for part, shape in zip(np.split(vector, np.cumsum(SIZES)[:-1]), SHAPES, strict=True)]


@pytest.mark.parametrize(("scale", "clip_norm"), [(1.0, None), (1.0, 0.5), (0.01, 5.0), (1e-6, None)])
def test_steps_are_those_of_keras(scale, clip_norm):
    keras = load_keras()
    start, gradients = vectors(scale)
    variables = [keras.Variable(part) for part in parts(start)]
    adam = keras.optimizers.Adam(global_clipnorm=clip_norm)
    for gradient, rate in zip(gradients, RATES, strict=True):
        adam.learning_rate = rate
        adam.apply(parts(gradient), variables)
    expected = np.concatenate([variable.numpy().ravel() for variable in variables])
    np.testing.assert_allclose(ours(start, gradients, clip_norm), expected, atol=2e-6 * np.abs(start).max())


def test_steps_follow_the_formulas():
    start, gradients = vectors(1.0)
    weights = [float(x) for x in start]
    first, second = [0.0] * len(weights), [0.0] * len(weights)
    for n, (gradient, rate) in enumerate(zip(gradients.astype(float), RATES, strict=True), start=1):
        shortened = min(1.0, 0.5 / math.sqrt(sum(g * g for g in gradient)))
        for i, g in enumerate(gradient * shortened):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g * g
            mean, square = first[i] / (1 - 0.9**n), second[i] / (1 - 0.999**n)
            weights[i] -= rate * mean / (math.sqrt(square) + 1e-7 / math.sqrt(1 - 0.999**n))
    np.testing.assert_allclose(ours(start, gradients, 0.5), weights, atol=2e-6 * np.abs(start).max())


def test_a_gradient_that_is_not_finite_is_not_hidden_by_the_clipping():
    start, gradients = vectors(1.0)
    gradients[2, 3] = np.inf
    assert not np.isfinite(ours(start, gradients, 1.0)).all()
