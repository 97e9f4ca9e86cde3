"""`anomaly threshold` and `anomaly evaluate` used rightly and wrongly."""

import json
import shutil
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from commands import here

from anomaly import Detector
from anomaly.cli import cli
from anomaly.config import BUDGETS


@pytest.fixture
def model(bundle_path, tmp_path):
    """A detector of one's own."""
    return shutil.copy(bundle_path, tmp_path / "own.anomaly")


def value(path, aggregation="combined"):
    return Detector.load(path).thresholds_[aggregation].value


def test_without_an_option_the_threshold_is_shown_and_nothing_is_written(model):
    before = model.read_bytes()
    result = here("threshold", model)
    assert f"Threshold: {value(model):.6g} (alarm_budget" in result.stdout
    assert f"{value(model):.6g} *" in result.stdout
    assert model.read_bytes() == before
    assert result.stderr == ""


def test_the_menu_as_json_is_what_the_cuts_would_cost(model):
    menu = json.loads(here("threshold", model, "--format", "json").stdout)["menu"]
    rates = [line["expected_per_1000_rows"] for line in menu]
    assert rates == sorted(rates, reverse=True)
    assert value(model) in [line["threshold"] for line in menu]


def test_a_budget_changes_the_file_in_place_and_shows_before_and_after(model):
    before = value(model)
    result = here("threshold", model, "--alarms-per-day", "0.5")
    assert f"{before:.6g}" in result.stdout and f"{value(model):.6g}" in result.stdout
    assert "alarm_budget: at most 3.5 a week" in result.stdout
    assert result.stderr == f"Saved {model}.\n"
    assert value(model) < before
    assert Detector.load(model).alarms_per_day == 0.5


def test_dry_run_writes_nothing(model):
    before = model.read_bytes()
    result = here("threshold", model, "--value", "2.5", "--dry-run")
    assert "fixed: given by hand" in result.stdout
    assert result.stderr == "Nothing was written.\n"
    assert model.read_bytes() == before


def test_another_file_leaves_the_first_as_it_was(model, tmp_path):
    before = model.read_bytes()
    here("threshold", model, "--value", "2.5", "--output", tmp_path / "other.anomaly", "-q")
    assert (model.read_bytes(), value(tmp_path / "other.anomaly")) == (before, 2.5)
    assert value(tmp_path / "other.anomaly", "trailing") == 2.5 != value(model, "trailing")  # which live runs use


@pytest.mark.parametrize(
    ("arguments", "method", "asked"),
    [
        (["--alarm-rate", "0.05"], "quantile", 0.05),
        (["--method", "pot", "--alarm-rate", "0.05"], "pot", 0.05),
        (["--method", "conformal"], "conformal", 0.005),
        (["--sigmas", "3"], "k_sigma", 3.0),
        (["--method", "mad"], "mad", 4.0),
        (["--alarms-per-1000-rows", "4"], "alarm_budget", 4.0),
    ],
)
def test_every_method_can_be_chosen(model, arguments, method, asked):
    here("threshold", model, *arguments)
    thresholds = Detector.load(model).thresholds_.values()
    assert {(threshold.method, threshold.asked) for threshold in thresholds} == {(method, asked)}


def test_the_method_is_the_library_s(model):
    expected = Detector.load(model).calibrate(threshold_method="mad", sigmas=2.5).thresholds_
    here("threshold", model, "--method", "mad", "--sigmas", "2.5")
    assert Detector.load(model).thresholds_ == expected


def test_one_unit_of_the_budget_replaces_the_other(model):
    here("threshold", model, "--alarms-per-1000-rows", "4", "-q")
    here("threshold", model, "--alarms-per-day", "0.2", "-q")
    detector = Detector.load(model)
    assert (detector.alarms_per_day, detector.alarms_per_1000_rows) == (0.2, None)


def test_labels_choose_the_cut_that_finds_the_spike(model, csv_path):
    result = here("threshold", model, "--labels", csv_path)
    assert "f_beta: best F1 on labelled events" in result.stdout
    events = here("detect", csv_path, "--model", model, "--format", "jsonl").stdout.splitlines()
    assert len(events) == 1
    assert "s1" in json.loads(events[0])["features"]


def known_events(csv_path, folder):
    """Write the events that the label column of a file marks as a list of rows."""
    labels = np.array([line[-1] == "1" for line in csv_path.read_text().splitlines()[1:]])
    ends = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]])))
    path = folder / "known.csv"
    path.write_text("start_row,end_row\n" + "".join(f"{a},{b - 1}\n" for a, b in ends.reshape(-1, 2)))
    return path


def test_a_list_of_events_chooses_the_cut_that_their_labels_choose(model, csv_path, tmp_path):
    known = known_events(csv_path, tmp_path)
    here("threshold", model, "--labels", csv_path, "--output", tmp_path / "labels.anomaly")
    here("threshold", model, "--labels", csv_path, "--events-file", known, "--output", tmp_path / "list.anomaly")
    assert Detector.load(tmp_path / "list.anomaly").thresholds_ == Detector.load(tmp_path / "labels.anomaly").thresholds_


def test_known_events_come_from_one_place(model, csv_path, tmp_path):
    known = known_events(csv_path, tmp_path)
    both = here("threshold", model, "--labels", csv_path, "--label-column", "label", "--events-file", known, code=2)
    assert "must come from --label-column or --events-file. Received: both." in both.stderr
    alone = here("threshold", model, "--events-file", known, code=2)
    assert "--events-file must go with --labels." in alone.stderr


def test_unlabelled_data_choose_the_cut_too(model, csv_path):
    here("threshold", model, "--unlabelled", csv_path, "--rate", "0.3")
    assert Detector.load(model).thresholds_["combined"].method == "discoveries"


def test_event_rules_are_changed_and_used(model, csv_path):
    here("threshold", model, "--min-length", "3", "--merge-gap", "0", "--cool-down", "5", "--alarm-direction", "-1,-1")
    rules = Detector.load(model).bundle_.rules
    assert (rules.min_length, rules.merge_gap, rules.cool_down, rules.direction) == (3, 0, 5, (-1.0, -1.0))
    assert "s1" not in here("detect", csv_path, "--model", model).stdout  # the spike goes up


def test_the_environment_changes_no_detector(model):
    before = model.read_bytes()
    env = {"ANOMALY_MERGE_GAP": "5", "ANOMALY_ALARMS_PER_DAY": "3", "ANOMALY_METHOD": "quantile", "ANOMALY_VALUE": "5"}
    result = here("threshold", model, env=env)
    assert "* as it is" in result.stdout
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("Not looked at: ")]
    assert all(name in said for name in env) and "on the command line" in said
    assert "Not looked at" not in here("threshold", model, "--quiet", env=env).stderr
    assert "Not looked at" not in here("threshold", model).stderr
    assert model.read_bytes() == before


def test_long_events_without_a_peak_still_have_a_threshold(model):
    rules = ["--min-length", "100000", "--short-severity", "1e6"]
    result = here("threshold", model, *rules, "--alarms-per-1000-rows", "400", "--dry-run")
    assert "hardly vary, or no event is long enough" in result.stdout


def test_labels_say_how_good_the_fit_is(model, csv_path):
    assert "Best F1 over the labelled events: 1.000." in here("threshold", model, "--labels", csv_path).stderr


def test_options_come_from_a_config_file(model, tmp_path):
    (tmp_path / "t.toml").write_text("alarms_per_day = 0.25\nmerge_gap = 1\n")
    here("threshold", model, "--config", tmp_path / "t.toml")
    assert Detector.load(model).bundle_.config.scoring.alarms_per_day == 0.25


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "pot", "--alarms-per-day", "1"], "--alarms-per-day must go with method alarm_budget. Received"),
        (["--sigmas", "3", "--alarm-rate", "0.1"], "Received: --alarm-rate with k_sigma. Leave one out."),
        (["--value", "1", "--labels", "DATA"], "must go with method"),
        (["--method", "f_beta"], "Method f_beta needs --labels. Received: none."),
        (["--method", "discoveries"], "Method discoveries needs --unlabelled."),
        (["--method", "fixed"], "Method fixed needs --value."),
        (["--alarm-direction", "1"], "`alarm_direction` must have one number a feature (2: 's1', 's2'). Received: 1."),
        (["--alarms-per-day", "0"], "must be a number at least 1e-06 and at most 100,000 or 'auto'"),
        (["--value", "1e-12"], "A threshold must be a finite number"),
        (["--value", "1", "--output", "-"], "A detector must be written to a file."),
        (["--output", "new.anomaly"], "--output needs something to change."),
        (["--labels", "DATA", "--beta", "inf"], "--beta"),
        (["--alarms-per-day", "1", "--output", "DATA"], None),
    ],
)
def test_what_contradicts_itself_is_a_usage_error(model, csv_path, arguments, sentence):
    before = model.read_bytes()
    if sentence is None:
        arguments, sentence = [*arguments[:-1], model], "Files must differ"
    result = here("threshold", model, *[csv_path if a == "DATA" else a for a in arguments], code=2)
    assert sentence in result.stderr
    assert model.read_bytes() == before


def test_labels_without_an_event_are_refused_and_nothing_is_written(model, csv_path, tmp_path):
    lines = csv_path.read_text().splitlines()
    (tmp_path / "none.csv").write_text("\n".join([lines[0], *(line[:-1] + "0" for line in lines[1:])]))
    before = model.read_bytes()
    result = here("threshold", model, "--labels", tmp_path / "none.csv", code=3)
    assert "at least one event" in result.stderr
    assert model.read_bytes() == before


def test_a_folder_that_does_not_exist_is_refused(model, tmp_path):
    here("threshold", model, "--value", "1", "--output", tmp_path / "no" / "x.anomaly", code=5)


def test_threshold_loads_no_tensorflow(model):
    code = (
        "import sys\nfrom anomaly.cli import cli\n"
        f"cli(['threshold', {str(model)!r}, '--alarms-per-day', '1'], standalone_mode=False)\n"
        "assert not {'tensorflow', 'keras', 'onnx', 'matplotlib'} & set(sys.modules)"
    )
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Evaluate


def test_evaluate_compares_with_labels_and_with_four_trivial_detectors(bundle_path, csv_path):
    text = here("evaluate", csv_path, "--model", bundle_path, "--label-column", "label").stdout
    for words in (
        "VUS-PR",
        "VUS-ROC",
        "AUC-PR",
        "known events",
        "affiliation",
        "median delay",
        "false alarms",
        "Sub-PCA",
        "amplitude",
    ):
        assert words in text
    assert text.splitlines()[-1].startswith("VUS-PR ")
    assert "point-adjusted" not in text


def test_evaluate_as_json_is_the_library_s(bundle_path, csv_path, series):
    from anomaly.evaluation.evaluate import evaluate

    detector = Detector.load(bundle_path)
    scores = detector.score(series)
    bundle = detector.bundle_
    found_events = detector.detect(scores)
    given = {"scaler": bundle.scaler, "references": bundle.references, "trained": detector.trained_on(series)}
    expected = evaluate(series, scores, found_events, **given).to_dict()
    found = json.loads(here("evaluate", csv_path, "--model", bundle_path, "--label-column", "label", "--format", "json").stdout)
    assert found == json.loads(json.dumps(expected))
    assert found["events"]["n_hit"] == 1


def test_evaluate_takes_events_from_a_file_of_their_own(bundle_path, csv_path, tmp_path):
    (tmp_path / "events.csv").write_text("start_row,end_row\n420,425\n")
    by_file = here("evaluate", csv_path, "--model", bundle_path, "--events-file", tmp_path / "events.csv").stdout
    assert by_file == here("evaluate", csv_path, "--model", bundle_path, "--label-column", "label").stdout


def test_evaluate_takes_another_threshold_and_another_buffer(bundle_path, csv_path):
    arguments = ["evaluate", csv_path, "--model", bundle_path, "--label-column", "label", "--format", "json"]
    found = json.loads(here(*arguments, "--threshold", "1e6", "--buffer", "3", "--point-adjust").stdout)
    assert (found["events"]["n_found"], found["buffer"]) == (0, 3)
    assert found["point_adjusted_f1"] == 0


@pytest.mark.parametrize(("arguments", "word"), [([], "neither"), (["--label-column", "label", "--events-file", "DATA"], "both")])
def test_evaluate_needs_labels_from_one_place(bundle_path, csv_path, arguments, word):
    result = here("evaluate", csv_path, "--model", bundle_path, *[csv_path if a == "DATA" else a for a in arguments], code=2)
    assert f"Known events must come from --label-column or --events-file. Received: {word}." in result.stderr


def test_evaluate_without_a_known_event_is_refused(bundle_path, csv_path, tmp_path):
    lines = csv_path.read_text().splitlines()
    (tmp_path / "none.csv").write_text("\n".join([lines[0], *(line[:-1] + "0" for line in lines[1:])]))
    assert "Error: " in here("evaluate", tmp_path / "none.csv", "--model", bundle_path, "--label-column", "label", code=3).stderr


# The threshold never depends on the rows that are scored


def test_whole_file_chunks_and_single_rows_flag_the_same_rows(detector, series):
    whole = detector.score(series)
    for size in (1, 7, 100):
        scorer = detector.row_scorer()
        parts = [scorer.push(series.times[i : i + size], series.values[i : i + size]).score[0] for i in range(0, len(series), size)]
        pieces = np.concatenate([*parts, scorer.finish().score[0]])
        np.testing.assert_array_equal(pieces > whole.threshold, whole.flags)


def test_a_stretch_alone_is_flagged_by_the_same_threshold(detector, series):
    part = detector.score(series[300:460])
    whole = detector.score(series)
    assert part.threshold == whole.threshold
    far = slice(12, 160 - 12)  # rows whose windows lie in the stretch
    np.testing.assert_array_equal(part.flags[far], whole.flags[300:460][far])


# In the file, in the environment, on the command line, and what is looked at of it.
RANKS = [
    ("alarms_per_week = 1", {}, ["--alarms-per-day", "0.05"], {"alarms_per_day": 0.05}),
    ("alarms_per_day = 3", {}, ["--alarms-per-1000-rows", "2"], {"alarms_per_1000_rows": 2.0}),
    ("alarms_per_week = 1", {}, ["--alarms-per-day", "auto"], {"alarms_per_day": "auto"}),
    ("alarms_per_week = 1", {}, [], {"alarms_per_week": 1.0}),
    ("alarms_per_week = 1", {"ALARMS_PER_DAY": "3"}, [], {"alarms_per_day": 3.0}),
    ("alarms_per_week = 1", {"ALARMS_PER_DAY": "3"}, ["--alarms-per-1000-rows", "2"], {"alarms_per_1000_rows": 2.0}),
    ("deterministic = true", {}, ["--max-minutes", "5"], {"max_minutes": 5.0, "deterministic": False}),
    ("max_minutes = 5", {"DETERMINISTIC": "1"}, [], {"max_minutes": None, "deterministic": True}),
    ("max_minutes = 5", {"DETERMINISTIC": "0"}, [], {"max_minutes": 5, "deterministic": False}),
    ("alarms_per_week = 1", {"THRESHOLD_METHOD": "mad"}, [], {"alarms_per_week": None, "threshold_method": "mad"}),
]


@pytest.mark.parametrize(("toml", "variables", "words", "found"), RANKS)
def test_what_is_typed_takes_the_place_of_what_excludes_it(toml, variables, words, found, tmp_path, monkeypatch):
    path, seen = tmp_path / "settings.toml", {}
    path.write_text(toml)
    monkeypatch.setattr(
        "anomaly.cli.training.one_file", lambda data: seen.update(click.get_current_context().params) or sys.exit(0)
    )
    variables = {f"ANOMALY_{name}": text for name, text in variables.items()}
    words = ["train", str(path), "--model", str(tmp_path / "m"), "--config", str(path), *words]
    assert CliRunner().invoke(cli, words, env=variables).exit_code == 0
    assert {name: seen[name] for name in BUDGETS | found} == BUDGETS | found


@pytest.mark.parametrize("words", [["--alarms-per-day", "0.05"], ["--value", "0.5"], ["--method", "mad"], ["--sigmas", "3"]])
def test_a_threshold_that_is_typed_takes_the_place_of_one_in_a_file(model, tmp_path, words):
    (tmp_path / "settings.toml").write_text("alarms_per_week = 1\n")
    here("threshold", model, *words, "--output", tmp_path / "a.anomaly", "--config", tmp_path / "settings.toml")
    here("threshold", model, *words, "--output", tmp_path / "b.anomaly")
    assert value(tmp_path / "a.anomaly") == value(tmp_path / "b.anomaly")


def test_two_that_are_typed_are_refused(model):
    refused = here("threshold", model, "--alarms-per-day", "1", "--alarms-per-week", "1", code=2)
    assert "must not be given together. Received: 1 a day and 1 a week." in refused.stderr


def test_events_of_local_time_are_those_of_the_data(bundle_path, csv_path, tmp_path):
    known = known_events(csv_path, tmp_path)
    lines, (first, last) = csv_path.read_text().splitlines()[1:], map(int, known.read_text().splitlines()[1].split(","))
    times = [np.datetime64(lines[row].split(",")[0].rstrip("Z")) for row in (first, last)]
    (tmp_path / "local.csv").write_text(f"start,end\n{times[0]},{times[1]}\n2031-01-01,2031-01-02\n")
    local = tmp_path / "data.csv"
    local.write_text(csv_path.read_text().replace("Z,", ","))
    zone = ["--model", bundle_path, "--tz", "America/New_York"]
    by_label = here("evaluate", local, *zone, "--label-column", "label")
    by_file = here("evaluate", local, *zone, "--events-file", tmp_path / "local.csv")
    assert by_file.stdout == by_label.stdout
    assert by_file.stderr == "Warning: 1 of 2 known events covers no row and is left out: 1 outside of the rows (local.csv).\n"
