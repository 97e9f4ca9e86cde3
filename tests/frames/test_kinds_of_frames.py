"""A table of what users hand over: each kind is the right series, or is refused with a remedy that then works."""

import re
from collections import deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.frames.taking import as_time_series, in_place, take

N = 30
HOURS = pd.date_range("2024-01-01", periods=N, freq="h")
TIMES = (HOURS.as_unit("us").asi8).tolist()
FLOW = np.arange(N) * 0.5
TEMP = np.where(np.arange(N) == 3, np.nan, 20.0 + np.arange(N))
PLAIN = pd.DataFrame({"flow": FLOW, "temp": TEMP})
TIMED = PLAIN.set_axis(HOURS)
COUNTED = list(range(N))


def columns(**more):
    return PLAIN.assign(**more)


def with_index(index):
    return PLAIN.set_axis(pd.Index(index))


def arrow(frame):
    return pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)


class OnlyArrow:
    """A table that has the Arrow interface alone."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class OnlyInterchange:
    """A table that has the interchange protocol alone."""

    def __init__(self, table):
        self._table = table

    def __dataframe__(self, **options):
        return self._table.__dataframe__(**options)


class OnlyNames:
    """A table of which columns can be had by name."""

    def __init__(self, frame):
        self.columns, self._frame = list(frame.columns), frame

    def __getitem__(self, name):
        return self._frame[name].to_numpy()


class OnlyValues:
    """An array of another library."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)


def arrow_typed(frame):
    pytest.importorskip("pyarrow")
    return frame.convert_dtypes(dtype_backend="pyarrow")


def polars(frame):
    return pytest.importorskip("polars").DataFrame({name: frame[name].tolist() for name in frame})


def narwhals(frame):
    return pytest.importorskip("narwhals").from_native(frame)


def lazy(frame):
    return polars(frame).lazy()


def arrow_index():
    pa = pytest.importorskip("pyarrow")
    return pd.Index(pd.array(HOURS, dtype=pd.ArrowDtype(pa.timestamp("us"))))


# what: (how it is made, times).
TAKEN = {
    "a DatetimeIndex": (lambda: TIMED, TIMES),
    "an index with a zone": (lambda: TIMED.tz_localize("UTC").tz_convert("Asia/Tokyo"), TIMES),
    "a PeriodIndex": (lambda: TIMED.set_axis(HOURS.to_period("h")), TIMES),
    "periods as objects": (lambda: with_index(pd.Index(list(HOURS.to_period("h")), dtype=object)), TIMES),
    "text": (lambda: with_index(HOURS.strftime("%Y-%m-%d %H:%M:%S")), TIMES),
    "text with T and Z": (lambda: with_index(HOURS.strftime("%Y-%m-%dT%H:%M:%SZ")), TIMES),
    "text as objects": (lambda: with_index(pd.Index(list(HOURS.strftime("%Y-%m-%d %H:%M")), dtype=object)), TIMES),
    "text as categories": (lambda: with_index(pd.CategoricalIndex(HOURS.strftime("%Y-%m-%d %H:%M"))), TIMES),
    "times as categories": (lambda: with_index(pd.CategoricalIndex(HOURS)), TIMES),
    "datetimes as objects": (lambda: with_index(pd.Index(list(HOURS.to_pydatetime()), dtype=object)), TIMES),
    "datetimes with zones": (
        lambda: with_index(
            pd.Index(
                [t.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=i % 3))) for i, t in enumerate(HOURS)], dtype=object
            )
        ),
        TIMES,
    ),
    "an Arrow index": (lambda: PLAIN.set_axis(arrow_index()), TIMES),
    "a column of times": (lambda: columns(timestamp=HOURS), TIMES),
    "a column of times of any name": (lambda: columns(x=HOURS), TIMES),
    "a column of times with a zone": (lambda: columns(when=HOURS.tz_localize("UTC").tz_convert("Europe/Berlin")), TIMES),
    "a column of text": (lambda: columns(timestamp=HOURS.strftime("%Y-%m-%d %H:%M:%S")), TIMES),
    "a column of periods": (lambda: columns(month=HOURS.to_period("h")), TIMES),
    "a column of seconds": (lambda: columns(timestamp=HOURS.as_unit("s").asi8), TIMES),
    "a column of milliseconds": (lambda: columns(ts=HOURS.as_unit("ms").asi8), TIMES),
    "a column of nanoseconds": (lambda: columns(epoch=HOURS.as_unit("ns").asi8), TIMES),
    "an Arrow column of times": (lambda: arrow_typed(columns(timestamp=HOURS)), TIMES),
    "Float64": (lambda: TIMED.astype("Float64"), TIMES),
    "Float32 and Int64": (
        lambda: TIMED.astype({"flow": "Float32"}).assign(temp=pd.array([*TEMP[:3], None, *TEMP[4:]], "Int64")),
        TIMES,
    ),
    "Arrow types": (lambda: arrow_typed(PLAIN), COUNTED),
    "sparse": (lambda: PLAIN.astype(pd.SparseDtype("float64", np.nan)), COUNTED),
    "objects": (lambda: PLAIN.astype(object).where(PLAIN.notna(), None), COUNTED),
    "objects with pd.NA": (lambda: PLAIN.astype(object).where(PLAIN.notna(), pd.NA), COUNTED),
    "decimals and fractions": (
        lambda: pd.DataFrame(
            {"flow": [Decimal(str(x)) for x in FLOW], "temp": [None if np.isnan(x) else Fraction(x) for x in TEMP]}
        ),
        COUNTED,
    ),
    "a counting index": (lambda: with_index(range(100, 100 + 3 * N, 3)), COUNTED),
    "a column of times beside names": (lambda: columns(when=HOURS).set_axis([f"row {i}" for i in range(N)]), TIMES),
    "a column of times beside a count of rows": (lambda: columns(when=HOURS).set_axis(range(N, 0, -1)), TIMES),
    "a dict": (lambda: {"flow": FLOW, "temp": np.ma.masked_invalid(TEMP)}, COUNTED),
    "a dict with times": (lambda: {"timestamp": HOURS, "flow": FLOW, "temp": TEMP}, TIMES),
    "records": (lambda: columns(timestamp=HOURS).to_dict("records"), TIMES),
    "named tuples": (lambda: list(columns(timestamp=HOURS).itertuples(index=False)), TIMES),
    "a structured array": (lambda: PLAIN.to_records(index=False), COUNTED),
    "a structured array with times": (lambda: TIMED.rename_axis("when").to_records(), TIMES),
    "a pyarrow table": (lambda: arrow(columns(timestamp=HOURS)), TIMES),
    "a pyarrow table with an index": (lambda: pytest.importorskip("pyarrow").Table.from_pandas(TIMED), TIMES),
    "a record batch": (lambda: arrow(columns(timestamp=HOURS)).to_batches()[0], TIMES),
    "a reader of batches": (lambda: arrow(columns(timestamp=HOURS)).to_reader(), TIMES),
    "the Arrow interface": (lambda: OnlyArrow(arrow(columns(timestamp=HOURS))), TIMES),
    "the interchange protocol": (lambda: OnlyInterchange(arrow(columns(timestamp=HOURS))), TIMES),
    "columns by name": (lambda: OnlyNames(columns(timestamp=HOURS)), TIMES),
    "polars": (lambda: polars(columns(timestamp=HOURS)), TIMES),
    "polars, lazy": (lambda: lazy(columns(timestamp=HOURS)), TIMES),
    "narwhals of pandas": (lambda: narwhals(columns(timestamp=HOURS)), TIMES),
    "narwhals of pyarrow": (lambda: narwhals(arrow(columns(timestamp=HOURS))), TIMES),
    "narwhals of polars": (lambda: narwhals(lazy(columns(timestamp=HOURS))), TIMES),
}


@pytest.mark.parametrize("what", TAKEN)
def test_a_frame_is_the_series_it_holds(what):
    make, times = TAKEN[what]
    series = as_time_series(make())
    assert series.times.tolist() == times
    assert series.columns == ("flow", "temp")
    np.testing.assert_array_equal(series.values, np.stack([FLOW, TEMP], axis=1))
    assert (series.time_column is None) == (times is COUNTED)


ARRAYS = {
    "float32": lambda: np.stack([FLOW, TEMP], axis=1).astype(np.float32),
    "masked": lambda: np.ma.masked_greater(np.stack([FLOW, np.where(np.isnan(TEMP), 1e9, TEMP)], axis=1), 1e6),
    "masked objects": lambda: np.ma.masked_greater(
        np.stack([FLOW, np.where(np.isnan(TEMP), 1e9, TEMP)], axis=1).astype(object), 1e6
    ),
    "objects": lambda: PLAIN.astype(object).where(PLAIN.notna(), None).to_numpy(),
    "lists": lambda: PLAIN.astype(object).where(PLAIN.notna(), None).to_numpy().tolist(),
    "lists with pd.NA": lambda: PLAIN.astype(object).where(PLAIN.notna(), pd.NA).to_numpy().tolist(),
    "rows in a deque": lambda: deque(PLAIN.to_numpy().tolist()),
    "another library's": lambda: OnlyValues(PLAIN.to_numpy()),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_is_the_series_it_holds(what):
    series = as_time_series(ARRAYS[what](), ("flow", "temp"))
    np.testing.assert_array_equal(series.values, np.stack([FLOW, TEMP], axis=1))
    assert (series.times.tolist(), series.columns) == (COUNTED, ("flow", "temp"))


@pytest.mark.parametrize("kind", ["int8", "uint64", "float16", bool, "boolean", "Int8", object, "category"])
def test_numbers_of_any_kind_are_numbers(kind):
    cells = pd.Series([0, 1, 1, 0]).astype(kind)
    assert as_time_series(pd.DataFrame({"on": cells})).values[:, 0].tolist() == [0, 1, 1, 0]


def two_hosts():
    return pd.concat({"a": TIMED, "b": TIMED * 2}, names=["host", "when"])


def stacked():
    return columns(host=["a", "b"] * (N // 2), timestamp=np.repeat(HOURS[: N // 2], 2))


# what: (how it is made, what is said to have come, the remedy as it is said). The remedy is run, and what it gives is taken.
REFUSED = {
    "a MultiIndex": (two_hosts, "a MultiIndex of 2 levels", "frame.xs('a', level=0)"),
    "a MultiIndex, time first": (lambda: two_hosts().swaplevel(), "a MultiIndex of 2 levels", "frame.xs('a', level=1)"),
    "a MultiIndex of one host": (lambda: pd.concat({7: TIMED}), "a MultiIndex", "frame.xs(7, level=0)"),
    "a MultiIndex of one level": (
        lambda: PLAIN.set_axis(pd.MultiIndex.from_arrays([HOURS])),
        "a MultiIndex of 1 level", "frame.set_axis(frame.index.get_level_values(0))",
    ),
    "times of day": (
        lambda: with_index([time(i // 4, i % 4) for i in range(N)]), "object, first [datetime.time(0, 0)]",
        "frame.set_axis(pd.Timestamp('2024-01-01') + pd.to_timedelta(frame.index.astype(str)))",
    ),
    "times of day of two days": (
        lambda: with_index(HOURS.time), "object, first [datetime.time(0, 0)]", "frame.reset_index(drop=True)",
    ),
    "names in the index": (lambda: with_index([f"row {i}" for i in range(N)]), "first ['row 0']", "frame.reset_index(drop=True)"),
    "mixed text": (
        lambda: with_index([*HOURS.strftime("%Y-%m-%d %H:%M")[:-1], "x"]),
        "first ['2024-01-01 00:00']", "frame.reset_index(drop=True)",
    ),
    "numbers as text": (lambda: with_index([str(i) for i in range(N)]), "first ['0']", "frame.reset_index(drop=True)"),
    "dates of another order": (
        lambda: with_index(HOURS.strftime("%d/%m/%Y %H:%M")),
        "['01/01/2024 00:00']", "frame.set_axis(pd.to_datetime(frame.index, dayfirst=True))",
    ),
    "seconds in the index": (
        lambda: with_index(HOURS.as_unit("s").asi8), "int64, first [17", "frame.set_axis(pd.to_datetime(frame.index, unit='s'))",
    ),
    "microseconds in the index": (
        lambda: with_index(HOURS.as_unit("us").asi8), "int64, first [17", "frame.set_axis(pd.to_datetime(frame.index, unit='us'))",
    ),
    "a TimedeltaIndex": (
        lambda: with_index(HOURS - HOURS[0]), "timedelta64", "frame.set_axis(pd.Timestamp('2024-01-01') + frame.index)",
    ),
    "seconds with fractions in the index": (
        lambda: with_index(HOURS.as_unit("s").asi8 + 0.5), "first [17", "frame.set_axis(pd.to_datetime(frame.index, unit='s'))",
    ),
    "dates as numbers in the index": (
        lambda: with_index([20240101 + i for i in range(N)]), "first [20240101]",
        "frame.set_axis(pd.to_datetime(frame.index.astype(str), format='%Y%m%d'))",
    ),
    "dates as numbers": (
        lambda: columns(date=[20240101 + i for i in range(N)]), "[20240101] first",
        "pd.to_datetime(frame['date'].astype(str), format='%Y%m%d')",
    ),
    "days of a spreadsheet": (
        lambda: columns(date=45292 + np.arange(N) / 24), "[45292.0] first",
        "pd.to_datetime(frame['date'], unit='D', origin='1899-12-30')",
    ),
    "days first as text": (
        lambda: columns(timestamp=HOURS.strftime("%d/%m/%Y %H:%M")), "text, '01/01/2024 00:00'",
        "pd.to_datetime(frame['timestamp'], dayfirst=True)",
    ),
    "an index called like a column": (lambda: TIMED.rename_axis("flow"), "'flow' for both", "frame.rename_axis('row_time')"),
    "a clock called as the index": (
        lambda: TIMED.assign(timestamp=HOURS.as_unit("s").asi8), "'timestamp' for both", "frame.drop(columns=['timestamp'])",
    ),
    "a clock beside the index": (lambda: TIMED.assign(ts=HOURS.as_unit("s").asi8), "times in 'ts'", "frame.drop(columns=['ts'])"),
    "fractions in the index": (lambda: with_index(np.arange(N) / 3), "float64", "frame.reset_index(drop=True)"),
    "truth in the index": (lambda: with_index(np.arange(N) < 7), "bool", "frame.reset_index(drop=True)"),
    "intervals in the index": (lambda: with_index(pd.interval_range(0, N)), "interval", "frame.reset_index(drop=True)"),
    "rows counted in another order": (lambda: PLAIN.sample(frac=1, random_state=0), "in row", "frame.sort_index()"),
    "two counts joined": (lambda: pd.concat([PLAIN, PLAIN]), "0 after 29 in row 30", "frame.reset_index(drop=True)"),
    "rows without a time": (
        lambda: TIMED.set_axis(HOURS.where(np.arange(N) != 4)), "none for row 4", "frame[frame.index.notna()]",
    ),
    "cells without a time": (
        lambda: columns(timestamp=HOURS.where(np.arange(N) != 4)), "none for row 4", "frame[frame['timestamp'].notna()]",
    ),
    "two columns of times": (
        lambda: columns(start=HOURS, end=HOURS), "times in 'start', 'end'", "frame.set_index('start').drop(columns=['end'])",
    ),
    "times beside an index of times": (lambda: TIMED.assign(seen=HOURS), "times", "frame.drop(columns=['seen'])"),
    "a clock that counts from 0": (lambda: columns(time=np.arange(N) * 1.0), "[0.0] first", "frame.drop(columns=['time'])"),
    "spans of time": (lambda: columns(up=HOURS - HOURS[0]), "spans of time", "frame['up'].dt.total_seconds()"),
    "labels as categories": (
        lambda: TIMED.assign(label=pd.Categorical([0, 1] * (N // 2))), "labels", "frame.drop(columns=['label'])",
    ),
    "complex numbers": (lambda: columns(z=FLOW * 1j), "complex", "frame['z'].abs()"),
    "intervals": (lambda: columns(bin=pd.interval_range(0, N)), "intervals", "frame['bin'].array.mid"),
    "text": (lambda: columns(host="a"), "text, 'a' in row 0", "frame.drop(columns=['host'])"),
    "numbers spelled": (lambda: PLAIN.astype({"flow": str}), "text, '0.0'", "pd.to_numeric(frame['flow'], errors='coerce')"),
    "commas spelled": (lambda: columns(p="1,5"), "text, '1,5'", "frame['p'].str.replace(',', '.').astype(float)"),
    "categories of text": (
        lambda: columns(p=pd.Categorical(["x", "y"] * (N // 2))), "categories, 'x', 'y'", "frame.drop(columns=['p'])",
    ),
    "one host after the other": (
        lambda: with_index([1] * (N // 2) + [2] * (N // 2)), "1 after 1 in row 1", "frame.reset_index(drop=True)",
    ),
    "lists": (lambda: columns(p=[[1]] * N), "list, [1] in row 0", "frame.drop(columns=['p'])"),
    "one column name twice": (
        lambda: pd.concat([TIMED, TIMED], axis=1),
        "'flow', 'temp' more than once", "frame.loc[:, ~frame.columns.astype(str).duplicated()]",
    ),
    "a name as number and text": (
        lambda: TIMED.set_axis([1, "1"], axis=1), "'1' more than once", "frame.loc[:, ~frame.columns.astype(str).duplicated()]",
    ),
    "two hosts at the same times": (lambda: stacked().drop(columns="host"), "15 of 30 rows", "frame.groupby('timestamp').mean()"),
    "two hosts in an index": (lambda: two_hosts().droplevel(0), "30 of 60 rows", "frame.groupby(level=0).mean()"),
    "two hosts with their names": (stacked, "text, 'a' in row 0", "frame[frame['host'] == 'a']"),
    "labels": (lambda: TIMED.assign(is_anomaly=[0, 1] * (N // 2)), "labels in 'is_anomaly'", "frame.drop(columns=['is_anomaly'])"),
    "labels true or false": (lambda: TIMED.assign(label=[False, True] * (N // 2)), "labels", "frame.drop(columns=['label'])"),
    "labels as objects": (
        lambda: TIMED.assign(label=pd.Series([0, 1] * (N // 2), HOURS, object)), "labels", "frame.drop(columns=['label'])",
    ),
    "a count of rows": (lambda: TIMED.reset_index(drop=True).reset_index(), "a count", "frame.drop(columns=['index'])"),
    "offsets and none": (
        lambda: with_index([*HOURS.strftime("%Y-%m-%d %H:%M")[:-1], "2024-01-02 05:00Z"]),
        "both", "pd.to_datetime(frame.index, utc=True, format='ISO8601')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_names_a_remedy_that_works(what):
    make, came, remedy = REFUSED[what]
    frame = make()
    with pytest.raises(DataError) as refused:
        as_time_series(frame)
    message = str(refused.value)
    assert f"Received: {came}" in message or came in message.partition("Received: ")[2]
    assert remedy in message
    assert "--" not in message
    mended = eval(remedy, {"frame": frame, "pd": pd, "np": np})  # a line of this file
    if isinstance(mended, pd.Index) and "frame.index" in remedy:
        mended = frame.set_axis(mended)
    elif not isinstance(mended, pd.DataFrame):
        mended = frame.assign(**{remedy.split("'")[1]: mended})
    mended = mended.drop(columns="host", errors="ignore")
    series = as_time_series(mended)
    assert len(series) in (N // 2, N - 1, N, 2 * N)
    assert np.nanmax(series.values[:, 0]) > 1


NEITHER = {
    "a path": lambda: Path("in.csv"),
    "a path as text": lambda: "in.csv",
    "bytes": lambda: b"1,2",
    "nothing": lambda: None,
    "a generator": lambda: (x for x in (1.0, 2.0)),
    "a class": lambda: pd.DataFrame,
    "columns in a list": lambda: [PLAIN["flow"], PLAIN["temp"]],
    "frames in a list": lambda: [PLAIN, PLAIN],
    "a frame in groups": lambda: PLAIN.groupby("temp"),
    "a set": lambda: {1.0, 2.0},
    "a number": lambda: 3.0,
    "three dimensions": lambda: np.zeros((2, 3, 4)),
    "ragged rows": lambda: [[1.0, 2.0], [3.0]],
    "text": lambda: ["1", "2"],
    "text in rows": lambda: [[1.0, "x"], [2.0, "y"]],
    "times": HOURS.to_numpy,
    "spans of time": lambda: (HOURS - HOURS[0]).to_numpy(),
    "complex numbers": lambda: np.zeros((3, 2), complex),
    "objects": lambda: np.array([[object()]]),
    "a number beyond floats": lambda: [[10**400]],
    "a dict of scalars": lambda: {"flow": 1.0},
    "times alone": lambda: pd.DataFrame({"timestamp": HOURS}),
    "times alone, in an index": lambda: pd.DataFrame(index=HOURS),
    "no rows": lambda: PLAIN[:0],
    "no rows with times": lambda: TIMED[:0],
    "spans in a frame": lambda: pd.DataFrame({"a": HOURS - HOURS[0]}),
}


@pytest.mark.parametrize("what", NEITHER)
def test_what_is_no_series_is_refused_in_a_sentence(what):
    with pytest.raises(DataError, match=r"(?s)must.* Received: .+\.") as refused:
        as_time_series(NEITHER[what]())
    assert "--" not in str(refused.value)


def test_a_path_is_to_be_read_first():
    with pytest.raises(DataError, match=r"Received: PosixPath\('in.csv'\), a path or text. Read a file with read_csv first"):
        as_time_series(Path("in.csv"))


def test_a_feature_that_is_known_may_be_called_like_a_time():
    frame = columns(time=np.arange(N) * 1.0)
    assert as_time_series(frame, ("flow", "temp", "time")).columns == ("flow", "temp", "time")


def test_dates_are_midnights():
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(N)]
    found = as_time_series(PLAIN.set_axis(pd.Index(days, dtype=object)))
    assert found.times.tolist() == [int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) * 10**6 for d in days]


def test_text_is_read_by_the_format_that_was_given():
    frame = with_index(HOURS.strftime("%d/%m/%Y %H:%M"))
    assert take(frame, reading=ReadingConfig(time_format="%d/%m/%Y %H:%M")).series.times.tolist() == TIMES


@pytest.mark.parametrize("where", ["index", "column"])
@pytest.mark.parametrize("kind", ["naive", "zone", "text", "period"])
def test_the_index_of_the_scores_is_that_of_the_frame(where, kind):
    index = {
        "naive": HOURS, "zone": HOURS.tz_localize("Asia/Tokyo"), "text": pd.Index(HOURS.strftime("%Y-%m-%d %H:%M")),
        "period": HOURS.to_period("h"),
    }[kind]  # fmt: skip
    frame = PLAIN.set_axis(index) if where == "index" else columns(when=index)
    pd.testing.assert_index_equal(take(frame).index, frame.index)


def test_a_table_without_an_index_has_its_times_as_they_stood():
    tokyo = HOURS.tz_localize("Asia/Tokyo").as_unit("us")
    for times in (HOURS.as_unit("us"), tokyo):
        found = take(arrow(columns(when=times))).index
        pd.testing.assert_index_equal(found, times.rename("when"), check_freq=False)


def test_rows_out_of_order_may_be_trained_on_and_not_scored():
    shuffled = TIMED.sample(frac=1, random_state=0)
    taken = take(shuffled)
    assert sorted(taken.series.times.tolist()) == TIMES
    with pytest.raises(DataError, match=r"of 30 rows behind later ones, first row \d+ \(frame\). Sort them: frame.sort_index\(\)."):
        in_place(taken)
    assert in_place(take(shuffled.sort_index())).series.times.tolist() == TIMES


def test_a_column_of_times_names_itself_to_sort_by():
    shuffled = columns(when=HOURS).sample(frac=1, random_state=0)
    with pytest.raises(DataError, match=r"Sort them: frame.sort_values\('when'\)."):
        in_place(take(shuffled))
    assert in_place(take(shuffled.sort_values("when"))).series.times.tolist() == TIMES


def test_without_pyarrow_polars_hands_over_its_columns(monkeypatch):
    pl = pytest.importorskip("polars")

    def refuse(self):
        raise ModuleNotFoundError("no pyarrow")

    monkeypatch.setattr(pl.DataFrame, "to_pandas", refuse)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    frame = polars(PLAIN).with_columns(pl.Series("when", HOURS.tolist()).dt.replace_time_zone("Asia/Tokyo"))
    found = take(frame)
    assert found.series.times.tolist() == [time - 9 * 3600 * 10**6 for time in TIMES]
    assert str(found.index.tz) == "Asia/Tokyo"
    np.testing.assert_array_equal(found.series.values, PLAIN.to_numpy())


@pytest.mark.parametrize("kind", [">f8", ">f4", ">i4", ">u2", ">f2"])
def test_numbers_in_another_byte_order_are_the_same(kind):
    values = np.round(np.stack([FLOW, 20.0 + np.arange(N)], axis=1)).astype(kind)
    structured = np.rec.fromarrays(values.T, names=["flow", "temp"])
    expected = take(values.astype(kind[1:])).series.values
    for data in (values, pd.DataFrame(values, columns=["flow", "temp"], index=HOURS), structured):
        found = take(data, reading=ReadingConfig(missing_values="-1")).series.values
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float64 and found.dtype.isnative


def spaced(step, as_column):
    times = pd.DatetimeIndex(HOURS[0].as_unit("ns") + np.arange(N) * np.timedelta64(step, "ns"), name="when")
    return PLAIN.set_axis(times).reset_index() if as_column else PLAIN.set_axis(times)


@pytest.mark.parametrize("as_column", [False, True])
@pytest.mark.parametrize("step", [1, 700])
def test_times_finer_than_a_microsecond_are_refused_with_remedies_that_work(step, as_column):
    frame = spaced(step, as_column)
    with pytest.raises(DataError, match=r"Times must have microseconds at most\. Received: 2024-01-01 00:00:00\.") as caught:
        take(frame)
    said = str(caught.value)
    joins = re.search(r"microsecond with (frame.*?\.mean\(\)),", said)
    assert (joins is None) is (step == 1)
    for code in ([joins[1]] if joins else []) + [re.search(r"ount the rows with (frame.*)\.$", said)[1]]:
        assert take(eval(code, {"frame": frame, "pd": pd})).series.columns == ("flow", "temp")


def test_digits_beyond_microseconds_do_no_harm():
    assert len(take(spaced(1_000_001, False)).series) == N


def test_times_of_a_far_future_are_refused_in_a_sentence():
    far = PLAIN.set_axis(pd.DatetimeIndex(np.datetime64("300000-01-01", "s") + np.arange(N)))
    with pytest.raises(DataError, match="Times must be of the years 1 to 9999. Received: "):
        take(far)


def test_numbers_that_repeat_are_numbers_in_whatever_keeps_them():
    pa = pytest.importorskip("pyarrow")
    cells = np.arange(N) % 4
    kept = [pd.DataFrame({"gear": pd.Series(cells).astype("category")}), pd.DataFrame({"gear": pd.Categorical(cells)})]
    kept += [pa.table({"gear": pa.array(cells).dictionary_encode()}), pd.Categorical(cells)]
    for data in kept:
        assert take(data).series.values[:, 0].tolist() == cells.tolist()


def test_a_masked_structured_array_may_have_its_times(tmp_path):
    lines = [f"{hour:%Y-%m-%dT%H:%M},{'' if i == 4 else i}" for i, hour in enumerate(HOURS)]
    rows = np.genfromtxt(lines, delimiter=",", dtype="M8[m],f8", names=["when", "flow"], usemask=True)
    series = take(rows).series
    assert series.times.tolist() == TIMES and np.flatnonzero(np.isnan(series.values[:, 0])).tolist() == [4]


def test_floats_of_another_library_are_numbers():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert take(np.arange(6).astype(bfloat16)).series.values[:, 0].tolist() == list(range(6))


def test_text_of_any_kind_of_array_is_called_so():
    data = np.array([["1.5"], ["2"]], np.dtypes.StringDType())
    with pytest.raises(DataError, match=r"Received: text, an array of StringDType\(\)\. Turn it into numbers with array\.astype"):
        take(data)
    assert take(data.astype(float)).series.values[:, 0].tolist() == [1.5, 2]


@pytest.mark.parametrize("data", [np.empty((0, 2)), PLAIN[:0], as_time_series(PLAIN)[:0]], ids=["array", "frame", "series"])
def test_no_rows_are_called_so(data):
    for features in (None, ("flow", "temp")):
        with pytest.raises(DataError, match=r"must have at least one row\. Received: 0 \((array|frame|series)\)\."):
            take(data, features)


def test_a_number_that_signals_is_refused_in_a_sentence():
    for data in (columns(p=[Decimal("sNaN"), *[Decimal(1)] * (N - 1)]), np.array([Decimal("sNaN"), 1.0], object)):
        with pytest.raises(DataError, match="Received: a Decimal that signals, sNaN. Put NaN in its place."):
            take(data)
