"""Columns that a detector does not read, beside rows that it counts: they may say that the rows are not one series in order."""

from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.columns.column_names import is_called_like_times
from anomaly.columns.counters import refuse_restarts
from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.ingest.chunks import PlainRecords, Records, lines_of
from anomaly.ingest.order import Stacked
from anomaly.meaning.dialect import rows_of
from anomaly.meaning.interpretation import FEWEST_BACKWARDS, MOST_BACKWARDS, SAMPLE_ROWS, Sample, refuse_disorder
from anomaly.meaning.several import refuse_going_round, refuse_rows_told_apart
from anomaly.series import Ints
from anomaly.times.epochs import are_epochs
from anomaly.times.moments import are_iso, format_of
from anomaly.times.timestamps import A_TIME, TimeReader
from anomaly.times.written import spelled_format, written_formats


class UnreadTimes:
    """Refuses rows whose times go back or begin anew, or are those of several series, though nobody reads them.

    Args:
        column: what the times are called.
        how: they are written, as `format_of` returns it.
        names: of all columns, in the order of the file.
        unread: those that nobody reads.
        delimiter: what separates the fields.
        name: of the input, for messages.
    """

    def __init__(
        self, column: str, how: str | None, names: Sequence[str], unread: Sequence[str], delimiter: str, name: str
    ) -> None:
        self._clock, self._place, self._n_cells = TimeReader(ReadingConfig(), how), list(names).index(column), len(names)
        self._delimiter, self._name, self._stacked = delimiter, name, Stacked(name, timed=True)
        self._latest, self._last = np.empty(0, np.int64), 0  # the last time, and the number of its line
        self._n_steps = self._n_back = self._n_looked_at = 0
        self._others = {other: list(names).index(other) for other in unread if other != column}
        self._head: list[list[str]] = []  # the first records

    def refuse(self, numbered: Records) -> None:
        """Look at further records, in the order of the file.

        Raises:
            DataError: if their times begin anew, or often go back.
        """
        if not len(numbered) or numbered[0][0] <= self._last:  # some come again where one of many is refused
            return
        self._refuse_turns(numbered)
        times = self._times(numbered)
        steps = np.diff(np.concatenate([self._latest, times]))
        n_steps, n_back = self._n_steps + len(steps), self._n_back + int((steps < 0).sum())
        if n_back >= FEWEST_BACKWARDS and n_back > MOST_BACKWARDS * n_steps:
            raise DataError(
                "Rows must come in the order of their times. "
                f"Received: {n_back:,} steps back in {n_steps + 1:,} rows ({self._name}). Sort the rows by time."
            )
        self._stacked.refuse(times)
        self._n_steps, self._n_back, self._latest, self._last = n_steps, n_back, times[-1:], numbered[-1][0]

    def _refuse_turns(self, numbered: Records) -> None:
        """Look at the first records again whenever there are twice as many."""
        if len(self._head) >= SAMPLE_ROWS or not self._others:
            return
        rows = rows_of(lines_of(numbered)[:SAMPLE_ROWS], self._delimiter)
        self._head += [row for row in rows if len(row) == self._n_cells]
        if len(self._head) >= 2 * self._n_looked_at:
            self._n_looked_at = len(self._head)
            cells = {other: [row[place] for row in self._head] for other, place in self._others.items()}
            refuse_rows_told_apart(cells, [row[self._place] for row in self._head], self._name)

    def _times(self, numbered: Records) -> Ints:
        """Return the times of the records that have one."""
        cells = numbered.cells(self._place) if isinstance(numbered, PlainRecords) else None
        plain = None if cells is None else self._clock.plain_column(cells)
        if plain is not None:
            return plain
        rows = rows_of(lines_of(numbered), self._delimiter)
        times, codes = self._clock.read_cells([row[self._place].strip() for row in rows if len(row) == self._n_cells])
        found: Ints = times[codes == A_TIME]
        return found


def look_at_unread(sample: Sample, unread: Sequence[str], features: Sequence[str], delimiter: str) -> list[UnreadTimes]:
    """Refuse first records that are of several series, or in disorder, by the columns that nobody reads.

    Args:
        sample: the first records.
        unread: names of these columns.
        features: names of those that are read.
        delimiter: what separates the fields.

    Returns:
        What looks at the times among them in all further records.

    Raises:
        DataError: if they are.
    """
    cells = sample.known([name for name in sample.names if name not in unread])
    clocks: dict[str, str | None] = {}
    for column in (name for name, own in cells.items() if _are_times(name, own)):
        try:
            clocks[column] = format_of(cells[column], column, sample.name)
        except DataError:  # nobody can tell what they say
            continue
        others, of_rows = sample.timed(column, [name for name in sample.names if name not in unread])
        refuse_rows_told_apart(others, of_rows, sample.name)
        times, codes = TimeReader(ReadingConfig(), clocks[column]).read_cells(cells[column])
        refuse_disorder(times[codes == A_TIME], sample.name)
    others = {name: own for name, own in cells.items() if name not in clocks}
    refuse_restarts(others, sample.name, trained=True)
    _refuse_turns(others, sample.known([name for name in sample.names if name not in features]), sample.name)
    return [UnreadTimes(column, how, sample.names, unread, delimiter, sample.name) for column, how in clocks.items()]


def _are_times(column: str, cells: Sequence[str]) -> bool:
    if not len(cells):
        return False
    numbers = is_called_like_times(column) and (are_epochs(cells) or spelled_format(cells) is not None)
    return numbers or are_iso(cells) or bool(written_formats(cells))


def _refuse_turns(unread: Mapping[str, Sequence[str]], features: Mapping[str, Sequence[str]], name: str) -> None:
    for column, own in unread.items():
        refuse_going_round({column: own, **features}, None, name, only=column)
