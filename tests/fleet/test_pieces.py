"""Files that go on from one another are pieces of one series, and no fleet."""

import numpy as np
import pandas as pd
import pytest
from commands import here

from anomaly.errors import DataError
from anomaly.fleet.pieces import refuse_pieces
from anomaly.sources.inputs import find_inputs

FLOW = np.round(10 + np.sin(np.arange(400) / 4), 3)


def written(folder, name, start, n=24, freq="h", column="flow"):
    times = pd.date_range(start, periods=n, freq=freq).strftime("%Y-%m-%dT%H:%M:%SZ")
    pd.DataFrame({"timestamp": times, column: FLOW[:n]}).to_csv(folder / f"{name}.csv", index=False)


def refuse(folder):
    refuse_pieces(find_inputs([str(folder)]), {})


@pytest.mark.parametrize(("freq", "n"), [("h", 24), ("min", 300), ("D", 30)])
def test_files_that_follow_one_another_are_refused_with_both_remedies(tmp_path, freq, n):
    times = pd.date_range("2024-01-01", periods=3 * n, freq=freq)
    for i in range(3):
        written(tmp_path, f"part-{i}", times[i * n], n, freq)
    with pytest.raises(
        DataError, match="3 files that go on from one another, such as part-1 after part-0.*join them.*--per-series"
    ):
        refuse(tmp_path)


@pytest.mark.parametrize(
    "others",
    [
        {"start": "2024-01-01"},  # the same hours: two machines
        {"start": "2024-01-01T12:00"},  # that overlap
        {"start": "2024-03-01"},  # weeks later
        {"start": "2024-01-02", "column": "temp"},
        {"start": "2024-01-02", "freq": "min"},
    ],
)
def test_files_that_do_not_are_series_of_their_own(tmp_path, others):
    written(tmp_path, "a", "2024-01-01")
    written(tmp_path, "b", **others)
    refuse(tmp_path)


DAYS = [f"2024-01-{day:02d}" for day in range(20, 32)]


def starts(days, hour=0):
    return [f"{day}T{hour:02d}:00" for day in days]


@pytest.mark.parametrize(
    ("begin", "n", "names"),
    [
        (starts(DAYS), 24, None),
        (starts(DAYS), 25, None),  # both hold midnight
        (starts(DAYS), 26, None),  # and an hour more
        (starts(DAYS), 24, [f"log_{i}" for i in range(1, 13)]),  # whose names are in another order: 1, 10, 11, 12, 2
        (starts(DAYS), 24, [f"{int(day[-2:]):02d}-{'abcdefghijkl'[11 - i]}" for i, day in enumerate(DAYS)]),
        (starts(DAYS[:5] + DAYS[6:]), 24, None),  # a day was lost
        (starts(DAYS, 8), 9, None),  # working hours
        (starts(DAYS[:5] + DAYS[7:], 8), 9, None),  # but for a weekend
        (starts([*DAYS, "2024-01-20"]), 24, None),  # with a copy
        (starts(DAYS[:3]), 25, None),
        (starts(DAYS[:2]), 25, None),
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_pieces_are_told_by_their_times(tmp_path, begin, n, names, newest_first):
    for i, start in enumerate(begin):
        name = names[i] if names else f"d{i:02d}"
        written(tmp_path, name, start, n)
        if newest_first:
            path = tmp_path / f"{name}.csv"
            pd.read_csv(path)[::-1].to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{len(begin)} files that go on from one another"):
        refuse(tmp_path)


@pytest.mark.parametrize(
    "begin",
    [
        ["2024-01-01"] * 12,  # machines that are watched together
        [f"2024-01-{1 + i:02d}" for i in range(5)],  # that were set up one after the other
        ["2024-01-01", "2024-02-02", "2024-02-27", "2024-04-20", "2024-05-09"],  # runs of a test bench
        ["2024-01-01", "2024-02-02", "2024-03-05"],  # a machine that was replaced twice
        ["2024-01-01"] * 3 + ["2024-02-01"] * 3,  # machines of two plants
    ],
)
def test_sound_fleets_are_none(tmp_path, begin):
    for i, start in enumerate(begin):
        written(tmp_path, f"machine-{i}", start, 300)
    refuse(tmp_path)


def test_no_more_is_read_than_it_takes(tmp_path):
    written(tmp_path, "a", "2024-01-01")
    written(tmp_path, "b", "2024-01-01")
    (tmp_path / "c.csv").write_text("nonsense")
    refuse(tmp_path)
    (tmp_path / "b.csv").write_text("nonsense too")
    refuse(tmp_path)  # it is told where it is trained on


def test_the_command_refuses_before_anything_is_trained(tmp_path):
    for day in (1, 2, 3):
        written(tmp_path, f"2024-01-0{day}", f"2024-01-0{day}")
    said = here("train", str(tmp_path / "*.csv"), "--model", tmp_path / "m.fleet", "--quiet", code=3).stderr
    assert said.startswith("Error: Each file must hold a series of its own. Received: 3 files") and said.count("\n") == 1
    assert not (tmp_path / "m.fleet").exists()
