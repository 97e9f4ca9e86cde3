"""Known events from a file: which rows they mark, and what is refused in which words."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import FIRST_TIME, HOUR, make_series

from anomaly import DataError
from anomaly.ingest.known_events import read_known_events
from anomaly.series import format_time, labelled_ranges


@pytest.fixture
def series():
    return make_series(n=50, spike=None)


@pytest.fixture
def read(tmp_path, series):
    def read(text, series=series):
        path = tmp_path / "events.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return labelled_ranges(read_known_events(path, series))

    return read


def time(row):
    return format_time(FIRST_TIME + row * HOUR, "timestamp")


@pytest.mark.parametrize("names", ["start,end", "first_time,last_time"])
def test_times_mark_the_rows_from_the_first_to_the_last(read, names):
    assert read(f"{names}\n{time(3)},{time(5)}\n{time(20)},{time(20)}\n") == [(3, 6), (20, 21)]


def test_row_numbers_include_both_ends(read):
    assert read("start_row,end_row,in_train\n3,5,0\n20,20,1\n") == [(3, 6), (20, 21)]


def test_plain_ends_are_row_numbers_where_rows_are_counted(read, series):
    counted = replace(series, times=np.arange(50), time_column=None)
    assert read("start,end\n3,5\n", counted) == [(3, 6)]


def test_the_events_that_detect_writes_are_read_by_their_times(read):
    text = f"start,stop,first_time,last_time,severity\n3,6,{time(3)},{time(5)},2.0\n"
    assert read(text) == [(3, 6)]


def test_a_last_date_without_a_time_is_all_of_that_day(read):
    assert read("start,end\n2022-04-16,2022-04-16\n") == [(19, 43)]  # the series begins at 05:20 the day before


def test_an_event_outside_the_series_is_ignored_beside_others(read):
    assert read("start_row,end_row\n900,950\n3,5\n40,90\n") == [(3, 6), (40, 50)]


def test_labels_of_the_series_are_replaced(read):
    assert read("start_row,end_row\n3,5\n", make_series(n=50, spike=slice(30, 40))) == [(3, 6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a row an event, and columns start and end"),
        ("start_row,end_row\n", "At least one event must lie in the series. Received: 0 outside made (events.csv)"),
        ("from,to\n1,2\n", "Received: 'from', 'to' (events.csv)"),
        ("start_row,end_row\n3,x\n", "must be a row number. Received: 'x' (events.csv, line 2)"),
        ("start_row,end_row\n-3,2\n", "must be a row number. Received: '-3'"),
        ("start_row,end_row\n3\n", "must be a row number. Received: None (events.csv, line 2)"),
        ("start,end\n2022-04-16,soon\n", "must be an ISO 8601 time, for example 2022-05-01T12:00. Received: 'soon'"),
        ("start,end\n2022-04-16,now\n", "Received: 'now'"),
        ("start,end\n2022-04-16,\n", "Received: ''"),
        ("start_row,end_row\n1,2\n5,3\n", "must end after it starts. Received: 5 to 3 (events.csv, line 3)"),
        ("start_row,end_row\n900,950\n", "At least one event must lie in the series. Received: 1 outside made (events.csv)"),
        (b"start,end\n\xff\xfe,1\n", "must be UTF-8 text"),
    ],
)
def test_what_is_refused_is_told_with_its_place(read, text, message):
    with pytest.raises(DataError) as refused:
        read(text)
    assert message in str(refused.value)
