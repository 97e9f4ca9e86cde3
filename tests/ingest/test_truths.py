"""Columns of true and false are 1 and 0, as in a frame; beside numbers they are neither."""

import numpy as np
import pandas as pd
import pytest

from anomaly import DataError, Detector, read_csv
from anomaly.detector.intake import take

N = 60


def write(path, cells, head="time,temp,pump"):
    times = pd.date_range("2024-01-01", periods=len(cells), freq="h")
    path.write_text(
        "\n".join([head, *(f"{t:%Y-%m-%d %H:%M},{i % 7}.5,{cell}" for i, (t, cell) in enumerate(zip(times, cells, strict=True)))])
        + "\n"
    )
    return path


@pytest.mark.parametrize(("false", "true"), [("False", "True"), ("false", "true"), ("FALSE", "TRUE"), (" false ", " true ")])
@pytest.mark.parametrize("chunk_bytes", [200, 1 << 20])
def test_true_and_false_are_1_and_0_in_any_pieces(tmp_path, monkeypatch, false, true, chunk_bytes):
    from anomaly.ingest.csv_rows import CsvReader

    truths = [i % 3 == 0 for i in range(N)]
    path = write(tmp_path / "in.csv", [true if on else false for on in truths])
    with CsvReader(path, chunk_bytes=chunk_bytes) as reader:
        found = np.concatenate([chunk.values for chunk in reader])
    np.testing.assert_array_equal(found[:, 1], np.array(truths, float))


def test_a_file_is_read_as_the_frame_that_it_holds(tmp_path):
    frame = pd.DataFrame(
        {"temp": np.arange(N) % 7 + 0.5, "pump": np.arange(N) % 3 == 0},
        index=pd.date_range("2024-01-01", periods=N, freq="h", name="time"),
    )
    frame.to_csv(tmp_path / "in.csv")
    series = read_csv(tmp_path / "in.csv")
    np.testing.assert_array_equal(series.values, take(frame).series.values)


def test_missing_truths_are_missing(tmp_path):
    series = read_csv(write(tmp_path / "in.csv", ["", "True", "False"] * 20))
    np.testing.assert_array_equal(series.values[:3, 1], [np.nan, 1, 0])


@pytest.mark.parametrize("other", ["2", "on", "1.5"])
def test_truths_among_numbers_or_texts_are_refused(tmp_path, other):
    with pytest.raises(DataError, match="must hold numbers"):
        read_csv(write(tmp_path / "in.csv", [*["1"] * 30, *["true"] * 20, other]), value_columns=("temp", "pump"))


def test_labels_may_be_true_and_false(tmp_path):
    series = read_csv(write(tmp_path / "in.csv", ["False", "False", "True"] * 20, head="time,temp,anomaly"), label_column="anomaly")
    np.testing.assert_array_equal(series.labels, [0, 0, 1] * 20)


def test_a_name_of_a_column_is_no_sequence_of_letters(tmp_path):
    path = write(tmp_path / "in.csv", ["1", "0", "1"] * 20)
    assert read_csv(path, value_columns="temp").columns == ("temp",)
    assert read_csv(path, ignore_columns="pump").columns == ("temp",)


def test_a_detector_scores_truths_row_by_row(tmp_path):
    cells = [str(bool(i % 5 == 0)) for i in range(300)]
    path = write(tmp_path / "in.csv", cells)
    detector = Detector(window_size=24, epochs=1, steps_per_epoch=2, units=2, penalty="none", seed=0).fit(read_csv(path))
    assert np.isfinite(detector.score(str(path)).score).all()


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 20])
@pytest.mark.parametrize(
    ("first", "then"), [(("True", "False"), ("1", "0")), (("1", "0"), ("True", "False")), (("true", "false"), ("1.0", "0.0"))]
)
@pytest.mark.parametrize("n", [N, 1_200])
def test_joined_files_may_have_either(tmp_path, first, then, chunk_bytes, n):
    from anomaly.ingest.csv_rows import CsvReader

    cells = [first[i % 2] for i in range(n // 2)] + [then[i % 2] for i in range(n // 2)]
    with CsvReader(write(tmp_path / "in.csv", cells), chunk_bytes=chunk_bytes) as reader:
        found = np.concatenate([chunk.values for chunk in reader])
    np.testing.assert_array_equal(found[:, 1], [1 - i % 2 for i in range(n // 2)] * 2)
