"""What all watches have in common: they see rows one after the other, and say how far off values are whatever their errors."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from anomaly.series import Float32s, Floats


class Watch(Protocol):
    """Sees the rows of a segment from its first one on, in any pieces."""

    def push(self, rows: Float32s) -> Floats:
        """Return how far off each value of further rows is at least, in what a feature must exceed to be odd; 0 where it is not.

        Args:
            rows: `(n, n_features)`, scaled; NaN = missing.

        Returns:
            `(n, n_features)`, not negative; infinite is as far as counts.
        """


def heights_of(watches: Sequence[Watch], rows: Float32s) -> Floats:
    """Return the largest that some watches say of further rows, `(n, n_features)`; arguments as for `Watch.push`."""
    found = np.zeros(rows.shape)
    for watch in watches:
        np.maximum(found, watch.push(rows), out=found)
    return found
