"""The networks of many series, of which the last ones used are ready to run.

What is ready costs memory: of a network of 64 units on windows of 128 rows the weights take 0.2 MB, ONNX Runtime's session 0.8 MB
after one window, 12 MB after 64 windows at once (it keeps what they took), and 20 MB where two threads have run them. To make
one ready takes some 5 ms, ten times what it needs for a window. So the weights of all stay, and the sessions of a few.
"""

import hashlib
import weakref
from collections import OrderedDict

import numpy as np

from anomaly.bundle.bundle import Bundle
from anomaly.network.inference import Reconstruct, shared_reconstructor
from anomaly.network.program import Program
from anomaly.series import Float32s

# As many as a fleet holds detectors. They take 50 MB where rows come one by one, 1.3 GB after bursts in all series.
MOST_READY = 64


class Networks:
    """Networks that are made ready when they are needed, with the same results to the last bit.

    Args:
        most_ready: how many are ready at a time; the one that was not used for the longest time goes first.
    """

    def __init__(self, most_ready: int = MOST_READY) -> None:
        self._most_ready = most_ready
        self._ready: OrderedDict[_Network, Reconstruct] = OrderedDict()
        self._known: weakref.WeakValueDictionary[str, _Network] = weakref.WeakValueDictionary()

    def of(self, bundle: Bundle) -> Reconstruct:
        """Return what runs the network of a detector; detectors with the same network share it.

        Args:
            bundle: the detector's state, of which only the network is kept.
        """
        key = _digest(bundle)
        network = self._known.get(key)
        if network is None:
            network = self._known[key] = _Network(self, bundle)
        return network

    def ready(self, network: "_Network") -> Reconstruct:
        """Return a network ready to run."""
        found = self._ready.get(network)
        if found is None:
            while len(self._ready) >= self._most_ready:
                self._ready.popitem(last=False)
            found = self._ready[network] = network.started()
        self._ready.move_to_end(network)
        return found


class _Network:
    """Runs a network, ready or not."""

    def __init__(self, networks: Networks, bundle: Bundle) -> None:
        self._networks, self._program = networks, bundle.program
        self._parts = bundle.config.network, bundle.weights, bundle.window_size, bundle.context.n_inputs

    def started(self) -> Reconstruct:
        """Return it ready to run."""
        return shared_reconstructor(*self._parts) if self._program is None else Program(self._program, *self._parts[2:])

    def __call__(self, windows: Float32s) -> Float32s:
        return self._networks.ready(self)(windows)


def _digest(bundle: Bundle) -> str:
    digest = hashlib.sha256(repr((bundle.config.network, bundle.window_size, bundle.context.n_inputs)).encode())
    digest.update(bundle.program or b"")
    for name in sorted(bundle.weights):
        digest.update(np.ascontiguousarray(bundle.weights[name]).data)
    return digest.hexdigest()
