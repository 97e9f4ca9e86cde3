"""What Python users hand over: each kind is the right series, or refused with a remedy that works."""

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import DataError
from anomaly.frames.taking import as_time_series
from anomaly.series import TimeSeries

MINUTE = 60_000_000
START = pd.Timestamp("2022-05-01T00:00Z")
START_US = int(START.timestamp()) * 1_000_000


def minutes(n=10):
    return TimeSeries(START_US + np.arange(n) * MINUTE, np.arange(n, dtype=float)[:, None], ("a",), time_column="when")


def test_a_series_from_its_own_frame_is_the_same():
    series = minutes()
    again = as_time_series(series.to_frame())
    np.testing.assert_array_equal(again.times, series.times)
    np.testing.assert_array_equal(again.values, series.values)
    assert (again.columns, again.time_column) == (series.columns, series.time_column)


def test_a_series_is_taken_as_it_is():
    series = minutes()
    assert as_time_series(series) is series


def stamps(**options):
    return pd.date_range("2022-05-01", periods=3, freq="min", **options)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_naive_index_is_utc_whatever_its_unit(unit):
    frame = pd.DataFrame({"a": [1.0, 2, 3]}, index=stamps(unit=unit))
    assert as_time_series(frame).times.tolist() == [START_US, START_US + MINUTE, START_US + 2 * MINUTE]


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_an_index_with_a_zone_is_converted_to_utc(unit):
    frame = pd.DataFrame({"a": [1.0, 2, 3]}, index=stamps(tz="Europe/Berlin", unit=unit))
    assert as_time_series(frame).times[0] == START_US - 120 * MINUTE


def test_the_name_of_a_time_index_is_the_time_column():
    assert as_time_series(pd.DataFrame({"a": [1.0, 2, 3]}, index=stamps(name="when"))).time_column == "when"


def test_a_time_index_without_a_name_is_called_timestamp():
    assert as_time_series(pd.DataFrame({"a": [1.0, 2, 3]}, index=stamps())).time_column == "timestamp"


def test_a_frame_row_without_a_time_is_refused():
    frame = pd.DataFrame({"a": [1.0, 2]}, index=pd.DatetimeIndex(["2022-05-01", pd.NaT]))
    with pytest.raises(DataError, match="Every row must have a time. Received: none for row 1"):
        as_time_series(frame)


def test_a_frame_with_another_index_counts_rows():
    series = as_time_series(pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4]}, index=[7, 9]))
    assert series.times.tolist() == [0, 1]
    assert series.columns == ("a", "b")
    assert series.time_column is None


def test_column_names_of_a_frame_become_text():
    assert as_time_series(pd.DataFrame({1: [1.0], "b": [2.0]})).columns == ("1", "b")


@pytest.mark.parametrize("dtype", ["Float64", "Int64", object])
def test_a_missing_cell_of_a_frame_is_nan(dtype):
    series = as_time_series(pd.DataFrame({"a": pd.array([1, None], dtype=dtype)}))
    np.testing.assert_array_equal(series.values, [[1], [np.nan]])


def test_a_frame_with_text_is_refused():
    with pytest.raises(DataError, match=r"must hold numbers only. Received: .*'x'"):
        as_time_series(pd.DataFrame({"a": [1, "x"]}))


def test_an_array_of_one_dimension_is_one_feature():
    series = as_time_series(np.array([1, 2, 3]))
    assert series.values.tolist() == [[1], [2], [3]]
    assert series.columns == ("feature_1",)


def test_an_array_of_two_dimensions_has_a_feature_a_column():
    series = as_time_series([[1, 2], [3, 4], [5, 6]])
    assert series.columns == ("feature_1", "feature_2")
    assert series.times.tolist() == [0, 1, 2]


def test_an_array_takes_given_names():
    assert as_time_series(np.zeros((2, 2)), ("x", "y")).columns == ("x", "y")


def test_an_array_with_the_wrong_number_of_names_is_refused():
    with pytest.raises(DataError, match="X has 2 features, but Detector is expecting 1 features as input: 'x'."):
        as_time_series(np.zeros((2, 2)), ("x",))


@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
def test_an_array_of_another_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"must have the shape \(n_timesteps, n_features\). Received: \("):
        as_time_series(np.zeros(shape))
