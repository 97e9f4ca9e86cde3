"""Fields between blanks are told, with what helps; a line that counts the rows is passed over."""

import subprocess

import numpy as np
import pytest

from anomaly.errors import DataError
from anomaly.ingest.reading import read_csv
from anomaly.meaning.blanks import n_between_blanks
from anomaly.sources.tolerance import Tolerance

N = 40
TIMES = [str(np.datetime64("2024-01-03T00:00:00") + np.timedelta64(i, "h")).replace("T", " ") for i in range(N)]
X = [f"{10 + np.sin(i):.2f}" for i in range(N)]


@pytest.mark.parametrize(
    ("header", "records", "n"),
    [
        ("time x y", [f"{t.replace(' ', 'T')} {x} {x}" for t, x in zip(TIMES, X, strict=True)], 3),
        ("ts                   a     b", [f"{t}  {x}  {x}" for t, x in zip(TIMES, X, strict=True)], 4),  # a time of two parts
        (
            "#YY MM DD hh WDIR",
            ["#yr mo dy hr degT", *[f"{t[:4]} {t[5:7]} {t[8:10]} {t[11:13]}   {7 * i + 60}" for i, t in enumerate(TIMES)]],
            5,
        ),
        ("2024 01 03 00 98 1681", [f"2024 01 {3 + i // 24:02d} {i % 24:02d}   {i}  1650" for i in range(1, N)], 6),
        ("ts   a", ["-------------------  -----", *[f"{t}  {x}" for t, x in zip(TIMES, X, strict=True)]], 3),
    ],
)
def test_fields_between_blanks_are_told(tmp_path, header, records, n):
    path = tmp_path / "in.csv"
    path.write_text("\n".join([header, *records]) + "\n")
    with pytest.raises(DataError, match=f"Received: blanks between them, {n} in each record such as .* Write commas instead"):
        read_csv(path)


def test_what_is_advised_makes_fields(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("\n".join(["time    x", *[f"  {t.replace(' ', 'T')}   {x}  " for t, x in zip(TIMES, X, strict=True)]]) + "\n")
    with pytest.raises(DataError, match="blanks between them") as refused:
        read_csv(path)
    script = str(refused.value).split("sed '")[1].split("'")[0]
    path.write_bytes(subprocess.run(["sed", script, path], capture_output=True, check=True).stdout)
    series = read_csv(path)
    assert series.time_column == "time" and len(series) == N


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("value", X),
        ("flow rate", X),
        ("flow rate", ["1 234"] * N),  # thousands
        ("flow rate", ["12.5 degC"] * N),
        ("date time", TIMES),
        ("date time", [f"{t[5:7]}/{t[8:10]}/{t[:4]} {int(t[11:13]) % 12 or 12}:00 AM" for t in TIMES]),
        ("a note", ["off at 3", "on", "off at 4"] * 10),
    ],
)
def test_one_column_is_one(header, cells):
    assert n_between_blanks(header, cells) == 0


FOOTERS = [
    "(40 rows)", "(1 row)", "(40 rows affected)", "\n(40 rows affected)", "(40 Zeilen)", "(40 lignes)", "40 rows in set (0.01 sec)",
    "40 rows selected.", "(40 rows)\n",
]  # fmt: skip


@pytest.mark.parametrize("footer", FOOTERS)
@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("mark", ["|", ","])
def test_a_line_that_counts_the_rows_is_passed_over_and_told(tmp_path, footer, columns, mark):
    rows = [x if columns == 1 else mark.join([t, x, x][:columns]) for t, x in zip(TIMES, X, strict=True)]
    header = mark.join(["x"] if columns == 1 else ["ts", "a", "b"][:columns])
    path, tolerance = tmp_path / "in.csv", Tolerance()
    if columns == 1 and footer.startswith("\n"):
        footer = footer.strip()  # with one column a blank line is a record
    path.write_text("\n".join([header, *rows, footer.rstrip("\n") if columns == 1 else footer]) + "\n")
    series = read_csv(path, tolerance=tolerance)
    assert len(series) == N and tolerance.counts["row_counts"] == 1
    with pytest.raises(DataError, match="With --strict"):
        read_csv(path, strict=True)


@pytest.mark.parametrize("line", ["(rows)", "40 rows", "(40 rows) of 50", "Total"])
def test_other_lines_of_one_field_are_refused(tmp_path, line):
    (tmp_path / "in.csv").write_text("\n".join(["ts,a", *[f"{t},{x}" for t, x in zip(TIMES, X, strict=True)], line]) + "\n")
    with pytest.raises(DataError, match="as many fields as the header"):
        read_csv(tmp_path / "in.csv")
