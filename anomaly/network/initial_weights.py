"""The weights that a training starts from, drawn as Keras's LSTM and Dense layers draw theirs, without Keras.

Kernels are uniform within +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010, "Understanding the difficulty of training deep
feedforward neural networks", equation 16). Recurrent kernels have orthonormal rows (Saxe et al. 2014, "Exact solutions to the
nonlinear dynamics of learning in deep linear neural networks"). Biases are 0, those of the forget gates 1 (Jozefowicz et al.
2015, "An empirical exploration of recurrent network architectures").
"""

import numpy as np

from anomaly.config import NetworkConfig
from anomaly.network.model import Weights, weight_shapes
from anomaly.series import Float32s, Floats


def initial_weights(config: NetworkConfig, n_inputs: int, seed: int) -> Weights:
    """Draw all weights.

    Args:
        config: the shape of the network.
        n_inputs: values of a row that the network reads.
        seed: one seed always gives the same weights.

    Returns:
        Arrays under the names of `anomaly.network.model.weight_shapes`, float32.
    """
    shapes = weight_shapes(config, n_inputs)
    generators = np.random.default_rng(seed).spawn(len(shapes))
    return {name: _drawn(name, shape, rng) for (name, shape), rng in zip(shapes.items(), generators, strict=True)}


def _drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Float32s:
    kind = name.rpartition("/")[2]
    if kind == "bias":
        return _bias(shape[0], of_lstm=name.startswith(("encoder_", "decoder_")))
    drawn = _orthonormal_rows(shape, rng) if kind == "recurrent_kernel" else _glorot_uniform(shape, rng)
    return drawn.astype(np.float32)


def _bias(size: int, *, of_lstm: bool) -> Float32s:
    """Return zeros; ones for the forget gate, the second of an LSTM's four."""
    bias = np.zeros(size, np.float32)
    if of_lstm:
        bias[size // 4 : size // 2] = 1
    return bias


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    limit = np.sqrt(6 / sum(shape))
    return rng.uniform(-limit, limit, shape)


def _orthonormal_rows(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return `(units, 4 units)`; the signs of the diagonal make the draw uniform over all such matrices."""
    q, r = np.linalg.qr(rng.normal(size=shape[::-1]))
    rows: Floats = (q * np.sign(np.diag(r))).T
    return rows
