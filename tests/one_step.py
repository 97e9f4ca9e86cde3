"""The gradient that one training step of a Keras model takes, read off its weights."""

import numpy as np

from anomaly.tensorflow_start import load_keras

RATE = 1e3  # so large that what is read off is not lost beside the weights


def gradients_of_step(model, *batch, **options):
    """Return the gradients by the trainable weights of one step on a batch; the weights are put back.

    Eagerly, unless told otherwise: to trace a step takes longer than to take one.
    """
    keras = load_keras()

    state = [(variable, variable.numpy()) for variable in model.network.variables]  # seeds and statistics too
    model.compile(keras.optimizers.SGD(RATE), loss=options.pop("loss", "mse"), run_eagerly=options.pop("run_eagerly", True))
    trainable = [weight.numpy() for weight in model.trainable_variables]
    x, y, weight = (*batch, None, None)[:3]
    model.train_on_batch(x, y, sample_weight=weight)
    found = [(old - new.numpy()) / RATE for old, new in zip(trainable, model.trainable_variables, strict=True)]
    for variable, value in state:
        variable.assign(value)
    return found


def penalty_gradients(network, penalty, *batch, **options):
    """Return the gradients of the penalty alone, without its weight: what a step with it does more than one without."""
    from dataclasses import replace

    from anomaly.keras import InputGradientModel

    model_options = {name: options.pop(name) for name in ("inputs", "method", "every") if name in options}
    both = [
        gradients_of_step(InputGradientModel(network, replace(penalty, weight=weight), **model_options), *batch, **dict(options))
        for weight in (1.0, 0.0)
    ]
    return [one - other for one, other in zip(*both, strict=True)]


def relative_error(found, expected):
    """Return the distance of two lists of arrays over the size of the second."""
    found, expected = (np.concatenate([np.ravel(array) for array in arrays]) for arrays in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
