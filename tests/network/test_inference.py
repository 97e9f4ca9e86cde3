"""The ONNX graph against Keras, over the space of networks."""

import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from closeness import assert_close
from conftest import make_series

from anomaly.config import NetworkConfig
from anomaly.detector.detector import Detector
from anomaly.network.inference import Reconstructor, build_graph, n_cores, n_threads, started_threads, threads_of
from anomaly.network.model import build_autoencoder, get_weights, set_weights

WINDOW, FEATURES = 9, 3
NETWORKS = [
    NetworkConfig(units=6, layers=layers, bidirectional=bidirectional, code_size=code_size, output_order=order)
    for layers, bidirectional, code_size, order in (
        *itertools.product((2,), (False, True), (None, 2), ("forward", "reversed")),
        *itertools.product((1, 3), (False,), (None,), ("reversed",)),
        *itertools.product((1, 3), (True,), (2,), ("forward",)),
    )
]


# Of 9 rows: three timesteps of 3, one of 1 and two of 4, one of 9.
POOLED = [
    (NetworkConfig(units=6, pooling=pooling, **options), n_features)
    for pooling, n_features in ((3, 3), (4, 1), (4, 3), (20, 1))
    for options in (
        {},
        {"layers": 2, "output_order": "forward"},
        {"layers": 2, "bidirectional": True, "code_size": 2},
    )
]


def random_weights(network, seed=0):
    """Weights far from their start, biases included: a transposed matrix or a swapped gate must show."""
    rng = np.random.default_rng(seed)
    return {name: (0.5 * rng.normal(size=array.shape)).astype("f") for name, array in get_weights(network).items()}


@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: f"{c.layers}-{c.bidirectional}-{c.code_size}-{c.output_order}")
def test_reconstruction_equals_keras(config):
    assert_equal_to_keras(config, FEATURES)


@pytest.mark.parametrize(("config", "n_features"), POOLED, ids=lambda c: f"{getattr(c, 'pooling', c)}")
def test_reconstruction_by_a_pooled_network_equals_keras(config, n_features):
    assert_equal_to_keras(config, n_features)


def assert_equal_to_keras(config, n_features):
    network = build_autoencoder(config, WINDOW, n_features)
    weights = random_weights(network)
    set_weights(network, weights)
    windows = np.random.default_rng(1).normal(size=(8, WINDOW, n_features)).astype("f")
    found = Reconstructor(config, weights, WINDOW, n_features)(windows)
    assert_close(found, network(windows).numpy(), 1e-5)


def test_scores_of_a_trained_detector_equal_those_of_its_keras_network(detector, series):
    bundle = detector.bundle_
    network = build_autoencoder(bundle.config.network, bundle.window_size, 2)
    set_weights(network, bundle.weights)
    scaled, _ = bundle.scaler.transform(series.values)
    windows = np.stack([scaled[i : i + bundle.window_size] for i in range(len(scaled) - bundle.window_size + 1)])
    by_feature = np.square(network(windows).numpy().astype(float) - windows)[:, bundle.window_size // 2 :].mean(axis=1)
    expected = np.sqrt(by_feature / bundle.error_units.window).mean(axis=1) ** 2
    found = detector.score(series, aggregation="trailing").score[bundle.window_size - 1 :]
    assert_close(found, expected, 1e-5)


def test_any_number_of_windows_goes_through_one_session():
    config = NetworkConfig(units=4)
    reconstruct = Reconstructor(config, get_weights(build_autoencoder(config, WINDOW, FEATURES)), WINDOW, FEATURES)
    windows = np.random.default_rng(1).normal(size=(5, WINDOW, FEATURES)).astype("f")
    together = reconstruct(windows)
    assert_close(np.concatenate([reconstruct(windows[i : i + 1]) for i in range(5)]), together, 1e-5)


def test_how_windows_lie_in_memory_makes_no_difference():
    config = NetworkConfig(units=4, pooling=2)
    reconstruct = Reconstructor(config, get_weights(build_autoencoder(config, WINDOW, FEATURES)), WINDOW, FEATURES)
    rows = np.random.default_rng(1).normal(size=(150 + WINDOW, FEATURES)).astype("f")
    views = np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=0).swapaxes(1, 2)
    found = reconstruct(views)
    np.testing.assert_array_equal(found, reconstruct(np.ascontiguousarray(views)))
    np.testing.assert_array_equal(found[:64], reconstruct(views[:64]))


@pytest.mark.parametrize("pooling", [1, 3, 4])
def test_graph_is_valid_onnx(pooling):
    config = NetworkConfig(units=4, layers=2, bidirectional=True, code_size=3, pooling=pooling)
    weights = get_weights(build_autoencoder(config, WINDOW, FEATURES))
    onnx.checker.check_model(onnx.ModelProto.FromString(build_graph(config, weights, WINDOW, FEATURES)), full_check=True)


def test_a_pooled_detector_survives_its_file(detector, series, tmp_path):
    settings = {name: x for name, x in detector.get_params().items() if name != "network"} | {
        "window_size": 14,
        "stride": 1,
        "pooling": 4,
        "epochs": 1,
        "steps_per_epoch": 2,
    }
    made = Detector(**settings).fit(series[:150])
    made.save(tmp_path / "pooled.anomaly")
    loaded = Detector.load(tmp_path / "pooled.anomaly")
    assert loaded.pooling == loaded.bundle_.config.network.pooling == 4
    scores = loaded.score(series).score
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(made.score(series).score, scores)


def test_scoring_loads_neither_tensorflow_nor_keras_nor_sklearn(bundle_path, csv_path):
    code = (
        "import sys\n"
        "from anomaly import Detector, read_csv\n"
        f"Detector.load({str(bundle_path)!r}).score(read_csv({str(csv_path)!r}, label_column='label'))\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(("threads", "expected"), [("", 3), ("5", 5), ("0", 3), ("many", 3)])
def test_threads_are_as_many_as_the_cores_that_the_process_may_use(monkeypatch, threads, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert n_threads() == expected
    assert n_cores() == 3


def test_without_an_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert n_cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_cores() == 1


def allow_threads(monkeypatch, most):
    """Let a process have so many further threads; as the system says that, Python does."""
    start, join, running = threading.Thread.start, threading.Thread.join, set()

    def started(thread):
        if len(running) >= most:
            raise RuntimeError("can't start new thread")
        running.add(thread)
        start(thread)

    def joined(thread, timeout=None):
        join(thread, timeout)
        running.discard(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    monkeypatch.setattr(threading.Thread, "join", joined)


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 9])
def test_with_as_many_threads_as_there_may_be_all_is_done(monkeypatch, most):
    allow_threads(monkeypatch, most)
    with started_threads(4) as pool:
        assert list(pool.map(lambda x: x**2, range(100))) == [x**2 for x in range(100)]
        used = {pool.submit(threading.get_ident).result() for _ in range(100)}
        assert (threading.get_ident() in used) == (most == 0) and len(used) <= max(1, min(most, 4))
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()


@pytest.mark.parametrize("most", [0, 1, 3])
def test_the_results_do_not_depend_on_how_many_threads_may_be_started(monkeypatch, detector, most):
    series = make_series(n=3_000)
    expected = detector.score(series).score
    threads_of.cache_clear()
    allow_threads(monkeypatch, most)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    np.testing.assert_array_equal(detector.score(series).score, expected)
    threads_of.cache_clear()
