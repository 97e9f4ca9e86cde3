"""The demonstrations, the committed detectors and their preset."""

import csv
import gzip
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from closeness import assert_close
from commands import here

from anomaly import Detector, read_csv
from anomaly.cli import cli
from anomaly.config import DEFAULTS, SPEAKS_TO, DetectorConfig, ReadingConfig, read_toml
from anomaly.files.demo import DEMONSTRATIONS, FIRST_ROW, TRAIN_END, show
from anomaly.scoring.references import FORMS, OLDER_FORMS
from anomaly.series import labelled_ranges

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "models" / "presets"
BUNDLES = ROOT / "models" / "demo"
FOLDER = ROOT / "anomaly" / "data"
DATA = FOLDER / "water_flow.csv"
WATER, HEARTBEATS = DEMONSTRATIONS["water"], DEMONSTRATIONS["heartbeats"]
each_demo = pytest.mark.parametrize("demonstration", DEMONSTRATIONS.values(), ids=DEMONSTRATIONS)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = here("demo", "--output", folder)
    return folder, result.stdout


def test_demo_leaves_data_bundle_scores_events_and_picture(demo):
    folder, _ = demo
    names = {"water_flow.csv", "water_flow.anomaly", "scores.csv", "events.csv", "picture.png", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))) == 1268


def test_demo_names_the_page_to_open_and_leaves_the_rows_of_its_training_out_of_the_figures(demo):
    folder, text = demo
    assert f"Open {folder / 'report.html'} in a browser" in text
    page = (folder / "report.html").read_text()
    assert "<title>water_flow</title>" in page and "520 rows" in page
    assert text.count("They are left out below.") == 1


def test_demo_finds_every_known_event_and_says_so(demo):
    folder, text = demo
    events = list(csv.DictReader((folder / "events.csv").read_text().splitlines()))
    known = labelled_ranges(read_csv(DATA, label_column="label"))
    assert known == [(94, 111), (212, 224), (329, 330), (872, 887)]
    for start, stop in known:
        assert any(int(event["start"]) < stop and start < int(event["stop"]) for event in events)
        assert f"rows {start}-{stop - 1}" in text


def test_demo_raises_few_other_alarms(demo):
    events = list(csv.DictReader((demo[0] / "events.csv").read_text().splitlines()))
    assert len(events) <= 8


def test_demo_trains_on_rows_without_a_known_event():
    series = read_csv(DATA, label_column="label")
    assert series.labels[FIRST_ROW:TRAIN_END].sum() == 0


@pytest.fixture(scope="module")
def heartbeats(tmp_path_factory):
    """What the committed detector, which is the one that the demonstration trains, leads to."""
    folder = tmp_path_factory.mktemp("heartbeats")
    (folder / HEARTBEATS.series).write_bytes((FOLDER / HEARTBEATS.series).read_bytes())
    return folder, show(HEARTBEATS, Detector.load(BUNDLES / HEARTBEATS.detector), folder)


def test_heartbeats_show_all_known_events_and_nothing_more(heartbeats):
    folder, text = heartbeats
    events = list(csv.DictReader((folder / "events.csv").read_text().splitlines()))
    known = [(1560, 1660), (6600, 6700), (6940, 7040)]
    assert labelled_ranges(read_csv(FOLDER / HEARTBEATS.series, label_column="label")) == known
    found = [(int(event["start"]), int(event["stop"])) for event in events]
    assert len(found) == 2  # two of them are less than a window apart
    for start, stop in known:
        assert any(first < stop and start < last for first, last in found)
        assert f"rows {start}-{stop - 1}" in text
    assert all(any(first < stop and start < last for start, stop in known) for first, last in found)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_heartbeats_are_nothing_for_the_detectors_that_look_at_no_shape(heartbeats):
    lines = [line.rsplit(maxsplit=3) for line in heartbeats[1].splitlines() if line.count("0.") == 3]
    vus_pr = {name.strip(): float(value) for name, value, *_ in lines}
    shapes, others = {f"nearest window, {form}" for form in FORMS}, {"Sub-PCA", "random", "absolute difference", "amplitude"}
    assert set(vus_pr) == {"this detector"} | shapes | others
    assert vus_pr["this detector"] > 0.8
    assert all(vus_pr[name] < 0.1 for name in others)
    assert all(vus_pr[name] < vus_pr["this detector"] for name in shapes)


def test_nothing_is_high_or_low_in_the_heartbeats():
    history = read_csv(FOLDER / HEARTBEATS.history)
    series = read_csv(FOLDER / HEARTBEATS.series, label_column="label")
    anomalous = series.values[series.labels == 1]
    assert history.values.min() <= anomalous.min() and anomalous.max() <= history.values.max()


def test_the_command_trains_as_it_says_and_leaves_each_series_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    class Trained:
        def __init__(self, **settings):
            asked.append(settings)

        def fit(self, history, progress):
            asked.append((len(history), history.columns, history.labels))
            return Detector.load(BUNDLES / HEARTBEATS.detector)

    monkeypatch.setattr("anomaly.files.demo.Detector", Trained)
    result = CliRunner().invoke(cli, ["demo", "heartbeats", "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0
    assert asked == [{"seed": 1, "deterministic": True}, (10_000, ("ecg",), None)]
    names = {
        "heartbeats_train.csv",
        "heartbeats_test.csv",
        "heartbeats.anomaly",
        "scores.csv",
        "events.csv",
        "picture.png",
        "report.html",
    }
    assert {path.name for path in (tmp_path / "anomaly-demo-heartbeats").iterdir()} == names
    assert "Trained on heartbeats_train.csv, 10,000 rows that are all normal." in result.output


def test_the_command_knows_every_demonstration():
    (name,) = [param for param in cli.commands["demo"].params if param.name == "name"]
    assert list(name.type.choices) == list(DEMONSTRATIONS)
    result = CliRunner().invoke(cli, ["demo", "pump"])
    assert result.exit_code == 2
    assert "'water', 'heartbeats'" in result.output


def test_what_is_shipped_is_small_and_has_its_licence():
    files = [path for path in FOLDER.iterdir() if path.suffix == ".csv"]
    assert {path.name for path in files} == {name for demo in DEMONSTRATIONS.values() for name in (demo.history, demo.series)}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= 200_000
    licences = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    assert set(licences) == {"LICENSE", *(f"anomaly/data/{path.name}" for path in FOLDER.glob("LICENSE-*.txt"))}
    assert len(licences) == 1 + len(DEMONSTRATIONS)


def test_preset_holds_the_settings_of_the_demo():
    assert tomllib.loads((PRESETS / "demo.toml").read_text()) == WATER.settings


@pytest.mark.parametrize("name", ["fast", "default", "thorough"])
def test_presets_hold_settings_that_are_allowed(name):
    DetectorConfig.from_settings(read_toml(PRESETS / f"{name}.toml"))


def test_the_default_preset_holds_the_defaults():
    settings = read_toml(PRESETS / "default.toml")
    assert settings == {name: DEFAULTS[name] for name in settings}
    # A file cannot say that there is no value. Nor does it say how data are read, and what speaks to another method or penalty.
    reading = {item.name for item in fields(ReadingConfig)}
    unheard = {name for name, methods in SPEAKS_TO.items() if DEFAULTS["threshold_method"] not in methods}
    said = {name for name, default in DEFAULTS.items() if default is not None} - reading - unheard
    assert set(settings) == said - {"penalty_threshold", "deterministic"}


@each_demo
def test_committed_detector_was_made_with_the_settings_of_its_demonstration(demonstration):
    path = BUNDLES / demonstration.detector
    bundle = Detector.load(path).bundle_
    settings = bundle.config.to_settings()
    assert {name: settings[name] for name in demonstration.settings} == demonstration.settings
    assert bundle.columns == (("flow_l_per_s",) if demonstration is WATER else ("ecg",))
    assert bundle.training["n_rows"] == demonstration.trained[1] - demonstration.trained[0]
    assert path.stat().st_size < 750_000


def held_out_scores(detector, demonstration):
    """Yield what the rows that were held out score now, and what they scored when the detector was saved."""
    series = demonstration.read_history(FOLDER)
    np.testing.assert_array_equal(series.times, detector.bundle_.calibration_times)
    held_out = series[-detector.bundle_.training["n_held_out_rows"] :]
    for aggregation, stored in detector.calibration_scores_.items():
        yield detector.score(held_out, aggregation=aggregation).score, stored


@each_demo
def test_committed_detector_scores_as_it_did_but_for_windows_that_are_its_own(demonstration):
    for found, stored in held_out_scores(Detector.load(BUNDLES / demonstration.detector), demonstration):
        known = np.isfinite(stored)
        np.testing.assert_array_equal(np.isfinite(found), known)
        # Then no row was compared with a window that it lies in.
        assert (found[known] <= stored[known] * (1 + 1e-4) + 1e-6).all()
        assert 0.7 < np.median(found[known] / stored[known]) <= 1 + 1e-4


def test_a_detector_of_two_forms_scores_as_it_did_when_it_was_saved():
    detector = Detector.load(ROOT / "tests" / "golden" / "two_forms.anomaly")
    assert tuple(of_form.form for of_form in detector.bundle_.recipe.references) == OLDER_FORMS
    for found, stored in held_out_scores(detector, WATER):
        assert_close(found, stored, 1e-4)
