"""What came of many inputs: rows, events, drift and failures, each and together."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from anomaly.errors import AnomalyError, DataError, joint_exit_code
from anomaly.events.event import Event, NotRaised
from anomaly.events.not_raised import flagged_text, not_raised_text
from anomaly.scoring.drift import joint_warning

# The first row of a file follows the last one of another by a step, give or take such a share of it.
_STEP_OFF = 0.5


def failure(error: AnomalyError) -> dict[str, Any]:
    """Return what a manifest says of an input that failed."""
    return {"error": str(error), "exit_code": error.exit_code}


@dataclass(frozen=True)
class Scored:
    """What came of one input."""

    entry: dict[str, Any]  # of the manifest
    events: list[Event]
    unchanged: bool = False
    left_out: list[tuple[str, NotRaised]] = field(default_factory=list)  # what is no event, if that was asked for

    @property
    def refusals(self) -> list[str]:
        """What is to be said of series in a long input that were not scored, and of series that are learnt."""
        return [str(sentence) for sentence in self.entry.get("refusals", ())]

    def described(self) -> dict[str, Any]:
        """Return the entry without its events, which stand elsewhere."""
        return {key: value for key, value in self.entry.items() if key not in ("found", "series")}

    def series(self, name: str) -> list[str]:
        """Return the series of each event; `name` is that of the input, which has one series or names those of its events."""
        found = self.entry.get("series")
        return [name] * len(self.events) if found is None else found


@dataclass
class Results:
    """What came of all inputs, by name."""

    scored: dict[str, Scored] = field(default_factory=dict)
    failed: dict[str, AnomalyError] = field(default_factory=dict)
    note: str | None = None  # what is to be said of all of them

    def following(self, step: int) -> list[str]:
        """Return the names of the inputs that go on from one another, in the order of their times: each a step behind another.

        Where several begin a step behind one, or behind several, they are of several series, and nobody can tell which goes on.

        Args:
            step: between rows, microseconds.
        """
        spans = sorted((*found.entry["span"], name) for name, found in self.scored.items() if "span" in found.entry)
        firsts = [first for first, _, _ in spans]
        joints = []
        for _, last, name in spans:
            begin, end = bisect_left(firsts, last + (1 - _STEP_OFF) * step), bisect_right(firsts, last + (1 + _STEP_OFF) * step)
            joints += [(name, other) for _, _, other in spans[begin : min(end, begin + 2)]]
        before, behind = (Counter(names) for names in zip(*joints, strict=True)) if joints else (Counter[str](), Counter[str]())
        sure = {name for joint in joints if before[joint[0]] == behind[joint[1]] == 1 for name in joint}
        return [name for _, _, name in spans if name in sure]

    @property
    def exit_code(self) -> int:
        """What failures come to, also of series in long inputs; 0 without one."""
        some_refused = any(found.entry.get("failed_series") for found in self.scored.values())
        return joint_exit_code(self.failed.values(), some_went_well=bool(self.scored)) or DataError.exit_code * some_refused

    @property
    def n_events(self) -> int:
        """Events in all inputs."""
        return sum(len(found.events) for found in self.scored.values())

    @property
    def drifted(self) -> dict[str, float]:
        """The series that no longer look like in training, and how far each has gone, from 0 to 1."""
        return {name: drift.get("extent", 0.0) for name, drift in self._drifts() if drift.get("warning") is not None}

    @property
    def drift_warning(self) -> str | None:
        """How many these are and which the most, in a clause; None if there is none."""
        return joint_warning(self.drifted, sum(1 for _ in self._drifts()))

    @property
    def of_times(self) -> dict[str, list[str]]:
        """What the times of inputs say, such as that clocks are shifted: each sentence with the names of those that say it."""
        told: dict[str, list[str]] = {}
        for name, found in self.scored.items():
            for sentence in found.entry.get("of_times", ()):
                told.setdefault(str(sentence), []).append(name)
        return told

    def _drifts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield how each series compares with its training, by its name, or the input's where that has one series."""
        for name, found in self.scored.items():
            drift = found.entry.get("drift") or {}
            yield from drift["series"].items() if "series" in drift else ((name, drift),)

    def events(self, names: Iterable[str]) -> tuple[list[Event], list[str]]:
        """Return the events of the inputs with these names, in their order, and for each the name of its series."""
        scored = [(name, self.scored[name]) for name in names if name in self.scored]
        return [event for _, found in scored for event in found.events], [s for name, found in scored for s in found.series(name)]

    def first_numbers(self, names: Iterable[str]) -> dict[str, int]:
        """Return by series the number of its first event that was asked for, of the inputs with these names; else it is 1."""
        numbers: dict[str, int] = {}
        for name in (name for name in names if name in self.scored):
            found = self.scored[name].entry.get("first_number", 1)
            numbers |= found if isinstance(found, dict) else {name: found}
        return numbers

    def _not_raised(self) -> Counter[str]:
        """Count the runs of flagged rows that are no events, by reason."""
        counts: Counter[str] = Counter()
        for found in self.scored.values():
            counts.update(found.entry.get("not_raised", {}))
        return counts

    def _flagged(self) -> tuple[int | None, int]:
        """Return how many flagged rows lie in events, None if that is not known of each input, and how many in what is none."""
        names, entries = ("flagged_in_events", "flagged_not_raised"), [found.entry for found in self.scored.values()]
        if not all(name in entry for name in names for entry in entries):
            return None, 0
        inside, passed_over = (sum(entry[name] for entry in entries) for name in names)
        return inside, passed_over

    def left_out(self, names: Iterable[str]) -> list[tuple[str, NotRaised]]:
        """Return the runs of flagged rows that are no events, of the inputs with these names, each with its series."""
        scored = [(name, self.scored[name]) for name in names if name in self.scored]
        return [(series or name, run) for name, found in scored for series, run in found.left_out]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        entries = {
            name: {k: v for k, v in found.entry.items() if k not in ("found", "series")} for name, found in self.scored.items()
        }
        return {
            "inputs": entries | {name: failure(error) for name, error in self.failed.items()},
            "scored": len(self.scored),
            "unchanged": sum(found.unchanged for found in self.scored.values()),
            "failed": len(self.failed),
            "rows": sum(found.entry["rows"] for found in self.scored.values()),
            "flagged": sum(found.entry["flagged"] for found in self.scored.values()),
            "events": self.n_events,
            "not_raised": dict(self._not_raised()),
            "drifted": len(self.drifted),
            "drift_warning": self.drift_warning,
        } | ({} if self.note is None else {"note": self.note})

    def __str__(self) -> str:
        """Say in one line what came out."""
        told = self.to_dict()
        n = told["scored"] + told["failed"]
        rest = "".join(f", {told[what]:,} {what}" for what in ("unchanged", "failed") if told[what])
        left_out = not_raised_text(told["not_raised"])
        return (
            f"{told['scored']:,} of {n:,} series scored{rest}; {told['rows']:,} rows, "
            f"{flagged_text(told['flagged'], told['events'], *self._flagged())}{left_out and f'; {left_out}'}."
        )
