"""Functions traced for one signature, and run without TensorFlow's graph optimiser.

Measured on two cores of a Xeon (Emerald Rapids), defaults: the optimiser takes .6 s of the first calls of a training that is
not compiled, and makes its steps a sixth faster, which two or three hundred steps pay back; few such trainings have more
(`anomaly.training.step.choose_plan`). Of a compiled one XLA has the large part, and the steps are as fast without it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from anomaly.tensorflow_start import load_tensorflow

_OFF = "disable_meta_optimizer"
# For each block that runs, in whatever thread, what the setting was before the first of them.
_running: list[bool] = []
_LOCK = threading.Lock()


def graph_of(function: Callable[..., Any], signature: Sequence[Any]) -> Callable[..., Any]:
    """Return a function of arrays or tensors, traced for a signature of `tf.TensorSpec`."""
    tf = load_tensorflow()

    return tf.function(function, autograph=False).get_concrete_function(*signature)  # type: ignore[no-any-return]


def traced(function: Callable[..., Any], *, compiled: bool) -> Any:
    """Return a function that is called while another is traced, compiled by XLA or not."""
    tf = load_tensorflow()

    # Autograph would rewrite every function it meets: five seconds of tracing for nothing.
    return tf.function(function, jit_compile=compiled, autograph=False)


@contextlib.contextmanager
def without_graph_optimiser() -> Iterator[None]:
    """Run what is called in the block without the optimiser; the process's setting comes back after the last."""
    tf = load_tensorflow()

    with _LOCK:
        known = tf.config.optimizer.get_experimental_options().get(_OFF, False)
        _running.append(_running[0] if _running else known)
        tf.config.optimizer.set_experimental_options({_OFF: True})
    try:
        yield
    finally:
        with _LOCK:
            before = _running.pop()
            if not _running:
                tf.config.optimizer.set_experimental_options({_OFF: before})
