"""A Keras model in the place of the detector's network: how it is built, trained and run.

It is trained by `InputGradientModel`, on the batches and by the loop of the built-in one. Its parts have the shape that
`anomaly.training.loop` and `anomaly.scoring` ask for.
"""

import random
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError
from anomaly.keras.forms import InputGradientPenalty
from anomaly.network.model import Weights
from anomaly.series import Float32s, Floats
from anomaly.tensorflow_start import load_keras, load_tensorflow, refuse_in_a_fork
from anomaly.training.step import Plan, StepLosses

if TYPE_CHECKING:
    from anomaly.keras.model import InputGradientModel

# (window_size, n_features) -> a model of windows to windows.
MakeNetwork = Callable[[int, int], Any]

_BLOCK_WINDOWS = 256
# The models that were trained here: another training would change the detector that has one.
_HANDED_OVER: "WeakSet[Any]" = WeakSet()


def refuse_beside_own_network(**given: Any) -> None:
    """Refuse what a detector with a network of its own cannot do.

    Args:
        given: arguments of `fit` by name; None if not given.

    Raises:
        ConfigError: for the first that is given.
    """
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"`{name}` must not be given with network=: it is for the built-in network. Received: {name}. Leave it out."
            )


def not_in_the_file(window_size: int, n_features: int) -> Any:
    """Stand for the function that made the network of a detector which was loaded: its file has the graph alone.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        "A detector with a network of one's own must have the function that makes it to be trained again. Received: one that was "
        "loaded, whose file has the trained graph alone. Pass the function by set_params(network=...), or None for the built-in "
        "network."
    )


class KerasPlan(Plan):
    """How the steps of such a network are run."""

    def __str__(self) -> str:
        """Say it in a line."""
        how = "no penalty" if self.method == "none" else f"penalty by {self.method}"
        return f"a Keras model, {how}, batches of {self.batch_size} windows"


def make_network(make: MakeNetwork, window_size: int, n_features: int, *, seed: int) -> Any:
    """Call the function that makes the network; layers without a seed of their own draw from this one.

    Args:
        make: given window size and number of features.
        window_size: timesteps in a window.
        n_features: features of the series.
        seed: any whole number.

    Raises:
        ConfigError: if what comes is no Keras model of windows to windows, or was trained before.
    """
    refuse_in_a_fork()
    keras = load_keras()

    if not callable(make) or isinstance(make, keras.Layer):
        raise ConfigError(
            "`network` must be a function of window size and number of features that returns a keras.Model. Received: "
            f"{type(make).__name__}. Write network=lambda window_size, n_features: ..."
        )
    before = random.getstate()
    random.seed(seed)  # where Keras draws its seeds from
    try:
        network = make(window_size, n_features)
        wanted = (1, window_size, n_features)
        if not isinstance(network, keras.Model):
            raise ConfigError(f"`network` must return a keras.Model. Received: {type(network).__name__}. Return the model itself.")
        shape = tuple(network(np.zeros(wanted, np.float32), training=False).shape)
    finally:
        random.setstate(before)
    if shape != wanted:
        raise ConfigError(
            f"`network` must map windows {wanted[1:]} to windows of that shape. Received: {shape[1:]}. "
            "End it with a Dense layer of n_features units at every timestep."
        )
    if network in _HANDED_OVER:
        raise ConfigError(
            "`network` must return a new keras.Model at each call: a training changes its weights. Received: one that was trained "
            "before. Make the model within the function."
        )
    _HANDED_OVER.add(network)
    return network


class OwnReconstructor:
    """A Keras model ready to run: windows to windows, NumPy to NumPy.

    Args:
        network: maps `(n_windows, window_size, n_features)` to the same shape.
    """

    def __init__(self, network: Any) -> None:
        self.network = network

    @cached_property
    def _run(self) -> Any:
        function = partial(self.network, training=False)
        return load_tensorflow().function(function, autograph=False, reduce_retracing=True)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what was traced out of a copy."""
        return {"network": self.network}

    def __call__(self, windows: Float32s) -> Float32s:
        """Reconstruct `(n_windows, window_size, n_features)`; the result has the same shape."""
        refuse_in_a_fork()
        tf = load_tensorflow()

        firsts = range(0, len(windows), _BLOCK_WINDOWS)
        blocks = [np.ascontiguousarray(windows[first : first + _BLOCK_WINDOWS], np.float32) for first in firsts]
        found: Float32s = np.concatenate([self._run(tf.constant(block)).numpy() for block in blocks]) if blocks else windows
        return found.astype(np.float32, copy=False)


class OwnEngine:
    """Takes the steps of a training of a Keras model; as `anomaly.training.step.Engine`.

    A missing value takes no part: what the network reads in its place has no gradient, and it is compared with nothing.

    Args:
        config: all settings; those of the built-in network play no part.
        network: as from `make_network`.
        shape: `(window_size, n_features)`.
        batch_size: windows in a batch.
    """

    def __init__(self, config: DetectorConfig, network: Any, shape: tuple[int, int], batch_size: int) -> None:
        keras, penalty = load_keras(), config.penalty
        self._network, self._reconstruct = network, OwnReconstructor(network)
        self._penalised = penalty.penalty != "none" and penalty.penalty_weight > 0
        self._model = _known_model()(
            _with_known(network, shape),
            _as_raw(config),
            inputs="windows",
            method=penalty.penalty_method,
            every=penalty.penalty_every if self._penalised else 1,
        )
        adam = keras.optimizers.Adam(config.training.learning_rate, global_clipnorm=config.training.clip_norm)
        self._model.compile(adam, loss=_known_error, jit_compile=False)
        self.plan: Plan = KerasPlan(self._model.method if self._penalised else "none", False, 1, batch_size)

    def step(
        self, windows: Float32s, targets: Float32s, seed: int, step: int, learning_rate: float, *, with_penalty: bool
    ) -> StepLosses:
        """Take one step; Args as `Engine.step`, whose seed is that of layers which here have their own."""
        self._model.optimizer.learning_rate.assign(learning_rate)
        self._model.reset_metrics()
        known = (~np.isnan(targets)).astype(np.float32)
        found = self._model.train_on_batch({"windows": windows, "known": known}, targets, return_dict=True)
        penalty = float(found["input_gradient_penalty"]) if self._penalised and with_penalty else None
        return StepLosses(float(found["loss"]), float(found["task_loss"]), penalty)

    def losses(self, windows: Float32s, targets: Float32s) -> Floats:
        """Return the reconstruction loss of each of any number of windows, without dropout and noise; Args as `step`."""
        errors = np.square(targets - self._reconstruct(windows).astype(np.float64))
        known = ~np.isnan(errors)
        found: Floats = np.where(known, errors, 0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
        return found

    def weights(self) -> Weights:
        """Return copies of the weights, by number; the statistics of batch normalisation are among them."""
        return {str(n): np.array(weight) for n, weight in enumerate(self._network.get_weights())}

    def slots(self) -> dict[str, Any]:
        """Return nothing: such a training is not kept through a crash."""
        return {}

    def restore(self, weights: Weights, slots: Mapping[str, Any]) -> None:
        """Put back what `weights` returned."""
        self._network.set_weights(list(weights.values()))


def _as_raw(config: DetectorConfig) -> InputGradientPenalty:
    """Return the penalty of the settings, in units of the error; of weight 0 if there is none."""
    penalty = config.penalty
    if penalty.penalty == "none":
        return InputGradientPenalty("l2", weight=0.0, units="error")
    return InputGradientPenalty(
        penalty.penalty,
        weight=penalty.penalty_weight,
        direction=penalty.direction if penalty.penalty == "directional" else None,
        threshold=penalty.penalty_threshold if penalty.penalty == "hinge" else None,
        units="error",
    )


def _known_model() -> "type[InputGradientModel]":
    """Return the model that counts the known values, of which the loss is the mean, as the built-in engine does."""
    from anomaly.keras.model import InputGradientModel

    class KnownModel(InputGradientModel):
        def values_compared(self, inputs: Any) -> Any:
            return load_tensorflow().reduce_sum(inputs["known"], axis=(1, 2))

    return KnownModel


def _with_known(network: Any, shape: tuple[int, int]) -> Any:
    """Return a model of windows and of which of their values are known; by the others there is no gradient."""
    keras = load_keras()

    windows, known = (keras.Input(shape, name=name) for name in ("windows", "known"))
    held = keras.ops.where(known > 0, windows, keras.ops.stop_gradient(windows))
    return keras.Model({"windows": windows, "known": known}, network(held))


def _known_error(targets: Any, outputs: Any) -> Any:
    """Return the mean squared error of each window over its known values, `(n_windows,)`."""
    keras = load_keras()

    known = keras.ops.logical_not(keras.ops.isnan(targets))
    errors = keras.ops.where(known, outputs - keras.ops.where(known, targets, 0.0), 0.0)
    sizes = keras.ops.sum(keras.ops.cast(known, outputs.dtype), axis=(1, 2))
    return keras.ops.sum(keras.ops.square(errors), axis=(1, 2)) / keras.ops.maximum(sizes, 1.0)
