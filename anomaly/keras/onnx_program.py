"""A Keras model as an ONNX graph, so that a detector with a network of one's own can be saved.

Keras exports it by tf2onnx, which is asked for and not required: only who saves such a detector needs it. Who loads it does not.
"""

import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.extras import lacking
from anomaly.network.onnx_start import load_onnxruntime
from anomaly.network.program import Program, checked_program

# The graph and Keras must agree so well on the values of a window, in training sigmas.
TOLERANCE = 1e-4
_OPSET = 17
_WINDOWS = 4


def as_onnx(network: Any, window_size: int, n_features: int) -> bytes:
    """Return a Keras model as an ONNX graph that gives the same reconstructions.

    Args:
        network: maps `(n_windows, window_size, n_features)` to the same shape.
        window_size: timesteps in a window.
        n_features: features of the series.

    Raises:
        ConfigError: if tf2onnx is missing, or cannot write this network, or writes one that gives other numbers.
    """
    if find_spec("tf2onnx") is None:
        raise lacking("Saving a detector with network=", "own-network", "network=")
    load_onnxruntime()  # before tf2onnx does
    try:
        content = _exported(network)
        checked_program(content, window_size, n_features)
        ready = Program(content, window_size, n_features)
    except Exception as error:  # tf2onnx raises whatever its layers run into
        raise _refused(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}") from error
    windows = np.random.default_rng(0).normal(size=(_WINDOWS, window_size, n_features)).astype(np.float32)
    found, expected = ready(windows), np.asarray(network(windows, training=False))
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise _refused(f"a graph whose values are {np.abs(found - expected).max():.3g} off")
    return content


def _exported(network: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras' own bridge to tf2onnx
        path = Path(folder) / "network.onnx"
        network.export(path, format="onnx", verbose=False, opset_version=_OPSET)
        return path.read_bytes()


def _refused(received: str) -> ConfigError:
    return ConfigError(
        f"A network of one's own is saved as an ONNX graph that does what the model does. Received: {received}. "
        "Use layers that Keras exports to ONNX, or keep `detector.network_` by its own save and score in this process."
    )
