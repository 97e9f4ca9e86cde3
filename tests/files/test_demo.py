"""The demonstration, the committed detector and its preset."""

import csv
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from closeness import assert_close

from anomaly import Detector, read_csv
from anomaly.config import DEFAULTS, DetectorConfig, read_toml
from anomaly.files.demo import DEMO_SETTINGS, FIRST_ROW, TRAIN_END
from anomaly.series import labelled_ranges

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "models" / "presets"
BUNDLE = ROOT / "models" / "demo" / "water_flow.anomaly"
DATA = ROOT / "anomaly" / "data" / "water_flow.csv"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = subprocess.run(
        [sys.executable, "-m", "anomaly", "demo", "--output", str(folder)], capture_output=True, text=True, check=True
    )
    return folder, result.stdout


def test_demo_leaves_data_bundle_scores_events_and_picture(demo):
    folder, _ = demo
    names = {"water_flow.csv", "water_flow.anomaly", "scores.csv", "events.csv", "picture.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))) == 1268


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


def test_preset_holds_the_settings_of_the_demo():
    assert tomllib.loads((PRESETS / "demo.toml").read_text()) == DEMO_SETTINGS


@pytest.mark.parametrize("name", ["fast", "default", "thorough"])
def test_presets_hold_settings_that_are_allowed(name):
    DetectorConfig.from_settings(read_toml(PRESETS / f"{name}.toml"))


def test_the_default_preset_holds_the_defaults():
    settings = read_toml(PRESETS / "default.toml")
    assert settings == {name: DEFAULTS[name] for name in settings}


def test_committed_detector_was_made_with_the_preset():
    bundle = Detector.load(BUNDLE).bundle_
    settings = bundle.config.to_settings()
    assert {name: settings[name] for name in DEMO_SETTINGS} == DEMO_SETTINGS
    assert bundle.columns == ("flow_l_per_s",)
    assert bundle.training["n_rows"] == TRAIN_END - FIRST_ROW
    assert BUNDLE.stat().st_size < 200_000


def test_committed_detector_scores_as_it_did_when_it_was_saved():
    detector = Detector.load(BUNDLE)
    series = read_csv(DATA, label_column="label")[FIRST_ROW:TRAIN_END]
    np.testing.assert_array_equal(series.times, detector.bundle_.calibration_times)
    held_out = series[-detector.bundle_.training["n_held_out_rows"] :]
    for aggregation, stored in detector.calibration_scores_.items():
        assert_close(detector.score(held_out, aggregation=aggregation).score, stored, 1e-4)
