"""Drift of several series: each as if it were alone, in whatever pieces and runs its rows come."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_series, to_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.cli import cli
from anomaly.files.one_file import score_file
from anomaly.files.series_drift import SeriesDrift

NAMES = ("a", "b", "c")


def invoke(*arguments, **options):
    return CliRunner().invoke(cli, list(map(str, arguments)), **options)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 30)), max_size=12), st.sets(st.integers(0, 12)))
def test_each_series_is_compared_as_if_it_were_alone(detector, pushes, stored):
    rng, bundle = np.random.default_rng(len(pushes)), detector.bundle_
    later = bundle.calibration_times[-1] + 1
    alone, drift = {name: bundle.drift("combined") for name in NAMES[:2]}, SeriesDrift()
    for number, (name, n) in enumerate(pushes):
        values, scores = rng.normal(10, 8, size=(n, 2)), rng.exponential(size=n)
        ids = np.full(n, name, object)
        if number in stored:
            drift = SeriesDrift(drift.memories)
        for series in alone:
            drift.begin(series, bundle, "combined")
        drift.push(ids, values)
        drift.push_scores(name, scores, later + np.arange(n))
        if name in alone:
            alone[name].push(values, scores)
    found = drift.result().series
    assert set(found) <= set(alone)
    assert {name: repr(result) for name, result in found.items()} == {name: repr(alone[name].result()) for name in found}


def test_rows_of_all_series_are_counted_once_enough_wait(detector):
    drift, rng = SeriesDrift(), np.random.default_rng(0)
    for name in NAMES[:2]:
        drift.begin(name, detector.bundle_, "combined")
    for _ in range(60):
        drift.push(np.array(NAMES * 500, object), rng.normal(size=(1500, 2)))
        drift.push_scores("a", rng.normal(size=500), detector.bundle_.calibration_times[-1] + 1 + np.arange(500))
        assert drift._n_waiting < 1 << 16
    found = drift.result().series
    assert {name: result.rows for name, result in found.items()} == {"a": 30_000, "b": 30_000}
    assert found["a"].scores == 30_000
    drift.forget("a")
    assert list(drift.result().series) == ["b"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two series like that of the training, and two that have moved, one of them further."""
    folder = tmp_path_factory.mktemp("inputs")
    for number, (name, factor) in enumerate({"same": 1.0, "moved": 1.45, "gone": 9.0, "alike": 1.0}.items()):
        made = make_series(150, seed=number, spike=None)
        made.values[:] *= factor
        to_csv(made, folder / f"{name}.csv")
    return folder


SENTENCE = (
    "Warning: 2 of 4 series no longer look like in training (the furthest first: 'gone', 'moved'): "
    "retrain on rows like these if it stays so; --report-json has each.\n"
)


def alone(detector, path, aggregation="combined"):
    return json.loads(json.dumps(score_file(detector, path, aggregation=aggregation).drift.to_dict()))


def test_a_long_file_reports_drift_series_by_series(bundle_path, detector, inputs, tmp_path):
    lines = {path.stem: path.read_text().splitlines() for path in sorted(inputs.iterdir())}
    rows = [f"{name},{text[i]}" for i in range(1, 151) for name, text in lines.items()]
    path, report = tmp_path / "long.csv", tmp_path / "report.json"
    path.write_text("\n".join(["id," + lines["same"][0], *rows]) + "\n")
    for command in (["score", path, "-o", tmp_path / "out.csv"], ["detect", path]):
        result = invoke(*command, "--model", bundle_path, "--id-column", "id", "--report-json", report)
        assert result.exit_code == 0, result.output
        assert result.stderr.endswith(SENTENCE)
        told = json.loads(report.read_text())["drift"]
        assert told["series"] == {name: alone(detector, inputs / f"{name}.csv") for name in lines}
        assert told["drifted"] == 2 and SENTENCE.startswith(f"Warning: {told['warning']}: ")
    quiet = invoke("score", path, "-o", tmp_path / "out.csv", "--model", bundle_path, "--id-column", "id", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_many_inputs_give_one_warning_and_each_its_own_figures(bundle_path, detector, inputs, tmp_path):
    report = tmp_path / "report.json"
    arguments = ["--model", bundle_path, "--report-json", report]
    for command in (["score", inputs, "-o", tmp_path / "out"], ["score", inputs, "-o", tmp_path / "out"], ["detect", inputs]):
        result = invoke(*command, *arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr.endswith(SENTENCE)
        told = json.loads(report.read_text())
        assert told["drifted"] == 2 and SENTENCE.startswith(f"Warning: {told['drift_warning']}: ")
        for name in ("same", "moved", "gone", "alike"):
            assert told["inputs"][name]["drift"] == alone(detector, inputs / f"{name}.csv")
    manifest = json.loads(Path(tmp_path / "out" / "manifest.json").read_text())
    assert manifest["inputs"]["gone"]["drift"]["warning"]


def test_a_live_run_of_several_series_counts_on_after_a_restart(bundle_path, detector, inputs, tmp_path):
    lines = {path.stem: path.read_text().splitlines() for path in sorted(inputs.iterdir())}
    rows = [f"{name},{text[i]}" for i in range(1, 151) for name, text in lines.items()]
    head, report = "id," + lines["same"][0], tmp_path / "report.json"
    arguments = ["score", "-", "--model", bundle_path, "--follow", "--id-column", "id", "--report-json", report]
    for start, stop in ((0, 101), (101, 102), (102, 600)):
        text = "\n".join([head, *rows[start:stop]]) + "\n"
        result = invoke(*arguments, "--state", tmp_path / "state", input=text)
        assert result.exit_code == 0, result.output
    assert result.stderr.endswith(SENTENCE)
    told = json.loads(report.read_text())["drift"]
    assert told["series"] == {name: alone(detector, inputs / f"{name}.csv", "trailing") for name in lines}


def test_series_that_are_put_away_are_compared_no_more(bundle_path, inputs, tmp_path):
    lines, report = (inputs / "gone.csv").read_text().splitlines(), tmp_path / "report.json"
    text = "\n".join([f"id,{lines[0]}", *(f"{name},{line}" for name in "abc" for line in lines[1:])]) + "\n"
    arguments = ["--follow", "--id-column", "id", "--most-series", "2", "--report-json", report]
    assert invoke("score", "-", "--model", bundle_path, *arguments, input=text).exit_code == 0
    assert list(json.loads(report.read_text())["drift"]["series"]) == ["b", "c"]
