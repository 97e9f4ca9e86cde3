"""Columns beside the time that say nothing new: ends of intervals, other clocks in two columns, how far clocks are from UTC."""

import re

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.ingest.reading import read_csv
from anomaly.sources.tolerance import Tolerance
from tests.csv_text import text

N = 240
A = np.round(10 + np.sin(np.arange(N) / 4) + np.random.default_rng(0).normal(0, 0.1, N), 3)
RNG = np.random.default_rng(1)
T = pd.date_range("2024-01-03", periods=N, freq="15min")
END = T + pd.Timedelta("15min")
LAST = T + pd.Timedelta("14min")
LST = T - pd.Timedelta("5h")
LOCAL = pd.date_range("2024-10-25", periods=N, freq="h", tz="Europe/Berlin")
HOURS = np.array([t.utcoffset() // pd.Timedelta("1h") for t in LOCAL])


def cut(times, date="%d.%m.%Y", clock="%H:%M"):
    return times.strftime(date), times.strftime(clock)


# Name: the header, and the columns before the feature.
AGAIN = {
    "von, bis": ("Datum,von,bis", [*cut(T), END.strftime("%H:%M")]),
    "a day that ends at 24:00": ("Datum,Uhrzeit von,Uhrzeit bis",
                                 [*cut(T), [c.replace("00:00", "24:00") for c in END.strftime("%H:%M")]]),
    "start, end": ("DATE,START TIME,END TIME", [*cut(T, "%Y-%m-%d"), LAST.strftime("%H:%M")]),
    "seconds": ("date,start_time,end_time", [*cut(T, "%Y-%m-%d", "%H:%M:%S"), LAST.strftime("%H:%M:59")]),
    "two dates": ("Ab-Datum,Ab-Zeit,Bis-Datum,Bis-Zeit", [*cut(T), *cut(END)]),
    "brackets": ("Van (datum),Van (tijdstip),Tot (datum),Tot (tijdstip)", [*cut(T, "%d-%m-%Y"), *cut(END, "%d-%m-%Y")]),
    "UTC and local": ("UTC_DATE,UTC_TIME,LST_DATE,LST_TIME", [*cut(T, "%Y%m%d", "%H%M"), *cut(LST, "%Y%m%d", "%H%M")]),
    "local and UTC": ("LST_DATE,LST_TIME,UTC_DATE,UTC_TIME", [*cut(LST, "%Y%m%d", "%H%M"), *cut(T, "%Y%m%d", "%H%M")]),
    "without zeros": ("UTC_DATE,UTC_TIME,LST_DATE,LST_TIME", [T.strftime("%Y%m%d"), [int(c) for c in T.strftime("%H%M")],
                      LST.strftime("%Y%m%d"), [int(c) for c in LST.strftime("%H%M")]]),
    "the day again": ("timestamp,date", [T.strftime("%Y-%m-%d %H:%M"), T.strftime("%d/%m/%Y")]),
    "the time of day again": ("timestamp,time_of_day", [T.strftime("%Y-%m-%d %H:%M"), T.strftime("%I:%M %p")]),
}  # fmt: skip


@pytest.mark.parametrize("kind", AGAIN)
def test_what_tells_the_time_again_is_left_out(tmp_path, kind):
    header, columns = AGAIN[kind]
    path, tolerance = tmp_path / "in.csv", Tolerance()
    path.write_text(text(f"{header},a", *columns, A))
    series = read_csv(path, tolerance=tolerance)
    assert series.columns == ("a",)
    np.testing.assert_array_equal(series.times, np.asarray(T.as_unit("us").asi8))
    assert "Taken for the same times by another clock and left out" in " ".join(tolerance.reading)


DAYS = pd.date_range("2024-01-03", periods=N, freq="D")
# Name: the header, the columns before the feature, and what is a feature, or what the refusal names.
OTHERS = {
    "a number that never changes": ("date,cycle_time", [DAYS.strftime("%Y-%m-%d"), [100] * N], ("cycle_time", "a")),
    "a number that does": ("date,cycle_time", [DAYS.strftime("%Y-%m-%d"), RNG.integers(100, 159, N)], ("cycle_time", "a")),
    "durations": ("time,duration", [T.strftime("%Y-%m-%d %H:%M"), [f"0:{x:02}" for x in RNG.integers(0, 59, N)]], "'duration'"),
    "sunrise": ("date,sunrise", [DAYS.strftime("%Y-%m-%d"), [f"07:{i % 50:02}" for i in range(N)]], "'sunrise'"),
    "another event": ("date,time,ship date,ship time",
                      [*cut(T, "%Y-%m-%d"), *cut(T[RNG.permutation(N)], "%Y-%m-%d")], "'ship date'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_what_does_not_is_a_feature_or_refused(tmp_path, kind):
    header, columns, found = OTHERS[kind]
    path = tmp_path / "in.csv"
    path.write_text(text(f"{header},a", *columns, A))
    if isinstance(found, tuple):
        assert read_csv(path).columns == found
    else:
        with pytest.raises(DataError, match=found):
            read_csv(path)


OFFSETS = {
    "utc_offset": HOURS, "utc_offset_seconds": 3_600 * HOURS, "timezone": 3_600 * HOURS, "tz": 60 * HOURS, "Time Zone": [-6] * N,
    "GMT offset (min)": 60 * HOURS, "utcoffset": [5.5] * N, "is_dst": HOURS - 1, "DST": HOURS - 1, "Sommerzeit": HOURS - 1,
    "DST Flag": ["true" if hours == 2 else "false" for hours in HOURS], "daylight_saving": HOURS - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", OFFSETS)
def test_how_far_clocks_are_from_utc_is_no_feature(tmp_path, name):
    path, tolerance = tmp_path / "in.csv", Tolerance()
    path.write_text(text(f"time,{name},a", LOCAL.tz_convert(None), OFFSETS[name], A))
    assert read_csv(path, tolerance=tolerance).columns == ("a",)
    assert f"Taken for how far clocks are from UTC and left out: {name!r}. --value-columns" in " ".join(tolerance.reading)
    assert read_csv(path, value_columns=[name, "a"]).columns == (name, "a")


FEATURES = {
    "dst": RNG.integers(0, 2, N), "offset": HOURS, "zone": np.repeat([1, 2, 3], 80), "tz": A, "timezone_load": A,
    "utc_offset": RNG.integers(0, 3, N), "shift": np.repeat([1, 2, 3], 80), "dst_bytes": RNG.integers(0, 2, N),
}  # fmt: skip


@pytest.mark.parametrize("name", FEATURES)
def test_what_is_only_called_so_is_a_feature(tmp_path, name):
    path = tmp_path / "in.csv"
    path.write_text(text(f"time,{name},a", T, FEATURES[name], A + 1))
    assert read_csv(path).columns == (name, "a")


PLACES = LOCAL.tz_localize(None)
NUMBERS = pd.Series(range(N)).groupby(PLACES.date).cumcount() + 1
NO_TIMES = {
    "an hour 25": ("date,hour", [PLACES.strftime("%Y-%m-%d"), NUMBERS], "Column 'hour' has '25', which is no time of day"),
    "hours 2A and 2B": ("date,time", [PLACES.strftime("%Y-%m-%d"), [t.strftime("%H:00" if t.hour != 2 else f"02{'AB'[t.fold]}:00")
                        for t in LOCAL]], "Column 'time' has '02A:00', which is no time of day"),
    "periods": ("date,SETTLEMENT_PERIOD", [T.strftime("%Y-%m-%d"), np.arange(N) % 96 + 1],
                "'SETTLEMENT_PERIOD' counts the rows of each date"),
    "hours called otherwise": ("date,HE", [PLACES.strftime("%Y-%m-%d"), NUMBERS], "Column 'HE' counts the rows of each date"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_TIMES)
def test_what_numbers_the_rows_of_a_date_is_named_where_dates_are_shared(tmp_path, kind):
    header, columns, said = NO_TIMES[kind]
    path = tmp_path / "in.csv"
    path.write_text(text(f"{header},a", *columns, A))
    with pytest.raises(DataError, match=rf"a time of its own.*{re.escape(said)}.*write date and time of each row in one column"):
        read_csv(path)
