"""Ranges of rows, rows of the training, and alarms in units, at the command line."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from anomaly import Detector
from anomaly.cli import cli


def run(*words, code=0):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def test_detect_lists_the_events_of_a_range_with_their_numbers(bundle_path, csv_path, series):
    everything = run("detect", csv_path, "--model", bundle_path).stdout.splitlines()
    found = Detector.load(bundle_path).detect(series, since=423)
    lines = run("detect", csv_path, "--model", bundle_path, "--since", 423).stdout.splitlines()
    assert lines[1:] == everything[-len(found) :] and lines[1].split()[0] == str(found.first_number)


def test_score_writes_the_rows_of_a_range_and_events_that_lie_there(bundle_path, csv_path, tmp_path):
    run("score", csv_path, "--model", bundle_path, "-o", tmp_path / "all.csv", "-q")
    given = ["--since", "2d", "--events", tmp_path / "events.jsonl", "--report-json", tmp_path / "report.json"]
    said = run("score", csv_path, "--model", bundle_path, "-o", tmp_path / "part.csv", *given)
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert (tmp_path / "part.csv").read_text().splitlines() == [lines[0], *lines[452:]]
    assert "49 of 49 rows in the range scored; 451 others lie outside of it" in said.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["rows"], report["outside_range"]) == (49, 451)
    assert all(json.loads(line)["stop"] > 451 for line in (tmp_path / "events.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["score", "--follow", "--since", "7d"],
            "--follow knows no --since or --until: its rows have no end. Received:",
        ),
        (["explain", "--event", "1", "--since", "7d"], "Events must be chosen one way. Received: --event with --since or --until."),
        (["detect", "--until", "-3"], "--until must be a row number, an ISO 8601 time, or a span before the end. Received: '-3'."),
        (
            ["evaluate", "--label-column", "label", "--since", "999"],
            "Some rows must lie in the range. Received: --since 999, of",
        ),
        (
            ["report", "-o", "x.html", "--since", "soon"],
            "--since must be a row number, an ISO 8601 time, or a span before the end.",
        ),
    ],
)
def test_a_wrong_range_is_refused(bundle_path, csv_path, words, message):
    command, *options = words
    assert run(command, csv_path, "--model", bundle_path, *options, code=2).stderr.startswith(f"Error: {message}")


def test_a_training_that_would_begin_behind_its_end_is_refused(csv_path, tmp_path):
    given = ["--train-start", "2d", "--train-end", "0.5", "--model", tmp_path / "m.anomaly"]
    said = run("train", csv_path, *given, code=2).stderr
    assert said.startswith("Error: A training must begin before it ends. Received: --train-start 2d, which is row 451, and an end")


def test_evaluate_leaves_rows_of_the_training_out_and_says_so(bundle_path, csv_path):
    given = ["evaluate", csv_path, "--model", bundle_path, "--label-column", "label"]
    assert "training rows          400 left out of all figures" in run(*given).stdout
    told = json.loads(run(*given, "--count-training", "--format", "json").stdout)
    assert (told["n_rows"], told["n_trained"], told["trained_counted"]) == (500, 400, True)
    told = json.loads(run(*given, "--since", "380", "--format", "json").stdout)
    assert (told["n_rows"], told["n_trained"], told["trained_counted"]) == (100, 20, False)


def test_a_report_marks_the_rows_of_the_training_and_shows_a_range(bundle_path, csv_path, tmp_path):
    pytest.importorskip("plotly")
    pytest.importorskip("tsdownsample")
    detector = Detector.load(bundle_path)
    given = ["report", csv_path, "--model", bundle_path, "--output", tmp_path / "page.html"]
    said = run(*given).stderr
    page = (tmp_path / "page.html").read_text()
    n = sum(event.stop <= 400 for event in detector.detect(str(csv_path)))
    assert "400 rows of the training, not counted" in page
    assert (f", {n} of them in rows of the training" in said) == (n > 0)
    run(*given, "--since", "423")
    page = (tmp_path / "page.html").read_text()
    number = detector.detect(str(csv_path), since=423).first_number
    assert f'"first_number":{number}' in page and "rows of the training" not in page
    assert f'aria-label="Event {number}, ' in page


def test_a_least_deviation_is_kept_in_the_file_and_leaves_out_what_stays_below(bundle_path, csv_path, tmp_path):
    detector = Detector.load(bundle_path)
    scores = detector.score(str(csv_path))
    off = np.abs(scores.measured - scores.expected)
    events = detector.detect(scores)
    spike = next(event for event in events if event.start <= 420 < event.stop)
    least = off[spike.start : spike.stop, 0].max() / 2
    for limit in (f"s1={least:.6g}", f"s1={100 * least / scores.expected[:, 0].max():.6g}%"):
        said = run("threshold", bundle_path, "--min-deviation", limit, "-o", tmp_path / "least.anomaly")
        assert re.search(r"a deviation of \S+ of s1 \(not counted above\)", said.stdout)
        strict = Detector.load(tmp_path / "least.anomaly")
        assert strict.min_deviation == limit
        found = strict.detect(scores)
        assert spike in found and set(found) <= set(events)
        for event in events:
            about_others = event.shares[0][0] != "s1" and event.shares[0][1] >= 0.5
            assert about_others <= (event in found)
        listed = run("detect", csv_path, "--model", tmp_path / "least.anomaly", "--all", "--format", "jsonl").stdout.splitlines()
        reasons = [json.loads(line)["not_raised"] for line in listed]
        assert reasons.count("too_near") == len(events) - len(found)
    named = run("threshold", bundle_path, "--min-deviation", "nobody=1", "--dry-run", code=2).stderr
    assert named == "Error: `min_deviation` must name features ('s1', 's2'). Received: 'nobody'. Write NAME=NUMBER, or NAME=2%.\n"


def test_alarms_a_week_take_the_place_of_alarms_a_day_and_the_first_line_says_what_to_expect(bundle_path, tmp_path):
    target = tmp_path / "weekly.anomaly"
    run("threshold", bundle_path, "--alarms-per-day", "0.5", "-o", target)
    said = run("threshold", target, "--alarms-per-week", "7")
    assert said.stdout.startswith("Expect about one false alarm a day; before, about 3.5 false alarms a week.\n\n")
    detector = Detector.load(target)
    assert (detector.alarms_per_day, detector.alarms_per_week) == ("auto", 7.0)
    same = Detector.load(bundle_path).calibrate(alarms_per_day=1)
    assert detector.thresholds_["combined"].value == pytest.approx(same.thresholds_["combined"].value, rel=1e-12)
    assert run("threshold", target).stdout.startswith("Expect about one false alarm a day.\nThreshold: ")
    told = json.loads(run("threshold", target, "--format", "json").stdout)
    assert told["threshold"]["expectation"] == "about one false alarm a day"
