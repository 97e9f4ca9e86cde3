"""CSV text -> checked numbers, chunk by chunk; the raw lines are kept so that output can repeat them.

First step of the flow. A reader holds one chunk at a time, so a file of any length needs the same
memory. What a record must look like is checked here rather than left to the parser: pandas shifts
columns silently when a record is longer than the header.
"""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly.arriving import Position, Stop
from anomaly.config import ReadingConfig
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.few_rows import FEW_ROWS, plain_cells, plain_number
from anomaly.header import check_names, delimiter_of, require_columns
from anomaly.lines import LineReader, shown_name
from anomaly.parquet import ParquetLines, open_records
from anomaly.rejects import MAX_BAD_FRACTION, BadRecord, Offsets, Rejects, check_bad_rows
from anomaly.series import Bools, Floats, Ints
from anomaly.timestamps import A_TIME, NEVER, NO_TIME, OTHER_KIND, TWICE, TimeReader
from anomaly.tolerance import Tolerance

CHUNK_BYTES = 1 << 20
TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# Text that means "missing"; anything else in a value column must be a number.
MISSING_TEXT = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_MOST_FAULTS = 20
_SHOWN_CELL = 40

Records = list[tuple[int, str]]  # line number and text
Names = npt.NDArray[np.object_]  # of text


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of a CSV file."""

    lines: list[str]  # the records as they stand in the file, without line ends
    times: Ints  # (n,) int64, microseconds since 1970 UTC, or row numbers
    values: Floats  # (n, n_features) float64, NaN = missing
    labels: Floats | None  # (n,) 0 or 1
    ids: Names | None = None  # (n,) of the series that each row belongs to


class CsvReader:
    """Read a CSV or Parquet file in chunks; use it in a `with` block and iterate over it.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input. UTF-8 (or UTF-16 with a byte order mark),
            one header line; its fields are separated by commas or, if it has none, by semicolons, tabs or bars.
            Or a Parquet file, whose rows are read as the CSV records that they would be, see `anomaly.parquet`.
        time_column: name of the column of times. "auto" takes a column called timestamp, time, datetime, date or ds, else
            a first column that holds ISO times (or those of `time_format`); None counts rows instead.
        value_columns: names of the features in order; default: every column that is neither time nor label.
        label_column: name of a column of 0 and 1; it is never a feature.
        id_column: name of a column that says which of several series a record belongs to; it is never a feature.
        timezone: IANA name of the zone of times without an offset from UTC.
        dst: what becomes of a local time that a shift of the clocks repeats or leaves out: "refuse", or read with the offset
            before the shift, "first", or after it, "last".
        time_format: as for `strptime`; None for ISO 8601 or epoch numbers.
        on_bad_rows: "refuse" the input, or "skip" a record that has another number of fields than the header, text among
            numbers, no time, or an open quote. Where rows are counted, its place stays empty.
        max_bad_fraction: the largest share of the records that may be skipped.
        rejects: a CSV file that receives what was skipped, if the block ends without an exception.
        chunk_bytes: about how much text is held at a time.
        max_bytes: refuse an input of more bytes, decompressed; None takes any length.
        keep_lines: whether `Chunk.lines` is needed; if not, a Parquet file is read in the named columns only.
        strict: refuse what is otherwise tolerated and counted.
        collect: gather what is wrong with the records in `faults`, and leave these records out, instead of refusing the
            first.
        follow: read records as they arrive, until this says so; the chunks are what has arrived.
        begin_at: where to go on in a file that is followed.

    Attributes:
        file_format: "csv".
        faults: what was wrong, a sentence each, at most 20.
        tolerance: what was tolerated so far.
        delimiter: what separates the fields.
        n_rows: records so far, those that were skipped among them.

    Raises:
        DataError: if the file is empty, the header repeats a name or leaves one empty, a named
            column is missing; later, while iterating, if a record has not as many fields as the
            header, a value is not a number, or a time is not a time; or if too many are skipped.
        ConfigError: if a column is asked for twice, or no value column is; if an option breaks its rule.
        StorageError: if the file cannot be opened or read, or that of the rejects written.
    """

    file_format = "csv"

    def __init__(
        self,
        path: str | Path,
        *,
        time_column: str | None = "auto",
        value_columns: list[str] | tuple[str, ...] | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        timezone: str = ReadingConfig.timezone,
        dst: str = ReadingConfig.dst,
        time_format: str | None = ReadingConfig.time_format,
        on_bad_rows: str = "refuse",
        max_bad_fraction: float = MAX_BAD_FRACTION,
        rejects: str | Path | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        max_bytes: int | None = None,
        keep_lines: bool = True,
        strict: bool = False,
        collect: bool = False,
        follow: Stop | None = None,
        begin_at: Position | None = None,
    ) -> None:
        check_bad_rows(on_bad_rows, max_bad_fraction, rejects, strict=strict, source=path)
        self._clock = TimeReader(ReadingConfig(timezone=timezone, dst=dst, time_format=time_format))
        self.faults: list[str] = []
        self._collect, self._skip = collect, on_bad_rows == "skip"
        self.name = shown_name(path)
        self.tolerance = Tolerance(strict, self.name)
        self.delimiter = ","
        self.n_rows, self._follows = 0, follow is not None
        self._bad: dict[int, BadRecord] = {}  # by line, of the chunk at hand
        self._rejects = Rejects(self.tolerance, max_bad_fraction, rejects)
        self._open_files = contextlib.ExitStack()
        try:
            named = frozenset(name for name in (*(value_columns or ()), time_column, label_column, id_column) if name)
            only = None if keep_lines or not value_columns or time_column == "auto" else named
            self._lines = open_records(
                path, self._open_files, self.tolerance, chunk_bytes,
                max_bytes=max_bytes, only=only, follow=follow, begin_at=begin_at,
            )  # fmt: skip
            self._offsets = Offsets(self._lines if isinstance(self._lines, LineReader) else None)
            self.header_line, self.columns = self._read_header()
            self._pending = self._read_lines()
            self.time_column = self._find_time_column(time_column)
            self.label_column, self.id_column = label_column, id_column
            self.value_columns = self._find_value_columns(value_columns)
            if value_columns is not None:
                self._count_columns()
            if isinstance(self._lines, ParquetLines):
                self._lines.check_types(self.value_columns, self.time_column, self.label_column)
            self._rejects.open()
        except BaseException:
            self._open_files.close()
            raise

    def position(self) -> Position | None:
        """Return where the records that were handed out end, in a file that is followed."""
        return self._lines.position() if isinstance(self._lines, LineReader) else None

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the files; what was skipped is written down unless something went wrong."""
        try:
            self._rejects.close(complete=kind is None)
        finally:
            self._open_files.close()

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the records in order, about `chunk_bytes` of text at a time."""
        numbered, self._pending = self._pending, []
        while numbered:
            chunk = self._parse(numbered)
            if chunk.lines or not self._skip:
                yield chunk
            numbered = self._read_lines()
        if not self._follows:  # the end of a stream says nothing of its records, and rows still wait
            self._rejects.check()

    def _read_header(self) -> tuple[str, list[str]]:
        line = self._lines.first()
        if not line.strip():
            found = "a blank first line" if self._lines.number else "an empty file"
            raise DataError(f"A CSV file must begin with a header line. Received: {found} ({self.name}).")
        self.delimiter = delimiter_of(line)
        self.tolerance.add("other_delimiter", self.delimiter != ",", "line 1")
        self._offsets.start(line)
        columns = [name.strip() for name in self._fields(line, 1)]
        check_names(columns, self.name)
        return line, columns

    def _read_lines(self) -> Records:
        """Read about a chunk of text: (line number, record) pairs.

        A blank line is no record, unless there is one column only: then it is a missing value. Neither is a line that
        repeats the header, as where files were joined.
        """
        keep_blank = len(self.columns) == 1 if hasattr(self, "columns") else False
        numbered: Records = []
        while not numbered:
            first = self._lines.number + 1
            lines = self._lines.next()
            if not lines:
                break
            if self._skip:
                self._offsets.push(lines)
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
            require_columns(
                [wanted], self.columns, "time column", "--time-column; a detector reads the one it was trained on", self.name
            )
            return wanted
        named = [name for name in self.columns if name.lower() in TIME_NAMES]
        if named:
            return named[0]
        return self.columns[0] if self._first_cell_is_time() else None

    def _first_cell_is_time(self) -> bool:
        for number, line in self._pending[: _MOST_FAULTS if self._skip else 1]:
            try:
                return self._clock.is_time(self._fields(line, number)[0])
            except DataError:
                if not self._skip:
                    raise
        return False

    def _find_value_columns(self, wanted: list[str] | tuple[str, ...] | None) -> list[str]:
        if self.label_column is not None:
            require_columns([self.label_column], self.columns, "label column", "--label-column", self.name)
        if self.id_column is not None:
            require_columns([self.id_column], self.columns, "id column", "--id-column", self.name)
        reserved = (self.time_column, self.label_column, self.id_column)
        given = [name for name in reserved if name is not None]
        if len(set(given)) < len(given):
            raise ConfigError(f"The time, label and id columns must differ. Received: {shorten(given)} ({self.name}).")
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
        require_columns(
            list(wanted),
            self.columns,
            "value columns",
            "--value-columns; a detector reads the columns it was trained on",
            self.name,
        )
        clash = [name for name in wanted if name in reserved]
        if clash:
            raise DataError(
                f"A value column must not be the time, label or id column too. Received: {shorten(clash)} ({self.name})."
            )
        return list(wanted)

    def _count_columns(self) -> None:
        """Count columns that nobody asked for, and whether the others stand in another order."""
        asked = {*self.value_columns, self.time_column, self.label_column, self.id_column}
        self.tolerance.add("extra_columns", sum(name not in asked for name in self.columns), "line 1")
        here = [name for name in self.columns if name in self.value_columns]
        self.tolerance.add("reordered_columns", sum(a != b for a, b in zip(here, self.value_columns, strict=True)), "line 1")

    def _refuse(self, message: str) -> None:
        """Refuse the input, or note why it would be."""
        if not self._collect:
            raise DataError(message)
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(message)

    def _fault(self, number: int, line: str, kind: str, reason: str, message: str) -> None:
        """Leave a record out, or refuse the input for it."""
        if self._skip:
            self._reject(number, line, kind, reason)
        else:
            self._refuse(message)

    def _reject(self, number: int, line: str, kind: str, reason: str, column: str = "") -> None:
        """Leave a record out; only its first fault is told."""
        self._bad.setdefault(number, BadRecord(number, kind, column, reason, line, self._offsets.of(number)))

    def _parse(self, numbered: Records) -> Chunk:
        """Turn records into numbers. Bad ones are left out, and the others read as if these had not been there."""
        n_read, self._bad = len(numbered), {}
        rows = np.arange(self.n_rows, self.n_rows + n_read, dtype=np.int64)
        self.n_rows += n_read
        kept = self._of_equal_length(numbered)
        while True:
            if not kept.all():
                numbered, rows = [pair for pair, is_kept in zip(numbered, kept, strict=True) if is_kept], rows[kept]
            n_bad = len(self._bad)
            chunk, good = self._converted(numbered, rows)
            if len(self._bad) == n_bad:
                break
            kept = np.array([number not in self._bad for number, _ in numbered])
        self._count_values(chunk.values, numbered if good.all() else list(itertools.compress(numbered, good)))
        if self._skip:
            self._rejects.take(n_read, [self._bad[number] for number in sorted(self._bad)])
        return chunk

    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Bools]:
        """Parse records of equal length; tell which of them are in the chunk."""
        if not numbered:
            nothing = np.empty(0)
            labels, ids = None if self.label_column is None else nothing, None if self.id_column is None else nothing.astype("O")
            return Chunk([], rows, np.empty((0, len(self.value_columns))), labels, ids), nothing.astype(np.bool_)
        few = len(numbered) <= FEW_ROWS and self.label_column is None
        plain = self._plain(numbered, rows) if few else None
        if plain:
            return plain, np.ones(len(numbered), np.bool_)
        frame = pd.read_csv(
            io.StringIO("\n".join(line or "NaN" for _, line in numbered)),
            sep=self.delimiter,
            header=None,
            names=self.columns,
            usecols=[*self.value_columns, *(c for c in (self.time_column, self.label_column, self.id_column) if c)],
            dtype=dict.fromkeys((c for c in (self.time_column, self.id_column) if c), "str"),
            keep_default_na=False,
            na_values={name: list(MISSING_TEXT) for name in self.columns if name != self.id_column},
            skip_blank_lines=False,
            index_col=False,
            low_memory=False,
        )
        values = np.column_stack([self._numbers(frame[name], numbered) for name in self.value_columns])
        times, good = self._times(frame, numbered, rows)
        labels = self._labels(frame, numbered)
        ids = self._ids(frame, numbered)
        lines = [line for _, line in numbered]
        if good.all():
            return Chunk(lines, times, values, labels, ids), good
        labels, ids = None if labels is None else labels[good], None if ids is None else ids[good]
        return Chunk(list(itertools.compress(lines, good)), times[good], values[good], labels, ids), good

    def _plain(self, numbered: Records, rows: Ints) -> Chunk | None:
        """Return a few records without the help of pandas; None if they are not as plain as that."""
        values = np.empty((len(numbered), len(self.value_columns)))
        times = rows.copy()
        places = [self.columns.index(name) for name in self.value_columns]
        of_id = None if self.id_column is None else self.columns.index(self.id_column)
        ids = np.empty(len(numbered), np.object_)
        for row, (_, line) in enumerate(numbered):
            cells = plain_cells(line or "NaN", self.delimiter, len(self.columns))
            if cells is None or (of_id is not None and not cells[of_id]):
                return None
            ids[row] = "" if of_id is None else cells[of_id]
            for column, place in enumerate(places):
                value = plain_number(cells[place], MISSING_TEXT)
                if value is None:
                    return None
                values[row, column] = value
            if self.time_column is not None:
                time = self._clock.plain(cells[self.columns.index(self.time_column)])
                if time is None:
                    return None
                times[row] = time
        return Chunk([line for _, line in numbered], times, values, None, None if of_id is None else ids)

    def _count_values(self, values: Floats, numbered: Records) -> None:
        for kind, found in (("missing_values", np.isnan(values)), ("infinite_values", np.isinf(values))):
            if found.any():
                rows = np.flatnonzero(found.any(axis=1))
                self.tolerance.add(kind, int(found.sum()), f"line {numbered[rows[0]][0]:,}")
        self.tolerance.add("incomplete_rows", int(np.isnan(values).any(axis=1).sum()))

    def _of_equal_length(self, numbered: Records) -> Bools:
        """Refuse records with another number of fields than the header; tell which ones are others."""
        separators, whole = len(self.columns) - 1, np.ones(len(numbered), np.bool_)
        for place, (number, line) in enumerate(numbered):
            found = line.count(self.delimiter)
            if found == separators and '"' not in line:
                continue
            try:
                found = len(self._fields(line, number)) - 1
            except DataError as error:
                whole[place] = False
                self._fault(number, line, "rejected_quotes", "no CSV record, such as an open quote", str(error))
                continue
            if found != separators:
                whole[place] = False
                self._fault(
                    number, line, "rejected_fields", f"{found + 1} fields instead of {separators + 1}",
                    f"Every record must have as many fields as the header ({separators + 1}). Received: {found + 1} "
                    f"({self.name}, line {number}). Mend the line."
                )  # fmt: skip
        return whole

    def _fields(self, line: str, number: int) -> list[str]:
        if line.count('"') % 2:
            raise DataError(f"A quoted field must end on its own line. Received: an open quote ({self.name}, line {number}).")
        try:
            return next(csv.reader([line], delimiter=self.delimiter), []) or [""]
        except csv.Error as error:
            raise DataError(f"A line must be a CSV record. Received: {error} ({self.name}, line {number}).") from error

    def _numbers(self, column: "pd.Series[Any]", numbered: Records) -> Floats:
        if column.dtype.kind in "if":
            return column.to_numpy(np.float64)
        text = column.astype("str")  # true and false are no numbers
        parsed = pd.to_numeric(text, errors="coerce")
        # Beside an integer above 2**63 pandas leaves the missing cells as text.
        bad = np.flatnonzero((parsed.isna() & column.notna() & ~text.isin(MISSING_TEXT)).to_numpy())
        if len(bad) and self._skip:
            for place in bad.tolist():
                reason = f"no number: {str(column.iloc[place])[:_SHOWN_CELL]!r}"
                self._reject(*numbered[place], "rejected_numbers", reason, str(column.name))
        elif len(bad):
            where = ", ".join(f"{str(column.iloc[i])[:_SHOWN_CELL]!r} on line {numbered[i][0]}" for i in bad[:5])
            self._refuse(
                f"Column {column.name!r} must hold numbers. Received: {where} ({self.name}). "
                "Mend the file, or leave the column out with --value-columns."
            )
        return parsed.to_numpy(np.float64)

    def _times(self, frame: pd.DataFrame, numbered: Records, rows: Ints) -> tuple[Ints, Bools]:
        """Return the times, and which of them are times; where faults are refused all are."""
        if self.time_column is None:
            return rows, np.ones(len(rows), np.bool_)
        column = frame[self.time_column]
        times, codes = self._clock.read(column)
        skipped = (NO_TIME, OTHER_KIND) if self._skip else ()
        for place in np.flatnonzero(np.isin(codes, skipped)).tolist():
            reason = "no time" if codes[place] == NO_TIME else "an offset from UTC unlike others"
            cell = f"{str(column.iloc[place])[:_SHOWN_CELL]!r}"
            self._reject(*numbered[place], "rejected_times", f"{reason}: {cell}", self.time_column)
        for code in (NO_TIME, OTHER_KIND, TWICE, NEVER):
            wrong = np.flatnonzero(codes == code)
            if len(wrong) and code not in skipped:
                self._refuse(
                    self._clock.sentence(
                        code, f"Column {self.time_column!r}", f"{str(column.iloc[wrong[0]])[:_SHOWN_CELL]!r}",
                        f"{self.name}, line {numbered[wrong[0]][0]}",
                    )
                )  # fmt: skip
                break
        return times, codes == A_TIME

    def _labels(self, frame: pd.DataFrame, numbered: Records) -> Floats | None:
        if self.label_column is None:
            return None
        labels = np.nan_to_num(self._numbers(frame[self.label_column], numbered))
        bad = np.flatnonzero((labels != 0) & (labels != 1))
        if len(bad):
            self._refuse(
                f"The label column {self.label_column!r} must hold 0 or 1. Received: {labels[bad[0]]:g} "
                f"({self.name}, line {numbered[bad[0]][0]})."
            )
        return labels

    def _ids(self, frame: pd.DataFrame, numbered: Records) -> Names | None:
        if self.id_column is None:
            return None
        ids: Names = frame[self.id_column].fillna("").to_numpy(np.object_)
        for place in np.flatnonzero(ids == "").tolist():
            self._fault(
                *numbered[place], "rejected_ids", "no name of a series",
                f"Column {self.id_column!r} must name a series on every record. Received: nothing "
                f"({self.name}, line {numbered[place][0]}). Mend the line.",
            )  # fmt: skip
            if not self._skip:
                break
        return ids
