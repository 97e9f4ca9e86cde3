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
        ("start_row,end_row\n", "At least one event must lie in the series. Received: none of made (events.csv)"),
        ("from,to\n1,2\n", "Received: 'from', 'to' (events.csv)"),
        ("start_row,end_row\n3,x\n", "must be a row number. Received: 'x' (events.csv, line 2)"),
        ("start_row,end_row\n-3,2\n", "must be a row number. Received: '-3'"),
        ("start_row,end_row\n3\n", "must have two ends. Received: '3' (events.csv, line 2)"),
        ("start,end\n2022-04-16,soon\n", "must be an ISO 8601 time, for example 2022-05-01T12:00. Received: 'soon'"),
        ("start,end\n2022-04-16,now\n", "Received: 'now'"),
        ("start,end\n,2022-04-16\n", "Received: '' (events.csv, line 2)"),
        (
            "start,end\n3,5\n",
            "Received: '3' (events.csv, line 2). The rows have times; row numbers stand in columns start_row and end_row of a file",
        ),
        ("start,end\n03/04/2022 10:00,03/04/2022 11:00\n", "must be times with one meaning. Received: '03/04/2022 10:00'"),
        ("start,end\n16.04.2022 10:00,soon\n", "Received: 'soon' (events.csv, line 2)"),
        ("start_row,end_row\n1,2\n5,3\n", "must end after it starts. Received: 5 to 3 (events.csv, line 3)"),
        (
            "start_row,end_row\n900,950\n",
            "At least one event must lie in the series. Received: 1 outside of the rows of made (events.csv)",
        ),
        (b"start,end\n\xff\xfe,1\n", "must be UTF-8 text"),
    ],
)
def test_what_is_refused_is_told_with_its_place(read, text, message):
    with pytest.raises(DataError) as refused:
        read(text)
    assert message in str(refused.value)


BERLIN = "Europe/Berlin"
# Rows 3 to 5 of the series, which begins at 2022-04-15T05:20Z, 07:20 in Berlin.
SAME = {
    "semicolons": "start;end\n2022-04-15T10:20;2022-04-15 12:20\n",
    "tabs and a title": "Known events\n\nstart\tend\n2022-04-15T10:20\t2022-04-15T12:20\n",
    "the separator of a spreadsheet": "sep=;\nstart;end\n2022-04-15T10:20;2022-04-15T12:20\n",
    "blanks": 'start, end, note\n2022-04-15T10:20, 2022-04-15T12:20, "one, two"\n',
    "capitals": "\ufeffStart,End\n2022-04-15T10:20,2022-04-15T12:20\n",
    "names with blanks": "First Time,Last time\n2022-04-15T10:20,2022-04-15T12:20\n",
    "a line end in a note": 'note,start,end\n"a\nb",2022-04-15T10:20,2022-04-15T12:20\n',
    "a comma too many": "start,end,note\n2022-04-15T10:20,2022-04-15T12:20,a,b\n",
    "an empty line": "start,end\n,\n2022-04-15T10:20,2022-04-15T12:20\n\n",
    "names once more": "start,end\n2022-04-15T10:20,2022-04-15T12:20\nstart,end\n",
    "offsets": "start,end\n2022-04-15T08:20Z,2022-04-15T12:20+02:00\n",
    "an offset and none": "start,end\n2022-04-15T08:20Z,2022-04-15T12:20\n",
    "days first": "start,end\n15.04.2022 10:20,15.04.2022 12:20\n",
    "months by name": "start,end\n15-Apr-2022 10:20,15-Apr-2022 12:20\n",
    "epoch seconds": "start,end\n1650010800,1650018000\n",
    "epoch milliseconds": "start,end\n1650010800000,1650018000000\n",
    "row numbers": "start_row,end_row\n3,5\n",
    "row numbers of a spreadsheet": "start_row,end_row\n3.0,5.0\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_events_are_read_in_any_dialect_on_the_clock_of_the_data(read, series, text):
    assert read(text, replace(series, zone=BERLIN)) == [(3, 6)]


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("start,end\n2022-04-15T10:20,\n", [(3, 50)]),  # it still goes on
        ("start_row,end_row\n3,\n", [(3, 50)]),
        ("start,end\n2022-04-15T10:20,NaT\n", [(3, 50)]),
        ("start,end\n2022-04-16,2022-04-16\n", [(17, 41)]),  # the day of Berlin
        ("start,end\n16.04.2022,16.04.2022\n", [(17, 41)]),
        ("start,end\n20220416,20220416\n", [(17, 41)]),
        ("start,end\n2022-04-15T10:30,2022-04-15T10:40\n", [(3, 4)]),  # between two rows: the nearer one
        ("start,end\n2022-04-15T10:55,2022-04-15T11:00\n", [(4, 5)]),
    ],
)
def test_ends_that_are_empty_days_or_between_rows(read, series, text, ranges):
    assert read(text, replace(series, zone=BERLIN)) == ranges


def test_the_order_of_day_and_month_is_that_of_the_data(tmp_path, series):
    path = tmp_path / "events.csv"
    path.write_text("start,end\n04/05/2022 06:20,04/05/2022 07:20\n")
    moved = replace(series, times=series.times + 19 * 24 * HOUR)  # to the 4th of May
    said = read_known_events(path, moved, time_format="%d/%m/%Y %H:%M")
    told = read_known_events(path, replace(moved, reading={"time_format": "%d/%m/%Y %H:%M:%S"}))
    assert labelled_ranges(said) == labelled_ranges(told) == [(1, 3)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([(3, 5)], ""),
        ([(3, 5), (900, 901)], "1 of 2 known events covers no row and is left out: 1 outside of the rows (events.csv)."),
        ([(3, 5), (22, 24)], "1 of 2 known events covers no row and is left out: 1 in a gap between two rows (events.csv)."),
        ([(3, 5), (24, 25), (-9, -8), (900, 901)], "3 of 4 known events cover no row and are left out: 2 outside of the rows and 1 "
         "in a gap between two rows (events.csv)."),
        ([(3, 5), (22, 34)], ""),
    ],
)  # fmt: skip
def test_events_that_cover_no_row_are_told(tmp_path, series, lines, said):
    path, told = tmp_path / "events.csv", []
    path.write_text("start,end\n" + "".join(f"{time(a)},{time(b)}\n" for a, b in lines))
    gapped = replace(series, times=series.times + np.where(np.arange(50) >= 21, 9 * HOUR, 0))
    found = read_known_events(path, gapped, warn=told.append)
    assert labelled_ranges(found)[0] == (3, 6)
    assert [text.removeprefix("Warning: ") for text in told] == ([said] if said else [])
