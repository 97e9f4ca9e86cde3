"""Shared fixtures: a small series with a known spike, and a tiny detector trained on it once."""

import contextlib
import ctypes
import gc
import os
import pickle
import sys

import commands
import numpy as np
import pytest
import runners
from hypothesis import settings

from anomaly.series import TimeSeries
from anomaly.training import step

# No timed assertions: the machines that run this are noisy.
settings.register_profile("suite", deadline=None, max_examples=int(os.environ.get("ANOMALY_TEST_EXAMPLES", "32")))
settings.load_profile("suite")
MOST_IDLE_ENGINES = step._MOST_IDLE
step._MOST_IDLE = 16  # of thousands of tests: what one has traced is there for many others
gc.disable()  # until all is imported and collected
# Jsonschema, which notebooks and Ray need, would import it for one format: seconds for a grammar that nothing here reads.
sys.modules.setdefault("rfc3987_syntax", None)

HOUR = 3_600_000_000
FIRST_TIME = 1_650_000_000_000_000  # 2022-04-15T05:20:00Z
SPIKE = slice(420, 426)
# Small enough to train in seconds.
TINY = {
    "window_size": 12, "units": 4, "epochs": 4, "steps_per_epoch": 15, "seed": 7, "deterministic": True, "nearest_windows": 0,
}  # fmt: skip


def make_series(n=500, n_features=2, seed=0, spike=SPIKE):
    """Two noisy waves, hourly, with a spike in the first feature."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    waves = [np.sin(2 * np.pi * t / 12 / (1 + i)) + 0.1 * rng.normal(size=n) for i in range(n_features)]
    values = np.column_stack(waves) * 3 + 10
    labels = np.zeros(n)
    if spike is not None:
        values[spike, 0] += 25
        labels[spike] = 1
    columns = tuple(f"s{i + 1}" for i in range(n_features))
    return TimeSeries(FIRST_TIME + t * HOUR, values, columns, labels=labels, name="made", time_column="timestamp")


def to_csv(series, path, *, labels=False):
    """Write a series as a CSV file whose cells parse back to the very same numbers."""
    frame = series.to_frame().reset_index()
    frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    if labels:
        frame["label"] = series.labels.astype(int)
    frame.to_csv(path, index=False)
    return path


def pytest_collection_finish(session):
    """Let no later collection of garbage look at the million objects of libraries and tests, which stay."""
    gc.enable()
    give_memory_back()
    gc.freeze()
    if hasattr(session.config, "workerinput") and sys.platform == "linux":
        runners.begin(session)


def pytest_sessionfinish():
    """End the process that the commands were forked from."""
    commands.end()


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Let go of what libraries keep: pictures, and what glibc holds for later."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    give_memory_back()


def give_memory_back():
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(autouse=True)
def seeded_where_keras_draws(request):
    """A test elsewhere may have asked for determinism: then everything random needs a seed, and Keras compiles nothing."""
    if "keras" in request.path.parts:
        from importlib import import_module

        from anomaly.tensorflow_start import load_keras

        load_keras().utils.set_random_seed(0)
        import_module("tensorflow.python.framework.config").disable_op_determinism()


@pytest.fixture(scope="session")
def series():
    return make_series()


@pytest.fixture(scope="session")
def detector(series, request, tmp_path_factory):
    """A detector trained on the first 400 rows; do not change it."""
    if not hasattr(request.config, "workerinput"):
        return trained(series)
    kept = tmp_path_factory.getbasetemp().parent / "detector.pickle"  # of all processes of this run
    if not kept.exists():
        own = tmp_path_factory.mktemp("detector") / kept.name
        own.write_bytes(pickle.dumps(trained(series)))
        own.replace(kept)
    return pickle.loads(kept.read_bytes())


def trained(series):
    from anomaly import Detector

    return Detector(**TINY).fit(series[:400])


@pytest.fixture(scope="session")
def bundle_path(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.anomaly"
    detector.save(path)
    return path


@pytest.fixture(scope="session")
def csv_path(series, tmp_path_factory):
    """The 500 rows with labels."""
    return to_csv(series, tmp_path_factory.mktemp("data") / "made.csv", labels=True)
