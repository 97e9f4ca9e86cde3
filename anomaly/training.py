"""The fit loop: batches of windows, one train step, early stopping on the last training rows.

Windows are cut batch by batch from the scaled series, so memory does not grow with their number.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.config import PenaltyConfig, TrainingConfig
from anomaly.errors import DivergedError
from anomaly.penalty import Objective, penalised_objective, plain_objective, window_losses
from anomaly.series import Float32s, Ints
from anomaly.windowing import make_windows

if TYPE_CHECKING:
    import keras


# The learning rate ends at this share of its start.
_LAST_RATE = 0.05


@dataclass(frozen=True)
class Progress:
    """Where training stands, after a step."""

    epoch: int  # from 1
    epochs: int  # the most there will be
    step: int  # within the epoch, from 1
    steps: int  # in an epoch
    loss: float
    reconstruction_loss: float
    gradient_penalty: float
    validation_loss: float | None  # of the last epoch that ended; None in the first


@dataclass
class History:
    """What was measured, one entry an epoch.

    Attributes:
        loss: mean training loss, penalty included.
        reconstruction_loss: its reconstruction part.
        gradient_penalty: the penalty before the weight, over the steps that computed it.
        validation_loss: reconstruction loss of the held-out windows, without dropout and noise.
        best_epoch: the epoch whose weights were kept, from 1.
        seconds: wall time of the loop.
    """

    loss: list[float] = field(default_factory=list)
    reconstruction_loss: list[float] = field(default_factory=list)
    gradient_penalty: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


def fit_autoencoder(
    network: "keras.Model",
    values: Float32s,
    train_starts: Ints,
    validation_starts: Ints,
    *,
    penalty: PenaltyConfig,
    training: TrainingConfig,
    seed: int,
    on_step: Callable[[Progress], None] | None = None,
) -> History:
    """Train the network in place and leave it with the weights of its best epoch.

    Args:
        network: maps `(batch, window_size, n_features)` to the same shape.
        values: the scaled series `(n_timesteps, n_features)`, float32.
        train_starts: `(n_windows,)` first rows of the training windows.
        validation_starts: first rows of the held-out windows; none may share a row with a training window.
        penalty: the penalty term.
        training: epochs, batch size, learning rate, patience.
        seed: seed of the order of the windows.
        on_step: called after every step.

    Returns:
        The history; `best_epoch` has the lowest validation loss.

    Raises:
        DivergedError: if the loss, the penalty or a validation loss is not finite.
    """
    trainer = _Trainer(network, penalty, training)
    batches = _batches(train_starts, training.batch_size, np.random.default_rng(seed))
    history = History()
    best_loss, best_weights, began = math.inf, network.get_weights(), time.perf_counter()
    for epoch in range(1, training.epochs + 1):
        means = _EpochMeans()
        for step in range(1, training.steps_per_epoch + 1):
            parts = trainer.train(make_windows(values, next(batches), network.input_shape[1]))
            means.add(*parts)
            if on_step is not None:
                last = history.validation_loss[-1] if history.validation_loss else None
                on_step(Progress(epoch, training.epochs, step, training.steps_per_epoch, *means.values(), last))
        validation_loss = trainer.evaluate(values, validation_starts)
        means.append_to(history, validation_loss)
        if validation_loss < best_loss:
            best_loss, best_weights, history.best_epoch = validation_loss, network.get_weights(), epoch
        elif epoch - history.best_epoch >= training.patience:
            break
    network.set_weights(best_weights)
    history.seconds = time.perf_counter() - began
    return history


def _batches(starts: Ints, batch_size: int, order: np.random.Generator) -> Iterator[Ints]:
    """Yield batches for ever: all windows in random order, then all again in another; none is left out."""
    size = min(batch_size, len(starts))
    waiting = order.permutation(starts)
    while True:
        if len(waiting) < size:
            waiting = np.concatenate([waiting, order.permutation(starts)])
        yield waiting[:size]
        waiting = waiting[size:]


class _EpochMeans:
    """Running means over an epoch; the penalty's is over the steps that computed it."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)
        self._counts = np.zeros(3)

    def add(self, loss: float, reconstruction: float, penalty: float | None) -> None:
        self._sums += (loss, reconstruction, penalty or 0.0)
        self._counts += (1, 1, penalty is not None)

    def values(self) -> tuple[float, float, float]:
        loss, reconstruction, penalty = (self._sums / np.maximum(self._counts, 1)).tolist()
        return loss, reconstruction, penalty

    def append_to(self, history: History, validation_loss: float) -> None:
        columns = (history.loss, history.reconstruction_loss, history.gradient_penalty)
        for column, value in zip(columns, self.values(), strict=True):
            column.append(value)
        history.validation_loss.append(validation_loss)


class _Trainer:
    """Optimizer and traced functions around one network."""

    def __init__(self, network: "keras.Model", penalty: PenaltyConfig, training: TrainingConfig) -> None:
        import keras
        import tensorflow as tf

        self._network = network
        self._penalised = penalty.penalty != "none" and penalty.penalty_weight > 0
        self._every = penalty.penalty_every
        self._batch_size = training.batch_size
        self._step = 0
        n_steps = training.epochs * training.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(training.learning_rate, n_steps, alpha=_LAST_RATE)
        optimizer = self.optimizer = keras.optimizers.Adam(rate, global_clipnorm=training.clip_norm)
        optimizer.build(network.trainable_variables)
        signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)]
        weight = penalty.penalty_weight * penalty.penalty_every

        def step_with(objective: Callable[[Any], Objective]) -> Any:
            def step(windows: Any) -> Any:
                result = objective(windows)
                optimizer.apply(result.gradients, network.trainable_variables)
                return tf.stack([result.loss, result.reconstruction_loss, result.gradient_penalty])

            # Never jit_compile here: XLA makes double back-propagation through the LSTM loop slower by far.
            return tf.function(step, input_signature=signature)

        self._plain = step_with(lambda windows: plain_objective(network, windows))
        self._full = step_with(lambda windows: penalised_objective(network, windows, penalty, weight))
        self._losses = tf.function(
            lambda windows: window_losses(network(windows, training=False), windows), input_signature=signature
        )

    def train(self, windows: Float32s) -> tuple[float, float, float | None]:
        """Take one step; return loss, reconstruction loss, and the penalty if this step computed it."""
        with_penalty = self._penalised and self._step % self._every == 0
        self._step += 1
        loss, reconstruction, penalty = (self._full if with_penalty else self._plain)(windows).numpy().tolist()
        if not math.isfinite(loss + reconstruction + penalty):
            raise DivergedError(
                f"The training loss must be finite. Received: loss={loss:g}, reconstruction_loss={reconstruction:g}, "
                f"gradient_penalty={penalty:g} at step {self._step}. Nothing was saved. Try a smaller --learning-rate or "
                "--penalty-weight."
            )
        return loss, reconstruction, penalty if with_penalty else None

    def evaluate(self, values: Float32s, starts: Ints) -> float:
        """Return the mean reconstruction loss of the windows at `starts`."""
        window_size = self._network.input_shape[1]
        total = 0.0
        for i in range(0, len(starts), 4 * self._batch_size):
            windows = make_windows(values, starts[i : i + 4 * self._batch_size], window_size)
            total += float(self._losses(windows).numpy().sum(dtype=np.float64))
        if not math.isfinite(total):
            raise DivergedError(
                f"The validation loss must be finite. Received: {total:g} after step {self._step}. Nothing was saved. "
                "Try a smaller --learning-rate."
            )
        return total / len(starts)
