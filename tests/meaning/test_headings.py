"""Which of several lines of texts names the columns: names stand above types and units, below titles, or it is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.meaning.heading import lines_of_names
from anomaly.sources.tolerance import Tolerance

N = 60
T = pd.date_range("2024-01-03", periods=N, freq="h")
A = np.round(50 + 3 * np.sin(np.arange(N) * np.pi / 12), 2)
RECORDS = [f"{time},{a},{a + 1:.2f}" for time, a in zip(T, A, strict=True)]
FEATURES = ("flow", "level")
NAMES = ("ts", "time", "datetime", "Timestamp", "event_time", "Zeitpunkt")
TYPES = {
    "ClickHouse": "DateTime,Float64,UInt32", "nullable": "DateTime64(3),Nullable(Float64),LowCardinality(Nullable(UInt8))",
    "SQL": "timestamp,double precision,integer", "with a zone": "timestamp with time zone,numeric(10;2),bigint",
    "ODBC": "datetime2(7),decimal(18),smallint", "pandas": "datetime64[ns],float64,Int64", "Arrow": "timestamp[us],double,int32",
    "Influx": "dateTime:RFC3339,double,long", "words": "datetime,real,number", "texts": "date,text,text",
}  # fmt: skip
UNITS = {
    "ERDDAP": "UTC,degree_Celsius,PSU", "Campbell": "TS,Volts,Deg C", "in quotes": "'seconds','mV','furlongs'",
    "USGS": "20d,14n,10s", "one is empty": "UTC,,degree_Celsius", "words": "s,bar,%", "unknown": "[UTC],scoville,mSv/a",
}  # fmt: skip


def written(tmp_path, *above, records=RECORDS):
    path = tmp_path / "in.csv"
    path.write_text("\n".join([*above, *records]) + "\n")
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [*TYPES, *UNITS])
def test_what_stands_below_the_name_of_a_time_names_no_columns(tmp_path, kind, name):
    path = written(tmp_path, f"{name},flow,level", (TYPES | UNITS)[kind])
    series = read_csv(path)
    assert (series.time_column, series.columns) == (name, FEATURES)
    np.testing.assert_array_equal(series.values[:, 0], A)


@pytest.mark.parametrize("kind", TYPES)
def test_types_are_no_units_that_a_detector_remembers(tmp_path, kind):
    with CsvReader(written(tmp_path, "time,flow,level", TYPES[kind])) as reader:
        assert "units" not in reader.remembered
    with CsvReader(written(tmp_path, "time,flow,level", UNITS["ERDDAP"])) as reader:
        assert reader.remembered["units"] == '{"flow": "degree_Celsius", "level": "PSU"}'


@pytest.mark.parametrize(
    ("title", "names"),
    [("Station,Zurich,Hall", "time,flow,level"), ("Motor,A1,North", "date,min,max"), ("Plant,A,B", "Timestamp,V,A")],
)
def test_a_title_as_wide_as_the_table_stands_above_names(tmp_path, title, names):
    series = read_csv(written(tmp_path, title, names))
    assert (series.time_column, *series.columns) == tuple(names.split(","))


@pytest.mark.parametrize(
    "above",
    [
        ("Station,Zurich,Hall", "datetime,real,number"),  # types without names, or names below a title
        ("Station,Zurich,Hall", "Moment,flow,level"),
        ("Time,local,clock", "Moment,flow,level"),
        ("time,flow,level", "Zeit,Fluss,Pegel"),
        ("Station,Zurich,Hall", "UTC,degree_Celsius,PSU"),
        ("DateTime,Float64,UInt32", "ts,a,b"),  # types above names
        ("DateTime,Float64,UInt32", "Moment,flow,level"),
    ],
)
def test_two_lines_that_may_both_name_the_columns_are_refused(tmp_path, above):
    with pytest.raises(DataError, match=r"One line must name the columns, and only lines of units may follow it"):
        read_csv(written(tmp_path, *above))


TITLES = {
    "a number in one": ("Station,Zurich,x", "Height,410,m"),
    "more than three": ("Station,Zurich,x", "Unit,degC,-", "Owner,me,x", "Device,T1,x", "Serial,ABC,x"),
    "a unit and a number": ("Station,Zurich,x", "Unit,degC,bar", "Period,2022,2023"),
    "cells of a table of its own": ("Name,Long,Lat", '"Home",2.3,48.8'),
    "a date in one": ("Title,GDP,x", "Code,AB,x", "Release date,10-03-2024,x", "Next,,"),
}


@pytest.mark.parametrize("units", [(), ("s,bar,%",), ("UTC,degree_Celsius,PSU",)])
@pytest.mark.parametrize("kind", TITLES)
@pytest.mark.parametrize("name", ["Date", "Timestamp", "Zeitpunkt"])
def test_titles_as_wide_as_the_table_are_lines_above_the_name_of_a_time(tmp_path, kind, name, units):
    tolerance = Tolerance()
    series = read_csv(written(tmp_path, *TITLES[kind], f"{name},flow,level", *units), tolerance=tolerance)
    assert (series.time_column, series.columns) == (name, FEATURES)
    np.testing.assert_array_equal(series.values[:, 0], A)
    assert tolerance.counts["title_lines"] == len(TITLES[kind])
    assert tolerance.counts.get("unit_lines", 0) == len(units)


@pytest.mark.parametrize(
    "names", [(), ("Moment,flow,level",), ("Moment,flow,level", "YYYY-MM-DD,bar,%"), ("Moment,flow,level", "DateTime,Int8,Int8")]
)
@pytest.mark.parametrize("kind", TITLES)
def test_titles_above_no_name_of_a_time_are_refused_in_one_sentence(tmp_path, kind, names):
    if kind.startswith(("a number", "cells")) and not names:
        pytest.skip("one line with numbers may be a bad record")
    with pytest.raises(DataError, match="One line must name the columns.*Remove the lines that are no names"):
        read_csv(written(tmp_path, *TITLES[kind], *names))


@pytest.mark.parametrize("bad", [("error,1,2",), ("error,1,2", "error,3,4"), ("NA,NA,NA", "NA,NA,NA")])
def test_bad_records_below_the_names_are_no_titles(tmp_path, bad):
    path = written(tmp_path, "time,flow,level", *bad)
    with pytest.raises(DataError, match="Column 'time' must hold"):
        read_csv(path)
    assert read_csv(path, on_bad_rows="skip", max_bad_fraction=0.1).columns == FEATURES


def test_a_text_in_records_names_no_columns(tmp_path):
    records = [f"{record},{'date' if i == 5 else 'x'}" for i, record in enumerate(RECORDS)]
    assert read_csv(written(tmp_path, "time,flow,level,note", records=records), ignore_columns=["note"]).columns == (
        "flow",
        "level",
    )


BROKEN = {
    "one": ('time,"flow\n[m³/h]",level', ("flow [m³/h]", "level")),
    "the last": ('"time","flow","level\n(bar)"', ("flow", "level (bar)")),
    "the first": ('"Date\nTime",flow,level', FEATURES),
    "all": ('"Date\nTime","flow\n[m³/h]","level\n[bar]"', ("flow [m³/h]", "level [bar]")),
    "twice": ('time,"flow \n of water\n[m³/h]",level', ("flow of water [m³/h]", "level")),
    "with an empty line": ('time,"flow\n\n[m³/h]",level', ("flow [m³/h]", "level")),
    "with a comma": ('time,"flow,\nlitres",level', ("flow, litres", "level")),
    "with quotes": ('time,"the ""flow""\nof water",level', ('the "flow" of water', "level")),
}


@pytest.mark.parametrize("titles", [(), ("Report of May", "by me"), ("Plant;A,1",)])
@pytest.mark.parametrize("sep", [",", ";"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_line_end_within_a_name_is_a_blank(tmp_path, kind, sep, titles):
    header, features = BROKEN[kind]
    if sep == ";":
        header = re.sub(r",(?!\n)", ";", header)
    path = written(tmp_path, *titles, header, records=[record.replace(",", sep) for record in RECORDS])
    tolerance = Tolerance()
    series = read_csv(path, tolerance=tolerance)
    assert (len(series.times), series.columns) == (N, features)
    assert tolerance.counts["broken_names"] in (header.count("\n"), header.replace("\n\n", "\n").count("\n"))
    assert tolerance.counts.get("title_lines", 0) == len(titles)


@pytest.mark.parametrize("place", [0, 1, 20])
def test_a_line_end_within_a_record_is_refused_with_its_line(tmp_path, place):
    records = [f'{record},"a\nb"' if i == place else f"{record},x" for i, record in enumerate(RECORDS)]
    path = written(tmp_path, "time,flow,level,note", records=records)
    with pytest.raises(
        DataError, match=rf"an open quote \(in.csv, line {place + 2}\). Close the quote, or write the field on one line"
    ):
        read_csv(path, ignore_columns=["note"])


def test_a_quote_that_is_no_quote_breaks_no_name(tmp_path):
    path = written(tmp_path, 'time,flow,5" pipe')
    with pytest.raises(DataError, match=r"an open quote \(in.csv, line 1\)"):
        read_csv(path)


def test_rows_behind_a_broken_name_keep_their_lines(tmp_path):
    path = written(tmp_path, 'time,"flow\n[m³/h]",level', records=[*RECORDS[:-1], "2024-01-09 00:00:00,bad,1"])
    with pytest.raises(DataError, match=f"'bad' on line {N + 2}"):
        read_csv(path)
    with CsvReader(path, on_bad_rows="skip", max_bad_fraction=0.1) as reader:
        assert [line for chunk in reader for line in chunk.lines] == RECORDS[:-1]
        assert reader.header_line == 'time,"flow [m³/h]",level'


def test_separators_behind_every_line_name_no_columns(tmp_path):
    for n in range(1, 5):
        for m in (n, n + 1):  # behind the header, and behind the records
            path = written(tmp_path, f"time,flow,level{',' * n}", records=[record + "," * m for record in RECORDS])
            tolerance = Tolerance()
            assert read_csv(path, tolerance=tolerance).columns == FEATURES
            assert ("spare_separators" in tolerance.counts) is (n > 1 or m > n)


@pytest.mark.parametrize("above", [("Report,,,,",), ("Report,,,,", "Plant,A,,,", ",,,,"), ("Plant,A,B,,",)])
def test_titles_may_have_them_too(tmp_path, above):
    path = written(tmp_path, *above, "time,flow,level,,", records=[record + ",," for record in RECORDS])
    assert read_csv(path).columns == FEATURES


@pytest.mark.parametrize("place", [0, 30, N - 1])
def test_a_value_below_no_name_is_refused(tmp_path, place):
    records = [f"{record},,{'7' if i == place else ''}" for i, record in enumerate(RECORDS)]
    with pytest.raises(DataError, match="Every column must have a name"):
        read_csv(written(tmp_path, "time,flow,level,,", records=records))


@pytest.mark.parametrize("void", [",,", '"","",""'])
@pytest.mark.parametrize("places", [(N,), (N, N, N), (0,), (30, 31)])
def test_separators_alone_are_a_blank_line_where_rows_have_times(tmp_path, void, places):
    records = list(RECORDS)
    for place in sorted(places, reverse=True):
        records.insert(place, void)
    path, tolerance = written(tmp_path, "time,flow,level", records=records), Tolerance()
    for chunk_bytes in (1 << 20, 500):
        with CsvReader(path, chunk_bytes=chunk_bytes) as reader:
            assert [line for chunk in reader for line in chunk.lines] == RECORDS
            assert reader.tolerance.counts["blank_lines"] == len(places)
    np.testing.assert_array_equal(read_csv(path, tolerance=tolerance).values[:, 0], A)


def test_separators_alone_are_a_record_where_rows_are_counted(tmp_path):
    records = [record.split(",", 1)[1] for record in RECORDS]
    path = written(tmp_path, "flow,level", records=[*records[:30], ",", *records[30:]])
    assert len(read_csv(path).times) == N + 1


def test_a_record_with_values_and_no_time_is_refused(tmp_path):
    for cell in ("", "NA", "-", " "):
        path = written(tmp_path, "time,flow,level", records=[*RECORDS[:30], f"{cell},1,2", *RECORDS[30:]])
        with pytest.raises(
            DataError, match=r"must hold a time on every record. Received: nothing.* \(in.csv, line 32\).*-rows skip"
        ):
            read_csv(path)
        assert len(read_csv(path, on_bad_rows="skip", max_bad_fraction=0.1).times) == N
    path = written(tmp_path, "time,flow,level", records=[*RECORDS[:30], "soon,1,2", *RECORDS[30:]])
    with pytest.raises(DataError, match=r"must hold ISO 8601 times or epoch numbers. Received: 'soon' \(in.csv, line 32\)"):
        read_csv(path)


NO_HEADER = {
    "an empty cell": [f"web.cpu,{time},{a if i else ''}" for i, (time, a) in enumerate(zip(T, A, strict=True))],
    "empty cells": [f"m_1932,{386640 + 10 * i},{a},,,{a + 1:.2f},2" for i, a in enumerate(A)],
    "days of stations": [f"US{i},{time:%Y%m%d},TMAX,{a},,,W" for i, (time, a) in enumerate(zip(T, A, strict=True))],
    "one number twice": [f"{time:%Y-%m-%d %H:%M:%S}:000,{a},0,0" for time, a in zip(T, A, strict=True)],
    "in semicolons": [f"s1;{time:%d.%m.%Y %H:%M:%S};{str(a).replace('.', ',')};°C" for time, a in zip(T, A, strict=True)],
}


@pytest.mark.parametrize("kind", NO_HEADER)
def test_a_first_record_that_is_like_the_others_is_no_header(tmp_path, kind):
    with pytest.raises(DataError, match="The first line must name the columns.*Add a header line"):
        read_csv(written(tmp_path, records=NO_HEADER[kind]))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("time,1,1", "Column names must differ. Received: '1' more than once"),
        ("time,flow,", "Every column must have a name. Received: no name for column 3 of 3"),
        ("time,,level", "Every column must have a name. Received: no name for column 2 of 3"),
        ("time,2020,2020", "Column names must differ. Received: '2020' more than once"),
    ],
)
def test_a_header_without_a_name_or_with_one_twice_is_told_as_such(tmp_path, header, said):
    with pytest.raises(DataError, match=said):
        read_csv(written(tmp_path, header))


def test_years_that_come_twice_beside_names_are_no_record(tmp_path):
    with pytest.raises(DataError, match="Column names must differ"):
        read_csv(written(tmp_path, "pump,2020,2020", records=[f"p{i},{a},{a + 1:.2f}" for i, a in enumerate(A)]))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_names_without_cells_are_told_and_what_is_said_then_helps(tmp_path, n):
    more = [f"x{i}" for i in range(n)]
    path = written(tmp_path, ",".join(["time,flow,level", *more]))
    with pytest.raises(
        DataError, match=f"as the header .{3 + n}.*so that {', '.join(map(repr, more))} at its end would have no.*Remove the names"
    ):
        read_csv(path)
    assert read_csv(written(tmp_path, "time,flow,level")).columns == FEATURES
    with pytest.raises(DataError, match="put a name with a comma in it in quotes"):
        read_csv(written(tmp_path, "time,flow, in litres,level"))
    assert read_csv(written(tmp_path, 'time,"flow, in litres",level')).columns == ("flow, in litres", "level")


@pytest.mark.parametrize("line", ['"', '""', ',,"', '"""', '"",""",'])
def test_a_quote_that_is_open_or_stands_alone_is_no_line_of_separators(tmp_path, line):
    path = tmp_path / "in.csv"
    path.write_text("time,a,b\n" + "".join(f"2024-01-01T{h:02}:00:00Z,{h},{h * h}\n" for h in range(24)) + line + "\n")
    with pytest.raises(DataError):
        read_csv(path)


@pytest.mark.parametrize(
    ("line", "are_units"),
    [
        ("UTC,m,1", True),
        ("UTC,1/min,1", True),
        (",m,1/s", True),
        ("UTC,m,2", False),
        ("1,m,1", False),
        ("1,1,1", False),
        ("x,m,1", False),
    ],
)
def test_a_line_of_units_may_have_ones(line, are_units):
    records = [["2024-03-25", "1.5", "1"], ["2024-03-26", "2.5", "1"]]
    assert (lines_of_names(["time", "level", "qc"], [line.split(","), *records], {""}, "in")[1] == 1) is are_units


@pytest.mark.parametrize("records", [["1,a,1", "2,,2", "3,a,3"], ["1,a,1", "2,b,1", "3,a,3"], ["1,m,1"]])
def test_a_record_with_a_letter_is_no_line_of_units(records):
    assert lines_of_names(["time", "id", "x"], [record.split(",") for record in records], {""}, "in") == (0, 0)
