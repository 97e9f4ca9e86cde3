"""What is read and not judged has no error in a training: the loss, its gradients, what falls silent."""

import numpy as np
import pytest
from closeness import assert_close
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import DetectorConfig, NetworkConfig
from anomaly.network.model import build_autoencoder, get_weights, set_weights
from anomaly.tensorflow_start import load_tensorflow
from anomaly.training.gradients import first_order, plain_gradients
from anomaly.training.loop import WindowBatches, fit_autoencoder, read_and_compared
from anomaly.windowing.missing import fill_missing, mask_windows
from anomaly.windowing.windows import make_windows

tf = load_tensorflow()

JUDGED, INPUTS, WINDOW = 2, 5, 6


def made_windows(seed, n=7):
    rng = np.random.default_rng(seed)
    windows = rng.normal(size=(n, WINDOW, INPUTS)).astype(np.float32)
    windows[rng.random(windows.shape) < 0.1] = np.nan
    return windows


@given(st.integers(0, 1_000))
def test_all_is_read_and_the_first_alone_are_compared(seed):
    windows = made_windows(seed)
    read, compared = read_and_compared(windows, 0.3, JUDGED)
    np.testing.assert_array_equal(read, fill_missing(windows))
    np.testing.assert_array_equal(compared[:, :, :JUDGED], mask_windows(windows[:, :, :JUDGED], 0.3)[0])
    assert np.isnan(compared[:, :, JUDGED:]).all()


def test_loss_and_gradients_are_those_of_the_mean_over_what_is_judged():
    config = NetworkConfig(units=3)
    network = build_autoencoder(config, WINDOW, INPUTS, seed=1)
    weights = {name: tf.constant(array) for name, array in get_weights(network).items()}
    read, compared = read_and_compared(made_windows(3), 0.5, JUDGED)
    found = plain_gradients(lambda *given: first_order(config, *given), weights, tf.constant(read), tf.constant(compared), None)

    def loss(**changed):
        set_weights(network, {name: changed.get(name.replace("/", "_"), array.numpy()) for name, array in weights.items()})
        errors = np.square(network(read).numpy().astype(np.float64)[:, :, :JUDGED] - compared[:, :, :JUDGED])
        return np.mean([np.nanmean(of_window) for of_window in errors])

    assert float(found.reconstruction_loss) == pytest.approx(loss(), rel=1e-6)
    rng = np.random.default_rng(0)
    for name, array in weights.items():
        towards = rng.normal(size=array.shape).astype(np.float32) * 0.03
        ends = [loss(**{name.replace("/", "_"): array.numpy() + sign * towards}) for sign in (1, -1)]
        slope = (np.array(found.by_weight[name]) * towards).sum()
        assert_close((ends[0] - ends[1]) / 2, slope, 0.02, size=max(abs(slope), 1e-3), name=name)
    assert not np.array(found.by_weight["output/bias"])[JUDGED:].any()
    assert not np.array(found.by_weight["output/kernel"])[:, JUDGED:].any()


def test_what_falls_silent_is_judged_and_falls_silent_as_without_context():
    values = np.random.default_rng(0).normal(size=(80, INPUTS)).astype(np.float32)
    alone, beside = (
        WindowBatches(part, np.arange(60), WINDOW, 0.2, 30, 4, silent=1.0, n_judged=JUDGED) for part in (values[:, :JUDGED], values)
    )
    read, compared = beside.take(0)
    expected_read, expected_compared = alone.take(0)
    starts = beside.starts_of(0)
    for batches in (alone, beside):
        batches.close()
    assert np.isnan(expected_compared).any()
    np.testing.assert_array_equal(read[:, :, :JUDGED], expected_read)
    np.testing.assert_array_equal(compared[:, :, :JUDGED], expected_compared)
    np.testing.assert_array_equal(read[:, :, JUDGED:], make_windows(values, starts, WINDOW)[:, :, JUDGED:])


def test_batches_and_epochs_are_those_of_as_many_features_as_are_judged():
    """One feature of three columns and a calendar is one feature."""
    settings = {"units": 2, "steps_per_epoch": 1, "penalty": "none", "context_columns": ("a", "b"), "calendar": "day"}
    config, seen = DetectorConfig.from_settings(settings), []
    values = np.random.default_rng(0).normal(size=(200, INPUTS)).astype(np.float32)
    values[:50, 0] = np.nan
    weights = get_weights(build_autoencoder(config.network, WINDOW, INPUTS, seed=0))
    starts = np.arange(100), np.arange(120, 190)
    fit_autoencoder(config, weights, values, *starts, window_size=WINDOW, seed=0, on_step=seen.append)
    assert (seen[0].n_features, seen[0].epochs, seen[0].n_rows) == (1, 24, 150)
    assert "of 32 windows" in seen[0].plan or "of 16 windows" in seen[0].plan
