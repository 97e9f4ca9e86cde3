"""Files as programs of all sorts export them: each is read as it was meant, or refused with an option that, once said, reads it."""

import numpy as np
import pandas as pd
import pytest
from written_dialects import read

from anomaly import DataError
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv
from anomaly.sources.tolerance import Tolerance

N = 240
T = pd.date_range("2024-01-03", periods=N, freq="h")
RNG = np.random.default_rng(0)
A = np.round(10 + 3 * np.sin(np.arange(N) * np.pi / 12) + RNG.normal(0, 0.2, N), 2)
B = np.round(1200 + 500 * np.sin(np.arange(N) * np.pi / 12 + 1) + RNG.normal(0, 30, N), 1)
SECONDS = (T - pd.Timestamp(0)) // pd.Timedelta("1s")
DAYS = (T - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")
LABELS = [int(100 <= i < 110) for i in range(N)]


def german(numbers):
    return [str(number).replace(".", ",") for number in numbers]


def text(header, *columns, sep=",", above="", below="", end="\n", between=None):
    """Return a file: lines above, a header, records, lines below; `between` gives lines before some of the records."""
    records = [sep.join(map(str, row)) for row in zip(*columns, strict=True)]
    lines = [line for i, record in enumerate(records) for line in (*(between or {}).get(i, ()), record)]
    return above + end.join([header, *lines]) + end + below


def is_meant(series, columns=("a", "b"), times=T):
    assert series.columns == columns
    assert series.time_column is not None
    np.testing.assert_array_equal(series.times, np.asarray(times.astype("datetime64[us]").astype("int64")))
    np.testing.assert_array_equal(series.values[:, 0], A)
    if len(columns) > 1:
        np.testing.assert_array_equal(series.values[:, 1], B)


INFLUX = (
    "#group,false,false,true,true,false,false,true,true\r\n"
    "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string\r\n"
    "#default,_result,,,,,,,\r\n,result,table,_start,_stop,_time,_value,_field,_measurement\r\n"
) + "".join(
    f",,0,2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,{time:%Y-%m-%dT%H:%M:%SZ},{x},a,pump\r\n" for time, x in zip(T, A, strict=True)
)
CAMPBELL = '"TOA5","X","CR1000","4711","CR1000.Std.31","CPU:prog.CR1","1234","Hourly"\n' + text(
    '"TIMESTAMP","RECORD","a","b"\n"TS","RN","Deg C","kPa"\n"","","Avg","Smp"', [f'"{time}"' for time in T], range(N), A, B
)
PREAMBLE = "".join(f"Info line {i}: pump, station\n" for i in range(30))

READ = {
    "Excel, German": text("Zeitpunkt;a;b", T.strftime("%d.%m.%Y %H:%M"), german(A), german(B), sep=";"),
    "Excel, German, two columns": text(
        "Datum;Uhrzeit;a;b", T.strftime("%d.%m.%Y"), T.strftime("%H:%M:%S"), german(A), german(B), sep=";"
    ),
    "Excel, French": text("Horodatage;a;b", T.strftime("%d/%m/%Y %H:%M"), german(A), german(B), sep=";"),
    "Excel, American": text("Date,a,b", [f"{t.month}/{t.day}/{t.year} {t.hour}:{t.minute:02d}" for t in T], A, B),
    "twelve hours": text("Timestamp,a,b", T.strftime("%m/%d/%Y %I:%M:%S %p"), A, B),
    "twelve hours, two columns": text("Date,Time,a,b", T.strftime("%m/%d/%Y"), T.strftime("%I:%M %p"), A, B),
    "date and time": text("date,time,a,b", T.strftime("%Y-%m-%d"), T.strftime("%H:%M:%S"), A, B),
    "time and date": text("time,date,a,b", T.strftime("%H:%M:%S"), T.strftime("%Y-%m-%d"), A, B),
    "date and hour": text("date,hour,a,b", T.strftime("%Y-%m-%d"), T.hour, A, B),
    "digits in two columns": text("date,time,a,b", T.strftime("%Y%m%d"), T.strftime("%H%M"), A, B),
    "year, month, day, hour": text("No,year,month,day,hour,a,b", range(1, N + 1), T.year, T.month, T.day, T.hour, A, B),
    "a buoy": text("YYYY,MM,DD,hh,mm,a,b", T.year, T.strftime("%m"), T.strftime("%d"), T.hour, T.minute, A, B),
    "day of the year": text("year,doy,hour,a,b", T.year, T.day_of_year, T.hour, A, B),
    "day of the year in digits": text("timestamp,a,b", T.strftime("%Y%j%H%M"), A, B),
    "offset without a colon": text("time,a,b", (T + pd.Timedelta("1h")).strftime("%Y-%m-%dT%H:%M+0100"), A, B),
    "UTC behind": text("time,a,b", T.strftime("%Y-%m-%d %H:%M:%S UTC"), A, B),
    "comma before milliseconds": text("time;a;b", T.strftime("%Y-%m-%d %H:%M:%S,000"), A, B, sep=";"),
    "nanoseconds": text("time,a,b", T.strftime("%Y-%m-%dT%H:%M:%S.000000000Z"), A, B),
    "mail": text("time,a,b", [f'"{t:%a, %d %b %Y %H:%M:%S} GMT"' for t in T], A, B),
    "ctime": text("time,a,b", T.strftime("%a %b %d %H:%M:%S %Y"), A, B),
    "web server": text("time,a,b", T.strftime("%d/%b/%Y:%H:%M:%S +0000"), A, B),
    "English month": text("time,a,b", T.strftime("%d-%b-%Y %H:%M:%S"), A, B),
    "underscore": text("time,a,b", T.strftime("%Y%m%d_%H%M%S"), A, B),
    "two digits for the year": text("time,a,b", T.strftime("%y%m%d%H%M"), A, B),
    "milliseconds behind digits": text("time,a,b", T.strftime("%Y%m%d%H%M%S000"), A, B),
    "digits with a fraction": text("time,a,b", [f"{x}.0" for x in T.strftime("%Y%m%d%H%M")], A, B),
    "seconds with a decimal comma": text("time;a;b", [f"{s},0" for s in SECONDS], A, B, sep=";"),
    "days of Excel with a decimal comma": text("Datum;a;b", german(f"{d:.6f}" for d in DAYS), german(A), german(B), sep=";"),
    "days of Excel, any name": text("x,a,b", [f"{d:.6f}" for d in DAYS], A, B),
    "days of Excel, no name": text(",a,b", [f"{d:.6f}" for d in DAYS], A, B),
    "time and epoch": text("timestamp,epoch,a,b", T, SECONDS, A, B),
    "time and a clock": text("timestamp,elapsed,a,b", T, np.arange(N) * 3600.5, A, B),
    "Grafana": text('"Time","a","b"', T.strftime("%Y-%m-%d %H:%M:%S"), A, B),
    "Grafana, German": text("Time;a;b", T.strftime("%Y-%m-%dT%H:%M:%S+00:00"), A, B, sep=";", above="sep=;\n"),
    "comments above": text("timestamp,a,b", T, A, B, above="# Logger: X1\n# Serial, 4711\n# Start, 2024-01-03\n"),
    "comments and a header with #": text("# timestamp,a,b", T, A, B, above="# Logger: X1\n"),
    "as many fields above": text("timestamp,a,b", T, A, B, above="Logger,X1,pump\nSite,Berlin,north\n"),
    "empty fields above": text("timestamp,a,b", T, A, B, above="Logger,X1,\nSerial,4711,\nInterval,60,min\n"),
    "thirty lines above": text("timestamp,a,b", T, A, B, above=PREAMBLE),
    "Campbell": CAMPBELL,
    "units": text("timestamp,a,b\n,kW,W", T, A, B),
    "units in brackets": text("timestamp,a,b\n[UTC],[kW],[W]", T, A, B),
    "units above": text("timestamp,a,b", T, A, B, above="-,kW,W\n"),
    "a rule of dashes": text("timestamp | a | b\n-----------+---+---", T, A, B, sep=" | "),
    "header again": text("timestamp,a,b", T, A, B, between={100: ["timestamp,a,b"]}),
    "falling times": text("timestamp,a,b", T[::-1], A[::-1], B[::-1]),
    "written twice": text("timestamp,a,b", [*T, *T], [*A, *A], [*B, *B]),
    "each row twice": text("timestamp,a,b", np.repeat(T, 2), np.repeat(A, 2), np.repeat(B, 2)),
    "thousands": text("timestamp;a;b", T, A, [f"{x:,.1f}" for x in B], sep=";"),
    "thousands, quoted": text("timestamp,a,b", T, A, [f'"{x:,.1f}"' for x in B]),
    "thousands, Swiss": text("timestamp;a;b", T, A, [f"{x:,.1f}".replace(",", "'") for x in B], sep=";"),
    "thousands, French": text("timestamp;a;b", T, german(A), german(f"{x:_.1f}".replace("_", "\u202f") for x in B), sep=";"),
    "no name for an index": text(",timestamp,a,b", range(N), T, A, B),
    "an empty last column": text("timestamp,a,b,", T, A, B, [""] * N),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_is_plain_to_people_is_read_as_it_is_meant(tmp_path, kind):
    path = tmp_path / "in.csv"
    path.write_bytes(READ[kind].encode())
    is_meant(read(path)[""])


NOT_FEATURES = (
    "label", "is_anomaly", "IsAnomaly", "anomaly_label", "outlier", "target", "class", "gt", "ground truth", "event", "alarm",
    "failure", "machine_failure", "attack", "ATT_FLAG", "abnormal", "y_true", "changepoint", "Anomalie", "label_0", "defect",
    "normal",
)  # fmt: skip


@pytest.mark.parametrize("name", NOT_FEATURES)
def test_zeros_and_ones_that_are_called_labels_are_told_and_left_out(tmp_path, name):
    path, tolerance = tmp_path / "in.csv", Tolerance()
    path.write_text(text(f"timestamp,a,b,{name}", T, A, B, LABELS))
    is_meant(read_csv(path, tolerance=tolerance))
    assert any("--label-column" in sentence for sentence in tolerance.reading)


@pytest.mark.parametrize("name", ["pump", "valve_open", "machine", "flagship", "eventful", "labelled_by"])
def test_zeros_and_ones_of_another_name_are_features(tmp_path, name):
    path = tmp_path / "in.csv"
    path.write_text(text(f"timestamp,a,b,{name}", T, A, B, LABELS))
    assert read_csv(path).columns == ("a", "b", name)


TWICE = np.repeat(T, 2)
SHIFTED = np.c_[T, T + pd.Timedelta("7s")].ravel().astype("datetime64[s]")
BOTH = np.c_[A, B].ravel()
# Name: text, what the refusal says, what is said then, the series that is read then.
REFUSED = {
    "one day, either order": (
        text("time,a,b", pd.date_range("2024-01-03", periods=N, freq="5min").strftime("%d/%m/%Y %H:%M"), A, B),
        r"is 2024-01-03 or 2024-03-01.*--time-format \"%d/%m/%Y %H:%M\"",
        {"time_format": "%d/%m/%Y %H:%M"},
    ),
    "days of months": (
        text("Date,a,b", pd.date_range("2024-01-01", periods=12, freq="MS").strftime("%m/%d/%Y"), A[:12], B[:12]),
        r"is 2024-01-02 or 2024-02-01",
        {"time_format": "%m/%d/%Y"},
    ),
    "days of Excel": (text("Date,a,b", DAYS.astype(int)[0] + np.arange(N), A, B), "day of a spreadsheet", {"time_format": "excel"}),
    "days of another calendar": (
        text("time,a,b", [f"{d + 693960:.6f}" for d in DAYS], A, B), "1990 to 2100, or count from 0", {"time_format": "epoch"},
    ),
    "two digits for the year, within a minute": (
        text("time,a", pd.date_range("2024-01-03", periods=50, freq="s").strftime("%y%m%d%H%M%S"), A[:50]),
        "a time as %y%m%d%H%M%S and as epoch", {"time_format": "%y%m%d%H%M%S"},
    ),
    "two digits or four for the year": (
        text("time,a", pd.date_range("2019-01-09 18:01:01", periods=50, freq="s").strftime("%y%m%d%H%M%S"), A[:50]),
        "a time as %Y%m%d%H%M and as %y%m%d%H%M%S", {"time_format": "%y%m%d%H%M%S"},
    ),
    "mostly marks": (
        text("time,a", T, [-9999 if i % 4 else x for i, x in enumerate(A)]), "--missing-values -9999", {"missing_values": "-9999"}
    ),
    "Influx": (
        INFLUX, "--ignore-columns _start,_stop,_field,_measurement,result",
        {"ignore_columns": ["_start", "_stop", "_field", "_measurement", "result"]},
    ),
    "a state": (text("timestamp,a,b,quality", T, A, B, ["Good"] * N), "--ignore-columns quality", {"ignore_columns": ["quality"]}),
    "classes": (text("timestamp,a,b,label", T, A, B, np.arange(N) % 3), "--ignore-columns label", {"ignore_columns": ["label"]}),
    "variables, one after the other": (text("timestamp,variable,a", TWICE, ["x", "y"] * N, BOTH), "--id-column variable", {}),
    "numbers of sensors": (text("timestamp,sensor,a", TWICE, [101, 102] * N, BOTH), "--id-column sensor", {}),
    "numbers of sensors, in blocks": (
        text("timestamp,sensor,a", [*T, *T], [101] * N + [102] * N, [*A, *B]), "--id-column sensor", {}
    ),
    "numbers of sensors, at moments of their own": (
        text("timestamp,sensor,a", SHIFTED, [101, 102] * N, BOTH), "--id-column sensor", {}
    ),
    "names, at moments of their own": (text("timestamp,x,a", SHIFTED, ["p", "q"] * N, BOTH), "--id-column x", {}),
    "machines without times": (
        text("machine,a,b", np.repeat([1, 2, 3], 80), A, B), "--id-column machine", {"value_columns": ["a", "b"]}
    ),
    "thousands or fractions": (
        text("timestamp;a", T, [f"{x:.3f}" for x in A + 0.001], sep=";"), "--decimal . or --thousands .", {"decimal": "."}
    ),
    "thousands or fractions, beside short numbers": (
        text("timestamp,a", T, ["1.250" if i % 2 else "987" for i in range(N)]), "--decimal . or --thousands .", {"thousands": "."}
    ),
    "a rare separator": (text("timestamp^a^b", T, A, B, sep="^"), r'--delimiter "\^"', {"delimiter": "^"}),
    "a text for missing": (
        text("timestamp,a,b", T, ["offline" if i in (5, 50) else x for i, x in enumerate(A)], B), "say --missing-values",
        {"missing_values": "offline"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_read_once_the_option_is_said(tmp_path, kind):
    content, sentence, said = REFUSED[kind]
    path = tmp_path / "in.csv"
    path.write_bytes(content.encode())
    with pytest.raises(DataError, match=sentence):
        read(path)
    if said:
        assert len(read_csv(path, **said)) > 0
    else:
        column = sentence.split()[-1]
        assert {len(series) for series in read(path, id_column=column).values()} == {N}


@pytest.mark.parametrize(
    "first", [f"{T[0]},10.0,20.0", f"{T[0]},NaN,20.0", f"{T[0]:%d-%b-%Y %H:%M},10.0,20.0", f"{T[0]},OK,20.0", "10.0,20.0,30.0",
              f"{SECONDS[0]},10.0,20.0", f"{T[0]:%m/%d/%Y %I:%M %p},10.0,20.0"],
)  # fmt: skip
def test_a_file_without_a_header_is_refused(tmp_path, first):
    path = tmp_path / "in.csv"
    path.write_text(text(first, T[1:], A[1:], B[1:]))
    with pytest.raises(DataError, match="The first line must name the columns"):
        read_csv(path)


@pytest.mark.parametrize("lost", [0, "1970-01-01 00:00:00"])
def test_a_clock_that_was_not_set_is_refused(tmp_path, lost):
    path = tmp_path / "in.csv"
    path.write_text(text("timestamp,a,b", [lost if i == 5 else t for i, t in enumerate(SECONDS if lost == 0 else T)], A, B))
    with pytest.raises(DataError, match="must lie together. Received: 1970-01-01T00:00:00Z in row 5"):
        in_order(read_csv(path))


@pytest.mark.parametrize(("start", "often"), [("2024-10-20", "comes twice"), ("2024-03-28", "never comes")])
@pytest.mark.parametrize("freq", ["h", "10min"])
def test_times_of_clocks_that_are_shifted_are_told(tmp_path, start, often, freq):
    times = pd.date_range(start, periods=2_000, freq=freq, tz="Europe/Berlin")
    path, tolerance = tmp_path / "in.csv", Tolerance()
    path.write_text(text("timestamp,a", times.tz_localize(None), np.arange(2_000) % 7))
    read_csv(path, tolerance=tolerance)
    assert any(often in sentence and "--tz" in sentence for sentence in tolerance.reading)
    told = Tolerance()
    read_csv(path, timezone="Europe/Berlin", dst="first", tolerance=told)
    assert not any("--tz" in sentence for sentence in told.reading)
