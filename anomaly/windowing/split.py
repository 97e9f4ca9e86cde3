"""Which rows train and which are held out; the window size and stride that fit them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly.config import DetectorConfig
from anomaly.errors import DataError, shorten
from anomaly.series import Float32s, Floats, Ints, TimeSeries, check_ascending, segments
from anomaly.windowing.missing import fill_missing, used_starts
from anomaly.windowing.windows import WINDOW_UNIT, choose_stride, choose_window_size, starts_in

Range = tuple[int, int]

# Larger values have no variance in float64.
LARGEST_VALUE = 1e100
# A window is chosen so that at most this share of the training rows lies in segments shorter than it.
MOST_LEFT_OUT = 0.2
# Of all series together in one pass of a shared training, and held out to see how far it is: each has at least one.
MOST_WINDOWS, MOST_HELD_OUT = 4_000_000, 4_096


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows and held-out rows of one series, cut in time order.

    Attributes:
        window_size: timesteps in a window, chosen or given.
        stride: timesteps between windows, chosen or given.
        cut: rows before it train, the others are held out; no window lies on both sides.
        train_starts: `(n_windows,)` first rows of the training windows.
        validation_starts: first rows of the held-out windows.
    """

    window_size: int
    stride: int
    cut: int
    train_starts: Ints
    validation_starts: Ints

    @classmethod
    def of(cls, series: TimeSeries, config: DetectorConfig, longest: int) -> "Split":
        """Cut the last `validation_fraction` off, then choose what is "auto".

        Args:
            series: the training series.
            config: all settings.
            longest: a longer time between two rows is a gap.

        Raises:
            DataError: if one of the two parts has no room for a window.
        """
        cut = len(series) - max(1, round(config.training.validation_fraction * len(series)))
        train = list(segments(series.times[:cut], longest))
        held_out = [(cut + a, cut + b) for a, b in segments(series.times[cut:], longest)]
        window_size = _window_size(config, series, train, held_out)
        stride, most = config.windows.stride, config.windows.max_missing
        if stride == "auto":
            stride = choose_stride(
                len(used_starts(series.values, starts_in(train, window_size, 1), window_size, most)), window_size
            )
        starts = [
            used_starts(series.values, starts_in(part, window_size, int(stride)), window_size, most) for part in (train, held_out)
        ]
        _check_starts(starts, window_size, series)
        return cls(window_size, int(stride), cut, *starts)


def _window_size(config: DetectorConfig, series: TimeSeries, train: list[Range], held_out: list[Range]) -> int:
    """Return the window size given, or the one chosen; refuse a series that has no room for it."""
    longest_train = max(train, key=lambda rows: rows[1] - rows[0], default=(0, 0))
    rooms = {"training": longest_train[1] - longest_train[0], "held-out": max((b - a for a, b in held_out), default=0)}
    wanted = config.windows.window_size
    smallest = min(rooms.values())
    chosen = wanted == "auto"
    size = _fitting(choose_window_size(_filled(series.values[slice(*longest_train)])), smallest, train) if chosen else int(wanted)
    if size > smallest or size < 2:
        part = min(rooms, key=lambda name: rooms[name])
        raise DataError(
            f"Both the training and the held-out rows must hold a stretch of `window_size` rows without a gap. "
            f"Received: window_size={wanted}, and at most {rooms[part]} such {part} rows of {len(series)} ({series.name}). "
            f"{'S' if chosen else 'Use a smaller --window-size or s'}upply a longer series."
        )
    return size


def _fitting(size: int, room: int, train: list[Range]) -> int:
    """Return the largest window that has room and leaves few rows out: multiples of 64 rows, or all the room below 64."""
    lengths = np.array([stop - start for start, stop in train])
    while size > WINDOW_UNIT and (size > room or lengths[lengths < size].sum() > MOST_LEFT_OUT * lengths.sum()):
        size -= WINDOW_UNIT
    return min(size, room)


def _filled(values: Floats) -> Floats:
    """Return values without a missing one, good enough to see a period in."""
    filled: Floats = fill_missing(values[None])[0]
    return filled


def _check_starts(starts: list[Ints], window_size: int, series: TimeSeries) -> None:
    for part, found in zip(("training", "held-out"), starts, strict=True):
        if not len(found):
            raise DataError(
                "Both the training and the held-out rows must hold a window with few missing values. Received: none of "
                f"{window_size} {part} rows ({series.name}). Use a smaller --window-size or a larger --max-missing, or leave "
                "columns out."
            )


def check_training_values(series: TimeSeries) -> None:
    """Refuse what no scaler can be fitted to, and times that do not go forward.

    Raises:
        DataError: if a value is infinite or its square would be, if a feature has no value at all, or if most
            times do not go forward.
    """
    check_ascending(series.times, series.time_column, series.name)
    too_large = np.argwhere(np.abs(series.values) > LARGEST_VALUE)
    if len(too_large):
        row, column = too_large[0]
        found = f"{series.values[row, column]} in column {series.columns[column]!r}, row {row}"
        raise DataError(
            f"Training values must be finite, and within {LARGEST_VALUE:g}. Received: {found} ({series.name}). "
            "Leave the cell empty if the value is missing."
        )
    empty = [series.columns[i] for i in np.flatnonzero(np.isnan(series.values).all(axis=0))]
    if empty:
        raise DataError(
            f"Every value column must hold numbers. Received: nothing but missing values in {shorten(empty)} ({series.name}). "
            "Leave it out with --value-columns."
        )


def check_fitted_rows(series: TimeSeries, n_training: int) -> None:
    """Refuse a feature of which no value lies in the rows that a scaler is fitted to.

    Args:
        series: the training series, without what counts as missing.
        n_training: its rows before this one train, the others are held out.

    Raises:
        DataError: if there is one.
    """
    empty = [series.columns[i] for i in np.flatnonzero(np.isnan(series.values[:n_training]).all(axis=0))]
    if empty:
        raise DataError(
            f"Every value column must hold numbers in the rows that train, the first {n_training:,} of {len(series):,}. Received: "
            f"nothing but missing values there in {shorten(empty)} ({series.name}). Leave it out with --value-columns, or supply "
            "a history in which it begins earlier."
        )


def pooled(splits: Sequence[Split], rows: Sequence[Float32s]) -> tuple[Split, Float32s]:
    """Return windows of several series for one network, the same number of each, and the rows that they are cut from.

    A pass takes from each series the median of the numbers that they have, so that the windows of a longer series are thinned
    out evenly and those of a shorter one come again.

    Args:
        splits: of the series, with windows of the same size.
        rows: of the same series, scaled, `(n_timesteps, n_features)`.
    """
    firsts = np.cumsum([0, *(len(found) for found in rows)])
    train = [first + found.train_starts for first, found in zip(firsts, splits, strict=False)]
    held_out = [first + found.validation_starts for first, found in zip(firsts, splits, strict=False)]
    starts = np.concatenate(alike(train, MOST_WINDOWS)), np.concatenate(alike(held_out, MOST_HELD_OUT))
    return Split(splits[0].window_size, splits[0].stride, 0, *starts), np.concatenate(rows)


def alike(starts: Sequence[Ints], most: int) -> list[Ints]:
    """Take the same number of windows from each series: the median of the numbers that there are.

    Args:
        starts: for each series the first rows of its windows, at least one.
        most: windows in all, as far as each series has one.

    Returns:
        For each series as many starts: evenly spread over those it has, or all of them again and again.
    """
    number = max(1, min(round(statistics.median(len(found) for found in starts)), most // len(starts)))
    return [
        found[np.arange(number) * len(found) // number if len(found) > number else np.arange(number) % len(found)]
        for found in starts
    ]
