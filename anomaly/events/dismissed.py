"""Events that somebody has called normal, and how far another event is from them.

Of such an event its signature is kept: which features drove it, in which direction and how far they deviated, how long it
was, and where in it its peak lay. Another event is so far from it as the largest of

    features    half of the sum of the differences of their shares, in quarters
    height      log2 of the ratio of the norms of the mean deviations
    length      log2 of the ratio of the numbers of rows
    peak        difference of the places of the peaks, 0 at the first row and 1 at the last, in halves

and infinitely far where a feature with a fifth of the shares deviates in the other direction. So within a distance of 1 an
event has three quarters of its shares in common, is no more than twice and no less than half as high and as long, and has its
peak in the same half. How large a score is plays no part: thresholds move.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anomaly.series import Floats

# A feature with so large a share decides the direction.
MAIN_SHARE = 0.2
# What counts as a distance of 1, of shares and of places of the peak.
_SHARES, _PLACES = 0.25, 0.5
# Far above any deviation; far below any that can be told from rounding.
_LEAST_HEIGHT = 1e-12


class EventLike(Protocol):
    """What is looked at of an event (`anomaly.events.event`)."""

    @property
    def start(self) -> int:
        """Position of the first row."""

    @property
    def stop(self) -> int:
        """Position after the last row."""

    @property
    def peak(self) -> int:
        """Position of the highest score."""

    @property
    def shares(self) -> tuple[tuple[str, float], ...]:
        """Feature and share."""

    @property
    def deviations(self) -> tuple[float, ...]:
        """Mean deviation of each feature, in the order of the shares."""


@dataclass(frozen=True, eq=False)
class Signatures:
    """What is kept of events that are dismissed.

    Attributes:
        columns: names of the features.
        shares: `(k, n_features)`, not negative; those of an event sum to 1.
        deviations: `(k, n_features)`, training sigmas.
        shape: `(k, 2)`: rows from the first to the last, and the place of the peak, 0 to 1.
        reach: `(k,)`, not negative: an event at most so far away is not raised.
    """

    columns: tuple[str, ...]
    shares: Floats
    deviations: Floats
    shape: Floats
    reach: Floats

    @classmethod
    def of(cls, columns: tuple[str, ...], events: "list[EventLike]", reach: float) -> "Signatures":
        """Return the signatures of events, with one reach for all of them."""
        parts = [_parts_of(columns, event) for event in events]
        width = len(columns)
        return cls(
            columns,
            np.array([shares for shares, _, _ in parts]).reshape(-1, width),
            np.array([deviations for _, deviations, _ in parts]).reshape(-1, width),
            np.array([shape for _, _, shape in parts], np.float64).reshape(-1, 2),
            np.full(len(parts), float(reach)),
        )

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.reach)

    def distances(self, event: EventLike) -> Floats:
        """Return how far an event is from each, `(k,)`, as the module says; inf where it points the other way."""
        shares, deviations, (length, place) = _parts_of(self.columns, event)
        main = np.maximum(self.shares, shares) >= MAIN_SHARE
        against = (main & (self.deviations * deviations < 0)).any(axis=1)
        heights = np.maximum(np.linalg.norm(self.deviations, axis=1), _LEAST_HEIGHT)
        height = max(float(np.linalg.norm(deviations)), _LEAST_HEIGHT)
        parts = [
            np.abs(self.shares - shares).sum(axis=1) / 2 / _SHARES,
            np.abs(np.log2(height / heights)),
            np.abs(np.log2(length / self.shape[:, 0])),
            np.abs(place - self.shape[:, 1]) / _PLACES,
        ]
        found: Floats = np.where(against, np.inf, np.max(parts, axis=0))
        return found

    def hold(self, event: EventLike) -> bool:
        """Tell whether an event is within the reach of one of them."""
        return bool((self.distances(event) <= self.reach).any())


def _parts_of(columns: tuple[str, ...], event: EventLike) -> tuple[Floats, Floats, tuple[float, float]]:
    """Return shares and deviations in the order of the columns, and length and place of the peak."""
    shares, pairs = dict(event.shares), zip(event.shares, event.deviations, strict=True)
    deviations = {name: deviation for (name, _), deviation in pairs}
    length = event.stop - event.start
    place = (event.peak - event.start) / (length - 1) if length > 1 else 0.5
    order = [np.array([found[name] for name in columns]) for found in (shares, deviations)]
    return order[0], order[1], (float(length), place)
