"""A detector elsewhere: the ONNX file against the detector, in a process without this package; the Keras file in Keras."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import TINY, make_series, to_csv
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from anomaly import ConfigError, Detector
from anomaly.bundle.export import keras_bytes, metadata_of, onnx_bytes
from anomaly.bundle.onnx_graph import EXPORTED_TERMS, score_terms
from anomaly.config import DetectorConfig
from anomaly.network.inference import Reconstructor
from anomaly.network.model import weight_shapes
from anomaly.network.onnx_start import load_onnxruntime
from anomaly.windowing.missing import fill_missing

SCRIPT = Path(__file__).parents[2] / "scripts" / "score_with_onnx.py"
OUTPUTS = ("reconstruction", "error", "window_score", "trailing_score")
EXACT = 1e-5
# Shapes of the network, with window sizes that are and are not multiples of their pooling.
SHAPES = {
    "one layer": (12, {}),
    "reversed": (12, {"output_order": "reversed"}),
    "narrow code": (13, {"code_size": 2}),
    "both directions, two layers": (12, {"bidirectional": True, "layers": 2}),
    "pooling": (12, {"pooling": 4}),
    "pooling with a rest": (14, {"pooling": 4}),
    "shortest window": (2, {}),
    "odd window": (7, {"layers": 3}),
}


def with_network(bundle, window_size, network):
    """A detector of another shape with drawn weights: what it says is exact, not good."""
    given = bundle.config.to_settings() | {"window_size": window_size, "pooling": 1} | network
    config = DetectorConfig.from_settings(given)
    rng = np.random.default_rng(0)
    shapes = weight_shapes(config.network, len(bundle.columns))
    weights = {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    return replace(bundle, config=config, window_size=window_size, weights=weights, probe=None, recipe=None)


def run(content, windows):
    session = load_onnxruntime().InferenceSession(content, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"windows": windows}), strict=True))


def windows_of(values, size):
    return np.ascontiguousarray(sliding_window_view(values, size, axis=0).swapaxes(1, 2))


def naive(bundle, window):
    """What is said of one window, value by value: reconstruction, error, score of the whole and of the later half."""
    size, n_features = window.shape
    network = Reconstructor(bundle.config.network, bundle.weights, size, n_features, threads=1)
    scaled, _ = bundle.scaler.transform(window)
    expected = network(fill_missing(scaled[None]))[0].astype(np.float64)
    heard = [np.isnan(window[:, f]).sum() <= bundle.config.windows.max_missing * size for f in range(n_features)]
    extreme = np.abs(scaled) >= 1e4
    used = sum(heard) >= n_features / 2 or extreme.any()
    error = np.full(window.shape, np.nan)
    for t in range(size):
        for f in range(n_features):
            if used and not np.isnan(window[t, f]) and (heard[f] or extreme[t, f]):
                error[t, f] = (float(scaled[t, f]) - expected[t, f]) ** 2
    with np.errstate(over="ignore"):
        out = np.abs((window - bundle.scaler.center) / bundle.scaler.scale) > 1e4
    whole = naive_score(bundle, error, far=out.any())
    later = naive_score(bundle, error[size // 2 :], far=out[-1].any())
    if np.isnan(window[-1]).all():
        later = np.nan
    return expected * bundle.scaler.scale + bundle.scaler.center, error, whole, later


def naive_score(bundle, error, *, far):
    units = []
    for f in range(error.shape[1]):
        known = [e for e in error[:, f] if not np.isnan(e)]
        if known:
            units.append(sum(known) / len(known) / bundle.error_units.window[f])
    if not units:
        return np.nan
    return np.mean(units) if far else np.mean(np.sqrt(units)) ** 2


def assert_equal(found, expected):
    assert (np.isnan(found) == np.isnan(expected)).all()
    known = ~np.isnan(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_graph_says_what_slow_code_says_value_by_value(detector, shape):
    bundle = with_network(detector.bundle_, *SHAPES[shape])
    rng = np.random.default_rng(1)
    windows = bundle.scaler.center + bundle.scaler.scale * rng.normal(size=(40, bundle.window_size, 2))
    windows[rng.random(windows.shape) < np.linspace(0, 0.6, 40)[:, None, None]] = np.nan
    windows[7, 1, 0], windows[8, -1, 1], windows[9, -1, 1] = 1e9, -np.inf, np.nan
    windows[10], windows[11, -1] = np.nan, np.nan
    found = run(onnx_bytes(bundle), windows)
    for i, window in enumerate(windows):
        for name, expected in zip(OUTPUTS, naive(bundle, window), strict=True):
            assert_equal(found[name][i], np.asarray(expected))


@pytest.fixture(scope="module")
def session(detector):
    return load_onnxruntime().InferenceSession(onnx_bytes(detector.bundle_), providers=["CPUExecutionProvider"])


cells = st.one_of(st.floats(-30, 50), st.just(float("nan")), st.sampled_from([1e300, -np.inf, 5e4]))


@settings(max_examples=40)
@given(st.lists(st.tuples(cells, cells), min_size=12, max_size=30))
@example([(float("nan"), float("nan"))] * 11 + [(5e4, 1.0)])
@example([(10.0, float("nan"))] * 20)
def test_the_trailing_score_is_that_of_the_detector(session, detector, rows):
    """Of one whose score has no further terms."""
    assert score_terms(detector.bundle_) == EXPORTED_TERMS
    values = np.array(rows)
    found = session.run(["trailing_score"], {"windows": windows_of(values, 12)})[0]
    scorer = detector.row_scorer("trailing")
    times = detector.bundle_.step * np.arange(len(values))
    parts = [scorer.push(times, values).score[0], scorer.finish().score[0]]
    assert_equal(found, np.concatenate(parts)[11:])


def test_a_float32_of_large_values_keeps_what_little_they_change(detector):
    """In single precision a pressure of 1e9 Pa that moves by 10 would stand still."""
    bundle = detector.bundle_
    far = replace(bundle, scaler=replace(bundle.scaler, center=bundle.scaler.center + 1e9))
    windows = bundle.scaler.center + np.random.default_rng(3).normal(size=(5, 12, 2))
    near = run(onnx_bytes(bundle), windows)["window_score"]
    assert_equal(run(onnx_bytes(far), windows + 1e9)["window_score"], near)


def test_the_metadata_say_what_one_needs(detector):
    content = onnx_bytes(detector.bundle_, "CC BY 4.0")
    onnx.checker.check_model(content, full_check=True)
    model = onnx.load_from_string(content)
    about = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert about == metadata_of(detector.bundle_, "CC BY 4.0")
    assert about["columns"] == ["s1", "s2"]
    assert about["step_seconds"] == 3600
    assert about["detector_thresholds"]["trailing"] == detector.thresholds_["trailing"].value
    assert about["training_data"] == {"sha256": detector.bundle_.fingerprint, "licence": "CC BY 4.0"}
    assert about["scaler"]["center"] == detector.bundle_.scaler.center.tolist()
    assert model.producer_name == "anomaly"
    assert onnx_bytes(detector.bundle_, "CC BY 4.0") == content


def test_a_threshold_is_offered_only_where_the_graph_says_the_whole_score(series, detector):
    terms = Detector(**TINY | {"epochs": 1, "steps_per_epoch": 2, "penalty": "none", "nearest_windows": 50}).fit(series[:400])
    whole, part = metadata_of(detector.bundle_), metadata_of(terms.bundle_)
    assert whole["score_terms"] == whole["exported_terms"] == ["level"]
    assert whole["thresholds"] == {"trailing_score": detector.thresholds_["trailing"].value}
    assert part["score_terms"] == ["level", "shape", "course", "change", "odd_level", "odd_shape"]
    assert part["exported_terms"] == ["level"]
    assert part["thresholds"] == {}


def alone(script, *arguments, stdin=None):
    """Run a script in a process that can import neither this package nor TensorFlow."""
    hidden = ("anomaly", "tensorflow", "keras", "onnx", "pandas", "sklearn", "scipy")
    code = (
        f"import runpy, sys\nsys.modules.update(dict.fromkeys({hidden!r}))\n"
        f"sys.argv = {[str(script), *map(str, arguments)]!r}\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], input=stdin, capture_output=True, text=True, check=True).stdout


def test_the_example_scores_a_stream_without_this_package(detector, tmp_path):
    """Onnxruntime and numpy alone, in about 30 lines, with the scores of `trailing`."""
    assert len(SCRIPT.read_text().splitlines()) <= 37
    series = make_series(n=150, spike=slice(90, 95))
    series.values[40, 0] = np.nan
    (tmp_path / "d.onnx").write_bytes(onnx_bytes(detector.bundle_))
    text = to_csv(series, tmp_path / "rows.csv").read_text()
    lines = alone(SCRIPT, tmp_path / "d.onnx", stdin=text).splitlines()
    found = np.array([line.split(",") for line in lines[1:]], float)
    expected = detector.score(series, aggregation="trailing")
    np.testing.assert_array_equal(found[:, 0], np.arange(11, 150))
    assert_equal(found[:, 1], expected.score[11:])
    np.testing.assert_array_equal(found[:, 3], expected.flags[11:])
    assert found[:, 3].any()
    piped = (
        f"'{sys.executable}' '{SCRIPT}' '{tmp_path / 'd.onnx'}' < '{tmp_path / 'rows.csv'}' | head -n 1; echo ${{PIPESTATUS[@]}}"
    )
    ended = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("row,score,threshold,is_anomaly\n141 0\n", "")


def test_the_keras_file_is_the_network_without_this_package(detector, tmp_path):
    bundles = [with_network(detector.bundle_, *SHAPES[name]) for name in ("pooling with a rest", "both directions, two layers")]
    for i, bundle in enumerate(bundles):
        (tmp_path / f"{i}.keras").write_bytes(keras_bytes(bundle))
        windows = np.random.default_rng(i).normal(size=(6, bundle.window_size, 2)).astype(np.float32)
        np.save(tmp_path / f"{i}.npy", windows)
    script = tmp_path / "load.py"
    script.write_text(
        "import sys; sys.modules['anomaly'] = None\nimport keras, numpy as np\n"
        f"for i in range({len(bundles)}):\n"
        "    model = keras.models.load_model(f'{sys.argv[1]}/{i}.keras', compile=False)\n"
        "    np.save(f'{sys.argv[1]}/{i}_out.npy', model(np.load(f'{sys.argv[1]}/{i}.npy')))\n"
    )
    subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=True)
    for i, bundle in enumerate(bundles):
        network = Reconstructor(bundle.config.network, bundle.weights, bundle.window_size, 2)
        expected = network(np.load(tmp_path / f"{i}.npy"))
        np.testing.assert_allclose(np.load(tmp_path / f"{i}_out.npy"), expected, rtol=EXACT, atol=EXACT)


def test_a_network_of_ones_own_is_refused(detector):
    own = replace(detector.bundle_, weights={})
    for export in (onnx_bytes, keras_bytes):
        with pytest.raises(ConfigError, match="This needs the built-in network"):
            export(own)


def test_counted_rows_have_no_step(series):
    bundle = Detector(**TINY | {"epochs": 1, "steps_per_epoch": 2, "penalty": "none"}).fit(series.values[:200]).bundle_
    about = metadata_of(bundle)
    assert about["step_seconds"] is None
    assert about["time_column"] is None
    assert about["training_data"]["licence"] == "not stated"
