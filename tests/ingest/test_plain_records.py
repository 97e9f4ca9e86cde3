"""Records that are looked at all at once: told from others, and read as those are that are looked at one by one."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import DataError
from anomaly.ingest.chunks import PlainRecords
from anomaly.ingest.csv_rows import CsvReader
from anomaly.times.plain_cells import plain_moments

CELLS = st.sampled_from(["1", "-2.5", "", "NA", "1e3", " 7", "0.1234567890123456789", "-0", "inf"])
ODD = st.sampled_from(["", " ", "1", "1,2,3,4", '"1",2,3', '1,"2', "t,a,b", "2022-01-01T00:00:00Z,1,x", "é,1,2", ",,"])


def bytes_of(cells):
    return np.array([list(cell.encode()) for cell in cells], np.uint8)


@given(st.lists(st.datetimes(datetime(1800, 1, 1), datetime(2099, 12, 31, 23, 59, 59)), min_size=1, max_size=20), st.booleans())
def test_moments_are_those_of_the_calendar(moments, zoned):
    moments = [moment.replace(microsecond=0) for moment in moments]
    found = plain_moments(bytes_of(moment.isoformat() + "Z" * zoned for moment in moments))
    assert found.tolist() == [(moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) for moment in moments]


@pytest.mark.parametrize(
    "cell",
    [
        "2022-02-29T00:00:00", "2022-04-31T00:00:00", "2022-13-01T00:00:00", "2022-00-01T00:00:00", "2022-01-00T00:00:00",
        "2022-01-01T24:00:00", "2022-01-01T00:60:00", "2022-01-01T00:00:60", "1799-12-31T00:00:00", "2100-01-01T00:00:00",
        "2022/01/01T00:00:00", "2022-01-01t00:00:00", "2022-01-01T00:00:0 ", "2022-01-01T00:00:0Z", "2022-01-01T00:00:00z",
        "2022-01-01T00:00", "20220101T000000",
    ],
)  # fmt: skip
def test_anything_else_is_no_such_moment(cell):
    assert plain_moments(bytes_of([cell])) is None


@given(st.lists(st.one_of(st.lists(CELLS, min_size=3, max_size=3).map(",".join), ODD), min_size=1, max_size=12), st.booleans())
def test_lines_are_plain_where_each_has_all_fields_and_no_quote(lines, ended):
    text = "\n".join(lines) + "\n" * (ended or not lines[-1])
    found = PlainRecords.of(lines, 7, text, ",", 3)
    assert (found is not None) == all(line.count(",") == 2 and '"' not in line for line in lines)
    if found is not None:
        assert list(found) == list(enumerate(lines, 7))
        assert (len(found), found[-1], found[1:3]) == (len(lines), (6 + len(lines), lines[-1]), list(enumerate(lines, 7))[1:3])
        for place in range(3):
            cells = [line.split(",")[place].encode() for line in lines]
            taken = found.cells(place)
            assert (taken is None) == (len({len(cell) for cell in cells}) > 1 or not cells[0])
            assert taken is None or [bytes(cell) for cell in taken] == cells


def outcome(path, **options):
    """Return all that a reader makes of a file, or what it says against it."""
    try:
        with CsvReader(path, **options) as reader:
            chunks = list(reader)
    except DataError as error:
        return type(error), str(error)
    parts = [b"".join(getattr(chunk, name).tobytes() for chunk in chunks) for name in ("times", "values")]
    return [line for chunk in chunks for line in chunk.lines], parts, reader.tolerance.counts, reader.tolerance.places


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=30, max_size=60), odd=st.lists(st.tuples(st.integers(0, 59), ODD), max_size=2),
    written=st.sampled_from(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+01:00", "%Y-%m-%d", "%d.%m.%Y %H:%M"]),
    skip=st.booleans(), zone=st.sampled_from(["UTC", "Europe/Berlin"]),
)  # fmt: skip
def test_plain_records_are_read_as_all_others(tmp_path_factory, rows, odd, written, skip, zone):
    lines = [",".join([f"{datetime(2022, 4, 1) + timedelta(hours=i):{written}}", *cells]) for i, cells in enumerate(rows)]
    for place, line in odd:
        lines.insert(min(place, len(lines)), line)
    path = tmp_path_factory.getbasetemp() / "plain.csv"
    path.write_text("\n".join(["t,a,b", *lines]) + "\n")
    options = {"time_column": "t", "value_columns": ["a", "b"], "timezone": zone, "chunk_bytes": 200}
    options |= {"on_bad_rows": "skip", "max_bad_fraction": 1.0} if skip else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CsvReader, "_plain", lambda *_: None)
        slow = outcome(path, **options)
    assert outcome(path, **options) == slow
