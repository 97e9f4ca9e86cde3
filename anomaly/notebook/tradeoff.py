"""What a cut gives and what it costs on a scored series: the numbers behind a slider."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from anomaly.errors import ConfigError
from anomaly.evaluation.metrics import event_scores
from anomaly.events.finder import find_events
from anomaly.scoring.scores import SMALLEST_THRESHOLD, Scores
from anomaly.series import Floats
from anomaly.thresholds.calibration import Calibration, expected_alarms
from anomaly.words import counted

Range = tuple[int, int]
_MOST_CUTS = 300


@dataclass(frozen=True)
class Outcome:
    """What one cut does.

    Attributes:
        threshold: the cut.
        n_flagged: rows with a score above it.
        events: half-open row ranges of the events, those that `Detector.detect` finds.
        n_alarms: how many they are.
        expected: alarms to be expected in 1,000 normal rows, from the calibration scores.
        n_known: known events; None without labels.
        n_hit: known events that an event touches; None without labels.
        n_false: events that touch no known one; None without labels.
        precision: share of the events that touch a known one; NaN without events, None without labels.
        recall: share of the known events that are touched; None without labels.
    """

    threshold: float
    n_flagged: int
    events: list[Range]
    n_alarms: int
    expected: float
    n_known: int | None = None
    n_hit: int | None = None
    n_false: int | None = None
    precision: float | None = None
    recall: float | None = None

    def __repr__(self) -> str:
        """Say in a line what the cut does, without the rows of the events."""
        words = [
            f"threshold {self.threshold:.4g}",
            f"{counted(self.n_flagged, 'row')} flagged",
            counted(self.n_alarms, "alarm"),
            f"expect {self.expected:.3g} in 1,000 normal rows",
        ]
        if self.precision is not None:
            found = f"{self.n_hit} of {counted(self.n_known or 0, 'known event')} found, {self.n_false} of the alarms false"
            words.append(f"{found} (precision {self.precision:.2f}, recall {self.recall:.2f})")
        return f"Outcome: {', '.join(words)}"


class Tradeoff:
    """Try cuts on a scored series; the series is scored once, and nothing is trained.

    Args:
        scores: the scores of the series.
        calibration: the detector's scores of its training rows, of the same aggregation, and its event rules.
        known: half-open row ranges of the known events; None if they are not known.

    Attributes:
        cuts: `(m,)` ascending, at most 300, over the range where a cut makes a difference.
    """

    def __init__(self, scores: Scores, calibration: Calibration, known: list[Range] | None = None) -> None:
        self._calibration, self._known, self._scores = calibration, known, scores
        self._sorted = np.sort(scores.score[np.isfinite(scores.score)])
        highest = max(float(self._sorted[-1]), 2 * scores.threshold)
        lowest = min(max(float(np.median(self._sorted)), 1e-3 * scores.threshold), scores.threshold / 2)
        lowest = max(lowest, SMALLEST_THRESHOLD)
        # Above the highest score, and still so after a slider has taken its logarithm and gone back.
        self.cuts: Floats = np.geomspace(lowest, highest * (1 + 1e-9), _MOST_CUTS)

    def at(self, cut: float) -> Outcome:
        """Return what a cut does."""
        events = [(event.start, event.stop) for event in find_events(self._scores.at(cut), self._calibration.rules)]
        outcome = Outcome(
            threshold=float(cut),
            n_flagged=int(len(self._sorted) - np.searchsorted(self._sorted, cut, "right")),
            events=events,
            n_alarms=len(events),
            expected=expected_alarms(self._calibration, cut),
        )
        if self._known is None:
            return outcome
        found = event_scores(events, self._known)
        return replace(
            outcome,
            n_known=found.n_known,
            n_hit=found.n_hit,
            n_false=found.n_false,
            precision=found.precision,
            recall=found.recall,
        )

    @cached_property
    def _outcomes(self) -> list[Outcome]:
        """What each of `cuts` does, found once: some seconds for ten thousand rows."""
        return [self.at(cut) for cut in self.cuts.tolist()]

    def alarms(self) -> Any:
        """Return the number of alarms at each of `cuts`, `(m,)`, as `at` counts them."""
        return np.array([one.n_alarms for one in self._outcomes])

    def costs(self, per_alarm: float, per_miss: float) -> Floats:
        """Return what each of `cuts` would have cost on this series, `(m,)`.

        Args:
            per_alarm: cost of looking into one alarm, at least 0.
            per_miss: cost of one known event that no alarm touches, at least 0.

        Raises:
            ConfigError: if a cost is negative, or the known events are not known.
        """
        if not (per_alarm >= 0 and per_miss >= 0):
            raise ConfigError(f"Costs must be at least 0. Received: {per_alarm:g} an alarm, {per_miss:g} a missed event.")
        if self._known is None:
            raise ConfigError("Costs need the known events. Received: a series without labels. Read it with a label column.")
        costs = [per_alarm * one.n_alarms + per_miss * ((one.n_known or 0) - (one.n_hit or 0)) for one in self._outcomes]
        return np.array(costs, np.float64)

    def cheapest(self, per_alarm: float, per_miss: float) -> float:
        """Return the cut that would have cost least; of equally cheap ones the highest. Args and errors as `costs`."""
        costs = self.costs(per_alarm, per_miss)
        return float(self.cuts[np.flatnonzero(costs == costs.min())[-1]])
