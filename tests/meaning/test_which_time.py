"""Which column is the time where none is called so, several tell it, or its cells are written with blanks: right, told or refused."""
# ruff: noqa: E501

import numpy as np
import pandas as pd
import pytest
from csv_text import read, text

from anomaly import DataError
from anomaly.columns.other_clocks import is_utc_name
from anomaly.columns.time_column import time_column_of
from anomaly.columns.unnamed_times import refuse_unnamed_times, tell_times
from anomaly.ingest.csv_rows import CsvReader
from anomaly.times.blanks import times_with_blanks

N = 400
RNG = np.random.default_rng(0)
DAYS, HOURS = pd.date_range("2022-03-01", periods=N, freq="D"), pd.date_range("2024-10-15", periods=N, freq="h", tz="UTC")
SECONDS, LOCAL = HOURS.as_unit("s").asi8, HOURS.tz_convert("Europe/Tallinn")
UNEVEN = SECONDS + RNG.integers(0, 1_800, N)
X = [f"{20 + 3 * np.sin(i / 4) + 0.1 * RNG.normal():.2f}" for i in range(N)]
YMD = DAYS.strftime("%Y%m%d")
METER = np.cumsum(RNG.integers(1_000, 90_000, N))


@pytest.mark.parametrize("written", [" {}", "{} ", "  {} ", '" {}"', '"{} "', "\u00a0{}"])
def test_a_date_of_digits_with_blanks_about_it_is_that_date(tmp_path, written):
    assert read(tmp_path, text("date,x", map(written.format, YMD), X)).times.tolist() == DAYS.as_unit("us").asi8.tolist()


@pytest.mark.parametrize(
    ("cells", "told"),
    [(YMD, "Times such as 20220301 are read as --time-format %Y%m%d"), (range(N), "Times such as 0 count from 0"), (SECONDS, "")],
)
def test_only_numbers_from_0_are_told_to_count_from_it(tmp_path, cells, told):
    (tmp_path / "in.csv").write_text(text("time,x", cells, X))
    with CsvReader(tmp_path / "in.csv") as reader:
        said = " ".join(reader.interpretation.sentences)
    assert said.startswith(told) and (("count from 0" in said) == ("count from 0" in told))


# name of the column: its cells, whether it is the time though nothing else says so
TOLD = {
    "day": YMD, "jour": YMD, "x2": YMD, "newest first": YMD[::-1], "period": pd.date_range("1990-01", periods=N, freq="MS").strftime("%Y%m"),
    "measured": HOURS.strftime("%Y%m%d%H%M"), "irregular": pd.to_datetime(UNEVEN, unit="s").strftime("%Y%m%d%H%M%S"),
    "julian": DAYS.strftime("%Y%j"), "work days": pd.bdate_range("2022-03-01", periods=N).strftime("%Y%m%d"),
    "created": SECONDS, "recorded": 1_000 * UNEVEN, "us": 10**6 * UNEVEN, "moment": [f"{19_000 + 26_000 + i / 24:.6f}" for i in range(N)],
}  # fmt: skip
SOUND = {
    "serial": 1_700_000_000 + np.arange(N), "order_no": 1_700_000_000 + np.arange(N), "rx_bytes": 1_200_000_000 + METER,
    "total_bytes": 1_600_000_000_000 + METER, "volume": 20_000_000 + METER, "level": 20_220_301 + np.arange(N),
    "pressure": 101_325 + RNG.integers(-90, 90, N), "flow": RNG.integers(20_000_000, 20_300_000, N), "code": [20_220_301, 20_220_302] * (N // 2),
    "yield": RNG.integers(1_000_000_000, 1_700_000_000, N), "lot": [2_023_000 + i for i in range(1, 201)] + [2_024_000 + i for i in range(1, 201)],
    "height": 2_000 + np.arange(N) / 7,
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_can_be_nothing_but_times_is_the_time_in_any_place(name):
    cells = [*map(str, TOLD[name])]
    assert tell_times(name, cells) and time_column_of({"x": X, name: cells}, "in.csv") == name
    assert time_column_of({"station": ["44"] * N, "note": [], name: cells, "x": X}, "in.csv") == name


@pytest.mark.parametrize("name", SOUND)
def test_counters_numbers_and_meters_are_no_times(name):
    cells = [*map(str, SOUND[name])]
    assert not tell_times(name, cells) and time_column_of({"x": X, name: cells}, "in.csv") is None


@pytest.mark.parametrize("name", [name for name in SOUND if name != "lot"])
def test_what_a_feature_may_hold_is_not_refused(name):
    refuse_unnamed_times({"x": X, name: [*map(str, SOUND[name])]}, "in.csv")


@pytest.mark.parametrize("cells", [UNEVEN, RNG.permutation(YMD)])
def test_what_may_be_times_is_refused_with_the_options_that_choose(tmp_path, cells):
    content = text("x,a", X, cells)
    with pytest.raises(
        DataError, match="time_column='a' if it is the time, ignore_columns='a' to count rows, or value_columns with all"
    ):
        read(tmp_path, content)
    assert read(tmp_path, content, ignore_columns=["a"]).columns == ("x",)
    assert read(tmp_path, content, value_columns=["x", "a"], time_column=None).columns == ("x", "a")


NAIVE, UTC = LOCAL.strftime("%Y-%m-%d %H:%M"), HOURS.strftime("%Y-%m-%d %H:%M")
ABSOLUTE = {
    "an epoch before": text("unix,date,x", SECONDS, NAIVE, X), "an epoch behind": text("date,epoch,x", NAIVE, SECONDS, X),
    "milliseconds": text("x,local,ms", X, NAIVE, 1_000 * SECONDS), "both names": text("timestamp,datetime,x", SECONDS, NAIVE, X),
    "UTC by its name": text("local_time,utc_time,x", NAIVE, UTC, X), "GMT behind": text("x,time,time_gmt", X, NAIVE, UTC),
    "no name first": text("x,local_time,utc_time", X, NAIVE, UTC), "a date and a time": text("Date,Time,epoch,x", LOCAL.strftime("%Y-%m-%d"), LOCAL.strftime("%H:%M"), SECONDS, X),
    "with offsets": text("time,iso,x", NAIVE, [moment.isoformat() for moment in LOCAL], X),
    "without seconds": text("time,epoch,x", NAIVE, SECONDS + 37, X),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSOLUTE)
def test_of_local_and_absolute_times_the_absolute_ones_are_taken_and_told(tmp_path, name):
    found = read(tmp_path, ABSOLUTE[name])
    off = 37 * 10**6 if name == "without seconds" else 0
    assert found.columns == ("x",) and (found.times == HOURS.as_unit("us").asi8 + off).all()
    with CsvReader(tmp_path / "in.csv") as reader:
        assert "2 to 3 hours ahead of it, as local times are. --time-column" in reader.interpretation.sentences[0]


@pytest.mark.parametrize("name", ["an epoch before", "UTC by its name"])
def test_the_local_times_can_be_asked_for(tmp_path, name):
    column = ABSOLUTE[name].split(",")[0 if name == "UTC by its name" else 1]
    found = read(tmp_path, ABSOLUTE[name], time_column=column, timezone="Europe/Tallinn", dst="order")
    assert found.columns == ("x",) and (found.times == HOURS.as_unit("us").asi8).all()
    assert read(tmp_path, ABSOLUTE[name], timezone="Europe/Tallinn", dst="order").time_column in (column, "unix")


KEPT = {
    "the same times": (text("date,epoch,x", UTC, SECONDS, X), "date"),
    "the end of each hour": (text("from,to,x", UTC, (HOURS + pd.Timedelta("1h")).strftime("%Y-%m-%d %H:%M"), X), "from"),
    "days beside seconds": (text("date,epoch,x", DAYS.strftime("%Y-%m-%d"), SECONDS, X), "date"),
    "times of something else": (text("date,epoch,x", UTC, UNEVEN, X), "date"),
}


@pytest.mark.parametrize("name", KEPT)
def test_other_clocks_do_not_take_the_place_of_the_time(tmp_path, name):
    content, time = KEPT[name]
    assert read(tmp_path, content).time_column == time


@pytest.mark.parametrize(("name", "is_utc"), [("time_utc", True), ("GMT", True), ("timeUTC", True), ("GMT+02:00", False), ("UTC+1", False), ("time", False)])  # fmt: skip
def test_names_that_say_utc(name, is_utc):
    assert is_utc_name(name) is is_utc


@pytest.mark.parametrize("each", [2, 24])
def test_a_date_on_the_first_row_of_its_day_is_asked_to_be_filled_down(tmp_path, each):
    dates = [f"{day:%Y-%m-%d}" if row == 0 else "" for day in DAYS[: N // each] for row in range(each)]
    hours = [f"{24 // each * row:02}:00" for _ in range(N // each) for row in range(each)]
    content = text("Date,Time,x", dates, hours, X[: len(dates)])
    with pytest.raises(DataError, match=r"Fill each date down to all rows of its day, or say ignore_columns=\('Date', 'Time'\)"):
        read(tmp_path, content)
    assert read(tmp_path, content, ignore_columns=["Date", "Time"]).columns == ("x",)


@pytest.mark.parametrize("blank", "\u00a0\u202f\u2009\u3000")
@pytest.mark.parametrize("how", ["%Y-%m-%d{}%H:%M", "%Y-%m-%d{}%H:%M:%S", "%d.%m.%Y{}%H:%M", "%m/%d/%Y, %I:%M:%S{}%p"])
def test_all_blanks_are_blanks_in_times(tmp_path, how, blank):
    cells = [f'"{moment.strftime(how).format(blank)}"' for moment in HOURS]
    assert (read(tmp_path, text("Date,x", cells, X)).times == HOURS.as_unit("us").asi8).all()


@pytest.mark.parametrize(
    "cells", [["1\u202f234", "12\u202f345\u202f678"], ["1\u00a0234,5"], ["\u00a0"], ["5\u00a0°C"], ["a\u00a0b"]]
)
def test_blanks_of_numbers_and_texts_stay_as_they_are(cells):
    assert list(times_with_blanks(cells)) == cells
