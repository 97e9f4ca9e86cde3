"""JSON Lines and InfluxDB line protocol -> checked numbers, in the form in which CSV text comes.

JSON Lines: an object a line; the time, the values and the name of the series are members of it. A value is a number, or
null or absent: missing. Line protocol: `measurement,tag=text field=1.5,other=2i 1465839830100400200`; the values are fields,
and the time is the one at the end, in nanoseconds. Other members, fields and tags go through as they came; a record in which
one is named twice does not, since nobody knows which of the two counts.
That is why the line is taken apart here: line-protocol-parser 2.0.1, the one that is kept up, gives values without their places,
so the text could not go on as it came, and of a field that is named twice it keeps one without a word.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anomaly.columns.joined_times import joined, joints_of
from anomaly.config import ReadingConfig
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.ingest.chunks import CHUNK_BYTES, Chunk, ChunkReader, Names, Records, refuse_order_of_several
from anomaly.ingest.rejects import MAX_BAD_FRACTION
from anomaly.quick_start import pd
from anomaly.scoring.row_scores import APPENDED
from anomaly.series import Bools, Floats, Ints
from anomaly.sources.arriving import ArrivingText, Stop
from anomaly.sources.growing import Position
from anomaly.sources.lines import LineReader, open_text
from anomaly.times.timestamps import A_TIME, NO_TIME, OTHER_KIND, TimeReader

# How an id column is written that stands for the measurement and all tags of a line of line protocol.
SERIES_KEY = "*"
# Line protocol has 64 bits for a time.
_MOST_NANOSECONDS = 2**63 - 1
# Up to the next separator that no backslash stands before; text in quotes is one piece.
_KEY, _FIELDS = re.compile(r"(?:\\.|[^ \\])+"), re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^ "\\])+')
_ONE_FIELD = re.compile(r'((?:\\.|[^=,\\])+)=("(?:\\.|[^"\\])*"|[^,"]+)(?:,|$)')
_ONE_TAG = re.compile(r",((?:\\.|[^=,\\])+)=((?:\\.|[^=,\\])+)")
_TRUTHS = {"true": 1.0, "false": 0.0, "t": 1.0, "f": 0.0}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


class Fault(Exception):  # noqa: N818 - a record that is refused or left out, not an error of the run
    """What is wrong with a record: its kind in `Tolerance.counts`, and in words."""

    def __init__(self, kind: str, reason: str, column: str = "") -> None:
        self.kind, self.reason, self.column = kind, reason, column
        super().__init__(reason)


class Record(NamedTuple):
    """What one line says."""

    time: str | int | None  # text or microseconds
    values: list[float]  # NaN = missing
    series: str


class RecordReader(ChunkReader):
    """Read JSON Lines or line protocol in chunks, as `CsvReader` reads CSV.

    Args:
        path: a file, plain or gzip-compressed, or "-" for standard input.
        file_format: "jsonl" or "influx".
        time_column: name of the member with the time; with line protocol any name; None counts rows instead.
        value_columns: names of the members or fields in order.
        id_column: name of the member or tag that says which series a record belongs to; "*" for measurement and all tags.
        on_bad_rows: as for `CsvReader`.
        max_bad_fraction: as for `CsvReader`.
        rejects: as for `CsvReader`.
        chunk_bytes: about how much text is held at a time.
        max_bytes: refuse an input of more bytes, decompressed; None takes any length.
        strict: refuse what is otherwise tolerated and counted.
        follow: read records as they arrive, until this says so; the chunks are what has arrived.
        begin_at: where to go on in a file that is followed.
        figures: names that scoring appends beside those of every run.
        before: how the file of the training was read, see `Interpretation.to_remember`: times that are so are read so, and what was
            true and false there may be so here.
        reading: as for `CsvReader`; line protocol is in UTC, and what is about text files has no meaning here.

    Attributes:
        tolerance: what was tolerated so far.
        n_rows: records so far, those that were skipped among them.

    Raises:
        DataError: while iterating, if a line is no record, a value no number, a time no time, or a name is there that
            scoring appends; or if too many are skipped.
        ConfigError: if an option breaks its rule.
        StorageError: if the file cannot be opened or read, or that of the rejects written.
    """

    def __init__(
        self,
        path: str | Path,
        file_format: str,
        *,
        time_column: str | None,
        value_columns: tuple[str, ...],
        id_column: str | None = None,
        on_bad_rows: str = "refuse",
        max_bad_fraction: float = MAX_BAD_FRACTION,
        rejects: str | Path | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        max_bytes: int | None = None,
        strict: bool = False,
        follow: Stop | None = None,
        begin_at: Position | None = None,
        figures: tuple[str, ...] = (),
        before: Mapping[str, str] | None = None,
        **reading: Any,
    ) -> None:
        if file_format == "jsonl" and id_column is not None and id_column in (time_column, *value_columns):
            raise ConfigError(f"The id column must not be the time or a value column. Received: {id_column!r}.")
        refuse_order_of_several(how := ReadingConfig(**reading), id_column)
        super().__init__(path, how, on_bad_rows, max_bad_fraction, rejects, strict=strict, follows=follow is not None)
        self._how, self._before, self._truths = how, before or {}, frozenset(json.loads((before or {}).get("truths", "[]")))
        self.file_format = file_format
        self.time_column, self.id_column = time_column, id_column
        self.value_columns = self.columns = list(value_columns)
        self.delimiter = self.header_line = ""
        self.header_number = 0
        self._record: Callable[[str], Record] = self._from_json if file_format == "jsonl" else self._from_protocol
        parts, known = (time_column or "").split(","), how.time_format or self._before.get("time_format")
        self._joints = joints_of(parts, [()] * len(parts), known)
        self._known_key, self._is_format_known = ("", ""), False
        self._appended = {*APPENDED, *figures}
        with self._opening():
            if follow is None:
                text: Any = open_text(path, self._open_files, self.tolerance, max_bytes)
            else:
                text = ArrivingText(path, self.name, self.tolerance, follow, begin_at, has_header=False)
                self._open_files.enter_context(contextlib.closing(text))
            self._lines = LineReader(text, self.name, self.tolerance, chunk_bytes)

    def _no_records(self, lines: list[str], first: int) -> set[int]:
        comment = "#" if self.file_format == "influx" else None
        blank = {i for i, line in enumerate(lines) if not line.strip() or line[0] == comment}
        self.tolerance.add("blank_lines", len(blank))
        return blank

    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Records]:
        records: list[Record] = []
        good = np.ones(len(numbered), np.bool_)
        for place, (number, line) in enumerate(numbered):
            try:
                records.append(self._record(line))
            except Fault as fault:
                good[place] = False
                self._fault(number, line, fault)
        if not good.all():
            numbered, rows = list(itertools.compress(numbered, good)), rows[good]
        times, good = self._times(records, numbered, rows)
        ids: Names = np.array([record.series for record in records], np.object_)
        kept = list(itertools.compress(numbered, good))
        chunk = Chunk(
            lines=[line for _, line in kept],
            times=times[good],
            values=self._values(records)[good],
            labels=None,
            ids=ids[good] if self.id_column is not None else None,
        )
        return chunk, kept

    def _fault(self, number: int, line: str, fault: Fault) -> None:
        """Leave a record out, or refuse the input for it."""
        if self._faults.skip:
            self._faults.reject(number, line, fault.kind, fault.reason, fault.column)
            return
        rule = "an object" if self.file_format == "jsonl" else "measurement,tags fields time"
        raise DataError(f"Every line must be {rule} that can be scored. Received: {fault.reason} ({self.name}, line {number}).")

    def _times(self, records: list[Record], numbered: Records, rows: Ints) -> tuple[Ints, Bools]:
        """Return the times of records, and which of them are times."""
        cells, everything = [record.time for record in records], np.ones(len(records), np.bool_)
        if self.time_column is None:
            return rows, everything
        if self.file_format == "influx":
            return np.array(cells, np.int64), everything
        self._find_format(cells)
        times, codes = self._clock.read(pd.Series(cells, dtype="str"))
        for place in np.flatnonzero(codes != A_TIME).tolist():
            number, line = numbered[place]
            cell = f"{str(cells[place])[:40]!r}" if cells[place] is not None else "nothing"
            if codes[place] not in (NO_TIME, OTHER_KIND) or not self._faults.skip:
                raise DataError(
                    self._clock.sentence(
                        codes[place], f"Member {self.time_column!r}", cell, f"{self.name}, line {number}", trained=True
                    )
                )
            self._faults.reject(number, line, "rejected_times", f"no time: {cell}", self.time_column)
        return times, codes == A_TIME

    def _find_format(self, cells: Sequence[object]) -> None:
        """Read times as in training, if the first one is so; else as ISO 8601 or numbers since 1970."""
        trained, first = self._before.get("time_format"), next((str(cell) for cell in cells if cell is not None), None)
        if self._is_format_known or first is None:
            return
        self._is_format_known = True
        if trained is not None and self._how.time_format is None:
            _, codes = TimeReader(self._how, trained).read(pd.Series([first], dtype="str"))
            self._clock = TimeReader(self._how, trained) if codes[0] == A_TIME else self._clock

    def _values(self, records: list[Record]) -> Floats:
        return np.array([record.values for record in records], np.float64).reshape(len(records), len(self.value_columns))

    def _from_json(self, line: str) -> Record:
        try:
            members = json.loads(line, parse_constant=_no_constant, object_pairs_hook=_members)
        except (ValueError, RecursionError) as error:
            raise Fault("rejected_syntax", f"no JSON: {str(error)[:80]}") from error
        if not isinstance(members, dict):
            raise Fault("rejected_fields", f"JSON that is no object: {line[:40]!r}")
        if isinstance(members, _NamedTwice):
            raise Fault("rejected_fields", f"the member {members.name[:40]!r} twice")
        self._refuse_appended(members)
        if not any(name in members for name in self.value_columns):
            raise Fault("rejected_fields", f"an object without {shorten(self.value_columns)}")
        values = [_json_number(members.get(name), name, truth=name in self._truths) for name in self.value_columns]
        time = self._time_in(members)
        if isinstance(time, bool) or not isinstance(time, str | int | float | None):
            raise Fault("rejected_times", f"no time: {str(time)[:40]!r}", self.time_column or "")
        return Record(None if time is None else str(time), values, self._name_of(members.get(self.id_column or "")))

    def _time_in(self, members: dict[str, Any]) -> Any:
        """Return the time of an object, of which several members may make it up."""
        if self.time_column is None or self.time_column in members:
            return members.get(self.time_column or "")
        parts = [members.get(part) for part in self.time_column.split(",")]
        return None if None in parts else joined([str(part) for part in parts], self._joints)

    def _from_protocol(self, line: str) -> Record:
        key, values, time = _split(line)
        found: dict[str, str] = {}
        end = 0
        for match in _ONE_FIELD.finditer(values):
            if match.start() != end:
                break
            name = _plain(match[1])
            if name in found:
                raise Fault("rejected_fields", f"the field {name[:40]!r} twice")
            found[name] = match[2]
            end = match.end()
        if end != len(values) or not found or values.endswith(","):
            raise Fault("rejected_fields", f"no fields: {values[:40]!r}")
        self._refuse_appended(found)
        if not any(name in found for name in self.value_columns):
            raise Fault("rejected_fields", f"a line without the field {shorten(self.value_columns)}")
        numbers = [_protocol_number(found.get(name), name, truth=name in self._truths) for name in self.value_columns]
        return Record(time, numbers, self._series_of(key))

    def _series_of(self, key: str) -> str:
        """Return the name of the series from measurement and tags; neighbours mostly have the same."""
        if self.id_column is None:
            return ""
        if key == self._known_key[0]:
            return self._known_key[1]
        if self.id_column == SERIES_KEY:
            name = key
        else:
            names = [_plain(match[2]) for match in _ONE_TAG.finditer(key) if _plain(match[1]) == self.id_column]
            if len(names) > 1:
                raise Fault("rejected_ids", f"the tag {self.id_column!r} twice", self.id_column)
            name = self._name_of(names[0] if names else None)
        self._known_key = key, name
        return name

    def _name_of(self, cell: Any) -> str:
        if self.id_column is None:
            return ""
        if isinstance(cell, bool) or not isinstance(cell, str | int | float) or cell == "":
            raise Fault("rejected_ids", f"no name of a series in {self.id_column!r}", self.id_column)
        name = str(cell)
        if not name.isascii() and any("\ud800" <= c <= "\udfff" for c in name):  # halves of characters, which JSON may hold
            raise Fault("rejected_ids", f"a name that is no text: {ascii(name)[:40]}", self.id_column)
        return name

    def _refuse_appended(self, names: dict[str, Any]) -> None:
        clash = [name for name in names if name in self._appended]
        if clash:
            raise DataError(
                f"A record must not have what scoring appends. Received: {shorten(clash)} ({self.name}). "
                "Rename them, or score the records they were made from."
            )


class _NamedTwice(dict[str, Any]):
    """The members of an object of which two have the same name."""

    name = ""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice, names = _NamedTwice(found), [name for name, _ in pairs]
    twice.name = next(name for name in names if names.count(name) > 1)
    return twice


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is none")


def _json_number(value: Any, name: str, *, truth: bool = False) -> float:
    """Return the number of a member, which may stand in quotes; true and false are 1 and 0 where they were in training."""
    if value is None:
        return math.nan
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if truth and (isinstance(value, bool) or str(value).strip().lower() in _TRUTHS):
        return _TRUTHS[str(value).strip().lower()]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fault("rejected_numbers", f"no number: {str(value)[:40]!r}", name)
    try:
        return float(value)
    except OverflowError:  # an integer of 400 digits
        return math.copysign(math.inf, value)


def _split(line: str) -> tuple[str, str, int]:
    """Return measurement and tags, the fields, and the time in microseconds of a line of line protocol."""
    key = _KEY.match(line)
    values = _FIELDS.match(line, key.end() + 1) if key and line[key.end() : key.end() + 1] == " " else None
    if key is None or values is None:
        raise Fault("rejected_syntax", f"no line protocol: {line[:40]!r}")
    time = line[values.end() :].strip()
    if not re.fullmatch(r"-?\d{1,19}", time) or abs(int(time)) > _MOST_NANOSECONDS:
        raise Fault("rejected_times", f"no time in nanoseconds at the end: {time[:40]!r}")
    return key[0], values[0], int(time) // 1000


def _protocol_number(text: str | None, name: str, *, truth: bool = False) -> float:
    """Return the number in a field: 1.5, 2i, 3u; text is none, and true and false are 1 and 0 where they were in training."""
    if text is None:
        return math.nan
    if truth and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    digits = text[:-1] if text[-1:] in "iu" else text
    if not _NUMBER.fullmatch(digits):
        raise Fault("rejected_numbers", f"no number: {text[:40]!r}", name)
    return float(digits)


def _plain(name: str) -> str:
    """Return a name without the backslashes that keep its separators from being read."""
    return re.sub(r"\\([,= ])", r"\1", name)
