"""A long file takes no more memory than its series that have not ended."""

import functools
import io

import pytest
from conftest import make_series, to_csv

from anomaly.detector.lookup import OneForAll
from anomaly.errors import DataError
from anomaly.fleet import long_files
from anomaly.fleet.long_files import score_long_file
from anomaly.live.interleaved import InOrder

BAD = {"no time": ("", 1), "another time": ("soon", 1), "no number": ("none at all", 3), "a field too many": ("1,2", 2)}


@pytest.fixture
def held(monkeypatch):
    """The numbers of rows that waited for others, chunk by chunk."""
    found = []

    class Watched(InOrder):
        def take(self, pieces):
            rows = super().take(pieces)
            found.append(sum(map(len, self._places)))
            return rows

    monkeypatch.setattr(long_files, "InOrder", Watched)
    monkeypatch.setattr(long_files, "CsvReader", functools.partial(long_files.CsvReader, chunk_bytes=1_500))
    return found


def long_file(folder, bad=None):
    """Write a series of 60 records and one of 600; return the path."""
    text = to_csv(make_series(600), folder / "own.csv").read_text()
    header, *lines = text.splitlines()
    records = [f"A,{line}" for line in lines[:60]]
    if bad is not None:
        cells = records[30].split(",")
        cells[bad[1]] = bad[0]
        records[30] = ",".join(cells)
    path = folder / "long.csv"
    path.write_text("\n".join([f"id,{header}", *records, *[f"B,{line}" for line in lines], ""]))
    return path


@pytest.mark.parametrize("kind", BAD)
def test_a_record_that_is_skipped_keeps_no_row_waiting(detector, tmp_path, held, kind):
    path, model = long_file(tmp_path), OneForAll(detector)
    score_long_file(model, path, id_column="id", output=io.BytesIO(), aggregation="combined", on_bad_rows="skip")
    good, held[:] = max(held), []
    path, output = long_file(tmp_path, BAD[kind]), io.BytesIO()
    with pytest.raises(DataError):
        score_long_file(model, path, id_column="id", output=output, aggregation="combined")
    held[:] = []
    options = {"aggregation": "combined", "on_bad_rows": "skip", "max_bad_fraction": 0.5}
    summary = score_long_file(model, path, id_column="id", output=output, **options)
    assert summary.n_rows == 659
    assert max(held) <= good + 1 < 200
