"""Exports of historians, loggers, monitoring systems and laboratories, in many languages: read as they are meant, or refused."""

import re

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.ingest.reading import read_csv
from anomaly.sources.tolerance import Tolerance

N = 240
T = pd.date_range("2024-01-03", periods=N, freq="h")
DAYS = pd.date_range("2020-01-01", periods=N, freq="D")
MONTHS = pd.date_range("2000-01-01", periods=N, freq="MS")
RNG = np.random.default_rng(7)
A = np.round(10 + 3 * np.sin(np.arange(N) * np.pi / 12) + RNG.normal(0, 0.2, N), 2)
B = np.round(1200 + 500 * np.sin(np.arange(N) * np.pi / 12 + 1) + RNG.normal(0, 30, N), 1)
SECONDS = (T - pd.Timestamp(0)) // pd.Timedelta("1s")
ISO = T.strftime("%Y-%m-%d %H:%M:%S")
THREE_DIGITS = [f"{number / 1000:.3f}" for number in RNG.integers(1001, 9999, N)]
GERMAN = [str(a).replace(".", ",") for a in A]
WEEKEND = (T.day_of_week > 4).astype(int)
AT_TIMES = [int(100 <= i < 110) for i in range(N)]
NOISE = RNG.integers(10**8, 10**9, N)


def text(header, *columns, sep=",", above="", below=""):
    rows = "\n".join(sep.join(map(str, row)) for row in zip(*columns, strict=True))
    return f"{above}{header}\n{rows}\n{below}"


# Name: text, the name of the only feature, its numbers, the times, and what is said.
READ = {
    "zabbix": (text("itemid,clock,value,ns", [23296] * N, SECONDS, A, NOISE), "value", T, "name of the only series.*'itemid'"),
    "WinCC": (text("TimeString;VarValue", T.strftime("%d.%m.%Y %H:%M:%S"), GERMAN, sep=";", below="$RT_OFF$;0\n"), "VarValue", T,
              "records of a recorder about itself"),
    "WinCC, quoted": (text('"TimeString";"VarValue"', T.strftime('"%d.%m.%Y %H:%M:%S"'), GERMAN, sep=";", below='"$RT_OFF$";0\n'),
                      "VarValue", T, "records of a recorder about itself"),
    "calendar": (text("timestamp,load,hour,weekday,month", ISO, A, T.hour, T.day_of_week, T.month), "load", T,
                 "a part of the time and left out: 'hour', 'weekday', 'month'"),
    "hours of another zone": (text("timestamp,load,hour", ISO, A, (T.hour + 1) % 24), "load", T, "a part of the time.*'hour'"),
    "minutes of a day": (text("timestamp,load,minute_of_day", ISO, A, T.hour * 60), "load", T, "a part of.*'minute_of_day'"),
    "weekends": (text("timestamp,load,is_weekend", ISO, A, WEEKEND), "load", T, "a part of the time.*'is_weekend'"),
    "years with a fraction": (text("year,month,decimal,average", MONTHS.year, MONTHS.month,
                                   [f"{2000 + (i + 0.5) / 12:.4f}" for i in range(N)], A), "average", MONTHS, "'decimal'"),
    "check sums": (text("time,a,crc32", ISO, A, NOISE), "a", T, "a key or a check sum.*'crc32'"),
    "a quality that never changes": (text("time,a,Quality", ISO, A, [192] * N), "a", T, "a code of quality.*'Quality'"),
    "a tag of 0 and 1": (text("time,a,tag", ISO, A, AT_TIMES), "a", T, "labels and left out: 'tag'"),
    "a zone in a name": (text('"Date Time, GMT+01:00",a', T.strftime("%m/%d/%y %I:%M:%S %p"), A), "a", T, "--tz Etc/GMT-1"),
    "mysql": (text("| ts | val |", [f"| {t} | {a} |" for t, a in zip(ISO, A, strict=True)], above="+----+-----+\n"), "val", T, ""),
    "Portuguese": (text("Data;Hora;Vazão", T.strftime("%d/%m/%Y"), T.strftime("%H:%M"), GERMAN, sep=";"), "Vazão", T,
                   "decimal comma"),
    "digits, the day first": (text("date,a", DAYS.strftime("%d%m%Y"), A), "a", DAYS, "%d%m%Y"),
    "digits, the month first": (text("date,a", DAYS.strftime("%m%d%Y"), A), "a", DAYS, "%m%d%Y"),
    "digits of a short year": (text("date,a", DAYS.strftime("%y%m%d"), A), "a", DAYS, "%y%m%d"),
    "short digits, the day first": (text("date,a", DAYS.strftime("%d%m%y"), A), "a", DAYS, "%d%m%y"),
    "three decimals": (text("timestamp,voltage", ISO, [f"{a:.3f}" for a in A]), "voltage", T, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_tools_write_is_read_as_it_is_meant(tmp_path, kind):
    content, column, times, said = READ[kind]
    path, tolerance = tmp_path / "in.csv", Tolerance()
    path.write_text(content)
    series = read_csv(path, tolerance=tolerance)
    assert series.columns == (column,)
    np.testing.assert_array_equal(series.values[:, 0], A)
    np.testing.assert_array_equal(series.times, np.asarray(times.astype("datetime64[us]").astype("int64")))
    assert re.search(said, " ".join(tolerance.told()))


# Name: text, what the refusal says, and what is said then; None where the text must be mended.
REFUSED = {
    "seconds since 2001": (text("time,a", SECONDS - 978_307_200, A),
                           "1993-01-02 00:00:00 in seconds since 1970, and 2024-01-03 00:00:00", {"time_format": "epoch-2001"}),
    "thousands of visits": (text("timestamp,visits", ISO, THREE_DIGITS), "--decimal . or --thousands .", {"thousands": "."}),
    "weeks or months": (text("date,a", range(201902, 201913), A[:11]), "a month or a week", {"time_format": "%Y%m"}),
    "severities": (text("timestamp,a,severity", ISO, A, [2 * x for x in AT_TIMES]), "'severity'", {"ignore_columns": ["severity"]}),
    "error codes": (text("time,a,ErrorCode", ISO, A, [117 * x for x in AT_TIMES]), "'ErrorCode'",
                    {"ignore_columns": ["ErrorCode"]}),
    "OPC": (text("time,a,Quality", ISO, A, [192 - 168 * x for x in AT_TIMES]), "'Quality'", {"ignore_columns": ["Quality"]}),
    "weeks of GPS": (text("GPSWeek,GPSSeconds,a", (SECONDS - 315_964_782) // 604_800, (SECONDS - 315_964_782) % 604_800, A),
                     "'GPSWeek'", {"ignore_columns": ["GPSWeek", "GPSSeconds"]}),
    "Thai years": (text("date,a", [f"{t.year + 543}-{t:%m-%d %H:%M:%S}" for t in T], A), "Gregorian", None),
    "Iranian years": (text("date,a", [f"1402/10/{i // 24 + 13} {i % 24:02}:00" for i in range(N)], A), "Gregorian", None),
    "digits of Arabic": (text("time,a", ISO, [str(a).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")) for a in A]), "numbers",
                         None),
    "days without a year": (text("month,day,hour,a", T.month, T.day, T.hour + 1, A), "'month', 'day', 'hour' without a year",
                            {"ignore_columns": ["month", "day", "hour"]}),
    "days from 1 on": (text("date,a", range(1, N + 1), A), "Dates must have one meaning", {"time_column": None}),
    "days of digits, day or month first": (text("date,a", DAYS[:9].strftime("%d%m%Y"), A[:9]),
                                           "--time-format %d%m%Y or --time-format %m%d%Y", {"time_format": "%d%m%Y"}),
    "hours from 1 to 24": (text("time,a", [f"{t:%Y-%m-%d} {t.hour or 24:02}:00" for t in T], A), "A day must end at 24:00", None),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_two_readings_is_refused_with_what_mends_it(tmp_path, kind):
    content, said, remedy = REFUSED[kind]
    path = tmp_path / "in.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(said)):
        read_csv(path)
    if remedy is not None:
        series = read_csv(path, **remedy)
        assert series.columns == (("visits",) if kind == "thousands of visits" else ("a",))
        if kind == "thousands of visits":
            np.testing.assert_array_equal(series.values[:, 0], [float(cell.replace(".", "")) for cell in THREE_DIGITS])
        if kind == "seconds since 2001":
            np.testing.assert_array_equal(series.times // 10**6, SECONDS)


def test_what_only_looks_like_a_part_of_the_time_is_a_feature(tmp_path):
    path = tmp_path / "in.csv"
    hours = [(t.hour + (i == 150)) % 24 for i, t in enumerate(T)]
    path.write_text(text("timestamp,a,stage,hours,on,years", ISO, A, T.hour, hours, WEEKEND, 2020.5 + A))
    assert read_csv(path).columns == ("a", "stage", "hours", "on", "years")
