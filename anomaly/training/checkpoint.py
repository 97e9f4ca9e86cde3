"""Where a training stands, and the one file that keeps it through a crash.

The order of the windows, the draws of dropout and the learning rate are functions of seed and step alone, so
weights, optimizer and a few numbers are all there is to a training. `anomaly.storage.snapshot` says how the file is kept whole.
"""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.network.model import Weights
from anomaly.storage.snapshot import Snapshots, changed, plain
from anomaly.storage.writing import checked_path, remove, require_writable
from anomaly.training.step import Plan

_SNAPSHOTS = Snapshots("A checkpoint", "anomaly_checkpoint", 2, "Begin anew with --no-resume.")


@dataclass
class History:
    """What was measured, one entry an epoch.

    Attributes:
        loss: mean training loss, penalty included.
        reconstruction_loss: its reconstruction part.
        gradient_penalty: the penalty before the weight, over the steps that computed it.
        validation_loss: reconstruction loss of the held-out windows, without dropout and noise.
        best_epoch: the epoch whose weights were kept, from 1; 0 for those a detector went on from.
        seconds: wall time of the training, all its sittings together.
        start_loss: validation loss of the weights that a detector went on from; None if it was trained from scratch.
    """

    loss: list[float] = field(default_factory=list)
    reconstruction_loss: list[float] = field(default_factory=list)
    gradient_penalty: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    start_loss: float | None = None


@dataclass
class TrainingState:
    """Where a training stands, after a step.

    Attributes:
        seed: seed of everything random.
        plan: how the steps are run; kept, because another plan rounds differently.
        step: steps taken.
        weights: the present ones.
        slots: what the optimizer keeps.
        best_weights: those of the best epoch.
        best_loss: its validation loss.
        history: of the epochs that ended.
        sums: of loss, reconstruction loss and penalty over the steps of this epoch.
        counts: how many steps are in each sum.
        finished: whether the training is over.
    """

    seed: int
    plan: Plan
    step: int
    weights: Weights
    slots: dict[str, Any]
    best_weights: Weights
    best_loss: float = math.inf
    history: History = field(default_factory=History)
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    finished: bool = False


class CheckpointFile:
    """The file of one training.

    Args:
        path: where.
        identity: settings and fingerprint of the data; a state is restored to the same training only.
        seconds: least time between two writes.

    Raises:
        StorageError: if it could not be written: it is said before the training, not hours into it.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any], seconds: float) -> None:
        self.path = checked_path(path)
        require_writable(self.path)
        self._identity = plain(identity)
        self._seconds = seconds
        self._written = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether it is time to write."""
        return time.monotonic() - self._written >= self._seconds

    def write(self, state: TrainingState) -> None:
        """Replace the file.

        Raises:
            StorageError: if the system refuses; the file is then as it was.
        """
        groups = {"weights": state.weights, "slots": state.slots, "best": state.best_weights}
        arrays = {
            f"{group}/{name}": np.asarray(array, order="C") for group, named in groups.items() for name, array in named.items()
        }
        numbers = {
            name: value for name, value in vars(state).items() if name not in ("weights", "slots", "best_weights", "history")
        }
        _SNAPSHOTS.write(self.path, numbers | {"history": asdict(state.history), "identity": self._identity}, arrays)
        self._written = time.monotonic()

    def read(self) -> TrainingState | None:
        """Return the state in the file; None if there is no file.

        Raises:
            BundleError: if the file is damaged or of another version.
            ConfigError: if it belongs to another training.
            StorageError: if it cannot be read.
        """
        if not self.path.exists():
            return None
        numbers, arrays = _SNAPSHOTS.read(self.path)
        if others := changed(numbers.pop("identity"), self._identity):
            raise ConfigError(
                f"A training can only be resumed with the settings and the data it began with. Received: another "
                f"{', '.join(others)} ({self.path}). Use the old ones, or begin anew with --no-resume."
            )
        groups: dict[str, dict[str, Any]] = {"weights": {}, "slots": {}, "best": {}}
        for name, array in arrays.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = array
        numbers |= {"plan": Plan(*numbers["plan"]), "history": History(**numbers["history"])}
        return TrainingState(weights=groups["weights"], slots=groups["slots"], best_weights=groups["best"], **numbers)

    def remove(self) -> None:
        """Delete the file, if there is one."""
        remove(self.path)
