"""What a user tries by mistake: one sentence, the right exit code, and nothing lost."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from commands import here
from heeding import heeding

from anomaly import Detector
from anomaly.cli import _in_one_sentence, cli
from anomaly.cli.shared import typed
from anomaly.leaving import TERMINATED, Terminated
from anomaly.storage.writing import exclusive

SHORT = ["--epochs", "1", "--steps-per-epoch", "2", "--window-size", "12", "--quiet"]


def refused(*arguments, code=2):
    result = CliRunner().invoke(cli, [str(word) for word in arguments])
    assert result.exit_code == code and result.exception.__class__ in (SystemExit, type(None)), result.output
    return result.output


def test_a_detector_is_not_written_to_standard_output(csv_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "A detector must be written to a file. Received: --model -." in refused("train", csv_path, "--model", "-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [231, 240, 250, 300])
def test_a_name_that_is_too_long_is_refused_before_the_training(csv_path, tmp_path, length):
    said = refused("train", csv_path, "--model", tmp_path / ("x" * length), *SHORT, code=5)
    assert "Traceback" not in said and ("at most 230 bytes" in said or "File name too long" in said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN", "Infinity"])
@pytest.mark.parametrize(
    "words",
    [
        ["dismiss", "{model}", "{data}", "--event", "1", "--reach"],
        ["explain", "{data}", "--model", "{model}", "--max-seconds"],
        ["train", "{data}", "--model", "new.anomaly", "--checkpoint-every"],
        ["detect", "{data}", "--model", "{model}", "--threshold"],
    ],
    ids=["reach", "max-seconds", "checkpoint-every", "threshold"],
)
def test_a_number_that_is_none_is_refused(bundle_path, csv_path, words, number):
    words = [word.format(model=bundle_path, data=csv_path) for word in words]
    said = refused(*words[:-1], f"{words[-1]}={number}")
    assert f"Invalid value for '{words[-1]}'" in said


def test_a_second_training_of_the_same_detector_is_refused_while_the_first_goes_on(csv_path, tmp_path):
    model = tmp_path / "m.anomaly"
    options = ["--model", model, "--epochs", "1000", "--patience", "1000", "--window-size", "12"]
    words = [sys.executable, "-m", "anomaly", "train", csv_path, *options]
    first = subprocess.Popen(heeding(list(map(str, words))), stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if (tmp_path / ".m.anomaly.training.lock").exists():
                break
            time.sleep(0.1)
        said = here("train", csv_path, *options, code=5).stderr
        assert re.search(rf"Only one run may write a file at a time\. Received: {model}, which process \d+ is writing\.", said)
    finally:
        first.terminate()
        first.communicate()
    assert first.returncode == TERMINATED and not model.exists()
    here("train", csv_path, "--model", model, "--no-resume", *SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["m.anomaly"]


def test_a_training_that_goes_on_says_that_columns_are_to_be_renamed(bundle_path, csv_path, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(csv_path.read_text().replace("s1", "first", 1))
    said = refused("train", other, "--model", tmp_path / "new.anomaly", "--from", bundle_path, *SHORT, code=3)
    assert (
        "A detector reads the columns that it was trained on: rename what is called otherwise, or add an empty one" in said
        and "--value-columns" not in said
    )


def test_rows_of_the_training_are_no_drift(csv_path, tmp_path):
    model = tmp_path / "m.anomaly"
    short = ["--epochs", "2", "--steps-per-epoch", "10", "--penalty", "none", "--units", "4"]
    here("train", csv_path, "--model", model, *short, "--window-size", "12", "--quiet")
    assert Detector.load(model).bundle_.recipe is not None
    assert "Warning" not in here("detect", csv_path, "--model", model).stderr


def test_labels_on_all_rows_set_no_threshold(bundle_path, csv_path, tmp_path):
    rows = list(csv.reader(csv_path.read_text().splitlines()))
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("\n".join(",".join([*row, "known" if not n else "1"]) for n, row in enumerate(rows)) + "\n")
    said = refused("threshold", bundle_path, "--labels", labelled, "--label-column", "known", "--dry-run", code=3)
    assert "Labels must leave rows with a score that are in no event" in said


def test_a_wrong_backend_of_matplotlib_is_named(bundle_path, csv_path, tmp_path):
    # In a process that has not imported matplotlib yet.
    words = [sys.executable, "-m", "anomaly", "plot", csv_path, "--model", bundle_path, "--output", tmp_path / "x.png"]
    ran = subprocess.run(words, env=os.environ | {"MPLBACKEND": "nope"}, capture_output=True, text=True)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "MPLBACKEND must name a backend of matplotlib. Received: 'nope'. Unset it" in ran.stderr


@pytest.mark.parametrize("size", [9, 100, 2_000])
def test_a_detector_that_was_cut_off_is_called_so(bundle_path, tmp_path, size):
    short = tmp_path / "short.anomaly"
    short.write_bytes(bundle_path.read_bytes()[:size])
    assert "Received: a file that was cut off (short.anomaly)." in refused("inspect", short, code=4)


@pytest.mark.parametrize(("signal", "code", "said"), [(KeyboardInterrupt(), 130, "Interrupted.\n"), (Terminated(143), 143, "")])
@pytest.mark.parametrize("hidden_in", [ImportError, SystemError])
def test_a_signal_that_a_module_of_c_makes_an_error_of_is_still_one(capsys, signal, code, said, hidden_in):
    with pytest.raises(SystemExit) as left, _in_one_sentence():
        try:
            raise signal
        except BaseException as error:
            raise hidden_in("initialization failed") from error
    assert left.value.code == code and capsys.readouterr().err == said


@pytest.mark.parametrize(("reason", "said"), [("", "none left"), ("Unable to allocate 9. GiB", "Unable to allocate 9. GiB")])
def test_a_lack_of_memory_is_told_in_one_sentence(capsys, reason, said):
    with pytest.raises(SystemExit) as left, _in_one_sentence():
        raise MemoryError(reason)
    told = f"Error: There must be memory for the work. Received: {said}. Give the process more, or less data.\n"
    assert (left.value.code, capsys.readouterr().err) == (5, told)


def test_an_error_without_a_signal_behind_it_is_a_bug():
    with pytest.raises(ImportError), _in_one_sentence():
        raise ImportError("initialization failed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--direction", "1,0"], "`direction` must go with the directional penalty"),
        (["train", "--penalty-threshold", "0.5"], "`penalty_threshold` must go with the hinge penalty"),
        (["train", "--sigmas", "3"], "`sigmas` must go with the threshold method k_sigma or mad"),
        (["train", "--threshold-method", "mad", "--alarms-per-day", "1"], "must go with the threshold method alarm_budget"),
        (["train", "--per-series", "--alarm-rate", "0.1"], "`alarm_rate` must go with the threshold method"),
        (["train", "--from", "MODEL", "--sigmas", "3"], "`sigmas` must go with the threshold method"),
        (["train", "--alarm-direction", "1,7"], "`alarm_direction` must be 1 for up, -1 for down or 0 for both. Received: 7"),
        (
            ["train", "--value-columns", "s1", "--ignore-columns", "s1"],
            "A value column must not be one to ignore too. Received: 's1'",
        ),
        (["check", "--model", "MODEL", "--value-columns", "s1"], "--value-columns must go without --model"),
        (["check", "--model", "MODEL", "--time-column", "none"], "--time-column none must go without --model"),
        (["dismiss", "--undo", "1", "--reach", "2"], "--reach goes with rows to dismiss"),
        (["dismiss", "--undo", "1", "--keep-rows"], "--keep-rows goes with rows to dismiss"),
        (["score", "--model", "MODEL", "--output", "o.csv", "--events", "e.txt"], "must end in .csv or .jsonl"),
        (["score", "--model", "MODEL", "--output", "o.csv", "--events", "e.csv.gz"], "must end in .csv or .jsonl"),
        (["threshold", "--min-severity", "1e300"], "must be a number at least 1 and at most 1,000,000. Received: 1e300."),
        (["threshold", "--alarm-direction", "2,0"], "`alarm_direction` must be 1 for up"),
    ],
    ids=lambda value: "_".join(value[:4]) if isinstance(value, list) else "",
)
def test_an_option_that_would_do_nothing_or_something_else_is_refused(bundle_path, csv_path, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    command, *options = [str(bundle_path) if word == "MODEL" else word for word in words]
    first = [str(bundle_path)] if command in ("dismiss", "threshold") else [str(csv_path)]
    more = ["--model", "new.anomaly", *SHORT] if command == "train" else ["--dry-run"] if command == "threshold" else []
    assert said in " ".join(refused(command, *first, *options, *more).split())
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_is_almost_an_option_is_told(bundle_path, csv_path):
    tried = {"ANOMALY_THRESHOLDS": "2", "ANOMALY_SERVICE_URL": "x", "ANOMALY_WINDOW_SIZE": "9"}
    tried |= {"ANOMALY_DETECT_THRESHOLD": "2", "ANOMALY_TZ": "UTC", "ANOMALY_FROM": "x", "ANOMALY_TZZ": "UTC"}
    result = CliRunner().invoke(cli, ["detect", str(csv_path), "--model", str(bundle_path)], env=tried)
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if "variable" in line]
    meant = {"DETECT_THRESHOLD": "THRESHOLD", "THRESHOLDS": "THRESHOLD", "TZZ": "TZ"}
    assert told == [
        f"Warning: the variable ANOMALY_{said} is no option; it was not looked at. Did you mean ANOMALY_{name}?"
        for said, name in meant.items()
    ]
    quiet = CliRunner().invoke(cli, ["detect", str(csv_path), "--model", str(bundle_path), "--quiet"], env=tried)
    assert "variable" not in quiet.stderr


def test_another_form_of_the_penalty_leaves_what_belonged_to_the_old_one(csv_path, tmp_path):
    old, new = tmp_path / "old.anomaly", tmp_path / "new.anomaly"
    here("train", csv_path, "--model", old, *SHORT, "--penalty", "hinge", "--penalty-threshold", "0.5")
    here("train", csv_path, "--model", new, "--from", old, *SHORT[:4], "--quiet", "--penalty", "l1")
    assert Detector.load(new).penalty_threshold == 1.0
    here("train", csv_path, "--model", new, "--overwrite", "--from", old, *SHORT[:4], "--quiet")
    assert Detector.load(new).penalty_threshold == 0.5


def test_two_live_runs_have_no_state_in_common(bundle_path, csv_path, tmp_path):
    state, output = tmp_path / "run.state", tmp_path / "rows.csv"
    words = ["score", "-", "--model", bundle_path, "--follow", "--state", state, "--output", output]
    with exclusive(state, ".running"):
        assert "Only one run may write a file at a time." in here(*words, stdin=csv_path.read_text(), code=5).stderr
        assert not state.exists() and not output.exists()
    here(*words, stdin=csv_path.read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "run.state"]


def test_rows_that_are_excluded_are_those_of_the_file_wherever_the_training_begins(tmp_path):
    path = tmp_path / "counted.csv"
    rows = [f"{(k * 37 % 11) / 7:.3f},{(k * 53 % 17) / 9:.3f}" for k in range(300)]
    path.write_text("\n".join(["a,b", *rows]) + "\n")
    blanked = tmp_path / "blanked.csv"
    blanked.write_text("\n".join(["a,b", *(row if not 150 <= k < 160 else "," for k, row in enumerate(rows))]) + "\n")
    begun = ["--train-start", "100", *SHORT, "--seed", "1", "--deterministic"]
    here("train", path, "--model", tmp_path / "a.anomaly", *begun, "--exclude", "150..159")
    here("train", blanked, "--model", tmp_path / "b.anomaly", *begun)
    assert Detector.load(tmp_path / "a.anomaly").thresholds_ == Detector.load(tmp_path / "b.anomaly").thresholds_
    told = here("train", path, "--model", tmp_path / "c.anomaly", *begun[:2], *SHORT[:-1], "--exclude", "0..9").stderr
    assert "Warning: --exclude leaves no row out." in told


@pytest.mark.parametrize(("rows", "said"), [("0..5000", "must be those of the data, 0 to"), ("5", "Write 5..5 for one row.")])
def test_rows_to_dismiss_that_are_not_there_are_refused(bundle_path, csv_path, rows, said):
    assert said in " ".join(refused("dismiss", bundle_path, csv_path, "--rows", rows, "--dry-run").split())


def test_old_data_need_not_have_the_columns_to_ignore(csv_path, tmp_path):
    old, noted = tmp_path / "old.anomaly", tmp_path / "noted.csv"
    head, *lines = csv_path.read_text().splitlines()
    noted.write_text("\n".join([f"{head},note", *(f"{line},{k % 5}" for k, line in enumerate(lines))]) + "\n")
    here("train", csv_path, "--model", old, *SHORT)
    words = ["--from", old, "--old-data", csv_path, "--ignore-columns", "note", *SHORT]
    here("train", noted, "--model", tmp_path / "new.anomaly", *words)


def test_a_live_run_says_how_many_rows_wait_in_its_state(bundle_path, csv_path, tmp_path):
    words = ["score", "-", "--model", bundle_path, "--follow", "--aggregation", "combined", "--lag", "11"]
    kept = here(*words, "--state", tmp_path / "s", "--output", tmp_path / "rows.csv", stdin=csv_path.read_text())
    whole = here(*words, stdin=csv_path.read_text())
    n = len(whole.stdout.splitlines()) - len((tmp_path / "rows.csv").read_text().splitlines())
    assert n and f"{n} rows wait in {tmp_path / 's'} for later ones; the next run writes them." in kept.stderr
    assert "wait" not in whole.stderr


@pytest.mark.parametrize(
    ("line", "env"),
    [("", {"ANOMALY_TZ": "Europe/Berlin"}), ("", {"ANOMALY_TIMEZONE": "Europe/Berlin"}), ('tz = "Europe/Berlin"', {}),
     ('timezone = "Europe/Berlin"', {})],
)  # fmt: skip
def test_each_name_of_an_option_is_its_key_and_its_variable(csv_path, tmp_path, line, env):
    (tmp_path / "c.toml").write_text(f"{line}\n")
    here("train", csv_path, "--model", tmp_path / "m", "--config", tmp_path / "c.toml", *SHORT, env=env)
    assert Detector.load(tmp_path / "m").bundle_.reading["timezone"] == "Europe/Berlin"


def test_the_detector_to_go_on_from_has_two_names_too(bundle_path, csv_path, tmp_path):
    words = ["train", csv_path, "--model", tmp_path / "m", *SHORT[:4], "--quiet"]
    here(*words, env={"ANOMALY_FROM": str(bundle_path)})
    assert Detector.load(tmp_path / "m").bundle_.ancestry is not None
    (tmp_path / "c.toml").write_text(f'from = "{bundle_path}"\nstart_from = "{bundle_path}"\n')
    said = refused(*words, "--overwrite", "--config", tmp_path / "c.toml")
    assert "An option must be given once. Received: from and start_from" in said


# A line of a file of settings, the command that reads it, and what is said.
LINES = {
    "a list of paths": ('output = ["a.csv", "b.csv"]', "score", "`output` must be a text, and no list. Received: output = ["),
    "a list of texts": ('since = ["5"]', "detect", "`since` must be a text, and no list."),
    "a list of choices": ('aggregation = ["combined"]', "score", "`aggregation` must be a text, and no list."),
    "a list of numbers": ("threshold = [1]", "detect", "`threshold` must be a number, and no list."),
    "another file": ('config = "other.toml"', "score", "A configuration file must not name another one."),
    "a date as a number": ("threshold = 2022-05-01", "detect", "`threshold` must be a number, a text or a list."),
    "several events": ("event = [1, 2]", "plot", "`event` must be a number, and no list."),
}


@pytest.mark.parametrize(("line", "command", "said"), LINES.values(), ids=LINES)
def test_a_value_of_another_kind_in_a_file_is_refused(bundle_path, csv_path, tmp_path, monkeypatch, line, command, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(f"{line}\n")
    assert said in refused(command, csv_path, "--model", bundle_path, "--config", "c.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


# A line of a file of settings, and the words on a command line that say the same.
SAME = {
    "a date": ("detect", "since = 2022-01-03", ["--since", "2022-01-03"]),
    "a time": ("detect", "since = 2022-01-03T04:00:00Z", ["--since", "2022-01-03T04:00:00Z"]),
    "a row": ("detect", "since = 40", ["--since", "40"]),
    "a number for a text": ("detect", "missing_values = -9999", ["--missing-values=-9999"]),
    "several": ("detect", 'missing_values = [-9999, "off"]', ["--missing-values=-9999,off"]),
    "an event": ("explain", "event = 1\nmax_seconds = 200", ["--event", "1", "--max-seconds", "200"]),
    "events": ("explain", "event = [1]\nmax_seconds = 200", ["--event", "1", "--max-seconds", "200"]),
}


@pytest.mark.parametrize(("command", "line", "words"), SAME.values(), ids=SAME)
def test_a_value_in_a_file_is_what_it_is_on_the_command_line(bundle_path, csv_path, tmp_path, command, line, words):
    (tmp_path / "c.toml").write_text(f"{line}\n")
    found = [
        CliRunner().invoke(cli, [command, str(csv_path), "--model", str(bundle_path), *more])
        for more in (words, ["--config", str(tmp_path / "c.toml")])
    ]
    assert [one.exit_code for one in found] == [0, 0], found[1].output
    assert found[0].stdout == found[1].stdout


def test_a_method_on_the_command_line_sets_aside_what_a_file_has_for_another(csv_path, tmp_path):
    (tmp_path / "c.toml").write_text("alarms_per_day = 2\n")
    words = ["train", csv_path, "--model", tmp_path / "m", "--config", tmp_path / "c.toml", *SHORT]
    here(*words, "--threshold-method", "quantile", "--alarm-rate", "0.1")
    settings = Detector.load(tmp_path / "m").get_params()
    assert (settings["threshold_method"], settings["alarm_rate"], settings["alarms_per_day"]) == ("quantile", 0.1, "auto")
    (tmp_path / "c.toml").write_text("sigmas = 2\n")
    assert "`sigmas` must go with the threshold method" in refused(*words, "--overwrite")


def test_a_name_that_is_no_text_gives_no_traceback(bundle_path, csv_path, tmp_path):
    data, model = (os.fsdecode(bytes(tmp_path) + name) for name in (b"/b\xff.csv", b"/m\xff.anomaly"))
    shutil.copy(csv_path, data)
    shutil.copy(bundle_path, model)
    here("report", data, "--model", model, "--output", tmp_path / "r.html")
    assert "<title>b\ufffd" in (tmp_path / "r.html").read_text()
    here("report", data, "--model", model, "--title", os.fsdecode(b"\xff"), "--output", tmp_path / "r.html")
    said = here("score", data, "--model", model, "--format", "openmetrics", "--report-json", tmp_path / "r.json")
    assert 'model="m\ufffd.anomaly"' in said.stdout


@pytest.mark.parametrize(
    ("path", "word"),
    [("a b.csv", "'a b.csv'"), ("-x.csv", "./-x.csv"), ("/dev/null", "NEW.csv"), ("-", "NEW.csv"), ("b\udcff.csv", "NEW.csv")],
)
def test_a_path_in_a_remedy_can_be_typed(path, word):
    assert typed(path, "NEW.csv") == word


def test_columns_that_were_to_be_ignored_are_nothing_to_tolerate(csv_path, tmp_path):
    columns = ["--value-columns", "s1,s2", "--strict", *SHORT]
    here("train", csv_path, "--model", tmp_path / "m", "--ignore-columns", "label", *columns)
    assert "columns that the detector does not know" in here("train", csv_path, "--model", tmp_path / "n", *columns, code=3).stderr
