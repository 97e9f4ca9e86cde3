"""Why a run of flagged rows is no event, in words: nothing that was flagged disappears without one.

The rules are those of `anomaly.scoring.alarms.EventRules`, in their order; the first that a run does not meet is its reason.
"""

from collections.abc import Mapping

TOO_SHORT, TOO_WEAK, DIRECTION, COOL_DOWN, DISMISSED = "too_short", "too_weak", "direction", "cool_down", "dismissed"
REASONS = (TOO_SHORT, TOO_WEAK, DIRECTION, COOL_DOWN, DISMISSED)
# Of one run, and of several.
_CLAUSES = {
    TOO_SHORT: ("too short to be an event", "too short to be events"),
    TOO_WEAK: ("too weak to be an event", "too weak to be events"),
    DIRECTION: ("in a direction that does not count",) * 2,
    COOL_DOWN: ("within the cool-down of another",) * 2,
    DISMISSED: ("like one that was dismissed",) * 2,
}
# In a table, where there is little room.
_SHORT = {
    TOO_SHORT: "too short",
    TOO_WEAK: "too weak",
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


def reason_text(reason: str) -> str:
    """Return a reason in two words, for a table."""
    return _SHORT[reason]
