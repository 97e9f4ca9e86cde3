"""Why a run of flagged rows is no event, in words: nothing that was flagged disappears without one.

The rules are those of `anomaly.events.alarms.EventRules`, in their order; the first that a run does not meet is its reason.
"""

from collections.abc import Mapping

TOO_SHORT, TOO_WEAK, TOO_NEAR, DIRECTION = "too_short", "too_weak", "too_near", "direction"
COOL_DOWN, DISMISSED = "cool_down", "dismissed"
REASONS = (TOO_SHORT, TOO_WEAK, TOO_NEAR, DIRECTION, COOL_DOWN, DISMISSED)
# Of one run, and of several.
_CLAUSES = {
    TOO_SHORT: ("too short to be an event", "too short to be events"),
    TOO_WEAK: ("too weak to be an event", "too weak to be events"),
    TOO_NEAR: ("too near to what was expected",) * 2,
    DIRECTION: ("in a direction that does not count",) * 2,
    COOL_DOWN: ("within the cool-down of another",) * 2,
    DISMISSED: ("like one that was dismissed",) * 2,
}
# In a table, where there is little room.
_SHORT = {
    TOO_SHORT: "too short",
    TOO_WEAK: "too weak",
    TOO_NEAR: "too near",
    DIRECTION: "other direction",
    COOL_DOWN: "cool-down",
    DISMISSED: "dismissed",
}


def not_raised_text(counts: Mapping[str, int]) -> str:
    """Return how many runs of flagged rows are no events, as a clause; empty if there are none.

    Args:
        counts: by reason.
    """
    parts = [(counts[reason], reason) for reason in REASONS if counts.get(reason)]
    clauses = [f"{n:,} {'was' if n == 1 else 'were'} {_CLAUSES[reason][n > 1]}" for n, reason in parts]
    if not clauses:
        return ""
    n, rest = parts[0][0], clauses[0].partition(" ")[2]
    return ", ".join([f"{n:,} run{'' if n == 1 else 's'} of flagged rows {rest}", *clauses[1:]])


def flagged_text(n_flagged: int, n_events: int, n_inside: int | None = None, n_passed_over: int = 0) -> str:
    """Return how many rows are flagged and how many events these make, and what the other flagged rows are.

    Args:
        n_flagged: flagged rows.
        n_events: events.
        n_inside: flagged rows in the events; None if nobody counted them.
        n_passed_over: flagged rows in runs that are no events.
    """
    told = f"{n_flagged:,} flagged, {n_events:,} event{'' if n_events == 1 else 's'}"
    beside = 0 if n_inside is None or not n_events else n_flagged - n_inside - n_passed_over
    if beside < 1:
        return told
    return f"{told} ({n_inside:,} of these rows; {beside:,} beside them deviate{'s' * (beside == 1)} little)"


def reason_text(reason: str) -> str:
    """Return a reason in two words, for a table."""
    return _SHORT[reason]
