"""The derivative of a penalty on input gradients by the weights of any network, in two ways.

Let S be the weighted mean of the losses of a batch, w_i the weight of sample i, g_i = n / w_i * dS / dx_i its input
gradient and P the mean of w_i P(g_i). With v_i = dP(g_i) / dg_i held constant,

    dP / d theta = d/de [ grad_theta S(x + e v) ]  at e = 0

exact     double back-propagation: a tape inside a tape (Drucker and LeCun 1992). Right to rounding; every operation
          needs a second derivative, and a right one: that of `tf.nn.moments` is not.
two_pass  the ordinary gradient once more, at x + e v, and the difference (Finlay and Oberman 2019, "Scaleable input
          gradient regularization for adversarial robustness", have it for L2). First derivatives only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from anomaly.errors import ConfigError
from anomaly.keras.abilities import moments_message
from anomaly.keras.forms import InputGradientPenalty
from anomaly.keras.forward import Forward
from anomaly.keras.selection import by_position, masked
from anomaly.tensorflow_start import load_tensorflow

# Root mean square of the finite-difference step, as a share of the root mean square of each feature of the input.
# Truncation grows with it and rounding falls.
STEPS = {"float64": 1e-7, "float32": 3e-4, "float16": 3e-2, "bfloat16": 3e-2}
# Of these a one-sided difference would be off by a tenth and more.
TWO_SIDED = ("float16", "bfloat16")
# Names with which TensorFlow's operations begin that draw from a state Keras does not know of.
_DRAWN = ("Random", "TruncatedNormal", "Multinomial", "StatefulStandard", "StatefulUniform", "StatefulTruncated", "RngReadAndSkip")

Run = Callable[[list[Any]], Forward]


class Derivatives(NamedTuple):
    """What one step needs.

    Attributes:
        penalty: its weighted mean over the samples, before the weight; a share of it under a distribution strategy.
        gradients: of task loss and penalty by each weight; None where a weight has no part.
        forward: the run at x.
    """

    penalty: Any
    gradients: list[Any]
    forward: Forward


class Way(NamedTuple):
    """How to differentiate.

    Attributes:
        penalty: what to penalise.
        factor: of the penalty in the loss.
        dtype: the coarsest that the network computes in.
        scale: multiplies a loss before it is differentiated, as an optimizer for float16 wants it.
    """

    penalty: InputGradientPenalty
    factor: float
    dtype: str
    scale: Callable[[Any], Any]


def plain(run: Run, leaves: list[Any], weights: list[Any], way: Way) -> Derivatives:
    """Differentiate the task loss alone; the penalty is 0."""
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        forward = run(leaves)
        scaled = way.scale(forward.task_loss)
    return Derivatives(tf.zeros_like(forward.task_loss), tape.gradient(scaled, weights), forward)


def measured(run: Run, leaves: list[Any], way: Way) -> tuple[Any, Forward]:
    """Return the penalty, and the run; nothing is differentiated by the weights."""
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        tape.watch(leaves)
        forward = run(leaves)
    gradients = input_gradients(tape.gradient(forward.mean_loss, leaves), forward)
    return _mean_penalty(gradients, forward, way.penalty), forward


def exact(run: Run, leaves: list[Any], weights: list[Any], way: Way) -> Derivatives:
    """Differentiate by double back-propagation. Args: as `two_pass`.

    Raises:
        ConfigError: if an operation of the network has no second derivative.
    """
    tf = load_tensorflow()

    one = way.scale(tf.ones((), leaves[0].dtype))
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(leaves)
            forward = run(leaves)
            scaled = way.scale(forward.mean_loss)
        by_input = [g if g is None else g / one for g in inner.gradient(scaled, leaves)]
        penalty = _mean_penalty(input_gradients(by_input, forward), forward, way.penalty)
        total = way.scale(forward.task_loss + way.factor * tf.cast(penalty, forward.task_loss.dtype))
    _refuse_cut_moments()
    try:
        return Derivatives(penalty, tape.gradient(total, weights), forward)
    except LookupError as error:
        raise ConfigError(_no_second_derivative(error)) from None


def two_pass(run: Run, leaves: list[Any], weights: list[Any], way: Way) -> Derivatives:
    """Differentiate by a finite difference of ordinary gradients.

    Args:
        run: the network and its losses as a function of the penalised inputs; run twice it draws the same noise.
        leaves: the penalised inputs.
        weights: the trainable variables.
        way: what, how much, in which precision.
    """
    tf = load_tensorflow()

    one = way.scale(tf.ones((), leaves[0].dtype))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(leaves)
        forward = run(leaves)
        mean_loss = way.scale(forward.mean_loss)
        further = None if forward.further is None else way.scale(forward.further)
        task_loss = way.scale(forward.task_loss)
    found = tape.gradient(mean_loss, [*weights, *leaves])
    here, by_input = found[: len(weights)], [g if g is None else g / one for g in found[len(weights) :]]
    if not forward.samples.as_keras:
        task = tape.gradient(task_loss, weights)
    elif further is not None:
        task = _sums(here, tape.gradient(further, weights))
    else:
        task = here
    del tape
    gradients = input_gradients(by_input, forward)
    penalty, slopes = _penalty_slopes(gradients, forward, way.penalty)
    if way.factor == 0:
        return Derivatives(penalty, task, forward)
    step = _step(leaves, slopes, STEPS[way.dtype])
    difference = _difference(run, leaves, slopes, step, weights, here, way)
    return Derivatives(penalty, _sums(task, [d if d is None else way.factor * d for d in difference]), forward)


def _difference(run: Run, leaves: list[Any], slopes: list[Any], step: Any, weights: list[Any], here: list[Any], way: Way) -> Any:
    """Return the derivative along the slopes of the gradients of the mean loss by the weights."""
    tf = load_tensorflow()

    _refuse_other_noise()

    def there(signed: Any) -> Any:
        with tf.GradientTape() as tape:
            moved = run([x + tf.cast(signed, x.dtype) * v for x, v in zip(leaves, slopes, strict=True)])
            scaled = way.scale(moved.mean_loss)
        return tape.gradient(scaled, weights)

    two_sided = way.dtype in TWO_SIDED
    ahead, behind = there(step), there(-step) if two_sided else here
    width = 2 * step if two_sided else step

    def quotient(a: Any, b: Any) -> Any:
        return None if a is None or b is None else (_dense(a) - _dense(b)) / tf.cast(width, a.dtype)

    return [quotient(a, b) for a, b in zip(ahead, behind, strict=True)]


def input_gradients(by_input: list[Any], forward: Forward) -> list[Any]:
    """Return g_i for each penalised input, of its shape, from the derivative of the mean loss.

    Raises:
        ConfigError: if the loss does not depend on an input.
    """
    tf = load_tensorflow()

    if any(gradient is None for gradient in by_input):
        place = [gradient is None for gradient in by_input].index(True)
        raise ConfigError(
            f"The loss must depend on every penalised input. Received: number {place} of those penalised, without a gradient. "
            "Name the others with inputs=."
        )
    samples, found = forward.samples, []
    n = tf.shape(samples.losses)[0] * tf.distribute.get_strategy().num_replicas_in_sync
    for gradient, valid in zip(by_input, forward.valid, strict=True):
        gradient = tf.cast(n, gradient.dtype) * tf.convert_to_tensor(gradient)
        if samples.weights is not None:
            weights = tf.reshape(tf.cast(samples.weights, gradient.dtype), (-1,) + (1,) * (gradient.shape.rank - 1))
            gradient = tf.math.divide_no_nan(gradient, weights)
        found.append(masked(gradient, valid))
    return found


def _mean_penalty(gradients: list[Any], forward: Forward, penalty: InputGradientPenalty) -> Any:
    """Return the mean over the samples of w_i P_i, a share of it under a distribution strategy."""
    return _mean(_penalties(gradients, forward, penalty), forward)


def _penalties(gradients: list[Any], forward: Forward, penalty: InputGradientPenalty) -> list[Any]:
    """Return P_i for each penalised input, `(n_samples,)` each."""
    return [
        penalty.of(gradient, forward.samples.losses, by_position(valid, gradient), forward.sizes)
        for gradient, valid in zip(gradients, forward.valid, strict=True)
    ]


def _mean(penalties: list[Any], forward: Forward) -> Any:
    tf = load_tensorflow()

    samples = forward.samples
    by_sample = tf.add_n([tf.cast(values, samples.losses.dtype) for values in penalties])
    weighted = by_sample if samples.weights is None else samples.weights * by_sample
    return tf.reduce_mean(weighted) / tf.distribute.get_strategy().num_replicas_in_sync


def _penalty_slopes(gradients: list[Any], forward: Forward, penalty: InputGradientPenalty) -> tuple[Any, list[Any]]:
    """Return the mean penalty, and v_i for each input; 0 for a sample of weight 0 and at masked timesteps."""
    tf = load_tensorflow()

    with tf.GradientTape() as tape:
        tape.watch(gradients)
        penalties = _penalties(gradients, forward, penalty)
        total = tf.add_n([tf.reduce_sum(tf.cast(values, penalties[0].dtype)) for values in penalties])
    found = tape.gradient(total, gradients, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    slopes = [masked(slope, valid) for slope, valid in zip(found, forward.valid, strict=True)]
    if forward.samples.weights is not None:
        present = forward.samples.weights != 0
        slopes = [
            tf.where(tf.reshape(present, (-1,) + (1,) * (slope.shape.rank - 1)), slope, tf.zeros_like(slope)) for slope in slopes
        ]
    return _mean(penalties, forward), slopes


def _step(leaves: list[Any], slopes: list[Any], share: float) -> Any:
    """Return the factor e by which the slopes move the inputs: by `share` of the size of each feature, at the most input."""
    tf = load_tensorflow()

    moves = []
    for x, v in zip(leaves, slopes, strict=True):
        axes = tuple(range(x.shape.rank - 1)) or (0,)
        size = tf.sqrt(tf.reduce_mean(tf.square(x), axis=axes, keepdims=True))
        size = tf.where(size > 0, size, tf.reduce_max(size))  # a feature that is 0 everywhere says nothing of its size
        size = tf.where(size > 0, size, tf.ones_like(size))
        moves.append(tf.sqrt(tf.reduce_mean(tf.square(v / size))))
    largest = tf.reduce_max(tf.stack([tf.cast(move, moves[0].dtype) for move in moves]))
    # No slope, no move: then the difference is 0 whatever it is divided by.
    return tf.where(largest > 0, share / tf.maximum(largest, 1e-30), tf.ones_like(largest))


def _sums(first: list[Any], second: list[Any]) -> list[Any]:
    """Add gradients; None counts for nothing."""
    return [b if a is None else a if b is None else _dense(a) + _dense(b) for a, b in zip(first, second, strict=True)]


def _dense(gradient: Any) -> Any:
    """Return the gradient of an embedding, of which only some rows are given, as a whole."""
    tf = load_tensorflow()

    return tf.convert_to_tensor(gradient)


def _operations() -> list[tuple[str, str]]:
    """Return type and name of every operation so far, those in loops included. Known in graph mode only."""
    tf = load_tensorflow()

    if tf.executing_eagerly():
        return []
    definition = tf.compat.v1.get_default_graph().as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return [(node.op, node.name) for node in nodes]


def _refuse_cut_moments() -> None:
    """Refuse a variance of `tf.nn.moments` in a layer that is none of Keras' own."""
    found = [name for kind, name in _operations() if kind == "StopGradient" and "moments/" in name]
    if found:
        raise ConfigError(moments_message(found[0]))


def _refuse_other_noise() -> None:
    """Refuse what is drawn by TensorFlow itself: each run would draw other numbers."""
    drawn = sorted({kind for kind, _ in _operations() if kind.startswith(_DRAWN)})
    if drawn:
        raise ConfigError(
            f"method='two_pass' needs noise that can be drawn twice. Received: {drawn[0]}, of tf.random. "
            "Draw it by keras.random with a keras.random.SeedGenerator, or use method='exact'."
        )


def _no_second_derivative(error: LookupError) -> str:
    """Say which operation of which layer has none."""
    operation = str(error).split()[-1].strip("'\".")
    names = [name for kind, name in _operations() if kind == operation]
    where = f" (in {names[0].removeprefix('gradient_tape/')})" if names else ""
    return (
        f"method='exact' needs a second derivative of every operation. Received: {operation}{where}, which has none. "
        "Use method='two_pass', or use_cudnn=False in an LSTM or GRU."
    )
