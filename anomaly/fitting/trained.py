"""A network trained on windows, from initial weights, a checkpoint or an older detector."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anomaly.config import DetectorConfig
from anomaly.fitting.continuation import Start
from anomaly.network.initial_weights import initial_weights
from anomaly.network.model import Weights
from anomaly.series import Float32s
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.checkpoint import CheckpointFile, History
from anomaly.training.loop import Progress, fit_autoencoder
from anomaly.windowing.split import Split


class Trained(NamedTuple):
    """What a training gave: of the series itself, or of several with the same network."""

    weights: Weights
    history: History
    seed: int


def train_network(
    config: DetectorConfig,
    split: Split,
    scaled: Float32s,
    checkpoint: CheckpointFile | None = None,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    start: Start | None = None,
) -> Trained:
    """Train a network on windows, or go on with its training.

    Args:
        config: all settings.
        split: the windows.
        scaled: the rows that they are cut from, as the network reads them, `(n_timesteps, n_inputs)`; NaN = missing.
        checkpoint: what keeps the training through a crash.
        resume: whether to go on from it.
        on_step: called after every step.
        start: the detector to go on from, if there is one.

    Raises:
        DivergedError: if the loss stops being finite.
        BundleError: if the checkpoint is damaged.
    """
    state = checkpoint.read() if checkpoint is not None and resume else None
    drawn = drawn_seed(config)
    seed = drawn if state is None else state.seed
    weights, history = fit_autoencoder(
        config,
        start.weights if start else initial_weights(config.network, scaled.shape[1], seed),
        scaled,
        split.train_starts,
        split.validation_starts,
        window_size=split.window_size,
        seed=seed,
        on_step=on_step,
        checkpoint=checkpoint,
        resume_from=state,
        trained=start is not None,
    )
    return Trained(weights, history, seed)


def drawn_seed(config: DetectorConfig) -> int:
    """Return the seed, drawn or given; make TensorFlow deterministic if that is wanted."""
    if config.training.deterministic:
        load_tensorflow().config.experimental.enable_op_determinism()
    given = config.training.seed
    return int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
