"""The minus of typesetting before numbers."""

import numpy as np
import pandas as pd
import pytest

from anomaly.meaning.marks import with_plain_minus
from tests.csv_text import read, text

N = 620
HOURS = pd.date_range("2024-02-20", periods=N, freq="h").strftime("%Y-%m-%d %H:%M:%S")
VALUES = np.round(5 * np.sin(np.arange(N) / 4), 2)


@pytest.mark.parametrize(
    ("sep", "write"),
    [
        (",", lambda v: f"{v:.2f}"),
        (";", lambda v: f"{v:.2f}".replace(".", ",")),
        (",", lambda v: f'"{v:.2f}"'.replace(".", ",")),
        (",", lambda v: f"{v:.2f}" if v < 0 else f"+{v:.2f}"),
    ],
)
@pytest.mark.parametrize("first", [0, 510])
def test_it_is_a_minus_wherever_it_is_seen_first(tmp_path, sep, write, first):
    values = np.where(np.arange(N) < first, np.abs(VALUES), VALUES)
    rows = [
        f"{time}{sep}{write(value)}".replace("-", "\u2212") for time, value in zip(HOURS.str.replace("-", "/"), values, strict=True)
    ]
    series = read(tmp_path, "\n".join([f"time{sep}a", *rows, ""]))
    np.testing.assert_array_equal(series.values[:, 0], values)


def test_alone_it_stands_for_a_missing_value(tmp_path):
    cells = ["\u2212" if i % 9 == 4 else value for i, value in enumerate(VALUES)]
    series = read(tmp_path, text("time,a", HOURS, cells))
    np.testing.assert_array_equal(series.values[:, 0], np.where(np.arange(N) % 9 == 4, np.nan, VALUES))


def test_in_names_it_stays(tmp_path):
    cells = ["a\u2212b", "x \u2212 5", "\u22125", " \u2212,5", "3\u22124"]
    assert with_plain_minus(cells) == [*cells[:2], "-5", " -,5", cells[4]]
    series = read(tmp_path, text("time,a,pump", HOURS, VALUES, ["P\u22121"] * N), ignore_columns=["pump"])
    assert series.columns == ("a",)
