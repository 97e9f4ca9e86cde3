"""All weights of a network in one vector, and back: what the optimizer and the shards of a step share is one array, not twenty."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from anomaly.config import NetworkConfig
from anomaly.network.model import Weights, weight_shapes
from anomaly.series import Float32s
from anomaly.tensorflow_start import load_tensorflow

Tensor = Any


class WeightVector:
    """Where each array lies in the vector, in the order of `anomaly.network.model.weight_shapes`.

    Args:
        network: the shape of the network.
        n_inputs: values of a row that the network reads.

    Attributes:
        sizes: how many weights there are in each array.
    """

    def __init__(self, network: NetworkConfig, n_inputs: int) -> None:
        self._shapes = weight_shapes(network, n_inputs)
        self.sizes = [math.prod(shape) for shape in self._shapes.values()]

    def joined(self, weights: Weights) -> Float32s:
        """Return the vector of some arrays, `(n_weights,)`."""
        return np.concatenate([np.asarray(weights[name], np.float32).ravel() for name in self._shapes])

    def parts(self, vector: Float32s) -> Weights:
        """Return copies of the arrays in a vector."""
        cuts = np.split(vector, np.cumsum(self.sizes)[:-1])
        return {name: part.reshape(shape).copy() for (name, shape), part in zip(self._shapes.items(), cuts, strict=True)}

    def joined_tensors(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return what `joined` does, of tensors."""
        tf = load_tensorflow()

        return tf.concat([tf.reshape(tensors[name], [-1]) for name in self._shapes], 0)

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        """Return what `parts` does, of a tensor."""
        tf = load_tensorflow()

        cuts = tf.split(vector, self.sizes)
        return {name: tf.reshape(part, shape) for (name, shape), part in zip(self._shapes.items(), cuts, strict=True)}
