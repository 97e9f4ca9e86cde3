"""Times, spans and names as a person reads them."""

import numpy as np
import pandas as pd
import pytest

from anomaly.words import (
    counted,
    digits_apart,
    duration_text,
    names_text,
    number_beside,
    pair_text,
    span_text,
    stamp_text,
    step_text,
    zone_text,
)


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (pd.Timestamp("2014-10-30T16:30"), "2014-10-30 16:30"),
        (pd.Timestamp("2014-10-30T16:30:05"), "2014-10-30 16:30:05"),
        (pd.Timestamp("2014-10-30T16:30:05.25"), "2014-10-30 16:30:05.250000"),
        (pd.Timestamp("2014-10-30T00:00"), "2014-10-30 00:00"),
        (pd.Timestamp("2014-10-30T16:30", tz="Asia/Tokyo"), "2014-10-30 16:30"),
        (pd.Timestamp(np.datetime64("0900-01-01T01:00", "us")), "0900-01-01 01:00"),
        (pd.Period("2014-10", "M"), "2014-10"),
        (7, "row 7"),
        (np.int64(7), "row 7"),
    ],
)
def test_a_time_is_that_of_the_clock_on_the_wall(stamp, text):
    assert stamp_text(stamp) == text


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("2014-10-30T16:30", "2014-11-02T02:00", "2014-10-30 16:30 to 11-02 02:00"),
        ("2014-10-30T16:30", "2014-10-30T18:00", "2014-10-30 16:30 to 18:00"),
        ("2014-10-30T16:30", "2014-10-30T16:30", "2014-10-30 16:30"),
        ("2014-12-30T16:30", "2015-01-02T02:00", "2014-12-30 16:30 to 2015-01-02 02:00"),
        ("2014-10-30", "2014-11-02", "2014-10-30 to 11-02"),
        ("2014-10-30", "2014-10-30T01:00", "2014-10-30 00:00 to 01:00"),
        ("2014-10-30T00:00:01", "2014-10-31", "2014-10-30 00:00:01 to 10-31 00:00"),
    ],
)
def test_the_second_time_leaves_out_what_it_shares(first, last, text):
    assert span_text(pd.Timestamp(first), pd.Timestamp(last)) == text
    assert span_text(pd.Timestamp(first, tz="Europe/Berlin"), pd.Timestamp(last, tz="Europe/Berlin")) == text


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (39197.31, 24000.04, ("39,197", "24,000")),
        (24.26, 55.814, ("24.3", "55.8")),
        (1013.2, 1012.9, ("1,013.2", "1,012.9")),
        (0.0, -0.00004, ("0", "-4e-05")),
        (0.25, -0.00004, ("0.25", "0")),
        (100.0, 100.0, ("100", "100")),
        (2.5e12, 1.0, ("2.5e+12", "1")),
        (1e-7, 3e-9, ("1e-07", "3e-09")),
        (0.0, 0.0, ("0", "0")),
        (-0.0, 1000.0, ("0", "1,000")),
        (120.0, 1.0, ("120", "1")),
        (1e9 + 123, 1e9, ("1000000123", "1000000000")),
        (1e15 + 2, 1e15, ("1000000000000002", "1000000000000000")),
        (-1.00000123e12, -1e12, ("-1.00000123e+12", "-1e+12")),
        (1.00001e-7, 1e-7, ("1.00001e-07", "1e-07")),
    ],
)
def test_two_values_have_the_digits_that_tell_them_apart(one, other, texts):
    assert pair_text(one, other) == texts


@pytest.mark.parametrize(
    ("one", "other", "digits"),
    [
        (1e9 + 123, 1e9, 10),
        (1e9, 2e9, 9),
        (3.0, 3.0, 9),
        (3.0, np.nan, 9),
        (np.inf, 3.0, 9),
        (1e300, -1e300, 9),
        (1.0, 1 + 1e-16 * 3, 17),
    ],
)
def test_more_digits_are_told_only_where_the_difference_needs_them(one, other, digits):
    assert digits_apart(one, other, 9) == digits_apart(other, one, 9) == digits
    assert number_beside(one, other) == f"{one:.{digits}g}"
    assert number_beside(one, None) == f"{one:.9g}"


def test_spans_of_rows_and_of_periods():
    assert span_text(3, 17) == "row 3 to 17"
    assert span_text(3, 3) == "row 3"
    assert span_text(pd.Period("2014-10", "M"), pd.Period("2014-12", "M")) == "2014-10 to 2014-12"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "second"),
        (0.5, "0.5 seconds"),
        (60, "minute"),
        (300, "5 minutes"),
        (90, "1.5 minutes"),
        (3600, "hour"),
        (172800, "2 days"),
    ],
)
def test_a_step_is_told_in_the_largest_unit(seconds, text):
    assert step_text(seconds * 1e6) == text


def test_names_are_no_more_than_a_line():
    assert names_text(("a", "b")) == "a, b"
    assert names_text(tuple("abcde")) == "a, b, c and 2 more"
    assert names_text(("x" * 100,)) == "x" * 60 + "..."
    assert [counted(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


def test_a_zone_is_told_where_there_is_one():
    times = pd.date_range("2024-01-01", periods=2)
    assert [zone_text(index) for index in (times, times.tz_localize("UTC"), pd.RangeIndex(2))] == ["", " UTC", ""]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (46_800, "13 h"),
        (46_830, "13 h"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (86_460, "1 d"),
        (288_000, "3 d 8 h"),
        (100_000_000_000, "1,157,407 d 9 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration_text(round(seconds * 1e6)) == text
