"""`InputGradientModel`: a Keras model whose training step penalises the gradient of its loss by the input.

This module loads Keras; `anomaly.keras` imports it when the class is first used.
"""

import os
import warnings
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

from anomaly.errors import ConfigError
from anomaly.keras import abilities
from anomaly.keras.differentiation import Derivatives, Way, exact, measured, plain, two_pass
from anomaly.keras.forms import InputGradientPenalty
from anomaly.keras.forward import Batch, Forward, make, run
from anomaly.keras.gradient import default_targets
from anomaly.keras.losses import Compiled
from anomaly.keras.selection import Selection, Wanted
from anomaly.tensorflow_start import load_keras, load_tensorflow

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
else:
    keras, tf = load_keras(), load_tensorflow()


@keras.saving.register_keras_serializable(package="anomaly")
class InputGradientModel(keras.Model):  # type: ignore[misc] # Keras ships no types
    """Train any Keras model with a penalty on the gradient of its loss by the input.

    loss = task loss + weight * mean over the samples of w_i P(d l_i / d x_i)

    with l_i the loss of sample i (or its output, see `of`) and w_i its weight. It is an ordinary Keras model: `compile`,
    `fit`, `evaluate`, `predict` and `save` do what they do for the network itself, whose weights it shares. It reports
    `loss`, `task_loss` (what Keras alone would minimise) and `input_gradient_penalty` (before the weight), in training and
    in validation.

    Args:
        network: functional, Sequential or subclassed; a loss must not reduce over the batch. A `train_step` of its own is not used.
        penalty: what is penalised, and how much it weighs.
        inputs: which inputs of several are penalised, names or positions; None for all that hold floats.
        method: "exact" (a tape inside a tape), "two_pass" (a finite difference of ordinary gradients) or "auto":
            two_pass where it is right to a thousandth, which is not for the directional form and in half precision.
        of: "loss", or "output" to penalise the input gradient of what the network returns (its mean for each sample): how a
            prediction moves with its input, whatever the target.
        every: apply the penalty on every k-th step, with k times its weight (Karras et al. 2020, "Analyzing and
            improving the image quality of StyleGAN").
        name: of the model.

    Attributes:
        network: the network, to use by itself after training.

    Raises:
        ConfigError: if an argument breaks its rule.

    Example:
        model = InputGradientModel(my_model, InputGradientPenalty("l2", weight=0.01))
        model.compile("adam", loss="mse")
        model.fit(x, y)
    """

    def __init__(
        self,
        network: keras.Model,
        penalty: InputGradientPenalty,
        *,
        inputs: Wanted = None,
        method: str = "auto",
        of: str = "loss",
        every: int = 1,
        name: str | None = None,
    ) -> None:
        _check_kinds(network, penalty, inputs)
        # Keras scales losses up for a model whose own policy is float16; nothing is computed in it here.
        policy = "mixed_float16" if abilities.scales_its_loss(network) else None
        super().__init__(name=name, dtype=policy, autocast=False)
        if not isinstance(every, int | Integral) or isinstance(every, bool) or every < 1:
            raise ConfigError(f"`every` must be a whole number of at least 1. Received: every={every!r}.")
        if of not in ("loss", "output") or (of == "output" and penalty.units == "error"):
            raise ConfigError(f"`of` must be loss, or output with units='raw'. Received: of={of!r} with units={penalty.units!r}.")
        self.network, self.penalty, self.every, self.of = network, penalty, int(every), of
        self.built = network.built
        self.method = abilities.choose_method(method, penalty, network)
        self._inputs, self._method = _plain(inputs), method
        self.supports_jit = not (self.method == "exact" and abilities.may_hold_a_loop(network))
        self._task_loss = keras.metrics.Mean(name="task_loss")
        self._penalty = keras.metrics.Mean(name="input_gradient_penalty")

    @property
    def penalised_inputs(self) -> Wanted:
        """Which inputs are penalised, as given."""
        wanted: Wanted = self._inputs
        return wanted

    @property
    def compiled_losses(self) -> Compiled:
        """What was compiled."""
        compiled, names = self._compile_loss, getattr(self.network, "output_names", None)
        return Compiled(None, None, names) if compiled is None else Compiled(self.loss, compiled._user_loss_weights, names)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs; only where the network has them."""
        names: list[str] = self.network.output_names
        return names

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Call the network."""
        return self.network(inputs, training=training)

    def values_compared(self, inputs: Any) -> Any:
        """Return of how many values the loss of each sample is the mean, `(n_samples,)`; None if of all that take part.

        A model whose loss leaves values out says so here: a penalty in units of the error counts those that are left.
        """
        return None

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step; Keras calls it."""
        batch = self._batch(data, training=True)
        weights = self.trainable_variables
        found, with_penalty = self._derivatives(batch, weights)
        if weights:
            self.optimizer.apply_gradients(zip(found.gradients, weights, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)  # as any Keras model says it
        make(found.forward.changes)
        return self._reported(batch, found.forward, found.penalty, with_penalty)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measure one batch; Keras calls it."""
        batch = self._batch(data, training=False)
        penalty, forward = measured(self._runner(batch), batch.selection.leaves, self._way())
        make(forward.changes)
        return self._reported(batch, forward, penalty, tf.constant(True))

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function that trains; Keras calls it.

        The optimizer's variables are made before: where a step makes them, TensorFlow traces it twice.
        """
        optimizer, layers = self.optimizer, self.network._flatten_layers()
        if optimizer is not None and not optimizer.built and all(layer.built for layer in layers):
            with self.distribute_strategy.scope():
                optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def _batch(self, data: Any, *, training: bool) -> Batch:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:
            self(x, training=False)  # makes the weights of a subclassed network
        selection = Selection.of(self.network, x, self._inputs)
        y = tf.stop_gradient(default_targets(x)) if y is None else y
        return Batch(selection, y, sample_weight, training)

    def _runner(self, batch: Batch) -> Any:
        return lambda leaves: run(self, leaves, batch)

    def _way(self) -> Way:
        scale = self.optimizer.scale_loss if self.optimizer is not None else lambda loss: loss
        return Way(self.penalty, self.penalty.weight * self.every, abilities.coarsest_dtype(self.network), scale)

    def _derivatives(self, batch: Batch, weights: list[Any]) -> tuple[Derivatives, Any]:
        """Return what the step is made of, and whether it has a penalty."""
        differentiate = exact if self.method == "exact" and self.penalty.weight else two_pass
        arguments = (self._runner(batch), batch.selection.leaves, weights, self._way())
        if self.every == 1:
            return differentiate(*arguments), tf.constant(True)
        with_penalty = self.optimizer.iterations % self.every == 0
        return _either(with_penalty, lambda: differentiate(*arguments), lambda: plain(*arguments), weights), with_penalty

    def _reported(self, batch: Batch, forward: Forward, penalty: Any, with_penalty: Any) -> dict[str, Any]:
        """Bring the metrics up to date and return them."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        task_loss, penalty = forward.task_loss * replicas, tf.cast(penalty, forward.task_loss.dtype) * replicas
        n = tf.cast(tf.shape(batch.selection.leaves[0])[0], task_loss.dtype)
        factor = self.penalty.weight * (self.every if batch.training else 1)
        self._loss_tracker.update_state(task_loss + factor * penalty, sample_weight=n)
        self._task_loss.update_state(task_loss, sample_weight=n)
        self._penalty.update_state(penalty, sample_weight=n * tf.cast(with_penalty, n.dtype))
        reported: dict[str, Any] = self.compute_metrics(
            batch.selection.inputs, batch.targets, forward.outputs, sample_weight=batch.sample_weight
        )
        return reported

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        """Export the network, which is what this model computes; arguments as for `keras.Model.export`."""
        return self.network.export(filepath, *args, **kwargs)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Write the model to a .keras file; arguments as for `keras.Model.save`.

        Raises:
            ConfigError: if it is to be HDF5, from which Keras could not load it.
        """
        if os.fspath(filepath).endswith((".h5", ".hdf5")):
            raise ConfigError(
                f"An InputGradientModel is saved as a .keras file. Received: {filepath}. Name it so, or save the network alone: "
                f"model.network.save({os.fspath(filepath)!r})."
            )
        super().save(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes the same model of."""
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "penalty": self.penalty.get_config(),
            "inputs": self._inputs,
            "method": self._method,
            "of": self.of,
            "every": self.every,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Make a model from what `get_config` returned."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects=custom_objects)
        penalty = InputGradientPenalty(**config["penalty"])
        return cls(**config | {"network": network, "penalty": penalty})


def _check_kinds(network: Any, penalty: Any, inputs: Any) -> None:
    """Refuse arguments of another kind before Keras runs into them."""
    if not isinstance(network, keras.Layer):
        raise ConfigError(f"`network` must be a keras.Model. Received: {type(network).__name__}. Pass the model itself.")
    if not isinstance(penalty, InputGradientPenalty):
        raise ConfigError(
            f"`penalty` must be an InputGradientPenalty. Received: {type(penalty).__name__}. "
            'Write for example InputGradientPenalty("l2", weight=0.01).'
        )
    wanted = [inputs] if inputs is None or isinstance(inputs, str | int | Integral) else inputs
    kinds = (str, int, Integral, type(None))
    if not isinstance(wanted, list | tuple) or any(not isinstance(one, kinds) or isinstance(one, bool) for one in wanted):
        raise ConfigError(
            f"`inputs` must be names or positions of inputs. Received: inputs={inputs!r}. Leave it out for all that hold floats."
        )


def _plain(inputs: Wanted) -> Any:
    """Return names and positions as Python has them, so that they can be saved."""
    if isinstance(inputs, list | tuple):
        return type(inputs)(_plain(one) for one in inputs)
    return int(inputs) if isinstance(inputs, Integral) else inputs


def _either(condition: Any, if_true: Any, if_false: Any, weights: list[Any]) -> Derivatives:
    """Return what one of two functions returns, as tensors of a condition: weights without a part get zeros."""
    made: list[Derivatives] = []

    def tensors_of(function: Any) -> Any:
        def branch() -> list[Any]:
            found: Derivatives = function()
            made.append(found)
            forward = found.forward
            gradients = [
                tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for w, g in zip(weights, found.gradients, strict=True)
            ]
            outputs = keras.tree.flatten(forward.outputs)
            return [
                [found.penalty, forward.task_loss], gradients, outputs, [mask for mask in map(_mask, outputs) if mask is not None],
                [value for _, value in forward.changes],
            ]  # fmt: skip

        return branch

    (penalty, task_loss), gradients, outputs, masks, values = tf.cond(condition, tensors_of(if_true), tensors_of(if_false))
    last = made[-1].forward
    kept = iter(masks)
    for output, before in zip(outputs, keras.tree.flatten(last.outputs), strict=True):
        if _mask(before) is not None:
            output._keras_mask = next(kept)  # Keras keeps masks on tensors; a condition makes new ones
    changes = [(variable, value) for (variable, _), value in zip(last.changes, values, strict=True)]
    outputs = keras.tree.pack_sequence_as(last.outputs, outputs)
    return Derivatives(penalty, gradients, last._replace(task_loss=task_loss, outputs=outputs, changes=changes))


def _mask(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)
