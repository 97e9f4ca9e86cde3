"""Times that several columns make up: hours and minutes without their zeros, fractions of a second, offsets from UTC."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.columns.joined_times import Joint, joined, joined_columns, joints_of
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from tests.csv_text import text

N = 240
A = np.round(10 + np.sin(np.arange(N) / 4) + np.random.default_rng(0).normal(0, 0.1, N), 3)
RNG = np.random.default_rng(1)


def every(step, start="2024-01-03"):
    return pd.date_range(start, periods=N, freq=step)


DAY = every("15min")


def is_meant(path, times, columns=("a",), **said):
    """Tell that a file has these times and features; return what its time is called."""
    series = read_csv(path, **said)
    assert series.columns == columns
    np.testing.assert_array_equal(series.times, np.asarray(times.as_unit("us").asi8))
    return series.time_column


def whole(times, how):
    return [int(cell) for cell in times.strftime(how)]


@pytest.mark.parametrize(
    ("date", "name", "step", "clock"),
    [("%Y-%m-%d", "time", "h", "%H%M"), ("%Y%m%d", "HHMM", "15min", "%H%M"), ("%d.%m.%Y", "Hour", "15min", "%H%M%S"),
     ("%m/%d/%Y", "start time", "h", "%H%M"), ("%Y/%m/%d", "time", "10s", "%H%M%S"), ("%d/%m/%Y", "time", "7min", "%H%M")],
)  # fmt: skip
def test_times_of_day_without_their_zeros_are_read(tmp_path, date, name, step, clock):
    times, path = every(step, "2024-01-23"), tmp_path / "in.csv"
    path.write_text(text(f"date,{name},a", times.strftime(date), whole(times, clock), A))
    assert is_meant(path, times) == f"date,{name}"


@pytest.mark.parametrize(
    ("names", "dates"),
    [("year,month,day", [DAY.year, DAY.month, DAY.day]), ("year,doy", [DAY.year, DAY.day_of_year])],
)
def test_they_stand_behind_dates_of_several_columns_too(tmp_path, names, dates):
    path = tmp_path / "in.csv"
    path.write_text(text(f"{names},hhmm,a", *dates, whole(DAY, "%H%M"), A))
    assert is_meant(path, DAY) == f"{names},hhmm"
    is_meant(path, DAY, time_column=f"{names},hhmm")


def test_a_day_may_end_at_2400(tmp_path):
    times, path = every("h", "2024-01-03 01:00"), tmp_path / "in.csv"
    days = (times - pd.Timedelta("1s")).strftime("%Y-%m-%d")
    path.write_text(text("date,time,a", days, [100 * (t.hour or 24) for t in times], A))
    is_meant(path, times)


def test_the_format_of_the_training_says_how_many_digits_there_are(tmp_path):
    times, path = pd.date_range("2024-01-03 00:01", periods=9, freq="min"), tmp_path / "in.csv"
    path.write_text(text("date,time,a", times.strftime("%Y%m%d"), whole(times, "%H%M"), A[:9]))
    said = {"time_column": "date,time", "value_columns": ["a"], "before": {"time_format": "%Y%m%d %H%M"}}
    with CsvReader(path, **said) as reader:
        (chunk,) = reader
    np.testing.assert_array_equal(chunk.times, np.asarray(times.as_unit("us").asi8))


FINE = {
    "even": every("250ms", "2024-01-03 00:00:58"),
    "a little more than a second": every("1007ms"),
    "uneven": pd.DatetimeIndex(
        np.unique(RNG.integers(0, 60_000, 2 * N))[:N] * np.timedelta64(1, "ms") + np.datetime64("2024-01-03")
    ),
}


@pytest.mark.parametrize(
    ("name", "unit"), [("ms", 1_000), ("Millisecond", 1_000), ("Time_ms", 1_000), ("usec", 1), ("nanoseconds", 0.001)]
)
@pytest.mark.parametrize("kind", FINE)
def test_fractions_of_a_second_in_a_column_of_their_own_are_read(tmp_path, kind, name, unit):
    times, path = FINE[kind], tmp_path / "in.csv"
    fractions = [round(t.microsecond / unit) for t in times]
    path.write_text(text(f"Date,Time,{name},a", times.strftime("%Y-%m-%d"), times.strftime("%H:%M:%S"), fractions, A))
    assert is_meant(path, times) == f"Date,Time,{name}"


def test_they_stand_behind_whole_times_too_and_may_fall(tmp_path):
    times, path = FINE["even"][::-1], tmp_path / "in.csv"
    path.write_text(text("time,ms,a", times.strftime("%Y-%m-%d %H:%M:%S"), times.microsecond // 1_000, A))
    assert is_meant(path, times) == "time,ms"
    path.write_text(text("time,ms,a", DAY.strftime("%d.%m.%Y %H:%M:%S"), times.microsecond // 1_000, A))
    said = {"time_column": "time,ms", "time_format": "%d.%m.%Y %H:%M:%S.%f"}
    is_meant(path, DAY + pd.to_timedelta(times.microsecond // 1_000, unit="ms"), **said)


def test_a_format_without_them_leaves_them_out_of_the_time(tmp_path):
    times, path = FINE["a little more than a second"], tmp_path / "in.csv"
    cells = times.strftime("%d.%m.%Y"), times.strftime("%H:%M:%S"), times.microsecond // 1_000
    path.write_text(text("date,time,ms,a", *cells, A))
    is_meant(path, times.floor("s"), ("ms", "a"), time_format="%d.%m.%Y %H:%M:%S")
    is_meant(path, times, time_format="%d.%m.%Y %H:%M:%S.%f")


@pytest.mark.parametrize(
    ("seconds", "rest", "unit"), [("tv_sec", "tv_usec", 1), ("secs", "nsecs", 0.001), ("stamp.sec", "stamp.nanosec", 0.001)]
)
def test_seconds_and_what_is_left_of_them_are_read(tmp_path, seconds, rest, unit):
    times, path = every("7s") + pd.to_timedelta(RNG.integers(0, 10**6, N), unit="us"), tmp_path / "in.csv"
    cells = (times - pd.Timestamp(0)) // pd.Timedelta("1s"), [round(t.microsecond / unit) for t in times]
    path.write_text(text(f"{seconds},{rest},a", *cells, A))
    assert is_meant(path, times) == f"{seconds},{rest}"


@pytest.mark.parametrize(("name", "step"), [("ms", "s"), ("milliseconds", "15min"), ("latency_ms", "250ms"), ("ms", "1007ms")])
def test_what_took_so_many_milliseconds_is_a_feature(tmp_path, name, step):
    path, how = tmp_path / "in.csv", "%Y-%m-%d %H:%M:%S" + ".%f" * ("ms" in step)
    path.write_text(text(f"time,{name},a", every(step).strftime(how), RNG.integers(0, 999, N), A))
    is_meant(path, every(step), (name, "a"))


@pytest.mark.parametrize("before", ["UTC", "GMT "])
def test_an_offset_may_have_utc_before_it(tmp_path, before):
    local, path = pd.date_range("2024-10-25", periods=N, freq="h", tz="Europe/Berlin"), tmp_path / "in.csv"
    offsets = [f"{before}+0{t.utcoffset() // pd.Timedelta('1h')}:00" for t in local]
    path.write_text(text("start,timezone,a", local.strftime("%Y-%m-%d %H:%M:%S"), offsets, A))
    assert is_meant(path, local.tz_convert(None)) == "start,timezone"


def test_columns_are_joined_as_one_row_is():
    joints = Joint(), Joint(" ", 4), Joint(".", 3), Joint()
    rows = [("2024-01-03 ", "5", "7", "UTC+01:00"), ("2024-01-03", "1205", "1000", " PM"), ("x", "", "-1", "UTC")]
    found = joined_columns([pd.Series(column, dtype="str") for column in zip(*rows, strict=True)], joints)
    assert found.tolist() == [joined(row, joints) for row in rows]
    assert found[0] == "2024-01-03 0005.007 +01:00" and found[1] == "2024-01-03 1205 1000 PM"
    assert joints_of(["d", "time"], [["2024-01-03"], ["12"]]) == (Joint(), Joint())
    assert joints_of(["d", "time"], [["2024-01-03"], ["12"]], "%Y-%m-%d %H%M%S") == (Joint(), Joint(" ", 6))


# What stands beside the feature, in a row.
FEW = {
    "timestamp,ms": "2024-01-03 00:00:0{0},{0}",
    "Date,Time,ms": "2024-01-03,00:00:0{0},{0}",
    "Date,Time,Millitm": "2024-01-03,00:00:0{0},5",
    "secs,nsecs": "170426880{0},{0}",
    "Date,Time": "20240103,{0}",
    "timestamp,End Time": "2024-01-03 0{0}:00,0{0}:30",
    "Date,Time,utc_offset": "2024-01-03,0{0}:00:00,3600",
    "Date,SETTLEMENT_PERIOD": "2024-01-03,{0}",
    "Date,Time,tz": "2024-01-03,1{0}:00,UTC+01:00",
}


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("header", FEW)
def test_of_few_rows_nothing_is_told_that_they_do_not_show(header, n, tmp_path):
    """Warnings are errors: no statistic is taken of what is not there."""
    rows = [f"{FEW[header].format(k)},{1.5 + k}" for k in range(1, n + 1)]
    (tmp_path / "few.csv").write_text("\n".join([f"{header},x", *rows, ""]))
    try:
        series = read_csv(tmp_path / "few.csv")
    except DataError as error:
        assert "Received: " in str(error)
    else:
        assert len(series) == n and "x" in series.columns
