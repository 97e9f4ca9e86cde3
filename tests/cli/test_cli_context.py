"""Context on the command line: which columns are read, what is said, live, several series, and what is refused."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from commands import here

QUICK = ("--window-size", 12, "--units", 4, "--epochs", 1, "--steps-per-epoch", 5, "--seed", 1, "--nearest-windows", 20)
CONTEXT = ("--context-columns", "load,weekday", "--calendar", "day")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file with its context between the features, and one whose context comes later."""
    place = tmp_path_factory.mktemp("context")
    rng, times = np.random.default_rng(0), pd.date_range("2022-01-03", periods=400, freq="h")
    load = rng.normal(size=400).round(3)
    frame = pd.DataFrame({"time": times.strftime("%Y-%m-%d %H:%M:%S"), "flow": (load + 5).round(3), "load": load})
    frame["weekday"], frame["level"] = np.arange(400) // 24 % 7, np.sin(np.arange(400) / 4).round(3)
    frame.loc[350:355, "flow"] += 30
    frame.to_csv(place / "data.csv", index=False)
    frame.drop(columns="load").to_csv(place / "unloaded.csv", index=False)
    return place


@pytest.fixture(scope="module")
def model(folder):
    told = here("train", folder / "data.csv", "--model", folder / "d.anomaly", "--train-end", 300, *CONTEXT, *QUICK)
    return folder / "d.anomaly", told.stderr


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def test_train_says_which_columns_are_context(model):
    assert "Features: flow, level. Context, read and never judged: load, weekday, the time of day. Time: time, " in model[1]
    assert "Training on 300 rows of 2 features" in model[1]
    shown = [" ".join(line.split()) for line in here("inspect", model[0]).stdout.splitlines()]
    assert {"columns flow, level", "context load, weekday, the time of day"} <= set(shown)


def test_scores_name_judged_features_alone_and_nothing_is_amiss_with_the_order_of_the_columns(model, folder):
    scored = rows_of(here("score", folder / "data.csv", "--model", model[0], "--with", "expected,by-feature", "--strict").stdout)
    added = set(scored[0]) - {"time", "flow", "load", "weekday", "level"}
    assert {name for name in added if name.endswith(("_expected", "_share"))} == {
        "flow_expected", "flow_share", "level_expected", "level_share",
    }  # fmt: skip
    found = rows_of(here("detect", folder / "data.csv", "--model", model[0], "--format", "csv").stdout)
    assert found
    assert "load" not in json.dumps(found)
    assert here("check", folder / "data.csv", "--model", model[0], "--strict").stdout.endswith("It would be taken.\n")


def test_rows_that_come_one_by_one_have_the_scores_of_the_file(model, folder):
    options = ("--model", model[0], "--aggregation", "trailing")
    batch = here("score", folder / "data.csv", *options).stdout
    assert here("score", "-", *options, "--follow", stdin=(folder / "data.csv").read_text()).stdout == batch
    lines = [json.dumps(row) for row in pd.read_csv(folder / "data.csv").to_dict("records")]
    live = here("score", "-", *options, "--follow", "--input-format", "jsonl", stdin="\n".join(lines) + "\n").stdout
    live = [json.loads(line) for line in live.splitlines()]
    assert [row["score"] for row in live] == [float(row["score"]) if row["score"] else None for row in rows_of(batch)]


def test_an_event_is_explained_without_its_context(model, folder):
    told = here("explain", folder / "data.csv", "--model", model[0], "--event", 1, "--format", "jsonl").stdout
    assert json.loads(told)
    assert "load" not in told
    assert "weekday" not in told


def test_several_series_have_the_same_context(folder):
    frame = pd.read_csv(folder / "data.csv")
    both = pd.concat([frame.assign(id="a"), frame.assign(id="b", load=-frame["load"])]).sort_values("time", kind="stable")
    both.to_csv(folder / "both.csv", index=False)
    here("train", folder / "both.csv", "--id-column", "id", "--model", folder / "fleet", *CONTEXT, *QUICK)
    scored = rows_of(here("score", folder / "both.csv", "--id-column", "id", "--model", folder / "fleet").stdout)
    assert {row["status"] for row in scored} == {"ok"}
    assert len({row["score"] for row in scored}) > len(frame)
    message = here(
        "score", folder / "both.csv", "--id-column", "id", "--model", folder / "fleet", "--new-series", "learn", code=2
    ).stderr
    assert "A new series is learnt with a network that reads nothing but what it is judged by." in message


def test_what_reads_more_than_it_judges_is_not_exported(model, folder):
    message = here("export", model[0], "--output", folder / "d.onnx", code=2).stderr
    assert "An exported network must read nothing but the features that it is judged by." in message
    assert not (folder / "d.onnx").exists()


def test_a_file_without_the_context_is_refused(model, folder):
    message = here("score", folder / "unloaded.csv", "--model", model[0], code=3).stderr
    assert message == (
        "Error: The context columns must be in the header. Received: no 'load' among 'time', 'flow', 'weekday', 'level' "
        "(unloaded.csv, line 1). A detector reads the columns that it was trained on: rename what is called otherwise, or add an "
        "empty one for what is missing.\n"
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ("--context-columns", "laod"), 3,
            "The context columns must be in the header. Received: no 'laod' among 'time', 'flow', 'load', 'weekday', 'level' "
            "(perhaps 'load') (data.csv, line 1). Name existing columns with --context-columns.",
        ),
        (
            ("--context-columns", "load", "--value-columns", "load,flow"), 2,
            "A context column must not be a value column too. Received: 'load' (data.csv). Name it in one place.",
        ),
        (
            ("--context-columns", "weekday", "--label-column", "weekday"), 3,
            "A context column must not be the time, label or id column too. Received: 'weekday' (data.csv). Name it in one place.",
        ),
        (
            ("--context-columns", "load", "--ignore-columns", "load"), 2,
            "A context column must not be a column to ignore too. Received: 'load' (data.csv). Name it in one place.",
        ),
        (
            ("--context-columns", "flow,load,weekday,level"), 2,
            "The context columns must leave a column to be judged. Received: 'flow', 'load', 'weekday', 'level', which are all "
            "(data.csv). Leave out those that shall raise events.",
        ),
        (("--context-columns", "load,load"), 2, "must be names that differ, at least one: load,season. Received: load,load."),
        (
            ("--calendar", "week", "--train-end", 200), 2,
            "`calendar` must be one of which the history has seen 2 weeks. Received: calendar=week for 2022-01-03T00:00:00Z to "
            "2022-01-11T07:00:00Z (data.csv). Give a longer history, or leave the calendar out.",
        ),
        (
            ("--calendar", "day", "--time-column", "none", "--ignore-columns", "time"), 2,
            "`calendar` must be none where rows are counted. Received: calendar=day (data.csv). "
            "Name the column of times with --time-column, or leave the calendar out.",
        ),
    ],
)  # fmt: skip
def test_context_that_is_none_is_refused(folder, options, code, message):
    assert message in here("train", folder / "data.csv", "--model", folder / "no.anomaly", *QUICK, *options, code=code).stderr
    assert not (folder / "no.anomaly").exists()
