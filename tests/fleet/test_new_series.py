"""`--new-series learn`: files, long files and live runs of series that the fleet was not trained on."""

import io
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import to_csv
from new_to_the_fleet import TEN, W, members, new_series, still, write_fleet

from anomaly import ConfigError, DataError
from anomaly.cli import cli
from anomaly.fleet.detectors import LEARN, EachItsOwn, model_of, open_detectors
from anomaly.fleet.folder import Fleet
from anomaly.fleet.new_file import score_new_file
from anomaly.fleet.scoring import MANIFEST, Model, Options, Task, detect_many, score_many, score_one
from anomaly.sources.inputs import Input

LEARNS = Options(new_series=LEARN)


@pytest.fixture(scope="module")
def bundles(detector):
    return members(detector, 3)


@pytest.fixture(scope="module")
def fleet(bundles, tmp_path_factory):
    return write_fleet(tmp_path_factory.mktemp("new") / "fleet", bundles)


@pytest.fixture(scope="module")
def new_file(tmp_path_factory):
    return to_csv(new_series(), tmp_path_factory.mktemp("rows") / "new.csv")


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """A known series and a new one, woven into one another."""
    frames = []
    for name, made in (("a", new_series(300, seed=0, factor=1.0)), ("new", new_series())):
        frame = made.to_frame().reset_index()
        frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        frames.append(frame.assign(machine=name))
    path = tmp_path_factory.mktemp("long") / "long.csv"
    pd.concat(frames).sort_values("timestamp", kind="stable").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def long_fleet(bundles, tmp_path_factory):
    return write_fleet(tmp_path_factory.mktemp("new") / "long", bundles, id_column="machine")


def anomaly(*arguments, stdin=None):
    return CliRunner().invoke(cli, [str(part) for part in arguments], input=stdin)


def rows_in(path):
    return pd.read_csv(path)


def test_a_new_file_is_scored_from_its_second_window_on(fleet, new_file, tmp_path):
    results = score_many([Input("new", str(new_file))], Model.of(fleet), tmp_path / "out", LEARNS)
    found = rows_in(tmp_path / "out" / "new.csv")
    assert list(found["status"].drop_duplicates()) == ["not_learnt", "learning", "ok"]
    assert found["score"].isna().sum() == W + 1  # those before the second window that wait for no other
    assert results.exit_code == 0 and results.scored["new"].events
    entry = json.loads((tmp_path / "out" / MANIFEST).read_text())["inputs"]["new"]
    told = entry["new_series"]["new"]
    assert (told["status"], told["learnt_rows"], told["silent"]) == ("ok", TEN, [])
    assert entry["statuses"]["learning"] == (found["status"] == "learning").sum()
    assert results.scored["new"].refusals == [
        "A series that the fleet was not trained on is learnt from its first 120 rows (10 windows)."
    ]


def test_without_the_option_it_is_refused_as_ever(fleet, new_file, tmp_path):
    results = score_many([Input("new", str(new_file))], Model.of(fleet), tmp_path / "out", Options())
    assert results.exit_code == 3 and "must be one of the 3 that the fleet was trained on" in str(results.failed["new"])


def test_a_series_with_a_detector_is_scored_alike(fleet, new_file, tmp_path):
    for name, options in (("one", Options()), ("two", LEARNS)):
        score_many([Input("a", str(new_file))], Model.of(fleet), tmp_path / name, options)
    assert (tmp_path / "one" / "a.csv").read_bytes() == (tmp_path / "two" / "a.csv").read_bytes()
    again = score_many([Input("a", str(new_file))], Model.of(fleet), tmp_path / "one", LEARNS)
    assert again.scored["a"].unchanged


def test_a_second_run_does_nothing_and_says_the_same(fleet, new_file, tmp_path):
    inputs = [Input("new", str(new_file))]
    first = score_many(inputs, Model.of(fleet), tmp_path / "out", LEARNS)
    again = score_many(inputs, Model.of(fleet), tmp_path / "out", LEARNS)
    assert again.scored["new"].unchanged and again.scored["new"].refusals == first.scored["new"].refusals
    assert again.events(["new"]) == first.events(["new"])
    refused = score_many(inputs, Model.of(fleet), tmp_path / "out", Options())
    assert list(refused.failed) == ["new"]


def test_a_task_says_all_that_another_process_needs(fleet, new_file):
    task = Task("new", str(new_file), Model.of(fleet), LEARNS)
    sent = pickle.loads(pickle.dumps(task))
    assert score_one(sent).events == score_one(task).events != []


def test_detect_finds_what_score_finds(fleet, new_file, tmp_path):
    scored = score_many([Input("new", str(new_file))], Model.of(fleet), tmp_path / "out", LEARNS)
    found = detect_many([Task("new", str(new_file), Model.of(fleet), LEARNS)])
    assert found.scored["new"].events == scored.scored["new"].events != []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (new_series(20), "has no scores, since nothing could be learnt: 24 rows are needed, and there are 20."),
        (still(new_series(), 300), "has no scores, since nothing could be learnt: the values do not change."),
    ],
)
def test_what_cannot_be_learnt_fails_alone(fleet, new_file, tmp_path, made, message):
    path = to_csv(made, tmp_path / "bad.csv")
    inputs = [Input("new", str(new_file)), Input("bad", str(path))]
    results = score_many(inputs, Model.of(fleet), tmp_path / "out", LEARNS)
    assert list(results.scored) == ["new"] and results.exit_code == 3
    assert str(results.failed["bad"]).endswith(message)
    assert not (tmp_path / "out" / "bad.csv").exists()


def test_a_single_detector_learns_nothing(bundle_path):
    with pytest.raises(ConfigError, match=r"--new-series learn with a single detector, which scores any series"):
        open_detectors(bundle_path, new_series=LEARN)


def test_detectors_with_their_own_networks_are_refused_at_once(bundles, tmp_path):
    from dataclasses import replace

    other = replace(bundles[1], weights={name: array * 2 for name, array in bundles[1].weights.items()}, probe=None)
    folder = write_fleet(tmp_path / "fleet", [bundles[0], other])
    with pytest.raises(ConfigError, match="detectors with networks of their own"):
        open_detectors(folder, new_series=LEARN)
    assert open_detectors(folder).teacher("new") is None


def test_a_known_series_is_not_to_be_learnt(fleet, new_file):
    with pytest.raises(ConfigError, match="'a', which has a detector"):
        score_new_file(model_of(Fleet.load(fleet), LEARN), "a", new_file)


def test_of_a_large_fleet_some_teach(bundles, tmp_path, monkeypatch):
    from anomaly.fleet import detectors

    fleet = Fleet.load(write_fleet(tmp_path / "fleet", bundles))
    monkeypatch.setattr(detectors, "MOST_TEACHERS", 2)
    asked = []
    monkeypatch.setattr(fleet, "detector", lambda name, load=fleet.detector: asked.append(name) or load(name))
    assert len(EachItsOwn(fleet, LEARN).teacher("new").lenders["combined"].series) == 2
    assert asked == ["a", "a", "b"]


# The commands


def test_score_says_what_is_new(fleet, new_file, tmp_path):
    found = anomaly("score", new_file, "--model", fleet, "--output", tmp_path / "out", "--new-series", "learn")
    assert found.exit_code == 0, found.output
    assert "new: A series that the fleet was not trained on is learnt from its first 120 rows (10 windows)." in found.stderr
    assert "1 of 1 series scored" in found.stderr
    refused = anomaly("score", new_file, "--model", fleet, "--output", tmp_path / "other")
    assert refused.exit_code == 3 and "must be one of the 3" in refused.stderr


def test_detect_lists_events_of_a_series_that_is_still_learnt(fleet, tmp_path):
    path = to_csv(new_series(100, spike=slice(80, 84)), tmp_path / "new.csv")
    found = anomaly("detect", path, "--model", fleet, "--new-series", "learn", "--format", "csv")
    assert found.exit_code == 0 and len(found.stdout.splitlines()) == 2
    assert "new: A series that the fleet was not trained on is still being learnt: from 84 of 120 rows" in found.stderr


def test_a_long_file_has_both(long_fleet, long_file, tmp_path):
    report = tmp_path / "report.json"
    found = anomaly("score", long_file, "--model", long_fleet, "--new-series", "learn", "--report-json", report)
    assert found.exit_code == 0, found.output
    rows = pd.read_csv(io.StringIO(found.stdout))
    assert list(rows.loc[rows["machine"] == "new", "status"].drop_duplicates()) == ["not_learnt", "learning", "ok"]
    assert set(rows.loc[rows["machine"] == "a", "status"]) == {"ok"}
    assert json.loads(report.read_text())["new_series"]["new"]["status"] == "ok"
    assert "new: A series that the fleet was not trained on is learnt" in found.stderr
    refused = anomaly("score", long_file, "--model", long_fleet)
    assert refused.exit_code == 3 and set(pd.read_csv(io.StringIO(refused.stdout)).query("machine == 'new'")["status"]) == {
        "no_detector"
    }


def test_a_live_run_has_the_rows_of_the_file(long_fleet, long_file):
    common = ("--model", long_fleet, "--new-series", "learn")
    live = anomaly("score", "-", *common, "--follow", "--id-column", "machine", stdin=long_file.read_bytes())
    whole = anomaly("score", long_file, *common, "--aggregation", "trailing")
    assert live.exit_code == 0, live.output
    by_series = [
        pd.read_csv(io.StringIO(text)).sort_values(["machine", "timestamp"]).to_numpy().tolist()
        for text in (live.stdout, whole.stdout)
    ]
    np.testing.assert_equal(*by_series)
    assert live.stderr.count("is learnt from its first 120 rows") == 1


def test_a_live_run_goes_on_after_a_restart(long_fleet, long_file, tmp_path):
    lines = long_file.read_bytes().splitlines(keepends=True)
    common = ("--model", long_fleet, "--new-series", "learn", "--follow", "--id-column", "machine")
    whole = anomaly("score", "-", *common, stdin=b"".join(lines))
    growing, state, output = tmp_path / "rows.csv", tmp_path / "state", tmp_path / "out.csv"
    for stop in (150, 180, 601):
        growing.write_bytes(b"".join(lines[:stop]))
        part = anomaly(
            "score", "-", *common, "--state", state, stdin=b"".join([lines[0], *lines[{150: 1, 180: 150, 601: 180}[stop] : stop]])
        )
        assert part.exit_code == 0, part.output
        with open(output, "ab") as handle:
            handle.write(part.stdout_bytes)
    assert [
        line for line in output.read_bytes().splitlines() if not line.startswith(b"timestamp")
    ] == whole.stdout_bytes.splitlines()[1:]


def test_a_new_series_without_a_score_fails_the_long_file_only_for_itself(long_fleet, tmp_path):
    made = new_series(20)
    frame = made.to_frame().reset_index()
    frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    path = tmp_path / "long.csv"
    pd.concat([frame.assign(machine="a"), frame.assign(machine="new")]).to_csv(path, index=False)
    found = anomaly("score", path, "--model", long_fleet, "--new-series", "learn")
    assert found.exit_code == 3
    assert "new: A series that the fleet was not trained on has no scores" in found.stderr and "for want of" not in found.stderr


def test_nothing_to_learn_from_at_all(fleet, tmp_path):
    with pytest.raises(DataError, match="24 rows are needed, and there are 20"):
        score_new_file(model_of(Fleet.load(fleet), LEARN), "new", to_csv(new_series(20), tmp_path / "new.csv"))


def test_what_was_expected_stands_beside_the_rows_that_were_learnt(fleet, new_file, tmp_path):
    for name, figures in (("plain", ()), ("more", ("expected", "band", "by-feature"))):
        options = Options(new_series=LEARN, figures=figures)
        score_many([Input("new", str(new_file))], Model.of(fleet), tmp_path / name, options)
    plain, more = (rows_in(tmp_path / name / "new.csv") for name in ("plain", "more"))
    pd.testing.assert_frame_equal(more[plain.columns], plain)
    expected = more[[f"{name}_expected" for name in ("s1", "s2")]]
    assert expected[more["score"].notna()].notna().all(axis=None)
    assert expected[more["status"] == "not_learnt"].isna().all(axis=None)


@pytest.mark.parametrize("end", ["since", "until"])
def test_a_range_of_a_file_that_is_learnt_is_refused(fleet, new_file, tmp_path, end):
    done = anomaly(
        "score", new_file.parent, "--model", fleet, "--output", tmp_path / "out", "--new-series", "learn", f"--{end}", "50"
    )
    assert done.exit_code != 0
    assert f"is learnt from its own rows is written whole. Received: --{end} 50" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "out" / "new.csv").exists()


def test_a_range_of_a_long_file_is_that_of_the_whole(long_fleet, long_file, tmp_path):
    common = ("score", long_file, "--model", long_fleet, "--id-column", "machine", "--new-series", "learn")
    for name, ends in (("whole", ()), ("part", ("--since", "2022-04-20T00:00"))):
        done = anomaly(*common, "--output", tmp_path / f"{name}.csv", *ends)
        assert done.exit_code == 0, done.stderr
    whole, part = rows_in(tmp_path / "whole.csv"), rows_in(tmp_path / "part.csv")
    wanted = whole[whole["timestamp"] >= "2022-04-20T00:00"].reset_index(drop=True)
    assert 0 < len(part) < len(whole)
    pd.testing.assert_frame_equal(part, wanted, check_dtype=False)  # verdicts of rows without a score are empty in the whole alone
