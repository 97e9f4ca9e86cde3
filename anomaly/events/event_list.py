"""The events of a series as a list that a person can look at: as text, as a table, as a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, SupportsIndex, overload

from anomaly.drawing import html_table
from anomaly.events.alarms import EventRules
from anomaly.events.event import Event, NotRaised, severity_text
from anomaly.events.finder import find_runs
from anomaly.quick_start import pd
from anomaly.ranges import ALL_ROWS, RowRange
from anomaly.scoring.scores import Scores
from anomaly.words import counted, stamp_text

_MOST_LINES = 20
_HEADER = ("", "when", "rows", "peak", "severity", "driven by", "furthest off")


class Events(list[Event]):
    """A list of events, which is equal to any list of the same.

    Args:
        events: in order.
        no_stamps: `Scores.stamps` of none of the rows, for the kind of times in a frame of no events.
        first_number: of the first event in its series; of those in a range as many as lie before it, and one.
        not_raised: runs of flagged rows that are no events, in order, each with its reason.

    Attributes:
        first_number: as above.
        not_raised: as above; of a part of the list it is empty.
    """

    def __init__(
        self,
        events: Iterable[Event] = (),
        no_stamps: pd.Index | None = None,
        first_number: int = 1,
        not_raised: Iterable[NotRaised] = (),
    ) -> None:
        super().__init__(events)
        self._no_stamps = pd.Index([], dtype="int64") if no_stamps is None else no_stamps
        self.first_number, self.not_raised = first_number, list(not_raised)

    @classmethod
    def found(cls, scores: Scores, rules: EventRules, wanted: RowRange = ALL_ROWS) -> Self:
        """Return the events of a scored series, which know their times as they stand in the input.

        Args:
            scores: the scores, with their threshold.
            rules: what becomes of flagged rows.
            wanted: a range: only events in it, whole or in part, which keep the numbers that they have among all.
        """
        stamps = scores.stamps

        def told(event: Event) -> Event:
            return event.with_stamps((stamps[event.start], stamps[event.stop - 1], stamps[event.peak]))

        events, runs = find_runs(scores, rules)
        inside = [i for i, event in enumerate(events) if wanted.touches(event)]
        first_number = 1 + (inside[0] if inside else len(events))
        not_raised = [NotRaised(told(event), reason) for event, reason in runs if wanted.touches(event)]
        return cls([told(events[i]) for i in inside], stamps[:0], first_number, not_raised)

    @overload
    def __getitem__(self, key: SupportsIndex) -> Event: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Event | Self:
        """Return one event, or some as such a list."""
        return type(self)(super().__getitem__(key), self._no_stamps) if isinstance(key, slice) else super().__getitem__(key)

    def __repr__(self) -> str:
        """Say how many there are, and of the first twenty in a line each when and what."""
        shown = [f"{i:>3}  {repr(event).removeprefix('Event ')}" for i, event in self._numbered()]
        more = [f"     and {len(self) - _MOST_LINES:,} more"] if len(self) > _MOST_LINES else []
        return "\n".join([self._caption(), *shown, *more])

    def _repr_html_(self) -> str:
        """Show the first twenty as a table."""
        rows = [
            (str(i), event.when, f"{len(event):,}", _peak(event), severity_text(event.severity), event.drivers, event.against)
            for i, event in self._numbered()
        ]
        shown = f", the first {_MOST_LINES}" if len(self) > _MOST_LINES else ""
        return html_table(_HEADER, rows, f"{self._caption()}{shown}")

    def _numbered(self) -> Iterator[tuple[int, Event]]:
        return enumerate(self[:_MOST_LINES], start=self.first_number)

    def _caption(self) -> str:
        n = len(self.not_raised)
        left_out = f"; {counted(n, 'run')} of flagged rows {'is' if n == 1 else 'are'} none (see not_raised)" if n else ""
        return (counted(len(self), "event") if self else "No events") + left_out

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each event, with its number, from `first_number` on.

        The columns are first_time, last_time and peak_time, in the zone of the input (rows where these are counted); start
        and stop, positions of rows, half open; n_flagged, peak_score and severity; and feature, share, deviation, measured and
        expected, of the feature that drove it most.
        """
        kind = self._no_stamps.to_timestamp() if isinstance(self._no_stamps, pd.PeriodIndex) else self._no_stamps
        times = [_as_times(event) for event in self]
        frame: dict[str, Any] = {
            name: pd.Series([three[i] for three in times], dtype=kind.dtype)
            for i, name in enumerate(("first_time", "last_time", "peak_time"))
        }
        frame |= {
            name: pd.Series([getattr(event, name) for event in self], dtype="int64") for name in ("start", "stop", "n_flagged")
        }
        frame |= {name: pd.Series([getattr(event, name) for event in self], dtype="float64") for name in ("peak_score", "severity")}
        frame["feature"] = pd.Series([event.shares[0][0] for event in self], dtype="str")
        frame["share"] = pd.Series([event.shares[0][1] for event in self], dtype="float64")
        frame["deviation"] = pd.Series([event.deviations[0] for event in self], dtype="float64")
        for name in ("measured", "expected"):
            frame[name] = pd.Series([next(iter(getattr(event, name)), None) for event in self], dtype="float64")
        return pd.DataFrame(frame).set_axis(pd.RangeIndex(self.first_number, self.first_number + len(self), name="event"))


def _peak(event: Event) -> str:
    return stamp_text(event.stamps[2] if event.stamps else event.peak)


def _as_times(event: Event) -> tuple[Any, ...]:
    stamps = event.stamps or (event.start, event.stop - 1, event.peak)
    return tuple(stamp.to_timestamp() if isinstance(stamp, pd.Period) else stamp for stamp in stamps)
