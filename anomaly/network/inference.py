"""Reconstruct windows without TensorFlow: the network as an ONNX graph, run by ONNX Runtime.

The graph is built in memory from the weights. ONNX wants the gates of an LSTM in the order input,
output, forget, cell, its matrices transposed and its two biases apart (ONNX operator `LSTM`); Keras
has input, forget, cell, output and one bias.
"""

import hashlib
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from anomaly.config import NetworkConfig
from anomaly.network.model import Weights, code_width, has_projected_state, rows_of_timesteps
from anomaly.network.onnx_bytes import model_bytes, node_bytes, tensor_bytes
from anomaly.network.onnx_start import load_onnxruntime
from anomaly.series import Float32s

# Maps windows `(n_windows, window_size, n_features)` to their reconstructions.
Reconstruct = Callable[[Float32s], Float32s]

# So many windows at a time stay in the cache of one core; more of them cost up to half as much again each.
_SHARD_WINDOWS = 64
OPSET, IR_VERSION = 17, 8
_KERAS_GATES_AS_ONNX = (0, 3, 1, 2)


class Reconstructor:
    """A network ready to run.

    Args:
        config: the shape of the network.
        weights: arrays under the names of `anomaly.network.model.weight_shapes`.
        window_size: timesteps in a window.
        n_features: features of the series.
        threads: processor threads for one call; 0 takes what OMP_NUM_THREADS says, or else one for each core. The
            results do not depend on it. Each runs windows of its own: threads that shared one recurrent loop would wait for
            each other at every timestep.
    """

    def __init__(self, config: NetworkConfig, weights: Weights, window_size: int, n_features: int, *, threads: int = 0) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        graph = build_graph(config, weights, window_size, n_features)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._rows = rows_of_timesteps(config, window_size)
        self._n_threads = threads or n_threads()

    def __call__(self, windows: Float32s) -> Float32s:
        """Reconstruct `(n_windows, window_size, n_features)`; the result has the same shape.

        In memory the result goes timestep by timestep, with all windows of one side by side; windows that do so too are
        read the fastest.
        """
        if not len(windows):  # the session would end the whole process
            return windows
        by_time, rows = windows.swapaxes(0, 1), self._rows
        found = np.empty((len(rows), rows[-1], *by_time.shape[1:]), np.float32)

        def run(first: int) -> None:
            shard = slice(first, first + _SHARD_WINDOWS)
            steps = self._session.run(None, {"timesteps": self._pooled(by_time[:, shard])})[0]
            found[:, :, shard] = steps[:, None]  # each for all of its rows

        firsts = range(0, len(windows), _SHARD_WINDOWS)
        alone = len(firsts) == 1 or self._n_threads == 1  # a single thread would only be waited for
        for _ in map(run, firsts) if alone else threads_of(os.getpid(), self._n_threads).map(run, firsts):
            pass
        return found.reshape(-1, *by_time.shape[1:])[rows[-1] - rows[0] :].swapaxes(0, 1)

    def _pooled(self, by_time: Float32s) -> Float32s:
        """Return the mean of the rows of each timestep, `(n_timesteps, n_windows, n_features)`."""
        first, pooling = self._rows[0], self._rows[-1]
        if pooling == 1:
            return np.ascontiguousarray(by_time)
        means = np.empty((len(self._rows), *by_time.shape[1:]), np.float32)
        np.sum(by_time[:first], axis=0, out=means[0])
        np.sum(by_time[first:].reshape(-1, pooling, *by_time.shape[1:]), axis=1, out=means[1:])
        means /= np.array(self._rows, np.float32)[:, None, None]
        return means


_running: "weakref.WeakValueDictionary[str, Reconstructor]" = weakref.WeakValueDictionary()


def shared_reconstructor(config: NetworkConfig, weights: Weights, window_size: int, n_features: int) -> Reconstructor:
    """Return a network ready to run; the same one as long as somebody holds one with the same shape and weights.

    Args:
        config: the shape of the network.
        weights: arrays under the names of `anomaly.network.model.weight_shapes`.
        window_size: timesteps in a window.
        n_features: features of the series.
    """
    digest = hashlib.sha256(repr((config, window_size, n_features)).encode())
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape}".encode())
        digest.update(np.ascontiguousarray(weights[name]).data)
    key = digest.hexdigest()
    found = _running.get(key)
    if found is None:
        found = _running[key] = Reconstructor(config, weights, window_size, n_features)
    return found


@lru_cache(maxsize=4)
def threads_of(process: int, n: int) -> Executor:
    """Return the threads of a process; after a fork the child has none of its parent's, and a copy of a detector holds none."""
    return started_threads(n)


def started_threads(n: int) -> Executor:
    """Return threads that run already: `n`, or as many as the system lets be started; without any the calling one does all.

    A service may be allowed a few only, and a pool that starts them one by one finds out in the middle of its work.
    """
    while n:
        pool, go_on, n_started = ThreadPoolExecutor(n), threading.Event(), 0
        try:
            for _ in range(n):
                pool.submit(go_on.wait)  # none is idle meanwhile, so each of these starts one
                n_started += 1
        except RuntimeError:  # it cannot be started
            pass
        finally:
            go_on.set()
        if n_started == n:
            return pool
        pool.shutdown()
        n = n_started
    return _CallingThread()


class _CallingThread(Executor):
    """Does what it is given at once."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **options))
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            done.set_exception(error)
        return done


def n_cores() -> int:
    """Return how many cores this process may run on, at least 1: where it is bound to some of them, only these."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def n_threads() -> int:
    """Return how many threads may work side by side: what OMP_NUM_THREADS says, or else one for each core that is allowed."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return (int(wanted) if wanted.isascii() and wanted.isdigit() else 0) or n_cores()


def build_graph(config: NetworkConfig, weights: Weights, window_size: int, n_features: int) -> bytes:
    """Return the ONNX model of a network, as the bytes of its file.

    It maps "timesteps" `(n_timesteps, any number, n_features)`, what the network sees of windows, to "reconstruction" of the
    same shape; see `anomaly.network.model.rows_of_timesteps`.
    """
    graph = Graph(weights)
    n_timesteps, backwards = len(rows_of_timesteps(config, window_size)), config.output_order == "reversed"
    shape: list[int | str] = [n_timesteps, "batch", n_features]
    x = "timesteps"
    state_h = state_c = ""
    for layer in range(1, config.layers + 1):
        parts = ("forward", "backward") if config.bidirectional else ("forward",)
        x, state_h, state_c = graph.lstm(f"encoder_{layer}", parts, x, config.units)
        x = graph.add("Reshape", [graph.add("Transpose", [x], perm=[0, 2, 1, 3]), graph.ints([0, 0, -1])])
    if has_projected_state(config):
        joined = graph.add("Reshape", [graph.add("Transpose", [state_h], perm=[1, 0, 2]), graph.ints([0, -1])])
        code = graph.dense("code", joined)
        zero = graph.ints([0])
        state_h = graph.add("Unsqueeze", [graph.add("Tanh", [graph.dense("state_h", code)]), zero])
        state_c = graph.add("Unsqueeze", [graph.dense("state_c", code), zero])
        code = graph.add("Unsqueeze", [code, zero])
    else:
        code = state_h  # (1, batch, units): the encoder's final output is its final h
    x = graph.add("Expand", [code, graph.ints([n_timesteps, 1, code_width(config)])])
    for layer in range(1, config.layers + 1):
        initial = (state_h, state_c) if layer == 1 else ("", "")
        x, _, _ = graph.lstm(f"decoder_{layer}", ("forward",), x, config.units, initial)
        x = graph.add("Squeeze", [x, graph.ints([1])])  # (time, batch, units)
    x = graph.dense("output", x, output=None if backwards else "reconstruction")
    if backwards:
        far_below = np.iinfo(np.int64).min
        end = [graph.ints([-1]), graph.ints([far_below]), graph.ints([0]), graph.ints([-1])]
        graph.add("Slice", [x, *end], output="reconstruction")
    return model_bytes(graph.nodes, graph.constants, ("timesteps", "reconstruction"), shape, OPSET, IR_VERSION)


class Graph:
    """Nodes and constants in the making; every method returns the name of its result.

    Args:
        weights: arrays under the names of `anomaly.network.model.weight_shapes`.
        prefix: of all names that are not given.

    Attributes:
        nodes: in their order, as `onnx_bytes.node_bytes` returns them.
        constants: as `onnx_bytes.tensor_bytes` returns them.
    """

    def __init__(self, weights: Weights, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []
        self._weights = weights

    def add(self, kind: str, inputs: list[str], *, outputs: int = 1, output: str | None = None, **attributes: Any) -> Any:
        """Append a node; return its output's name, or the list of them."""
        names = [output or f"{self._prefix}n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(node_bytes(kind, inputs, names, attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any) -> str:
        """Store an array; return its name."""
        name = f"{self._prefix}c{len(self.constants)}"
        self.constants.append(tensor_bytes(array, name))
        return name

    def ints(self, values: list[int]) -> str:
        """Store a vector of int64."""
        return self.constant(np.array(values, np.int64))

    def dense(self, name: str, x: str, output: str | None = None) -> str:
        """Apply `x @ kernel + bias`."""
        product = self.add("MatMul", [x, self.constant(self._weights[f"{name}/kernel"])])
        return str(self.add("Add", [product, self.constant(self._weights[f"{name}/bias"])], output=output))

    def lstm(
        self, name: str, parts: tuple[str, ...], x: str, units: int, initial: tuple[str, str] = ("", "")
    ) -> tuple[str, str, str]:
        """Apply an LSTM layer; return its outputs (time, directions, batch, units), final h and final c."""
        weights = [self._weights_of(f"{name}/{part}", units) for part in parts]
        kernel, recurrent, bias = (self.constant(np.stack(arrays)) for arrays in zip(*weights, strict=True))
        y, h, c = self.add(
            "LSTM",
            [x, kernel, recurrent, bias, "", *initial],
            outputs=3,
            hidden_size=units,
            direction="bidirectional" if len(parts) == 2 else "forward",
        )
        return y, h, c

    def _weights_of(self, name: str, units: int) -> tuple[Float32s, Float32s, Float32s]:
        def reorder(array: Float32s) -> Float32s:  # the last axis holds the gates
            gates = array.reshape(*array.shape[:-1], 4, units)[..., _KERAS_GATES_AS_ONNX, :]
            return gates.reshape(array.shape)

        bias = reorder(self._weights[f"{name}/bias"])
        return (
            reorder(self._weights[f"{name}/kernel"]).T,
            reorder(self._weights[f"{name}/recurrent_kernel"]).T,
            np.concatenate([bias, np.zeros_like(bias)]),
        )
