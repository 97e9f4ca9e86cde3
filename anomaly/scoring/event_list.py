"""The events of a series as a list that a person can look at: as text, as a table, as a frame."""

from collections.abc import Iterable
from typing import Any, Self, SupportsIndex, overload

import pandas as pd

from anomaly.drawing import html_table
from anomaly.scoring.alarms import EventRules
from anomaly.scoring.events import Event, find_events, severity_text
from anomaly.scoring.scores import Scores
from anomaly.words import counted, stamp_text

_MOST_LINES = 20
_HEADER = ("", "when", "rows", "peak", "severity", "driven by")


class Events(list[Event]):
    """A list of events, which is equal to any list of the same.

    Args:
        events: in order.
        no_stamps: `Scores.stamps` of none of the rows, for the kind of times in a frame of no events.
    """

    def __init__(self, events: Iterable[Event] = (), no_stamps: pd.Index | None = None) -> None:
        super().__init__(events)
        self._no_stamps = pd.Index([], dtype="int64") if no_stamps is None else no_stamps

    @classmethod
    def found(cls, scores: Scores, rules: EventRules) -> Self:
        """Return the events of a scored series, which know their times as they stand in the input.

        Args:
            scores: the scores, with their threshold.
            rules: what becomes of flagged rows.
        """
        stamps = scores.stamps
        events = [
            event.with_stamps((stamps[event.start], stamps[event.stop - 1], stamps[event.peak]))
            for event in find_events(scores, rules)
        ]
        return cls(events, stamps[:0])

    @overload
    def __getitem__(self, key: SupportsIndex) -> Event: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Event | Self:
        """Return one event, or some as such a list."""
        return type(self)(super().__getitem__(key), self._no_stamps) if isinstance(key, slice) else super().__getitem__(key)

    def __repr__(self) -> str:
        """Say how many there are, and of the first twenty in a line each when and what."""
        shown = [f"{i:>3}  {repr(event).removeprefix('Event ')}" for i, event in enumerate(self[:_MOST_LINES], start=1)]
        more = [f"     and {len(self) - _MOST_LINES:,} more"] if len(self) > _MOST_LINES else []
        return "\n".join([self._caption(), *shown, *more])

    def _repr_html_(self) -> str:
        """Show the first twenty as a table."""
        rows = [
            (str(i), event.when, f"{len(event):,}", _peak(event), severity_text(event.severity), event.drivers)
            for i, event in enumerate(self[:_MOST_LINES], start=1)
        ]
        shown = f", the first {_MOST_LINES}" if len(self) > _MOST_LINES else ""
        return html_table(_HEADER, rows, f"{self._caption()}{shown}")

    def _caption(self) -> str:
        return counted(len(self), "event") if self else "No events"

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each event, numbered from 1.

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
        return pd.DataFrame(frame).set_axis(pd.RangeIndex(1, len(self) + 1, name="event"))


def _peak(event: Event) -> str:
    return stamp_text(event.stamps[2] if event.stamps else event.peak)


def _as_times(event: Event) -> tuple[Any, ...]:
    stamps = event.stamps or (event.start, event.stop - 1, event.peak)
    return tuple(stamp.to_timestamp() if isinstance(stamp, pd.Period) else stamp for stamp in stamps)
