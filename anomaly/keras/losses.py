"""The loss of each sample, whatever Keras is given as `loss`.

Keras reduces a batch to one number. The penalty needs the loss of every sample by itself: values of any shape
`(n_samples, ...)` are averaged over all axes but the first; masked values take no part; several outputs are added
with their weights.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from anomaly.errors import ConfigError
from anomaly.tensorflow_start import load_keras, load_tensorflow


class Compiled(NamedTuple):
    """What a model was compiled with.

    Attributes:
        loss: as given to `compile`: a name, a `keras.losses.Loss`, a function, or a list or dict of them.
        loss_weights: as given to `compile`.
        names: names of the outputs, if they have any.
    """

    loss: Any
    loss_weights: Any
    names: list[str] | None


class SampleLosses(NamedTuple):
    """What the compiled losses say of each sample.

    Attributes:
        losses: l_i, `(n_samples,)`, before the weights of the samples.
        weights: of the samples, `(n_samples,)`; None if all weigh the same.
        as_keras: whether the mean of weights times losses is what Keras takes for the loss, so that one derivative serves both.
    """

    losses: Any
    weights: Any
    as_keras: bool


def sample_losses(compiled: Compiled, targets: Any, outputs: Any, sample_weight: Any) -> SampleLosses:
    """Return the loss of each sample.

    One weight a sample multiplies its loss and its penalty. Weights by timestep, or others for each output, act within the
    loss of the sample.

    Args:
        compiled: the losses.
        targets: what the outputs are compared with.
        outputs: what the network returned.
        sample_weight: as a batch brings it.

    Raises:
        ConfigError: if there is no loss, or one does not return a value for each sample.
    """
    keras = load_keras()
    tf = load_tensorflow()

    flat = keras.tree.flatten(outputs)
    keys = sorted(outputs) if isinstance(outputs, Mapping) else compiled.names  # `flatten` sorts
    n = len(flat)
    losses, factors, compared = (_by_output(given, keys, n) for given in (compiled.loss, compiled.loss_weights, targets))
    common = sample_weight if sample_weight is None or _is_per_sample(sample_weight) else None
    within = _by_output(None if common is not None else sample_weight, keys, n)
    total, as_keras = None, True
    for one, factor, target, output, weight in zip(losses, factors, compared, flat, within, strict=True):
        if one is None:
            continue
        found = _values(one, target, output)
        mask = _common_mask(output, found)
        as_keras &= mask is None and getattr(one, "reduction", "mean") in ("sum_over_batch_size", "mean")
        value = _mean_by_sample(found, weight, mask) * (1.0 if factor is None else factor)
        total = value if total is None else total + value
    if total is None:
        raise ConfigError("A loss must be compiled, for its gradient is what is penalised. Received: none. Add loss= to compile.")
    if common is not None:
        common = tf.cast(tf.reshape(common, (-1,)), total.dtype)
    return SampleLosses(total, common, as_keras)


def sample_outputs(outputs: Any, weights: Any) -> SampleLosses:
    """Return the mean of what the network returned for each sample, in the place of its loss; outputs are added.

    Args:
        outputs: what the network returned.
        weights: of the samples, or None.
    """
    keras, tf = load_keras(), load_tensorflow()

    flat = keras.tree.flatten(outputs)
    floats = [tf.cast(output, keras.config.floatx()) for output in flat]
    masks = [getattr(output, "_keras_mask", None) for output in flat]
    return SampleLosses(
        tf.add_n([_mean_by_sample(value, None, mask) for value, mask in zip(floats, masks, strict=True)]), weights, as_keras=False
    )


def weights_for_keras(sample_weight: Any, outputs: Any) -> Any:
    """Return one weight a sample so that it multiplies the values of every timestep: Keras adds no axes of itself."""
    keras = load_keras()
    tf = load_tensorflow()

    flat = keras.tree.flatten(outputs)
    if sample_weight is None or not _is_per_sample(sample_weight) or len(flat) > 1 or flat[0].shape.rank < 3:
        return sample_weight
    return tf.reshape(sample_weight, (-1,) + (1,) * (flat[0].shape.rank - 2))


def _is_per_sample(sample_weight: Any) -> bool:
    return hasattr(sample_weight, "shape") and all(size == 1 for size in sample_weight.shape[1:])


def _by_output(given: Any, keys: list[str] | None, n: int) -> list[Any]:
    """Return what belongs to each of n outputs; what is no list or dict belongs to all."""
    if isinstance(given, Mapping):
        return [given.get(key) for key in keys or []]
    if isinstance(given, (list, tuple)) and len(given) == n:
        return list(given)
    return [given] * n


def _values(loss: Any, target: Any, output: Any) -> Any:
    """Return the values of a loss before Keras reduces them, `(n_samples, ...)`."""
    keras = load_keras()

    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        loss = _crossentropy(target, output)
    function = keras.losses.get(loss)
    dtype = getattr(function, "dtype", None) or keras.config.floatx()
    target, output = (keras.ops.convert_to_tensor(array, dtype=dtype) for array in (target, output))
    if isinstance(function, keras.losses.Loss):
        values = function.call(target, output)
    else:
        values = function(*_same_rank(target, output))
    if values.shape.rank == 0:
        raise ConfigError(
            "A loss must return a value for each sample, for the penalty needs each one's gradient. "
            f"Received: one number for the whole batch from {getattr(function, '__name__', function)!r}. "
            "Let it average over the last axis only, as in keras.ops.mean(..., axis=-1)."
        )
    return values


def _crossentropy(target: Any, output: Any) -> str:
    """Choose as Keras does for the loss named "crossentropy"."""
    if output.shape[-1] == 1:
        return "binary_crossentropy"
    sparse = len(target.shape) < len(output.shape) or target.shape[-1] == 1
    return "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"


def _same_rank(target: Any, output: Any) -> tuple[Any, Any]:
    """Add or drop a last axis of one, as Keras does before it calls a function."""
    tf = load_tensorflow()

    by_rank = sorted((target, output), key=lambda array: len(array.shape))
    shorter, longer = by_rank
    if len(longer.shape) != len(shorter.shape) + 1 or longer.shape[-1] != 1:
        return target, output
    if len(shorter.shape) == 1:
        target, output = (tf.expand_dims(array, -1) if array is shorter else array for array in (target, output))
    else:
        target, output = (tf.squeeze(array, -1) if array is longer else array for array in (target, output))
    return target, output


def _common_mask(output: Any, values: Any) -> Any:
    """Return the mask that Keras would apply to the values, or None."""
    masks = [mask for mask in (getattr(array, "_keras_mask", None) for array in (output, values)) if mask is not None]
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] & masks[1]


def _mean_by_sample(values: Any, weight: Any, mask: Any) -> Any:
    """Return the weighted mean over all axes but the first of the values that are not masked, `(n_samples,)`."""
    tf = load_tensorflow()

    if weight is not None:
        values = values * _aligned(tf.cast(weight, values.dtype), values)
    if mask is None:
        return tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)
    mask = _aligned(tf.cast(mask, values.dtype), values) * tf.ones_like(values)
    flat, known = (tf.reshape(array, (tf.shape(values)[0], -1)) for array in (values * mask, mask))
    return tf.math.divide_no_nan(tf.reduce_sum(flat, axis=1), tf.reduce_sum(known, axis=1))


def _aligned(array: Any, values: Any) -> Any:
    """Add axes of one at the end, or drop them, up to the rank of the values."""
    tf = load_tensorflow()

    while array.shape.rank < values.shape.rank:
        array = tf.expand_dims(array, -1)
    while array.shape.rank > values.shape.rank and array.shape[-1] == 1:
        array = tf.squeeze(array, -1)
    return array
