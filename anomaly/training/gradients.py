"""Gradients of reconstruction loss and penalty by the weights: pure functions of weights and one batch.

Inputs are windows without missing values (`anomaly.windowing.missing.fill_missing`); targets are the same windows with NaN where a
value is missing. What is missing takes no part: l_i is the mean over the known values, and g_i is 0 at the others.

With P_i the penalty of window i (`anomaly.training.penalty`) and v_i = d P_i / d (d l_i / d x_i) held constant, for every form,

    d P_i / d theta = d/de [ grad_theta l(x_i + e v_i) ]  at e = 0

so the penalty costs one derivative of the ordinary gradient along a direction of the input, and no double
back-propagation. There are two ways to take it:

exact     by forward-over-reverse differentiation (`anomaly.network.recurrence`): right to rounding, and three
          times the memory of a plain step.
two_pass  by a finite difference: the ordinary gradient once more, at x + e v (Finlay and Oberman 2019,
          "Scaleable input gradient regularization for adversarial robustness", have it for L2). Memory and
          program of a plain step, so the fastest. The step e is common to the windows that are passed together, a shard of a
          batch: a window far outside the others makes the difference coarser for these (the penalty's part by some 4 %
          beside a window of a thousand sigmas), and with other shards it comes out a little otherwise (.02 % among
          ordinary windows, some 4 % beside one of ten thousand sigmas).

A plain gradient is the work of three products with every weight matrix (forward, backward, weights); with the
penalty, of six, either way.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anomaly.config import NetworkConfig, PenaltyConfig
from anomaly.network.passes import Passes
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.penalty import penalty_slope

Tensor = Any
# Root mean square of the finite-difference step, in training sigmas. Truncation grows with it and rounding falls.
STEP_RMS = {"float32": 3e-4, "float64": 1e-7}


class Gradients(NamedTuple):
    """What one batch says: means over its windows."""

    reconstruction_loss: Tensor  # scalar
    gradient_penalty: Tensor  # scalar, before the weight
    by_weight: dict[str, Tensor]  # of reconstruction_loss + weight * gradient_penalty


class FirstOrder(NamedTuple):
    """The ordinary gradients of a batch."""

    losses: Tensor  # l_i, (batch,)
    by_input: Tensor  # d l_i / d x_i, (batch, window_size, n_features); 0 where the target is missing
    by_weight: dict[str, Tensor]  # of the sum of the losses


# (weights, windows, targets, seed) -> FirstOrder
FirstOrderFunction = Callable[[Mapping[str, Tensor], Tensor, Tensor, Tensor], FirstOrder]


def errors_and_losses(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the errors, 0 where the target is missing, and l_i, the mean square of the others in each window.

    Args:
        outputs: `(batch, window_size, n_features)`.
        targets: of the same shape; NaN = missing.
    """
    tf = load_tensorflow()

    known, sizes = _known(targets)
    errors = tf.where(known, outputs - targets, 0)
    return errors, tf.reduce_sum(tf.square(errors), axis=(1, 2)) / sizes[:, 0, 0]


def first_order(
    config: NetworkConfig, weights: Mapping[str, Tensor], windows: Tensor, targets: Tensor, seed: Tensor | None
) -> FirstOrder:
    """Return losses and ordinary gradients.

    Args:
        config: the shape of the network.
        weights: tensors under the names of `anomaly.network.model.weight_shapes`.
        windows: `(batch, window_size, n_features)`, of static shape.
        targets: what is to be reconstructed, of the same shape; NaN = missing.
        seed: seed of dropout and input noise, `(2,)` int32; None switches them off.
    """
    tf = load_tensorflow()

    passes = Passes(config, weights, windows.shape, seed, tangents=False)
    known, sizes = _known(targets)
    errors, losses = errors_and_losses(passes.forward(windows), targets)
    by_input = passes.backward(errors * (2 / sizes))
    return FirstOrder(losses, tf.where(known, by_input, 0), passes.gradients())


def plain_gradients(
    run: FirstOrderFunction, weights: Mapping[str, Tensor], windows: Tensor, targets: Tensor, seed: Tensor | None
) -> Gradients:
    """Return the gradients of the reconstruction loss alone; the penalty is 0."""
    tf = load_tensorflow()

    found = run(weights, windows, targets, seed)
    batch = windows.shape[0]
    loss = tf.reduce_mean(found.losses)
    return Gradients(loss, tf.zeros_like(loss), {name: gradient / batch for name, gradient in found.by_weight.items()})


def two_pass_gradients(
    run: FirstOrderFunction,
    weights: Mapping[str, Tensor],
    windows: Tensor,
    targets: Tensor,
    seed: Tensor | None,
    penalty: PenaltyConfig,
    weight: float,
) -> Gradients:
    """Return the gradients with the penalty, by a finite difference of ordinary ones.

    Args:
        run: `first_order`, perhaps compiled.
        weights: as for `first_order`.
        windows: as for `first_order`.
        targets: as for `first_order`.
        seed: as for `first_order`; both passes draw the same dropout and noise.
        penalty: form of the penalty.
        weight: factor of the penalty in the loss.
    """
    tf = load_tensorflow()

    here = run(weights, windows, targets, seed)
    known, sizes = _known(targets)
    penalties, slope = penalty_slope(sizes * here.by_input, here.losses, penalty)
    direction = tf.where(known, sizes * slope, 0)
    step = STEP_RMS[windows.dtype.name] / tf.maximum(tf.sqrt(tf.reduce_mean(tf.square(direction))), 1e-12)
    there = run(weights, windows + step * direction, targets, seed).by_weight
    batch = windows.shape[0]
    by_weight = {name: (s + weight * (there[name] - s) / step) / batch for name, s in here.by_weight.items()}
    return Gradients(tf.reduce_mean(here.losses), tf.reduce_mean(penalties), by_weight)


def exact_gradients(
    config: NetworkConfig,
    weights: Mapping[str, Tensor],
    windows: Tensor,
    targets: Tensor,
    seed: Tensor | None,
    penalty: PenaltyConfig,
    weight: float,
) -> Gradients:
    """Return the gradients with the penalty, by forward-over-reverse differentiation. Args: as `two_pass_gradients`."""
    tf = load_tensorflow()

    passes = Passes(config, weights, windows.shape, seed, tangents=True)
    batch, (known, sizes) = windows.shape[0], _known(targets)
    errors, losses = errors_and_losses(passes.forward(windows), targets)
    by_input = tf.where(known, passes.backward(errors * (2 / sizes)), 0)
    penalties, slope = penalty_slope(sizes * by_input, losses, penalty)
    along = passes.forward_tangent(tf.where(known, weight * sizes * slope, 0))
    passes.backward_tangent(tf.where(known, along * (2 / sizes), 0))
    by_weight = {name: gradient / batch for name, gradient in passes.gradients().items()}
    return Gradients(tf.reduce_mean(losses), tf.reduce_mean(penalties), by_weight)


def _known(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return which values are known, and their number in each window, `(batch, 1, 1)`, at least 1."""
    tf = load_tensorflow()

    known = tf.logical_not(tf.math.is_nan(targets))
    sizes = tf.reduce_sum(tf.cast(known, targets.dtype), axis=(1, 2), keepdims=True)
    return known, tf.maximum(sizes, 1)
