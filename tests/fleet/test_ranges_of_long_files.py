"""Events of several series: each series has numbers of its own, in a range too, and from a long file as from a folder."""

import math

import numpy as np
import pandas as pd
import pytest
from commands import here

TIMES = pd.date_range("2024-01-01", periods=900, freq="10min")
SHORT = [
    "--epochs=3", "--steps-per-epoch=10", "--window-size=32", "--units=8", "--penalty=none", "--seed=1", "--quiet",
]  # fmt: skip
SPIKES = {"x": (200, 500, 800), "y": (350, 700)}
SINCE = str(TIMES[450])


def frame_of(name, level, spikes):
    """Return a wave with some spikes, which are labelled."""
    rows = np.arange(len(TIMES))
    marked = np.isin(rows, [spike + n for spike in spikes for n in range(6)])
    values = [math.sin(row / 9) + level + (row * 7919 % 13) / 40 + 6 * found for row, found in zip(rows, marked, strict=True)]
    return pd.DataFrame({"time": TIMES, "id": name, "v": np.round(values, 4), "label": marked.astype(int)})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A long file with two series and the same in two files, and a fleet of each kind."""
    folder = tmp_path_factory.mktemp("long")
    history = pd.concat([frame_of(name, level, ()).drop(columns="label") for level, name in enumerate(SPIKES)])
    history["time"] -= pd.Timedelta(days=30)
    new = pd.concat([frame_of(name, level, SPIKES[name]) for level, name in enumerate(SPIKES)])
    for kind, frame in (("history", history), ("new", new)):
        frame.sort_values("time", kind="stable").to_csv(folder / f"{kind}.csv", index=False)
        (folder / kind).mkdir()
        for name, own in frame.groupby("id"):
            own.drop(columns="id").to_csv(folder / kind / f"{name}.csv", index=False)
    here("train", folder / "history.csv", "--id-column", "id", "--model", folder / "long.fleet", *SHORT)
    here("train", folder / "history", "--model", folder / "many.fleet", *SHORT)
    return folder


def numbered(text):
    """Return the number, the series and the first time of each line of a table."""
    return sorted(tuple(line.split()[:3]) for line in text.splitlines()[1:])


@pytest.mark.parametrize("arguments", [[], ["--since", SINCE], ["--until", SINCE], ["--since", str(TIMES[750])]])
def test_numbers_are_those_of_the_series_whatever_the_range(files, arguments):
    long = here("detect", files / "new.csv", "--model", files / "long.fleet", *arguments, "--quiet").stdout
    many = here("detect", files / "new", "--model", files / "many.fleet", *arguments, "--quiet").stdout
    alone = []
    for name in SPIKES:
        (model,) = (files / "many.fleet").glob(f"{name}-*.anomaly")
        try_one = here("detect", files / "new" / f"{name}.csv", "--model", model, *arguments, "--quiet").stdout
        alone += [(line.split()[0], name, line.split()[1]) for line in try_one.splitlines()[1:] if line[:1].strip() != "N"]
    assert numbered(many) == sorted(alone)
    assert [line[:2] for line in numbered(long)] == [line[:2] for line in numbered(many)]


def test_events_of_a_range_of_a_long_file_are_written(files, tmp_path):
    events, rows = tmp_path / "e.csv", tmp_path / "o.csv"
    words = ["--since", SINCE, "--events", events, "--output", rows, "--quiet"]
    here("score", files / "new.csv", "--model", files / "long.fleet", *words)
    found = pd.read_csv(events)
    assert set(found["series"]) == {"x", "y"} and pd.to_datetime(found["last_time"]).min() >= pd.Timestamp(SINCE, tz="UTC")


def test_a_long_file_is_evaluated_series_by_series(files):
    many = here("evaluate", files / "new", "--model", files / "many.fleet", "--label-column", "label").stdout
    long = here("evaluate", files / "new.csv", "--model", files / "long.fleet", "--label-column", "label").stdout
    assert [line.split()[0] for line in long.splitlines()] == [line.split()[0] for line in many.splitlines()]
    (model,) = (files / "long.fleet").glob("x-*.anomaly")
    named = here("evaluate", files / "new.csv", "--model", model, "--label-column", "label", "--id-column", "id").stdout
    assert named.splitlines()[1].split() == long.splitlines()[1].split()
    wrong = here("evaluate", files / "new.csv", "--model", model, "--label-column", "label", "--id-column", "idd", code=3)
    assert "no 'idd' among" in wrong.stderr


def test_a_series_without_a_row_in_the_range_is_told(files, tmp_path):
    frame = pd.read_csv(files / "new.csv")
    short = tmp_path / "short.csv"
    frame[(frame["id"] == "x") | (frame["time"] < SINCE)].to_csv(short, index=False)
    told = here("detect", short, "--model", files / "long.fleet", "--since", str(TIMES[600])).stderr
    assert "y: no row lies in the range." in told and "x: no row" not in told


def test_a_series_in_several_long_files_is_evaluated_whole(files, tmp_path):
    frame, halves = pd.read_csv(files / "new.csv"), [tmp_path / "a.csv", tmp_path / "b.csv"]
    for half, rows in zip(halves, (frame["time"] < SINCE, frame["time"] >= SINCE), strict=True):
        frame[rows].to_csv(half, index=False)
    words = ["--model", files / "long.fleet", "--label-column", "label"]
    assert here("evaluate", *halves, *words).stdout == here("evaluate", files / "new.csv", *words).stdout
