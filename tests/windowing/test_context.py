"""What the network reads beside the features: closed forms of the calendar, which columns are judged, what is refused."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from conftest import HOUR, make_series
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError
from anomaly.series import TimeSeries
from anomaly.windowing.context import Context, calendar_of, check_calendar, judged_first, n_judged_of, with_wide_direction
from anomaly.windowing.scaling import CLIP, Scaler

DAY = 24 * HOUR
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def config(**settings):
    return DetectorConfig.from_settings(settings)


def microseconds(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@given(st.lists(MOMENTS, min_size=1, max_size=5))
def test_the_calendar_is_sine_and_cosine_of_the_clock_and_of_the_week_since_monday(moments):
    found = calendar_of(np.array([microseconds(moment) for moment in moments]), "week")
    for row, moment in zip(found, moments, strict=True):
        of_day = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond)
        day = of_day / timedelta(days=1)
        week = (moment.weekday() + day) / 7
        waves = [f(2 * np.pi * share) for share in (day, week) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(row, np.sqrt(2) * np.array(waves), atol=1e-6)


def test_over_a_week_each_wave_has_mean_0_and_variance_1():
    found = calendar_of(np.arange(7 * 24) * HOUR, "week").astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.var(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(calendar_of(np.arange(30) * HOUR, "day"), calendar_of(np.arange(30) * HOUR, "week")[:, :2])


@given(moment=MOMENTS, weeks=st.integers(-50, 50))
def test_the_calendar_of_a_week_later_is_the_same(moment, weeks):
    times = np.array([microseconds(moment), microseconds(moment) + weeks * 7 * DAY])
    assert np.ptp(calendar_of(times, "week"), axis=0).max() == 0


@pytest.mark.parametrize(("calendar", "n"), [("none", 0), ("day", 2), ("week", 4)])
def test_what_is_read_is_columns_and_calendar_and_judged_are_the_first_columns(calendar, n):
    asked = config(context_columns=("load", "season"), calendar=calendar)
    found = Context.of(asked, 5)
    assert (found.n_judged, found.n_columns, found.n_inputs, found.is_none) == (3, 5, 5 + n, False)
    assert n_judged_of(asked, found.n_inputs) == 3
    assert Context.of(config(), 5) == Context(5, 5)
    assert Context(5, 5).is_none


def test_a_row_is_out_of_range_by_what_is_judged_alone():
    scaler = Scaler(np.zeros(2), np.ones(2))
    values = np.array([[1.0, 2.0], [1.0, 1e300], [1e300, 2.0], [np.nan, -np.inf]])
    read, clipped = Context(1, 2, "day").read(np.arange(4) * HOUR, values, scaler)
    np.testing.assert_array_equal(read[:, :2], [[1, 2], [1, CLIP], [CLIP, 2], [np.nan, -CLIP]])
    np.testing.assert_array_equal(read[:, 2:], calendar_of(np.arange(4) * HOUR, "day"))
    np.testing.assert_array_equal(clipped, [False, False, True, False])


def test_context_stands_behind_the_features_in_the_order_of_the_setting():
    series = make_series(20, 4)
    found = judged_first(config(context_columns=["s3", "s1"]), series)
    assert found.columns == ("s2", "s4", "s3", "s1")
    for name, values in zip(found.columns, found.values.T, strict=True):
        np.testing.assert_array_equal(values, series.values[:, series.columns.index(name)])
    assert judged_first(config(), series) is series


def test_names_are_parsed_as_those_of_value_columns_are():
    assert config(context_columns='load,"pressure, inlet"').context.context_columns == ("load", "pressure, inlet")
    assert config(context_columns=["load"]).to_settings()["context_columns"] == ("load",)


@pytest.mark.parametrize("names", [(), ("a", "a"), ("",), (1.0,), ("a", 2), "a,,b", "", True])
def test_what_is_no_list_of_names_is_refused(names):
    with pytest.raises(ConfigError, match=r"`context_columns` must be names that differ, at least one: load,season. Received: "):
        config(context_columns=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("load", "s1"),
            "`context_columns` must name columns of the data, 's1', 's2'. Received: 'load' (made). Name others, or leave them out.",
        ),
        (
            ("s2", "s1"),
            "`context_columns` must leave a column to be judged. Received: 's2', 's1', which are all (made). "
            "Leave out those that shall raise events.",
        ),
    ],
)
def test_columns_that_are_not_there_or_all_of_them_are_refused(names, message):
    with pytest.raises(ConfigError) as caught:
        judged_first(config(context_columns=names), make_series(20))
    assert str(caught.value) == message


def rows(n, step):
    return TimeSeries(np.arange(n) * step, np.zeros((n, 1)), ("a",), name="made", time_column="time")


@pytest.mark.parametrize(
    ("calendar", "n", "step", "message"),
    [
        (
            "day", 40, DAY,
            "`calendar` must be longer than the step between two rows. Received: calendar=day for a row every day (made). "
            "Leave the calendar out.",
        ),
        (
            "week", 40, 7 * DAY,
            "`calendar` must be longer than the step between two rows. Received: calendar=week for a row every 7 days (made). "
            "Leave the calendar out.",
        ),
        (
            "day", 47, HOUR,
            "`calendar` must be one of which the history has seen 2 days. Received: calendar=day for 1970-01-01T00:00:00Z to "
            "1970-01-02T22:00:00Z (made). Give a longer history, or leave the calendar out.",
        ),
        (
            "week", 13, DAY,
            "`calendar` must be one of which the history has seen 2 weeks. Received: calendar=week for 1970-01-01T00:00:00Z to "
            "1970-01-13T00:00:00Z (made). Give a longer history, or leave the calendar out.",
        ),
    ],
)  # fmt: skip
def test_a_calendar_that_the_history_cannot_teach_is_refused(calendar, n, step, message):
    with pytest.raises(ConfigError) as caught:
        check_calendar(config(calendar=calendar), rows(n, step))
    assert str(caught.value) == message


def test_a_calendar_of_counted_rows_is_refused():
    series = TimeSeries(np.arange(50), np.zeros((50, 1)), ("a",), name="made")
    with pytest.raises(ConfigError, match=r"`calendar` must be none where rows are counted. Received: calendar=day \(made\)."):
        check_calendar(config(calendar="day"), series)


@pytest.mark.parametrize(("calendar", "n", "step"), [("none", 1, DAY), ("day", 48, HOUR), ("week", 14, DAY), ("day", 3, DAY - 1)])
def test_a_calendar_that_the_history_has_seen_twice_is_taken(calendar, n, step):
    check_calendar(config(calendar=calendar), rows(n, step))


def test_a_detector_to_go_on_from_has_seen_the_calendar():
    check_calendar(config(calendar="week"), rows(30, HOUR), seen_before=True)


def test_a_preferred_direction_has_none_in_what_is_not_judged():
    beside = {"context_columns": ("c",), "calendar": "day"}
    assert with_wide_direction(config(direction=[1, -1], **beside), 5).penalty.direction == (1, -1, 0, 0, 0)
    assert with_wide_direction(config(direction=[[1], [2]], **beside), 4).penalty.direction == ((1, 0, 0, 0), (2, 0, 0, 0))
    assert with_wide_direction(config(direction=[1, -1]), 2).penalty.direction == (1, -1)
