"""A point before three digits beside whole numbers of a thousand and more is refused; any other fraction decides for its column."""

import json

import numpy as np
import pytest

from anomaly import DataError
from anomaly.ingest.csv_rows import CsvReader

WHOLE = [str(22_000 + 7 * i % 900) for i in range(700)]
IN_GROUPS = [f"{22 + i % 3}.{100 + 7 * i % 900:03d}" for i in range(100)]
BEFORE = {"large": json.dumps({"a": "21877"})}


def read(path, cells, *, before=None, **options):
    path.write_text("b,a\n" + "".join(f"{i % 9}.{i % 89:02d},{cell}\n" for i, cell in enumerate(cells)))
    features = {} if before is None else {"value_columns": ("a", "b"), "time_column": None}
    with CsvReader(path, before=before, **features, **options) as reader:
        column = list(reader.value_columns).index("a")
        return np.concatenate([chunk.values for chunk in reader])[:, column]


@pytest.mark.parametrize("chunk_bytes", [100, 1 << 20])
@pytest.mark.parametrize(
    ("cells", "before"),
    [
        ([*WHOLE, *IN_GROUPS], None),
        ([*IN_GROUPS, *WHOLE], None),
        ([*WHOLE, *IN_GROUPS], {}),
        (IN_GROUPS, BEFORE),
        ([f'"{cell}"' for cell in IN_GROUPS], BEFORE),
        (["", "5", *IN_GROUPS], BEFORE),
    ],
)
def test_a_point_that_may_stand_between_thousands_is_refused(tmp_path, cells, before, chunk_bytes):
    with pytest.raises(
        DataError, match=r"^A point in a number must have one meaning. Received: 2\d\.\d{3} beside 2\d+.* in column 'a' "
    ):
        read(tmp_path / "in.csv", cells, before=before, chunk_bytes=chunk_bytes)
    path = tmp_path / "in.csv"
    assert np.nanmax(read(path, cells, before=before, decimal=".")) in (22_899.0, *(float(cell) for cell in IN_GROUPS))


@pytest.mark.parametrize("chunk_bytes", [100, 1 << 20])
@pytest.mark.parametrize(
    ("cells", "before"),
    [
        (IN_GROUPS, None),
        (WHOLE, BEFORE),
        ([*WHOLE, "22.5", *IN_GROUPS], None),
        ([*IN_GROUPS[:50], "22.36", *WHOLE], None),
        (["22000.000", *IN_GROUPS, *WHOLE], None),
        ([*WHOLE, *(f"{cell[:2]}{cell[3:]}.{cell[3:]}" for cell in IN_GROUPS)], BEFORE),
        (["0.366", "999", "1.500"], None),
        (["999.500", "1000.125", "1000"], BEFORE),
    ],
)
def test_any_other_fraction_decides(tmp_path, cells, before, chunk_bytes):
    found = read(tmp_path / "in.csv", cells, before=before, chunk_bytes=chunk_bytes)
    if chunk_bytes > 100 or before is None:
        np.testing.assert_array_equal(found, np.array(cells, float))
