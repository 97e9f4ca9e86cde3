"""Adam on one vector of weights.

Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1 in the order of its section 2.
Its constants are Keras's. One vector in the place of a dozen variables makes a step a dozen operations, not two hundred.
"""

import math
from collections.abc import Sequence
from typing import Any

from anomaly.tensorflow_start import load_tensorflow

Tensor = Any
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


def rate_of_step(learning_rate: float, step: int) -> float:
    """Return the learning rate times what makes up for moments that began at 0.

    Args:
        learning_rate: of this step.
        step: its number, from 1.
    """
    return learning_rate * math.sqrt(1 - _BETA_2**step) / (1 - _BETA_1**step)


def adam_step(
    weights: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, rate: Tensor, clip_norm: float | None, sizes: Sequence[int]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the weights and the moments after a step.

    Args:
        weights: `(n_weights,)` float32.
        moments: means of the gradient and of its square, of the same shape.
        gradient: of the same shape.
        rate: scalar, see `rate_of_step`.
        clip_norm: the most the norm of the gradient may be; a longer one is shortened to it. None for no limit.
        sizes: how many weights there are in each array. Their squares are summed array by array: TensorFlow shares a longer
            sum among the cores, and the last bits would depend on how many there are.
    """
    tf = load_tensorflow()

    first, second = moments
    if clip_norm is not None:
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(part) for part in tf.split(tf.square(gradient), list(sizes))]))
        gradient *= clip_norm / tf.maximum(norm, clip_norm)
    first += (1 - _BETA_1) * (gradient - first)
    second += (1 - _BETA_2) * (tf.square(gradient) - second)
    return weights - rate * first / (tf.sqrt(second) + _EPSILON), (first, second)
