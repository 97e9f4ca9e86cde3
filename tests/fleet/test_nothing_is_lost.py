"""A training of many series beside detectors that are there: what a user put into them stays, or the training is refused."""

import contextlib
import shutil

import pytest
from commands import here
from conftest import make_series, to_csv

from anomaly.config import DetectorConfig
from anomaly.errors import ConfigError
from anomaly.fleet.folder import MANIFEST, Fleet
from anomaly.fleet.plan import Plan, find_sources
from anomaly.fleet.training import train_each, train_shared
from anomaly.fleet.tuning import retune_fleet
from anomaly.sources.inputs import find_inputs

QUICK = {"window_size": 12, "units": 4, "epochs": 1, "steps_per_epoch": 2, "seed": 7, "penalty": "none", "deterministic": True}
each_way = pytest.mark.parametrize("train", [train_each, train_shared])


@pytest.fixture
def data(tmp_path):
    return written(tmp_path / "data")


def written(folder):
    folder.mkdir()
    for n, name in enumerate("ab"):
        to_csv(make_series(n=150 + 20 * n, seed=n, spike=None), folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Return what puts beside data what is there after they were trained on in one of the ways."""
    kept = {}

    def begin(train, data):
        if train not in kept:
            kept[train] = tmp_path_factory.mktemp("begun")
            trained(train, written(kept[train] / "data"))
        shutil.copytree(kept[train], data.parent, dirs_exist_ok=True)

    return begin


def trained(train, data, settings=(), **changes):
    """Train, and return which detectors were there already."""
    reading = {"time_column": "auto", "value_columns": None, "label_column": None}
    plan = Plan(config=DetectorConfig.from_settings(QUICK | dict(settings)), reading=reading, **changes)
    outcomes = train(data.parent / "fleet", *find_sources(find_inputs([str(data)]), plan))
    assert not outcomes.failed
    return "".join(name for name, success in outcomes.trained.items() if success.unchanged)


def by_hand(data):
    retune_fleet(data.parent / "fleet", lambda detector: detector.set_threshold(3.0))


def thresholds(data):
    fleet = Fleet.load(data.parent / "fleet")
    return {name: fleet.detector(name).thresholds_["combined"].value for name in fleet.ids}


def files(data):
    return {path.name: path.read_bytes() for path in (data.parent / "fleet").iterdir()}


def other_rows(data):
    to_csv(make_series(n=171, seed=9, spike=None), data / "b.csv")


@each_way
def test_a_detector_whose_threshold_was_moved_is_unchanged(data, train):
    trained(train, data)
    by_hand(data)
    before = files(data)
    for _ in range(2):
        assert trained(train, data) == "ab"
        assert thresholds(data) == {"a": 3.0, "b": 3.0}
    assert {name: content for name, content in files(data).items() if name != MANIFEST} == {
        name: content for name, content in before.items() if name != MANIFEST
    }
    assert trained(train, data, overwrite=True) == "ab"  # which allows more, and asks for nothing


def and_other_rows(data):
    by_hand(data)
    other_rows(data)


# What happened, what the next training is, and what is said of it.
LOSSES = {
    "a file went": (lambda data: (data / "a.csv").unlink(), {}, "'a' without an input"),
    "a file is called otherwise": (lambda data: (data / "a.csv").rename(data / "c.csv"), {}, "'a' without an input"),
    "settings": (lambda data: None, {"settings": {"units": 5}}, "'a', 'b' trained otherwise"),
    "rows to train on": (lambda data: None, {"train_end": "100"}, "'a', 'b' trained otherwise"),
    "nothing is known": (lambda data: (data.parent / "fleet" / MANIFEST).unlink(), {}, "'a', 'b' trained otherwise"),
    "a threshold and all anew": (by_hand, {"anew": True}, "'a', 'b' with a threshold or dismissals of its own"),
    "a threshold and settings": (by_hand, {"settings": {"units": 5}}, "'a', 'b' trained otherwise"),
    "a threshold and rows": (and_other_rows, {}, "'b' with a threshold or dismissals of its own"),
}


@each_way
@pytest.mark.parametrize(("happens", "changes", "said"), LOSSES.values(), ids=LOSSES)
def test_what_would_be_lost_is_refused_without_overwrite(data, begun, train, happens, changes, said):
    begun(train, data)
    happens(data)
    before = files(data)
    if train is train_shared and happens is and_other_rows:
        said = said.replace("'b'", "'a', 'b'")  # which have one network
    with pytest.raises(ConfigError) as refused:
        trained(train, data, **changes)
    assert str(refused.value) == (
        f"Detectors must not be lost. Received: --model fleet, which holds {said}. Add --overwrite, or name another folder."
    )
    assert files(data) == before
    trained(train, data, **changes, overwrite=True)
    assert set(Fleet.load(data.parent / "fleet").ids) == {path.stem for path in data.iterdir()}


def test_another_way_to_train_needs_it_too(data):
    trained(train_each, data)
    with pytest.raises(ConfigError, match="trained otherwise"):
        trained(train_shared, data)


# What needs no permission: nothing is lost but what the same rows, or newer ones, give again.
FREE = {
    "nothing": (lambda data: None, {}, "ab"),
    "other rows": (other_rows, {}, "a"),
    "all anew": (lambda data: None, {"anew": True}, ""),
    "a new file": (lambda data: to_csv(make_series(n=190, seed=3, spike=None), data / "c.csv"), {}, "ab"),
    "a damaged detector": (lambda data: Fleet.load(data.parent / "fleet").path("b").write_bytes(b""), {}, "a"),
}


@pytest.mark.parametrize(("happens", "changes", "unchanged"), FREE.values(), ids=FREE)
def test_what_is_missing_or_changed_is_trained_without_a_question(data, begun, happens, changes, unchanged):
    begun(train_each, data)
    happens(data)
    assert trained(train_each, data, **changes) == unchanged


def test_an_interrupted_training_that_was_allowed_goes_on_with_the_same_command(data):
    def stops(work, tasks):
        for task in tasks:
            yield task, work(task)
            raise KeyboardInterrupt

    trained(train_each, data)
    other_rows(data)
    to_csv(make_series(n=172, seed=8, spike=None), data / "a.csv")
    with contextlib.suppress(KeyboardInterrupt):
        trained(train_each, data, executor=stops)
    assert trained(train_each, data) == "a"


def test_the_command_takes_overwrite_for_many_series(data):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items() if name != "deterministic"]
    command = ["train", "--model", data.parent / "fleet", "--per-series", "--quiet", *options]
    here(*command, data)
    assert "which holds 'b' without an input. Add --overwrite" in here(*command, data / "a.csv", code=2).stderr
    here(*command, data / "a.csv", "--overwrite")
    assert Fleet.load(data.parent / "fleet").ids == ("a",)
