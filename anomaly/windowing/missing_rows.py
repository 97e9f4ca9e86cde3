"""Rows that a regular series should have and has not: rows of missing values in their place.

A window counts rows. Where a few rows of a regular series are missing, it would otherwise have to end there, or to take
what lies five steps apart for neighbours. A longer gap ends a segment, and an irregular series has nothing to fill in.
"""

from dataclasses import replace

import numpy as np

from anomaly.series import Bools, Floats, Ints, TimeSeries


def missing_before(times: Ints, row_step: int, longest_step: int) -> Ints:
    """Return how many rows are missing before each row but the first, `(n - 1,)`.

    Args:
        times: `(n,)` as in `TimeSeries`.
        row_step: time between two rows of a regular series; 0 if it is irregular.
        longest_step: nothing is missing in a longer time, which is a gap.
    """
    steps = np.diff(times)
    if not row_step:
        return np.zeros(len(steps), np.int64)
    missing: Ints = np.where((steps > 0) & (steps <= longest_step), np.rint(steps / row_step).astype(np.int64) - 1, 0)
    return np.maximum(missing, 0)


def with_missing_rows(
    times: Ints, values: Floats, row_step: int, longest_step: int, before: int | None = None
) -> tuple[Ints, Floats, Bools]:
    """Put a row of NaN wherever a row is missing.

    Args:
        times: `(n,)` as in `TimeSeries`.
        values: `(n, n_features)`.
        row_step: as for `missing_before`.
        longest_step: as for `missing_before`.
        before: time of the row before; None if there is none.

    Returns:
        Times and values with the rows put in, and for each of them whether it was given; the same arrays if none is missing.
    """
    joined = times if before is None else np.append(before, times)
    missing = missing_before(joined, row_step, longest_step)
    if not missing.any():
        return times, values, np.ones(len(times), np.bool_)
    missing = missing if before is not None else np.append(0, missing)
    places = np.arange(len(times)) + np.cumsum(missing)
    given = np.zeros(places[-1] + 1, np.bool_)
    given[places] = True
    ahead = np.repeat(np.arange(len(times)), missing + 1)  # the given row that each row is or stands before
    last = ahead - (before is None)  # in `joined`, the given row behind which each row comes
    clock = np.where(given, times[ahead], joined[last] + row_step * (np.arange(len(given)) - np.append(-1, places)[ahead]))
    filled = np.full((len(given), values.shape[1]), np.nan)
    filled[places] = values
    return clock, filled, given


def fill_series(series: TimeSeries, row_step: int, longest_step: int) -> tuple[TimeSeries, Bools]:
    """Return a series with its missing rows and without its labels, and for each row whether it was given."""
    times, values, given = with_missing_rows(series.times, series.values, row_step, longest_step)
    return replace(series, times=times, values=values, labels=None), given
