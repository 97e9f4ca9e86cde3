"""A series written to a frame of any kind comes back as it was; local times are what the standard library says they are."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.config import ReadingConfig
from anomaly.errors import DataError
from anomaly.frames.taking import as_time_series, take
from anomaly.series import TimeSeries

MICROSECOND, START = timedelta(microseconds=1), datetime(2015, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


@st.composite
def timed_series(draw):
    """Rows from 2 on, times that go forward by uneven steps, features with missing cells."""
    n, columns = draw(st.integers(2, 12)), draw(st.sampled_from([("flow",), ("a b", "temp"), ("x", "Pressure (bar)", "été")]))
    steps = draw(st.lists(st.integers(1, 10**11), min_size=n, max_size=n))
    cells = st.floats(width=32, allow_infinity=False) | st.integers(-1000, 1000).map(float)
    values = draw(st.lists(cells, min_size=n * len(columns), max_size=n * len(columns)))
    first = int((START - datetime(1970, 1, 1, tzinfo=UTC)) / MICROSECOND)
    return TimeSeries(first + np.cumsum(steps), np.array(values).reshape(n, -1), columns, time_column="when")


def indexed(series, zone):
    return series.to_frame().tz_convert(zone)


def naive(series, zone):
    return series.to_frame().tz_localize(None)


def with_column(series, zone):
    return indexed(series, zone).reset_index()


def as_text(series, zone):
    return naive(series, zone).set_axis([time.isoformat() for time in naive(series, zone).index])


def as_text_with_offsets(series, zone):
    return with_column(series, zone).assign(when=[time.isoformat() for time in indexed(series, zone).index])


def as_objects(series, zone):
    frame = with_column(series, zone).astype(object)
    return frame.where(frame.notna(), None)


def nullable(series, zone):
    return indexed(series, zone).astype("Float64")


def of_arrow(series, zone):
    return pytest.importorskip("pyarrow").Table.from_pandas(with_column(series, zone), preserve_index=False)


def of_arrow_with_its_index(series, zone):
    return pytest.importorskip("pyarrow").Table.from_pandas(indexed(series, zone))


def with_arrow_types(series, zone):
    return of_arrow(series, zone).to_pandas(types_mapper=pd.ArrowDtype)


def of_batches(series, zone):
    return of_arrow(series, zone).to_reader(max_chunksize=3)


def of_narwhals(series, zone):
    return pytest.importorskip("narwhals").from_native(of_arrow(series, zone))


def of_polars(series, zone):
    frame = with_column(series, zone)
    table = pytest.importorskip("polars").from_arrow(of_arrow(series, zone))
    return table.lazy() if len(frame) % 2 else table


def of_polars_by_column(series, zone):
    """As where pyarrow is missing."""
    table = of_polars(series, zone)
    table = table.collect() if hasattr(table, "collect") else table

    class Columns:
        columns = table.columns

        def __getitem__(self, name):
            return table[name]

    return Columns()


def of_columns(series, zone):
    frame = with_column(series, zone)
    return {name: frame[name].array for name in frame}


def of_records(series, zone):
    return with_column(series, zone).to_dict("records")


def structured(series, zone):
    return naive(series, zone).to_records()


WRITERS = (
    indexed, naive, with_column, as_text, as_text_with_offsets, as_objects, nullable, of_arrow, of_arrow_with_its_index,
    with_arrow_types, of_batches, of_narwhals, of_polars, of_polars_by_column, of_columns, of_records, structured,
)  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=20)
@given(timed_series(), st.sampled_from(ZONES))
def test_a_series_comes_back_from_a_frame_of_any_kind(write, series, zone):
    taken = take(write(series, zone))
    np.testing.assert_array_equal(taken.series.times, series.times)
    np.testing.assert_array_equal(taken.series.values, series.values)
    assert taken.series.columns == series.columns
    assert len(taken.index) == len(series)


@given(timed_series(), st.booleans())
def test_masked_cells_are_missing_whatever_lies_under_the_mask(series, objects):
    missing = np.isnan(series.values)
    masked = np.ma.masked_array(np.where(missing, 7.0, series.values).astype(object if objects else float), missing)
    np.testing.assert_array_equal(as_time_series(masked).values, series.values)


@given(timed_series(), st.permutations(range(12)))
def test_rows_keep_their_order_and_their_index(series, order):
    frame = series.to_frame().tz_localize(None).iloc[[i for i in order if i < len(series)]]
    taken = take(frame)
    np.testing.assert_array_equal(taken.series.times, frame.index.asi8)
    np.testing.assert_array_equal(taken.series.values, frame.to_numpy())
    pd.testing.assert_index_equal(taken.index, frame.index)


local_times = st.integers(0, 2 * 366 * 24 * 2).map(lambda half_hours: datetime(2023, 1, 1) + timedelta(minutes=30 * half_hours))
shift_times = st.sampled_from([datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 0), datetime(2023, 10, 29, 2, 59)])


@given(
    st.lists(local_times | shift_times, min_size=1, max_size=20, unique=True),
    st.sampled_from(ZONES),
    st.booleans(),
)
def test_naive_times_are_read_in_the_zone_of_the_detector(times, zone, last):
    frame = pd.DataFrame({"a": np.arange(len(times)) * 1.0}, index=pd.DatetimeIndex(sorted(times)))
    expected = [round(time.replace(tzinfo=ZoneInfo(zone), fold=int(last)).timestamp() * 1e6) for time in sorted(times)]
    for made in (frame, frame.rename_axis("when").reset_index()):
        taken = take(made, reading=ReadingConfig(timezone=zone, dst="last" if last else "first"))
        assert taken.series.times.tolist() == expected
        pd.testing.assert_index_equal(taken.index, made.index)


@pytest.mark.parametrize(("clock", "said"), [("2024-10-27 02:30", "occurs twice"), ("2024-03-31 02:30", "never occurs")])
@pytest.mark.parametrize("kind", ["index", "text", "period", "column"])
def test_a_local_time_that_does_not_occur_once_is_refused_with_a_remedy_that_works(clock, said, kind):
    index = pd.DatetimeIndex(["2024-01-01 00:00", clock])
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=index.strftime("%Y-%m-%d %H:%M") if kind == "text" else index)
    frame = {"column": frame.rename_axis("when").reset_index(), "period": frame.set_axis(index.to_period("min"))}.get(kind, frame)
    with pytest.raises(DataError, match=f"Received: {clock}:00, which {said} in Europe/Berlin .*row 1") as refused:
        take(frame, reading=ReadingConfig(timezone="Europe/Berlin"))
    message = str(refused.value)
    assert "dst='first'" in message
    assert "--" not in message
    times = eval(message.partition("give the times their zone: ")[2].removesuffix("."), {"pd": pd, "frame": frame})
    mended = frame.assign(when=times) if kind == "column" else frame.set_axis(times)
    first = datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    expected = first.timestamp() if said == "occurs twice" else datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp()
    assert take(mended, reading=ReadingConfig(timezone="Europe/Berlin")).series.times[1] == expected * 1e6
