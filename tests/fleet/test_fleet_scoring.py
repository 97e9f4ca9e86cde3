"""Many inputs: the bytes of single runs, and never anything twice."""

import io
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import commands
import pytest
from conftest import make_series, to_csv

from anomaly import Detector
from anomaly.engines.pool import run
from anomaly.errors import BundleError, ConfigError, DataError
from anomaly.files.one_file import score_file
from anomaly.fleet import scoring as fleet_scoring
from anomaly.fleet.folder import Fleet, Index, replaced_fleet, write_member
from anomaly.fleet.results import Results, Scored
from anomaly.fleet.scoring import MANIFEST, Model, Options, detect_many, output_name, score_many
from anomaly.report.tables import events_text
from anomaly.sources.inputs import Input, find_inputs


@pytest.fixture(scope="module")
def fleet(detector, tmp_path_factory):
    """Three detectors that differ in their thresholds."""
    folder, bundle = tmp_path_factory.mktemp("fleets") / "fleet", detector.bundle_
    with replaced_fleet(folder) as new:
        members = {}
        for name, value in (("a", 1.0), ("b", 2.0), ("x/c", 3.0)):
            changed = Detector(**bundle.config.to_settings())
            changed.bundle_ = bundle
            members[name] = write_member(folder, name, changed.set_threshold(value).bundle_)
        new.finish(Index(None, bundle.time_column, bundle.columns, members))
    return folder


@pytest.fixture
def data(tmp_path):
    for n, name in enumerate("abc"):
        to_csv(make_series(n=150, seed=n, spike=slice(100, 106)), tmp_path / f"{name}.csv")
    return tmp_path


@pytest.fixture
def inputs(data):
    return [Input("a", str(data / "a.csv")), Input("b", str(data / "b.csv")), Input("x/c", str(data / "c.csv"))]


@pytest.fixture
def done(monkeypatch):
    """The inputs that were really scored."""
    found = []

    def noting(detector, path, **options):
        found.append(path[-5])
        return score_file(detector, path, **options)

    monkeypatch.setattr(fleet_scoring, "score_file", noting)
    return found


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_outputs_are_those_of_single_runs(fleet, inputs, tmp_path, file_format):
    results = score_many(inputs, Model.of(fleet), tmp_path / "out", Options(file_format=file_format))
    for item in inputs:
        expected = io.BytesIO()
        summary = score_file(Fleet.load(fleet).detector(item.name), item.path, output=expected, file_format=file_format)
        assert (tmp_path / "out" / f"{item.name}.{file_format}").read_bytes() == expected.getvalue()
        assert results.scored[item.name].events == summary.events != []
    entries = json.loads((tmp_path / "out" / MANIFEST).read_text())["inputs"]
    assert {name: entry["rows"] for name, entry in entries.items()} == {"a": 150, "b": 150, "x/c": 150}
    assert entries["x/c"]["output"] == f"x/c.{file_format}" and entries["x/c"]["error"] is None
    assert entries["a"]["input"]["bytes"] == len((tmp_path / "a.csv").read_bytes())
    assert sum(entries["b"]["statuses"].values()) == 150 and entries["b"]["events"] == len(entries["b"]["found"]) > 0


def test_processes_write_the_same_bytes(fleet, inputs, tmp_path):
    for jobs in (1, 2):
        score_many(inputs, Model.of(fleet), tmp_path / str(jobs), Options(), executor=partial(run, jobs=jobs))
    assert content_of(tmp_path / "1") == content_of(tmp_path / "2")
    assert len(content_of(tmp_path / "1")) == 4


def test_one_detector_serves_all(bundle_path, inputs, tmp_path):
    results = score_many(inputs, Model.of(bundle_path), tmp_path / "out", Options())
    assert sorted(results.scored) == ["a", "b", "x/c"] and results.exit_code == 0
    assert "3 of 3 series scored; 450 rows" in str(results)


def test_a_second_run_does_nothing(fleet, inputs, tmp_path, done):
    first = score_many(inputs, Model.of(fleet), tmp_path / "out", Options())
    before, times = content_of(tmp_path / "out"), {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    again = score_many(inputs, Model.of(fleet), tmp_path / "out", Options())
    assert done == ["a", "b", "c"]
    assert content_of(tmp_path / "out") == before and {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times
    assert all(found.unchanged for found in again.scored.values()) and "3 of 3 series scored, 3 unchanged" in str(again)
    assert again.events("ab") == first.events("ab") and len(again.events("ab")[0]) > 0
    assert events_text(*again.events("a")[:1], "t", "csv") == events_text(*first.events("a")[:1], "t", "csv")


def change_manifest(out, change):
    described = json.loads((out / MANIFEST).read_text())
    change(described["inputs"]["b"])
    (out / MANIFEST).write_text(json.dumps(described))


CHANGES = {
    "input": lambda data, out: to_csv(make_series(n=151), data / "b.csv"),
    "output gone": lambda data, out: (out / "b.csv").unlink(),
    "output damaged": lambda data, out: (out / "b.csv").write_text("x"),
    "failed before": lambda data, out: change_manifest(out, lambda entry: entry.update(error="no")),
    "no events": lambda data, out: change_manifest(out, lambda entry: entry.pop("found")),
    "strange events": lambda data, out: change_manifest(out, lambda entry: entry.update(found=[{"start": 1}])),
    "strange counts": lambda data, out: change_manifest(out, lambda entry: entry.update(rows="many")),
    "strange input": lambda data, out: change_manifest(out, lambda entry: entry.update(input=[])),
    "nothing": lambda data, out: change_manifest(out, lambda entry: entry.clear()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_only_what_changed_is_done_again(fleet, inputs, data, done, change):
    out = data / "out"
    score_many(inputs, Model.of(fleet), out, Options())
    before = content_of(out)
    change(data, out)
    score_many(inputs, Model.of(fleet), out, Options())
    assert done == ["a", "b", "c", "b"]
    if change is not CHANGES["input"]:
        assert content_of(out) == before


def test_another_option_or_detector_or_a_wish_does_all_again(fleet, inputs, tmp_path, bundle_path, done):
    out = tmp_path / "out"
    score_many(inputs, Model.of(fleet), out, Options())
    score_many(inputs, Model.of(fleet), out, Options(threshold=2.0))
    score_many(inputs, Model.of(bundle_path), out, Options(threshold=2.0))
    score_many(inputs, Model.of(bundle_path), out, Options(threshold=2.0), anew=True)
    assert done == ["a", "b", "c"] * 4


def test_only_the_series_whose_detector_changed_is_done_again(fleet, inputs, tmp_path, done):
    shutil.copytree(fleet, tmp_path / "fleet")
    score_many(inputs, Model.of(tmp_path / "fleet"), tmp_path / "out", Options())
    with replaced_fleet(tmp_path / "fleet") as new:
        bundle = Fleet.load(tmp_path / "fleet").detector("b").bundle_
        changed = write_member(tmp_path / "fleet", "b", replace(bundle, fingerprint="0" * 64))
        new.finish(replace(new.old, series=new.old.series | {"b": changed}))
    score_many(inputs, Model.of(tmp_path / "fleet"), tmp_path / "out", Options())
    assert done == ["a", "b", "c", "b"]


def test_what_fails_is_written_down_and_tried_again(fleet, inputs, data, done):
    good = (data / "b.csv").read_text()
    (data / "b.csv").write_text("timestamp,s1,s2\n2022-01-01T00:00:00Z,1,x\n")
    unknown = Input("z", str(data / "a.csv"))
    ended = []
    results = score_many([*inputs, unknown], Model.of(fleet), data / "out", Options(), on_end=lambda name, _: ended.append(name))
    assert sorted(results.failed) == ["b", "z"] and results.exit_code == 3 and ended == ["a", "b", "x/c", "z"]
    assert "one of the 3 that the fleet was trained on. Received: 'z'" in str(results.failed["z"])
    entries = json.loads((data / "out" / MANIFEST).read_text())["inputs"]
    assert "line 2" in entries["b"]["error"] and entries["b"]["exit_code"] == 3
    assert not (data / "out" / "b.csv").exists() and (data / "out" / "x/c.csv").exists()
    (data / "b.csv").write_text(good)
    assert score_many(inputs, Model.of(fleet), data / "out", Options()).exit_code == 0
    assert done == ["a", "b", "c", "b"]


def test_an_interruption_keeps_what_is_done(fleet, inputs, tmp_path, done):
    def interrupt(name, outcome):
        if name == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_many(inputs, Model.of(fleet), tmp_path / "out", Options(), on_end=interrupt)
    assert list(json.loads((tmp_path / "out" / MANIFEST).read_text())["inputs"]) == ["a"]
    score_many(inputs, Model.of(fleet), tmp_path / "out", Options())
    assert done == ["a", "b", "b", "c"]


def test_what_other_commands_did_stays_in_the_manifest(fleet, inputs, tmp_path, done):
    for item in (*inputs, *inputs):
        score_many([item], Model.of(fleet), tmp_path / "out", Options())
    assert done == ["a", "b", "c"]


def test_outputs_never_replace_inputs_or_what_is_not_ours(fleet, inputs, data):
    before = content_of(data)
    with pytest.raises(ConfigError, match="must not be written over inputs. Received: .*a.csv"):
        score_many(inputs, Model.of(fleet), data, Options())
    assert content_of(data) == before
    (data / "out").mkdir()
    (data / "out" / MANIFEST).write_text('{"name": "an app"}')
    with pytest.raises(DataError, match="manifest.json in the way must be one that `anomaly score` wrote"):
        score_many(inputs, Model.of(fleet), data / "out", Options())
    assert (data / "out" / MANIFEST).read_text() == '{"name": "an app"}'
    with pytest.raises(ConfigError, match="Inputs must be files where there are many. Received: '-'"):
        score_many([Input("stdin", "-")], Model.of(fleet), data / "other", Options())


def test_a_model_that_changed_meanwhile_is_refused(fleet, inputs, tmp_path, bundle_path):
    shutil.copy(bundle_path, tmp_path / "m")
    model = Model.of(tmp_path / "m")
    fleet_scoring._opened.cache_clear()
    content = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    results = score_many(inputs, model, tmp_path / "out", Options())
    assert results.exit_code == BundleError.exit_code and not results.scored


def test_events_are_found_without_an_output(fleet, inputs, tmp_path):
    tasks = [fleet_scoring.Task(item.name, item.path, Model.of(fleet), Options()) for item in inputs]
    results = detect_many(tasks)
    written = score_many(inputs, Model.of(fleet), tmp_path / "out", Options())
    assert results.events(["x/c", "a"]) == written.events(["x/c", "a"])
    assert set(results.events(["x/c", "a"])[1]) == {"a", "x/c"}


def test_an_output_is_called_as_its_series(data):
    names = [output_name(item.name, Options(file_format="jsonl")) for item in find_inputs([str(data)])]
    assert names == ["a.jsonl", "b.jsonl", "c.jsonl"]


def test_runs_that_are_no_events_are_counted_over_all_inputs():
    """An entry of a manifest that was written before they were counted says nothing of them."""
    entry = {"rows": 10, "flagged": 3}
    one, other = {"not_raised": {"too_short": 2}}, {"not_raised": {"too_short": 1, "too_weak": 1}}
    results = Results({"a": Scored(entry | one, []), "b": Scored(entry | other, []), "old": Scored(entry, [])})
    assert results.to_dict()["not_raised"] == {"too_short": 3, "too_weak": 1}
    assert str(results) == (
        "3 of 3 series scored; 30 rows, 9 flagged, 0 events; 3 runs of flagged rows were too short to be events, 1 was too weak to "
        "be an event."
    )


def test_files_that_follow_one_another_are_told_with_the_command_that_joins_them(bundle_path, tmp_path):
    series, data = make_series(300), tmp_path / "daily"
    data.mkdir()
    for n in range(3):
        to_csv(series[100 * n : 100 * (n + 1)], data / f"d{n}.csv")
    to_csv(series[50:150], data / "other.csv")
    found = commands.here("detect", data, "--model", bundle_path)
    told = "3 files follow one another, such as 'd0', 'd1', 'd2', and each is scored for itself: no window or event spans two."
    assert told in found.stderr
    line = next(line for line in found.stderr.splitlines() if told in line)
    joining = line.partition("As one series: cat ")[2].split(" | ")
    paths, words = joining[0].split(), joining[1].split()
    assert [Path(path).name for path in paths] == ["d0.csv", "d1.csv", "d2.csv"] and words[:3] == ["anomaly", "detect", "-"]
    joined = commands.here(*words[1:], stdin="".join(Path(path).read_text() for path in paths))
    assert "300 of 300 rows scored" in joined.stderr
    found = commands.here("score", data, "--model", bundle_path, "--output", tmp_path / "out", "--report-json", "-")
    assert json.loads(found.stdout)["note"].startswith(told)
    alone = commands.here("detect", data / "d0.csv", data / "d2.csv", data / "other.csv", "--model", bundle_path)
    assert "follow one another" not in alone.stderr


@pytest.mark.parametrize(
    ("spans", "following"),
    [
        ({"a": (0, 9), "b": (10, 19), "c": (20, 29)}, "abc"),
        ({"c": (20, 29), "b": (10, 19), "a": (0, 9)}, "abc"),
        ({"a": (0, 9), "b": (10, 19), "c": (30, 39)}, "ab"),
        ({"a": (0, 9), "b": (10, 19), "x": (3, 14)}, "ab"),
        ({"a": (0, 9), "b": (9, 19)}, ""),
        ({"a": (0, 9), "b": (0, 9), "c": (10, 19), "d": (10, 19)}, ""),
        ({"a": (0, 9), "c": (10, 19), "d": (10, 19)}, ""),
        ({"a": (0, 9)}, ""),
        ({}, ""),
    ],
)
def test_files_follow_one_another_where_only_one_begins_behind_one(spans, following):
    results = Results({name: Scored({"span": list(span)}, []) for name, span in spans.items()})
    assert "".join(results.following(1)) == following
