"""What noise does to scores and flags, against adding it by hand."""

import time
from copy import copy
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from conftest import make_series

from anomaly import ConfigError
from anomaly.network.inference import Reconstructor
from anomaly.notebook.stability import measure_stability


def test_flips_and_changes_are_those_of_the_noisy_series(detector, series):
    found = measure_stability(detector, series, 0.1, repeats=1, seed=3)
    noise = 0.1 * detector.bundle_.scaler.scale * np.random.default_rng(3).normal(size=series.values.shape)
    clean, noisy = detector.score(series), detector.score(replace(series, values=series.values + noise))
    assert found.flip_rate == np.mean(clean.flags != noisy.flags)
    assert found.score_change == pytest.approx(np.median(np.abs(noisy.score / clean.score - 1)))


def test_a_network_that_takes_no_notice_has_the_unavoidable_part_and_no_more(detector, series):
    """With all kernels 0 the network says the same of every window."""
    deaf = copy(detector)
    still = {name: array if name == "output/bias" else 0 * array for name, array in detector.bundle_.weights.items()}
    network = Reconstructor(detector.bundle_.config.network, still, detector.window_size_, series.n_features)
    deaf._reconstruct = network
    found = measure_stability(deaf, series, 0.1, repeats=2)
    assert found.score_change > 0
    assert (found.unavoidable, found.unavoidable_flips) == (found.score_change, found.flip_rate)
    assert measure_stability(detector, series, 0.1, repeats=2).unavoidable != found.unavoidable


def test_a_network_that_answers_late_at_times_is_measured_as_one_that_does_not(detector):
    """Blocks of windows are run by several threads where many rows come at once, and their answers in any order."""
    series = make_series(n=3_000)
    expected = measure_stability(detector, series, 0.2, repeats=1)
    late, calls = copy(detector), count()

    def answer(windows):
        time.sleep(0.05 * (next(calls) % 2))
        return detector._reconstruct(windows)

    late._reconstruct = answer
    assert measure_stability(late, series, 0.2, repeats=1) == expected


def test_more_noise_changes_more(detector, series):
    changes = [measure_stability(detector, series, noise, repeats=2).score_change for noise in (0.01, 0.1, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] < 0.1 * changes[2]


def test_the_same_seed_is_the_same_noise(detector, series):
    assert measure_stability(detector, series, 0.1, seed=1) == measure_stability(detector, series, 0.1, seed=1)
    assert measure_stability(detector, series, 0.1, seed=1) != measure_stability(detector, series, 0.1, seed=2)


def test_rows_without_a_score_are_left_out(detector, series):
    values = series.values.copy()
    values[100, 0] = np.nan
    assert 0 <= measure_stability(detector, replace(series, values=values), 0.1).flip_rate <= 1


@pytest.mark.parametrize(("noise", "repeats"), [(0, 1), (-0.1, 1), (np.nan, 1), (np.inf, 1), (0.1, 0)])
def test_noise_and_repeats_must_be_positive(detector, series, noise, repeats):
    with pytest.raises(ConfigError, match="Noise must be above 0"):
        measure_stability(detector, series, noise, repeats=repeats)
