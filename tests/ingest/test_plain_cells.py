"""A few records are read as a whole chunk of them is, to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import DataError
from anomaly.ingest import cells as cells_module
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.few_rows import plain_cells, plain_number
from anomaly.meaning.sentinels import MISSING_TEXT

plain_floats = st.floats(-1e9, 1e9).map(lambda x: f"{x:.5f}")
cells = st.one_of(
    plain_floats,
    st.integers(-(10**18), 10**18).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from([*MISSING_TEXT, "-0", "+5", "-0.0", " 1", "1 ", ".5", "5.", "007", "inf", "0.1234567890123456"]),
)
moments = st.datetimes().map(lambda t: t.isoformat(timespec="microseconds"))
times = st.one_of(
    moments, st.sampled_from(["2025-06-01 12:00:00", "2025-06-01T12:00:00.5", "2025-06-01", "2025-02-30T00:00:00", "x"])
)
offsets = st.sampled_from(["", "Z", "+02:00", "-11:30", "+25:00"])


def read(path, lines, few):
    """Return what a reader makes of lines that come one at a time, with and without the short way."""
    found = []
    options = {"time_column": "time", "value_columns": ["a", "b"], "id_column": "id"}
    with pytest.MonkeyPatch.context() as patch, CsvReader(path, **options) as reader:
        patch.setattr(cells_module, "FEW_ROWS", few)
        list(reader)
        for number, line in enumerate(lines, 3):
            try:
                chunk = reader._parse([(number, line)])
            except DataError as error:
                found.append(str(error))
            else:
                found.append((chunk.lines, chunk.times.tobytes(), chunk.values.tobytes(), chunk.ids.tolist()))
    return found


@pytest.mark.parametrize("first", ["2025-01-01T00:00:00", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00.25+02:00"])
@given(rows=st.lists(st.tuples(times, offsets, cells, cells, st.sampled_from(["x", "", "NA", " 7"])), max_size=6))
def test_few_records_are_read_as_by_pandas(tmp_path_factory, first, rows):
    path = tmp_path_factory.mktemp("few") / "in.csv"
    path.write_text(f"time,a,b,id\n{first},1.5,2,x\n")
    lines = [f"{time}{offset},{a},{b},{name}" for time, offset, a, b, name in rows]
    assert read(path, lines, few=8) == read(path, lines, few=0)


@given(
    stamps=st.lists(st.one_of(st.integers(-(10**18), 10**18), st.floats(0, 1e12)), max_size=6),
    unit=st.sampled_from([1, 10**3, 10**6]),
)
def test_epoch_numbers_are_read_as_by_pandas(tmp_path_factory, stamps, unit):
    path = tmp_path_factory.mktemp("few") / "in.csv"
    path.write_text(f"time,a,b,id\n{1_700_000_000 * unit},1.5,2,x\n")
    lines = [f"{stamp!r},1,2,y" for stamp in stamps]
    assert read(path, lines, few=8) == read(path, lines, few=0)


def test_most_records_need_no_table(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("time,a,b\n2025-01-01T00:00:00Z,1.5,2\n")
    with CsvReader(path) as reader:
        list(reader)
        monkeypatch.delattr("pandas.read_csv")
        chunk = reader._parse([(3, "2025-01-01T00:01:00Z,,-3.25"), (4, "2025-01-01T00:02:00.5Z,7,NaN")])
    np.testing.assert_array_equal(chunk.values, [[np.nan, -3.25], [7, np.nan]])
    assert (chunk.times - chunk.times[0]).tolist() == [0, 60_500_000]


@pytest.mark.parametrize(
    "cell", ["1e5", "0.1234567890123456", "1234567890123456", " 1", "true", "-0", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_other_numbers_are_left_to_pandas(cell):
    assert plain_number(cell, MISSING_TEXT) is None


def test_quoted_records_are_left_to_pandas():
    assert plain_cells('1,"2"', ",", 2) is None
    assert plain_cells("1;2", ";", 2) == ["1", "2"]
