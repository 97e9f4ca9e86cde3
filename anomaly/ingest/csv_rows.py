"""CSV text -> checked numbers, chunk by chunk: which columns there are, and which lines are records.

First step of the flow. `anomaly.ingest.cells` turns the records into numbers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.columns.counters import counters_of
from anomaly.config import ReadingConfig
from anomaly.ingest.cells import Cells
from anomaly.ingest.chunks import CHUNK_BYTES, Chunk, PlainRecords, Records, lines_of, refuse_order_of_several
from anomaly.ingest.csv_head import UNNAMED
from anomaly.ingest.csv_times import TimedReader
from anomaly.ingest.few_rows import FEW_ROWS
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
from anomaly.ingest.rejects import MAX_BAD_FRACTION
from anomaly.ingest.spelling import Marks, Spelling
from anomaly.ingest.unread import UnreadTimes, look_at_unread
from anomaly.meaning.decisions import Decision, decisions_of
from anomaly.meaning.heading import refuse_other_units, refuse_times_as_names, units_text
from anomaly.meaning.interpretation import COUNT, Interpretation, Sample
from anomaly.series import Ints
from anomaly.sources.arriving import Stop
from anomaly.sources.growing import Position
from anomaly.sources.lines import LineReader
from anomaly.sources.parquet import ParquetLines, open_records

# The name of what stands behind a separator too many, as often as there are such; no header can hold it.
_SPARE = "\0"
# A detector that counts rows remembers the names of other columns up to so many characters.
_LONGEST_UNREAD = 1_000
# What recorders write about themselves, such as WinCC: $RT_OFF$.
_CONTROL = re.compile(r'"?\$[A-Z]+(?:_[A-Z]+)*\$"?(?=[;,\t|]|$)')
# How databases count rows below a table: psql, sqlcmd, mysql, sqlplus.
_ROW_COUNT = re.compile(
    r"\s*(?:\(\d[\d., ]* (?:rows?|Zeilen?|lignes?|filas?|righ[ae]|linhas?|registros?|wiersz\w*|rader|rijen|строк\w*|行)"
    r"(?: (?:affected|betroffen))?\)|\d[\d,]* rows? (?:in set|selected|fetched|affected)\b.*)\s*"
)


class CsvReader(TimedReader):
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
    _unread_times: Sequence[UnreadTimes] = ()

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
        refuse_order_of_several(self._reading, id_column)
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
        only = None if keep_lines or not value_columns or time_column in ("auto", None) else named
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
        sample, found = self._sample(), Interpretation(before=before, trained=self._trained)
        kept = (self.label_column, self.id_column, *self._ignored, *self._context, *(value_columns or ()))
        others = [name for name in kept if name is not None]
        self.time_column, self._parts = self._find_time_column(time_column, sample, found, others)
        sample = sample.of_parts(self._parts, self._reading.time_format or before.get("time_format"))
        if self._chooses and sample.rows:
            sample = self._settle_clocks(time_column == "auto", sample, found, others)
        reserved = (self.time_column, self.label_column, self.id_column)
        self._require_named(value_columns or ())
        clock = self._interpret_times(sample, found)
        if value_columns is None and sample.rows:
            taken = [name for name in (*reserved, *self._parts, *self._ignored, *self._context) if name is not None]
            refuse_times_as_names([name for name in self.columns if name not in taken], self.name)
            found.find_roles(
                sample, taken, clock, may_have_series=self.id_column is None,
                looks_at_texts=isinstance(self._lines, LineReader) and not self._faults.skip,
                looks_for_times=self.time_column is None and time_column == "auto",
            )  # fmt: skip
        blank = self._choose_values(value_columns, sample, found)
        unread = self._unread(before)
        self._unread_times = look_at_unread(sample, unread, self.value_columns, self.delimiter) if sample.rows and unread else []
        found.find_marks(
            sample, self.value_columns, self._reading.decimal, self._reading.thousands, doubts_points=self.delimiter == ";"
        )
        found.find_truths(sample, [*self.value_columns, *filter(None, [self.label_column])])
        self.tolerance.reading = list(found.sentences)
        columns, how = self._steady_and_other(sample, found, blank, unread), self._spelling(sample, found, before)
        self.interpretation, self._sample_rows = found, sample
        return Cells(columns, self._clock, self._faults, self.name, how)

    def _require_named(self, wanted: Sequence[str]) -> None:
        """Refuse a header that lacks a column which is named for something else than a feature."""
        require_columns(
            list(self._ignored), self.columns, "columns to ignore", "Name existing columns with --ignore-columns.", self.name,
            line=self.header_number,
        )  # fmt: skip
        for column, what in ((self.label_column, "label"), (self.id_column, "id")):
            if column is not None:
                remedy = f"Name an existing column with --{what}-column."
                require_columns([column], self.columns, f"{what} column", remedy, self.name, line=self.header_number)
        reserved = (self.time_column, self.label_column, self.id_column)
        check_context(
            self._context, self.columns, (*reserved, *self._parts), self._ignored, wanted, self.name, trained=self._trained,
            line=self.header_number,
        )  # fmt: skip

    def _choose_values(self, value_columns: Sequence[str] | None, sample: Sample, found: Interpretation) -> list[str]:
        """Choose the features, the context behind them; return the columns without a name, which must be empty."""
        left_out = (*found.left_out, *self._ignored, *self._parts, *self._context)
        self.value_columns = find_value_columns(
            value_columns, self.columns, self.time_column, self.label_column, self.id_column, self.name, left_out,
            ignored=self._ignored, trained=self._trained, line=self.header_number,
        )  # fmt: skip
        nameless = value_columns is None and self._has_index and UNNAMED in self.value_columns
        blank = self._spare_names
        if nameless and not sample.cells(UNNAMED) and len(self.value_columns) > 1:
            self.value_columns.remove(UNNAMED)  # a column without a name or a value, as Influx writes it
            blank.append(UNNAMED)
        elif nameless:
            check_names(["", *self.columns[1:]], self.name, line=self.header_number)
        self.judged_columns = tuple(self.value_columns)
        self.value_columns += self._context
        if value_columns is not None:
            self._count_columns()
        return blank

    def _steady_and_other(self, sample: Sample, found: Interpretation, blank: Sequence[str], unread: Sequence[str]) -> Columns:
        """Return what each column is for; of those that are left out some must go on as they began."""
        left_out = found.left_out
        if unread:
            left_out = dict.fromkeys(counters_of(sample.known([name for name in self.columns if name not in unread])), COUNT)
        kinds = {"counted": self.time_column is None, "alone": self.id_column is None, "trained": bool(unread)}
        steady = (*steady_columns(sample, left_out, **kinds), *map(blank_column, blank))
        names, reserved = [*self.columns, *self._spare_names], (self.time_column, self.label_column, self.id_column)
        return Columns(names, self.delimiter, *reserved, self.value_columns, self._parts, steady, sample.joints)

    @property
    def _spare_names(self) -> list[str]:
        return [_SPARE * n for n in range(1, self._spare + 1)]

    def _spelling(self, sample: Sample, found: Interpretation, before: Mapping[str, str]) -> Spelling:
        """Return how the cells of the features are written."""
        marks = Marks(found.decimal, found.thousands)
        said = (self._reading.decimal, self._reading.thousands) != (None, None)
        apart = said or self.id_column is not None or isinstance(self._lines, ParquetLines)
        return Spelling(
            marks,
            self._reading.missing_values,
            self._chooses,
            None if said or marks != Marks() else undecided(sample, self.value_columns),
            before.get("decimal"),
            truths=found.truths,
            silent=found.silent,
            switches=found.switches,
            trained=self._trained,
            large=None if apart else json.loads(before.get("large", "{}")),
        )

    def _unread(self, before: Mapping[str, str]) -> list[str]:
        """Return the columns beside those of a detector that counts rows, as far as they were not beside them in training too."""
        if self.time_column is not None or self._chooses or not self._trained or self.id_column is not None:
            return []
        known = {*self.value_columns, self.label_column, *self._ignored, *json.loads(before.get("unread", "[]"))}
        return [name for name in self.columns if name not in known]

    @property
    def turned_labels(self) -> bool:
        """Whether labels came in which 1 stands for what is normal."""
        return self._cells is not None and self._cells.turned_labels

    @property
    def n_lines_above(self) -> int:
        """Lines above the header."""
        return self.tolerance.counts.get("title_lines", 0)

    def decisions(self) -> list[Decision]:
        """Return how the file is read, and why."""
        return decisions_of(self, self._reading, self.interpretation, self._sample_rows, self._said)

    @property
    def remembered(self) -> dict[str, str]:
        """What a detector remembers of how its training file was read, see `Interpretation.to_remember`."""
        read = {*self.value_columns, self.label_column, self.id_column, *self.interpretation.left_out}
        passed = [] if self.time_column is not None else [name for name in self.columns if name not in read]
        unread = json.dumps(passed, ensure_ascii=True)
        more = {"units": self._known_units, "offsets": "yes" if self._clock.has_offsets else ""}
        more |= {"unread": unread if passed and len(unread) <= _LONGEST_UNREAD else ""}
        return self.interpretation.to_remember(self.delimiter) | {name: text for name, text in more.items() if text}

    @property
    def kind(self) -> str:
        """What the input is: "csv" or "parquet"."""
        return "parquet" if isinstance(self._lines, ParquetLines) else "csv"

    @property
    def faults(self) -> list[str]:
        """What was wrong, a sentence each, at most 20."""
        return self._faults.noted

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
        counts = [i for i, line in enumerate(lines) if _ROW_COUNT.fullmatch(line)] if self._may_count_rows() else []
        dropped = {"blank_lines": blank, "repeated_headers": headers, "control_records": controls, "row_counts": counts}
        for kind, found in dropped.items():
            self.tolerance.add(kind, len(found), f"line {first + found[0]:,}" if found else "")
        return {*blank, *headers, *controls, *counts}

    def _may_count_rows(self) -> bool:
        """Tell, without looking at each, lines among which one may count the rows above it."""
        return isinstance(self._lines, LineReader) and (" row" in self._lines.text or "\n(" in self._lines.text)

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
        for times in self._unread_times:
            times.refuse(numbered)
        return self._cells.read(numbered, rows)

    def _count_columns(self) -> None:
        """Count columns that nobody asked for, and whether the others stand in another order."""
        asked = {*self.value_columns, self.time_column, *self._parts, self.label_column, self.id_column, *self._ignored}
        here = f"line {self.header_number:,}"
        self.tolerance.add("extra_columns", sum(name not in asked for name in self.columns), here)
        order = [name for name in self.columns if name in self.judged_columns]
        self.tolerance.add("reordered_columns", sum(a != b for a, b in zip(order, self.judged_columns, strict=True)), here)
