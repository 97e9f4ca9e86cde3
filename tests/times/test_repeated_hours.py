"""The hour that comes twice in autumn: read by the order of its rows, and told by every command."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import ConfigError, Detector
from anomaly.detector.intake import take
from anomaly.files.one_file import FileSummary
from anomaly.frames.clocks import ReadingConfig
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_each
from anomaly.times.clock_shifts import RowsByHour
from anomaly.times.timestamps import A_TIME, TimeReader

# A zone, and a moment shortly before its clocks go back, by an hour or half of one.
AUTUMNS = [
    ("Europe/Berlin", "2024-10-26T20:00"),
    ("America/New_York", "2024-11-03T01:00"),
    ("Australia/Lord_Howe", "2024-04-06T09:00"),
]


def local(zone, start, step, n):
    """Return n moments, and the local times that a logger writes at them."""
    moments = pd.date_range(start, periods=n, freq=f"{step}s", tz="UTC")
    walls = [f"{wall:%Y-%m-%d %H:%M:%S}" for wall in moments.tz_convert(zone)]
    return np.asarray(moments.as_unit("us").asi8), walls


@given(
    st.sampled_from(AUTUMNS),
    st.sampled_from([1, 10, 60, 300, 600, 900, 1_800]),
    st.integers(0, 3_000),
    st.lists(st.integers(0, 1_500), max_size=3),
)
def test_rows_in_order_are_read_as_what_they_were_in_any_pieces(autumn, step, late, cuts):
    zone, start = autumn
    moments, walls = local(zone, pd.Timestamp(start) + pd.Timedelta(late, "s"), step, min(1_500, 43_200 // step))
    clock, found = TimeReader(ReadingConfig(timezone=zone, dst="order")), []
    for piece in np.split(np.array(walls, object), sorted(cut for cut in cuts if cut < len(walls))):
        times, codes = clock.read(pd.Series(piece, dtype="str"))
        assert (codes == A_TIME).all()
        found += times.tolist()
    assert found == moments.tolist()


def test_hours_are_read_by_their_order_too():
    moments, walls = local("Europe/Berlin", "2024-10-26T20:00", 3_600, 12)
    times, _ = TimeReader(ReadingConfig(timezone="Europe/Berlin", dst="order")).read(pd.Series(walls, dtype="str"))
    assert times.tolist() == moments.tolist()


@pytest.mark.parametrize("back", [0, 60, 300])
def test_a_row_again_or_a_late_one_is_of_the_same_hour(back):
    walls = pd.date_range("2024-10-27 02:00", "2024-10-27 02:10", freq="min").tolist()
    walls.append(walls[-1] - pd.Timedelta(back, "s"))
    clock = TimeReader(ReadingConfig(timezone="Europe/Berlin", dst="order"))
    times, _ = clock.read(pd.Series([str(wall) for wall in walls], dtype="str"))
    assert times[-2] - times[-1] == back * 10**6


def test_a_frame_is_read_by_the_order_of_its_rows(tmp_path):
    moments, walls = local("Europe/Berlin", "2024-10-26T20:00", 60, 600)
    frame = pd.DataFrame({"a": np.arange(600.0)}, index=pd.to_datetime(walls))
    series = take(frame, reading=ReadingConfig(timezone="Europe/Berlin", dst="order")).series
    assert series.times.tolist() == moments.tolist()
    assert Detector(timezone="Europe/Berlin", dst="order").get_params()["dst"] == "order"


def test_several_series_have_no_one_order(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("time,id,a\n2024-10-27 02:00,x,1\n2024-10-27 02:00,y,1\n")
    with pytest.raises(ConfigError, match=r"--dst order must go with one series. Received: --dst order and the id column 'id'\."):
        read_each(path, "id", timezone="Europe/Berlin", dst="order")


@pytest.mark.parametrize(("start", "often"), [("2024-10-26", "comes twice"), ("2024-03-30", "never comes")])
@pytest.mark.parametrize("chunk_bytes", [300, 1 << 20])
@pytest.mark.parametrize("before", [None, {}])
def test_whoever_reads_rows_to_their_end_is_told(tmp_path, start, often, chunk_bytes, before):
    path = tmp_path / "in.csv"
    moments, walls = local("Europe/Berlin", start, 600, 500)
    path.write_text("time,a\n" + "".join(f"{wall},{n % 7}\n" for n, wall in enumerate(walls)))
    with CsvReader(path, time_column="time", value_columns=["a"], chunk_bytes=chunk_bytes, before=before) as reader:
        assert sum(len(chunk.lines) for chunk in reader) == len(moments)
    assert len(reader.tolerance.of_times) == 1 and often in reader.tolerance.of_times[0]
    assert ("--dst order" in reader.tolerance.of_times[0]) is (often == "comes twice")
    assert reader.tolerance.of_times[0] in str(FileSummary(tolerance=reader.tolerance))


@pytest.mark.parametrize(("step", "is_told"), [(60, True), (1_800, True), (3_600, True), (5_400, False), (7_200, False)])
def test_rows_that_are_rarer_than_hours_say_nothing(step, is_told):
    hours = RowsByHour()
    walls = local("Europe/Berlin", "2024-10-20", step, 14 * 86_400 // step)[1]
    hours.take(np.asarray(pd.to_datetime(walls).as_unit("us").asi8))
    assert (hours.shifted_clock() is not None) is is_told
