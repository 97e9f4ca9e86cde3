"""One reading of the head of a file, with the reason for each decision; what can be read in two ways is refused with both."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import Any

import numpy as np

from anomaly.columns.counters import clocks_apart, counters_of, refuse_restarts
from anomaly.columns.joined_times import Joint, joined, joints_of, with_fraction
from anomaly.columns.labels import doubtful_labels_of, is_label_name, labels_of, steady_codes_of
from anomaly.columns.other_clocks import OtherClock
from anomaly.columns.time_column import time_column_of
from anomaly.columns.unread_times import refuse_unread_times
from anomaly.errors import DataError, shorten
from anomaly.meaning.blanks import n_between_blanks
from anomaly.meaning.dialect import rows_of
from anomaly.meaning.marks import number_marks, with_plain_minus
from anomaly.meaning.several import may_name_series, only_names_of, refuse_going_round, refuse_unnamed_series
from anomaly.series import Floats, Ints
from anomaly.times.blanks import times_with_blanks
from anomaly.times.calendar_parts import calendar_columns, keys_of, offsets_of
from anomaly.times.column import Column, different, numbers_of
from anomaly.times.day_and_month import show_few_days
from anomaly.times.epochs import EXCEL, are_since_1970
from anomaly.times.moments import are_iso, format_of, is_number
from anomaly.times.spreadsheet_days import told_days
from anomaly.times.time_parts import is_day_of_year, is_year_name, time_parts_of
from anomaly.zones import zone_in_cells

# So many records are looked at.
SAMPLE_ROWS = 500
# What columns are taken for in which all of the first records have one number.
ONLY_NAME, STEADY_CODE = "the name of the only series", "a code of quality that never changes"
LABELS, COUNT, CLOCK = "labels", "a count of rows, or a clock", "the same times by another clock"
# Of the steps between rows so many may go back in time, where rows are scored as they are read.
MOST_BACKWARDS = 0.01
FEWEST_BACKWARDS = 3
# A column of texts has numbers on no larger share of its rows.
_MOST_NUMBERS, _FEWEST_TEXTS = 0.1, 5
# Where so few of the first cells are texts, no others are looked at.
_MOST_LOOKED_INTO = 50
# What separates fields now and then.
_RARE_MARKS = ("^", "~", ":", "#", "!", "&", "*", "/", " ")
# Of so few columns all are cut as fast as some.
_FEWEST_TO_CUT = 4
# A detector remembers the names of columns of true and false up to so many characters.
_LONGEST_TRUTHS, _TRUTHS = 1_000, frozenset(("true", "false"))
_ONES = frozenset(("0", "1", "0.0", "1.0"))


@dataclass(frozen=True)
class Sample:
    """Some records from the head of a file.

    Attributes:
        names: of the columns, in the order of the file.
        rows: the cells of each record, as many as there are names.
        missing: what stands for a missing value.
        name: of the input, for messages.
        parts: of the time, where several columns make it up together: their names.
        joints: how these are joined.
    """

    names: list[str]
    rows: list[list[str]]
    missing: frozenset[str]
    name: str
    parts: tuple[str, ...] = ()
    joints: tuple[Joint, ...] = ()
    _known: dict[str, Column] = field(default_factory=dict, repr=False, compare=False)
    _columns: list[Sequence[str]] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        names: list[str],
        lines: Sequence[str],
        delimiter: str,
        missing: Sequence[str],
        name: str,
        n_spare: int = 0,
        up_to: str = "",
    ) -> "Sample":
        """Cut lines into cells; those with another number of them are left out.

        The last `n_spare` of a line are not kept, nor are those behind a column where nothing is quoted.
        """
        n_cells = len(names) + n_spare
        if len(names) > _FEWEST_TO_CUT and up_to in names and not any('"' in line for line in lines):
            n = names.index(up_to) + 1
            rows = [line.split(delimiter, n)[:n] for line in lines if line.count(delimiter) == n_cells - 1 and line]
            return cls(names[:n], rows, frozenset(missing), name)
        kept = [row for row in rows_of(lines, delimiter) if len(row) == n_cells]
        return cls(names, [row[: len(names)] for row in kept] if n_spare else kept, frozenset(missing), name)

    def of_parts(self, parts: tuple[str, ...], how: str | None = None) -> "Sample":
        """Return the sample with the parts of its time; `how` is the format of the times, if it is known."""
        return replace(self, parts=parts, joints=joints_of(parts, [self.cells(part) for part in parts], how))

    @property
    def named(self) -> list[str]:
        """The columns that have a name in the file."""
        return [name for name in self.names if not name.lower().startswith("unnamed: ")]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, one a row; the parts of a time are joined."""
        if name not in self.names and self.parts:
            return [joined(cells, self.joints) for cells in zip(*map(self.column, self.parts), strict=True)]
        if not self._columns:
            self._columns.extend(with_plain_minus(times_with_blanks(column)) for column in zip(*self.rows, strict=True))
        return list(self._columns[self.names.index(name)]) if self.rows else []

    def cells(self, name: str) -> list[str]:
        """Return the cells of a column that are not missing."""
        if name in self._known:
            return self._known[name]
        column = self.column(name)
        if self._are_known(column):
            found = Column(column)
        else:
            found = Column(cell for cell in column if cell.strip() not in self.missing)
        if name in self.names:  # what several columns make up together depends on which these are
            self._known[name] = found
        return found

    def _are_known(self, column: Sequence[str]) -> bool:
        """Tell, without looking at each, cells of which none is missing; cells with blanks may be such as well."""
        whole = "".join(column)
        return self.missing.isdisjoint(column) and whole.split(None, 1) == [whole]

    def known(self, without: Sequence[str] = ()) -> dict[str, list[str]]:
        """Return by column the cells that are not missing, but for some columns."""
        return {name: self.cells(name) for name in self.names if name not in without}

    def timed(self, time: str, without: Sequence[str] = ()) -> tuple[dict[str, list[str]], list[str]]:
        """Return by column all cells of the rows that have a time, and the times; without the time and some columns."""
        times = self.column(time)
        columns = {name: self.column(name) for name in self.names if name not in (time, *self.parts, *without)}
        if self._are_known(times):
            return columns, times
        kept = [row for row, cell in enumerate(times) if cell.strip() not in self.missing]
        return {name: [cells[row] for row in kept] for name, cells in columns.items()}, [times[row] for row in kept]


@dataclass
class Interpretation:
    """How a file is read, as far as nobody has said it.

    Attributes:
        left_out: columns that are no features, by name, and what they are taken for.
        decimal: the decimal mark.
        thousands: the mark between thousands, if there is one.
        time_format: of the times; None for ISO 8601 or numbers since 1970.
        sentences: what was decided and why where it is not plain, a sentence each.
        before: what was decided in training, by the names of `to_remember`.
        truths: columns of true and false.
        silent: columns of which the first records hold nothing.
        switches: columns of which the first records hold 0 and 1 alone.
        trained: whether a detector reads the columns.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    thousands: str | None = None
    time_format: str | None = None
    sentences: list[str] = field(default_factory=list)
    before: Mapping[str, str] = field(default_factory=dict)
    truths: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()
    trained: bool = False

    def find_parts(self, sample: Sample, taken: Sequence[str], how: str | None = None) -> tuple[str, ...]:
        """Return which columns make up the time together, if several do.

        Args:
            sample: of the file.
            taken: columns that are something else.
            how: the format of the times, if it was said.
        """
        cells = sample.known(taken)
        parts = time_parts_of(cells, sample.name) if sample.rows else ()
        return with_fraction(cells, parts) if sample.rows and (how is None or "%f" in how) else parts

    def find_time(self, sample: Sample, taken: Sequence[str]) -> str | None:
        """Return which column is the time; `taken` are those that are something else."""
        found = time_column_of(sample.known(taken), sample.name) if sample.rows else None
        if found is not None:
            self.sentences.append(f"The time is {found!r}: its name and cells look like times.")
        return found

    def find_clocks(self, clocks: Mapping[str, OtherClock], time: str, of_time: Sequence[str], *, may_change: bool) -> str:
        """Leave out what tells the time again by other clocks, and return what the time is: of these, the one in UTC.

        Args:
            clocks: by column, see `other_clocks`.
            time: what was found to be the time, or said.
            of_time: the columns that hold it.
            may_change: whether nobody said it.
        """
        absolute = [column for column, clock in clocks.items() if clock.absolute and clock.quarters != (0,)] if may_change else []
        if absolute:
            self.sentences[:] = [
                f"The time is {absolute[0]!r}, which does not depend on a zone; {time!r} is {clocks[absolute[0]].said}, as local "
                f"times are. --time-column {quote(time)} takes that one, with --tz for its zone."
            ]
        chosen = absolute[0] if absolute else time
        again = [column for column in clocks if column != chosen]
        self.left_out |= dict.fromkeys([*again, *(of_time if absolute else ())], CLOCK)
        if again:
            self.sentences.append(f"Taken for the same times by another clock and left out: {shorten(again)}.")
        return chosen

    def find_format(self, sample: Sample, time: str, more: Callable[[], Sample]) -> None:
        """Tell what kind of times a column has; where the sample leaves it open, `more` returns a larger one."""
        cells = sample.cells(time)
        of_year = any(map(is_day_of_year, sample.parts)) if sample.parts and is_year_name(sample.parts[0]) else None
        before = self.before.get("time_format")
        zero = before is None and "from_zero" in self.before
        how: dict[str, Any] = {"of_year": of_year, "trained": self.trained, "from_zero": zero}
        try:
            self.time_format = format_of(cells, time, sample.name, before, **how)
            if self.time_format is None and show_few_days(cells):
                format_of(more().cells(time), time, sample.name, before, **how)
        except DataError:
            longer = more().cells(time)
            if len(longer) <= len(cells):
                raise
            self.time_format = format_of(longer, time, sample.name, before, **how)
        numbers = numbers_of(cells) if self.time_format is None else None  # dates of digits alone have a format
        if numbers is not None and not are_since_1970(numbers):
            self.sentences.append(f"Times such as {cells[0].strip()} count from 0 and are taken for seconds.")
        elif self.time_format == EXCEL:
            self.sentences.append(told_days(cells[0]))
        elif self.time_format is not None:
            self.sentences.append(f"Times such as {cells[0].strip()} are read as --time-format {self.time_format} would have it.")

    def find_roles(
        self,
        sample: Sample,
        taken: Sequence[str],
        clock: Floats | None,
        *,
        may_have_series: bool,
        looks_at_texts: bool,
        looks_for_times: bool,
    ) -> None:
        """Leave out columns of labels, and counts of rows and of time, unless nothing would be left; refuse what is no feature.

        Args:
            sample: of the file.
            taken: columns that are something else.
            clock: the times of the rows, seconds, if each row has one.
            may_have_series: whether no column was said to name series.
            looks_at_texts: whether columns of texts are refused; where types or skipped records tell them, they are not.
            looks_for_times: whether no column is the time, and nobody said so.
        """
        cells = sample.known([*taken, *self.left_out])
        counters = counters_of(cells, clock)
        if clock is None and (apart := clocks_apart(cells, counters)):
            raise DataError(
                f"Each row of a series must have one time. Received: clocks that go at different paces, {shorten(apart)} "
                f"({sample.name}). Write each series to a file of its own, or say --ignore-columns {quote(','.join(apart))} if the "
                "rows belong together."
            )
        if looks_for_times and may_have_series:
            refuse_restarts(cells, sample.name)
        self._leave_out(cells, clock, counters)
        features = {name: own for name, own in cells.items() if name not in self.left_out}
        if looks_for_times and looks_at_texts and len(sample.names) > 1:
            refuse_unread_times(features, counters, sample.name)
        if may_have_series:
            refuse_unnamed_series(features, sample.name)
            turns = {name: own for name, own in features.items() if not is_label_name(name)}
            refuse_going_round(turns, _step_of(clock), sample.name)
        self._tell_scores(features)
        self._refuse_classes(sample, features)
        if looks_at_texts:
            self._refuse_texts(sample, features, may_have_series=may_have_series)

    def _leave_out(self, cells: Mapping[str, Sequence[str]], clock: Floats | None, counters: Sequence[str]) -> None:
        """Leave out what says nothing of what is measured, unless nothing would be left; say so."""
        kinds = {
            LABELS: labels_of(cells),
            COUNT: list(counters),
            "a part of the time": calendar_columns(cells, clock),
            "how far clocks are from UTC": offsets_of(cells),
            "a key or a check sum": keys_of(cells),
            ONLY_NAME: only_names_of(cells),
            STEADY_CODE: steady_codes_of(cells),
        }
        found: dict[str, str] = {}
        for what, names in kinds.items():
            found |= {name: what for name in names if name not in found}
        if len(found) == len(cells):
            return
        self.left_out |= found
        for what in kinds:
            if not (names := [name for name, own in found.items() if own == what]):
                continue
            so_called = ", so called and with no more than two values" if what == LABELS else ""
            use = f"--label-column {quote(names[0])} makes use of it, " if what == LABELS else ""
            self.sentences.append(
                f"Taken for {what.replace(',', '')} and left out: {shorten(names)}{so_called}. {use}--value-columns makes it a "
                "feature."
            )

    def _tell_scores(self, features: Mapping[str, Sequence[str]]) -> None:
        if scores := [
            name for name, own in features.items() if is_label_name(name) and len(features) > 1 and numbers_of(own) is not None
        ]:
            self.sentences.append(
                f"Taken for a feature, though it is called as labels are: {shorten(scores)}. --ignore-columns leaves it out."
            )

    def _refuse_classes(self, sample: Sample, features: Mapping[str, Sequence[str]]) -> None:
        if doubtful := doubtful_labels_of(features):
            first, others = doubtful[0], ",".join(doubtful)
            raise DataError(
                f"A column that is called {first!r} must be said to be a feature or not. Received: "
                f"{shorten(sorted(set(features[first]))[:3])}, which are no labels of 0 and 1 ({sample.name}). Say "
                f"--ignore-columns {quote(others)}, or --value-columns with all features if it is one."
            )

    def _refuse_texts(self, sample: Sample, features: Mapping[str, Sequence[str]], *, may_have_series: bool) -> None:
        """Refuse columns that hold texts and hardly a number."""
        texts = [name for name, cells in features.items() if cells and _are_texts(cells)]
        if len(sample.names) == 1:
            self._refuse_uncut(sample)
        if not texts or len(texts) == len(features):
            return
        zones = {name: zone for name in texts if (zone := zone_in_cells(features[name])) is not None}
        if zones:
            name, zone = next(iter(zones.items()))
            raise DataError(
                f"Every feature must hold numbers. Received: the zone of the times, {features[name][0]!r} in {name!r} "
                f"({sample.name}). Say --tz {zone} and --ignore-columns {quote(','.join(texts))}."
            )
        several = [name for name in texts if may_name_series(name, features[name], more=len(sample.rows) >= SAMPLE_ROWS)]
        left_out = [
            *texts,
            *(name for name, cells in features.items() if not cells and name in sample.named and len(sample.rows) >= _FEWEST_TEXTS),
        ]
        names = f"Say --id-column {quote(several[0])} if it names several series; else l" if several and may_have_series else "L"
        raise DataError(
            f"Every feature must hold numbers. Received: texts such as {features[texts[0]][0]!r} in {shorten(texts)} "
            f"({sample.name}). {names}eave them out with --ignore-columns {quote(','.join(left_out))}."
        )

    def _refuse_uncut(self, sample: Sample) -> None:
        """Refuse a file of one column whose lines hold several fields, separated by something unusual."""
        header, cells = sample.names[0], sample.cells(sample.names[0])
        if n := n_between_blanks(header, cells):
            quotes = 's/"//g; ' if '"' in header else ""
            raise DataError(
                "Fields must be separated by a comma, a semicolon, a tab or a bar. "
                f"Received: blanks between them, {n} in each record such as {shorten(cells[-1:])} ({sample.name}). Write commas "
                f"instead, with sed '{quotes}s/^ *//; s/ *$//; s/  */,/g', and a name for each field in the first line."
            )
        for mark in _RARE_MARKS:
            n = header.count(mark)
            if n and cells and all(cell.count(mark) == n for cell in cells):
                remedy = f'Say --delimiter "{mark}".' if mark.strip() else "Write commas between the fields."
                raise DataError(
                    f"Every feature must hold numbers. Received: {shorten(cells[:1])} in the only column ({sample.name}), with "
                    f"{mark!r} as often in each line as in the header. {remedy}"
                )

    def find_marks(
        self, sample: Sample, values: Sequence[str], decimal: str | None, thousands: str | None, *, doubts_points: bool
    ) -> None:
        """Tell the decimal mark from the cells of the features."""
        cells = {name: found for name, found in sample.known().items() if name in values}
        self.decimal, self.thousands = number_marks(
            cells, decimal, thousands, sample.name, before=self.before.get("decimal"), doubts_points=doubts_points
        )
        if self.decimal != "." or self.thousands:
            between = f", {self.thousands!r} between thousands" if self.thousands else ""
            self.sentences.append(f"Numbers have a decimal {'comma' if self.decimal == ',' else 'point'}{between}.")

    def find_truths(self, sample: Sample, names: Sequence[str]) -> None:
        """Tell the columns of true and false; where the first records hold nothing, those of the training are such."""
        known = json.loads(self.before.get("truths", "[]"))
        cells = {name: sample.cells(name) for name in names}
        self.truths = frozenset(name for name, own in cells.items() if are_truths(own) or (name in known and not own))
        self.silent = frozenset(name for name, own in cells.items() if not own) - self.truths
        self.switches = frozenset(name for name, own in cells.items() if own and different(own) <= _ONES) - self.truths

    def to_remember(self, delimiter: str) -> dict[str, str]:
        """Return what a detector remembers of it: what is not as in a plain file."""
        found = {"delimiter": delimiter, "decimal": self.decimal, "thousands": self.thousands, "time_format": self.time_format}
        plain, truths = {"delimiter": ",", "decimal": "."}, json.dumps(sorted(self.truths))
        found |= {"truths": truths} if self.truths and len(truths) <= _LONGEST_TRUTHS else {}
        return {name: value for name, value in found.items() if value is not None and value != plain.get(name)}


def _step_of(clock: Floats | None) -> float | None:
    """Return the median step between different times; None if there is none."""
    steps = np.diff(np.unique(clock)) if clock is not None else np.empty(0)
    return float(np.median(steps)) if len(steps) else None


def are_truths(cells: Sequence[str]) -> bool:
    """Tell cells that are true and false, in any case, and nothing else but 1 and 0, which a joined file may have for them."""
    if not len(cells) or cells[0].strip().lower() not in _TRUTHS | _ONES:  # as nearly always
        return False
    found = {cell.strip().lower() for cell in different(cells)}
    return found <= _TRUTHS | _ONES and not found <= _ONES


def _are_texts(cells: Sequence[str]) -> bool:
    """Tell texts: nearly all begin with a letter, and hardly one is a number; or dates. True and false are 1 and 0."""
    if are_truths(cells):
        return False
    if any(map(is_number, cells[:_FEWEST_TEXTS])) and sum(map(is_number, cells[:_MOST_LOOKED_INTO])) > _FEWEST_TEXTS:
        return False
    texts = sum(cell.strip()[:1].isalpha() and not is_number(cell) for cell in cells)
    return len(cells) >= _FEWEST_TEXTS and (texts > (1 - _MOST_NUMBERS) * len(cells) or are_iso(cells))


def refuse_disorder(times: Ints, name: str) -> None:
    """Refuse times that often go back; see `MOST_BACKWARDS`.

    Args:
        times: of the first rows.
        name: of the input, for messages.

    Raises:
        DataError: if they do.
    """
    n_back = int((np.diff(times) < 0).sum())
    if n_back >= FEWEST_BACKWARDS and n_back > MOST_BACKWARDS * (len(times) - 1):
        raise DataError(
            "Rows must come in the order of their times. "
            f"Received: {n_back:,} steps back in the first {len(times):,} rows ({name}). Sort the rows by time."
        )
