"""`anomaly explain` and `anomaly report` used rightly and wrongly."""

import json
import re

import numpy as np
import pytest
from closeness import assert_close
from commands import here

from anomaly import Detector


def test_explain_says_what_the_spike_hangs_on(bundle_path, csv_path):
    text = here("explain", csv_path, "--model", bundle_path, "--top", "1").stdout
    assert re.match(r"\d\. 2022-05-0\d \d\d:\d\d to .* UTC, \d+ rows, \d+ h\n", text)
    said = dict(line.strip().split("  ", 1) for line in text.strip().splitlines()[1:])
    assert said["driven by"].strip().startswith("s1 up ")
    assert re.search(r"[\d.]+ where [\d.]+ was expected$", said["furthest off"])
    assert re.search(r"s1 [\d.]+ above what was expected \([\d.]+ training sigmas\)", said["on average"])
    assert re.search(r"at 2022-05-0\d \d\d:\d\d the score is [\d,.]+ times the threshold$", said["above threshold"])
    changed = r": with values changed by [\d.]+ at most, in s1 \([\d.]+ training sigmas, root mean square\) there is no event$"
    assert re.search(changed, said["far from none"])
    assert "s1 at 2022-05-0" in text.splitlines()[-2]


def test_explain_as_json_lines_is_the_library_s(bundle_path, csv_path, series):
    from anomaly.explaining.attribution import explain

    detector = Detector.load(bundle_path)
    scores = detector.score(series)
    events = detector.detect(scores)
    number = 1 + int(np.argmax([event.severity for event in events]))
    expected = explain(detector.bundle_, series, scores, events[number - 1])
    line = here("explain", csv_path, "--model", bundle_path, "--event", number, "--format", "jsonl").stdout
    values = json.loads(line)
    assert values["number"] == number
    scale = dict(zip(detector.columns_, detector.bundle_.scaler.scale, strict=True))
    assert values["sigmas"] == pytest.approx(scale)
    for name, deviation in values["deviations"].items():
        assert values["mean_deviations"][name] == pytest.approx(deviation * scale[name], rel=1e-3, abs=1e-3)
    (first, _), changed = values["largest_changes"], np.abs(expected.changed)
    place = detector.columns_.index(first["feature"])
    assert abs(first["change"]) == pytest.approx(changed[:, place].max() * scale[first["feature"]], rel=1e-3)
    assert changed[:, place].max() == changed.max()
    assert values["noise_rms"] == pytest.approx(expected.noise_rms, rel=1e-3)
    assert values["sensitivity"]["first_row"] == expected.first_row
    assert_close(values["sensitivity"]["rows"], expected.sensitivity, 1e-3)


def test_explain_without_an_event_says_so(bundle_path, csv_path):
    result = here("explain", csv_path, "--model", bundle_path, "--threshold", "1e9")
    assert (result.stdout, result.stderr) == ("", "No events.\n")


def test_an_event_that_is_not_there_is_a_usage_error(bundle_path, csv_path):
    result = here("explain", csv_path, "--model", bundle_path, "--event", "99", code=2)
    assert "--event must be a number in the list of events. Received: 99 of " in result.stderr


@pytest.fixture(scope="module")
def report(bundle_path, csv_path, tmp_path_factory):
    pytest.importorskip("plotly")
    pytest.importorskip("tsdownsample")
    path = tmp_path_factory.mktemp("report") / "report.html"
    result = here("report", csv_path, "--model", bundle_path, "--output", path, "--label-column", "label")
    return path, result


def test_report_writes_one_page_that_needs_nothing_else(report):
    path, result = report
    text = path.read_text("utf-8")
    assert text.lower().startswith("<!doctype html>")
    assert 4e6 < path.stat().st_size < 8e6
    assert "<title>made" in text
    assert result.stderr.endswith(f"Saved {path}.\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_report_loads_no_tensorflow_unless_it_is_to_explain(bundle_path, csv_path, tmp_path):
    pytest.importorskip("plotly")
    import subprocess
    import sys

    code = (
        "import sys\nfrom anomaly.cli import cli\n"
        f"arguments = ['report', {str(csv_path)!r}, '--model', {str(bundle_path)!r}, '-o', {str(tmp_path / 'r.html')!r}]\n"
        "cli(arguments, standalone_mode=False)\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_report_can_explain_its_worst_events(bundle_path, csv_path, tmp_path):
    pytest.importorskip("plotly")
    here(
        "report", csv_path, "--model", bundle_path, "-o", tmp_path / "r.html", "--explain", "1", "--title", "The <b>pump</b>", "-q"
    )
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "far from none" in text
    assert "The &lt;b&gt;pump&lt;/b&gt;" in text and "<b>pump" not in text


def test_report_to_the_data_or_the_model_itself_is_refused(bundle_path, csv_path):
    assert "Files must differ" in here("report", csv_path, "--model", bundle_path, "-o", csv_path, code=2).stderr
    assert "Files must differ" in here("report", csv_path, "--model", bundle_path, "-o", bundle_path, code=2).stderr


def test_report_into_a_folder_that_does_not_exist_is_refused(bundle_path, csv_path, tmp_path):
    here("report", csv_path, "--model", bundle_path, "-o", tmp_path / "no" / "r.html", code=5)


def test_refused_data_leave_no_page(bundle_path, csv_path, tmp_path):
    (tmp_path / "bad.csv").write_text("timestamp,s1,s2\n2022-05-01,1,x\n")
    here("report", tmp_path / "bad.csv", "--model", bundle_path, "-o", tmp_path / "r.html", code=3)
    assert not (tmp_path / "r.html").exists()
