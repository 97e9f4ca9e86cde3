"""Windows against loops, there and back; and the choices made from the data."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.windowing.windows import (
    LONGEST_AUTO_WINDOW,
    SHORTEST_AUTO_WINDOW,
    WINDOWS_PER_EPOCH,
    add_up,
    choose_stride,
    choose_window_size,
    dominant_period,
    make_windows,
    spread_starts,
    starts_in,
    stride_within,
    window_starts,
)

lengths = st.integers(0, 40)
sizes = st.integers(1, 12)


def wave(period, n=1200, noise=0.0, seed=0):
    return np.sin(2 * np.pi * np.arange(n) / period) + noise * np.random.default_rng(seed).normal(size=n)


def period_of(*features):
    return dominant_period(np.column_stack(features))


def spiked(values, seed, n_spikes=3):
    """Return values of which some single rows lie far away, up or down."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros(len(values))
    spikes[rng.choice(len(values), n_spikes, replace=False)] = rng.choice([-60, 60], n_spikes)
    return values + spikes


ROWS = np.arange(4_000)


@pytest.mark.parametrize(
    ("values", "period"),
    [
        (wave(96, 4_000, noise=0.3), 96),
        (wave(96, 4_000, noise=0.3) + 0.01 * ROWS, 96),
        (1.0 * (ROWS % 150 == 0) + 0.02 * np.random.default_rng(0).normal(size=4_000), 150),  # itself of single rows
        (np.random.default_rng(1).normal(size=4_000), None),
        (np.zeros(4_000), None),
        (0.01 * ROWS, None),
    ],
    ids=["wave", "wave and trend", "pulses", "noise", "nothing", "trend"],
)
def test_a_few_spikes_neither_make_a_period_nor_hide_one(values, period):
    found = [period_of(spiked(values, seed)) for seed in range(5)]
    assert found == [period and pytest.approx(period, abs=1)] * 5


def test_heavy_tails_make_no_period():
    noise = [np.exp(np.random.default_rng(seed).standard_t(1.5, 3_000).clip(-9, 9)) for seed in range(10)]
    assert sum(period_of(values) is not None for values in noise) <= 1


def test_a_feature_that_only_has_spikes_hides_no_period_of_another():
    assert [period_of(spiked(np.zeros(4_000), seed), wave(63, 4_000, noise=0.3)) for seed in range(5)] == [63] * 5


@given(lengths, sizes, sizes)
def test_window_starts_agree_with_the_slow_twin(n_timesteps, window_size, stride):
    assert window_starts(n_timesteps, window_size, stride).tolist() == naive.window_starts(n_timesteps, window_size, stride)


def test_the_last_window_ends_with_the_segment():
    assert window_starts(7, 4, 2).tolist() == [0, 2, 3]


def test_a_segment_shorter_than_a_window_has_none():
    starts = window_starts(3, 4, 1)
    assert starts.shape == (0,)
    assert starts.dtype == np.int64


@given(st.lists(st.tuples(st.integers(0, 3), lengths), max_size=5), sizes, sizes)
def test_starts_in_segments_agree_with_the_slow_twin(pieces, window_size, stride):
    segments, row = [], 0
    for gap, length in pieces:
        segments.append((row + gap, row + gap + length))
        row += gap + length
    expected = [first + start for first, stop in segments for start in naive.window_starts(stop - first, window_size, stride)]
    assert starts_in(segments, window_size, stride).tolist() == expected


@pytest.mark.parametrize(
    ("window_size", "rows_a_step", "stride"),
    [(2, 1, 1), (31, 1, 1), (32, 1, 2), (48, 1, 3), (64, 1, 4), (64, 2, 3), (128, 2, 7), (192, 3, 11), (512, 8, 31), (512, 30, 31)],
)
def test_windows_that_share_rows_lie_a_16th_apart_and_in_all_phases(window_size, rows_a_step, stride):
    assert stride_within(window_size, rows_a_step) == stride


@given(lengths, sizes, sizes, st.integers(0, 30))
def test_windows_of_a_segment_are_those_of_its_parts_but_for_the_last(n_timesteps, window_size, stride, phase):
    starts, late = spread_starts(n_timesteps, window_size, stride, phase)
    regular = [start for start in range(n_timesteps - window_size + 1) if (start + phase) % stride == 0]
    last = n_timesteps - window_size
    assert late == (last >= 0 and last not in regular)
    assert starts.tolist() == regular + [last] * late


@given(st.integers(1, 40), sizes, sizes)
def test_no_window_spans_two_segments(length, window_size, stride):
    segments = [(0, length), (length, 2 * length)]
    for start in starts_in(segments, window_size, stride):
        assert any(first <= start and start + window_size <= stop for first, stop in segments)


def test_starts_in_no_segments_are_none():
    assert starts_in([], 4, 1).shape == (0,)


@given(st.integers(12, 40), sizes, sizes, st.integers(1, 3))
def test_make_windows_agrees_with_the_slow_twin(n_timesteps, window_size, stride, n_features):
    values = np.arange(n_timesteps * n_features, dtype=np.float32).reshape(n_timesteps, n_features)
    starts = window_starts(n_timesteps, window_size, stride)
    assert make_windows(values, starts, window_size).tolist() == naive.windows(values, starts, window_size)


def test_windows_are_contiguous_float32_copies():
    values = np.zeros((10, 2), np.float32)
    made = make_windows(values, np.array([0, 3]), 4)
    assert made.flags.c_contiguous
    assert made.dtype == np.float32
    assert not np.shares_memory(made, values)


def test_windows_may_be_asked_for_in_any_order():
    values = np.arange(6, dtype=np.float32)[:, None]
    assert make_windows(values, np.array([3, 0, 3]), 2)[:, :, 0].tolist() == [[3, 4], [0, 1], [3, 4]]


@given(st.integers(1, 40), sizes, sizes, st.integers(1, 3))
def test_the_overlap_mean_of_exact_windows_gives_the_series_back(n_timesteps, window_size, stride, n_features):
    values = np.random.default_rng(n_timesteps).normal(size=(n_timesteps, n_features))
    window_size = min(window_size, n_timesteps)
    starts = window_starts(n_timesteps, window_size, min(stride, window_size))
    total, count = np.zeros_like(values), np.zeros(values.shape, np.int64)
    windows = make_windows(values, starts, window_size)
    add_up(total, starts, windows)
    add_up(count, starts, np.isfinite(windows))
    np.testing.assert_allclose(total / count, values, rtol=1e-12)


@given(st.integers(1, 40), sizes, sizes, st.sampled_from([0, 0.3]))
def test_what_is_added_up_agrees_with_the_slow_twin(n_timesteps, window_size, stride, missing):
    window_size = min(window_size, n_timesteps)
    starts = window_starts(n_timesteps, window_size, stride)
    errors = np.random.default_rng(stride).normal(size=(len(starts), window_size, 2))
    errors[np.random.default_rng(stride).random(errors.shape) < missing] = np.nan
    total, count = np.zeros((n_timesteps, 2)), np.zeros((n_timesteps, 2), np.int64)
    add_up(total, starts, np.nan_to_num(errors))
    add_up(count, starts, ~np.isnan(errors))
    mean = np.full_like(total, np.nan)
    mean[count > 0] = total[count > 0] / count[count > 0]
    np.testing.assert_allclose(mean, naive.overlap_mean(n_timesteps, starts, errors), rtol=1e-12)


def test_windows_are_added_onto_what_is_there():
    total = np.ones((3, 1))
    add_up(total, np.array([1]), np.full((1, 2, 1), 5.0))
    assert total[:, 0].tolist() == [1, 6, 6]


@pytest.mark.parametrize("period", [5, 12, 24, 50, 144, 288])
def test_the_period_of_a_sine_is_found(period):
    assert period_of(wave(period)) == period


@pytest.mark.parametrize("seed", range(5))
def test_the_period_of_a_noisy_sine_is_found_within_one_step(seed):
    assert period_of(wave(24, noise=0.5, seed=seed)) == pytest.approx(24, abs=1)


def test_a_daily_period_wins_over_a_higher_weekly_one():
    daily, weekly = wave(24, n=2400, noise=0.1), wave(168, n=2400)
    assert period_of(daily + 0.5 * weekly) == 24


def test_a_strong_weekly_period_wins_over_a_faint_daily_one():
    assert period_of(0.1 * wave(24, n=2400) + wave(168, n=2400)) == pytest.approx(168, abs=1)


def test_the_period_is_found_below_a_trend():
    assert period_of(wave(24) + 0.1 * np.arange(1200)) == 24


def test_the_period_is_found_beside_constant_and_linear_features():
    assert period_of(np.full(1200, 3.0), wave(24), np.arange(1200) * 0.37) == 24


def test_the_period_does_not_depend_on_unit_and_offset():
    assert period_of(1e-3 * wave(24) + 1e6) == 24


def test_noise_has_no_period():
    assert period_of(np.random.default_rng(3).normal(size=1200)) is None


@pytest.mark.parametrize("memory", [0.5, 0.97, 0.99, 1.0])
def test_red_noise_seldom_has_a_period(memory):
    found = 0
    for seed in range(20):
        shocks, values = np.random.default_rng(seed).normal(size=2_000), np.zeros(2_000)
        for row in range(1, 2_000):
            values[row] = memory * values[row - 1] + shocks[row]
        found += period_of(values) is not None
    assert found <= 3


@pytest.mark.parametrize("n_periods", [3.5, 4, 7, 30])
@pytest.mark.parametrize("shape", ["sine", "pulse", "saw"])
def test_what_was_seen_a_few_times_is_a_period_still(n_periods, shape):
    rows = np.arange(int(96 * n_periods))
    clean = {"sine": 1.4 * np.sin(2 * np.pi * rows / 96), "pulse": 3.0 * (rows % 96 < 10), "saw": 3.4 * (rows % 96) / 96}[shape]
    found = [period_of(clean + 0.5 * np.random.default_rng(seed).normal(size=len(rows))) for seed in range(5)]
    assert found == pytest.approx([96] * 5, abs=8)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e9])
def test_a_constant_has_no_period(constant):
    assert period_of(np.full(300, constant)) is None


@pytest.mark.parametrize("n", [50, 333, 1000])
@pytest.mark.parametrize("slope", [0.1, 1 / 3, -7.7, 1e5, 1e-9])
@pytest.mark.parametrize("offset", [0.0, 12345.678, 1e9])
def test_the_rounding_of_a_trend_has_no_period(n, slope, offset):
    assert period_of(np.arange(n) * slope + offset) is None


CLOCKS = {
    "hours every ten minutes": (ROWS / 6).round(1),
    "days": ROWS // 144,
    "a battery that drains": (100 - 0.005 * ROWS).round(1),
    "whole per cent": (100 - 0.005 * ROWS).round(),
    "a steady meter": (0.37 * ROWS).round() + 1e6,
    "milliseconds of seconds": (600.0049 * ROWS).round(2),
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_what_is_rounded_of_a_clock_has_no_period_and_hides_none(clock):
    assert period_of(clock) is None and period_of(clock, -1e-4 * clock) is None
    assert period_of(clock, wave(144, 4_000, noise=0.2)) == pytest.approx(144, abs=2)


@pytest.mark.parametrize(
    ("values", "period"),
    [
        (np.cumsum(1 + np.sin(2 * np.pi * ROWS / 96)).round(), 96),  # a meter that runs by day
        (np.cumsum(ROWS % 40 < 6), 40),
        (ROWS % 3, 3),
        (ROWS % 2 + 0.25 * ROWS, 2),
        (100 - (ROWS % 50), 50),
    ],
    ids=["meter", "strokes", "three levels", "to and fro on a trend", "refilled"],
)
def test_what_repeats_on_its_way_has_its_period_still(values, period):
    assert period_of(1.0 * values) == pytest.approx(period, abs=1)


@pytest.mark.parametrize("n", [0, 1, 11])
def test_a_series_that_is_too_short_has_no_period(n):
    assert period_of(wave(3, n=n)) is None


def test_a_period_longer_than_a_third_of_the_series_does_not_count():
    assert period_of(wave(100, n=250)) is None


@pytest.mark.parametrize(("period", "size"), [(96, 192), (120, 256), (77, 128), (83, 192)])
def test_the_window_size_is_two_periods_to_the_next_multiple_of_64(period, size):
    assert choose_window_size(wave(period)[:, None]) == size


@pytest.mark.parametrize(("period", "size"), [(8, SHORTEST_AUTO_WINDOW), (300, LONGEST_AUTO_WINDOW)])
def test_the_window_size_stays_within_its_bounds(period, size):
    assert choose_window_size(wave(period)[:, None]) == size


def test_the_window_size_is_the_shortest_without_a_period():
    assert choose_window_size(np.zeros((300, 1))) == SHORTEST_AUTO_WINDOW == 128


@pytest.mark.parametrize(
    ("n_starts", "stride"), [(0, 1), (1, 1), (WINDOWS_PER_EPOCH, 1), (2 * WINDOWS_PER_EPOCH, 2), (10 * WINDOWS_PER_EPOCH + 5, 10)]
)
def test_the_stride_gives_about_an_epoch_of_windows(n_starts, stride):
    assert choose_stride(n_starts, 64) == stride


def test_the_stride_leaves_no_row_between_windows():
    assert choose_stride(10**9, 64) == 64
