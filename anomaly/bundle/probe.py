"""What a network makes of some synthetic windows: kept in its file, and compared where it is loaded.

Two machines, or two versions of a library, may run the same weights to other numbers. Then scores would be wrong, and nothing
would say so.
"""

import math
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.bundle.header import PROBE_WINDOWS
from anomaly.errors import BundleError
from anomaly.network.inference import Reconstruct, shared_reconstructor
from anomaly.network.program import Program
from anomaly.series import Float32s

_PROBE_TOLERANCE = 1e-4
# What a network came to that still runs, by the shape of its windows: many series may share one.
_known: "weakref.WeakKeyDictionary[Callable[[Float32s], Float32s], dict[tuple[int, int], tuple[float, ...]]]" = (
    weakref.WeakKeyDictionary()
)


def with_probe(bundle: Bundle, reconstruct: Callable[[Float32s], Float32s]) -> Bundle:
    """Return the bundle with the errors that its network makes on synthetic windows; `check_probe` compares them.

    Args:
        bundle: a detector's state.
        reconstruct: its network, `(n_windows, window_size, n_inputs)` -> the same shape.
    """
    return replace(bundle, probe=_probe_errors(bundle, reconstruct))


def check_probe(bundle: Bundle, reconstruct: Callable[[Float32s], Float32s]) -> None:
    """Compare the network with what it did where the detector was made; a bundle without a probe passes.

    Args:
        bundle: a detector's state.
        reconstruct: its network, as this machine runs it.

    Raises:
        BundleError: if an error is not within 1e-4 of itself, or not finite.
    """
    if bundle.probe is None:
        return
    of_network, shape = _known.setdefault(reconstruct, {}), (bundle.window_size, bundle.context.n_inputs)
    if shape not in of_network:
        of_network[shape] = _probe_errors(bundle, reconstruct)
    found = of_network[shape]
    if not np.allclose(found, bundle.probe, rtol=_PROBE_TOLERANCE, atol=0):
        raise BundleError(
            f"The network must do here what it did where it was trained, within {_PROBE_TOLERANCE:g}. Received: errors of "
            f"{found[0]:.9g} instead of {bundle.probe[0]:.9g} and so on, on the stored probe. "
            "Install the library versions that `anomaly inspect` names, or train anew."
        )


def ready_to_run(bundle: Bundle) -> Reconstruct:
    """Return the network of a bundle, ready to run.

    Raises:
        BundleError: if it gives other numbers here than where it was made.
    """
    shape = bundle.window_size, bundle.context.n_inputs
    if bundle.program is not None:
        reconstruct: Reconstruct = Program(bundle.program, *shape)
    else:
        reconstruct = shared_reconstructor(bundle.config.network, bundle.weights, *shape)
    check_probe(bundle, reconstruct)
    return reconstruct


def _probe_errors(bundle: Bundle, reconstruct: Callable[[Float32s], Float32s]) -> tuple[float, ...]:
    """Return the mean squared error of each probe window: random numbers of unit variance, the same everywhere."""
    # The raw stream of a bit generator is the same in every version of numpy; that of its distributions is not.
    stream, shape = np.random.PCG64(0), (1, bundle.window_size, bundle.context.n_inputs)
    errors = []
    for _ in range(PROBE_WINDOWS):
        uniform = stream.random_raw(math.prod(shape)) / 2.0**64
        window = ((2 * uniform - 1) * math.sqrt(3)).astype(np.float32).reshape(shape)
        with np.errstate(over="ignore", invalid="ignore"):
            errors.append(float(np.mean((reconstruct(window).astype(np.float64) - window) ** 2)))
    return tuple(errors)
