"""Many series on the command line."""

import csv
import json
import os
import re
import signal
import subprocess
import time

import pandas as pd
import pytest
from click.testing import CliRunner
from commands import command, run
from conftest import make_series, to_csv
from heeding import heeding

from anomaly.cli import cli
from anomaly.fleet.folder import Fleet

QUICK = ["--window-size=12", "--units=4", "--epochs=1", "--steps-per-epoch=2", "--seed=1", "--penalty=none"]


def here(*arguments, code=0):
    """Run a command in this process, which is quicker."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.stderr
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of three series, one of them too short, and a long file of two."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "data").mkdir()
    for n, name in enumerate(("web 1", "web 2")):
        to_csv(make_series(n=300, seed=n, spike=slice(280, 286)), folder / "data" / f"{name}.csv")
    to_csv(make_series(n=9, spike=None), folder / "data" / "short.csv")
    parts = [pd.read_csv(folder / "data" / f"web {n}.csv").assign(host=f"h/{n}") for n in (1, 2)]
    pd.concat(parts).sort_values(["timestamp", "host"]).to_csv(folder / "long.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def shared(data):
    """A fleet with one network, made by the command, and what that said."""
    result = run(
        "train", data / "data", "--model", data / "shared", "--train-end", 260, "--report-json", data / "r.json", *QUICK, code=3
    )
    return data / "shared", result


def test_train_reports_what_failed_and_saves_the_rest(shared, data):
    folder, result = shared
    assert Fleet.load(folder).ids == ("web 1", "web 2")
    (failed,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert failed.startswith("Error: short: The cut must leave at least one row")
    assert f"2 of 3 series trained, 1 failed. Saved {folder}." in result.stderr and "web 2: 260 rows" in result.stderr
    told = json.loads((data / "r.json").read_text())
    assert (told["trained"], told["failed"], told["series"]["short"]["exit_code"]) == (2, 1, 2)


def test_a_network_for_each_series_in_two_processes(data):
    arguments = ["--model", data / "own", "--per-series", "--jobs", 2, "--id-column", "host", "--train-end", "260", "-q"]
    assert run("train", data / "long.csv", *arguments, *QUICK).stderr == ""
    fleet = Fleet.load(data / "own")
    assert fleet.ids == ("h/1", "h/2") and fleet.index.id_column == "host"
    weights = [fleet.detector(name).bundle_.weights["output/kernel"] for name in fleet.ids]
    assert (weights[0] != weights[1]).any()
    events = here("detect", data / "long.csv", "--model", data / "own", "--format", "csv", "-q").stdout
    assert {row["series"] for row in csv.DictReader(events.splitlines())} == {"h/1", "h/2"}
    rows = list(csv.DictReader(here("score", data / "long.csv", "--model", data / "own", "-q").stdout.splitlines()))
    assert [row["host"] for row in rows] == pd.read_csv(data / "long.csv")["host"].tolist()


def test_score_writes_a_file_each_and_does_nothing_twice(shared, data):
    arguments = ["score", "data/w*.csv", "data/short.csv", "--model", shared[0], "--output", "out", "--jobs", 2]
    first = run(*arguments, code=3, cwd=data)
    assert "Error: short: A series must be one of the 2 that the fleet was trained on." in first.stderr
    assert "2 of 3 series scored, 1 failed; 600 rows" in first.stderr and first.stdout == ""
    out = data / "out"
    assert sorted(path.name for path in out.iterdir()) == ["events.csv", "manifest.json", "web 1.csv", "web 2.csv"]
    single = here("score", data / "data/web 1.csv", "--model", Fleet.load(shared[0]).path("web 1"), "-q").stdout
    assert (out / "web 1.csv").read_text() == single
    assert {row["series"] for row in csv.DictReader((out / "events.csv").read_text().splitlines())} == {"web 1", "web 2"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "2 of 3 series scored, 2 unchanged, 1 failed" in run(*arguments, code=3, cwd=data).stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("name", [b"b\xe9d.csv", b"a\nb.csv"])
def test_a_file_whose_name_nobody_could_read_does_not_stop_the_others(name, shared, data, tmp_path):
    source = data / "data" / "web 1.csv"
    for copy in (b"web 1.csv", name):
        with open(os.fsencode(tmp_path) + b"/" + copy, "wb") as handle:
            handle.write(source.read_bytes())
    seen, path = (ascii(os.fsdecode(text))[1:-1] for text in (name[:-4], os.fsencode(tmp_path) + b"/" + name))
    refusal = f"Error: {seen}: An input must have a name without control characters, in UTF-8. Received: '{path}'. Rename it."
    for words in (["score", "--output", tmp_path / "out"], ["detect"], ["evaluate", "--label-column", "value"]):
        told = run(*words, tmp_path, "--model", shared[0], code=3).stderr.splitlines()
        assert refusal in told
    assert sorted(os.listdir(tmp_path / "out")) == ["events.csv", "manifest.json", "web 1.csv"]


def test_detect_evaluate_and_threshold_know_many(shared, data, tmp_path):
    found = here("detect", data / "data" / "web*.csv", "--model", shared[0], "--fail-on-anomaly", code=10).stdout.splitlines()
    assert found[0].split()[:2] == ["#", "series"] and "web 1" in found[1]
    one = here("detect", data / "data" / "web 2.csv", "--model", shared[0], "--format", "jsonl", "-q").stdout
    assert {json.loads(line)["series"] for line in one.splitlines()} == {"web 2"}
    for n in (1, 2):
        to_csv(make_series(n=300, seed=n - 1, spike=slice(280, 286)), tmp_path / f"web {n}.csv", labels=True)
    lines = here("evaluate", tmp_path, "--model", shared[0], "--label-column", "label").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == ["series", "web 1", "web 2", "mean"]
    assert lines[4] == "" and re.fullmatch(r"[\d,]+ rows of the training are left out of all figures\.", lines[5])
    assert len(lines) == 6
    before = {path.name: path.read_bytes() for path in shared[0].iterdir()}
    shown = here("threshold", shared[0], "--value", 7, "--dry-run")
    assert shown.stdout.count("fixed: given by hand") == 2 and "Nothing was written." in shown.stderr
    assert {path.name: path.read_bytes() for path in shared[0].iterdir()} == before


def test_several_long_files_are_scored_as_each_alone(data, bundle_path, tmp_path):
    frame = pd.read_csv(data / "long.csv")
    for name, rows in (("early", frame[:400]), ("late", frame[200:])):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    pd.read_csv(data / "data" / "short.csv").assign(host="tiny").to_csv(tmp_path / "tiny.csv", index=False)
    inputs, model = (
        [tmp_path / f"{name}.csv" for name in ("early", "late", "tiny")],
        ["--model", bundle_path, "--id-column", "host"],
    )
    result = here("score", *inputs, *model, "--output", tmp_path / "out", "--jobs", 2, "--report-json", tmp_path / "r.json", code=3)
    assert "Error: tiny: Some rows of some series must be scored" in result.stderr
    for name in ("early", "late"):
        here("score", tmp_path / f"{name}.csv", *model, "-q", "--output", tmp_path / "alone.csv")
        assert (tmp_path / "out" / f"{name}.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    events = pd.read_csv(tmp_path / "out" / "events.csv")
    assert set(events["series"]) == {"h/1", "h/2"} and len(events) >= 2
    assert here("detect", *inputs, *model, "--format", "csv", "-q", code=3).stdout == (tmp_path / "out" / "events.csv").read_text()
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["inputs"]["late"]["failed_series"] == 0 and set(told["inputs"]["late"]["drift"]["series"]) == {"h/1", "h/2"}
    again = here("score", *inputs, *model, "--output", tmp_path / "out", code=3)
    assert "2 of 3 series scored, 2 unchanged, 1 failed" in again.stderr
    assert pd.read_csv(tmp_path / "out" / "events.csv").equals(events)


def test_a_fleet_by_an_id_column_scores_several_long_files_and_tells_what_it_does_not_know(data, tmp_path):
    if not (data / "by_id").exists():
        here("train", data / "long.csv", "--model", data / "by_id", "--id-column", "host", "--train-end", 260, "-q", *QUICK)
    frame = pd.read_csv(data / "long.csv")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.replace({"host": {"h/2": "h/3"}}).to_csv(tmp_path / "b.csv", index=False)
    result = here("score", tmp_path, "--model", data / "by_id", "--output", tmp_path / "out", code=3)
    assert "b: A series must be one of the 2 that the fleet was trained on. Received: 'h/3'" in result.stderr
    scored = {name: pd.read_csv(tmp_path / "out" / f"{name}.csv", dtype="str", keep_default_na=False) for name in "ab"}
    assert set(scored["b"].loc[scored["b"]["host"] == "h/3", "status"]) == {"no_detector"}
    known = [found[found["host"] == "h/1"] for found in scored.values()]
    assert len(known[0]) == 300 and known[0].equals(known[1])


REFUSED = [
    (["train", "data", "--model", "long.csv"], 2, "must go to a folder. Received: --model long.csv, which is a file"),
    (["train", "data", "--model", "data"], 2, "new or empty folder"),
    (["train", "nothing/*.csv", "--model", "m"], 2, "Every input must match a file. Received: nothing/*.csv"),
    (["train", "long.csv", "--model", "data"], 2, "is a directory"),
    (["score", "data", "--model", "shared"], 2, "must go to a folder. Received: --output -."),
    (["score", "data", "--model", "shared", "--output", "data"], 2, "must not be written over inputs"),
    (["score", "data", "--model", "data", "--output", "o"], 4, "A folder must hold the index.json"),
    (["detect", "data", "--model", "shared", "--expect-sha256", "0" * 64], 4, "the one that was pinned"),
    (["threshold", "shared", "--labels", "long.csv"], 2, "--labels must go with one input"),
    (["train", "data", "--model", "m", "--expect-sha256", "0" * 64], 2, "--expect-sha256 must go with one input"),
    (["inspect", "data"], 4, "A folder must hold the index.json"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_go_together_is_refused_before_any_work(shared, data, arguments, code, sentence, monkeypatch):
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    assert sentence in here(*arguments, code=code).stderr
    assert sorted(data.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_score_goes_on_where_it_was(shared, data, tmp_path):
    for n in range(40):
        (tmp_path / f"{n:03}.csv").write_text((data / "data" / "web 1.csv").read_text())
    model = Fleet.load(shared[0]).path("web 1")
    arguments = ["score", tmp_path, "--model", model, "--output", tmp_path / "out", "--jobs", 2]
    with subprocess.Popen(heeding(command(*arguments)), stderr=subprocess.PIPE, text=True) as process:
        while len(list((tmp_path / "out").glob("*.csv"))) < 5:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in said and "Interrupted." in said
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.endswith((".tmp", ".lock"))]
    n_done = len(json.loads((tmp_path / "out" / "manifest.json").read_text())["inputs"])
    assert f"40 of 40 series scored, {n_done} unchanged" in run(*arguments).stderr
    assert n_done > 0
    assert len({path.read_bytes() for path in (tmp_path / "out").glob("[0-9]*.csv")}) == 1
