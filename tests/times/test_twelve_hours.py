"""Times of day of twelve hours without the half of the day: refused, in a file and a frame; any other disorder is not."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError
from anomaly.frames.taking import take
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_csv
from anomaly.times.twelve_hours import TwelveHours
from tests.csv_text import text

RNG = np.random.default_rng(0)
DAY = pd.date_range("2024-01-03", periods=288, freq="5min")


def us(times):
    return np.asarray(times.as_unit("us").asi8)


def halved(times):
    """Lose the half of the day, slowly and obviously."""
    return pd.DatetimeIndex([t.replace(hour=(t.hour - 1) % 12 + 1) for t in times])


def is_refused(times, zone="UTC", pieces=1):
    halves = TwelveHours(zone)
    for piece in np.array_split(us(times), pieces):
        halves.take(piece)
    try:
        halves.refuse("in.csv")
    except DataError:
        return True
    return False


MONTH = pd.date_range("2024-01-01", "2024-01-31", freq="10min")
SERIES = {
    "a day": DAY,
    "ten days of hours": pd.date_range("2024-01-03", periods=240, freq="h"),
    "every other hour": pd.date_range("2024-01-03 00:30", periods=100, freq="2h"),
    "hours of work": DAY[DAY.hour.isin(range(8, 17))],
    "weeks of hours of work": MONTH[MONTH.indexer_between_time("8:00", "17:00")],
    "one wrap": pd.date_range("2024-01-03 12:40", periods=30, freq="min"),
    "seconds": pd.date_range("2024-01-03 12:55", periods=900, freq="s"),
    "uneven": pd.DatetimeIndex(np.sort(RNG.integers(1_704_000_000, 1_705_000_000, 3_000)).astype("datetime64[s]")),
}  # fmt: skip


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("name", SERIES)
def test_a_lost_half_of_the_day_is_refused_and_the_series_itself_is_not(name, pieces):
    series = SERIES[name]
    for times in (series, series[::-1]):
        assert not is_refused(times, pieces=pieces)
        assert is_refused(halved(times), pieces=pieces)


def test_the_hours_are_those_of_the_zone():
    moved = halved(DAY).tz_localize("Asia/Kolkata").tz_convert("UTC").tz_localize(None)
    assert is_refused(moved, "Asia/Kolkata")


MORNING = DAY[DAY.hour.isin(range(1, 13))]
SOUND = {
    "a morning with a late row": MORNING.insert(143, MORNING[100]),
    "a morning whose last row is late": MORNING[[*range(140), 143, *range(140, 143)]],
    "shuffled": MORNING[RNG.permutation(len(MORNING))],
    "mornings, sorted as text": (m := pd.date_range("2024-01-01 01:00", periods=400, freq="h"))[np.argsort(m.strftime("%H %d"))],
    "a clock of 24 hours that was set back": DAY[:200].append(DAY[100:]),
    "days": pd.date_range("2024-01-01 12:00", periods=50, freq="D"),
    "the first row is late": DAY[[140, *range(12, 140)]],
    "one row": DAY[:1],
    "none": DAY[:0],
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_other_disorder_is_left_to_others(name):
    assert not is_refused(SOUND[name]) and not is_refused(SOUND[name][::-1])


@pytest.mark.parametrize(
    ("how", "before", "start", "n_rows"),  # in the first records, and beyond them
    [("%Y-%m-%d %H:%M:%S", None, "12:50", 60), ("%d.%m.%Y %H:%M", {}, "12:50", 60), ("%Y-%m-%dT%H:%M:%SZ", {}, "04:30", 600),
     ("%Y-%m-%d,%H:%M", None, "04:30", 600), ("%Y-%m-%d %H:%M:%S", {}, "04:30", 600)],
)  # fmt: skip
def test_a_file_is_refused_in_training_and_in_scoring(tmp_path, how, before, start, n_rows):
    series, path = pd.date_range(f"2024-01-23 {start}", periods=n_rows, freq="min"), tmp_path / "in.csv"
    path.write_text(text("date,time,a" if "," in how else "time,a", halved(series).strftime(how), range(len(series))))
    said = (
        "Times of day must count 24 hours, or have AM or PM. Received: 2024-01-23T12:59:00 and then 2024-01-23T01:00:00, and no "
        r"hour but 1 to 12 in any row \(in.csv\). Write them anew from where they came, with %H \(HH\) in place of %I \(hh\)."
    )
    names = {"time_column": "date,time" if "," in how else "time", "value_columns": ["a"]}
    with pytest.raises(DataError, match=said), CsvReader(path, sorts=before is None, before=before, **names) as reader:
        list(reader)


def test_numbers_since_1970_say_the_hour_themselves(tmp_path):
    times, path = halved(SERIES["hours of work"]), tmp_path / "in.csv"
    path.write_text(text("time,a", us(times) // 10**6, range(len(times))))
    assert len(read_csv(path)) == len(times)


def test_a_frame_is_refused():
    times = halved(SERIES["hours of work"])
    with pytest.raises(DataError, match=r"Times of day must count 24 hours.*\(frame\)"):
        take(pd.DataFrame({"a": range(len(times))}, index=times))
