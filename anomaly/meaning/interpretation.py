"""One reading of the head of a file, with the reason for each decision; what can be read in two ways is refused with both."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anomaly.errors import DataError, shorten
from anomaly.meaning.dialect import cells_of, number_marks
from anomaly.meaning.moments import format_of
from anomaly.meaning.roles import counters_of, labels_of, series_columns, time_column_of
from anomaly.series import Ints

# So many records are looked at.
SAMPLE_ROWS = 500
# Of the rows of one series so many, as a share, may have the time of another row.
MOST_REPEATED = 0.2
_FEWEST_REPEATED = 5
# Of the steps between rows so many may go back in time, where rows are scored as they are read.
MOST_BACKWARDS = 0.01
_FEWEST_BACKWARDS = 3


@dataclass(frozen=True)
class Sample:
    """Some records from the head of a file.

    Attributes:
        names: of the columns, in the order of the file.
        rows: the cells of each record, as many as there are names.
        missing: what stands for a missing value.
        name: of the input, for messages.
    """

    names: list[str]
    rows: list[list[str]]
    missing: frozenset[str]
    name: str

    @classmethod
    def of(cls, names: list[str], lines: Sequence[str], delimiter: str, missing: Sequence[str], name: str) -> "Sample":
        """Cut lines into cells; those with another number of them are left out."""
        rows = [cells_of(line, delimiter) for line in lines[:SAMPLE_ROWS]]
        return cls(names, [row for row in rows if len(row) == len(names)], frozenset(missing), name)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, one a row."""
        place = self.names.index(name)
        return [row[place] for row in self.rows]

    def known(self, without: Sequence[str] = ()) -> dict[str, list[str]]:
        """Return by column the cells that are not missing, but for some columns."""
        columns = [name for name in self.names if name not in without]
        return {name: [cell for cell in self.column(name) if cell.strip() not in self.missing] for name in columns}


@dataclass
class Interpretation:
    """How a file is read, as far as nobody has said it.

    Attributes:
        left_out: columns that are no features, by name, and what they are taken for.
        decimal: the decimal mark.
        thousands: the mark between thousands, if there is one.
        time_format: of the times; None for ISO 8601 or numbers since 1970.
        sentences: what was decided and why, a sentence each.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    thousands: str | None = None
    time_format: str | None = None
    sentences: list[str] = field(default_factory=list)

    def find_time(self, sample: Sample, taken: Sequence[str]) -> str | None:
        """Return which column is the time; `taken` are those that are something else."""
        found = time_column_of(sample.known(taken), sample.name) if sample.rows else None
        if found is not None:
            self.sentences.append(f"The time is {found!r}: its name and cells look like times.")
        return found

    def find_format(self, sample: Sample, time: str) -> None:
        """Tell what kind of times a column has."""
        self.time_format = format_of(sample.known()[time], time, sample.name)
        if self.time_format is not None:
            first = sample.known()[time][0]
            self.sentences.append(f"Times such as {first} are read as --time-format {self.time_format} would have it.")

    def find_roles(self, sample: Sample, taken: Sequence[str]) -> None:
        """Leave out columns of labels and counts of rows, unless nothing would be left."""
        cells = sample.known(taken)
        labels, counters = labels_of(cells), counters_of(cells)
        if len(labels) + len(counters) >= len(cells):
            return
        self.left_out |= dict.fromkeys(labels, "labels") | dict.fromkeys(counters, "a count of rows")
        if labels:
            self.sentences.append(
                f"Taken for labels and left out: {shorten(labels)}, so called and with no more than two values. --label-column "
                f"{labels[0]} makes use of it, --value-columns makes it a feature."
            )
        if counters:
            self.sentences.append(
                f"Taken for a count of rows and left out: {shorten(counters)}. --value-columns makes it a feature."
            )

    def find_marks(self, sample: Sample, values: Sequence[str], decimal: str | None, thousands: str | None) -> None:
        """Tell the decimal mark from the cells of the features."""
        cells = {name: found for name, found in sample.known().items() if name in values}
        self.decimal, self.thousands = number_marks(cells, decimal, thousands, sample.name)
        if self.decimal != "." or self.thousands:
            between = f", {self.thousands!r} between thousands" if self.thousands else ""
            self.sentences.append(f"Numbers have a decimal {'comma' if self.decimal == ',' else 'point'}{between}.")


def refuse_several_series(sample: Sample, time: str) -> None:
    """Refuse rows of which many share their time with others: they belong to several series.

    Raises:
        DataError: with the option that tells them apart.
    """
    place = sample.names.index(time)
    rows = [row for row in sample.rows if row[place].strip() not in sample.missing]
    times = [row[place] for row in rows]
    n_repeated = len(times) - len(set(times))
    n_other = len({tuple(row) for row in rows}) - len(set(times))
    if n_other <= max(MOST_REPEATED * len(times), _FEWEST_REPEATED):
        return
    found = series_columns({name: [row[i] for row in rows] for i, name in enumerate(sample.names) if i != place}, times)
    remedy = (
        f"Column {found[0]!r} tells them apart: several series in one file. Add --id-column {found[0]}."
        if found
        else "Name the column that tells series apart with --id-column, another column of times with --time-column, or aggregate "
        "the rows."
    )
    raise DataError(
        "Each row of a series must have a time of its own. "
        f"Received: {n_repeated:,} of the first {len(times):,} rows with the time of another ({sample.name}). {remedy}"
    )


def refuse_disorder(times: Ints, name: str) -> None:
    """Refuse times that often go back; see `MOST_BACKWARDS`.

    Args:
        times: of the first rows.
        name: of the input, for messages.

    Raises:
        DataError: if they do.
    """
    n_back = int((np.diff(times) < 0).sum())
    if n_back >= _FEWEST_BACKWARDS and n_back > MOST_BACKWARDS * (len(times) - 1):
        raise DataError(
            "Rows must come in the order of their times. "
            f"Received: {n_back:,} steps back in the first {len(times):,} rows ({name}). Sort the rows by time."
        )
