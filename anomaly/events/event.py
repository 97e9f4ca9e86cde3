"""One stretch of anomalous rows, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple

from anomaly.series import format_time
from anomaly.words import number_beside, pair_text, span_text

# Features with a smaller share of the scores are not named, but for the first.
_SHARE_TO_NAME, _MOST_NAMED = 0.2, 3


@dataclass(frozen=True)
class Event:
    """One stretch of anomalous rows.

    Attributes:
        start: position of the first row.
        stop: position after the last row.
        first_time: time of the first row, as in `TimeSeries.times`.
        last_time: time of the last row.
        peak: position of the highest score.
        peak_time: its time.
        peak_score: the highest score.
        severity: peak_score / threshold; above 1 by definition.
        n_flagged: flagged rows; fewer than `stop - start` if short gaps were merged.
        shares: (feature, share) from the largest down: the part of each feature in the scores of the flagged
            rows; they sum to 1.
        deviations: for each feature, in the order of `shares`, the mean over the flagged rows with a value of measured less
            expected, in training sigmas, 0 without one: positive where the event lies above what was expected.
        measured: for each feature, in the same order, its value in the row where it is furthest off in the direction of its mean
            deviation, in the unit of the column; None where it is missing or infinite. Empty where values are not known.
        expected: of the same, what was expected there: measured less deviation; None where nothing is known.
    """

    start: int
    stop: int
    first_time: int
    last_time: int
    peak: int
    peak_time: int
    peak_score: float
    severity: float
    n_flagged: int
    shares: tuple[tuple[str, float], ...]
    deviations: tuple[float, ...]
    measured: tuple[float | None, ...] = ()
    expected: tuple[float | None, ...] = ()

    # When the first, the last and the peak row are, as `Scores.stamps` has it; None where only the numbers above are known.
    # No field: files of events have nothing of it, and equal events may come from inputs in other zones.
    stamps: ClassVar[tuple[Any, Any, Any] | None] = None

    def __len__(self) -> int:
        """Return the number of rows from the first to the last."""
        return self.stop - self.start

    def __repr__(self) -> str:
        """Say in a line when it was, how severe, what drove it, and how far that was from what was expected."""
        told = f": {self.against}" if self.against else ""
        return f"Event {self.when}, severity {severity_text(self.severity)}, {self.drivers}{told}"

    @property
    def when(self) -> str:
        """The first and the last row as text: times as they stand in the input, or numbers of rows."""
        return span_text(*self.stamps[:2]) if self.stamps else span_text(self.start, self.stop - 1)

    @property
    def drivers(self) -> str:
        """The features that drove it, at most three, with their shares if there are several, and whether they were up or down.

        Where no feature has a fifth of the scores, shares say nothing: then it is spread over all.
        """
        if self.is_spread:
            return f"spread over all {len(self.shares)} features"
        texts = []
        for i in self.named:
            (name, share), deviation = self.shares[i], self.deviations[i]
            way = "" if not deviation else " up" if deviation > 0 else " down"
            texts.append(f"{name}{way}" + (f" {100 * share:.0f} %" if len(self.shares) > 1 else ""))
        return ", ".join(texts)

    @property
    def against(self) -> str:
        """What the feature that drove it most measured where it was furthest from what was expected; empty if it is not known."""
        pair = self.values_of(0)
        if pair is None:
            return ""
        name = f"{self.shares[0][0]} " if len(self.named) > 1 or self.is_spread else ""
        return f"{name}{pair[0]} where {pair[1]} was expected"

    @property
    def is_spread(self) -> bool:
        """Whether no feature has so large a share that it is worth a word."""
        return self.shares[0][1] < _SHARE_TO_NAME

    @property
    def named(self) -> list[int]:
        """Which of `shares` are worth a word: the first, and at most two more with a fifth of the scores or more."""
        return [i for i, (_, share) in enumerate(self.shares[:_MOST_NAMED]) if i == 0 or share >= _SHARE_TO_NAME]

    def values_of(self, place: int) -> tuple[str, str] | None:
        """Return measured and expected of one of `shares` as text, in the unit of its column; None where they are not known."""
        pair = (self.measured[place], self.expected[place]) if self.measured and self.expected else (None, None)
        return None if pair[0] is None or pair[1] is None else pair_text(pair[0], pair[1])

    def with_stamps(self, stamps: tuple[Any, Any, Any]) -> "Event":
        """Let the event know its times as they stand in the input; return it."""
        object.__setattr__(self, "stamps", stamps)  # frozen as to what it is, and not as to how it is told
        return self

    def to_dict(self, time_column: str | None, top: int | None = None) -> dict[str, object]:
        """Return plain values for JSON and tables, times as text; `top` limits the features."""
        return {
            "start": self.start,
            "stop": self.stop,
            "first_time": format_time(self.first_time, time_column),
            "last_time": format_time(self.last_time, time_column),
            "peak_time": format_time(self.peak_time, time_column),
            "peak_score": self.peak_score,
            "severity": round(self.severity, 4),
            "n_flagged": self.n_flagged,
            "features": {name: round(share, 4) for name, share in self.shares[:top]},
            "deviations": {name: round(x, 4) for (name, _), x in list(zip(self.shares, self.deviations, strict=True))[:top]},
            "measured": self._by_name(self.measured, self.expected, top),
            "expected": self._by_name(self.expected, self.measured, top),
        }

    def _by_name(self, values: Sequence[float | None], others: Sequence[float | None], top: int | None) -> dict[str, float | None]:
        told = [None if x is None else float(number_beside(x, y)) for x, y in zip_longest(values, others[: len(values)])]
        return {name: x for (name, _), x in zip(self.shares[:top], told, strict=False)}


class NotRaised(NamedTuple):
    """A run of flagged rows that is no event, and the rule that says so."""

    event: Event  # what it would have been
    reason: str  # one of `anomaly.events.not_raised.REASONS`


def severity_text(severity: float) -> str:
    """Return a severity with one digit behind the point, with none from 1,000 on."""
    return f"{severity:.1f}" if severity < 1000 else f"{severity:,.0f}"
