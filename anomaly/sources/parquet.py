"""Parquet rows as lines of CSV, so that one reader checks the records of both; and which of the two an input is.

Only here is pyarrow used, and only once an input is Parquet. What a row of a Parquet file is as a line is also what
`anomaly score` repeats: numbers as the shortest text that means them, times as in RFC 3339, nothing for a null. Line 1
holds the names, so the first row is line 2.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from anomaly.errors import AnomalyError, DataError, StorageError
from anomaly.extras import lacking
from anomaly.sources.arriving import ArrivingText, Stop
from anomaly.sources.growing import Position
from anomaly.sources.lines import LineReader, as_text, checked_size, first_bytes, open_bytes, shown_name, too_long
from anomaly.sources.tolerance import Tolerance
from anomaly.times.moments import is_number

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TEXT = {*range(0x20, 0x7F), *b"\t\r\n"}
# Of a column that is read, the bytes that are held at a time: a row group can be larger than memory.
_BUFFER_SIZE = 1 << 18
# About how many characters a cell has; it only decides how many rows are taken at a time.
_CELL_SIZE = 16
# What begins a formula in a spreadsheet (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def open_records(
    path: str | Path,
    open_files: contextlib.ExitStack,
    tolerance: Tolerance,
    chunk_bytes: int,
    *,
    max_bytes: int | None = None,
    only: frozenset[str] | None = None,
    follow: Stop | None = None,
    begin_at: Position | None = None,
) -> "LineReader | ParquetLines":
    """Open an input of either kind, told by its first bytes and not by its name.

    Args:
        path: a file of CSV text, plain or gzip-compressed, or "-" for standard input; or a Parquet file.
        open_files: closes what is opened.
        tolerance: counts what is tolerated.
        chunk_bytes: about how much text is held at a time.
        max_bytes: refuse an input that has more, decompressed.
        only: of a Parquet file the columns that are looked at, by name; the others come empty. None for all.
        follow: read plain text as it arrives, until this says so; None reads what is there.
        begin_at: where to go on in a file that is followed.

    Raises:
        StorageError: if the file cannot be opened.
        DataError: as `ParquetLines`; if it is Parquet within gzip or from a pipe.
        ConfigError: if it is Parquet and pyarrow is not installed.
    """
    name, max_bytes = shown_name(path), checked_size(max_bytes)
    if follow is not None:
        text = open_files.enter_context(contextlib.closing(ArrivingText(path, name, tolerance, follow, begin_at)))
        return LineReader(text, name, tolerance, chunk_bytes)
    source = open_bytes(path, open_files, tolerance)
    if is_parquet(first_bytes(source, name, 8)):
        if str(path) == "-" or not source.seekable():
            raise DataError(f"A Parquet file must be read from disk: its end comes first. Received: {name}. Name the file instead.")
        return ParquetLines(source, name, chunk_bytes, max_bytes, only)
    return LineReader(as_text(source, name, open_files, tolerance, max_bytes), name, tolerance, chunk_bytes)


def is_parquet(start: bytes) -> bool:
    """Tell by its first 8 bytes whether a file is Parquet: a CSV header may begin with PAR1 too, but goes on as text."""
    return start[:4] in (_MAGIC, _ENCRYPTED) and not _TEXT.issuperset(start[4:])


class ParquetLines:
    """Read the rows of a Parquet file as lines of CSV, some thousand at a time; memory does not grow with the file.

    It stands in for `LineReader`.

    Args:
        source: bytes in which any place can be read.
        name: of the input, for messages.
        chunk_size: about how many characters are made at a time.
        max_bytes: refuse a file whose columns have more, decompressed.
        only: the columns that are looked at; None for all.

    Attributes:
        number: of the last line read; the line with the names is 1.

    Raises:
        ConfigError: if pyarrow is not installed.
        DataError: if the file is damaged, cut or encrypted.
    """

    def __init__(self, source: IO[Any], name: str, chunk_size: int, max_bytes: int | None, only: frozenset[str] | None) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise lacking("A Parquet file", "parquet", name) from error
        self._name, self._max_bytes, self._n_bytes = name, max_bytes, 0
        if first_bytes(source, name, 4) == _ENCRYPTED:
            raise self._encrypted()
        file = self._guarded(
            lambda: pq.ParquetFile(source, buffer_size=_BUFFER_SIZE, pre_buffer=False, page_checksum_verification=True)
        )
        schema = self._guarded(lambda: file.schema_arrow)
        self._stored = list(schema.names)
        self._names = [_one_line(column).strip() for column in self._stored]
        self._types = list(schema.types)
        wanted = [stored for stored, column in zip(self._stored, self._names, strict=True) if only is None or column in only]
        rows = max(chunk_size // (_CELL_SIZE * max(len(wanted), 1)), 1)
        self._batches: Iterator[Any] = file.iter_batches(
            rows, columns=None if len(wanted) == len(self._stored) else wanted, use_threads=False
        )
        self._read = {*wanted}
        self.number = 0

    def first(self) -> str:
        """Return the line of the names; empty if there is no column."""
        self.number = 1
        return ",".join(_quoted(name, ',;\t|"') for name in self._names)

    def next(self) -> list[str]:
        """Return further rows as lines, at least one; none at the end.

        Raises:
            DataError: if the file is damaged, or has more than `max_bytes`.
        """
        lines: list[str] = []
        while not lines:
            batch = self._guarded(lambda: next(self._batches, None))
            if batch is None:
                break
            self._n_bytes += batch.nbytes
            if self._max_bytes is not None and self._n_bytes > self._max_bytes:
                raise too_long(self._name, self._max_bytes)
            lines = self._guarded(partial(self._lines, batch))
        self.number += len(lines)
        return lines

    def check_types(self, values: list[str], time: str | None, label: str | None, *, trained: bool = False) -> None:
        """Refuse columns whose type cannot be what they are taken for.

        Args:
            values: names of the value columns: integers, floats or decimals, or Booleans, which are 1 and 0.
            time: name of the time column: timestamps, dates, epoch numbers or text.
            label: name of the label column: as values, or Booleans.
            trained: whether the columns are those of a detector, which nobody can leave out.

        Raises:
            DataError: if one is of another type.
        """
        types = {name: _plain(kind) for name, kind in zip(self._names, self._types, strict=True)}
        wrong = [name for name in values if not _is_number(types[name]) and str(types[name]) != "bool"]
        if wrong:
            leave = "" if trained else "Leave the column out with --value-columns, or store it as numbers."
            self._refuse(wrong[0], "numbers", types, leave or "Store it as numbers.")
        if time is not None and not (_is_number(types[time]) or _is_time(types[time]) or _is_text(types[time])):
            self._refuse(time, "times, dates, epoch numbers or ISO 8601 text", types, "Name another column with --time-column.")
        if label is not None and not (_is_number(types[label]) or str(types[label]) == "bool"):
            self._refuse(label, "0 and 1, or false and true", types, "Name another column with --label-column.")

    def _refuse(self, column: str, what: str, types: "dict[str, pa.DataType]", remedy: str) -> None:
        kind = _one_line(str(types[column]))[:80]
        raise DataError(f"Column {column!r} must hold {what}. Received: values of type {kind} ({self._name}). {remedy}")

    def _lines(self, batch: "pa.RecordBatch") -> list[str]:
        empty = [""] * batch.num_rows
        columns = [_cells(batch.column(stored)) if stored in self._read else empty for stored in self._stored]
        return list(map(",".join, zip(*columns, strict=True)))

    def _guarded(self, read: Callable[[], Any]) -> Any:
        """Return what `read` returns; pyarrow has many ways to say that a file is damaged."""
        import pyarrow as pa

        try:
            return read()
        except AnomalyError:
            raise
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno:
                raise StorageError(f"The input must be a readable file. Received: {self._name} ({error.strerror}).") from error
            reason = _one_line(str(error).strip().partition("\n")[0])[:120]
            if "crypt" in reason.lower():
                raise self._encrypted() from error
            raise DataError(
                f"A Parquet file must be complete and undamaged. Received: {reason.rstrip('.')} ({self._name}). Write it anew."
            ) from error

    def _encrypted(self) -> DataError:
        return DataError(
            f"A Parquet file must not be encrypted. Received: encrypted columns ({self._name}). Write it anew without encryption."
        )


def _plain(kind: "pa.DataType") -> "pa.DataType":
    """Return the type of the values below a dictionary or an extension."""
    import pyarrow as pa

    while isinstance(kind, pa.DictionaryType | pa.BaseExtensionType):
        kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind.storage_type
    return kind


def _is_number(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _is_time(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_timestamp(kind) or types.is_date(kind))


def _is_text(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _cells(column: "pa.Array") -> list[str]:
    """Return the values of a column as cells of CSV; a null is an empty one."""
    import pyarrow as pa
    from pyarrow import types

    while isinstance(column, pa.DictionaryArray | pa.ExtensionArray):
        column = column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column.storage
    kind = column.type
    if types.is_null(kind):
        return [""] * len(column)
    if types.is_integer(kind) or types.is_floating(kind):
        return column.cast(pa.string()).fill_null("").to_pylist()  # type: ignore[no-any-return]
    if types.is_decimal(kind):
        return ["" if value is None else f"{value:f}" for value in column.to_pylist()]
    if not _is_time(kind):
        return [_cell(value) for value in column.to_pylist()]
    cells = _time_cells(column)
    for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist() if column.null_count else ():
        cells[row] = ""
    return cells


def _time_cells(column: "pa.Array") -> list[str]:
    """Return times as `format_time` writes them, with Z only if they are stored in UTC; dates as dates."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_date(column.type):
        days = column.cast(pa.date32()).cast(pa.int32()).fill_null(0).to_numpy(zero_copy_only=False)
        return np.datetime_as_string(days.astype("datetime64[D]")).tolist()  # type: ignore[no-any-return]
    per_second = _PER_SECOND[column.type.unit]
    zone = "" if column.type.tz is None else "Z"
    stamps = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    seconds, rest = np.divmod(stamps, per_second)
    cells: list[str] = np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()
    if not rest.any():
        return [cell + zone for cell in cells]
    nanoseconds = (rest * (10**9 // per_second)).tolist()
    return [cell + _fraction(part) + zone for cell, part in zip(cells, nanoseconds, strict=True)]


def _fraction(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    return f".{nanoseconds:09d}" if nanoseconds % 1000 else f".{nanoseconds // 1000:06d}"


def _cell(value: Any) -> str:
    """Return what is no number as a cell: on one line, quoted where it must be, and no formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    text = _one_line(value.hex() if isinstance(value, bytes) else str(value))
    return _quoted(f"'{text}" if text.startswith(_FORMULA) and not is_number(text) else text, ',"')


def _one_line(text: str) -> str:
    """Write blanks for line ends and whatever else cannot be printed: a record is one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _quoted(text: str, special: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in special) else text
