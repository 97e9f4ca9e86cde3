"""Peaks, trends and lengths of transforms against scipy."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly.windowing.peaks import detrended, fast_length, peaks_of

LEVELS = arrays(np.float64, st.integers(0, 60), elements=st.integers(-4, 4).map(float))  # with level tops, and equal ones
CURVES = arrays(np.float64, st.integers(0, 60), elements=st.floats(-1, 1))


@given(LEVELS | CURVES, st.sampled_from([-9.0, 0.0, 0.2, 2.0]), st.sampled_from([0.0, 0.1, 1.0, 3.0]))
def test_peaks_are_those_that_scipy_finds(curve, height, prominence):
    expected, _ = scipy.signal.find_peaks(curve, height=height, prominence=prominence)
    assert peaks_of(curve, height, prominence).tolist() == expected.tolist()


def test_a_level_top_is_one_peak_and_an_end_is_none():
    assert peaks_of(np.array([5, 1, 3, 3, 3, 0, 2, 2, 9.0]), 0, 0).tolist() == [3]
    assert peaks_of(np.ones(9), 0, 0).tolist() == peaks_of(np.empty(0), 0, 0).tolist() == []


@given(st.integers(0, 10_000), st.integers(1, 90), st.sampled_from([1.0, 1e-9, 1e9]))
def test_a_trend_is_taken_off_as_scipy_takes_it(seed, n, scale):
    rng = np.random.default_rng(seed)
    values = scale * (rng.normal(size=(n, 3)) + rng.normal(size=3) * np.arange(n)[:, None] + 100)
    assert detrended(values) == pytest.approx(scipy.signal.detrend(values, axis=0), abs=1e-9 * scale * max(n, 10))


@given(st.integers(1, 100_000))
def test_a_fast_length_is_the_least_that_has_no_large_factor(n):
    assert fast_length(n) == scipy.fft.next_fast_len(n, real=True)
