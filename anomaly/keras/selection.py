"""Which of a model's inputs are penalised, and which of their positions take part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from anomaly.errors import ConfigError, shorten
from anomaly.tensorflow_start import load_keras, load_tensorflow

Wanted = str | int | Sequence[str | int] | None


@dataclass(frozen=True)
class Selection:
    """A batch of inputs, and the ones among them that are penalised.

    Attributes:
        inputs: a tensor, or a list or dict of them, as the model takes it.
        places: of the penalised ones among the flattened inputs.
        leaves: the penalised ones, each `(n_samples, ...)`, of floats.
    """

    inputs: Any
    places: list[int]
    leaves: list[Any]

    @classmethod
    def of(cls, network: Any, inputs: Any, wanted: Wanted) -> "Selection":
        """Find the penalised inputs.

        Args:
            network: the model that takes them.
            inputs: a batch.
            wanted: names or positions; None for all that hold floats.

        Raises:
            ConfigError: if there is no such input, or one holds integers.
        """
        keras = load_keras()
        tf = load_tensorflow()

        flat = [tf.convert_to_tensor(leaf) for leaf in keras.tree.flatten(inputs)]
        names, dtypes = _names_and_dtypes(network, inputs, flat)
        if wanted is None:
            places = [place for place, dtype in enumerate(dtypes) if dtype.is_floating]
        else:
            places = [_place(name, names) for name in ([wanted] if isinstance(wanted, str | int | Integral) else wanted)]
        whole = [f"{names[place]} ({dtypes[place].name})" for place in places or range(len(flat)) if not dtypes[place].is_floating]
        if whole or not places:
            raise ConfigError(
                "A penalised input must hold floating-point numbers: integers, as an embedding takes them, have no gradient. "
                f"Received: {shorten(whole) or 'none'}. Name the others with inputs=."
            )
        return cls(inputs, places, [tf.cast(flat[place], dtypes[place]) for place in places])

    def with_leaves(self, leaves: list[Any]) -> Any:
        """Return the inputs with the penalised ones replaced."""
        keras = load_keras()
        tf = load_tensorflow()

        flat = [tf.convert_to_tensor(leaf) for leaf in keras.tree.flatten(self.inputs)]
        for place, leaf in zip(self.places, leaves, strict=True):
            flat[place] = leaf
        return keras.tree.pack_sequence_as(self.inputs, flat)


def _names_and_dtypes(network: Any, inputs: Any, flat: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what each input is called, and as what it is read: whole numbers for an input of floats are floats."""
    tf = load_tensorflow()

    # A functional model knows its inputs; a subclassed one has none.
    known = {tensor.name: tensor.dtype for tensor in getattr(network, "inputs", None) or []}
    if isinstance(inputs, Mapping):
        names: list[Any] = sorted(inputs)  # the order in which Keras flattens
    else:
        names = list(known) if len(known) == len(flat) else list(range(len(flat)))
    return names, [
        tf.as_dtype(known[name]) if name in known and not leaf.dtype.is_floating else leaf.dtype
        for name, leaf in zip(names, flat, strict=True)
    ]


def _place(name: str | int, names: list[Any]) -> int:
    if name in names:
        return names.index(name)
    if isinstance(name, int | Integral) and 0 <= name < len(names):
        return int(name)
    raise ConfigError(f"`inputs` must name inputs of the model ({shorten(names)}). Received: {name!r}.")


def valid_positions(network: Any, leaf: Any, outputs: Any) -> Any:
    """Return which timesteps of an input take part, `(n_samples, n_timesteps)` of 0 and 1, or None if all do.

    They are those that a `Masking` layer right behind the input lets through, or else those that the mask of the outputs
    names, if it has as many.

    Args:
        network: the model.
        leaf: one of its inputs, `(n_samples, n_timesteps, ...)`.
        outputs: what the network returned.
    """
    keras = load_keras()
    tf = load_tensorflow()

    if leaf.shape.rank is None or leaf.shape.rank < 3:
        return None
    masks = [layer.compute_mask(leaf, None) for layer in _masking_layers(network, leaf)]
    for output in keras.tree.flatten(outputs):
        mask = getattr(output, "_keras_mask", None)
        if mask is not None and mask.shape.rank == 2 and mask.shape[1] == leaf.shape[1]:
            masks.append(mask)
    return tf.cast(masks[0], leaf.dtype) if masks else None


def _masking_layers(network: Any, leaf: Any) -> list[Any]:
    """Return the `Masking` layers that read an input of this shape."""
    keras = load_keras()

    inputs = getattr(network, "inputs", None) or []
    found = []
    for layer in getattr(network, "layers", []):
        if isinstance(layer, keras.layers.Masking) and any(layer.input is tensor for tensor in inputs):
            shape = layer.input.shape[1:]
            if len(shape) + 1 == leaf.shape.rank and shape[-1] in (None, leaf.shape[-1]):
                found.append(layer)
    return found


def by_position(valid: Any, leaf: Any) -> Any:
    """Return a mask of timesteps for every position of an input, `(n_samples, n_positions)`; None stays None."""
    tf = load_tensorflow()

    if valid is None:
        return None
    mask = valid
    while mask.shape.rank < leaf.shape.rank - 1:
        mask = tf.expand_dims(mask, -1)
    mask = tf.broadcast_to(mask, tf.shape(leaf)[:-1])
    return tf.reshape(mask, (tf.shape(leaf)[0], -1))


def masked(gradient: Any, valid: Any) -> Any:
    """Return a gradient with 0 at the timesteps that take no part."""
    tf = load_tensorflow()

    if valid is None:
        return gradient
    mask = valid
    while mask.shape.rank < gradient.shape.rank:
        mask = tf.expand_dims(mask, -1)
    return tf.where(mask > 0, gradient, tf.zeros_like(gradient))
