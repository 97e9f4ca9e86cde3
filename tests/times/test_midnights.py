"""Times whose zeros are left out, days that end at 24:00, and what stands behind a time in columns of its own."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError, read_csv
from anomaly.times.written import moments_by

# Over four midnights, beginning at an hour of two digits and in the middle of a day.
HOURS = pd.date_range("2024-03-13 11:00", periods=100, freq="h")
HALVES = pd.date_range("2024-03-13 23:59:30", periods=200, freq="500ms")


def without_midnight(how, date):
    return lambda time: time.strftime(date if time == time.normalize() else how)


def at_24(how, date=None):
    def spelled(time):
        if time != time.normalize():
            return time.strftime(how)
        before = (time - pd.Timedelta(days=1)).strftime(how)
        return before.replace("00:00", "24:00", 1).replace(" 00", " 24", 1) if ":" in before else before[:-2] + "24"

    return spelled


def without_fraction(how):
    return lambda time: time.strftime(how)[:-3] if time.microsecond else time.strftime(how.replace(".%f", "").replace(",%f", ""))


SPELLINGS = {
    "German, no midnight": (HOURS, without_midnight("%d.%m.%Y %H:%M", "%d.%m.%Y")),
    "American, no midnight": (HOURS, without_midnight("%m/%d/%Y %H:%M:%S", "%m/%d/%Y")),
    "halves of the day, no midnight": (HOURS, without_midnight("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y")),
    "ISO, no midnight": (HOURS, without_midnight("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")),
    "a month's name, no midnight": (HOURS, without_midnight("%d-%b-%Y %H:%M", "%d-%b-%Y")),
    "ISO, 24:00": (HOURS, at_24("%Y-%m-%d %H:%M")),
    "ISO with a T, 24:00:00": (HOURS, at_24("%Y-%m-%dT%H:%M:%S")),
    "ISO with a Z, 24:00": (HOURS, at_24("%Y-%m-%dT%H:%MZ")),
    "German, 24:00": (HOURS, at_24("%d.%m.%Y %H:%M")),
    "slashes, 24:00": (HOURS, at_24("%Y/%m/%d %H:%M")),
    "American, 24:00:00": (HOURS, at_24("%m/%d/%Y %H:%M:%S")),
    "digits, 24": (HOURS, at_24("%Y%m%d%H")),
    "hours without a 0": (HOURS, lambda time: f"{time:%Y-%m-%d} {time.hour}:00"),
    "ISO, no fraction": (HALVES, without_fraction("%Y-%m-%d %H:%M:%S.%f")),
    "German, no fraction": (HALVES, without_fraction("%d.%m.%Y %H:%M:%S.%f")),
    "a comma, no fraction": (HALVES, without_fraction("%Y-%m-%d %H:%M:%S,%f")),
}


def written(path, heads, rows):
    lines = [";".join((*heads, "value")), *(";".join((*row, f"{i % 7}.5")) for i, row in enumerate(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_is_left_out_is_zero_and_24_is_the_next_day(name, tmp_path):
    times, spelled = SPELLINGS[name]
    series = read_csv(written(tmp_path / "a.csv", ("time",), [(spelled(time),) for time in times]))
    np.testing.assert_array_equal(series.times, times.as_unit("us").asi8)


@pytest.mark.parametrize("name", SPELLINGS)
def test_it_does_not_matter_where_a_file_begins(name, tmp_path):
    times, spelled = SPELLINGS[name]
    for first in (12, 13, 14, 60):  # at midnight, and before and behind it
        series = read_csv(written(tmp_path / "a.csv", ("time",), [(spelled(time),) for time in times[first:]]))
        np.testing.assert_array_equal(series.times, times[first:].as_unit("us").asi8)


COLUMNS = {
    "date and 24:00": (("Date", "Time"), lambda t: tuple(at_24("%d.%m.%Y %H:%M")(t).split(" "))),
    "hours from 1 to 24": (("date", "hour"), lambda t: (f"{t - pd.Timedelta('1h'):%Y-%m-%d}", f"{(t.hour - 1) % 24 + 1}")),
    "hours and minutes, 2400": (
        ("date", "hhmm"),
        lambda t: (f"{t - pd.Timedelta('1h'):%Y-%m-%d}", f"{(t.hour - 1) % 24 + 1:02}00"),
    ),
    "a half of the day behind a clock": (("Date", "Time", "AM/PM"), lambda t: tuple(t.strftime("%m/%d/%Y;%I:%M;%p").split(";"))),
    "a half of the day behind a time": (("Time", "M"), lambda t: tuple(t.strftime("%m/%d/%Y %I:%M:%S;%p").split(";"))),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_stands_in_columns_of_its_own(name, tmp_path):
    heads, cells = COLUMNS[name]
    series = read_csv(written(tmp_path / "a.csv", heads, [cells(time) for time in HOURS]))
    np.testing.assert_array_equal(series.times, HOURS.as_unit("us").asi8)
    assert series.columns == ("value",)


@pytest.mark.parametrize("offset", ["+01:00", "-0530"])
@pytest.mark.parametrize("how", ["%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%dT%H:%M"])
def test_offsets_in_a_column_count(offset, how, tmp_path):
    series = read_csv(written(tmp_path / "a.csv", ("time", "utc_offset"), [(time.strftime(how), offset) for time in HOURS]))
    behind = pd.Timedelta(hours=1) if offset == "+01:00" else -pd.Timedelta(hours=5, minutes=30)
    np.testing.assert_array_equal(series.times, (HOURS - behind).as_unit("us").asi8)


@pytest.mark.parametrize(
    ("cells", "zone"), [(["Europe/Oslo"], "Europe/Oslo"), (["CET", "CEST"], "Europe/Berlin"), (["EDT"], "America/New_York")]
)
def test_zones_in_a_column_are_told(cells, zone, tmp_path):
    rows = [(f"{time:%Y-%m-%d %H:%M}", cells[i * len(cells) // len(HOURS)]) for i, time in enumerate(HOURS)]
    path = written(tmp_path / "a.csv", ("time", "zone"), rows)
    with pytest.raises(DataError, match=f"{zone} and .*zone"):
        read_csv(path)
    assert read_csv(path, timezone=zone, ignore_columns=["zone"]).columns == ("value",)


def test_the_time_of_winter_may_hold_all_year(tmp_path):
    path = written(tmp_path / "a.csv", ("time", "zone"), [(f"{time:%Y-%m-%d %H:%M}", "EST") for time in HOURS])
    with pytest.raises(DataError, match=r"America/New_York, or Etc/GMT\+5 where clocks are never shifted, and"):
        read_csv(path)
    series = read_csv(path, timezone="Etc/GMT+5", ignore_columns="zone")
    np.testing.assert_array_equal(series.times, (HOURS + pd.Timedelta("5h")).as_unit("us").asi8)


def test_a_half_of_the_day_beside_24_hours_is_no_part_of_the_time(tmp_path):
    path = written(tmp_path / "a.csv", ("Date", "Time", "M"), [tuple(t.strftime("%m/%d/%Y;%H:%M;%p").split(";")) for t in HOURS])
    with pytest.raises(DataError, match="texts such as"):
        read_csv(path)


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        ("2024-03-13 24:01", "%Y-%m-%d %H:%M"),  # no time of any day
        ("2024-03-13 25:00", "%Y-%m-%d %H:%M"),
        ("13.03.2024 24:00:01", "%d.%m.%Y %H:%M:%S"),
        ("13.03.2024", "%d.%m.%Y %H:%M %z"),  # of no zone
        ("202403", "%Y%m%d"),
        ("24:00", "%Y-%m-%d %H:%M"),
        ("31.02.2024 24:00", "%d.%m.%Y %H:%M"),
        ("2024-03-13T24:30", "ISO8601"),
    ],
)
def test_what_is_no_time_stays_none(cell, how):
    assert moments_by(pd.Series([cell], dtype="str"), how).isna().all()
