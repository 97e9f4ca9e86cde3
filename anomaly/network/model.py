"""The network and nothing else: a seq2seq LSTM autoencoder as a stock functional Keras model.

    input (window_size, n_features)
      -> means of `pooling` rows each, where that is above 1: the timesteps that all LSTM layers run over
      -> encoder: 1-3 LSTM layers
      -> code: the last layer's final output, or a narrower projection of it
      -> decoder: as many LSTM layers; the first starts from the encoder's state, and sees the code at each step
      -> output (window_size, n_features), in time order; the rows of one mean share their reconstruction

The decoder is fed the code and not its own output (no teacher forcing, so training and scoring run
alike). With `output_order="reversed"` it emits the last timestep first, as in Malhotra et al. (2016),
"LSTM-based encoder-decoder for multi-sensor anomaly detection"; the output is flipped back.

Where the code is narrower than the state, or the encoder reads in both directions, the decoder's
initial state is projected from the code, so that nothing passes beside the code.

Where the window size is no multiple of `pooling`, the first timestep is the mean of fewer rows: the last
rows matter most to live scoring, so they fill theirs.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.config import NetworkConfig
from anomaly.series import Float32s
from anomaly.tensorflow_start import load_keras

if TYPE_CHECKING:
    import keras

Weights = dict[str, Float32s]


def has_projected_state(config: NetworkConfig) -> bool:
    """Tell whether the decoder's initial state is projected from the code."""
    return config.bidirectional or config.code_size is not None


def weight_shapes(config: NetworkConfig, n_features: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight, without building the network.

    An LSTM layer has a kernel `(inputs, 4 units)`, a recurrent_kernel `(units, 4 units)` and a bias
    `(4 units,)`, gates in Keras' order: input, forget, cell, output.

    Args:
        config: the shape of the network.
        n_features: features of the series.
    """
    units, code = config.units, code_width(config)
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = n_features
    for layer in range(1, config.layers + 1):
        for part in ("forward", "backward") if config.bidirectional else ("forward",):
            shapes |= _lstm_shapes(f"encoder_{layer}/{part}", inputs, units)
        inputs = units * (2 if config.bidirectional else 1)
    if has_projected_state(config):
        for name, shape in (("code", (inputs, code)), ("state_h", (code, units)), ("state_c", (code, units))):
            shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    for layer in range(1, config.layers + 1):
        shapes |= _lstm_shapes(f"decoder_{layer}/forward", code if layer == 1 else units, units)
    return shapes | {"output/kernel": (units, n_features), "output/bias": (n_features,)}


def code_width(config: NetworkConfig) -> int:
    """Return the number of values in the code."""
    return config.code_size or config.units


def rows_of_timesteps(config: NetworkConfig, window_size: int) -> list[int]:
    """Return how many rows of a window are in each timestep of the network: `pooling`, but for what is left for the first."""
    pooling = max(1, window_size // config.timesteps) if config.pooling == "auto" else int(config.pooling)
    n_full, left = divmod(window_size, pooling)
    return [left] * (left > 0) + [pooling] * n_full


def _lstm_shapes(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}/kernel": (inputs, 4 * units),
        f"{name}/recurrent_kernel": (units, 4 * units),
        f"{name}/bias": (4 * units,),
    }


def build_autoencoder(config: NetworkConfig, window_size: int, n_features: int, *, seed: int = 0) -> "keras.Model":
    """Build the network with freshly drawn weights.

    Args:
        config: the shape of the network.
        window_size: timesteps in a window.
        n_features: features of the series.
        seed: seed of the initial weights, of the dropout and of the input noise.

    Returns:
        A functional model `(batch, window_size, n_features)` -> the same shape, float32.
    """
    keras = load_keras()

    seeds = (int(s) for s in np.random.SeedSequence(seed).generate_state(64))
    inputs = keras.Input((window_size, n_features), name="windows")
    x = keras.layers.GaussianNoise(config.input_noise, seed=next(seeds))(inputs) if config.input_noise else inputs
    rows = rows_of_timesteps(config, window_size)
    x = _pooled(x, rows) if rows[-1] > 1 else x
    for layer in range(1, config.layers + 1):
        last = layer == config.layers
        x, state = _encode(x, config, f"encoder_{layer}", seeds, return_sequences=not last)
        x = _dropped(x, config, seeds)
    code, state = _bottleneck(x, state, config, seeds)
    x = keras.layers.RepeatVector(len(rows), name="repeat")(code)  # (batch, n_timesteps, code)
    for layer in range(1, config.layers + 1):
        x = _lstm(config.units, f"decoder_{layer}", seeds)(x, initial_state=state if layer == 1 else None)
        x = _dropped(x, config, seeds) if layer < config.layers else x
    x = keras.layers.Dense(n_features, name="output", kernel_initializer=_glorot(seeds))(x)
    if config.output_order == "reversed":
        x = keras.ops.flip(x, axis=1)
    if rows[-1] > 1:
        x = keras.layers.UpSampling1D(rows[-1])(x)[:, -window_size:]
    return keras.Model(inputs, x, name="autoencoder")


def _pooled(x: Any, rows: list[int]) -> Any:
    """Return the means of so many rows each, `(batch, n_timesteps, n_features)`; zeros fill the first up."""
    keras = load_keras()

    x = keras.ops.pad(x, ((0, 0), (rows[-1] - rows[0], 0), (0, 0)))
    x = keras.ops.reshape(x, (-1, len(rows), rows[-1], x.shape[-1]))
    return keras.ops.sum(x, axis=2) / np.array(rows, np.float32)[:, None]


def _encode(x: Any, config: NetworkConfig, name: str, seeds: Any, *, return_sequences: bool) -> tuple[Any, list[Any]]:
    """Apply one encoder layer; return its output and its final state [h, c] (both directions joined)."""
    keras = load_keras()

    if not config.bidirectional:
        x, h, c = _lstm(config.units, name, seeds, return_sequences=return_sequences, return_state=True)(x)
        return x, [h, c]
    forward = _lstm(config.units, "forward", seeds, return_sequences=return_sequences, return_state=True)
    backward = _lstm(config.units, "backward", seeds, return_sequences=return_sequences, return_state=True, go_backwards=True)
    x, fh, fc, bh, bc = keras.layers.Bidirectional(forward, backward_layer=backward, name=name)(x)
    return x, [keras.layers.Concatenate()([fh, bh]), keras.layers.Concatenate()([fc, bc])]


def _bottleneck(x: Any, state: list[Any], config: NetworkConfig, seeds: Any) -> tuple[Any, list[Any]]:
    """Return the code and the decoder's initial state."""
    keras = load_keras()

    if not has_projected_state(config):
        return x, state
    code = keras.layers.Dense(code_width(config), name="code", kernel_initializer=_glorot(seeds))(x)
    h = keras.layers.Dense(config.units, activation="tanh", name="state_h", kernel_initializer=_glorot(seeds))(code)
    c = keras.layers.Dense(config.units, name="state_c", kernel_initializer=_glorot(seeds))(code)
    return code, [h, c]


def _dropped(x: Any, config: NetworkConfig, seeds: Any) -> Any:
    keras = load_keras()

    return keras.layers.Dropout(config.dropout, seed=next(seeds))(x) if config.dropout else x


def _lstm(units: int, name: str, seeds: Any, **options: Any) -> Any:
    """Make an LSTM layer; cuDNN is off because its kernel has no second derivative (tensorflow#37091)."""
    keras = load_keras()

    return keras.layers.LSTM(
        units,
        name=name,
        use_cudnn=False,
        kernel_initializer=_glorot(seeds),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        **({"return_sequences": True} | options),
    )


def _glorot(seeds: Any) -> Any:
    keras = load_keras()

    return keras.initializers.GlorotUniform(seed=next(seeds))


def get_weights(network: "keras.Model") -> Weights:
    """Return copies of all weights under the names of `weight_shapes`."""
    return {name: np.array(variable.numpy(), np.float32) for name, variable in _named_variables(network)}


def set_weights(network: "keras.Model", weights: Mapping[str, Float32s]) -> None:
    """Copy weights into the network, by the names of `weight_shapes`."""
    for name, variable in _named_variables(network):
        variable.assign(weights[name])


def _named_variables(network: "keras.Model") -> list[tuple[str, Any]]:
    """Pair every trainable variable with its name; Keras paths differ between versions, ours do not."""
    keras = load_keras()

    named = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.Bidirectional):
            parts = [("forward", layer.forward_layer), ("backward", layer.backward_layer)]
        elif isinstance(layer, keras.layers.LSTM):
            parts = [("forward", layer)]
        else:
            named += [(f"{layer.name}/{v.name}", v) for v in layer.trainable_variables]
            continue
        named += [(f"{layer.name}/{part}/{v.name}", v) for part, lstm in parts for v in lstm.trainable_variables]
    return named
