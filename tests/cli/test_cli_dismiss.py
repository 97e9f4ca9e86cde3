"""`anomaly dismiss`: what it keeps, mutes and says, how it is taken back, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_series, to_csv

from anomaly import Detector
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, read_bundle, to_bytes
from anomaly.cli import cli
from anomaly.detector.dismissing import rows_of_event, with_dismissal, without_dismissal
from anomaly.files.one_file import score_file
from anomaly.scoring.scorer import score_series

SPIKES = (slice(420, 426), slice(455, 461))


@pytest.fixture(scope="module")
def spiky():
    """Two spikes alike, and one that points down."""
    series = make_series(n=600)
    values = series.values.copy()
    for rows in SPIKES[1:]:
        values[rows, 0] += 25
    values[540:546, 0] -= 25
    return replace(series, values=values)


@pytest.fixture(scope="module")
def data(spiky, tmp_path_factory):
    return to_csv(spiky, tmp_path_factory.mktemp("dismissed") / "spiky.csv")


@pytest.fixture
def model(bundle_path, tmp_path):
    return shutil.copy(bundle_path, tmp_path / "m.anomaly")


def run(*words, code=0):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def events(model, data):
    return json.loads("[" + ",".join(run("detect", data, "--model", model, "--format", "jsonl", "-q").stdout.splitlines()) + "]")


def covers(found, rows):
    return any(event["start"] < rows.stop and event["stop"] > rows.start for event in found)


def test_a_dismissed_event_and_its_like_are_not_raised_and_others_are(model, data):
    before = events(model, data)
    assert all(covers(before, rows) for rows in (*SPIKES, slice(540, 546)))
    number = next(i for i, event in enumerate(before, 1) if event["start"] <= 420 < event["stop"])
    said = run("dismiss", model, data, "--event", number)
    after = events(model, data)
    assert not covers(after, SPIKES[0])
    assert not covers(after, SPIKES[1])
    assert covers(after, slice(540, 546)), "it points the other way"
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["events", "in", "the", "data", str(len(before)), str(len(after))] in lines
    assert ["dismissed", "stretches", "0", "1"] in lines
    history = next(line[-2:] for line in lines if line[:2] == ["alarms", "in"])
    assert int(history[0]) > int(history[1]) == Detector.load(model).thresholds_["combined"].n_alarms
    assert said.stderr == f"Saved {model}.\n"
    with open(data.parent / "scored.csv", "wb") as handle:
        assert len(score_file(Detector.load(model), data, output=handle).events) == len(after), "a file in pieces as at once"


def test_undo_brings_back_the_same_file(model, data):
    original = read_bundle(model)
    run("dismiss", model, data, "--event", 1)
    run("dismiss", model, data, "--rows", "100..110")
    listed = [line for line in run("inspect", model).stdout.splitlines() if line.startswith("dismissed")]
    assert [line.split()[1] for line in listed] == ["1", "2"]
    assert "events within 1 of it are not raised" in listed[0]
    assert "11 rows, 2022-04-19T09:20:00Z to 2022-04-19T19:20:00Z; mutes no event" in listed[1]
    run("dismiss", model, "--undo", 1)
    assert [one["n_rows"] for one in json.loads(run("inspect", model, "--format", "json").stdout)["dismissed"]] == [11]
    run("dismiss", model, "--undo", 1)
    assert to_bytes(read_bundle(model)) == to_bytes(original)


def test_scores_of_the_stretch_are_kept_and_count_as_held_out_ones_within_limits(model, data, spiky):
    before = Detector.load(model)
    run("dismiss", model, data, "--rows", "418..430", "--reach", 0)
    after = read_bundle(model)
    from anomaly.config import AGGREGATIONS

    expected = score_series(before.row_scorer(*AGGREGATIONS), spiky.times, spiky.values)[:, 418:431]
    for name, scores in zip(AGGREGATIONS, expected, strict=True):
        np.testing.assert_allclose(after.dismissed.scores[name], scores, rtol=1e-9)
        old, new = before.bundle_.calibration(name), after.calibration(name)
        assert new.n_held_out == old.n_held_out + 13
        np.testing.assert_array_equal(new.scores[:-13], old.scores)
        np.testing.assert_allclose(new.scores[-13:], [min(x, np.nanmax(old.scores)) for x in scores], rtol=1e-9)
        assert after.thresholds[name].n_held_out == np.isfinite(new.held_out).sum()
    own = after.config.scoring.aggregation
    assert after.thresholds[own].value > before.thresholds_[own].value
    assert len(after.dismissed.signatures) == 0


def test_a_threshold_by_hand_stays(model, data):
    run("threshold", model, "--value", "3")
    run("dismiss", model, data, "--event", 1)
    bundle = read_bundle(model)
    assert bundle.thresholds[bundle.config.scoring.aggregation].value == 3


def test_times_say_the_stretch_as_rows_do(model, data, tmp_path):
    other = tmp_path / "other.anomaly"
    run("dismiss", model, data, "--rows", "420..425", "-o", other)
    run("dismiss", model, data, "--since", "2022-05-02T17:20", "--until", "2022-05-02T22:20")
    assert to_bytes(read_bundle(model)) == to_bytes(read_bundle(other))


def test_rows_that_are_dismissed_already_are_refused(model, data):
    run("dismiss", model, data, "--rows", "100..110")
    content = model.read_bytes()
    message = "Rows are dismissed once. Received: 3 that are dismissed already, as number 1 of `anomaly inspect`."
    assert message in run("dismiss", model, data, "--rows", "102..104", code=2).stderr
    assert model.read_bytes() == content
    run("dismiss", model, data, "--rows", "104..115")


def test_a_dry_run_writes_nothing_and_json_says_the_same(model, data):
    content = model.read_bytes()
    told = json.loads(run("dismiss", model, data, "--event", 1, "--dry-run", "--format", "json", "-q").stdout)
    assert model.read_bytes() == content
    run("dismiss", model, data, "--event", 1, "-q")
    bundle = read_bundle(model)
    assert told["after"]["threshold"] == bundle.thresholds[bundle.config.scoring.aggregation].value
    assert told["before"]["dismissed"] == []
    assert told["events_before"] > told["events_after"]


def test_what_the_module_does_the_command_does(model, data, spiky):
    detector = Detector.load(model)
    scores = detector.score(spiky)
    rows = rows_of_event(scores, detector.detect(scores), 1)
    assert scores.flags[rows[0]]
    assert not scores.flags[rows[0] - 1]
    assert not scores.flags[rows[1]]
    found = with_dismissal(detector, spiky, rows)
    run("dismiss", model, data, "--event", 1)
    assert [list(x) for x in read_bundle(model).dismissed.spans()] == [list(x) for x in found.dismissed.spans()]
    assert to_bytes(without_dismissal(found, 1)) == to_bytes(detector.bundle_)


def test_rows_are_kept_with_those_around_them_but_for_other_events(model, data, spiky):
    before = Detector.load(model)
    run("dismiss", model, data, "--rows", "420..425", "--keep-rows")
    run("dismiss", model, data, "--rows", "100..110")
    ((own, times, values),) = read_bundle(model).dismissed.kept()
    around = slice(420 - 11, 426 + 11)
    np.testing.assert_array_equal(own, spiky.times[420:426])
    np.testing.assert_array_equal(times, spiky.times[around])
    expected = spiky.values[around].astype(float)
    for event in before.detect(spiky):
        if event.stop <= 420 or event.start >= 426:
            expected[[row - around.start for row in range(event.start, event.stop) if around.start <= row < around.stop]] = np.nan
    np.testing.assert_array_equal(values, expected)
    listed = [line for line in run("inspect", model).stdout.splitlines() if line.startswith("dismissed")]
    assert [line.endswith("; its rows are kept") for line in listed] == [True, False]
    assert [one.get("n_kept") for one in json.loads(run("inspect", model, "--format", "json").stdout)["dismissed"]] == [28, None]
    run("dismiss", model, "--undo", 1)
    assert read_bundle(model).dismissed.kept() == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{data}"], 2, "One of --event, --rows, --since with --until, and --undo must be given. Received: none of them."),
        (["{data}", "--event", "1", "--rows", "1..2"], 2, "must be given. Received: --event and --rows."),
        (["{data}", "--since", "2022-05-01"], 2, "--since and --until go together. Received: --since alone. Add the other."),
        (["--event", "1"], 2, "DATA.csv must be named where rows are dismissed, and not with --undo. Received: none with --event."),
        (["{data}", "--undo", "1"], 2, "and not with --undo. Received: a file with --undo."),
        (["{data}", "--event", "99"], 2, "--event must be the number of an event, 1 to "),
        (["{data}", "--rows", "900..901"], 2, "Rows must be those of the data, 0 to 599. Received: --rows 900..901"),
        (["{data}", "--rows", "5"], 2, "--rows must be FIRST..LAST, both included. Received: 5."),
        (["{data}", "--since", "soon", "--until", "2022-05-01"], 2, "must be a row number, an ISO 8601 time, or a span"),
            (["{data}", "--since", "-3", "--until", "2022-05-01"], 2, "Received: '-3'. Write it like 120, 2022-05-01T12:00 or 7d."),
        (["--undo", "1", "--keep-rows"], 2, "--keep-rows goes with rows to dismiss. Received: --keep-rows with --undo."),
        (["--undo", "1"], 2, "--undo must be the number of a dismissed stretch, and this detector has none. Received: 1."),
        (["{data}", "--event", "1", "-o", "{data}"], 2, "Files must differ."),
        (["{data}", "--event", "1", "-o", "-"], 2, "A detector must be written to a file."),
        (["{data}", "--event", "1", "--expect-sha256", "0" * 64], 4, "The detector must be the one that was pinned."),
    ],
)  # fmt: skip
def test_what_is_refused(model, data, words, code, message):
    content = model.read_bytes()
    result = run("dismiss", model, *(word.format(data=data) for word in words), code=code)
    assert message in result.stderr
    assert model.read_bytes() == content


def test_a_detector_of_a_fleet_is_not_changed_in_place(model, data):
    (model.parent / "index.json").write_text("{}")
    content = model.read_bytes()
    assert "must stay what its index says" in run("dismiss", model, data, "--event", 1, code=2).stderr
    assert model.read_bytes() == content
    run("dismiss", model, data, "--event", 1, "--output", model.parent / "other.anomaly")
    assert read_bundle(model.parent / "other.anomaly").dismissed is not None


@pytest.mark.parametrize(
    "change",
    [
        {"n_rows": (0,)},
        {"n_rows": (7,)},
        {"n_signatures": (99,)},
        {"times": np.full(6, 2**63 - 1)},
        {"scores": -1.0},
        {"scores": np.inf},
        {"shares": -0.1},
        {"deviations": np.nan},
        {"shape": 0.0},
        {"shape": 2.0},
        {"reach": np.inf},
        {"reach": -1.0},
        {"n_kept": (27,)},
        {"n_kept": (-1,)},
        {"kept_times": np.full(28, 2**63 - 1)},
        {"kept_values": np.full((28, 2), np.inf)},
        {"kept_values": np.full((28, 1), 0.0)},
    ],
    ids=str,
)
def test_a_file_with_impossible_numbers_is_refused(detector, spiky, change):
    bundle = with_dismissal(detector, spiky, (420, 426), keep_rows=True)
    assert len(from_bytes(to_bytes(bundle)).dismissed) == 1
    dismissed, ((name, value),) = bundle.dismissed, change.items()
    if name in ("n_rows", "n_signatures", "times", "n_kept", "kept_times", "kept_values"):
        wrong = replace(dismissed, **change)
    elif name == "scores":
        wrong = replace(dismissed, scores={key: np.full(6, value) for key in dismissed.scores})
    else:
        array = np.full_like(getattr(dismissed.signatures, name), value)
        wrong = replace(dismissed, signatures=replace(dismissed.signatures, **{name: array}))
    with pytest.raises(RefusedError):
        from_bytes(to_bytes(replace(bundle, dismissed=wrong)))


@pytest.mark.parametrize("number", range(1, 7))
def test_a_dismissed_event_stays_away_whatever_the_threshold(number):
    """A higher one leaves less of it, which is not like the whole."""
    from anomaly import read_csv

    root = Path(__file__).parents[2]
    detector, series = Detector.load(root / "models/demo/water_flow.anomaly"), read_csv(root / "anomaly/data/water_flow.csv")
    scores = detector.score(series)
    start, stop = rows_of_event(scores, detector.detect(scores), number)
    detector.bundle_ = with_dismissal(detector, series, (start, stop), scores=scores)
    for cut in np.geomspace(scores.threshold, float(np.nanmax(scores.score)), 30):
        assert not [event for event in detector.detect(scores, threshold=cut) if event.start < stop and event.stop > start]
