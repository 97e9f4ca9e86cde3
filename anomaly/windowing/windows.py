"""Series <-> windows, in both directions, and the choice of a window size.

A window of size 4 over rows 0..6, stride 2, and the rows that each one covers:

    rows      0 1 2 3 4 5 6
    window 0  x x x x
    window 1      x x x x
    window 2        x x x x      ends with the segment, so that row 6 is covered too
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.series import Bools, Float32s, Floats, Ints
from anomaly.windowing.peaks import detrended, fast_length, peaks_of, rounded_lines, without_spikes

# A window chosen is a multiple of WINDOW_UNIT rows, in this range where the series has room.
WINDOW_UNIT, SHORTEST_AUTO_WINDOW, LONGEST_AUTO_WINDOW = 64, 128, 512
WINDOWS_PER_EPOCH = 4_096
# A row lies in so many of the windows that are run, or in some more.
_WINDOWS_A_ROW = 16
_LONGEST_LAG = 2_000
_LEAST_CORRELATION = 0.2
# A peak of so many standard deviations is no chance: of red noise one series in twenty has such a one, at most one in eight; and
# what repeats three times, with a third of its variance as noise, has one.
_LEAST_DEVIATIONS = 2.5
# Times the highest peak: nearly as good; and enough to be a period of its own within a longer one.
NEARLY, _HALF = 0.8, 0.5
_STRONG_CORRELATION = 0.5
# A part of a period within a fiftieth, and as strong as the whole but for chance.
_NEAR, AS_STRONG = 0.02, 0.95
# What detrending leaves below this share of the largest value is rounding, not data.
_ROUNDING = 1e-12


def window_starts(n_timesteps: int, window_size: int, stride: int) -> Ints:
    """Return where windows start in a segment: 0, stride, 2 stride, ..., and one that ends with it.

    Args:
        n_timesteps: length of the segment.
        window_size: timesteps in a window.
        stride: timesteps between starts.

    Returns:
        `(n_windows,)` int64, ascending; empty if the segment is shorter than a window.
    """
    last = n_timesteps - window_size
    if last < 0:
        return np.empty(0, np.int64)
    starts = np.arange(0, last + 1, stride, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def stride_within(window_size: int, rows_a_step: int) -> int:
    """Return how many rows lie between windows that a row shares with others: the most up to a 16th of a window, at least 1.

    It has no common factor with the rows whose mean is one step of a window: else these means would always be of the same phase.

    Args:
        window_size: timesteps in a window.
        rows_a_step: rows that are read as one.
    """
    return next((k for k in range(window_size // _WINDOWS_A_ROW, 1, -1) if math.gcd(k, rows_a_step) == 1), 1)


def spread_starts(n_timesteps: int, window_size: int, stride: int, phase: int = 0) -> tuple[Ints, bool]:
    """Return which windows speak about the rows of a segment that they cover: every `stride`-th, and the last one.

    That the segment ends is known late: the last one, if it is not among the others, speaks about its rows from the second on.

    Args:
        n_timesteps: length of the segment, or of a part of it.
        window_size: timesteps in a window.
        stride: timesteps between starts.
        phase: rows of the segment before the first one.

    Returns:
        `(n_windows,)` int64, ascending, and whether the last one is such a late one.
    """
    starts = np.arange(-phase % stride, n_timesteps - window_size + 1, stride, dtype=np.int64)
    last = n_timesteps - window_size
    late = last >= 0 and (last + phase) % stride > 0
    return (np.append(starts, last) if late else starts), late


def starts_in(segments: Iterable[tuple[int, int]], window_size: int, stride: int) -> Ints:
    """Return the window starts of all segments, `(n_windows,)`, as rows of the series; no window spans two segments.

    Args:
        segments: first row, and row after the last one, of each.
        window_size: rows in a window; a shorter segment has none.
        stride: rows between two starts in a segment.
    """
    found = [start + window_starts(stop - start, window_size, stride) for start, stop in segments]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def make_windows(values: Float32s, starts: Ints, window_size: int) -> Float32s:
    """Copy windows out of a series.

    Args:
        values: `(n_timesteps, n_features)`.
        starts: `(n_windows,)` first rows.
        window_size: timesteps in a window.

    Returns:
        `(n_windows, window_size, n_features)`, contiguous.
    """
    view = sliding_window_view(values, window_size, axis=0)  # (n_timesteps - window_size + 1, n_features, window_size)
    if _one_after_the_other(starts):  # a slice copies nothing
        return np.ascontiguousarray(view[starts[0] : starts[-1] + 1].swapaxes(1, 2))
    return np.ascontiguousarray(view[starts].swapaxes(1, 2))


def add_up(total: Floats | Ints, starts: Ints, said: Floats | Bools) -> None:
    """Add what each window says about its rows onto the rows, in place; a row adds its windows up in the order of their starts.

    Args:
        total: `(n_timesteps, n_features)`; receives the sums.
        starts: `(n_windows,)` first rows, ascending, all different.
        said: `(n_windows, n_offsets, n_features)`: entry j is about row `start + j`.
    """
    n, n_offsets = said.shape[:2]
    if n < n_offsets:
        for start, values in zip(starts.tolist(), said, strict=True):
            total[start : start + n_offsets] += values
    else:
        for offset in reversed(range(n_offsets)):
            total[starts + offset] += said[:, offset]


def _one_after_the_other(starts: Ints) -> bool:
    return len(starts) > 0 and int(starts[-1] - starts[0]) == len(starts) - 1


def choose_window_size(values: Floats) -> int:
    """Choose a window size: two dominant periods, a multiple of 64 from 128 to 512; 128 if there is no period.

    Args:
        values: `(n_timesteps, n_features)`, one segment without NaN.
    """
    wanted = float(np.clip(2 * (dominant_period(values) or 0), SHORTEST_AUTO_WINDOW, LONGEST_AUTO_WINDOW))
    return WINDOW_UNIT * round(wanted / WINDOW_UNIT)


def dominant_period(values: Floats) -> int | None:
    """Return the shortest strong period: of the peaks of the autocorrelation, the first nearly as high as the highest.

    The autocorrelation is averaged over the features that vary after linear detrending and without single spikes. Lags up to a
    third of the series, at most 2,000, count; a peak below 0.2, or one that chance may have made, does not. "Nearly" is 0.8 of
    the height: a daily pattern counts as daily although its weekly peak is higher still.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.

    Returns:
        The period in timesteps, or None if no peak is high enough.
    """
    lags, heights = _peaks_beyond_chance(values, len(values) // 3)
    return int(lags[np.argmax(heights >= NEARLY * heights.max())]) if len(lags) else None


def strong_periods(values: Floats) -> list[tuple[int, float]]:
    """Return the shortest period that is half as strong as the strongest, and the strongest.

    Where working days and weekends differ, the day is the first and the week the second. A multiple of a period is nearly as
    strong as the period itself, by chance even stronger.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.

    Returns:
        Timesteps and height of the autocorrelation, ascending; one if both are the same, none where no peak reaches 0.5. Lags
        count up to two fifths of the series, and as for `dominant_period`.
    """
    lags, heights = _peaks_beyond_chance(values, 2 * len(values) // 5)
    if not len(lags) or heights.max() < _STRONG_CORRELATION:
        return []
    first, highest = int(np.argmax(heights >= _HALF * heights.max())), int(np.argmax(heights))
    return [(int(lags[i]), float(heights[i])) for i in sorted({first, highest})]


def clear_period(values: Floats, period: int, as_strong: float = AS_STRONG) -> tuple[int, float, float]:
    """Return the shortest part of a period that is about as strong, and how clearly it stands out.

    Of all multiples of a period the strongest is so by chance: one half, a third, ... of it nearly as strong is the period. And a
    period is one of its own only if the rows are less alike where it is out of step.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.
        period: one of `strong_periods`.
        as_strong: a part is about as strong with such a share of the height.

    Returns:
        Timesteps, height of the autocorrelation, and that height / the highest of the peaks that lie a quarter of the period or
        more away from its multiples; inf if there is none.
    """
    lags, heights, _ = _correlation_peaks(values, 2 * len(values) // 5)
    place = int(np.argmin(np.abs(lags - period)))
    for divisor in range(period // 4, 1, -1):
        near = np.abs(lags * divisor - period) <= max(_NEAR * period, divisor)
        parts = np.flatnonzero(near & (heights >= as_strong * heights[place]))
        if len(parts):
            place = int(parts[np.argmax(heights[parts])])
            break
    found, height = int(lags[place]), float(heights[place])
    others = heights[np.abs((lags + found / 2) % found - found / 2) >= found / 4]
    return found, height, height / float(others.max()) if len(others) else np.inf


def _peaks_beyond_chance(values: Floats, longest: int) -> tuple[Ints, Floats]:
    """Return lag and height of the peaks that are too high for a series of as long a memory that repeats nothing."""
    lags, heights, deviations = _correlation_peaks(values, longest)
    clear = heights >= _LEAST_DEVIATIONS * deviations
    return lags[clear], heights[clear]


def _correlation_peaks(values: Floats, longest: int) -> tuple[Ints, Floats, Floats]:
    """Return lag and height of the peaks of the mean autocorrelation, up to the longest lag, and how far chance alone goes.

    That is the standard deviation of the autocorrelation r at a lag that so many products tell of, of a series whose memory ends
    where r first falls to 0: sqrt((1 + 2 sum r^2) / products), Bartlett (1946), "On the theoretical specification and sampling
    properties of autocorrelated time-series".
    """
    none = np.empty(0, np.int64), np.empty(0), np.empty(0)
    longest = min(longest, _LONGEST_LAG)
    if longest < 4:
        return none
    varying = values[:, np.ptp(values, axis=0) > 0]
    if not varying.shape[1]:
        return none
    centred = detrended(without_spikes(detrended(varying)))  # a line is left of a feature that only has spikes
    told = np.abs(centred).max(axis=0) > _ROUNDING * np.abs(varying).max(axis=0)
    centred = centred[:, told & ~rounded_lines(varying)]
    if not centred.shape[1]:
        return none
    size = fast_length(2 * len(centred))
    power = np.abs(np.fft.rfft(centred, size, axis=0)) ** 2
    covariance = np.fft.irfft(power, size, axis=0)[: longest + 1]
    energy = covariance[0]
    if not (energy > 0).any():
        return none
    # Dividing by the number of products at each lag undoes the bias towards short lags.
    products = (len(centred) - np.arange(longest + 1))[:, None] / len(centred)
    correlation = (covariance[:, energy > 0] / energy[energy > 0] / products).mean(axis=1)
    peaks = peaks_of(correlation, _LEAST_CORRELATION, _LEAST_CORRELATION / 2)
    memory = correlation[1 : int(np.argmax(correlation <= 0)) or None]
    return peaks, correlation[peaks], np.sqrt((1 + 2 * np.square(memory).sum()) / (len(centred) - peaks))


def choose_stride(n_starts: int, window_size: int) -> int:
    """Choose the training stride: about 4,096 windows an epoch, and no row left out.

    Args:
        n_starts: number of windows at stride 1.
        window_size: the stride is at most this.
    """
    return int(min(max(1, n_starts // WINDOWS_PER_EPOCH), window_size))
