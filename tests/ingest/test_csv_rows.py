"""CSV text in, checked numbers out; every refusal says what, where and what to do."""

import gzip
import io
import math
import os
import re
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from anomaly.cli.options import read_direction
from anomaly.errors import AnomalyError, ConfigError, DataError, StorageError
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.meaning.sentinels import MISSING_TEXT, sentinels_of

NOON = "2022-05-01T12:00:00Z"
NOON_US = 1_651_406_400_000_000


@pytest.fixture
def write(tmp_path):
    """Write text or bytes as a file and return its path."""

    def writer(content, name="in.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return writer


@pytest.fixture
def read(write):
    """Read text or bytes as a CSV file."""
    return lambda content, **options: read_csv(write(content), **options)


@pytest.fixture
def stdin(monkeypatch):
    """Give bytes on standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


def values_of(series):
    return series.values.tolist()


# Columns


def test_every_column_but_the_time_is_a_feature_in_file_order(read):
    series = read(f"b,timestamp,a\n1,{NOON},2\n")
    assert series.columns == ("b", "a")
    assert values_of(series) == [[1, 2]]


def test_value_columns_are_read_in_the_order_asked_for(read):
    series = read("a,b,c\n1,2,3\n4,5,6\n", value_columns=["c", "a"])
    assert series.columns == ("c", "a")
    assert values_of(series) == [[3, 1], [6, 4]]


def test_a_column_that_is_not_asked_for_may_hold_anything(read):
    assert values_of(read("a,note\n1,hello\n2,\n", value_columns=["a"])) == [[1], [2]]


def test_the_label_column_is_never_a_feature(read):
    series = read("a,label\n1,0\n2,1\n", label_column="label")
    assert series.columns == ("a",)
    assert series.labels.tolist() == [0, 1]


def test_a_missing_label_is_zero(read):
    assert read("a,label\n1,\n2,1\n", label_column="label").labels.tolist() == [0, 1]


def test_without_a_label_column_there_are_no_labels(read):
    assert read("a\n1\n").labels is None


def test_blanks_around_a_column_name_are_not_part_of_it(read):
    assert read("a, b\n1,2\n").columns == ("a", "b")


def test_a_quoted_column_name_may_hold_a_comma(read):
    assert read('"a,b",c\n1,2\n').columns == ("a,b", "c")


def test_the_name_of_a_series_is_the_file_name(read):
    assert read("a\n1\n").name == "in.csv"


# Times


@pytest.mark.parametrize(
    "text",
    [
        NOON,
        "2022-05-01T12:00:00",
        "2022-05-01 12:00",
        "2022-05-01T12:00:00.000000Z",
        "2022-05-01T12:00:00.000000000Z",
        "2022-05-01T14:00:00+02:00",
        "2022-05-01T07:30:00-0430",
        "20220501T120000Z",
        '"2022-05-01T12:00:00Z"',
        "1651406400",
        "1651406400.0",
        "1.6514064e9",
        "1651406400000",
        "1651406400000000",
        "1651406400000000000",
    ],
)
def test_a_time_is_iso_or_an_epoch_number_and_utc_unless_it_says_otherwise(read, text):
    assert read(f"timestamp,a\n{text},1\n").times.tolist() == [NOON_US]


def test_forms_of_iso_may_be_mixed(read):
    series = read("time,a\n2022-05-01T12:00:00Z,1\n20220501T00Z,2\n2022-05-01T12:00:00.5+01:00,3\n")
    assert series.times.tolist() == [NOON_US, NOON_US - 12 * 3_600_000_000, NOON_US - 3_600_000_000 + 500_000]


def test_a_date_alone_has_no_offset(read):
    assert read("time,a\n2022-05-01T12:00:00,1\n2022-05-01,2\n").times.tolist() == [NOON_US, NOON_US - 12 * 3_600_000_000]
    with pytest.raises(DataError, match="Times must all have an offset from UTC, or none of them. Received: '2022-05-01' after"):
        read("time,a\n2022-05-01T12:00:00Z,1\n2022-05-01,2\n")


@pytest.mark.parametrize(("stamp", "microseconds"), [("0", 0), ("0.25", 250_000), ("-86400", -86_400_000_000)])
def test_epoch_seconds_near_1970_are_seconds(read, stamp, microseconds):
    assert read(f"time,a\n{stamp},1\n").times.tolist() == [microseconds]


@pytest.mark.parametrize(
    ("stamps", "microseconds"),
    [
        (["99999999999", "0"], [99_999_999_999_000_000, 0]),
        (["100000000000", "5"], [100_000_000_000_000, 5_000]),
        (["100000000000000", "5"], [100_000_000_000_000, 5]),
        (["100000000000000000", "5000"], [100_000_000_000_000, 5]),
    ],
)
def test_the_first_epoch_number_decides_the_unit_of_all(read, stamps, microseconds):
    assert read("time,a\n" + "".join(f"{stamp},1\n" for stamp in stamps)).times.tolist() == microseconds


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_every_microsecond_survives(tmp_path_factory, microsecond):
    year = np.datetime64(microsecond, "us").astype("datetime64[Y]").astype(int) + 1970
    assume(not any(first - 1 <= year <= last for first, last in ((1300, 1500), (2300, 2900))))  # years of other calendars
    path = tmp_path_factory.mktemp("times") / "in.csv"
    path.write_text(f"time,a\n{np.datetime64(microsecond, 'us')}Z,1\n")
    assert read_csv(path).times.tolist() == [microsecond]


@pytest.mark.parametrize("name", ["timestamp", "time", "datetime", "date", "ds", "Timestamp", "DATE"])
def test_a_time_column_is_found_by_its_name(read, name):
    assert read(f"a,{name}\n1,{NOON}\n").time_column == name


def test_the_first_of_two_time_names_is_taken(read):
    series = read("a,time,date\n1,100,200\n")
    assert series.time_column == "time"
    assert series.columns == ("a", "date")


def test_a_first_column_of_iso_times_is_a_time_column_whatever_its_name(read):
    assert read(f"when,a\n{NOON},1\n").time_column == "when"


@pytest.mark.parametrize("cell", ["5", "", "nan"])
def test_a_first_column_of_numbers_is_a_feature(read, cell):
    series = read(f"when,a\n{cell},1\n")
    assert series.time_column is None
    assert series.columns == ("when", "a")


def test_without_a_time_column_rows_are_counted(read):
    series = read("a\n5\n6\n7\n")
    assert series.times.tolist() == [0, 1, 2]
    assert series.time_column is None


def test_none_counts_rows_even_if_there_is_a_time_column(read):
    series = read("time,a\n5,1\n6,2\n", time_column=None)
    assert series.times.tolist() == [0, 1]
    assert series.columns == ("time", "a")


def test_a_named_time_column_is_used_and_others_are_features(read):
    series = read("time,stamp,a\n7,100,1\n", time_column="stamp")
    assert series.times.tolist() == [100_000_000]
    assert series.columns == ("time", "a")


def test_rows_stay_in_file_order_even_if_time_steps_back(read):
    assert read("time,a\n20,1\n10,2\n10,3\n").times.tolist() == [20_000_000, 10_000_000, 10_000_000]


# Values


@pytest.mark.parametrize("text", MISSING_TEXT)
def test_a_missing_cell_is_nan(read, text):
    np.testing.assert_array_equal(read(f"a,b\n1,2\n{text},3\n").values, [[1, 2], [np.nan, 3]])


def test_a_column_without_any_value_is_all_nan(read):
    assert np.isnan(read("a,b\n1,\n2,\n").values[:, 1]).all()


@pytest.mark.parametrize("text", ["inf", "-inf", "1e999"])
def test_an_infinite_value_is_kept_for_the_detector_to_judge(read, text):
    assert math.isinf(values_of(read(f"a\n{text}\n"))[0][0])


@pytest.mark.parametrize(("text", "value"), [("-1.5e-3", -0.0015), ("+3", 3), (".5", 0.5), ("5.", 5), (" 2 ", 2), ('"7"', 7)])
def test_a_number_may_be_written_in_any_usual_way(read, text, value):
    assert values_of(read(f"a,b\n{text},0\n")) == [[value, 0]]


def test_an_integer_beyond_64_bits_is_a_number(read):
    assert values_of(read(f"a\n{10**30}\n{2**64 - 1}\n-1\n")) == [[1e30], [2.0**64], [-1]]


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_every_float_survives_being_written_and_read(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("floats") / "in.csv"
    path.write_text("a\n" + "".join(f"{number!r}\n" for number in numbers))
    np.testing.assert_array_equal(read_csv(path).values[:, 0], numbers)


# Encodings and line ends


def test_a_gzip_file_is_read_whatever_its_name(write):
    assert values_of(read_csv(write(gzip.compress(b"a,b\n1,2\n"), "in.dat"))) == [[1, 2]]


def test_a_byte_order_mark_is_not_part_of_the_first_name(read):
    assert read(b"\xef\xbb\xbfa,b\n1,2\n").columns == ("a", "b")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(read, end):
    series = read(end.join(["a,b", "1,2", "3,4", ""]))
    assert series.columns == ("a", "b")
    assert values_of(series) == [[1, 2], [3, 4]]


def test_the_last_line_needs_no_end(read):
    assert values_of(read("a\n1\n2")) == [[1], [2]]


def test_names_may_hold_any_letters(read):
    assert read("Größe,温度\n1,2\n").columns == ("Größe", "温度")


def test_blank_lines_are_skipped(read):
    assert values_of(read("a,b\n\n1,2\n  \n\n3,4\n\n")) == [[1, 2], [3, 4]]


def test_a_blank_line_of_a_file_with_one_column_is_a_missing_value(read):
    assert np.isnan(values_of(read("a\n1\n\n3\n"))).ravel().tolist() == [False, True, False]
    assert np.isnan(values_of(read("a\n\n\n"))).ravel().tolist() == [True, True]


def test_blank_lines_count_as_lines_in_messages(read):
    with pytest.raises(DataError, match="'x' on line 5"):
        read("a\n\n1\n\nx\n")


def test_a_dash_reads_standard_input(stdin):
    stdin(b"a\n1\n2\n")
    series = read_csv("-")
    assert values_of(series) == [[1], [2]]
    assert series.name == "standard input"


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(b"a\n1\n2\n")), daemon=True)
    writer.start()
    assert values_of(read_csv(pipe)) == [[1], [2]]
    writer.join(timeout=30)


# Chunks


def chunks_of(path, chunk_bytes, **options):
    with CsvReader(path, chunk_bytes=chunk_bytes, **options) as reader:
        return list(reader)


def test_a_chunk_holds_about_as_much_text_as_asked_for(write):
    chunks = chunks_of(write("a\n" + "123456789\n" * 100), 50)
    assert max(len(chunk.lines) for chunk in chunks) <= 6
    assert sum(len(chunk.lines) for chunk in chunks) == 100


@pytest.mark.parametrize("text", ["0.1,0.2\n1,2\n", "0.1;0.2\n1;2\n", "1\n2\n"])
def test_a_file_without_a_header_is_refused(read, text):
    with pytest.raises(DataError, match="must name the columns"):
        read(text)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_told_by_the_header(read, delimiter):
    assert values_of(read(f"a{delimiter}b\n1{delimiter}2\n")) == [[1, 2]]


def test_a_comma_in_the_header_is_the_delimiter_whatever_else_is_in_it(read):
    assert read("a;x,b|y\n1,2\n").columns == ("a;x", "b|y")


def test_decimal_commas_beside_decimal_points_are_refused_as_text(read):
    with pytest.raises(DataError, match="Column 'a' must hold numbers. Received: '2,5' on line 2"):
        read("a;b\n2,5;1\n3.5;1\n")


def test_compact_dates_are_dates_and_not_epoch_seconds(read):
    series = read("date,a\n20220131,1\n20220201,2\n")
    assert np.diff(series.times).tolist() == [86_400_000_000]
    assert series.times[0] == 1_643_587_200_000_000


def test_the_time_of_reading_is_no_time(read):
    with pytest.raises(DataError, match="must hold ISO 8601 times"):
        read("time,a\n2022-01-31,1\nnow,2\n")


def test_lines_are_kept_as_they_stand_in_the_file(write):
    lines = ['"1" ,2,"x, ""y"""', " 3,NaN,z", "4.50,,"]
    (chunk,) = chunks_of(write("a,b,note\r\n" + "\r\n".join(lines) + "\r\n"), 1000, value_columns=["b"])
    assert chunk.lines == lines


def test_the_header_line_is_kept_as_it_stands(write):
    with CsvReader(write('a, "b"\r\n1,2\n')) as reader:
        assert reader.header_line == 'a, "b"'


def test_chunks_hold_every_line_in_order(write):
    lines = [f"{i},{i * 2}" for i in range(200)]
    chunks = chunks_of(write("a,b\n" + "\n".join(lines)), 17)
    assert [line for chunk in chunks for line in chunk.lines] == lines


def outcome(path, chunk_bytes, **options):
    """Everything a reader says about a file, or its refusal."""
    try:
        chunks = chunks_of(path, chunk_bytes, **options)
    except AnomalyError as error:
        return type(error).__name__, str(error)
    times = np.concatenate([np.empty(0, np.int64), *(chunk.times for chunk in chunks)])
    values = np.concatenate([np.empty((0, 1)), *(chunk.values[:, :1] for chunk in chunks)])
    return times.tolist(), values.view(np.int64).tolist(), [line for chunk in chunks for line in chunk.lines]


plain_cells = st.sampled_from(["", "0", "1", "-1", "NaN", "inf", "18446744073709551615", "1e400", " 2 ", '"3"']) | st.floats().map(
    repr
).filter(lambda cell: not re.fullmatch(r"-?\d{1,3}\.\d{3}", cell))  # which may be thousands
odd_cells = st.sampled_from(["True", "False", "x", "0x10", "1_0", "123456789012345678901234567890", " ", " inf", "now and then"])
time_cells = st.sampled_from(["0", "5", "6.5", "2022-05-01", NOON, "1651406400000", "", "x", "20220501", "1e300"])


@given(st.lists(st.tuples(time_cells | st.just("5"), plain_cells | odd_cells), max_size=6), st.integers(1, 30))
@example([("5", "True"), ("5", "1.5")], 1)
@example([("5", ""), ("5", "True")], 1)
@example([("5", ""), ("5", "True"), ("5", "1.5")], 1)
@example([("5", ""), ("5", "1.5"), ("5", "True")], 1)
@example([("5", "0"), ("5", "True")], 1)
@example([("5", ""), ("5", "1"), ("5", "True")], 1)
@example([("5", "0"), ("5", "2"), ("5", "True")], 1)
@example([("5", "0"), ("5", "-0.0"), ("5", "True")], 1)
@example([("5", "123456789012345678901234567890"), ("5", "1_0")], 1)
@example([("5", "1"), (NOON, "1")], 1)
@example([(NOON, "1"), ("5", "1")], 1)
@example([("5", "1"), ("", "1")], 1)
def test_chunking_never_changes_what_is_read_or_refused(tmp_path_factory, rows, chunk_bytes):
    path = tmp_path_factory.mktemp("chunks") / "in.csv"
    path.write_text("time,a\n" + "".join(f"{time},{cell}\n" for time, cell in rows))
    whole, in_pieces = outcome(path, 1 << 20), outcome(path, chunk_bytes)
    if isinstance(whole[1], str):
        # Times that often go back are refused by the first chunk, and a piece of a row has no order.
        assume("steps back in the first" not in whole[1])
        # A later chunk is not looked at once an earlier one is refused, so only the kind of refusal must agree.
        assert in_pieces[0] == whole[0]
    else:
        assert in_pieces == whole


@given(st.lists(st.tuples(plain_cells, plain_cells, st.sampled_from(["0", "1", ""])), min_size=1, max_size=30), st.integers(1, 60))
@example([("1", "2", "0")] * 20 + [("1e400", "3", "")] * 3 + [("0", "-9e302", "")] * 2 + [("0.0", "-1.7e308", "1")] * 3, 9)
def test_chunking_never_changes_values_and_labels(tmp_path_factory, rows, chunk_bytes):
    path = tmp_path_factory.mktemp("chunks") / "in.csv"
    path.write_text("a,b,label\n" + "".join(",".join(row) + "\n" for row in rows))
    whole = read_csv(path, label_column="label")
    chunks = chunks_of(path, chunk_bytes, label_column="label")
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), whole.values)
    np.testing.assert_array_equal(np.nan_to_num(np.concatenate([chunk.labels for chunk in chunks])), whole.labels)
    np.testing.assert_array_equal(np.concatenate([chunk.times for chunk in chunks]), whole.times)


# Refusals: the header


def test_an_empty_file_is_refused(read):
    with pytest.raises(DataError, match=r"must begin with a header line. Received: an empty file \(in\.csv\)"):
        read("")


def test_a_blank_first_line_is_refused(read):
    with pytest.raises(DataError, match=r"must begin with a header line. Received: a blank first line"):
        read("\na,b\n1,2\n")


def test_a_file_without_records_is_refused(read):
    with pytest.raises(DataError, match=r"at least one record after its header. Received: 0 \(in\.csv\)"):
        read("a,b\n\n\n")


def test_repeated_column_names_are_refused_all_at_once(read):
    with pytest.raises(DataError, match=r"Column names must differ. Received: 'a', 'c' more than once \(in\.csv, line 1\)"):
        read("a,b,a,c,c\n1,2,3,4,5\n")


def test_an_empty_column_name_is_refused_by_its_position(read):
    with pytest.raises(DataError, match=r"Every column must have a name. Received: no name for column 2 of 3"):
        read("a,,c\n1,2,3\n")


def test_an_open_quote_in_the_header_is_refused(read):
    with pytest.raises(DataError, match=r"must end on its own line. Received: an open quote \(in\.csv, line 1\)"):
        read('"a,b\n1,2\n')


def test_read_csv_names_every_missing_column(read):
    expected = r"The value columns must be in the header. Received: no 'x', 'y' among 'a', 'b' \(in\.csv, line 1\).*--value-columns"
    with pytest.raises(DataError, match=expected):
        read("a,b\n1,2\n", value_columns=["x", "a", "y"])


def test_a_missing_time_column_is_refused(read):
    with pytest.raises(DataError, match=r"The time column must be in the header. Received: no 'when' among 'a'.*--time-column"):
        read("a\n1\n", time_column="when")


def test_a_missing_label_column_is_refused(read):
    with pytest.raises(DataError, match=r"The label column must be in the header. Received: no 'label' among 'a'.*--label-column"):
        read("a\n1\n", label_column="label")


def test_a_value_column_that_is_the_label_column_is_refused(read):
    with pytest.raises(DataError, match="must not be the time, label or id column too. Received: 'label'"):
        read("a,label\n1,0\n", value_columns=["a", "label"], label_column="label")


def test_a_label_column_that_is_the_time_column_is_refused(read):
    with pytest.raises(ConfigError, match="The time, label and id columns must differ. Received: .time., .time."):
        read("time,a\n1,2\n", label_column="time")


@pytest.mark.parametrize(("wanted", "shown"), [([], "none"), (["a", "a"], "'a', 'a'")])
def test_no_value_column_or_one_twice_is_refused(read, wanted, shown):
    with pytest.raises(ConfigError, match=f"must be at least one and differ. Received: {shown}"):
        read("a,b\n1,2\n", value_columns=wanted)


def test_a_file_of_times_alone_is_refused(read):
    with pytest.raises(DataError, match=r"at least one value column. Received: 'time' .*separated by commas"):
        read("time\n1\n")


# Refusals: the records


def test_text_in_a_value_column_is_refused_by_column_line_and_text(read):
    with pytest.raises(DataError, match=r"Column 'b' must hold numbers. Received: 'oops' on line 3 \(in\.csv\).*--ignore-columns"):
        read("a,b\n1,2\n3,oops\n")


def test_the_first_five_wrong_cells_are_listed(read):
    with pytest.raises(DataError, match=r"'u' on line 2, 'v' on line 4, 'w' on line 5, 'x' on line 6, 'y' on line 7 \(in"):
        read("a\nu\n1\nv\nw\nx\ny\nz\n")


def test_a_long_wrong_cell_is_shortened(read):
    with pytest.raises(DataError) as caught:
        read("a\n" + "x" * 5000 + "\n")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["0x10", "1_000", "1e", "+-", "1;2", "1 2"])
def test_what_only_looks_like_a_number_is_refused(read, text):
    with pytest.raises(DataError, match="Column 'a' must hold numbers"):
        read(f"a,b\n0,1\n{text},1\n")


@pytest.mark.parametrize("first", ["1,2\n", ""])
@pytest.mark.parametrize(("record", "found"), [("1,2,3", 3), ("1", 1), ("1,2,", 3), ('1,"2",3', 3), ('"1,2"', 1)])
def test_a_record_with_another_number_of_fields_is_refused(read, first, record, found):
    line = 2 + first.count("\n")
    expected = rf"as many fields as the header \(2\). Received: {found} \(in\.csv, line {line}\). Mend the line"
    with pytest.raises(DataError, match=expected):
        read(f"a,b\n{first}{record}\n")


def test_a_file_whose_every_record_is_long_is_refused(read):
    with pytest.raises(DataError, match=r"as many fields as the header \(2\). Received: 3 \(in\.csv, line 2\)"):
        read("a,b\n1,2,3\n4,5,6\n")


def test_an_open_quote_in_a_record_is_refused(read):
    with pytest.raises(DataError, match=r"A quoted field must end on its own line. Received: an open quote \(in\.csv, line 3\)"):
        read('a,note\n1,x\n2,"y\nz"\n', value_columns=["a"])


def test_a_field_that_is_too_large_to_split_is_refused(read):
    with pytest.raises(DataError, match=r"must be a CSV record. Received: field larger than field limit .* \(in\.csv, line 2\)"):
        read('a,b\n"' + "x" * 140_000 + '",1\n')


@pytest.mark.parametrize("text", ["yesterday", "2022-13-01", "05/01/2022", "2022-05-01T25:00", "True"])
def test_a_time_that_is_not_a_time_is_refused_by_line_and_text(read, text):
    expected = rf"Column 'time' must hold ISO 8601 times or epoch numbers. Received: '{text}' \(in\.csv, line 3\).*--time-column"
    with pytest.raises(DataError, match=expected):
        read(f"time,a\n{NOON},1\n{text},2\n")


@pytest.mark.parametrize("first", [NOON, "1651406400"])
def test_a_missing_time_is_refused_on_its_own_line(read, first):
    with pytest.raises(
        DataError,
        match=r"must hold a time on every record. Received: nothing, or what means that it is missing \(in\.csv, line 3\)",
    ):
        read(f"time,a\n{first},1\n,2\n{first},3\n")


@pytest.mark.parametrize("text", ["1651406400000", "1e300", "inf", "-1e18"])
def test_an_epoch_number_out_of_the_unit_of_the_first_is_refused(read, text):
    with pytest.raises(DataError, match=rf"epoch numbers. Received: '{text}' \(in\.csv, line 3\)"):
        read(f"time,a\n1651406400,1\n{text},2\n")


def test_an_iso_time_among_epoch_numbers_is_refused(read):
    with pytest.raises(DataError, match=rf"Received: '{NOON}' \(in\.csv, line 3\)"):
        read(f"time,a\n1651406400,1\n{NOON},2\n")


def test_an_epoch_number_among_iso_times_is_refused(read):
    with pytest.raises(DataError, match=r"Received: '1651406400' \(in\.csv, line 3\)"):
        read(f"time,a\n{NOON},1\n1651406400,2\n")


@pytest.mark.parametrize(("text", "shown"), [("2", "2"), ("0.5", "0.5"), ("-2", "-2")])
def test_a_label_other_than_zero_and_one_is_refused(read, text, shown):
    with pytest.raises(DataError, match=rf"'label' must hold 0 or 1. Received: {shown} \(in\.csv, line 3\)"):
        read(f"a,label\n1,0\n2,{text}\n", label_column="label")


def test_a_label_of_text_is_refused(read):
    with pytest.raises(DataError, match=r"must hold 0 and 1, or words that say no and yes: .* Received: 'bad' \(in\.csv, line 2\)"):
        read("a,label\n1,bad\n", label_column="label")


# Refusals: the file


def test_a_file_that_is_not_utf8_is_refused_by_its_byte(read):
    with pytest.raises(
        DataError, match=r"must be UTF-8 text, or UTF-16 with a byte order mark. Received: byte 0xfc \(in\.csv, after line .*iconv"
    ):
        read("a,b\n1,2\nü,3\n".encode("latin-1"))


def test_a_header_that_is_not_utf8_is_refused(read):
    with pytest.raises(DataError, match="must be UTF-8 text, .* Received: byte 0xfc"):
        read("ü,b\n1,2\n".encode("latin-1"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_byte_order_mark_tells_the_encoding(read, encoding):
    assert read("ü,b\n1,2\n".encode(encoding)).columns == ("ü", "b")


def test_half_a_character_of_utf_16_is_refused(read):
    with pytest.raises(DataError, match="must be UTF-8 text, or UTF-16"):
        read("a,b\n1,2\n".encode("utf-16")[:-1])


def test_a_truncated_gzip_file_is_refused(read):
    whole = gzip.compress(b"a\n" + b"".join(b"%d\n" % (i * i) for i in range(5000)))
    with pytest.raises(DataError, match=r"The gzip file must be complete. Received: .*ended before.* \(in\.csv\)"):
        read(whole[: len(whole) // 2])


@pytest.mark.parametrize("position", [12, 40, -6])
def test_a_damaged_gzip_file_is_refused(read, position):
    damaged = bytearray(gzip.compress(b"a\n" + b"".join(b"%d\n" % (i * i) for i in range(5000))))
    damaged[position] ^= 0xFF
    with pytest.raises(DataError):
        read(bytes(damaged))


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"must be a readable file. Received: .*none\.csv \(No such file or directory\)"):
        read_csv(tmp_path / "none.csv")


def test_a_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="must be a readable file"):
        read_csv(tmp_path)


def test_a_disk_that_fails_while_reading_is_a_storage_error(write):
    with CsvReader(write("a\n1\n")) as reader:

        def fail(*_):
            raise OSError(5, "Input/output error")

        reader._pending = []
        reader._lines._handle.read = fail
        with pytest.raises(StorageError, match=r"Received: in\.csv \(Input/output error\)"):
            reader._read_lines()


@pytest.mark.parametrize("content", [b"a\n1\n", gzip.compress(b"a\n1\n")], ids=["plain", "gzip"])
def test_the_file_is_closed_at_the_end_of_the_block(write, content):
    with CsvReader(write(content)) as reader:
        pass
    assert reader._lines._handle.closed


def test_a_refused_header_leaves_no_file_open(write):
    path = write("a,a\n1,2\n")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(DataError):
        CsvReader(path)
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


# The preferred direction


def test_a_direction_is_read_from_numbers():
    assert read_direction("1,0,-1.5") == (1.0, 0.0, -1.5)


def test_a_direction_is_read_from_a_file_of_one_line(write):
    assert read_direction(str(write("1,0,-1\n"))) == (1.0, 0.0, -1.0)


def test_a_direction_for_each_timestep_is_read_from_a_file_of_several_lines(write):
    assert read_direction(str(write("1,0\n0,1\n-1,0\n"))) == ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))


def test_a_direction_for_each_timestep_of_one_feature_is_read_as_rows(write):
    assert read_direction(str(write("1\n-1\n"))) == ((1.0,), (-1.0,))


@pytest.mark.parametrize("text", ["", "up", "1,,2", "none.csv"])
def test_a_direction_that_is_neither_numbers_nor_a_file_is_refused(text):
    with pytest.raises(
        ConfigError, match=f"`direction` must be numbers separated by commas, or a file of them. Received: '{text}'"
    ):
        read_direction(text)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "1,2\n3\n"])
def test_a_direction_file_with_anything_but_numbers_is_refused(write, content):
    with pytest.raises(ConfigError, match="`direction` must be numbers"):
        read_direction(str(write(content)))


def test_an_empty_direction_file_is_refused(write):
    with pytest.raises(ConfigError, match="`direction` must be numbers"):
        read_direction(str(write("")))


def test_a_read_file_agrees_with_a_plain_parser(csv_path):
    frame = pd.read_csv(csv_path)
    series = read_csv(csv_path, label_column="label")
    np.testing.assert_array_equal(series.values, frame[["s1", "s2"]].to_numpy())
    np.testing.assert_array_equal(series.labels, frame["label"].to_numpy())


def test_the_largest_numbers_there_are_are_read_without_a_word(read):
    """Their differences overflow, in what looks for marks of missing values and for sums below a table too."""
    values = np.random.default_rng(0).uniform(0.1, 1.7, 500) * 1e308 * np.tile([1, -1], 250)
    series = read("a,b\n" + "".join(f"{value!r},{i % 7}\n" for i, value in enumerate(values.tolist())))
    np.testing.assert_array_equal(series.values[:, 0], values)
    assert sentinels_of(series.values, series.columns) == []
