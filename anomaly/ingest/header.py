"""The first line of a file: what separates its fields, which names it may hold, and whether it holds those that are wanted."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from shlex import quote

from anomaly.columns.column_names import is_called_like_times, is_counter_name
from anomaly.columns.joined_times import Joint
from anomaly.columns.labels import marks_of, plain_mark
from anomaly.columns.unread_times import rises
from anomaly.errors import ConfigError, DataError, shorten
from anomaly.meaning.heading import is_like_records
from anomaly.meaning.interpretation import COUNT, LABELS, ONLY_NAME, STEADY_CODE, Sample
from anomaly.meaning.sentinels import MISSING_TEXT
from anomaly.series import Bools, Floats
from anomaly.times.column import first_number
from anomaly.times.moments import are_iso
from anomaly.times.timestamps import is_finite
from anomaly.times.written import written_formats

# What to do where a column is missing that a detector reads.
_OF_TRAINING = (
    "A detector reads the columns that it was trained on: rename what is called otherwise, or add an empty one for what is missing."
)
# A number whose point may stand between thousands.
_GROUPED_ONCE = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")


@dataclass(frozen=True)
class Steady:
    """A column that was left out because of what the first records have there: all others must go on with it, or have nothing.

    Attributes:
        name: of the column.
        text: what the first records have.
        rule: a sentence.
        remedy: a sentence.
        marks: what labels may be, as `anomaly.columns.labels.plain_mark` writes them; empty where all have the same text.
        rises: whether it counts rows or time: no number may be below the one before.
        begins: with what number one began that may begin anew, and must rise on each row until then; None for any other.
    """

    name: str
    text: str
    rule: str
    remedy: str
    marks: frozenset[str] = frozenset()
    rises: bool = False
    begins: float | None = None

    def allows(self, cell: str) -> bool:
        """Tell whether a cell, which is not missing, may stand there."""
        return plain_mark(cell) in self.marks if self.marks else cell == self.text

    def stops(self, steps: Floats, numbers: Floats) -> Bools:
        """Tell which of some numbers, `(n,)`, do not go on from those before them, `steps` below."""
        found: Bools = steps < 0 if self.begins is None else (steps <= 0) & (numbers > self.begins)
        return found


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file, and which of them are wanted for what.

    Attributes:
        names: of all, in the order of the file.
        delimiter: what separates the fields.
        time: name of the column of times; None where rows are counted.
        label: name of the column of labels, if it is wanted.
        series: name of the column that says which of several series a record belongs to, if it is wanted.
        values: names of the features, in the order in which they are wanted.
        parts: the columns that make up the time together, if several do.
        steady: columns that were left out because nothing changes in them.
        joints: how the parts of the time are joined.
    """

    names: list[str]
    delimiter: str
    time: str | None
    label: str | None
    series: str | None
    values: list[str]
    parts: tuple[str, ...] = ()
    steady: tuple[Steady, ...] = ()
    joints: tuple[Joint, ...] = ()

    @property
    def of_time(self) -> tuple[str, ...]:
        """The columns that hold the time."""
        return self.parts or (() if self.time is None else (self.time,))


def check_names(columns: list[str], name: str, rows: Sequence[Sequence[str]] = (), *, line: int = 1) -> None:
    """Refuse a header that does not tell the columns apart.

    Args:
        columns: the names in it.
        name: of the input, for messages.
        rows: the cells of the first records below it.
        line: number of that line.

    Raises:
        DataError: if it holds numbers only, leaves a name out, or repeats one.
    """
    if _are_values(tuple(columns)):
        raise DataError(
            f"The first line must name the columns. Received: numbers and times only, {shorten(columns)} ({name}, line {line}). "
            "Add a header line."
        )
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if (repeated or "" in columns) and is_like_records(columns, rows):
        raise DataError(
            f"The first line must name the columns. Received: a record like those below it, {shorten(columns)} ({name}, line "
            f"{line}). Add a header line."
        )
    if "" in columns:
        raise DataError(
            f"Every column must have a name. Received: no name for column {columns.index('') + 1} of {len(columns)} "
            f"({name}, line {line}). Name it in the header."
        )
    if repeated:
        raise DataError(
            f"Column names must differ. Received: {shorten(repeated)} more than once ({name}, line {line}). "
            "Rename the columns in the header."
        )


@lru_cache(maxsize=64)  # the files of many series have the same names
def _are_values(columns: tuple[str, ...]) -> bool:
    """Tell a first record, which has numbers, times and missing values, from names."""
    known = [column for column in columns if column.strip() not in MISSING_TEXT]
    numbers = [is_finite(column.replace(",", ".")) for column in known]
    times = [are_iso([column]) or bool(written_formats([column])) for column in known]
    whole = all(number or time for number, time in zip(numbers, times, strict=True)) and bool(known)
    return whole or (any(times) and any(numbers))


def require_columns(names: list[str], columns: list[str], what: str, remedy: str, name: str, *, line: int = 1) -> None:
    """Refuse a header without the columns that are wanted.

    Args:
        names: the wanted ones.
        columns: those in the header.
        what: the wanted ones are, for the message.
        remedy: what to do then, a sentence.
        name: of the input.
        line: number of the line of names.

    Raises:
        DataError: with what is missing and the nearest names there are.
    """
    missing = [wanted for wanted in names if wanted not in columns]
    if missing:
        near = [found for lost in missing for found in difflib.get_close_matches(lost, columns, n=1)][:3]
        hint = f" (perhaps {shorten(near)})" if near else ""
        raise DataError(
            f"The {what} must be in the header. Received: no {shorten(missing)} among {shorten(columns)}{hint} "
            f"({name}, line {line}). {remedy}"
        )


def check_context(
    context: Sequence[str],
    columns: list[str],
    reserved: Collection[str | None],
    ignored: Collection[str],
    wanted: Collection[str],
    name: str,
    *,
    trained: bool = False,
    line: int = 1,
) -> None:
    """Refuse columns as context that are not there, or are something else.

    Args:
        context: their names.
        columns: those in the header.
        reserved: names of the columns of times, labels and series.
        ignored: names of columns that are to be left out.
        wanted: names of the features, where they were named.
        name: of the input.
        trained: whether they are those of a detector.
        line: number of the line of names.

    Raises:
        DataError: if one is missing, or is the time, label or id column.
        ConfigError: if one is to be ignored too, or a feature, or no feature is left.
    """
    remedy = _OF_TRAINING if trained else "Name existing columns with --context-columns."
    require_columns(list(context), columns, "context columns", remedy, name, line=line)
    for others, what, error in (
        (reserved, "the time, label or id column", DataError),
        (ignored, "a column to ignore", ConfigError),
        (wanted, "a value column", ConfigError),
    ):
        if clash := [column for column in context if column in others]:
            raise error(f"A context column must not be {what} too. Received: {shorten(clash)} ({name}). Name it in one place.")
    if context and not wanted and all(column in (*context, *reserved, *ignored) for column in columns):
        raise ConfigError(
            f"The context columns must leave a column to be judged. Received: {shorten(list(context))}, which are all ({name}). "
            "Leave out those that shall raise events."
        )


def find_value_columns(
    wanted: Sequence[str] | None,
    columns: list[str],
    time: str | None,
    label: str | None,
    series: str | None,
    name: str,
    left_out: Collection[str] = (),
    *,
    ignored: Collection[str] = (),
    trained: bool = False,
    line: int = 1,
) -> list[str]:
    """Return the names of the features; by default every column that is nothing else.

    Args:
        wanted: the names in order; None for the default.
        columns: the names in the header.
        time: name of the column of times.
        label: name of the column of labels.
        series: name of the column that says which series a record belongs to.
        name: of the input, for messages.
        left_out: names of columns that are no features by default.
        ignored: names of columns that are asked to be left out.
        trained: whether the wanted ones are those of a detector.
        line: number of the line of names.

    Raises:
        DataError: if a column is missing, or wanted as a feature and as something else, or none is left.
        ConfigError: if a column is asked for twice, or to be left out too, or no feature is.
    """
    for column, what, option in ((label, "label column", "--label-column"), (series, "id column", "--id-column")):
        if column is not None:
            require_columns([column], columns, what, f"Name an existing column with {option}.", name, line=line)
    if not trained and (clash := [column for column in wanted or () if column in ignored]):
        raise ConfigError(f"A value column must not be one to ignore too. Received: {shorten(clash)} ({name}). Name it once.")
    reserved = [column for column in (time, label, series) if column is not None]
    if len(set(reserved)) < len(reserved):
        raise ConfigError(f"The time, label and id columns must differ. Received: {shorten(reserved)} ({name}).")
    if wanted is None:
        found = [column for column in columns if column not in reserved and column not in left_out]
        if not found:
            raise DataError(
                f"The file must have at least one value column. Received: {shorten(columns)} ({name}, line {line}). "
                "Fields are separated by commas."
            )
        return found
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"The value columns must be at least one and differ. Received: {shorten(list(wanted)) or 'none'}.")
    remedy = _OF_TRAINING if trained else "Name existing columns with --value-columns."
    require_columns(list(wanted), columns, "value columns", remedy, name, line=line)
    if clash := [column for column in wanted if column in reserved]:
        raise DataError(
            f"A value column must not be the time, label or id column too. Received: {shorten(clash)} ({name}). Name it once."
        )
    return list(wanted)


def steady_columns(
    sample: Sample, left_out: Mapping[str, str], *, counted: bool, alone: bool, trained: bool = False
) -> Iterator[Steady]:
    """Yield the columns that were left out because of what the first records have there, and must go on with it.

    Args:
        sample: the first records.
        left_out: columns that are no features, by name, and what they are taken for.
        counted: whether no column is the time.
        alone: whether there is one series.
        trained: whether a detector reads other columns.
    """
    yield from _names_and_codes(sample, left_out)
    counters = [name for name, what in left_out.items() if what == COUNT and rises(sample.cells(name))] if alone else []
    for column in counters:
        if counted:
            rule = f"A count of rows, or a clock, {column!r}, must go on throughout, or be said to be left out."
            ignoring = f"Say --ignore-columns {quote(column)} to take all rows as one series"
            remedy = f"{ignoring}, or name each run in a column for --id-column."
            if trained:
                rule = f"A count of rows, or a clock, {column!r}, must go on throughout."
                remedy = "Give the rows of each run alone, or leave it out of the file to take all rows as one series."
            yield Steady(column, "", rule, remedy, rises=True)
        elif not (is_counter_name(column) or is_called_like_times(column)):
            rule = f"What rises like a count of rows or a clock, {column!r}, must go on so, or be said to be a feature or not."
            remedy = f"Say --ignore-columns {quote(column)}, or --value-columns with all features if it is one."
            yield Steady(column, "", rule, remedy, rises=True, begins=first_number(sample.cells(column)))


def _names_and_codes(sample: Sample, left_out: Mapping[str, str]) -> Iterator[Steady]:
    for column in (name for name, what in left_out.items() if what in (ONLY_NAME, STEADY_CODE, LABELS)):
        rest = f"--ignore-columns {quote(column)} if it says nothing."
        if left_out[column] == LABELS:
            rule = f"A column that is called {column!r} and begins as labels do must hold labels throughout."
            remedy = f"Say {rest[:-1]}, or --value-columns with all features if it is one."
            yield Steady(column, "", rule, remedy, marks_of(sample.cells(column)))
            continue
        if left_out[column] == ONLY_NAME:
            rule = f"A column that is called {column!r} must name one series, or be said to name several."
            remedy = f"Say --id-column {quote(column)} if it does, {rest}"
        else:
            rule = f"A code of quality, {column!r}, must not change, or be said to be left out."
            remedy = f"Leave out the rows that are not good, or say {rest}"
        yield Steady(column, sample.cells(column)[0].strip(), rule, remedy)


def blank_column(column: str) -> Steady:
    """Return a column without a name, in which the first records have nothing."""
    rule = "What has no name in the header must be empty in all records."
    return Steady(column, "", rule, "Give the column a name in the header.")


def undecided(sample: Sample, columns: Sequence[str]) -> dict[str, list[str]] | None:
    """Return the cells of some columns, if they do not say what a point is: all are whole, or have one before three digits."""
    cells = {name: list(sample.cells(name)) for name in columns}
    whole = all(cell.strip().lstrip("+-").isdecimal() for own in cells.values() for cell in own)
    return cells if whole or all(_GROUPED_ONCE.fullmatch(cell.strip()) for own in cells.values() for cell in own) else None
