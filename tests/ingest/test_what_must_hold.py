"""What is concluded from the first records holds for all, or the file is refused: whichever record says otherwise."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import DataError, read_csv
from anomaly.meaning.interpretation import SAMPLE_ROWS
from anomaly.series import format_time

BEGIN = datetime.datetime(2024, 1, 31)


def written(path, header, cells, *, separator=",", pattern="%Y-%m-%d %H:%M"):
    """Write a row a minute: the time, a number, and what is given."""
    rows = (f"{BEGIN + datetime.timedelta(minutes=k):{pattern}}{separator}{cell}\n" for k, cell in enumerate(cells))
    path.write_text(f"{header}\n{''.join(rows)}")
    return path


@pytest.mark.parametrize("quoted", [False, True], ids=["plain", "quoted"])
@pytest.mark.parametrize(
    ("header", "usual", "other", "message"),
    [
        ("time,v,quality", "192", "0", r"'quality', must not change.*Received: '0' after '192'.*ignore_columns='quality'"),
        ("time,v,sensor_id", "101", "102", r"must name one series.*Received: '102' after '101'.*groupby\('sensor_id'\)"),
        ("time,v,", "", "7.5", r"no name in the header must be empty.*Received: '7\.5' \("),
    ],
)  # fmt: skip
@settings(max_examples=10)
@given(place=st.integers(SAMPLE_ROWS, 3_000), n=st.integers(1, 5))
def test_a_column_that_was_left_out_stays_as_it_is(tmp_path_factory, header, usual, other, message, quoted, place, n):
    path, mark = tmp_path_factory.mktemp("steady") / "in.csv", '"' if quoted else ""
    lasts = [usual] * place + [other] * n + [usual] * 3
    cells = [f"{mark}{k % 7}.5{mark},{last}" for k, last in enumerate(lasts)]
    with pytest.raises(DataError, match=rf"{message}.*|.*") as refused:
        read_csv(written(path, header, cells))
    assert refused.match(message) and refused.match(rf"in\.csv, line {place + 2:d}\b")
    sound = [f"{mark}{k % 7}.5{mark},{usual}" for k in range(place)]
    assert read_csv(written(path, header, sound)).columns == ("v",)


def test_a_blank_among_steady_codes_says_nothing(tmp_path):
    cells = [f"{k % 7}.5,{'' if k == 700 else 192}" for k in range(900)]
    assert read_csv(written(tmp_path / "in.csv", "time,v,quality", cells)).columns == ("v",)


@pytest.mark.parametrize(("separator", "pattern"), [(";", "%d.%m.%Y %H:%M"), ("\t", "%Y-%m-%d %H:%M"), (",", "%Y-%m-%d %H:%M")])
@settings(max_examples=10)
@given(place=st.integers(SAMPLE_ROWS, 2_500))
def test_a_point_that_may_stand_between_thousands_is_refused_wherever_it_comes_first(tmp_path_factory, separator, pattern, place):
    path = tmp_path_factory.mktemp("points") / "in.csv"

    def counts(late):
        return written(
            path, f"time{separator}v", [200 + k % 700 for k in range(place)] + late, separator=separator, pattern=pattern
        )

    with pytest.raises(DataError, match=r"A point in a number must have one meaning. Received: '1\.002'"):
        read_csv(counts(["1.002"]))
    assert read_csv(counts(["1.002"]), decimal=".").values[-1] == 1.002
    assert read_csv(counts(["1.002"]), thousands=".").values[-1] == 1002
    assert read_csv(counts(["1.25", "1.002"])).values[-1] == 1.002
    assert read_csv(counts(["0.125"])).values[-1] == 0.125
    assert read_csv(counts([])).values[-1] == 200 + (place - 1) % 700


@pytest.mark.parametrize("time", ["16806447547416576000", "-90000000000"])
def test_numbers_beyond_all_dates_are_refused(tmp_path, time):
    path = tmp_path / "in.csv"
    path.write_text("time,v\n" + "".join(f"{int(time) + 60 * k},{k}\n" for k in range(60)))
    with pytest.raises(DataError, match=f"Received: {time} in column 'time', which is no date"):
        read_csv(path)


def test_a_year_that_no_calendar_has_is_read_as_such(tmp_path):
    cells = [str(k % 7) for k in range(60)]
    path = written(tmp_path / "in.csv", "time,v", cells)
    path.write_text(path.read_text().replace("2024-01-31 00:30", "0000-01-01 00:00"))
    assert format_time(int(read_csv(path).times.min()), "time") == "0000-01-01T00:00:00Z"


def test_a_detector_of_spreadsheet_days_refuses_seconds(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("time,v\n" + "".join(f"{1_720_000_000 + 3_600 * k},{k}\n" for k in range(60)))
    with pytest.raises(DataError, match="must be days of a spreadsheet, as in training. Received: 1720000000"):
        read_csv(path, before={"time_format": "excel"})


@pytest.mark.parametrize(
    ("begin", "kind"), [(b"PK\x03\x04", "zip archive"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\xd0\xcf\x11\xe0", "xls")]
)
def test_a_file_that_is_no_text_is_called_so(tmp_path, begin, kind):
    path = tmp_path / "in.csv"
    path.write_bytes(begin + b"\xff\xfe\x80" * 40)
    with pytest.raises(DataError, match=rf"must be text, or text in gzip\. Received: .*{kind}"):
        read_csv(path)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        ('{"time": "2024-01-01", "v": 1}\n', "JSON"),
        (' [{"time": 1, "v": 1},\n', "JSON"),
        ("[[1, 2],\n", "JSON"),
        ("<!DOCTYPE html>\n<html>\n", "a page of the web"),
        ('<?xml version="1.0"?>\n', "XML"),
        ("%PDF-1.7\n", "a PDF file"),
        ("SQLite format 3\0\1\2\n", "a database of SQLite"),
        ("@relation pump\n", "an ARFF"),
        ("ARROW1\0\0\n", "a Feather file"),
    ],
)
def test_a_text_that_is_no_table_is_called_so(tmp_path, begin, kind):
    path = tmp_path / "in.csv"
    path.write_text(begin + "1,2\n" * 20)
    with pytest.raises(DataError, match=rf"must be a table, as CSV or Parquet\. Received: .*{kind}"):
        read_csv(path)


@pytest.mark.parametrize("header", ["<TICKER>,<DATE>", "[v],w", "{v},w", "ORCA,OBJ", "@v,w", "%,v"])
def test_a_header_with_the_marks_of_other_files_is_a_header(tmp_path, header):
    path = tmp_path / "in.csv"
    path.write_text(f"{header}\n" + "".join(f"{k},{k % 7}\n" for k in range(20)))
    assert read_csv(path, time_column=None).n_features == 2


@settings(max_examples=8)
@given(first=st.integers(1, 8), seconds=st.sampled_from([10, 30, 60, 120]), n_days=st.integers(2, 4))
def test_days_before_months_are_refused_however_short_the_step_is(tmp_path_factory, first, seconds, n_days):
    path = tmp_path_factory.mktemp("swapped") / "in.csv"
    begin, n = datetime.datetime(2024, 1, first), min(n_days * 86_400 // seconds, 19_000)
    rows = [(begin + datetime.timedelta(seconds=seconds * k), k % 7) for k in range(n)]
    path.write_text("time,v\n" + "".join(f"{moment:%Y-%d-%m %H:%M:%S},{value}\n" for moment, value in rows))
    with pytest.raises(DataError, match="Times must have one meaning"):
        read_csv(path)
    path.write_text("time,v\n" + "".join(f"{moment:%Y-%m-%d %H:%M:%S},{value}\n" for moment, value in rows))
    assert len(read_csv(path)) == n


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("gps_time", [str(1_388_102_418 + k) for k in range(60)], "Times must count from 1970. Received: 1388102418"),
        ("open_time", [f"1.67{200 + 9 * k}E+12" for k in range(60)], r"Times must have all their digits. Received: 1\.67200E\+12"),
        ("time", [f"1,7{k:02d}E+09" for k in range(60)], None),
    ],
)  # fmt: skip
def test_times_that_are_no_seconds_since_1970_are_refused(tmp_path, column, cells, message):
    path = tmp_path / "in.csv"
    path.write_text(f"{column};v\n" + "".join(f"{cell};{k % 7}\n" for k, cell in enumerate(cells)))
    with pytest.raises(DataError, match=message):
        read_csv(path)
    if column == "gps_time":
        assert len(read_csv(path, time_format="epoch")) == 60


def test_an_exponent_with_all_digits_is_a_time(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("time,v\n" + "".join(f"{1_700_000_000 + 60 * k:.18e},{k % 7}\n" for k in range(60)))
    assert format_time(int(read_csv(path).times[0]), "time") == "2023-11-14T22:13:20Z"


def numbers(path, cells, *, header="time,load", mark=","):
    """Write a file of hourly rows with some cells."""
    begin = datetime.datetime(2024, 1, 1)
    rows = [f"{begin + datetime.timedelta(hours=k)}{mark}{cell}\n" for k, cell in enumerate(cells)]
    path.write_text(f"{header}\n" + "".join(rows))
    return path


GROUPED = [f"{1 + k % 3}.{k * 37 % 1000:03d}" for k in range(600)]


@pytest.mark.parametrize("short", ["633", "7", "-45"])
def test_short_whole_numbers_behind_points_before_three_digits_are_refused(tmp_path, short):
    path = numbers(tmp_path / "in.csv", [*GROUPED, *[short] * 90])
    with pytest.raises(DataError, match=r"A point in a number must have one meaning\. Received: '1\.000'"):
        read_csv(path)
    assert read_csv(path, decimal=".").values[-1, 0] == float(short)
    assert read_csv(path, thousands=".").values[1, 0] == 2037


@pytest.mark.parametrize("behind", [["5.000", "6.250"] * 40, ["2.5", "3", "2.75"] * 40, ["0.125"] * 40, ["1234.500"] * 40])
def test_what_shows_that_points_stand_before_fractions_is_taken(tmp_path, behind):
    assert read_csv(numbers(tmp_path / "in.csv", [*GROUPED, *behind])).values[-1, 0] == float(behind[-1])


def test_a_decimal_comma_in_training_does_not_settle_a_point_behind_whole_numbers(tmp_path):
    path = numbers(tmp_path / "in.csv", [*["0"] * 550, *["1.043"] * 50], header="Zeit;a", mark=";")
    with pytest.raises(DataError, match="A point in a number must have one meaning"):
        read_csv(path, before={"decimal": ","})


@pytest.mark.parametrize(("cell", "option"), [("42,79", "decimal ','"), ("1.042,27", "decimal ','"), ("oops", "missing_values")])
def test_what_is_no_number_names_the_option_that_reads_it(tmp_path, cell, option):
    path = numbers(tmp_path / "in.csv", [*["0"] * 600, *[cell] * 50], header="Zeit;a", mark=";")
    with pytest.raises(DataError) as refused:
        read_csv(path)
    assert option in str(refused.value)


def counts(path, cells, header="Time,P", units=""):
    path.write_text(f"{header}\n{units}" + "".join(f"{cell},{k * 7 % 11}.5\n" for k, cell in enumerate(cells)))
    return path


HALVES = [f"{k / 2:.4f}" for k in range(200)]


@pytest.mark.parametrize(
    ("header", "units", "unit"),
    [
        ("Time,P", "(ms),(V)\n", "ms"),
        ("Time,P", "min,bar\n", "min"),
        ("Time (ms),P", "", "ms"),
        ("elapsed_h,P", "", "h"),
        ("t [µs],P", "", "µs"),
        ("Zeit/Minuten,P", "", "Minuten"),
    ],
)
def test_counts_from_zero_of_another_unit_than_seconds_are_refused(tmp_path, header, units, unit):
    path = counts(tmp_path / "in.csv", HALVES, header, units)
    time = header.split(",")[0]
    with pytest.raises(DataError, match=rf"Times that count from 0 must be seconds\. Received: 0\.0000 in column .*, in {unit} "):
        read_csv(path, time_column=time)
    assert len(read_csv(path, time_column=None, ignore_columns=[time])) == 200
    assert read_csv(path, time_column=time, time_format="epoch").times[1] == 500_000


@pytest.mark.parametrize(("header", "units"), [("Time,P", "(s),(V)\n"), ("Time (s),P", ""), ("elapsed_s,P", ""), ("Time,P", "")])
def test_counts_of_seconds_are_times(tmp_path, header, units):
    path = counts(tmp_path / "in.csv", HALVES, header, units)
    assert read_csv(path, time_column=header.split(",")[0]).times[1] == 500_000


def test_milliseconds_since_1970_are_times_whatever_the_name(tmp_path):
    path = counts(tmp_path / "in.csv", [1_700_000_000_000 + 1000 * k for k in range(100)], "time_ms,P")
    assert read_csv(path).times[1] == (1_700_000_001) * 10**6


@pytest.mark.parametrize(("minutes", "padded"), [(5, True), (15, True), (60, True), (5, False), (15, False)])
def test_hours_and_minutes_are_no_seconds(tmp_path, minutes, padded):
    """Whole hours without a 0 before them, 0, 100, 200, may be a count."""
    digits = [f"{k * minutes // 60:02}{k * minutes % 60:02}" for k in range(1_440 // minutes)]
    path = counts(tmp_path / "in.csv", digits if padded else [int(cell) for cell in digits])
    with pytest.raises(DataError, match="which may be hours and minutes of a day"):
        read_csv(path, time_column="Time")


@pytest.mark.parametrize(
    "names",
    [
        [f"{k:02}:00-{k + 1:02}:00" for k in range(24)],
        [f"{k // 2:02}:{k % 2 * 30:02} - {(k + 1) // 2:02}:{(k + 1) % 2 * 30:02}" for k in range(48)],
        [f"{k}h" for k in range(24)],
    ],
)
def test_a_table_on_its_side_is_refused(tmp_path, names):
    path = tmp_path / "wide.csv"
    days = [f"2024-03-{day:02}," + ",".join(f"{(day * k) % 7}.5" for k in range(len(names))) for day in range(1, 29)]
    path.write_text("\n".join([",".join(["Date", *names]), *days]) + "\n")
    with pytest.raises(DataError, match="Each row of a table must have one time"):
        read_csv(path)


@pytest.mark.parametrize(
    "name", ["temp_qc", "QC flag", "a_QF", "Qualifier", "Quality code", "Status", "StatusCode", "temp_flag", "Flag_a"]
)
def test_a_code_of_quality_must_not_change(tmp_path, name):
    cells = [192] * 600 + [64] * 20
    path = tmp_path / "in.csv"
    rows = [f"{datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=k)},{k % 7}.5,{cell}" for k, cell in enumerate(cells)]
    path.write_text("\n".join([f"time,temp,{name}", *rows[:600]]) + "\n")
    assert read_csv(path).columns == ("temp",)
    path.write_text("\n".join([f"time,temp,{name}", *rows]) + "\n")
    with pytest.raises(DataError, match="A code of quality, .* must not change"):
        read_csv(path)


@pytest.mark.parametrize(("name", "cell"), [("pump_status", 1), ("flagship", 192), ("statusline", 192), ("qf2", 7)])
def test_what_may_be_measured_stays_a_feature(tmp_path, name, cell):
    path = tmp_path / "in.csv"
    rows = [f"{datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=k)},{k % 7}.5,{cell}" for k in range(600)]
    path.write_text("\n".join([f"time,temp,{name}", *rows]) + "\n")
    assert name in read_csv(path).columns


@pytest.mark.parametrize("name", ["error", "target", "alarm", "anomaly_label"])
@pytest.mark.parametrize(
    ("first", "later"), [(["0"], ["-3.21", "2.4"]), (["0", "1"], ["55"]), (["no", "yes"], ["maybe"]), (["0.0"], ["7"])]
)
def test_a_column_that_begins_as_labels_must_hold_labels_throughout(tmp_path, name, first, later):
    path, begin = tmp_path / "in.csv", datetime.datetime(2024, 1, 1)
    cells = [*(first * 600)[:600], *later]
    rows = [f"{begin + datetime.timedelta(hours=k)},{k % 7}.5,{cell}" for k, cell in enumerate(cells)]
    path.write_text("\n".join([f"time,a,{name}", *rows[:600]]) + "\n")
    assert read_csv(path).columns == ("a",)
    path.write_text("\n".join([f"time,a,{name}", *rows]) + "\n")
    with pytest.raises(
        DataError, match=rf"A column that is called '{name}' and begins as labels do must hold labels throughout.*line 602"
    ):
        read_csv(path)
    if later[0] != "maybe":
        assert read_csv(path, value_columns=["a", name]).columns == ("a", name)
    assert read_csv(path, ignore_columns=[name]).columns == ("a",)


@pytest.mark.parametrize("behind", [["1", "0", "1.0"], [""], ["NaN", "1"]])
def test_labels_that_come_later_are_labels(tmp_path, behind):
    path, begin = tmp_path / "in.csv", datetime.datetime(2024, 1, 1)
    rows = [f"{begin + datetime.timedelta(hours=k)},{k % 7}.5,{cell}" for k, cell in enumerate([*["0"] * 600, *behind])]
    path.write_text("\n".join(["time,a,label", *rows]) + "\n")
    assert read_csv(path).columns == ("a",)


@pytest.mark.parametrize(
    ("names", "paces", "is_refused"),
    [
        (("Time - Ch0", "Time - Ch1"), (0.01, 0.0137), True),
        (("Time A", "Time B"), (60, 97), True),
        (("t1", "t2"), (1, 3), True),
        (("t1", "t2"), (0.01, 0.01), False),
        (("elapsed s", "elapsed ms"), (0.5, 500), False),
        (("time h", "time min"), (1, 60), False),
        (("step", "index"), (1, 7), False),
    ],
)
def test_clocks_at_different_paces_are_refused(tmp_path, names, paces, is_refused):
    path = tmp_path / "in.csv"
    rows = [f"{k * paces[0]:.4f},{k * 7 % 11}.5,{k * paces[1]:.4f},{k * 5 % 13}.5" for k in range(200)]
    path.write_text("\n".join([f"{names[0]},a,{names[1]},b", *rows]) + "\n")
    if is_refused:
        with pytest.raises(DataError, match="clocks that go at different paces"):
            read_csv(path)
        assert read_csv(path, ignore_columns=list(names)).columns == ("a", "b")
    else:
        assert {"a", "b"} <= set(read_csv(path).columns)
