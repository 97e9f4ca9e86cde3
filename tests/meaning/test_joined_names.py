"""Names on several lines, as pandas writes columns of several levels."""

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import DataError
from anomaly.ingest.reading import read_csv
from anomaly.sources.tolerance import Tolerance

N = 40
DAYS = pd.date_range("2024-01-03", periods=N, name="Date")
VALUES = np.round(10 + np.sin(np.arange(3 * N)).reshape(N, 3), 2)


def written(path, columns, names, index="Date"):
    frame = pd.DataFrame(VALUES[:, : len(columns)], DAYS.rename(index), pd.MultiIndex.from_tuples(columns, names=names))
    frame.to_csv(path)
    return path


@pytest.mark.parametrize(
    ("columns", "names", "read"),
    [
        ([("Close", "AAPL"), ("High", "AAPL"), ("Volume", "AAPL")], ["Price", "Ticker"], ["Close", "High", "Volume"]),
        ([("Close", "AAPL"), ("Close", "MSFT"), ("High", "MSFT")], ["Price", "Ticker"], ["Close AAPL", "Close MSFT", "High MSFT"]),
        ([("AAPL", "Close"), ("AAPL", "High")], ["Ticker", "Price"], ["Close", "High"]),
        ([("a", "x"), ("a", "y"), ("b", "x")], [None, None], ["a x", "a y", "b x"]),
        ([("a", "x", "raw"), ("a", "y", "raw"), ("b", "x", "raw")], ["m", "n", "kind"], ["a x", "a y", "b x"]),
        ([("mean", 1), ("mean", 2)], ["stat", "sensor"], ["1", "2"]),
    ],
)
@pytest.mark.parametrize("index", ["Date", "Timestamp"])
def test_names_of_several_levels(tmp_path, columns, names, read, index):
    tolerance = Tolerance()
    series = read_csv(written(tmp_path / "in.csv", columns, names, index), tolerance=tolerance)
    assert list(series.columns) == read and series.time_column == index and len(series) == N
    assert np.array_equal(series.values, VALUES[:, : len(columns)])
    assert tolerance.counts["title_lines"] == len(names)


def test_a_name_above_the_columns_and_the_index_below_it(tmp_path):
    pd.DataFrame(VALUES, DAYS, pd.Index(["a", "b", "c"], name="Metric")).to_csv(tmp_path / "plain.csv")
    rows = (tmp_path / "plain.csv").read_text().splitlines()[1:]
    (tmp_path / "in.csv").write_text("\n".join(["Metric,a,b,c", "Date,,,", *rows]) + "\n")
    series = read_csv(tmp_path / "in.csv")
    assert series.columns == ("a", "b", "c") and series.time_column == "Date"


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        (["time,a,b,c", "UTC,,,"], ("a", "b", "c")),  # a unit of the time alone
        (["time,a,b,c", "s,V,A,W"], ("a", "b", "c")),
        (["time,a,b,c"], ("a", "b", "c")),
        (["time,a,b,c", "2024-01-02,,,"], ("a", "b", "c")),  # a first row without values
    ],
)
def test_other_lines_below_the_names_are_what_they_were(tmp_path, head, columns):
    rows = [f"{day:%Y-%m-%d},{','.join(map(str, row))}" for day, row in zip(DAYS, VALUES, strict=True)]
    (tmp_path / "in.csv").write_text("\n".join([*head, *rows]) + "\n")
    series = read_csv(tmp_path / "in.csv")
    assert series.columns == columns and series.time_column == "time"


def test_names_that_repeat_on_all_lines_are_refused(tmp_path):
    with pytest.raises(DataError, match="Column names must differ"):
        read_csv(written(tmp_path / "in.csv", [("a", "x"), ("a", "x")], ["m", "n"]))
