"""Columns and cells that look like a time, a part of one, a name or a number, and are something else: read right, or refused."""
# ruff: noqa: E501

import re

import numpy as np
import pandas as pd
import pytest
from csv_text import read, text

from anomaly import DataError

N = 400
RNG = np.random.default_rng(0)
DAYS, HOURS = pd.date_range("2024-01-10", periods=N, freq="D"), pd.date_range("2024-01-10", periods=N, freq="h")
EPOCHS = HOURS.as_unit("s").asi8
VALUES = [f"{20 + 3 * np.sin(i / 4) + 0.1 * RNG.normal():.2f}" for i in range(N)]
LATENCIES, WHOLE = RNG.exponential(0.2, N).round(6), RNG.integers(100, 900, N)
DURATIONS = [f"{n // 3600}:{n // 60 % 60:02}:{n % 60:02}" for n in RNG.integers(1_200, 7_000, N)]
CLOCK = [f"{t:%Y-%m-%d},{t.hour}" for t in HOURS]
SMALL = RNG.integers(0, 50, N)
PI = [f"{t:%d-%b-%y %H:%M:%S}" for t in HOURS]


# name: content, the times that are meant, features
READ = {
    "a latency called time beside an epoch": (text("ts,time,bytes", EPOCHS, LATENCIES, VALUES), HOURS, ("time", "bytes")),
    "a latency called time beside ISO 8601": (
        text("started_at,time,rows", HOURS.strftime("%Y-%m-%dT%H:%M:%SZ"), LATENCIES, VALUES), HOURS, ("time", "rows"),
    ),
    "whole ones, some of them twice": (
        text("created,time,cpu", HOURS.strftime("%Y-%m-%d %H:%M:%S"), WHOLE, VALUES), HOURS, ("time", "cpu"),
    ),
    "elapsed seconds called time beside an epoch": (text("ts,time,a", EPOCHS, range(N), VALUES), None, None),
    "min beside max": (text("Date,Hour,Min,Max", CLOCK, SMALL, SMALL + 9), HOURS, ("Min", "Max")),
    "rain in mm": (text("Date,Hour,mm,temp", CLOCK, SMALL, VALUES), HOURS, ("mm", "temp")),
    "parts, and rain in mm": (
        text("YEAR,MONTH,DAY,HOUR,mm,temp", HOURS.strftime("%Y,%m,%d,%H"), SMALL, VALUES), HOURS, ("mm", "temp"),
    ),
    "minutes and seconds of their own": (
        text("date,hour,min,sec,x", CLOCK, [5] * N, [9] * N, VALUES), HOURS + pd.Timedelta("5min9s"), ("x",),
    ),
    "minutes without which rows share their times": (
        text("date,hour,min,x", [f"{t:%Y-%m-%d},{t.hour},{t.minute}" for t in DAYS[0] + 10 * (HOURS - HOURS[0]) / 60], VALUES),
        DAYS[0] + 10 * (HOURS - HOURS[0]) / 60, ("x",),
    ),
    "hours of sun beside a clock": (
        text("Datum,Uhrzeit,Sonnenstd", HOURS.strftime("%Y-%m-%d"), HOURS.strftime("%H:%M"), SMALL % 9), HOURS, ("Sonnenstd",),
    ),
    "numbers for names": (text("Date,0.5,1.0", HOURS.strftime("%Y-%m-%d %H:%M"), VALUES, VALUES), HOURS, ("0.5", "1.0")),
    "a hash rate": (text("date,hash_rate", DAYS.strftime("%Y-%m-%d"), WHOLE * 10**6 + SMALL), DAYS, ("hash_rate",)),
    "errors of a CRC": (text("date,x,crc_errors", DAYS.strftime("%Y-%m-%d"), VALUES, RNG.permutation(N)), DAYS, ("x", "crc_errors")),
    "nanoseconds of work": (text("date,ns", DAYS.strftime("%Y-%m-%d"), WHOLE * 1_000 + SMALL), DAYS, ("ns",)),
    "births": (text("date,Number,x", DAYS.strftime("%Y-%m-%d"), 9_000 + 37 * RNG.permutation(N), VALUES), DAYS, ("Number", "x")),
    "digits and an hour": (text("Date,Hour,x", [f"{t:%Y%m%d},{t.hour}" for t in HOURS], VALUES), HOURS, ("x",)),
    "whole numbers with a sign": (text("time,mv,p", HOURS.strftime("%Y-%m-%d %H:%M"), -1_200 - SMALL, VALUES), HOURS, ("mv", "p")),
    "hours of work beside times": (
        text("Date,Duration,x", HOURS.strftime("%Y-%m-%d %H:%M"), SMALL % 20, VALUES), HOURS, ("Duration", "x"),
    ),
    "hours of sun beside year, month and day": (
        text("year,month,day,hours,x", DAYS.strftime("%Y,%m,%d"), SMALL % 15, VALUES), DAYS, ("hours", "x"),
    ),
    "octets beside a time": (
        text("time,ifInOctets,x", HOURS.strftime("%Y-%m-%d %H:%M"), 700_000_000 + np.cumsum(WHOLE * 1_000), VALUES), HOURS, ("ifInOctets", "x"),
    ),
    "months with a point": (
        text("Monat,x", [f"{t:%m.%Y}" for t in pd.date_range("2015-01-01", periods=60, freq="MS")], VALUES[:60]),
        pd.date_range("2015-01-01", periods=60, freq="MS"), ("x",),
    ),
    "months called periods": (
        text("TIME_PERIOD,x", [f"{t:%Y-%m}" for t in pd.date_range("2015-01-01", periods=60, freq="MS")], VALUES[:60]),
        pd.date_range("2015-01-01", periods=60, freq="MS"), ("x",),
    ),
    "names in brackets": (
        text("<DATE>,<TIME>,<CLOSE>", HOURS.strftime("%Y%m%d"), HOURS.strftime("%H%M%S"), VALUES), HOURS, ("<CLOSE>",),
    ),
    "titles with times and numbers": (
        "Log,Spa,,,Origin,0.0,s\nLog Date,10/01/2024,,,Start,0.000,s\nLog Time,12:00:00,,,Start,0.000,s\nRange,all,,,End,900,m\n\n"
        + text("time,rpm,throttle", HOURS.strftime("%Y-%m-%d %H:%M"), VALUES, VALUES), HOURS, ("rpm", "throttle"),
    ),
    "days of a spreadsheet, each at six": (text("Date,x", 44_621.25 + np.arange(N), VALUES), pd.date_range("2022-03-01 06:00", periods=N), ("x",)),
    "years called dates": (
        text("Date,x", range(1950, 2024), VALUES[:74]), pd.DatetimeIndex([f"{y}-01-01" for y in range(1950, 2024)]), ("x",),
    ),
    "blanks around times": (text("ts , v ", [f" {t:%Y-%m-%d} " for t in DAYS], [f" {v} " for v in VALUES]), DAYS, ("v",)),
    "first rows without values": (text("Date,x,y", [f"{t:%d-%b-%Y}" for t in DAYS], ["-", *VALUES[1:]], ["-", *VALUES[1:]]), DAYS, ("x", "y")),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_it_is_read_as_what_it_is(tmp_path, kind):
    content, times, features = READ[kind]
    series = read(tmp_path, content)
    if times is None:  # what is called time goes on, and is it
        assert series.time_column == "time"
        return
    np.testing.assert_array_equal(series.times, pd.DatetimeIndex(times).as_unit("us").asi8)
    assert series.columns == features


MONTHS = [f"{y}-{q}" for y in range(1950, 2050) for q in range(1, 5)]
# name: content, what is said
REFUSED = {
    "a latency called time alone": (text("request,time,bytes", RNG.permutation(N) / 7, LATENCIES, VALUES), "Times must go forward"),
    "a time of day or a duration": (text("Date,Km,Time", DAYS.strftime("%Y-%m-%d"), VALUES, DURATIONS), "time_column=('Date', 'Time') if it is the time of day"),
    "a duration": (text("Date,Km,Duration", DAYS.strftime("%Y-%m-%d"), VALUES, DURATIONS), "Column 'Duration' must hold numbers"),
    "time to sleep": (text("date,Sleep Time Avg,x", DAYS.strftime("%Y-%m-%d"), DURATIONS, VALUES), "must hold numbers"),
    "minutes and seconds with fractions": (
        text("Date,Time,x", ["2024-01-10"] * N, [f"{i // 60:02}:{i % 60:02}.10" for i in range(N)], VALUES), "a time of its own",
    ),
    "a text below numbers for names": (
        text("Time,101", PI, [*VALUES[:30], "Bad", *VALUES[31:]]), "Column '101' must hold numbers. Received: 'Bad' on line 32",
    ),
    "texts below addresses": (
        text("Time,10.0.0.1,10.0.0.2", PI, [*VALUES[:30], "timeout", *VALUES[31:]], [*VALUES[:30], "down", *VALUES[31:]]), "line 32",
    ),
    "an empty name": (text("Time,,Flow", PI, VALUES, [*VALUES[:30], "Bad", *VALUES[31:]]), "Every column must have a name"),
    "quarters by name": (text("Quarter,x", MONTHS, VALUES), "which may be a quarter"),
    "quarters by what comes": (text("date,x", MONTHS, VALUES), "which may be a quarter or another part of a year"),
    "quarters with a 0": (text("date,x", [f"{q[:5]}0{q[5:]}" for q in MONTHS], VALUES), "a quarter or another part"),
    "quarters with slashes": (text("date,x", [f"{q[5:]}/{q[:4]}" for q in MONTHS], VALUES), "a quarter or another part"),
    "weeks": (text("week,x", [f"2024-{i:02}" for i in range(1, 13)], VALUES[:12]), "which may be a week"),
    "a year and a quarter": (text("year,quarter,x", [q.replace("-", ",") for q in MONTHS], VALUES), "'year' and 'quarter'"),
    "a year and a quarter that are said": (text("year,quarter,x", [q.replace("-", ",") for q in MONTHS], VALUES), "a quarter"),
    "a Julian date": (text("MJD,flux", [50_088.5 + i + i % 3 / 4 for i in range(N)], VALUES), "must be of a kind that is known"),
    "days since another year": (text("time,tas", [43_844.5 + i for i in range(N)], VALUES), "Times must have one meaning"),
    "days of a spreadsheet that are to come": (text("time,tas", [51_134 + i / 4 for i in range(N)], VALUES), "Times must have one meaning"),
    "years of two digits of two centuries": (
        text("Month,x", [f"{t:%b-%y}" for t in pd.date_range("1960-01-01", periods=300, freq="MS")], VALUES[:300]), "of one century",
    ),
    "a meter before all others": (text("energy_kwh,power", 41_234.5 + np.cumsum(SMALL + 1) / 10, VALUES), "rises on each row"),
    "a pace beside dates of which some come twice": (
        text("Date,Km,Time", [f"{t:%Y-%m-%d}" for t in sorted([*DAYS[:-20], *DAYS[:20]])], VALUES, DURATIONS), "('Date', 'Time')",
    ),
    "a clock of another name": (text("X_Value,Voltage", np.cumsum(0.1 + LATENCIES / 100).round(4), VALUES), "rises on each row"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_be_something_else_is_refused(tmp_path, kind):
    content, said = REFUSED[kind]
    options = {"time_column": "year,quarter"} if kind.endswith("that are said") else {}
    with pytest.raises(DataError, match=re.escape(said)):
        read(tmp_path, content, **options)


# cells that are no numbers behind others that are, and what is advised
ODD = {
    "1,172": "Say thousands ',' if 1,172 is above a thousand, decimal ',' if it is not",
    "1,023.63": "Say thousands ','",
    "20,5": "Say decimal ','",
    "20.1%": "Write numbers in digits",
    "19.8 kWh": "Write numbers in digits",
    "(0.20)": "Write numbers in digits",
    "1.0-": "Write numbers in digits",
    "+0047,1": "Write numbers in digits",
    "1 172": "Say thousands ' '",
    "1\u00a0172": "Say thousands ' '",
    "1\u202f172.5": "Say thousands ' '",
    "12 172,25": "Say thousands ' ' decimal ','",
    "1'172": 'Say thousands "\'"',
    "1 17": "Write numbers in digits",
    "6,48,700": "Write numbers in digits",
    "fault": "say missing_values",
}


@pytest.mark.parametrize("cell", ODD)
def test_the_remedy_for_a_number_written_otherwise_keeps_it(tmp_path, cell):
    hours = pd.date_range("2024-01-10", periods=820, freq="h")
    with pytest.raises(DataError, match=re.escape(ODD[cell])):
        read(tmp_path, text("time,x", hours.strftime("%Y-%m-%d %H:%M"), [*VALUES, *VALUES, *[f'"{cell}"'] * 20]))


def test_the_advised_mark_between_thousands_reads_the_number(tmp_path):
    whole = [*range(580, 960), *['"1,172"'] * 20]
    series = read(tmp_path, text("time,users", HOURS.strftime("%Y-%m-%d %H:%M"), whole), thousands=",")
    assert series.values[-1, 0] == 1_172


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u202f", "\u2009"])
@pytest.mark.parametrize(("decimal", "delimiter"), [(",", ";"), (".", ",")])
def test_a_blank_between_thousands_that_comes_late_can_be_named(tmp_path, blank, decimal, delimiter):
    hours = pd.date_range("2024-01-10", periods=820, freq="h")
    numbers = np.r_[np.arange(800) / 4, 1_172.5, 1_000_000.25, [12.0] * 18]
    cells = [f"{x:,.2f}".replace(",", blank).replace(".", decimal) for x in numbers]
    series = read(
        tmp_path,
        text("time,x", hours.strftime("%Y-%m-%d %H:%M"), cells).replace(",x", f"{delimiter}x").replace(":00,", f":00{delimiter}"),
        thousands=" ",
    )
    assert np.array_equal(series.values[:, 0], numbers)


def test_whole_numbers_with_a_blank_that_come_late_are_told_with_the_option(tmp_path):
    hours = pd.date_range("2024-01-10", periods=820, freq="h").strftime("%Y-%m-%d %H:%M")
    whole = [*range(180, 980), *["1 172"] * 20]
    with pytest.raises(DataError, match="thousands ' '"):
        read(tmp_path, text("time,users", hours, whole))
    assert read(tmp_path, text("time,users", hours, whole), thousands=" ").values[-1, 0] == 1_172
