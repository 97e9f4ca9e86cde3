"""Whether the rows of a file belong to several series, and which column tells these apart."""

import re
from collections.abc import Mapping, Sequence
from shlex import quote

import numpy as np

from anomaly.errors import DataError, SeveralSeriesError, shorten
from anomaly.meaning.moments import is_number
from anomaly.meaning.roles import is_called_like_times
from anomaly.meaning.written import even_share
from anomaly.series import Ints

Cells = Mapping[str, Sequence[str]]

# Of the rows of one series so many, as a share, may have the time of another row.
MOST_REPEATED = 0.2
FEWEST_REPEATED = 5
# The remedy where no option tells series apart.
ALONE = "Give the rows of one series alone."
# A column of so few different texts or whole numbers may tell series apart.
_MOST_SERIES = 0.5
# Rows that come so evenly within each of several series, and no more than so evenly as one, belong to several.
_EVEN, _UNEVEN = 0.9, 0.6
_FEWEST_EACH = 4
# Names of things that are measured: whole numbers in a column that is called so are theirs.
_ID = re.compile(
    r"(?:host|sensor|machine|device|station|site|unit|asset|equipment|node|meter|well|turbine|vehicle|engine|store|item|series|"
    r"customer|location|building|room|plant|tag|variable|metric|instance|battery|batch)"
    r"(?:[ _-]?(?:id|nr|no|num|number|name|key|code))?|id|unique[ _-]?id|[a-z ]+[ _-]id|id[ _-][a-z]+|"
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
    rows = list(zip(times, *cells.values(), strict=True))
    n_repeated, n_other = len(times) - len(set(times)), len(set(rows)) - len(set(times))
    if n_other <= max(MOST_REPEATED * len(times), FEWEST_REPEATED):
        return
    found = series_columns(cells, times)
    remedy = (
        f"Column {found[0]!r} tells them apart: several series in one file. Say --id-column {quote(found[0])}."
        if found
        else "Name the column that tells series apart with --id-column, other columns of times with --time-column (as DATE,TIME "
        "where two make up the time), or aggregate the rows."
    )
    rule = (
        "Each row of a series must have a time of its own. "
        f"Received: {n_repeated:,} of the first {len(times):,} rows with the time of another ({name})."
    )
    raise SeveralSeriesError(f"{rule} {remedy}", f"{rule} {ALONE}")


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
        shares = [even_share(times[codes == code].astype(np.float64)) for code in range(len(values))]
        if min(shares) >= _EVEN:
            raise DataError(
                f"The rows of a series must come one after the other. Received: rows that come evenly for each of {len(values)} "
                f"values of {column!r}, and unevenly as one series ({name}). Say --id-column {quote(column)} if it names series, "
                f"or --ignore-columns {quote(column)} if it does not."
            )


def refuse_unnamed_series(cells: Cells, name: str) -> None:
    """Refuse a column of whole numbers that is called as what names series, and is neither that nor a feature by anybody's word.

    Args:
        cells: by column some cells of what would be a feature.
        name: of the input, for messages.

    Raises:
        DataError: with the options that choose.
    """
    for column, own in cells.items():
        values = {cell.strip() for cell in own}
        named = _ID.fullmatch(column.strip()) and 1 < len(values) <= len(own) / _FEWEST_EACH
        if named and all(re.fullmatch(r"\d+", value) for value in values) and not values <= {"0", "1"}:
            raise DataError(
                f"A column that is called {column!r} must be said to be a feature or not. Received: the whole numbers "
                f"{shorten(sorted(values)[:3])} ({name}). Say --id-column {quote(column)} if they name series, "
                f"--ignore-columns {quote(column)} if they say nothing, or --value-columns with all features if it is one."
            )


# Values of a state, which name no series.
_STATES = frozenset((
    "on", "off", "true", "false", "yes", "no", "y", "n", "t", "f", "good", "bad", "ok", "nok", "open", "closed", "running",
    "stopped", "auto", "manual", "valid", "invalid", "uncertain", "normal", "anomaly", "alarm", "fault", "error", "low", "high",
    "up", "down", "active", "inactive", "enabled", "disabled", "idle", "check",
))  # fmt: skip


def may_name_series(cells: Sequence[str]) -> bool:
    """Tell whether texts may name series: several of them, each on several rows, and not all of them states."""
    values = {cell.strip().lower() for cell in cells}
    return 1 < len(values) <= len(cells) / 2 and not values <= _STATES


def _are_names(values: set[str]) -> bool:
    """Tell names: texts, or whole numbers."""
    return all(re.fullmatch(r"-?\d+(?:\.0+)?", value.strip()) for value in values) or not any(is_number(value) for value in values)
