"""`TimeSeries`: one checked series, the first of the five nouns."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly.errors import ConfigError, DataError, shorten

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MICROSECONDS_A_DAY = 86_400_000_000
# The median step of rows may differ from that in training by this factor.
STEP_TOLERANCE = 1.5

# pandas reads these as the time of reading.
NOT_TIMES = ("now", "today")

# A series counts as regular when this share of its steps is no longer than 1.5 median steps.
_REGULAR_SHARE, _REGULAR_STEPS = 0.95, 1.5
_LONGEST_STEPS = 10.0


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """One series of one or more features, rows in the order in which they came.

    Attributes:
        times: `(n_timesteps,)` int64, microseconds since 1970-01-01 UTC; row numbers if `time_column` is None.
        values: `(n_timesteps, n_features)` float64; NaN = missing.
        columns: names of the features.
        labels: `(n_timesteps,)` 0 or 1, human ground truth; None if there is none. Never used by `fit` or `score`.
        name: where the series came from, for messages.
        time_column: name of the time column; None if rows are counted.
        reading: how the file that it came from was read, as far as nobody had said it and it is not as in a plain file.
    """

    times: Ints
    values: Floats
    columns: tuple[str, ...]
    labels: Floats | None = None
    name: str = "series"
    time_column: str | None = None
    reading: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and names that could not be told apart."""
        if self.values.ndim != 2 or self.values.shape != (len(self.times), len(self.columns)):
            raise DataError(
                "`values` must have one row a time and one column a name. Received: "
                f"{self.values.shape} for {len(self.times)} times and {len(self.columns)} names."
            )
        names = [*self.columns, *([] if self.time_column is None else [self.time_column])]
        if not self.columns or len(set(names)) < len(names) or not all(names):
            raise DataError(
                "A series must have at least one column, and each a name of its own that is not the time column's. "
                f"Received: {shorten(names) or 'none'} ({self.name})."
            )
        if self.labels is not None and self.labels.shape != self.times.shape:
            raise DataError(f"`labels` must have one entry a time ({len(self.times)}). Received: {self.labels.shape}.")

    def __len__(self) -> int:
        """Return the number of timesteps."""
        return len(self.times)

    def __getitem__(self, rows: slice) -> "TimeSeries":
        """Return the rows of a slice with step 1, as views."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError("A TimeSeries is indexed by a slice of rows with step 1, for example series[100:200].")
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, times=self.times[rows], values=self.values[rows], labels=labels)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.values.shape[1])

    def before(self, when: str) -> "TimeSeries":
        """Return the rows before the first one at or after `when` (ISO 8601; UTC unless it says otherwise)."""
        return self[: self._row_of(when)]

    def since(self, when: str) -> "TimeSeries":
        """Return the rows from the first one at or after `when` (ISO 8601; UTC unless it says otherwise)."""
        return self[self._row_of(when) :]

    def cut_row(self, train_end: str) -> int:
        """Return the number of rows before a cut given as a row number, a fraction below 1 or a time.

        Raises:
            ConfigError: if the cut is none of these or leaves no row before it.
        """
        try:
            number = float(train_end)
        except ValueError:
            row = self._row_of(train_end)
        else:
            if not (0 < number < 1 or number.is_integer()):
                raise ConfigError(f"A cut must be a whole row number, a fraction below 1 or a time. Received: {train_end}.")
            row = round(number * len(self)) if 0 < number < 1 else int(number)
        if not 0 < row <= len(self):
            raise ConfigError(
                f"The cut must leave at least one row before it, and lie within the {len(self)} rows. "
                f"Received: {train_end}, which is row {row} ({self.name})."
            )
        return row

    def _row_of(self, when: str) -> int:
        if self.time_column is None:
            raise ConfigError(
                f"A cut by time needs a time column. Received: {when!r} for a series whose rows are counted ({self.name}). "
                "Give a row number, or name the column with --time-column."
            )
        try:
            stamp = pd.to_datetime(when, format="ISO8601", utc=True)
        except ValueError as error:
            raise ConfigError(f"A time must be ISO 8601, for example 2022-05-01T12:00. Received: {when!r}.") from error
        if pd.isna(stamp) or when in NOT_TIMES:
            raise ConfigError(f"A time must be given. Received: {when!r}.")
        later = self.times >= int(stamp.as_unit("us").asm8.astype(np.int64))
        return int(np.argmax(later)) if later.any() else len(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the values as a frame; the index holds UTC times, or row numbers."""
        return pd.DataFrame(self.values, index=time_index(self.times, self.time_column), columns=list(self.columns))


def as_time_series(data: Any, columns: tuple[str, ...] | None = None) -> TimeSeries:
    """Take a `TimeSeries` as it is; wrap a DataFrame (a DatetimeIndex gives the times) or an array.

    Args:
        data: a `TimeSeries`, a DataFrame of numbers, or an array `(n_timesteps, n_features)` or `(n_timesteps,)`.
        columns: names for the features of an array; default: feature_1, feature_2, ...

    Raises:
        DataError: if the values are not real numbers in a dense table, the shape is neither, an array has not one column for
            each of `columns`, or a row has no time.
    """
    if isinstance(data, TimeSeries):
        return data
    data = data.to_frame() if isinstance(data, pd.Series) else data
    frame = data if isinstance(data, pd.DataFrame) else None
    try:
        values = _dense_real(data)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"A series must hold numbers only. Received: {error}. Make a column of times the index of the frame."
        ) from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(f"A series must have the shape (n_timesteps, n_features). Received: {values.shape}.")
    if frame is not None:
        columns = tuple(str(name) for name in frame.columns)
        if isinstance(frame.index, pd.DatetimeIndex):
            if frame.index.hasnans:
                raise DataError(f"Every row must have a time. Received: none for row {int(np.argmax(frame.index.isna()))}.")
            index = frame.index.tz_localize("UTC") if frame.index.tz is None else frame.index.tz_convert("UTC")
            return TimeSeries(index.as_unit("us").asi8, values, columns, name="frame", time_column=str(index.name or "timestamp"))
    names = columns or tuple(f"feature_{i + 1}" for i in range(values.shape[1]))
    if len(names) != values.shape[1]:
        raise DataError(
            f"X has {values.shape[1]} features, but Detector is expecting {len(names)} features as input: {shorten(names)}. "
            f"Received: an array of shape {np.shape(data)}. Reshape your data to (n_timesteps, {len(names)})."
        )
    return TimeSeries(np.arange(len(values), dtype=np.int64), values, names, name="array")


def _dense_real(data: Any) -> Floats:
    """Return float64 numbers; refuse what numpy would silently take a part of, or not see.

    The sentences begin with scikit-learn's words, by which its users and checks know them.
    """
    if hasattr(data, "nnz") and hasattr(data, "toarray"):
        raise DataError("Sparse data not supported: a series must be dense. Received: a sparse matrix. Use its toarray().")
    dtypes = data.dtypes if isinstance(data, pd.DataFrame) else [getattr(data, "dtype", None)]
    if any(getattr(dtype, "kind", "") == "c" for dtype in dtypes):
        raise DataError(
            "Complex data not supported: a series must hold real numbers. Received: complex ones. "
            "Give real and imaginary part, or magnitude and phase, as features of their own."
        )
    values = np.asarray(data, dtype=np.float64)
    if values.ndim == 2 and not values.shape[1]:
        raise DataError(
            f"Found array with 0 feature(s) (shape={values.shape}) while a minimum of 1 is required. Name a column of numbers."
        )
    return values


def time_index(times: Ints, time_column: str | None) -> pd.Index:
    """Return times as an index for tables and pictures: UTC stamps, or row numbers if nothing else is known."""
    if time_column is None:
        return pd.Index(times, name="row")
    return pd.DatetimeIndex(times.astype("datetime64[us]"), name=time_column, tz="UTC")


def format_time(time: int, time_column: str | None) -> str:
    """Return one time as RFC 3339 in UTC, or the row number."""
    if time_column is None:
        return str(time)
    text = str(np.datetime64(int(time), "us"))
    return text.removesuffix(".000000") + "Z"


def check_ascending(times: Ints, time_column: str | None, name: str) -> None:
    """Refuse times of which most do not go forward.

    Single steps back are gaps, and repeated times are tolerated.

    Raises:
        DataError: if there are two rows or more and half of the steps or fewer go forward or stay, or none goes forward.
    """
    steps = np.diff(times)
    if time_column is None or not len(steps):
        return
    if not (steps > 0).any() or np.mean(steps >= 0) <= 0.5:
        row = int(np.argmax(steps <= 0)) + 1
        raise DataError(
            f"Times must go forward. Received: {format_time(int(times[row]), time_column)} after "
            f"{format_time(int(times[row - 1]), time_column)} in row {row} ({name}). Sort the rows by time."
        )


def median_step(times: Ints) -> int:
    """Return the median of the positive differences of `times`, at least 1."""
    steps = np.diff(times)
    positive = steps[steps > 0]
    return max(1, int(np.median(positive))) if len(positive) else 1


def longest_step(times: Ints, max_gap: float | str) -> int:
    """Return the longest difference between two rows of one segment, in units of `times`; "auto" is 10 median steps."""
    return int(float(_LONGEST_STEPS if max_gap == "auto" else max_gap) * median_step(times))


def row_step(times: Ints, max_gap: float | str) -> int:
    """Return the time between the rows of a regular series, whose missing rows are put in; 0 where none are.

    Regular is a series of which 95 % of the steps are no longer than 1.5 median steps. With a `max_gap` other than "auto"
    no row is put in.
    """
    steps, step = np.diff(times), median_step(times)
    regular = len(steps) == 0 or np.mean(steps <= _REGULAR_STEPS * step) >= _REGULAR_SHARE
    return step if regular and max_gap == "auto" else 0


def complete_rows(values: Floats) -> Bools:
    """Tell for each row of `(n_timesteps, n_features)` whether no value is missing (infinite ones are there)."""
    complete: Bools = np.logical_not(np.isnan(values).any(axis=1))
    return complete


def breaks_between(times: Ints, longest: int) -> Bools:
    """Tell for each pair of neighbouring rows whether a gap, or a step back in time, lies between them.

    A repeated time is not a break: it loses nothing.

    Returns:
        `(n_timesteps - 1,)` bool.
    """
    steps = np.diff(times)
    broken: Bools = (steps < 0) | (steps > longest)
    return broken


def segments(times: Ints, longest: int) -> list[tuple[int, int]]:
    """Return half-open row ranges without a break inside, in order; together they are all rows.

    Args:
        times: `(n_timesteps,)`.
        longest: see `longest_step`.
    """
    breaks = (np.flatnonzero(breaks_between(times, longest)) + 1).tolist()
    return list(pairwise([0, *breaks, len(times)])) if len(times) else []


def runs(flags: Bools) -> list[tuple[int, int]]:
    """Return the half-open row ranges of the runs of True in `flags` `(n,)`, in order."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def labelled_ranges(series: TimeSeries) -> list[tuple[int, int]]:
    """Return half-open row ranges of the labelled events."""
    if series.labels is None:
        return []
    return runs(series.labels != 0)
