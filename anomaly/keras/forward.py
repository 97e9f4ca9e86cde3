"""One run of a model on a batch, without side effects: it may be run twice.

Dropout, noise and batch normalisation change variables as they run. Here these changes are collected instead of made:
two runs then draw the same numbers, and the changes of one of them are made afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from anomaly.keras.losses import SampleLosses, sample_losses, sample_outputs, weights_for_keras
from anomaly.keras.selection import Selection, valid_positions
from anomaly.tensorflow_start import load_keras, load_tensorflow


class Batch(NamedTuple):
    """What one step is about."""

    selection: Selection
    targets: Any
    sample_weight: Any
    training: bool


class Forward(NamedTuple):
    """What a run says.

    Attributes:
        task_loss: what Keras minimises, a scalar; a share of it under a distribution strategy.
        further: the part of it that is no compiled loss: of weights and activities; None if there is none.
        samples: the loss of each sample, or what else the penalty is about.
        mean_loss: their weighted mean, a share of it as for `task_loss`.
        outputs: of the network.
        valid: for each penalised input the timesteps that take part, or None.
        sizes: of how many values the loss of each sample is the mean, `(n_samples,)`; None if of all that take part.
        changes: pairs of a variable and its new value.
    """

    task_loss: Any
    further: Any
    samples: SampleLosses
    mean_loss: Any
    outputs: Any
    valid: list[Any]
    sizes: Any
    changes: list[tuple[Any, Any]]


def run(model: Any, leaves: list[Any], batch: Batch) -> Forward:
    """Run the network of a compiled model and take its losses.

    Args:
        model: an `InputGradientModel`, compiled.
        leaves: the penalised inputs.
        batch: everything else.
    """
    tf = load_tensorflow()

    network = model.network
    with collected_changes(model) as changes:
        inputs = batch.selection.with_leaves(leaves)
        outputs = network(inputs, training=batch.training)
        weight = weights_for_keras(batch.sample_weight, outputs)
        task_loss = model.compute_loss(inputs, batch.targets, outputs, weight, training=batch.training)
        further = [tf.reduce_sum(loss) for loss in model.losses]
        samples = sample_losses(model.compiled_losses, batch.targets, outputs, batch.sample_weight)
        if model.of == "output":
            samples = sample_outputs(outputs, samples.weights)
    weighted = samples.losses if samples.weights is None else samples.weights * samples.losses
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    mean_loss = tf.reduce_mean(weighted) / replicas
    valid = [valid_positions(network, leaf, outputs) for leaf in leaves]
    sizes = model.values_compared(batch.selection.inputs)
    return Forward(task_loss, tf.add_n(further) if further else None, samples, mean_loss, outputs, valid, sizes, changes())


@contextmanager
def collected_changes(model: Any) -> Iterator[Any]:
    """Keep Keras variables as they are; yield a function that returns the changes so far: pairs of variable and value."""
    keras = load_keras()
    tf = load_tensorflow()

    # In such a scope Keras reads the weights that are regularised from the mapping alone.
    kept = [(variable, tf.convert_to_tensor(variable.value)) for variable in model.trainable_variables if variable.regularizer]
    scope = keras.StatelessScope(state_mapping=kept, collect_losses=True)
    changed: dict[int, Any] = {}
    add_update = scope.add_update

    def note(update: tuple[Any, Any]) -> None:
        changed[id(update[0])] = update[0]
        add_update(update)

    scope.add_update = note
    with scope:
        yield lambda: [(variable, scope.get_current_value(variable)) for variable in changed.values()]


def make(changes: list[tuple[Any, Any]]) -> None:
    """Make the changes that a run collected."""
    for variable, value in changes:
        variable.assign(value)
