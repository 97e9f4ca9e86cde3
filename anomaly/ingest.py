"""CSV text -> checked numbers, chunk by chunk; the raw lines are kept so that output can repeat them.

First step of the flow. A reader holds one chunk at a time, so a file of any length needs the same
memory. What a record must look like is checked here rather than left to the parser: pandas shifts
columns silently when a record is longer than the header.
"""

import contextlib
import csv
import difflib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd

from anomaly.errors import ConfigError, DataError, shorten
from anomaly.lines import LineReader, open_text, shown_name
from anomaly.series import NOT_TIMES, Bools, Floats, Ints, TimeSeries
from anomaly.tolerance import Tolerance

CHUNK_BYTES = 1 << 20
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Text that means "missing"; anything else in a value column must be a number.
MISSING_TEXT = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
# The first epoch number of a file is read in the coarsest unit that puts it before the year 5138 (1e17
# microseconds); a later one beyond that year is refused, so that a change of units does not go unseen.
_LAST_TIME = 1e17
_MOST_FAULTS = 20
_OTHER_DELIMITERS = (";", "\t", "|")
_OFFSET = r"(?:[Zz]|[+-]\d\d:?(?:\d\d)?)\s*$"
_EPOCH_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 1e-3))


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of a CSV file."""

    lines: list[str]  # the records as they stand in the file, without line ends
    times: Ints  # (n,) int64, microseconds since 1970 UTC, or row numbers
    values: Floats  # (n, n_features) float64, NaN = missing
    labels: Floats | None  # (n,) 0 or 1


class CsvReader:
    """Read a CSV file in chunks; use it in a `with` block and iterate over it.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input. UTF-8 (or UTF-16 with a byte order mark),
            one header line; its fields are separated by commas or, if it has none, by semicolons, tabs or bars.
        time_column: name of the column with ISO 8601 times or epoch numbers. "auto" takes a column
            called timestamp, time, datetime, date or ds, else a first column that holds ISO times;
            None counts rows instead.
        value_columns: names of the features in order; default: every column that is neither time nor label.
        label_column: name of a column of 0 and 1; it is never a feature.
        chunk_bytes: about how much text is held at a time.
        strict: refuse what is otherwise tolerated and counted.
        collect: gather what is wrong with the records in `faults`, and leave these records out, instead of refusing the
            first.

    Attributes:
        faults: what was wrong, a sentence each, at most 20.
        tolerance: what was tolerated so far.
        delimiter: what separates the fields.

    Raises:
        DataError: if the file is empty, the header repeats a name or leaves one empty, a named
            column is missing; later, while iterating, if a record has not as many fields as the
            header, a value is not a number, or a time is not a time.
        ConfigError: if a column is asked for twice, or no value column is.
        StorageError: if the file cannot be opened or read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        time_column: str | None = "auto",
        value_columns: list[str] | tuple[str, ...] | None = None,
        label_column: str | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        strict: bool = False,
        collect: bool = False,
    ) -> None:
        self.faults: list[str] = []
        self._collect = collect
        self.name = shown_name(path)
        self.tolerance = Tolerance(strict, self.name)
        self.delimiter = ","
        self._row = 0
        self._has_offsets: bool | None = None
        self._has_epoch_times: bool | None = None
        self._epoch_scale: float | None = None
        self._open_files = contextlib.ExitStack()
        try:
            self._lines = LineReader(open_text(path, self._open_files, self.tolerance), self.name, self.tolerance, chunk_bytes)
            self.header_line, self.columns = self._read_header()
            self._pending = self._read_lines()
            self.time_column = self._find_time_column(time_column)
            self.label_column = label_column
            self.value_columns = self._find_value_columns(value_columns)
            if value_columns is not None:
                self._count_columns()
        except BaseException:
            self._open_files.close()
            raise

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._open_files.close()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the records in order, about `chunk_bytes` of text at a time."""
        numbered, self._pending = self._pending, []
        while numbered:
            yield self._parse(numbered)
            numbered = self._read_lines()

    def _read_header(self) -> tuple[str, list[str]]:
        line = self._lines.first()
        if not line.strip():
            found = "a blank first line" if self._lines.number else "an empty file"
            raise DataError(f"A CSV file must begin with a header line. Received: {found} ({self.name}).")
        self.delimiter = _delimiter_of(line)
        self.tolerance.add("other_delimiter", self.delimiter != ",", "line 1")
        columns = [name.strip() for name in self._fields(line, 1)]
        if all(_is_number(name) for name in columns):
            raise DataError(
                f"The first line must name the columns. Received: numbers only, {shorten(columns)} ({self.name}, line 1). "
                "Add a header line."
            )
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if "" in columns:
            raise DataError(
                f"Every column must have a name. Received: no name for column {columns.index('') + 1} of {len(columns)} "
                f"({self.name}, line 1). Name it in the header."
            )
        if repeated:
            raise DataError(
                f"Column names must differ. Received: {shorten(repeated)} more than once ({self.name}, line 1). "
                "Rename the columns in the header."
            )
        return line, columns

    def _read_lines(self) -> list[tuple[int, str]]:
        """Read about a chunk of text: (line number, record) pairs.

        A blank line is no record, unless there is one column only: then it is a missing value. Neither is a line that
        repeats the header, as where files were joined.
        """
        keep_blank = len(self.columns) == 1 if hasattr(self, "columns") else False
        numbered: list[tuple[int, str]] = []
        while not numbered:
            first = self._lines.number + 1
            lines = self._lines.next()
            if not lines:
                break
            blank = [] if keep_blank else [i for i, line in enumerate(lines) if not line or line.isspace()]
            headers = [i for i, line in enumerate(lines) if line == self.header_line] if hasattr(self, "header_line") else []
            for kind, found in (("blank_lines", blank), ("repeated_headers", headers)):
                self.tolerance.add(kind, len(found), f"line {first + found[0]:,}" if found else "")
            dropped = {*blank, *headers}
            numbered = [(first + i, line) for i, line in enumerate(lines) if i not in dropped]
        return numbered

    def _find_time_column(self, wanted: str | None) -> str | None:
        if wanted is None:
            return None
        if wanted != "auto":
            self._require([wanted], "time column", "--time-column; a detector reads the one it was trained on")
            return wanted
        named = [name for name in self.columns if name.lower() in TIME_NAMES]
        if named:
            return named[0]
        return self.columns[0] if self._first_cell_is_time() else None

    def _first_cell_is_time(self) -> bool:
        if not self._pending:
            return False
        number, line = self._pending[0]
        cell = self._fields(line, number)[0]
        try:
            float(cell or "nan")
        except ValueError:
            return not bool(pd.isna(pd.to_datetime(cell, errors="coerce", format="ISO8601", utc=True)))
        return False

    def _find_value_columns(self, wanted: list[str] | tuple[str, ...] | None) -> list[str]:
        if self.label_column is not None:
            self._require([self.label_column], "label column", "--label-column")
            if self.label_column == self.time_column:
                raise ConfigError(f"The label column must not be the time column. Received: {self.label_column!r} ({self.name}).")
        reserved = (self.time_column, self.label_column)
        if wanted is None:
            found = [name for name in self.columns if name not in reserved]
            if not found:
                raise DataError(
                    f"The file must have at least one value column. Received: {shorten(self.columns)} ({self.name}, line 1). "
                    "Fields are separated by commas."
                )
            return found
        if not wanted or len(set(wanted)) < len(wanted):
            raise ConfigError(f"The value columns must be at least one and differ. Received: {shorten(list(wanted)) or 'none'}.")
        self._require(list(wanted), "value columns", "--value-columns; a detector reads the columns it was trained on")
        clash = [name for name in wanted if name in reserved]
        if clash:
            raise DataError(f"A value column must not be the time or label column too. Received: {shorten(clash)} ({self.name}).")
        return list(wanted)

    def _count_columns(self) -> None:
        """Count columns that nobody asked for, and whether the others stand in another order."""
        asked = {*self.value_columns, self.time_column, self.label_column}
        self.tolerance.add("extra_columns", sum(name not in asked for name in self.columns), "line 1")
        here = [name for name in self.columns if name in self.value_columns]
        self.tolerance.add("reordered_columns", sum(a != b for a, b in zip(here, self.value_columns, strict=True)), "line 1")

    def _require(self, names: list[str], what: str, option: str) -> None:
        missing = [name for name in names if name not in self.columns]
        if missing:
            near = [name for lost in missing for name in difflib.get_close_matches(lost, self.columns, n=1)][:3]
            hint = f" (perhaps {shorten(near)})" if near else ""
            raise DataError(
                f"The {what} must be in the header. Received: no {shorten(missing)} among {shorten(self.columns)}{hint} "
                f"({self.name}, line 1). Name an existing column with {option}."
            )

    def _fault(self, message: str) -> None:
        """Refuse the input, or note why it would be."""
        if not self._collect:
            raise DataError(message)
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(message)

    def _parse(self, numbered: list[tuple[int, str]]) -> Chunk:
        numbered = self._of_equal_length(numbered)
        frame = pd.read_csv(
            io.StringIO("\n".join(line or "NaN" for _, line in numbered)),
            sep=self.delimiter,
            header=None,
            names=self.columns,
            usecols=[*self.value_columns, *(c for c in (self.time_column, self.label_column) if c)],
            dtype={self.time_column: "str"} if self.time_column else None,
            keep_default_na=False,
            na_values=list(MISSING_TEXT),
            skip_blank_lines=False,
            index_col=False,
            low_memory=False,
        )
        numbers = [number for number, _ in numbered]
        values = np.column_stack([self._numbers(frame[name], numbers) for name in self.value_columns])
        self._count_values(values, numbers)
        times, good = self._times(frame, numbers)
        labels = self._labels(frame, numbers)
        self._row += len(numbered)
        lines = [line for _, line in numbered]
        if good.all():
            return Chunk(lines, times, values, labels)
        kept = [line for line, is_good in zip(lines, good, strict=True) if is_good]
        return Chunk(kept, times[good], values[good], None if labels is None else labels[good])

    def _count_values(self, values: Floats, numbers: list[int]) -> None:
        for kind, found in (("missing_values", np.isnan(values)), ("infinite_values", np.isinf(values))):
            if found.any():
                rows = np.flatnonzero(found.any(axis=1))
                self.tolerance.add(kind, int(found.sum()), f"line {numbers[rows[0]]:,}")
        self.tolerance.add("incomplete_rows", int(np.isnan(values).any(axis=1).sum()))

    def _of_equal_length(self, numbered: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Refuse records with another number of fields than the header; return the others."""
        separators = len(self.columns) - 1
        wrong = []
        for place, (number, line) in enumerate(numbered):
            try:
                found = len(self._fields(line, number)) - 1 if '"' in line else line.count(self.delimiter)
            except DataError as error:
                self._fault(str(error))
                wrong.append(place)
                continue
            if found != separators:
                self._fault(
                    f"Every record must have as many fields as the header ({separators + 1}). Received: {found + 1} "
                    f"({self.name}, line {number}). Mend the line."
                )
                wrong.append(place)
        return [pair for place, pair in enumerate(numbered) if place not in wrong] if wrong else numbered

    def _fields(self, line: str, number: int) -> list[str]:
        if line.count('"') % 2:
            raise DataError(f"A quoted field must end on its own line. Received: an open quote ({self.name}, line {number}).")
        try:
            return next(csv.reader([line], delimiter=self.delimiter), []) or [""]
        except csv.Error as error:
            raise DataError(f"A line must be a CSV record. Received: {error} ({self.name}, line {number}).") from error

    def _numbers(self, column: "pd.Series[Any]", numbers: list[int]) -> Floats:
        if column.dtype.kind in "if":
            return column.to_numpy(np.float64)
        text = column.astype("str")  # true and false are no numbers
        parsed = pd.to_numeric(text, errors="coerce")
        # Beside an integer above 2**63 pandas leaves the missing cells as text.
        bad = np.flatnonzero((parsed.isna() & column.notna() & ~text.isin(MISSING_TEXT)).to_numpy())
        if len(bad):
            where = ", ".join(f"{str(column.iloc[i])[:40]!r} on line {numbers[i]}" for i in bad[:5])
            self._fault(
                f"Column {column.name!r} must hold numbers. Received: {where} ({self.name}). "
                "Mend the file, or leave the column out with --value-columns."
            )
        return parsed.to_numpy(np.float64)

    def _times(self, frame: pd.DataFrame, numbers: list[int]) -> tuple[Ints, Bools]:
        """Return the times, and which of them are times; where faults are refused all are."""
        if self.time_column is None:
            return np.arange(self._row, self._row + len(frame), dtype=np.int64), np.ones(len(frame), np.bool_)
        column = frame[self.time_column]
        if self._has_epoch_times is None and len(column):  # the first time of the file decides
            self._has_epoch_times = _is_number(column.iloc[0]) and not _is_basic_date(column.iloc[0])
        if self._has_epoch_times:
            stamps = self._epoch_microseconds(pd.to_numeric(column, errors="coerce").to_numpy(np.float64))
            good = np.abs(stamps) < _LAST_TIME
            times = np.rint(np.where(good, stamps, 0)).astype(np.int64)
        else:
            parsed, has_offset = _parse_times(column)
            good = parsed.notna().to_numpy()
            times = np.asarray(parsed.astype("datetime64[us, UTC]").astype("int64"), np.int64)
        if not good.all():
            first = int(np.argmin(good))
            self._fault(
                f"Column {self.time_column!r} must hold ISO 8601 times or epoch numbers. Received: "
                f"{str(column.iloc[first])[:40]!r} ({self.name}, line {numbers[first]}). Mend the file, or name another "
                "column with --time-column."
            )
        elif not self._has_epoch_times:
            self._check_offsets(column, has_offset, numbers)
        return times, good

    def _check_offsets(self, column: "pd.Series[Any]", has_offset: Bools, numbers: list[int]) -> None:
        """Refuse times of which some have an offset from UTC and some have none: nothing says how they follow each other."""
        if self._has_offsets is None and len(has_offset):
            self._has_offsets = bool(has_offset[0])
        other = np.flatnonzero(has_offset != self._has_offsets)
        if len(other):
            self._fault(
                "Times must all have an offset from UTC, or none of them. Received: "
                f"{column.iloc[other[0]]!r} after others ({self.name}, line {numbers[other[0]]}). Write all of them with an offset."
            )

    def _epoch_microseconds(self, stamps: Floats) -> Floats:
        """Scale epoch numbers to microseconds; the first one of the file decides the unit."""
        if self._epoch_scale is None:
            self._epoch_scale = next((scale for limit, scale in _EPOCH_UNITS if abs(stamps[0]) < limit), 1.0)
        return stamps * self._epoch_scale

    def _labels(self, frame: pd.DataFrame, numbers: list[int]) -> Floats | None:
        if self.label_column is None:
            return None
        labels = np.nan_to_num(self._numbers(frame[self.label_column], numbers))
        bad = np.flatnonzero((labels != 0) & (labels != 1))
        if len(bad):
            self._fault(
                f"The label column {self.label_column!r} must hold 0 or 1. Received: {labels[bad[0]]:g} "
                f"({self.name}, line {numbers[bad[0]]})."
            )
        return labels


def read_csv(
    path: str | Path,
    *,
    time_column: str | None = "auto",
    value_columns: list[str] | tuple[str, ...] | None = None,
    label_column: str | None = None,
    strict: bool = False,
    tolerance: Tolerance | None = None,
) -> TimeSeries:
    """Read a whole CSV file into one `TimeSeries`.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input.
        time_column: as for `CsvReader`; "auto" by default, None counts rows.
        value_columns: names of the features; default: every column that is neither time nor label.
        label_column: name of a column of 0 and 1; it is never a feature.
        strict: refuse what is otherwise tolerated and counted, see `anomaly.tolerance`.
        tolerance: receives what was tolerated.

    Returns:
        The series, its rows in the order of the file.

    Raises:
        DataError: as `CsvReader`, or if there is no record after the header.
        ConfigError: as `CsvReader`.
        StorageError: if the file cannot be opened or read.
    """
    with CsvReader(path, time_column=time_column, value_columns=value_columns, label_column=label_column, strict=strict) as reader:
        chunks = list(reader)
        if tolerance is not None:
            tolerance.counts, tolerance.places, tolerance.name = (
                reader.tolerance.counts,
                reader.tolerance.places,
                reader.name,
            )
        if not chunks:
            raise DataError(f"The file must have at least one record after its header. Received: 0 ({reader.name}).")
        return TimeSeries(
            times=np.concatenate([chunk.times for chunk in chunks]),
            values=np.concatenate([chunk.values for chunk in chunks]),
            columns=tuple(reader.value_columns),
            labels=None if label_column is None else np.concatenate([chunk.labels for chunk in chunks if chunk.labels is not None]),
            name=reader.name,
            time_column=reader.time_column,
        )


def _delimiter_of(header: str) -> str:
    """Return what separates the fields: a comma, or where there is none the most frequent of the others."""
    others = max(_OTHER_DELIMITERS, key=header.count)
    return "," if "," in header or others not in header else others


def _parse_times(column: "pd.Series[Any]") -> tuple["pd.Series[Any]", Bools]:
    """Return UTC times, NaT where a cell holds none, and for each cell whether it has an offset from UTC."""
    text = column.where(~column.isin(NOT_TIMES))
    try:
        parsed = pd.to_datetime(text, format="ISO8601")  # all with the same offset, or all without one
        aware = np.full(len(text), parsed.dt.tz is not None)
        return (parsed.dt.tz_convert("UTC") if aware.any() else parsed.dt.tz_localize("UTC")), aware
    except (ValueError, OverflowError):
        parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
        return parsed, column.astype("str").str.contains(_OFFSET).to_numpy(np.bool_)


def _is_number(text: object) -> bool:
    try:
        return math.isfinite(float(str(text)))
    except ValueError:
        return False


def _is_basic_date(text: object) -> bool:
    """Tell YYYYMMDD, which ISO 8601 allows and which would be an epoch second of 1970 to 1973."""
    digits = str(text)
    if len(digits) != 8 or not digits.isdigit():
        return False
    return not bool(pd.isna(pd.to_datetime(digits, errors="coerce", format="%Y%m%d")))


def read_direction(text: str) -> tuple[Any, ...]:
    """Read a preferred direction: "1,0,-1", or the path of a CSV file of numbers without header.

    Returns:
        One number a feature, or for a file of several lines one row of them a timestep.

    Raises:
        ConfigError: if it is neither.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        pass
    try:
        with open(text, encoding="utf-8") as handle:
            rows = [tuple(float(cell) for cell in line.split(",")) for line in handle if line.strip()]
        if len({len(row) for row in rows}) != 1:
            raise ValueError("its lines must hold equally many numbers")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"`direction` must be numbers separated by commas, or a file of them. Received: {text!r} ({error})."
        ) from error
    return rows[0] if len(rows) == 1 else tuple(rows)
