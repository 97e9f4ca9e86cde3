"""A detector with a Keras model of one's own in the place of the built-in network."""

import contextlib
import copy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import to_csv
from sklearn.base import clone

from anomaly import Detector
from anomaly.cli import cli
from anomaly.config import DetectorConfig, NetworkConfig
from anomaly.errors import ConfigError
from anomaly.keras.onnx_program import as_onnx
from anomaly.keras.own_network import OwnEngine, OwnReconstructor, make_network
from anomaly.live.networks import Networks
from anomaly.network.model import build_autoencoder, get_weights, set_weights
from anomaly.report.detector_text import bundle_text
from anomaly.tensorflow_start import load_keras, load_tensorflow
from anomaly.training.step import Engine, Plan

keras = load_keras()
layers = keras.layers
SETTINGS = {"window_size": 12, "epochs": 4, "steps_per_epoch": 15, "penalty_every": 1, "seed": 7}


def dense(window_size, n_features):
    stack = [layers.Flatten(), layers.Dense(12, "tanh"), layers.Dense(window_size * n_features)]
    return keras.Sequential([keras.Input((window_size, n_features)), *stack, layers.Reshape((window_size, n_features))])


@contextlib.contextmanager
def eagerly():
    """To trace a step of a recurrent network takes twenty times as long as to take one."""
    config = load_tensorflow().config
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def own(series):
    return Detector(network=dense, **SETTINGS).fit(series[:400])


def test_it_finds_the_spike_and_says_what_it_is(own, series):
    scores = own.score(series)
    assert 419 < np.nanargmax(scores.score) < 427
    (event, *_) = sorted(own.detect(series), key=lambda event: -event.severity)
    assert event.start <= 425
    assert event.stop >= 420
    assert own.network_.count_params() > 0
    assert "a Keras model of its own" in bundle_text(own.bundle_, "text")


def test_scores_are_of_the_networks_own_reconstruction(own):
    windows = np.random.default_rng(0).normal(size=(300, 12, 2)).astype(np.float32)
    expected = own.network_.predict(windows, verbose=0)
    np.testing.assert_allclose(OwnReconstructor(own.network_)(windows), expected, rtol=1e-4, atol=1e-5)
    assert OwnReconstructor(own.network_)(windows[:0]).shape == (0, 12, 2)


def test_the_weights_of_the_best_epoch_are_kept(own):
    assert own.bundle_.held_out_loss == pytest.approx(own.history_["validation_loss"].min())
    assert (own.history_["gradient_penalty"] > 0).all()
    np.testing.assert_allclose(
        own.history_["loss"], own.history_["reconstruction_loss"] + 0.01 * own.history_["gradient_penalty"], rtol=1e-5
    )


def test_the_same_seed_gives_the_same_network_and_leaves_other_draws_alone(own, series):
    import random

    random.seed(3)
    drawn, state = random.random(), random.getstate()
    random.seed(3)
    random.random()
    again = Detector(network=dense, **SETTINGS).fit(series[:400])
    assert random.getstate() == state
    assert 0 <= drawn < 1
    for one, other in zip(own.network_.get_weights(), again.network_.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


# Keras' own way of saving a variable.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_it_is_calibrated_copied_and_set_as_any_other(own, series):
    again = copy.deepcopy(own)
    np.testing.assert_allclose(again.score(series).score, own.score(series).score, rtol=1e-5)
    again.calibrate(threshold_method="quantile", alarm_rate=0.01)
    assert again.thresholds_["combined"].method == "quantile"
    assert own.get_params()["network"] is dense
    assert "network=<function dense" in repr(Detector(network=dense))
    np.testing.assert_array_equal(
        own.set_params(epochs=4).score(series, aggregation="trailing").score,
        own.score(series, aggregation="trailing").score,
    )


def test_a_fit_without_it_is_the_built_in_network_again(series, tmp_path):
    detector = Detector(network=dense, **SETTINGS | {"epochs": 1}).fit(series[:400])
    detector.set_params(network=None, units=4).fit(series[:400]).save(tmp_path / "again.anomaly")
    assert detector.network_ is None
    assert Detector.load(tmp_path / "again.anomaly").network is None


@pytest.fixture(scope="module")
def saved(own, tmp_path_factory):
    pytest.importorskip("tf2onnx")
    path = tmp_path_factory.mktemp("own") / "own.anomaly"
    own.save(path)
    return path


def test_a_saved_one_scores_as_it_did_without_tensorflow(own, saved, series, csv_path):
    code = (
        "import sys, numpy as np; from anomaly import Detector; found = Detector.load(sys.argv[1]).score(sys.argv[2]); "
        "assert not {'tensorflow', 'keras', 'tf2onnx'} & sys.modules.keys(); np.save(sys.argv[3], found.score)"
    )
    scores = saved.with_name("scores.npy")
    subprocess.run([sys.executable, "-c", code, saved, csv_path, scores], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(scores), own.score(series).score, rtol=1e-3, atol=1e-5)
    assert "as an ONNX graph of" in bundle_text(Detector.load(saved).bundle_, "text")


def test_a_saved_one_is_copied_and_saved_again_to_the_same_bytes(saved, series, tmp_path):
    loaded = copy.deepcopy(Detector.load(saved))
    loaded.save(tmp_path / "again.anomaly")
    assert (tmp_path / "again.anomaly").read_bytes() == saved.read_bytes()
    assert Detector.load(tmp_path / "again.anomaly").detect(series)


def test_a_loaded_one_is_trained_again_only_with_the_function_that_makes_its_network(saved, series):
    loaded = Detector.load(saved)
    for one in (loaded, clone(loaded)):
        with pytest.raises(ConfigError, match=r"must have the function that makes it to be trained again.*set_params\(network="):
            one.fit(series[:400])
    again = clone(loaded).set_params(network=dense, epochs=1, steps_per_epoch=1).fit(series[:400])
    assert again.network_.count_params() == dense(12, 2).count_params()


def test_a_warning_of_drift_names_no_command_that_is_refused(saved, series, tmp_path):
    moved = to_csv(replace(series, values=series.values + 40), tmp_path / "moved.csv")
    result = CliRunner().invoke(cli, ["detect", str(moved), "--model", str(saved)])
    assert result.exit_code == 0, result.stderr
    assert "retrain in Python, with the function that makes its network, on rows like these if it stays so." in result.stderr
    assert "--from" not in result.stderr


def test_live_series_share_the_graph_of_a_saved_one(own, saved):
    windows, networks = np.random.default_rng(0).normal(size=(70, 12, 2)).astype(np.float32), Networks(most_ready=1)
    first, second = networks.of(Detector.load(saved).bundle_), networks.of(Detector.load(saved).bundle_)
    assert first is second
    np.testing.assert_allclose(first(windows), own.network_.predict(windows, verbose=0), rtol=1e-4, atol=1e-5)


def test_without_tf2onnx_save_refuses_and_says_what_to_do(own, tmp_path, monkeypatch):
    monkeypatch.setattr("anomaly.keras.onnx_program.find_spec", lambda name: None)
    monkeypatch.setattr("anomaly.extras.find_spec", lambda name: None)
    message = "Saving a detector with network= needs tf2onnx. Received: network=, and no tf2onnx. Run: pip install tf2onnx."
    with pytest.raises(ConfigError, match=message):
        own.save(tmp_path / "own.anomaly")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_written_is_refused(tmp_path):
    pytest.importorskip("tf2onnx")
    tf = load_tensorflow()

    class Program(layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape)

    network = keras.Sequential([keras.Input((12, 2)), Program()])
    network(np.zeros((1, 12, 2), np.float32))
    with pytest.raises(
        ConfigError, match="A network of one's own is saved as an ONNX graph that does what the model does. Received: "
    ):
        as_onnx(network, 12, 2)


def test_a_graph_that_gives_other_numbers_is_refused(own, monkeypatch):
    other = make_network(dense, 12, 2, seed=99)
    pytest.importorskip("tf2onnx")
    content = as_onnx(other, 12, 2)
    monkeypatch.setattr("anomaly.keras.onnx_program._exported", lambda network: content)
    with pytest.raises(ConfigError, match="a graph whose values are"):
        as_onnx(own.network_, 12, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("lstm", "`network` must be a function of window size and number of features that returns a keras.Model. Received: str."),
        (lambda size, n: layers.Dense(n), "`network` must return a keras.Model. Received: Dense. Return the model itself."),
        (
            lambda size, n: keras.Sequential([keras.Input((size, n)), layers.Dense(n + 1)]),
            r"`network` must map windows \(12, 2\) to windows of that shape. Received: \(12, 3\). End it with a Dense layer",
        ),
    ],
)
def test_what_is_no_network_of_windows_to_windows_is_refused(make, message, series):
    with pytest.raises(ConfigError, match=message):
        Detector(network=make, **SETTINGS).fit(series[:400])


def test_a_network_in_the_place_of_the_function_that_makes_it_is_refused(series):
    message = "`network` must be a function of window size .* Received: Sequential. Write network=lambda window_size"
    with pytest.raises(ConfigError, match=message):
        Detector(network=dense(12, 2), **SETTINGS).fit(series[:400])


@pytest.mark.parametrize("name", ["checkpoint", "start_from"])
def test_what_is_for_the_built_in_network_alone_is_refused(name, series, detector, tmp_path):
    given = {"checkpoint": tmp_path / "state", "start_from": detector}
    with pytest.raises(ConfigError, match=f"`{name}` must not be given with network=: it is for the built-in network."):
        Detector(network=dense, **SETTINGS).fit(series[:400], **{name: given[name]})


def test_nothing_goes_on_from_it(own, series):
    with pytest.raises(ConfigError, match="This needs the built-in network"):
        Detector(**SETTINGS).fit(series[:400], start_from=own)


def test_explaining_says_that_it_needs_the_built_in_network(own, series):
    from anomaly.explaining.score_slope import Stretch

    with pytest.raises(ConfigError, match="This needs the built-in network"):
        Stretch(own.bundle_, series, "combined", 400, 440)


@pytest.mark.parametrize("penalty", [{}, {"penalty": "none"}, {"penalty": "hinge", "penalty_threshold": 0.1, "penalty_every": 1}])
def test_a_step_is_that_of_the_built_in_engine(penalty):
    """The same network, weights and batch, with some values missing: weights after the step, and what is reported."""
    config = DetectorConfig.from_settings({"units": 4, "penalty_weight": 0.5, "penalty_method": "exact"} | penalty)
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(10, 4, 3)).astype(np.float32)
    network = build_autoencoder(NetworkConfig(units=4), 4, 3, seed=1)
    ours = Engine(config, get_weights(network), 4, Plan("none" if penalty.get("penalty") == "none" else "exact", False, 1, 10))
    own_engine = OwnEngine(config, network, (4, 3), 10)
    expected = ours.step(windows, windows, 0, 0, 1e-3, with_penalty=True)
    with contextlib.nullcontext() if penalty.get("penalty") == "none" else eagerly():
        found = own_engine.step(windows, windows, 0, 0, 1e-3, with_penalty=True)
    assert found.gradient_penalty == (
        None if expected.gradient_penalty is None else pytest.approx(expected.gradient_penalty, rel=1e-4)
    )
    assert found[:2] == pytest.approx(expected[:2], rel=1e-5)
    after = get_weights(network)
    for name, weight in ours.weights().items():
        # Adam moves each weight by about the learning rate, whatever the size of its gradient.
        assert np.mean(np.abs(after[name] - weight) > 1e-4) < 0.02


@pytest.mark.parametrize(  # each form by one method: both are compared elsewhere
    ("penalty", "method"),
    [
        ({}, "exact"),
        ({"penalty": "l1"}, "two_pass"),
        ({"penalty": "hinge", "penalty_threshold": 0.05}, "exact"),
        ({"penalty": "directional", "direction": [1, -1, 0.5]}, "two_pass"),
    ],
    ids=["l2", "l1", "hinge", "directional"],
)
def test_the_penalty_beside_missing_values_is_that_of_the_built_in_engine(penalty, method):
    settings = {"units": 4, "penalty_weight": 0.5, "penalty_every": 1, "penalty_method": method} | penalty
    config = DetectorConfig.from_settings(settings)
    network, targets = build_autoencoder(NetworkConfig(units=4), 4, 3, seed=1), np.random.default_rng(0).normal(size=(3, 10, 4, 3))
    targets[0, :, :, 1] = targets[1, :, 2:, 1] = targets[2, :5, 1:3] = np.nan  # a silent feature, half of one, rows of some windows
    weights = get_weights(network)
    built_in = Engine(config, weights, 4, Plan(method, False, 1, 10))
    own_engine = OwnEngine(config, network, (4, 3), 10)
    for target in targets.astype(np.float32):
        built_in.begin(weights)
        set_weights(network, weights)
        given = np.nan_to_num(target), target, 0, 0, 1e-3
        expected = built_in.step(*given, with_penalty=True)
        with eagerly():
            found = own_engine.step(*given, with_penalty=True)
        assert found == pytest.approx(expected, rel=1e-4)


def test_missing_values_take_no_part():
    config = DetectorConfig.from_settings({"penalty_weight": 0.5})
    rng = np.random.default_rng(0)
    windows, losses = rng.normal(size=(10, 12, 2)).astype(np.float32), []
    targets = windows.copy()
    targets[:, 3:5, 1] = np.nan
    for value in (0.0, 0.0):
        windows[:, 3:5, 1] = value
        engine = OwnEngine(config, make_network(dense, 12, 2, seed=1), (12, 2), 10)
        losses.append(engine.step(windows, targets, 0, 0, 1e-3, with_penalty=True))
        outputs = OwnReconstructor(make_network(dense, 12, 2, seed=1))(windows)
        by_hand = np.nanmean((targets - outputs) ** 2, axis=(1, 2))
        assert losses[-1].reconstruction_loss == pytest.approx(by_hand.mean(), rel=1e-5)
        engine = OwnEngine(config, make_network(dense, 12, 2, seed=1), (12, 2), 10)
        np.testing.assert_allclose(engine.losses(windows, targets), by_hand, rtol=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_model_that_was_trained_before_is_not_trained_again(own, series):
    before = own.score(series).score
    with pytest.raises(ConfigError, match="`network` must return a new keras.Model at each call"):
        Detector(network=lambda window_size, n_features: own.network_, **SETTINGS).fit(series[:400])
    np.testing.assert_array_equal(own.score(series).score, before)
