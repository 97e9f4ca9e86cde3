"""Which columns count rows or time beside the time; refused where they begin anew, as the runs of a joined file do."""

import re
from collections.abc import Sequence
from shlex import quote

import numpy as np

from anomaly.columns.column_names import TIME_LIKE, is_counter_name
from anomaly.columns.time_column import Cells, are_times
from anomaly.columns.unnamed_times import MOSTLY_EVEN
from anomaly.errors import DataError
from anomaly.series import Floats, Ints
from anomaly.times.calendar_parts import is_calendar_name
from anomaly.times.column import numbers_of
from anomaly.times.epochs import are_epochs, are_rising
from anomaly.times.written import even_share

# What a clock is called, and how many times faster one is that counts in a smaller unit.
_CALLED_TIME = re.compile(r"(?i)time|zeit|clock|elapsed|(?:^|[^a-z])t(?:[^a-z]|$)")
_PACES = (1, 60, 3_600, 86_400, 24, 1_440, *(10.0**n * unit for n in range(1, 13) for unit in (1, 60, 3_600)))
# What counts the rows or the time of a run; a run has so many rows, and its steps are equal but for so large a share.
_COUNTS_A_RUN = re.compile(
    r"(?:.*[^a-z])?(?:steps?|samples?|cycles?|frames?|ticks?|index|idx|rows?|row_?id|no|nr|num|number|seq|t|ts|time.*|.*time|elapsed.*|secs?|seconds?|"
    r"ms|us|millis|micros|zeit.*)(?:[^a-z].*)?"
)
_FEWEST_A_RUN, _MOSTLY_ONE_STEP = 4, 0.5
_NAME_RUNS = "Name each run in a column for --id-column, or say"
# Numbers of rows in any order leave out others rarely.
_MOST_SPREAD = 3
# A clock goes forward by one step so many times at least.
FEWEST_STEPS = 20
# Its steps are equal but for rounding.
_EVENLY = 1e-3


def refuse_restarts(cells: Cells, name: str, *, trained: bool = False) -> None:
    """Refuse a count or a clock that begins anew now and then, where rows are counted: runs that stand one below the other.

    Args:
        cells: by column some of its cells.
        name: of the input, for messages.
        trained: whether a detector reads other columns.

    Raises:
        DataError: with the option that tells the runs apart, where a column does, and the one that takes them as one series.
    """
    for column, own in cells.items():
        if not _counts_a_run(column):
            continue
        if (begins := _restarts(numbers_of(own))) is None or not len(begins):
            continue
        runs = next((other for other, found in cells.items() if other != column and _changes_at(found, begins, len(own))), None)
        if trained:
            named = f"Say --id-column {quote(runs)} for a series of each, or" if runs else "Give the rows of each run alone, or"
            said = _restarts_text(column, len(begins), len(own), name)
            raise DataError(f"{said} {named} leave {column!r} out of the file to take all rows as one series.")
        named = f"Say --id-column {quote(runs)} for a series of each, or" if runs else _NAME_RUNS
        raise DataError(
            f"{_restarts_text(column, len(begins), len(own), name)} {named} --ignore-columns {quote(column)} to take "
            "all rows as one series."
        )


def _restarts_text(column: str, n_begins: int, n_rows: int, name: str) -> str:
    times = f"{n_begins:,} time{'s' * (n_begins > 1)}"
    return (
        f"Rows of several runs must be told apart. Received: {column!r}, which begins anew {times} in the first {n_rows:,} rows "
        f"({name})."
    )


def _counts_a_run(column: str) -> bool:
    return bool(_COUNTS_A_RUN.fullmatch(column.strip().lower())) and not is_calendar_name(column)


def _restarts(numbers: Floats | None) -> Ints | None:
    """Return where numbers that go on by one step begin anew, `(n,)`; None if they do anything else."""
    if numbers is None or len(numbers) < FEWEST_STEPS:
        return None
    steps = np.diff(numbers)
    onwards, falls = steps[steps > 0], np.flatnonzero(steps < 0)
    if not len(onwards) or (steps == 0).any() or len(falls) > len(numbers) / _FEWEST_A_RUN:
        return None
    step = float(np.median(onwards))
    even = np.abs(onwards - step) <= _MOSTLY_ONE_STEP * step
    back = np.abs(numbers[falls + 1] - numbers[0]) <= 2 * step
    found: Ints = falls + 1
    return found if even.mean() > MOSTLY_EVEN and back.all() else None


def _changes_at(cells: Sequence[str], places: Ints, n: int) -> bool:
    """Tell cells, one a row, that change in some places and in no others."""
    return len(cells) == n and [i for i in range(1, n) if cells[i] != cells[i - 1]] == places.tolist()


def counters_of(cells: Cells, clock: Floats | None = None) -> list[str]:
    """Return the columns that count rows or time: called so and another on each row, or always forward by the same step.

    Args:
        cells: by column some of its cells.
        clock: the times of as many rows, in any unit: a column that goes in step with them is a clock too.
    """
    found = []
    onwards = np.diff([] if clock is None else clock[:FEWEST_STEPS])
    for column, own in cells.items():
        few = numbers_of(own[:FEWEST_STEPS])
        if few is None or len(few) < 3:
            continue
        counts = is_counter_name(column)
        steps = np.diff(few) * (np.sign(onwards) if clock is not None and len(own) == len(clock) else 1)
        if not counts and not _counts_a_run(column) and (steps < 0).any() and (steps > 0).any():
            continue
        numbers = numbers_of(own)
        if numbers is None:
            continue
        begins_anew = clock is None and _counts_a_run(column) and (begins := _restarts(numbers)) is not None and len(begins) > 0
        if (counts and _counts(numbers)) or _goes_evenly(numbers) or _is_another_clock(column, own, numbers, clock) or begins_anew:
            found.append(column)
    return found


def clocks_apart(cells: Cells, counters: Sequence[str]) -> list[str]:
    """Return columns that are called times and go on evenly, each at a pace of its own; none if it is one pace in several units.

    Args:
        cells: by column some of its cells.
        counters: what `counters_of` found among them.
    """
    paces = {}
    for name in (name for name in counters if _CALLED_TIME.search(name)):
        numbers = numbers_of(cells[name])
        if numbers is not None and len(numbers) > 1:
            paces[name] = float(np.median(np.diff(numbers)))
    known = [pace for pace in paces.values() if pace > 0]
    ratios = [max(known) / pace for pace in known]
    same = all(min(abs(ratio / unit - 1) for unit in _PACES) < _EVENLY for ratio in ratios)
    return [] if same else list(paces)


def _counts(numbers: Floats) -> bool:
    """Tell whole numbers that always rise, or lie close and differ on each row, or go on by one and begin anew now and then."""
    steps = np.diff(numbers)
    again = (steps < 0) & (numbers[1:] <= numbers[0] + 1)
    whole = bool((numbers == np.rint(numbers)).all())
    differ = len(np.unique(numbers)) == len(numbers) and np.ptp(numbers) <= _MOST_SPREAD * len(numbers)
    return whole and bool(differ or (steps > 0).all() or ((steps == 1) | again).all())


def _goes_evenly(numbers: Floats) -> bool:
    steps = np.diff(numbers)
    return len(steps) >= FEWEST_STEPS and steps[0] > 0 and bool((np.abs(steps - steps[0]) <= _EVENLY * steps[0]).all())


def _is_another_clock(column: str, cells: Sequence[str], numbers: Floats, clock: Floats | None) -> bool:
    """Tell numbers that are times, or go in step with the time."""
    if len(numbers) < FEWEST_STEPS:
        return False
    called = TIME_LIKE.fullmatch(column.strip().lower())
    if are_rising(cells) and (
        are_times(cells) if called else clock is None and are_epochs(cells) and even_share(numbers) > MOSTLY_EVEN
    ):
        return True
    if clock is None or len(clock) != len(numbers):
        return False
    steps, others = np.diff(numbers), np.diff(clock)
    ratio = np.abs(steps).sum() / np.abs(others).sum() if others.any() else 0.0
    return bool(ratio > 0 and (np.abs(steps - ratio * others) <= _EVENLY * np.abs(ratio * others).max()).all())
