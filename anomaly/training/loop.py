"""The fit loop: batches of windows, one step after the other, early stopping on the last training rows.

Windows are cut batch by batch from the scaled series, so memory does not grow with their number, and by a second
thread, so that no step waits for them.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from anomaly.config import DetectorConfig, TrainingConfig
from anomaly.errors import DivergedError
from anomaly.network.inference import started_threads
from anomaly.network.model import Weights
from anomaly.series import Float32s, Floats, Ints
from anomaly.tensorflow_start import refuse_in_a_fork
from anomaly.training.checkpoint import CheckpointFile, History, TrainingState
from anomaly.training.graph import without_graph_optimiser
from anomaly.training.step import Engine, Plan, StepLosses, borrowed_engine, choose_plan, give_back
from anomaly.windowing.context import n_judged_of, with_wide_direction
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.silence import silenced
from anomaly.windowing.windows import make_windows

Batch = tuple[Float32s, Float32s]

# The learning rate ends at this share of its start.
_LAST_RATE = 0.05
# Bounds of `steps_per_epoch="auto"`.
_LEAST_STEPS, _MOST_STEPS = 25, 50
# `batch_size="auto"` and `epochs="auto"`: of one feature, and of several, where half of the windows have silent ones and more is
# to be learnt (scripts/benchmarks/README.md).
_BATCH_SIZES, _EPOCHS = (32, 64), (24, 40)
# Held-out windows are cut in blocks of so many batches; after an epoch so many of them are looked at, from all over: neighbours
# hardly differ, and all of 10,000 rows' would take a quarter of the training.
_VALIDATION_BATCHES, MOST_VALIDATION_WINDOWS = 4, 512


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
    validation_loss: float | None  # of the last epoch that ended; in the first None, or that of the detector gone on from
    plan: str  # how the steps are run
    n_rows: int  # that have a value, those that are held out among them
    n_features: int  # that are judged
    window_size: int  # timesteps in a window
    ended: bool  # whether the epoch ended with this step, as it does too when the time is up


class Steps(Protocol):
    """What takes the steps of a training; `anomaly.training.step.Engine` says what each method does."""

    plan: Plan

    def step(
        self, windows: Float32s, targets: Float32s, seed: int, step: int, learning_rate: float, *, with_penalty: bool
    ) -> StepLosses:
        """Take one step."""

    def losses(self, windows: Float32s, targets: Float32s) -> Floats:
        """Return the loss of each window."""

    def weights(self) -> Weights:
        """Return copies of the weights."""

    def slots(self) -> dict[str, Any]:
        """Return copies of what the optimizer keeps."""

    def restore(self, weights: Weights, slots: Mapping[str, Any]) -> None:
        """Put back what the two above returned."""


def fit_autoencoder(
    config: DetectorConfig,
    weights: Weights,
    values: Float32s,
    train_starts: Ints,
    validation_starts: Ints,
    *,
    window_size: int,
    seed: int,
    on_step: Callable[[Progress], None] | None = None,
    checkpoint: CheckpointFile | None = None,
    resume_from: TrainingState | None = None,
    trained: bool = False,
    engine_of: Callable[[int], Steps] | None = None,
) -> tuple[Weights, History]:
    """Train an autoencoder.

    Args:
        config: all settings.
        weights: the initial ones, under the names of `anomaly.network.model.weight_shapes`.
        values: what the network reads of the series, `(n_timesteps, n_inputs)`, float32; NaN = missing. The first of these are
            the features that are judged, see `anomaly.windowing.context`; no other value counts in a loss.
        train_starts: `(n_windows,)` first rows of the training windows.
        validation_starts: first rows of the held-out windows; none may share a row with a training window. Of more than
            `MOST_VALIDATION_WINDOWS` so many, evenly spread, are looked at after each epoch.
        window_size: timesteps in a window.
        seed: seed of the order of the windows, of dropout and input noise.
        on_step: called after every step.
        checkpoint: where to keep the state. With it, SIGINT and SIGTERM wait for the end of the step and for the
            state to be written.
        resume_from: a state to go on from; its seed and its plan are used.
        trained: whether the initial weights are those of a detector, and are kept if no epoch is better.
        engine_of: makes what takes the steps, given the windows in a batch; None for the built-in network's.

    Returns:
        The weights of the best epoch, and the history.

    Raises:
        ConfigError: in a process that was forked after a training.
        DivergedError: if the loss, the penalty or a validation loss is not finite.
        KeyboardInterrupt: after a SIGINT, or what else the handlers in place raise.
    """
    refuse_in_a_fork()
    training = _Training(
        config, weights, values, train_starts, validation_starts, window_size, seed, checkpoint, resume_from, engine_of
    )
    return training.run(on_step, trained=trained)


def batch_size_of(training: TrainingConfig, n_windows: int, n_features: int) -> int:
    """Return `batch_size`, chosen or given; at most all windows."""
    size = training.batch_size
    return min(_BATCH_SIZES[n_features > 1] if size == "auto" else int(size), n_windows)


def epochs_of(training: TrainingConfig, n_features: int) -> int:
    """Return `epochs`, chosen or given."""
    return _EPOCHS[n_features > 1] if training.epochs == "auto" else int(training.epochs)


def steps_in_epoch(training: TrainingConfig, n_windows: int, batch_size: int) -> int:
    """Return `steps_per_epoch`, chosen or given."""
    if training.steps_per_epoch != "auto":
        return int(training.steps_per_epoch)
    return int(np.clip(-(-n_windows // batch_size), _LEAST_STEPS, _MOST_STEPS))


class WindowBatches:
    """Batches of windows for ever: all windows in random order, then all again in another; none is left out.

    A batch is two arrays of the same shape: what the network reads, and what it is compared with (see `read_and_compared`).

    Which windows are in a batch is a function of seed and number of the step alone.

    Args:
        values: `(n_timesteps, n_inputs)`; NaN = missing.
        starts: `(n_windows,)` first rows.
        window_size: timesteps in a window.
        max_missing: as in `WindowConfig`.
        batch_size: windows in a batch; at most `n_windows`.
        seed: seed of the order, and of what falls silent.
        silent: share of the windows in which features are missing, see `anomaly.windowing.silence`.
        n_judged: features that are judged, the first of the inputs; None for all.
    """

    def __init__(
        self,
        values: Float32s,
        starts: Ints,
        window_size: int,
        max_missing: float,
        batch_size: int,
        seed: int,
        silent: float = 0.0,
        n_judged: int | None = None,
    ) -> None:
        self._n_judged = values.shape[1] if n_judged is None else n_judged
        self._values, self._starts, self._window_size, self._max_missing = values, starts, window_size, max_missing
        self._batch_size, self._seed, self._silent = batch_size, seed, silent
        self._orders: dict[int, Ints] = {}
        self._cutter = started_threads(1)
        self._next: tuple[int, Future[Batch]] | None = None

    def starts_of(self, step: int) -> Ints:
        """Return the first rows of the windows of a step, counted from 0."""
        first = step * self._batch_size
        positions = np.arange(first, first + self._batch_size)
        rounds, places = np.divmod(positions, len(self._starts))
        orders = {n: self._orders[n] if n in self._orders else self._order(n) for n in sorted({int(rounds[0]), int(rounds[-1])})}
        self._orders = orders
        return np.concatenate([self._starts[order[places[rounds == n]]] for n, order in orders.items()])

    def take(self, step: int) -> Batch:
        """Return the windows of a step; those of the next one are cut in the meantime."""
        found = self._next[1] if self._next is not None and self._next[0] == step else self._cutter.submit(self._cut, step)
        windows = found.result()
        self._next = step + 1, self._cutter.submit(self._cut, step + 1)
        return windows

    def close(self) -> None:
        """End the thread."""
        self._cutter.shutdown(cancel_futures=True)

    def _order(self, number: int) -> Ints:
        return np.random.default_rng([self._seed, number]).permutation(len(self._starts))

    def _cut(self, step: int) -> Batch:
        windows, n = make_windows(self._values, self.starts_of(step), self._window_size), self._n_judged
        heard = silenced(windows[:, :, :n], self._silent, np.random.default_rng([self._seed, step, 1]))
        return read_and_compared(_beside(heard, windows), self._max_missing, n)


def read_and_compared(windows: Float32s, max_missing: float, n_judged: int) -> Batch:
    """Return what the network reads of some windows, without a missing value, and what it is compared with, NaN where with nothing.

    Args:
        windows: `(n_windows, window_size, n_inputs)`; NaN = missing.
        max_missing: as in `WindowConfig`.
        n_judged: the first of the inputs, which alone are compared.
    """
    compared = mask_windows(windows[:, :, :n_judged], max_missing)[0]
    return fill_missing(windows), _beside(compared, np.broadcast_to(np.float32(np.nan), windows.shape))


def _beside(judged: Float32s, windows: Float32s) -> Float32s:
    """Return windows with other values of the features that are judged."""
    n = judged.shape[2]
    return judged if n == windows.shape[2] else np.concatenate([judged, windows[:, :, n:]], axis=2)


class _Training:
    """One training: its engine, its batches, its state."""

    def __init__(
        self,
        config: DetectorConfig,
        weights: Weights,
        values: Float32s,
        train_starts: Ints,
        validation_starts: Ints,
        window_size: int,
        seed: int,
        checkpoint: CheckpointFile | None,
        state: TrainingState | None,
        engine_of: Callable[[int], Steps] | None,
    ) -> None:
        config = with_wide_direction(config, values.shape[1])
        self._config, self._values, self._window_size = config, values, window_size
        self._validation_starts, self._checkpoint = _some(validation_starts), checkpoint
        self._n_judged = n_judged_of(config, values.shape[1])
        self._n_rows = int(np.isfinite(values[:, : self._n_judged]).any(axis=1).sum())
        batch_size = batch_size_of(config.training, len(train_starts), self._n_judged)
        self._steps = steps_in_epoch(config.training, len(train_starts), batch_size)
        self._epochs = epochs_of(config.training, self._n_judged)
        self._n_steps = self._epochs * self._steps
        if engine_of is None:
            plan = state.plan if state else choose_plan(config, window_size, values.shape[1], batch_size, self._n_steps)
            self._engine: Steps = borrowed_engine(config, weights, window_size, plan)
        else:
            self._engine = engine_of(batch_size)
        self._state = state or TrainingState(seed, self._engine.plan, 0, weights, self._engine.slots(), weights)
        self._engine.restore(self._state.weights, self._state.slots)
        self._max_missing = config.windows.max_missing
        self._batches = WindowBatches(
            values, train_starts, window_size, self._max_missing, batch_size, self._state.seed, config.training.silent_windows,
            self._n_judged,
        )  # fmt: skip
        self._began = time.perf_counter() - self._state.history.seconds

    def run(self, on_step: Callable[[Progress], None] | None, *, trained: bool) -> tuple[Weights, History]:
        """Train to the end; return what `fit_autoencoder` returns."""
        state = self._state
        built_in = isinstance(self._engine, Engine)
        quick = without_graph_optimiser() if built_in else contextlib.nullcontext()
        with quick, contextlib.closing(self._batches), _deferred_signals(self._checkpoint is not None) as signals:
            try:
                if trained and state.history.start_loss is None:
                    state.best_loss = state.history.start_loss = self._validation_loss()
                while not (state.finished or signals):
                    self._advance(on_step)
            except DivergedError:
                if self._checkpoint is not None:
                    self._checkpoint.remove()  # it leads to the same end
                raise
            self._write()
        if isinstance(self._engine, Engine):
            give_back(self._engine)
        return state.best_weights, state.history

    def _advance(self, on_step: Callable[[Progress], None] | None) -> None:
        """Take a step, and do what is due after it."""
        self._take_step()
        means, ended = self._means(), self._state.step % self._steps == 0 or self._share() >= 1
        if ended:
            self._end_epoch()
        if on_step is not None:  # once the epoch is ended, if it is: what is told of it has its own held-out loss
            on_step(self._progress(means, ended=ended))
        if self._checkpoint is not None and self._checkpoint.is_due():
            self._write()

    def _take_step(self) -> None:
        state, penalty = self._state, self._config.penalty
        rate = self._config.training.learning_rate
        rate *= _LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * min(1.0, self._share()))) / 2
        batch = self._batches.take(state.step)
        with_penalty = state.step % penalty.penalty_every == 0
        losses = self._engine.step(*batch, state.seed, state.step, rate, with_penalty=with_penalty)
        state.step += 1
        _check_finite(losses, state.step)
        for n, value in enumerate(losses):
            state.sums[n] += value or 0.0
            state.counts[n] += value is not None

    def _share(self) -> float:
        """Return the share of the training that is done, by steps or by time, whichever is more."""
        share, limit = self._state.step / self._n_steps, self._config.training.max_minutes
        return share if limit is None else max(share, (time.perf_counter() - self._began) / (60 * limit))

    def _end_epoch(self) -> None:
        state, history = self._state, self._state.history
        columns = (history.loss, history.reconstruction_loss, history.gradient_penalty)
        for column, mean in zip(columns, self._means(), strict=True):
            column.append(mean)
        state.sums, state.counts = [0.0, 0.0, 0.0], [0, 0, 0]
        history.validation_loss.append(self._validation_loss())
        epoch = len(history.loss)
        if history.validation_loss[-1] < state.best_loss:
            state.best_loss, state.best_weights = history.validation_loss[-1], self._engine.weights()
            history.best_epoch = epoch
        state.finished = self._share() >= 1 or epoch - history.best_epoch >= self._config.training.patience
        history.seconds = time.perf_counter() - self._began

    def _validation_loss(self) -> float:
        """Return the mean reconstruction loss of held-out windows."""
        starts, block = self._validation_starts, _VALIDATION_BATCHES * self._state.plan.batch_size
        total = 0.0
        for i in range(0, len(starts), block):
            windows = make_windows(self._values, starts[i : i + block], self._window_size)
            total += float(self._engine.losses(*read_and_compared(windows, self._max_missing, self._n_judged)).sum())
        if not math.isfinite(total):
            raise DivergedError(
                f"The validation loss must be finite. Received: {total:g} after step {self._state.step}. Nothing was saved. "
                "Try a smaller --learning-rate."
            )
        return total / len(starts)

    def _means(self) -> list[float]:
        """Return the means over the steps of this epoch; the penalty's is over those that computed it."""
        return [total / max(count, 1) for total, count in zip(self._state.sums, self._state.counts, strict=True)]

    def _progress(self, means: list[float], *, ended: bool) -> Progress:
        state, validation = self._state, self._state.history.validation_loss
        last = validation[-1] if validation else state.history.start_loss
        epoch, step = divmod(state.step - 1, self._steps)
        loss, reconstruction_loss, penalty = means
        return Progress(
            epoch=epoch + 1,
            epochs=self._epochs,
            step=step + 1,
            steps=self._steps,
            loss=loss,
            reconstruction_loss=reconstruction_loss,
            gradient_penalty=penalty,
            validation_loss=last,
            plan=str(state.plan),
            n_rows=self._n_rows,
            n_features=self._n_judged,
            window_size=self._window_size,
            ended=ended,
        )

    def _write(self) -> None:
        """Bring the state up to date and keep it in the file, if there is one."""
        if self._checkpoint is None:
            return
        state = self._state
        state.weights, state.slots = self._engine.weights(), self._engine.slots()
        state.history.seconds = time.perf_counter() - self._began
        self._checkpoint.write(state)


def _some(starts: Ints) -> Ints:
    """Return at most `MOST_VALIDATION_WINDOWS` of some windows, evenly spread, the first and the last among them."""
    n = min(len(starts), MOST_VALIDATION_WINDOWS)
    return starts[np.linspace(0, len(starts) - 1, n).astype(np.int64)]


def _check_finite(losses: StepLosses, step: int) -> None:
    loss, reconstruction_loss, penalty = losses
    if not math.isfinite(loss + reconstruction_loss + (penalty or 0.0)):
        raise DivergedError(
            f"The training loss must be finite. Received: loss={loss:g}, reconstruction_loss={reconstruction_loss:g}, "
            f"gradient_penalty={penalty or 0.0:g} at step {step}. Nothing was saved. Try a smaller --learning-rate or "
            "--penalty-weight."
        )


@contextlib.contextmanager
def _deferred_signals(wanted: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list; raise the first one anew at the end. A second one is not held back.

    A signal that is ignored, as in a background job, stays so.
    """
    seen: list[int] = []
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield seen
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield seen
    finally:
        restore()
    if seen:
        signal.raise_signal(seen[0])
        raise KeyboardInterrupt  # if a handler came back: the training is not over
