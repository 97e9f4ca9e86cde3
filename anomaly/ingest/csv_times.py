"""The time of CSV records: which column it is, or which make it up, how its cells are read, and that its rows are of one series."""

from collections.abc import Sequence
from dataclasses import replace
from shlex import quote

from anomaly.columns.column_names import TIME_NAMES
from anomaly.columns.other_clocks import other_clocks
from anomaly.columns.time_column import goes_on, only, time_column_of
from anomaly.errors import DataError, shorten
from anomaly.ingest.csv_head import MOST_TRIED, HeadReader
from anomaly.ingest.fields import fields
from anomaly.ingest.header import require_columns
from anomaly.meaning.interpretation import Interpretation, Sample, refuse_disorder
from anomaly.meaning.several import refuse_several_series, refuse_woven_series
from anomaly.series import Floats, Ints
from anomaly.times.clock_shifts import refuse_other_calendars
from anomaly.times.epochs import refuse_other_unit
from anomaly.times.exchanged_days import ExchangedDays
from anomaly.times.moments import refuse_two_centuries
from anomaly.times.time_parts import bare_name
from anomaly.times.timestamps import A_TIME, TimeReader
from anomaly.times.twelve_hours import TwelveHours
from anomaly.zones import TIME_WORDS

# Of the first piece of a file so many records are looked at where fewer do not tell the order of day and month.
_MOST_LOOKED_AT = 20_000


class TimedReader(HeadReader):
    """A reader of CSV text that finds the time in its first records.

    Attributes:
        time_column: what the time is called; None where rows are counted.
        id_column: name of the column that says which of several series a record belongs to, if there is one.
    """

    time_column: str | None
    id_column: str | None

    _parts: tuple[str, ...]  # columns that make up the time
    _ignored: tuple[str, ...]
    _sorts: bool  # rows are put in order afterwards
    _chooses: bool  # which columns are features is told here

    def _interpret_times(self, sample: Sample, found: Interpretation) -> Floats | None:
        """Tell what times look like; refuse what belongs to several series, or comes in disorder.

        Returns:
            The times of the sample, seconds; None where a row has none.
        """
        time = self.time_column
        if time is None or not (known := sample.cells(time)):
            return None
        if self._reading.time_format is None:
            found.find_format(
                sample, time, lambda: replace(self._sample(_MOST_LOOKED_AT, time), parts=sample.parts, joints=sample.joints)
            )
            self._clock = TimeReader(self._reading, found.time_format)
            place = self.columns.index(time) if time in self.columns else len(self._units)
            if found.time_format in (None, "epoch"):
                refuse_other_unit(
                    known, time, self._units[place] if place < len(self._units) else "", self.name,
                    trained=found.trained,
                )  # fmt: skip
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
            halves = TwelveHours(clock.zone)
            halves.take(times[codes == A_TIME] if clock.writes_dates or clock.has_offsets else times[:0])
            halves.refuse(self.name)
            refuse_several_series(cells, of_rows, self.name)
            self._refuse_disorder(cells, times, codes, written=clock.writes_dates)
        return times / 1e6 if len(times) == len(sample.rows) and (codes == A_TIME).all() else None

    def _settle_clocks(self, told: bool, sample: Sample, found: Interpretation, others: Sequence[str]) -> Sample:
        """Look for the time by other clocks; of local times and absolute ones the latter are the time, unless somebody said it.

        Returns:
            The sample, with the parts of the time that is chosen.
        """
        if (time := self.time_column) is None:
            return sample
        cells, times = sample.timed(time, others)
        clocks = other_clocks(cells, times, time, sample.missing, self.name, self._reading)
        chosen = found.find_clocks(clocks, time, self._parts or (time,), may_change=told and self._reading.time_format is None)
        if chosen == time:
            return sample
        self.time_column, self._parts = chosen, ()
        return sample.of_parts(())

    def _refuse_disorder(self, cells: dict[str, list[str]], times: Ints, codes: Ints, *, written: bool) -> None:
        """Refuse rows that are woven from several series; those that go back in time, if they are not sorted."""
        if (codes == A_TIME).all() and self._chooses:
            refuse_woven_series(cells, times, self.name)
        if not self._sorts:
            days = ExchangedDays(self._clock.zone)
            days.take(times[codes == A_TIME] if written else times[:0])
            days.refuse(self.name)
            refuse_disorder(times[codes == A_TIME], self.name)

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
            if wanted not in self.columns:
                remedy = self._other_time(sample, found, others)
                require_columns([wanted], self.columns, "time column", remedy, self.name, line=self.header_number)
            return wanted, ()
        time = self._told_time(sample, found, others)
        return (time, ()) if time is None or isinstance(time, str) else (",".join(time), time)

    def _other_time(self, sample: Sample, found: Interpretation, others: Sequence[str]) -> str:
        """Return what to do where the named column of times is not there: how to name what is, if that is told."""
        try:
            time = found.find_parts(sample, others, self._reading.time_format) or time_column_of(sample.known(others), self.name)
        except DataError:  # several may be
            time = None
        named = time if time is None or isinstance(time, str) else ",".join(time)
        return f"Name an existing column with --time-column{'' if named is None else f' {quote(named)}'}."

    def _told_time(self, sample: Sample, found: Interpretation, others: Sequence[str]) -> str | tuple[str, ...] | None:
        """Return which column is the time by its name or cells, or which columns make it up."""
        named = [name for name in self.columns if bare_name(name) in TIME_NAMES and name not in self._ignored]
        parts = found.find_parts(sample, others, self._reading.time_format)
        if parts and self._all_times(sample.of_parts(parts, self._reading.time_format).cells("")):
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
        for number, line in self._pending[: MOST_TRIED if self._faults.skip else 1]:
            try:
                return self._clock.is_time(fields(line, self.delimiter, number, self.name)[0])
            except DataError:
                if not self._faults.skip:
                    raise
        return False
