"""Peaks of a curve, as `scipy.signal` finds them, without its half a second of import before every training."""

import numpy as np

from anomaly.series import Bools, Floats, Ints

# Values count as far as the stretches of a series go, so many, but for a quarter of them: what comes again and again is in more.
_STRETCHES, _STAY_WITHIN = 16, 0.75
# A line that was rounded has so many steps at least: fewer may be levels.
_FEWEST_STEPS = 16


def detrended(values: Floats) -> Floats:
    """Return values less the straight line through each column that fits best.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.
    """
    rows = np.arange(len(values)) - (len(values) - 1) / 2
    centred = values - values.mean(axis=0)
    energy = float(rows @ rows)
    slopes = rows @ centred / energy if energy else np.zeros(values.shape[1])
    line: Floats = centred - rows[:, None] * slopes
    return line


def without_spikes(values: Floats) -> Floats:
    """Return values cut where a quarter of sixteen stretches go farther, up and down.

    Few rows that lie far away would else make up nearly all of an autocorrelation, at the lags that lie between them by chance.

    Args:
        values: `(n_timesteps, n_features)`, without NaN.
    """
    starts = np.arange(0, len(values), max(1, -(-len(values) // _STRETCHES)))
    highest = np.quantile(np.maximum.reduceat(values, starts), _STAY_WITHIN, axis=0)
    lowest = np.quantile(np.minimum.reduceat(values, starts), 1 - _STAY_WITHIN, axis=0)
    return np.clip(values, lowest, highest)


def rounded_lines(values: Floats) -> Bools:
    """Tell which columns go one way along a straight line, and never a step away from it: a clock, or a count, and its rounding.

    Hours of operation to one decimal, every ten minutes, go up by 0.2, 0.1 and 0.2: that comes every three rows, and is no rhythm.

    Args:
        values: `(n_timesteps, n_features)`, without NaN, n at least 1.

    Returns:
        `(n_features,)`.
    """
    steps = np.diff(values, axis=0)
    one_way = (steps >= 0).all(axis=0) | (steps <= 0).all(axis=0)
    found: Bools = one_way & (np.count_nonzero(steps, axis=0) >= _FEWEST_STEPS)
    for place in np.flatnonzero(found):
        size = np.median(np.abs(steps[steps[:, place] != 0, place]))
        found[place] = np.abs(detrended(values[:, [place]])).max() <= size
    return found


def peaks_of(curve: Floats, height: float, prominence: float) -> Ints:
    """Return where a curve is higher than on both sides, `(n_peaks,)` ascending; of a level top its middle.

    Args:
        curve: `(n,)`, without NaN.
        height: least height of a peak.
        prominence: least height above the higher of the two deepest points between the peak and whatever is higher on its left
            and on its right, or the end.
    """
    tops = _tops(curve)
    tops = tops[curve[tops] >= height]
    kept = [top for top in tops.tolist() if curve[top] - max(_deepest(curve[top::-1]), _deepest(curve[top:])) >= prominence]
    return np.array(kept, np.int64)


def _tops(curve: Floats) -> Ints:
    """Return the middle of each level stretch that falls off on both sides."""
    edges = np.flatnonzero(np.diff(curve))  # the last rows of level stretches
    if len(edges) < 2:
        return np.empty(0, np.int64)
    rises: Bools = np.diff(curve)[edges] > 0
    falls_next = rises[:-1] & ~rises[1:]
    middles: Ints = (edges[:-1][falls_next] + 1 + edges[1:][falls_next]) // 2
    return middles


def _deepest(curve: Floats) -> float:
    """Return the least value before the first that is higher than where the curve begins."""
    higher = np.flatnonzero(curve > curve[0])
    return float(curve[: higher[0] if len(higher) else len(curve)].min())


def fast_length(n: int) -> int:
    """Return the least length from `n` on that has no prime factor above 5: such Fourier transforms are fast."""
    best = 1 << max(n - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = three << max(-(-n // three) - 1, 0).bit_length()
            best, three = min(best, two), three * 3
        five *= 5
    return best
