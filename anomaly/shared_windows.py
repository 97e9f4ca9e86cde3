"""The windows of several series, for one network: each series counts alike.

A pass takes the same number of windows from each, the median of the numbers that they have, so that those of a longer series
are thinned out evenly and those of a shorter one come again.
"""

import statistics
from collections.abc import Sequence

import numpy as np

from anomaly.fitting import Ready
from anomaly.series import Float32s, Ints
from anomaly.split import Split

# Of all series together in one pass of a shared training, and held out to see how far it is: each has at least one.
MOST_WINDOWS, MOST_HELD_OUT = 4_000_000, 4_096


def pooled(ready: Sequence[Ready]) -> tuple[Split, Float32s]:
    """Return windows of all series, the same number of each, and the rows that they are cut from.

    Args:
        ready: the series, with windows of the same size.
    """
    firsts = np.cumsum([0, *(len(found.scaled) for found in ready)])
    train = [first + found.split.train_starts for first, found in zip(firsts, ready, strict=False)]
    held_out = [first + found.split.validation_starts for first, found in zip(firsts, ready, strict=False)]
    split = ready[0].split
    starts = np.concatenate(alike(train, MOST_WINDOWS)), np.concatenate(alike(held_out, MOST_HELD_OUT))
    return Split(split.window_size, split.stride, 0, *starts), np.concatenate([found.scaled for found in ready])


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
