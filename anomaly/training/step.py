"""One training step, and how it is run: method, compiler, shards.

A step splits its batch into equal shards, takes the gradients of each, and gives their mean to Adam. The shards
run side by side, one on each core: every operation of an LSTM at these sizes is too small to be worth sharing.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from anomaly.config import DetectorConfig, NetworkConfig
from anomaly.network.model import Weights, rows_of_timesteps, weight_shapes
from anomaly.network.passes import SEEDS, Passes
from anomaly.series import Float32s, Floats
from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.gradients import (
    Gradients,
    errors_and_losses,
    exact_gradients,
    first_order,
    plain_gradients,
    two_pass_gradients,
)

# Compiling takes 2 to 5 s. Measured on two cores, it saves this share of a second for each timestep of each loop,
# and this for each floating-point operation.
_COMPILE_SECONDS = 4.0
_SAVED_PER_TIMESTEP, _SAVED_PER_OPERATION = 40e-6, 1 / 60e9
# The arrays of a shard should stay in the cache, and below the 32 MB above which glibc maps and clears them anew at
# every step; a shard below the least size wastes the matrix products.
_SHARD_BYTES, _LEAST_SHARD = 16 << 20, 8
# Arrays of units numbers that a layer keeps for each timestep and window.
_KEPT = {"none": 8, "two_pass": 8, "exact": 26}


class Plan(NamedTuple):
    """How steps are run; the weights that come out do not depend on it but for rounding.

    Attributes:
        method: "none", "exact" or "two_pass".
        compiled: whether XLA compiles the gradients.
        shards: equal parts of a batch.
        batch_size: windows in a batch.
    """

    method: str
    compiled: bool
    shards: int
    batch_size: int

    def __str__(self) -> str:
        """Say it in a line."""
        how = "compiled by XLA" if self.compiled else "not compiled (too few steps to be worth it)"
        penalty = "no penalty" if self.method == "none" else f"penalty by {self.method}"
        return f"{penalty}, {how}, {self.shards} shards of {self.batch_size // self.shards} windows"


def choose_plan(
    config: DetectorConfig, window_size: int, n_features: int, batch_size: int, n_steps: int, cores: int | None = None
) -> Plan:
    """Choose how to run the steps of this network on this machine.

    XLA never sees a derivative of a loop: all loops are written out. It compiles in 2 to 5 s whatever the window
    size, so it is used where the whole training is longer than that.

    Args:
        config: all settings.
        window_size: timesteps in a window.
        n_features: features of the series.
        batch_size: windows in a batch.
        n_steps: the most steps there will be.
        cores: processor cores; None for those this process may use.
    """
    method = _method(config)
    layers, units = config.network.layers, config.network.units
    n_timesteps = len(rows_of_timesteps(config.network, window_size))
    parameters = sum(math.prod(shape) for shape in weight_shapes(config.network, n_features).values())
    passes = 1 if method == "none" else 1 + 1 / config.penalty.penalty_every
    operations = 2 * 3 * parameters * batch_size * n_timesteps * passes
    loops = 4 * layers * passes
    saved = loops * n_timesteps * _SAVED_PER_TIMESTEP + operations * _SAVED_PER_OPERATION
    shard_bytes = 4 * 2 * layers * units * n_timesteps * _KEPT[method]  # of one window
    most = max(1, _SHARD_BYTES // shard_bytes)
    return Plan(method, n_steps * saved > _COMPILE_SECONDS, _shards(batch_size, cores or _cores(), most), batch_size)


def _method(config: DetectorConfig) -> str:
    """Return how the penalty is differentiated: `two_pass` is the faster, and too coarse for unit vectors in float32."""
    penalty = config.penalty
    if penalty.penalty == "none" or penalty.penalty_weight == 0:
        return "none"
    if penalty.penalty_method == "auto":
        return "exact" if penalty.penalty == "directional" else "two_pass"
    return penalty.penalty_method


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _shards(batch_size: int, cores: int, most: int) -> int:
    """Return how many equal shards: one for each core, and more where one would have more than `most` windows."""
    divisors = [n for n in range(1, batch_size + 1) if batch_size % n == 0 and (n == 1 or batch_size // n >= _LEAST_SHARD)]
    wanted = max(cores, -(-batch_size // most))
    return min(divisors, key=lambda n: (abs(math.log(n / wanted)), -n))


# Engines that no training uses.
_IDLE: "dict[tuple[Any, ...], Engine]" = {}
_MOST_IDLE = 4


class StepLosses(NamedTuple):
    """What one step measured, before its update."""

    loss: float
    reconstruction_loss: float
    gradient_penalty: float | None  # None if this step did not compute it


class Engine:
    """Weights, optimizer and compiled functions of one training.

    Args:
        config: all settings.
        weights: the initial ones, under the names of `anomaly.network.model.weight_shapes`.
        window_size: timesteps in a window.
        plan: how to run the steps.
    """

    def __init__(self, config: DetectorConfig, weights: Weights, window_size: int, plan: Plan) -> None:
        keras = load_keras()

        self._config, self.plan, self.key = config, plan, _key(config, weights, window_size, plan)
        self._weights = {name: keras.Variable(array, name=name.replace("/", "_")) for name, array in weights.items()}
        variables = list(self._weights.values())
        self._optimizer = keras.optimizers.Adam(config.training.learning_rate, global_clipnorm=config.training.clip_norm)
        self._optimizer.build(variables)
        self._fresh = self.slots()
        n_features = weights["output/bias"].shape[0]
        self._shape = (plan.batch_size, window_size, n_features)

        # One program for both passes, and for the steps without penalty in between.
        self._first_order, self._forward = _programs(config.network, plan.compiled)
        self._exact = _traced(self._exact_gradients, compiled=plan.compiled)
        self._programs: dict[str, Any] = {}

    def step(
        self, windows: Float32s, targets: Float32s, seed: int, step: int, learning_rate: float, *, with_penalty: bool
    ) -> StepLosses:
        """Take one step.

        Args:
            windows: one batch, `(batch_size, window_size, n_features)`, without missing values.
            targets: the same windows, NaN where a value is missing.
            seed: seed of dropout and input noise,
            step: together with the number of the step.
            learning_rate: of this step.
            with_penalty: whether this step computes the penalty, with `penalty_every` times its weight.
        """
        with_penalty = with_penalty and self.plan.method != "none"
        run = self._program(self.plan.method if with_penalty else "none")
        # Every shard of every step has seeds of its own: it adds up to SEEDS to the second number.
        own = np.array([seed, step * self.plan.shards * SEEDS], np.uint64).astype(np.uint32).view(np.int32)
        values = run(windows, targets, own, np.float32(learning_rate)).numpy().tolist()
        loss, reconstruction_loss, penalty = values
        return StepLosses(loss, reconstruction_loss, penalty if with_penalty else None)

    def losses(self, windows: Float32s, targets: Float32s) -> Floats:
        """Return the reconstruction loss of each of any number of windows, without dropout and noise; Args as `step`."""
        batch_size = self._shape[0]
        found = []
        for start in range(0, len(windows), batch_size):
            parts = [array[start : start + batch_size] for array in (windows, targets)]
            n = len(parts[0])
            padded = [np.concatenate([part, np.zeros((batch_size - n, *part.shape[1:]), part.dtype)]) for part in parts]
            found.append(self._program("losses")(*padded).numpy()[:n].astype(np.float64))
        return np.concatenate(found)

    def weights(self) -> Weights:
        """Return copies of the weights."""
        return {name: np.array(variable.numpy()) for name, variable in self._weights.items()}

    def slots(self) -> dict[str, Any]:
        """Return copies of the optimizer's variables, by number."""
        return {str(n): np.array(variable.numpy()) for n, variable in enumerate(self._optimizer.variables)}

    def begin(self, weights: Weights) -> None:
        """Take these weights, and an optimizer that has seen nothing."""
        self.restore(weights, self._fresh)

    def restore(self, weights: Weights, slots: Mapping[str, Any]) -> None:
        """Put back what `weights` and `slots` returned."""
        for name, variable in self._weights.items():
            variable.assign(weights[name])
        for n, variable in enumerate(self._optimizer.variables):
            variable.assign(slots[str(n)])

    def _program(self, name: str) -> Any:
        """Return the step by a method, or the losses, traced at the first call for the one shape there is."""
        tf = load_tensorflow()

        if name not in self._programs:
            windows, seed, rate = tf.TensorSpec(self._shape), tf.TensorSpec((2,), tf.int32), tf.TensorSpec(())
            function, signature = partial(self._step, name), [windows, windows, seed, rate]
            if name == "losses":
                function, signature = partial(self._sharded, self._forward), [windows, windows]
            self._programs[name] = tf.function(function, autograph=False).get_concrete_function(*signature)
        return self._programs[name]

    def _step(self, method: str, windows: Any, targets: Any, seed: Any, rate: Any) -> Any:
        tf = load_tensorflow()

        penalty = self._config.penalty
        weight = penalty.penalty_weight * penalty.penalty_every
        weights = {name: tf.convert_to_tensor(variable) for name, variable in self._weights.items()}
        found = []
        for n, (read, compared) in enumerate(self._shards(windows, targets)):
            shard_seed = seed + tf.constant((0, n * SEEDS))
            if method == "exact":
                found.append(Gradients(*self._exact(weights, read, compared, shard_seed)))
            elif method == "two_pass":
                found.append(two_pass_gradients(self._first_order, weights, read, compared, shard_seed, penalty, weight))
            else:
                found.append(plain_gradients(self._first_order, weights, read, compared, shard_seed))
        n = len(found)
        by_weight = [tf.add_n([one.by_weight[name] for one in found]) / n for name in self._weights]
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(by_weight, list(self._weights.values()))
        reconstruction_loss = tf.add_n([one.reconstruction_loss for one in found]) / n
        gradient_penalty = tf.add_n([one.gradient_penalty for one in found]) / n
        factor = 0.0 if method == "none" else weight
        return tf.stack([reconstruction_loss + factor * gradient_penalty, reconstruction_loss, gradient_penalty])

    def _shards(self, *batch: Any) -> list[tuple[Any, ...]]:
        """Split each array of a batch; return what belongs together."""
        tf = load_tensorflow()

        return list(zip(*(tf.split(array, self.plan.shards) for array in batch), strict=True))

    def _exact_gradients(self, weights: Mapping[str, Any], windows: Any, targets: Any, seed: Any) -> Gradients:
        penalty = self._config.penalty
        return exact_gradients(
            self._config.network, weights, windows, targets, seed, penalty, penalty.penalty_weight * penalty.penalty_every
        )

    def _sharded(self, run: Any, windows: Any, targets: Any) -> Any:
        tf = load_tensorflow()

        weights = {name: tf.convert_to_tensor(variable) for name, variable in self._weights.items()}
        return tf.concat([run(weights, *shard) for shard in self._shards(windows, targets)], 0)


def borrowed_engine(config: DetectorConfig, weights: Weights, window_size: int, plan: Plan) -> Engine:
    """Return an engine for one training, as `Engine` makes it; an idle one of the same shape where there is one.

    TensorFlow keeps what it has traced for ever, 5 MB for the smallest network: training a thousand series after each other
    must not trace a thousand times.
    """
    engine = _IDLE.pop(_key(config, weights, window_size, plan), None)
    if engine is None:
        return Engine(config, weights, window_size, plan)
    engine.begin(weights)
    return engine


def give_back(engine: Engine) -> None:
    """Let another training have an engine."""
    _IDLE[engine.key] = engine
    while len(_IDLE) > _MOST_IDLE:
        _IDLE.pop(next(iter(_IDLE)), None)


def _key(config: DetectorConfig, weights: Weights, window_size: int, plan: Plan) -> tuple[Any, ...]:
    """Return all that an engine depends on but for the numbers that are put in: a seed is one of them."""
    without_seed = replace(config, training=replace(config.training, seed=None))
    return without_seed, window_size, plan, weights["output/bias"].shape


@lru_cache(maxsize=4)
def _programs(network: NetworkConfig, compiled: bool) -> tuple[Any, Any]:
    """Return `first_order` and the losses alone; they know no weights, so a second training need not compile them again."""

    def losses(weights: Mapping[str, Any], windows: Any, targets: Any) -> Any:
        passes = Passes(network, weights, windows.shape, None, tangents=False)
        return errors_and_losses(passes.forward(windows), targets)[1]

    return (
        _traced(lambda *values: first_order(network, *values), compiled=compiled),
        _traced(losses, compiled=compiled),
    )


def _traced(function: Any, *, compiled: bool) -> Any:
    tf = load_tensorflow()

    # Autograph would rewrite every function it meets: five seconds of tracing for nothing.
    return tf.function(function, jit_compile=compiled, autograph=False)
