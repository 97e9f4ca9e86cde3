"""Whether the rows of a file belong to several series, and which column tells these apart."""

import itertools
import re
from collections.abc import Mapping, Sequence
from shlex import quote

import numpy as np

from anomaly.columns.column_names import is_called_like_times
from anomaly.errors import DataError, SeveralSeriesError, shorten
from anomaly.series import Bools, Floats, Ints
from anomaly.times.calendar_parts import is_calendar_name
from anomaly.times.column import numbers_of
from anomaly.times.moments import is_number
from anomaly.times.time_parts import is_clock_name, is_date, is_time_of_day
from anomaly.times.written import even_share

Cells = Mapping[str, Sequence[str]]

# Of the rows of one series so many, as a share, may have the time of another row.
MOST_REPEATED = 0.2
FEWEST_REPEATED = 5
# Fewer are enough where one column tells all of them apart: series with steps of their own share few times.
_MOST_TOLD_APART, _FEWEST_TOLD_APART = 0.01, 10
# A column that goes round has each of its values so often, and goes on by one on such a share of its steps.
_FEWEST_ROUNDS, _LEAST_ROUND = 4, 0.6
# So many cells are looked at before all are.
_LOOKED_AT = 20
# And another column changes so many times as much from row to row as within each of the series.
_APART = 2.0
# Rows of a day beside its date only: hours, half hours, quarters of an hour.
_ROWS_A_DAY = (23, 24, 25, 46, 48, 50, 92, 96, 100)
_DAYS = (86_400, 7 * 86_400)
# The remedy where no option tells series apart.
ALONE = "Give the rows of one series alone."
# A column of so few different texts or whole numbers may tell series apart.
_MOST_SERIES = 0.5
# Rows that come so evenly within each of several series, and no more than so evenly as one, belong to several.
_EVEN, _UNEVEN = 0.9, 0.6
# Rows that come in no order have short runs; those of series that stand one below the other have so many rows at least.
_FEWEST_OF_A_RUN = 20
# How often the run changes from row to row when sorted, for each row outside the longest run, where runs lie among one another.
_WOVEN = 0.25
# A feature changes so much more, or less, from row to row of the sorted rows than of the runs, where they are several, or one.
_RUNS_APART, _RUNS_CLOSER = 1.5, 0.8
_FEWEST_EACH = 4
# Names of things that are measured: whole numbers in a column that is called so are theirs.
_ID = re.compile(
    r"(?:host|sensor|machine|device|station|site|unit|asset|equipment|node|meter|well|turbine|vehicle|engine|store|item|series|"
    r"customer|location|building|room|plant|tag|variable|metric|instance|battery|batch|mote|channel|probe|inverter|feeder|"
    r"subject|patient|participant|(?:simulation[ _-]?)?run|trial|shot|episode|experiment|recording)"
    r"(?:[ _-]?(?:id|nr|no|num|number|name|key|code))?|id|moteid|unique[ _-]?id|[a-z ]+[ _-]id|id[ _-][a-z]+|"
    r"(?-i:[a-z]+Id)|serial(?:[ _-]?(?:no|number))?",
    re.IGNORECASE,
)


def series_columns(cells: Cells, times: Sequence[str]) -> list[str]:
    """Return the columns that tell rows of the same time apart, and have few values themselves; the likeliest name first.

    Args:
        cells: by column, one cell a row.
        times: the cell of the time on each row.
    """
    found = [
        column
        for column, own in cells.items()
        if 1 < len(set(own)) <= _MOST_SERIES * len(own)
        and len(set(zip(times, own, strict=True))) == len(own)
        and _are_names(set(own))
        and not is_called_like_times(column)
    ]
    return sorted(found, key=lambda column: not _ID.fullmatch(column.strip()))


def refuse_several_series(cells: Cells, times: Sequence[str], name: str) -> None:
    """Refuse rows of which many share their time with others: they belong to several series.

    Args:
        cells: by column, one cell a row; the time is not among them.
        times: the cell of the time on each row.
        name: of the input, for messages.

    Raises:
        DataError: with the option that tells them apart.
    """
    n_repeated = len(times) - len(set(times))
    if n_repeated <= max(_MOST_TOLD_APART * len(times), _FEWEST_TOLD_APART):
        return
    n_other = len(set(zip(times, *cells.values(), strict=True))) - len(set(times))
    if n_other <= max(_MOST_TOLD_APART * len(times), _FEWEST_TOLD_APART):
        return
    found = [column for column in series_columns(cells, times) if not _are_periods(cells[column], times)]
    if n_other <= max(MOST_REPEATED * len(times), FEWEST_REPEATED) and not found:
        return
    no_time = None if found else _no_time_of_day(cells, times)
    remedy = (
        f"Column {found[0]!r} tells them apart: several series in one file. Say --id-column {quote(found[0])}."
        if found
        else no_time
        or "Name the column that tells series apart with --id-column, other columns of times with --time-column (as DATE,TIME "
        "where two make up the time), or aggregate the rows."
    )
    rule = (
        "Each row of a series must have a time of its own. "
        f"Received: {n_repeated:,} of the first {len(times):,} rows with the time of another ({name})."
    )
    raise SeveralSeriesError(f"{rule} {remedy}", f"{rule} {ALONE}")


def _no_time_of_day(cells: Cells, times: Sequence[str]) -> str | None:
    """Say which column tells the rows of a date apart that is no time of day; None if none does."""
    if not is_date(times):
        return None
    for column, own in cells.items():
        odd = [cell.strip() for cell in own if not (is_time_of_day(cell) or (cell.strip().isdecimal() and int(cell) <= 24))]
        if is_clock_name(column) and 0 < len(odd) < len(own) / 2:
            return (
                f"Column {column!r} has {odd[0]!r}, which is no time of day: write date and time of each row in one column, with "
                "its offset from UTC where the clocks are shifted."
            )
        if _count_rows(own, times):
            return f"Column {column!r} counts the rows of each date: write date and time of each row in one column."
    return None


def _count_rows(cells: Sequence[str], times: Sequence[str]) -> bool:
    """Tell whole numbers that go up by one from row to row, from the same number on for each time but the first."""
    numbers = numbers_of(cells)
    if numbers is None or len(numbers) != len(times) or len(set(times)) < 2:
        return False
    new = np.array([a != b for a, b in itertools.pairwise(times)], np.bool_)
    steps, begins = np.diff(numbers), numbers[1:][new]
    return bool((steps[~new] == 1).all() and (begins == begins[0]).all() and (~new).any())


def refuse_rows_told_apart(cells: Cells, times: Sequence[str], name: str) -> None:
    """Refuse rows of which many share their time with others, where a column tells these apart.

    Args:
        cells: by column, one cell a row, of columns that nobody reads.
        times: the cell of the time on each row, which nobody reads either: rows may be counted because it is too coarse.
        name: of the input, for messages.

    Raises:
        DataError: with the option that tells them apart.
    """
    found = [column for column in series_columns(cells, times) if not _are_periods(cells[column], times)]
    if found:
        refuse_several_series({found[0]: cells[found[0]]}, times, name)


def refuse_woven_series(cells: Cells, times: Ints, name: str) -> None:
    """Refuse rows that come evenly in each of several series, each at its own moments, and unevenly as one.

    Args:
        cells: by column, one cell a row.
        times: of the rows, `(n,)`.
        name: of the input, for messages.

    Raises:
        DataError: with the option that tells them apart.
    """
    if len(times) < 2 * _FEWEST_EACH or even_share(times.astype(np.float64)) > _UNEVEN:
        return
    for column, own in cells.items():
        values, codes = np.unique(np.array(own, dtype=np.str_), return_inverse=True)
        if not 1 < len(values) <= len(own) / _FEWEST_EACH or not _are_names({str(value) for value in values}):
            continue
        if is_calendar_name(column):  # months are not equally long
            continue
        shares = [even_share(times[codes == code].astype(np.float64)) for code in range(len(values))]
        if min(shares) >= _EVEN:
            raise DataError(
                f"The rows of a series must come one after the other. Received: rows that come evenly for each of {len(values)} "
                f"values of {column!r}, and unevenly as one series ({name}). Say --id-column {quote(column)} if it names series, "
                f"or --ignore-columns {quote(column)} if it does not."
            )


def _are_periods(cells: Sequence[str], times: Sequence[str]) -> bool:
    """Tell hours, or parts of them, that stand beside dates without a time of day."""
    return len(set(cells)) in _ROWS_A_DAY and len(times) >= len(set(cells)) * len(set(times)) / 2


def refuse_going_round(cells: Cells, step: float | None, name: str, *, only: str | None = None) -> None:
    """Refuse a column whose names or whole numbers come one after the other, again and again: series in turns.

    Args:
        cells: by column some cells of what would be a feature.
        step: between rows, seconds; None if rows are counted. What goes round in a day or a week may tell the time.
        name: of the input, for messages.
        only: the column that may be such, which a detector does not read; None for any.

    Raises:
        DataError: with the options that choose.
    """
    for column, own in cells.items():
        if only not in (None, column) or not _are_names(set(own[:_LOOKED_AT])):
            continue
        values, codes, counts = np.unique(np.array(own, dtype=np.str_), return_inverse=True, return_counts=True)
        n = len(values)
        if n < 2 or counts.min() < _FEWEST_ROUNDS or not _are_names({str(value) for value in values}):
            continue
        if is_called_like_times(column) or (
            step is not None and n >= _FEWEST_EACH and any(round(n * step) == day for day in _DAYS)
        ):
            continue
        places = np.argsort(np.argsort([own.index(str(value)) for value in values]))[codes]
        onwards = float(((np.diff(places) % n) == 1).mean())
        others = [numbers_of(cells[other]) for other in cells if other != column]
        apart = any(numbers is not None and _lie_apart(numbers, codes) for numbers in others)
        others_say = (
            f"--ignore-columns {quote(column)} if it says nothing, or --value-columns with all features if it is one"
            if only is None
            else "or leave it out of the file if it says nothing"
        )
        if apart and (onwards == 1.0 or (n > 2 and onwards >= _LEAST_ROUND)):
            raise DataError(
                f"Rows of several series must be told apart. Received: {shorten([str(value) for value in values[:3]])} in turns in "
                f"column {column!r} ({name}). Say --id-column {quote(column)} if it names series, {others_say}."
            )


def _lie_apart(numbers: Floats, codes: Ints) -> bool:
    """Tell numbers that change far less from row to row within each of several series than from one row of the file to the next."""
    if len(numbers) != len(codes):
        return False
    within = [np.abs(np.diff(numbers[codes == code])) for code in range(int(codes.max()) + 1)]
    return float(np.abs(np.diff(numbers)).mean()) > _APART * float(np.concatenate(within).mean())


def refuse_blocks(times: Ints, values: Floats, name: str, columns: Sequence[str] = ()) -> None:
    """Refuse rows that rise in a few runs which lie among one another in time: series one below the other, at moments of their own.

    Sorted by time they would be woven into one series that nobody measured. Not so rows of one series that come in pieces: pieces
    that follow one another, rows that fill holes, and rows that are written twice lie beside the others, or on them.

    Args:
        times: `(n,)` as in `TimeSeries`, in the order of the file.
        values: `(n, n_features)`.
        name: of the input, for messages.
        columns: names of the features, of which one may tell the runs apart.

    Raises:
        SeveralSeriesError: if they are several series.
    """
    back = np.diff(times) < 0
    runs = np.concatenate([[0], np.cumsum(back)])
    n_runs = int(runs[-1]) + 1
    if n_runs == 1 or len(times) < _FEWEST_OF_A_RUN * n_runs:
        return
    order = np.argsort(times, kind="stable")
    order = order[np.diff(times[order], prepend=times[order[0]] - 1) > 0]  # a row that is written twice lies on itself
    if not _are_woven(runs[order]) or _are_one(times, values, runs, order):
        return
    rule = (
        f"The rows of a series must come one after the other. Received: {n_runs:,} runs of rows, one below the other, that lie "
        f"among one another in time, the second from row {int(np.argmax(back)) + 1:,} on ({name})."
    )
    telling = [column for column, own in zip(columns, values.T, strict=False) if _tells_apart(own, back)]
    remedy = (
        f"Column {telling[0]!r} changes just there: say --id-column {quote(telling[0])}"
        if telling
        else "Name the column that tells series apart with --id-column"
    )
    raise SeveralSeriesError(f"{rule} {remedy}, or sort the rows by time if they are one series.", f"{rule} {ALONE}")


def _are_woven(runs: Ints) -> bool:
    """Tell runs that change again and again, row by row of the sorted rows, from those that follow one another."""
    n_outside = len(runs) - int(np.bincount(runs).max())
    return n_outside >= _FEWEST_OF_A_RUN and int((np.diff(runs) != 0).sum()) >= _WOVEN * n_outside


def _are_one(times: Ints, values: Floats, runs: Ints, order: Ints) -> bool:
    """Tell rows of one series in disorder: sorted they come evenly, or change less from row to row, and no feature lies apart."""
    within, woven = _changes(values, np.diff(runs) == 0), _changes(values[order], np.ones(len(order) - 1, np.bool_))
    known = np.isfinite(within) & np.isfinite(woven)
    if (woven > _RUNS_APART * within)[known].any():
        return False
    least = min(even_share(times[runs == run].astype(np.float64)) for run in range(int(runs[-1]) + 1))
    if least < _EVEN <= even_share(times[order].astype(np.float64)):
        return True
    return bool(known.any() and (woven <= _RUNS_CLOSER * within)[known].all())


def _changes(values: Floats, counted: Bools) -> Floats:
    """Return by feature the mean change from row to row, `(n_features,)`, over the steps that count; NaN where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.abs(np.diff(values, axis=0))[counted]
        known = np.isfinite(steps)
        found: Floats = np.where(known, steps, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        return found


def _tells_apart(own: Floats, back: Bools) -> bool:
    """Tell whole numbers that change where the time goes back, and nowhere else."""
    changed = np.diff(own) != 0
    return bool((own == np.rint(own)).all() and np.array_equal(changed, back))


def refuse_unnamed_series(cells: Cells, name: str) -> None:
    """Refuse a column of whole numbers that is called as what names series, and is neither that nor a feature by anybody's word.

    Args:
        cells: by column some cells of what would be a feature.
        name: of the input, for messages.

    Raises:
        DataError: with the options that choose.
    """
    for column, own in cells.items():
        if not _ID.fullmatch(column.strip()):
            continue
        values = {cell.strip() for cell in own}
        named = 1 < len(values) <= len(own) / _FEWEST_EACH
        if named and all(re.fullmatch(r"\d+", value) for value in values) and not values <= {"0", "1"}:
            raise DataError(
                f"A column that is called {column!r} must be said to be a feature or not. Received: the whole numbers "
                f"{shorten(sorted(values)[:3])} ({name}). Say --id-column {quote(column)} if they name series, "
                f"--ignore-columns {quote(column)} if they say nothing, or --value-columns with all features if it is one."
            )


def only_names_of(cells: Cells) -> list[str]:
    """Return the columns that are called as what names series, and hold one whole number throughout that is not 0."""
    return [
        column
        for column, own in cells.items()
        if _ID.fullmatch(column.strip()) and len(set(own)) == 1 and re.fullmatch(r"\s*0*[1-9]\d*\s*", own[0])
    ]


# Values of a state, which name no series.
_STATES = frozenset((
    "on", "off", "true", "false", "yes", "no", "y", "n", "t", "f", "good", "bad", "ok", "nok", "open", "closed", "running",
    "stopped", "auto", "manual", "valid", "invalid", "uncertain", "normal", "anomaly", "alarm", "fault", "error", "low", "high",
    "up", "down", "active", "inactive", "enabled", "disabled", "idle", "check", "recovering", "broken", "warning", "critical",
    "heating", "cooling", "charging", "discharging", "standby", "maintenance", "unknown", "none", "passed", "failed", "offline",
    "online",
))  # fmt: skip


def may_name_series(name: str, cells: Sequence[str], *, more: bool) -> bool:
    """Tell whether texts may name series: several of them, each on several rows, and not all of them states.

    Args:
        name: of their column.
        cells: the first texts.
        more: whether further rows follow, among which there may be a series below the only one so far.
    """
    values = {cell.strip().lower() for cell in cells}
    if len(values) == 1 and more and not values <= _STATES and _ID.fullmatch(name.strip()):
        return True
    return 1 < len(values) <= len(cells) / 2 and not values <= _STATES


def _are_names(values: set[str]) -> bool:
    """Tell names: texts, or whole numbers."""
    return all(re.fullmatch(r"-?\d+(?:\.0+)?", value.strip()) for value in values) or not any(is_number(value) for value in values)
