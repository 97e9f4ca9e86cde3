"""CSV text -> checked numbers, chunk by chunk: which columns there are, and which lines are records.

First step of the flow. `anomaly.ingest.cells` turns the records into numbers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.config import ReadingConfig
from anomaly.errors import DataError, shorten
from anomaly.ingest.cells import Cells
from anomaly.ingest.chunks import CHUNK_BYTES, Chunk, ChunkReader, PlainRecords, Records, lines_of
from anomaly.ingest.few_rows import FEW_ROWS
from anomaly.ingest.fields import fields
from anomaly.ingest.header import (
    Columns,
    blank_column,
    check_context,
    check_names,
    find_value_columns,
    require_columns,
    steady_columns,
    undecided,
)
from anomaly.ingest.rejects import MAX_BAD_FRACTION, Offsets
from anomaly.ingest.spelling import Marks, Spelling, missing_tokens
from anomaly.meaning.column_names import TIME_NAMES
from anomaly.meaning.decisions import Decision, decisions_of
from anomaly.meaning.dialect import SAMPLE, broken_names, cells_of, dialect_of, usual_delimiter
from anomaly.meaning.heading import MOST_LINES, lines_of_names, refuse_other_units, refuse_times_as_names, units_text
from anomaly.meaning.interpretation import SAMPLE_ROWS, Interpretation, Sample, refuse_disorder
from anomaly.meaning.several import refuse_several_series, refuse_woven_series
from anomaly.meaning.time_column import goes_on, only
from anomaly.series import Floats, Ints
from anomaly.sources.arriving import Stop
from anomaly.sources.growing import Position
from anomaly.sources.lines import LineReader, refuse_other_text
from anomaly.sources.parquet import ParquetLines, open_records
from anomaly.times.clock_shifts import refuse_other_calendars, shifted_clock, times_to_come
from anomaly.times.epochs import refuse_other_unit
from anomaly.times.moments import refuse_two_centuries
from anomaly.times.time_parts import bare_name
from anomaly.times.timestamps import A_TIME, TimeReader
from anomaly.zones import TIME_WORDS, zone_in

# The name of what stands behind a separator too many, as often as there are such; no header can hold it.
_SPARE = "\0"
# What a first column without a name is called, which pandas writes for an index: times or a count of rows.
UNNAMED = "unnamed: 0"
# What recorders write about themselves, such as WinCC: $RT_OFF$.
_CONTROL = re.compile(r'"?\$[A-Z]+(?:_[A-Z]+)*\$"?(?=[;,\t|]|$)')
# Of the first piece of a file so many records are looked at where fewer do not tell the order of day and month.
_MOST_LOOKED_AT = 20_000
# So many records are looked at for one whose first cell is a time, where bad ones are skipped.
_MOST_TRIED = 20


class CsvReader(ChunkReader):
    """Read a CSV or Parquet file in chunks; use it in a `with` block and iterate over it.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input. UTF-8 (or UTF-16 with a byte order mark),
            one header line; its fields are separated by commas or, if it has none, by semicolons, tabs or bars.
            Or a Parquet file, whose rows are read as the CSV records that they would be, see `anomaly.sources.parquet`.
        time_column: name of the column of times. "auto" takes a column called timestamp, time, datetime, date or ds, else
            a first column that holds ISO times (or those of `time_format`); None counts rows instead.
        value_columns: names of the features in order; default: every column that is neither time nor label.
        label_column: name of a column of 0 and 1, or of words such as normal and attack; it is never a feature.
        id_column: name of a column that says which of several series a record belongs to; it is never a feature.
        ignore_columns: names of columns that are no features.
        context_columns: names of columns that are read behind the features, whatever they look like: a training takes them as
            context (`anomaly.windowing.context`).
        sorts: whether the rows are put in order afterwards; if not, a file whose times often go back is refused.
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
        before: how the file of the training was read, see `Interpretation.to_remember`: it decides where two readings are possible.
        reading: settings of `anomaly.config.ReadingConfig`: zone and format of the times, separator, marks of the numbers, and
            what stands for a missing value. What is None is told from the first records: times are ISO 8601, numbers since
            1970, digits that spell a date, or days of a spreadsheet.

    Attributes:
        file_format: "csv".
        faults: what was wrong, a sentence each, at most 20.
        tolerance: what was tolerated so far.
        delimiter: what separates the fields.
        judged_columns: the names in `value_columns` before the context.
        n_rows: records so far, those that were skipped among them.

    Raises:
        DataError: if the file is empty, the header repeats a name or leaves one empty, a named
            column is missing; later, while iterating, if a record has not as many fields as the
            header, a value is not a number, or a time is not a time; or if too many are skipped.
        ConfigError: if a column is asked for twice, or no value column is; if an option breaks its rule.
        StorageError: if the file cannot be opened or read, or that of the rejects written.
    """

    file_format = "csv"
    _cells: Cells | None = None  # until the columns are known
    _units: Sequence[str] = ()  # of the columns, where a line below the header has them
    _lacks_end = False  # the header has no separator behind it where records have

    def __init__(
        self,
        path: str | Path,
        *,
        time_column: str | None = "auto",
        value_columns: list[str] | tuple[str, ...] | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        ignore_columns: Sequence[str] = (),
        context_columns: Sequence[str] = (),
        sorts: bool = False,
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
        before: Mapping[str, str] | None = None,
        **reading: Any,
    ) -> None:
        self._reading = ReadingConfig(**reading)
        super().__init__(
            path, self._reading, on_bad_rows, max_bad_fraction, rejects, strict=strict, collect=collect, follows=follow is not None
        )
        self._has_index, self._parts = False, tuple[str, ...]()
        self.ignored, self._trained, self._chooses = tuple(ignore_columns), before is not None, value_columns is None
        self._said = [what for what, value in (("time", time_column), ("features", value_columns)) if value not in ("auto", None)]
        self._said += ["time"] if time_column is None else []
        self._spare, self._ignored, self._sorts = 0, tuple(ignore_columns), sorts or follow is not None
        self._context = tuple(context_columns)
        named = frozenset(name for name in (*(value_columns or ()), *self._context, time_column, label_column, id_column) if name)
        named |= frozenset((time_column or "").split(","))
        only = None if keep_lines or not value_columns or time_column == "auto" else named
        with self._opening():
            self._lines = open_records(
                path, self._open_files, self.tolerance, chunk_bytes,
                max_bytes=max_bytes, only=only, follow=follow, begin_at=begin_at,
            )  # fmt: skip
            self.header_line, self.columns = self._read_header(follows=follow is not None)
            self.label_column, self.id_column = label_column, id_column
            with np.errstate(over="ignore", invalid="ignore"):  # steps between the largest numbers there are
                self._cells = self._find_columns(time_column, value_columns, before or {})
            self._known_units = units_text(self.columns, self._units, self.value_columns)
            refuse_other_units((before or {}).get("units", ""), self._known_units, self.name)
            void = set(self._void(lines_of(self._pending)))
            if void:
                self.tolerance.add("blank_lines", len(void), f"line {self._pending[min(void)][0]:,}")
                self._pending = [record for place, record in enumerate(self._pending) if place not in void]
            first = self._pending[0][0] if self._pending else 0
            self._pending = self._plain(lines_of(self._pending), first) or self._pending
            if isinstance(self._lines, ParquetLines):
                self._lines.check_types(
                    self.value_columns, None if self._parts else self.time_column, self.label_column, trained=self._trained
                )

    def _find_columns(self, time_column: str | None, value_columns: Sequence[str] | None, before: Mapping[str, str]) -> Cells:
        """Tell what each column is for, and what its cells look like."""
        sample, found = self._sample(), Interpretation(before=before)
        kept = (self.label_column, self.id_column, *self._ignored, *self._context, *(value_columns or ()))
        others = [name for name in kept if name is not None]
        self.time_column, self._parts = self._find_time_column(time_column, sample, found, others)
        sample = replace(sample, parts=self._parts)
        reserved = (self.time_column, self.label_column, self.id_column)
        require_columns(
            list(self._ignored), self.columns, "columns to ignore", "Name existing columns with --ignore-columns.", self.name
        )
        for column, what in ((self.label_column, "label"), (self.id_column, "id")):
            if column is not None:
                require_columns(
                    [column], self.columns, f"{what} column", f"Name an existing column with --{what}-column.", self.name
                )
        check_context(
            self._context, self.columns, (*reserved, *self._parts), self._ignored, value_columns or (), self.name,
            trained=self._trained,
        )  # fmt: skip
        clock = self._interpret_times(sample, found)
        if value_columns is None and sample.rows:
            taken = [name for name in (*reserved, *self._parts, *self._ignored, *self._context) if name is not None]
            refuse_times_as_names([name for name in self.columns if name not in taken], self.name)
            found.find_roles(
                sample, taken, clock, may_have_series=self.id_column is None,
                looks_at_texts=isinstance(self._lines, LineReader) and not self._faults.skip,
                looks_for_times=self.time_column is None and time_column == "auto",
            )  # fmt: skip
        left_out = (*found.left_out, *self._ignored, *self._parts, *self._context)
        self.value_columns = find_value_columns(
            value_columns, self.columns, *reserved, self.name, left_out, ignored=self._ignored, trained=self._trained
        )
        nameless = value_columns is None and self._has_index and UNNAMED in self.value_columns
        blank = spare = [_SPARE * n for n in range(1, self._spare + 1)]
        if nameless and not sample.cells(UNNAMED) and len(self.value_columns) > 1:
            self.value_columns.remove(UNNAMED)  # a column without a name or a value, as Influx writes it
            blank = [*spare, UNNAMED]
        elif nameless:
            check_names(["", *self.columns[1:]], self.name)
        self.judged_columns = tuple(self.value_columns)
        self.value_columns += self._context
        if value_columns is not None:
            self._count_columns()
        found.find_marks(
            sample, self.value_columns, self._reading.decimal, self._reading.thousands, doubts_points=self.delimiter == ";"
        )
        found.find_truths(sample, [*self.value_columns, *filter(None, [self.label_column])])
        self.tolerance.reading = list(found.sentences)
        names = [*self.columns, *spare]
        kinds = {"counted": self.time_column is None, "alone": self.id_column is None}
        steady = (*steady_columns(sample, found.left_out, **kinds), *map(blank_column, blank))
        columns = Columns(names, self.delimiter, *reserved, self.value_columns, self._parts, steady)
        marks = Marks(found.decimal, found.thousands)
        said = (self._reading.decimal, self._reading.thousands) != (None, None)
        cells = None if said or marks != Marks() else undecided(sample, self.value_columns)
        how = Spelling(marks, self._reading.missing_values, value_columns is None, cells, before.get("decimal"))
        how = replace(how, truths=found.truths, silent=found.silent)
        self.interpretation, self._sample_rows = found, sample
        return Cells(columns, self._clock, self._faults, self.name, how)

    @property
    def n_lines_above(self) -> int:
        """Lines above the header."""
        return self.tolerance.counts.get("title_lines", 0)

    @property
    def has_local_times(self) -> bool:
        """Whether the times that were read have no offset from UTC, and nobody named their zone."""
        return self.time_column is not None and self._clock.is_local

    def tell_of(self, times: Ints) -> None:
        """Say what the times of all rows say: clocks that are shifted, and times to come.

        Args:
            times: `(n,)` as in `Chunk`.
        """
        told = [shifted_clock(times) if self.id_column is None and self.has_local_times else None]
        told += [zone_in(self.time_column) if self.time_column is not None and self.has_local_times else None]
        told += [times_to_come(times) if self.time_column is not None else None]
        self.tolerance.reading = [*self.tolerance.reading, *filter(None, told)]

    def decisions(self) -> list[Decision]:
        """Return how the file is read, and why."""
        return decisions_of(self, self._reading, self.interpretation, self._sample_rows, self._said)

    @property
    def remembered(self) -> dict[str, str]:
        """What a detector remembers of how its training file was read, see `Interpretation.to_remember`."""
        more = {"units": self._known_units, "offsets": "yes" if self._clock.has_offsets else ""}
        return self.interpretation.to_remember(self.delimiter) | {name: text for name, text in more.items() if text}

    @property
    def kind(self) -> str:
        """What the input is: "csv" or "parquet"."""
        return "parquet" if isinstance(self._lines, ParquetLines) else "csv"

    @property
    def faults(self) -> list[str]:
        """What was wrong, a sentence each, at most 20."""
        return self._faults.noted

    def _read_header(self, *, follows: bool) -> tuple[str, list[str]]:
        """Read the header, and the first records, which tell what separates the fields unless they `follow`."""
        line = self._lines.first()
        if not line.strip():
            found = "a blank first line" if self._lines.number else "an empty file"
            raise DataError(f"A CSV file must begin with a header line. Received: {found} ({self.name}).")
        if isinstance(self._lines, LineReader):
            refuse_other_text(line, self.name)
        self._faults.offsets = Offsets(self._lines if isinstance(self._lines, LineReader) else None)
        self._faults.offsets.start(line)
        self.header_line = line
        given = "\t" if self._reading.delimiter == "tab" else self._reading.delimiter
        self.delimiter = given or usual_delimiter(line)
        self.columns = cells_of(line, self.delimiter)
        if isinstance(self._lines, ParquetLines):
            check_names(self.columns, self.name)
        self._pending = self._read_lines()
        line = line if isinstance(self._lines, ParquetLines) or follows else self._join_names(line)
        if isinstance(self._lines, LineReader) and not follows:
            self._find_dialect(line, given)
            line = self.header_line
        self.tolerance.add("other_delimiter", self.delimiter != ",", "line 1")
        columns = [name.strip() for name in fields(line, self.delimiter, 1, self.name)]
        columns = columns if isinstance(self._lines, ParquetLines) or follows else self._find_names(columns)
        if blank := self._n_blank(columns):
            columns = columns[:-blank]
            self._spare += blank
            self.tolerance.add("spare_separators", blank if blank > 1 else 0, "line 1")
        self._has_index = len(columns) > 1 and not columns[0] and UNNAMED not in columns
        columns = [UNNAMED, *columns[1:]] if self._has_index else columns
        check_names(columns, self.name, [cells_of(line, self.delimiter) for _, line in self._pending[:_MOST_TRIED]])
        self.columns = columns
        return self.header_line + (self.delimiter if self._lacks_end else ""), columns

    def _join_names(self, line: str) -> str:
        """Return the first line, whole if a name in it goes on below; a header further down becomes whole in its place."""
        head = [line, *(record for _, record in self._pending[:SAMPLE])]
        if found := broken_names(head):
            place, n, whole = found
            before = list(self._pending[:place])
            number = before.pop()[0] if place else 1
            self._pending = [*before, *([(number, whole)] if place else []), *self._pending[place + n - 1 :]]
            self.header_line = line = line if place else whole
            self.tolerance.add("broken_names", n - 1, f"line {number:,}")
        return line

    def _find_dialect(self, line: str, given: str | None) -> None:
        """Tell separator and header from the first records."""
        found = dialect_of(line, lines_of(self._pending), given, self.name)
        self.delimiter, self._spare = found.delimiter, int(found.spare)
        if found.title_lines:
            self.tolerance.add("title_lines", found.title_lines, "line 1")
            self.header_line = self._pending[found.title_lines - 1][1]
            self._pending = [(n, record) for n, record in self._pending[found.title_lines :] if record.strip()]
        self._lacks_end = found.spare
        self.tolerance.add("spare_separators", found.spare, "line 2")

    def _n_blank(self, columns: list[str]) -> int:
        """Return how many of the last columns have no name and hold nothing either."""
        n = len(list(takewhile(lambda name: not name, reversed(columns[1:]))))
        cells = [cells_of(line, self.delimiter) for _, line in self._pending[:SAMPLE_ROWS]] if n else []
        if not cells or any(len(row) != len(columns) + self._spare for row in cells):
            return 0
        return len(list(takewhile(lambda k: not any(row[len(columns) - k].strip() for row in cells), range(1, n + 1))))

    def _find_names(self, columns: list[str]) -> list[str]:
        """Return the names of the columns, which may stand below a line that fits the records too; pass lines of units."""
        rows = [cells_of(line, self.delimiter) for _, line in self._pending[:MOST_LINES]]
        below, units = lines_of_names(columns, rows, missing_tokens(self._reading.missing_values)[0], self.name)
        if units:
            self._units = rows[below]
            self.tolerance.add("unit_lines", units, f"line {self._pending[below][0]:,}")
        if below:
            self.tolerance.add("title_lines", below, "line 1")
            self.header_line = self._pending[below - 1][1]
            columns = [name.strip() for name in rows[below - 1]]
        self._pending = self._pending[below + units :] if below + units else self._pending
        return columns

    def _sample(self, limit: int = SAMPLE_ROWS, up_to: str = "") -> Sample:
        """Return the cells of the first records; those of the columns up to one alone where these are quickly cut."""
        lines = [line for _, line in self._pending[:limit]]
        missing = missing_tokens(self._reading.missing_values)[0]
        return Sample.of(self.columns, lines, self.delimiter, missing, self.name, self._spare, up_to)

    def _interpret_times(self, sample: Sample, found: Interpretation) -> Floats | None:
        """Tell what times look like; refuse what belongs to several series, or comes in disorder.

        Returns:
            The times of the sample, seconds; None where a row has none.
        """
        time = self.time_column
        if time is None or not (known := sample.cells(time)):
            return None
        if self._reading.time_format is None:
            found.find_format(sample, time, lambda: replace(self._sample(_MOST_LOOKED_AT, time), parts=self._parts))
            self._clock = TimeReader(self._reading, found.time_format)
            place = self.columns.index(time) if time in self.columns else len(self._units)
            if found.time_format in (None, "epoch"):
                refuse_other_unit(known, time, self._units[place] if place < len(self._units) else "", self.name)
        times, codes = (clock := TimeReader(self._reading, found.time_format)).read_cells(known)
        if clock.is_local and "offsets" in found.before:
            raise DataError(
                f"Times must say their offset from UTC, as in training. Received: {known[0].strip()} in column {time!r} "
                f"({self.name}). Say --tz with their zone, Etc/UTC if they are UTC."
            )
        refuse_two_centuries(found.time_format or self._reading.time_format, known, time, self.name)
        refuse_other_calendars(times[codes == A_TIME], known, time, self.name)
        if self.id_column is None:
            cells, of_rows = sample.timed(time, self._ignored)
            refuse_several_series(cells, of_rows, self.name)
            self._refuse_disorder(cells, times, codes)
        return times / 1e6 if len(times) == len(sample.rows) and (codes == A_TIME).all() else None

    def _refuse_disorder(self, cells: dict[str, list[str]], times: Ints, codes: Ints) -> None:
        """Refuse rows that are woven from several series; those that go back in time, if they are not sorted."""
        if (codes == A_TIME).all() and self._chooses:
            refuse_woven_series(cells, times, self.name)
        if not self._sorts:
            refuse_disorder(times[codes == A_TIME], self.name)

    def _plain(self, lines: list[str], first: int) -> PlainRecords | None:
        if not isinstance(self._lines, LineReader) or self._cells is None or len(lines) <= FEW_ROWS:
            return None
        n_fields, text = len(self.columns) + self._spare, self._lines.text
        if n_fields == 1 or self.header_line in text or text.startswith("$") or "\n$" in text:
            return None
        blanks = self.delimiter * (n_fields - 1)
        if self.time_column is not None and (text.startswith(blanks) or f"\n{blanks}" in text):
            return None
        return PlainRecords.of(lines, first, text, self.delimiter, n_fields)

    def _no_records(self, lines: list[str], first: int) -> set[int]:
        """Leave out blank lines, what recorders write about themselves, and lines that repeat the header, as in joined files.

        With one column only, a blank line is a record: a missing value; so are separators alone where rows are counted.
        """
        may_be_blank = len(self.columns) > 1 and ("" in lines or any(map(str.isspace, lines)))
        blank = [i for i, line in enumerate(lines) if not line or line.isspace()] if may_be_blank else []
        blank = sorted({*blank, *(() if self._cells is None else self._void(lines))})
        headers = [i for i, line in enumerate(lines) if line == self.header_line] if self.header_line in lines else []
        may_control = isinstance(self._lines, LineReader) and "$" in self._lines.text
        controls = [i for i, line in enumerate(lines) if _CONTROL.match(line)] if may_control else []
        for kind, found in (("blank_lines", blank), ("repeated_headers", headers), ("control_records", controls)):
            self.tolerance.add(kind, len(found), f"line {first + found[0]:,}" if found else "")
        return {*blank, *headers, *controls}

    def _void(self, lines: list[str]) -> list[int]:
        """Return the places of lines of separators alone, as a spreadsheet writes rows that were emptied: they have no time."""
        if self.time_column is None or len(self.columns) + self._spare == 1 or not isinstance(self._lines, LineReader):
            return []
        mark = self.delimiter
        few = [(place, line) for place, line in enumerate(lines) if line[:1] in (mark, '"')]
        return [place for place, line in few if mark in line and not line.replace('""', "").strip(mark)]

    @property
    def timezone(self) -> str:
        """The zone that times without one are read in."""
        return self._reading.timezone

    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Records]:
        if self._cells is None:
            raise RuntimeError("columns are found before records are read")
        return self._cells.read(numbered, rows)

    def _find_time_column(
        self, wanted: str | None, sample: Sample, found: Interpretation, others: Sequence[str]
    ) -> tuple[str | None, tuple[str, ...]]:
        """Return what the time is called, and its parts where it is made up of several columns."""
        if wanted is None:
            return None, ()
        if wanted != "auto":
            parts = tuple(part.strip() for part in wanted.split(","))
            if wanted not in self.columns and len(parts) > 1 and set(parts) <= set(self.columns):
                return ",".join(parts), parts
            require_columns([wanted], self.columns, "time column", "Name an existing column with --time-column.", self.name)
            return wanted, ()
        time = self._told_time(sample, found, others)
        return (time, ()) if time is None or isinstance(time, str) else (",".join(time), time)

    def _told_time(self, sample: Sample, found: Interpretation, others: Sequence[str]) -> str | tuple[str, ...] | None:
        """Return which column is the time by its name or cells, or which columns make it up."""
        named = [name for name in self.columns if bare_name(name) in TIME_NAMES and name not in self._ignored]
        parts = found.find_parts(sample, others)
        if parts and self._all_times(replace(sample, parts=parts).cells("")):
            found.sentences.append(f"The time is made up of {shorten(list(parts))}.")
            return parts
        if len(named) == 1 and (self._reading.time_format is not None or goes_on(sample.cells(named[0]))):
            return named[0]
        if not named and self.columns[0] not in others and self._first_cell_is_time():
            return self.columns[0]
        if named or self._reading.time_format in (None, *TIME_WORDS):
            return found.find_time(sample, others)
        time = only([name for name, cells in sample.known(others).items() if cells and self._all_times(cells)], self.name)
        if time is None and sample.rows:
            raise DataError(
                f"With --time-format one column must hold such times. Received: none of {self._clock.rule} among "
                f"{shorten(self.columns)} ({self.name}). Say another --time-format, or name the column with --time-column."
            )
        return time

    def _all_times(self, cells: list[str]) -> bool:
        """Tell whether all cells are times of the format that was said, if one was."""
        if self._reading.time_format is None:
            return True
        return bool((TimeReader(self._reading).read_cells(cells)[1] == A_TIME).all())

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
        asked = {*self.value_columns, self.time_column, *self._parts, self.label_column, self.id_column, *self._ignored}
        self.tolerance.add("extra_columns", sum(name not in asked for name in self.columns), "line 1")
        here = [name for name in self.columns if name in self.judged_columns]
        self.tolerance.add("reordered_columns", sum(a != b for a, b in zip(here, self.judged_columns, strict=True)), "line 1")
