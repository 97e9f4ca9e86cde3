"""A network that a detector file holds as an ONNX graph, and how it is run; see `anomaly.keras.onnx_program` for how it is made.

A graph of ONNX is data, as weights are: operators of the standard and numbers. It can read no file and call no code of anybody's:
graphs with operators of other domains, with functions, or with numbers in other files are refused before one is run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.errors import BundleError
from anomaly.network.inference import n_threads, threads_of
from anomaly.network.onnx_start import load_onnxruntime
from anomaly.series import Float32s

if TYPE_CHECKING:
    import onnx

LARGEST_PROGRAM = 64 << 20
# What ONNX calls its own operators.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_NEWEST_OPSET = 22
_BLOCK_WINDOWS = 64


class Program:
    """A graph from windows to windows, ready to run.

    Args:
        content: the graph's bytes, which `checked_program` has taken.
        window_size: timesteps in a window.
        n_features: features of the series.

    Raises:
        BundleError: if ONNX Runtime cannot run it; so does a call.
    """

    def __init__(self, content: bytes, window_size: int, n_features: int) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with _told():
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._shape = window_size, n_features

    def __call__(self, windows: Float32s) -> Float32s:
        """Reconstruct `(n_windows, window_size, n_features)`; the result has the same shape."""
        found = np.empty((len(windows), *self._shape), np.float32)

        def run(first: int) -> None:
            some = slice(first, first + _BLOCK_WINDOWS)
            with _told():
                (result,) = self._session.run(None, {self._input: np.ascontiguousarray(windows[some], np.float32)})
                if result.shape != found[some].shape:  # NumPy would repeat one window for all
                    raise ValueError(f"windows {result.shape} for {found[some].shape}")
            found[some] = result

        firsts = range(0, len(windows), _BLOCK_WINDOWS)
        for _ in map(run, firsts) if len(firsts) == 1 else threads_of(os.getpid(), n_threads()).map(run, firsts):
            pass
        return found


@contextmanager
def _told() -> Iterator[None]:
    """Say in one sentence what a graph cannot do, whatever ONNX Runtime says of it."""
    try:
        yield
    except Exception as error:  # its errors have no common class
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BundleError(
            f"The graph of a detector must run on windows of any number. Received: {reason}. Save the detector anew with network=."
        ) from error


def checked_program(content: bytes, window_size: int, n_features: int) -> "onnx.ModelProto":
    """Return a graph, if it maps windows to windows by operators of the standard alone.

    Args:
        content: the graph's bytes.
        window_size: timesteps in a window.
        n_features: features of the series.

    Raises:
        ValueError: if it is none, is larger than 64 MiB, or needs anything beside itself.
    """
    import onnx

    if len(content) > LARGEST_PROGRAM:
        raise ValueError(f"a graph of {len(content):,} bytes, more than {LARGEST_PROGRAM:,}")
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker have no common error
        raise ValueError(f"no valid graph: {str(error).splitlines()[0][:100] if str(error) else type(error).__name__}") from error
    _refuse_foreign(model)
    for what, found in (("input", model.graph.input), ("output", model.graph.output)):
        dims = [_dims(value) for value in found]
        if len(dims) != 1 or len(dims[0]) != 3 or dims[0][0] or not _fit(dims[0][1:], (window_size, n_features)):
            raise ValueError(f"a graph whose {what} is not any number of windows of {window_size} rows and {n_features} features")
        if found[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ValueError(f"a graph whose {what} is not float32")
    return model


def _refuse_foreign(model: "onnx.ModelProto") -> None:
    import onnx

    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if model.functions or any(name not in _DOMAINS for name in opsets):
        raise ValueError(f"a graph with operators beyond the standard ({', '.join(sorted(set(opsets) - set(_DOMAINS)))})")
    if max(opsets.values()) > _NEWEST_OPSET:
        raise ValueError(f"operators of version {max(opsets.values())}, newer than {_NEWEST_OPSET}")
    for graph in _graphs(model.graph):
        if any(node.domain not in _DOMAINS for node in graph.node):
            raise ValueError("a graph with operators beyond the standard")
        held = [*graph.initializer, *(t for node in graph.node for a in node.attribute for t in (a.t, *a.tensors))]
        if any(t.data_location == onnx.TensorProto.EXTERNAL or t.external_data for t in held) or graph.sparse_initializer:
            raise ValueError("a graph with numbers in other files")


def _graphs(graph: "onnx.GraphProto") -> list["onnx.GraphProto"]:
    """Return a graph and those inside its loops and branches."""
    inner = [g for node in graph.node for a in node.attribute for g in ([a.g] if a.HasField("g") else [*a.graphs])]
    return [graph, *(found for g in inner for found in _graphs(g))]


def _dims(value: Any) -> list[int]:
    """Return the sizes of a tensor's axes, 0 where one may be any."""
    return [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]


def _fit(found: list[int], wanted: tuple[int, int]) -> bool:
    return all(a in (0, b) for a, b in zip(found, wanted, strict=True))
