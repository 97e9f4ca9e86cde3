"""The times of a frame: in its index, or in the one column that holds times; where neither does, rows are counted.

Times without a zone are read in the zone and by the rule for shifts of the clocks that the detector was made with. An
index that is neither times nor a count of rows is refused: to leave it out would lose gaps, or join several series.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from anomaly.columns.time_column import time_column_of
from anomaly.config import ReadingConfig
from anomaly.errors import DataError, shorten
from anomaly.quick_start import pd
from anomaly.series import Ints
from anomaly.times.epochs import are_epochs
from anomaly.times.moments import are_iso
from anomaly.times.spreadsheet_days import are_days
from anomaly.times.time_parts import digits_of_day, time_parts_of
from anomaly.times.timestamps import A_TIME, OFFSET, TWICE, TimeReader
from anomaly.times.written import spelled_format
from anomaly.zones import has_offset

# From so many cells it is told what a column of text or numbers is.
_LOOKED_AT = 1_000
# What stands before a column that is asked about alone, as it need not be the first.
_NO_TIMES = ("1", "0")
# An index with so many steps of 1, as a share, counts the rows of one series; another one chooses some of several.
_MOSTLY_WHOLE = 0.5
# What pandas joins to times by their names.
_PARTS = ("year", "month", "day", "hour", "minute", "second")
Unit = Literal["s", "ms", "us", "ns"]
_LATEST_UNIT: tuple[tuple[float, Unit], ...] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))


@dataclass(frozen=True, eq=False)
class Clock:
    """The times of the rows of a frame.

    Attributes:
        times: `(n_timesteps,)` int64, microseconds since 1970-01-01 UTC.
        index: the same as they stood in the frame, as timestamps or periods: without a zone, or in the zone they had.
        name: what the time is called.
        column: the name of the column they stood in; None if it was the index.
        zoned: what would give them the offset from UTC that they lack, as code; empty where they have one, None for
            numbers since 1970, which need none and say none.
    """

    times: Ints
    index: pd.Index
    name: str
    column: Any = None
    zoned: str | None = None


def clock_of(frame: pd.DataFrame, reading: ReadingConfig, features: tuple[str, ...] = ()) -> Clock | None:
    """Return the times of a frame; None where rows are counted.

    Args:
        frame: any frame of pandas.
        reading: the zone of times without one, and what to do where clocks are shifted.
        features: names of columns that are known to be features, whatever they are called.

    Raises:
        DataError: if the index has several levels or is neither times nor a count of rows, if several columns hold times, a row
            has no time, or a local time does not occur once.
    """
    if isinstance(frame.index, pd.MultiIndex):
        raise _several(frame.index)
    index = _as_times(frame.index, reading, "frame.index") if _may_be_times(frame.index) else None
    if index is not None:
        name = "timestamp" if frame.index.name is None else str(frame.index.name)
        known = _in_utc(index, reading, "frame.index", frame.index.dtype)
        stood = frame.index if isinstance(frame.index, pd.PeriodIndex) else index
        return Clock(known, stood, name, zoned=_way_to_zone(index, "frame.index", frame.index.dtype))
    found = [
        i for i, name in enumerate(frame.columns) if str(name) not in features and is_time(frame.iloc[:, i], str(name), reading)
    ]
    names = [frame.columns[i] for i in found]
    if len(found) > 1:
        raise DataError(
            f"One column must be the time. Received: times in {shorten([str(name) for name in names])} (frame). "
            f"Make one the index and leave the others out: frame.set_index({names[0]!r}).drop(columns={names[1:]!r})."
        )
    if not found:
        _check_count(frame.index)
        _refuse_parts(frame, features)
        return None
    cells, where = frame.iloc[:, found[0]], f"frame[{names[0]!r}]"
    if cells.dtype.kind in "OUT":
        _refuse_parts(frame, features)
    times = _as_times(pd.Index(cells), reading, where)
    if times is None:
        raise _no_clock(cells, names[0])
    zoned = _way_to_zone(times, where, cells.dtype)
    return Clock(_in_utc(times, reading, where, cells.dtype), pd.Index(times, name=names[0]), str(names[0]), names[0], zoned)


def _way_to_zone(times: pd.DatetimeIndex, where: str, dtype: Any) -> str | None:
    """Return how times without a zone get one, as code; empty if they have one, None if they were numbers."""
    if times.tz is not None:
        return None if dtype.kind in "iuf" else ""
    made = f"pd.{'PeriodIndex' if isinstance(dtype, pd.PeriodDtype) else 'DatetimeIndex'}({where})"
    return f"{where} = {made}{'.to_timestamp()' if isinstance(dtype, pd.PeriodDtype) else ''}.tz_localize('UTC')"


def _may_be_times(index: pd.Index) -> bool:
    """Tell whether an index is no number, truth or span of time."""
    dtype: Any = index.dtype
    return len(index) > 0 and (dtype.kind not in "iufbcm" or isinstance(dtype, pd.CategoricalDtype))


def _way_to_times(cells: pd.Index) -> str | None:
    """Return how what is no time becomes one, as code with `{}` for the cells; None where it hardly is one."""
    dtype: Any = cells.dtype
    known = cells.dropna()
    if not len(known) or isinstance(dtype, pd.CategoricalDtype | pd.IntervalDtype) or dtype.kind in "bc":
        return None
    if dtype.kind == "m":
        return "pd.Timestamp('2024-01-01') + {}"
    if dtype.kind not in "iuf" and pd.api.types.infer_dtype(known[:_LOOKED_AT], skipna=True) == "time":
        in_a_day = known.is_monotonic_increasing and known.is_unique
        return "pd.Timestamp('2024-01-01') + pd.to_timedelta({}.astype(str))" if in_a_day else None
    if dtype.kind not in "iuf":
        return "pd.to_datetime({}, dayfirst=True)" if _parse(known[:_LOOKED_AT]) else None
    texts = [str(cell) for cell in known[:_LOOKED_AT]]
    spelled = spelled_format(texts) if len(texts) > 1 else None
    if spelled is not None:
        return f"pd.to_datetime({{}}.astype(str), format={spelled!r})"
    if len(texts) > 1 and _are_epochs(pd.Series(known)):
        return f"pd.to_datetime({{}}, unit={_unit(float(known[0]))!r})"
    if are_days(texts):
        return "pd.to_datetime({}, unit='D', origin='1899-12-30')"
    return "pd.Timestamp('2024-01-01') + pd.to_timedelta({}, unit='s')" if dtype.kind == "f" else None


def _parse(texts: pd.Index) -> bool:
    """Tell whether pandas reads texts as times, in one way or another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it guesses the format, which is what is asked
        return bool(
            pd.notna(pd.to_datetime(pd.Index([str(text) for text in texts]), dayfirst=True, errors="coerce", utc=True)).all()
        )


def _refuse_parts(frame: pd.DataFrame, features: tuple[str, ...]) -> None:
    """Refuse columns of a year, a month and so on, or of a date and a time of day, that make up the time together."""
    columns = {str(name): frame.iloc[:, place] for place, name in enumerate(frame.columns) if str(name) not in features}
    whole = {name: cells for name, cells in columns.items() if cells.dtype.kind in "iuOUT"}
    texts = {name: [str(cell) for cell in cells.dropna().iloc[:_LOOKED_AT]] for name, cells in whole.items()}
    parts = time_parts_of(texts, "frame")
    if parts:
        known = all(name in _PARTS for name in parts) and {"year", "month", "day"} <= set(parts)
        zeros = {name: f".str.zfill({n})" if (n := digits_of_day(name, texts[name])) else "" for name in parts}
        joined = " + ' ' + ".join(f"frame[{name!r}].astype(str){zeros[name]}" for name in parts)
        raise DataError(
            f"The time of a frame must be one column or the index. Received: {shorten(list(parts))}, which make it up together "
            f"(frame). Make them the index with frame.drop(columns={list(parts)}).set_axis(pd.DatetimeIndex(pd.to_datetime("
            f"{f'frame[{list(parts)}]' if known else joined})))."
        )


def _check_count(index: pd.Index) -> None:
    """Refuse an index that counts no rows: anything but whole numbers, numbers that spell times, or rows in another order."""
    way = _way_to_times(index)
    if way is not None or len(index) == 0 or cast(Any, index.dtype).kind not in "iu":
        make = "" if way is None else f"Make it times with frame.set_axis({way.format('frame.index')}), or c"
        raise DataError(
            f"The index of a frame must be times, or count its rows. Received: {index.dtype}, first {index.tolist()[:1]} (frame). "
            f"{make or 'C'}ount the rows with frame.reset_index(drop=True)."
        )
    if not (index.is_monotonic_increasing and index.is_unique):
        row = int(np.argmax(np.asarray(index[1:] <= index[:-1]))) + 1
        sort = "" if index.has_duplicates else "Sort the rows with frame.sort_index(), or c"
        raise DataError(
            f"An index that counts rows must go forward. Received: {index[row]} after {index[row - 1]} in row {row} (frame). "
            f"{sort or 'C'}ount them anew with frame.reset_index(drop=True), if they are of one series."
        )
    steps = np.diff(np.asarray(index, np.int64))
    if len(steps) and (steps == 1).mean() > _MOSTLY_WHOLE and (steps > 1).any():
        row = int(np.argmax(steps > 1)) + 1
        raise DataError(
            f"An index that counts rows must leave out none. Received: {index[row]} after {index[row - 1]} (frame). If rows are "
            f"missing there, put them in: frame.reindex(range({index[0]}, {index[-1] + 1})); else count them anew with "
            "frame.reset_index(drop=True)."
        )


def _several(index: pd.MultiIndex) -> DataError:
    """Return the error of an index of several levels, which names one that is no time and its first value."""
    if index.nlevels == 1:
        return DataError(
            "The index of a frame must have one level, and be no MultiIndex. Received: a MultiIndex of 1 level (frame). "
            "Take the level itself: frame.set_axis(frame.index.get_level_values(0))."
        )
    level = next((i for i, cells in enumerate(index.levels) if cells.dtype.kind != "M"), 0)
    first = index.get_level_values(level)[:1].tolist()
    return DataError(
        f"A frame must hold one series, and its index one level. Received: a MultiIndex of {index.nlevels} levels (frame). "
        f"Take one series at a time: frame.xs({first[0] if first else None!r}, level={level})."
    )


def is_time(cells: pd.Series[Any], name: str, reading: ReadingConfig) -> bool:
    """Tell whether a column holds times, or is called so and holds numbers."""
    dtype: Any = cells.dtype
    if dtype.kind == "M" or isinstance(dtype, pd.PeriodDtype):
        return True
    known = cells.dropna()
    if dtype.kind in "iuf" or not len(known):
        looked_at = [str(cell) for cell in known.iloc[:_LOOKED_AT]]
        try:
            return bool(looked_at) and time_column_of({"": _NO_TIMES, name: looked_at}, "frame") == name
        except DataError:  # it is called so, and goes back and forth
            return False
    if dtype.kind not in "OUT" or isinstance(dtype, pd.CategoricalDtype):
        return False
    kind = pd.api.types.infer_dtype(known.iloc[:_LOOKED_AT], skipna=True)
    if kind == "string":
        if _own_format(reading):
            return _of_text(pd.Index(known.iloc[:_LOOKED_AT]), reading, "frame") is not None
        return are_iso([str(cell) for cell in known.iloc[:_LOOKED_AT]])
    return kind in ("date", "datetime", "datetime64", "period")


def _as_times(cells: pd.Index, reading: ReadingConfig, where: str) -> pd.DatetimeIndex | None:
    """Return cells as times, without a zone if they had none; None if they are no times."""
    dtype: Any = cells.dtype
    if isinstance(cells, pd.DatetimeIndex):
        return cells
    if isinstance(cells, pd.PeriodIndex):
        return cells.to_timestamp(how="start")
    if isinstance(dtype, pd.CategoricalDtype):
        return _as_times(pd.Index(np.asarray(cells)), reading, where) if dtype.categories.dtype.kind not in "iufb" else None
    if dtype.kind == "M":
        return pd.DatetimeIndex(cells)
    if dtype.kind in "iuf":
        numbers = pd.Series(cells)
        unit = _unit(float(numbers.dropna().iloc[0])) if _are_epochs(numbers) and not _spell_dates(numbers) else None
        return None if unit is None else pd.DatetimeIndex(pd.to_datetime(cells, unit=unit, utc=True))
    known = cells.dropna()
    kind = pd.api.types.infer_dtype(known, skipna=True)
    if kind == "period":
        return _as_times(pd.PeriodIndex(cells), reading, where)
    if kind in ("date", "datetime", "datetime64"):
        return _of_objects(cells, where)
    return _of_text(cells, reading, where) if kind == "string" else None


def _of_objects(cells: pd.Index, where: str) -> pd.DatetimeIndex:
    """Return dates, or times of the standard library, all with a zone or all without."""
    zones = {getattr(cell, "tzinfo", None) is None for cell in cells if not pd.isna(cell)}
    if len(zones) > 1:
        raise _mixed(where)
    try:
        return pd.DatetimeIndex(pd.to_datetime(cells, utc=not zones.pop()))
    except (ValueError, OverflowError) as error:
        raise _beyond_years(error, where) from error


def _of_text(cells: pd.Index, reading: ReadingConfig, where: str) -> pd.DatetimeIndex | None:
    """Return text of ISO 8601, or of the format there is, as times; None if a cell is anything else."""
    missing = np.asarray(cells.isna(), np.bool_)
    text = pd.Series(cells[~missing].astype("str")).reset_index(drop=True)
    own = _own_format(reading)
    if not own and text.str.fullmatch(r"\s*[+-]?[\d.]*\s*").any():
        return None  # numbers, which could be years, days or a count
    times, codes = TimeReader(ReadingConfig(time_format=own)).read(text)
    aware = np.full(len(text), has_offset(own)) if own else text.str.contains(OFFSET).to_numpy(np.bool_)
    if aware.any() and not aware.all():
        raise _mixed(where)
    if (codes != A_TIME).any():
        return None
    found = np.full(len(cells), np.iinfo(np.int64).min)
    found[~missing] = times
    index = pd.DatetimeIndex(found.astype("datetime64[us]"))
    return index.tz_localize("UTC") if aware.any() else index


def _own_format(reading: ReadingConfig) -> str | None:
    """Return the format of text that was asked for."""
    return reading.time_format if reading.time_format is not None and "%" in reading.time_format else None


def _in_utc(index: pd.DatetimeIndex, reading: ReadingConfig, where: str, dtype: Any) -> Ints:
    """Return times as microseconds since 1970 UTC; where they stood, and of which type they were, is for messages."""
    try:
        times = index.as_unit("us")
    except (ValueError, OverflowError) as error:
        raise _beyond_years(error, where) from error
    if times.hasnans:
        row = int(np.argmax(times.isna()))
        raise DataError(
            f"Every row must have a time. Received: none for row {row} ({where}). Leave such rows out: frame[{where}.notna()]."
        )
    _refuse_finer(index, times, where)
    if times.tz is not None or reading.timezone == "UTC":
        return np.asarray(times.asi8, np.int64)
    moved = times.tz_localize(reading.timezone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    found = np.array(moved.asi8, np.int64)
    rows = np.flatnonzero(moved.isna())
    if len(rows):  # only those that a shift of the clocks repeats or leaves out, and the two before each, which tell the order
        rows = np.unique(np.clip(np.concatenate([rows, rows - 1, rows - 2]), 0, None))
        text = pd.Series([time.isoformat() for time in times[rows]], dtype="str")
        found[rows], codes = TimeReader(ReadingConfig(timezone=reading.timezone, dst=reading.dst)).read(text)
        if (codes != A_TIME).any():
            first = int(np.argmax(codes != A_TIME))
            times_there = f"pd.{'PeriodIndex' if isinstance(dtype, pd.PeriodDtype) else 'DatetimeIndex'}({where})"
            to = ".to_timestamp()" if isinstance(dtype, pd.PeriodDtype) else ""
            row = int(rows[first])
            raise _shifted(f"{times[row]}", f"{where}, row {row}", bool(codes[first] == TWICE), reading.timezone, times_there + to)
    return found


def _beyond_years(error: Exception, where: str) -> DataError:
    return DataError(f"Times must be of the years 1 to 9999. Received: {error} ({where}). Mend them.")


def _refuse_finer(index: pd.DatetimeIndex, times: pd.DatetimeIndex, where: str) -> None:
    """Refuse times that differ by less than a microsecond; digits beyond that otherwise do no harm."""
    if index.unit != "ns" or times.is_unique or len(index.unique()) == len(times.unique()):
        return
    row = int(np.argmax(times.duplicated() & ~index.duplicated()))
    column = where.removeprefix("frame[").removesuffix("]") if where != "frame.index" else ""
    rest = f"frame.drop(columns=[{column}])" if column else "frame"
    counted_ = rest if column else "frame.reset_index(drop=True)"
    joined = f"Join the rows of a microsecond with {rest}.groupby(pd.DatetimeIndex({where}).floor('us')).mean(), or count the rows"
    many = 2 * len(times.unique()) >= len(times)
    raise DataError(
        f"Times must have microseconds at most. Received: {index[row]} in row {row}, nanoseconds from another one ({where}). "
        f"{joined if many else 'Count the rows'} with {counted_}."
    )


def _shifted(time: str, place: str, twice: bool, zone: str, times: str) -> DataError:
    localize = f"{times}.tz_localize({zone!r}, ambiguous=True, nonexistent='shift_forward')"
    order = ", or dst='order' if the rows stand in the order in which they came" * twice
    return DataError(
        f"A local time must occur once. Received: {time}, which {'occurs twice' if twice else 'never occurs'} in {zone} "
        f"({place}). Make the Detector with dst='first' or dst='last'{order}, or give the times their zone: {localize}."
    )


def _mixed(where: str) -> DataError:
    return DataError(
        "Times must all have an offset from UTC, or none of them. Received: both. "
        f"Read all of them in UTC with pd.to_datetime({where}, utc=True, format='ISO8601')."
    )


def _no_clock(cells: pd.Series[Any], name: Any) -> DataError:
    way = _way_to_times(pd.Index(cells)) or "pd.Timestamp('2024-01-01') + pd.to_timedelta({}, unit='s')"
    return DataError(
        f"Column {str(name)!r} must hold times that have one meaning. Received: {cells.dropna().tolist()[:1]} first (frame). "
        f"Turn it into times, perhaps with {way.format(f'frame[{name!r}]')}; leave it out with frame.drop(columns=[{name!r}]); or, "
        "if it is a feature, call it otherwise."
    )


def _are_epochs(cells: pd.Series[Any]) -> bool:
    known = cells.dropna()
    return bool(len(known)) and are_epochs([str(known.min()), str(known.max())])


def _spell_dates(cells: pd.Series[Any]) -> bool:
    """Tell whole numbers whose digits are those of dates, such as 2024010823, more evenly than numbers since 1970 would be."""
    texts = cells.dropna().iloc[:_LOOKED_AT].astype(str).tolist()
    return cells.dtype.kind in "iu" and len(texts) > 1 and spelled_format(texts) is not None


def _unit(number: float) -> Unit:
    return next(unit for limit, unit in _LATEST_UNIT if abs(number) < limit)
