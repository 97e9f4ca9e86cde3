"""What every reader of records does, whatever their format: chunk by chunk, numbered, with what is left out told.

A reader holds one chunk at a time, so a file of any length needs the same memory. The raw lines are kept so that output can
repeat them.
"""

import abc
import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from anomaly.config import ReadingConfig
from anomaly.errors import ConfigError, DataError
from anomaly.ingest.faults import Faults
from anomaly.ingest.header import Columns, Steady
from anomaly.ingest.rejects import Rejects, check_bad_rows
from anomaly.meaning.dialect import rows_of
from anomaly.series import Floats, Ints
from anomaly.sources.growing import Position
from anomaly.sources.lines import LineReader, shown_name
from anomaly.sources.parquet import ParquetLines
from anomaly.sources.tolerance import Tolerance
from anomaly.times.clock_shifts import RowsByHour, times_to_come
from anomaly.times.exchanged_days import ExchangedDays
from anomaly.times.plain_cells import Bytes, plain_numbers
from anomaly.times.timestamps import TimeReader, is_finite
from anomaly.times.twelve_hours import TwelveHours
from anomaly.zones import zone_above, zone_in

CHUNK_BYTES = 1 << 20

Records = Sequence[tuple[int, str]]  # line number and text
Names = npt.NDArray[np.object_]  # of text
_WIDEST, _SHOWN_CELL = 64, 40
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")


class Lines(Records):
    """Consecutive lines as records; the number of each is known without being written down.

    Args:
        lines: the records.
        first: number of the first line.
    """

    def __init__(self, lines: list[str], first: int) -> None:
        self.lines, self._first = lines, first

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.lines)

    @overload
    def __getitem__(self, place: int) -> tuple[int, str]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, str]]: ...

    def __getitem__(self, place: int | slice) -> tuple[int, str] | list[tuple[int, str]]:
        """Return a record with its line number, or some."""
        numbers = range(self._first, self._first + len(self.lines))
        return (
            list(zip(numbers[place], self.lines[place], strict=True))
            if isinstance(place, slice)
            else (numbers[place], self.lines[place])
        )

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield all records with their line numbers."""
        return zip(itertools.count(self._first), self.lines, strict=False)


class PlainRecords(Lines):
    """Consecutive lines that are all records of as many fields as the header, none quoted; they are looked at all at once.

    Args:
        lines: the records.
        first: number of the first line.
        text: the same lines, each with its end; the last may lack it.
        codes: its bytes in UTF-8.
        ends: `(n_records, n_fields)`, the places in `codes` at which the fields end.
    """

    def __init__(self, lines: list[str], first: int, text: str, codes: Bytes, ends: Ints) -> None:
        super().__init__(lines, first)
        self.text, self.codes, self.ends = text, codes, ends

    @classmethod
    def of(cls, lines: list[str], first: int, text: str, delimiter: str, n_fields: int) -> "PlainRecords | None":
        """Return lines as such records; None if they are not.

        Args:
            lines: at least one.
            first: as above.
            text: as above.
            delimiter: what separates fields.
            n_fields: of a record, at least 2.
        """
        if '"' in text or delimiter.isspace() or not delimiter.isascii():
            return None
        codes = np.frombuffer(text.encode(), np.uint8)
        places = np.flatnonzero((codes == ord("\n")) | (codes == ord(delimiter)))
        if not text.endswith("\n"):
            places, codes = np.append(places, len(codes)), np.append(codes, np.uint8(ord("\n")))
        if len(places) != len(lines) * n_fields:
            return None
        ends = places.reshape(-1, n_fields)
        are_ends = codes[ends] == ord("\n")
        return cls(lines, first, text, codes, ends) if are_ends[:, -1].all() and not are_ends[:, :-1].any() else None

    def cells(self, place: int) -> Bytes | None:
        """Return the cells of a field, `(n_records, width)`; None if they are not all as wide, or wider than 64 bytes."""
        begins = self._begins(place)
        width = int(self.ends[0, place] - begins[0])
        if not 0 < width <= _WIDEST or not (self.ends[:, place] - begins == width).all():
            return None
        found: Bytes = sliding_window_view(self.codes, width)[begins]
        return found

    def all_are(self, text: str, place: int) -> bool:
        """Tell whether all cells of a field are a text, to the byte; a look at each record tells more."""
        if not text:
            return bool((self.ends[:, place] - self._begins(place) == 0).all())
        cells, wanted = self.cells(place), np.frombuffer(text.encode(), np.uint8)
        return cells is not None and cells.shape[1] == len(wanted) and bool((cells == wanted).all())

    def are_among(self, characters: str, place: int) -> bool:
        """Tell whether all cells of a field are one of some characters."""
        cells = self.cells(place)
        return cells is not None and cells.shape[1] == 1 and bool(np.isin(cells, [ord(one) for one in characters]).all())

    def _begins(self, place: int) -> Ints:
        begins: Ints = np.append(0, self.ends[:-1, -1] + 1) if not place else self.ends[:, place - 1] + 1
        return begins


def lines_of(records: Records) -> list[str]:
    """Return records without their numbers."""
    return records.lines if isinstance(records, Lines) else [line for _, line in records]


class SteadyColumns:
    """The columns that were left out because of what the first records have there; it is refused where they change.

    Args:
        columns: of the file.
        missing: texts that stand for a missing value.
        name: of the input, for messages.
    """

    def __init__(self, columns: Columns, missing: Sequence[str], name: str) -> None:
        self._columns, self._missing, self._name = columns, {"", *missing}, name
        self._reached: dict[str, float] = {}  # by columns that count rows or time
        self._last = 0  # number of the last line that was looked at

    def refuse_change(self, records: Records) -> None:
        """Refuse further records in which such a column is no longer what it was.

        Raises:
            DataError: with its own rule and remedy.
        """
        if not len(records) or records[0][0] <= self._last:  # some come again where one of many is refused
            return
        for column in self._columns.steady:
            (self._refuse_fall if column.rises else self._refuse_other)(column, records)
        self._last = records[-1][0]

    def _refuse_other(self, column: Steady, records: Records) -> None:
        place = self._columns.names.index(column.name)
        if isinstance(records, PlainRecords):
            short = "".join(mark for mark in column.marks if len(mark) == 1)
            if records.are_among(short, place) if column.marks else records.all_are(column.text, place):
                return
        for (number, _), cell in zip(records, self._cells(place, records), strict=True):
            if cell not in self._missing and not column.allows(cell):
                before = f" after {column.text!r}" if column.text else ""
                raise self._error(column, f"{cell[:_SHOWN_CELL]!r}{before}", number)

    def _refuse_fall(self, column: Steady, records: Records) -> None:
        """Refuse a count or a clock that no longer goes on."""
        numbers = self._numbers(self._columns.names.index(column.name), records)
        known = np.flatnonzero(np.isfinite(numbers))
        numbers = numbers[known]
        steps = np.diff(numbers, prepend=self._reached.get(column.name, -np.inf))
        if len(wrong := np.flatnonzero(column.stops(steps, numbers))):
            at = int(wrong[0])
            line = next(itertools.islice(records, int(known[at]), None))[0]
            raise self._error(column, f"{numbers[at]:.10g} after {numbers[at] - steps[at]:.10g}", line)
        if len(numbers):
            self._reached[column.name] = float(numbers[-1])

    def _numbers(self, place: int, records: Records) -> Floats:
        """Return the numbers of a column, `(n,)`, NaN where there is none."""
        if isinstance(records, PlainRecords):
            found = plain_numbers(records.text, self._columns.delimiter, len(self._columns.names), [place])
            if found is not None:
                return np.asarray(found[:, 0])
        # A comma before three digits may as well stand between thousands: such a count says nothing here.
        cells = ["" if _GROUPED.fullmatch(cell) else cell.replace(",", ".") for cell in self._cells(place, records)]
        return np.array([float(cell) if is_finite(cell) else np.nan for cell in cells])

    def _cells(self, place: int, records: Records) -> list[str]:
        rows = rows_of(lines_of(records), self._columns.delimiter)
        return [row[place].strip() if len(row) == len(self._columns.names) else "" for row in rows]

    def _error(self, column: Steady, received: str, line: int) -> DataError:
        return DataError(f"{column.rule} Received: {received} ({self._name}, line {line}). {column.remedy}")


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of an input."""

    lines: list[str]  # the records as they stand in the file, without line ends
    times: Ints  # (n,) int64, microseconds since 1970 UTC, or row numbers
    values: Floats  # (n, n_features) float64, NaN = missing
    labels: Floats | None  # (n,) 0 or 1, or -1 and 1 as they came; NaN = none
    ids: Names | None = None  # (n,) of the series that each row belongs to


def refuse_order_of_several(reading: ReadingConfig, id_column: str | None) -> None:
    """Refuse to tell by the order of rows which of two hours they are of, where rows of several series stand between each other.

    Raises:
        ConfigError: if that is asked for.
    """
    if reading.dst == "order" and id_column is not None:
        raise ConfigError(
            f"--dst order must go with one series. Received: --dst order and the id column {id_column!r}. Use --dst first or --dst "
            "last, or write times with an offset."
        )


class ChunkReader(abc.ABC):
    """Read records in chunks; use it in a `with` block and iterate over it.

    Args:
        path: a file, or "-" for standard input.
        reading: zone and format of the times.
        on_bad_rows: "refuse" the input, or "skip" a bad record; where rows are counted, its place stays empty.
        max_bad_fraction: the largest share of the records that may be skipped.
        rejects: a CSV file that receives what was skipped, if the block ends without an exception.
        strict: refuse what is otherwise tolerated and counted.
        collect: gather what is wrong with the records instead of refusing the first.
        follows: whether records are read as they arrive.

    Attributes:
        name: of the input, for messages.
        tolerance: what was tolerated so far.
        n_rows: records so far, those that were skipped among them.
        time_column: name of the column of times; None where rows are counted.
        id_column: name of what says which of several series a record belongs to, if there is one.
        value_columns: names of the features in order.
        is_within: whether more records of the lines that were read are to come, which `position` lies behind.
    """

    time_column: str | None
    id_column: str | None
    value_columns: list[str]
    is_within = False

    _titles: tuple[str, ...] = ()  # lines above the header
    _lines: LineReader | ParquetLines  # opened in `_opening`

    def __init__(
        self,
        path: str | Path,
        reading: ReadingConfig,
        on_bad_rows: str,
        max_bad_fraction: float,
        rejects: str | Path | None,
        *,
        strict: bool,
        collect: bool = False,
        follows: bool = False,
    ) -> None:
        check_bad_rows(on_bad_rows, max_bad_fraction, rejects, strict=strict, source=path)
        self.name, self.n_rows = shown_name(path), 0
        self.tolerance = Tolerance(strict, self.name)
        self._clock = TimeReader(reading)
        self._faults = Faults(skip=on_bad_rows == "skip", collect=collect)
        self._rejects = Rejects(self.tolerance, max_bad_fraction, rejects)
        self._follows = follows
        self._pending: Records = []  # that were read ahead
        self._open_files = contextlib.ExitStack()

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """Close what the block has opened if it fails; else open the file of the rejects too."""
        try:
            yield
            self._rejects.open()
        except BaseException:
            self._open_files.close()
            raise

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
        """Yield the records in order, about a chunk of text at a time; at the end the tolerance has what their times say."""
        hours, latest, days = RowsByHour(), 0, ExchangedDays(self._clock.zone)
        halves = TwelveHours(self._clock.zone)
        for chunk in self._chunks():
            if self.time_column is not None and len(chunk.times):
                latest = max(latest, int(chunk.times.max()))
                if self.id_column is None and self.has_local_times:
                    hours.take(chunk.times)
                if self.id_column is None and self._clock.writes_dates:
                    days.take(chunk.times)
                if self.id_column is None and (self._clock.writes_dates or self._clock.has_offsets):
                    halves.take(chunk.times)
            yield chunk
        if self.time_column is not None:
            days.refuse(self.name)
            halves.refuse(self.name)
            zone = (zone_in(self.time_column) or zone_above(self._titles)) if self.has_local_times else None
            told = [hours.shifted_clock(), zone, times_to_come(latest)]
            self.tolerance.of_times = [*filter(None, told)]
            self.tolerance.reading = [*self.tolerance.reading, *self.tolerance.of_times]

    @property
    def has_local_times(self) -> bool:
        """Whether the times that were read have no offset from UTC, and nobody named their zone."""
        return self.time_column is not None and self._clock.is_local

    def _chunks(self) -> Iterator[Chunk]:
        numbered, self._pending = self._pending or self._read_lines(), []
        while numbered:
            for chunk in self._parsed(numbered):
                if chunk.lines or not self._faults.skip:
                    yield chunk
            self.is_within = False
            numbered = self._read_lines()
        if not self._follows:  # the end of a stream says nothing of its records, and rows still wait
            self._rejects.check()

    def _parsed(self, numbered: Records) -> Iterator[Chunk]:
        """Yield the records as a chunk; where rows are answered as they come, those before one that is refused first."""
        if not self._follows or len(numbered) == 1:
            yield self._parse(numbered)
            return
        n_rows, counts, places = self.n_rows, dict(self.tolerance.counts), dict(self.tolerance.places)
        try:
            chunk = self._parse(numbered)
        except DataError:
            self.n_rows, self.tolerance.counts, self.tolerance.places, self.is_within = n_rows, counts, places, True
            records, half = list(numbered), len(numbered) // 2
            yield from self._parsed(records[:half])
            yield from self._parsed(records[half:])
            return
        yield chunk

    def position(self) -> Position | None:
        """Return where the records that were handed out end, in a file that is followed."""
        return self._lines.position() if isinstance(self._lines, LineReader) else None

    def _read_lines(self) -> Records:
        """Read about a chunk of text."""
        numbered: Records = []
        while not numbered:
            first = self._lines.number + 1
            lines = self._lines.next()
            if not lines:
                break
            if self._faults.skip:
                self._faults.offsets.push(lines)
            plain = self._plain(lines, first)
            if plain is not None:
                return plain
            dropped = self._no_records(lines, first)
            numbered = [(first + i, line) for i, line in enumerate(lines) if i not in dropped] if dropped else Lines(lines, first)
        return numbered

    def _parse(self, numbered: Records) -> Chunk:
        """Number records and turn them into a chunk; count what is in it, and what is left out."""
        rows = np.arange(self.n_rows, self.n_rows + len(numbered), dtype=np.int64)
        self.n_rows += len(numbered)
        chunk, kept = self._converted(numbered, rows)
        missing = np.isnan(chunk.values)
        for kind, found in (("missing_values", missing), ("infinite_values", np.isinf(chunk.values))):
            if found.any():
                first = int(np.flatnonzero(found.any(axis=1))[0])
                self.tolerance.add(kind, int(found.sum()), f"line {kept[first][0]:,}")
        self.tolerance.add("incomplete_rows", int(missing.any(axis=1).sum()))
        if len(missing):
            self.tolerance.listen(self.value_columns, np.count_nonzero(missing, axis=0) < len(missing))
        if self._faults.skip:
            self._rejects.take(len(numbered), self._faults.taken())
        return chunk

    def _plain(self, lines: list[str], first: int) -> PlainRecords | None:
        """Return lines as records that need not be looked at one by one, as most are; None if they do."""
        return None

    @abc.abstractmethod
    def _no_records(self, lines: list[str], first: int) -> set[int]:
        """Count lines that are no records, and return their places; the first has the number `first`."""

    @abc.abstractmethod
    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Records]:
        """Turn records with their places, `(n,)`, into a chunk; return the records that are in it too."""
