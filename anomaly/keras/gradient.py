"""The input gradient of any Keras model: what the penalty acts on, to look at."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from anomaly.errors import ConfigError, shorten
from anomaly.keras.forward import collected_changes
from anomaly.keras.losses import Compiled, sample_losses
from anomaly.keras.selection import Selection, Wanted
from anomaly.tensorflow_start import load_keras, load_tensorflow


def input_gradient(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    loss_weights: Any = None,
    inputs: Wanted = None,
    training: bool = False,
    batch_size: int = 256,
) -> Any:
    """Return the derivative of each sample's loss by its own input.

    Targets are held constant. The loss of a sample is the mean of its values; it does not depend on the batch, unless the
    network looks across it, as batch normalisation does in training. The model stays as it is.

    Args:
        model: a Keras model; of an `InputGradientModel` the network is taken, and what it was compiled with.
        x: inputs, as for `fit`: an array `(n_samples, ...)`, or a list or dict of them.
        y: targets; None for the input itself.
        loss: as for `compile`.
        loss_weights: as for `compile`.
        inputs: which inputs to differentiate by, names or positions; None for all of floats.
        training: whether dropout, noise and the statistics of the batch are on.
        batch_size: samples at a time; no result depends on it.

    Returns:
        d l_i / d x_i, a NumPy array of the shape of `x`; for several inputs a list or dict of them, None for those left out.

    Raises:
        ConfigError: if no loss is given, an input cannot be differentiated by, a loss has no value for each sample, or inputs
            and targets are no arrays of as many samples.
    """
    keras = load_keras()
    import numpy as np

    network = getattr(model, "network", model)
    compiled = Compiled(loss, loss_weights, getattr(network, "output_names", None))
    if network is not model:
        inputs = model.penalised_inputs if inputs is None else inputs
        compiled = model.compiled_losses if loss is None else compiled
    x = keras.tree.map_structure(np.asarray, x)
    y = default_targets(x) if y is None else keras.tree.map_structure(np.asarray, y)
    n = _number_of_samples(x, y)
    if not isinstance(batch_size, int | Integral) or isinstance(batch_size, bool) or batch_size < 1:
        raise ConfigError(f"`batch_size` must be a whole number of at least 1. Received: batch_size={batch_size!r}.")
    if not network.built:
        network(_part(x, 0, 1), training=False)
    of_batch = _traced(network, compiled, inputs, training, (x, y))
    parts = [of_batch(_part(x, at, at + batch_size), _part(y, at, at + batch_size)) for at in range(0, n, batch_size)]
    places = Selection.of(network, _part(x, 0, 1), inputs).places
    flat: list[Any] = [None] * len(keras.tree.flatten(x))
    for place, arrays in zip(places, zip(*parts, strict=True), strict=True):
        flat[place] = np.concatenate([array.numpy() for array in arrays])
    return flat[0] if not keras.tree.is_nested(x) else keras.tree.pack_sequence_as(x, flat)


def _traced(network: Any, compiled: Compiled, inputs: Wanted, training: bool, arrays: Any) -> Any:
    """Return a function of inputs and targets of a batch of any size: its gradients by the chosen inputs."""
    keras, tf = load_keras(), load_tensorflow()

    def of_batch(x: Any, y: Any) -> list[Any]:
        selection = Selection.of(network, x, inputs)
        with tf.GradientTape() as tape:
            tape.watch(selection.leaves)
            with collected_changes(network):
                outputs = network(selection.with_leaves(selection.leaves), training=training)
            found = sample_losses(compiled, y, outputs, None)
        gradients: list[Any] = tape.gradient(found.losses, selection.leaves, unconnected_gradients="zero")
        return gradients

    specs = keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), arrays)
    # Autograph has nothing to rewrite here.
    return tf.function(of_batch, autograph=False).get_concrete_function(*specs)


def default_targets(x: Any) -> Any:
    """Return what is to be reconstructed: the input.

    Raises:
        ConfigError: if there are several inputs.
    """
    keras = load_keras()

    if keras.tree.is_nested(x) and (isinstance(x, Mapping) or len(x) != 1):
        raise ConfigError(
            "Targets must be given for a model of several inputs. Received: y=None. "
            "Pass what each output is compared with, for an autoencoder the inputs themselves."
        )
    return keras.tree.flatten(x)[0]


def _number_of_samples(x: Any, y: Any) -> int:
    """Return how many samples there are; refuse arrays that have not as many."""
    keras = load_keras()

    shapes = [tuple(array.shape) for array in keras.tree.flatten([x, y])]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1 or not shapes[0][0]:
        raise ConfigError(
            "Inputs and targets must be arrays of the same number of samples, at least one. Received: arrays of the shapes "
            f"{shorten(list(map(str, shapes)))}. Turn lists of numbers into arrays: a list is taken for one of inputs."
        )
    return int(shapes[0][0])


def _part(arrays: Any, start: int, stop: int) -> Any:
    keras, tf = load_keras(), load_tensorflow()

    return keras.tree.map_structure(lambda array: tf.constant(array[start:stop]), arrays)
