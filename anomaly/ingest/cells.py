"""CSV records -> numbers, times, labels and names of series; each that is wrong is told with its line."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np

from anomaly.columns.joined_times import joined_columns
from anomaly.columns.label_values import are_truth_words, means_normal
from anomaly.columns.labels import KNOWN_LABELS, LABELS_AS_NUMBERS, plain_mark
from anomaly.errors import DataError
from anomaly.ingest.chunks import Chunk, Names, PlainRecords, Records, SteadyColumns, lines_of
from anomaly.ingest.faults import Faults
from anomaly.ingest.few_rows import FEW_ROWS, few_plain_rows
from anomaly.ingest.fields import of_equal_length
from anomaly.ingest.header import Columns
from anomaly.ingest.spelling import Marks, Spelling, missing_tokens
from anomaly.ingest.thousands import Thousands
from anomaly.meaning.dialect import rows_of
from anomaly.meaning.interpretation import SAMPLE_ROWS
from anomaly.meaning.marks import MINUS, number_marks, remedy_for
from anomaly.quick_start import pd
from anomaly.series import Bools, Floats, Ints
from anomaly.times.plain_cells import Bytes, plain_numbers
from anomaly.times.timestamps import A_TIME, NEVER, NO_TIME, OTHER_KIND, TWICE, TimeReader

_SHOWN_CELL, _SHOWN_LINE = 40, 80
# A label column with a larger share of words is one of words; else they are cells that are wrong.
_MOST_WORDS = 0.5
_TRUTHS = {"false": "0", "true": "1"}
_TRUTHS_AND_ONES = _TRUTHS | {"0": "0", "1": "1", "0.0": "0", "1.0": "1"}
_THOUSAND = 1_000


class _Bytes:
    """Text in UTF-8, as a file that pandas reads without decoding and encoding it again."""

    def __init__(self, codes: Bytes) -> None:
        self._codes, self._place = codes, 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        begin, self._place = self._place, len(self._codes) if size < 0 else self._place + size
        return self._codes[begin : self._place].tobytes()

    def __iter__(self) -> _Bytes:
        """Return itself: pandas asks for it, and does not use it."""
        return self


class Cells:
    """Read the cells of the columns that are wanted.

    Args:
        columns: which these are.
        clock: reads the times.
        faults: takes what is wrong.
        name: of the input, for messages.
        how: numbers and missing values are written.

    Attributes:
        turned_labels: whether labels came in which 1 stands for what is normal, as their name says.
    """

    turned_labels = False

    def __init__(self, columns: Columns, clock: TimeReader, faults: Faults, name: str, how: Spelling) -> None:
        self._columns, self._clock, self._faults, self._name, self._how = columns, clock, faults, name, how
        self._marks, self._undecided = how.marks, how.undecided
        self._truths, self._silent, self._switches = set(how.truths), set(how.silent), set(how.switches)
        self._had_points = any("." in cell for cells in (how.undecided or {}).values() for cell in cells)
        self._missing, self._sentinels = missing_tokens(how.missing)
        in_doubt = how.marks == Marks() and how.large is not None
        self._thousands = Thousands(columns.values, columns.names, columns.delimiter, name, how.large or {}) if in_doubt else None
        self._steady = SteadyColumns(columns, self._missing, name)

    def read(self, numbered: Records, rows: Ints) -> tuple[Chunk, Records]:
        """Turn records into numbers. Bad ones are left out, and the others read as if these had not been there.

        Args:
            numbered: the records.
            rows: their places, `(n,)`, which are their times where rows are counted.

        Returns:
            The chunk, and the records that are in it.

        Raises:
            DataError: if the input is refused for one.
        """
        kept = (
            np.ones(len(numbered), np.bool_)
            if isinstance(numbered, PlainRecords)
            else of_equal_length(numbered, self._columns, self._faults, self._name)
        )
        self._steady.refuse_change(numbered)
        while True:
            if not kept.all():
                numbered, rows = [pair for pair, is_kept in zip(numbered, kept, strict=True) if is_kept], rows[kept]
            n_bad = len(self._faults)
            chunk, good = self._converted(numbered, rows)
            self._listen(chunk.values)
            if len(self._faults) == n_bad:
                break
            kept = np.array([number not in self._faults for number, _ in numbered])
        kept_records = numbered if good.all() else list(itertools.compress(numbered, good))
        self._refuse_two_readings(chunk.values, kept_records)
        if self._thousands is not None:
            self._thousands.refuse(chunk.values, kept_records)
        return chunk, kept_records

    def _listen(self, values: Floats) -> None:
        """Note which columns were silent until now, and which hold other numbers than 0 and 1."""
        if not self._silent and not self._switches:
            return
        for name, own in zip(self._columns.values, values.T, strict=True):
            if name in self._silent and not np.isnan(own).all():
                self._silent.discard(name)
                self._switches.add(name)
            if name in self._switches:
                ones = np.isnan(own) | (own == 1) | ((own == 0) & ~np.signbit(own))
                self._switches -= set() if ones.all() else {name}

    def _refuse_two_readings(self, values: Floats, numbered: Records) -> None:
        """Refuse a point that may stand between thousands where it is first seen, as it is refused among the first records.

        Behind whole numbers it is the first fraction that tells; behind points before three digits a short whole number does.
        """
        if self._undecided is None:
            return
        whole = np.isfinite(values) & (values == np.rint(values))
        telling = whole & (np.abs(values) < _THOUSAND) if self._had_points else np.isfinite(values) & ~whole
        if not len(rows := np.flatnonzero(telling.any(axis=1))):
            return
        lines, columns = lines_of(numbered), self._columns
        looked_at = [*rows[:SAMPLE_ROWS].tolist(), *range(0, len(lines), max(1, len(lines) // SAMPLE_ROWS))]
        cut = rows_of([lines[row] for row in looked_at], columns.delimiter)
        places = {name: columns.names.index(name) for name in columns.values}
        cells = {name: [*self._undecided[name], *(row[place] for row in cut)] for name, place in places.items()}
        number_marks(cells, None, None, self._name, before=self._how.before, doubts_points=columns.delimiter == ";")
        if not self._had_points:
            self._undecided = None

    def _converted(self, numbered: Records, rows: Ints) -> tuple[Chunk, Bools]:
        """Parse records of equal length; tell which of them are in the chunk."""
        if not numbered:
            return self._nothing(), np.empty(0, np.bool_)
        few = len(numbered) <= FEW_ROWS and self._columns.label is None and not self._truths
        plain = None
        if few and self._marks == Marks():
            plain = few_plain_rows(numbered, rows, self._columns, self._clock, self._missing, self._sentinels)
        if plain:
            return plain, np.ones(len(numbered), np.bool_)
        plain_times = self._plain_times(numbered)
        numbers = self._plain_values(numbered) if plain_times is not None else None
        if plain_times is not None and numbers is not None and isinstance(numbered, PlainRecords):
            return Chunk(numbered.lines, plain_times, numbers, None, None), np.ones(len(numbered), np.bool_)
        frame = self._frame(numbered, with_times=plain_times is None)
        values = self._values(frame, numbered)
        whole = np.ones(len(numbered), np.bool_)
        times, good = self._times(frame, numbered, rows) if plain_times is None else (plain_times, whole)
        labels = self._labels(frame, numbered)
        ids = self._ids(frame, numbered)
        lines = lines_of(numbered)
        if good.all():
            return Chunk(lines, times, values, labels, ids), good
        labels, ids = None if labels is None else labels[good], None if ids is None else ids[good]
        return Chunk(list(itertools.compress(lines, good)), times[good], values[good], labels, ids), good

    def _nothing(self) -> Chunk:
        labels = None if self._columns.label is None else np.empty(0)
        ids = None if self._columns.series is None else np.empty(0, np.object_)
        return Chunk([], np.empty(0, np.int64), np.empty((0, len(self._columns.values))), labels, ids)

    def _plain_times(self, numbered: Records) -> Ints | None:
        """Return the times without the help of pandas; None if they are not as plain as that."""
        columns = self._columns
        if columns.time is None or columns.parts or not isinstance(numbered, PlainRecords):
            return None
        cells = numbered.cells(columns.names.index(columns.time))
        return None if cells is None else self._clock.plain_column(cells)

    def _plain_values(self, numbered: Records) -> Floats | None:
        """Return the numbers without the help of pandas; None if there is more to be read, or they are not as plain as that."""
        columns = self._columns
        if columns.label is not None or columns.series is not None or self._marks != Marks() or self._truths:
            return None
        if not isinstance(numbered, PlainRecords):
            return None
        places = [columns.names.index(name) for name in columns.values]
        found = plain_numbers(numbered.text, columns.delimiter, len(columns.names), places)
        return None if found is None else self._known(found)

    def _frame(self, numbered: Records, *, with_times: bool) -> pd.DataFrame:
        """Return the columns that are wanted: numbers where pandas tells them, else text."""
        columns = self._columns
        as_text = [name for name in (*(columns.of_time if with_times else ()), columns.series) if name is not None]
        as_text += [] if self._marks == Marks() else [name for name in columns.values if name not in as_text]
        frame = self._read(numbered, as_text)
        # Beside an integer above 2**63 pandas reads as Python does, for whom 1_0 is ten.
        kinds = dict(zip(frame.columns, frame.dtypes.array, strict=True))
        loose = [name for name in columns.values if kinds[name] == np.dtype(object)]
        return self._read(numbered, [*as_text, *loose]) if loose else frame

    def _read(self, numbered: Records, as_text: list[str]) -> pd.DataFrame:
        columns, source = self._columns, self._source(numbered)
        # By column pandas prepares them anew for each.
        missing: Any = list(self._missing)
        if columns.series is not None:
            missing = {name: missing for name in columns.names if name != columns.series}
        return pd.read_csv(
            source,
            sep=columns.delimiter,
            header=None,
            names=columns.names,
            usecols=[*columns.values, *as_text, *([] if columns.label is None else [columns.label])],
            dtype=dict.fromkeys(as_text, "str"),
            keep_default_na=False,
            na_values=missing,
            skip_blank_lines=False,
            index_col=False,
            low_memory=False,
        )

    @staticmethod
    def _source(numbered: Records) -> Any:
        if isinstance(numbered, PlainRecords):
            return _Bytes(numbered.codes)
        return io.StringIO("\n".join(line or "NaN" for _, line in numbered))

    def _values(self, frame: pd.DataFrame, numbered: Records) -> Floats:
        """Return the numbers of the value columns, `(n, n_features)`."""
        names = list(self._columns.values)
        frame = frame if list(frame.columns) == names else frame[names]
        if all(dtype.kind in "if" for dtype in frame.dtypes.array) and not self._truths:
            return self._known(np.ascontiguousarray(frame.to_numpy(np.float64)))
        return np.column_stack([self._numbers(frame[name], numbered) for name in names])

    def _numbers(self, column: pd.Series[Any], numbered: Records) -> Floats:
        self._hear(column)
        if column.dtype.kind in "if" and column.name not in self._truths:
            return self._known(column.to_numpy(np.float64))
        text = column.astype("str").str.replace(MINUS, "-", regex=False)
        if column.name in self._truths:
            text = self._as_numbers(column, text)
        parsed = pd.to_numeric(self._marks.plain(text), errors="coerce")
        if column.name in self._switches - self._truths and text.str.strip().str.lower().isin(list(_TRUTHS)).any():
            self._truths.add(str(column.name))
            parsed = pd.to_numeric(text := self._as_numbers(column, text), errors="coerce")
        # Beside an integer above 2**63 pandas leaves the missing cells as text.
        bad = np.flatnonzero((parsed.isna() & column.notna() & ~text.isin(self._missing)).to_numpy())
        if len(bad):  # a blank before or behind what means missing
            bad = bad[~text.iloc[bad].str.strip().isin(self._missing).to_numpy()]
        self._refuse_header(column, bad, numbered)
        if len(bad) and self._faults.skip:
            for place in bad.tolist():
                reason = f"no number: {str(column.iloc[place])[:_SHOWN_CELL]!r}"
                self._faults.reject(*numbered[place], "rejected_numbers", reason, str(column.name))
        elif len(bad):
            where = ", ".join(f"{str(column.iloc[i])[:_SHOWN_CELL]!r} on line {numbered[i][0]}" for i in bad[:5])
            self._faults.refuse(
                f"Column {column.name!r} must hold numbers. Received: {where} ({self._name}). "
                f"{remedy_for(str(column.iloc[bad[0]]).strip(), self._marks.decimal, self._marks.thousands)}"
                f"{', or leave the column out: --ignore-columns' * self._how.may_leave_out}."
            )
        return self._known(parsed.to_numpy(np.float64))

    def _hear(self, column: pd.Series[Any]) -> None:
        """Tell by its first cell whether a column that was silent so far is one of true and false."""
        if column.name not in self._silent:
            return
        bare = column.dropna().astype("str").str.strip()
        known = bare[~bare.isin(self._missing)]
        if len(known):
            self._silent.discard(str(column.name))
            if str(known.iloc[0]).lower() in _TRUTHS:
                self._truths.add(str(column.name))

    def _as_numbers(self, column: pd.Series[Any], text: pd.Series[str]) -> pd.Series[str]:
        """Return a column of true and false as texts of 1 and 0; another number among them becomes none."""
        bare = text.str.strip()
        known = column.notna() & ~bare.isin(self._missing)
        return bare.str.lower().map(_TRUTHS_AND_ONES).fillna("no number").where(known, text)

    def _refuse_header(self, column: pd.Series[Any], bad: Ints, numbered: Records) -> None:
        """Refuse a line that names the columns in another order: what follows it would be taken for other columns."""
        names = [name.strip() for name in self._columns.names]
        for place in (place for place in bad.tolist() if str(column.iloc[place]).strip() in names):
            number, line = numbered[place]
            cells = [cell.strip() for cell in rows_of([line], self._columns.delimiter)[0]]
            if cells != names and sorted(cells) == sorted(names):
                raise DataError(
                    f"All records must have one header. Received: {line.strip()[:_SHOWN_LINE]!r} after "
                    f"{self._columns.delimiter.join(self._columns.names)[:_SHOWN_LINE]!r} ({self._name}, line {number}). Write the "
                    "columns in one order, or read the files one by one."
                )

    def _known(self, values: Floats) -> Floats:
        """Return numbers with NaN for those that stand for a missing value."""
        return np.where(np.isin(values, self._sentinels), np.nan, values) if self._sentinels else values

    def _times(self, frame: pd.DataFrame, numbered: Records, rows: Ints) -> tuple[Ints, Bools]:
        """Return the times, and which of them are times; where faults are refused all are."""
        if self._columns.time is None:
            return rows, np.ones(len(rows), np.bool_)
        column = self._time_cells(frame)
        times, codes = self._clock.read(column)
        skipped = (NO_TIME, OTHER_KIND) if self._faults.skip else ()
        for place in np.flatnonzero(np.isin(codes, skipped)).tolist():
            reason = "no time" if codes[place] == NO_TIME else "an offset from UTC unlike others"
            cell = _shown(column.iloc[place]) or "nothing"
            self._faults.reject(*numbered[place], "rejected_times", f"{reason}: {cell}", self._columns.time)
        for code in (NO_TIME, OTHER_KIND, TWICE, NEVER):
            wrong = np.flatnonzero(codes == code)
            if len(wrong) and code not in skipped:
                self._faults.refuse(
                    self._clock.sentence(
                        code, f"Column {self._columns.time!r}", _shown(column.iloc[wrong[0]]),
                        f"{self._name}, line {numbered[wrong[0]][0]}", trained=self._how.trained,
                    )
                )  # fmt: skip
                break
        return times, codes == A_TIME

    def _time_cells(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """Return the cells of the time; those of several columns joined, missing where one of them is."""
        return joined_columns([frame[name] for name in self._columns.of_time], self._columns.joints)

    def _labels(self, frame: pd.DataFrame, numbered: Records) -> Floats | None:
        if self._columns.label is None:
            return None
        column = frame[self._columns.label]
        labels = self._worded(column)
        if labels is None:
            self._refuse_words(column, numbered)
            labels = self._numbers(column, numbered)
        bad = np.flatnonzero(~np.isin(labels, (-1, 0, 1)) & ~np.isnan(labels))
        if len(bad):
            self._faults.refuse(
                f"The label column {self._columns.label!r} must hold 0 or 1. Received: {labels[bad[0]]:g} "
                f"({self._name}, line {numbered[bad[0]][0]}). Write 1 for anomalies and 0 for all other rows."
            )
        return self._turned(labels, column)

    def _turned(self, labels: Floats, column: pd.Series[Any]) -> Floats:
        """Return labels with 1 for anomalies where 1, or yes, stands for what is normal, as their name says."""
        if not means_normal(str(column.name)):
            return labels
        if column.dtype.kind not in "iufb" and not are_truth_words(set(column.dropna().astype("str").map(plain_mark))):
            return labels
        self.turned_labels = True
        return np.where(np.isnan(labels), np.nan, labels != 1)

    def _refuse_words(self, column: pd.Series[Any], numbered: Records) -> None:
        """Refuse labels that are mostly words, of which some say neither no nor yes; a text now and then is a bad cell."""
        bare = column.astype("str").str.strip()
        known = column.notna() & ~bare.isin(self._missing)
        words = known & pd.to_numeric(bare, errors="coerce").isna()
        strange = words & ~bare.map(plain_mark, na_action="ignore").isin(list(LABELS_AS_NUMBERS))
        if strange.any() and words.sum() > _MOST_WORDS * known.sum():
            place = int(np.argmax(strange.to_numpy()))
            self._faults.refuse(
                f"The label column {column.name!r} must hold 0 and 1, or {KNOWN_LABELS}. Received: "
                f"{bare.iloc[place][:_SHOWN_CELL]!r} ({self._name}, line {numbered[place][0]}). Write 1 for anomalies and 0 for "
                "all other rows; `anomaly evaluate` and `anomaly threshold` take the times of events from a file as well."
            )

    def _worded(self, column: pd.Series[Any]) -> Floats | None:
        """Return labels that are written in words, such as Normal and Attack; None if they are not, or not all of them."""
        if column.dtype.kind in "iufb":
            return None
        text = column.astype("str")
        known = column.notna() & ~text.str.strip().isin(self._missing)
        labels = text.map(plain_mark, na_action="ignore").map(LABELS_AS_NUMBERS).to_numpy(np.float64)
        return None if (np.isnan(labels) & known.to_numpy()).any() else np.where(known.to_numpy(), labels, np.nan)

    def _ids(self, frame: pd.DataFrame, numbered: Records) -> Names | None:
        if self._columns.series is None:
            return None
        ids: Names = frame[self._columns.series].fillna("").to_numpy(np.object_)
        for place in np.flatnonzero(ids == "").tolist():
            self._faults.found(
                *numbered[place], "rejected_ids", "no name of a series",
                f"Column {self._columns.series!r} must name a series on every record. Received: nothing "
                f"({self._name}, line {numbered[place][0]}). Mend the line.",
            )  # fmt: skip
            if not self._faults.skip:
                break
        return ids


def _shown(cell: Any) -> str:
    """Return a cell for messages; empty where it is missing."""
    return "" if pd.isna(cell) or not str(cell).strip() else f"{str(cell)[:_SHOWN_CELL]!r}"
