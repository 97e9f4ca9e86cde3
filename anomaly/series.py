"""`TimeSeries`: one checked series, the first of the five nouns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anomaly.drawing import BLUE, draw_line, html_line, new_figure, svg_line
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.quick_start import pd
from anomaly.words import counted, names_text, span_from, span_text, step_text, zone_text
from anomaly.zones import is_zone

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MICROSECONDS_A_DAY = 86_400_000_000
# The median step of rows may differ from that in training by this factor.
STEP_TOLERANCE = 1.5
# All steps of a stretch of another pace differ by this factor at least, and it has so many.
_PACE_TOLERANCE, _FEWEST_AT_A_PACE = 1.1, 20

# pandas reads these as the time of reading.
NOT_TIMES = ("now", "today")

# A date alone stands for all of its day where it ends something.
DATE = re.compile(r"\d{4}-\d\d-\d\d")

# A series counts as regular when this share of its steps is no longer than 1.5 median steps.
_REGULAR_SHARE, _REGULAR_STEPS = 0.95, 1.5
_LONGEST_STEPS = 10.0
_MOST_SHOWN = 6  # features in a notebook or a figure


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """One series of one or more features, rows in the order in which they came.

    Attributes:
        times: `(n_timesteps,)` int64, microseconds since 1970-01-01 UTC; row numbers if `time_column` is None.
        values: `(n_timesteps, n_features)` float64; NaN = missing.
        columns: names of the features.
        labels: `(n_timesteps,)` 0 or 1, human ground truth; None if there is none. Never used by `fit` or `score`;
            `anomaly train` leaves rows with 1 out.
        name: where the series came from, for messages.
        time_column: name of the time column; None if rows are counted.
        zone: the IANA zone that times without one were read in, in which they are shown.
        reading: how the file that it came from was read, as far as nobody had said it and it is not as in a plain file.
    """

    times: Ints
    values: Floats
    columns: tuple[str, ...]
    labels: Floats | None = None
    name: str = "series"
    time_column: str | None = None
    zone: str = "UTC"
    reading: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse what is of another kind, arrays that do not fit together, and names that could not be told apart.

        Raises:
            DataError: with the attribute and what would make it right.
        """
        self._take_numbers()
        self._check_kinds()
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
        if self.labels is not None and not (known := np.isin(self.labels, (0, 1))).all():
            raise DataError(f"`labels` must be 0 or 1. Received: {self.labels[~known][0]} ({self.name}). Write 1 for anomalies.")

    def _take_numbers(self) -> None:
        """Hold numbers of another width as they are held everywhere: which they are is no question."""
        for name, kind, taken in (("times", "i8", "iu"), ("values", "f8", "iuf")):
            array = getattr(self, name)
            if isinstance(array, np.ndarray) and array.dtype.kind in taken and not _is_array(array, kind):
                object.__setattr__(self, name, array.astype(kind))

    def _check_kinds(self) -> None:
        """Refuse what would only fail later, where nobody knows why."""
        names = isinstance(self.columns, tuple) and all(isinstance(name, str) for name in self.columns)
        kinds = {
            "times": (_is_array(self.times, "i8"), "an array of int64", "pd.DatetimeIndex(times).as_unit('us').asi8 makes one"),
            "values": (_is_array(self.values, "f8"), "an array of float64", "np.asarray(values, np.float64) makes one of numbers"),
            "columns": (names, "a tuple of texts", "tuple(map(str, columns)) makes one of names"),
            "labels": (
                self.labels is None or (isinstance(self.labels, np.ndarray) and self.labels.dtype.kind in "biuf"),
                "an array of 0 and 1, or None", "np.asarray(labels, np.float64) makes one of numbers",
            ),
            "zone": (self.zone == "UTC" or is_zone(self.zone), "an IANA zone", "Europe/Berlin is one"),
        }  # fmt: skip
        for name, (right, rule, remedy) in kinds.items():
            if not right:
                came = getattr(self, name)
                kind = f"an array of {came.dtype}" if isinstance(came, np.ndarray) else type(came).__name__
                raise DataError(
                    f"`{name}` of a TimeSeries must be {rule}. Received: {repr(came) if isinstance(came, str) else kind}. {remedy}."
                )

    def __len__(self) -> int:
        """Return the number of timesteps."""
        return len(self.times)

    def __getitem__(self, rows: slice) -> TimeSeries:
        """Return the rows of a slice of row numbers or times, as views; the first one is in it, the last one is not."""
        rows = row_slice(rows, self.stamps, self.times, "TimeSeries")
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, times=self.times[rows], values=self.values[rows], labels=labels)

    def __repr__(self) -> str:
        """Say in a line how many rows of what there are, and of when."""
        if not len(self):
            return f"TimeSeries 0 rows: {names_text(self.columns)}"
        index = self.stamps
        when = ""
        if self.time_column is not None:
            when = f", {span_text(index[0], index[-1])}{zone_text(index)}"
            when += f", every {step_text(median_step(self.times))}" if len(self) > 1 else ""
        missing = float(np.isnan(self.values).mean())
        lacks = "" if missing == 0 else f"; {100 * missing:.2g} % missing"
        labelled = len(labelled_ranges(self))
        known = f"; {counted(labelled, 'labelled event')}" if labelled else ""
        return f"TimeSeries {counted(len(self), 'row')}{when}: {names_text(self.columns)}{lacks}{known}"

    def _repr_html_(self) -> str:
        """Show the line, and at most six features as small pictures with their labelled events."""
        marks = labelled_ranges(self)
        pictures = [
            html_line(name) + svg_line(values, name, marks=marks)
            for name, values in zip(self.columns[:_MOST_SHOWN], self.values.T, strict=False)
        ]
        return html_line(repr(self)) + "".join(pictures)

    def plot(self) -> Figure:
        """Draw the features over time, at most six, one below the other, and the labelled events.

        Raises:
            ConfigError: if matplotlib is not installed.
        """
        shown = self.columns[:_MOST_SHOWN]
        figure, axes = new_figure([2.0] * len(shown))
        x = self.stamps
        broken = np.append(breaks_between(self.times, longest_step(self.times, "auto")), False)[: len(self)]
        for axis, name, values in zip(axes, shown, self.values.T, strict=False):
            draw_line(axis, x, values, broken, BLUE)
            axis.set_ylabel(name, parse_math=False)  # "$" in a name is no formula
            for start, stop in labelled_ranges(self):
                axis.axvspan(x[start], x[stop - 1], ymin=0.96, color="black", alpha=0.7, linewidth=1)
        return figure

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.values.shape[1])

    def of_columns(self, names: Sequence[str]) -> TimeSeries:
        """Return the series with these of its columns, in this order; itself if they are all, as they are."""
        if self.columns == tuple(names):
            return self
        return replace(self, values=self.values[:, [self.columns.index(name) for name in names]], columns=tuple(names))

    def before(self, when: str | datetime) -> TimeSeries:
        """Return the rows before the first one at or after `when`: a datetime or ISO 8601, in `zone` unless it says otherwise.

        Raises:
            ConfigError: if it is no time, or rows are counted.
        """
        return self[: self._row_of(_as_text(when))]

    def since(self, when: str | datetime) -> TimeSeries:
        """Return the rows from the first one at or after `when`: a datetime or ISO 8601, in `zone` unless it says otherwise.

        Raises:
            ConfigError: as `before`.
        """
        return self[self._row_of(_as_text(when)) :]

    def cut_row(self, train_end: str) -> int:
        """Return the number of rows before a cut; see `row_at`.

        Raises:
            ConfigError: if the cut is no such place, or leaves no row before it.
        """
        row = self.row_at(train_end)
        if not 0 < row <= len(self):
            raise ConfigError(
                f"The cut must leave at least one row before it, and lie within the {len(self)} rows. "
                f"Received: {train_end}, which is row {row} ({self.name})."
            )
        return row

    def row_at(self, place: str) -> int:
        """Return the row at a place: its number, a fraction below 1 of all rows, a time, or a span before the end such as 7d.

        It is the first row at or after a time, in `zone` unless it says otherwise, and the number of rows if there is none.

        Raises:
            ConfigError: if the place is none of these.
        """
        if share := re.fullmatch(r"\s*(\d{1,2}(?:\.\d{1,9})?)\s*%\s*", place, re.ASCII):
            raise ConfigError(
                f"A cut must be a whole row number, a fraction below 1, a time, or a span before the end. Received: {place}. "
                f"Write {float(share[1]) / 100:g}."
            )
        try:
            number = float(place)
        except ValueError:
            return self._row_of(place)
        if number == 1 and not place.strip().isdecimal():
            raise ConfigError(
                f"A cut must be a whole row number, or a fraction below 1. Received: {place}, which may be either. "
                "Write 1 for the row, or leave the cut out for all rows."
            )
        if not (0 < number < 1 or number.is_integer()):
            raise ConfigError(
                f"A cut must be a whole row number, a fraction below 1, a time, or a span before the end. Received: {place}."
            )
        return round(number * len(self)) if 0 < number < 1 else int(number)

    def _row_of(self, when: str) -> int:
        if self.time_column is None:
            raise ConfigError(
                f"A cut by time needs a time column. Received: {when!r} for a series whose rows are counted ({self.name}). "
                "Give a row number, or name the column with --time-column."
            )
        span = span_from(when)
        if span is None:
            return _row_on(when, self.stamps, self.times)
        later = self.times >= int(self.times.max()) - span
        return int(np.argmax(later)) if later.any() else len(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the values as a frame; the index holds times in `zone`, or row numbers."""
        return pd.DataFrame(self.values, index=self.stamps, columns=list(self.columns))

    @property
    def stamps(self) -> pd.Index:
        """When each row is, as timestamps in `zone`, or its number if rows are counted."""
        index = time_index(self.times, self.time_column)
        return index.tz_convert(self.zone) if isinstance(index, pd.DatetimeIndex) and self.zone != "UTC" else index


def row_slice(rows: slice, stamps: pd.Index, times: Ints, what: str) -> slice:
    """Return a slice of row numbers or times as one of row numbers.

    Args:
        rows: its ends are row numbers or times, or left out; the first one is in it, the last one is not. Times are text of
            ISO 8601, timestamps or datetimes; one without a zone is read on the clock of `stamps`.
        stamps: `(n,)` timestamps or periods; row numbers if rows are counted.
        times: `(n,)` as in `TimeSeries`.
        what: is sliced, for messages.

    Raises:
        TypeError: if it is no slice, or has another step than 1.
        ConfigError: if an end is no time, or rows are counted.
    """
    if not isinstance(rows, slice) or rows.step not in (None, 1):
        raise TypeError(
            f"A {what} is indexed by a slice of rows or times with step 1, for example [100:200] or ['2024-05-01':'2024-05-08']."
        )
    return slice(
        *(end if end is None or hasattr(end, "__index__") else _row_on(end, stamps, times) for end in (rows.start, rows.stop))
    )


def _row_on(when: Any, stamps: pd.Index, times: Ints) -> int:
    """Return the first row at or after a time on the clock of the stamps."""
    clock = stamps.to_timestamp() if isinstance(stamps, pd.PeriodIndex) else stamps
    if not isinstance(clock, pd.DatetimeIndex):
        raise ConfigError(f"A cut by time needs times. Received: {when!r}, and rows that are counted. Cut by row numbers.")
    stamp = _stamp(when)
    if stamp.tz is None and clock.tz is None:
        later = np.asarray(clock >= stamp, np.bool_)
    else:
        aware = stamp if stamp.tz is not None else stamp.tz_localize(clock.tz, ambiguous=True, nonexistent="shift_forward")
        later = times >= int(aware.as_unit("us").asm8.astype(np.int64))
    return int(np.argmax(later)) if later.any() else len(times)


def _stamp(when: Any) -> pd.Timestamp:
    try:
        stamp = pd.to_datetime(when, format="ISO8601")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"A time must be ISO 8601, for example 2022-05-01T12:00. Received: {when!r}.") from error
    if not isinstance(stamp, pd.Timestamp) or (isinstance(when, str) and not begins_with_a_year(when)):
        raise ConfigError(f"A time must be given. Received: {when!r}.")
    return stamp


def begins_with_a_year(text: str) -> bool:
    """Tell times from what pandas takes for one: "-3", or "now" and "today" for the time of reading."""
    return len(text) >= 4 and text[:4].isdecimal()


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

    Args:
        times: `(n_timesteps,)`, in microseconds since 1970.
        time_column: their column; None where rows are counted, which always go forward.
        name: of the input, for messages.

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
    """Return the median of the positive differences of `times` `(n_timesteps,)`, in their unit; at least 1, also without any."""
    steps = np.diff(times)
    positive = steps[steps > 0]
    return max(1, int(np.median(positive))) if len(positive) else 1


def longest_step(times: Ints, max_gap: float | str) -> int:
    """Return the longest difference between two rows of one segment, in the unit of `times`.

    Args:
        times: `(n_timesteps,)`.
        max_gap: how many median steps that is; "auto" is 10.
    """
    return longest_of(median_step(times), max_gap)


def longest_of(step: int, max_gap: float | str) -> int:
    """Return `longest_step` of rows whose median step is known."""
    return int(float(_LONGEST_STEPS if max_gap == "auto" else max_gap) * step)


def row_step(times: Ints, max_gap: float | str) -> int:
    """Return the time between the rows of a regular series, whose missing rows are put in; 0 where none are.

    Regular is a series of which 95 % of the steps are no longer than 1.5 median steps.

    Args:
        times: `(n_timesteps,)`; the step is in their unit.
        max_gap: as for `longest_step`; with another than "auto" no row is put in.
    """
    steps, step = np.diff(times), median_step(times)
    regular = len(steps) == 0 or np.mean(steps <= _REGULAR_STEPS * step) >= _REGULAR_SHARE
    return step if regular and max_gap == "auto" else 0


def _as_text(when: str | datetime) -> str:
    if isinstance(when, str | datetime):
        return when if isinstance(when, str) else when.isoformat()
    raise ConfigError(
        f"A time must be text of ISO 8601 or a datetime. Received: {when!r}. Slice by row numbers with series[100:] and the like."
    )


def _is_array(values: object, kind: str) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == np.dtype(kind)


def steps_at_a_pace(window_size: int) -> int:
    """Return how many steps a stretch at another pace has at least."""
    return max(_FEWEST_AT_A_PACE, window_size)


def other_pace(times: Ints, step: int, window_size: int) -> tuple[int, int, int] | None:
    """Return a stretch of rows that come at another pace than a regular series; None if there is none.

    All of its steps are shorter than the usual one by a tenth, or all are longer, and it fills a window at least: a row that comes
    early, or late, or a few, are no other pace. Longer steps than `STEP_TOLERANCE` are rows that are missing.

    Args:
        times: `(n,)` as in `TimeSeries`.
        step: time between two rows.
        window_size: rows of a window.

    Returns:
        Its first row, the number of its rows, and the median step.
    """
    steps = np.diff(times)
    short = (steps > 0) & (_PACE_TOLERANCE * steps < step)
    long = (steps > _PACE_TOLERANCE * step) & (steps <= STEP_TOLERANCE * step)
    for other in (short, long):
        if not other.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[False], other, [False]])))
        begins, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - begins))
        first, last = int(begins[longest]), int(ends[longest])
        if last - first >= steps_at_a_pace(window_size):
            return first, last - first + 1, int(np.median(steps[first:last]))
    return None


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
