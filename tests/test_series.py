"""The series: slices, cuts, segments, and what can be made into one."""

import naive
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import ConfigError, DataError
from anomaly.series import (
    TimeSeries,
    breaks_between,
    format_time,
    longest_step,
    median_step,
    row_step,
    segments,
    time_index,
)

MINUTE = 60_000_000
START = pd.Timestamp("2022-05-01T00:00Z")
START_US = int(START.timestamp()) * 1_000_000


def minutes(n=10, **changes):
    """Rows a minute apart from 2022-05-01; the value is the row number."""
    fields = {
        "times": START_US + np.arange(n) * MINUTE,
        "values": np.arange(n, dtype=float)[:, None],
        "columns": ("a",),
        "labels": np.arange(n) % 2.0,
        "time_column": "when",
    }
    return TimeSeries(**fields | changes)


def first_values(series):
    return series.values[:, 0].tolist()


def test_the_length_is_the_number_of_timesteps():
    assert len(minutes(7)) == 7


def test_n_features_counts_the_columns():
    assert minutes(3, values=np.zeros((3, 2)), columns=("a", "b")).n_features == 2


@pytest.mark.parametrize("rows", [slice(2, 5), slice(None, -3), slice(-2, None), slice(4, 4), slice(8, 100), slice(0, 3, 1)])
def test_a_slice_takes_the_same_rows_of_times_values_and_labels(rows):
    series = minutes()
    part = series[rows]
    expected = list(range(10))[rows]
    assert first_values(part) == expected
    assert part.times.tolist() == [START_US + row * MINUTE for row in expected]
    assert part.labels.tolist() == [row % 2 for row in expected]


def test_a_slice_keeps_name_columns_and_time_column():
    part = minutes(name="pump")[2:4]
    assert (part.name, part.columns, part.time_column) == ("pump", ("a",), "when")


def test_a_slice_is_a_view():
    series = minutes()
    assert np.shares_memory(series[2:5].values, series.values)


def test_a_slice_without_labels_has_none():
    assert minutes(labels=None)[2:5].labels is None


@pytest.mark.parametrize("rows", [3, slice(None, None, 2), slice(None, None, -1), [1, 2]])
def test_an_index_that_is_not_a_plain_slice_is_refused(rows):
    with pytest.raises(
        TypeError, match=r"A TimeSeries is indexed by a slice of rows or times with step 1, for example \[100:200\]"
    ):
        minutes()[rows]


@pytest.mark.parametrize(
    "changes", [{"values": np.zeros(10)}, {"values": np.zeros((9, 1))}, {"values": np.zeros((10, 2))}, {"columns": ()}]
)
def test_values_that_do_not_fit_times_and_columns_are_refused(changes):
    with pytest.raises(DataError, match="`values` must have one row a time and one column a name"):
        minutes(**changes)


def test_labels_that_do_not_fit_the_times_are_refused():
    with pytest.raises(DataError, match=r"`labels` must have one entry a time \(10\)"):
        minutes(labels=np.zeros(9))


@pytest.mark.parametrize(
    ("when", "row"),
    [
        ("2022-05-01T00:04", 4),
        ("2022-05-01 00:04", 4),
        ("2022-05-01T00:03:00.000001", 4),
        ("2022-05-01T00:04Z", 4),
        ("2022-05-01T02:04+02:00", 4),
        ("2022-04-30T22:04-02:00", 4),
        ("2022-05-01T00:03:59.9999999Z", 4),
        ("2022-05-01", 0),
        ("2022-04", 0),
        ("2022-05-02", 10),
        ("3000-01-01", 10),
        ("1500-01-01", 0),
    ],
)
def test_before_and_since_divide_the_rows_at_a_time(when, row):
    series = minutes()
    assert first_values(series.before(when)) == list(range(row))
    assert first_values(series.since(when)) == list(range(row, 10))


def test_before_and_since_divide_at_the_first_row_that_is_late_enough():
    series = minutes(4, times=START_US + np.array([0, 5, 2, 6]) * MINUTE)
    assert first_values(series.before("2022-05-01T00:04")) == [0]


@given(st.integers(-3, 15))
def test_before_and_since_join_to_the_whole_series(minute):
    series = minutes()
    when = (START + pd.Timedelta(minutes=minute)).isoformat()
    assert first_values(series.before(when)) + first_values(series.since(when)) == first_values(series)


@pytest.mark.parametrize("when", ["noon", "", "NaT", "nan", "01/02/2022", "2022-13-01", "99999-01-01", "12:00"])
def test_a_time_that_is_not_iso_is_refused(when):
    with pytest.raises(ConfigError, match=f"A time must be .*Received: '{when}'"):
        minutes().before(when)


def test_a_cut_by_time_needs_a_time_column():
    with pytest.raises(ConfigError, match="A cut by time needs a time column.*Give a row number"):
        minutes(time_column=None).since("2022-05-01")


@pytest.mark.parametrize(
    ("cut", "row"),
    [
        ("3", 3),
        ("10", 10),
        ("1", 1),
        ("0.5", 5),
        ("0.25", 2),
        ("0.999", 10),
        ("2022-05-01T00:07", 7),
        ("2022-06-01", 10),
    ],
)
def test_cut_row_takes_a_row_number_a_fraction_or_a_time(cut, row):
    assert minutes().cut_row(cut) == row


@pytest.mark.parametrize("cut", ["0", "-3", "11", "0.01", "2022-05-01", "1000000"])
def test_cut_row_refuses_a_cut_outside_the_series(cut):
    with pytest.raises(
        ConfigError, match=rf"at least one row before it, and lie within the 10 rows. Received: {cut}, which is row"
    ):
        minutes().cut_row(cut)


@pytest.mark.parametrize("cut", ["2.5", "-0.5", "nan", "inf", "-inf"])
def test_cut_row_refuses_a_number_that_is_neither_row_nor_fraction(cut):
    with pytest.raises(
        ConfigError, match=f"a whole row number, a fraction below 1, a time, or a span before the end. Received: {cut}"
    ):
        minutes().cut_row(cut)


def test_cut_row_refuses_a_word():
    with pytest.raises(ConfigError, match="A time must be ISO 8601"):
        minutes().cut_row("yesterday")


def test_to_frame_has_utc_times_and_the_columns():
    frame = minutes(3).to_frame()
    assert frame.columns.tolist() == ["a"]
    assert frame.index.name == "when"
    assert frame.index[1] == START + pd.Timedelta(minutes=1)


def test_to_frame_counts_rows_without_a_time_column():
    frame = minutes(3, times=np.arange(3), time_column=None).to_frame()
    assert frame.index.tolist() == [0, 1, 2]
    assert frame.index.name == "row"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (START_US, "2022-05-01T00:00:00Z"),
        (START_US + 1_500_000, "2022-05-01T00:00:01.500000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (np.int64(60_000_000), "1970-01-01T00:01:00Z"),
    ],
)
def test_format_time_is_rfc_3339_in_utc(time, text):
    assert format_time(time, "when") == text


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_a_formatted_time_reads_back(time):
    assert int(np.datetime64(format_time(time, "when").removesuffix("Z"), "us").astype(np.int64)) == time


def test_format_time_is_the_row_number_without_a_time_column():
    assert format_time(41, None) == "41"


def test_time_index_keeps_microseconds():
    assert time_index(np.array([START_US + 1]), "when")[0] == START + pd.Timedelta(microseconds=1)


def test_the_median_step_ignores_repeats_and_steps_back():
    assert median_step(np.array([0, 0, 0, 10, 20, 5, 15])) == 10


@pytest.mark.parametrize("times", [[], [5], [5, 5, 5], [9, 8, 7]])
def test_the_median_step_is_one_if_time_never_advances(times):
    assert median_step(np.array(times, dtype=np.int64)) == 1


def test_auto_allows_ten_median_steps():
    times = np.arange(100) * 10
    times[50:] += 40
    assert longest_step(times, "auto") == 100


def test_a_series_is_irregular_only_above_five_percent_of_long_steps():
    steps = np.full(100, 10)
    steps[:5] = 30
    regular = row_step(np.concatenate([[0], np.cumsum(steps)]), "auto")
    steps[5] = 30
    irregular = row_step(np.concatenate([[0], np.cumsum(steps)]), "auto")
    assert (regular, irregular) == (10, 0)


def test_no_row_is_put_in_where_a_longest_gap_was_given():
    assert row_step(np.arange(10) * 10, 3) == 0


def test_a_given_gap_counts_median_steps():
    assert longest_step(np.arange(10) * 10, 3) == 30


@pytest.mark.parametrize("times", [[], [7]])
def test_longest_step_of_almost_nothing_is_ten(times):
    assert longest_step(np.array(times, dtype=np.int64), "auto") == 10


def test_a_gap_and_a_step_back_are_breaks_but_a_repeat_is_not():
    assert breaks_between(np.array([0, 10, 10, 25, 36, 30]), 15).tolist() == [False, False, False, False, True]
    assert breaks_between(np.array([0, 15, 31]), 15).tolist() == [False, True]


def test_segments_of_no_rows_are_none():
    assert segments(np.empty(0, np.int64), 1) == []


def test_segments_end_at_gaps_and_steps_back():
    assert segments(np.array([0, 1, 2, 3, 10, 11, 5]), 1) == [(0, 4), (4, 6), (6, 7)]


steps_of_a_series = st.lists(st.sampled_from([-7, -1, 0, 0, 1, 1, 1, 1, 2, 3, 9]), max_size=40)


@given(steps_of_a_series, st.integers(1, 4))
def test_segments_agree_with_the_slow_twin(steps, longest):
    times = np.cumsum(steps, dtype=np.int64)
    assert segments(times, longest) == naive.segments(times, longest)


@given(steps_of_a_series)
def test_segments_cover_every_row_once(steps):
    covered = np.zeros(len(steps), int)
    for start, stop in segments(np.cumsum(steps, dtype=np.int64), 2):
        covered[start:stop] += 1
    assert (covered == 1).all()


TIMES, VALUES = START_US + np.arange(3) * MINUTE, np.ones((3, 2))
WRONG_KINDS = {
    "times as they stand": ({"times": TIMES.astype("datetime64[us]")}, "`times`", "pd.DatetimeIndex(times).as_unit('us').asi8"),
    "a list of times": ({"times": TIMES.tolist()}, "`times`", None),
    "times as floats": ({"times": TIMES.astype(float)}, "`times`", None),
    "a frame": ({"values": pd.DataFrame(VALUES)}, "`values`", "np.asarray(values, np.float64)"),
    "objects": ({"values": VALUES.astype(object)}, "`values`", "np.asarray(values, np.float64)"),
    "a list of names": ({"columns": ["a", "b"]}, "`columns`", "tuple(map(str, columns))"),
    "names that are no text": ({"columns": (1, 2)}, "`columns`", "tuple(map(str, columns))"),
    "a list of labels": ({"labels": [0, 1, 0]}, "`labels`", "np.asarray(labels, np.float64)"),
    "no zone": ({"zone": "Mars"}, "`zone`", None),
    "zone of another kind": ({"zone": 1}, "`zone`", None),
}


@pytest.mark.parametrize("what", WRONG_KINDS)
def test_what_is_of_another_kind_is_refused_with_what_makes_it_right(what):
    changes, name, remedy = WRONG_KINDS[what]
    given = {"times": TIMES, "values": VALUES, "columns": ("a", "b"), "time_column": "t"} | changes
    with pytest.raises(DataError, match=f"^{name} of a TimeSeries must be ") as refused:
        TimeSeries(**given)
    if remedy:
        assert remedy in str(refused.value)
        key = name.strip("`")
        assert len(TimeSeries(**given | {key: eval(remedy, {"np": np, "pd": pd, key: given[key]})})) == 3


@pytest.mark.parametrize("when", [5, None, 2.5, np.datetime64("2022-05-01")])
def test_a_cut_by_what_is_no_time_is_refused(when):
    for cut in (minutes().since, minutes().before):
        with pytest.raises(ConfigError, match="A time must be text of ISO 8601 or a datetime. Received: "):
            cut(when)
