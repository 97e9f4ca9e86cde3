"""The input-gradient smoothness penalty: pure functions of a network and a batch of windows.

For window i with input x_i and target y_i = x_i held constant,

    l_i = mean over timesteps and features of (f(x_i) - y_i)^2
    g_i = n * d l_i / d x_i = 2 J_i^T e_i         n = window_size * n_features
    u_i = g_i / sqrt(l_i)
    loss = mean_i l_i + weight * mean_i l_i P(u_i)

J_i is the derivative of the reconstruction by the input, e_i the error. g_i is taken of the *sum* of the
windows' losses, so it does not depend on the batch. The factor n makes g_i the gradient of the summed squared
error, whose entries do not shrink as windows grow. Gradient and error grow together, so u_i has no unit: u^2 / 4
is the share of the error that the network passes back to its input. With both, `weight` and `penalty_threshold`
mean the same for every window size, number of features and size of the error. l_i is held constant where it
scales the penalty: else a penalty could be lowered by a larger error.

    l2           mean over timesteps and features of u^2: so l_i P(u_i) is the mean of g^2
    l1           mean over timesteps and features of |u|
    directional  mean over timesteps of max(0, -<u/||u||, d/||d||>), norms over the features
    hinge        mean over timesteps of max(0, mean over features of |u| - threshold)

The L2 form is double back-propagation (Drucker and LeCun 1992, "Improving generalization performance
using double backpropagation") applied to a reconstruction loss.

`anomaly.training.gradients` differentiates them by the weights. Here are the penalties themselves, and plain
implementations with tapes for any Keras model, which the tests and the benchmarks hold it against.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomaly.config import PenaltyConfig
from anomaly.tensorflow_start import load_tensorflow

if TYPE_CHECKING:
    import keras

# The norm of u is sqrt(sum of squares + NORM_FLOOR^2): finite gradient at 0, and a gradient that is small
# against the floor counts as having no direction.
NORM_FLOOR = 1e-2
# A window that is reconstructed better than this has no share of its error worth speaking of: mean squared error, training sigmas.
LOSS_FLOOR = 1e-8


class Objective(NamedTuple):
    """One batch's loss and its parts, scalars, with the gradients of the loss by the weights."""

    loss: Any
    reconstruction_loss: Any
    gradient_penalty: Any
    gradients: list[Any]


def window_losses(outputs: Any, targets: Any) -> Any:
    """Return l_i: the mean squared error of each window.

    Args:
        outputs: `(batch, window_size, n_features)`.
        targets: the same shape.

    Returns:
        `(batch,)`.
    """
    tf = load_tensorflow()

    return tf.reduce_mean(tf.square(outputs - targets), axis=(1, 2))


def input_gradient(network: "keras.Model", windows: Any, *, training: bool = False) -> Any:
    """Return g_i, the normalised gradient of each window's loss with respect to its input.

    Args:
        network: maps `(batch, window_size, n_features)` to the same shape.
        windows: `(batch, window_size, n_features)`, in training sigmas.
        training: whether dropout and input noise are on.

    Returns:
        `(batch, window_size, n_features)`.
    """
    return _losses_and_gradient(network, windows, training=training)[1]


def penalty_of(gradient: Any, config: PenaltyConfig) -> Any:
    """Return P for each window.

    Args:
        gradient: u_i, input gradients in units of the error, `(batch, window_size, n_features)`.
        config: form, direction and threshold; weight and method play no part.

    Returns:
        `(batch,)`, not negative.

    Raises:
        KeyError: if the form has no formula: then nothing would be penalised, and nobody told.
    """
    return FORMULAS[config.penalty](gradient, config)


def _none(gradient: Any, config: PenaltyConfig) -> Any:
    tf = load_tensorflow()

    return tf.zeros(tf.shape(gradient)[0], gradient.dtype)


def _l2(gradient: Any, config: PenaltyConfig) -> Any:
    tf = load_tensorflow()

    return tf.reduce_mean(tf.square(gradient), axis=(1, 2))


def _l1(gradient: Any, config: PenaltyConfig) -> Any:
    tf = load_tensorflow()

    return tf.reduce_mean(tf.abs(gradient), axis=(1, 2))


def _directional(gradient: Any, config: PenaltyConfig) -> Any:
    tf = load_tensorflow()

    direction = np.array(config.direction, np.float64)  # (n_features,) or (window_size, n_features)
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    direction = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
    cosine = tf.reduce_sum(_unit(gradient) * tf.constant(direction, gradient.dtype), axis=2)  # (batch, window_size)
    return tf.reduce_mean(tf.nn.relu(-cosine), axis=1)


def _hinge(gradient: Any, config: PenaltyConfig) -> Any:
    tf = load_tensorflow()

    magnitude = tf.reduce_mean(tf.abs(gradient), axis=2)  # (batch, window_size)
    return tf.reduce_mean(tf.nn.relu(magnitude - config.penalty_threshold), axis=1)


# P by the name of its form; every name of `PENALTIES` has one.
FORMULAS: dict[str, Callable[[Any, PenaltyConfig], Any]] = {
    "none": _none,
    "l2": _l2,
    "l1": _l1,
    "directional": _directional,
    "hinge": _hinge,
}


def scaled_penalty(gradient: Any, losses: Any, config: PenaltyConfig) -> Any:
    """Return l_i P(g_i / sqrt(l_i)) for each window, l_i held constant.

    Args:
        gradient: g_i, `(batch, window_size, n_features)`.
        losses: l_i, `(batch,)`.
        config: as for `penalty_of`.

    Returns:
        `(batch,)`, not negative.
    """
    tf = load_tensorflow()

    scale = tf.stop_gradient(tf.maximum(losses, LOSS_FLOOR))
    return scale * penalty_of(gradient / tf.sqrt(scale)[:, None, None], config)


def penalty_slope(gradient: Any, losses: Any, config: PenaltyConfig) -> tuple[Any, Any]:
    """Return `scaled_penalty` for each window, `(batch,)`, and its derivative by g_i, of the shape of `gradient`."""
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        tape.watch(gradient)
        penalties = scaled_penalty(gradient, losses, config)
    return penalties, tape.gradient(penalties, gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _unit(vectors: Any) -> Any:
    """Divide by the norm over the last axis."""
    tf = load_tensorflow()

    return vectors / tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True) + NORM_FLOOR**2)


def plain_objective(network: "keras.Model", windows: Any, *, training: bool = True) -> Objective:
    """Return the reconstruction loss alone, with its gradients; the penalty is 0."""
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(window_losses(network(windows, training=training), windows))
    return Objective(loss, loss, tf.zeros_like(loss), tape.gradient(loss, network.trainable_variables))


def exact_objective(
    network: "keras.Model", windows: Any, config: PenaltyConfig, weight: float, *, training: bool = True
) -> Objective:
    """Return loss and gradients by double back-propagation: a tape inside a tape.

    Args:
        network: the autoencoder.
        windows: `(batch, window_size, n_features)`.
        config: form of the penalty.
        weight: factor of the penalty in the loss.
        training: whether dropout and input noise are on.
    """
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        losses, gradient = _losses_and_gradient(network, windows, training=training)
        reconstruction = tf.reduce_mean(losses)
        penalty = tf.reduce_mean(scaled_penalty(gradient, losses, config))
        loss = reconstruction + weight * penalty
    # A penalty that cuts a variable off (no second-order path) must not give None.
    gradients = tape.gradient(loss, network.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return Objective(loss, reconstruction, penalty, gradients)


def _losses_and_gradient(network: "keras.Model", windows: Any, *, training: bool) -> tuple[Any, Any]:
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        tape.watch(windows)
        losses = window_losses(network(windows, training=training), tf.stop_gradient(windows))
        total = tf.reduce_sum(losses)
    size = tf.cast(tf.shape(windows)[1] * tf.shape(windows)[2], windows.dtype)
    return losses, size * tape.gradient(total, windows)
