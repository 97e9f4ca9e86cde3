"""Text -> times: ISO 8601, epoch numbers or a format of one's own, and the zone of times that name none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from anomaly.config import ReadingConfig
from anomaly.quick_start import pd
from anomaly.series import NOT_TIMES, Bools, Floats, Ints
from anomaly.times.blanks import with_blanks
from anomaly.times.clock_shifts import RepeatedHour
from anomaly.times.column import moments_of
from anomaly.times.plain_cells import WIDTH_WITH_ZONE, Bytes, plain_moments
from anomaly.times.written import may_have_format, moments_by
from anomaly.zones import TIME_WORDS, has_offset, zone_behind

# What a cell turns out to be.
A_TIME, NO_TIME, OTHER_KIND, TWICE, NEVER = range(5)
# The first epoch number of a file is read in the coarsest unit that puts it before the year 5138 (1e17
# microseconds); a later one beyond that year is refused, so that a change of units does not go unseen.
_LAST_TIME = 1e17
_EPOCH_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 1e-3))
# Behind a time of day: the end of a date alone looks like one.
OFFSET = r"[Tt ]\d\d.*(?:[Zz]|[+-]\d\d:?(?:\d\d)?)\s*$"
# Times that need no other reader than that of the standard library, and none of the years at which the two may differ.
_PLAIN_TIME = re.compile(
    r"(?:1[89]|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
# 1970-01-01 in days since 1899-12-30 and since 1904-01-01, and what a rounded fraction of a day may be off, seconds.
_SPREADSHEET_DAYS, _SPREADSHEET_ERROR = {"excel": 25_569, "excel-1904": 24_107}, 0.1
# 1970-01-01 in seconds since other years.
_OTHER_EPOCHS = {"epoch-1904": 24_107 * 86_400, "epoch-2001": -11_323 * 86_400}
_PLAIN_EPOCH = re.compile(r"[0-9]{1,18}")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
# Clocks are known in these years only, microseconds: 0002 to 9998.
_FIRST_CLOCK, _LAST_CLOCK = (int(np.datetime64(f"{year}-01-01", "us").astype(np.int64)) for year in ("0002", "9999"))


class TimeReader:
    """Read the times of one file, piece by piece.

    The first cell that is a time decides for all whether times are epoch numbers, in which unit, and whether they have an
    offset from UTC.

    Args:
        reading: the zone of times without an offset, and the format of all.
        found: the format that the head of the file tells, where `reading` has none.
    """

    def __init__(self, reading: ReadingConfig, found: str | None = None) -> None:
        self._reading = reading
        self._format = found if reading.time_format is None else reading.time_format
        self._origin_day = _SPREADSHEET_DAYS.get(self._format or "")
        self._origin_second = _OTHER_EPOCHS.get(self._format or "")
        self._as_numbers = self._format in TIME_WORDS
        if self._as_numbers:
            self._format = None
        self._zone = ZoneInfo(reading.timezone)
        self._epoch_scale: float | None = None
        self._has_epoch_times: bool | None = None
        self._has_offsets: bool | None = None
        self._repeated, self._latest = RepeatedHour(), np.empty(0, np.int64)  # the last two local times

    @property
    def rule(self) -> str:
        """Say what a time must look like."""
        if self._as_numbers:
            return "epoch numbers" if self._origin_day is None else "days of a spreadsheet"
        return "ISO 8601 times or epoch numbers" if self._format is None else f"times of the format {self._format!r}"

    @property
    def has_offsets(self) -> bool:
        """Whether times were read that say their offset from UTC."""
        return bool(self._has_offsets)

    @property
    def writes_dates(self) -> bool:
        """Whether times were read that are dates without an offset, which other programs may have read before."""
        return self._has_offsets is False and not self._has_epoch_times

    @property
    def zone(self) -> str:
        """The zone of times without an offset."""
        return self._reading.timezone

    @property
    def is_local(self) -> bool:
        """Whether times were read that have no offset, and no zone was named for them."""
        return self._has_offsets is False and self._reading.timezone == "UTC"

    def is_time(self, text: str) -> bool:
        """Tell whether text is a time, and without a format no number."""
        if self._format is None and (is_finite(text) or _is_plain_time(text)):
            return not is_finite(text)
        parsed, _ = self._parsed(pd.Series([text], dtype="str"))
        return bool(parsed.notna()[0]) and (self._format is not None or not is_finite(text))

    def read(self, column: pd.Series[Any]) -> tuple[Ints, Ints]:
        """Read one column of text.

        Args:
            column: `(n,)` cells, NaN where there is none.

        Returns:
            Microseconds since 1970 UTC, and for each cell whether it is a time: `A_TIME`, `NO_TIME`, `OTHER_KIND` (with
            an offset from UTC where others have none, or the other way round), or with `dst="refuse"` `TWICE` or `NEVER`,
            a local time that occurs so often. What is not `A_TIME` has the time 0.
        """
        if self._has_epoch_times is None and len(column):
            self._has_epoch_times = self._as_numbers or (self._format is None and self._begins_with_epoch(column))
        if self._has_epoch_times:
            plain = column.str.replace(",", ".") if self._as_numbers else column
            numbers = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
            stamps = self._to_microseconds(numbers)
            good = np.abs(stamps) < _LAST_TIME
            return np.rint(np.where(good, stamps, 0)).astype(np.int64), np.where(good, A_TIME, NO_TIME)
        parsed, aware = self._parsed(column)
        codes = np.where(parsed.notna(), A_TIME, NO_TIME)
        times = np.where(codes == A_TIME, np.asarray(parsed.astype("datetime64[us]").astype("int64"), np.int64), 0)
        if self._has_offsets is None and (codes == A_TIME).any():
            self._has_offsets = bool(aware[np.argmax(codes == A_TIME)])
        codes[(codes == A_TIME) & (aware != self._has_offsets)] = OTHER_KIND
        if not self._has_offsets and self._reading.timezone != "UTC":
            self._move_to_utc(times, codes)
        return times, codes

    def plain(self, text: str) -> int | None:
        """Return one cell as `read` would; None if it is not plain, or if nothing was read yet that decides for all."""
        if self._has_epoch_times:
            scale = self._epoch_scale
            if scale is None or not _PLAIN_EPOCH.fullmatch(text):
                return None
            stamp = int(text) * scale
            return round(stamp) if abs(stamp) < _LAST_TIME else None
        found = _PLAIN_TIME.fullmatch(text)
        aware = found is not None and found[1] is not None
        if found is None or self._has_offsets is not aware or self._format is not None:
            return None
        if not aware and self._reading.timezone != "UTC":
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return (moment - (_EPOCH if aware else _EPOCH.replace(tzinfo=None))) // _MICROSECOND

    def plain_column(self, cells: Bytes) -> Ints | None:
        """Return a column as `read` would; None if not all of its cells are plain times.

        Args:
            cells: `(n, width)`, the bytes of each.
        """
        moments = plain_moments(cells) if self._takes_plain(cells.shape[1]) else None
        if moments is not None and len(moments):  # the first ones decide for all
            self._has_epoch_times, self._has_offsets = False, cells.shape[1] == WIDTH_WITH_ZONE
        return moments

    def _takes_plain(self, width: int) -> bool:
        """Tell whether plain times of this width may come, and are in UTC."""
        if self._has_epoch_times or self._as_numbers or self._format is not None:
            return False
        aware = width == WIDTH_WITH_ZONE
        return self._has_offsets in (None, aware) and (aware or self._reading.timezone == "UTC")

    def read_cells(self, cells: Sequence[str]) -> tuple[Ints, Ints]:
        """Read cells as `read` does, at once where all are plain times."""
        found = moments_of(cells)
        if found is None or not self._takes_plain(found[0]):
            return self.read(pd.Series(list(cells), dtype="str"))
        self._has_epoch_times, self._has_offsets = False, found[0] == WIDTH_WITH_ZONE
        return found[1], np.full(len(found[1]), A_TIME)

    def _parsed(self, column: pd.Series[Any]) -> tuple[pd.Series[Any], Bools]:
        """Return times without a zone (in UTC where they had an offset), NaT where there is none; and which had one."""
        parsed, aware = self._parsed_as_it_is(column)
        if not (parsed.isna() & column.notna()).any():  # as nearly always: no other blanks have to be looked for
            return parsed, aware
        plain = column.map(with_blanks, na_action="ignore")
        return (parsed, aware) if plain.equals(column) else self._parsed_as_it_is(plain)

    def _parsed_as_it_is(self, column: pd.Series[Any]) -> tuple[pd.Series[Any], Bools]:
        text = column.where(~column.isin(NOT_TIMES))
        if self._format is not None:
            aware = has_offset(self._format)
            return moments_by(text.str.strip(), self._format).dt.tz_localize(None), np.full(len(text), aware)
        try:
            parsed = pd.to_datetime(text, format="ISO8601")  # all with the same offset, or all without one
            with_offset = parsed.dt.tz is not None
            return (parsed.dt.tz_convert("UTC").dt.tz_localize(None) if with_offset else parsed), np.full(len(text), with_offset)
        except (ValueError, OverflowError):
            text = text.str.strip()
            parsed = moments_by(text, "ISO8601").dt.tz_localize(None)
            return parsed, column.astype("str").str.contains(OFFSET).to_numpy(np.bool_)

    def _begins_with_epoch(self, column: pd.Series[Any]) -> bool:
        """Tell what the first cell that is a time is; a file may begin with one that is not."""
        if is_finite(column.iloc[0]):
            return not _is_basic_date(column.iloc[0])
        if self._parsed(column.iloc[:1])[0].notna().iloc[0]:
            return False
        numbers = np.abs(pd.to_numeric(column, errors="coerce").to_numpy(np.float64)) < _LAST_TIME / _EPOCH_UNITS[-1][1]
        others = self._parsed(column)[0].notna().to_numpy()
        first = np.argmax(numbers | others)
        return bool(numbers[first]) and not _is_basic_date(column.iloc[first])

    def _to_microseconds(self, numbers: Floats) -> Floats:
        """Turn numbers into microseconds since 1970."""
        if self._origin_day is not None:
            return _days_to_microseconds(numbers, self._origin_day)
        return self._epoch_microseconds(numbers) if self._origin_second is None else (numbers - self._origin_second) * 1e6

    def _epoch_microseconds(self, stamps: Floats) -> Floats:
        """Scale epoch numbers to microseconds; the first one of the file decides the unit."""
        if self._epoch_scale is None:
            known = np.abs(stamps[np.abs(stamps) < _LAST_TIME / _EPOCH_UNITS[-1][1]])
            self._epoch_scale = next((scale for limit, scale in _EPOCH_UNITS if len(known) and known[0] < limit), 1.0)
        with np.errstate(over="ignore"):  # infinite is no time either
            return stamps * self._epoch_scale

    def _move_to_utc(self, times: Ints, codes: Ints) -> None:
        """Turn local times into UTC, in place; what a shift of the clocks repeats or leaves out is looked at alone."""
        codes[(codes == A_TIME) & ((times < _FIRST_CLOCK) | (times >= _LAST_CLOCK))] = NO_TIME
        local = np.flatnonzero(codes == A_TIME)
        wall = pd.Series(times[local].astype("datetime64[us]"))
        moved = wall.dt.tz_localize(self._zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC").dt.tz_localize(None)
        n_before, walls = len(self._latest), np.concatenate([self._latest, times[local]])
        times[local] = moved.astype("int64")
        for i in np.flatnonzero(moved.isna()).tolist():
            before = walls[max(0, i + n_before - 2) : i + n_before].tolist()
            times[local[i]], codes[local[i]] = self._at_a_shift(wall[i].to_pydatetime(), before)
        self._latest = walls[-2:]
        times[codes != A_TIME] = 0

    def _at_a_shift(self, wall: datetime, rows_before: list[int]) -> tuple[int, int]:
        """Return time and code of a local time that occurs twice or never; `rows_before` are the local times of the last two rows.

        The two readings are those with the offset before the shift of the clocks and with the one after it.
        """
        before, after = (_microseconds(wall.replace(tzinfo=self._zone, fold=fold)) for fold in (0, 1))
        if self._reading.dst == "refuse":
            return 0, TWICE if before < after else NEVER
        if self._reading.dst == "order" and before < after:
            place = int(np.datetime64(wall, "us").astype(np.int64))
            return after if self._repeated.is_second(place, after - before, rows_before) else before, A_TIME
        return before if self._reading.dst in ("first", "order") else after, A_TIME

    def sentence(self, code: int, what: str, cell: str, place: str, *, trained: bool = False) -> str:
        """Say why a cell is refused.

        Args:
            code: of the cell, as from `read`.
            what: the column, for example "Column 'time'".
            cell: its text; empty where there is none, or what stands for a missing value.
            place: where it stands, for example "in.csv, line 7".
            trained: whether a detector needs the times, and rows cannot be counted instead.
        """
        if code == NO_TIME and not cell:
            return (
                f"{what} must hold a time on every record. Received: nothing, or what means that it is missing ({place}). Give the "
                "record its time, remove it, or leave such records out with --on-bad-rows skip."
            )
        if code == NO_TIME and (zone := zone_behind(cell)) is not None:
            return (
                f"{what} must hold times with their offset from UTC, or with none. Received: {cell} ({place}). Write "
                f"{zone[1]} for {zone[0]}, and the other offset where clocks are shifted."
            )
        if code == NO_TIME:
            formatted = " give --time-format," if may_have_format(cell) else ""
            others = "" if trained else ", or count rows with --time-column none"
            remedy = f"Mend the file,{formatted}{' or' * trained} name another column with --time-column{others}."
            return f"{what} must hold {self.rule}. Received: {cell} ({place}). {remedy}"
        if code == OTHER_KIND:
            return (
                "Times must all have an offset from UTC, or none of them. "
                f"Received: {cell} after others ({place}). Write all of them with an offset."
            )
        often = "occurs twice" if code == TWICE else "never occurs"
        return (
            f"A local time must occur once. Received: {cell}, which {often} in {self._reading.timezone} ({place}). "
            "Use --dst first or --dst last to read such times with the offset before or after the shift of the clocks, "
            f"{'--dst order if the rows stand in the order in which they came, ' * (code == TWICE)}or write times with an offset."
        )


def _days_to_microseconds(days: Floats, origin: int) -> Floats:
    """Turn days, `origin` of which is 1970-01-01, into microseconds, rounded to seconds where six decimals leave no more."""
    seconds = (days - origin) * 86_400
    whole = np.rint(seconds)
    return np.where(np.abs(seconds - whole) < _SPREADSHEET_ERROR, whole, seconds) * 1e6


def _microseconds(moment: datetime) -> int:
    return int(np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us").astype(np.int64))


def is_finite(text: object) -> bool:
    """Tell whether text is a finite number."""
    try:
        return "_" not in str(text) and math.isfinite(float(str(text)))
    except ValueError:
        return False


def _is_plain_time(text: str) -> bool:
    return moments_of([text]) is not None


def _is_basic_date(text: object) -> bool:
    """Tell YYYYMMDD, which ISO 8601 allows and which would be an epoch second of 1970 to 1973."""
    digits = str(text).strip()
    if len(digits) != 8 or not digits.isdigit():
        return False
    return not bool(pd.isna(pd.to_datetime(digits, errors="coerce", format="%Y%m%d")))
