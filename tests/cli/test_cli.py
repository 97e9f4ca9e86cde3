"""The commands used rightly and wrongly, some of them as real processes."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import here, run
from conftest import to_csv

from anomaly import Detector, read_csv
from anomaly.events.not_raised import not_raised_text

QUICK = ["--window-size=12", "--units=4", "--epochs=1", "--steps-per-epoch=2", "--seed=1", "--penalty=none"]


@pytest.fixture(scope="module")
def trained(csv_path, tmp_path_factory):
    """A detector made by the command itself."""
    model = tmp_path_factory.mktemp("cli") / "cli.anomaly"
    result = here("train", csv_path, "--model", model, "--label-column", "label", "--train-end", "400", *QUICK, "--penalty", "l2")
    return model, result


def test_train_saves_a_detector_and_shows_the_losses_on_stderr(trained):
    model, result = trained
    detector = Detector.load(model)
    assert detector.columns_ == ("s1", "s2")
    assert detector.bundle_.training["n_rows"] == 400
    assert result.stdout == ""
    assert result.stderr.startswith("Training on 400 rows of 2 features, in windows of 12; 1 epoch at most.\nepoch 1/1  loss ")
    assert "penalty" not in result.stderr and "XLA" not in result.stderr  # which --verbose tells
    assert f"Saved {model}." in result.stderr


@pytest.mark.parametrize("cut", ["0.8", "2022-05-01T21:20:00Z"])
def test_train_end_is_a_fraction_or_a_time_too(csv_path, tmp_path, cut):
    here("train", csv_path, "--model", tmp_path / "m", "--label-column", "label", "--train-end", cut, "-q", *QUICK)
    assert Detector.load(tmp_path / "m").bundle_.training["n_rows"] == 400


def test_score_keeps_the_columns_and_appends_its_own(trained, csv_path):
    rows = list(csv.reader(here("score", csv_path, "--model", trained[0]).stdout.splitlines()))
    source = list(csv.reader(csv_path.read_text().splitlines()))
    assert rows[0] == [*source[0], "score", "threshold", "anomaly_score", "is_anomaly", "status"]
    assert [row[: len(source[0])] for row in rows] == source


def test_score_equals_the_library(trained, csv_path):
    rows = list(csv.DictReader(here("score", csv_path, "--model", trained[0]).stdout.splitlines()))
    scores = Detector.load(trained[0]).score(read_csv(csv_path, label_column="label"))
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores.score, rtol=1e-8)
    assert [row["is_anomaly"] for row in rows] == [str(int(flag)) for flag in scores.flags]
    assert all(float(row["anomaly_score"]) == pytest.approx(float(row["score"]) / float(row["threshold"])) for row in rows)


def test_score_reads_stdin_and_writes_jsonl(trained, csv_path):
    result = run("score", "-", "--model", trained[0], "--format", "jsonl", stdin=csv_path.read_text())
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 500
    assert records[0]["s1"] == float(next(csv.DictReader(csv_path.read_text().splitlines()))["s1"])
    assert {type(record["is_anomaly"]) for record in records} == {bool}


def test_score_writes_files_and_events(trained, csv_path, tmp_path):
    result = run(
        "score", csv_path, "--model", trained[0], "--output", tmp_path / "s.csv", "--events", tmp_path / "e.jsonl"
    )  # fmt: skip
    assert result.stdout == ""
    assert "500 of 500 rows scored" in result.stderr
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 501
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert any(event["start"] < 426 and event["stop"] > 420 for event in events)


def test_trailing_aggregation_says_which_rows_are_warming_up(trained, csv_path):
    rows = list(csv.DictReader(here("score", csv_path, "--model", trained[0], "--aggregation", "trailing").stdout.splitlines()))
    assert [row["status"] for row in rows] == ["warm_up"] * 11 + ["ok"] * 489
    assert all(row["score"] == row["is_anomaly"] == "" for row in rows[:11])


def test_threshold_option_moves_the_cut(trained, csv_path):
    rows = list(csv.DictReader(here("score", csv_path, "--model", trained[0], "--threshold", "1e6").stdout.splitlines()))
    assert {row["is_anomaly"] for row in rows} == {"0"}
    assert {row["threshold"] for row in rows} == {"1000000"}


def test_fail_on_anomaly_exits_10_only_if_there_is_an_event(trained, csv_path):
    run("detect", csv_path, "--model", trained[0], "--fail-on-anomaly", code=10)
    run("score", csv_path, "--model", trained[0], "--fail-on-anomaly", code=10)
    run("detect", csv_path, "--model", trained[0], "--fail-on-anomaly", "--threshold", "1e6", code=0)


def test_detect_lists_events_as_table_csv_and_jsonl(trained, csv_path):
    table, as_csv, jsonl = (
        here("detect", csv_path, "--model", trained[0], "--format", name).stdout for name in ("table", "csv", "jsonl")
    )
    events = [json.loads(line) for line in jsonl.splitlines()]
    assert [int(row["start"]) for row in csv.DictReader(as_csv.splitlines())] == [event["start"] for event in events]
    assert len(table.splitlines()) == 1 + len(events)
    assert "driven by" in table and "s1:" in table


def test_detect_lists_what_is_no_event_where_all_is_asked_for(trained, csv_path, tmp_path):
    rules = ["--min-length", "100", "--short-severity", "1e6"]
    here("threshold", trained[0], *rules, "--output", tmp_path / "strict.anomaly")
    given = ["detect", csv_path, "--model", tmp_path / "strict.anomaly", "--threshold", "1"]
    plain, listed = here(*given), here(*given, "--all", "--format", "jsonl")
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    assert plain.stdout == "No events.\n" and {event["not_raised"] for event in found} == {"too_short"}
    assert f" flagged, 0 events; {not_raised_text({'too_short': len(found)})}." in plain.stderr
    shutil.copy(csv_path, tmp_path / "other.csv")
    both = here("detect", csv_path, tmp_path / "other.csv", "--all", "--format", "jsonl", *given[2:])
    names = [json.loads(line)["series"] for line in both.stdout.splitlines()]
    assert names.count("made") == names.count("other") == len(listed.stdout.splitlines())


def test_inspect_shows_the_content_and_loads_no_tensorflow(trained):
    text = here("inspect", trained[0]).stdout
    assert "s1, s2" in text and "12 rows" in text and "l2, weight 0.01, every 4 steps\n" in text
    described = json.loads(here("inspect", trained[0], "--format", "json").stdout)
    assert described["window_size"] == 12 and described["settings"]["units"] == 4


def test_options_come_from_toml_and_the_environment_and_the_command_line_wins(csv_path, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('window_size = 12\nunits = 4\nepochs = 1\nsteps_per_epoch = 2\nlabel_column = "label"\npenalty = "l1"\n')
    env = {"ANOMALY_UNITS": "5", "ANOMALY_SEED": "9"}
    here("train", csv_path, "--model", tmp_path / "m", "--config", config, "--penalty", "none", "-q", env=env)
    bundle = Detector.load(tmp_path / "m").bundle_
    assert (bundle.window_size, bundle.config.network.units, bundle.seed) == (12, 5, 9)
    assert bundle.config.penalty.penalty == "none"


def test_config_with_an_unknown_key_is_refused(csv_path, tmp_path):
    (tmp_path / "c.toml").write_text("window_sise = 12\n")
    result = run("train", csv_path, "--model", tmp_path / "m", "--config", tmp_path / "c.toml", code=2)
    assert "Did you mean 'window_size'?" in result.stderr


def test_every_penalty_can_be_chosen(csv_path, tmp_path):
    (tmp_path / "d.csv").write_text("1,-1\n")
    options = ["--penalty", "directional", "--direction", tmp_path / "d.csv", "--penalty-method", "exact", "--penalty-every", "2"]
    here("train", csv_path, "--model", tmp_path / "m", "--label-column", "label", "-q", *QUICK, *options)
    penalty = Detector.load(tmp_path / "m").bundle_.config.penalty
    assert (penalty.penalty, penalty.direction, penalty.penalty_method, penalty.penalty_every) == (
        "directional", (1.0, -1.0), "exact", 2,
    )  # fmt: skip


def test_help_and_version_are_quick_to_import():
    code = (
        "import sys\nfrom anomaly.cli import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'numpy', 'matplotlib', 'sklearn', 'scipy', 'onnxruntime'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "loaded: []"
    assert here("--version").stdout.startswith("anomaly, version ")
    assert here("-h").stdout == here("--help").stdout


def test_a_process_of_the_command_looks_for_garbage_seldom_and_not_on_its_way_out():
    code = (
        "import atexit, gc, sys\nfrom anomaly.__main__ import main\n"
        "often = gc.get_threshold()[0]\n"
        "atexit.register(lambda: print(gc.get_threshold()[0] > often, gc.get_freeze_count() > 1_000))\n"
        "sys.argv = ['anomaly', '--version']\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "True True"


@pytest.mark.parametrize("command", ["train", "score", "detect", "explain", "threshold", "evaluate", "report", "inspect", "demo"])
def test_every_command_has_help(command):
    assert "Usage: " in here(command, "-h").stdout


def test_shell_completion_offers_the_commands():
    env = {"_ANOMALY_COMPLETE": "bash_complete", "COMP_WORDS": "anomaly ", "COMP_CWORD": "1"}
    code = "from anomaly.cli import cli; cli(prog_name='anomaly')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | env)
    assert {line.split(",")[1] for line in result.stdout.splitlines()} >= {
        "train",
        "score",
        "detect",
        "threshold",
        "evaluate",
        "report",
    }


def refused(code, sentence, *arguments, **options):
    result = here(*arguments, code=code, **options)
    assert sentence in " ".join(result.stderr.split()), result.stderr
    assert result.stdout == ""


def write(path, text):
    path.write_text(text)
    return path


def test_missing_file_is_a_usage_error(tmp_path, trained):
    told = run("score", tmp_path / "no.csv", "--model", trained[0], code=2)
    assert told.stdout == "" and "does not exist" in told.stderr
    refused(2, "does not exist", "score", tmp_path / "no.csv", "--model", trained[0])
    refused(2, "does not exist", "score", tmp_path, "--model", tmp_path / "no.anomaly")


def test_empty_file_is_refused(tmp_path, trained):
    empty = write(tmp_path / "empty.csv", "")
    refused(3, "must begin with a header line", "score", empty, "--model", trained[0])
    refused(3, "must begin with a header line", "train", empty, "--model", tmp_path / "m")
    assert list(tmp_path.iterdir()) == [empty]


def test_text_in_a_value_column_is_refused_with_its_place(tmp_path, trained, csv_path):
    lines = csv_path.read_text().splitlines()
    lines[30] = lines[30].replace(lines[30].split(",")[1], "ERR", 1)
    bad = write(tmp_path / "bad.csv", "\n".join(lines))
    sentence = "Column 's1' must hold numbers. Received: 'ERR' on line 31 (bad.csv)"
    refused(3, sentence, "score", bad, "--model", trained[0], "--output", tmp_path / "out.csv")
    refused(3, sentence, "train", bad, "--label-column", "label", "--model", tmp_path / "m", *QUICK)
    assert list(tmp_path.iterdir()) == [bad]


def test_missing_column_is_refused_by_name(tmp_path, trained, csv_path):
    data = write(tmp_path / "d.csv", csv_path.read_text().replace("s2", "pressure", 1))
    refused(3, "no 's2' among", "score", data, "--model", trained[0])
    refused(3, "no 'labels' among", "train", csv_path, "--model", tmp_path / "m", "--label-column", "labels")


def test_series_shorter_than_the_window_is_refused(tmp_path, trained, csv_path):
    short = write(tmp_path / "short.csv", "\n".join(csv_path.read_text().splitlines()[:10]))
    refused(3, "Received: 9 rows without one", "score", short, "--model", trained[0], "--output", tmp_path / "out.csv")
    refused(3, "`window_size` rows", "train", short, "--model", tmp_path / "m", "--label-column", "label", *QUICK)
    assert list(tmp_path.iterdir()) == [short]


@pytest.mark.parametrize("content", [b"", b"not a bundle", b"\x00" * 100, b"\xff" * 100])
def test_wrong_bundle_is_refused(tmp_path, csv_path, content):
    (tmp_path / "m").write_bytes(content)
    refused(4, "must be a detector saved by `anomaly train`", "score", csv_path, "--model", tmp_path / "m")
    refused(4, "must be a detector saved by `anomaly train`", "inspect", tmp_path / "m")


def test_loss_that_is_not_finite_exits_6_and_leaves_the_previous_bundle(tmp_path, csv_path, trained):
    model = tmp_path / "m"
    model.write_bytes(trained[0].read_bytes())
    options = ["--learning-rate", "1e30", "--clip-norm", "1e30"]
    refused(
        6, "must be finite", "train", csv_path, "--model", model, "--label-column", "label", "--overwrite", "-q", *QUICK, *options
    )
    assert model.read_bytes() == trained[0].read_bytes()
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize(
    "option, value, sentence",
    [
        ("--window-size", "1", "must be an integer at least 2"),
        ("--window-size", "many", "must be an integer"),
        ("--penalty", "l3", "must be one of none, l2, l1, directional, hinge"),
        ("--alarm-rate", "1", "must be a number above 0 and below 1"),
        ("--direction", "up", "`direction` must be numbers"),
        ("--train-end", "9999", "within the 500 rows"),
        ("--train-end", "yesterday", "must be ISO 8601"),
        ("--penalty", "directional", "`direction` must be given"),
        ("--config", "no.toml", "must be readable"),
    ],
)
def test_setting_out_of_its_range_is_a_usage_error(csv_path, tmp_path, option, value, sentence):
    refused(2, sentence, "train", csv_path, "--model", tmp_path / "m", option, value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "DATA", "--model", "DATA"],
        ["score", "DATA", "--model", "MODEL", "--output", "MODEL"],
        ["score", "DATA", "--model", "MODEL", "--output", "DATA"],
        ["score", "DATA", "--model", "MODEL", "--output", "out", "--events", "./out"],
        ["score", "DATA", "--model", "MODEL", "--events", "-"],
    ],
    ids=" ".join,
)
def test_one_file_for_two_purposes_is_refused(tmp_path, csv_path, trained, arguments):
    data, model = tmp_path / "data.csv", tmp_path / "m.anomaly"
    data.write_bytes(csv_path.read_bytes())
    model.write_bytes(trained[0].read_bytes())
    names = {"DATA": data, "MODEL": model}
    refused(2, "Files must differ", *(names.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert (data.read_bytes(), model.read_bytes()) == (csv_path.read_bytes(), trained[0].read_bytes())


@pytest.mark.parametrize("threshold", ["nan", "inf", "0", "-1", "1e-320"])
def test_threshold_that_no_score_can_be_compared_with_is_refused(csv_path, trained, threshold):
    for command in ("score", "detect"):
        result = here(command, csv_path, "--model", trained[0], "--threshold", threshold, code=2)
        assert result.stdout == ""


def test_every_option_has_its_toml_key_and_its_variable(trained, csv_path, tmp_path):
    from anomaly.cli import cli

    for command in cli.commands.values():
        for param in command.params:
            if param.param_type_name == "option":
                longest = max(param.opts, key=len)
                assert param.name == longest.lstrip("-").replace("-", "_")
    (tmp_path / "c.toml").write_text('format = "jsonl"\n')
    with_file = here("score", csv_path, "--model", trained[0], "--config", tmp_path / "c.toml").stdout
    with_variable = here("score", csv_path, "--model", trained[0], env={"ANOMALY_FORMAT": "jsonl"}).stdout
    assert with_file == with_variable
    assert json.loads(with_file.splitlines()[0])["status"] == "ok"


@pytest.mark.parametrize(
    "line", ["value_columns = 5", "bidirectional = 3", "epochs = true", "units = [1]", 'units = "many"', "max_gap = inf"]
)
def test_config_value_of_the_wrong_kind_is_a_usage_error(csv_path, tmp_path, line):
    config = write(tmp_path / "c.toml", line + "\n")
    here("train", csv_path, "--model", tmp_path / "m", "--config", config, code=2)


def test_variables_of_other_programs_do_not_hijack_a_command(trained, csv_path):
    result = run("detect", csv_path, "--model", trained[0], "-q", env={"ANOMALY_VERSION": "1", "ANOMALY_HELP": "1"})
    assert "driven by" in result.stdout


def test_output_that_cannot_be_written_is_an_input_output_error(trained, csv_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    for command in ("score", "detect"):
        with full.open("w") as stdout:
            result = subprocess.run(
                [sys.executable, "-m", "anomaly", command, str(csv_path), "--model", str(trained[0])],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert result.returncode == 5, result.stderr
        assert "standard output" in result.stderr and "Traceback" not in result.stderr


def test_model_in_a_folder_that_does_not_exist_is_refused_before_training(csv_path, tmp_path):
    refused(5, "its folder does not exist", "train", csv_path, "--model", tmp_path / "no" / "m")


def test_output_in_a_folder_that_does_not_exist_is_refused(csv_path, tmp_path, trained):
    refused(5, "its folder does not exist", "score", csv_path, "--model", trained[0], "--output", tmp_path / "no" / "s.csv")


def test_label_column_is_neither_trained_on_nor_needed_for_scoring(trained, csv_path, series, tmp_path):
    without = to_csv(series, tmp_path / "without.csv")
    first, second = (
        list(csv.DictReader(here("score", path, "--model", trained[0]).stdout.splitlines())) for path in (csv_path, without)
    )
    assert [row["score"] for row in first] == [row["score"] for row in second]


def test_train_says_what_it_tolerated(tmp_path, csv_path):
    lines = csv_path.read_text().splitlines()
    (tmp_path / "in.csv").write_text("\n".join([*lines[:50], "", lines[0], *lines[50:]]) + "\n")
    here(
        "train", tmp_path / "in.csv", "--model", tmp_path / "m.anomaly", "--report-json", tmp_path / "r.json", "--label-column",
        "label", *QUICK,
    )  # fmt: skip
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["tolerated"] == {"blank_lines": 1, "repeated_headers": 1, "labelled_rows": 6}
    assert report["rows"] == report["training"]["n_rows"] == len(lines) - 1
