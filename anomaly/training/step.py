"""One training step, and how it is run: method, compiler, shards.

A step splits its batch into equal shards, takes the gradients of each, and gives their mean to Adam. The shards
run side by side, one on each core: every operation of an LSTM at these sizes is too small to be worth sharing.
"""

import math
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from anomaly.config import DetectorConfig, NetworkConfig
from anomaly.network.inference import n_cores
from anomaly.network.model import Weights, rows_of_timesteps, weight_shapes
from anomaly.network.passes import SEEDS, Passes
from anomaly.series import Float32s, Floats
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.adam import adam_step, rate_of_step
from anomaly.training.gradients import (
    FirstOrder,
    Gradients,
    errors_and_losses,
    exact_gradients,
    first_order,
    plain_gradients,
    two_pass_gradients,
)
from anomaly.training.graph import graph_of, traced
from anomaly.training.weight_vector import WeightVector

# Compiling takes 1 to 1.5 s, whatever the window size: measured on two cores of a Xeon (Emerald Rapids), 16 to 64 timesteps, 8 to
# 64 units, one and two layers. It saves this share of a second for each timestep of each loop, and this for each operation.
_COMPILE_SECONDS = 1.5
_SAVED_PER_TIMESTEP, _SAVED_PER_OPERATION = 60e-6, 1 / 60e9
# The arrays of a shard should stay in the cache, and below the 32 MB above which glibc maps and clears them anew at
# every step; a shard below the least size wastes the matrix products.
_SHARD_BYTES, _LEAST_SHARD = 16 << 20, 8
# Arrays of units numbers that a layer keeps for each timestep and window.
_KEPT = {"none": 8, "two_pass": 8, "exact": 26}


class Plan(NamedTuple):
    """How steps are run.

    With "none" and "exact" the weights that come out depend on the compiler and the shards by rounding alone, unless dropout or
    input noise is drawn, which each shard does for itself. The finite difference of "two_pass" has a step for each shard: another
    number of shards, as on another number of cores, is another approximation there (`anomaly.training.gradients`).

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

    XLA never sees a derivative of a loop: all loops are written out. It is used where a training has so many steps that it saves
    more than it takes.

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
    return Plan(method, n_steps * saved > _COMPILE_SECONDS, _shards(batch_size, cores or n_cores(), most), batch_size)


def _method(config: DetectorConfig) -> str:
    """Return how the penalty is differentiated: `two_pass` is the faster, and too coarse for unit vectors in float32."""
    penalty = config.penalty
    if penalty.penalty == "none" or penalty.penalty_weight == 0:
        return "none"
    if penalty.penalty_method == "auto":
        return "exact" if penalty.penalty == "directional" else "two_pass"
    return penalty.penalty_method


def _shards(batch_size: int, cores: int, most: int) -> int:
    """Return how many equal shards: one for each core, and more where one would have more than `most` windows."""
    divisors = [n for n in range(1, batch_size + 1) if batch_size % n == 0 and (n == 1 or batch_size // n >= _LEAST_SHARD)]
    wanted = max(cores, -(-batch_size // most))
    return min(divisors, key=lambda n: (abs(math.log(n / wanted)), -n))


# Under these names there are the moments of Adam, and the gradient by all weights.
_MOMENTS, _VECTOR = ("first", "second"), "vector"
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
        self._network, self._penalty, self._clip_norm = config.network, config.penalty, config.training.clip_norm
        self.plan, self.key = plan, _key(config, weights, window_size, plan)
        n_inputs = weights["output/bias"].shape[0]
        self._shape = (plan.batch_size, window_size, n_inputs)
        self._vector = WeightVector(config.network, n_inputs)
        # One program for both passes, and for the steps without penalty in between.
        self._first_order, self._forward = _programs(config.network, plan.compiled)
        self._exact = traced(self._exact_gradients, compiled=plan.compiled)
        self._graphs: dict[str, Any] = {}
        self._weights: Any
        self._moments: list[Any]
        self.begin(weights)

    def step(
        self, windows: Float32s, targets: Float32s, seed: int, step: int, learning_rate: float, *, with_penalty: bool
    ) -> StepLosses:
        """Take one step.

        Args:
            windows: one batch, `(batch_size, window_size, n_inputs)`, without missing values.
            targets: the same windows, NaN where a value is missing.
            seed: seed of dropout and input noise,
            step: together with the number of the step, from 0 in each training.
            learning_rate: of this step.
            with_penalty: whether this step computes the penalty, with `penalty_every` times its weight.
        """
        with_penalty = with_penalty and self.plan.method != "none"
        run = self._graph(self.plan.method if with_penalty else "none")
        # Every shard of every step has seeds of its own: it adds up to SEEDS to the second number.
        own = np.array([seed, step * self.plan.shards * SEEDS], np.uint64).astype(np.uint32).view(np.int32)
        rate = np.float32(rate_of_step(learning_rate, step + 1))
        measured, self._weights, *self._moments = run(self._weights, *self._moments, windows, targets, own, rate)
        loss, reconstruction_loss, penalty = measured.numpy().tolist()
        return StepLosses(loss, reconstruction_loss, penalty if with_penalty else None)

    def losses(self, windows: Float32s, targets: Float32s) -> Floats:
        """Return the reconstruction loss of each of any number of windows, without dropout and noise; Args as `step`."""
        batch_size = self._shape[0]
        found = []
        for start in range(0, len(windows), batch_size):
            parts = [array[start : start + batch_size] for array in (windows, targets)]
            n = len(parts[0])
            padded = [np.concatenate([part, np.zeros((batch_size - n, *part.shape[1:]), part.dtype)]) for part in parts]
            found.append(self._graph("losses")(self._weights, *padded).numpy()[:n].astype(np.float64))
        return np.concatenate(found)

    def weights(self) -> Weights:
        """Return copies of the weights."""
        return self._vector.parts(np.asarray(self._weights))

    def slots(self) -> dict[str, Any]:
        """Return copies of the optimizer's moments."""
        return {name: np.array(moment) for name, moment in zip(_MOMENTS, self._moments, strict=True)}

    def begin(self, weights: Weights) -> None:
        """Take these weights, and an optimizer that has seen nothing."""
        n_weights = sum(self._vector.sizes)
        self.restore(weights, {name: np.zeros(n_weights, np.float32) for name in _MOMENTS})

    def restore(self, weights: Weights, slots: Mapping[str, Any]) -> None:
        """Put back what `weights` and `slots` returned."""
        self._weights = self._vector.joined(weights)
        self._moments = [slots[name] for name in _MOMENTS]

    def _graph(self, name: str) -> Any:
        """Return the step by a method, or the losses, traced at the first call for the one shape there is."""
        tf = load_tensorflow()

        if name not in self._graphs:
            windows, vector = tf.TensorSpec(self._shape), tf.TensorSpec((sum(self._vector.sizes),))
            seed, rate = tf.TensorSpec((2,), tf.int32), tf.TensorSpec(())
            if name == "losses":
                self._graphs[name] = graph_of(self._sharded_losses, [vector, windows, windows])
            else:
                self._graphs[name] = graph_of(partial(self._step, name), [vector, vector, vector, windows, windows, seed, rate])
        return self._graphs[name]

    def _step(
        self, method: str, weights: Any, first: Any, second: Any, windows: Any, targets: Any, seed: Any, rate: Any
    ) -> list[Any]:
        """Return what was measured, and weights and moments after the step."""
        tf = load_tensorflow()

        found = [
            self._gradients(method, weights, read, compared, seed + tf.constant((0, n * SEEDS)))
            for n, (read, compared) in enumerate(self._shards(windows, targets))
        ]
        n = len(found)
        gradient, reconstruction_loss, gradient_penalty = (
            tf.add_n(parts) / n
            for parts in zip(
                *((one.by_weight[_VECTOR], one.reconstruction_loss, one.gradient_penalty) for one in found), strict=True
            )
        )
        weights, moments = adam_step(weights, (first, second), gradient, rate, self._clip_norm, self._vector.sizes)
        factor = 0.0 if method == "none" else self._penalty_weight
        measured = tf.stack([reconstruction_loss + factor * gradient_penalty, reconstruction_loss, gradient_penalty])
        return [measured, weights, *moments]

    def _gradients(self, method: str, weights: Any, windows: Any, targets: Any, seed: Any) -> Gradients:
        """Return the gradients of one shard, by the whole vector of weights."""
        given = weights, windows, targets, seed
        if method == "exact":
            return Gradients(*self._exact(*given))
        if method == "two_pass":
            return two_pass_gradients(self._first_order, *given, self._penalty, self._penalty_weight)
        return plain_gradients(self._first_order, *given)

    @property
    def _penalty_weight(self) -> float:
        """Return what the penalty counts in a step that computes it."""
        return self._penalty.penalty_weight * self._penalty.penalty_every

    def _shards(self, *batch: Any) -> list[tuple[Any, ...]]:
        """Split each array of a batch; return what belongs together."""
        tf = load_tensorflow()

        return list(zip(*(tf.split(array, self.plan.shards) for array in batch), strict=True))

    def _exact_gradients(self, weights: Any, windows: Any, targets: Any, seed: Any) -> Gradients:
        found = exact_gradients(
            self._network, self._vector.tensors(weights), windows, targets, seed, self._penalty, self._penalty_weight
        )
        return found._replace(by_weight={_VECTOR: self._vector.joined_tensors(found.by_weight)})

    def _sharded_losses(self, weights: Any, windows: Any, targets: Any) -> Any:
        tf = load_tensorflow()

        return tf.concat([self._forward(weights, *shard) for shard in self._shards(windows, targets)], 0)


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
    """Return all that the graphs of an engine depend on; whatever else there is to a training is put in as numbers."""
    return config.network, config.penalty, config.training.clip_norm, window_size, plan, weights["output/bias"].shape


@lru_cache(maxsize=4)
def _programs(network: NetworkConfig, compiled: bool) -> tuple[Any, Any]:
    """Return `first_order` and the losses alone, of a vector of weights that they are given: a second training need not compile."""

    def gradients(vector: Any, windows: Any, targets: Any, seed: Any) -> FirstOrder:
        layout = WeightVector(network, windows.shape[-1])
        found = first_order(network, layout.tensors(vector), windows, targets, seed)
        return found._replace(by_weight={_VECTOR: layout.joined_tensors(found.by_weight)})

    def losses(vector: Any, windows: Any, targets: Any) -> Any:
        weights = WeightVector(network, windows.shape[-1]).tensors(vector)
        passes = Passes(network, weights, windows.shape, None, tangents=False)
        return errors_and_losses(passes.forward(windows), targets)[1]

    return traced(gradients, compiled=compiled), traced(losses, compiled=compiled)
