"""Rows that a training must not learn from: labelled ones, and stretches that are known to be bad.

They stay in the series as rows of missing values, so that what holds for these holds for them: they count in no loss, no
scale and no threshold, a window in which too many are missing is left out whole, and no window skips over them.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomaly.errors import ConfigError, DataError, shorten
from anomaly.ingest.known_events import event_rows, rows_between
from anomaly.ranges import extent
from anomaly.series import Bools, TimeSeries
from anomaly.sources.tolerance import Tolerance

_RANGE = re.compile(r"\s*([^.\s].*?)\s*\.\.\s*([^.\s].*?)\s*")


def without_known_trouble(
    series: TimeSeries, exclude: str | None, tolerance: Tolerance, part: slice = slice(None), *, time_format: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> TimeSeries:  # fmt: skip
    """Return a part of a series with its labelled rows, and those of `exclude`, as rows of missing values; these are counted.

    Args:
        series: rows in order, with labels or without.
        exclude: as for `excluded_rows`; None leaves out the labelled rows only.
        tolerance: receives the counts `labelled_rows` and `excluded_rows`.
        part: of the rows; what is excluded counts those of the whole series.
        time_format: as for `event_rows`.
        warn: as for `excluded_rows`.

    Raises:
        ConfigError: if `exclude` is neither ranges nor a file.
        DataError: as `event_rows`, or if nothing is left.
    """
    labelled = np.zeros(len(series), np.bool_) if series.labels is None else series.labels == 1
    excluded = np.zeros(len(series), np.bool_)
    if exclude is not None:
        excluded = excluded_rows(exclude, series, time_format=time_format, warn=warn)
    if part != slice(None):
        series, labelled, excluded = series[part], labelled[part], excluded[part]
    tolerance.add("labelled_rows", int(labelled.sum()))
    tolerance.add("excluded_rows", int(excluded.sum()))
    bad = labelled | excluded
    if bad.all():
        raise DataError(
            f"A training needs rows that are not left out. Received: {len(series):,} rows, all labelled or excluded "
            f"({series.name}). Exclude less."
        )
    return replace(series, values=np.where(bad[:, None], np.nan, series.values)) if bad.any() else series


def excluded_rows(
    given: str, series: TimeSeries, *, time_format: str | None = None, warn: Callable[[str], None] = lambda text: None
) -> Bools:  # fmt: skip
    """Tell for each row of a series whether it is to be left out, `(n,)`.

    Args:
        given: ranges `A..B` with commas between, of ISO 8601 times (in the zone of the series unless they say otherwise), or of
            row numbers from 0 where the rows are counted, both ends included; or a CSV file as `event_rows` reads it. What lies
            outside the series leaves out nothing.
        series: the rows.
        time_format: as for `event_rows`.
        warn: is told of stretches that leave no row out, if others do.

    Raises:
        ConfigError: if it is neither, or a range ends before it begins.
        DataError: as `event_rows`.
    """
    if Path(given).exists() and not Path(given).is_dir():
        found = event_rows(given, series, time_format=time_format)
        if found.lost and found.flags.any():
            warn(_some_idle(found.n_outside + found.n_in_gaps, found.n_events, f"{found.lost} ({given})", series))
        return found.flags
    flags, parts, idle = np.zeros(len(series), np.bool_), given.split(","), []
    for part in parts:
        ends = _RANGE.fullmatch(part)
        if ends is None:
            raise ConfigError(
                "--exclude must be ranges FIRST..LAST with commas between, or a CSV file with columns start and end. "
                f"Received: {part!r}, which is neither. Write for example 2024-01-03..2024-01-05."
            )
        counted = series.time_column is None
        rows = rows_between(ends[1], ends[2], series, "--exclude", counted=counted, refused=ConfigError)
        idle += [] if rows.any() else [part.strip()]
        flags |= rows
    if idle and flags.any():
        warn(_some_idle(len(idle), len(parts), shorten(idle), series))
    return flags


def _some_idle(n: int, of: int, which: str, series: TimeSeries) -> str:
    """Say that some stretches leave no row out: a slip in one of them would let a fault be learnt."""
    verb = "leaves" if n == 1 else "leave"
    return (
        f"Warning: {n:,} of {of:,} stretches of --exclude {verb} no row out. Received: {which}, of "
        f"{extent(series.times, series.time_column)}."
    )
