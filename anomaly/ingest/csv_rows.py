"""CSV text -> checked numbers, chunk by chunk: which columns there are, and which lines are records.

First step of the flow. `anomaly.ingest.cells` turns the records into numbers.
"""

from pathlib import Path

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.ingest.arriving import Stop
from anomaly.ingest.cells import Cells, fields
from anomaly.ingest.chunks import CHUNK_BYTES, Chunk, ChunkReader, Records
from anomaly.ingest.growing import Position
from anomaly.ingest.header import Columns, check_names, delimiter_of, find_value_columns, require_columns
from anomaly.ingest.lines import LineReader
from anomaly.ingest.parquet import ParquetLines, open_records
from anomaly.ingest.rejects import MAX_BAD_FRACTION, Offsets
from anomaly.series import Ints

TIME_NAMES = ("timestamp", "time", "datetime", "date", "ds")
# So many records are looked at for one whose first cell is a time, where bad ones are skipped.
_MOST_TRIED = 20


class CsvReader(ChunkReader):
    """Read a CSV or Parquet file in chunks; use it in a `with` block and iterate over it.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input. UTF-8 (or UTF-16 with a byte order mark),
            one header line; its fields are separated by commas or, if it has none, by semicolons, tabs or bars.
            Or a Parquet file, whose rows are read as the CSV records that they would be, see `anomaly.ingest.parquet`.
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
        reading = ReadingConfig(timezone=timezone, dst=dst, time_format=time_format)
        super().__init__(
            path, reading, on_bad_rows, max_bad_fraction, rejects, strict=strict, collect=collect, follows=follow is not None
        )
        self.delimiter = ","
        named = frozenset(name for name in (*(value_columns or ()), time_column, label_column, id_column) if name)
        only = None if keep_lines or not value_columns or time_column == "auto" else named
        with self._opening():
            self._lines = open_records(
                path, self._open_files, self.tolerance, chunk_bytes,
                max_bytes=max_bytes, only=only, follow=follow, begin_at=begin_at,
            )  # fmt: skip
            self.header_line, self.columns = self._read_header()
            self._pending = self._read_lines()
            self.time_column = self._find_time_column(time_column)
            self.label_column, self.id_column = label_column, id_column
            reserved = (self.time_column, label_column, id_column)
            self.value_columns = find_value_columns(value_columns, self.columns, *reserved, self.name)
            if value_columns is not None:
                self._count_columns()
            columns = Columns(self.columns, self.delimiter, *reserved, self.value_columns)
            self._cells = Cells(columns, self._clock, self._faults, self.name)
            if isinstance(self._lines, ParquetLines):
                self._lines.check_types(self.value_columns, self.time_column, self.label_column)

    @property
    def faults(self) -> list[str]:
        """What was wrong, a sentence each, at most 20."""
        return self._faults.noted

    def _read_header(self) -> tuple[str, list[str]]:
        line = self._lines.first()
        if not line.strip():
            found = "a blank first line" if self._lines.number else "an empty file"
            raise DataError(f"A CSV file must begin with a header line. Received: {found} ({self.name}).")
        self.delimiter = delimiter_of(line)
        self.tolerance.add("other_delimiter", self.delimiter != ",", "line 1")
        self._faults.offsets = Offsets(self._lines if isinstance(self._lines, LineReader) else None)
        self._faults.offsets.start(line)
        columns = [name.strip() for name in fields(line, self.delimiter, 1, self.name)]
        check_names(columns, self.name)
        return line, columns

    def _no_records(self, lines: list[str], first: int) -> set[int]:
        """Leave out blank lines, and lines that repeat the header, as where files were joined.

        With one column only, a blank line is a record: a missing value.
        """
        blank = [] if len(self.columns) == 1 else [i for i, line in enumerate(lines) if not line or line.isspace()]
        headers = [i for i, line in enumerate(lines) if line == self.header_line]
        for kind, found in (("blank_lines", blank), ("repeated_headers", headers)):
            self.tolerance.add(kind, len(found), f"line {first + found[0]:,}" if found else "")
        return {*blank, *headers}

    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Records]:
        return self._cells.read(numbered, rows)

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
        for number, line in self._pending[: _MOST_TRIED if self._faults.skip else 1]:
            try:
                return self._clock.is_time(fields(line, self.delimiter, number, self.name)[0])
            except DataError:
                if not self._faults.skip:
                    raise
        return False

    def _count_columns(self) -> None:
        """Count columns that nobody asked for, and whether the others stand in another order."""
        asked = {*self.value_columns, self.time_column, self.label_column, self.id_column}
        self.tolerance.add("extra_columns", sum(name not in asked for name in self.columns), "line 1")
        here = [name for name in self.columns if name in self.value_columns]
        self.tolerance.add("reordered_columns", sum(a != b for a, b in zip(here, self.value_columns, strict=True)), "line 1")
