"""From what a Python user hands over to a `TimeSeries`, and back: the index that its scores shall have."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from anomaly.columns.column_names import is_counter_name
from anomaly.columns.counters import counters_of
from anomaly.columns.labels import labels_of
from anomaly.config import ReadingConfig
from anomaly.errors import DataError, shorten
from anomaly.frames.clocks import Clock, clock_of, is_time
from anomaly.frames.tables import as_table
from anomaly.frames.values import frame_of_numbers
from anomaly.ingest.order import sorted_order
from anomaly.ingest.spelling import missing_tokens
from anomaly.meaning.sentinels import number_text, sentinels_of
from anomaly.meaning.several import MOST_REPEATED
from anomaly.quick_start import pd
from anomaly.series import Floats, Ints, TimeSeries
from anomaly.times.exchanged_days import ExchangedDays
from anomaly.times.twelve_hours import TwelveHours
from anomaly.windowing.split import LARGEST_VALUE
from anomaly.words import counted

# What a series is called that came without names.
UNNAMED = "array"
# What a detector remembers of a frame whose times say their offset, as it does of a file.
ZONED = {"offsets": "frame"}


@dataclass(frozen=True, eq=False)
class Taken:
    """A series made of what was handed over.

    Attributes:
        series: its rows as they came.
        index: that of the frame, or its times where the table has no index; None for a `TimeSeries` and an array.
        clock: the times of the frame as they stood in it, wherever; None where there are none, and for a `TimeSeries`.
        sorting: what would put the rows in the order of their times, as code; empty if they are.
        zoned: what would give the times of a frame the offset from UTC that they lack, as code; empty if they have one.
    """

    series: TimeSeries
    index: pd.Index | None = None
    clock: pd.Index | None = None
    sorting: str = ""
    zoned: str = ""

    @property
    def stamps(self) -> pd.Index:
        """When each row is, on the clock of what was handed over; row numbers where these are counted."""
        return self.series.stamps if self.clock is None else self.clock


def take(data: Any, features: tuple[str, ...] | None = None, reading: ReadingConfig | None = None) -> Taken:
    """Take a `TimeSeries` as it is; make one of a frame of any library, or of an array.

    Args:
        data: a `TimeSeries`; a frame of pandas or of a library that hands one over (pyarrow, polars, what narwhals reads),
            with its times in the index or in the one column that holds times; or an array `(n_timesteps, n_features)` or
            `(n_timesteps,)`. NaN, pd.NA, None and masked cells are missing.
        features: names of the columns that are wanted, which are those of an array too; default: all, or feature_1, ...
        reading: how times without a zone are read, and which numbers are missing values; default: as UTC, and none. With it, and
            without `features`, a number that usually stands for a missing value is refused, as in a file to train on.

    Returns:
        The series, and what its scores need to be those of the rows that came.

    Raises:
        DataError: if it is none of these; if columns that are wanted hold anything but numbers; if rows are of several
            series (a MultiIndex, or too many of the same time); if no column is left, or none has a name of its own; or as
            `clock_of`.
    """
    if isinstance(data, TimeSeries):
        _require_rows(len(data), data.name)
        return Taken(data)
    table = as_table(data)
    frame = table.frame
    if not table.named:
        values = frame.to_numpy(np.float64)
        _require_rows(len(values), UNNAMED)
        names = features or names_in_an_array(values.shape[1])
        if len(names) != values.shape[1]:
            raise DataError(
                f"X has {values.shape[1]} features, but Detector is expecting {len(names)} features as input: {shorten(names)}. "
                f"Received: an array of shape {np.shape(data)}. Reshape your data to (n_timesteps, {len(names)})."
            )
        known = _known(values, names, UNNAMED, features, reading, data)
        return Taken(TimeSeries(np.arange(len(values), dtype=np.int64), known, names, name=UNNAMED))
    _check_names(frame, features)
    clock = clock_of(frame, reading or ReadingConfig(), features or ())
    if clock is not None and clock.column is not None:
        frame = frame.drop(columns=[clock.column])
    if not len(frame.columns):
        raise DataError("A frame must hold numbers beside its times. Received: no other column (frame). Add the measured values.")
    if clock is not None and clock.name in [str(name) for name in frame.columns]:
        raise DataError(
            f"The index must not be called like a column. Received: {clock.name!r} for both (frame). Leave the column out with "
            f"frame.drop(columns=[{clock.name!r}]), or call the index otherwise with frame.rename_axis('row_time')."
        )
    if features is None:
        _check_roles(frame, clock)
    elif set(features) <= {str(name) for name in frame.columns}:  # what else there is, is ignored
        frame = frame.loc[:, [str(name) in features for name in frame.columns]]
    names = tuple(str(name) for name in frame.columns)
    values = _known(frame_of_numbers(frame), names, "frame", features, reading, frame)
    if clock is None:
        series = TimeSeries(np.arange(len(frame), dtype=np.int64), values, names, name="frame")
        return Taken(series, frame.index if table.indexed else None)
    said = ZONED if clock.zoned == "" else None
    series = TimeSeries(clock.times, values, names, name="frame", time_column=clock.name, reading=said)
    index = frame.index if table.indexed else clock.index
    return Taken(series, index, clock.index, _sorting(series, clock), clock.zoned or "")


def _known(
    values: Floats, names: tuple[str, ...], name: str, features: tuple[str, ...] | None, reading: ReadingConfig | None, data: Any
) -> Floats:
    """Return values with NaN for the numbers that are said to be missing; refuse those that usually are, where nobody said so."""
    named = None if reading is None else reading.missing_values
    numbers = missing_tokens(named)[1]
    occurs = np.isin(values, numbers) if numbers else np.zeros((), np.bool_)
    if features is None and reading is not None and named != "none" and not occurs.any():  # what occurs nowhere says nothing
        _refuse_marks(values, names, name, named, data)
    return np.where(occurs, np.nan, values) if occurs.any() else values


def _refuse_marks(values: Floats, names: tuple[str, ...], name: str, named: str | None, data: Any) -> None:
    """Refuse numbers that usually stand for a missing value, but for those that count as missing anyway."""
    known = [found for found in sentinels_of(values, names) if found.is_known and abs(found.value) <= LARGEST_VALUE]
    if not known:
        return
    mark, rows = number_text(known[0].value), f"{counted(known[0].n_rows, 'row')} of {known[0].column!r} ({name})"
    code = f"frame.mask(frame == {mark})" if name == "frame" else f"np.where(np.equal(X, {mark}), np.nan, X)"
    equal = np.asarray(data == known[0].value if name == "frame" else np.equal(data, known[0].value))
    code = (
        f"use {code}, or" if equal.sum() == (values == known[0].value).sum() else "say"
    )  # floats of Arrow's own are not equal to it
    raise DataError(
        "A number that usually stands for a missing value, and lies apart from the others, must be said to be one. "
        f"Received: {mark} on {rows}. If it stands for one, {code} missing_values="
        f"{mark if named is None else f'{named},{mark}'!r}; if it was measured, missing_values='none'."
    )


def names_in_an_array(n: int) -> tuple[str, ...]:
    """Return the names of the columns of an array, which has none."""
    return tuple(f"feature_{i + 1}" for i in range(n))


def as_time_series(data: Any, columns: tuple[str, ...] | None = None) -> TimeSeries:
    """Return the series alone that `take` makes, times without a zone in UTC.

    Args:
        data: as for `take`.
        columns: names for the features of an array; default: feature_1, feature_2, ...

    Raises:
        DataError: as `take`.
    """
    return take(data, columns).series


def in_place(taken: Taken) -> Taken:
    """Refuse a frame whose rows are in another order than their times, where each row is to have a score in its place.

    One row in a hundred may come late. A training has no such need: it sorts the rows.

    Raises:
        DataError: if more rows than that come behind later ones.
    """
    if taken.sorting:
        times = taken.series.times
        behind: Ints = np.flatnonzero(times < np.maximum.accumulate(times))
        raise DataError(
            f"Rows must come in the order of their times, to have their scores in the same. Received: {len(behind):,} of "
            f"{len(times):,} rows behind later ones, first row {behind[0]} (frame). Sort them: {taken.sorting}."
        )
    return taken


def _sorting(series: TimeSeries, clock: Clock) -> str:
    """Return what would sort the rows; refuse those of several series, which share their times, and dates that were confused."""
    for confused in (ExchangedDays(series.zone), TwelveHours(series.zone)):
        confused.take(series.times)
        confused.refuse("frame")
    try:
        order = sorted_order(series.times, series.values, series.name)
    except DataError as error:
        n = len(series) - len(np.unique(series.times))
        if n <= MOST_REPEATED * len(series):
            raise DataError(
                f"The rows of a series must come one after the other. Received: {len(series):,} rows in runs, one below the other, "
                "that lie among one another in time (frame). Take one series at a time where there are several, or sort them: "
                f"{_sorted_by(clock)}."
            ) from error
        by = "level=0" if clock.column is None else repr(clock.column)
        raise DataError(
            f"Each row of a series must have a time of its own. Received: {n:,} of {len(series):,} rows with the time of "
            "another (frame). Take one series at a time where there are several, or make one row a time: "
            f"frame.groupby({by}).mean()."
        ) from error
    return "" if order is None else _sorted_by(clock)


def _sorted_by(clock: Clock) -> str:
    return "frame.sort_index()" if clock.column is None else f"frame.sort_values({clock.column!r})"


def _check_names(frame: pd.DataFrame, features: tuple[str, ...] | None) -> None:
    names = [str(name) for name in frame.columns if features is None or str(name) in features]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(
            f"Each column must have a name of its own. Received: {shorten(repeated)} more than once (frame). "
            "Keep the first of each with frame.loc[:, ~frame.columns.astype(str).duplicated()], or rename them in frame.columns."
        )
    _require_rows(len(frame), "frame")


def _require_rows(n: int, name: str) -> None:
    if not n:
        what = {"frame": "A frame", UNNAMED: "An array"}.get(name, "A series")
        raise DataError(f"{what} must have at least one row. Received: 0 ({name}). Give the rows of a series.")


def _holds_numbers(cells: pd.Series[Any]) -> bool:
    """Tell whether a column holds numbers or truth values, be it as objects."""
    dtype: Any = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return dtype.categories.dtype.kind in "biuf"
    if dtype.kind not in "biufO":
        return False
    return dtype.kind != "O" or isinstance(next(iter(cells.dropna()), None), Real | Decimal | np.bool_)


def _check_roles(frame: pd.DataFrame, clock: Clock | None) -> None:
    """Refuse labels, counts of rows, and clocks beside the times among the features."""
    numeric = [i for i in range(len(frame.columns)) if _holds_numbers(frame.iloc[:, i])]
    few = {str(frame.columns[i]): [str(cell) for cell in frame.iloc[:, i].dropna().unique()[:1_000]] for i in numeric}
    # In a frame a column that rises evenly was put there by somebody who wants it; in a file it may be any clock.
    labels, counters = labels_of(few, surely=True), [name for name in counters_of(few) if is_counter_name(name)]
    clocks = [str(frame.columns[i]) for i in numeric if clock and is_time(frame.iloc[:, i], str(frame.columns[i]), ReadingConfig())]
    found = labels or counters or clocks
    if found:
        names = [name for name in frame.columns if str(name) in found]
        what = "labels" if labels else "a count of the rows" if counters else "times"
        raise DataError(
            f"The columns of a frame must be features. Received: {what} in {shorten(found)} (frame). Leave out what is none with "
            f"frame.drop(columns={names!r}), or call a feature otherwise."
        )
