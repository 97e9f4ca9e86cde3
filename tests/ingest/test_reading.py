"""Long files: the records of several series, told apart by a column, against files of one series each."""

import csv
import io
import random

import numpy as np
import pytest

from anomaly import ConfigError, DataError, read_csv
from anomaly.ingest.csv_rows import CsvReader
from anomaly.ingest.reading import read_each
from anomaly.sources.tolerance import Tolerance

NAMES = ("pump 1", "pump,2", "007", "7", "NA", "1e3", "Ünï", "null")


def text_of(rows, header):
    output = io.StringIO()
    csv.writer(output, lineterminator="\n").writerows([header, *rows])
    return output.getvalue()


@pytest.fixture
def rows():
    rng = random.Random(3)
    made = []
    for minute in range(50):
        for name in rng.sample(NAMES, k=rng.randrange(1, len(NAMES))):
            made.append([f"2026-01-01 00:{minute:02d}", name, rng.choice(["", "1.5", "-2", "1e400"]), f"{rng.random():.3f}"])
    return made


@pytest.mark.parametrize("time_column", ["time", None])
@pytest.mark.parametrize("chunk_bytes", [40, 1 << 20])
def test_each_series_is_what_a_file_of_its_rows_holds(rows, tmp_path, monkeypatch, time_column, chunk_bytes):
    monkeypatch.setattr(CsvReader.__init__, "__kwdefaults__", CsvReader.__init__.__kwdefaults__ | {"chunk_bytes": chunk_bytes})
    path = tmp_path / "long.csv"
    path.write_text(text_of(rows, ["time", "machine", "a", "b"]), "utf-8")
    found = read_each(path, "machine", time_column=time_column, value_columns=["a", "b"])
    assert list(found) == list(dict.fromkeys(row[1] for row in rows))
    for name, series in found.items():
        alone = tmp_path / "alone.csv"
        alone.write_text(text_of([row for row in rows if row[1] == name], ["time", "machine", "a", "b"]), "utf-8")
        wanted = read_csv(alone, time_column=time_column, value_columns=["a", "b"])
        np.testing.assert_array_equal(series.times, wanted.times)
        np.testing.assert_array_equal(series.values, wanted.values)
        assert series.columns == wanted.columns
        assert series.name == f"long.csv, {name}"


def test_the_id_column_is_no_feature(rows, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(text_of(rows, ["time", "7", "a", "b"]), "utf-8")
    found = read_each(path, "7", label_column=None)
    assert {series.columns for series in found.values()} == {("a", "b")}


def test_labels_go_with_their_series(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("time,id,x,y\n1,a,1,0\n1,b,2,1\n2,a,3,1\n2,b,4,0\n")
    found = read_each(path, "id", label_column="y")
    assert {name: series.labels.tolist() for name, series in found.items()} == {"a": [0, 1], "b": [1, 0]}


@pytest.mark.parametrize("cell", ["", '""'])
def test_a_record_without_the_name_of_a_series_is_refused(tmp_path, cell):
    path = tmp_path / "long.csv"
    path.write_text(f"time,id,x\n1,a,1\n2,{cell},2\n")
    with pytest.raises(DataError, match=r"'id' must name a series on every record\. Received: nothing \(.*long\.csv, line 3\)"):
        read_each(path, "id")


def test_a_record_without_the_name_of_a_series_can_be_skipped(tmp_path):
    path, tolerance = tmp_path / "long.csv", Tolerance()
    path.write_text("time,id,x\n1,a,1\n2,,2\n3,a,3\n")
    found = read_each(path, "id", tolerance=tolerance, on_bad_rows="skip", max_bad_fraction=0.5)
    assert found["a"].values.ravel().tolist() == [1, 3]
    assert tolerance.counts["rejected_ids"] == tolerance.n_rejected == 1


@pytest.mark.parametrize("other", ["time_column", "label_column"])
def test_the_id_column_has_no_other_purpose(tmp_path, other):
    path = tmp_path / "long.csv"
    path.write_text("time,id,x\n1,a,1\n")
    with pytest.raises(ConfigError, match="time, label and id columns must differ"):
        read_each(path, "id", **{other: "id"})


def test_an_id_column_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("time,id,x\n1,a,1\n")
    with pytest.raises(DataError, match="id column"):
        read_each(path, "machine")


@pytest.mark.parametrize(
    ("no", "yes", "shown"),
    [("BENIGN", "DoS", "BENIGN"), ("ok", "not ok", "not ok"), ("good", "bad", "good"), ("normal", "anomalie", "anomalie")],
)
def test_labels_of_other_words_are_refused_with_those_that_are_understood(tmp_path, no, yes, shown):
    path = tmp_path / "labelled.csv"
    path.write_text("time,a,label\n" + "".join(f"2024-01-{i + 1:02},{i},{yes if i in (7, 8) else no}\n" for i in range(20)))
    with pytest.raises(DataError, match="must hold 0 and 1, or words that say no and yes: false and true, f and t") as refused:
        read_csv(path, label_column="label")
    assert f"Received: {shown!r} (labelled.csv, line " in str(refused.value)
    assert "Write 1 for anomalies and 0 for all other rows" in str(refused.value)


def test_a_text_now_and_then_among_labels_is_a_wrong_cell(tmp_path):
    path = tmp_path / "labelled.csv"
    path.write_text("time,a,label\n" + "".join(f"2024-01-{i + 1:02},{i},{'x' if i == 7 else i % 2}\n" for i in range(20)))
    with pytest.raises(DataError, match="Column 'label' must hold numbers. Received: 'x' on line 9"):
        read_csv(path, label_column="label")
