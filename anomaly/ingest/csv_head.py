"""The head of CSV text: what separates the fields, which line names the columns, and which lines about it are no records."""

from collections.abc import Sequence
from itertools import takewhile

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.ingest.chunks import ChunkReader, lines_of
from anomaly.ingest.fields import fields
from anomaly.ingest.header import check_names
from anomaly.ingest.rejects import Offsets
from anomaly.ingest.spelling import missing_tokens
from anomaly.meaning.dialect import SAMPLE, broken_names, cells_of, dialect_of, refuse_odd_quotes, usual_delimiter
from anomaly.meaning.heading import MOST_LINES, lines_of_names
from anomaly.meaning.interpretation import SAMPLE_ROWS, Sample
from anomaly.meaning.joined_names import joined_names
from anomaly.sources.lines import LineReader, refuse_other_text
from anomaly.sources.parquet import ParquetLines

# What a first column without a name is called, which pandas writes for an index: times or a count of rows.
UNNAMED = "unnamed: 0"
# So many records are looked at for one whose first cell is a time, where bad ones are skipped.
MOST_TRIED = 20


class HeadReader(ChunkReader):
    """A reader of CSV text, or of Parquet as such, that knows its separator and the names of its columns.

    Attributes:
        header_line: the line that names the columns.
        header_number: its number.
        columns: their names.
        delimiter: what separates the fields.
    """

    header_line: str
    header_number = 1
    columns: list[str]
    delimiter: str

    _reading: ReadingConfig
    _has_index: bool  # a first column without a name
    _spare: int  # separators too many behind each record
    _units: Sequence[str] = ()  # of the columns, where a line below the header has them
    _lacks_end = False  # the header has no separator behind it where records have

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
        refuse_odd_quotes(line, lines_of(self._pending[:SAMPLE]), self.delimiter, f"{self.name}, line {self.header_number}")
        columns = [name.strip() for name in fields(line, self.delimiter, self.header_number, self.name)]
        columns = columns if isinstance(self._lines, ParquetLines) or follows else self._find_names(columns)
        if blank := self._n_blank(columns):
            columns = columns[:-blank]
            self._spare += blank
            self.tolerance.add("spare_separators", blank if blank > 1 else 0, "line 1")
        self._has_index = len(columns) > 1 and not columns[0] and UNNAMED not in columns
        columns = [UNNAMED, *columns[1:]] if self._has_index else columns
        check_names(
            columns,
            self.name,
            [cells_of(line, self.delimiter) for _, line in self._pending[:MOST_TRIED]],
            line=self.header_number,
        )
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
            self._pass_titles(found.title_lines)
            self._pending = [(n, record) for n, record in self._pending[found.title_lines :] if record.strip()]
        self._lacks_end = found.spare
        self.tolerance.add("spare_separators", found.spare, "line 2")

    def _pass_titles(self, n: int) -> None:
        """Count lines above the header, which is the last of so many pending ones."""
        self._titles = (*self._titles, self.header_line, *lines_of(self._pending[: n - 1]))
        self.tolerance.add("title_lines", n, "line 1")
        self.header_number, self.header_line = self._pending[n - 1]

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
        joined, n_lines = joined_names(columns, rows)
        if joined:
            self._pass_titles(n_lines)
            self._pending = self._pending[n_lines:]
            return joined
        below, units = lines_of_names(columns, rows, missing_tokens(self._reading.missing_values)[0], self.name)
        if units:
            self._units = rows[below]
            self.tolerance.add("unit_lines", units, f"line {self._pending[below][0]:,}")
        if below:
            self._pass_titles(below)
            columns = [name.strip() for name in rows[below - 1]]
        self._pending = self._pending[below + units :] if below + units else self._pending
        return columns

    def _sample(self, limit: int = SAMPLE_ROWS, up_to: str = "") -> Sample:
        """Return the cells of the first records; those of the columns up to one alone where these are quickly cut."""
        lines = [line for _, line in self._pending[:limit]]
        missing = missing_tokens(self._reading.missing_values)[0]
        return Sample.of(self.columns, lines, self.delimiter, missing, self.name, self._spare, up_to)
