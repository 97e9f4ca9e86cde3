"""Dates whose day and month were exchanged where both may be months: refused, in a file and a frame; any other disorder is not."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.frames.taking import take
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.times.exchanged_days import ExchangedDays, exchanged
from tests.csv_text import text

RNG = np.random.default_rng(0)


def us(times):
    return np.asarray(times.as_unit("us").asi8)


def swapped(times):
    """Exchange day and month where the day may be a month, slowly and obviously."""
    return pd.DatetimeIndex([t.replace(day=t.month, month=t.day) if t.day <= 12 else t for t in times])


def is_refused(times, zone="UTC", pieces=1):
    days = ExchangedDays(zone)
    for piece in np.array_split(us(times), pieces):
        days.take(piece)
    try:
        days.refuse("in.csv")
    except DataError:
        return True
    return False


SERIES = {
    "a year of days": pd.date_range("2024-01-01", periods=366, freq="D"),
    "work days": pd.bdate_range("2022-01-03", periods=500),
    "weeks": pd.date_range("2020-01-06", periods=200, freq="7D"),
    "hours of two months": pd.date_range("2024-01-20", periods=1_500, freq="h"),
    "ten days": pd.date_range("2024-03-08", periods=240, freq="h"),
    "the end of a month": pd.date_range("2024-01-25", "2024-02-01 20:00", freq="10min"),
    "uneven": pd.DatetimeIndex(np.sort(RNG.integers(1_700_000_000, 1_720_000_000, 900)).astype("datetime64[s]")),
    "with a gap": pd.date_range("2024-01-05", periods=200, freq="h").append(pd.date_range("2024-03-05", periods=500, freq="h")),
}


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("name", SERIES)
def test_exchanged_days_are_refused_and_the_series_itself_is_not(name, pieces):
    series = SERIES[name]
    for times in (series, series[::-1]):
        assert not is_refused(times, pieces=pieces)
        assert is_refused(swapped(times), pieces=pieces)


def test_the_days_are_those_of_the_zone():
    series = pd.date_range("2024-01-20", periods=1_500, freq="h")
    moved = swapped(series).tz_localize("Asia/Kolkata").tz_convert("UTC").tz_localize(None)
    assert is_refused(moved, "Asia/Kolkata")


HOURS = pd.date_range("2024-01-01", periods=2_000, freq="h")
DAYS = pd.date_range("2023-01-01", periods=500, freq="D")
SOUND = {
    "shuffled": HOURS[RNG.permutation(len(HOURS))],
    "sorted as text": DAYS[np.argsort(DAYS.strftime("%d.%m.%Y"))],
    "a few late rows": HOURS[[*range(700), 650, *range(700, 900), 3, *range(900, 2_000)]],
    "a clock that was set back": HOURS.append(HOURS[1_000:]),
    "a clock without a battery": HOURS.append(pd.date_range("2000-01-01", periods=50, freq="h")).append(
        HOURS + pd.Timedelta("90D")
    ),
    "set months ahead for three days": HOURS[:1_700].append(HOURS[:72] + pd.Timedelta("213D")).append(HOURS[1_772:]),
    "files in another order": HOURS[1_000:].append(HOURS[:1_000]),
    "months": pd.date_range("2000-01-01", periods=200, freq="MS"),
    "months, sorted by month": pd.DatetimeIndex(sorted(pd.date_range("2000-01-01", periods=200, freq="MS"), key=lambda t: t.month)),
    "the same day of each year": pd.DatetimeIndex([f"{year}-05-03" for year in [*range(1990, 2020), *range(1995, 2020)]]),
    "one row": HOURS[:1],
    "none": HOURS[:0],
}


@pytest.mark.parametrize("name", SOUND)
def test_other_disorder_is_left_to_others(name):
    assert not is_refused(SOUND[name]) and not is_refused(SOUND[name][::-1])


def test_exchanged_is_what_the_calendar_says_and_its_own_inverse():
    times = pd.DatetimeIndex(RNG.integers(-(10**9), 4 * 10**9, 500).astype("datetime64[s]"))
    np.testing.assert_array_equal(exchanged(us(times)), us(swapped(times)))
    np.testing.assert_array_equal(exchanged(exchanged(us(times))), us(times))


@pytest.mark.parametrize("how", ["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M"])
@pytest.mark.parametrize("before", [None, {}])
def test_a_file_is_refused_in_training_and_in_scoring(tmp_path, how, before):
    series, path = SERIES["hours of two months"], tmp_path / "in.csv"
    path.write_text(text("time,a", swapped(series).strftime(how), range(len(series))))
    said = (
        "Day and month must stand in one order in all dates. Received: . steps? back, first from 2024-01-31T23:00:00Z to "
        "2024-01-02T00:00:00Z, in rows that come in order once .* anew from where they came, as YYYY-MM-DD."
    )
    with (
        pytest.raises(DataError, match=said),
        CsvReader(path, sorts=before is None, before=before, value_columns=["a"], time_format=how) as reader,
    ):
        list(reader)


def test_numbers_since_1970_and_times_with_an_offset_were_never_exchanged(tmp_path):
    times = swapped(SERIES["a year of days"])
    for cells in (us(times) // 10**6, times.strftime("%Y-%m-%dT%H:%M:%SZ")):
        path = tmp_path / "in.csv"
        path.write_text(text("time,a", cells, range(len(times))))
        assert len(read_csv(path)) == len(times)


def test_a_frame_is_refused():
    times = swapped(SERIES["a year of days"])
    with pytest.raises(DataError, match=r"Day and month must stand in one order.*\(frame\)"):
        take(pd.DataFrame({"a": range(len(times))}, index=times))
